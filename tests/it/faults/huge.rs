//! Huge or deeply nested events and lists that are too long: each limit, from both sides.

use apigw_rollback::config::Config;
use apigw_rollback::model::report::Outcome;
use apigw_rollback::signal::{self, Signal};
use serde_json::{Value, json};

use crate::faults::garbage::{run, writes};
use crate::support::harness::event;
use crate::support::world::Facts;

#[test]
fn a_deeply_nested_event_is_refused_without_a_crash() {
    for (open, close) in [("[", "]"), (r#"{"Records":["#, "]}"), (r#"{"a":"#, "}")] {
        for depth in [127, 128, 1_000, 1_000_000] {
            let deep = open.repeat(depth) + "1" + &close.repeat(depth);
            let (reports, _, calls) = run(&deep, &Facts::bad_release());
            assert!(["malformed", "not-an-alarm"].map(Some).contains(&reports[0].code()), "{reports:?}");
            assert_eq!(writes(&calls), Vec::<&String>::new());
        }
    }
    let envelope = |message: String| json!({"Type": "Notification", "Message": message}).to_string();
    let alarm: Value = serde_json::from_str(&event("sns-alarm")).unwrap();
    let alarm = alarm["Records"][0]["Sns"]["Message"].as_str().unwrap().to_owned();
    let mut nested = alarm;
    for depth in 1..12 {
        nested = envelope(nested);
        let is_read = matches!(signal::read(&nested).deliveries[0].signal, Signal::Alarm(_));
        assert_eq!(is_read, depth <= 4, "{depth} envelopes");
    }
}

#[test]
fn a_huge_value_is_refused_or_truncated() {
    let huge = "x".repeat(200_000);
    let alarm: Value = serde_json::from_str(&event("sns-alarm")).unwrap();
    let alarm = alarm["Records"][0]["Sns"]["Message"].as_str().unwrap().to_owned();
    let alarm: Value = serde_json::from_str(&alarm).unwrap();
    let with = |path: &str, value: Value| {
        let mut alarm = alarm.clone();
        match alarm.pointer_mut(path) {
            Some(place) => *place = value,
            None => alarm[path.trim_start_matches('/')] = value,
        }
        alarm.to_string()
    };
    let stages = |number: usize| {
        let all: Vec<String> = (1..=number).map(|n| format!("a1b2c3d4e5/s{n}")).collect();
        with("/AlarmDescription", json!(format!("rollback-target: {}", all.join(","))))
    };
    let children = json!(vec![json!({"Arn": "arn:aws:cloudwatch:eu-west-1:1:alarm:a"}); 101]);
    let mut composite = alarm.clone();
    composite["AlarmRule"] = json!("ALARM(a)");
    composite["TriggeringChildren"] = children;
    let record = json!({"Sns": {"Message": "text"}});
    let records = |number| json!({"Records": vec![record.clone(); number]}).to_string();
    let command = |api: &str, name: &str| json!({"command": "status", "stage": {"api": api, "name": name}});
    // The number of reports, the reason of the first, and the maximum number of calls.
    for (what, event, reports, reason, calls) in [
        ("too long", format!("\"{}\"", "x".repeat(6 * 1024 * 1024)), 1, "malformed", 0),
        ("just short enough", format!("\"{}\"", "x".repeat(6 * 1024 * 1024 - 2)), 1, "not-an-alarm", 0),
        ("too many records", records(10_001), 1, "malformed", 0),
        ("many records", records(10_000), 1, "not-an-alarm", 0),
        ("a name of 255", with("/AlarmName", json!("é".repeat(255))), 1, "alarm-unknown", 9),
        ("a name of 256", with("/AlarmName", json!("é".repeat(256))), 1, "malformed", 0),
        ("an ARN", with("/AlarmArn", json!(huge)), 1, "malformed", 0),
        ("a state", with("/NewStateValue", json!(huge)), 1, "malformed", 0),
        ("a stage", with("/Trigger/Dimensions/1/value", json!(huge)), 1, "no-stage", 0),
        ("an API", with("/Trigger/Dimensions/0/value", json!(huge)), 1, "no-stage", 0),
        ("a namespace", with("/Trigger/Namespace", json!(huge)), 1, "not-api-gateway", 0),
        ("a suppressor", with("/ActionsSuppressedBy", json!(huge)), 1, "suppressed", 0),
        (
            "an account",
            with("/AlarmArn", json!(format!("arn:a:b:c:{}", "1".repeat(1500)))),
            1,
            "wrong-account",
            0,
        ),
        ("a hundred stages", stages(100), 1, "not-protected", 100),
        ("too many stages", stages(101), 1, "no-stage", 0),
        ("a command's API", command(&huge, "prod").to_string(), 1, "no-stage", 0),
        ("a command's stage", command("a1b2c3d4e5", &huge).to_string(), 1, "malformed", 0),
        ("a command without an API", command("", "prod").to_string(), 1, "malformed", 0),
        ("an unknown command", json!({"command": huge}).to_string(), 1, "malformed", 0),
    ] {
        let (all, _, made) = run(&event, &Facts::bad_release());
        let about = made.iter().filter(|call| !call.contains("/told") && !call.starts_with("Pu")).count();
        assert_eq!((all.len(), all[0].code()), (reports, Some(reason)), "{what}: {:.300}", all[0].message);
        assert!(about <= calls, "{what}: {about} calls");
        assert_eq!(writes(&made), Vec::<&String>::new(), "{what}");
    }
    // If the list of children is too long, the function looks up the alarm's own name.
    let (_, _, made) = run(&composite.to_string(), &Facts::bad_release());
    let asked = made.iter().find(|call| call.starts_with("DescribeAlarms"));
    assert_eq!(asked.map(String::as_str), Some("DescribeAlarms orders-prod-5xx"));
    let (all, _, _) = run(&with("/NewStateReason", json!(huge)), &Facts::bad_release());
    assert_eq!((all[0].outcome, all[0].signal.why.as_ref().unwrap().len()), (Outcome::RolledBack, 1_023));
}

#[test]
fn a_stage_has_at_most_a_hundred_aliases_and_mappings() {
    let entry = |field: &str, one: &str, number: usize| {
        let components = vec![format!("\"{one}\""); number].join(",");
        format!(r#"[{{"api":"a","name":"n","stage":"prod","{field}":[{components}]}}]"#)
    };
    for (field, one) in [("aliases", "a:b"), ("functions", "f"), ("mappings", "a.example.com")] {
        for (number, expected) in [(100, true), (101, false)] {
            let stages = entry(field, one, number);
            let read = Config::read(|name| match name {
                "AWS_REGION" => Some("eu-west-1".to_owned()),
                "PROTECTED_STAGES" => Some(stages.clone()),
                _ => None,
            });
            assert_eq!(read.is_ok(), expected, "{number} {field}");
        }
    }
}
