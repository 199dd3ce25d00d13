//! The guarding alarms: those that would call this function. Read once, then matched to stages by the same
//! code that reads an alarm's message.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cloud::{AlarmNow, Cloud, CloudError};
use crate::context::Run;
use crate::model::alarm::{Alarm, Metric, State, Watches};
use crate::model::release::StageRef;
use crate::signal::target::{self, Target};

/// A guarding alarm and what it is about.
#[derive(Clone, Debug)]
pub struct Guard {
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

/// Reads every alarm that notifies our topic or invokes our function.
///
/// # Errors
/// A failed call.
pub async fn read<C: Cloud>(run: &Run<'_, C>) -> Result<Vec<Guard>, CloudError> {
    let acting = |action: Option<String>| async move {
        match action {
            Some(action) => run.cloud.alarms_acting(&action).await,
            None => Ok(vec![]),
        }
    };
    let (by_topic, by_function) =
        tokio::join!(acting(run.config.topic.clone()), acting(run.function.map(str::to_owned)));
    let mut alarms = by_topic?;
    alarms.extend(by_function?);
    alarms.sort_by(|a, b| a.alarm.name.cmp(&b.alarm.name));
    alarms.dedup_by(|a, b| a.alarm.name == b.alarm.name);
    let mut behind: Vec<String> = alarms.iter().flat_map(|now| names_behind(&now.alarm)).cloned().collect();
    behind.sort();
    behind.dedup();
    let mut children = Vec::new();
    // A call takes at most 100 names.
    for names in behind.chunks(100) {
        children.extend(run.cloud.alarms(names).await?);
    }
    Ok(alarms.into_iter().map(|now| Guard::of(now, &children)).collect())
}

fn names_behind(alarm: &Alarm) -> &[String] {
    match &alarm.watches {
        Watches::Alarms(names) => names,
        Watches::Metrics(_) => &[],
    }
}

impl Guard {
    fn of(now: AlarmNow, children: &[AlarmNow]) -> Self {
        let mut guard = Self {
            targets: target::of(&now.alarm).unwrap_or_default(),
            metrics: metrics(&now.alarm).to_vec(),
            window: now.window,
            actions_enabled: now.actions_enabled,
            alarm: now.alarm,
        };
        let has_directive = !guard.targets.is_empty();
        for name in names_behind(&guard.alarm) {
            for child in children.iter().filter(|child| child.alarm.name == *name) {
                guard.metrics.extend(metrics(&child.alarm).iter().cloned());
                guard.window = guard.window.max(child.window);
                if !has_directive {
                    guard.targets.extend(target::of(&child.alarm).unwrap_or_default());
                }
            }
        }
        guard
    }

    /// The target by which it names a stage whose API has these names.
    #[must_use]
    pub fn target(&self, stage: &StageRef, names: &[String]) -> Option<&Target> {
        let same_api = |text: &str| text == stage.api || names.iter().any(|name| name == text);
        self.targets.iter().find(|target| target.stage == stage.stage && same_api(target.api.text()))
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

fn metrics(alarm: &Alarm) -> &[Metric] {
    match &alarm.watches {
        Watches::Metrics(metrics) => metrics,
        Watches::Alarms(_) => &[],
    }
}
