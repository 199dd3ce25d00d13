//! The facts that the doctor judges.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cloud::{FunctionNow, RequiredPermission, Subscription};
use crate::model::alarm::AlarmNow;
use crate::model::cloud_error::CloudError;
use crate::model::cloud_error::Fetched;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::Observed;
use crate::model::observed::Pin;
use crate::model::reason::Reason;
use crate::model::records::Parameter;
use crate::model::stage::Deployment;
use crate::model::stage::StageRef;
use crate::observe::incidents::OnFile;

/// How far back a guarding alarm's metrics are searched for samples.
pub(super) const SAMPLED: TimeDelta = TimeDelta::hours(24);

/// All that is judged.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The time now.
    pub now: DateTime<Utc>,
    /// The function's name or ARN, as it was given.
    pub name: String,
    /// The function.
    pub function: Fetched<Option<FunctionNow>>,
    /// Its reserved concurrency.
    pub concurrency: Fetched<Option<i32>>,
    /// Who may call it.
    pub policy: Fetched<Option<String>>,
    /// The calls that its role must be allowed to do, and is not.
    pub refused: Fetched<Vec<RequiredPermission>>,
    /// How many calls were asked about.
    pub wanted: usize,
    /// The alarm topic's subscriptions; `None` where there is no such topic.
    pub subscriptions: Fetched<Option<Vec<Subscription>>>,
    /// The notification topic's.
    pub notified: Fetched<Option<Vec<Subscription>>>,
    /// What every sweep wrote, oldest first.
    pub sweeps: Fetched<Vec<Parameter>>,
    /// The guarding alarms.
    pub watchers: Fetched<Vec<Watcher>>,
    /// Every alarm of the account and region.
    pub alarms: Fetched<Vec<AlarmNow>>,
    /// The protected stages.
    pub stages: Vec<StageReadings>,
    /// The call that should have listed them, if it failed: those of the settings are there all the same.
    pub unlisted: Option<CloudError>,
}

/// A guarding alarm.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// The alarm.
    pub guard: GuardingAlarm,
    /// Whether it invokes the function without the topic.
    pub direct: bool,
    /// The stages it means, or why it means none.
    pub means: Vec<Fetched<Result<StageRef, Reason>>>,
    /// How many samples its metrics had of late; `None` where there is no metric to ask.
    pub samples: Option<Fetched<f64>>,
}

/// What is known of one stage.
#[derive(Clone, Debug)]
pub struct StageReadings {
    /// The stage.
    pub stage: StageRef,
    /// The stage, its records and its parts.
    pub observed: Fetched<Observed>,
    /// The known-good deployment; `None` where there is none, or no record of it.
    pub deployment: Fetched<Option<Deployment>>,
    /// What keeps it from being deleted.
    pub pin: Fetched<Pin>,
    /// The stage's incidents, newest first.
    pub incidents: Fetched<Vec<OnFile>>,
}

/// The guarding alarms of each stage.
pub(super) fn by_stage<'a>(watchers: &'a [Watcher], stage: &StageRef) -> Vec<&'a Watcher> {
    let means_it = |watcher: &&Watcher| {
        watcher.means.iter().any(|means| matches!(means, Ok(Ok(meant)) if meant == stage))
    };
    watchers.iter().filter(means_it).collect()
}
