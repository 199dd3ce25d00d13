//! Checks what all stages share: the path from the alarms to the function, the function itself, and its notifications.
//! Pure.

use serde_json::Value;

use super::Finding;
use super::facts::{Readings, Watcher};
use crate::cloud::{FunctionNow, Subscription};
use crate::config::Config;
use crate::model::policy::Mode;
use crate::model::reason::Reason;

pub(super) fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = vec![function(facts), concurrency(facts), mode(config), variables(config)];
    findings.extend(topic(config, facts));
    findings.extend(permission(config, facts));
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

/// Whether any alarm calls the function through the topic, and whether any invokes it directly.
fn by_topic(facts: &Readings) -> (bool, bool) {
    let watchers = facts.watchers.as_deref().unwrap_or_default();
    (watchers.iter().any(|watcher| !watcher.direct), watchers.iter().any(|watcher| watcher.direct))
}

fn topic(config: &Config, facts: &Readings) -> Option<Finding> {
    let Some(topic) = &config.alarm_topic else {
        let (_, direct) = by_topic(facts);
        // Alarms that invoke the function directly need no topic.
        return (!direct).then(|| {
            Finding::fault(
                "topic",
                "the function has no alarm topic, and no alarm invokes it directly",
                "set ALARM_TOPIC_ARN to the topic that alarms notify, and subscribe the function to it",
            )
        });
    };
    let subscriptions = match &facts.subscriptions {
        Err(error) => return Some(Finding::unknown("topic", error)),
        Ok(None) => {
            let what = format!("the alarm topic {topic} does not exist");
            return Some(Finding::fault("topic", what, "deploy the stack again, or correct ALARM_TOPIC_ARN"));
        }
        Ok(Some(subscriptions)) => subscriptions,
    };
    let function = facts.function.as_ref().ok()?.as_ref()?;
    let is_ours = |one: &&Subscription| one.protocol == "lambda" && one.endpoint.starts_with(&function.arn);
    Some(match subscriptions.iter().find(is_ours) {
        Some(Subscription { confirmed: true, .. }) => {
            Finding::ok("topic", format!("the function is subscribed to {topic}"))
        }
        Some(_) => Finding::fault(
            "topic",
            format!("the function's subscription to {topic} is not confirmed"),
            "delete the subscription and deploy the stack again",
        ),
        None => Finding::fault(
            "topic",
            format!("the function is not subscribed to {topic}, so no alarm reaches it"),
            "deploy the stack again, or subscribe the function to the topic",
        ),
    })
}

fn permission(config: &Config, facts: &Readings) -> Vec<Finding> {
    let policy = match &facts.policy {
        Err(error) => return vec![Finding::unknown("permission", error)],
        Ok(policy) => policy.as_deref().unwrap_or_default(),
    };
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    let function = facts.function.as_ref().ok().and_then(Option::as_ref);
    let account = function.and_then(|function| function.arn.split(':').nth(4)).unwrap_or_default();
    let mut findings = Vec::new();
    if let Some(topic) = &config.alarm_topic {
        findings.push(if allows(&policy, "sns.amazonaws.com", topic, account) {
            Finding::ok("permission", "SNS may invoke the function for the alarm topic")
        } else {
            Finding::fault(
                "permission",
                "the function's policy does not let SNS invoke it for the alarm topic",
                format!(
                    "deploy the stack again, or: aws lambda add-permission --function-name {} --statement-id alarms \
                     --action lambda:InvokeFunction --principal sns.amazonaws.com --source-arn {topic}",
                    facts.name
                ),
            )
        });
    }
    let watchers = facts.watchers.as_deref().unwrap_or_default();
    let refused = watchers.iter().filter(|watcher| watcher.direct).filter(|watcher| {
        let arn = watcher.guard.alarm.arn.as_deref().unwrap_or_default();
        !allows(&policy, "lambda.alarms.cloudwatch.amazonaws.com", arn, account)
    });
    let refused: Vec<String> = refused.map(|watcher| format!("`{}`", watcher.guard.alarm.name)).collect();
    if !refused.is_empty() {
        findings.push(Finding::fault(
            "permission",
            format!("the function's policy does not let CloudWatch invoke it for {}", refused.join(", ")),
            "begin these alarms' names with the stack's DirectAlarmPrefix, or let them notify the alarm topic",
        ));
    }
    findings
}

/// Whether a function's policy lets a service invoke it on behalf of a source.
fn allows(policy: &Value, service: &str, source: &str, account: &str) -> bool {
    let statements = match policy.get("Statement") {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let speaks_of = |found: Option<&Value>, wanted: &[&str]| match found {
        Some(Value::String(one)) => wanted.contains(&one.as_str()),
        Some(Value::Array(all)) => {
            all.iter().any(|one| one.as_str().is_some_and(|one| wanted.contains(&one)))
        }
        _ => false,
    };
    let is_met = |key: &str, pattern: &str| match key.to_ascii_lowercase().as_str() {
        "aws:sourcearn" => is_like(pattern, source),
        "aws:sourceaccount" => is_like(pattern, account),
        // The doctor cannot evaluate other conditions, so it counts them as met.
        _ => true,
    };
    statements.iter().any(|statement| {
        let conditions = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
        let mut conditions = conditions.filter_map(|(_, keys)| keys.as_object()).flatten();
        statement.get("Effect").and_then(Value::as_str) == Some("Allow")
            && speaks_of(statement.pointer("/Principal/Service"), &[service])
            && speaks_of(statement.get("Action"), &["lambda:InvokeFunction", "lambda:*", "*"])
            && conditions.all(|(key, patterns)| {
                let one = std::slice::from_ref(patterns);
                let all = patterns.as_array().map_or(one, Vec::as_slice);
                all.iter().filter_map(Value::as_str).any(|pattern| is_met(key, pattern))
            })
    })
}

/// Matches a text against IAM's wildcards: `*` for any text, `?` for any one character.
fn is_like(pattern: &str, text: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = chars.as_str();
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| text.get(at..).is_some_and(|tail| is_like(rest, tail)))
        }
        Some(wanted) => {
            let mut letters = text.chars();
            letters.next().is_some_and(|letter| wanted == '?' || wanted == letter)
                && is_like(chars.as_str(), letters.as_str())
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_policy_allows_what_its_statements_say() {
        let topic = "arn:aws:sns:eu-west-1:123456789012:alarms";
        let statement = |condition: Value| {
            json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "lambda:InvokeFunction", "Resource": "x", "Condition": condition}]})
        };
        for (condition, expected) in [
            (json!({}), true),
            (json!({"ArnLike": {"AWS:SourceArn": topic}}), true),
            (json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:alarm?"}}), true),
            (json!({"ArnLike": {"AWS:SourceArn": ["x", topic]}}), true),
            (json!({"ArnLike": {"AWS:SourceArn": "arn:aws:sns:eu-west-1:123456789012:other"}}), false),
            (json!({"StringEquals": {"aws:SourceAccount": "999999999999"}}), false),
            (json!({"StringEquals": {"aws:SourceAccount": "123456789012"}}), true),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}), true),
        ] {
            let allowed = allows(&statement(condition.clone()), "sns.amazonaws.com", topic, "123456789012");
            assert_eq!(allowed, expected, "{condition}");
        }
        assert!(!allows(&statement(json!({})), "lambda.alarms.cloudwatch.amazonaws.com", topic, ""));
        assert!(!allows(&Value::Null, "sns.amazonaws.com", topic, ""));
    }

    #[test]
    fn a_pattern_has_wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a", "ab", false),
            ("*b", "abc", false),
            ("ü*", "üb", true),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
