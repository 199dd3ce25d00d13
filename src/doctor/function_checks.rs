//! Checks what all stages share: the path from the alarms to the function, the function itself, and its notifications.
//! Pure.

use super::Finding;
use super::facts::{Readings, Watcher};
use crate::cloud::FunctionNow;
use crate::config::Config;
use crate::decide::wiring::{self, Ends, WiringFault};
use crate::model::policy::Mode;
use crate::model::reason::Reason;

pub(super) fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = vec![function(facts), concurrency(facts), mode(config), variables(config)];
    findings.extend(way(config, facts));
    findings.extend(watchers(facts));
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
        ("topic", facts.wiring.topic.as_ref().err()),
        ("topic", facts.wiring.subscriptions.as_ref().err()),
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
        | WiringFault::NotConfirmed(_)
        | WiringFault::TopicKey(_)
        | WiringFault::NotPublished { .. } => "topic",
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
        Ok(true) => Some(Finding::ok("notifications", format!("the event bus `{bus}` exists"))),
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
