//! Reads an event's JSON into signals, for each kind of envelope.

mod command;
mod envelope;
mod payload;
pub mod reason_data;
pub mod sibling;
pub mod target;
pub mod triage;

use serde_json::Value;

use crate::model::alarm::Alarm;
use crate::model::reason::Reason;
use crate::model::sibling::SiblingReport;

pub(crate) use payload::is_by_missing_data;

pub use command::{Command, StageArg};

/// A signal: the content of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An alarm's change of state.
    Alarm(Box<Alarm>),
    /// A report of the function in another Region about a bad release.
    Sibling(Box<SiblingReport>),
    /// A report of this or another function that is about no bad release or cannot be read, with the reason.
    RefusedReport {
        /// The Region of that function, according to EventBridge.
        region: String,
        /// Why it is refused.
        reason: Reason,
    },
    /// An operator's or a pipeline's command, sent to the function directly.
    Command(Box<Command>),
    /// Content that is neither, with the reason.
    Unreadable(Reason),
}

/// A signal and the queue messages that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The SQS message ids to report if this signal's run fails; empty for other envelopes.
    pub messages: Vec<String>,
    /// The signal.
    pub signal: Signal,
}

/// An event after parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// At least one delivery, in the order of the event. Each signal appears once.
    pub deliveries: Vec<Delivery>,
    /// Whether SQS delivered it and expects `batchItemFailures`.
    pub from_queue: bool,
}

/// The longest event that is read, in bytes: the limit of Lambda's `Invoke`. The JSON parser limits the depth to 128.
const MAX_BYTES: usize = 6 * 1024 * 1024;

/// Reads an event from its JSON text. Never fails: unreadable text becomes [`Signal::Unreadable`].
#[must_use]
pub fn read(text: &str) -> Event {
    if text.len() > MAX_BYTES {
        let why = format!("the event has {} bytes; the function reads at most {MAX_BYTES}", text.len());
        return envelope::only(malformed(why));
    }
    let read = match serde_json::from_str::<Value>(text) {
        Ok(event) => envelope::read(&event),
        Err(error) => envelope::only(malformed(format!("the event is not valid JSON: {error}"))),
    };
    Event { deliveries: merged(read.deliveries), ..read }
}

/// Merges equal signals. SNS delivers at least once, so two records of one event may contain the same alarm.
fn merged(deliveries: Vec<Delivery>) -> Vec<Delivery> {
    let mut merged: Vec<Delivery> = Vec::new();
    for delivery in deliveries {
        match merged.iter_mut().find(|seen| seen.signal == delivery.signal) {
            Some(seen) => seen.messages.extend(delivery.messages),
            None => merged.push(delivery),
        }
    }
    merged
}

fn malformed(why: impl Into<String>) -> Signal {
    Signal::Unreadable(Reason::Malformed(why.into()))
}

fn not_an_alarm(why: impl Into<String>) -> Signal {
    Signal::Unreadable(Reason::NotAnAlarm(why.into()))
}

/// Returns the text at a key, if it is a non-empty text.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the same text, owned.
fn owned(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::{Metric, Watches};
    use std::path::PathBuf;

    /// Describes the deliveries of an event, one per line.
    fn described(event: &str) -> String {
        let event = read(event);
        let lines = event.deliveries.iter().map(|Delivery { messages, signal }| {
            let messages = if messages.is_empty() { String::new() } else { format!("{messages:?} ") };
            match signal {
                Signal::Alarm(alarm) => format!("{messages}{alarm:?}"),
                Signal::Sibling(report) => format!("{messages}{report:?}"),
                Signal::Command(command) => format!("{messages}{command:?}"),
                Signal::Unreadable(reason) | Signal::RefusedReport { reason, .. } => {
                    format!("{messages}{}: {reason}", reason.code())
                }
            }
        });
        let queue = if event.from_queue { "from a queue; " } else { "" };
        format!("{queue}{}", lines.collect::<Vec<_>>().join("\n  and "))
    }

    #[test]
    fn every_event_of_the_project_is_read() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let shown: Vec<String> = files
            .iter()
            .map(|file| {
                let name = file.file_stem().unwrap().to_string_lossy();
                format!("{name}: {}", described(&std::fs::read_to_string(file).unwrap()))
            })
            .collect();
        insta::with_settings!(
            {snapshot_path => "../../tests/it/snapshots", prepend_module_to_snapshot => false, omit_expression => true},
            { insta::assert_snapshot!("every_event_of_the_project_is_read", shown.join("\n")) }
        );
    }

    #[test]
    fn an_envelope_is_read_or_refused_with_a_reason() {
        let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        let records =
            |record: &str, number: usize| format!(r#"{{"Records":[{}]}}"#, vec![record; number].join(","));
        let sqs = |id: &str, body: &str| {
            serde_json::json!({"Records": [{"eventSource": "aws:sqs", "messageId": id, "body": body}]})
                .to_string()
        };
        let no_alarm = "not-an-alarm: the JSON is not an object, so it is not an alarm";
        for (event, expected) in [
            (text(6 * 1024 * 1024), no_alarm),
            (
                text(6 * 1024 * 1024 + 1),
                "malformed: the event has 6291457 bytes; the function reads at most 6291456",
            ),
            (records("1", 10_000), "malformed: a record of the event is not an object"),
            (
                records("1", 10_001),
                "malformed: the event has 10001 records; the function reads at most 10000",
            ),
            (records("{}", 1), "not-an-alarm: the record comes from neither SNS nor SQS"),
            (records(r#"{"Sns":1}"#, 1), "malformed: the SNS record contains no message"),
            (records(r#"{"Sns":{"Message":1}}"#, 1), "malformed: the SNS record has no `Message`"),
            (
                records(r#"{"body":"hello"}"#, 1),
                "from a queue; not-an-alarm: the message is plain text, not an alarm",
            ),
            (
                records(r#"{"body":1,"messageId":"m"}"#, 1),
                "from a queue; [\"m\"] malformed: the SQS record has no body",
            ),
            (
                records(r#"{"body":"{","Sns":{"Message":" {"}}"#, 1),
                "malformed: the message is not valid JSON: EOF while parsing an object at line 1 column 2",
            ),
            (
                sqs("m", "[1]"),
                "from a queue; [\"m\"] not-an-alarm: the JSON is not an object, so it is not an alarm",
            ),
            (r#"{"Records":[]}"#.to_owned(), "malformed: the event's `Records` field contains no records"),
            (
                r#"{"Records":[{"body":"x"},{"Sns":{"Message":"x"}}]}"#.to_owned(),
                "not-an-alarm: the message is plain text, not an alarm",
            ),
            (r#"{"Type":"Other"}"#.to_owned(), "not-an-alarm: the SNS message is of type `Other`"),
            (r#"{"detail-type":1}"#.to_owned(), "not-an-alarm: the EventBridge event is of type ``"),
            (r#"{"alarmData":{}}"#.to_owned(), "not-an-alarm: the event contains no alarm state"),
            (r#"{"NewStateValue":"ALARM"}"#.to_owned(), "not-an-alarm: the message names no alarm"),
            (
                r#"{"NewStateValue":1,"AlarmName":"a"}"#.to_owned(),
                "malformed: the message about alarm `a` has no state",
            ),
            ("[]".to_owned(), no_alarm),
        ] {
            assert_eq!(described(&event), expected, "{event:.200}");
        }
    }

    #[test]
    fn news_that_looks_like_an_alarm_is_called_what_it_is() {
        for (event, expected) in [
            (
                r#"{"alertName":"errors","state":"CRITICAL"}"#,
                "not-an-alarm: `errors` is CRITICAL: an alert of CloudWatch Omni, which DescribeAlarms does not confirm; \
                 create a CloudWatch alarm",
            ),
            (
                r#"{"AlarmName":"errors","NewStateValue":"NODATA"}"#,
                "not-an-alarm: `errors` is NODATA: an alert of CloudWatch Omni, which DescribeAlarms does not confirm; \
                 create a CloudWatch alarm",
            ),
            (
                r#"{"alertName":"errors","state":"ODD"}"#,
                "not-an-alarm: the JSON has none of the fields of an alarm",
            ),
            (
                r#"{"detail-type":"CloudWatch Alarm State Change","source":"com.evil","detail":{}}"#,
                "not-an-alarm: the EventBridge event comes from `com.evil`, not from `aws.cloudwatch`",
            ),
            (
                r#"{"detail-type":"CloudWatch Alarm Contributor State Change"}"#,
                "not-a-state-change: the event reports a `CloudWatch Alarm Contributor State Change`, not a change of the \
                 alarm's own state",
            ),
        ] {
            assert_eq!(described(event), expected, "{event}");
        }
    }

    #[test]
    fn alarm_fields_that_are_too_long_are_refused_or_cut() {
        let alarm = |field: &str, value: Value| {
            let mut alarm = serde_json::json!({"NewStateValue": "ALARM", "AlarmName": "a", "AlarmRule": "r"});
            alarm[field] = value;
            match &read(&alarm.to_string()).deliveries[0].signal {
                Signal::Alarm(alarm) => Some((**alarm).clone()),
                Signal::Sibling(_)
                | Signal::RefusedReport { .. }
                | Signal::Command(_)
                | Signal::Unreadable(_) => None,
            }
        };
        let long = |length: usize| Value::String("é".repeat(length));
        for (field, length, is_read) in [
            ("AlarmName", 255, true),
            ("AlarmName", 256, false),
            ("AlarmArn", 1600, true),
            ("AlarmArn", 1601, false),
        ] {
            assert_eq!(alarm(field, long(length)).is_some(), is_read, "{field} of {length}");
        }
        let why = alarm("NewStateReason", long(2000)).unwrap().why;
        assert_eq!(why.chars().count(), 1023);
    }

    #[test]
    fn missing_data_is_recognized_by_the_reason_or_by_the_datapoints() {
        for (why, points, expected) in [
            ("Threshold Crossed", "[1.0]", false),
            ("Threshold Crossed", "[]", true),
            ("Threshold Crossed: no datapoints were received for 1 period", "[1.0]", true),
        ] {
            let details = format!(r#"{{"recentDatapoints":{points}}}"#);
            let state = serde_json::json!({"value": "ALARM", "reason": why, "reasonData": details});
            let event = serde_json::json!({"alarmData": {"alarmName": "a", "state": state}});
            let read = read(&event.to_string());
            let Signal::Alarm(alarm) = &read.deliveries[0].signal else { panic!("{read:?}") };
            assert_eq!(alarm.only_missing_data, expected, "{why} {points}");
        }
    }

    #[test]
    fn missing_data_made_the_alarm_if_too_few_datapoints_were_received() {
        let one = "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as";
        let two = "Threshold Crossed: 2 datapoints were received for 3 periods and 1 missing datapoint was treated as";
        for (why, to_alarm, expected) in [
            (format!("{one} [Breaching]."), Some(2), true),
            (format!("{one} [Breaching]."), Some(1), false),
            (format!("{one} [Breaching]."), None, false),
            (format!("{one} [NonBreaching]."), Some(2), false),
            (format!("{two} [Breaching]."), Some(3), true),
            (format!("{two} [Breaching]."), Some(2), false),
            ("datapoint was received, treated as [Breaching]".to_owned(), Some(2), false),
            ("x datapoints were received, treated as [Breaching]".to_owned(), Some(2), false),
            (String::new(), Some(2), false),
        ] {
            assert_eq!(is_by_missing_data(&why, to_alarm), expected, "{why} {to_alarm:?}");
        }
    }

    #[test]
    fn equal_signals_become_one_delivery_with_all_their_messages() {
        let record = |id: &str, body: &str| serde_json::json!({"messageId": id, "body": body});
        let records = [
            record("m1", "{\"Type\":\"A\"}"),
            record("m2", "{\"Type\":\"A\"}"),
            record("m3", "{\"Type\":\"B\"}"),
        ];
        let described = described(&serde_json::json!({ "Records": records }).to_string());
        assert_eq!(
            described,
            "from a queue; [\"m1\", \"m2\"] not-an-alarm: the SNS message is of type `A`\n  \
             and [\"m3\"] not-an-alarm: the SNS message is of type `B`"
        );
    }

    #[test]
    fn envelopes_may_contain_one_another_up_to_a_limit() {
        let is_read = "malformed: the message about alarm `a` has no state";
        for (case, envelopes, expected) in [
            ("a bare message", 0, is_read),
            ("an envelope", 1, is_read),
            ("as many envelopes as are allowed", 4, is_read),
            ("one envelope more", 5, "malformed: the envelopes are nested too deeply"),
        ] {
            let message = r#"{"NewStateValue":1,"AlarmName":"a"}"#.to_owned();
            let event = (0..envelopes).fold(message, |message, _| {
                serde_json::json!({"Type": "Notification", "Message": message}).to_string()
            });
            assert_eq!(described(&event), expected, "{case}");
        }
    }

    #[test]
    fn an_eventbridge_event_says_which_rule_mutes_the_alarm() {
        for (case, detail, expected) in [
            ("no rule", Value::Null, None),
            (
                "a rule with an ARN",
                serde_json::json!({"mutedByArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm-mute-rule:nightly"}),
                Some("nightly"),
            ),
            ("a rule without an ARN", serde_json::json!({}), Some("without a name")),
        ] {
            let event = serde_json::json!({
                "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
                "detail": {"alarmName": "a", "state": {"value": "ALARM"}, "muteDetail": detail},
            });
            let read = read(&event.to_string());
            let Signal::Alarm(alarm) = &read.deliveries[0].signal else { panic!("{case}: {read:?}") };
            assert_eq!(alarm.muted_by.as_deref(), expected, "{case}");
        }
    }

    /// Describes the metrics that an alarm watches; `None` if it watches other alarms.
    fn metrics_of(alarm: &Alarm) -> Option<String> {
        let Watches::Metrics(metrics) = &alarm.watches else { return None };
        let described = metrics.iter().map(|Metric { namespace, name, dimensions, account }| {
            let dimensions = dimensions.iter().map(|(name, value)| format!(" {name}={value}"));
            let account = account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
            format!("{namespace} {name}{}{account}", dimensions.collect::<String>())
        });
        Some(described.collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn the_metrics_of_an_alarm_are_read_in_each_format() {
        let sns = |field: &str, value: &str| {
            format!(r#"{{"NewStateValue":"ALARM","AlarmName":"a","{field}":{value}}}"#)
        };
        let direct = |configuration: &str| {
            format!(
                r#"{{"alarmData":{{"alarmName":"a","state":{{"value":"ALARM"}},"configuration":{configuration}}}}}"#
            )
        };
        for (case, event, expected) in [
            (
                "one metric",
                sns(
                    "Trigger",
                    r#"{"Namespace":"N","MetricName":"M","Dimensions":[{"name":"d","value":"v"}]}"#,
                ),
                Some("N M d=v"),
            ),
            (
                "dimensions in the other case",
                sns(
                    "Trigger",
                    r#"{"Namespace":"N","MetricName":"M","Dimensions":[{"Name":"d","Value":"v"}]}"#,
                ),
                Some("N M d=v"),
            ),
            (
                "an expression and its metric, of another account",
                sns(
                    "Trigger",
                    r#"{"Metrics":[{"Expression":"m*1"},{"AccountId":"9","MetricStat":{"Metric":{"Namespace":"N","MetricName":"M"}}}]}"#,
                ),
                Some("N M of 9"),
            ),
            ("no metric", sns("Trigger", "{}"), Some("")),
            ("a rule of a composite alarm", sns("AlarmRule", r#""ALARM(b)""#), None),
            ("a rule that is null", sns("AlarmRule", "null"), Some("")),
            (
                "a metric of a direct action, of another account",
                direct(
                    r#"{"metrics":[{"accountId":"9","metricStat":{"metric":{"namespace":"N","name":"M","dimensions":{"d":"v"}}}}]}"#,
                ),
                Some("N M d=v of 9"),
            ),
            ("a rule in a direct action", direct(r#"{"alarmRule":"ALARM(b)"}"#), None),
            ("a rule in a direct action that is null", direct(r#"{"alarmRule":null}"#), Some("")),
        ] {
            let read = read(&event);
            let Signal::Alarm(alarm) = &read.deliveries[0].signal else { panic!("{case}: {read:?}") };
            assert_eq!(metrics_of(alarm).as_deref(), expected, "{case}");
        }
    }
}
