//! The terms on which a stage is protected: the function's settings, and a stage's overrides.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::component::{AliasRef, MAX_COMPONENTS, MappingRef};
use super::guilt::Terms;
use super::records::Stored;
use super::rollout;

pub(crate) const DAY: u32 = 86_400;

/// The longest bake time of settings and policies, in seconds.
pub const MAX_BAKE_SECONDS: u32 = 7 * DAY;

/// The longest rollback window of settings and policies, in seconds.
pub const MAX_WINDOW_SECONDS: u32 = 365 * DAY;

/// The longest cooldown of settings and policies, in seconds.
pub const MAX_COOLDOWN_SECONDS: u32 = DAY;

/// The most automatic rollbacks a day that settings and policies may allow: the list of rollbacks keeps no more
/// ([`super::records::Rollbacks::KEPT`]).
pub const MAX_ROLLBACKS_A_DAY: u32 = 20;

/// The terms on which the function proves a stage's release and rolls it back.
#[derive(Clone, Debug, PartialEq)]
pub struct StagePolicy {
    /// Whether alarms may change the stage, or only lead to reports.
    pub mode: Mode,
    /// How long a release must be live with quiet alarms to become known-good.
    pub bake: TimeDelta,
    /// Whether a guarding alarm's metric must have had data during the bake time.
    pub needs_data: bool,
    /// How long after it went live a release may be rolled back; `None` means without limit.
    pub window: Option<TimeDelta>,
    /// The minimum time between two automatic rollbacks.
    pub cooldown: TimeDelta,
    /// The maximum number of automatic rollbacks in 24 hours.
    pub max_rollbacks: u32,
    /// Whether a rollback also flushes the stage's caches.
    pub flush_cache: bool,
    /// Whether a rollback may switch AutoDeploy off.
    pub auto_deploy: AutoDeploy,
    /// Whether a rollback may proceed without components that do not exist.
    pub missing_components: MissingComponents,
    /// What an incident of a sibling leads to.
    pub siblings: Siblings,
    /// The terms of the test of guilt.
    pub test: Terms,
}

/// What an alarm may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rollbacks.
    Enforce,
    /// Reports only. Commands still act.
    Observe,
}

/// How a rollback treats AutoDeploy. While it is on, API Gateway accepts no other deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoDeploy {
    /// The run leaves the stage unchanged.
    #[default]
    Hold,
    /// The run switches it off. Later edits of the API then need a deployment to go live.
    SwitchOff,
}

/// How a rollback treats a listed or recorded component that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingComponents {
    /// The run leaves everything unchanged.
    #[default]
    Hold,
    /// The run rolls back the components that exist.
    Skip,
}

/// What an incident of a sibling leads to, if the stage serves the release that the sibling found bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Siblings {
    /// A notification.
    #[default]
    Tell,
    /// The release is not promoted, and its rollout waits, until an operator clears that.
    Hold,
    /// The stage is rolled back if its own preconditions allow that; otherwise as `hold`.
    Follow,
}

/// A stage's own settings, which override the function's. Operators write them by hand, so a misspelt field makes the
/// policy invalid, and the stage counts as held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverrides {
    /// The record's schema.
    pub schema: u32,
    /// `enforce` or `observe`.
    pub mode: Option<Mode>,
    /// How long a release must be live with quiet alarms, in seconds.
    pub bake_seconds: Option<u32>,
    /// Whether a guarding alarm's metric must have had data during the bake time.
    pub bake_needs_data: Option<bool>,
    /// How long after it went live a release may be rolled back, in seconds; 0 means without limit.
    pub rollback_window_seconds: Option<u32>,
    /// The minimum time between two automatic rollbacks, in seconds.
    pub cooldown_seconds: Option<u32>,
    /// The maximum number of automatic rollbacks in 24 hours.
    pub max_rollbacks_a_day: Option<u32>,
    /// Whether a rollback also flushes the stage's caches, which raises the load on the backend.
    pub flush_cache: Option<bool>,
    /// `hold`, or `switch-off` to let a rollback switch AutoDeploy off.
    pub auto_deploy: Option<AutoDeploy>,
    /// `hold`, or `skip` to let a rollback proceed without components that do not exist.
    pub missing_parts: Option<MissingComponents>,
    /// The Lambda aliases that belong to the release, such as `orders:live`.
    pub aliases: Option<Vec<AliasRef>>,
    /// The custom domains' mappings that belong to the release, such as `api.example.com/orders`.
    pub mappings: Option<Vec<MappingRef>>,
    /// The beginnings of the names of the alarms that may act on the stage. It can only narrow the settings.
    pub alarm_prefixes: Option<Vec<String>>,
    /// `tell`, `hold` or `follow`: what an incident of a sibling leads to.
    pub siblings: Option<Siblings>,
    /// The steps by which a canary that appears on the stage is rolled out.
    pub rollout: Option<rollout::Terms>,
}

impl Stored for PolicyOverrides {
    const WHAT: &'static str = "policy";

    /// Checks the limits that the function's settings have too.
    fn check(&self) -> Result<(), String> {
        for (field, number, most) in [
            ("bake_seconds", self.bake_seconds, MAX_BAKE_SECONDS),
            ("rollback_window_seconds", self.rollback_window_seconds, MAX_WINDOW_SECONDS),
            ("cooldown_seconds", self.cooldown_seconds, MAX_COOLDOWN_SECONDS),
            ("max_rollbacks_a_day", self.max_rollbacks_a_day, MAX_ROLLBACKS_A_DAY),
        ] {
            if let Some(number) = number.filter(|number| *number > most) {
                return Err(format!("`{field}` is {number}; it must be a number from 0 to {most}"));
            }
        }
        let lists = [
            ("aliases", self.aliases.as_ref().map(Vec::len)),
            ("mappings", self.mappings.as_ref().map(Vec::len)),
        ];
        if let Some((field, _)) =
            lists.into_iter().find(|(_, number)| number.is_some_and(|number| number > MAX_COMPONENTS))
        {
            return Err(format!("`{field}` lists more than {MAX_COMPONENTS} entries"));
        }
        self.rollout.as_ref().map_or(Ok(()), rollout::Terms::check)?;
        let is_empty = |prefixes: &Vec<String>| prefixes.iter().any(String::is_empty);
        match self.alarm_prefixes.as_ref().filter(|prefixes| is_empty(prefixes)) {
            Some(_) => Err("`alarm_prefixes` has an empty entry, which would allow every name".to_owned()),
            None => Ok(()),
        }
    }
}

impl StagePolicy {
    /// Applies a stage's overrides to these terms.
    #[must_use]
    pub fn under(&self, policy: &PolicyOverrides) -> Self {
        let seconds = |seconds: u32| TimeDelta::seconds(seconds.into());
        Self {
            mode: policy.mode.unwrap_or(self.mode),
            bake: policy.bake_seconds.map_or(self.bake, seconds),
            needs_data: policy.bake_needs_data.unwrap_or(self.needs_data),
            window: policy.rollback_window_seconds.map_or(self.window, |window| unless_zero(seconds(window))),
            cooldown: policy.cooldown_seconds.map_or(self.cooldown, seconds),
            max_rollbacks: policy.max_rollbacks_a_day.unwrap_or(self.max_rollbacks),
            flush_cache: policy.flush_cache.unwrap_or(self.flush_cache),
            auto_deploy: policy.auto_deploy.unwrap_or(self.auto_deploy),
            missing_components: policy.missing_parts.unwrap_or(self.missing_components),
            siblings: policy.siblings.unwrap_or(self.siblings),
            test: self.test,
        }
    }
}

/// Returns `None` for zero, which switches a setting off.
pub(crate) fn unless_zero(time: TimeDelta) -> Option<TimeDelta> {
    Some(time).filter(|time| !time.is_zero())
}
