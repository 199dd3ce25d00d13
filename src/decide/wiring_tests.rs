//! The tests of the way from the alarms to the function.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::fixture::{TOPIC, failed};
use super::leaves::resolved;
use super::wiring::{Ends, WiringFault, arrives, faults};
use crate::model::alarm::{Alarm, AlarmNow, State};
use crate::model::alarm_setup::AlarmSetup;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::wiring::{Subscription, TopicNow, WiringNow};

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:rollback";

/// An alias of the function.
const ALIAS: &str = "arn:aws:lambda:eu-west-1:123456789012:function:rollback:live";

/// Another function, whose name begins with the function's.
const OTHER: &str = "arn:aws:lambda:eu-west-1:123456789012:function:rollback-2";

fn alarm(name: &str, actions: &[&str]) -> GuardingAlarm {
    let arn = Some(format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"));
    let now = AlarmNow {
        alarm: Alarm { arn, ..Alarm::new(name, State::Ok) },
        actions_enabled: true,
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        window: TimeDelta::minutes(2),
        evaluated: vec![],
        setup: AlarmSetup::default(),
    };
    resolved(now, &BTreeMap::new())
}

/// A policy that lets each service do something for the sources of this pattern.
fn policy(statements: &[(&str, &str, &str)]) -> String {
    let statement = |(service, action, source): &(&str, &str, &str)| -> Value {
        json!({"Effect": "Allow", "Principal": {"Service": service}, "Action": action,
            "Condition": {"ArnLike": {"AWS:SourceArn": source}}})
    };
    let statements: Vec<Value> = statements.iter().map(statement).collect();
    json!({ "Statement": statements }).to_string()
}

fn by_topic() -> (&'static str, &'static str, &'static str) {
    ("sns.amazonaws.com", "lambda:InvokeFunction", TOPIC)
}

fn by_alarms(pattern: &'static str) -> (&'static str, &'static str, &'static str) {
    ("lambda.alarms.cloudwatch.amazonaws.com", "lambda:InvokeFunction", pattern)
}

fn subscription(protocol: &str, endpoint: &str, confirmed: bool) -> Subscription {
    Subscription { protocol: protocol.into(), endpoint: endpoint.into(), confirmed }
}

/// A way on which nothing is wrong: the alarm `orders` notifies the topic, and the function is subscribed to it.
struct Scene {
    topic: Option<&'static str>,
    now: WiringNow,
    guards: Vec<GuardingAlarm>,
}

impl Scene {
    fn new() -> Self {
        let for_alarms =
            policy(&[("cloudwatch.amazonaws.com", "sns:Publish", "arn:aws:cloudwatch:*:alarm:orders*")]);
        let now = WiringNow {
            topic: Ok(Some(TopicNow { policy: Some(for_alarms), key: None })),
            subscriptions: Ok(Some(vec![subscription("lambda", FUNCTION, true)])),
            policy: Ok(Some(policy(&[by_topic()]))),
            alarms: Ok(vec![]),
            samples: BTreeMap::new(),
        };
        Self { topic: Some(TOPIC), now, guards: vec![alarm("orders", &[TOPIC])] }
    }

    fn faults(&self) -> Vec<WiringFault> {
        faults(Ends { topic: self.topic, function: FUNCTION }, &self.now, &self.guards)
    }
}

fn subscribe(scene: &mut Scene, all: Vec<Subscription>) {
    scene.now.subscriptions = Ok(Some(all));
}

fn encrypt(scene: &mut Scene, key: &str) {
    if let Ok(Some(topic)) = &mut scene.now.topic {
        topic.key = Some(key.to_owned());
    }
}

type Edit = fn(&mut Scene);

#[test]
fn a_topic_leads_to_the_function_by_a_confirmed_subscription_that_the_functions_policy_permits() {
    let topic = || TOPIC.to_owned();
    let not_permitted = || WiringFault::TopicNotPermitted { topic: topic(), function: "rollback".into() };
    let rows: [(&str, Edit, Vec<WiringFault>); 15] = [
        ("nothing is wrong", |_| (), vec![]),
        (
            "no topic exists",
            |s| (s.now.topic, s.now.subscriptions) = (Ok(None), Ok(None)),
            vec![WiringFault::TopicGone(topic())],
        ),
        ("nobody is subscribed", |s| subscribe(s, vec![]), vec![WiringFault::NotSubscribed(topic())]),
        (
            "others are subscribed",
            |s| subscribe(s, vec![subscription("lambda", OTHER, true), subscription("email", "a@b", true)]),
            vec![WiringFault::NotSubscribed(topic())],
        ),
        (
            "the function's ARN is subscribed by another protocol",
            |s| subscribe(s, vec![subscription("email", FUNCTION, true)]),
            vec![WiringFault::NotSubscribed(topic())],
        ),
        ("an alias is subscribed", |s| subscribe(s, vec![subscription("lambda", ALIAS, true)]), vec![]),
        (
            "the subscription is not confirmed, but another one is",
            |s| subscribe(s, vec![subscription("lambda", FUNCTION, false), subscription("sms", "1", true)]),
            vec![WiringFault::NotConfirmed(topic())],
        ),
        (
            "one of two subscriptions is confirmed",
            |s| {
                subscribe(s, [false, true].map(|is| subscription("lambda", FUNCTION, is)).into());
            },
            vec![],
        ),
        ("the subscriptions cannot be read", |s| s.now.subscriptions = Err(failed("Read")), vec![]),
        ("the function has no policy", |s| s.now.policy = Ok(None), vec![not_permitted()]),
        ("its policy is no JSON", |s| s.now.policy = Ok(Some("x".into())), vec![not_permitted()]),
        (
            "its policy permits another topic",
            |s| {
                s.now.policy =
                    Ok(Some(policy(&[("sns.amazonaws.com", "lambda:*", "arn:aws:sns:*:tickets")])));
            },
            vec![not_permitted()],
        ),
        ("its policy cannot be read", |s| s.now.policy = Err(failed("Read")), vec![]),
        (
            "no topic is set, and no alarm invokes the function",
            |s| s.topic = None,
            vec![WiringFault::NoTopic],
        ),
        (
            "no topic is set, and an alarm invokes the function",
            |s| {
                (s.topic, s.guards) = (None, vec![alarm("pay", &[ALIAS])]);
                s.now.policy = Ok(Some(policy(&[by_alarms("*:alarm:pay")])));
            },
            vec![],
        ),
    ];
    for (case, edit, expected) in rows {
        let mut scene = Scene::new();
        edit(&mut scene);
        assert_eq!(scene.faults(), expected, "{case}");
    }
}

#[test]
fn an_alarm_reaches_the_topic_or_the_function_only_if_cloudwatch_may_call_it() {
    let key = || vec![WiringFault::TopicKey(TOPIC.to_owned())];
    let not_published = |alarms: &[&str]| {
        let alarms = alarms.iter().map(|alarm| (*alarm).to_owned()).collect();
        vec![WiringFault::NotPublished { topic: TOPIC.to_owned(), alarms }]
    };
    let not_permitted = |alarm: &str| vec![WiringFault::AlarmsNotPermitted(vec![alarm.to_owned()])];
    let rows: [(&str, Edit, Vec<WiringFault>); 10] = [
        ("the key that AWS manages, by its alias", |s| encrypt(s, "alias/aws/sns"), key()),
        (
            "the key that AWS manages, by its ARN",
            |s| encrypt(s, "arn:aws:kms:eu-west-1:123456789012:alias/aws/sns"),
            key(),
        ),
        ("a key of one's own", |s| encrypt(s, "alias/alarms"), vec![]),
        (
            "two of the alarms may not publish, and one of them does not want to",
            |s| s.guards.extend([alarm("pay", &[TOPIC]), alarm("web", &["arn:aws:sns:eu-west-1:1:x"])]),
            not_published(&["pay"]),
        ),
        (
            "a policy of the topic without a statement",
            |s| s.now.topic = Ok(Some(TopicNow { policy: Some(policy(&[])), key: None })),
            not_published(&["orders"]),
        ),
        (
            "an answer without the topic's policy",
            |s| s.now.topic = Ok(Some(TopicNow { policy: None, key: None })),
            vec![],
        ),
        ("the topic cannot be read", |s| s.now.topic = Err(failed("Read")), vec![]),
        (
            "one of two alarms may not invoke the function",
            |s| {
                s.guards = vec![alarm("pay", &[FUNCTION]), alarm("web", &[ALIAS])];
                s.now.policy = Ok(Some(policy(&[by_topic(), by_alarms("*:alarm:pay*")])));
            },
            not_permitted("web"),
        ),
        ("an alarm invokes another function", |s| s.guards.push(alarm("web", &[OTHER])), vec![]),
        (
            "an alarm without an ARN may not invoke the function",
            |s| {
                s.guards = vec![alarm("pay", &[FUNCTION])];
                s.guards[0].alarm.arn = None;
                s.now.policy = Ok(Some(policy(&[by_topic(), by_alarms("*:alarm:pay*")])));
            },
            not_permitted("pay"),
        ),
    ];
    for (case, edit, expected) in rows {
        let mut scene = Scene::new();
        edit(&mut scene);
        assert_eq!(scene.faults(), expected, "{case}");
    }
}

#[test]
fn an_event_arrives_if_one_of_its_alarms_ways_has_no_fault() {
    let text = || TOPIC.to_owned();
    let not_published = |alarm: &str| WiringFault::NotPublished { topic: text(), alarms: vec![alarm.into()] };
    let refused = |alarm: &str| WiringFault::AlarmsNotPermitted(vec![alarm.to_owned()]);
    let not_permitted = || WiringFault::TopicNotPermitted { topic: text(), function: "rollback".into() };
    let (topic, direct, both) = (vec![TOPIC], vec![FUNCTION], vec![TOPIC, ALIAS]);
    for (case, actions, faults, expected) in [
        ("by the topic", &topic, vec![], true),
        ("directly", &direct, vec![], true),
        ("another topic and another function", &vec!["arn:aws:sns:eu-west-1:1:x", OTHER], vec![], false),
        ("no action", &vec![], vec![], false),
        ("no topic", &topic, vec![WiringFault::NoTopic], false),
        ("the topic is gone", &topic, vec![WiringFault::TopicGone(text())], false),
        ("not subscribed", &topic, vec![WiringFault::NotSubscribed(text())], false),
        ("not confirmed", &topic, vec![WiringFault::NotConfirmed(text())], false),
        ("the topic is not permitted", &topic, vec![not_permitted()], false),
        ("the key of the topic", &topic, vec![WiringFault::TopicKey(text())], false),
        ("not published", &topic, vec![not_published("orders")], false),
        ("another alarm is not published", &topic, vec![not_published("pay")], true),
        ("not permitted to invoke, by the topic", &topic, vec![refused("orders")], true),
        ("not permitted to invoke, directly", &direct, vec![refused("orders")], false),
        ("another alarm is not permitted to invoke", &direct, vec![refused("pay")], true),
        ("not subscribed, directly", &direct, vec![WiringFault::NotSubscribed(text())], true),
        ("both, and the topic does not lead here", &both, vec![WiringFault::NotConfirmed(text())], true),
        ("both, and not permitted to invoke", &both, vec![refused("orders")], true),
        ("both, and neither leads here", &both, vec![refused("orders"), not_published("orders")], false),
    ] {
        let ends = Ends { topic: Some(TOPIC), function: FUNCTION };
        assert_eq!(arrives(ends, &faults, &alarm("orders", actions)), expected, "{case}");
    }
    let no_topic = Ends { topic: None, function: FUNCTION };
    assert!(!arrives(no_topic, &[], &alarm("orders", &[TOPIC])), "the settings name no topic");
}

#[test]
fn a_fault_of_the_way_says_what_is_wrong_and_what_to_do() {
    let topic = || "arn:t".to_owned();
    let alarms = || vec!["orders".to_owned(), "pay".to_owned()];
    for (fault, expected, advice) in [
        (WiringFault::NoTopic, "the function has no alarm topic", "set ALARM_TOPIC_ARN to the topic"),
        (
            WiringFault::TopicGone(topic()),
            "the alarm topic arn:t does not exist",
            "deploy the stack again, or correct ALARM_TOPIC_ARN",
        ),
        (
            WiringFault::NotSubscribed(topic()),
            "the function is not subscribed to arn:t",
            "deploy the stack again, or subscribe the function",
        ),
        (
            WiringFault::NotConfirmed(topic()),
            "the function's subscription to arn:t is not confirmed",
            "delete the subscription",
        ),
        (
            WiringFault::TopicNotPermitted { topic: topic(), function: "rollback".into() },
            "the function's policy does not let SNS invoke it",
            "deploy the stack again, or: aws lambda add-permission --function-name rollback --statement-id alarms \
             --action lambda:InvokeFunction --principal sns.amazonaws.com --source-arn arn:t",
        ),
        (
            WiringFault::TopicKey(topic()),
            "the topic arn:t is encrypted with the key that AWS manages for SNS",
            "encrypt the topic with a key of your own",
        ),
        (
            WiringFault::NotPublished { topic: topic(), alarms: alarms() },
            "the policy of arn:t does not let CloudWatch publish for `orders`, `pay`",
            "let cloudwatch.amazonaws.com call sns:Publish",
        ),
        (
            WiringFault::AlarmsNotPermitted(alarms()),
            "the function's policy does not let CloudWatch invoke it for `orders`, `pay`",
            "begin these alarms' names with the stack's DirectAlarmPrefix",
        ),
    ] {
        let says = (fault.to_string().starts_with(expected), fault.advice().starts_with(advice));
        assert_eq!(says, (true, true), "{fault}: {}", fault.advice());
    }
}
