//! The whole story on one screen: read the event, run every signal, answer.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::cloud::{Cloud, CloudError};
use crate::commands::operate;
use crate::context::Run;
use crate::decide::Call;
use crate::model::alarm::{Alarm, State};
use crate::model::reason::Reason;
use crate::model::report::{Caller, Outcome, Report};
use crate::notify::metrics;
use crate::notify::tell;
use crate::observe::OnRecord;
use crate::observe::resolve;
use crate::rollback::incident;
use crate::rollback::{Ask, rollback};
use crate::signal::target::{self, Target};
use crate::signal::triage::{self, Bounds};
use crate::signal::{self, Signal};

/// Stages of one alarm that are put back at the same time: as many as one alarm can well name. None waits for
/// another's records; API Gateway's limit is kept behind the port.
const AT_ONCE: usize = 100;

/// All that came of one event.
#[derive(Debug)]
pub struct Answer {
    /// A report for each signal and stage, in the event's order.
    pub reports: Vec<Report>,
    /// The metrics' lines, for whoever writes to standard output.
    pub metrics: Vec<Value>,
    failed_messages: Vec<String>,
    from_queue: bool,
}

/// The reports that failed, in the words of the first: what Lambda is told, so that it tries again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RunFailed {
    /// `Failed` or `NeedsHuman`, stable for filters.
    pub kind: &'static str,
    /// The first failed report's message.
    pub message: String,
}

/// Handles one event, given as its JSON text. Never fails: see [`Answer::into_response`].
pub async fn handle<C: Cloud>(event: &str, run: &Run<'_, C>) -> Answer {
    let event = signal::read(event);
    let mut answer =
        Answer { reports: vec![], metrics: vec![], failed_messages: vec![], from_queue: event.from_queue };
    for delivery in event.deliveries {
        let mut reports = match &delivery.signal {
            Signal::Alarm(alarm) => on_alarm(run, alarm).await,
            Signal::Command(command) => operate(run, command).await,
            Signal::Unreadable(reason) => vec![run.no(&Caller::unknown(), reason)],
        };
        for report in &mut reports {
            report.trace = run.trace.map(str::to_owned);
        }
        if reports.iter().any(|report| report.outcome.is_failure()) {
            answer.failed_messages.extend(delivery.messages);
        }
        reports.iter().for_each(Report::log);
        answer.reports.extend(reports);
    }
    // Telling comes last: every stage is served before anybody reads of the first.
    let before: usize = answer.reports.iter().map(|report| report.warnings.len()).sum();
    tell(run, &mut answer.reports).await;
    let after: usize = answer.reports.iter().map(|report| report.warnings.len()).sum();
    let function = run.function_name();
    answer.metrics = answer.reports.iter().map(|report| metrics::of_report(report, function)).collect();
    let seconds = run.began.elapsed().as_secs_f64();
    answer.metrics.push(metrics::of_run(run.clock(), function, seconds, run.cloud.spent(), after - before));
    answer
}

async fn on_alarm<C: Cloud>(run: &Run<'_, C>, alarm: &Alarm) -> Vec<Report> {
    let caller = Caller::alarm(alarm);
    let bounds = Bounds { home: run.config.home(run.account()), max_age: run.config.max_age, now: run.now };
    let targets = match triage::of(alarm, &bounds) {
        Err(Reason::Composite(children)) => match triage::is_current(alarm, &bounds) {
            Ok(()) => match resolve::children(run.cloud, &alarm.name, &children).await {
                Ok(found) => {
                    let children: Vec<Alarm> = found.into_iter().map(|now| now.alarm).collect();
                    triage::of_children(alarm, &children, &bounds)
                }
                Err(error) => return vec![run.failed(&caller, &error)],
            },
            Err(reason) => Err(reason),
        },
        told => told,
    };
    let targets = match targets {
        Ok(targets) => targets,
        Err(reason) => {
            let is_ok = reason == Reason::NotInAlarm(State::Ok);
            let reports = if is_ok { on_ok(run, alarm, &caller).await } else { Ok(vec![]) };
            return match reports {
                Ok(reports) if reports.is_empty() => vec![run.no(&caller, &reason)],
                Ok(reports) => reports,
                Err(error) => vec![run.failed(&caller, &error)],
            };
        }
    };
    let runs = targets.iter().map(|target| {
        let ask =
            Ask { call: Call::Alarm { name: &alarm.name, target, swept: false }, version: None, dry: false };
        on_target(run, target, ask, &caller)
    });
    futures_util::stream::iter(runs).buffered(AT_ONCE).collect().await
}

async fn on_target<C: Cloud>(run: &Run<'_, C>, target: &Target, ask: Ask<'_>, caller: &Caller) -> Report {
    match resolve::resolve(run.cloud, run.config, target).await {
        Ok(Ok(stage)) => rollback(run, &stage, ask, caller).await,
        Ok(Err(reason)) => run.no(caller, &reason),
        Err(error) => run.failed(caller, &error),
    }
}

/// An OK closes the incidents that the alarm opened. It is a hint as well: CloudWatch is asked.
async fn on_ok<C: Cloud>(
    run: &Run<'_, C>,
    alarm: &Alarm,
    caller: &Caller,
) -> Result<Vec<Report>, CloudError> {
    let mut reports = Vec::new();
    for target in target::of(alarm).unwrap_or_default() {
        let Ok(stage) = resolve::resolve(run.cloud, run.config, &target).await? else { continue };
        let wanted = [run.config.names.rollbacks(&stage)];
        let names = [alarm.name.clone()];
        let (found, now) = tokio::join!(run.cloud.parameters(&wanted), run.cloud.alarms(&names));
        let mut rollbacks = OnRecord::of(run.config, &stage, &found?).rollbacks;
        if let Some(ok) = now?.into_iter().find(|now| now.alarm.state == State::Ok) {
            let at = ok.alarm.changed_at.unwrap_or(run.now);
            reports.extend(incident::recovered(run, &stage, &mut rollbacks, &alarm.name, at, caller).await);
        }
    }
    Ok(reports)
}

impl Answer {
    /// What the function returns: the report, or several; for SQS also the messages to deliver again.
    ///
    /// # Errors
    /// [`RunFailed`] where a run failed and no queue can deliver its message again: Lambda repeats the event,
    /// and what succeeded finds nothing left to do.
    pub fn into_response(self) -> Result<Value, RunFailed> {
        if self.from_queue {
            let failed = self.failed_messages.into_iter().map(|id| {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = id;
                failure
            });
            let mut batch = SqsBatchResponse::default();
            batch.batch_item_failures = failed.collect();
            return Ok(json!({"batchItemFailures": batch.batch_item_failures, "reports": self.reports}));
        }
        if let Some(failed) = self.reports.iter().find(|report| report.outcome.is_failure()) {
            let kind = if failed.outcome == Outcome::NeedsHuman { "NeedsHuman" } else { "Failed" };
            return Err(RunFailed { kind, message: failed.message.clone() });
        }
        match <[Report; 1]>::try_from(self.reports) {
            Ok([report]) => Ok(json!(report)),
            Err(reports) => Ok(json!({"reports": reports})),
        }
    }
}
