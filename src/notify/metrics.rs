//! Metrics in CloudWatch's embedded metric format: JSON lines on standard output, which CloudWatch Logs
//! turns into metrics without an API call. Pure.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::cloud::Spent;
use crate::model::percent::Percent;
use crate::model::reason::Reason;
use crate::model::report::{Outcome, Report};
use crate::model::rollout::weighted;

/// The namespace.
pub const NAMESPACE: &str = "apigw-rollback";

/// A metric's name, unit and value.
type MetricValue = (&'static str, &'static str, f64);

/// Returns the line of one report: the count `Reports` by outcome and reason, the durations in seconds, and the share of a rollout
/// by stage.
#[must_use]
pub fn report_metrics(report: &Report, function: &str) -> Value {
    let outcome = json!(report.outcome);
    // An alarm can name any stage, and each value of a dimension is a metric that costs money.
    let is_protected = !matches!(report.reason, Some(Reason::NotProtected(_)));
    let stage = report.stage.as_ref().filter(|_| is_protected);
    let stage = stage.map(|stage| format!("{}/{}", stage.api, stage.stage));
    let mut metrics: Vec<MetricValue> = vec![("Reports", "Count", 1.0)];
    let since = |from: Option<DateTime<Utc>>| {
        from.map(|from| (report.at - from).as_seconds_f64()).filter(|seconds| *seconds >= 0.0)
    };
    match report.outcome {
        Outcome::RolledBack => {
            metrics.extend(report.seconds_since_alarm.map(|s| ("SecondsToRollback", "Seconds", s)));
        }
        Outcome::Recovered => {
            metrics.extend(since(report.since).map(|s| ("SecondsToRecovery", "Seconds", s)));
        }
        Outcome::Swept => metrics.extend(since(report.since).map(|s| ("SweepAge", "Seconds", s))),
        Outcome::WouldRollBack
        | Outcome::Recorded
        | Outcome::Status
        | Outcome::Promoted
        | Outcome::RolloutStarted
        | Outcome::RolloutStep
        | Outcome::RolloutPaused
        | Outcome::RolloutPromoted
        | Outcome::RolloutAborted
        | Outcome::Done
        | Outcome::Attention
        | Outcome::Held
        | Outcome::Rejected
        | Outcome::Ignored
        | Outcome::Failed
        | Outcome::NeedsHuman => {}
    }
    let mut dimensions = vec![("Function", Some(function)), ("Outcome", outcome.as_str())];
    dimensions.extend([("Stage", stage.as_deref()), ("Reason", report.code())]);
    let by_outcome = [
        vec!["Function", "Outcome"],
        vec!["Function", "Outcome", "Stage"],
        vec!["Function", "Outcome", "Reason"],
    ];
    // One graph shows the shares of all outcomes.
    let by_stage = [vec!["Function", "Stage"]];
    let share: Vec<MetricValue> =
        rollout_share(report).map(|share| ("RolloutShare", "Percent", share)).into_iter().collect();
    line(report.at, &dimensions, &[(&by_outcome, &metrics), (&by_stage, &share)])
}

/// Returns the share of the traffic, in percent, that a rollout has just given to its release: 0 once it has ended without it.
fn rollout_share(report: &Report) -> Option<f64> {
    match report.outcome {
        Outcome::RolloutStep => {
            let after = report.after.as_ref()?;
            let of_canary = after.canary.as_ref().and_then(|canary| Percent::read(&canary.percent));
            of_canary.or_else(|| weighted(&after.aliases).map(|(_, share)| share)).map(f64::from)
        }
        Outcome::RolloutPromoted => Some(100.0),
        Outcome::RolloutAborted => Some(0.0),
        // A paused canary may have a share that somebody else has set.
        Outcome::RolloutPaused
        | Outcome::RolloutStarted
        | Outcome::RolledBack
        | Outcome::WouldRollBack
        | Outcome::Recorded
        | Outcome::Status
        | Outcome::Promoted
        | Outcome::Recovered
        | Outcome::Swept
        | Outcome::Done
        | Outcome::Attention
        | Outcome::Held
        | Outcome::Rejected
        | Outcome::Ignored
        | Outcome::Failed
        | Outcome::NeedsHuman => None,
    }
}

/// Returns the line of one event: its run time in seconds, its API calls and retries, and the unsent notifications.
#[must_use]
pub fn run_metrics(at: DateTime<Utc>, function: &str, seconds: f64, spent: Spent, not_told: usize) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a run makes fewer than 2^52 calls")]
    let metrics: [MetricValue; 4] = [
        ("RunTime", "Seconds", seconds),
        ("ApiCalls", "Count", spent.calls as f64),
        ("ApiRetries", "Count", spent.retries as f64),
        ("NotTold", "Count", not_told as f64),
    ];
    line(at, &[("Function", Some(function))], &[(&[vec!["Function"]], &metrics)])
}

/// Metrics with the sets of dimensions by which they are published.
type Published<'a> = (&'a [Vec<&'a str>], &'a [MetricValue]);

/// Builds a line. Only the sets whose dimensions all have a value are included.
fn line(at: DateTime<Utc>, dimensions: &[(&str, Option<&str>)], published: &[Published<'_>]) -> Value {
    let mut line = Map::new();
    for (name, value) in dimensions {
        if let Some(value) = value {
            line.insert((*name).to_owned(), json!(value));
        }
    }
    let mut directives = Vec::new();
    for (sets, metrics) in published {
        let sets: Vec<_> =
            sets.iter().filter(|set| set.iter().all(|name| line.contains_key(*name))).collect();
        if sets.is_empty() || metrics.is_empty() {
            continue;
        }
        let names: Vec<Value> =
            metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit})).collect();
        directives.push(json!({"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": names}));
        line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
    }
    line.insert(
        "_aws".to_owned(),
        json!({"Timestamp": at.timestamp_millis(), "CloudWatchMetrics": directives}),
    );
    Value::Object(line)
}
