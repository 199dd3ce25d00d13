//! Floods: many messages about one alarm, and many messages at once.

use apigw_rollback::model::alarm::time;
use apigw_rollback::model::report::Outcome;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::harness::{attempt, config};
use crate::support::world::{Facts, World};

const NOTIFY: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");
const OTHERS: (&str, &str) = ("ALARM_PREFIXES", "others-");

fn message(alarm: &str, changed_at: &str) -> Value {
    json!({
        "AlarmName": alarm, "AlarmArn": format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{alarm}"),
        "NewStateValue": "ALARM", "StateChangeTime": changed_at, "NewStateReason": "Threshold Crossed",
        "Trigger": {"Namespace": "AWS/ApiGateway", "MetricName": "5XXError", "Dimensions":
            [{"name": "ApiName", "value": "orders-api"}, {"name": "Stage", "value": "prod"}]},
    })
}

#[test]
fn people_are_notified_ten_times_a_day_of_an_alarm_that_does_not_act_and_the_last_time_says_so() {
    let world = World::new(Facts::bad_release());
    let flip = |nth: u8, alarm: &str| {
        let event = message(alarm, &format!("2026-11-20T10:05:{nth:02}Z")).to_string();
        attempt(&event, &world, &[NOTIFY, OTHERS], usize::from(nth) + 1).unwrap()
    };
    let last = "the last notification about this alarm today";
    for nth in 0..15 {
        let reports = flip(nth, "orders-prod-5xx");
        assert_eq!(reports[0].code(), Some("alarm-not-allowed"));
        let is_over = reports[0].warnings.iter().any(|warning| warning.contains("too often today"));
        assert_eq!(is_over, nth >= 10, "{nth}");
    }
    let sent = world.facts().notifications;
    assert_eq!(sent.len(), 10);
    assert_eq!(sent.iter().filter(|one| one.text.contains(last)).count(), 1);
    assert!(sent[9].text.contains(last));
    flip(20, "orders-prod-latency");
    assert_eq!(world.facts().notifications.len(), 11, "another alarm has its own count");
    flip(21, "no-such-alarm");
    flip(22, "another-made-up-name");
    assert_eq!(
        world.facts().notifications.len(),
        12,
        "people are told once a day that somebody makes up alarms"
    );
    world.change(|facts| facts.now = time("2026-11-21T00:01:00Z").unwrap());
    let event = message("orders-prod-5xx", "2026-11-21T00:00:30Z").to_string();
    attempt(&event, &world, &[NOTIFY, OTHERS], 40).unwrap();
    assert_eq!(world.facts().notifications.len(), 13, "a new day");
    world.change(|facts| facts.now += TimeDelta::days(3));
    attempt(r#"{"command":"sweep"}"#, &world, &[NOTIFY], 41).unwrap();
    let left = world.facts().parameters.keys().filter(|name| name.contains("/told/")).count();
    assert!(left <= 3, "marks and counts of earlier days are deleted: {left} are left");
}

#[test]
fn a_batch_of_many_alarms_that_may_not_act_keeps_their_counts() {
    let mut facts = Facts::bad_release();
    for nth in 0..12 {
        let mut alarm = facts.alarms[0].clone();
        alarm.alarm.name = format!("orders-{nth}");
        facts.alarms.push(alarm);
    }
    let world = World::new(facts);
    for flip in 0..12_u8 {
        let records = (0..12).map(|nth| {
            let at = format!("2026-11-20T10:05:{flip:02}Z");
            let body = message(&format!("orders-{nth}"), &at).to_string();
            json!({"messageId": format!("m{nth}"), "body": body, "eventSource": "aws:sqs"})
        });
        let event = json!({ "Records": records.collect::<Vec<_>>() }).to_string();
        attempt(&event, &world, &[NOTIFY, OTHERS], usize::from(flip) + 1).unwrap();
    }
    assert_eq!(world.facts().notifications.len(), 12 * 10);
}

#[test]
fn stages_of_one_name_that_are_not_protected_cost_no_call_of_api_gateway() {
    let names: Vec<String> = (1..=60).map(|nth| format!("orders-api/s{nth}")).collect();
    for (known, state, code) in [
        (true, "ALARM", "not-protected"),
        (false, "ALARM", "not-protected"),
        (true, "OK", "ok"),
        (false, "OK", "ok"),
    ] {
        let mut facts = Facts::bad_release();
        let description = format!("rollback-target: {}", names.join(", "));
        facts.alarms[0].alarm.description = Some(description.clone());
        if known {
            let name = config(&[]).names.api_name("orders-api");
            facts.parameters.insert(name, vec![r#"{"schema":1,"apis":["a1b2c3d4e5"]}"#.to_owned()]);
        }
        let world = World::new(facts);
        let mut event = message("orders-prod-5xx", "2026-11-20T10:05:12Z");
        event["AlarmDescription"] = json!(description);
        event["NewStateValue"] = json!(state);
        let reports = attempt(&event.to_string(), &world, &[NOTIFY], 1).unwrap();
        let calls = world.take_calls();
        let gateway =
            calls.iter().filter(|call| call.starts_with("GetStage") || call.contains("Api")).count();
        let sent = world.facts().notifications.len();
        assert_eq!((reports.len(), gateway, sent), (1, 0, usize::from(state == "ALARM")), "{calls:?}");
        assert_eq!(reports[0].code(), Some(code));
    }
}

#[test]
fn made_up_alarms_of_a_batch_are_looked_up_together_and_told_once() {
    let world = World::new(Facts::bad_release());
    let records: Vec<Value> = (0..201)
        .map(|nth| {
            let alarm = if nth == 100 { "orders-prod-5xx".to_owned() } else { format!("made-up-{nth}") };
            let body = message(&alarm, "2026-11-20T10:05:12.345Z").to_string();
            json!({"messageId": format!("m{nth}"), "body": body, "eventSource": "aws:sqs"})
        })
        .collect();
    let reports = attempt(&json!({ "Records": records }).to_string(), &world, &[NOTIFY], 1).unwrap();
    let calls = world.take_calls();
    let count = |operation: &str| calls.iter().filter(|call| call.starts_with(operation)).count();
    assert_eq!(reports.iter().filter(|one| one.code() == Some("alarm-unknown")).count(), 200);
    assert_eq!(reports[100].outcome, Outcome::RolledBack);
    assert_eq!(world.facts().notifications.len(), 2);
    assert_eq!((count("DescribeAlarms"), count("GetStage")), (4, 1), "{calls:?}");
}
