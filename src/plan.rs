//! The plan: one release's way back, as steps in their order, each with its before-value. Pure.

use std::fmt;

use serde::Serialize;

use crate::cloud::StageChange;
use crate::parts::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::release::{Release, StageRef};

/// One release's way back. It leaves no choice to whoever applies it.
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
    /// What leads from `from` to `to`: aliases first, then the stage, then mappings, so that traffic moves
    /// when what it moves to is right.
    #[serde(skip)]
    pub steps: Vec<Step>,
    /// Whether the stage's caches are to be flushed afterwards.
    #[serde(skip)]
    pub flush: bool,
}

/// One step, done by one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a plan has a handful of steps")]
pub enum Step {
    /// Moves an alias, if it still has this revision.
    Alias {
        /// Which.
        alias: AliasRef,
        /// What it points at.
        from: AliasTarget,
        /// What it will point at.
        to: AliasTarget,
        /// Its revision.
        revision: String,
    },
    /// Changes the stage.
    Stage {
        /// What it serves.
        from: Release,
        /// What it will serve.
        to: Release,
        /// The change between the two.
        change: StageChange,
    },
    /// Moves a mapping.
    Mapping {
        /// Which.
        mapping: MappingRef,
        /// Its id, where it has one.
        id: Option<String>,
        /// What it points at.
        from: MappingTarget,
        /// What it will point at.
        to: MappingTarget,
    },
}

impl Plan {
    /// The change of the stage, where there is one.
    #[must_use]
    pub fn change(&self) -> Option<&StageChange> {
        self.steps.iter().find_map(|step| match step {
            Step::Stage { change, .. } => Some(change),
            Step::Alias { .. } | Step::Mapping { .. } => None,
        })
    }

    /// Whether it switches AutoDeploy off.
    #[must_use]
    pub fn stops_auto_deploy(&self) -> bool {
        self.change().is_some_and(|change| change.stop_auto_deploy)
    }

    /// Whether a stage that serves `live` is somewhere on this plan's way: every part as it was or as it will be.
    #[must_use]
    pub fn is_on_its_way(&self, live: &Release) -> bool {
        let Self { from, to, .. } = self;
        let stage = live.in_stage();
        let half_way = Release { canary: None, ..from.in_stage() };
        (stage == from.in_stage() || stage == to.in_stage() || stage == half_way)
            && live.aliases.iter().all(|(alias, target)| {
                [from, to].iter().any(|release| release.aliases.get(alias) == Some(target))
            })
            && live.mappings.iter().all(|(mapping, target)| {
                [from, to].iter().any(|release| release.mappings.get(mapping) == Some(target))
            })
    }
}

impl StageChange {
    /// The one change that leads a stage from one release to another.
    #[must_use]
    pub fn between(stage: &StageRef, from: &Release, to: &Release) -> Self {
        let whole = stage.protocol.is_v2() && from.variables != to.variables;
        let differs = |(name, value): &(&String, &String)| whole || from.variables.get(*name) != Some(*value);
        Self {
            remove_canary: from.canary.is_some() && to.canary.is_none(),
            put_canary: to.canary.clone().filter(|_| from.canary != to.canary),
            stop_auto_deploy: false,
            deployment: (from.deployment != to.deployment).then(|| to.deployment.clone()),
            set: to.variables.iter().filter(differs).map(|(n, v)| (n.clone(), v.clone())).collect(),
            remove: from.variables.keys().filter(|name| !to.variables.contains_key(*name)).cloned().collect(),
            close: false,
        }
    }

    /// The same in two calls, for an API Gateway that refuses both in one: first what stands in the way of
    /// another deployment (a canary, AutoDeploy), then the rest. That its guide says, and not whether the order
    /// within one call counts. `None` where there is only one thing to do.
    #[must_use]
    pub fn in_two_calls(&self) -> Option<[Self; 2]> {
        let first = Self {
            remove_canary: self.remove_canary,
            stop_auto_deploy: self.stop_auto_deploy,
            ..Self::default()
        };
        let rest = Self { remove_canary: false, stop_auto_deploy: false, ..self.clone() };
        (first != Self::default() && rest != Self::default()).then_some([first, rest])
    }

    /// What a stage serves after this change.
    #[must_use]
    pub fn applied_to(&self, release: &Release) -> Release {
        let mut after = release.clone();
        if self.remove_canary {
            after.canary = None;
        }
        if let Some(deployment) = &self.deployment {
            after.deployment.clone_from(deployment);
        }
        after.variables.extend(self.set.clone());
        after.variables.retain(|name, _| !self.remove.contains(name));
        if let Some(canary) = &self.put_canary {
            after.canary = Some(canary.clone());
        }
        after
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias { alias, from, to, .. } => write!(f, "alias `{alias}` {from} -> {to}"),
            Self::Mapping { mapping, from, to, .. } => write!(f, "mapping `{mapping}` {from} -> {to}"),
            Self::Stage { from, change, .. } => f.write_str(&described(from, change)),
        }
    }
}

fn described(from: &Release, change: &StageChange) -> String {
    let mut parts = Vec::new();
    if change.stop_auto_deploy {
        parts.push("AutoDeploy SWITCHED OFF".to_owned());
    }
    if let (true, Some(canary)) = (change.remove_canary, &from.canary) {
        parts.push(format!("canary with {} % of the traffic removed", canary.percent));
    }
    if let Some(deployment) = &change.deployment {
        parts.push(format!("deployment `{}` -> `{deployment}`", from.deployment));
    }
    let set: Vec<_> =
        change.set.iter().filter(|(name, value)| from.variables.get(*name) != Some(*value)).collect();
    if !set.is_empty() {
        let names: Vec<_> = set.into_iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("stage variables set: {}", names.join(", ")));
    }
    if !change.remove.is_empty() {
        parts.push(format!("stage variables removed: {}", change.remove.join(", ")));
    }
    parts.join("; ")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        write!(f, "{} (known-good version {})", steps.join("; "), self.version)
    }
}
