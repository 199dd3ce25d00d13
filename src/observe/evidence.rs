//! Reads what the guarding alarms say about a candidate since it was first seen.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::cloud::{Alarms, Parameters};
use crate::context::Context;
use crate::decide::evidence::{Course, Evidence};
use crate::decide::testimony::Guarding;
use crate::model::alarm::{CLOCK_SKEW, Metric};
use crate::model::cloud_error::CloudError;
use crate::model::policy::StagePolicy;
use crate::model::records::{self, Candidate, NameIndex, Parameter};
use crate::model::stage::StageRef;
use crate::model::target::ApiRef;
use crate::observe::resolve::MAX_NAME;
use crate::signal::target::{stage_of, use_of};

/// Reads whether a guarding alarm fired since the candidate was first seen (`DescribeAlarmHistory`, only if the alarm's
/// state does not show it). An alarm that was in ALARM already, and fired when the candidate cannot have been live yet, does
/// not speak about it; but only the time since its end counts. If the policy needs data, also counts the samples of API
/// Gateway's metrics of the stage: those that the alarms watch, otherwise those of its use (`GetParameters`,
/// `GetMetricData`). Anybody can write other metrics, so they prove nothing.
///
/// # Errors
/// A failed call.
pub async fn read<C: Alarms + Parameters>(
    context: &Context<'_, C>,
    (stage, api_names): (&StageRef, &[String]),
    (candidate, not_live_before): (&Candidate, Option<DateTime<Utc>>),
    guarding: &[Guarding<'_>],
    policy: &StagePolicy,
) -> Result<Evidence, CloudError> {
    let seen = candidate.first_seen;
    let mut since = seen;
    let mut evidence = Evidence::default();
    // A fast alarm alone proves nothing. The test of the requests, just before the release is recorded, takes its place.
    for alarm in guarding.iter().flat_map(|one| &one.about).filter(|alarm| !alarm.is_fast()) {
        // Clocks differ, so for a change close to `first_seen` the history decides.
        let course = match alarm.quiet_since(seen - CLOCK_SKEW) {
            Some(true) => Course::Quiet,
            Some(false) => Course::Fired,
            None => course(context, &alarm.name, seen, not_live_before).await?,
        };
        let ended = alarm.changed_at.filter(|_| course == Course::Ended);
        let fired = course != Course::Quiet && ended.is_none();
        if fired {
            evidence.fired = Some(alarm.name.clone());
            return Ok(evidence);
        }
        since = ended.map_or(since, |ended| ended.max(since));
    }
    evidence.clear_since = Some(since).filter(|since| *since > seen);
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

/// Reads what an alarm did since the candidate was first seen. If it was in ALARM then, the time before tells when it fired.
async fn course<C: Alarms>(
    context: &Context<'_, C>,
    alarm: &str,
    seen: DateTime<Utc>,
    not_live_before: Option<DateTime<Utc>>,
) -> Result<Course, CloudError> {
    let course = Course::of(&context.cloud.states_since(alarm, seen).await?);
    if course != Course::Ended {
        return Ok(course);
    }
    let Some(before) = not_live_before else { return Ok(Course::Fired) };
    let all = Course::of(&context.cloud.states_since(alarm, before).await?);
    Ok(if all == Course::Ended { all } else { Course::Fired })
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
