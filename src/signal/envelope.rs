//! The envelopes: SNS and SQS records, an SNS envelope by itself, EventBridge, a direct alarm action,
//! a bare alarm message, a command. One may hold another.
//!
//! SNS and EventBridge envelopes are read by hand: the typed ones of `aws_lambda_events` refuse a record
//! without a signature or with a time of another spelling, and then the handler would never be called.

use aws_lambda_events::sqs::SqsMessage;
use serde::Deserialize;
use serde_json::Value;

use super::{Delivery, Event, Signal, command, malformed, not_an_alarm, payload, text};
use crate::model::reason::Reason;

/// SQS around SNS around EventBridge is the deepest nesting that AWS makes; one more is allowed.
const MAX_NESTING: u8 = 4;

/// SQS puts no more messages into one event.
const MAX_RECORDS: usize = 10_000;

pub(super) fn read(event: &Value) -> Event {
    match event.get("Records") {
        Some(Value::Array(records)) if records.len() > MAX_RECORDS => only(malformed(format!(
            "the event has {} records, and at most {MAX_RECORDS} are read",
            records.len()
        ))),
        Some(Value::Array(records)) if !records.is_empty() => {
            let from_queue = records.iter().all(is_queue_record);
            Event { deliveries: records.iter().map(read_record).collect(), from_queue }
        }
        Some(_) => only(malformed("the event's `Records` hold no record")),
        None => match event.get("command") {
            Some(_) => only(command::read(event).map_or_else(Signal::Unreadable, Signal::Command)),
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
        (_, Some(_)) => malformed("the SNS record holds no message"),
        (Value::Object(_), None) => not_an_alarm("the record is neither of SNS nor of SQS"),
        _ => malformed("a record of the event is not an object"),
    };
    Delivery { messages: vec![], signal }
}

fn read_queue_record(record: &Value) -> Delivery {
    // A record that the typed message refuses still has its id read, so that it can be reported by it.
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
        // Cut-off JSON was meant to be JSON; anything else is somebody's text on the same topic.
        Err(error) if message.trim_start().starts_with('{') => {
            malformed(format!("the message is not readable JSON: {error}"))
        }
        Err(_) => not_an_alarm("the message is a text, not an alarm"),
    }
}

fn read_value(value: &Value, nesting: u8) -> Signal {
    if nesting > MAX_NESTING {
        return malformed("envelopes are nested too deep");
    }
    if !value.is_object() {
        return not_an_alarm("the JSON is not an object, so not an alarm");
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
        Some(other) => not_an_alarm(format!("the SNS message is a `{other}`")),
        None => not_an_alarm("the JSON has none of an alarm's fields"),
    }
}

fn read_eventbridge(event: &Value) -> Signal {
    match text(event, "detail-type").unwrap_or_default() {
        "CloudWatch Alarm State Change" => payload::read_eventbridge(event),
        other if other.starts_with("CloudWatch Alarm") => {
            Signal::Unreadable(Reason::NotAStateChange(other.to_owned()))
        }
        other => not_an_alarm(format!("the EventBridge event is a `{other}`")),
    }
}
