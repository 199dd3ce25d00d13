//! The decision: from what was observed to a plan, or to the reason for having none. Pure.

mod check;

use std::fmt;

use serde::Serialize;

use crate::alarm::{State, Watches};
use crate::cloud::{AlarmNow, LiveStage, StageChange};
use crate::config::Mode;
use crate::observe::{KnownGood, Observed};
use crate::release::{Record, Release, StageRef};
use crate::target::{self, ApiRef, Target};
use crate::verdict::Reason;

pub use check::check;

/// Who asks for the rollback.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// An alarm that named this target.
    Alarm {
        /// The alarm's name.
        name: &'a str,
        /// The stage as the alarm named it.
        target: &'a Target,
    },
    /// A person or a pipeline, who has looked already: the alarm's guards and the mode do not bind them.
    Operator,
    /// Nobody: what an alarm that fired now would lead to.
    Imagined,
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

/// One stage's way back. It leaves no choice to whoever applies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The stage.
    pub stage: StageRef,
    /// The release it serves now, for undoing and for the incident.
    pub from: Release,
    /// The release it will serve.
    pub to: Release,
    /// The version of the record that `to` comes from.
    pub version: i64,
    /// The one call that leads from `from` to `to`.
    #[serde(skip)]
    pub change: StageChange,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(canary) = &self.from.canary {
            parts.push(format!("canary with {} % of the traffic removed", canary.percent));
        }
        if let Some(deployment) = &self.change.deployment {
            parts.push(format!("deployment `{}` -> `{deployment}`", self.from.deployment));
        }
        if !self.change.set.is_empty() {
            let names: Vec<_> = self.change.set.keys().map(String::as_str).collect();
            parts.push(format!("stage variables set: {}", names.join(", ")));
        }
        if !self.change.remove.is_empty() {
            parts.push(format!("stage variables removed: {}", self.change.remove.join(", ")));
        }
        write!(f, "{} (known-good version {})", parts.join("; "), self.version)
    }
}

/// Decides in the order of the README's table of verdicts.
pub fn decide(call: Call<'_>, observed: &Observed, mode: Mode) -> Decision {
    match plan(call, observed, mode) {
        Ok(plan) => Decision::Act(Box::new(plan)),
        Err(reason) => Decision::Hold(reason),
    }
}

fn plan(call: Call<'_>, observed: &Observed, mode: Mode) -> Result<Plan, Reason> {
    if let Call::Alarm { name, target } = call {
        alarm_stands(name, target, observed)?;
    }
    is_protected(observed)?;
    let live = observed.live.as_ref().ok_or_else(|| {
        Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            observed.stage.stage, observed.stage.api
        ))
    })?;
    let (version, record) = record(observed)?;
    if live.release == record.release {
        let deployment = live.release.deployment.clone();
        return Err(Reason::AlreadyKnownGood { deployment, version, by: None });
    }
    if let (Call::Alarm { .. }, Some(now)) = (call, &observed.alarm) {
        unchanged_since(live, now)?;
    }
    if mode == Mode::Observe && !matches!(call, Call::Operator) {
        return Err(Reason::ObserveMode { deployment: record.release.deployment.clone() });
    }
    let change = change_between(&live.release, &record.release);
    Ok(Plan {
        stage: observed.stage.clone(),
        from: live.release.clone(),
        to: record.release.clone(),
        version,
        change,
    })
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

/// Whether the alarm as it stands names the stage that its message named.
fn watches(now: &AlarmNow, target: &Target, stage: &StageRef) -> bool {
    let same = |named: &Target| {
        let same_api = named.api == target.api || named.api == ApiRef::Id(stage.api.clone());
        same_api && named.stage == stage.stage
    };
    match (target::of(&now.alarm), &now.alarm.watches) {
        (Ok(targets), _) => targets.iter().any(same),
        // Its children were just asked; a query names no metric, so its message named none either.
        (Err(_), Watches::Alarms(_)) => true,
        (Err(_), Watches::Metrics(metrics)) => metrics.is_empty(),
    }
}

fn is_protected(observed: &Observed) -> Result<(), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotProtected(format!("{stage} is a parked stage: it only holds a deployment")));
    }
    if !observed.configured && matches!(observed.known_good, KnownGood::None { .. }) {
        return Err(Reason::NotProtected(format!("{stage} is neither in PROTECTED_STAGES nor recorded")));
    }
    Ok(())
}

fn record(observed: &Observed) -> Result<(i64, &Record), Reason> {
    match &observed.known_good {
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

/// Both times come from AWS, so our own clock plays no part. What was deployed after the alarm fired may be
/// the fix and is not undone.
fn unchanged_since(live: &LiveStage, now: &AlarmNow) -> Result<(), Reason> {
    match (live.updated_at, now.alarm.changed_at) {
        (Some(changed_at), Some(alarm_at)) if changed_at > alarm_at => {
            Err(Reason::ChangedAfterAlarm { changed_at, alarm_at })
        }
        _ => Ok(()),
    }
}

/// The one change that leads from one release to another.
fn change_between(from: &Release, to: &Release) -> StageChange {
    let differs = |(name, value): &(&String, &String)| from.variables.get(*name) != Some(*value);
    StageChange {
        remove_canary: from.canary.is_some(),
        deployment: (from.deployment != to.deployment).then(|| to.deployment.clone()),
        set: to.variables.iter().filter(differs).map(|(n, v)| (n.clone(), v.clone())).collect(),
        remove: from.variables.keys().filter(|name| !to.variables.contains_key(*name)).cloned().collect(),
        close: false,
    }
}
