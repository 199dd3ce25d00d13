//! The faults between the function and AWS: delays, lost answers, refusals, deaths, stale reads and repeated calls, and
//! the request quota that API Gateway applies to the whole account.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use apigw_rollback::cloud::pace::{API_GATEWAY, Limit, limit};
use apigw_rollback::cloud::tries::{Kind, kind, tries};
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use backon::BackoffBuilder;
use chrono::{DateTime, Utc};
use fastrand::Rng;
use tokio::time::Instant;

use crate::support::world::{Clock, Fault, FaultModel, Transit, conflict, denied, error, lost};

/// A fault model that draws its faults from a seed.
pub(crate) struct SeededFaults {
    clock: Clock,
    rng: Mutex<Rng>,
    /// The number of faults in a thousand calls.
    per_mille: AtomicU32,
    bucket: Bucket,
}

impl SeededFaults {
    pub(crate) fn new(clock: Clock, rng: Rng, per_mille: u32) -> Self {
        let per_mille = AtomicU32::new(per_mille);
        Self { clock, rng: Mutex::new(rng), per_mille, bucket: Bucket::full(API_GATEWAY, clock.began) }
    }

    /// Stops all faults.
    pub(crate) fn stop(&self) {
        self.per_mille.store(0, Ordering::Relaxed);
    }

    /// Empties the bucket, as when other callers use up the account's quota.
    pub(crate) fn drain(&self) {
        self.bucket.drain();
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.rng.lock().unwrap().u64(4..60))
    }

    fn fault(&self, operation: &'static str) -> Option<(Fault, Duration)> {
        let mut rng = self.rng.lock().unwrap();
        if rng.u32(..1000) >= self.per_mille.load(Ordering::Relaxed) {
            return None;
        }
        let silence = Duration::from_secs(3);
        let at_once = Duration::ZERO;
        Some(match rng.u32(..100) {
            0..15 if is_stage_write(operation) => (Fault::Before(conflict()), at_once),
            0..20 => (Fault::Before(throttled()), at_once),
            20..25 => (Fault::Before(denied()), at_once),
            25..40 => (Fault::Before(lost()), silence),
            40..60 => (Fault::After(lost()), silence),
            60..68 => (Fault::DieBefore, at_once),
            68..76 => (Fault::DieAfter, at_once),
            76..88 => (Fault::Stale, at_once),
            // A change is sent once.
            _ if kind(operation) == Kind::Change => (Fault::Before(conflict()), at_once),
            _ => (Fault::Twice, at_once),
        })
    }
}

impl FaultModel for SeededFaults {
    fn transit<'a>(
        &'a self,
        operation: &'static str,
        once: bool,
    ) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>> {
        Box::pin(async move {
            let counts = limit(operation) == Some(API_GATEWAY);
            let refused =
                counts && !self.bucket.take(operation, once, &self.rng, Duration::from_secs(10)).await;
            let (fault, silence) = match self.fault(operation) {
                _ if refused => (Some(Fault::Before(too_many())), Duration::ZERO),
                Some((fault, silence)) => (Some(fault), silence),
                None => (None, Duration::ZERO),
            };
            Transit { outbound: self.delay(), fault, inbound: self.delay() + silence }
        })
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

fn throttled() -> CloudError {
    CloudError { code: "ThrottlingException".to_owned(), ..too_many() }
}

/// Builds the error of a throttled call.
pub(crate) fn too_many() -> CloudError {
    error(Failure::Other, "TooManyRequestsException", "Too Many Requests")
}

fn is_stage_write(operation: &str) -> bool {
    ["UpdateStage", "CreateStage"].contains(&operation)
}

/// AWS's side of a rate limit, shared by all callers in the account.
pub(crate) struct Bucket {
    limit: Limit,
    began: Instant,
    /// The number of available requests at the time of the last take.
    level: Mutex<(f64, Instant)>,
    /// The number of requests that were throttled.
    pub(crate) refused: AtomicUsize,
}

impl Bucket {
    pub(crate) fn full(limit: Limit, began: Instant) -> Self {
        let level = Mutex::new((f64::from(limit.burst), began));
        Self { limit, began, level, refused: AtomicUsize::new(0) }
    }

    fn drain(&self) {
        *self.level.lock().unwrap() = (0.0, Instant::now().max(self.began));
    }

    fn try_take(&self) -> bool {
        let mut level = self.level.lock().unwrap();
        let now = Instant::now();
        let filled = level.0 + now.duration_since(level.1).as_secs_f64() * f64::from(self.limit.a_second);
        let filled = filled.min(f64::from(self.limit.burst));
        let taken = filled >= 1.0;
        *level = (if taken { filled - 1.0 } else { filled }, now);
        taken
    }

    /// Takes one request, with the port's retries; returns `false` if the patience ends first.
    pub(crate) async fn take(
        &self,
        operation: &str,
        once: bool,
        rng: &Mutex<Rng>,
        patience: Duration,
    ) -> bool {
        let (began, mut waits, tries) = (Instant::now(), None, tries(operation));
        while !self.try_take() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if once || !tries.throttled {
                return false;
            }
            let seed = || tries.waits.with_jitter_seed(rng.lock().unwrap().u64(..)).build();
            let wait = waits.get_or_insert_with(seed).next().unwrap();
            if began.elapsed() + wait > patience {
                return false;
            }
            tokio::time::sleep(wait).await;
        }
        true
    }
}
