//! The envelopes: SNS and SQS records, a single SNS envelope, EventBridge, a direct alarm action, a bare alarm
//! message, a command. One may contain another.
//!
//! SNS and EventBridge envelopes are read by hand. The types of `aws_lambda_events` refuse a record without a signature
//! or with another time format, and then Lambda would never call the handler.

use aws_lambda_events::sqs::SqsMessage;
use serde::Deserialize;
use serde_json::Value;

use super::{Delivery, Event, Signal, command, malformed, not_an_alarm, payload, sibling, text};
use crate::model::reason::Reason;
use crate::model::sibling::DETAIL_TYPE;

/// How many SNS envelopes may contain one another. AWS nests one, between those of SQS and EventBridge.
const MAX_NESTING: u8 = 4;

/// The most messages that SQS puts into one event.
const MAX_RECORDS: usize = 10_000;

pub(super) fn read(event: &Value) -> Event {
    match event.get("Records") {
        Some(Value::Array(records)) if records.len() > MAX_RECORDS => only(malformed(format!(
            "the event has {} records; the function reads at most {MAX_RECORDS}",
            records.len()
        ))),
        Some(Value::Array(records)) if !records.is_empty() => {
            let from_queue = records.iter().all(is_queue_record);
            Event { deliveries: records.iter().map(read_record).collect(), from_queue }
        }
        Some(_) => only(malformed("the event's `Records` field contains no records")),
        None => match event.get("command") {
            Some(_) => only(
                command::read(event)
                    .map_or_else(Signal::Unreadable, |command| Signal::Command(Box::new(command))),
            ),
            None => only(read_value(event, 0)),
        },
    }
}

pub(super) fn only(signal: Signal) -> Event {
    Event { deliveries: vec![Delivery { messages: vec![], signal }], from_queue: false }
}

fn is_queue_record(record: &Value) -> bool {
    text(record, "eventSource") == Some("aws:sqs")
        || (record.get("Sns").is_none() && record.get("body").is_some())
}

fn read_record(record: &Value) -> Delivery {
    if is_queue_record(record) {
        return read_queue_record(record);
    }
    let signal = match (record, record.get("Sns")) {
        (_, Some(sns @ Value::Object(_))) => read_sns(sns, 0),
        (_, Some(_)) => malformed("the SNS record contains no message"),
        (Value::Object(_), None) => not_an_alarm("the record comes from neither SNS nor SQS"),
        _ => malformed("a record of the event is not an object"),
    };
    Delivery { messages: vec![], signal }
}

fn read_queue_record(record: &Value) -> Delivery {
    // The id is read even if the typed message refuses the record: SQS needs the ids of failed messages.
    let message = SqsMessage::deserialize(record).unwrap_or_else(|_| {
        let mut message = SqsMessage::default();
        message.message_id = text(record, "messageId").map(str::to_owned);
        message.body = text(record, "body").map(str::to_owned);
        message
    });
    let signal =
        message.body.map_or_else(|| malformed("the SQS record has no body"), |body| read_text(&body, 0));
    Delivery { messages: message.message_id.into_iter().collect(), signal }
}

fn read_sns(sns: &Value, nesting: u8) -> Signal {
    match sns.get("Message") {
        Some(Value::String(message)) => read_text(message, nesting + 1),
        _ => malformed("the SNS record has no `Message`"),
    }
}

fn read_text(message: &str, nesting: u8) -> Signal {
    match serde_json::from_str::<Value>(message) {
        Ok(value) => read_value(&value, nesting),
        // Truncated JSON was meant to be JSON. Anything else is plain text that another sender published.
        Err(error) if message.trim_start().starts_with('{') => {
            malformed(format!("the message is not valid JSON: {error}"))
        }
        Err(_) => not_an_alarm("the message is plain text, not an alarm"),
    }
}

fn read_value(value: &Value, nesting: u8) -> Signal {
    if nesting > MAX_NESTING {
        return malformed("the envelopes are nested too deeply");
    }
    if !value.is_object() {
        return not_an_alarm("the JSON is not an object, so it is not an alarm");
    }
    if value.get("NewStateValue").is_some() {
        return payload::read_sns_message(value);
    }
    if value.get("alarmData").is_some() {
        return payload::read_direct_action(value);
    }
    if value.get("detail-type").is_some() {
        return read_eventbridge(value);
    }
    match text(value, "Type") {
        Some("Notification") => read_sns(value, nesting),
        Some(other) => not_an_alarm(format!("the SNS message is of type `{other}`")),
        None => payload::read_omni_alert(value)
            .unwrap_or_else(|| not_an_alarm("the JSON has none of the fields of an alarm")),
    }
}

fn read_eventbridge(event: &Value) -> Signal {
    match text(event, "detail-type").unwrap_or_default() {
        // Anybody who may put events can name another source.
        "CloudWatch Alarm State Change" => match text(event, "source").unwrap_or_default() {
            "aws.cloudwatch" => payload::read_eventbridge(event),
            other => {
                not_an_alarm(format!("the EventBridge event comes from `{other}`, not from `aws.cloudwatch`"))
            }
        },
        DETAIL_TYPE => sibling::read(event),
        other if other.starts_with("CloudWatch Alarm") => {
            Signal::Unreadable(Reason::NotAStateChange(other.to_owned()))
        }
        other => not_an_alarm(format!("the EventBridge event is of type `{other}`")),
    }
}
