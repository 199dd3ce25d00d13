//! The claim: which of several runs rolls a stage back, and every time that this depends on. Pure; `rollback::claim`
//! writes it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::model::records::{Incident, RollbackEntry, Rollbacks};

/// How long a rollback of several steps waits for its claim before it acts without one. Users come first if Parameter
/// Store is slow.
pub const HEAD_START: Duration = Duration::from_secs(1);

/// Runs that claim within this time of each other mean the same incident: duplicate deliveries, or two alarms of one bad
/// release.
const SAME_INCIDENT: TimeDelta = TimeDelta::minutes(10);

/// A run that claimed longer ago than this counts as dead. Lambda tries an event again after a minute, so the next try
/// takes over from a run that died.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(45);

/// A refused run undoes its steps within this time of its claim, by two clocks. A later change counts as somebody's, and
/// is left to the sweep.
const UNDOING: TimeDelta = TimeDelta::seconds(60);

/// No run takes longer: the function's time-out is five minutes.
pub(super) const LONGEST_RUN: TimeDelta = TimeDelta::minutes(6);

/// Whether the claim comes before the first step. With one step it is written beside the step, which saves a round trip.
/// With several, a refused run undoes its steps, and must not undo what another run has counted on.
#[must_use]
pub fn comes_first(plan: &Plan) -> bool {
    plan.steps.len() > 1 || plan.is_partly_done()
}

/// Whether the stage was rolled back so recently that an alarm which finds nothing to do means the same incident.
#[must_use]
pub fn is_fresh(rollbacks: &Rollbacks, now: DateTime<Utc>) -> bool {
    rollbacks.past.iter().any(|entry| now.signed_duration_since(entry.at) < SAME_INCIDENT)
}

/// Whether another run rolled the stage back right after this incident was opened.
#[must_use]
pub fn is_followed(rollbacks: &Rollbacks, incident: &Incident) -> bool {
    let after = |entry: &RollbackEntry| entry.at.signed_duration_since(incident.at);
    rollbacks.past.iter().any(|entry| after(entry) >= TimeDelta::zero() && after(entry) < SAME_INCIDENT)
}

/// Whether the run that opened this incident may still be acting.
#[must_use]
pub fn is_under_way(incident: &Incident, now: DateTime<Utc>) -> bool {
    (incident.at - now).abs() < UNDER_WAY && !incident.undone
}

/// Whether the incident that a run wants to open is the one that another run opened before.
#[must_use]
pub fn is_same(ours: &Incident, before: &Incident) -> bool {
    let close = ours.at.signed_duration_since(before.at).abs() < SAME_INCIDENT;
    // If the bad release was redeployed, a run that saw only its first deployment also counts as late.
    let as_live = match (ours.since, before.since) {
        (Some(ours), Some(theirs)) => ours <= theirs,
        _ => true,
    };
    close && as_live && !before.undone
}

/// The plan of the run that opened an incident, without its steps.
#[must_use]
pub fn plan_of(incident: &Incident) -> Plan {
    Plan {
        stage: incident.stage.clone(),
        from: incident.bad.clone(),
        to: incident.good.clone(),
        version: incident.version,
        steps: vec![],
        flush: false,
    }
}

/// Whether the stage shows another run's rollback half done. Then there is nothing to judge, and nothing to continue
/// while that run may still be acting.
#[must_use]
pub fn is_half_done(other_run: &Incident, observed: &Observed) -> bool {
    let Some(live) = &observed.live else { return false };
    live.release != other_run.bad
        && live.release != other_run.good
        && is_under_way(other_run, observed.at)
        && plan_of(other_run).passes_through(&live.release)
}

/// The incident of another run whose rollback is half done, if that half is the release that this run found. The half
/// has another fingerprint than the bad release, so the two runs would open an incident each.
pub fn half_done_by(mut all: impl Iterator<Item = Incident>, ours: &Incident) -> Option<Incident> {
    all.find(|one| {
        is_under_way(one, ours.at)
            && (&one.good, one.version) == (&ours.good, ours.version)
            && one.bad != ours.bad
            && plan_of(one).passes_through(&ours.bad)
    })
}

/// Since when the release was live before a refused run undid its steps, if that undoing can be the stage's last change.
/// API Gateway reports an undoing as a change, but the stage is as the alarm found it.
#[must_use]
pub fn live_before_undoing(incident: &Incident, changed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let undid = incident.undone && (changed_at - incident.at).abs() < UNDOING;
    incident.since.filter(|_| undid)
}
