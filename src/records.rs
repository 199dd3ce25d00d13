//! The records in SSM Parameter Store: their schemas, names, reading and printing. No I/O.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{AutoDeploy, MissingParts, Mode};
use crate::parts::{AliasRef, MappingRef};
use crate::release::{Protocol, Release, StageRef};

/// The newest schema this build writes and reads.
pub const SCHEMA: u32 = 1;

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

/// A stage's own settings, each in the place of the function's. Written by hand, so a misspelt field is
/// refused and the stage counts as held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The record's schema.
    pub schema: u32,
    /// `enforce` or `observe`.
    pub mode: Option<Mode>,
    /// Seconds that a release must be live with quiet alarms.
    pub bake_seconds: Option<u32>,
    /// Whether a guarding alarm's metric must have had data meanwhile.
    pub bake_needs_data: Option<bool>,
    /// Seconds after which a live release is no deployment problem any more; 0 is never.
    pub rollback_window_seconds: Option<u32>,
    /// Seconds between two automatic rollbacks.
    pub cooldown_seconds: Option<u32>,
    /// Automatic rollbacks in 24 hours.
    pub max_rollbacks_a_day: Option<u32>,
    /// Whether the stage's caches are flushed after a rollback, which raises the load behind the API.
    pub flush_cache: Option<bool>,
    /// `hold`, or `switch-off` to let a rollback switch AutoDeploy off.
    pub auto_deploy: Option<AutoDeploy>,
    /// `hold`, or `skip` to let a rollback go on without parts that do not exist.
    pub missing_parts: Option<MissingParts>,
    /// The Lambda aliases that belong to the release, such as `orders:live`.
    pub aliases: Option<Vec<AliasRef>>,
    /// The custom domains' mappings that belong to the release, such as `api.example.com/orders`.
    pub mappings: Option<Vec<MappingRef>>,
}

/// The latest rollbacks of a stage, oldest first: what the guards need in the one read of a run. The
/// incidents themselves are the lasting record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollbacks {
    /// The record's schema.
    pub schema: u32,
    /// At most [`Rollbacks::KEPT`].
    pub past: Vec<Past>,
}

/// One rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
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
    pub fn with(mut self, past: Past) -> Self {
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
}

impl Stored for Hold {
    const WHAT: &'static str = "hold";
}

impl Stored for Policy {
    const WHAT: &'static str = "policy";
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
/// A sentence's end for "the parameter X ...", where it is no JSON, of a newer schema, or incomplete.
pub fn parse<T: Stored>(text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let what = T::WHAT;
    let head: Head =
        serde_json::from_str(text).map_err(|error| format!("does not hold a {what}: {error}"))?;
    if head.schema == 0 || head.schema > SCHEMA {
        return Err(format!(
            "holds a {what} of schema {}, and this build reads schema {SCHEMA}: update the function",
            head.schema
        ));
    }
    serde_json::from_str(text).map_err(|error| format!("does not hold a whole {what}: {error}"))
}

/// Prints a value for SSM.
///
/// # Errors
/// A sentence, where the value is too long for a parameter or holds what SSM refuses.
pub fn print<T: Stored>(value: &T) -> Result<String, String> {
    /// The advanced tier's limit (`PutParameter`); Intelligent-Tiering picks that tier above 4 KB.
    const LIMIT: usize = 8 * 1024;
    let what = T::WHAT;
    let text =
        serde_json::to_string(value).map_err(|error| format!("the {what} cannot be written: {error}"))?;
    if text.len() > LIMIT {
        return Err(format!(
            "the {what} has {} bytes, and a parameter holds {LIMIT}: use fewer or shorter stage variables",
            text.len()
        ));
    }
    if text.contains("{{") {
        return Err(format!("the {what} holds `{{{{`, which Parameter Store refuses"));
    }
    Ok(text)
}

/// The names of the parameters under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names under a prefix such as `/apigw-rollback`.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// The known-good record of a stage.
    #[must_use]
    pub fn known_good(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "known-good")
    }

    /// The candidate of a stage.
    #[must_use]
    pub fn candidate(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "candidate")
    }

    /// The hold on a stage.
    #[must_use]
    pub fn hold(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "hold")
    }

    /// The policy of a stage.
    #[must_use]
    pub fn policy(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "policy")
    }

    /// The latest rollbacks of a stage.
    #[must_use]
    pub fn rollbacks(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "rollbacks")
    }

    /// The path above all stages' parameters.
    #[must_use]
    pub fn stages(&self) -> String {
        format!("{}/stages", self.prefix)
    }

    /// The API and the stage that a parameter belongs to.
    #[must_use]
    pub fn stage_of(&self, parameter: &str) -> Option<(String, String)> {
        let rest = parameter.strip_prefix(&self.stages())?.strip_prefix('/')?;
        let mut segments = rest.split('/');
        Some((text(segments.next()?)?, text(segments.next()?)?))
    }

    /// How the names of a stage's incidents begin.
    #[must_use]
    pub fn all_incidents(&self, stage: &StageRef) -> String {
        self.of_stage(stage, "incidents/")
    }

    /// The incident of a release on a stage.
    #[must_use]
    pub fn incident(&self, stage: &StageRef, fingerprint: &str) -> String {
        self.of_stage(stage, &format!("incidents/{fingerprint}"))
    }

    /// The mark that people were told something of this key.
    #[must_use]
    pub fn told(&self, key: &str) -> String {
        format!("{}/{key}", self.all_told())
    }

    /// The path above all such marks.
    #[must_use]
    pub fn all_told(&self) -> String {
        format!("{}/told", self.prefix)
    }

    /// When the last sweep went through.
    #[must_use]
    pub fn sweep(&self) -> String {
        format!("{}/sweep", self.prefix)
    }

    /// The index of an API's name.
    #[must_use]
    pub fn api_name(&self, name: &str) -> String {
        format!("{}/names/{}", self.prefix, segment(name))
    }

    fn of_stage(&self, stage: &StageRef, what: &str) -> String {
        format!("{}/stages/{}/{}/{what}", self.prefix, segment(&stage.api), segment(&stage.stage))
    }
}

/// A text as one segment of a parameter's name: `[A-Za-z0-9.-]` stays, `_` doubles, any other byte
/// becomes `_XX`. No two texts become the same segment.
fn segment(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'_' => coded.push_str("__"),
            b'.' | b'-' => coded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => coded.push(char::from(byte)),
            _ => coded.extend(['_', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    coded
}

fn hex(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or_default().to_ascii_uppercase()
}

/// A segment's text again; `None` where [`segment`] makes no such segment.
fn text(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match rest.next()? {
            b'_' => bytes.push(b'_'),
            high => bytes.push(digit(high)? * 16 + digit(rest.next()?)?),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    }

    #[test]
    fn a_value_that_ssm_would_refuse_is_not_sent() {
        let index = |api: String| NameIndex { schema: SCHEMA, apis: vec![api] };
        assert!(print(&index("{{x}}".into())).unwrap_err().contains("which Parameter Store refuses"));
        assert!(print(&index("x".repeat(9000))).unwrap_err().contains("a parameter holds 8192"));
    }

    #[test]
    fn parameter_names_keep_to_what_ssm_allows() {
        let names = Names::under("/apigw-rollback/");
        let stage = StageRef::rest("a1b2c3d4e5", "$default");
        assert_eq!(names.known_good(&stage), "/apigw-rollback/stages/a1b2c3d4e5/_24default/known-good");
        assert_eq!(
            names.incident(&stage, "abc"),
            "/apigw-rollback/stages/a1b2c3d4e5/_24default/incidents/abc"
        );
        assert_eq!(names.api_name("My api_1/ü"), "/apigw-rollback/names/My_20api__1_2F_C3_BC");
    }

    proptest! {
        #[test]
        fn no_two_texts_share_a_segment(a in ".*", b in ".*") {
            let (one, two) = (segment(&a), segment(&b));
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            prop_assert!(one.chars().all(allowed));
            prop_assert_eq!(a == b, one == two);
            prop_assert_eq!(text(&one), Some(a));
        }
    }
}
