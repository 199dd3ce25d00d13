//! Reads the facts that the doctor judges. A failed call leaves only its own fact unknown.

use std::collections::BTreeSet;

use super::access_log_checks::{FastStage, status_of};
use super::facts::{AccessLogs, ERRORS_SINCE, LOGGED_SINCE, Readings, StageReadings, Upkeep, Watcher};
use super::permissions::{Requirement, required_by_lambda, required_permissions};
use crate::cloud::{Alarms, Cloud, Components, Gateway, Parameters, Wiring};
use crate::cloud::{Diagnostics, FunctionNow, RequiredPermission};
use crate::context::Context;
use crate::decide::Trigger;
use crate::model::alarm::Metric;
use crate::model::cloud_error::Fetched;
use crate::model::observed::Pin;
use crate::model::reason::Reason;
use crate::model::stage::StageRef;
use crate::model::wiring::WiringNow;
use crate::observe::guarding_alarms;
use crate::observe::observe;
use crate::observe::resolve::{NamedBy, resolve};
use crate::observe::{incidents, protected_stages, wiring};
use crate::signal::target::named_by;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;

/// The number of stages read at the same time. The whole account shares API Gateway's quota, and a rollback needs it
/// more.
const STAGES_AT_ONCE: usize = 4;

/// Reads all facts. `name` is the function's name or ARN.
pub async fn read<C: Cloud, K: Diagnostics>(
    context: &Context<'_, C>,
    diagnostics: &K,
    name: &str,
) -> Readings {
    let function = diagnostics.function(name).await;
    let found = function.as_ref().ok().and_then(Option::as_ref);
    let arn = found.map(|found| found.arn.clone());
    let context = &Context { function: arn.as_deref().or(context.function), ..*context };
    let callee = arn.as_deref().unwrap_or(name);
    let (listed, unlisted) = match protected_stages::read(context).await {
        Ok(listed) => (listed.into_iter().collect(), None),
        Err(error) => (context.config.stages.iter().map(|one| one.stage.clone()).collect(), Some(error)),
    };
    let notified = async {
        match &context.config.notification_topic {
            Some(topic) => context.cloud.subscriptions(topic).await,
            None => Ok(None),
        }
    };
    let sweep = context.config.names.sweep();
    let (concurrency, notified, event_bus, sweeps, apis, (wiring, watchers), stages, upkeep) = tokio::join!(
        diagnostics.reserved_concurrency(callee),
        notified,
        event_bus(diagnostics, context.config.event_bus.as_deref()),
        context.cloud.history(&sweep),
        context.cloud.rest_apis(),
        watchers(context, callee),
        stages(context, listed),
        upkeep(diagnostics, found, context.now),
    );
    let mut required =
        found.map(|found| required_permissions(context.config, &found.arn, &stages)).unwrap_or_default();
    if let (Some(found), Some(upkeep)) = (found, &upkeep) {
        required.extend(required_by_lambda(&found.arn, upkeep));
    }
    let (refused, access_logs) = tokio::join!(
        refused(diagnostics, found, &required),
        access_logs(diagnostics, &stages, &watchers, context.now),
    );
    Readings {
        now: context.now,
        required,
        refused,
        name: name.to_owned(),
        function,
        concurrency,
        wiring,
        arn: arn.clone(),
        notified,
        event_bus,
        sweeps,
        watchers,
        apis,
        upkeep,
        access_logs,
        stages,
        unlisted,
    }
}

async fn event_bus<K: Diagnostics>(diagnostics: &K, bus: Option<&str>) -> Option<Fetched<bool>> {
    Some(diagnostics.has_event_bus(bus?).await)
}

/// Returns the required calls that the function's role does not allow.
async fn refused<K: Diagnostics>(
    diagnostics: &K,
    function: Option<&FunctionNow>,
    required: &[Requirement],
) -> Fetched<Vec<RequiredPermission>> {
    let Some(function) = function else { return Ok(vec![]) };
    let mut permissions: Vec<_> = required.iter().map(|one| one.permission.clone()).collect();
    permissions.sort();
    permissions.dedup();
    diagnostics.refused(&function.role, &permissions).await
}

/// Reads what the function needs besides a rollback.
async fn upkeep<K: Diagnostics>(
    diagnostics: &K,
    function: Option<&FunctionNow>,
    now: DateTime<Utc>,
) -> Option<Upkeep> {
    let function = function?;
    let arn = function.arn.as_str();
    let log_group = function.log_group.clone().filter(|name| !name.is_empty());
    let log_group = log_group.unwrap_or_else(|| format!("/aws/lambda/{}", function.name()));
    let [errors, throttles] = ["Errors", "Throttles"].map(|name| Metric {
        namespace: "AWS/Lambda".to_owned(),
        name: name.to_owned(),
        dimensions: vec![("FunctionName".to_owned(), function.name().to_owned())],
        account: None,
    });
    let since = now - ERRORS_SINCE;
    let (schedules, (on_failure, failed_events), has_log_group, errors, throttles) = tokio::join!(
        diagnostics.schedules(arn),
        failed_events(diagnostics, function),
        diagnostics.log_class(&log_group),
        diagnostics.sum(&errors, since, now),
        diagnostics.sum(&throttles, since, now),
    );
    let has_log_group = has_log_group.map(|class| class.is_some());
    Some(Upkeep { schedules, on_failure, failed_events, log_group, has_log_group, errors, throttles })
}

/// Reads where Lambda sends failed events, and how many wait there.
async fn failed_events<K: Diagnostics>(
    diagnostics: &K,
    function: &FunctionNow,
) -> (Fetched<Option<String>>, Vec<(String, Option<Fetched<Option<u64>>>)>) {
    let on_failure = diagnostics.on_failure(&function.arn).await;
    let mut targets: Vec<String> =
        on_failure.iter().flatten().chain(&function.dead_letter).cloned().collect();
    targets.retain(|arn| !arn.is_empty());
    targets.dedup();
    let mut failed_events = Vec::new();
    for arn in targets {
        let messages =
            if arn.split(':').nth(2) == Some("sqs") { Some(diagnostics.messages(&arn).await) } else { None };
        failed_events.push((arn, messages));
    }
    (on_failure, failed_events)
}

/// Reads what the access logs need of the stages that ask for fast detection.
async fn access_logs<K: Diagnostics>(
    diagnostics: &K,
    stages: &[StageReadings],
    watchers: &Fetched<Vec<Watcher>>,
    now: DateTime<Utc>,
) -> AccessLogs {
    let fast: Vec<FastStage<'_>> = stages.iter().filter_map(|stage| FastStage::of(stage, watchers)).collect();
    // Several stages may share a group.
    let names: BTreeSet<String> = fast.iter().flat_map(FastStage::groups).collect();
    let groups = names.into_iter().map(|name| async move {
        let class = diagnostics.log_class(&name).await;
        (name, class)
    });
    let statuses = fast.iter().map(|one| one.stage.clone()).map(|stage| async move {
        let sum = diagnostics.sum(&status_of(&stage), now - LOGGED_SINCE, now).await;
        (stage, sum)
    });
    let role = async {
        if !fast.iter().any(FastStage::needs_role) {
            return None;
        }
        Some(diagnostics.gateway_log_role().await)
    };
    let (groups, statuses): (Vec<_>, Vec<_>) = (groups.collect(), statuses.collect());
    let (groups, statuses, role) = tokio::join!(
        futures_util::stream::iter(groups).buffered(STAGES_AT_ONCE).collect(),
        futures_util::stream::iter(statuses).buffered(STAGES_AT_ONCE).collect(),
        role,
    );
    AccessLogs { groups, statuses, role }
}

async fn stages<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    listed: Vec<StageRef>,
) -> Vec<StageReadings> {
    let reads = listed.into_iter().map(|stage| read_stage(context, stage));
    futures_util::stream::iter(reads).buffered(STAGES_AT_ONCE).collect().await
}

async fn read_stage<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: StageRef,
) -> StageReadings {
    let parked = stage.parked();
    let (observed, parked, incidents) = tokio::join!(
        observe(context, &stage, None, Trigger::Imagined),
        context.cloud.stage(&parked),
        incidents::read(context, &stage),
    );
    let good = observed.as_ref().ok().and_then(|observed| observed.on_record.good());
    let deployment = match good {
        Some((_, record)) => context.cloud.deployment(&stage, &record.release.deployment).await,
        None => Ok(None),
    };
    StageReadings {
        observed,
        deployment,
        pin: parked.map(|parked| Pin::from_parked_stage(parked.as_ref(), context.config.names.prefix())),
        incidents,
        stage,
    }
}

/// Reads the guarding alarms and what leads from them to the function.
async fn watchers<C: Gateway + Parameters + Alarms + Wiring>(
    context: &Context<'_, C>,
    function: &str,
) -> (WiringNow, Fetched<Vec<Watcher>>) {
    let guards = match guarding_alarms::read(context).await {
        Ok(guards) => guards,
        Err(error) => return (wiring::read(context, function, &[]).await, Err(error)),
    };
    let wiring = wiring::read(context, function, &guards).await;
    let mut watchers = Vec::new();
    // One after the other: an account has few guarding alarms, and shares API Gateway's quota.
    for guard in guards {
        let mut means = Vec::new();
        for target in &guard.targets {
            means.push(resolve(context.cloud, context.config, target, NamedBy::Operator).await);
        }
        if guard.targets.is_empty() {
            let none = || Reason::NoStage("none of its child alarms names a stage".to_owned());
            means.push(Ok(Err(named_by(&guard.alarm).err().unwrap_or_else(none))));
        }
        watchers.push(Watcher { guard, means });
    }
    (wiring, Ok(watchers))
}
