//! How a release behaved while it baked: its failures on good days, and their bursts.

use serde::{Deserialize, Serialize};

use super::guilt::share;
use super::traffic::{Bucket, Measure};

/// Without a history, a burst is expected once an hour, and lasts two periods of 10 seconds.
const EXPECTED: f64 = 360.0;

/// However the release behaved, bursts are expected at most once in ten minutes, and to last at most five periods on average.
const MOST_ENTER: f64 = 1.0 / 60.0;
const MOST_STAY: f64 = 0.8;

/// A period belongs to a burst if its share of failures is this many times the tolerated one, and several requests failed.
const BURST: f64 = 2.0;
const IN_BURST: u64 = 3;

/// The requests of a release while it baked, counted in periods of 10 seconds from its access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normal {
    /// The number of requests outside bursts.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of them took longer than `latency`.
    pub slow: u64,
    /// The tolerated latency in milliseconds at that time, if one was set.
    pub latency: Option<u32>,
    /// The number of periods outside bursts.
    pub quiet: u64,
    /// The number of bursts.
    pub bursts: u64,
    /// The number of periods in bursts.
    pub in_bursts: u64,
}

impl Normal {
    /// Learns from the periods of a release. `tolerated` is the tolerated share of failures.
    #[must_use]
    pub fn learnt(of: &[Bucket], tolerated: f64, latency: Option<u32>) -> Self {
        let mut normal = Self { latency, ..Self::default() };
        let mut was_in_burst = false;
        for bucket in of.iter().filter(|bucket| bucket.requests > 0) {
            let failed = bucket.bad(Measure::Failed);
            let in_burst = failed >= IN_BURST && share(failed, bucket.requests) > BURST * tolerated;
            if in_burst {
                normal.in_bursts += 1;
                normal.bursts += u64::from(!was_in_burst);
            } else {
                normal.quiet += 1;
                normal.requests = normal.requests.saturating_add(bucket.requests);
                normal.failed = normal.failed.saturating_add(failed);
                normal.slow = normal.slow.saturating_add(bucket.bad(Measure::Slow));
            }
            was_in_burst = in_burst;
        }
        normal
    }

    /// Returns the share of bad requests outside bursts. That of slow ones counts only for the latency that is tolerated now.
    #[must_use]
    pub fn share(&self, measure: Measure, latency: Option<u32>) -> f64 {
        match measure {
            Measure::Failed => share(self.failed, self.requests),
            Measure::Slow if self.latency == latency => share(self.slow, self.requests),
            Measure::Slow => 0.0,
        }
    }

    /// Returns the probability that a burst begins in a period, and that it lasts into the next one. What was seen is added to
    /// a cautious expectation.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a bake has fewer than a million periods")]
    pub fn bursts(&self) -> (f64, f64) {
        let enter = (self.bursts as f64 + 1.0) / (self.quiet as f64 + EXPECTED);
        let lasted = self.in_bursts.saturating_sub(self.bursts);
        let stay = (lasted as f64 + 1.0) / (self.in_bursts as f64 + 2.0);
        (enter.min(MOST_ENTER), stay.min(MOST_STAY))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    /// A period for each pair of requests and failures.
    fn learnt(counts: &[(u64, u64)]) -> Normal {
        let buckets = counts.iter().zip(0..).map(|(&(requests, failed), nth)| Bucket {
            begins: DateTime::UNIX_EPOCH + TimeDelta::seconds(10 * nth),
            requests,
            failed,
            slow: 0,
        });
        Normal::learnt(&buckets.collect::<Vec<_>>(), 0.02, None)
    }

    #[test]
    fn bursts_are_learnt_apart_from_quiet_periods() {
        let quiet = [(100, 1); 360];
        let with = |burst: &[(u64, u64)]| [&quiet[..], burst, &quiet[..]].concat();
        for (case, counts, share, enter, stay) in [
            ("no history", vec![], 0.0, 1.0 / 360.0, 0.5),
            ("no burst", quiet.to_vec(), 0.01, 1.0 / 720.0, 0.5),
            ("a burst of one period", with(&[(100, 30)]), 0.01, 2.0 / 1_080.0, 1.0 / 3.0),
            ("a burst of two periods", with(&[(100, 30), (100, 30)]), 0.01, 2.0 / 1_080.0, 0.5),
            ("two failures of few requests", with(&[(5, 2)]), 722.0 / 72_005.0, 1.0 / 1_081.0, 0.5),
            ("an hour of trouble", vec![(100, 30); 360], 0.0, 2.0 / 360.0, 0.8),
            ("nothing but bursts", [(100, 30), (100, 0)].repeat(100), 0.0, 1.0 / 60.0, 1.0 / 102.0),
        ] {
            let normal = learnt(&counts);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
            assert!(close(normal.share(Measure::Failed, None), share), "{case}: {normal:?}");
            let (enters, stays) = normal.bursts();
            assert!(close(enters, enter) && close(stays, stay), "{case}: {enters} {stays}");
        }
    }

    #[test]
    fn the_share_of_slow_requests_counts_only_for_the_same_latency() {
        let normal = Normal { requests: 100, slow: 5, latency: Some(800), ..Normal::default() };
        for (latency, expected) in [(Some(800), 0.05), (Some(500), 0.0), (None, 0.0)] {
            assert!((normal.share(Measure::Slow, latency) - expected).abs() < 1e-9, "{latency:?}");
        }
    }
}
