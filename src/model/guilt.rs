//! The test of guilt: its terms, and what it found about the requests of a release.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::reason::stamp;
use super::traffic::{Measure, Source};

/// The terms of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The share of requests that may fail, from 0 to 1.
    pub tolerated: f64,
    /// The latency in milliseconds that one request in a hundred may exceed; `None` means that latency is not tested.
    pub latency: Option<u32>,
    /// The probability that an innocent release is convicted.
    pub alpha: f64,
}

/// What the test says about a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// It fails more often than is tolerated.
    Convicted,
    /// The known-good release, or the canary's base, fails as often: the release is not the cause.
    Acquitted,
    /// There is too little data to say so.
    Undecided,
}

/// What the test found about the requests of a release, by one measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The origin of the counts.
    pub source: Source,
    /// What makes a request bad.
    pub measure: Measure,
    /// The deployment that answered the requests, or that the whole stage served; or the versions of a rollout.
    pub deployment: String,
    /// The number of requests.
    pub requests: u64,
    /// How many of them were bad.
    pub bad: u64,
    /// The beginning of the first period that was counted; `None` without requests.
    pub since: Option<DateTime<Utc>>,
    /// The tolerated share of bad requests.
    pub tolerated: f64,
    /// The decimal logarithm of the e-value. The test convicts at `-log10(alpha)`.
    pub log10_e_value: f64,
    /// The release that it was compared with.
    pub compared: Option<Compared>,
}

/// The requests of the release with which another one was compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Compared {
    /// Its deployment, or the versions of a rollout's base; `None` for whatever the stage served before the release.
    pub deployment: Option<String>,
    /// The number of requests.
    pub requests: u64,
    /// How many of them were bad.
    pub bad: u64,
}

impl fmt::Display for Finding {
    /// Prints one sentence without its full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deployment, requests, bad, tolerated, .. } = self;
        // Versions of functions say themselves what they are.
        let what = if self.source == Source::Versions { "" } else { "deployment " };
        if *requests == 0 {
            return write!(f, "no request of {what}{deployment} was counted");
        }
        let verb = match self.measure {
            Measure::Failed => "failed",
            Measure::Slow => "were too slow",
        };
        write!(f, "{what}{deployment}: {bad} of {requests} requests {verb}")?;
        if let Some(since) = self.since {
            write!(f, " ({}) since {}", percent(share(*bad, *requests)), stamp(since))?;
        }
        write!(f, "; tolerated {}", percent(*tolerated))?;
        let Some(Compared { deployment, requests, bad }) = &self.compared else { return Ok(()) };
        let other = deployment.as_deref().unwrap_or("the stage before it");
        if *requests == 0 {
            return write!(f, "; no requests of {other} to compare with");
        }
        write!(f, "; for comparison {other}: {}", percent(share(*bad, *requests)))
    }
}

/// Returns the share of bad requests; 0 without requests.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
pub fn share(bad: u64, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { bad as f64 / requests as f64 }
}

/// Prints a share in percent, with a decimal below ten percent unless it is zero.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let whole = (percent - percent.round()).abs() < 0.05;
    if whole || percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}
