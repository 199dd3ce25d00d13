//! A guarding alarm: an alarm that notifies our topic or invokes our function.

use chrono::{DateTime, TimeDelta, Utc};

use super::alarm::{Alarm, AlarmNow, Metric, Muted, State, Watches};
use super::datapoint::Datapoint;
use super::stage::StageRef;
use super::target::{self, Target};

/// A guarding alarm, resolved down to the alarms that watch data.
#[derive(Clone, Debug)]
pub struct GuardingAlarm {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions are enabled.
    pub actions_enabled: bool,
    /// The ARNs that it notifies or invokes when it goes to ALARM.
    pub actions: Vec<String>,
    /// The ARNs that it notifies or invokes when it goes back to OK.
    pub ok_actions: Vec<String>,
    /// Whether a mute rule mutes its actions. Read only for an alarm in ALARM.
    pub muted: Muted,
    /// How far back one evaluation looks; for a composite alarm, the longest of its leaves.
    pub window: TimeDelta,
    /// Whether it is a composite alarm that names no stage itself, so that only its leaves do.
    pub speaks_by_leaves: bool,
    /// The stages that it names: by itself, or for a composite alarm without a directive, by its leaves.
    pub targets: Vec<Target>,
    /// The alarm itself, or the alarms below a composite alarm that are not composite.
    pub leaves: Vec<Leaf>,
    /// Why some of the alarms below a composite alarm are not among the leaves: one sentence for each.
    pub unresolved: Vec<String>,
}

/// An alarm that watches data.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The alarm as CloudWatch has it.
    pub now: AlarmNow,
    /// The stages that are named for it.
    pub targets: Vec<Target>,
    /// The alarm that names them: itself, or a composite alarm between it and the guarding alarm.
    pub named_by: String,
    /// The datapoints until now, if a doubt made the run read them.
    pub later: Option<Vec<Datapoint>>,
}

impl GuardingAlarm {
    /// Returns the target by which it names a stage, if any. The stage's API is also known by `api_names`.
    #[must_use]
    pub fn target(&self, stage: &StageRef, api_names: &[String]) -> Option<&Target> {
        target::naming(&self.targets, stage, api_names)
    }

    /// The leaves that speak about a stage: those that name it, or all of them if the alarm names the stage itself.
    pub fn leaves_about(&self, stage: &StageRef, api_names: &[String]) -> impl Iterator<Item = &Leaf> {
        let by_leaves = self.speaks_by_leaves;
        let names_it =
            move |leaf: &&Leaf| !by_leaves || target::naming(&leaf.targets, stage, api_names).is_some();
        self.leaves.iter().filter(names_it)
    }

    /// The leaves in ALARM that speak about a stage.
    pub fn firing_about(&self, stage: &StageRef, api_names: &[String]) -> impl Iterator<Item = &Leaf> {
        self.leaves_about(stage, api_names).filter(|leaf| leaf.now.alarm.state == State::Alarm)
    }

    /// Returns the alarm as having fired at this time at the latest: that of its event. CloudWatch may tell a later one. The
    /// event of a composite alarm says nothing about the alarms below it.
    #[must_use]
    pub fn fired_by(mut self, event: Option<DateTime<Utc>>) -> Self {
        let leaves = self.leaves.iter_mut().filter(|leaf| leaf.now.alarm.name == self.alarm.name);
        for leaf in leaves {
            let told = leaf.now.alarm.changed_at;
            leaf.now.alarm.changed_at = told.into_iter().chain(event).min();
        }
        self
    }

    /// The leaves that name no stage, if the alarm speaks by its leaves. Each may be about any stage.
    pub fn stageless(&self) -> impl Iterator<Item = &Leaf> {
        let by_leaves = self.speaks_by_leaves;
        self.leaves.iter().filter(move |leaf| by_leaves && leaf.targets.is_empty())
    }

    /// The alarms whose states speak about a stage: the alarm itself, or the leaves that name the stage. If a leaf may be
    /// about any stage, the alarm itself speaks, too.
    #[must_use]
    pub fn alarms_about(&self, stage: &StageRef, api_names: &[String]) -> Vec<&Alarm> {
        if self.speaks_by_leaves {
            let leaves = self.leaves_about(stage, api_names).map(|leaf| &leaf.now.alarm);
            return leaves.chain(self.stageless().next().map(|_| &self.alarm)).collect();
        }
        vec![&self.alarm]
    }

    /// The metrics that the alarm watches, by all its leaves.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        self.leaves.iter().flat_map(Leaf::metrics).cloned().collect()
    }
}

impl Leaf {
    /// The metrics that it watches; none for a query.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        match &self.now.alarm.watches {
            Watches::Metrics(metrics) => metrics,
            Watches::Alarms(_) => &[],
        }
    }
}
