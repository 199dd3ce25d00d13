//! A release, its fingerprint, and the records about it in SSM Parameter Store. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The newest schema this build writes and reads.
pub const SCHEMA: u32 = 1;

/// How a parked stage's name ends: it holds the known-good deployment and serves nobody.
pub const PARKED_SUFFIX: &str = "-known-good";

/// What kind of API a stage belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A REST API (`apigateway`).
    Rest,
    /// An HTTP API (`apigatewayv2`).
    Http,
    /// A WebSocket API (`apigatewayv2`).
    WebSocket,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "rest",
            Self::Http => "http",
            Self::WebSocket => "websocket",
        })
    }
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageRef {
    /// The kind of its API.
    pub protocol: Protocol,
    /// The API's id.
    pub api: String,
    /// The stage's name.
    pub stage: String,
}

impl StageRef {
    /// A stage of a REST API.
    #[must_use]
    pub fn rest(api: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { protocol: Protocol::Rest, api: api.into(), stage: stage.into() }
    }

    /// The parked stage that pins this stage's known-good deployment.
    #[must_use]
    pub fn parked(&self) -> Self {
        Self { stage: format!("{}{PARKED_SUFFIX}", self.stage), ..self.clone() }
    }

    /// Whether this is itself a parked stage.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.stage.ends_with(PARKED_SUFFIX)
    }
}

impl fmt::Display for StageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.protocol, self.api, self.stage)
    }
}

/// All that decides what a stage serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The deployment's id.
    pub deployment: String,
    /// The stage variables.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The canary, where the stage has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// A canary on a REST stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The canary's deployment; API Gateway may leave it out.
    pub deployment: Option<String>,
    /// The share of the traffic it gets, in percent, as API Gateway prints it.
    pub percent: String,
    /// Stage variables that the canary overrides.
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
}

impl Release {
    /// A short stable name: the first 12 hexadecimal digits of SHA-256 over everything in the release.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // Every text goes in with its length, so that no two releases read alike.
        let mut hash = Sha256::new();
        let mut put = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        put(&self.deployment);
        put(&self.variables.len().to_string());
        self.variables.iter().for_each(|(name, value)| {
            put(name);
            put(value);
        });
        if let Some(canary) = &self.canary {
            put(canary.deployment.as_deref().unwrap_or_default());
            put(&canary.percent);
            canary.overrides.iter().for_each(|(name, value)| {
                put(name);
                put(value);
            });
        }
        hash.finalize().iter().take(6).fold(String::new(), |print, byte| print + &format!("{byte:02x}"))
    }
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
    /// The alarm's name, or who commanded it.
    pub by: String,
    /// When the alarm fired.
    pub alarm_at: Option<DateTime<Utc>>,
    /// The alarm's or the person's reason.
    pub why: String,
    /// The run that did it, to find its log.
    pub run: String,
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

    /// The incident of a release on a stage.
    #[must_use]
    pub fn incident(&self, stage: &StageRef, fingerprint: &str) -> String {
        self.of_stage(stage, &format!("incidents/{fingerprint}"))
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
    let coded = text.bytes().map(|byte| match byte {
        b'_' => "__".to_owned(),
        b'.' | b'-' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("_{byte:02X}"),
    });
    coded.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(deployment: &str, variables: &[(&str, &str)]) -> Release {
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Release { deployment: deployment.into(), variables, canary: None }
    }

    #[test]
    fn a_fingerprint_is_stable_and_tells_every_part_apart() {
        assert_eq!(release("d1", &[("release", "1")]).fingerprint(), "2f6b7efdf195");
        let canary =
            Canary { deployment: Some("d2".into()), percent: "10".into(), overrides: BTreeMap::new() };
        let all = [
            release("d1", &[]),
            release("d2", &[]),
            release("d1", &[("a", "b")]),
            release("d1", &[("ab", "")]),
            release("d1", &[("a", "b"), ("c", "d")]),
            Release { canary: Some(canary.clone()), ..release("d1", &[]) },
            Release { canary: Some(Canary { percent: "20".into(), ..canary }), ..release("d1", &[]) },
        ];
        let mut prints: Vec<String> = all.iter().map(Release::fingerprint).collect();
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), all.len());
    }

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
        }
    }
}
