//! Reads what the guarding alarms say about a candidate since it was first seen.

use std::collections::BTreeSet;

use crate::cloud::{Alarms, Parameters};
use crate::context::Context;
use crate::decide::evidence::Evidence;
use crate::decide::testimony::Guarding;
use crate::model::alarm::{CLOCK_SKEW, Metric, State};
use crate::model::cloud_error::CloudError;
use crate::model::policy::StagePolicy;
use crate::model::records::{self, Candidate, NameIndex, Parameter};
use crate::model::stage::StageRef;
use crate::model::target::ApiRef;
use crate::observe::resolve::MAX_NAME;
use crate::signal::target::{stage_of, use_of};

/// Reads whether a guarding alarm fired since the candidate was first seen (`DescribeAlarmHistory`, only if the alarm's
/// state does not show it). If the policy needs data, also counts the samples of API Gateway's metrics of the stage: those
/// that the alarms watch, otherwise those of its use (`GetParameters`, `GetMetricData`). Anybody can write other metrics, so
/// they prove nothing.
///
/// # Errors
/// A failed call.
pub async fn read<C: Alarms + Parameters>(
    context: &Context<'_, C>,
    (stage, api_names): (&StageRef, &[String]),
    candidate: &Candidate,
    guarding: &[Guarding<'_>],
    policy: &StagePolicy,
) -> Result<Evidence, CloudError> {
    let since = candidate.first_seen;
    let mut evidence = Evidence::default();
    // A fast alarm alone proves nothing. The test of the requests, just before the release is recorded, takes its place.
    for alarm in guarding.iter().flat_map(|one| &one.about).filter(|alarm| !alarm.is_fast()) {
        // Clocks differ, so for a change close to `first_seen` the history decides.
        let fired = match alarm.quiet_since(since - CLOCK_SKEW) {
            Some(quiet) => !quiet,
            None => context.cloud.states_since(&alarm.name, since).await?.contains(&State::Alarm),
        };
        if fired {
            evidence.fired = Some(alarm.name.clone());
            return Ok(evidence);
        }
    }
    if !policy.needs_data {
        return Ok(evidence);
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in guarding.iter().flat_map(|alarm| &alarm.metrics) {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    if metrics.is_empty() {
        metrics = use_of(stage, api_names);
    }
    let metrics = of_this_api_alone(context, metrics).await?;
    if !metrics.is_empty() {
        evidence.samples = Some(context.cloud.samples(&metrics, since, context.now).await?);
    }
    Ok(evidence)
}

/// Drops the metrics whose name for the API can mean several APIs: the use of another one proves nothing (`GetParameters`).
async fn of_this_api_alone<C: Parameters>(
    context: &Context<'_, C>,
    mut metrics: Vec<Metric>,
) -> Result<Vec<Metric>, CloudError> {
    let index = |metric: &Metric| match stage_of(metric)?.api {
        ApiRef::Name(name) if name.len() <= MAX_NAME => Some(context.config.names.api_name(&name)),
        ApiRef::Name(_) | ApiRef::Id(_) => None,
    };
    let names: BTreeSet<String> = metrics.iter().filter_map(index).collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(metrics);
    }
    let found = context.cloud.parameters(&names).await?;
    let is_contested = |found: &Parameter| {
        records::parse::<NameIndex>(&found.value).map_or(true, |index| index.apis.len() > 1)
    };
    let contested: BTreeSet<&String> =
        found.iter().filter(|found| is_contested(found)).map(|found| &found.name).collect();
    metrics.retain(|metric| index(metric).is_none_or(|name| !contested.contains(&name)));
    Ok(metrics)
}
