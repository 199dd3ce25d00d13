//! On what terms a stage is protected: the function's settings, and what a stage's own parameter sets in their place.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::component::{AliasRef, MAX_COMPONENTS, MappingRef};
use super::records::Stored;

pub(crate) const DAY: u32 = 86_400;

/// The longest bake time of settings and policies, in seconds.
pub const MAX_BAKE_SECONDS: u32 = 7 * DAY;

/// The longest rollback window of settings and policies, in seconds.
pub const MAX_WINDOW_SECONDS: u32 = 365 * DAY;

/// The longest cooldown of settings and policies, in seconds.
pub const MAX_COOLDOWN_SECONDS: u32 = DAY;

/// The most automatic rollbacks a day that settings and policies may allow: the guards remember no more
/// ([`super::records::Rollbacks::KEPT`]).
pub const MAX_ROLLBACKS_A_DAY: u32 = 20;

/// On what terms a stage's release is proven, and taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePolicy {
    /// Whether alarms may change the stage, or only have it said what would be done.
    pub mode: Mode,
    /// How long a release must be live with quiet alarms to become known-good.
    pub bake: TimeDelta,
    /// Whether a guarding alarm's metric must have had data meanwhile.
    pub needs_data: bool,
    /// How long after it went live a release may be taken off; `None` is without end.
    pub window: Option<TimeDelta>,
    /// The least time between two automatic rollbacks.
    pub cooldown: TimeDelta,
    /// The most automatic rollbacks in 24 hours.
    pub max_rollbacks: u32,
    /// Whether the stage's caches are flushed after a rollback.
    pub flush_cache: bool,
    /// Whether a rollback may switch AutoDeploy off, or holds.
    pub auto_deploy: AutoDeploy,
    /// Whether a rollback goes on without parts that do not exist, or holds.
    pub missing_components: MissingComponents,
}

/// What an alarm may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rollbacks.
    Enforce,
    /// Reports only. Commands still act.
    Observe,
}

/// What a rollback does about AutoDeploy, with which API Gateway takes no deployment from anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AutoDeploy {
    /// It leaves the stage alone.
    #[default]
    Hold,
    /// It switches it off: later edits of the API do not go live by themselves any more.
    SwitchOff,
}

/// What a rollback does about a listed or recorded part that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingComponents {
    /// It leaves everything alone.
    #[default]
    Hold,
    /// It goes on with what is there.
    Skip,
}

/// A stage's own settings, each in the place of the function's. Written by hand, so a misspelt field is
/// refused and the stage counts as held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverrides {
    /// The record's schema.
    pub schema: u32,
    /// `enforce` or `observe`.
    pub mode: Option<Mode>,
    /// Seconds that a release must be live with quiet alarms.
    pub bake_seconds: Option<u32>,
    /// Whether a guarding alarm's metric must have had data meanwhile.
    pub bake_needs_data: Option<bool>,
    /// Seconds after which a live release is no deployment problem any more; 0 is never.
    pub rollback_window_seconds: Option<u32>,
    /// Seconds between two automatic rollbacks.
    pub cooldown_seconds: Option<u32>,
    /// Automatic rollbacks in 24 hours.
    pub max_rollbacks_a_day: Option<u32>,
    /// Whether the stage's caches are flushed after a rollback, which raises the load behind the API.
    pub flush_cache: Option<bool>,
    /// `hold`, or `switch-off` to let a rollback switch AutoDeploy off.
    pub auto_deploy: Option<AutoDeploy>,
    /// `hold`, or `skip` to let a rollback go on without parts that do not exist.
    pub missing_parts: Option<MissingComponents>,
    /// The Lambda aliases that belong to the release, such as `orders:live`.
    pub aliases: Option<Vec<AliasRef>>,
    /// The custom domains' mappings that belong to the release, such as `api.example.com/orders`.
    pub mappings: Option<Vec<MappingRef>>,
}

impl Stored for PolicyOverrides {
    const WHAT: &'static str = "policy";

    /// The numbers keep to the limits of the settings whose place they take.
    fn check(&self) -> Result<(), String> {
        for (field, number, most) in [
            ("bake_seconds", self.bake_seconds, MAX_BAKE_SECONDS),
            ("rollback_window_seconds", self.rollback_window_seconds, MAX_WINDOW_SECONDS),
            ("cooldown_seconds", self.cooldown_seconds, MAX_COOLDOWN_SECONDS),
            ("max_rollbacks_a_day", self.max_rollbacks_a_day, MAX_ROLLBACKS_A_DAY),
        ] {
            if let Some(number) = number.filter(|number| *number > most) {
                return Err(format!("`{field}` is {number}; it is a number from 0 to {most}"));
            }
        }
        let parts = [
            ("aliases", self.aliases.as_ref().map(Vec::len)),
            ("mappings", self.mappings.as_ref().map(Vec::len)),
        ];
        match parts.into_iter().find(|(_, number)| number.is_some_and(|number| number > MAX_COMPONENTS)) {
            Some((field, _)) => Err(format!("`{field}` lists more than {MAX_COMPONENTS}")),
            None => Ok(()),
        }
    }
}

impl StagePolicy {
    /// These terms, with what a stage's policy sets otherwise.
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
        }
    }
}

/// A setting of zero seconds switches it off.
pub(crate) fn unless_zero(time: TimeDelta) -> Option<TimeDelta> {
    Some(time).filter(|time| !time.is_zero())
}
