//! Alarms in the SDK's types and in ours.

use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::{self as sdk, CompositeAlarm, Dimension, MetricAlarm, StateValue};
use serde_json::Value;

use super::stages::time;
use crate::alarm::{Alarm, Metric, Origin, State, Watches};
use crate::cloud::AlarmNow;
use crate::signal;

/// The alarms of one page; one without a name or with an unknown state is left out, as if unknown.
pub(super) fn of_page(page: DescribeAlarmsOutput) -> Vec<AlarmNow> {
    let metric = page.metric_alarms.unwrap_or_default().into_iter().filter_map(of_metric_alarm);
    let composite = page.composite_alarms.unwrap_or_default().into_iter().filter_map(of_composite_alarm);
    metric.chain(composite).collect()
}

fn of_metric_alarm(alarm: MetricAlarm) -> Option<AlarmNow> {
    let why = alarm.state_reason.unwrap_or_default();
    let single = alarm.namespace.map(|namespace| Metric {
        namespace,
        name: alarm.metric_name.unwrap_or_default(),
        dimensions: dimensions(alarm.dimensions),
        account: None,
    });
    let entries = alarm.metrics.unwrap_or_default().into_iter().filter_map(|entry| {
        let metric = entry.metric_stat?.metric?;
        Some(Metric {
            namespace: metric.namespace?,
            name: metric.metric_name.unwrap_or_default(),
            dimensions: dimensions(metric.dimensions),
            account: entry.account_id,
        })
    });
    Some(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        alarm: Alarm {
            name: alarm.alarm_name?,
            arn: alarm.alarm_arn,
            claimed: Origin::default(),
            description: alarm.alarm_description,
            state: state(alarm.state_value.as_ref())?,
            changed_at: alarm
                .state_transitioned_timestamp
                .or(alarm.state_updated_timestamp)
                .as_ref()
                .and_then(time),
            only_missing_data: signal::says_no_datapoints(&why),
            why,
            suppressed_by: None,
            watches: Watches::Metrics(entries.chain(single).collect()),
        },
    })
}

fn of_composite_alarm(alarm: CompositeAlarm) -> Option<AlarmNow> {
    let details =
        alarm.state_reason_data.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    Some(AlarmNow {
        actions_enabled: alarm.actions_enabled.unwrap_or(true),
        alarm: Alarm {
            name: alarm.alarm_name?,
            arn: alarm.alarm_arn,
            claimed: Origin::default(),
            description: alarm.alarm_description,
            state: state(alarm.state_value.as_ref())?,
            changed_at: alarm
                .state_transitioned_timestamp
                .or(alarm.state_updated_timestamp)
                .as_ref()
                .and_then(time),
            why: alarm.state_reason.unwrap_or_default(),
            only_missing_data: false,
            suppressed_by: alarm.actions_suppressed_by.map(|by| by.as_str().to_owned()),
            watches: Watches::Alarms(signal::triggering_alarms(details.as_ref())),
        },
    })
}

fn state(value: Option<&StateValue>) -> Option<State> {
    value.and_then(|value| State::parse(value.as_str()))
}

fn dimensions(list: Option<Vec<Dimension>>) -> Vec<(String, String)> {
    let pair = |one: sdk::Dimension| Some((one.name?, one.value?));
    list.unwrap_or_default().into_iter().filter_map(pair).collect()
}
