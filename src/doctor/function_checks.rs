//! Checks what all stages share: the path from the alarms to the function, the function itself, its role, its sweep,
//! and its notifications. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Finding;
use super::facts::{Readings, Watcher};
use crate::cloud::FunctionNow;
use crate::config::Config;
use crate::decide::wiring::{self, Ends, WiringFault};
use crate::model::alarm;
use crate::model::policy::Mode;
use crate::model::reason::{Reason, stamp};
use crate::model::records::Parameter;

/// The age of the last sweep that is always accepted. The template's longest schedule is one hour.
const SWEEP_AGE: TimeDelta = TimeDelta::hours(1);

/// The number of recent sweeps from which the rate is derived.
const SWEEPS: usize = 6;

pub(super) fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = vec![function(facts), concurrency(facts), mode(config), variables(config)];
    findings.extend(way(config, facts));
    findings.extend(watchers(facts));
    findings.extend(role(facts));
    findings.push(sweep(config, facts));
    findings.push(notifications(config, facts));
    findings.extend(event_bus(config, facts));
    findings.extend(stages(facts));
    findings
}

fn function(facts: &Readings) -> Finding {
    let name = &facts.name;
    match &facts.function {
        Err(error) => Finding::unknown("function", error),
        Ok(None) => Finding::fault(
            "function",
            format!("the function `{name}` does not exist"),
            "give its name with --function, or its Region with --region",
        ),
        Ok(Some(FunctionNow { state: Some(state), why, .. })) if state == "Failed" => Finding::fault(
            "function",
            format!(
                "the function `{name}` is in the state Failed: {}",
                why.as_deref().unwrap_or("no reason given")
            ),
            "deploy the stack again",
        ),
        Ok(Some(FunctionNow { hidden: Some(why), .. })) => Finding::warning(
            "function",
            format!("Lambda does not show the function's settings: {why}"),
            "allow your user or role to decrypt with the KMS key of the function's environment variables",
        ),
        Ok(Some(found)) => Finding::ok("function", format!("{} exists", found.arn)),
    }
}

fn concurrency(facts: &Readings) -> Finding {
    match &facts.concurrency {
        Err(error) => Finding::unknown("concurrency", error),
        Ok(Some(0)) => Finding::fault(
            "concurrency",
            "the function's reserved concurrency is 0, so it never runs",
            "remove the reserved concurrency when it is no longer needed: \
             aws lambda delete-function-concurrency",
        ),
        Ok(Some(1)) => Finding::warning(
            "concurrency",
            "the function's reserved concurrency is 1, so an alarm waits for a running sweep",
            "reserve 2 or more, or none",
        ),
        Ok(Some(reserved)) => Finding::ok("concurrency", format!("the reserved concurrency is {reserved}")),
        Ok(None) => Finding::ok("concurrency", "the function has no reserved concurrency"),
    }
}

fn variables(config: &Config) -> Finding {
    let what = if config.show_variables {
        "notifications, events, the log and the hook get the values of stage variables"
    } else {
        "the values of stage variables stay out of notifications, events, the log and the hook"
    };
    Finding::ok("variables", what)
}

fn mode(config: &Config) -> Finding {
    match config.policy.mode {
        Mode::Enforce => Finding::ok("mode", "alarms lead to rollbacks (enforce)"),
        Mode::Observe => Finding::warning(
            "mode",
            "the function only reports what it would do (observe)",
            Reason::ObserveMode { deployment: String::new() }.advice(),
        ),
    }
}

/// Reports the way from the alarms to the function.
fn way(config: &Config, facts: &Readings) -> Vec<Finding> {
    let unread = [
        ("topic", facts.wiring.subscriptions.as_ref().err().filter(|_| config.alarm_topic.is_some())),
        ("permission", facts.wiring.policy.as_ref().err()),
    ];
    let Some(arn) = &facts.arn else { return vec![] };
    let ends = Ends { topic: config.alarm_topic.as_deref(), function: arn };
    let faults = wiring::faults(ends, &facts.wiring, &facts.guards());
    let mut findings: Vec<Finding> = faults.iter().map(fault).collect();
    for (check, error) in unread {
        findings.extend(error.map(|error| Finding::unknown(check, error)));
    }
    let is_told = |check: &str| findings.iter().any(|finding| finding.check == check);
    let (topic_told, permission_told) = (is_told("topic"), is_told("permission"));
    if let Some(topic) = &config.alarm_topic {
        let subscribed = format!("the function is subscribed to {topic}");
        findings.extend((!topic_told).then(|| Finding::ok("topic", subscribed)));
        let permitted = "SNS may invoke the function for the alarm topic";
        findings.extend((!permission_told).then(|| Finding::ok("permission", permitted)));
    }
    findings
}

fn fault(fault: &WiringFault) -> Finding {
    let check = match fault {
        WiringFault::NoTopic
        | WiringFault::TopicGone(_)
        | WiringFault::NotSubscribed(_)
        | WiringFault::NotConfirmed(_) => "topic",
        WiringFault::TopicNotPermitted { .. } | WiringFault::AlarmsNotPermitted(_) => "permission",
    };
    Finding::fault(check, fault.to_string(), fault.advice())
}

/// Finds alarms that call the function but cannot lead to a rollback.
fn watchers(facts: &Readings) -> Vec<Finding> {
    let watchers = match &facts.watchers {
        Err(error) => return vec![Finding::unknown("alarms", error)],
        Ok(watchers) => watchers,
    };
    let protected: Vec<_> = facts.stages.iter().map(|facts| &facts.stage).collect();
    let mut findings = Vec::new();
    for Watcher { guard, means, .. } in watchers {
        let name = &guard.alarm.name;
        if !guard.unresolved.is_empty() {
            let why = guard.unresolved.join("; ");
            let reason = Reason::AlarmUnreadable { alarm: name.clone(), why };
            findings.push(Finding::warning("alarms", reason.to_string(), reason.advice()));
        }
        for meant in means {
            findings.extend(match meant {
                Err(error) => Some(Finding::unknown("alarms", error)),
                Ok(Err(reason)) => Some(Finding::warning(
                    "alarms",
                    format!(
                        "the alarm `{name}` calls the function without effect ({}): {reason}",
                        reason.code()
                    ),
                    reason.advice(),
                )),
                Ok(Ok(stage)) if !protected.contains(&stage) => {
                    let reason = Reason::NotProtected(String::new());
                    let what = format!("the alarm `{name}` names {stage}, which is not protected");
                    Some(Finding::warning("alarms", what, reason.advice()))
                }
                Ok(Ok(_)) => None,
            });
        }
    }
    findings
}

fn role(facts: &Readings) -> Vec<Finding> {
    let refused = match &facts.refused {
        Err(error) => return vec![Finding::unknown("role", error)],
        Ok(refused) => refused,
    };
    if !matches!(facts.function, Ok(Some(_))) {
        return vec![Finding::warning("role", "not checked: without the function, its role is unknown", "")];
    }
    if refused.is_empty() {
        let what = format!("the role allows all {} required calls (simulated)", facts.wanted);
        return vec![Finding::ok("role", what)];
    }
    let mut by_action: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for require in refused {
        by_action.entry(require.action).or_default().push(&require.resource);
    }
    let described = by_action.into_iter().map(|(action, resources)| {
        Finding::fault(
            "role",
            format!("the function's role does not allow {action} on {}", resources.join(", ")),
            "deploy the stack again, or add it to the role; a permissions boundary or a service control policy may deny it",
        )
    });
    described.collect()
}

fn sweep(config: &Config, facts: &Readings) -> Finding {
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
    let gaps = times.windows(2).filter_map(|pair| match pair {
        [later, earlier] => Some(*later - *earlier),
        _ => None,
    });
    let mut gaps: Vec<TimeDelta> = gaps.collect();
    gaps.sort();
    // The median: a manual sweep makes a short gap, and an outage a long one.
    let rate = gaps.get(gaps.len() / 2);
    let allowed = rate.map_or(SWEEP_AGE, |rate| (*rate * 3).max(SWEEP_AGE));
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

fn time_of(parameter: &Parameter) -> Option<DateTime<Utc>> {
    let value: Value = serde_json::from_str(&parameter.value).ok()?;
    alarm::time(value.get("at")?.as_str()?)
}

fn notifications(config: &Config, facts: &Readings) -> Finding {
    let Some(topic) = &config.notification_topic else {
        return Finding::warning(
            "notifications",
            "the function notifies nobody",
            "deploy the stack with NotificationEmail or NotificationTopicArn",
        );
    };
    match &facts.notified {
        Err(error) => Finding::unknown("notifications", error),
        Ok(None) => Finding::warning(
            "notifications",
            format!("the notification topic {topic} does not exist, so nobody is notified"),
            "correct NOTIFICATION_TOPIC_ARN",
        ),
        Ok(Some(all)) => match all.iter().filter(|one| one.confirmed).count() {
            0 => Finding::warning(
                "notifications",
                format!("nobody has confirmed a subscription to {topic}, so nobody is notified"),
                "follow the link in the e-mail from SNS, or subscribe to the topic",
            ),
            confirmed => Finding::ok("notifications", format!("confirmed subscriptions: {confirmed}")),
        },
    }
}

fn event_bus(config: &Config, facts: &Readings) -> Option<Finding> {
    let bus = config.event_bus.as_deref()?;
    match facts.event_bus.as_ref()? {
        Err(error) => Some(Finding::unknown("notifications", error)),
        Ok(true) => None,
        Ok(false) => Some(Finding::warning(
            "notifications",
            format!(
                "the event bus `{bus}` does not exist, so no program is notified: EventBridge accepts its events"
            ),
            "correct EVENT_BUS, or create the bus",
        )),
    }
}

fn stages(facts: &Readings) -> Option<Finding> {
    if let Some(error) = &facts.unlisted {
        return Some(Finding::unknown("stages", error));
    }
    facts.stages.is_empty().then(|| {
        Finding::fault(
            "stages",
            "no stage is protected: none is in PROTECTED_STAGES, and none has a record",
            "deploy the stack with ApiId, ApiName and StageName, or record a stage: apigw-rollback record API/STAGE",
        )
    })
}
