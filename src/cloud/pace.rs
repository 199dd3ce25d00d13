//! The pace of calls to API Gateway, which lets 10 requests a second through, with a burst of 40, for a whole account
//! and region, whatever they ask (its quotas page). A process that keeps to it is not turned away for its own haste.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leaky_bucket::RateLimiter;
use tokio::sync::OwnedMutexGuard;

/// Requests that API Gateway takes at once.
pub const BURST: u16 = 40;
/// Requests that it takes a second, after that.
pub const A_SECOND: u16 = 10;

/// One process's share of the limit: all of it, as long as nobody else asks.
#[derive(Debug)]
pub struct Pace {
    bucket: RateLimiter,
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Default for Pace {
    fn default() -> Self {
        let one = Duration::from_secs(1) / u32::from(A_SECOND);
        // A little less than the burst, or every call would come a moment before its place is free again.
        let burst = usize::from(BURST).saturating_sub(2);
        let bucket = RateLimiter::builder().initial(burst).max(burst).refill(1).interval(one).build();
        Self { bucket, changing: Mutex::default() }
    }
}

impl Pace {
    /// Waits until this call may go out, if it counts.
    pub async fn turn(&self, operation: &str) {
        if counts(operation) {
            self.bucket.acquire_one().await;
        }
    }

    /// Waits until no other change of this API is under way: API Gateway answers the second of two with 409.
    pub async fn alone(&self, api: &str) -> OwnedMutexGuard<()> {
        let ours = {
            let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changing.entry(api.to_owned()).or_default())
        };
        ours.lock_owned().await
    }
}

/// Whether an operation is API Gateway's.
#[must_use]
pub fn counts(operation: &str) -> bool {
    const THEIRS: [&str; 16] = [
        "CreateStage",
        "FlushStageAuthorizersCache",
        "FlushStageCache",
        "GetApi",
        "GetApiMappings",
        "GetApis",
        "GetAuthorizers",
        "GetBasePathMapping",
        "GetDeployment",
        "GetRestApi",
        "GetRestApis",
        "GetStage",
        "GetStages",
        "UpdateApiMapping",
        "UpdateBasePathMapping",
        "UpdateStage",
    ];
    THEIRS.contains(&operation)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn one_change_of_an_api_waits_for_the_other_and_for_no_other_apis() {
        let pace = Pace::default();
        let first = pace.alone("a").now_or_never();
        assert!(first.is_some());
        assert!(pace.alone("a").now_or_never().is_none());
        assert!(pace.alone("b").now_or_never().is_some());
        drop(first);
        assert!(pace.alone("a").now_or_never().is_some());
    }

    #[test]
    fn only_api_gateways_operations_count() {
        for (operation, expected) in
            [("GetStage", true), ("UpdateStage", true), ("GetParameters", false), ("", false)]
        {
            assert_eq!(counts(operation), expected, "{operation}");
        }
    }
}
