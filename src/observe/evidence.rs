//! Reads what the guarding alarms say about a candidate since it was first seen.

use crate::cloud::Alarms;
use crate::context::Context;
use crate::decide::evidence::Evidence;
use crate::decide::testimony::Guarding;
use crate::model::alarm::{CLOCK_SKEW, Metric, State};
use crate::model::cloud_error::CloudError;
use crate::model::policy::StagePolicy;
use crate::model::records::Candidate;

/// Reads whether a guarding alarm fired since the candidate was first seen (`DescribeAlarmHistory`, only if the alarm's
/// state does not show it). Also counts the samples of their metrics (`GetMetricData`, only if the policy needs data).
///
/// # Errors
/// A failed call.
pub async fn read<C: Alarms>(
    context: &Context<'_, C>,
    candidate: &Candidate,
    guarding: &[Guarding<'_>],
    policy: &StagePolicy,
) -> Result<Evidence, CloudError> {
    let since = candidate.first_seen;
    let mut evidence = Evidence::default();
    for alarm in guarding.iter().flat_map(|one| &one.about) {
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
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in guarding.iter().flat_map(|alarm| &alarm.metrics) {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    if policy.needs_data && !metrics.is_empty() {
        evidence.samples = Some(context.cloud.samples(&metrics, since, context.now).await?);
    }
    Ok(evidence)
}
