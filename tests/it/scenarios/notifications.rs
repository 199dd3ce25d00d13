//! Notifications: each is sent once, and sending neither delays nor undoes anything.

use std::fmt::Write as _;
use std::time::Duration;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Candidate, print};
use apigw_rollback::model::report::Report;
use apigw_rollback::notify::metrics;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::harness::{PROTECTED, event, run, run_together, snapshot};
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, World, denied, error, lost, prod, release};

const PEOPLE: &str = "arn:aws:sns:eu-west-1:123456789012:people";
const NOTIFY: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", PEOPLE);
const HOOK: (&str, &str) = ("HOOK_FUNCTION", "capture");

fn with_topic(story: Story) -> Story {
    story.set(NOTIFY.0, NOTIFY.1)
}

fn deployed() -> Story {
    with_topic(Story::with_known_good()).deploy(2).later(3).alarm_is(State::Alarm).quietly()
}

#[test]
fn an_incident_is_notified_once_from_its_rollback_to_its_recovery() {
    deployed()
        .event_arrives()
        .event_arrives()
        .sweep()
        .later(4)
        .alarm_is(State::Ok)
        .event_arrives()
        .event_arrives()
        .sweep()
        .ends("an incident is notified once");
}

#[test]
fn the_same_alarm_delivered_three_times_at_once_is_notified_once() {
    for (twist, expected) in [
        ((|_: &mut Facts| {}) as fn(&mut Facts), "ROLLED BACK"),
        (|facts: &mut Facts| facts.parameters.clear(), "STILL BAD, NOT ROLLED BACK"),
        (|facts: &mut Facts| facts.stages.clear(), "MAY BE BAD, NOT ROLLED BACK"),
    ] {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts);
        let alarm = event("sns-alarm");
        run_together(&[&alarm, &alarm, &alarm], &world, &[NOTIFY]);
        world.change(|facts| facts.now += TimeDelta::seconds(1));
        run(&alarm, &world, &[NOTIFY]);
        let subjects: Vec<String> =
            world.facts().notifications.into_iter().map(|notification| notification.subject).collect();
        assert!(subjects.len() == 1 && subjects[0].starts_with(expected), "{expected}: {subjects:?}");
    }
}

#[test]
fn a_lasting_problem_is_notified_once_a_day_and_a_passing_one_never() {
    with_topic(Story::with_known_good())
        .world("the known-good deployment is deleted", |facts| {
            facts.deployments.retain(|(_, id)| id != "d1");
            facts.stages.retain(|stage, _| *stage == prod());
        })
        .deploy(2)
        .sweep()
        .later(5)
        .sweep()
        .later(24 * 60)
        .sweep()
        .ends("a lasting problem is notified once a day");
    deployed()
        .with_fault("DescribeAlarms", 1, Fault::World(|facts| facts.alarms[0].alarm.state = State::Ok))
        .say("the alarm clears while its event is in transit")
        .event_arrives()
        .ends("a passing problem is not notified");
    with_topic(Story::new())
        .command("rollback", &json!({}))
        .ends("an operator command is answered without a notification");
}

#[test]
fn a_failed_notification_is_reported_and_sent_by_the_next_run() {
    deployed()
        .with_fault("Publish", 1, Fault::Before(denied()))
        .event_arrives()
        .ends("a notification cannot be sent");
    let mut facts = Facts::bad_release();
    facts.parameters.clear();
    let busy = error(Failure::Other, "Throttled", "Rate exceeded");
    let world = World::new(facts).fault("Publish", 1, Fault::Before(busy));
    let first = run(&event("sns-alarm"), &world, &[NOTIFY]);
    assert!(first.contains("warning: not sent: Publish on `world` failed: Throttled"), "{first}");
    let world = World::new(world.facts());
    run(&event("sns-alarm"), &world, &[NOTIFY]);
    world.change(|facts| facts.now += TimeDelta::seconds(1));
    run(&event("sns-alarm"), &world, &[NOTIFY]);
    assert_eq!(world.facts().notifications.len(), 1, "only the next run sends the notification");
}

#[test]
fn what_sns_refused_is_sent_by_the_next_sweep_once() {
    let world = World::new(Facts::bad_release()).fault("Publish", 1, Fault::Before(denied()));
    run(&event("sns-alarm"), &world, &[NOTIFY]);
    assert!(world.facts().notifications.is_empty());
    let world = World::new(world.facts());
    let sweep = json!({"command": "sweep"}).to_string();
    for minutes in [1, 5, 5] {
        world.change(|facts| facts.now += TimeDelta::minutes(minutes));
        run_together(&[&sweep, &sweep], &world, &[NOTIFY]);
    }
    let [sent] = world.facts().notifications.try_into().unwrap();
    assert_eq!(sent.subject, "ROLLED BACK: orders-api/prod (eu-west-1)");
    assert!(sent.text.ends_with("This comes late, because SNS refused it before.\n"), "{}", sent.text);
    assert!(sent.chat.contains(&sent.subject) && sent.report.contains("\"outcome\":\"rolled-back\""));
}

/// Parameter Store stores the mark, or stores it twice, and the answer is lost.
#[test]
fn what_sns_refused_is_not_lost_with_the_answer_about_its_mark() {
    let sweep = json!({"command": "sweep"}).to_string();
    let by_event = |facts: &mut Facts| facts.parameters.clear();
    for (twist, late) in [((|_: &mut Facts| {}) as fn(&mut Facts), &sweep), (by_event, &event("sns-alarm"))] {
        for (case, fault) in [("twice", Fault::Twice), ("without an answer", Fault::After(lost()))] {
            let mut facts = Facts::bad_release();
            twist(&mut facts);
            let world = World::new(facts).fault("Publish", 1, Fault::Before(denied()));
            run(&event("sns-alarm"), &world, &[NOTIFY]);
            let world = World::new(world.facts()).fault("PutParameter", 0, fault);
            world.change(|facts| facts.now += TimeDelta::seconds(20));
            run(late, &world, &[NOTIFY]);
            let world = World::new(world.facts());
            world.change(|facts| facts.now += TimeDelta::minutes(5));
            run(&sweep, &world, &[NOTIFY]);
            let sent = world.facts().notifications;
            let sent: Vec<&str> = sent.iter().map(|one| one.subject.as_str()).collect();
            // What the sweep finds itself is other news.
            let of_event = sent.iter().filter(|subject| !subject.contains("found by the sweep"));
            assert_eq!(of_event.count(), 1, "{case}: {late}: {sent:?}");
        }
    }
}

#[test]
fn a_problem_that_every_sweep_finds_is_sent_late_once() {
    let mut facts = Facts::bad_release();
    facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
    facts.deployments.retain(|(_, id)| id != "d1");
    let world = World::new(facts).fault("Publish", 1, Fault::Before(denied()));
    let sweep = json!({"command": "sweep"}).to_string();
    run(&sweep, &world, &[NOTIFY]);
    assert!(world.facts().notifications.is_empty());
    let world = World::new(world.facts());
    for _ in 0..2 {
        world.change(|facts| facts.now += TimeDelta::minutes(5));
        run(&sweep, &world, &[NOTIFY]);
    }
    let subjects: Vec<String> = world.facts().notifications.into_iter().map(|one| one.subject).collect();
    assert_eq!(subjects, ["NO URGENCY: orders-api/prod (known-good-missing, eu-west-1)"]);
}

/// Parameter Store may be full. News of an event is then sent without a mark, perhaps twice. What every sweep finds again is
/// not, or people would be notified at every sweep.
#[test]
fn news_is_sent_even_if_no_mark_can_be_written() {
    let without_record = |facts: &mut Facts| facts.parameters.clear();
    for (case, twist, sent) in [
        ("sns-alarm", (|_: &mut Facts| {}) as fn(&mut Facts), 1),
        ("sns-alarm", without_record, 1),
        ("command-sweep", without_record, 0),
    ] {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts).fault("CreateParameter", 0, Fault::Before(denied()));
        let shown = run(&event(case), &world, &[NOTIFY]);
        let warning = if sent > 0 { "people may be notified again" } else { "not sent" };
        assert!(shown.contains(&format!("warning: {warning}: CreateParameter")), "{shown}");
        assert_eq!(world.facts().notifications.len(), sent, "{shown}");
    }
}

/// The mark of the news that the stage has no known-good release.
const MARK: &str = "/apigw-rollback/told/7677550e09796bfd";

/// Another run creates the mark and sends the notification, after this one could neither create nor find it.
fn told_by_another(facts: &mut Facts) {
    let mark = r#"{"schema":1,"at":"2026-11-20T10:06:00Z","run":"another"}"#;
    facts.parameters.insert(MARK.to_owned(), vec![mark.to_owned()]);
}

#[test]
fn what_could_be_neither_marked_nor_sent_is_not_kept_in_the_mark_of_another_run() {
    let mut facts = Facts::bad_release();
    facts.parameters.clear();
    let world = World::new(facts)
        .fault("CreateParameter", 1, Fault::Before(denied()))
        .fault("Publish", 1, Fault::Before(denied()))
        .fault("CreateParameter", 2, Fault::World(told_by_another))
        .fault("PutParameter", 1, Fault::World(told_by_another));
    let shown = run(&event("sns-alarm"), &world, &[NOTIFY]);
    assert!(shown.contains("people may be notified again"), "{shown}");
    let facts = world.facts();
    let marks: Vec<_> = facts.parameters.iter().filter(|(name, _)| name.contains("/told/")).collect();
    let [(name, values)] = marks.as_slice() else { panic!("{marks:?}") };
    assert_eq!((name.as_str(), values.len()), (MARK, 1));
    assert!(values[0].contains("another") && !values[0].contains("untold"), "{values:?}");
}

#[test]
fn two_failures_of_one_sweep_on_one_stage_are_notified_once() {
    let mut facts = Facts::bad_release();
    facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
    let world = World::new(facts)
        .fault("CreateStage", 0, Fault::Before(denied()))
        .fault("GetDeployment", 0, Fault::Before(denied()))
        .fault("PutParameter", 0, Fault::Before(denied()));
    let shown = run(r#"{"command":"sweep"}"#, &world, &[NOTIFY]);
    assert!(shown.matches("report: failed").count() > 1, "{shown}");
    assert_eq!(world.facts().notifications.len(), 1, "{shown}");
}

#[test]
fn sent_marks_expire_after_two_days() {
    with_topic(Story::new())
        .deploy(2)
        .alarm_is(State::Alarm)
        .event_arrives()
        .world("the alarm is over", |facts| {
            facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
        })
        .quietly()
        .later(47 * 60)
        .sweep()
        .later(2 * 60)
        .sweep()
        .ends("sent marks expire");
}

#[test]
fn the_hook_is_invoked_before_and_after_and_never_stops_a_rollback() {
    let check = |story: &str, takes: u64, fault: Option<Fault>| {
        let mut facts = Facts::bad_release();
        facts.hook_takes = Duration::from_secs(takes);
        let world = World::new(facts);
        let world = match fault {
            Some(fault) => world.fault("Invoke", 0, fault),
            None => world,
        };
        snapshot(story, &run(&event("sns-alarm"), &world, &[HOOK, ("EVENT_BUS", "default")]));
    };
    check("the hook is called before and after", 1, None);
    check("a slow hook is not waited for", 15, None);
    check("a failing hook is reported", 0, Some(Fault::Before(denied())));
}

#[test]
fn a_notification_has_a_text_for_people_for_chat_and_for_programs() {
    let mut shown = String::new();
    let notify = |shown: &mut String, twist: fn(&mut Facts)| {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts);
        run(&event("sns-alarm"), &world, &[NOTIFY]);
        let sent = world.facts().notifications;
        assert_eq!(sent.len(), 1);
        let chat: Value = serde_json::from_str(&sent[0].chat).unwrap();
        let report: Value = serde_json::from_str(&sent[0].report).unwrap();
        assert!(sent[0].subject.len() <= 100 && sent[0].subject.is_ascii());
        assert_eq!(report["outcome"], chat["metadata"]["eventType"]);
        writeln!(shown, "Subject: {}\n\n{}", sent[0].subject, sent[0].text).unwrap();
        writeln!(shown, "{}\n", serde_json::to_string_pretty(&chat).unwrap()).unwrap();
    };
    notify(&mut shown, |_| {});
    notify(&mut shown, |facts| facts.parameters.clear());
    notify(&mut shown, |facts| facts.stage_shows = Some(crate::support::world::release("d9", &[])));
    snapshot("notifications", &shown);
}

#[test]
fn metrics_are_lines_in_the_embedded_metric_format() {
    let world = World::new(Facts::bad_release());
    let mut shown = String::new();
    for (name, event) in [("rolled back", event("sns-alarm")), ("held", event("sns-alarm-stale"))] {
        writeln!(shown, "-- {name}").unwrap();
        for line in metrics_of(&event, &world) {
            writeln!(shown, "{line}").unwrap();
        }
    }
    snapshot("metrics", &shown);
}

fn metrics_of(event: &str, world: &World) -> Vec<Value> {
    let reports: Vec<Report> = crate::support::harness::reports(event, world);
    reports.iter().map(|report| metrics::report_metrics(report, "apigw-rollback")).collect()
}

/// Lambda delivers the event again a minute after a run died between its rollback and the list of rollbacks.
#[test]
fn nobody_is_told_of_a_failure_when_a_run_died_after_its_rollback() {
    let story = deployed().event_arrives().world("the run died before the list", |facts| {
        facts.notifications.clear();
        facts.parameters.retain(|name, _| !name.ends_with("/rollbacks") && !name.contains("/told/"));
    });
    assert_eq!(story.stage(), "d1", "{}", story.described);
    let story = story.later(1).event_arrives().later(6).sweep().later(5).sweep();
    let subjects: Vec<String> =
        story.world.facts().notifications.iter().map(|sent| sent.subject.clone()).collect();
    assert_eq!(subjects, ["ROLLED BACK: orders-api/prod (eu-west-1)"], "{}", story.described);
}

/// The name of an API comes from the settings, or else from the record, and the labels from what is on record.
#[test]
fn a_message_names_what_people_know_by_name() {
    let announced = |facts: &mut Facts| {
        let bad = release("d2", &[("release", "2")]);
        let label = Some("v1.4.2".to_owned());
        let candidate = Candidate { label, ..Candidate::new(Protocol::Rest, &bad, facts.now) };
        let name = ParameterNames::under("/apigw-rollback").candidate(&prod());
        facts.parameters.insert(name, vec![print(&candidate).unwrap()]);
    };
    let gone = |facts: &mut Facts| facts.deployments.retain(|(_, id)| id != "d1");
    let none = |_: &mut Facts| {};
    for (settings, name, twist, denied_call, title, what) in [
        (
            PROTECTED,
            "sns-alarm",
            announced as fn(&mut Facts),
            "",
            "ROLLED BACK: orders-api/prod (eu-west-1)",
            "Users get v1.4.1 (d1) again since 10:06:00 UTC, 47 s after alarm orders-prod-5xx fired. v1.4.2 (d2) is off.",
        ),
        (
            "[]",
            "sns-alarm",
            announced,
            "",
            "ROLLED BACK: orders-api/prod (eu-west-1)",
            "Users get v1.4.1 (d1) again since 10:06:00 UTC, 47 s after alarm orders-prod-5xx fired. v1.4.2 (d2) is off.",
        ),
        (
            "[]",
            "command-sweep",
            gone,
            "",
            "NO URGENCY: orders-api/prod (known-good-missing, eu-west-1)",
            "Users are not affected by this. The known-good deployment `d1`",
        ),
        (
            PROTECTED,
            "sns-alarm",
            announced,
            "UpdateStage",
            "STILL BAD, NOT ROLLED BACK: orders-api/prod (eu-west-1)",
            "Users are affected now: alarm orders-prod-5xx is in ALARM, and v1.4.2 (d2) stays live. UpdateStage on",
        ),
        (
            TWO,
            "command-sweep",
            none,
            "GetParametersByPath",
            "MAY BE BAD, NOT CHECKED: sweep of orders-api/prod and 1 more stage (eu-west-1)",
            "Whether users are affected is unknown. GetParametersByPath on",
        ),
    ] {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts);
        let world = match denied_call {
            "" => world,
            call => world.fault(call, 0, Fault::Before(denied())),
        };
        run(&event(name), &world, &[NOTIFY, ("PROTECTED_STAGES", settings)]);
        let sent = world.facts().notifications;
        let sent = sent.iter().find(|one| one.subject == title);
        let subjects = || world.facts().notifications.into_iter().map(|one| one.subject).collect::<Vec<_>>();
        let text = &sent.unwrap_or_else(|| panic!("{title}: {:?}", subjects())).text;
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with(what)), "{title}: {text}");
    }
}

const TWO: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"},{"api":"a1b2c3d4e5","name":"orders-api","stage":"test"}]"#;
