//! Paces the calls that AWS limits for a whole account and Region, because many stages at once would exceed the limit.
//! Other callers share the limit, so AWS may still throttle a paced call; the run then sends it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::ExponentialBuilder;
use leaky_bucket::RateLimiter;
use tokio::sync::OwnedMutexGuard;

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
    /// A lock for each API that is changed.
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            api_gateway: API_GATEWAY.bucket(),
            describe_alarms: DESCRIBE_ALARMS.bucket(),
            reading: tokio::sync::Mutex::default(),
            changing: Mutex::default(),
        }
    }
}

/// How to send a throttled call again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// The waits between the attempts.
    pub waits: ExponentialBuilder,
    /// The longest time to keep trying; `None` if only the run's deadline limits it.
    pub patience: Option<Duration>,
}

const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(1.5)
    .with_min_delay(Duration::from_millis(50))
    .without_max_times()
    .with_jitter();

/// Returns how to send a throttled operation again. A read can wait. A change follows a read that is soon out of date,
/// so it goes before other reads; after 20 seconds the run must read the stage again.
#[must_use]
pub fn again(operation: &str) -> Retries {
    if is_change(operation) {
        let waits = WAITS.with_max_delay(Duration::from_millis(100));
        return Retries { waits, patience: Some(Duration::from_secs(20)) };
    }
    Retries { waits: WAITS.with_max_delay(Duration::from_secs(3)), patience: None }
}

/// Whether an operation changes what an API serves.
fn is_change(operation: &str) -> bool {
    ["UpdateAlias", "UpdateApiMapping", "UpdateBasePathMapping", "UpdateStage"].contains(&operation)
}

impl Pace {
    /// Waits until this call may go out, if a limit applies to it.
    pub async fn turn(&self, operation: &str) {
        match limit(operation) {
            Some(API_GATEWAY) if is_change(operation) => self.api_gateway.acquire_one().await,
            Some(API_GATEWAY) => {
                let _alone = self.reading.lock().await;
                self.api_gateway.acquire_one().await;
            }
            Some(_) => self.describe_alarms.acquire_one().await,
            None => {}
        }
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
    const MANAGEMENT_CALLS: [&str; 18] = [
        "CreateStage",
        "FlushStageAuthorizersCache",
        "FlushStageCache",
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
