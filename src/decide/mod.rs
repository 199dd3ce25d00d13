//! The decision: from what was observed to a plan, or to the reason for having none. Pure.

mod check;
pub mod claim;
pub mod evidence;
#[cfg(test)]
mod fixture;
pub mod health;
pub mod incidents;
mod preconditions;
pub mod recording;
#[cfg(test)]
mod tests;
pub mod upkeep;
#[cfg(test)]
mod upkeep_tests;

use chrono::{DateTime, Utc};

use crate::model::alarm::AlarmNow;
use crate::model::alarm::{State, Watches};
use crate::model::observed::{Component, DeploymentNow, KnownGood, Observed};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::policy::{AutoDeploy, MissingComponents, Mode, StagePolicy};
use crate::model::reason::Reason;
use crate::model::records::Record;
use crate::model::release::Release;
use crate::model::stage::LiveStage;
use crate::model::stage::StageRef;
use crate::model::target::Target;
use crate::model::target::naming;
use crate::signal::target::{Named, named_by};

pub use check::check;
pub use preconditions::is_not_held;

/// What requests the rollback.
#[derive(Clone, Copy, Debug)]
pub enum Trigger<'a> {
    /// An alarm that named this target.
    Alarm {
        /// The alarm's name.
        name: &'a str,
        /// The stage as the alarm named it.
        target: &'a Target,
        /// Whether the sweep found the alarm, instead of its event.
        swept: bool,
    },
    /// An operator or a pipeline. The guards against alarms do not bind them.
    Operator {
        /// Whether to go back even from a release marked irreversible.
        force: bool,
    },
    /// None: what an alarm that fired now would lead to.
    Imagined,
}

impl<'a> Trigger<'a> {
    /// The alarm's name, if an alarm requests it.
    #[must_use]
    pub fn alarm(self) -> Option<&'a str> {
        match self {
            Self::Alarm { name, .. } => Some(name),
            Self::Operator { .. } | Self::Imagined => None,
        }
    }
}

/// What to do, decided before anything is touched.
#[must_use = "a decision that is neither applied nor reported is lost"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do this.
    Act(Box<Plan>),
    /// Do nothing, for this reason.
    Hold(Reason),
}

/// Decides in the order of the README's table of verdicts.
pub fn decide(call: Trigger<'_>, observed: &Observed, policy: &StagePolicy, now: DateTime<Utc>) -> Decision {
    match plan(call, observed, policy, now) {
        Ok(plan) => Decision::Act(Box::new(plan)),
        Err(reason) => Decision::Hold(reason),
    }
}

fn plan(
    call: Trigger<'_>,
    observed: &Observed,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<Plan, Reason> {
    if let Trigger::Alarm { name, target, .. } = call {
        alarm_stands(name, target, observed)?;
    }
    is_protected(observed)?;
    let live = observed.live.as_ref().ok_or_else(|| {
        Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            observed.stage.stage, observed.stage.api
        ))
    })?;
    let operator = matches!(call, Trigger::Operator { .. });
    if !operator {
        preconditions::is_not_held(&observed.on_record, now)?;
    }
    let (version, record) = record(observed)?;
    let to = destination(record, &live.release, observed, policy);
    if live.release == to {
        let deployment = live.release.deployment.clone();
        return Err(Reason::AlreadyKnownGood { deployment, version, by: None });
    }
    let candidate = observed.on_record.candidate_for(&live.release);
    if !operator {
        // A change of the stage after the alarm is somebody's fix only if the stage is to be changed.
        if live.release.in_stage() != to.in_stage() {
            preconditions::unchanged_since(call, live, observed.alarm.as_ref(), now)?;
        }
        preconditions::is_in_window(preconditions::live_since(candidate, live), policy, now)?;
    }
    if !matches!(call, Trigger::Operator { force: true })
        && candidate.is_some_and(|candidate| candidate.irreversible)
    {
        return Err(Reason::IrreversibleRelease { deployment: live.release.deployment.clone() });
    }
    is_no_bad_release(observed, version, record)?;
    is_there(observed, version, record)?;
    if !observed.components.missing.is_empty() && policy.missing_components == MissingComponents::Hold {
        return Err(Reason::PartMissing(observed.components.described()));
    }
    let plan = steps_between(observed, live, to, version, policy);
    is_possible(&plan, observed, live, policy)?;
    if !operator {
        preconditions::is_not_too_soon(&observed.on_record.rollbacks, policy, now)?;
        if policy.mode == Mode::Observe {
            return Err(Reason::ObserveMode { deployment: record.release.deployment.clone() });
        }
    }
    Ok(plan)
}

/// What the stage is to serve: the recorded release, as far as its parts are there.
fn destination(record: &Record, live: &Release, observed: &Observed, policy: &StagePolicy) -> Release {
    let mut to = record.release.over(live);
    if policy.missing_components == MissingComponents::Skip {
        for missing in &observed.components.missing {
            match &missing.part {
                Component::Alias(alias) => {
                    let stays = live.aliases.get(alias).map(|target| (alias.clone(), target.clone()));
                    to.aliases.extend(stays);
                }
                Component::Mapping(mapping) => {
                    let stays = live.mappings.get(mapping).map(|target| (mapping.clone(), target.clone()));
                    to.mappings.extend(stays);
                }
            }
        }
    }
    to
}

/// The steps from what is live to that.
fn steps_between(
    observed: &Observed,
    live: &LiveStage,
    to: Release,
    version: i64,
    policy: &StagePolicy,
) -> Plan {
    let (stage, from, parts) = (&observed.stage, &live.release, &observed.components);
    let mut steps = Vec::new();
    for (alias, now) in &parts.aliases {
        if let Some(target) = to.aliases.get(alias).filter(|target| **target != now.target) {
            steps.push(Step::Alias {
                alias: alias.clone(),
                from: now.target.clone(),
                to: target.clone(),
                revision: now.revision.clone(),
            });
        }
    }
    let change = StageChange::between(stage, from, &to);
    if change != StageChange::default() {
        let stop_auto_deploy = live.auto_deploy && change.deployment.is_some();
        let change = StageChange { stop_auto_deploy, ..change };
        steps.push(Step::Stage { from: from.in_stage(), to: to.in_stage(), change });
    }
    for (mapping, now) in &parts.mappings {
        if let Some(target) = to.mappings.get(mapping).filter(|target| **target != now.target) {
            steps.push(Step::Mapping {
                mapping: mapping.clone(),
                id: now.id.clone(),
                from: now.target.clone(),
                to: target.clone(),
            });
        }
    }
    let flush = policy.flush_cache && !stage.protocol.is_v2();
    Plan { stage: stage.clone(), from: from.clone(), to, version, steps, flush }
}

/// Nobody else moves what the plan moves, and API Gateway lets the stage be changed.
fn is_possible(
    plan: &Plan,
    observed: &Observed,
    live: &LiveStage,
    policy: &StagePolicy,
) -> Result<(), Reason> {
    let moved = plan.steps.iter().filter_map(|step| match step {
        Step::Alias { alias, .. } => Some(alias),
        Step::Stage { .. } | Step::Mapping { .. } => None,
    });
    let fought: Vec<String> = moved
        .filter(|alias| observed.components.moving.contains(alias))
        .map(|alias| format!("the alias `{alias}`"))
        .collect();
    if !fought.is_empty() {
        return Err(Reason::CodeDeployRunning(fought));
    }
    // A stage of quick create has AutoDeploy too, and it cannot be switched off.
    if live.managed && plan.change().is_some() {
        return Err(Reason::ManagedStage(plan.stage.to_string()));
    }
    if plan.stops_auto_deploy() && policy.auto_deploy == AutoDeploy::Hold {
        return Err(Reason::AutoDeploy(plan.stage.to_string()));
    }
    Ok(())
}

/// The alarm exists, is in ALARM now, may act, and watches this stage: a message can be late or forged.
fn alarm_stands(name: &str, target: &Target, observed: &Observed) -> Result<(), Reason> {
    let alarm = name.to_owned();
    let Some(now) = &observed.alarm else {
        return Err(Reason::AlarmUnknown { alarm, why: "is not known to CloudWatch here".to_owned() });
    };
    if now.alarm.state != State::Alarm {
        return Err(Reason::AlarmCleared { alarm, state: now.alarm.state });
    }
    if !watches(now, target, &observed.stage) {
        return Err(Reason::AlarmUnknown {
            alarm,
            why: format!("does not watch {} as CloudWatch has it", observed.stage),
        });
    }
    if !now.actions_enabled {
        return Err(Reason::AlarmActionsDisabled { alarm });
    }
    Ok(())
}

/// Whether the alarm, as CloudWatch has it, names the stage that its message named.
fn watches(now: &AlarmNow, target: &Target, stage: &StageRef) -> bool {
    match named_by(&now.alarm) {
        Ok(Named::Stages(targets)) => {
            let named = [target.api.text().to_owned()];
            naming(&targets, stage, &named).is_some()
        }
        // Its children were just read.
        Ok(Named::Children(_)) => true,
        // A query names no metric, so its message named none either.
        Err(_) => matches!(&now.alarm.watches, Watches::Metrics(metrics) if metrics.is_empty()),
    }
}

fn is_protected(observed: &Observed) -> Result<(), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotProtected(format!("{stage} is a parked stage: it only holds a deployment")));
    }
    if !observed.configured && matches!(observed.on_record.known_good, KnownGood::None { .. }) {
        return Err(Reason::NotProtected(format!("{stage} is neither in PROTECTED_STAGES nor recorded")));
    }
    Ok(())
}

fn record(observed: &Observed) -> Result<(i64, &Record), Reason> {
    match &observed.on_record.known_good {
        KnownGood::Found { version, record, .. } => Ok((*version, record)),
        KnownGood::None { parameter } => Err(Reason::NoKnownGood {
            parameter: parameter.clone(),
            why: "does not exist: no such release was recorded".to_owned(),
        }),
        KnownGood::Unusable { parameter, why } => {
            Err(Reason::NoKnownGood { parameter: parameter.clone(), why: why.clone() })
        }
    }
}

/// What was taken off once is no way back, until somebody lifts its quarantine.
fn is_no_bad_release(observed: &Observed, version: i64, record: &Record) -> Result<(), Reason> {
    if !observed.on_record.rollbacks.quarantines(&record.release) {
        return Ok(());
    }
    Err(Reason::KnownGoodMissing {
        deployment: record.release.deployment.clone(),
        parameter: parameter(observed).to_owned(),
        version,
        why: "is in quarantine: it was taken off before".to_owned(),
    })
}

/// The recorded deployment can be served, as far as that was asked for.
fn is_there(observed: &Observed, version: i64, record: &Record) -> Result<(), Reason> {
    let why = match &observed.components.deployment {
        DeploymentNow::NotAsked | DeploymentNow::There => return Ok(()),
        DeploymentNow::Gone => "does not exist any more, and no older version serves".to_owned(),
        DeploymentNow::Undeployed(status) => format!("has the status {status}, and no older version serves"),
    };
    Err(Reason::KnownGoodMissing {
        deployment: record.release.deployment.clone(),
        parameter: parameter(observed).to_owned(),
        version,
        why,
    })
}

fn parameter(observed: &Observed) -> &str {
    match &observed.on_record.known_good {
        KnownGood::Found { parameter, .. }
        | KnownGood::None { parameter }
        | KnownGood::Unusable { parameter, .. } => parameter,
    }
}
