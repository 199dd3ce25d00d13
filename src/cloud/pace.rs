//! Paces the calls that AWS limits for a whole account and Region, because many stages at once would exceed the limit.
//! Other callers share the limit, so AWS may still throttle a paced call; the run then sends it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leaky_bucket::RateLimiter;
use tokio::sync::OwnedMutexGuard;

use super::tries::{Kind, kind};

/// A request limit of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests that AWS accepts at once.
    pub burst: u16,
    /// Requests per second that AWS accepts after the burst.
    pub a_second: u16,
}

/// All management calls of API Gateway together (quotas page of API Gateway).
pub const API_GATEWAY: Limit = Limit { burst: 40, a_second: 10 };
/// `DescribeAlarms` (quotas page of CloudWatch, which documents no burst).
pub const DESCRIBE_ALARMS: Limit = Limit { burst: 9, a_second: 9 };

impl Limit {
    fn bucket(self) -> RateLimiter {
        let one = Duration::from_secs(1) / u32::from(self.a_second);
        // Slightly less than the burst: otherwise every call would arrive just before its place is free.
        let burst = usize::from(self.burst).saturating_sub(2);
        RateLimiter::builder().initial(burst).max(burst).refill(1).interval(one).build()
    }
}

/// The pace of one process, which uses each limit in full as long as no other caller does.
#[derive(Debug)]
pub struct Pace {
    api_gateway: RateLimiter,
    describe_alarms: RateLimiter,
    /// Lets only one read queue for API Gateway, so that a change does not wait behind all reads.
    reading: tokio::sync::Mutex<()>,
    /// Lets only one change queue for API Gateway. If it must look again first, it needs two turns in a row.
    first: Arc<tokio::sync::Mutex<()>>,
    /// A lock for each API that is changed.
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            api_gateway: API_GATEWAY.bucket(),
            describe_alarms: DESCRIBE_ALARMS.bucket(),
            reading: tokio::sync::Mutex::default(),
            first: Arc::default(),
            changing: Mutex::default(),
        }
    }
}

impl Pace {
    /// Waits until this call may go out, if a limit applies to it.
    pub async fn turn(&self, operation: &str) {
        match limit(operation) {
            Some(API_GATEWAY) if kind(operation) == Kind::Change => self.api_gateway.acquire_one().await,
            Some(API_GATEWAY) => {
                let _alone = self.reading.lock().await;
                self.api_gateway.acquire_one().await;
            }
            Some(_) => self.describe_alarms.acquire_one().await,
            None => {}
        }
    }

    /// Whether the read of a stage and that of an alarm would go out at once.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let is_free = |limit: &RateLimiter| limit.balance() > 0;
        is_free(&self.api_gateway) && is_free(&self.describe_alarms) && self.reading.try_lock().is_ok()
    }

    /// Waits until this change is the next one to get a turn, and keeps that place.
    pub async fn first(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.first).lock_owned().await
    }

    /// Waits until no other change of this API is in progress: API Gateway answers the second of two with 409.
    pub async fn alone(&self, api: &str) -> OwnedMutexGuard<()> {
        let ours = {
            let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(changing.entry(api.to_owned()).or_default())
        };
        ours.lock_owned().await
    }
}

/// Returns the limit that an operation counts towards, if any.
#[must_use]
pub fn limit(operation: &str) -> Option<Limit> {
    const MANAGEMENT_CALLS: [&str; 19] = [
        "CreateStage",
        "FlushStageAuthorizersCache",
        "FlushStageCache",
        "GetAccount",
        "GetApi",
        "GetApiMappings",
        "GetApis",
        "GetAuthorizers",
        "GetBasePathMapping",
        "GetDeployment",
        "GetDomainName",
        "GetRestApi",
        "GetRestApis",
        "GetStage",
        "GetStages",
        "ListRoutingRules",
        "UpdateApiMapping",
        "UpdateBasePathMapping",
        "UpdateStage",
    ];
    if operation == "DescribeAlarms" {
        return Some(DESCRIBE_ALARMS);
    }
    MANAGEMENT_CALLS.contains(&operation).then_some(API_GATEWAY)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn changes_of_one_api_wait_for_each_other_but_not_for_another_api() {
        let pace = Pace::default();
        let first = pace.alone("a").now_or_never();
        assert!(first.is_some());
        assert!(pace.alone("a").now_or_never().is_none());
        assert!(pace.alone("b").now_or_never().is_some());
        drop(first);
        assert!(pace.alone("a").now_or_never().is_some());
    }

    #[test]
    fn an_operation_counts_towards_its_own_limit() {
        for (operation, expected) in [
            ("GetStage", Some(API_GATEWAY)),
            ("UpdateStage", Some(API_GATEWAY)),
            ("DescribeAlarms", Some(DESCRIBE_ALARMS)),
            ("GetParameters", None),
            ("", None),
        ] {
            assert_eq!(limit(operation), expected, "{operation}");
        }
    }
}
