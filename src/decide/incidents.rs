//! Finds the incidents that are open, those that an OK closes, and those that no run reported. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::claim::LONGEST_RUN;
use crate::model::observed::OnRecord;
use crate::model::records::{Incident, RollbackEntry, Rollbacks};
use crate::model::release::Release;

/// The incidents that the OK of an alarm closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The name of the alarm that is OK: of a composite alarm, that of the stage's leaf.
    pub alarm: String,
    /// The time since which it is OK.
    pub at: DateTime<Utc>,
    /// The last rollback for this alarm.
    pub entry: RollbackEntry,
    /// The list of rollbacks with all rollbacks for this alarm closed.
    pub rollbacks: Rollbacks,
}

/// Returns the incidents that an alarm's OK since `at` closes; `None` if it closes none.
#[must_use]
pub fn closing(rollbacks: &Rollbacks, alarm: &str, at: DateTime<Utc>) -> Option<Closing> {
    let is_open =
        |entry: &RollbackEntry| entry.recovered_at.is_none() && entry.alarm.as_deref() == Some(alarm);
    let entry = rollbacks.past.iter().rev().find(|entry| is_open(entry))?.clone();
    // CloudWatch may truncate its times to whole seconds.
    let at = at.max(entry.at);
    let mut rollbacks = rollbacks.clone();
    rollbacks.past.iter_mut().filter(|entry| is_open(entry)).for_each(|entry| entry.recovered_at = Some(at));
    Some(Closing { alarm: alarm.to_owned(), at, entry, rollbacks })
}

/// Returns the last rollback for this alarm that is not closed yet.
#[must_use]
pub fn last_open<'a>(rollbacks: &'a Rollbacks, alarm: &str) -> Option<&'a RollbackEntry> {
    let is_open =
        |entry: &&RollbackEntry| entry.recovered_at.is_none() && entry.alarm.as_deref() == Some(alarm);
    rollbacks.past.iter().rev().find(is_open)
}

/// Returns the incidents whose rollback is missing from the stage's list: their runs died first, or another run
/// overwrote their entry. The list keeps only the latest rollbacks, so older incidents are not expected on it.
#[must_use]
pub fn unlisted<'a>(
    on_record: &OnRecord,
    incidents: &'a [Incident],
    live: &Release,
    now: DateTime<Utc>,
) -> Vec<&'a Incident> {
    let past = &on_record.rollbacks.past;
    let oldest = past.first().filter(|_| past.len() >= Rollbacks::KEPT).map(|oldest| oldest.at);
    let is_unlisted = |incident: &&Incident| {
        let age = now.signed_duration_since(incident.at);
        // A younger run may still be acting.
        age > LONGEST_RUN
            && age < TimeDelta::days(1)
            && oldest.is_none_or(|oldest| incident.at > oldest)
            && !is_listed(&on_record.rollbacks, incident)
            && !incident.undone
            && incident.good.is(live)
    };
    incidents.iter().filter(is_unlisted).collect()
}

/// Whether an incident is older than incidents are kept.
#[must_use]
pub fn has_expired(incident: &Incident, kept: TimeDelta, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(incident.at) > kept
}

/// Whether an incident keeps its release in quarantine. A release whose deployment no longer exists needs no quarantine.
#[must_use]
pub fn quarantines(incident: &Incident) -> bool {
    incident.lifted_by.is_none() && !incident.undone
}

/// Whether a rollback is on the stage's list. The run that lost the claim may have written its entry, with its own time.
#[must_use]
pub fn is_listed(rollbacks: &Rollbacks, incident: &Incident) -> bool {
    let fingerprint = incident.bad.fingerprint();
    let is_near = |entry: &RollbackEntry| (entry.at - incident.at).abs() < LONGEST_RUN;
    rollbacks.past.iter().any(|entry| entry.fingerprint == fingerprint && is_near(entry))
}

/// Returns an incident's entry for the list of rollbacks.
#[must_use]
pub fn entry_of(incident: &Incident) -> RollbackEntry {
    RollbackEntry {
        at: incident.at,
        fingerprint: incident.bad.fingerprint(),
        alarm: Some(incident.by.clone()).filter(|_| incident.by_alarm || incident.sibling.is_some()),
        alarm_at: incident.alarm_at,
        other_source: incident.other_source,
        recovered_at: incident.recovered_at,
        lifted: incident.lifted_by.is_some(),
    }
}
