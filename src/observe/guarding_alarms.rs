//! The guarding alarms: those that would call this function. Read once, then matched to stages by the same
//! code that reads an alarm's message.

use crate::cloud::Alarms;
use crate::context::Context;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::{Alarm, Metric, Watches};
use crate::model::cloud_error::CloudError;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::signal::target;

/// Reads every alarm that notifies our topic or invokes our function.
///
/// # Errors
/// A failed call.
pub async fn read<C: Alarms>(context: &Context<'_, C>) -> Result<Vec<GuardingAlarm>, CloudError> {
    let acting = |action: Option<String>| async move {
        match action {
            Some(action) => context.cloud.alarms_acting(&action).await,
            None => Ok(vec![]),
        }
    };
    let (by_topic, by_function) =
        tokio::join!(acting(context.config.alarm_topic.clone()), acting(context.function.map(str::to_owned)));
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
        children.extend(context.cloud.alarms(names).await?);
    }
    Ok(alarms.into_iter().map(|now| GuardingAlarm::of(now, &children)).collect())
}

fn names_behind(alarm: &Alarm) -> &[String] {
    match &alarm.watches {
        Watches::Alarms(names) => names,
        Watches::Metrics(_) => &[],
    }
}

impl GuardingAlarm {
    fn of(now: AlarmNow, children: &[AlarmNow]) -> Self {
        let mut guard = Self {
            targets: target::stages_named_by(&now.alarm),
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
                    guard.targets.extend(target::stages_named_by(&child.alarm));
                }
            }
        }
        guard
    }
}

fn metrics(alarm: &Alarm) -> &[Metric] {
    match &alarm.watches {
        Watches::Metrics(metrics) => metrics,
        Watches::Alarms(_) => &[],
    }
}
