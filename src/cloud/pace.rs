//! The pace of calls, where AWS has a limit for a whole account and region that many stages at once would meet. A
//! process that keeps to it is not turned away for its own haste; it shares the limit with others all the same, so what
//! is turned away is sent again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::ExponentialBuilder;
use leaky_bucket::RateLimiter;
use tokio::sync::OwnedMutexGuard;

/// What AWS lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests at once.
    pub burst: u16,
    /// Requests a second, after that.
    pub a_second: u16,
}

/// API Gateway's management calls together, whatever they ask (its quotas page).
pub const API_GATEWAY: Limit = Limit { burst: 40, a_second: 10 };
/// `DescribeAlarms` (CloudWatch's quotas page; it tells of no burst).
pub const DESCRIBE_ALARMS: Limit = Limit { burst: 9, a_second: 9 };

impl Limit {
    fn bucket(self) -> RateLimiter {
        let one = Duration::from_secs(1) / u32::from(self.a_second);
        // A little less than the burst, or every call would come a moment before its place is free again.
        let burst = usize::from(self.burst).saturating_sub(2);
        RateLimiter::builder().initial(burst).max(burst).refill(1).interval(one).build()
    }
}

/// One process's share of the limits: all of it, as long as nobody else asks.
#[derive(Debug)]
pub struct Pace {
    api_gateway: RateLimiter,
    describe_alarms: RateLimiter,
    /// Only one look waits in the queue, so that a change, which follows a look, is not behind all the others.
    looking: tokio::sync::Mutex<()>,
    changing: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            api_gateway: API_GATEWAY.bucket(),
            describe_alarms: DESCRIBE_ALARMS.bucket(),
            looking: tokio::sync::Mutex::default(),
            changing: Mutex::default(),
        }
    }
}

/// How a call that is turned away is sent again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// The waits in between.
    pub waits: ExponentialBuilder,
    /// For how long at most, where there is such a limit beside the run's deadline.
    pub patience: Option<Duration>,
}

const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(1.5)
    .with_min_delay(Duration::from_millis(50))
    .without_max_times()
    .with_jitter();

/// A look can wait. A change follows a look at the stage, which is soon out of date: it goes before the looks of others,
/// and after twenty seconds the stage is looked at anew.
#[must_use]
pub fn again(operation: &str) -> Retries {
    if is_change(operation) {
        let waits = WAITS.with_max_delay(Duration::from_millis(100));
        return Retries { waits, patience: Some(Duration::from_secs(20)) };
    }
    Retries { waits: WAITS.with_max_delay(Duration::from_secs(3)), patience: None }
}

/// Whether an operation changes what users are served.
fn is_change(operation: &str) -> bool {
    ["UpdateAlias", "UpdateApiMapping", "UpdateBasePathMapping", "UpdateStage"].contains(&operation)
}

impl Pace {
    /// Waits until this call may go out, if it counts.
    pub async fn turn(&self, operation: &str) {
        match limit(operation) {
            Some(API_GATEWAY) if is_change(operation) => self.api_gateway.acquire_one().await,
            Some(API_GATEWAY) => {
                let _alone = self.looking.lock().await;
                self.api_gateway.acquire_one().await;
            }
            Some(_) => self.describe_alarms.acquire_one().await,
            None => {}
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

/// The limit that an operation counts towards.
#[must_use]
pub fn limit(operation: &str) -> Option<Limit> {
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
    if operation == "DescribeAlarms" {
        return Some(DESCRIBE_ALARMS);
    }
    THEIRS.contains(&operation).then_some(API_GATEWAY)
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
