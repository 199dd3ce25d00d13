//! Judges the way from the alarms to the function: the topic, the function's subscription, and the permission to invoke it,
//! for the doctor and the sweep alike. Pure.

use std::fmt;

use serde_json::Value;

use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::wiring::{Subscription, WiringNow};

/// The ends of the way.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The topic of the settings that alarms notify, if any.
    pub topic: Option<&'a str>,
    /// The function's ARN without a version or an alias.
    pub function: &'a str,
}

/// Why alarms do not reach the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WiringFault {
    /// The settings name no topic, and no alarm invokes the function directly.
    NoTopic,
    /// The topic of the settings does not exist.
    TopicGone(String),
    /// The function is not subscribed to the topic.
    NotSubscribed(String),
    /// The function's subscription to the topic is not confirmed.
    NotConfirmed(String),
    /// The function's policy does not let SNS invoke it for the topic.
    TopicNotPermitted {
        /// The topic.
        topic: String,
        /// The function's name.
        function: String,
    },
    /// The function's policy does not let CloudWatch invoke it for these alarms.
    AlarmsNotPermitted(Vec<String>),
}

/// Whether an alarm invokes the function itself.
#[must_use]
pub fn is_direct(guard: &GuardingAlarm, function: &str) -> bool {
    guard.actions.iter().any(|action| is_or_qualifies(action, function))
}

/// Returns every fault of the way, as far as the facts were read.
#[must_use]
pub fn faults(ends: Ends<'_>, now: &WiringNow, guards: &[GuardingAlarm]) -> Vec<WiringFault> {
    let account = ends.function.split(':').nth(4).unwrap_or_default();
    let name = ends.function.split(':').nth(6).unwrap_or_default();
    let policy = now.policy.as_ref().ok().map(|policy| {
        serde_json::from_str::<Value>(policy.as_deref().unwrap_or_default()).unwrap_or_default()
    });
    let direct: Vec<&GuardingAlarm> = guards.iter().filter(|guard| is_direct(guard, ends.function)).collect();
    let mut faults = Vec::new();
    match ends.topic {
        None if direct.is_empty() => faults.push(WiringFault::NoTopic),
        None => {}
        Some(topic) => {
            faults.extend(
                now.subscriptions
                    .as_ref()
                    .ok()
                    .and_then(|all| subscribed(topic, ends.function, all.as_deref())),
            );
            let is_refused =
                policy.as_ref().is_some_and(|policy| !allows(policy, "sns.amazonaws.com", topic, account));
            faults.extend(is_refused.then(|| WiringFault::TopicNotPermitted {
                topic: topic.to_owned(),
                function: name.to_owned(),
            }));
        }
    }
    let is_refused = |guard: &&&GuardingAlarm| {
        let arn = guard.alarm.arn.as_deref().unwrap_or_default();
        let service = "lambda.alarms.cloudwatch.amazonaws.com";
        policy.as_ref().is_some_and(|policy| !allows(policy, service, arn, account))
    };
    let refused: Vec<String> =
        direct.iter().filter(is_refused).map(|guard| guard.alarm.name.clone()).collect();
    faults.extend((!refused.is_empty()).then_some(WiringFault::AlarmsNotPermitted(refused)));
    faults
}

/// Whether an alarm's event reaches the function despite these faults: directly, or through the topic.
#[must_use]
pub fn arrives(ends: Ends<'_>, faults: &[WiringFault], guard: &GuardingAlarm) -> bool {
    let is_refused = |fault: &WiringFault| matches!(fault, WiringFault::AlarmsNotPermitted(refused) if refused.contains(&guard.alarm.name));
    let by_topic = ends.topic.is_some_and(|topic| guard.actions.iter().any(|action| action == topic));
    (is_direct(guard, ends.function) && !faults.iter().any(is_refused))
        || (by_topic && !faults.iter().any(WiringFault::closes_topic))
}

impl WiringFault {
    /// Whether no alarm reaches the function through the topic.
    #[must_use]
    pub fn closes_topic(&self) -> bool {
        !matches!(self, Self::AlarmsNotPermitted(_))
    }

    /// Returns the next step for an operator.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoTopic => {
                "set ALARM_TOPIC_ARN to the topic that alarms notify, and subscribe the function to it".to_owned()
            }
            Self::TopicGone(_) => "deploy the stack again, or correct ALARM_TOPIC_ARN".to_owned(),
            Self::NotSubscribed(_) => {
                "deploy the stack again, or subscribe the function to the topic".to_owned()
            }
            Self::NotConfirmed(_) => "delete the subscription and deploy the stack again".to_owned(),
            Self::TopicNotPermitted { topic, function } => format!(
                "deploy the stack again, or: aws lambda add-permission --function-name {function} --statement-id alarms \
                 --action lambda:InvokeFunction --principal sns.amazonaws.com --source-arn {topic}"
            ),
            Self::AlarmsNotPermitted(_) => {
                "begin these alarms' names with the stack's DirectAlarmPrefix, or let them notify the alarm topic"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for WiringFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTopic => f.write_str("the function has no alarm topic, and no alarm invokes it directly"),
            Self::TopicGone(topic) => write!(f, "the alarm topic {topic} does not exist"),
            Self::NotSubscribed(topic) => {
                write!(f, "the function is not subscribed to {topic}, so no alarm reaches it")
            }
            Self::NotConfirmed(topic) => {
                write!(f, "the function's subscription to {topic} is not confirmed")
            }
            Self::TopicNotPermitted { .. } => {
                f.write_str("the function's policy does not let SNS invoke it for the alarm topic")
            }
            Self::AlarmsNotPermitted(alarms) => {
                let alarms: Vec<String> = alarms.iter().map(|alarm| format!("`{alarm}`")).collect();
                write!(f, "the function's policy does not let CloudWatch invoke it for {}", alarms.join(", "))
            }
        }
    }
}

/// The fault of the function's subscription to the topic, if any.
fn subscribed(topic: &str, function: &str, all: Option<&[Subscription]>) -> Option<WiringFault> {
    let topic = topic.to_owned();
    let Some(all) = all else { return Some(WiringFault::TopicGone(topic)) };
    let is_ours = |one: &&Subscription| one.protocol == "lambda" && is_or_qualifies(&one.endpoint, function);
    let mut ours = all.iter().filter(is_ours).peekable();
    if ours.peek().is_none() {
        return Some(WiringFault::NotSubscribed(topic));
    }
    (!ours.any(|one| one.confirmed)).then_some(WiringFault::NotConfirmed(topic))
}

/// Whether an ARN is the function's, or that of one of its versions or aliases.
fn is_or_qualifies(arn: &str, function: &str) -> bool {
    arn.strip_prefix(function).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
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
