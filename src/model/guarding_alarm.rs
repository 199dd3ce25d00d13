//! A guarding alarm: an alarm that notifies our topic or invokes our function.

use chrono::{DateTime, TimeDelta, Utc};

use super::alarm::{Alarm, Metric, State};
use super::stage::StageRef;
use super::target::{self, Target};

/// A guarding alarm, with the stages and metrics that it covers.
#[derive(Clone, Debug)]
pub struct GuardingAlarm {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions are enabled.
    pub actions_enabled: bool,
    /// How far back one evaluation looks.
    pub window: TimeDelta,
    /// The stages that it names; for a composite alarm, those of the alarms in its rule.
    pub targets: Vec<Target>,
    /// The metrics that it watches; for a composite alarm, those of the alarms in its rule.
    pub metrics: Vec<Metric>,
}

impl GuardingAlarm {
    /// Returns the target by which it names a stage, if any. The stage's API is also known by `api_names`.
    #[must_use]
    pub fn target(&self, stage: &StageRef, api_names: &[String]) -> Option<&Target> {
        target::naming(&self.targets, stage, api_names)
    }

    /// Returns whether it has been quiet since a time, judged by its present state. `None` means that its state changed
    /// since then, so only its history can answer.
    #[must_use]
    pub fn quiet_since(&self, since: DateTime<Utc>) -> Option<bool> {
        match (self.alarm.state, self.alarm.changed_at) {
            (State::Alarm, _) => Some(false),
            (State::Ok | State::InsufficientData, Some(changed)) if changed < since => Some(true),
            (State::Ok | State::InsufficientData, _) => None,
        }
    }
}
