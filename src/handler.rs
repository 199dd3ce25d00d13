//! The whole story on one screen: read the event, run every signal, answer.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::alarm::Alarm;
use crate::cloud::Cloud;
use crate::decide::Call;
use crate::observe;
use crate::record::record;
use crate::report::{Caller, Outcome, Report};
use crate::rollback::{Ask, Run, rollback};
use crate::signal::{self, Command, Signal, Verb};
use crate::status::status;
use crate::target::{ApiRef, Target};
use crate::triage::{self, Bounds};
use crate::verdict::Reason;

/// Stages of one event that are put back at the same time.
const AT_ONCE: usize = 8;

/// All that came of one event.
#[derive(Debug)]
pub struct Answer {
    /// A report for each signal and stage, in the event's order.
    pub reports: Vec<Report>,
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
    let mut answer = Answer { reports: vec![], failed_messages: vec![], from_queue: event.from_queue };
    for delivery in event.deliveries {
        let reports = match &delivery.signal {
            Signal::Alarm(alarm) => on_alarm(run, alarm).await,
            Signal::Command(command) => vec![on_command(run, command).await],
            Signal::Unreadable(reason) => vec![run.no(&Caller::unknown(), reason)],
        };
        if reports.iter().any(|report| report.outcome.is_failure()) {
            answer.failed_messages.extend(delivery.messages);
        }
        reports.iter().for_each(Report::log);
        answer.reports.extend(reports);
    }
    answer
}

async fn on_alarm<C: Cloud>(run: &Run<'_, C>, alarm: &Alarm) -> Vec<Report> {
    let caller = Caller::alarm(alarm);
    let bounds = Bounds { home: run.config.home(run.account), max_age: run.config.max_age, now: run.now };
    let targets = match triage::of(alarm, &bounds) {
        Err(Reason::Composite(children)) => match triage::is_current(alarm, &bounds) {
            Ok(()) => match observe::children(run.cloud, &alarm.name, &children).await {
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
        Err(reason) => return vec![run.no(&caller, &reason)],
    };
    let runs = targets.iter().map(|target| {
        let ask = Ask { call: Call::Alarm { name: &alarm.name, target }, version: None, dry: false };
        on_target(run, target, ask, &caller)
    });
    futures_util::stream::iter(runs).buffered(AT_ONCE).collect().await
}

async fn on_target<C: Cloud>(run: &Run<'_, C>, target: &Target, ask: Ask<'_>, caller: &Caller) -> Report {
    match observe::resolve(run.cloud, run.config, target).await {
        Ok(Ok(stage)) => rollback(run, &stage, ask, caller).await,
        Ok(Err(reason)) => run.no(caller, &reason),
        Err(error) => run.failed(caller, &error),
    }
}

async fn on_command<C: Cloud>(run: &Run<'_, C>, command: &Command) -> Report {
    let caller = Caller {
        kind: command.verb.word().to_owned(),
        name: command.who.clone(),
        why: command.reason.clone(),
        ..Caller::default()
    };
    let target = Target {
        api: ApiRef::parse(&command.stage.api),
        stage: command.stage.name.clone(),
        canary: false,
        protocol: None,
    };
    let stage = match observe::resolve(run.cloud, run.config, &target).await {
        Ok(Ok(stage)) => stage,
        Ok(Err(reason)) => return run.no(&caller, &reason),
        Err(error) => return run.failed(&caller, &error),
    };
    let ask = |dry| Ask { call: Call::Operator, version: command.to, dry };
    match command.verb {
        Verb::Record => record(run, &stage, command, &caller).await,
        Verb::Status => status(run, &stage, &caller).await,
        Verb::Rollback => rollback(run, &stage, ask(false), &caller).await,
        Verb::Plan => rollback(run, &stage, ask(true), &caller).await,
    }
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
