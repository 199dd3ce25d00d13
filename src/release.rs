//! A stage and a release, and the release's fingerprint. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
