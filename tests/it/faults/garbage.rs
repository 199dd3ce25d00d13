//! Events and records that are truncated, changed or mistyped: the function never crashes, always answers, and never
//! acts on an input that it cannot fully read.

use std::fs;
use std::path::PathBuf;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records::{Candidate, Hold, Rollbacks, SCHEMA, Stored, print};
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::trigger::Verb;
use apigw_rollback::signal::{self, Signal};
use chrono::TimeDelta;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::faults::properties::settings;
use crate::simulation::invariants::{self, Seen, hold};
use crate::support::harness::{attempt, config, event};
use crate::support::world::{Facts, World, prod, record, release};

/// The example events of the project.
fn events() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// Any JSON, often with a word that has a meaning for the function.
fn values() -> impl Strategy<Value = Value> {
    let words = select(vec![
        "",
        "ALARM",
        "OK",
        "prod",
        "prod/Canary",
        "orders-api",
        "a1b2c3d4e5",
        "orders-prod-5xx",
        "AWS/ApiGateway",
        "rollback",
        "sweep",
        "Notification",
        "rollback-target: a1b2c3d4e5/prod",
        "rollback-target: ,",
        "+262142-12-31T23:59:59Z",
        "-262143-01-01T00:00:00.000+0000",
        "2026-11-20T10:05:12.345+0000",
        "arn:aws:cloudwatch:::alarm:a",
        "{}",
        "[[",
        "{",
        r#"{"NewStateValue":"ALARM"}"#,
        "CloudWatch Alarm State Change",
        "{{",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
    ];
    let keys = select(vec![
        "Records",
        "Sns",
        "Message",
        "body",
        "Type",
        "command",
        "stage",
        "NewStateValue",
        "AlarmName",
        "Trigger",
        "alarmData",
        "state",
        "value",
        "detail",
        "detail-type",
        "schema",
        "release",
        "x",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let object = vec((keys.clone(), inner.clone()), 0..4).prop_map(|pairs| {
            Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
            )
        });
        prop_oneof![vec(inner, 0..4).prop_map(Value::from), object]
    })
}

/// Changes or removes the element at this path of a value; the path also leads into strings that contain JSON.
fn changed(value: Value, path: &[Index], to: Option<&Value>) -> Option<Value> {
    let Some((turn, rest)) = path.split_first() else { return to.cloned() };
    match value {
        Value::Object(mut map) if !map.is_empty() => {
            let key = map.keys().nth(turn.index(map.len())).unwrap().clone();
            let inner = map.remove(&key).unwrap();
            map.extend(changed(inner, rest, to).map(|inner| (key, inner)));
            Some(Value::Object(map))
        }
        Value::Array(mut list) if !list.is_empty() => {
            let at = turn.index(list.len());
            let inner = list.remove(at);
            if let Some(inner) = changed(inner, rest, to) {
                list.insert(at, inner);
            }
            Some(Value::Array(list))
        }
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => {
                changed(inner, path, to).map(|inner| Value::String(inner.to_string()))
            }
            _ => to.cloned(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => to.cloned(),
    }
}

/// An example event with a few changed elements.
fn changed_events() -> impl Strategy<Value = String> {
    let changes = vec((vec(any::<Index>(), 1..7), proptest::option::of(values())), 0..4);
    (select(events()), changes).prop_filter_map("is JSON", |(event, changes)| {
        let mut value: Value = serde_json::from_str(&event).ok()?;
        for (path, to) in changes {
            value = changed(value, &path, to.as_ref())?;
        }
        Some(value.to_string())
    })
}

/// Corrupts a text: truncates it, removes a piece, inserts a piece, or repeats a piece.
fn corrupted(text: &str, how: u8, [from, to]: [Index; 2], piece: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let (one, other) = (from.index(letters.len() + 1), to.index(letters.len() + 1));
    let (from, to) = (one.min(other), one.max(other));
    let part = |letters: &[char]| letters.iter().collect::<String>();
    let (head, middle, tail) = (part(&letters[..from]), part(&letters[from..to]), part(&letters[to..]));
    match how {
        0 => head,
        1 => head + &tail,
        2 => head + piece + &tail,
        _ => head + &middle + &middle + &tail,
    }
}

/// Truncates a text by at least one character.
fn truncated(text: &str, end: Index) -> String {
    text.chars().take(end.index(text.chars().count())).collect()
}

/// Returns the signal that the invariants judge: of several signals, the one with the most rights.
fn strongest_signal(event: &str) -> invariants::Signal {
    let asked = signal::read(event).deliveries.into_iter().map(|delivery| match delivery.signal {
        Signal::Command(command) if command.verb == Verb::Sweep => invariants::Signal::Sweep,
        Signal::Command(_) => invariants::Signal::Operator,
        Signal::Alarm(alarm) => {
            let ours = ["orders-prod-5xx", "orders-prod-latency"].contains(&alarm.name.as_str());
            invariants::Signal::Alarm { name: alarm.name, fired: alarm.changed_at, ours }
        }
        // The settings list no sibling.
        Signal::Sibling(_) | Signal::RefusedReport { .. } | Signal::Unreadable(_) => {
            invariants::Signal::Alarm { name: String::new(), fired: None, ours: false }
        }
    });
    let rank = |asked: &invariants::Signal| match asked {
        invariants::Signal::Alarm { ours, .. } => usize::from(*ours),
        // It has no rights without a listed sibling.
        invariants::Signal::Sibling(_) => 0,
        invariants::Signal::Sweep => 2,
        invariants::Signal::Operator => 3,
    };
    asked.max_by_key(rank).unwrap()
}

/// Runs one event in this world and checks what must hold for any event.
pub(crate) fn run(event: &str, facts: &Facts) -> (Vec<Report>, World, Vec<String>) {
    let world = World::new(facts.clone());
    let topic = ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");
    // A policy may override these, but the invariants know only the settings.
    let lenient =
        [("COOLDOWN_SECONDS", "0"), ("ROLLBACK_WINDOW_SECONDS", "0"), ("MAX_ROLLBACKS_A_DAY", "20")];
    let settings: Vec<_> = [topic, ("EVENT_BUS", "default")].into_iter().chain(lenient).collect();
    let began = world.now();
    let reports = attempt(event, &world, &settings, 1);
    // The invariants expect one report for an alarm; the one for the rollback counts, if any.
    let (signal, mut judged) = (strongest_signal(event), reports.clone().unwrap());
    if matches!(signal, invariants::Signal::Alarm { .. }) {
        judged.sort_by_key(|report| report.outcome != Outcome::RolledBack);
        judged.truncate(1);
    }
    let seen = Seen { id: world.run_id(), signal, began, reports: Some(judged) };
    hold(facts, &world.facts(), &[seen], &config(&settings)).unwrap_or_else(|why| panic!("{why}\n{event}"));
    let reports = reports.unwrap();
    for report in &reports {
        let size = json!(report).to_string().len();
        // SNS and EventBridge accept 256 KB, and a notification contains a report in three forms.
        assert!(size < 64 * 1024, "a report has {size} bytes: {event:.200}");
    }
    let calls = world.take_calls();
    (reports, world, calls)
}

/// Returns the calls that write anything except the marks of sent notifications.
pub(crate) fn writes(calls: &[String]) -> Vec<&String> {
    let reads = ["Get", "Describe", "List", "Publish", "PutEvents"];
    let is_mark = |call: &str| call.contains(" /apigw-rollback/told/");
    calls.iter().filter(|call| !reads.iter().any(|read| call.starts_with(read)) && !is_mark(call)).collect()
}

/// Returns whether any signal of the event may write.
fn may_write(event: &str) -> bool {
    let reads = [Verb::Plan, Verb::Status, Verb::History];
    signal::read(event).deliveries.iter().any(|delivery| match &delivery.signal {
        Signal::Alarm(alarm) => ["orders-prod-5xx", "orders-prod-latency"].contains(&alarm.name.as_str()),
        Signal::Command(command) => !reads.contains(&command.verb),
        Signal::Sibling(_) | Signal::RefusedReport { .. } | Signal::Unreadable(_) => false,
    })
}

fn is_survived(event: &str) {
    let (reports, _, calls) = run(event, &Facts::bad_release());
    assert!(!reports.is_empty());
    assert!(may_write(event) || writes(&calls).is_empty(), "{calls:?}: {event}");
    // Every change of the stage is a rollback and is reported as one.
    let rolled_back = calls.iter().any(|call| call == "UpdateStage rest/a1b2c3d4e5/prod");
    let reported = reports.iter().any(|report| report.outcome == Outcome::RolledBack);
    assert_eq!(rolled_back, reported, "{calls:?}: {event}");
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn the_function_survives_an_event_with_changed_elements(event in changed_events()) {
        is_survived(&event);
    }

    #[test]
    fn the_function_survives_a_corrupted_event(
        event in select(events()), how in 0..4_u8, ends in any::<[Index; 2]>(), piece in r#"[\[{}",:\\0-9a-z\x00é]{0,9}"#,
    ) {
        is_survived(&corrupted(&event, how, ends, &piece));
    }

    #[test]
    fn the_function_survives_any_json_and_any_text(value in values(), text in ".{0,40}") {
        is_survived(&value.to_string());
        is_survived(&text);
    }

    /// An event that is truncated anywhere makes no call.
    #[test]
    fn a_truncated_event_makes_no_call(event in select(events()), end in any::<Index>()) {
        let cut = truncated(event.trim_end(), end);
        let world = World::new(Facts::bad_release());
        let reports = attempt(&cut, &world, &[], 1).unwrap();
        prop_assert_eq!(reports.len(), 1);
        prop_assert_eq!(reports[0].code(), Some("malformed"));
        prop_assert_eq!(world.take_calls(), Vec::<String>::new());
    }

    /// A truncated message in an intact envelope makes no call either.
    #[test]
    fn a_truncated_message_makes_no_call(end in any::<Index>()) {
        let event: Value = serde_json::from_str(&event("sns-alarm")).unwrap();
        let message = event["Records"][0]["Sns"]["Message"].as_str().unwrap();
        let cut = truncated(message, end);
        let mut event = event.clone();
        event["Records"][0]["Sns"]["Message"] = json!(cut);
        let world = World::new(Facts::bad_release());
        let reports = attempt(&event.to_string(), &world, &[], 1).unwrap();
        prop_assert!(["malformed", "not-an-alarm"].map(Some).contains(&reports[0].code()), "{:?}", reports);
        prop_assert_eq!(world.take_calls(), Vec::<String>::new());
    }
}

/// The stage's parameters, each with a complete value.
fn parameters() -> Vec<(&'static str, Value)> {
    fn whole<T: Stored>(value: &T) -> Value {
        serde_json::from_str(&print(value).unwrap()).unwrap()
    }
    let now = Facts::bad_release().now;
    let live = release("d2", &[("release", "2")]);
    let seen = now - TimeDelta::hours(2);
    let candidate = json!({"schema": 1, "protocol": "rest", "release": live, "first_seen": seen, "label": "v2",
        "irreversible": false, "note": null});
    let candidate: Candidate = serde_json::from_value(candidate).unwrap();
    let ended = Hold { schema: SCHEMA, until: seen, by: None, why: None };
    let policy =
        json!({"schema": 1, "mode": "enforce", "bake_seconds": 60, "cooldown_seconds": 0, "aliases": []});
    let policy: PolicyOverrides = serde_json::from_value(policy).unwrap();
    let past =
        json!({"schema": 1, "past": [{"at": "2026-11-01T00:00:00Z", "fingerprint": "0", "alarm": "a"}]});
    let past: Rollbacks = serde_json::from_value(past).unwrap();
    vec![
        ("known-good", whole(&record(release("d1", &[("release", "1")])))),
        ("candidate", whole(&candidate)),
        ("hold", whole(&ended)),
        ("policy", whole(&policy)),
        ("rollbacks", whole(&past)),
    ]
}

/// A parameter of the stage with a value that cannot be read.
fn unreadable() -> impl Strategy<Value = (&'static str, String)> {
    let schemas =
        prop_oneof![Just(json!(0)), (2..9_u32).prop_map(Value::from), Just(json!("1")), Just(json!(1.5))];
    let wrong = prop_oneof![Just(json!(-7)), Just(json!([[]])), Just(json!({"a": 1}))];
    (select(parameters()), 0..6_u8, schemas, wrong, any::<Index>(), any::<Index>()).prop_map(
        |((what, whole), how, schema, wrong, which, end)| {
            let mut value = whole.clone();
            let text = whole.to_string();
            let keys: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
            let unreadable = match how {
                0 => truncated(&text, end),
                1 => {
                    value["schema"] = schema;
                    value.to_string()
                }
                // No field accepts any of these values.
                2 => {
                    value[&keys[which.index(keys.len())]] = wrong;
                    value.to_string()
                }
                3 => text.clone() + &text.chars().skip(which.index(text.len())).collect::<String>(),
                4 => format!("{text}{}", " ".repeat(9000)),
                // A field that occurs twice is ambiguous.
                _ => text.replacen('{', r#"{"schema":1,"#, 1),
            };
            (what, unreadable)
        },
    )
}

fn with(what: &str, value: &str) -> Facts {
    let mut facts = Facts::bad_release();
    let name = ParameterNames::under("/apigw-rollback").known_good(&prod()).replace("known-good", what);
    facts.parameters.insert(name, vec![value.to_owned()]);
    facts
}

/// Checks that the run changes neither the stage nor the parameter, and names the parameter in a report.
fn is_left_alone(event: &str, what: &str, value: &str) {
    let facts = with(what, value);
    let (reports, world, calls) = run(event, &facts);
    let now = world.facts();
    assert_eq!(
        now.stages.get(&prod()).map(|live| &live.release),
        facts.stages.get(&prod()).map(|l| &l.release)
    );
    let name = ParameterNames::under("/apigw-rollback").known_good(&prod()).replace("known-good", what);
    assert_eq!(now.parameters.get(&name), facts.parameters.get(&name), "{what}: {value}");
    let is_pin = |call: &str| call.ends_with("/prod-known-good");
    assert!(
        !calls.iter().any(|call| call.starts_with("Update") && !is_pin(call)),
        "{calls:?}: {what}: {value}"
    );
    let is_named = |report: &Report| report.message.contains(&name);
    assert!(reports.iter().any(is_named), "no report names {name}: {value}: {reports:?}");
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn an_alarm_or_a_sweep_never_acts_on_a_parameter_that_it_cannot_read((what, value) in unreadable()) {
        is_left_alone(&event("sns-alarm"), what, &value);
        is_left_alone(r#"{"command":"sweep"}"#, what, &value);
    }

    /// Operators write policies by hand, so one misspelt field holds the stage.
    #[test]
    fn a_policy_with_an_unknown_field_holds_the_stage(field in "[a-z_]{1,12}", value in values()) {
        let known = json!(serde_json::from_value::<PolicyOverrides>(json!({"schema": 1})).unwrap());
        prop_assume!(known.get(&field).is_none());
        let policy = json!({"schema": 1, field: value}).to_string();
        is_left_alone(&event("sns-alarm"), "policy", &policy);
    }

    /// The function may act on changed parameters that it can still read, within the rules.
    #[test]
    fn the_function_survives_changed_parameters(
        changes in vec((select(parameters()), vec(any::<Index>(), 1..5), proptest::option::of(values())), 1..4),
        event in select(vec![event("sns-alarm"), event("command-status"), event("command-rollback"),
            event("command-promote"), event("command-record"), event("command-history"),
            r#"{"command":"sweep"}"#.to_owned()]),
        is_quiet in any::<bool>(),
    ) {
        let mut facts = Facts::bad_release();
        for ((what, whole), path, to) in changes {
            let Some(value) = changed(whole, &path, to.as_ref()) else { continue };
            facts = Facts { parameters: with(what, &value.to_string()).parameters.into_iter().chain(facts.parameters).collect(), ..facts };
        }
        if is_quiet {
            facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
        }
        run(&event, &facts);
    }
}

/// Uses each entry of the fuzzer's corpus as an event and as the value of every parameter.
#[test]
fn the_function_survives_the_corpus_of_the_fuzzer() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (folder, parameters) in [
        ("record", ["known-good", "candidate", "hold", "rollbacks"].as_slice()),
        ("policy", ["policy"].as_slice()),
    ] {
        for file in fs::read_dir(corpus.join(folder)).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            is_survived(&text);
            for what in parameters {
                run(&event("sns-alarm"), &with(what, &text));
                run(r#"{"command":"sweep"}"#, &with(what, &text));
            }
        }
    }
}
