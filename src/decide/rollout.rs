//! Decides the next move of a rollout. Pure.
//!
//! Each move either records a new state or changes the stage, and another look at the stage follows it. So whatever a dead run
//! left is finished by the next one, and traffic moves forward only by a step that has passed.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::guilt::guilt;
use super::is_not_held;
use super::rollout_place::{Place, place};
use super::sibling;
use super::testimony::{Guarding, Testimony};
use crate::model::observed::{Observed, OnRecord};
use crate::model::percent::Percent;
use crate::model::plan::StageChange;
use crate::model::policy::{Mode, StagePolicy};
use crate::model::reason::stamp;
use crate::model::release::Release;
use crate::model::rollout::{At, Rollout, RolloutState, Shift};
use crate::model::stage::LiveStage;
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
    /// Whether this run has sent a step before.
    pub stepped: bool,
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
    /// Change these aliases.
    Shift(Vec<Shift>),
    /// Roll the stage back: the requests convict the new release.
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

/// A look at the stage so soon after a step may be older than the step.
const OUT_OF_DATE: TimeDelta = TimeDelta::seconds(30);

/// Decides the next move.
#[must_use]
pub fn next_move(facts: &RolloutFacts<'_>) -> Move {
    let RolloutFacts { rollout, observed, now, .. } = *facts;
    if rollout.state.has_ended() {
        return after_its_end(facts);
    }
    let to = |state| Move::Record(Box::new(Rollout { state, since: now, ..rollout.clone() }));
    let Some(live) = &observed.live else {
        return to(RolloutState::Overtaken { why: "the stage does not exist any more".to_owned() });
    };
    let before = rollout.from.unwrap_or(Percent::NONE);
    // What the stage served before the step.
    let may_be_old = |share: Percent| {
        rollout.state == RolloutState::Baking && share == before && now - rollout.since < OUT_OF_DATE
    };
    let is_between = |places: &BTreeSet<At>, ends: [At; 2]| places.iter().all(|at| ends.contains(at));
    let [from, step_share] = [before, rollout.share()].map(At::Share);
    let paused = |why: String| to(RolloutState::Paused { why, by: None });
    let part = rollout.part();
    match (place(rollout, &live.release), &rollout.state) {
        (
            Place::Share(_) | Place::Between(_) | Place::HalfPromoted | Place::Changed(_),
            RolloutState::Paused { .. },
        ) => Move::Wait(Waits::Operator),
        (Place::Base, _) => at_base(facts, &live.release, may_be_old(Percent::NONE)),
        (Place::Promoted, _) => to(RolloutState::Promoted),
        (Place::Other(why), _) => to(RolloutState::Overtaken { why }),
        (Place::HalfPromoted, _)
        | (Place::Changed(_) | Place::Share(_) | Place::Between(_), RolloutState::Aborting) => {
            remove(facts, &live.release)
        }
        (Place::Changed(why), _) => paused(why),
        (Place::Share(share), RolloutState::Moving) if share == rollout.share() => {
            Move::Record(Box::new(begun(facts, live)))
        }
        (Place::Share(share), RolloutState::Moving) if Some(share) == rollout.from => {
            step(facts, &live.release)
        }
        (Place::Between(places), RolloutState::Moving) if is_between(&places, [from, step_share]) => {
            step(facts, &live.release)
        }
        (Place::Between(places), RolloutState::Promoting) if is_between(&places, [from, At::Promoted]) => {
            promoting(facts, &live.release)
        }
        (Place::Share(share), RolloutState::Baking) if share == rollout.share() => baking(facts),
        (Place::Share(share), _) if may_be_old(share) => Move::Wait(Waits::Bake(rollout.bakes_until())),
        (Place::Between(places), RolloutState::Baking)
            if may_be_old(before) && is_between(&places, [from, step_share]) =>
        {
            Move::Wait(Waits::Bake(rollout.bakes_until()))
        }
        // A run that rolled the stage back died before it had moved every alias.
        (Place::Between(_), RolloutState::Baking) if is_convicted(facts) => Move::RollBack,
        // An operator may skip the rest at any share.
        (Place::Share(share), RolloutState::Promoting) if Some(share) == rollout.from => {
            promoting(facts, &live.release)
        }
        // And a run may have made the step at the same time.
        (Place::Share(share), RolloutState::Promoting) if share == rollout.share() => {
            Move::Record(Box::new(Rollout { from: Some(share), ..rollout.clone() }))
        }
        (Place::Share(share), _) => paused(format!(
            "somebody set {part} to {share} % of the traffic; this rollout had set {} %",
            rollout.share()
        )),
        (Place::Between(places), _) => paused(differ(&places)),
    }
}

/// Decides on a stage that serves the base alone. `may_be_old` says that this may be what it served before the step.
fn at_base(facts: &RolloutFacts<'_>, live: &Release, may_be_old: bool) -> Move {
    let RolloutFacts { rollout, observed, now, .. } = *facts;
    let to = |state| Move::Record(Box::new(Rollout { state, since: now, ..rollout.clone() }));
    let part = rollout.part();
    match (rolled_back(rollout, &observed.on_record), &rollout.state) {
        (Some(rolled_back), _) => to(rolled_back),
        (None, _) if may_be_old => Move::Wait(Waits::Bake(rollout.bakes_until())),
        (None, RolloutState::Moving) if rollout.from.is_none() => begin(facts, live),
        (None, RolloutState::Paused { .. }) if rollout.has_not_begun() => Move::Wait(Waits::Operator),
        (None, RolloutState::Aborting) => {
            to(RolloutState::Aborted { why: format!("an operator removed {part}") })
        }
        (None, _) => {
            to(RolloutState::Aborted { why: format!("somebody else, or a run that died, removed {part}") })
        }
    }
}

/// Takes an abort up again if it came between this run's look and its step, so that the step began after the abort.
fn after_its_end(facts: &RolloutFacts<'_>) -> Move {
    let RolloutFacts { rollout, observed, now, .. } = *facts;
    let step = [Percent::NONE, rollout.share()].map(At::Share);
    let is_on_stage = |live: &LiveStage| match place(rollout, &live.release) {
        Place::Share(share) => share == rollout.share(),
        Place::Between(places) => places.iter().all(|at| step.contains(at)),
        Place::Base | Place::HalfPromoted | Place::Promoted | Place::Changed(_) | Place::Other(_) => false,
    };
    let is_aborted = matches!(rollout.state, RolloutState::Aborted { .. });
    if facts.stepped && is_aborted && observed.live.as_ref().is_some_and(is_on_stage) {
        let state = RolloutState::Aborting;
        return Move::Record(Box::new(Rollout { state, since: now, ..rollout.clone() }));
    }
    Move::Wait(Waits::Ended)
}

/// Says that the aliases of a rollout are at different places.
#[must_use]
pub fn differ(places: &BTreeSet<At>) -> String {
    let shares = places.iter().map(|at| match at {
        At::Share(share) => format!("{share} %"),
        At::Promoted => "all".to_owned(),
    });
    format!("its aliases give the new version different shares: {}", shares.collect::<Vec<_>>().join(", "))
}

/// Returns the rollout with the step begun: the new release has its share.
fn begun(facts: &RolloutFacts<'_>, live: &LiveStage) -> Rollout {
    let RolloutFacts { rollout, now, .. } = *facts;
    let changed_at = live.updated_at.filter(|_| rollout.canary.is_some());
    // The weights of an alias do not say since when they are as they are.
    let live_since = rollout.live_since.or(if rollout.canary.is_some() { changed_at } else { Some(now) });
    Rollout { state: RolloutState::Baking, since: now, changed_at, live_since, ..rollout.clone() }
}

/// Moves every alias that does not yet point where it does in this release, and that nobody else has moved.
fn shift(facts: &RolloutFacts<'_>, live: &Release, to: &Release) -> Move {
    let shifts = facts.rollout.versions.keys().filter_map(|alias| {
        let (from, to) = (live.aliases.get(alias)?, to.aliases.get(alias)?);
        let revision = facts.observed.components.aliases.get(alias)?.revision.clone();
        let is_ours = facts.rollout.at(alias, from).is_some();
        (is_ours && from != to).then(|| Shift {
            alias: alias.clone(),
            from: from.clone(),
            to: to.clone(),
            revision,
        })
    });
    Move::Shift(shifts.collect())
}

/// Removes the new release.
fn remove(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    if facts.rollout.canary.is_none() {
        return shift(facts, live, &facts.rollout.base);
    }
    Move::Change(Box::new(StageChange { remove_canary: true, ..StageChange::default() }))
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
    let moving = &facts.observed.components.moving;
    if let Some(alias) = moving.iter().find(|alias| facts.rollout.versions.contains_key(*alias)) {
        return Some(Waits::Permission(format!("a running CodeDeploy deployment moves the alias `{alias}`")));
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

fn is_convicted(facts: &RolloutFacts<'_>) -> bool {
    guilt(facts.observed, facts.policy).conviction().is_some()
}

/// Returns what the evidence says against the new release, if anything does.
fn against(facts: &RolloutFacts<'_>) -> Option<Move> {
    if is_convicted(facts) {
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

/// Gives the new release its first share.
fn begin(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    let alarm = facts.guarding.iter().find(|one| one.testimony != Testimony::Quiet);
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    match alarm {
        Some(one) => Move::Wait(Waits::Alarm(format!("the alarm `{}` is not OK", one.alarm.alarm.name))),
        None => to_share(facts, live),
    }
}

/// Gives the new release the share of the step.
fn step(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    against(facts).unwrap_or_else(|| to_share(facts, live))
}

fn to_share(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    let to = facts.rollout.in_step();
    if facts.rollout.canary.is_none() {
        return shift(facts, live, &to);
    }
    Move::Change(Box::new(StageChange::between(&facts.observed.stage, &live.in_stage(), &to)))
}

fn promoting(facts: &RolloutFacts<'_>, live: &Release) -> Move {
    if let Some(waits) = forbidden(facts) {
        return Move::Wait(waits);
    }
    let promote = || {
        if facts.rollout.canary.is_none() {
            return shift(facts, live, &facts.rollout.promoted());
        }
        Move::Change(Box::new(StageChange { promote_canary: true, ..StageChange::default() }))
    };
    against(facts).unwrap_or_else(promote)
}

/// Judges a step in which the new release has its share: it passes after its bake time, if enough requests speak for the new
/// release and nothing speaks against it.
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

/// Returns how many requests the new release has answered in the current step.
///
/// # Errors
/// A clause, if they could not be counted.
pub fn requests_in_step(rollout: &Rollout, observed: &Observed) -> Result<u64, String> {
    let source = if rollout.canary.is_some() { Source::Deployments } else { Source::Versions };
    let traffic = match &observed.traffic {
        Some(Ok(traffic)) if traffic.source == source => traffic,
        Some(Err(error)) => {
            return Err(format!("the requests of {} could not be counted: {error}", rollout.part()));
        }
        Some(Ok(_)) | None if rollout.canary.is_none() => {
            return Err("the requests of the new version were not counted".to_owned());
        }
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
    Err(format!("{} answered {seen} of the {needed} requests that the step needs", rollout.part()))
}
