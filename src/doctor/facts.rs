//! The facts that the doctor judges.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::permissions::Requirement;
use crate::cloud::{FunctionNow, LogClass, RequiredPermission, Schedule};
use crate::model::cloud_error::CloudError;
use crate::model::cloud_error::Fetched;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::Observed;
use crate::model::observed::Pin;
use crate::model::reason::Reason;
use crate::model::records::Parameter;
use crate::model::stage::StageRef;
use crate::model::stage::{Api, Deployment};
use crate::model::wiring::{Subscription, WiringNow};
use crate::observe::incidents::OnFile;

/// The period in which the function's own errors are counted: an hour, and as long as the data of an hourly sweep may take.
pub(super) const ERRORS_SINCE: TimeDelta = TimeDelta::minutes(75);

/// The period in which the metrics of an access log are searched for data.
pub(super) const LOGGED_SINCE: TimeDelta = TimeDelta::hours(24);

/// All facts that the doctor judges.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The time now.
    pub now: DateTime<Utc>,
    /// The function's name or ARN, as it was given.
    pub name: String,
    /// The function.
    pub function: Fetched<Option<FunctionNow>>,
    /// The function's reserved concurrency.
    pub concurrency: Fetched<Option<i32>>,
    /// The calls that the function makes.
    pub required: Vec<Requirement>,
    /// Those of them that the function's role does not allow.
    pub refused: Fetched<Vec<RequiredPermission>>,
    /// What leads from the alarms to the function.
    pub wiring: WiringNow,
    /// The function's ARN; `None` if the function is unknown.
    pub arn: Option<String>,
    /// The notification topic's subscriptions; `None` if there is no such topic.
    pub notified: Fetched<Option<Vec<Subscription>>>,
    /// Whether the event bus exists; `None` if none is configured.
    pub event_bus: Option<Fetched<bool>>,
    /// The records of the sweeps, oldest first.
    pub sweeps: Fetched<Vec<Parameter>>,
    /// The guarding alarms.
    pub watchers: Fetched<Vec<Watcher>>,
    /// Every REST API of the account and Region.
    pub apis: Fetched<Vec<Api>>,
    /// What the function needs besides a rollback; `None` if the function cannot be read.
    pub upkeep: Option<Upkeep>,
    /// What the stages that ask for fast detection need.
    pub access_logs: AccessLogs,
    /// The protected stages.
    pub stages: Vec<StageReadings>,
    /// The failed call that should have listed the stages, if any. `stages` then has only those of the settings.
    pub unlisted: Option<CloudError>,
}

impl Readings {
    /// Returns the guarding alarms; none if they could not be read.
    #[must_use]
    pub fn guards(&self) -> Vec<GuardingAlarm> {
        self.watchers.iter().flatten().map(|watcher| watcher.guard.clone()).collect()
    }
}

/// What the access logs of the stages need, from which CloudWatch should extract metrics.
#[derive(Clone, Debug)]
pub struct AccessLogs {
    /// The class of each log group, by the group's name; `None` if the group does not exist.
    pub groups: BTreeMap<String, Fetched<Option<LogClass>>>,
    /// The sum of each stage's status codes in the last 24 hours; `None` without data.
    pub statuses: BTreeMap<StageRef, Fetched<Option<f64>>>,
    /// The ARN of API Gateway's role for logs, if one is set; not read if no stage needs it.
    pub role: Option<Fetched<Option<String>>>,
}

/// What the function needs besides a rollback: its schedule, its queue, its log, and its own errors.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// The schedules that invoke the function.
    pub schedules: Fetched<Vec<Schedule>>,
    /// The ARN of the function's destination on failure, if any.
    pub on_failure: Fetched<Option<String>>,
    /// The ARNs to which Lambda sends failed events: the destination on failure and the dead-letter target. With the number
    /// of messages if it is a queue; `None` if the queue does not exist.
    pub failed_events: Vec<(String, Option<Fetched<Option<u64>>>)>,
    /// The function's log group.
    pub log_group: String,
    /// Whether the log group exists.
    pub has_log_group: Fetched<bool>,
    /// The function's failed invocations; `None` without data.
    pub errors: Fetched<Option<f64>>,
    /// The function's throttled invocations; `None` without data.
    pub throttles: Fetched<Option<f64>>,
}

impl Upkeep {
    /// The ARNs of the queues that receive failed events.
    pub(super) fn queues(&self) -> impl Iterator<Item = &str> {
        self.failed_events.iter().filter(|(_, messages)| messages.is_some()).map(|(arn, _)| arn.as_str())
    }
}

/// A guarding alarm.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// The alarm.
    pub guard: GuardingAlarm,
    /// The stages that the alarm names, or why it names none.
    pub means: Vec<Fetched<Result<StageRef, Reason>>>,
}

/// The facts about one stage.
#[derive(Clone, Debug)]
pub struct StageReadings {
    /// The stage.
    pub stage: StageRef,
    /// The stage, its records and its components.
    pub observed: Fetched<Observed>,
    /// The known-good deployment; `None` if it does not exist or none is recorded.
    pub deployment: Fetched<Option<Deployment>>,
    /// The pin, which keeps that deployment from being deleted.
    pub pin: Fetched<Pin>,
    /// The stage's incidents, newest first.
    pub incidents: Fetched<Vec<OnFile>>,
}

/// Returns the guarding alarms of a stage.
pub(super) fn by_stage<'a>(watchers: &'a [Watcher], stage: &StageRef) -> Vec<&'a Watcher> {
    let means_it = |watcher: &&Watcher| {
        watcher.means.iter().any(|means| matches!(means, Ok(Ok(meant)) if meant == stage))
    };
    watchers.iter().filter(means_it).collect()
}
