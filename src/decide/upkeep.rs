//! Decides what the sweep does for one stage: an ordered list of actions. Pure.

use chrono::{DateTime, Utc};

use super::evidence::{Evidence, is_due, is_proven};
use super::health::{KnownGoodRelease, Problem, StageHealth, Unpinned, problems};
use super::incidents::{Closing, closing, entry_of, last_open, unlisted};
use super::testimony::{Guarding, Testimony};
use super::{claim, counts_as_held, is_not_held, rollout_place, sibling};
use crate::config::Config;
use crate::model::alarm::{Alarm, State};
use crate::model::cloud_error::{CloudError, Fetched};
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::{DeploymentNow, LiveComponents, OnRecord, Pin, protected_by_other};
use crate::model::policy::{AutoDeploy, StagePolicy};
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Candidate, Incident, SERVES_KNOWN_GOOD};
use crate::model::release::Release;
use crate::model::rollout::weighted;
use crate::model::stage::{LiveStage, StageRef};
use crate::model::target::Target;

/// Everything that the sweep has read about one stage.
#[derive(Clone, Debug)]
pub struct StageFacts<'a> {
    /// The stage.
    pub stage: &'a StageRef,
    /// The stage as it is now, with its components; `None` if API Gateway has no such stage.
    pub live: Option<LiveStage>,
    /// Its records in Parameter Store.
    pub on_record: &'a OnRecord,
    /// Its incidents.
    pub incidents: &'a [Incident],
    /// Every guarding alarm.
    pub alarms: &'a [GuardingAlarm],
    /// The guarding alarms that name this stage or may be about it, each with what it says.
    pub guarding: Vec<Guarding<'a>>,
    /// The components of its release.
    pub components: Fetched<LiveComponents>,
    /// The known-good deployment.
    pub deployment: Fetched<DeploymentNow>,
    /// The pin.
    pub pin: Pin,
    /// The evidence on the live release; `None` unless its promotion is due.
    pub evidence: Option<Fetched<Evidence>>,
}

/// One thing to do for a stage.
#[derive(Clone, Debug)]
pub enum Action<'a> {
    /// Report a finding that needs an operator's attention.
    Report(Reason),
    /// Report a read that failed.
    Fail(CloudError),
    /// Close the incidents of an alarm that is OK.
    Close(Closing),
    /// Add an incident to the stage's list in `on_record`.
    List {
        /// The incident.
        incident: &'a Incident,
        /// The records after the actions before this one.
        on_record: Box<OnRecord>,
        /// Whether the sweep must report it, because no run did.
        report: bool,
    },
    /// Move the pin to the deployment of this version of the record.
    MovePin {
        /// The deployment.
        deployment: String,
        /// The version.
        version: i64,
    },
    /// Write the candidate.
    Note(Candidate),
    /// Roll the stage back for the first of these alarms that speaks about the live release. Their own events did not.
    RollBack(Vec<Accusation<'a>>),
    /// Record the proven candidate as known-good.
    Promote(Candidate),
    /// Begin a rollout of what a pipeline gave some of the traffic, as the stage's policy asks.
    Adopt,
    /// Move the rollout on.
    Advance,
}

/// The most accusing alarms of a stage that one sweep tries.
const MOST_TRIED: usize = 10;

/// An alarm that accuses a stage, with the target by which it names the stage.
pub type Accusation<'a> = (&'a GuardingAlarm, &'a Target);

/// The ordered actions for a stage, and the stage's state.
#[derive(Clone, Debug, Default)]
pub struct Upkeep<'a> {
    /// The actions.
    pub actions: Vec<Action<'a>>,
    /// The state of the stage, in a few words; empty if an action's report says more.
    pub state: String,
}

/// Decides what the sweep does for one stage.
#[must_use]
pub fn upkeep<'a>(facts: &StageFacts<'a>, config: &Config, now: DateTime<Utc>) -> Upkeep<'a> {
    let Some(live) = &facts.live else {
        let reason = Reason::StageMissing(facts.stage.to_string());
        let state = reason.to_string();
        // A stage that only has records may have been deleted on purpose. Only a configured stage is reported.
        let missed = config.entry(facts.stage).map(|_| Action::Report(reason));
        return Upkeep { actions: missed.into_iter().collect(), state };
    };
    if let Pin::Other(owner) = &facts.pin {
        let reason = Reason::NotPinned(protected_by_other(facts.stage, owner));
        return Upkeep { state: reason.to_string(), actions: vec![Action::Report(reason)] };
    }
    let policy = config.policy.under(&facts.on_record.policy);
    let health = StageHealth {
        live,
        on_record: facts.on_record,
        policy: &policy,
        pin_wanted: config.pin,
        components: facts.components.as_ref().ok(),
        deployment: facts.deployment.as_ref().ok(),
        pin: Some(&facts.pin),
        now,
    };
    let problems = problems(&health);
    let mut on_record = facts.on_record.clone();
    let mut actions = Vec::new();
    let finding = |problem: &Problem| finding(problem, facts.stage, config).map(Action::Report);
    let (unreadable, others): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| matches!(problem, Problem::Unreadable(_)));
    actions.extend(unreadable.into_iter().filter_map(finding));
    actions.extend(facts.guarding.iter().filter_map(unreadable_alarm));
    recoveries(facts, config, now, &mut on_record, &mut actions);
    // The known-good release comes before the judgement: a promotion changes which deployment the pin must hold.
    actions.extend(facts.deployment.as_ref().err().cloned().map(Action::Fail));
    actions.extend(move_pin(facts, config, &problems));
    actions.extend(others.into_iter().filter_map(finding));
    if let Err(error) = &facts.components {
        actions.push(Action::Fail(error.clone()));
        return Upkeep { actions, state: error.to_string() };
    }
    actions.extend(held_by_sibling(facts, live, &policy).map(Action::Report));
    unreported(facts, live, now, &mut on_record, &mut actions);
    actions.extend(
        facts.on_record.rollout.as_ref().err().map(|why| Action::Report(Reason::NoRollout(why.clone()))),
    );
    let state = judge_release(facts, config, now, &mut actions);
    // After a rollback, too: the rollout has ended then.
    actions.extend(facts.on_record.has_open_rollout().then_some(Action::Advance));
    Upkeep { actions, state }
}

/// Reports a guarding alarm that cannot be resolved: it may be about this stage.
fn unreadable_alarm<'a>(guarding: &Guarding<'_>) -> Option<Action<'a>> {
    let Testimony::Unreadable(why) = &guarding.testimony else { return None };
    let alarm = guarding.alarm.alarm.name.clone();
    Some(Action::Report(Reason::AlarmUnreadable { alarm, why: why.clone() }))
}

/// Reports that the incident of a sibling holds up the live release or a rollout. The message may have come before the release.
fn held_by_sibling(facts: &StageFacts<'_>, live: &LiveStage, policy: &StagePolicy) -> Option<Reason> {
    let on_record = facts.on_record;
    let rollout =
        on_record.running().and_then(|rollout| sibling::against_rollout(on_record, policy, rollout));
    let is_good = on_record.is_known_good(&live.release);
    let (label, deployment) = (on_record.label(&live.release), Some(live.release.deployment.as_str()));
    let release = sibling::against(on_record, policy, label, deployment).filter(|_| !is_good);
    rollout.or_else(|| release.map(sibling::until_cleared)).map(Reason::SiblingIncident)
}

/// Closes the incidents whose alarm is OK, and reports those whose alarm stays in ALARM.
fn recoveries<'a>(
    facts: &StageFacts<'a>,
    config: &Config,
    now: DateTime<Utc>,
    on_record: &mut OnRecord,
    actions: &mut Vec<Action<'a>>,
) {
    for guarding in facts.alarms {
        let name = &guarding.alarm.name;
        let Some(last) = last_open(&on_record.rollbacks, name).map(|entry| entry.at) else { continue };
        let Some(judge) = judge_of_recovery(facts, guarding) else { continue };
        match judge.state {
            State::Ok => {
                let at = judge.changed_at.unwrap_or(now);
                let Some(closing) = closing(&on_record.rollbacks, name, at) else { continue };
                on_record.rollbacks = closing.rollbacks.clone();
                actions.push(Action::Close(Closing { alarm: judge.name.clone(), ..closing }));
            }
            State::Alarm if now - last > config.not_recovered => {
                let (alarm, rolled_back_at) = (name.clone(), last);
                actions.push(Action::Report(Reason::NotRecovered { alarm, rolled_back_at }));
            }
            State::Alarm | State::InsufficientData => {}
        }
    }
}

/// Returns the alarm whose state says whether the stage has recovered; `None` if that is not known. A composite alarm that names
/// no stage may be in ALARM because of others. Then the worst of the leaves that name this stage says it, or the last one to
/// change among equals.
fn judge_of_recovery<'a>(facts: &StageFacts<'a>, guarding: &'a GuardingAlarm) -> Option<&'a Alarm> {
    let itself = &guarding.alarm;
    let fires_for_any = guarding.stageless().any(|leaf| leaf.now.alarm.state == State::Alarm);
    if itself.state != State::Alarm || !guarding.speaks_by_leaves || fires_for_any {
        return Some(itself);
    }
    let found = facts.guarding.iter().find(|one| one.alarm.alarm.name == itself.name)?;
    let leaves = found.about.iter().filter(|alarm| alarm.name != itself.name);
    let severity = |state| match state {
        State::Ok => 0,
        State::InsufficientData => 1,
        State::Alarm => 2,
    };
    let worst = leaves.max_by_key(|alarm| (severity(alarm.state), alarm.changed_at)).copied()?;
    // A leaf that cannot be read may be about this stage, too.
    (worst.state == State::Alarm || guarding.unresolved.is_empty()).then_some(worst)
}

/// The pin, unless the known-good deployment is known not to serve, or could not be read.
fn move_pin<'a>(facts: &StageFacts<'a>, config: &Config, problems: &[Problem]) -> Option<Action<'a>> {
    let cannot_serve = problems.iter().any(|problem| {
        matches!(problem, Problem::Quarantined(_) | Problem::DeploymentGone(_) | Problem::Undeployed(..))
    });
    if cannot_serve || facts.deployment.is_err() {
        return None;
    }
    let (version, _) = facts.on_record.good()?;
    problems.iter().find_map(|problem| {
        let Problem::NotPinned { deployment, how } = problem else { return None };
        let deployment = deployment.clone();
        (*how != Unpinned::Off && config.pin).then_some(Action::MovePin { deployment, version })
    })
}

/// The reason by which the sweep reports a problem; `None` for a problem that passes or that it mends itself.
fn finding(problem: &Problem, stage: &StageRef, config: &Config) -> Option<Reason> {
    let missing = |good: &KnownGoodRelease, why: &str| Reason::KnownGoodMissing {
        deployment: good.release.deployment.clone(),
        parameter: config.names.known_good(stage),
        version: good.version,
        why: why.to_owned(),
    };
    Some(match problem {
        Problem::Unreadable(unreadable) => Reason::HeldByOperator(counts_as_held(unreadable)),
        Problem::Quarantined(good) => missing(good, "is in quarantine because it was rolled back before"),
        Problem::DeploymentGone(good) => missing(good, "no longer exists"),
        Problem::Undeployed(good, status) => missing(good, &format!("has the status {status}")),
        Problem::Managed => Reason::ManagedStage(stage.to_string()),
        Problem::AutoDeploy(AutoDeploy::Hold) => Reason::AutoDeploy(stage.to_string()),
        Problem::ComponentsMissing(missing, _) => Reason::PartMissing(missing.clone()),
        Problem::ComponentsOverridden(overridden) => Reason::PartShadowed(overridden.clone()),
        Problem::UnusableKnownGood { parameter, fault } => {
            Reason::KnownGoodUnusable { parameter: parameter.clone(), fault: fault.clone() }
        }
        Problem::AutoDeploy(AutoDeploy::SwitchOff)
        | Problem::NoKnownGood
        | Problem::NotPinned { .. }
        | Problem::ComponentsMoving(_)
        | Problem::Held(_) => return None,
    })
}

/// Adds the rollbacks of dead runs to the list, and reports those that no run reported.
fn unreported<'a>(
    facts: &StageFacts<'a>,
    live: &LiveStage,
    now: DateTime<Utc>,
    on_record: &mut OnRecord,
    actions: &mut Vec<Action<'a>>,
) {
    for incident in unlisted(facts.on_record, facts.incidents, &live.release, now) {
        // A run that continued a half-done rollback reported it under the fingerprint of the release that it found.
        let report = !claim::is_followed(&on_record.rollbacks, incident);
        actions.push(Action::List { incident, on_record: Box::new(on_record.clone()), report });
        on_record.rollbacks = on_record.rollbacks.clone().with(entry_of(incident));
    }
}

/// The standing of the live release, judged without the alarms' history and metrics.
enum Standing<'a> {
    /// It is the known-good release.
    KnownGood,
    /// It does not fit into a parameter, so it can never be recorded.
    TooLarge(String),
    /// Guarding alarms accuse it.
    Accused(Vec<Accusation<'a>>),
    /// The stage is held.
    Held,
    /// A rollout judges it.
    RollingOut,
    /// It has what a rollout left that has ended. Only an operator begins that again, so no policy adopts it.
    LeftOver(String),
    /// It has a canary, or weights of its aliases, that the stage's policy wants to be rolled out.
    Adoptable,
    /// The sweep sees it for the first time.
    New,
    /// It is not due for promotion yet.
    NotDue(Reason),
    /// Its evidence decides.
    Due,
}

/// Whether a pipeline has made a canary, or set weights of aliases, that the stage's policy wants to be rolled out. A canary that
/// serves the stage's own deployment is left over from a promotion.
fn is_adoptable(on_record: &OnRecord, live: &Release) -> bool {
    let canary = live.canary.as_ref().and_then(|canary| canary.deployment.as_ref());
    let is_new =
        canary.map_or_else(|| weighted(&live.aliases).is_some(), |canary| *canary != live.deployment);
    on_record.policy.rollout.is_some() && is_new
}

fn left_over(on_record: &OnRecord, live: &Release) -> Option<String> {
    let (_, rollout) = on_record.rollout.as_ref().ok()?.as_ref()?;
    rollout_place::left_over(rollout, live)
}

struct Judged<'a> {
    candidate: Candidate,
    is_new: bool,
    standing: Standing<'a>,
}

/// Returns the candidate if its promotion is due, so that its evidence must be read.
#[must_use]
pub fn promotion_due(facts: &StageFacts<'_>, config: &Config, now: DateTime<Utc>) -> Option<Candidate> {
    let live = facts.live.as_ref().filter(|_| facts.components.is_ok())?;
    let judged = judge_standing(facts, live, config, now);
    matches!(judged.standing, Standing::Due).then_some(judged.candidate)
}

fn judge_standing<'a>(
    facts: &StageFacts<'a>,
    live: &LiveStage,
    config: &Config,
    now: DateTime<Utc>,
) -> Judged<'a> {
    let on_record = facts.on_record;
    let known = on_record.candidate_for(&live.release).filter(|candidate| !candidate.gone);
    let is_new = known.is_none() && on_record.unreadable.is_none();
    let candidate = on_record.candidate_or_new(facts.stage.protocol, live, now);
    let policy = config.policy.under(&on_record.policy);
    let standing = if on_record.good().is_some_and(|(_, record)| record.release == live.release) {
        Standing::KnownGood
    } else if let Err(why) = records::print(&candidate) {
        Standing::TooLarge(why)
    } else if let accusations @ [_, ..] = accusations(facts, live).as_slice() {
        Standing::Accused(accusations.to_vec())
    } else if is_not_held(on_record, now).is_err() {
        Standing::Held
    } else if on_record.running().is_some() {
        Standing::RollingOut
    } else if let Some(why) = left_over(on_record, &live.release) {
        Standing::LeftOver(why)
    } else if is_adoptable(on_record, &live.release) {
        Standing::Adoptable
    } else if is_new {
        Standing::New
    } else if let Err(reason) = is_due(on_record, &candidate, &facts.guarding, &policy, now, false) {
        Standing::NotDue(reason)
    } else {
        Standing::Due
    };
    Judged { candidate, is_new, standing }
}

/// Returns the alarms that accuse the live release, or may do so: if the breach began before it, only later data tells whether
/// it began anew, and after a fast alarm, only the requests convict. The rollback reads both. First come the alarms on the stage's own metrics, which show that
/// users are hurt; of these one that fired after the stage's last change, and then the one that needs the least time to judge
/// a change. Each is read anew, so only the first few are tried.
fn accusations<'a>(facts: &StageFacts<'a>, live: &LiveStage) -> Vec<Accusation<'a>> {
    let in_doubt = |one: &Guarding<'_>| {
        let Testimony::Abstains(reason) = &one.testimony else { return false };
        matches!(reason, Reason::BeganBeforeRelease { .. } | Reason::NotDecided { .. })
    };
    let accuses = |one: &&Guarding<'_>| one.testimony == Testimony::Accuses || in_doubt(one);
    let mut accusing: Vec<_> = facts.guarding.iter().filter(accuses).collect();
    let fired_at = |one: &Guarding<'_>| {
        let firing = one.about.iter().filter(|alarm| alarm.state == State::Alarm);
        firing.filter_map(|alarm| alarm.changed_at).max()
    };
    let is_late = |one: &Guarding<'_>| fired_at(one) < live.updated_at;
    accusing.sort_by_key(|one| (one.metrics.is_empty(), in_doubt(one), is_late(one), one.alarm.window));
    accusing.into_iter().take(MOST_TRIED).filter_map(|one| Some((one.alarm, one.target?))).collect()
}

/// Judges the live release: known-good, bad, new, or not proven yet. Returns the stage's state.
fn judge_release<'a>(
    facts: &StageFacts<'a>,
    config: &Config,
    now: DateTime<Utc>,
    actions: &mut Vec<Action<'a>>,
) -> String {
    let Some(live) = &facts.live else { return String::new() };
    let Judged { candidate, is_new, standing } = judge_standing(facts, live, config, now);
    let is_recordable = !matches!(
        standing,
        Standing::KnownGood
            | Standing::TooLarge(_)
            | Standing::RollingOut
            | Standing::Adoptable
            | Standing::LeftOver(_)
    );
    if is_new && is_recordable {
        actions.push(Action::Note(candidate.clone()));
    } else {
        actions.extend(facts.on_record.gone_for(&live.release).map(Action::Note));
    }
    match standing {
        Standing::KnownGood => SERVES_KNOWN_GOOD.to_owned(),
        Standing::TooLarge(why) | Standing::LeftOver(why) => {
            actions.push(Action::Report(Reason::NotRecordable(why.clone())));
            why
        }
        Standing::Accused(accusations) => {
            actions.push(Action::RollBack(accusations));
            String::new()
        }
        Standing::Held => "is held".to_owned(),
        // The rollout's own action says where it stands.
        Standing::RollingOut => String::new(),
        Standing::Adoptable => {
            actions.push(Action::Adopt);
            String::new()
        }
        Standing::New => "a new release was found, and its bake time starts".to_owned(),
        Standing::NotDue(reason) => reason.to_string(),
        Standing::Due => judge_evidence(facts, config, now, candidate, actions),
    }
}

fn judge_evidence<'a>(
    facts: &StageFacts<'a>,
    config: &Config,
    now: DateTime<Utc>,
    candidate: Candidate,
    actions: &mut Vec<Action<'a>>,
) -> String {
    let policy = config.policy.under(&facts.on_record.policy);
    let evidence = match &facts.evidence {
        Some(Ok(evidence)) => evidence,
        Some(Err(error)) => {
            actions.push(Action::Fail(error.clone()));
            return error.to_string();
        }
        None => return Reason::NotProven("its evidence was not read".to_owned()).to_string(),
    };
    if let (None, Some(first_seen)) = (&evidence.fired, evidence.clear_since) {
        actions.push(Action::Note(Candidate { first_seen, ..candidate }));
        return format!(
            "an alarm that fired before the release is quiet since {}: the bake time starts then",
            stamp(first_seen)
        );
    }
    match is_proven(evidence, &policy) {
        Ok(()) => {
            actions.push(Action::Promote(candidate));
            String::new()
        }
        Err(_) if evidence.fired.is_some() && facts.on_record.good().is_none() => {
            // There is no release to roll back to, so this one stays and its bake time starts again.
            actions.push(Action::Note(Candidate { first_seen: now, ..candidate }));
            "an alarm fired, and there is no known-good release to roll back to: the bake time starts again"
                .to_owned()
        }
        Err(reason) => reason.to_string(),
    }
}
