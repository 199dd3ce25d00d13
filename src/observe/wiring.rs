//! Reads what leads from the alarms to the function.

use chrono::TimeDelta;
use futures_util::StreamExt;

use crate::cloud::{Alarms, Wiring};
use crate::context::Context;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::wiring::WiringNow;

/// The period in which the metrics of a guarding alarm are searched for samples.
const SAMPLED: TimeDelta = TimeDelta::hours(24);

/// How many alarms' metrics are read at the same time. Rollbacks share CloudWatch's quotas.
const AT_ONCE: usize = 4;

/// Reads the alarm topic and its subscriptions, the policy of `function`, and every alarm (`GetTopicAttributes`,
/// `ListSubscriptionsByTopic`, `GetPolicy`, `DescribeAlarms`), and counts the samples of the metrics of `guards` (`GetMetricData`). A failed call leaves only its own
/// fact unknown.
pub async fn read<C: Alarms + Wiring>(
    context: &Context<'_, C>,
    function: &str,
    guards: &[GuardingAlarm],
) -> WiringNow {
    let topic = async {
        match &context.config.alarm_topic {
            Some(topic) => tokio::join!(context.cloud.topic(topic), context.cloud.subscriptions(topic)),
            None => (Ok(None), Ok(None)),
        }
    };
    let samples = guards.iter().filter_map(|guard| {
        let metrics = guard.metrics();
        if metrics.is_empty() {
            return None;
        }
        let (since, until) = (context.now - SAMPLED, context.now);
        Some(async move { (guard.alarm.name.clone(), context.cloud.samples(&metrics, since, until).await) })
    });
    let samples: Vec<_> = samples.collect();
    let samples = futures_util::stream::iter(samples).buffered(AT_ONCE).collect();
    let ((topic, subscriptions), policy, alarms, samples) =
        tokio::join!(topic, context.cloud.function_policy(function), context.cloud.all_alarms(), samples);
    WiringNow { topic, subscriptions, policy, alarms, samples }
}
