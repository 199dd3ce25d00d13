//! The decision: turns the observed stage into a plan, or into the reason for doing nothing. Pure.

pub mod budget;
mod check;
pub mod claim;
pub mod counters;
#[cfg(test)]
mod counters_tests;
pub mod evidence;
#[cfg(test)]
mod fixture;
pub mod guilt;
#[cfg(test)]
mod guilt_tests;
pub mod health;
pub mod incidents;
#[cfg(test)]
mod incidents_tests;
pub mod leaves;
pub mod names;
#[cfg(test)]
mod plan_tests;
mod preconditions;
pub mod recording;
mod resource_policy;
pub mod rollout;
pub mod rollout_begin;
#[cfg(test)]
mod rollout_begin_tests;
mod rollout_check;
pub mod rollout_order;
#[cfg(test)]
mod rollout_order_tests;
pub mod rollout_place;
#[cfg(test)]
mod rollout_record_tests;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod rollout_versions_tests;
pub mod sequential;
pub mod sibling;
#[cfg(test)]
mod sibling_tests;
pub mod testimony;
#[cfg(test)]
mod testimony_tests;
#[cfg(test)]
mod tests;
pub mod upkeep;
#[cfg(test)]
mod upkeep_rollout_tests;
#[cfg(test)]
mod upkeep_tests;
pub mod watch;
#[cfg(test)]
mod watch_tests;
#[cfg(test)]
mod watch_text_tests;
pub mod wiring;
#[cfg(test)]
mod wiring_tests;

use chrono::{DateTime, Utc};

use crate::model::alarm::State;
use crate::model::observed::{Component, DeploymentNow, KnownGood, Observed};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::policy::{AutoDeploy, MissingComponents, Mode, StagePolicy};
use crate::model::reason::{NO_SUCH_ALARM, Reason};
use crate::model::records::Record;
use crate::model::release::Release;
use crate::model::sibling::SiblingIncident;
use crate::model::stage::LiveStage;
use crate::model::target::Target;
use crate::model::traffic::Measure;
use guilt::Guilt;
use testimony::{Subject, Testimony, testimony};

pub use check::check;
pub use preconditions::{counts_as_held, is_not_held};
pub use rollout_check::{check_shift, check_step};

/// The trigger of the rollback.
#[derive(Clone, Copy, Debug)]
pub enum Trigger<'a> {
    /// An alarm that named this target.
    Alarm {
        /// The alarm's name.
        name: &'a str,
        /// The stage as the alarm named it.
        target: &'a Target,
    },
    /// An operator or a pipeline. The preconditions for alarms do not apply.
    Operator {
        /// Whether to roll back even a release that is marked irreversible.
        force: bool,
    },
    /// A rollout whose new release the requests convict.
    Rollout,
    /// A sibling, the function in another Region, found the release bad that this stage serves.
    Sibling {
        /// Its incident.
        incident: &'a SiblingIncident,
        /// The live release, or the live release with a canary, that was found to be the bad one.
        found: &'a Release,
    },
    /// No trigger: the decision shows what an alarm would do now.
    Imagined,
}

impl<'a> Trigger<'a> {
    /// Returns the alarm's name, if an alarm is the trigger.
    #[must_use]
    pub fn alarm(self) -> Option<&'a str> {
        match self {
            Self::Alarm { name, .. } => Some(name),
            Self::Operator { .. } | Self::Rollout | Self::Sibling { .. } | Self::Imagined => None,
        }
    }
}

/// The decision, made before anything is written.
#[must_use = "a decision that is neither applied nor reported is lost"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Apply this plan.
    Act(Box<Plan>),
    /// Do nothing, for this reason.
    Hold(Reason),
}

/// Decides whether to roll the stage back. The first reason that applies wins.
pub fn decide(
    trigger: Trigger<'_>,
    observed: &Observed,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Decision {
    match plan(trigger, observed, policy, now) {
        Ok(plan) => Decision::Act(Box::new(plan)),
        Err(reason) => Decision::Hold(reason),
    }
}

/// Returns since when the alarm's datapoints must be read before the decision counts: the stage changed after the alarm
/// fired, or the breach began before the release. CloudWatch keeps with an alarm only the datapoints of its change of state.
#[must_use]
pub fn in_doubt_since(
    trigger: Trigger<'_>,
    observed: &Observed,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    match (trigger, decide(trigger, observed, policy, now)) {
        (Trigger::Alarm { .. }, Decision::Hold(Reason::BeganBeforeRelease { began, .. })) => Some(began),
        (Trigger::Alarm { .. }, Decision::Hold(Reason::ChangedAfterAlarm { alarm_at, .. })) => Some(alarm_at),
        // Time has passed since the change, but the data may still acquit it.
        (Trigger::Alarm { .. }, Decision::Act(plan)) if plan.change().is_some() => {
            let guilt = guilt::guilt(observed, policy);
            if guilt.conviction().is_some() {
                return None;
            }
            preconditions::changed_after_alarm(observed, observed.live.as_ref()?, &guilt)
                .map(|(_, alarm_at)| alarm_at)
        }
        _ => None,
    }
}

fn plan(
    trigger: Trigger<'_>,
    observed: &Observed,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<Plan, Reason> {
    is_protected(observed)?;
    let guilt = guilt::guilt(observed, policy);
    if let Trigger::Alarm { name, .. } = trigger {
        alarm_may_act(name, observed, &guilt)?;
        means_only_this_api(observed)?;
    }
    if matches!(trigger, Trigger::Rollout) && guilt.conviction().is_none() {
        return Err(Reason::RolloutWaits("the requests do not convict its new release".to_owned()));
    }
    let live = observed.live.as_ref().ok_or_else(|| {
        Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            observed.stage.stage, observed.stage.api
        ))
    })?;
    if let Trigger::Sibling { incident, found } = trigger {
        sibling_may_act(incident, found, &live.release, &guilt)?;
    }
    let operator = matches!(trigger, Trigger::Operator { .. });
    if !operator {
        preconditions::is_not_held(&observed.on_record, now)?;
    }
    let (version, record) = known_good(observed)?;
    let to = destination(record, &live.release, observed, policy);
    if live.release == to {
        let deployment = live.release.deployment.clone();
        return Err(Reason::AlreadyKnownGood { deployment, version, by: None });
    }
    let candidate = observed.on_record.candidate_for(&live.release).map(|seen| seen.clone().back(now));
    // The limits on alarms. A rollout knows what it brought and when.
    let is_limited = matches!(trigger, Trigger::Alarm { .. } | Trigger::Sibling { .. } | Trigger::Imagined);
    if is_limited {
        // A stage change after the alarm may be a fix, unless its own requests convict it. It matters only if the rollback
        // would change the stage.
        if matches!(trigger, Trigger::Alarm { .. })
            && live.release.in_stage() != to.in_stage()
            && guilt.conviction().is_none()
        {
            preconditions::unchanged_since(observed, live, &guilt, now)?;
        }
        preconditions::is_in_window(preconditions::live_since(candidate.as_ref(), live), policy, now)?;
    }
    if !matches!(trigger, Trigger::Operator { force: true })
        && let Some(marked) = observed.on_record.irreversible(&live.release)
    {
        return Err(Reason::IrreversibleRelease { deployment: marked.release.deployment.clone() });
    }
    is_not_quarantined(observed, version, record)?;
    can_be_served(observed, version, record)?;
    if !observed.components.missing.is_empty() && policy.missing_components == MissingComponents::Hold {
        return Err(Reason::PartMissing(observed.components.described()));
    }
    let plan = steps_between(observed, live, to, version, policy);
    can_be_applied(&plan, observed, live, policy)?;
    if is_limited {
        let accuser = budget::Accuser::of(trigger, observed, &guilt);
        budget::is_not_too_soon(&observed.on_record.rollbacks, accuser, policy, now)?;
    }
    if !operator && policy.mode == Mode::Observe {
        return Err(Reason::ObserveMode { deployment: record.release.deployment.clone() });
    }
    Ok(plan)
}

/// Returns the release to roll back to: the recorded one. If the policy skips missing components, they stay as they
/// are.
fn destination(record: &Record, live: &Release, observed: &Observed, policy: &StagePolicy) -> Release {
    let mut to = record.release.over(live);
    if policy.missing_components == MissingComponents::Skip {
        for missing in &observed.components.missing {
            match &missing.component {
                Component::Alias(alias) => {
                    let current = live.aliases.get(alias).map(|target| (alias.clone(), target.clone()));
                    to.aliases.extend(current);
                }
                Component::Mapping(mapping) => {
                    let current = live.mappings.get(mapping).map(|target| (mapping.clone(), target.clone()));
                    to.mappings.extend(current);
                }
            }
        }
    }
    to
}

/// Plans the steps from the live release to that release.
fn steps_between(
    observed: &Observed,
    live: &LiveStage,
    to: Release,
    version: i64,
    policy: &StagePolicy,
) -> Plan {
    let (stage, from, components) = (&observed.stage, &live.release, &observed.components);
    let mut steps = Vec::new();
    for (alias, now) in &components.aliases {
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
    for (mapping, now) in &components.mappings {
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

/// Checks that CodeDeploy moves no alias of the plan, that its mappings get their requests, and that API Gateway accepts a change of the stage.
fn can_be_applied(
    plan: &Plan,
    observed: &Observed,
    live: &LiveStage,
    policy: &StagePolicy,
) -> Result<(), Reason> {
    let planned = plan.steps.iter().filter_map(|step| match step {
        Step::Alias { alias, .. } => Some(alias),
        Step::Stage { .. } | Step::Mapping { .. } => None,
    });
    let contested: Vec<String> = planned
        .filter(|alias| observed.components.moving.contains(alias))
        .map(|alias| format!("the alias `{alias}`"))
        .collect();
    if !contested.is_empty() {
        return Err(Reason::CodeDeployRunning(contested));
    }
    let overridden: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Mapping { mapping, .. } => {
                let why = observed.components.overridden.get(mapping)?;
                Some(format!("the mapping `{mapping}` {why}"))
            }
            Step::Alias { .. } | Step::Stage { .. } => None,
        })
        .collect();
    if !overridden.is_empty() {
        return Err(Reason::PartShadowed(overridden));
    }
    // A quick-create stage also has AutoDeploy, which cannot be switched off there. So this reason comes first.
    if live.managed && plan.change().is_some() {
        return Err(Reason::ManagedStage(plan.stage.to_string()));
    }
    if plan.stops_auto_deploy() && policy.auto_deploy == AutoDeploy::Hold {
        return Err(Reason::AutoDeploy(plan.stage.to_string()));
    }
    Ok(())
}

/// Checks that the alarm exists, and that by CloudWatch's own answer it accuses this stage now. A message can be late or
/// forged, so only the alarm's name is taken from it.
fn alarm_may_act(name: &str, observed: &Observed, guilt: &Guilt) -> Result<(), Reason> {
    let alarm = name.to_owned();
    let Some(now) = &observed.alarm else {
        return Err(Reason::AlarmUnknown { alarm, why: NO_SUCH_ALARM.to_owned() });
    };
    if now.alarm.state != State::Alarm {
        return Err(Reason::AlarmCleared { alarm, state: now.alarm.state });
    }
    let api_names = observed.api_names.as_slice();
    if now.target(&observed.stage, api_names).is_none() {
        let why = format!("does not watch {}, according to CloudWatch", observed.stage);
        let unresolved = || Reason::AlarmUnreadable { alarm: alarm.clone(), why: now.unresolved.join("; ") };
        return Err(match now.unresolved.as_slice() {
            [] => Reason::AlarmUnknown { alarm, why },
            [_, ..] => unresolved(),
        });
    }
    match testimony(now, Subject::of(observed, guilt)) {
        Testimony::Accuses => Ok(()),
        Testimony::Abstains(reason) => Err(reason),
        Testimony::Unreadable(why) => Err(Reason::AlarmUnreadable { alarm, why }),
        Testimony::Quiet => {
            let leaf = now.leaves_about(&observed.stage, api_names).next().map(|leaf| &leaf.now.alarm);
            let quiet = leaf.unwrap_or(&now.alarm);
            Err(Reason::AlarmCleared { alarm: quiet.name.clone(), state: quiet.state })
        }
    }
}

/// Checks that the stage still serves the release that a sibling found bad, and that its own requests do not acquit it.
fn sibling_may_act(
    incident: &SiblingIncident,
    found: &Release,
    live: &Release,
    guilt: &Guilt,
) -> Result<(), Reason> {
    if !sibling::still_serves(live, found) {
        return Err(Reason::SiblingElsewhere(format!("{incident}; this stage has changed meanwhile")));
    }
    match guilt.acquittal(Measure::Failed) {
        Some(finding) => {
            Err(Reason::SiblingIncident(format!("{incident}; the requests here acquit it: {finding}")))
        }
        None => Ok(()),
    }
}

/// Several APIs can bear the name by which the alarm knows this one.
fn means_only_this_api(observed: &Observed) -> Result<(), Reason> {
    match observed.namesakes.as_slice() {
        [] => Ok(()),
        several => Err(Reason::AmbiguousTarget(format!(
            "the alarm names the API by a name that can mean {} APIs, among them {}",
            several.len(),
            several.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn is_protected(observed: &Observed) -> Result<(), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotProtected(format!(
            "{stage} is a parked stage: it only keeps a deployment from being deleted"
        )));
    }
    if !observed.configured && matches!(observed.on_record.known_good, KnownGood::None { .. }) {
        return Err(Reason::NotProtected(format!(
            "{stage} is neither listed in PROTECTED_STAGES nor recorded"
        )));
    }
    Ok(())
}

fn known_good(observed: &Observed) -> Result<(i64, &Record), Reason> {
    match &observed.on_record.known_good {
        KnownGood::Found { version, record, .. } => Ok((*version, record)),
        KnownGood::None { parameter } => Err(Reason::NoKnownGood {
            parameter: parameter.clone(),
            why: "does not exist: no such release was recorded".to_owned(),
        }),
        KnownGood::Unusable { parameter, fault } => {
            Err(Reason::KnownGoodUnusable { parameter: parameter.clone(), fault: fault.clone() })
        }
    }
}

/// Checks that the recorded release is not in quarantine. An operator can lift the quarantine.
fn is_not_quarantined(observed: &Observed, version: i64, record: &Record) -> Result<(), Reason> {
    if !observed.on_record.rollbacks.quarantines(&record.release) {
        return Ok(());
    }
    Err(Reason::KnownGoodMissing {
        deployment: record.release.deployment.clone(),
        parameter: record_parameter(observed).to_owned(),
        version,
        why: "is in quarantine because it was rolled back before".to_owned(),
    })
}

/// The end of a reason why a known-good deployment is missing. It holds unless the operator asked for one version.
pub const NO_OLDER: &str = ", and no older version can serve";

/// Checks that a stage can serve the recorded deployment, if the deployment was read.
fn can_be_served(observed: &Observed, version: i64, record: &Record) -> Result<(), Reason> {
    let why = match &observed.components.deployment {
        DeploymentNow::NotAsked | DeploymentNow::There => return Ok(()),
        DeploymentNow::Gone => format!("no longer exists{NO_OLDER}"),
        DeploymentNow::Undeployed(status) => format!("has the status {status}{NO_OLDER}"),
    };
    Err(Reason::KnownGoodMissing {
        deployment: record.release.deployment.clone(),
        parameter: record_parameter(observed).to_owned(),
        version,
        why,
    })
}

fn record_parameter(observed: &Observed) -> &str {
    match &observed.on_record.known_good {
        KnownGood::Found { parameter, .. }
        | KnownGood::None { parameter }
        | KnownGood::Unusable { parameter, .. } => parameter,
    }
}
