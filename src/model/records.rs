//! The records in Parameter Store: their schemas, and how they are parsed and printed. No I/O.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::alarm::is_plausible;
use crate::model::normal::Normal;
use crate::model::protocol::Protocol;
use crate::model::record_fault::RecordFault;
use crate::model::release::Release;
use crate::model::stage::StageRef;

use super::sibling::SiblingIncident;

pub use super::incident::{Incident, KeptRelease};
pub use super::parameter_names::ParameterNames;

/// The newest schema that this version reads, and the one it writes.
pub const SCHEMA: u32 = 1;

/// The longest value of a parameter, in bytes: the limit of the advanced tier (`PutParameter`). Intelligent-Tiering
/// chooses that tier above 4 KB.
const MAX_BYTES: usize = 8 * 1024;

/// A parameter of Parameter Store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The name, without a version.
    pub name: String,
    /// The value.
    pub value: String,
    /// The version of this value, counted from 1.
    pub version: i64,
}

/// The known-good record of a stage: the value of one version of its parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's schema.
    pub schema: u32,
    /// The stage that it belongs to; the function refuses another stage's record.
    pub stage: StageRef,
    /// The Region in which it was written; the function refuses another Region's record.
    pub region: String,
    /// The API's name, if known.
    pub api_name: Option<String>,
    /// The release.
    pub release: Release,
    /// When the deployment was created.
    pub created: Option<DateTime<Utc>>,
    /// When the record was written.
    pub recorded_at: DateTime<Utc>,
    /// Whether pinning was on when the record was written.
    pub pinned: bool,
    /// The label of the release, as reports show it.
    pub label: Option<String>,
    /// The note for the changelog.
    pub note: Option<String>,
    /// The sender of the command, or `sweep`.
    pub who: Option<String>,
    /// Whether alarms must not roll it back, as after a data migration.
    #[serde(default)]
    pub irreversible: bool,
    /// How it behaved while it baked, if its access log showed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<Normal>,
}

/// The live release until it is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The record's schema.
    pub schema: u32,
    /// The protocol of its API.
    #[serde(default)]
    pub protocol: Protocol,
    /// The release.
    pub release: Release,
    /// When a run first saw it live.
    pub first_seen: DateTime<Utc>,
    /// Whether the sweep has seen another release live since. Only set where the stage's last change does not show it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Whether alarms must not roll it back.
    #[serde(default)]
    pub irreversible: bool,
    /// The label of the release, if a pipeline or an operator announced it.
    pub label: Option<String>,
    /// The note for the changelog.
    pub note: Option<String>,
}

impl Candidate {
    /// Builds the candidate for a release that a run sees live for the first time.
    #[must_use]
    pub fn new(protocol: Protocol, release: &Release, now: DateTime<Utc>) -> Self {
        Self {
            schema: SCHEMA,
            protocol,
            release: release.clone(),
            first_seen: now,
            gone: false,
            irreversible: false,
            label: None,
            note: None,
        }
    }

    /// Moves `first_seen` to the stage's last change if that is later: between two sweeps, another release may have
    /// been live.
    #[must_use]
    pub fn unchanged_since(self, changed_at: Option<DateTime<Utc>>) -> Self {
        let first_seen = changed_at.map_or(self.first_seen, |changed_at| changed_at.max(self.first_seen));
        Self { first_seen, ..self }
    }

    /// Begins its time anew if it had gone. It is live now, and the last sweep did not see it.
    #[must_use]
    pub fn back(self, now: DateTime<Utc>) -> Self {
        Self { first_seen: if self.gone { now } else { self.first_seen }, gone: false, ..self }
    }
}

/// An operator's hold on a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The record's schema.
    pub schema: u32,
    /// When it ends automatically.
    pub until: DateTime<Utc>,
    /// The operator who holds the stage.
    pub by: Option<String>,
    /// The operator's reason.
    pub why: Option<String>,
}

/// The latest rollbacks of a stage, oldest first, as the preconditions need them. The incidents are the permanent
/// record, but a run cannot read them all in its one read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollbacks {
    /// The record's schema.
    pub schema: u32,
    /// The entries, at most [`Rollbacks::KEPT`].
    pub past: Vec<RollbackEntry>,
    /// The latest incidents of siblings, oldest first, at most [`Rollbacks::SIBLINGS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<SiblingIncident>,
}

/// One rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackEntry {
    /// When the stage was rolled back.
    pub at: DateTime<Utc>,
    /// The fingerprint of the release that was rolled back: the last part of the incident's name.
    pub fingerprint: String,
    /// The alarm's name; `None` for an operator's rollback.
    pub alarm: Option<String>,
    /// When the alarm fired.
    pub alarm_at: Option<DateTime<Utc>>,
    /// Whether the alarm accused the release by other data than API Gateway's own metrics of the stage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_source: bool,
    /// When the alarm returned to OK.
    #[serde(default)]
    pub recovered_at: Option<DateTime<Utc>>,
    /// Whether an operator lifted the quarantine.
    #[serde(default)]
    pub lifted: bool,
}

impl Rollbacks {
    /// The most entries that are kept: this many fit into a parameter of the standard tier.
    pub const KEPT: usize = 20;

    /// Adds an entry, and drops the oldest ones beyond [`Rollbacks::KEPT`].
    #[must_use]
    pub fn with(mut self, past: RollbackEntry) -> Self {
        self.schema = SCHEMA;
        self.past.push(past);
        let surplus = self.past.len().saturating_sub(Self::KEPT);
        self.past.drain(..surplus);
        self
    }

    /// The most incidents of siblings that are kept.
    pub const SIBLINGS: usize = 4;

    /// Adds an incident of a sibling, or completes it if it is known, and drops the oldest ones beyond [`Rollbacks::SIBLINGS`].
    #[must_use]
    pub fn with_sibling(mut self, incident: SiblingIncident) -> Self {
        self.schema = SCHEMA;
        if let Some(known) = self.siblings.iter_mut().find(|one| one.is(&incident.bad)) {
            known.here = incident.here.or(known.here.take());
            return self;
        }
        self.siblings.push(incident);
        let surplus = self.siblings.len().saturating_sub(Self::SIBLINGS);
        self.siblings.drain(..surplus);
        self
    }

    /// Returns whether a release was rolled back on this stage and is still in quarantine.
    #[must_use]
    pub fn quarantines(&self, release: &Release) -> bool {
        self.quarantine(&release.fingerprint()).is_some()
    }

    /// Returns the last rollback of the release with this fingerprint, if it is still in quarantine.
    #[must_use]
    pub fn quarantine(&self, fingerprint: &str) -> Option<&RollbackEntry> {
        let last = self.past.iter().rev().find(|past| past.fingerprint == fingerprint);
        last.filter(|past| !past.lifted)
    }
}

/// The last complete sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSweep {
    /// The record's schema.
    pub schema: u32,
    /// When it began.
    pub at: DateTime<Utc>,
    /// The run.
    pub run: String,
    /// How many stages it checked.
    pub stages: usize,
    /// Why the live release of a stage is not known-good yet, by the stage's full name. Stages that serve their known-good
    /// release are absent, and so are those for which there is no room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, String>,
    /// The full names of the stages that served their known-good release, as far as there is room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_good: Vec<String>,
}

impl LastSweep {
    /// The most bytes of the value: the standard tier, which is free of charge, holds 4 KB (`PutParameter`).
    const MAX_BYTES: usize = 4_096;

    /// The bytes up to which the stages with their known-good release have precedence over the longest states.
    const KNOWN_GOOD_BYTES: usize = 2_048;

    /// Prints the record. Leaves states and names out until the rest fits into a parameter of the standard tier.
    ///
    /// # Errors
    /// See [`print`].
    pub fn print(mut self) -> Result<String, String> {
        loop {
            let printed = print(&self);
            if printed.as_ref().is_ok_and(|text| text.len() <= Self::MAX_BYTES) {
                return printed;
            }
            // With its quotes and its comma.
            let names: usize = self.known_good.iter().map(|name| name.len() + 3).sum();
            let longest = self.states.iter().max_by_key(|(_, state)| state.len());
            match longest.map(|(stage, _)| stage.clone()).filter(|_| names <= Self::KNOWN_GOOD_BYTES) {
                Some(longest) => drop(self.states.remove(&longest)),
                None if self.known_good.pop().is_none() => return printed,
                None => (),
            }
        }
    }
}

/// The state of a stage after a sweep that found nothing to prove.
pub const SERVES_KNOWN_GOOD: &str = "serves its known-good release";

/// The index of an API name: the ids of the APIs that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameIndex {
    /// The record's schema.
    pub schema: u32,
    /// The ids of the APIs of that name.
    pub apis: Vec<String>,
}

/// A value that is stored in Parameter Store.
pub trait Stored: Serialize + for<'de> Deserialize<'de> {
    /// The word for it in messages.
    const WHAT: &'static str;

    /// Checks the values that the schema alone does not restrict.
    ///
    /// # Errors
    /// A sentence about the first invalid value.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Checks that a stored time can be calculated with.
pub(super) fn check_time(name: &str, time: DateTime<Utc>) -> Result<(), String> {
    let why = || format!("`{name}` is {time}; its year must be from 1970 to 9999");
    is_plausible(&time).then_some(()).ok_or_else(why)
}

impl Stored for Record {
    const WHAT: &'static str = "known-good record";
}

impl Stored for NameIndex {
    const WHAT: &'static str = "name index";
}

impl Stored for Candidate {
    const WHAT: &'static str = "candidate";

    fn check(&self) -> Result<(), String> {
        check_time("first_seen", self.first_seen)
    }
}

impl Stored for Hold {
    const WHAT: &'static str = "hold";
}

impl Stored for LastSweep {
    const WHAT: &'static str = "sweep time";

    fn check(&self) -> Result<(), String> {
        check_time("at", self.at)
    }
}

impl Stored for Rollbacks {
    const WHAT: &'static str = "list of rollbacks";
}

/// Parses a stored value.
///
/// # Errors
/// [`RecordFault`] if the value is too long, is not JSON, has a newer schema, or is incomplete or invalid.
pub fn parse<T: Stored>(text: &str) -> Result<T, RecordFault> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let what = T::WHAT;
    if text.len() > MAX_BYTES {
        let why = format!("has {} bytes, but a {what} has at most {MAX_BYTES}", text.len());
        return Err(RecordFault::Damaged(why));
    }
    let head: Head = serde_json::from_str(text)
        .map_err(|error| RecordFault::Damaged(format!("contains no {what}: {error}")))?;
    if head.schema > SCHEMA {
        let why = format!(
            "contains {what} schema {}, but this version reads schema {SCHEMA}: update the function",
            head.schema
        );
        return Err(RecordFault::Newer(why));
    }
    let invalid = |why: &str| RecordFault::Damaged(format!("contains no valid {what}: {why}"));
    if head.schema == 0 {
        return Err(invalid("its schema is 0"));
    }
    let value: T = serde_json::from_str(text).map_err(|error| invalid(&without_value(&error.to_string())))?;
    value.check().map_err(|why| invalid(&why))?;
    Ok(value)
}

/// Returns serde's message without the value that it quotes, which can be that of a stage variable.
fn without_value(message: &str) -> String {
    ["invalid type", "invalid value"]
        .into_iter()
        .find_map(|what| {
            let (_, expected) = message.strip_prefix(what)?.rsplit_once(", expected ")?;
            Some(format!("{what}, expected {expected}"))
        })
        .unwrap_or_else(|| message.to_owned())
}

/// Prints a value for Parameter Store.
///
/// # Errors
/// A sentence, if the value is too long for a parameter.
pub fn print<T: Stored>(value: &T) -> Result<String, String> {
    let what = T::WHAT;
    let text =
        serde_json::to_string(value).map_err(|error| format!("the {what} cannot be serialized: {error}"))?;
    // Parameter Store refuses `{{`, its reference syntax. JSON has `{{` only within strings, where an escape may
    // replace the second brace.
    let text = text.replace("{{", r"{\u007b");
    if text.len() > MAX_BYTES {
        return Err(format!(
            "the {what} has {} bytes, but a parameter holds at most {MAX_BYTES}: use fewer or shorter stage variables",
            text.len()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
