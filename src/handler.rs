//! The whole flow on one screen: read the event, run every signal, answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cloud::{Alarms, Cloud, Gateway, Parameters};
use crate::commands::execute;
use crate::context::Context;
use crate::decide::Trigger;
use crate::decide::incidents::closing;
use crate::decide::testimony::accused;
use crate::model::alarm::{Alarm, State};
use crate::model::cloud_error::CloudError;
use crate::model::policy::PolicyOverrides;
use crate::model::reason::{NO_SUCH_ALARM, Reason};
use crate::model::report::{Outcome, Report};
use crate::model::sibling::SiblingReport;
use crate::model::stage::StageRef;
use crate::model::target::Target;
use crate::model::trigger::TriggeredBy;
use crate::notify::{metrics, notify};
use crate::observe::guarding_alarms;
use crate::observe::resolve::{NamedBy, resolve};
use crate::regions::{hear, name_bad};
use crate::rollback::{RollbackRequest, incident, rollback};
use crate::signal::target::stages_named_by;
use crate::signal::triage::{Bounds, Triage, is_current, triage};
use crate::signal::{self, Delivery, Signal, sibling};

/// How many stages of one alarm are rolled back at the same time, and how many messages of one event are handled. An alarm
/// names at most this many stages, so none waits for another. The port respects API Gateway's rate limit.
const AT_ONCE: usize = 100;

/// The time between two tests of a release after a fast alarm.
const LOOKS_AGAIN: Duration = Duration::from_secs(3);

/// `DescribeAlarms` takes this many names at a time.
const NAMES: usize = 100;

/// The result of one event.
#[derive(Debug)]
pub struct Answer {
    /// One report for each signal and stage, in the order of the event.
    pub reports: Vec<Report>,
    /// The metrics, to be written to standard output as lines of JSON.
    pub metrics: Vec<Value>,
    failed_messages: Vec<String>,
    from_queue: bool,
}

/// The first failed report, returned to Lambda as an error so that Lambda repeats the event.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RunFailed {
    /// `Failed` or `NeedsHuman`. The words are stable, so that log filters can match them.
    pub kind: &'static str,
    /// The first failed report's message.
    pub message: String,
}

/// Handles one event, given as its JSON text. Never fails: see [`Answer::into_response`].
pub async fn handle<C: Cloud>(event: &str, context: &Context<'_, C>) -> Answer {
    let event = signal::read(event);
    let mut answer =
        Answer { reports: vec![], metrics: vec![], failed_messages: vec![], from_queue: event.from_queue };
    let turns = Turns { unknown: unknown_alarms(context, &event.deliveries).await, ..Turns::default() };
    let runs = event.deliveries.iter().map(|delivery| on_delivery(context, &delivery.signal, &turns));
    let mut runs =
        futures_util::stream::iter(runs).buffered(AT_ONCE).zip(futures_util::stream::iter(&event.deliveries));
    while let Some((reports, delivery)) = runs.next().await {
        if reports.iter().any(|report| report.outcome.is_failure()) {
            answer.failed_messages.extend(delivery.messages.iter().cloned());
        }
        answer.reports.extend(reports);
    }
    // Notifications come last: no stage waits for the notification about another.
    context.cloud.begin_to_notify();
    let not_sent = notify(context, &mut answer.reports).await;
    let function = context.function_name();
    answer.metrics = answer.reports.iter().map(|report| metrics::report_metrics(report, function)).collect();
    // Whoever sends a command may see what it asks for. Other answers go where the settings of Lambda send them.
    for report in answer.reports.iter_mut().filter(|report| !report.signal.is_operator()) {
        *report = context.config.shown(report).into_owned();
    }
    let seconds = context.began.elapsed().as_secs_f64();
    let spent = context.cloud.spent();
    answer.metrics.push(metrics::run_metrics(context.clock(), function, seconds, spent, not_sent));
    answer
}

/// Looks the alarms of several messages up together (`DescribeAlarms`), and returns the names that CloudWatch does not know.
/// Messages about made-up alarms then cost no further calls, and the true ones do not wait for them. A name that cannot be
/// looked up here is looked up by its own run.
async fn unknown_alarms<C: Alarms>(context: &Context<'_, C>, deliveries: &[Delivery]) -> BTreeSet<String> {
    let in_alarm = deliveries.iter().filter_map(|delivery| match &delivery.signal {
        Signal::Alarm(alarm) if alarm.state == State::Alarm => Some(alarm.name.clone()),
        Signal::Alarm(_)
        | Signal::Sibling(_)
        | Signal::RefusedReport { .. }
        | Signal::Command(_)
        | Signal::Unreadable(_) => None,
    });
    let names: Vec<String> = in_alarm.collect::<BTreeSet<_>>().into_iter().collect();
    if names.len() < 2 {
        return BTreeSet::new();
    }
    let looks = names.chunks(NAMES).map(|names| async move {
        let Ok(found) = context.cloud.alarms(names).await else { return vec![] };
        let is_unknown = |name: &&String| found.iter().all(|now| now.alarm.name != **name);
        names.iter().filter(is_unknown).cloned().collect()
    });
    futures_util::future::join_all(looks).await.into_iter().flatten().collect()
}

/// The turns of the runs of one event. Runs for different stages do not wait for each other. Those of alarms for the same
/// stage do not overlap, and commands follow each other in the order of the event.
#[derive(Default)]
struct Turns {
    /// The alarms that CloudWatch does not know.
    unknown: BTreeSet<String>,
    commands: tokio::sync::Mutex<()>,
    stages: Mutex<BTreeMap<StageRef, Arc<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    fn of(&self, stage: &StageRef) -> Arc<tokio::sync::Mutex<()>> {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stages.entry(stage.clone()).or_default())
    }
}

async fn on_delivery<C: Cloud>(context: &Context<'_, C>, signal: &Signal, turns: &Turns) -> Vec<Report> {
    let mut reports = match signal {
        Signal::Alarm(alarm) => Box::pin(on_alarm(context, alarm, turns)).await,
        Signal::Sibling(report) => vec![Box::pin(on_sibling(context, report, turns)).await],
        Signal::Command(command) => {
            let _turn = turns.commands.lock().await;
            Box::pin(execute(context, command)).await
        }
        Signal::RefusedReport { region, reason } => {
            vec![context.triggered_by(&TriggeredBy::of_region(region, None)).no(reason.clone())]
        }
        Signal::Unreadable(reason) => vec![context.no(reason.clone())],
    };
    for report in &mut reports {
        report.trace = context.trace.map(str::to_owned);
        context.complete(report);
        name_bad(context, report).await;
    }
    for report in &reports {
        crate::notify::log(&context.config.shown(report));
    }
    reports
}

async fn on_alarm<C: Cloud>(context: &Context<'_, C>, alarm: &Alarm, turns: &Turns) -> Vec<Report> {
    let trigger = TriggeredBy::alarm(alarm);
    let context = &context.triggered_by(&trigger);
    match targets(context, alarm, &turns.unknown).await {
        Ok(Ok(targets)) => {
            let begun = Mutex::default();
            let by = NamedBy::alarm_of(&targets);
            let runs = targets.iter().map(|target| on_target(context, alarm, (target, by), &begun, turns));
            let reports = futures_util::stream::iter(runs).buffered(AT_ONCE);
            together(context, reports.filter_map(std::future::ready).collect().await)
        }
        Ok(Err(reason)) => on_refusal(context, alarm, reason, turns).await,
        Err(error) => vec![context.failed(&error)],
    }
}

/// Makes one report of those about stages that the function does not know. An alarm may name any number of them, and people
/// are told once.
fn together<C>(context: &Context<'_, C>, reports: Vec<Report>) -> Vec<Report> {
    const SHOWN: usize = 3;
    // A report about a protected stage names that stage.
    let is_foreign = |report: &Report| {
        report.stage.is_none() && matches!(report.reason, Some(Reason::NotProtected(_) | Reason::NoStage(_)))
    };
    if reports.iter().filter(|report| is_foreign(report)).count() < 2 {
        return reports;
    }
    let (foreign, mut others): (Vec<Report>, Vec<Report>) = reports.into_iter().partition(is_foreign);
    let shown: Vec<&str> = foreign.iter().take(SHOWN).map(|report| report.message.as_str()).collect();
    let more = foreign.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let why = format!(
        "the alarm names {} stages that are not protected or not found: {}{more}",
        foreign.len(),
        shown.join("; ")
    );
    others.push(context.no(Reason::NotProtected(why)));
    others
}

/// Returns the stages that the alarm names, or the reason for doing nothing.
async fn targets<C: Alarms>(
    context: &Context<'_, C>,
    alarm: &Alarm,
    unknown: &BTreeSet<String>,
) -> Result<Result<Vec<Target>, Reason>, CloudError> {
    let unknown_alarm = || Reason::AlarmUnknown { alarm: alarm.name.clone(), why: NO_SUCH_ALARM.to_owned() };
    let home = context.config.home(context.account());
    let bounds = Bounds { home, max_age: context.config.max_age, now: context.now };
    Ok(match triage(alarm, &bounds) {
        Triage::Refused(reason) => Err(reason),
        Triage::Targets(_) | Triage::Composite if unknown.contains(&alarm.name) => Err(unknown_alarm()),
        Triage::Targets(targets) => Ok(targets),
        Triage::Composite => match is_current(alarm, &bounds) {
            Err(reason) => Err(reason),
            Ok(()) => match guarding_alarms::named(context.cloud, &alarm.name).await? {
                Some(guarding) => {
                    let admission = context.config.admission(context.function, &PolicyOverrides::default());
                    accused(&guarding, &admission)
                }
                None => Err(unknown_alarm()),
            },
        },
    })
}

/// Runs the rollback of the stage that a target means. An alarm may name one stage in several ways, by its API's name and
/// by its id, say: for a stage whose run has `begun`, there is no second one.
async fn on_target<C: Cloud>(
    context: &Context<'_, C>,
    alarm: &Alarm,
    (target, by): (&Target, NamedBy),
    begun: &Mutex<BTreeSet<StageRef>>,
    turns: &Turns,
) -> Option<Report> {
    let trigger = Trigger::Alarm { name: &alarm.name, target };
    let request = RollbackRequest { trigger, version: None, dry: false };
    match resolve(context.cloud, context.config, target, by).await {
        Ok(Ok(stage)) => {
            let is_first = begun.lock().unwrap_or_else(PoisonError::into_inner).insert(stage.clone());
            if !is_first {
                return None;
            }
            Some(until_decided(context, &stage, request, &turns.of(&stage)).await)
        }
        Ok(Err(reason)) => Some(context.no(reason)),
        Err(error) => Some(context.failed(&error)),
    }
}

/// Runs the rollback of a stage. After a fast alarm, repeats it every few seconds until the requests of the release convict or
/// acquit it, or until it is up to the slower alarms. Those need not wait for it: each attempt takes a turn of its own.
async fn until_decided<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    request: RollbackRequest<'_>,
    turn: &tokio::sync::Mutex<()>,
) -> Report {
    let until = (context.began + context.config.decide).min(context.deadline);
    loop {
        let report = {
            let _turn = turn.lock().await;
            rollback(context, stage, request).await
        };
        let is_open = matches!(report.reason, Some(Reason::NotDecided { .. }));
        if !is_open || Instant::now() + LOOKS_AGAIN > until {
            return report;
        }
        tokio::time::sleep(LOOKS_AGAIN).await;
    }
}

/// Takes the report of the function in another Region as a hint about the stage of the same name here.
async fn on_sibling<C: Cloud>(context: &Context<'_, C>, report: &SiblingReport, turns: &Turns) -> Report {
    let trigger = TriggeredBy::sibling(&report.incident);
    let context = &context.triggered_by(&trigger);
    let home = context.config.home(context.account());
    let welcome = sibling::is_welcome(report, &home, context.function_name(), &context.config.siblings);
    let target = match welcome.and_then(|()| sibling::target(report)) {
        Ok(target) => target,
        Err(reason) => return context.no(reason),
    };
    match resolve(context.cloud, context.config, &target, NamedBy::AlarmOfMany).await {
        Ok(Ok(stage)) => {
            let turn = turns.of(&stage);
            let _turn = turn.lock().await;
            hear(context, &stage, &report.incident).await
        }
        Ok(Err(reason)) => context.no(reason),
        Err(error) => context.failed(&error),
    }
}

async fn on_refusal<C: Gateway + Parameters + Alarms>(
    context: &Context<'_, C>,
    alarm: &Alarm,
    reason: Reason,
    turns: &Turns,
) -> Vec<Report> {
    if reason != Reason::NotInAlarm(State::Ok) {
        return vec![context.no(reason)];
    }
    let targets = stages_named_by(alarm);
    let by = NamedBy::alarm_of(&targets);
    let mut reports = Vec::new();
    for target in &targets {
        // A failure about one stage leaves the reports about the others: their incidents are closed, and no retry reports that.
        let closed = on_ok(context, alarm, (target, by), turns).await;
        reports.extend(closed.unwrap_or_else(|error| Some(context.failed(&error))));
    }
    if reports.is_empty() { vec![context.no(reason)] } else { reports }
}

/// Closes the incident that the alarm opened on the stage that a target means. The OK in the message is only a hint:
/// CloudWatch must confirm it.
async fn on_ok<C: Gateway + Parameters + Alarms>(
    context: &Context<'_, C>,
    alarm: &Alarm,
    (target, by): (&Target, NamedBy),
    turns: &Turns,
) -> Result<Option<Report>, CloudError> {
    let config = context.config;
    let Ok(stage) = resolve(context.cloud, config, target, by).await? else { return Ok(None) };
    let turn = turns.of(&stage);
    let _turn = turn.lock().await;
    let wanted = [config.names.rollbacks(&stage)];
    let names = [alarm.name.clone()];
    let (found, now) = tokio::join!(context.cloud.parameters(&wanted), context.cloud.alarms(&names));
    let found = match found {
        Err(error) if config.is_not_ours(&error, |ours| *ours == stage) => return Ok(None),
        found => found?,
    };
    let on_record = config.on_record(&stage, &found);
    let Some(ok) = now?.into_iter().find(|now| now.alarm.state == State::Ok) else { return Ok(None) };
    let at = ok.alarm.changed_at.unwrap_or(context.now);
    match closing(&on_record.rollbacks, &alarm.name, at) {
        Some(closing) => Ok(Some(incident::close(context, &stage, &closing).await)),
        None => Ok(None),
    }
}

impl Answer {
    /// Returns the function's response: one report, or several. For SQS, it also lists the messages to deliver again.
    ///
    /// # Errors
    /// [`RunFailed`] if a run failed and no queue can deliver its message again. Lambda then repeats the event. Runs
    /// that succeeded before find nothing left to do.
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
