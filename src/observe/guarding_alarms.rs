//! Reads the guarding alarms. The same code that reads an alarm's event then matches them to stages.

use crate::cloud::Alarms;
use crate::context::Context;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::{Alarm, Metric, Watches};
use crate::model::cloud_error::CloudError;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::signal::target;

/// Reads every alarm that notifies our topic or invokes our function, and the alarms in the rules of composite alarms
/// (`DescribeAlarms`).
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
    let mut wanted: Vec<String> = alarms.iter().flat_map(|now| children_of(&now.alarm)).cloned().collect();
    wanted.sort();
    wanted.dedup();
    let mut children = Vec::new();
    // One call accepts at most 100 names.
    for names in wanted.chunks(100) {
        children.extend(context.cloud.alarms(names).await?);
    }
    Ok(alarms.into_iter().map(|now| GuardingAlarm::of(now, &children)).collect())
}

/// Returns the names of the alarms in a composite alarm's rule.
fn children_of(alarm: &Alarm) -> &[String] {
    match &alarm.watches {
        Watches::Alarms(names) => names,
        Watches::Metrics(_) => &[],
    }
}

impl GuardingAlarm {
    /// Combines an alarm with the alarms in its rule. Only an alarm that names no stage itself takes over their stages.
    fn of(now: AlarmNow, children: &[AlarmNow]) -> Self {
        let mut guarding = Self {
            targets: target::stages_named_by(&now.alarm),
            metrics: metrics(&now.alarm).to_vec(),
            window: now.window,
            actions_enabled: now.actions_enabled,
            alarm: now.alarm,
        };
        let has_directive = !guarding.targets.is_empty();
        for name in children_of(&guarding.alarm) {
            for child in children.iter().filter(|child| child.alarm.name == *name) {
                guarding.metrics.extend(metrics(&child.alarm).iter().cloned());
                guarding.window = guarding.window.max(child.window);
                if !has_directive {
                    guarding.targets.extend(target::stages_named_by(&child.alarm));
                }
            }
        }
        guarding
    }
}

fn metrics(alarm: &Alarm) -> &[Metric] {
    match &alarm.watches {
        Watches::Metrics(metrics) => metrics,
        Watches::Alarms(_) => &[],
    }
}
