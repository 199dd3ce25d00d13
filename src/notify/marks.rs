//! The marks of notifications, so that people are notified once. A notification that SNS refused stays in its mark until a
//! later run or sweep has sent it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{LOOK_UP, daily, notification, short};
use crate::cloud::{Notification, Outbox, Parameters, Write, Written, is_next};
use crate::context::Context;
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::records::{self, Parameter, SCHEMA, Stored};
use crate::model::report::Report;

/// How long a sent notification is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(2);

/// The most marks that one sweep deletes.
const AT_MOST: usize = 50;

/// The mark of a notification. It is created only once, so that people are not notified twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMark {
    /// The record's schema.
    pub schema: u32,
    /// The time of sending.
    pub at: DateTime<Utc>,
    /// The run that sent the notification.
    pub run: String,
    /// Whether this run took the mark over from one whose notification SNS had refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
    /// What SNS refused and nobody has sent since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<Untold>,
}

/// A notification that SNS refused, shortened to fit into a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// The topic. Functions that share a prefix may have different ones.
    pub topic: String,
    /// The thread of the chat that it belongs to.
    pub thread: String,
    /// The subject.
    pub subject: String,
    /// The text for people.
    pub text: String,
    /// The report as JSON, for programs.
    pub report: String,
}

impl Stored for SentMark {
    const WHAT: &'static str = "mark of a notification";
}

/// Who sends a notification.
pub(super) enum Sender {
    /// This run.
    Us,
    /// Another run, which created the mark first.
    Other,
    /// Whoever has the news: the mark could not be written.
    Unknown(CloudError),
}

fn ours<C>(context: &Context<'_, C>, untold: Option<Untold>) -> SentMark {
    SentMark { schema: SCHEMA, at: context.now, run: context.id.to_owned(), taken_over: false, untold }
}

/// Creates the mark of this name, or takes over one whose notification nobody has sent (`PutParameter`, `GetParameters`).
pub(super) async fn mark<C: Parameters>(context: &Context<'_, C>, name: &str) -> Sender {
    let ours = ours(context, None);
    let put = context.cloud.put_parameter(name, &printed(&ours), Write::Create).await;
    if matches!(put, Ok(Written::Version(_))) {
        return Sender::Us;
    }
    let names = [name.to_owned()];
    let found = tokio::time::timeout(LOOK_UP, context.cloud.parameters(&names)).await;
    let found = found.ok().and_then(Result::ok).and_then(|found| found.into_iter().next());
    let first = found.as_ref().and_then(|found| records::parse::<SentMark>(&found.value).ok());
    match (found, first, put) {
        // A call whose answer was lost is repeated, so this run itself may be the first writer.
        (_, Some(first), _) if first == ours => Sender::Us,
        (Some(found), Some(SentMark { untold: Some(_), .. }), _) => match take_over(context, &found).await {
            Ok(true) => Sender::Us,
            Ok(false) => Sender::Other,
            Err(error) => Sender::Unknown(error),
        },
        (_, Some(_), _) | (_, None, Ok(_)) => Sender::Other,
        (_, None, Err(error)) => Sender::Unknown(error),
    }
}

/// Takes over a mark (`PutParameter`). Parameter Store numbers the versions, so only one run gets the next number.
///
/// # Errors
/// A failed call after which it is not known whether the mark was taken over (`GetParameters`).
async fn take_over<C: Parameters>(context: &Context<'_, C>, found: &Parameter) -> Result<bool, CloudError> {
    // A sweep sends kept notifications before its own reports, and one of these can be the same news. The run must then not
    // take this mark for one that it has just created.
    let taken = SentMark { taken_over: true, ..ours(context, None) };
    let put = context.cloud.put_parameter(&found.name, &printed(&taken), Write::Overwrite).await;
    match put {
        Ok(Written::Version(version)) if version == found.version + 1 => Ok(true),
        // This run's own write may have taken effect, and then nobody else sends the notification.
        Ok(_) | Err(_) => is_next(context.cloud, found, &printed(&taken)).await,
    }
}

/// Keeps what SNS refused in its mark, for a later run or sweep (`PutParameter`). Without an answer SNS may have sent it, and
/// people must not be notified twice. A run that could not create the mark may only do so now: one that is there by now is
/// that of another run, which has sent the notification.
pub(super) async fn keep<C: Parameters>(
    context: &Context<'_, C>,
    name: &str,
    untold: Untold,
    error: &CloudError,
    is_marked: bool,
) {
    if error.failure != Failure::NoAnswer {
        // If this fails too, the report and the metric `NotTold` record the failure.
        let value = printed(&ours(context, Some(untold)));
        let write = if is_marked { Write::Overwrite } else { Write::Create };
        context.cloud.put_parameter(name, &value, write).await.ok();
    }
}

/// Prints a mark, without the text for programs if it is too long.
fn printed(mark: &SentMark) -> String {
    records::print(mark).unwrap_or_else(|_| {
        let untold = mark.untold.clone().map(|untold| Untold { report: "{}".to_owned(), ..untold });
        records::print(&SentMark { untold, ..mark.clone() }).unwrap_or_default()
    })
}

impl Untold {
    /// Shortens the notification of a report.
    pub(super) fn of(topic: &str, report: &Report, notification: &Notification) -> Self {
        Self {
            topic: topic.to_owned(),
            thread: notification::thread(report),
            subject: notification.subject.clone(),
            text: short::kept(&notification.text, &report.run),
            report: short::smallest(report),
        }
    }

    fn notification(&self) -> Notification {
        let text = format!("{}\nThis comes late, because SNS refused it before.\n", self.text);
        let chat = notification::plain_chat(&self.subject, &text, &self.thread).to_string();
        Notification { subject: self.subject.clone(), text, chat, report: self.report.clone() }
    }
}

/// Sends what earlier runs could not send, and deletes the marks of old notifications and the counts of earlier days (`GetParametersByPath`, `Publish`,
/// `PutParameter`, `DeleteParameter`).
///
/// # Errors
/// A call that failed.
pub async fn tend<C: Parameters + Outbox>(context: &Context<'_, C>) -> Result<(), CloudError> {
    let Some(topic) = &context.config.notification_topic else { return Ok(()) };
    let found = context.cloud.parameters_under(&context.config.names.sent_marks()).await?;
    // A parameter that the function did not write is left alone.
    let marks =
        found.iter().filter_map(|found| Some((found, records::parse::<SentMark>(&found.value).ok()?)));
    let counts = found.iter().filter(|found| daily::is_over(found, context.now));
    let (old, recent): (Vec<_>, Vec<_>) = marks.partition(|(_, mark)| context.now - mark.at > REMEMBERED);
    // One that SNS always refuses must not hold up the others.
    let mut failed = Ok(());
    for (found, mark) in recent {
        let Some(untold) = mark.untold.filter(|untold| untold.topic == *topic) else { continue };
        match take_over(context, found).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                failed = Err(error);
                continue;
            }
        }
        if let Err(error) = context.cloud.publish(topic, &untold.notification()).await {
            keep(context, &found.name, untold, &error, true).await;
            failed = Err(error);
        }
    }
    for found in old.into_iter().map(|(found, _)| found).chain(counts).take(AT_MOST) {
        context.cloud.delete_parameter(&found.name).await?;
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::time;
    use crate::model::report::Outcome;
    use crate::model::trigger::UNKNOWN;

    #[test]
    fn a_kept_notification_fits_into_a_parameter_and_is_read_back() {
        let now = time("2026-11-20T10:06:00Z").unwrap();
        for message in ["short".to_owned(), "\"".repeat(9_000), "\u{1}".repeat(9_000), "ä".repeat(9_000)] {
            let report = Report::new("run-1", now, &UNKNOWN, Outcome::RolledBack, message);
            let notification = notification::of(&report, "apigw-rollback");
            let untold = Some(Untold::of("topic", &report, &notification));
            let mark = SentMark { schema: SCHEMA, at: now, run: "run-1".into(), taken_over: false, untold };
            let read: SentMark = records::parse(&printed(&mark)).unwrap();
            let kept = read.untold.unwrap();
            assert_eq!(kept.subject, notification.subject);
            assert!(serde_json::from_str::<serde_json::Value>(&kept.report).is_ok());
        }
    }
}
