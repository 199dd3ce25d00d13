//! JSON to signals: what came in, whichever of the five envelopes carried it.

mod command;
mod envelope;
mod payload;

use serde_json::Value;

use crate::alarm::Alarm;
use crate::verdict::Reason;

pub(crate) use payload::says_no_datapoints;

pub use command::{Command, StageArg, Verb};

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An alarm's change of state.
    Alarm(Box<Alarm>),
    /// An operator's or a pipeline's command, sent to the function directly.
    Command(Command),
    /// Something that is no signal, and why.
    Unreadable(Reason),
}

/// A signal and the queue messages that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The SQS message ids to report where this signal's run fails; empty for other envelopes.
    pub messages: Vec<String>,
    /// The signal.
    pub signal: Signal,
}

/// An event, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// At least one delivery, in the order of the event, each signal once.
    pub deliveries: Vec<Delivery>,
    /// Whether SQS delivered it and expects `batchItemFailures`.
    pub from_queue: bool,
}

/// The longest event that is read, in bytes: Lambda takes no longer one (`Invoke`). How deep it may be is the JSON
/// reader's own limit, 128.
const MAX_BYTES: usize = 6 * 1024 * 1024;

/// Reads an event from its JSON text. Never fails: what cannot be read becomes a signal that says so.
#[must_use]
pub fn read(text: &str) -> Event {
    if text.len() > MAX_BYTES {
        let why = format!("the event has {} bytes, and at most {MAX_BYTES} are read", text.len());
        return envelope::only(envelope::malformed(why));
    }
    let read = match serde_json::from_str::<Value>(text) {
        Ok(event) => envelope::read(&event),
        Err(error) => envelope::only(envelope::malformed(format!("the event is not readable JSON: {error}"))),
    };
    Event { deliveries: merged(read.deliveries), ..read }
}

/// SNS delivers at least once, and two records of one event may hold the same alarm: it is run once.
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

/// The text at a key, where it is a non-empty text.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The same, owned.
fn owned(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(str::to_owned)
}
