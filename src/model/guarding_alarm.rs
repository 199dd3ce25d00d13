//! A guarding alarm: one that would call this function.

use chrono::{DateTime, TimeDelta, Utc};

use super::alarm::{Alarm, Metric, State};
use super::stage::StageRef;
use super::target::{self, Target};

/// A guarding alarm and what it is about.
#[derive(Clone, Debug)]
pub struct GuardingAlarm {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions run at all.
    pub actions_enabled: bool,
    /// How far back one evaluation looks.
    pub window: TimeDelta,
    /// The stages it names, for a composite alarm by the alarms in its rule.
    pub targets: Vec<Target>,
    /// The metrics it watches, for a composite alarm those of the alarms in its rule.
    pub metrics: Vec<Metric>,
}

impl GuardingAlarm {
    /// The target by which it names a stage whose API has these names.
    #[must_use]
    pub fn target(&self, stage: &StageRef, api_names: &[String]) -> Option<&Target> {
        target::naming(&self.targets, stage, api_names)
    }

    /// Whether it has been quiet since then as far as its state now tells; `None` where its history must be
    /// asked, because its state changed in between.
    #[must_use]
    pub fn quiet_since(&self, since: DateTime<Utc>) -> Option<bool> {
        match (self.alarm.state, self.alarm.changed_at) {
            (State::Alarm, _) => Some(false),
            (State::Ok | State::InsufficientData, Some(changed)) if changed < since => Some(true),
            (State::Ok | State::InsufficientData, _) => None,
        }
    }
}
