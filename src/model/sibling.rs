//! Siblings: the functions of the same name in other Regions. What one of them reports about a bad release. No I/O.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::reason::stamp;

/// The source of the function's events.
pub const SOURCE: &str = "apigw-rollback";

/// The detail type of the function's events.
pub const DETAIL_TYPE: &str = "API Gateway Rollback Report";

/// A release that a function found bad, as its siblings can recognize it. The ids of APIs and deployments differ by Region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BadRelease {
    /// The Region whose function found it.
    pub region: String,
    /// The name of that function. Its siblings have the same name.
    pub function: String,
    /// The incident. All reports of one incident have the same id.
    pub id: String,
    /// The label of the release, if it has one.
    pub label: Option<String>,
    /// The fingerprint of its contents: of the description of its deployment, unless the known-good deployment has the same
    /// one.
    pub contents: Option<String>,
}

/// Returns the fingerprint of a deployment's contents: the first 12 hexadecimal digits of SHA-256 over its description.
#[must_use]
pub fn contents(description: &str) -> Option<String> {
    let description = description.trim();
    let hash = Sha256::digest(description.as_bytes());
    let print = hash.iter().take(6).fold(String::new(), |print, byte| print + &format!("{byte:02x}"));
    Some(print).filter(|_| !description.is_empty())
}

/// What a function did about a bad release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It rolled its stage back.
    RolledBack,
    /// It ended a rollout without the release.
    RolloutAborted,
}

/// An incident of a sibling, as a stage's list of rollbacks keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiblingIncident {
    /// The release.
    pub bad: BadRelease,
    /// What the sibling did.
    pub deed: Deed,
    /// When it reported that.
    pub at: DateTime<Utc>,
    /// The deployment of this stage that has the contents of the release, if a run found one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
    /// Whether an operator has let the stage go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleared: bool,
}

impl SiblingIncident {
    /// Whether it is the same incident.
    #[must_use]
    pub fn is(&self, other: &BadRelease) -> bool {
        (&self.bad.region, &self.bad.id) == (&other.region, &other.id)
    }

    /// Whether it is about a release with this label or deployment.
    #[must_use]
    pub fn is_about(&self, label: Option<&str>, deployment: Option<&str>) -> bool {
        match (self.bad.label.as_deref(), label) {
            (Some(bad), Some(label)) => bad == label,
            _ => self.here.is_some() && self.here.as_deref() == deployment,
        }
    }
}

impl fmt::Display for SiblingIncident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = self
            .bad
            .label
            .as_ref()
            .map_or_else(|| "a release without a label".to_owned(), |label| format!("the release `{label}`"));
        let (region, at) = (&self.bad.region, stamp(self.at));
        match self.deed {
            Deed::RolledBack => write!(f, "Region {region} rolled {release} back at {at}"),
            Deed::RolloutAborted => write!(f, "Region {region} ended the rollout of {release} at {at}"),
        }
    }
}

/// What a sibling's report says: an incident, and the stage by the name of its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiblingReport {
    /// The account that put the event on the bus, according to EventBridge.
    pub account: String,
    /// The Region in which it did, according to EventBridge.
    pub region: String,
    /// The name of the API, if the report has it.
    pub api_name: Option<String>,
    /// The protocol of the API.
    pub protocol: super::protocol::Protocol,
    /// The stage's name.
    pub stage: String,
    /// The incident.
    pub incident: SiblingIncident,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_a_fingerprint_unless_it_is_empty() {
        let sam = "RestApi deployment id: 5e2d9d1b8a1b5e9f0c7f3a4d2b1c0e9f8a7b6c5d";
        assert_eq!(contents(sam), contents(&format!(" {sam}\n")));
        assert_eq!(contents(sam).unwrap().len(), 12);
        assert_ne!(contents(sam), contents("v2"));
        assert_eq!((contents(""), contents("  ")), (None, None));
    }

    #[test]
    fn an_incident_is_about_a_label_and_about_a_deployment_only_without_one() {
        for (bad, here, label, deployment, expected) in [
            (Some("v2"), None, Some("v2"), Some("d2"), true),
            (Some("v2"), None, Some("v3"), Some("d2"), false),
            // Where both have a label, it decides.
            (Some("v2"), Some("d2"), Some("v3"), Some("d2"), false),
            (Some("v2"), Some("d2"), None, Some("d2"), true),
            (None, Some("d2"), Some("v2"), Some("d2"), true),
            (None, Some("d2"), None, Some("d3"), false),
            (Some("v2"), None, None, Some("d2"), false),
            (None, None, None, None, false),
        ] {
            let bad = BadRelease {
                region: "us-east-1".into(),
                function: "apigw-rollback".into(),
                id: "i".into(),
                label: bad.map(str::to_owned),
                contents: None,
            };
            let (deed, at) = (Deed::RolledBack, DateTime::UNIX_EPOCH);
            let here = here.map(str::to_owned);
            let incident = SiblingIncident { bad, deed, at, here, cleared: false };
            assert_eq!(
                incident.is_about(label, deployment),
                expected,
                "{incident:?} {label:?} {deployment:?}"
            );
        }
    }
}
