//! The most notifications about one alarm in a day. Whoever may publish a message or change an alarm could otherwise send
//! people any number of them, and the real one would be lost among these. Pure, except for the counts in Parameter Store.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::{LOOK_UP, digest, is_made_up};
use crate::cloud::{Parameters, Write};
use crate::context::Context;
use crate::model::records::{self, Parameter, SCHEMA, Stored};
use crate::model::report::{Outcome, Report};

/// The most notifications about one alarm in a day (UTC) that say why the function did not act. Runs that notify people at
/// the same moment may send a few more.
const MOST: u32 = 10;

/// `GetParameters` takes this many names at a time.
const NAMES: usize = 10;

/// How many notifications about one alarm were sent in a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// The record's schema.
    schema: u32,
    /// The day.
    day: NaiveDate,
    /// The number.
    sent: u32,
}

impl Stored for Count {
    const WHAT: &'static str = "count of notifications";
}

/// Whether a report may still be sent to people today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may.
    Free,
    /// It is the last one about its alarm today.
    Last,
    /// Others about its alarm were sent, the last of which said so.
    Over,
}

/// The counts of the alarms that an event's reports are about, by the names of their parameters.
pub(super) struct Counts {
    day: NaiveDate,
    before: BTreeMap<String, u32>,
    sent: BTreeMap<String, u32>,
}

/// Whether CloudWatch has confirmed the alarm of a report. Otherwise its name may be made up.
fn is_confirmed(report: &Report) -> bool {
    report.stage.is_some() && !is_made_up(report)
}

/// Returns the name of the count of a report's alarm; `None` for a report that is always sent. Alarms that CloudWatch did not
/// confirm can have any name, so those with the same reason share one count.
fn count_of<C>(context: &Context<'_, C>, report: &Report) -> Option<String> {
    let is_refusal = matches!(report.outcome, Outcome::Held | Outcome::Rejected);
    report.signal.changed_at.filter(|_| is_refusal)?;
    let alarm = report.signal.name.as_deref().unwrap_or_default();
    let count = if is_confirmed(report) {
        digest(&["alarm", alarm])
    } else {
        digest(&["reason", report.code().unwrap_or_default()])
    };
    Some(context.config.names.sent_mark(&format!("count-{count}")))
}

/// Reads the counts that the reports for people need (`GetParameters`, ten names at a time). One that cannot be read does not
/// count: people are rather notified once more.
pub(super) async fn read<C: Parameters>(context: &Context<'_, C>, reports: &[&Report]) -> Counts {
    let day = context.now.date_naive();
    let mut sent: BTreeMap<String, u32> =
        reports.iter().filter_map(|report| Some((count_of(context, report)?, 0))).collect();
    let names: Vec<String> = sent.keys().cloned().collect();
    let reads = names.chunks(NAMES).map(|names| async move {
        let found = tokio::time::timeout(LOOK_UP, context.cloud.parameters(names)).await;
        (names, found.ok().and_then(Result::ok))
    });
    for (names, found) in futures_util::future::join_all(reads).await {
        let Some(found) = found else {
            sent.retain(|name, _| !names.contains(name));
            continue;
        };
        for found in found {
            let count = records::parse::<Count>(&found.value).ok().filter(|count| count.day == day);
            if let (Some(sent), Some(count)) = (sent.get_mut(&found.name), count) {
                *sent = count.sent;
            }
        }
    }
    Counts { day, before: sent.clone(), sent }
}

impl Counts {
    /// Takes the next turn of the report's alarm.
    pub(super) fn take<C>(&mut self, context: &Context<'_, C>, report: &Report) -> Turn {
        let Some(name) = count_of(context, report) else { return Turn::Free };
        let Some(sent) = self.sent.get_mut(&name) else { return Turn::Free };
        *sent = sent.saturating_add(1);
        match (*sent).cmp(&MOST) {
            std::cmp::Ordering::Less => Turn::Free,
            std::cmp::Ordering::Equal => Turn::Last,
            std::cmp::Ordering::Greater => Turn::Over,
        }
    }

    /// Gives the turn of a report back that was not sent.
    pub(super) fn give_back<C>(&mut self, context: &Context<'_, C>, report: &Report) {
        let sent = count_of(context, report).and_then(|name| self.sent.get_mut(&name));
        if let Some(sent) = sent {
            *sent = sent.saturating_sub(1);
        }
    }

    /// Writes the counts (`PutParameter`). If a write fails, people may be notified more often.
    pub(super) async fn write<C: Parameters>(self, context: &Context<'_, C>) {
        for (name, sent) in self.sent {
            let sent = sent.min(MOST);
            if self.before.get(&name) == Some(&sent) {
                continue;
            }
            let count = Count { schema: SCHEMA, day: self.day, sent };
            if let Ok(value) = records::print(&count) {
                let put = context.cloud.put_parameter(&name, &value, Write::Overwrite);
                tokio::time::timeout(LOOK_UP, put).await.ok();
            }
        }
    }
}

/// Whether a parameter counts the notifications of a day that is over.
pub(super) fn is_over(found: &Parameter, now: DateTime<Utc>) -> bool {
    records::parse::<Count>(&found.value).is_ok_and(|count| count.day < now.date_naive())
}

/// What the last notification of a day says.
pub(super) fn last(report: &Report) -> &'static str {
    if is_confirmed(report) {
        "this is the last notification about this alarm today (UTC): later reports are only in the function's log; find out \
         who changes the alarm or sends these messages"
    } else {
        "this is the last notification for this reason about alarms that CloudWatch does not confirm today (UTC): later \
         reports are only in the function's log; find out who sends these messages"
    }
}
