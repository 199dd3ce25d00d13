//! What the doctor reads, all in one place. A call that fails leaves one fact unknown, not all of them.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::permissions::wants;
use crate::cloud::diagnostics::{Clinic, FunctionNow, Subscription, Want};
use crate::cloud::{AlarmNow, Cloud, CloudError, Deployment, Parameter};
use crate::context::Run;
use crate::model::reason::Reason;
use crate::model::release::StageRef;
use crate::observe::guarding_alarms::{self, Guard};
use crate::observe::lists::{self, OnFile};
use crate::observe::resolve::resolve;
use crate::observe::{Observed, observe};
use crate::signal::target;
use crate::sweep::pin::{self, Pin};

/// How far back a guarding alarm's metrics are searched for samples.
pub(super) const SAMPLED: TimeDelta = TimeDelta::hours(24);

/// Stages that are read at the same time: API Gateway's quota is the whole account's, and a rollback needs it more.
const AT_ONCE: usize = 4;

/// A fact, or the call that failed.
pub type Told<T> = Result<T, CloudError>;

/// All that is judged.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The time now.
    pub now: DateTime<Utc>,
    /// The function's name or ARN, as it was given.
    pub name: String,
    /// The function.
    pub function: Told<Option<FunctionNow>>,
    /// Its reserved concurrency.
    pub concurrency: Told<Option<i32>>,
    /// Who may call it.
    pub policy: Told<Option<String>>,
    /// The calls that its role must be allowed to do, and is not.
    pub refused: Told<Vec<Want>>,
    /// How many calls were asked about.
    pub wanted: usize,
    /// The alarm topic's subscriptions; `None` where there is no such topic.
    pub subscriptions: Told<Option<Vec<Subscription>>>,
    /// The notification topic's.
    pub notified: Told<Option<Vec<Subscription>>>,
    /// What every sweep wrote, oldest first.
    pub sweeps: Told<Vec<Parameter>>,
    /// The guarding alarms.
    pub watchers: Told<Vec<Watcher>>,
    /// Every alarm of the account and region.
    pub alarms: Told<Vec<AlarmNow>>,
    /// The protected stages.
    pub stages: Vec<StageFacts>,
    /// The call that should have listed them, if it failed: those of the settings are there all the same.
    pub unlisted: Option<CloudError>,
}

/// A guarding alarm.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// The alarm.
    pub guard: Guard,
    /// Whether it invokes the function without the topic.
    pub direct: bool,
    /// The stages it means, or why it means none.
    pub means: Vec<Told<Result<StageRef, Reason>>>,
    /// How many samples its metrics had of late; `None` where there is no metric to ask.
    pub samples: Option<Told<f64>>,
}

/// What is known of one stage.
#[derive(Clone, Debug)]
pub struct StageFacts {
    /// The stage.
    pub stage: StageRef,
    /// The stage, its records and its parts.
    pub observed: Told<Observed>,
    /// The known-good deployment; `None` where there is none, or no record of it.
    pub deployment: Told<Option<Deployment>>,
    /// What keeps it from being deleted.
    pub pin: Told<Pin>,
    /// The stage's incidents, newest first.
    pub incidents: Told<Vec<OnFile>>,
}

/// Reads everything.
pub async fn read<C: Cloud, K: Clinic>(run: &Run<'_, C>, clinic: &K, name: &str) -> Facts {
    let function = clinic.function(name).await;
    let found = function.as_ref().ok().and_then(Option::as_ref);
    let arn = found.map(|found| found.arn.clone());
    let run = &Run { function: arn.as_deref().or(run.function), ..*run };
    let callee = arn.as_deref().unwrap_or(name);
    let (listed, unlisted) = match lists::protected(run).await {
        Ok(listed) => (listed, None),
        Err(error) => (run.config.stages.iter().map(|one| one.stage.clone()).collect(), Some(error)),
    };
    let topic = |topic: Option<String>| async move {
        match topic {
            Some(topic) => clinic.subscriptions(&topic).await,
            None => Ok(None),
        }
    };
    let sweep = run.config.names.sweep();
    let (concurrency, policy, subscriptions, notified, sweeps, (alarms, watchers), stages) = tokio::join!(
        clinic.reserved_concurrency(callee),
        clinic.function_policy(callee),
        topic(run.config.topic.clone()),
        topic(run.config.notify.clone()),
        run.cloud.history(&sweep),
        watchers(run),
        stages(run, listed),
    );
    let wanted = found.map(|found| wants(run.config, &found.arn, &stages)).unwrap_or_default();
    let refused = match found {
        Some(found) => clinic.refused(&found.role, &wanted).await,
        None => Ok(vec![]),
    };
    Facts {
        now: run.now,
        wanted: wanted.len(),
        refused,
        name: name.to_owned(),
        function,
        concurrency,
        policy,
        subscriptions,
        notified,
        sweeps,
        watchers,
        alarms,
        stages,
        unlisted,
    }
}

async fn stages<C: Cloud>(run: &Run<'_, C>, listed: Vec<StageRef>) -> Vec<StageFacts> {
    let reads = listed.into_iter().map(|stage| of_stage(run, stage));
    futures_util::stream::iter(reads).buffered(AT_ONCE).collect().await
}

async fn of_stage<C: Cloud>(run: &Run<'_, C>, stage: StageRef) -> StageFacts {
    let parked = stage.parked();
    let (observed, parked, incidents) = tokio::join!(
        observe(run.cloud, run.config, &stage, None, None),
        run.cloud.stage(&parked),
        lists::incidents(run, &stage),
    );
    let good = observed.as_ref().ok().and_then(|observed| observed.on_record.good());
    let deployment = match good {
        Some((_, record)) => run.cloud.deployment(&stage, &record.release.deployment).await,
        None => Ok(None),
    };
    StageFacts { observed, deployment, pin: parked.map(pin::read), incidents, stage }
}

/// Every alarm, and those of them that would call the function.
async fn watchers<C: Cloud>(run: &Run<'_, C>) -> (Told<Vec<AlarmNow>>, Told<Vec<Watcher>>) {
    let (all, guards) = tokio::join!(run.cloud.all_alarms(), guarding_alarms::read(run));
    let guards = match guards {
        Ok(guards) => guards,
        Err(error) => return (all, Err(error)),
    };
    let calls_function = |guard: &Guard| {
        let now = all.iter().flatten().find(|now| now.alarm.name == guard.alarm.name);
        now.is_some_and(|now| {
            run.function.is_some_and(|arn| now.actions.iter().any(|action| action.starts_with(arn)))
        })
    };
    let mut watchers = Vec::new();
    // One after the other: an account's alarms are few, and CloudWatch's quota is everybody's.
    for guard in guards {
        let mut means = Vec::new();
        for target in &guard.targets {
            means.push(resolve(run.cloud, run.config, target).await);
        }
        if guard.targets.is_empty() {
            let why = target::of(&guard.alarm).err();
            let none = || Reason::NoStage("the alarms behind it name no stage".to_owned());
            let why = why.filter(|why| !matches!(why, Reason::Composite(_)));
            means.push(Ok(Err(why.unwrap_or_else(none))));
        }
        let samples = match guard.metrics.as_slice() {
            [] => None,
            metrics => Some(run.cloud.samples(metrics, run.now - SAMPLED, run.now).await),
        };
        watchers.push(Watcher { direct: calls_function(&guard), guard, means, samples });
    }
    (all, Ok(watchers))
}

/// The guarding alarms of each stage.
pub(super) fn by_stage<'a>(watchers: &'a [Watcher], stage: &StageRef) -> Vec<&'a Watcher> {
    let means_it = |watcher: &&Watcher| {
        watcher.means.iter().any(|means| matches!(means, Ok(Ok(meant)) if meant == stage))
    };
    watchers.iter().filter(means_it).collect()
}
