//! Judges the way from the alarms to the function: the topic, the function's subscription, and the permission to invoke it,
//! for the doctor and the sweep alike. Pure.

use std::fmt;

use serde_json::Value;

use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::wiring::{Subscription, TopicNow, WiringNow};

/// The alias of the key that AWS manages for SNS. Its policy cannot be changed.
const SNS_KEY: &str = "alias/aws/sns";

const INVOKE: &str = "lambda:InvokeFunction";

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
    /// The topic is encrypted with the key that AWS manages for SNS, which CloudWatch may not use.
    TopicKey(String),
    /// The topic's policy does not let CloudWatch publish for these alarms.
    NotPublished {
        /// The topic.
        topic: String,
        /// The alarms.
        alarms: Vec<String>,
    },
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
    let policy = now.policy.as_ref().ok().map(|policy| parsed(policy.as_deref()));
    let direct: Vec<&GuardingAlarm> = guards.iter().filter(|guard| is_direct(guard, ends.function)).collect();
    let mut faults = Vec::new();
    match ends.topic {
        None if direct.is_empty() => faults.push(WiringFault::NoTopic),
        None => {}
        Some(topic) => {
            faults.extend(to_topic(topic, account, now, guards));
            let subscriptions = now.subscriptions.as_ref().ok();
            faults.extend(subscriptions.and_then(|all| subscribed(topic, ends.function, all.as_deref())));
            let sns = Caller { service: "sns.amazonaws.com", action: INVOKE, source: topic, account };
            if policy.as_ref().is_some_and(|policy| !allows(policy, sns)) {
                let function = ends.function.split(':').nth(6).unwrap_or_default().to_owned();
                faults.push(WiringFault::TopicNotPermitted { topic: topic.to_owned(), function });
            }
        }
    }
    let service = "lambda.alarms.cloudwatch.amazonaws.com";
    let refused = policy.map(|policy| refused(&policy, service, INVOKE, account, direct.into_iter()));
    let refused = refused.filter(|refused| !refused.is_empty());
    faults.extend(refused.map(WiringFault::AlarmsNotPermitted));
    faults
}

/// The faults between the alarms and the topic.
fn to_topic(topic: &str, account: &str, now: &WiringNow, guards: &[GuardingAlarm]) -> Vec<WiringFault> {
    let Ok(Some(TopicNow { policy, key })) = &now.topic else { return vec![] };
    let mut faults = Vec::new();
    if key.as_deref().is_some_and(|key| key == SNS_KEY || key.ends_with(&format!(":{SNS_KEY}"))) {
        faults.push(WiringFault::TopicKey(topic.to_owned()));
    }
    // Every topic of SNS has a policy, so an answer without one says nothing.
    let Some(policy) = policy.as_deref().map(|policy| parsed(Some(policy))) else { return faults };
    let by_topic = guards.iter().filter(|guard| guard.actions.iter().any(|action| action == topic));
    let alarms = refused(&policy, "cloudwatch.amazonaws.com", "sns:Publish", account, by_topic);
    if !alarms.is_empty() {
        faults.push(WiringFault::NotPublished { topic: topic.to_owned(), alarms });
    }
    faults
}

/// Returns the names of the alarms for which a policy does not let the service act.
fn refused<'a>(
    policy: &Value,
    service: &str,
    action: &str,
    account: &str,
    guards: impl Iterator<Item = &'a GuardingAlarm>,
) -> Vec<String> {
    let is_refused = |guard: &&GuardingAlarm| {
        let source = guard.alarm.arn.as_deref().unwrap_or_default();
        !allows(policy, Caller { service, action, source, account })
    };
    guards.filter(is_refused).map(|guard| guard.alarm.name.clone()).collect()
}

fn parsed(policy: Option<&str>) -> Value {
    serde_json::from_str(policy.unwrap_or_default()).unwrap_or_default()
}

/// Whether an alarm's event reaches the function despite these faults: directly, or through the topic.
#[must_use]
pub fn arrives(ends: Ends<'_>, faults: &[WiringFault], guard: &GuardingAlarm) -> bool {
    let name = &guard.alarm.name;
    let stops_direct = |fault: &WiringFault| matches!(fault, WiringFault::AlarmsNotPermitted(refused) if refused.contains(name));
    let stops_topic = |fault: &WiringFault| match fault {
        WiringFault::AlarmsNotPermitted(_) => false,
        WiringFault::NotPublished { alarms, .. } => alarms.contains(name),
        WiringFault::NoTopic
        | WiringFault::TopicGone(_)
        | WiringFault::NotSubscribed(_)
        | WiringFault::NotConfirmed(_)
        | WiringFault::TopicNotPermitted { .. }
        | WiringFault::TopicKey(_) => true,
    };
    let by_topic = ends.topic.is_some_and(|topic| guard.actions.iter().any(|action| action == topic));
    (is_direct(guard, ends.function) && !faults.iter().any(stops_direct))
        || (by_topic && !faults.iter().any(stops_topic))
}

impl WiringFault {
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
            Self::TopicKey(_) => {
                "encrypt the topic with a key of your own that lets cloudwatch.amazonaws.com call kms:GenerateDataKey and \
                 kms:Decrypt, or do not encrypt it"
                    .to_owned()
            }
            Self::NotPublished { .. } => {
                "let cloudwatch.amazonaws.com call sns:Publish in the topic's policy, for the alarms of this account"
                    .to_owned()
            }
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
            Self::TopicKey(topic) => write!(
                f,
                "the topic {topic} is encrypted with the key that AWS manages for SNS, which CloudWatch may not use, so no \
                 alarm reaches it"
            ),
            Self::NotPublished { topic, alarms } => {
                write!(f, "the policy of {topic} does not let CloudWatch publish for {}", quoted(alarms))
            }
            Self::AlarmsNotPermitted(alarms) => {
                write!(f, "the function's policy does not let CloudWatch invoke it for {}", quoted(alarms))
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

fn quoted(alarms: &[String]) -> String {
    alarms.iter().map(|alarm| format!("`{alarm}`")).collect::<Vec<_>>().join(", ")
}

/// A service that acts on behalf of a source.
#[derive(Clone, Copy)]
struct Caller<'a> {
    service: &'a str,
    action: &'a str,
    /// The ARN of the topic or alarm.
    source: &'a str,
    /// The source's account.
    account: &'a str,
}

/// Whether a resource's policy lets a service act. Principals and conditions that cannot be evaluated count as met in a statement
/// that allows, and as not met in one that denies.
fn allows(policy: &Value, caller: Caller<'_>) -> bool {
    let statements = match policy.get("Statement") {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let applies = |effect: &str, unknown: bool| {
        statements.iter().any(|statement| {
            statement.get("Effect").and_then(Value::as_str) == Some(effect)
                && means(statement, caller.service, unknown)
                && covers(statement, caller.action)
                && is_met(statement.get("Condition"), caller, unknown)
        })
    };
    applies("Allow", true) && !applies("Deny", false)
}

/// Whether a statement is about an action, which it names or does not except.
fn covers(statement: &Value, action: &str) -> bool {
    let names = |element: &str| {
        let mut patterns = texts(statement.get(element));
        patterns.any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()))
    };
    if statement.get("NotAction").is_some() { !names("NotAction") } else { names("Action") }
}

/// Whether a statement's principal is the service, or everybody. `unknown` is the answer for one that excepts principals.
fn means(statement: &Value, service: &str, unknown: bool) -> bool {
    let Some(principal) = statement.get("Principal") else {
        return unknown && statement.get("NotPrincipal").is_some();
    };
    let is_everybody = |found: Option<&Value>| texts(found).any(|one| one == "*");
    is_everybody(Some(principal))
        || is_everybody(principal.get("AWS"))
        || texts(principal.get("Service")).any(|one| one == service || one == "*")
}

/// Whether a statement's conditions are met. `unknown` is the answer for a key or an operator that cannot be evaluated.
fn is_met(conditions: Option<&Value>, caller: Caller<'_>, unknown: bool) -> bool {
    let mut conditions = conditions.and_then(Value::as_object).into_iter().flatten();
    conditions.all(|(operator, keys)| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.all(|(key, patterns)| {
            let value = match key.to_ascii_lowercase().as_str() {
                "aws:sourcearn" => caller.source,
                "aws:sourceaccount" | "aws:sourceowner" => caller.account,
                _ => return unknown,
            };
            let is_listed = texts(Some(patterns)).any(|pattern| is_like(pattern, value));
            match operator.to_ascii_lowercase().trim_end_matches("ifexists") {
                "stringequals" | "stringlike" | "arnequals" | "arnlike" => is_listed,
                "stringnotequals" | "stringnotlike" | "arnnotequals" | "arnnotlike" => !is_listed,
                _ => unknown,
            }
        })
    })
}

/// The texts of a value that is a text or a list of texts.
fn texts(found: Option<&Value>) -> impl Iterator<Item = &str> {
    let all = match found {
        Some(Value::Array(all)) => all.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    all.iter().filter_map(Value::as_str)
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
    fn a_condition_means_what_its_operator_says_and_an_unknown_one_is_no_fault() {
        let source = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:5xx";
        let caller = Caller {
            service: "cloudwatch.amazonaws.com",
            action: "sns:Publish",
            source,
            account: "123456789012",
        };
        let statement = |effect: &str, condition: &Value| json!({"Effect": effect, "Principal": "*", "Action": "sns:Publish", "Condition": condition});
        let account = |operator: &str, account: &str| json!({operator: {"aws:SourceAccount": account}});
        let arn = |operator: &str, pattern: &str| json!({operator: {"aws:SourceArn": [pattern]}});
        for (condition, allows_by_it, denies_by_it) in [
            (account("StringEquals", "123456789012"), true, true),
            (account("StringEquals", "999999999999"), false, false),
            (account("StringEqualsIfExists", "999999999999"), false, false),
            // Policies often deny everybody but their own account.
            (account("StringNotEquals", "123456789012"), false, false),
            (account("StringNotEquals", "999999999999"), true, true),
            (account("stringnotequals", "123456789012"), false, false),
            (arn("ArnLike", "arn:aws:cloudwatch:*:123456789012:alarm:*"), true, true),
            (arn("ArnNotLike", "arn:aws:cloudwatch:*:123456789012:alarm:*"), false, false),
            (arn("ArnNotEquals", "arn:aws:s3:::uploads"), true, true),
            (arn("StringNotLike", "arn:aws:s3:*"), true, true),
            // Nobody evaluates these here.
            (json!({"Null": {"aws:SourceArn": "true"}}), true, false),
            (account("NumericLessThan", "5"), true, false),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}), true, false),
        ] {
            let allowed = json!({"Statement": statement("Allow", &condition)});
            assert_eq!(allows(&allowed, caller), allows_by_it, "Allow if {condition}");
            let denied =
                json!({"Statement": [statement("Allow", &json!({})), statement("Deny", &condition)]});
            assert_eq!(allows(&denied, caller), !denies_by_it, "Deny if {condition}");
        }
    }

    #[test]
    fn a_policy_allows_what_its_statements_say() {
        let topic = "arn:aws:sns:eu-west-1:123456789012:alarms";
        let sns =
            Caller { service: "sns.amazonaws.com", action: INVOKE, source: topic, account: "123456789012" };
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
            let allowed = allows(&statement(condition.clone()), sns);
            assert_eq!(allowed, expected, "{condition}");
        }
        let cloudwatch = Caller { service: "lambda.alarms.cloudwatch.amazonaws.com", ..sns };
        assert!(!allows(&statement(json!({})), cloudwatch));
        assert!(!allows(&Value::Null, sns));
    }

    #[test]
    fn a_topic_is_open_to_alarms_by_its_policy() {
        let alarm = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:orders";
        let account = "123456789012";
        let cloudwatch =
            Caller { service: "cloudwatch.amazonaws.com", action: "sns:Publish", source: alarm, account };
        let by_default = json!({"Effect": "Allow", "Principal": {"AWS": "*"},
            "Action": ["SNS:GetTopicAttributes", "SNS:Publish"],
            "Condition": {"StringEquals": {"AWS:SourceOwner": account}}});
        let of = |principal: Value, action: &str| json!({"Effect": "Allow", "Principal": principal, "Action": action});
        let service = || json!({"Service": "cloudwatch.amazonaws.com"});
        let deny = |condition: Value| json!({"Effect": "Deny", "Principal": "*", "Action": "sns:*", "Condition": condition});
        for (case, statements, expected) in [
            ("the policy of a new topic", vec![by_default.clone()], true),
            ("one for the service", vec![of(service(), "sns:Publish")], true),
            ("one with a wildcard", vec![of(service(), "SNS:Pub*")], true),
            ("one for another action", vec![of(service(), "sns:Subscribe")], false),
            (
                "one for all actions but another one",
                vec![json!({"Effect": "Allow", "Principal": service(), "NotAction": "sns:Subscribe"})],
                true,
            ),
            (
                "one for all actions but this one",
                vec![
                    json!({"Effect": "Allow", "Principal": service(), "NotAction": ["SNS:Pub*", "sns:Subscribe"]}),
                ],
                false,
            ),
            (
                "one that denies all actions but this one",
                vec![
                    by_default.clone(),
                    json!({"Effect": "Deny", "Principal": "*", "NotAction": "sns:Publish"}),
                ],
                true,
            ),
            (
                "one that denies all actions but another one",
                vec![
                    by_default.clone(),
                    json!({"Effect": "Deny", "Principal": "*", "NotAction": "sns:Subscribe"}),
                ],
                false,
            ),
            (
                "one for all but another principal",
                vec![json!({"Effect": "Allow", "NotPrincipal": {"AWS": "2"}, "Action": "sns:Publish"})],
                true,
            ),
            (
                "one that denies all but a principal",
                vec![
                    by_default.clone(),
                    json!({"Effect": "Deny", "NotPrincipal": service(), "Action": "sns:Publish"}),
                ],
                true,
            ),
            ("one for nobody", vec![json!({"Effect": "Allow", "Action": "sns:Publish"})], false),
            (
                "one that denies nobody",
                vec![by_default.clone(), json!({"Effect": "Deny", "Action": "sns:*"})],
                true,
            ),
            (
                "one for another service",
                vec![of(json!({"Service": "events.amazonaws.com"}), "sns:Publish")],
                false,
            ),
            (
                "one for another account",
                vec![of(json!({"AWS": "arn:aws:iam::2:root"}), "sns:Publish")],
                false,
            ),
            ("no statement", vec![], false),
            ("one that denies everybody", vec![by_default.clone(), deny(json!({}))], false),
            (
                "one that denies what is not sent over TLS",
                vec![by_default, deny(json!({"Bool": {"aws:SecureTransport": "false"}}))],
                true,
            ),
        ] {
            assert_eq!(allows(&json!({"Statement": statements}), cloudwatch), expected, "{case}");
        }
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
