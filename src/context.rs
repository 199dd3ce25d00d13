//! What one run carries: the port, the settings, the time and the deadline.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::cloud::{Cloud, CloudError};
use crate::config::Config;
use crate::model::reason::Reason;
use crate::model::report::{Caller, Outcome, Report};

/// What every part of a run needs.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a, C> {
    /// The port.
    pub cloud: &'a C,
    /// The settings.
    pub config: &'a Config,
    /// Lambda's request id.
    pub id: &'a str,
    /// The run's trace in X-Ray, where there is one.
    pub trace: Option<&'a str>,
    /// The function's own ARN without a qualifier, where known.
    pub function: Option<&'a str>,
    /// The time the run began.
    pub now: DateTime<Utc>,
    /// The same moment on the clock that cannot be set.
    pub began: Instant,
    /// When the run must have ended.
    pub deadline: Instant,
}

impl<C: Cloud> Run<'_, C> {
    /// The account the function runs in, where known.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.function.and_then(|arn| arn.split(':').nth(4)).filter(|account| !account.is_empty())
    }

    /// The function's name, for commands and metrics.
    #[must_use]
    pub fn function_name(&self) -> &str {
        self.function.and_then(|arn| arn.split(':').nth(6)).unwrap_or("apigw-rollback")
    }

    /// The time now, for reports: decisions use [`Run::now`].
    #[must_use]
    pub fn clock(&self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }

    /// A report about nothing done.
    pub fn no(&self, caller: &Caller, reason: &Reason) -> Report {
        Report::no(self.id, self.clock(), caller, reason)
    }

    /// A report about a failed call.
    pub fn failed(&self, caller: &Caller, error: &CloudError) -> Report {
        Report::failed(self.id, self.clock(), caller, error)
    }

    /// A report of an outcome.
    pub fn report(&self, caller: &Caller, outcome: Outcome, message: String) -> Report {
        Report::new(self.id, self.clock(), caller, outcome, message)
    }
}
