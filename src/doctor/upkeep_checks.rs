//! Checks what the function needs besides a rollback: its schedule and sweeps, the queue of its failed events, its log,
//! the alarms on itself, and its own errors. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::facts::{ERRORS_SINCE, Readings, Upkeep};
use super::{Finding, Level};
use crate::cloud::{FunctionNow, Schedule};
use crate::config::Config;
use crate::model::alarm::{self, AlarmNow, Metric, State, Watches};
use crate::model::cloud_error::Fetched;
use crate::model::reason::stamp;
use crate::model::records::Parameter;
use crate::notify::metrics::NAMESPACE;

/// The age of the last sweep that is accepted if the period of the sweeps is unknown: the template's longest period.
const UNKNOWN_PERIOD: TimeDelta = TimeDelta::hours(1);

/// The age of the last sweep that is always accepted. A sweep may start late and take minutes.
const SWEEP_AGE: TimeDelta = TimeDelta::minutes(5);

/// The number of recent sweeps from which the period is derived if the schedule does not tell it.
const SWEEPS: usize = 6;

pub(super) fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (Ok(Some(function)), Some(upkeep)) = (&facts.function, &facts.upkeep) else {
        let what = "without the function, its schedule, queue, log, alarms and errors are unknown";
        return vec![sweep(config, facts, None), Finding::not_checked("schedule", what, "")];
    };
    let schedules = of_sweeps(&upkeep.schedules);
    let sweep = sweep(config, facts, period(&schedules));
    findings.push(schedule(&schedules, sweep.is_ok()));
    findings.push(sweep);
    findings.extend(queues(upkeep));
    findings.push(log(upkeep));
    findings.push(own_alarms(facts, function, upkeep));
    findings.extend(errors(upkeep));
    findings
}

/// Returns the schedules that start sweeps: that of the rollouts invokes the same function with another command.
fn of_sweeps(schedules: &Fetched<Vec<Schedule>>) -> Fetched<Vec<Schedule>> {
    let starts_sweeps = |one: &Schedule| {
        let input = serde_json::from_str::<Value>(&one.input).unwrap_or_default();
        input.get("command").and_then(Value::as_str) == Some("sweep")
    };
    let mut schedules = schedules.clone()?;
    schedules.retain(starts_sweeps);
    Ok(schedules)
}

fn schedule(schedules: &Fetched<Vec<Schedule>>, sweeps_run: bool) -> Finding {
    let schedules = match schedules {
        Err(error) => return Finding::unknown("schedule", error),
        Ok(schedules) => schedules,
    };
    let named = |one: &Schedule| format!("`{}` ({})", one.name, one.expression);
    if let Some(enabled) = schedules.iter().find(|one| one.enabled) {
        return Finding::ok("schedule", format!("{} is enabled", named(enabled)));
    }
    if let Some(disabled) = schedules.first() {
        let what = format!("{} is disabled, so no sweep runs", named(disabled));
        return Finding::warning("schedule", what, "enable the schedule in EventBridge Scheduler");
    }
    if sweeps_run {
        let what = "EventBridge Scheduler has no schedule for the function's sweeps; something else starts its sweeps";
        return Finding::ok("schedule", what);
    }
    Finding::warning(
        "schedule",
        "EventBridge Scheduler has no schedule for the function's sweeps, so no sweep runs",
        r#"create a schedule that invokes the function with {"command":"sweep"}"#,
    )
}

/// Returns the shortest period of the enabled schedules, if one has a rate.
fn period(schedules: &Fetched<Vec<Schedule>>) -> Option<TimeDelta> {
    let enabled = schedules.iter().flatten().filter(|one| one.enabled);
    enabled.filter_map(|one| rate(&one.expression)).min()
}

/// Reads `rate(5 minutes)`. Returns `None` for another expression.
fn rate(expression: &str) -> Option<TimeDelta> {
    let (number, unit) =
        expression.trim().strip_prefix("rate(")?.strip_suffix(')')?.trim().split_once(' ')?;
    let number = number.parse().ok()?;
    match unit.trim().trim_end_matches('s') {
        "minute" => TimeDelta::try_minutes(number),
        "hour" => TimeDelta::try_hours(number),
        "day" => TimeDelta::try_days(number),
        _ => None,
    }
}

fn sweep(config: &Config, facts: &Readings, period: Option<TimeDelta>) -> Finding {
    let sweeps = match &facts.sweeps {
        Err(error) => return Finding::unknown("sweep", error),
        Ok(sweeps) => sweeps,
    };
    let times: Vec<DateTime<Utc>> = sweeps.iter().rev().take(SWEEPS).filter_map(time_of).collect();
    let next =
        "check that the stack's schedule is enabled, then check the function's log and dead-letter queue";
    let Some(last) = times.first() else {
        let parameter = config.names.sweep();
        let what = format!("no sweep has recorded its time in `{parameter}` yet");
        return Finding::warning("sweep", what, next);
    };
    let period = period.or_else(|| usual_gap(&times));
    let periods = period.and_then(|period| period.checked_mul(3));
    let allowed = periods.map_or(UNKNOWN_PERIOD, |periods| periods.max(SWEEP_AGE));
    let age = facts.now - *last;
    let what = format!("the last sweep was at {}, {} min ago", stamp(*last), age.num_minutes());
    if age < allowed {
        return Finding::ok("sweep", what);
    }
    let what = format!(
        "{what}: without sweeps, no release is promoted, and a lost alarm event leads to no rollback"
    );
    Finding::warning("sweep", what, next)
}

/// Returns the median of the times between sweeps, newest first: a manual sweep makes a short one, and an outage a long one.
fn usual_gap(times: &[DateTime<Utc>]) -> Option<TimeDelta> {
    let gaps = times.windows(2).filter_map(|pair| match pair {
        [later, earlier] => Some(*later - *earlier),
        _ => None,
    });
    let mut gaps: Vec<TimeDelta> = gaps.collect();
    gaps.sort();
    gaps.get(gaps.len() / 2).copied()
}

fn time_of(parameter: &Parameter) -> Option<DateTime<Utc>> {
    let value: Value = serde_json::from_str(&parameter.value).ok()?;
    alarm::time(value.get("at")?.as_str()?)
}

/// Checks where Lambda sends an event that failed on every retry.
fn queues(upkeep: &Upkeep) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = &upkeep.on_failure {
        findings.push(Finding::unknown("queue", error));
    }
    if upkeep.failed_events.is_empty() && upkeep.on_failure.is_ok() {
        findings.push(Finding::warning(
            "queue",
            "the function has no dead-letter queue, so an event that failed on every retry is lost",
            "give the function a queue as its destination on failure",
        ));
    }
    findings.extend(upkeep.failed_events.iter().map(|(arn, messages)| match messages {
        None => Finding::warning(
            "queue",
            format!("failed events go to {arn}, which is no queue, so the doctor cannot count them"),
            "look there for events that the function failed on",
        ),
        Some(Err(error)) => Finding::unknown("queue", error),
        Some(Ok(None)) => Finding::warning(
            "queue",
            format!(
                "the dead-letter queue {arn} does not exist, so an event that failed on every retry is lost"
            ),
            "create a queue of this name; CloudFormation does not notice that one was deleted",
        ),
        Some(Ok(Some(0))) => Finding::ok("queue", format!("the dead-letter queue {arn} is empty")),
        Some(Ok(Some(messages))) => Finding::warning(
            "queue",
            format!("failed events in the dead-letter queue {arn}: {messages}"),
            "read them and the function's log, remove the cause, then delete them from the queue",
        ),
    }));
    findings
}

fn log(upkeep: &Upkeep) -> Finding {
    let name = &upkeep.log_group;
    match &upkeep.has_log_group {
        Err(error) => Finding::unknown("log", error),
        Ok(true) => Finding::ok("log", format!("the log group `{name}` exists")),
        Ok(false) => Finding::warning(
            "log",
            format!("the log group `{name}` does not exist, so the function's reports and metrics are lost"),
            "create a log group of this name; CloudFormation does not notice that one was deleted",
        ),
    }
}

/// Checks the alarms that watch the function itself, its queue, or its own metrics.
fn own_alarms(facts: &Readings, function: &FunctionNow, upkeep: &Upkeep) -> Finding {
    let alarms = match &facts.wiring.alarms {
        Err(error) => return Finding::unknown("own alarms", error),
        Ok(alarms) => alarms,
    };
    let name = function.name();
    let is_ours = |metric: &Metric| match metric.namespace.as_str() {
        "AWS/Lambda" => metric.values("FunctionName").any(|value| value == name),
        NAMESPACE => metric.values("Function").any(|value| value == name),
        "AWS/SQS" => metric
            .values("QueueName")
            .any(|value| upkeep.queues().any(|arn| arn.rsplit(':').next() == Some(value))),
        _ => false,
    };
    let watches_us = |now: &&AlarmNow| match &now.alarm.watches {
        Watches::Metrics(metrics) => metrics.iter().any(is_ours),
        Watches::Alarms(_) => false,
    };
    let ours: Vec<&AlarmNow> = alarms.iter().filter(watches_us).collect();
    if let ([], Err(error)) = (ours.as_slice(), &upkeep.on_failure) {
        // An alarm may watch the unknown queue.
        return Finding::unknown("own alarms", error);
    }
    if ours.is_empty() {
        return Finding::warning(
            "own alarms",
            "no alarm watches the function, so nobody notices if it fails",
            "create alarms on its throttles, its sweeps and its dead-letter queue, as the template does",
        );
    }
    let firing = ours.iter().filter(|now| now.alarm.state == State::Alarm);
    let firing: Vec<String> = firing.map(|now| format!("`{}`", now.alarm.name)).collect();
    if firing.is_empty() {
        let what = format!("alarms that watch the function: {}; none is in ALARM", ours.len());
        return Finding::ok("own alarms", what);
    }
    Finding::warning(
        "own alarms",
        format!("in ALARM, about the function itself: {}", firing.join(", ")),
        "read the alarm's description, then the function's log",
    )
}

fn errors(upkeep: &Upkeep) -> Vec<Finding> {
    let minutes = ERRORS_SINCE.num_minutes();
    if let (Ok(None), Ok(None)) = (&upkeep.errors, &upkeep.throttles) {
        let what = format!("CloudWatch has no data on the function's errors in the last {minutes} min");
        return vec![Finding::not_checked("errors", what, "check that sweeps invoke the function")];
    }
    let counts = [
        (&upkeep.errors, "failed", "read the function's log: Lambda repeats a failed event twice"),
        (&upkeep.throttles, "throttled", "raise the function's reserved concurrency, or the account's quota"),
    ];
    let mut findings = Vec::new();
    for (count, what, next) in counts {
        match count {
            Ok(Some(count)) if *count > 0.0 => {
                let what =
                    format!("{what} invocations of the function in the last {minutes} min: {count:.0}");
                findings.push(Finding::warning("errors", what, next));
            }
            Ok(_) => {}
            Err(error) => findings.push(Finding::unknown("errors", error)),
        }
    }
    // The same permission allows both reads.
    if let [Finding { level: Level::NotChecked, .. }, Finding { level: Level::NotChecked, .. }] =
        findings.as_slice()
    {
        findings.pop();
    }
    if findings.is_empty() {
        let what = format!("the function neither failed nor was throttled in the last {minutes} min");
        findings.push(Finding::ok("errors", what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_schedule_is_its_period() {
        for (expression, minutes) in [
            ("rate(1 minute)", Some(1)),
            ("rate(5 minutes)", Some(5)),
            ("rate( 2 hours )", Some(120)),
            ("rate(1 day)", Some(1440)),
            ("cron(0 * * * ? *)", None),
            ("at(2026-11-20T10:00:00)", None),
            ("rate(99999999999999999 days)", None),
            ("rate(five minutes)", None),
            ("", None),
        ] {
            assert_eq!(rate(expression), minutes.map(TimeDelta::minutes), "{expression}");
        }
    }
}
