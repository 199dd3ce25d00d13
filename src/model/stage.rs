//! A stage: which one, and as API Gateway has it now.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::protocol::Protocol;
use super::release::Release;

/// How a parked stage's name ends: it holds the known-good deployment and serves nobody.
pub const PARKED_SUFFIX: &str = "-known-good";

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct StageRef {
    /// The kind of its API.
    pub protocol: Protocol,
    /// The API's id.
    pub api: String,
    /// The stage's name.
    pub stage: String,
}

impl StageRef {
    /// A stage of an API of this kind.
    #[must_use]
    pub fn new(protocol: Protocol, api: impl Into<String>, stage: impl Into<String>) -> Self {
        Self { protocol, api: api.into(), stage: stage.into() }
    }

    /// A stage of a REST API.
    #[must_use]
    pub fn rest(api: impl Into<String>, stage: impl Into<String>) -> Self {
        Self::new(Protocol::Rest, api, stage)
    }

    /// The parked stage that pins this stage's known-good deployment.
    #[must_use]
    pub fn parked(&self) -> Self {
        // `$` is allowed in the name `$default` alone.
        let stage = format!("{}{PARKED_SUFFIX}", self.stage.replace('$', "_"));
        Self { stage, ..self.clone() }
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

/// A stage as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that API Gateway tells by itself")]
pub struct LiveStage {
    /// What it serves; as the port tells it, only what is in the stage itself.
    pub release: Release,
    /// When anything of the stage was last changed, by anybody.
    pub updated_at: Option<DateTime<Utc>>,
    /// Its description.
    pub description: String,
    /// Whether it lets no request through (throttling rate 0 for every method), as parked stages do.
    pub closed: bool,
    /// Whether it has a cache that is on. REST only.
    pub cache: bool,
    /// Whether API Gateway deploys every change to it by itself, and so takes no deployment from anybody.
    /// HTTP and WebSocket only.
    pub auto_deploy: bool,
    /// Whether API Gateway manages it (quick create), so that nobody can change it. HTTP only.
    pub managed: bool,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// When it was made.
    pub created: Option<DateTime<Utc>>,
    /// Its status where it is not deployed (`PENDING`, `FAILED`), so that no stage can serve it. HTTP and
    /// WebSocket only.
    pub undeployed: Option<String>,
}

/// An API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its kind.
    pub protocol: Protocol,
    /// Its id.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
}
