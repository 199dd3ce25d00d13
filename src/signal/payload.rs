//! The two formats of an alarm: the SNS message (`NewStateValue`, upper camel case), and the format of EventBridge and
//! of direct alarm actions (`state.value`, lower camel case). Only the name and the state are required. Unknown fields
//! are ignored.

use serde_json::Value;

use super::{Signal, malformed, not_an_alarm, owned, text};
use crate::model::alarm::{Alarm, Metric, Origin, State, Watches, name_of, time};
use crate::model::plain;

/// The longest name of an alarm, in characters (`PutMetricAlarm`).
const MAX_NAME: usize = 255;

/// The longest ARN of an alarm, in characters (`MetricAlarm`).
const MAX_ARN: usize = 1_600;

/// The longest reason that is kept, in characters: CloudWatch's limit is 1,023 (`SetAlarmState`).
const MAX_WHY: usize = 1_023;

/// Reads the alarm of an SNS message.
pub(super) fn read_sns_message(message: &Value) -> Signal {
    let trigger = message.get("Trigger").unwrap_or(&Value::Null);
    let watches = if message.get("AlarmRule").is_some_and(|rule| !rule.is_null()) {
        // CloudWatch's own rule says which alarms are below it.
        Watches::Alarms(vec![])
    } else {
        Watches::Metrics(message_metrics(trigger))
    };
    let why = text(message, "NewStateReason").unwrap_or_default();
    let number = |field| trigger.get(field).and_then(Value::as_u64);
    let datapoints_to_alarm = number("DatapointsToAlarm").or_else(|| number("EvaluationPeriods"));
    build(AlarmFields {
        name: owned(message, "AlarmName"),
        arn: owned(message, "AlarmArn"),
        // The SNS message has only the Region's display name.
        claimed: Origin { account: owned(message, "AWSAccountId"), region: None },
        description: owned(message, "AlarmDescription"),
        state: message.get("NewStateValue"),
        changed_at: text(message, "StateChangeTime"),
        why,
        only_missing_data: is_by_missing_data(why, datapoints_to_alarm),
        suppressed_by: owned(message, "ActionsSuppressedBy"),
        muted_by: None,
        repeated: message.get("ActionExecutedAfterMuteWindow").and_then(Value::as_bool).unwrap_or(false),
        watches,
    })
}

/// Reads the alarm of a direct alarm action.
pub(super) fn read_direct_action(event: &Value) -> Signal {
    let claimed = Origin { account: owned(event, "accountId"), region: owned(event, "region") };
    let data = event.get("alarmData").unwrap_or(&Value::Null);
    read_state(data, owned(event, "alarmArn"), claimed)
}

/// Reads the alarm of an EventBridge event.
pub(super) fn read_eventbridge(event: &Value) -> Signal {
    let claimed = Origin { account: owned(event, "account"), region: owned(event, "region") };
    let arn = event.get("resources").and_then(|all| all.get(0)).and_then(Value::as_str).map(str::to_owned);
    read_state(event.get("detail").unwrap_or(&Value::Null), arn, claimed)
}

fn read_state(data: &Value, arn: Option<String>, claimed: Origin) -> Signal {
    let Some(state) = data.get("state").filter(|state| state.is_object()) else {
        return not_an_alarm("the event contains no alarm state");
    };
    let configuration = data.get("configuration").unwrap_or(&Value::Null);
    let details: Value =
        text(state, "reasonData").and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
    let watches = if configuration.get("alarmRule").is_some_and(|rule| !rule.is_null()) {
        Watches::Alarms(vec![])
    } else {
        Watches::Metrics(configuration_metrics(configuration))
    };
    let why = text(state, "reason").unwrap_or_default();
    let no_recent = details.get("recentDatapoints").and_then(Value::as_array).is_some_and(Vec::is_empty);
    build(AlarmFields {
        name: owned(data, "alarmName"),
        arn,
        claimed,
        description: owned(configuration, "description"),
        state: state.get("value"),
        changed_at: text(state, "timestamp"),
        why,
        // The event has no `DatapointsToAlarm`. CloudWatch's own answer has it.
        only_missing_data: is_by_missing_data(why, None) || no_recent,
        suppressed_by: owned(state, "actionsSuppressedBy"),
        muted_by: muted_by(data),
        repeated: data.get("actionExecutedAfterMuteWindow").and_then(Value::as_bool).unwrap_or(false),
        watches,
    })
}

/// Reads an alert of CloudWatch Omni, which has other states than an alarm. The format of its message is not documented.
pub(super) fn read_omni_alert(message: &Value) -> Option<Signal> {
    let fields = message.as_object()?.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let name = fields.clone().find(|(key, _)| key.to_ascii_lowercase().starts_with("alert"))?.1;
    let state =
        fields.clone().map(|(_, value)| value).find(|value| *value == "OK" || is_omni_state(value))?;
    Some(not_a_rollback(name, state))
}

fn omni_alert(name: &str, state: &str) -> Option<Signal> {
    is_omni_state(state).then(|| not_a_rollback(name, state))
}

fn is_omni_state(state: &str) -> bool {
    ["WARNING", "CRITICAL", "NODATA"].contains(&state)
}

fn not_a_rollback(name: &str, state: &str) -> Signal {
    not_an_alarm(format!(
        "`{name}` is {state}: an alert of CloudWatch Omni, which DescribeAlarms does not confirm; create a CloudWatch alarm"
    ))
}

struct AlarmFields<'a> {
    name: Option<String>,
    arn: Option<String>,
    claimed: Origin,
    description: Option<String>,
    state: Option<&'a Value>,
    changed_at: Option<&'a str>,
    why: &'a str,
    only_missing_data: bool,
    suppressed_by: Option<String>,
    muted_by: Option<String>,
    repeated: bool,
    watches: Watches,
}

/// Returns the mute rule in an EventBridge event: EventBridge also reports what the alarm's actions do not.
fn muted_by(data: &Value) -> Option<String> {
    let detail = data.get("muteDetail").filter(|detail| !detail.is_null())?;
    let rule = owned(detail, "mutedByArn").map(|arn| name_of(&arn).to_owned());
    Some(rule.unwrap_or_else(|| "without a name".to_owned()))
}

fn build(fields: AlarmFields<'_>) -> Signal {
    let Some(name) = fields.name else { return not_an_alarm("the message names no alarm") };
    let is_long = |text: &str, most| text.chars().count() > most;
    if is_long(&name, MAX_NAME) || fields.arn.as_deref().is_some_and(|arn| is_long(arn, MAX_ARN)) {
        return malformed("the message has a longer alarm name or ARN than CloudWatch allows");
    }
    let Some(word) = fields.state.and_then(Value::as_str) else {
        return malformed(format!("the message about alarm `{name}` has no state"));
    };
    if let Some(alert) = omni_alert(&name, word) {
        return alert;
    }
    let Some(state) = State::parse(word) else {
        return malformed(format!("the message about alarm `{name}` has the unknown state `{word}`"));
    };
    Signal::Alarm(Box::new(Alarm {
        name,
        arn: fields.arn,
        claimed: fields.claimed,
        description: fields.description,
        state,
        changed_at: fields.changed_at.and_then(time),
        why: plain::line(fields.why).chars().take(MAX_WHY).collect(),
        only_missing_data: fields.only_missing_data,
        suppressed_by: fields.suppressed_by,
        muted_by: fields.muted_by,
        repeated: fields.repeated,
        watches: fields.watches,
    }))
}

/// Reports whether the alarm is in ALARM only because missing data counts as breaching: the datapoints that were received
/// are fewer than those that it takes. CloudWatch says how many were received only in the text of the reason, and no
/// other code reads that text. Without `datapoints_to_alarm`, only a reason without any datapoint says so.
pub(crate) fn is_by_missing_data(why: &str, datapoints_to_alarm: Option<u64>) -> bool {
    if why.contains("no datapoints were received") {
        return true;
    }
    let received = ["datapoint was received", "datapoints were received"]
        .iter()
        .find_map(|words| why.split_once(words)?.0.split_whitespace().next_back()?.parse::<u64>().ok());
    let missing = why.contains("treated as [Breaching]");
    missing && received.zip(datapoints_to_alarm).is_some_and(|(received, needed)| received < needed)
}

fn message_metrics(trigger: &Value) -> Vec<Metric> {
    let entries = trigger.get("Metrics").and_then(Value::as_array);
    let entries = entries.into_iter().flatten().filter_map(|entry| {
        let metric = entry.get("MetricStat")?.get("Metric")?;
        metric_of(metric, ["Namespace", "MetricName", "Dimensions"], owned(entry, "AccountId"))
    });
    let single = metric_of(trigger, ["Namespace", "MetricName", "Dimensions"], owned(trigger, "AccountId"));
    entries.chain(single).collect()
}

fn configuration_metrics(configuration: &Value) -> Vec<Metric> {
    let entries = configuration.get("metrics").and_then(Value::as_array);
    let entries = entries.into_iter().flatten().filter_map(|entry| {
        let metric = entry.get("metricStat")?.get("metric")?;
        metric_of(metric, ["namespace", "name", "dimensions"], owned(entry, "accountId"))
    });
    entries.collect()
}

fn metric_of(
    metric: &Value,
    [namespace, name, dimensions]: [&str; 3],
    account: Option<String>,
) -> Option<Metric> {
    let namespace = owned(metric, namespace)?;
    Some(Metric {
        namespace,
        name: owned(metric, name).unwrap_or_default(),
        dimensions: metric.get(dimensions).map(pairs).unwrap_or_default(),
        account,
    })
}

/// Reads dimensions: an object of names and values, or a list of objects with a name and a value in either case.
fn pairs(dimensions: &Value) -> Vec<(String, String)> {
    match dimensions {
        Value::Object(map) => {
            map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        }
        Value::Array(list) => list
            .iter()
            .filter_map(|one| {
                let name = owned(one, "name").or_else(|| owned(one, "Name"))?;
                let value = owned(one, "value").or_else(|| owned(one, "Value"))?;
                Some((name, value))
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    }
}
