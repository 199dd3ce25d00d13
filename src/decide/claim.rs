//! The claim: decides which of several runs rolls a stage back, and holds every time limit for that. Pure;
//! `rollback::claim` writes the claim.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::model::records::{Incident, RollbackEntry, Rollbacks};
use crate::model::release::Release;

/// How long a rollback of several steps waits for its claim before it acts without one. If Parameter Store is slow, the
/// rollback matters more than the claim.
pub const HEAD_START: Duration = Duration::from_secs(1);

/// Runs that claim within this time of each other belong to the same incident: duplicate deliveries, or two alarms of
/// one bad release.
const SAME_INCIDENT: TimeDelta = TimeDelta::minutes(10);

/// A run that claimed longer ago than this counts as dead. Lambda retries an event after a minute, so the retry takes
/// over from a dead run.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(45);

/// A refused run undoes its steps within this time of its claim, measured by two clocks. A later change counts as
/// another deploy, and only the sweep judges it.
const UNDOING: TimeDelta = TimeDelta::seconds(60);

/// No run takes longer: the function's timeout is five minutes.
pub(super) const LONGEST_RUN: TimeDelta = TimeDelta::minutes(6);

/// Reports whether the claim comes before the first step. A claim for one step is written at the same time as the step,
/// which saves a round trip. A refused run of several steps undoes them, and must not undo another run's steps.
#[must_use]
pub fn comes_first(plan: &Plan) -> bool {
    plan.steps.len() > 1 || plan.is_partly_done()
}

/// Reports whether the stage was rolled back so recently that an alarm with nothing left to do is the same incident.
#[must_use]
pub fn is_fresh(rollbacks: &Rollbacks, now: DateTime<Utc>) -> bool {
    rollbacks.past.iter().any(|entry| now.signed_duration_since(entry.at) < SAME_INCIDENT)
}

/// Reports whether another run rolled the stage back right after this incident was opened.
#[must_use]
pub fn is_followed(rollbacks: &Rollbacks, incident: &Incident) -> bool {
    let after = |entry: &RollbackEntry| entry.at.signed_duration_since(incident.at);
    rollbacks.past.iter().any(|entry| after(entry) >= TimeDelta::zero() && after(entry) < SAME_INCIDENT)
}

/// Reports whether the run that opened this incident may still be acting.
#[must_use]
pub fn is_under_way(incident: &Incident, now: DateTime<Utc>) -> bool {
    (incident.at - now).abs() < UNDER_WAY && !incident.undone
}

/// Reports whether a run wants to open the same incident that another run opened before.
#[must_use]
pub fn is_same(ours: &Incident, before: &Incident) -> bool {
    let close = ours.at.signed_duration_since(before.at).abs() < SAME_INCIDENT;
    // If the bad release was redeployed, a run that saw only its first deployment also counts as late.
    let is_not_newer = match (ours.since, before.since) {
        (Some(ours), Some(theirs)) => ours <= theirs,
        _ => true,
    };
    close && is_not_newer && !before.undone
}

/// Returns the plan of the run that opened an incident, without its steps.
#[must_use]
pub fn plan_of(incident: &Incident) -> Plan {
    Plan {
        stage: incident.stage.clone(),
        from: incident.bad.release.clone(),
        to: incident.good.release.clone(),
        version: incident.version,
        steps: vec![],
        flush: false,
    }
}

/// Whether a release occurs during an incident's rollback. An incident that keeps only parts of its releases cannot tell.
fn passes_through(incident: &Incident, release: &Release) -> bool {
    incident.is_whole() && plan_of(incident).passes_through(release)
}

/// Reports whether the stage is halfway through another run's rollback. While that run may still be acting, this run
/// must neither judge the stage nor continue the rollback.
#[must_use]
pub fn is_half_done(other_run: &Incident, observed: &Observed) -> bool {
    let Some(live) = &observed.live else { return false };
    !other_run.bad.is(&live.release)
        && !other_run.good.is(&live.release)
        && is_under_way(other_run, observed.at)
        && passes_through(other_run, &live.release)
}

/// Returns the incident of another run whose half-done rollback this run found as the live release. A half-done release
/// has another fingerprint than the bad one, so each run would open its own incident.
pub fn half_done_by(mut all: impl Iterator<Item = Incident>, ours: &Incident) -> Option<Incident> {
    all.find(|one| {
        is_under_way(one, ours.at)
            && (one.good.fingerprint(), one.version) == (ours.good.fingerprint(), ours.version)
            && one.bad.fingerprint() != ours.bad.fingerprint()
            && ours.is_whole()
            && passes_through(one, &ours.bad.release)
    })
}

/// Returns the incident whose rollback made the stage serve this release a moment ago, if any. The list of rollbacks does not
/// have it yet, or its run died before it could write the list.
pub fn just_rolled_back(
    all: impl Iterator<Item = Incident>,
    live: &Release,
    now: DateTime<Utc>,
) -> Option<Incident> {
    let is_it = |one: &Incident| {
        one.good.is(live) && !one.undone && now.signed_duration_since(one.at) < SAME_INCIDENT
    };
    all.filter(is_it).max_by_key(|one| one.at)
}

/// Returns since when the release was live before a refused run undid its steps, if that undo can be the stage's last
/// change. API Gateway reports the undo as a change, but the stage is as it was when the alarm fired.
#[must_use]
pub fn live_before_undoing(incident: &Incident, changed_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let undid = incident.undone && (changed_at - incident.at).abs() < UNDOING;
    incident.since.filter(|_| undid)
}
