//! A stage: its identity, and its state in API Gateway.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::access_log::AccessLog;
use super::protocol::Protocol;
use super::release::Release;

/// The suffix of a parked stage's name. A parked stage holds the known-good deployment and serves no traffic.
pub const PARKED_SUFFIX: &str = "-known-good";

/// The identity of a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct StageRef {
    /// The protocol of its API.
    pub protocol: Protocol,
    /// The API's id.
    pub api: String,
    /// The stage's name.
    pub stage: String,
}

impl StageRef {
    /// Names a stage of an API with this protocol.
    #[must_use]
    pub fn new(protocol: Protocol, api: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { protocol, api: api.into(), stage: stage.into() }
    }

    /// Names a stage of a REST API.
    #[must_use]
    pub fn rest(api: impl Into<String>, stage: impl Into<String>) -> Self {
        Self::new(Protocol::Rest, api, stage)
    }

    /// Returns the parked stage that pins this stage's known-good deployment.
    #[must_use]
    pub fn parked(&self) -> Self {
        // API Gateway allows `$` only in the name `$default`.
        let stage = format!("{}{PARKED_SUFFIX}", self.stage.replace('$', "_"));
        Self { stage, ..self.clone() }
    }

    /// Returns whether this is a parked stage.
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

/// The present state of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact from API Gateway")]
pub struct LiveStage {
    /// The release that it serves. The gateway port fills in only the stage's own values, not the components.
    pub release: Release,
    /// The time of the last change to the stage, whatever its source.
    pub updated_at: Option<DateTime<Utc>>,
    /// The description.
    pub description: String,
    /// Whether it rejects every request (throttling rate 0 for every method), as parked stages do.
    pub closed: bool,
    /// Whether its cache is enabled. REST only.
    pub cache: bool,
    /// Whether AutoDeploy is on, so that API Gateway accepts no other deployment. HTTP and WebSocket only.
    pub auto_deploy: bool,
    /// Whether API Gateway manages it (quick create), so that it cannot be changed. HTTP only.
    pub managed: bool,
    /// Its access log, if it has one.
    pub access_log: Option<AccessLog>,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The time of its creation.
    pub created: Option<DateTime<Utc>>,
    /// The status of a deployment that no stage can serve (`PENDING`, `FAILED`). HTTP and WebSocket only.
    pub undeployed: Option<String>,
    /// The description, which may be empty.
    pub description: String,
}

/// An API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The protocol.
    pub protocol: Protocol,
    /// The id.
    pub id: String,
    /// The name, which need not be unique.
    pub name: String,
}
