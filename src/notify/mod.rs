//! Tells people and programs what happened: who is told what is decided here, purely; the sending comes after
//! everything else, so that it neither delays nor undoes a rollback.

pub mod metrics;
pub mod notification;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cloud::{Cloud, CloudError, Failure, Write, Written};
use crate::context::Run;
use crate::model::reason::stamp;
use crate::model::records::{self, SCHEMA, Stored};
use crate::model::report::{Outcome, Report};

/// How long it is remembered what people were told.
const REMEMBERED: TimeDelta = TimeDelta::days(2);

/// The detail type of the events for programs.
const EVENT: &str = "API Gateway Rollback Report";

/// The mark that people were told something: created once, so that nobody is told twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The record's schema.
    pub schema: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// By which run.
    pub run: String,
}

impl Stored for Told {
    const WHAT: &'static str = "mark of a notification";
}

/// Tells of every report, several at a time. What cannot be sent is added to its report's warnings.
pub async fn tell<C: Cloud>(run: &Run<'_, C>, reports: &mut [Report]) {
    const AT_ONCE: usize = 8;
    // Several reports of one run can be the same news: people hear of the first.
    let mut heard = BTreeSet::new();
    let news: Vec<_> =
        reports.iter().map(|report| news(report).filter(|n| heard.insert(n.clone()))).collect();
    let told = stream::iter(reports.iter_mut().zip(news)).map(|(report, news)| async move {
        let (people, programs) = tokio::join!(tell_people(run, report, news), tell_programs(run, report));
        for error in [people.err(), programs.err()].into_iter().flatten() {
            tracing::error!(run = report.run, what = %error, "not told");
            report.warnings.push(format!("not told: {error}"));
        }
    });
    told.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn tell_people<C: Cloud>(
    run: &Run<'_, C>,
    report: &Report,
    news: Option<String>,
) -> Result<(), CloudError> {
    let (Some(topic), Some(news)) = (&run.config.notify, news) else { return Ok(()) };
    let mark = run.config.names.told(&news);
    let ours = Told { schema: SCHEMA, at: run.now, run: run.id.to_owned() };
    if run.cloud.put_parameter(&mark, &json!(ours).to_string(), Write::Create).await? == Written::Exists {
        // The SDK sends a call again whose answer was lost, so whoever was first may be this run.
        let found = run.cloud.parameters(std::slice::from_ref(&mark)).await?;
        let first = found.first().and_then(|found| records::parse::<Told>(&found.value).ok());
        if first != Some(ours) {
            return Ok(());
        }
    }
    let notice = notification::of(report, run.function_name());
    let sent = run.cloud.publish(topic, &notice).await;
    if sent.as_ref().is_err_and(|error| error.failure != Failure::NoAnswer) {
        // It was refused, so whoever comes next tells. Without an answer it may have been sent, and people are not
        // told twice; the report and the metric `NotTold` say so.
        run.cloud.delete_parameter(&mark).await.ok();
    }
    sent
}

async fn tell_programs<C: Cloud>(run: &Run<'_, C>, report: &Report) -> Result<(), CloudError> {
    let Some(bus) = &run.config.bus else { return Ok(()) };
    if matches!(report.outcome, Outcome::Ignored | Outcome::Swept | Outcome::Status | Outcome::WouldRollBack)
    {
        return Ok(());
    }
    run.cloud.put_event(bus, EVENT, &json!(report).to_string()).await
}

/// The news of a report, as a short name: the same for every report of the same news, of which people hear once.
/// `None` where nothing happened that anybody must hear of. What an alarm's call led to is told once for that
/// call, and what lasts (a hole in the net that every sweep finds again) once a day.
fn news(report: &Report) -> Option<String> {
    let signal = &report.signal;
    let name = |parts: &[&str]| Some(digest(parts));
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let outcome = notification::headline(report.outcome);
    // What failed calls say differs from call to call, and the first one is news enough.
    let reason = report.reason.unwrap_or_default();
    let alarm = signal.name.as_deref().unwrap_or_default();
    match report.outcome {
        Outcome::RolledBack | Outcome::Recovered => {
            name(&[outcome, &stage, report.news.as_deref().unwrap_or(&report.run)])
        }
        Outcome::Held | Outcome::Rejected if passes(report) => None,
        Outcome::Held | Outcome::Rejected | Outcome::Failed | Outcome::NeedsHuman | Outcome::Attention => {
            match signal.changed_at {
                Some(changed_at) if report.outcome != Outcome::Attention => {
                    name(&[outcome, reason, &stage, alarm, &stamp(changed_at)])
                }
                // Commands are answered to whoever sent them.
                None if is_a_persons(report) => None,
                _ => name(&[outcome, reason, &stage, &report.at.date_naive().to_string()]),
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

/// What needs nobody: the alarm is over, somebody switched it off, or another run just put the stage back.
fn passes(report: &Report) -> bool {
    ["alarm-cleared", "alarm-actions-disabled"].iter().any(|code| report.reason == Some(code))
        || report.handled
}

fn is_a_persons(report: &Report) -> bool {
    !["alarm", "sweep", "unknown"].contains(&report.signal.kind.as_str())
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).fold(String::new(), |print, byte| print + &format!("{byte:02x}"))
}

/// Forgets what people were told long ago.
///
/// # Errors
/// The first call that failed.
pub async fn forget<C: Cloud>(run: &Run<'_, C>) -> Result<(), CloudError> {
    const AT_MOST: usize = 50;
    if run.config.notify.is_none() {
        return Ok(());
    }
    let marks = run.cloud.parameters_under(&run.config.names.all_told()).await?;
    let old = marks.iter().filter(|mark| match records::parse::<Told>(&mark.value) {
        Ok(told) => run.now - told.at > REMEMBERED,
        // Not ours, so not to be deleted.
        Err(_) => false,
    });
    for mark in old.take(AT_MOST) {
        run.cloud.delete_parameter(&mark.name).await?;
    }
    Ok(())
}
