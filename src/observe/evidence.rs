//! Reads what the guarding alarms say about a candidate since it was first seen.

use crate::cloud::Alarms;
use crate::context::Context;
use crate::decide::evidence::Evidence;
use crate::model::alarm::{CLOCK_SKEW, Metric, State};
use crate::model::cloud_error::CloudError;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::policy::StagePolicy;
use crate::model::records::Candidate;

/// Reads whether a guarding alarm fired since the candidate was first seen (`DescribeAlarmHistory`, only for alarms
/// whose state does not say), and how many samples their metrics had (`GetMetricData`, only if the policy asks).
///
/// # Errors
/// A failed call.
pub async fn read<C: Alarms>(
    context: &Context<'_, C>,
    candidate: &Candidate,
    guarding: &[&GuardingAlarm],
    policy: &StagePolicy,
) -> Result<Evidence, CloudError> {
    let since = candidate.first_seen;
    let mut evidence = Evidence::default();
    for guard in guarding {
        // Clocks differ: a change so close to the first sight is looked up in the history.
        let fired = match guard.quiet_since(since - CLOCK_SKEW) {
            Some(quiet) => !quiet,
            None => context.cloud.states_since(&guard.alarm.name, since).await?.contains(&State::Alarm),
        };
        if fired {
            evidence.fired = Some(guard.alarm.name.clone());
            return Ok(evidence);
        }
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in guarding.iter().flat_map(|guard| &guard.metrics) {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    if policy.needs_data && !metrics.is_empty() {
        evidence.samples = Some(context.cloud.samples(&metrics, since, context.now).await?);
    }
    Ok(evidence)
}
