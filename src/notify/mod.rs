//! Notifies people and programs of reports. A pure function decides which reports are sent. The run sends them last, so
//! that sending neither delays nor undoes a rollback.

pub mod metrics;
pub mod notification;
pub mod short;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cloud::{Outbox, Parameters, Write, Written};
use crate::context::Context;
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::reason::Reason;
use crate::model::reason::stamp;
use crate::model::records::{self, SCHEMA, Stored};
use crate::model::report::{Outcome, Report};

/// How long a sent notification is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(2);

/// The detail type of the EventBridge events for programs.
const EVENT: &str = "API Gateway Rollback Report";

/// The mark of a sent notification. It is created only once, so that people are not notified twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMark {
    /// The record's schema.
    pub schema: u32,
    /// The time of sending.
    pub at: DateTime<Utc>,
    /// The run that sent the notification.
    pub run: String,
}

impl Stored for SentMark {
    const WHAT: &'static str = "mark of a notification";
}

/// How long a mark that could not be written is looked up. If Parameter Store does not answer, the notification must still
/// be sent before the run's time is over.
const LOOK_UP: Duration = Duration::from_secs(1);

/// The number of reports that are sent at the same time.
const SENT_AT_ONCE: usize = 8;

/// Notifies people and programs of every report, several at a time. A message that cannot be sent becomes a
/// warning of its report. Returns the number of messages that were not sent.
pub async fn notify<C: Parameters + Outbox>(context: &Context<'_, C>, reports: &mut [Report]) -> usize {
    // Several reports of one run can be about the same thing: people are notified of the first only.
    let mut seen = BTreeSet::new();
    let keys: Vec<_> =
        reports.iter().map(|report| key(report).filter(|key| seen.insert(key.clone()))).collect();
    let sent = stream::iter(reports.iter_mut().zip(keys)).map(|(report, key)| async move {
        let (people, programs) =
            tokio::join!(notify_people(context, report, key), notify_programs(context, report));
        let failed = [people.err(), programs.err()];
        let failed: Vec<NotSent> = failed.into_iter().flatten().collect();
        for error in &failed {
            tracing::error!(run = report.run, what = %error, "not sent");
            report.warnings.push(error.to_string());
        }
        failed.iter().filter(|error| matches!(error, NotSent::Refused(_))).count()
    });
    sent.buffer_unordered(SENT_AT_ONCE).collect::<Vec<usize>>().await.into_iter().sum()
}

async fn notify_people<C: Parameters + Outbox>(
    context: &Context<'_, C>,
    report: &Report,
    key: Option<String>,
) -> Result<(), NotSent> {
    let (Some(topic), Some(key)) = (&context.config.notification_topic, key) else { return Ok(()) };
    let mark = context.config.names.sent_mark(&key);
    let ours = SentMark { schema: SCHEMA, at: context.now, run: context.id.to_owned() };
    let notification = notification::of(report, context.function_name());
    let put = context.cloud.put_parameter(&mark, &json!(ours).to_string(), Write::Create).await;
    if !matches!(put, Ok(Written::Version(_))) {
        // A call whose answer was lost is repeated, so this run itself may be the first writer.
        let found =
            tokio::time::timeout(LOOK_UP, context.cloud.parameters(std::slice::from_ref(&mark))).await;
        let found = found.as_ref().ok().and_then(|found| found.as_ref().ok()).and_then(|found| found.first());
        let first = found.and_then(|found| records::parse::<SentMark>(&found.value).ok());
        match (first, put) {
            (Some(first), _) if first == ours => {}
            (Some(_), _) | (None, Ok(_)) => return Ok(()),
            // News is better told twice than not at all. Only what every sweep finds again can wait.
            (None, Err(error)) if report.outcome != Outcome::Attention => {
                context.cloud.publish(topic, &notification).await?;
                return Err(NotSent::NotMarked(error));
            }
            (None, Err(error)) => return Err(error.into()),
        }
    }
    let sent = context.cloud.publish(topic, &notification).await;
    if sent.as_ref().is_err_and(|error| error.failure != Failure::NoAnswer) {
        // SNS refused it, so the next run may send it. Without an answer SNS may have sent it, and people must not be
        // notified twice. The report and the metric `NotTold` record the failure.
        context.cloud.delete_parameter(&mark).await.ok();
    }
    Ok(sent?)
}

/// What went wrong with a notification.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    /// It was not sent.
    #[error("not sent: {0}")]
    Refused(#[from] CloudError),
    /// It was sent, but could not be marked as sent.
    #[error("people may be notified again: {0}")]
    NotMarked(CloudError),
}

async fn notify_programs<C: Parameters + Outbox>(
    context: &Context<'_, C>,
    report: &Report,
) -> Result<(), NotSent> {
    let Some(bus) = &context.config.event_bus else { return Ok(()) };
    if matches!(report.outcome, Outcome::Ignored | Outcome::Swept | Outcome::Status | Outcome::WouldRollBack)
    {
        return Ok(());
    }
    Ok(context.cloud.put_event(bus, EVENT, &short::report(report)).await?)
}

/// Returns the key of a report's notification; `None` if the report needs none. People are notified once for each key.
/// The result of one state change of an alarm is sent once. A lasting problem, which every sweep finds again, is sent
/// once a day.
fn key(report: &Report) -> Option<String> {
    let trigger = &report.signal;
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let outcome = report.outcome.word();
    // The key contains no error message: messages differ each time, and one notification is enough.
    let reason = report.code().unwrap_or_default();
    let alarm = trigger.name.as_deref().unwrap_or_default();
    match report.outcome {
        Outcome::RolledBack | Outcome::Recovered => {
            Some(digest(&[outcome, &stage, report.notification_key.as_deref().unwrap_or(&report.run)]))
        }
        Outcome::Held | Outcome::Rejected if passes(report) => None,
        Outcome::Held | Outcome::Rejected | Outcome::Failed | Outcome::NeedsHuman | Outcome::Attention => {
            match trigger.changed_at {
                Some(changed_at) if report.outcome != Outcome::Attention => {
                    Some(digest(&[outcome, reason, &stage, alarm, &stamp(changed_at)]))
                }
                // The operator reads the answer to the command.
                None if trigger.is_operator() => None,
                _ => Some(digest(&[outcome, reason, &stage, &report.at.date_naive().to_string()])),
            }
        }
        Outcome::WouldRollBack
        | Outcome::Recorded
        | Outcome::Status
        | Outcome::Promoted
        | Outcome::Swept
        | Outcome::Done
        | Outcome::Ignored => None,
    }
}

/// Whether no action is needed: the alarm is over, its actions are disabled, or another run just rolled the stage back.
fn passes(report: &Report) -> bool {
    let is_over =
        matches!(report.reason, Some(Reason::AlarmCleared { .. } | Reason::AlarmActionsDisabled { .. }));
    is_over || report.handled
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).fold(String::new(), |print, byte| print + &format!("{byte:02x}"))
}

/// Deletes the marks of old notifications (`GetParametersByPath`, `DeleteParameter`).
///
/// # Errors
/// The first call that failed.
pub async fn remove_old_marks<C: Parameters + Outbox>(context: &Context<'_, C>) -> Result<(), CloudError> {
    const AT_MOST: usize = 50;
    if context.config.notification_topic.is_none() {
        return Ok(());
    }
    let marks = context.cloud.parameters_under(&context.config.names.sent_marks()).await?;
    let old = marks.iter().filter(|mark| match records::parse::<SentMark>(&mark.value) {
        Ok(described) => context.now - described.at > REMEMBERED,
        // The function did not write this parameter, so it does not delete it.
        Err(_) => false,
    });
    for mark in old.take(AT_MOST) {
        context.cloud.delete_parameter(&mark.name).await?;
    }
    Ok(())
}

/// Writes the one log line of a report: the fields to search by, and the whole report as JSON.
pub fn log(report: &Report) {
    // The command-line tool prints its reports itself.
    if !tracing::enabled!(tracing::Level::ERROR) {
        return;
    }
    let whole = serde_json::to_string(report).unwrap_or_else(|error| error.to_string());
    let outcome = report.outcome.word();
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (alarm, trace, incident) = (text(&report.signal.name), text(&report.trace), text(&report.incident));
    let reason = report.code().unwrap_or_default();
    let Report { run, message: what, .. } = report;
    if report.outcome.is_failure() {
        tracing::error!(outcome, reason, stage, alarm, incident, run, trace, what, report = whole, "report");
    } else {
        tracing::info!(outcome, reason, stage, alarm, incident, run, trace, what, report = whole, "report");
    }
}
