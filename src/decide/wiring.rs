//! Judges the way from the alarms to the function: the topic, the function's subscription, and the permission to invoke it,
//! for the doctor and the sweep alike. Pure.

use std::fmt;

use serde_json::Value;

use super::resource_policy::{Caller, allows};
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
