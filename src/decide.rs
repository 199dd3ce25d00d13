//! The decision: from what was observed to a plan, or to the reason for having none. Pure.

mod check;
mod guard;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::alarm::{State, Watches};
use crate::cloud::{AlarmNow, StageChange};
use crate::config::{Mode, Terms};
use crate::observe::{KnownGood, Observed};
use crate::records::Record;
use crate::release::{Release, StageRef};
use crate::target::{self, ApiRef, Target};
use crate::verdict::Reason;

pub use check::check;
pub use guard::is_not_held;

/// Who asks for the rollback.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// An alarm that named this target.
    Alarm {
        /// The alarm's name.
        name: &'a str,
        /// The stage as the alarm named it.
        target: &'a Target,
        /// Whether the sweep found the alarm, and not its event.
        swept: bool,
    },
    /// A person or a pipeline, who has looked already: what guards against alarms does not bind them.
    Operator {
        /// Whether they go back even from a release marked as not reversible.
        force: bool,
    },
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

impl Plan {
    /// The same way in two calls, the canary's removal first, for an API Gateway that refuses both in one:
    /// its guide says that a stage with a canary takes no other deployment, and not whether the order within
    /// one patch counts. `None` where there is only one thing to do.
    #[must_use]
    pub fn in_two_calls(&self) -> Option<[StageChange; 2]> {
        let canary = StageChange { remove_canary: true, ..StageChange::default() };
        let rest = StageChange { remove_canary: false, ..self.change.clone() };
        (self.change.remove_canary && rest != StageChange::default()).then_some([canary, rest])
    }
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
pub fn decide(call: Call<'_>, observed: &Observed, terms: &Terms, now: DateTime<Utc>) -> Decision {
    match plan(call, observed, terms, now) {
        Ok(plan) => Decision::Act(Box::new(plan)),
        Err(reason) => Decision::Hold(reason),
    }
}

fn plan(call: Call<'_>, observed: &Observed, terms: &Terms, now: DateTime<Utc>) -> Result<Plan, Reason> {
    if let Call::Alarm { name, target, .. } = call {
        alarm_stands(name, target, observed)?;
    }
    is_protected(observed)?;
    let live = observed.live.as_ref().ok_or_else(|| {
        Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            observed.stage.stage, observed.stage.api
        ))
    })?;
    let operator = matches!(call, Call::Operator { .. });
    if !operator {
        guard::is_not_held(&observed.on_record, now)?;
    }
    let (version, record) = record(observed)?;
    if live.release == record.release {
        let deployment = live.release.deployment.clone();
        return Err(Reason::AlreadyKnownGood { deployment, version, by: None });
    }
    let candidate = observed.on_record.candidate_for(&live.release);
    if !operator {
        guard::unchanged_since(call, live, observed.alarm.as_ref(), now)?;
        let live_since = candidate.map(|candidate| candidate.first_seen).or(live.updated_at);
        guard::is_in_window(live_since, terms, now)?;
    }
    if !matches!(call, Call::Operator { force: true })
        && candidate.is_some_and(|candidate| candidate.irreversible)
    {
        return Err(Reason::IrreversibleRelease { deployment: live.release.deployment.clone() });
    }
    is_no_bad_release(observed, version, record)?;
    if !operator {
        guard::is_not_too_soon(&observed.on_record.rollbacks, terms, now)?;
        if terms.mode == Mode::Observe {
            return Err(Reason::ObserveMode { deployment: record.release.deployment.clone() });
        }
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

fn parameter(observed: &Observed) -> &str {
    match &observed.on_record.known_good {
        KnownGood::Found { parameter, .. }
        | KnownGood::None { parameter }
        | KnownGood::Unusable { parameter, .. } => parameter,
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
