//! The requests of a release, counted by period: what the test of guilt reads.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::alarm::Metric;

/// The requests of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The beginning of the period.
    pub begins: DateTime<Utc>,
    /// The number of requests that were answered.
    pub requests: u64,
    /// How many of them failed: with a 5xx, or for a WebSocket API with an error of the gateway or the integration.
    pub failed: u64,
    /// How many of them took longer than the tolerated latency; zero if none is set.
    pub slow: u64,
}

/// What makes a request bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Measure {
    /// It failed.
    Failed,
    /// It took longer than the tolerated latency.
    Slow,
}

impl Bucket {
    /// Returns the number of requests that were bad by this measure, at most all of them.
    #[must_use]
    pub fn bad(&self, measure: Measure) -> u64 {
        let bad = match measure {
            Measure::Failed => self.failed,
            Measure::Slow => self.slow,
        };
        bad.min(self.requests)
    }
}

/// A statistic of a metric, as `GetMetricData` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistic {
    /// The metric.
    pub metric: Metric,
    /// The statistic, for example `SampleCount`.
    pub statistic: String,
}

/// How to count the requests of a deployment or a stage. Each number is the sum of its statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Those that were answered.
    pub requests: Vec<Statistic>,
    /// Those that failed.
    pub failed: Vec<Statistic>,
    /// Those that were slow; empty if no latency is set.
    pub slow: Vec<Statistic>,
}

/// The origin of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Source {
    /// The access log, by deployment: each request counts for the release that answered it.
    Deployments,
    /// The access log of the whole stage.
    AccessLog,
    /// API Gateway's own metrics of the whole stage, once a minute.
    OwnMetrics,
    /// Lambda's metrics of the versions behind the stage's aliases, once a minute: each request counts for the version that
    /// answered it, but only errors of the function count as failures.
    Versions,
}

impl Source {
    /// Returns the length of a period.
    #[must_use]
    pub fn period(self) -> TimeDelta {
        match self {
            Self::Deployments | Self::AccessLog => TimeDelta::seconds(10),
            Self::OwnMetrics | Self::Versions => TimeDelta::minutes(1),
        }
    }
}

/// The requests of a stage, before and after its live release went live. Each list is in the order of time, without the
/// periods that had no requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The origin.
    pub source: Source,
    /// The requests that the live release answered. In a rollout, those of its base.
    pub live: Vec<Bucket>,
    /// The requests that the canary answered, or the new versions of a rollout; empty if there are none.
    pub canary: Vec<Bucket>,
    /// The requests just before it: those that the known-good deployment answered, or all those of the stage.
    pub before: Vec<Bucket>,
    /// Until when the known-good release certainly answered those, as a sweep saw. Later its deployment may have served other
    /// variables or components, and the stage another release.
    pub known_good_until: Option<DateTime<Utc>>,
}
