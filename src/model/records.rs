//! The records in SSM Parameter Store: their schemas, names, reading and printing. No I/O.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};

use crate::model::protocol::Protocol;
use crate::model::release::Release;
use crate::model::stage::StageRef;

pub use super::parameter_names::ParameterNames;

/// The newest schema this build writes and reads.
pub const SCHEMA: u32 = 1;

/// The most bytes of a parameter's value: the advanced tier's limit (`PutParameter`); Intelligent-Tiering picks
/// that tier above 4 KB.
const MAX_BYTES: usize = 8 * 1024;

/// A parameter of SSM Parameter Store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, without a version.
    pub name: String,
    /// Its value.
    pub value: String,
    /// This value's version, counted from 1.
    pub version: i64,
}

/// The known-good record of a stage: the value of one version of its parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's schema.
    pub schema: u32,
    /// The stage it belongs to; a record of another stage is refused.
    pub stage: StageRef,
    /// The region it was written in; a record of another region is refused.
    pub region: String,
    /// The API's name, where known.
    pub api_name: Option<String>,
    /// The release.
    pub release: Release,
    /// When the deployment was made.
    pub created: Option<DateTime<Utc>>,
    /// When the record was written.
    pub recorded_at: DateTime<Utc>,
    /// Whether it is pinned by a parked stage, as far as the settings at that time said.
    pub pinned: bool,
    /// The release's name for people.
    pub label: Option<String>,
    /// The changelog's note.
    pub note: Option<String>,
    /// Who recorded it.
    pub who: Option<String>,
    /// Whether it cannot be left by going back, as after a data migration.
    #[serde(default)]
    pub irreversible: bool,
}

/// The record of an incident: one bad release on one stage. Created once, never overwritten by a rival.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The record's schema.
    pub schema: u32,
    /// The stage.
    pub stage: StageRef,
    /// The release that was taken off.
    pub bad: Release,
    /// The release that was put back.
    pub good: Release,
    /// The version of the known-good record that was used.
    pub version: i64,
    /// When the stage was put back.
    pub at: DateTime<Utc>,
    /// Since when the bad release was live, as API Gateway has it: what tells this incident from one before, if
    /// somebody brings the release back.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// Whether nothing came of it: a step was refused, and what was done is undone.
    #[serde(default)]
    pub undone: bool,
    /// The alarm's name, or who commanded it.
    pub by: String,
    /// Whether it was an alarm.
    #[serde(default)]
    pub by_alarm: bool,
    /// When the alarm fired.
    pub alarm_at: Option<DateTime<Utc>>,
    /// The alarm's or the person's reason.
    pub why: String,
    /// The run that did it, to find its log.
    pub run: String,
    /// When the alarm was OK again.
    #[serde(default)]
    pub recovered_at: Option<DateTime<Utc>>,
    /// Who took the bad release out of quarantine.
    #[serde(default)]
    pub lifted_by: Option<String>,
}

/// The live release while it is not proven yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The record's schema.
    pub schema: u32,
    /// The kind of its API.
    #[serde(default)]
    pub protocol: Protocol,
    /// The release.
    pub release: Release,
    /// When it was first seen live.
    pub first_seen: DateTime<Utc>,
    /// Whether it cannot be left by going back.
    #[serde(default)]
    pub irreversible: bool,
    /// The release's name for people, where a pipeline announced it.
    pub label: Option<String>,
    /// The changelog's note.
    pub note: Option<String>,
}

impl Candidate {
    /// A release that is seen live for the first time.
    #[must_use]
    pub fn new(protocol: Protocol, release: &Release, now: DateTime<Utc>) -> Self {
        Self {
            schema: SCHEMA,
            protocol,
            release: release.clone(),
            first_seen: now,
            irreversible: false,
            label: None,
            note: None,
        }
    }

    /// The same, proven since the stage's last change at the earliest: between two sweeps another release may have
    /// been live, and this one brought back.
    #[must_use]
    pub fn unchanged_since(self, changed_at: Option<DateTime<Utc>>) -> Self {
        let first_seen = changed_at.map_or(self.first_seen, |changed_at| changed_at.max(self.first_seen));
        Self { first_seen, ..self }
    }
}

/// An operator's hold on a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The record's schema.
    pub schema: u32,
    /// When it ends by itself.
    pub until: DateTime<Utc>,
    /// Who holds.
    pub by: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// The latest rollbacks of a stage, oldest first: what the guards need in the one read of a run. The
/// incidents themselves are the lasting record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollbacks {
    /// The record's schema.
    pub schema: u32,
    /// At most [`Rollbacks::KEPT`].
    pub past: Vec<RollbackEntry>,
}

/// One rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackEntry {
    /// When the stage was put back.
    pub at: DateTime<Utc>,
    /// The fingerprint of the release that was taken off: the incident's last name.
    pub fingerprint: String,
    /// The alarm's name; `None` for a person's rollback.
    pub alarm: Option<String>,
    /// When the alarm fired.
    pub alarm_at: Option<DateTime<Utc>>,
    /// When the alarm was OK again.
    #[serde(default)]
    pub recovered_at: Option<DateTime<Utc>>,
    /// Whether the quarantine was lifted.
    #[serde(default)]
    pub lifted: bool,
}

impl Rollbacks {
    /// Twenty fit a standard parameter, and a stage that was put back more often has other troubles.
    pub const KEPT: usize = 20;

    /// The same with one more.
    #[must_use]
    pub fn with(mut self, past: RollbackEntry) -> Self {
        self.schema = SCHEMA;
        self.past.push(past);
        let surplus = self.past.len().saturating_sub(Self::KEPT);
        self.past.drain(..surplus);
        self
    }

    /// Whether a release was taken off here and is still in quarantine.
    #[must_use]
    pub fn quarantines(&self, release: &Release) -> bool {
        let fingerprint = release.fingerprint();
        self.past.iter().rev().find(|past| past.fingerprint == fingerprint).is_some_and(|past| !past.lifted)
    }
}

/// The last sweep that went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSweep {
    /// The record's schema.
    pub schema: u32,
    /// When it began.
    pub at: DateTime<Utc>,
    /// The run.
    pub run: String,
    /// How many stages it looked after.
    pub stages: usize,
}

/// The index of an API's name: which ids have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameIndex {
    /// The record's schema.
    pub schema: u32,
    /// The ids of the APIs of that name.
    pub apis: Vec<String>,
}

/// A value that is kept in SSM.
pub trait Stored: Serialize + for<'de> Deserialize<'de> {
    /// What it is called in messages.
    const WHAT: &'static str;

    /// Whether what was read can be meant.
    ///
    /// # Errors
    /// A sentence on the first thing that cannot.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Stored for Record {
    const WHAT: &'static str = "known-good record";
}

impl Stored for Incident {
    const WHAT: &'static str = "incident";
}

impl Stored for NameIndex {
    const WHAT: &'static str = "name index";
}

impl Stored for Candidate {
    const WHAT: &'static str = "candidate";

    fn check(&self) -> Result<(), String> {
        // The bake time is added to it, which must not end beyond what a calendar has.
        let seen = self.first_seen;
        let plausible = (1970..=9999).contains(&seen.year());
        plausible.then_some(()).ok_or_else(|| format!("`first_seen` is {seen}, which cannot be"))
    }
}

impl Stored for Hold {
    const WHAT: &'static str = "hold";
}

impl Stored for LastSweep {
    const WHAT: &'static str = "time of a sweep";
}

impl Stored for Rollbacks {
    const WHAT: &'static str = "list of rollbacks";
}

/// Reads a stored value.
///
/// # Errors
/// A sentence's end for "the parameter X ...", where it is too long, no JSON, of a newer schema, incomplete, or
/// says what cannot be meant.
pub fn parse<T: Stored>(text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let what = T::WHAT;
    if text.len() > MAX_BYTES {
        return Err(format!("has {} bytes, and a {what} has at most {MAX_BYTES}", text.len()));
    }
    let head: Head =
        serde_json::from_str(text).map_err(|error| format!("does not hold a {what}: {error}"))?;
    if head.schema == 0 || head.schema > SCHEMA {
        return Err(format!(
            "holds a {what} of schema {}, and this build reads schema {SCHEMA}: update the function",
            head.schema
        ));
    }
    let value: T =
        serde_json::from_str(text).map_err(|error| format!("does not hold a whole {what}: {error}"))?;
    value.check().map_err(|why| format!("does not hold a {what} that can be meant: {why}"))?;
    Ok(value)
}

/// Prints a value for SSM.
///
/// # Errors
/// A sentence, where the value is too long for a parameter.
pub fn print<T: Stored>(value: &T) -> Result<String, String> {
    let what = T::WHAT;
    let text =
        serde_json::to_string(value).map_err(|error| format!("the {what} cannot be written: {error}"))?;
    // Parameter Store refuses its own reference syntax. In JSON two braces follow each other in texts only, where
    // the second may be spelt by its number.
    let text = text.replace("{{", r"{\u007b");
    if text.len() > MAX_BYTES {
        return Err(format!(
            "the {what} has {} bytes, and a parameter holds {MAX_BYTES}: use fewer or shorter stage variables",
            text.len()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::policy::PolicyOverrides;

    #[test]
    fn a_value_that_cannot_be_trusted_is_refused_with_its_reason() {
        for (text, expected) in [
            ("", "does not hold a name index: EOF"),
            ("release 7", "does not hold a name index: expected value"),
            ("{}", "does not hold a name index: missing field `schema`"),
            (r#"{"schema":2,"apis":[]}"#, "holds a name index of schema 2, and this build reads schema 1"),
            (r#"{"schema":0,"apis":[]}"#, "holds a name index of schema 0"),
            (r#"{"schema":1}"#, "does not hold a whole name index: missing field `apis`"),
        ] {
            let error = parse::<NameIndex>(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert_eq!(parse::<NameIndex>(r#"{"schema":1,"apis":["a"],"more":1}"#).unwrap().apis, ["a"]);
        let long = format!(r#"{{"schema":1,"apis":["{}"]}}"#, "a".repeat(9000));
        assert_eq!(
            parse::<NameIndex>(&long).unwrap_err(),
            "has 9024 bytes, and a name index has at most 8192"
        );
    }

    #[test]
    fn a_policy_keeps_to_the_limits_of_the_settings() {
        let aliases = |number: usize| format!(r#""aliases":[{}]"#, vec![r#""a:b""#; number].join(","));
        let mappings = |number: usize| format!(r#""mappings":[{}]"#, vec![r#""a.b""#; number].join(","));
        for (settings, expected) in [
            (r#""bake_seconds":604800"#.to_owned(), "fine"),
            (
                r#""bake_seconds":604801"#.to_owned(),
                "`bake_seconds` is 604801; it is a number from 0 to 604800",
            ),
            (r#""rollback_window_seconds":31536000"#.to_owned(), "fine"),
            (
                r#""rollback_window_seconds":31536001"#.to_owned(),
                "`rollback_window_seconds` is 31536001; it is a number from 0 to 31536000",
            ),
            (r#""cooldown_seconds":86400"#.to_owned(), "fine"),
            (
                r#""cooldown_seconds":86401"#.to_owned(),
                "`cooldown_seconds` is 86401; it is a number from 0 to 86400",
            ),
            (r#""max_rollbacks_a_day":20"#.to_owned(), "fine"),
            (
                r#""max_rollbacks_a_day":21"#.to_owned(),
                "`max_rollbacks_a_day` is 21; it is a number from 0 to 20",
            ),
            (aliases(100), "fine"),
            (aliases(101), "`aliases` lists more than 100"),
            (mappings(100), "fine"),
            (mappings(101), "`mappings` lists more than 100"),
        ] {
            let read = parse::<PolicyOverrides>(&format!(r#"{{"schema":1,{settings}}}"#));
            let described = read.map_or_else(|why| why, |_| "fine".to_owned());
            let described =
                described.strip_prefix("does not hold a policy that can be meant: ").unwrap_or(&described);
            assert_eq!(described, expected);
        }
    }

    #[test]
    fn a_candidate_was_first_seen_at_a_time_that_can_be() {
        for (seen, expected) in [
            ("2026-11-20T10:00:00Z", true),
            ("1970-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59Z", true),
            ("1969-12-31T23:59:59Z", false),
            ("+10000-01-01T00:00:00Z", false),
        ] {
            let text = format!(r#"{{"schema":1,"release":{{"deployment":"d"}},"first_seen":"{seen}"}}"#);
            let read = parse::<Candidate>(&text);
            assert_eq!(read.is_ok(), expected, "{read:?}");
            assert!(read.map_or_else(|why| why.contains("`first_seen` is"), |_| true));
        }
    }

    #[test]
    fn a_value_that_ssm_would_refuse_is_not_sent() {
        let index = |api: String| NameIndex { schema: SCHEMA, apis: vec![api] };
        let braces = index("{{{{x}}".into());
        let text = print(&braces).unwrap();
        assert_eq!(text, r#"{"schema":1,"apis":["{\u007b{\u007bx}}"]}"#);
        assert_eq!(parse::<NameIndex>(&text).unwrap(), braces);
        assert!(print(&index("x".repeat(9000))).unwrap_err().contains("a parameter holds 8192"));
    }
}
