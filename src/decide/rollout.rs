//! Decides the next move of a rollout. Pure.
//!
//! Each move either records a new state or changes the stage, and another look at the stage follows it. So whatever a dead run
//! left is finished by the next one, and traffic moves forward only by a step that has passed.

use chrono::{DateTime, TimeDelta, Utc};

use super::guilt::guilt;
use super::is_not_held;
use super::sibling;
use super::testimony::{Guarding, Testimony};
use crate::model::access_log::{AccessLog, Counted};
use crate::model::observed::{Observed, OnRecord};
use crate::model::plan::StageChange;
use crate::model::policy::{Mode, StagePolicy};
use crate::model::reason::stamp;
use crate::model::release::Release;
use crate::model::rollout::{Percent, Rollout, RolloutState};
use crate::model::traffic::Source;
use crate::model::trigger::author;

/// What the decision about a running rollout rests on.
#[derive(Clone, Copy, Debug)]
pub struct RolloutFacts<'a> {
    /// The rollout.
    pub rollout: &'a Rollout,
    /// Its stage.
    pub observed: &'a Observed,
    /// The guarding alarms of the stage.
    pub guarding: &'a [Guarding<'a>],
    /// The terms on which the stage is protected.
    pub policy: &'a StagePolicy,
    /// The time.
    pub now: DateTime<Utc>,
}

/// The next move of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Nothing moves yet.
    Wait(Waits),
    /// Record this state.
    Record(Box<Rollout>),
    /// Change the stage.
    Change(Box<StageChange>),
    /// Roll the stage back: the requests convict the canary.
    RollBack,
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing: it has ended.
    Ended,
    /// The end of the step's bake time.
    Bake(DateTime<Utc>),
    /// An operator who resumes or aborts it.
    Operator,
    /// The end of a hold or of observe mode: a clause.
    Permission(String),
    /// An alarm, which the function judges when its event arrives, and in the sweep: a clause.
    Alarm(String),
    /// Evidence after the bake time: a clause. People are told, because it may never come.
    Evidence(String),
}

impl Waits {
    /// Returns what it waits for, as a clause.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Ended => "has ended".to_owned(),
            Self::Bake(until) => format!("bakes until {}", stamp(*until)),
            Self::Operator => "is paused".to_owned(),
            Self::Permission(why) | Self::Alarm(why) | Self::Evidence(why) => format!("waits: {why}"),
        }
    }
}

/// What the stage serves, compared with a rollout.
enum Place {
    /// The base alone.
    Base,
    /// The base, and the canary with this share.
    Share(Percent),
    /// The promoted release, and the canary without traffic.
    HalfPromoted,
    /// The promoted release.
    Promoted,
    /// Something else, with the canary still on.
    Changed(String),
    /// Something else, without the canary.
    Other(String),
}

fn place(rollout: &Rollout, live: &Release) -> Place {
    let serves =
        |release: &Release| (&live.deployment, &live.variables) == (&release.deployment, &release.variables);
    let (at_base, at_promoted) = (serves(&rollout.base), serves(&rollout.promoted()));
    let Some(canary) = &live.canary else {
        return match (at_base, at_promoted) {
            (true, _) => Place::Base,
            (false, true) => Place::Promoted,
            (false, false) => {
                Place::Other(format!("the stage serves deployment `{}`, without the canary", live.deployment))
            }
        };
    };
    if !rollout.owns(canary) {
        let deployment = canary.deployment.as_deref().unwrap_or("that API Gateway does not name");
        return Place::Other(format!(
            "the stage has another canary, with deployment `{deployment}` or other variables"
        ));
    }
    match (at_base, at_promoted, Percent::read(&canary.percent)) {
        (true, _, Some(share)) => Place::Share(share),
        (true, _, None) => Place::Changed(format!("the canary gets `{}` % of the traffic", canary.percent)),
        (false, true, _) => Place::HalfPromoted,
        (false, false, _) => Place::Changed(format!(
            "the stage now serves deployment `{}` with other variables",
            live.deployment
        )),
    }
}

/// A look at the stage so soon after a step may be older than the step.
const OUT_OF_DATE: TimeDelta = TimeDelta::seconds(30);

/// Decides the next move.
#[must_use]
pub fn next_move(facts: &RolloutFacts<'_>) -> Move {
    let RolloutFacts { rollout, observed, now, .. } = *facts;
    if rollout.state.has_ended() {
        return Move::Wait(Waits::Ended);
    }
    let to = |state| Move::Record(Box::new(Rollout { state, since: now, ..rollout.clone() }));
    let Some(live) = &observed.live else {
        return to(RolloutState::Overtaken { why: "the stage does not exist any more".to_owned() });
    };
    // What the stage served before the step.
    let may_be_old = |share: Option<Percent>| {
        rollout.state == RolloutState::Baking && share == rollout.from && now - rollout.since < OUT_OF_DATE
    };
    let paused = |why: String| to(RolloutState::Paused { why, by: None });
    match (place(rollout, &live.release.in_stage()), &rollout.state) {
        (Place::Share(_) | Place::HalfPromoted | Place::Changed(_), RolloutState::Paused { .. }) => {
            Move::Wait(Waits::Operator)
        }
        (Place::Base, state) => match (rolled_back(rollout, &observed.on_record), state) {
            (Some(rolled_back), _) => to(rolled_back),
            (None, _) if may_be_old(None) => Move::Wait(Waits::Bake(rollout.bakes_until())),
            (None, RolloutState::Moving) if rollout.from.is_none() => begin(facts, &live.release),
            (None, RolloutState::Aborting) => {
                to(RolloutState::Aborted { why: "an operator removed the canary".to_owned() })
            }
            (None, _) => to(RolloutState::Aborted {
                why: "somebody else, or a run that died, removed the canary".to_owned(),
            }),
        },
        (Place::Promoted, _) => to(RolloutState::Promoted),
        (Place::Other(why), _) => to(RolloutState::Overtaken { why }),
        (Place::HalfPromoted, _) | (Place::Changed(_) | Place::Share(_), RolloutState::Aborting) => {
            Move::Change(Box::new(StageChange { remove_canary: true, ..StageChange::default() }))
        }
        (Place::Changed(why), _) => paused(why),
        (Place::Share(share), RolloutState::Moving) if share == rollout.share() => {
            let changed_at = live.updated_at;
            let live_since = rollout.live_since.or(changed_at);
            let state = RolloutState::Baking;
            Move::Record(Box::new(Rollout { state, since: now, changed_at, live_since, ..rollout.clone() }))
        }
        (Place::Share(share), RolloutState::Moving) if Some(share) == rollout.from => {
            step(facts, &live.release)
        }
        (Place::Share(share), RolloutState::Baking) if share == rollout.share() => baking(facts),
        (Place::Share(share), _) if may_be_old(Some(share)) => Move::Wait(Waits::Bake(rollout.bakes_until())),
        // An operator may skip the rest at any share.
        (Place::Share(share), RolloutState::Promoting) if Some(share) == rollout.from => promoting(facts),
        (Place::Share(share), _) => paused(format!(
            "somebody set the canary to {share} % of the traffic; this rollout had set {} %",
            rollout.share()
        )),
    }
}

/// Returns the end of a rollout whose stage was rolled back since it began.
fn rolled_back(rollout: &Rollout, on_record: &OnRecord) -> Option<RolloutState> {
    let last = on_record.rollbacks.past.iter().rev().find(|past| past.at >= rollout.started_at)?;
    let at = stamp(last.at);
    let why = match &last.alarm {
        Some(name) => format!("{} rolled the stage back at {at}", author(name)),
        None => format!("the stage was rolled back at {at}"),
    };
    Some(RolloutState::RolledBack { why, at: last.at, fingerprint: last.fingerprint.clone() })
}

/// What keeps every rollout from moving, if anything does.
fn forbidden(facts: &RolloutFacts<'_>) -> Option<Waits> {
    if let Err(held) = is_not_held(&facts.observed.on_record, facts.now) {
        return Some(Waits::Permission(held.to_string()));
    }
    // What another Region says holds the traffic, but it is no reason to keep what the requests here convict.
    if guilt(facts.observed, facts.policy).conviction().is_none()
        && let Some(why) = sibling::against_rollout(&facts.observed.on_record, facts.policy, facts.rollout)
    {
        return Some(Waits::Permission(why));
    }
    (facts.policy.mode == Mode::Observe).then(|| {
        Waits::Permission("the stage is in observe mode, so only operators may change it".to_owned())
    })
}

/// Returns what the evidence says against the canary, if anything does.
fn against(facts: &RolloutFacts<'_>) -> Option<Move> {
    if guilt(facts.observed, facts.policy).conviction().is_some() {
        return Some(Move::RollBack);
    }
    facts.guarding.iter().find_map(|one| {
        let name = &one.alarm.alarm.name;
        match &one.testimony {
            Testimony::Quiet => None,
            Testimony::Accuses | Testimony::Abstains(_) => {
                Some(Move::Wait(Waits::Alarm(format!("the alarm `{name}` is in ALARM"))))
            }
            Testimony::Unreadable(why) => {
                Some(Move::Wait(Waits::Evidence(format!("the alarm `{name}` cannot be resolved: {why}"))))
            }
        }
    })
}

/// Gives the stage its canary.
fn begin(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    let alarm = facts.guarding.iter().find(|one| one.testimony != Testimony::Quiet);
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    match alarm {
        Some(one) => Move::Wait(Waits::Alarm(format!("the alarm `{}` is not OK", one.alarm.alarm.name))),
        None => Move::Change(Box::new(StageChange::between(
            &facts.observed.stage,
            live,
            &facts.rollout.in_step(),
        ))),
    }
}

/// Gives the canary the share of the step.
fn step(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    let change = StageChange::between(&facts.observed.stage, &live.in_stage(), &facts.rollout.in_step());
    against(facts).unwrap_or_else(|| Move::Change(Box::new(change)))
}

fn promoting(facts: &RolloutFacts<'_>) -> Move {
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    let change = StageChange { promote_canary: true, ..StageChange::default() };
    against(facts).unwrap_or_else(|| Move::Change(Box::new(change)))
}

/// Judges a step whose canary has its share: it passes after its bake time, if enough requests speak for the canary and
/// nothing speaks against it.
fn baking(facts: &RolloutFacts<'_>) -> Move {
    let RolloutFacts { rollout, now, .. } = *facts;
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    if let Some(against) = against(facts) {
        return against;
    }
    let until = rollout.bakes_until();
    if now < until {
        return Move::Wait(Waits::Bake(until));
    }
    if let Err(why) = has_evidence(facts) {
        return Move::Wait(Waits::Evidence(why));
    }
    let passed = if rollout.is_last() {
        Rollout { state: RolloutState::Promoting, from: Some(rollout.share()), ..rollout.clone() }
    } else {
        let (step, from) = (rollout.step + 1, Some(rollout.share()));
        Rollout { state: RolloutState::Moving, step, from, ..rollout.clone() }
    };
    Move::Record(Box::new(Rollout { since: now, ..passed }))
}

/// Returns how many requests the canary has answered in the current step.
///
/// # Errors
/// A clause, if they could not be counted.
pub fn requests_in_step(rollout: &Rollout, observed: &Observed) -> Result<u64, String> {
    let traffic = match &observed.traffic {
        Some(Ok(traffic)) if traffic.source == Source::Deployments => traffic,
        Some(Err(error)) => return Err(format!("the requests of the canary could not be counted: {error}")),
        Some(Ok(_)) | None => {
            return Err(
                "the access log of the stage does not count the requests of each deployment".to_owned()
            );
        }
    };
    let in_step = traffic.canary.iter().filter(|bucket| bucket.begins >= rollout.since);
    Ok(in_step.fold(0, |sum: u64, bucket| sum.saturating_add(bucket.requests)))
}

fn has_evidence(facts: &RolloutFacts<'_>) -> Result<(), String> {
    let RolloutFacts { rollout, observed, .. } = *facts;
    let (seen, needed) = (requests_in_step(rollout, observed)?, rollout.terms.min_requests);
    if seen >= needed {
        return Ok(());
    }
    Err(format!("the canary answered {seen} of the {needed} requests that the step needs"))
}

/// Checks whether a rollout may begin on an observed stage.
///
/// # Errors
/// A clause.
pub fn may_begin(
    observed: &Observed,
    deployment: &str,
    quarantine: Option<&str>,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let Some(live) = &observed.live else { return Err("API Gateway has no such stage".to_owned()) };
    if observed.stage.protocol.is_v2() {
        return Err("only stages of REST APIs have canaries".to_owned());
    }
    if let Some(unreadable) = observed.on_record.rollout.as_ref().err() {
        return Err(format!("{unreadable}: delete it when no rollout is running"));
    }
    if let Err(held) = is_not_held(&observed.on_record, now) {
        return Err(held.to_string());
    }
    if policy.mode == Mode::Observe {
        return Err("the stage is in observe mode".to_owned());
    }
    let Some((_, record)) = observed.on_record.good() else {
        return Err("the stage has no known-good release to go back to".to_owned());
    };
    let base = Release { canary: None, ..live.release.clone() };
    if base != record.release.over(&base) {
        return Err(format!(
            "the stage serves deployment `{}`, which is not its known-good release: wait until it has baked, or record it",
            base.deployment
        ));
    }
    if deployment == base.deployment {
        return Err(format!("the stage already serves deployment `{deployment}`"));
    }
    if let Some(why) = quarantine {
        return Err(format!("deployment `{deployment}` is in quarantine: {why}"));
    }
    let counts = live.access_log.as_ref().and_then(AccessLog::counted);
    if counts != Some(Counted::ByDeployment) {
        return Err(
            "its access log does not count the requests of each deployment; set the format that `apigw-rollback access-log rest` prints"
                .to_owned(),
        );
    }
    Ok(())
}
