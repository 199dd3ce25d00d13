//! Notifies people and programs of reports. A pure function decides which reports are sent. The run sends them last, so
//! that sending neither delays nor undoes a rollback.

mod daily;
pub mod marks;
pub mod message;
pub mod metrics;
pub mod notification;
pub mod short;
mod steps;
mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::cloud::{Outbox, Parameters};
use crate::context::Context;
use crate::model::cloud_error::CloudError;
use crate::model::reason::{NO_SUCH_ALARM, Reason, stamp};
use crate::model::report::{Outcome, Report};
use crate::model::sibling::DETAIL_TYPE;
use daily::Turn;
use marks::{Sender, Untold};

/// How long a count, or a mark that could not be written, is looked up. If Parameter Store does not answer, the notification
/// must still be sent before the run's time is over.
const LOOK_UP: Duration = Duration::from_secs(1);

/// The number of reports that are sent at the same time.
const SENT_AT_ONCE: usize = 8;

/// Notifies people and programs of every report, several at a time. A message that cannot be sent becomes a
/// warning of its report. Returns the number of messages that were not sent.
pub async fn notify<C: Parameters + Outbox>(context: &Context<'_, C>, reports: &mut [Report]) -> usize {
    // Several reports of one run can be about the same thing: people are notified of the first only.
    let mut seen = BTreeSet::new();
    let key = |report| key(report).filter(|_| context.config.notification_topic.is_some());
    let keys: Vec<_> =
        reports.iter().map(|report| key(report).filter(|key| seen.insert(key.clone()))).collect();
    let for_people: Vec<&Report> =
        reports.iter().zip(&keys).filter(|(_, key)| key.is_some()).map(|(report, _)| report).collect();
    let mut counts = daily::read(context, &for_people).await;
    let turns: Vec<Turn> = for_people.into_iter().map(|report| counts.take(context, report)).collect();
    let mut turns = turns.into_iter();
    let keys = keys.into_iter().map(|key| key.and_then(|key| Some((key, turns.next()?))));
    let sent = stream::iter(reports.iter_mut().zip(keys)).map(|(report, key)| async move {
        let (people, programs) =
            tokio::join!(notify_people(context, report, key), notify_programs(context, report));
        let is_sent = matches!(people, Ok(true) | Err(NotSent::NotMarked(_)));
        let failed = [people.err(), programs.err()];
        let failed: Vec<NotSent> = failed.into_iter().flatten().collect();
        for error in &failed {
            tracing::error!(run = report.run, what = %error, "not sent");
            report.warnings.push(error.to_string());
        }
        let refused = failed
            .iter()
            .filter(|error| matches!(error, NotSent::Refused(_) | NotSent::RefusedUnmarked(..)))
            .count();
        (&*report, is_sent, refused)
    });
    let sent: Vec<(&Report, bool, usize)> = sent.buffer_unordered(SENT_AT_ONCE).collect().await;
    for (report, ..) in sent.iter().filter(|(_, is_sent, _)| !is_sent) {
        counts.give_back(context, report);
    }
    counts.write(context).await;
    sent.into_iter().map(|(_, _, refused)| refused).sum()
}

/// Sends a report to people, unless another run has. Returns whether this run did.
async fn notify_people<C: Parameters + Outbox>(
    context: &Context<'_, C>,
    report: &Report,
    key: Option<(String, Turn)>,
) -> Result<bool, NotSent> {
    let (Some(topic), Some((key, turn))) = (&context.config.notification_topic, key) else {
        return Ok(false);
    };
    if turn == Turn::Over {
        return Err(NotSent::TooMany);
    }
    let mark = context.config.names.sent_mark(&key);
    let mut report = context.config.shown(report).into_owned();
    let note = (turn == Turn::Last).then(|| daily::last(&report));
    report.next.extend(note.map(str::to_owned));
    let notification = notification::with_note(&report, context.function_name(), note);
    let unmarked = match marks::mark(context, &mark).await {
        Sender::Us => None,
        Sender::Other => return Ok(false),
        // News is better told twice than not at all. Only what every sweep finds again can wait.
        Sender::Unknown(error) if report.outcome != Outcome::Attention => Some(error),
        Sender::Unknown(error) => return Err(error.into()),
    };
    if let Err(error) = context.cloud.publish(topic, &notification).await {
        let untold = Untold::of(topic, &report, &notification);
        marks::keep(context, &mark, untold, &error, unmarked.is_none()).await;
        return Err(match unmarked {
            Some(not_marked) => NotSent::RefusedUnmarked(Box::new(error), Box::new(not_marked)),
            None => error.into(),
        });
    }
    unmarked.map_or(Ok(true), |error| Err(NotSent::NotMarked(error)))
}

/// What went wrong with a notification.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    /// It was not sent.
    #[error("not sent: {0}")]
    Refused(#[from] CloudError),
    /// It was not sent, as far as SNS answered, and could not be marked.
    #[error("not sent: {0}; people may be notified again: {1}")]
    RefusedUnmarked(Box<CloudError>, Box<CloudError>),
    /// The notifications about its alarm are used up for today, and the last one said so.
    #[error("not sent: people were notified of this alarm too often today")]
    TooMany,
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
    // If a rule forwards every report, this one would be refused in turn, and so on without end.
    if report.outcome == Outcome::Rejected && report.signal.is_sibling() {
        return Ok(());
    }
    Ok(context.cloud.put_event(bus, DETAIL_TYPE, &short::report(&context.config.shown(report))).await?)
}

/// Returns the key of a report's notification; `None` if the report needs none. People are notified once for each key.
/// The result of one state change of an alarm is sent once. A lasting problem, which every sweep finds again, is sent
/// once a day.
#[must_use]
pub fn key(report: &Report) -> Option<String> {
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
        // The same news as that of the rollback.
        Outcome::RolloutAborted if report.people.rolled_back_at.is_some() => {
            let rolled_back = Outcome::RolledBack.word();
            Some(digest(&[rolled_back, &stage, report.notification_key.as_deref()?]))
        }
        // Once for each state of a rollout, no matter who gave the order.
        Outcome::RolloutStarted
        | Outcome::RolloutPaused
        | Outcome::RolloutPromoted
        | Outcome::RolloutAborted => Some(digest(&[outcome, &stage, report.notification_key.as_deref()?])),
        Outcome::Held | Outcome::Rejected if passes(report) => None,
        Outcome::Held | Outcome::Rejected | Outcome::Failed | Outcome::NeedsHuman | Outcome::Attention => {
            match trigger.changed_at {
                // Once for each incident of a sibling.
                None if report.notification_key.is_some() && trigger.is_sibling() => {
                    Some(digest(&[outcome, reason, &stage, report.notification_key.as_deref()?]))
                }
                Some(_) if is_made_up(report) => {
                    Some(digest(&[outcome, reason, &report.at.date_naive().to_string()]))
                }
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
        | Outcome::RolloutStep
        | Outcome::Swept
        | Outcome::Done
        | Outcome::Ignored => None,
    }
}

/// Whether CloudWatch does not have the alarm. Whoever publishes such messages can make up any name, stage and time.
fn is_made_up(report: &Report) -> bool {
    matches!(&report.reason, Some(Reason::AlarmUnknown { why, .. }) if why == NO_SUCH_ALARM)
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
