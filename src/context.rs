//! The context of a run: the port, the settings, the time, the deadline, and what triggered it.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::config::Config;
use crate::model::cloud_error::CloudError;
use crate::model::reason::Reason;
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;
use crate::model::trigger::TriggeredBy;

/// The values that every module of a run needs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a, C> {
    /// The port.
    pub cloud: &'a C,
    /// The settings.
    pub config: &'a Config,
    /// What triggered the run.
    pub trigger: &'a TriggeredBy,
    /// Lambda's request id.
    pub id: &'a str,
    /// The run's trace in X-Ray, if it has one.
    pub trace: Option<&'a str>,
    /// The function's own ARN without a qualifier, if known.
    pub function: Option<&'a str>,
    /// The time at which the run began. Decisions use this time.
    pub now: DateTime<Utc>,
    /// The same time on the monotonic clock.
    pub began: Instant,
    /// The time by which the run must end.
    pub deadline: Instant,
}

impl<'a, C> Context<'a, C> {
    /// Returns the same context with another trigger.
    #[must_use]
    pub fn triggered_by(&self, trigger: &'a TriggeredBy) -> Self {
        Self { trigger, ..*self }
    }

    /// Returns the account in which the function runs, if known.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.function.and_then(|arn| arn.split(':').nth(4)).filter(|account| !account.is_empty())
    }

    /// Returns the function's name, for commands and metrics.
    #[must_use]
    pub fn function_name(&self) -> &str {
        self.function.and_then(|arn| arn.split(':').nth(6)).unwrap_or("apigw-rollback")
    }

    /// Reads the clock, for reports and observations. Decisions use [`Context::now`].
    #[must_use]
    pub fn clock(&self) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(self.began.elapsed()).unwrap_or_default()
    }

    /// Returns a moment of the monotonic clock as a time.
    #[must_use]
    pub fn time(&self, instant: Instant) -> DateTime<Utc> {
        self.now + TimeDelta::from_std(instant.duration_since(self.began)).unwrap_or_default()
    }

    /// Returns a time as a moment of the monotonic clock.
    #[must_use]
    pub fn instant(&self, time: DateTime<Utc>) -> Instant {
        self.began + (time - self.now).to_std().unwrap_or_default()
    }

    /// Adds to a report what only the settings say: the API's name, the Region, and what a sweep looks after.
    pub fn complete(&self, report: &mut Report) {
        report.region = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        match &report.stage {
            Some(stage) => {
                let configured = self.config.entry(stage).map(|entry| entry.api_name.clone());
                report.api_name = configured.or_else(|| report.api_name.take());
            }
            None if report.signal.is_sweep() || report.signal.is_rollout() => {
                report.people.scope = Some(self.config.scope());
            }
            None => {}
        }
    }

    /// Reports that the run did nothing, with the reason.
    pub fn no(&self, reason: Reason) -> Report {
        Report::no(self.id, self.clock(), self.trigger, reason)
    }

    /// Reports a failed call.
    pub fn failed(&self, error: &CloudError) -> Report {
        Report::failed(self.id, self.clock(), self.trigger, error)
    }

    /// Reports a failed call about a stage. A stage that the settings do not name, and that the role may not read, is not
    /// protected: a retry would not help.
    pub fn failed_on(&self, stage: &StageRef, error: &CloudError) -> Report {
        let report = if self.config.is_not_ours(error, |ours| ours == stage) {
            self.no(Reason::not_readable(&stage.api, &stage.stage, error))
        } else {
            self.failed(error)
        };
        report.on(stage)
    }

    /// Reports an outcome.
    pub fn report(&self, outcome: Outcome, message: String) -> Report {
        Report::new(self.id, self.clock(), self.trigger, outcome, message)
    }
}
