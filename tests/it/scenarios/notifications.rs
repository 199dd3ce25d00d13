//! Who is told what, and never twice; and that telling neither delays nor undoes anything.

use std::fmt::Write as _;
use std::time::Duration;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::report::Report;
use apigw_rollback::notify::metrics;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::harness::{event, run, run_together, snapshot};
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, World, denied, error, prod};

const PEOPLE: &str = "arn:aws:sns:eu-west-1:123456789012:people";
const TOLD: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", PEOPLE);
const HOOK: (&str, &str) = ("HOOK_FUNCTION", "capture");

fn people(story: Story) -> Story {
    story.set(TOLD.0, TOLD.1)
}

fn deployed() -> Story {
    people(Story::with_known_good()).deploy(2).later(3).alarm_is(State::Alarm).quietly()
}

#[test]
fn an_incident_is_told_once_from_its_rollback_to_its_recovery() {
    deployed()
        .event_comes()
        .event_comes()
        .sweep()
        .later(4)
        .alarm_is(State::Ok)
        .event_comes()
        .event_comes()
        .sweep()
        .ends("an incident is told once");
}

#[test]
fn the_same_alarm_delivered_twice_at_once_is_told_once() {
    for (twist, expected) in [
        ((|_: &mut Facts| {}) as fn(&mut Facts), "ROLLED BACK"),
        (|facts: &mut Facts| facts.parameters.clear(), "NOT ROLLED BACK"),
        (|facts: &mut Facts| facts.stages.clear(), "CANNOT ACT"),
    ] {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts);
        let alarm = event("sns-alarm");
        run_together(&[&alarm, &alarm, &alarm], &world, &[TOLD]);
        world.change(|facts| facts.now += TimeDelta::seconds(1));
        run(&alarm, &world, &[TOLD]);
        let subjects: Vec<String> =
            world.facts().described.into_iter().map(|notice| notice.subject).collect();
        assert!(subjects.len() == 1 && subjects[0].starts_with(expected), "{expected}: {subjects:?}");
    }
}

#[test]
fn what_lasts_is_told_once_a_day_and_what_passes_not_at_all() {
    people(Story::with_known_good())
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
        .ends("what lasts is told once a day");
    deployed()
        .with_fault("DescribeAlarms", 1, Fault::World(|facts| facts.alarms[0].alarm.state = State::Ok))
        .say("the alarm clears while its event is on its way")
        .event_comes()
        .ends("what passes is not told");
    people(Story::new()).command("rollback", &json!({})).ends("a persons command is answered and not told");
}

#[test]
fn what_cannot_be_told_is_reported_and_told_by_the_next_run() {
    deployed().with_fault("Publish", 1, Fault::Before(denied())).event_comes().ends("nobody could be told");
    let mut facts = Facts::bad_release();
    facts.parameters.clear();
    let busy = error(Failure::Other, "Throttled", "Rate exceeded");
    let world = World::new(facts).fault("Publish", 1, Fault::Before(busy));
    let first = run(&event("sns-alarm"), &world, &[TOLD]);
    assert!(first.contains("warning: not told: Publish on `world` failed: Throttled"), "{first}");
    let world = World::new(world.facts());
    run(&event("sns-alarm"), &world, &[TOLD]);
    world.change(|facts| facts.now += TimeDelta::seconds(1));
    run(&event("sns-alarm"), &world, &[TOLD]);
    assert_eq!(world.facts().described.len(), 1, "the next run tells, and only that one");
}

#[test]
fn two_failures_of_one_sweep_on_one_stage_are_told_once() {
    let mut facts = Facts::bad_release();
    facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
    let world = World::new(facts)
        .fault("CreateStage", 0, Fault::Before(denied()))
        .fault("GetDeployment", 0, Fault::Before(denied()))
        .fault("PutParameter", 0, Fault::Before(denied()));
    let shown = run(r#"{"command":"sweep"}"#, &world, &[TOLD]);
    assert!(shown.matches("report: failed").count() > 1, "{shown}");
    assert_eq!(world.facts().described.len(), 1, "{shown}");
}

#[test]
fn what_people_were_told_is_forgotten_after_two_days() {
    people(Story::new())
        .deploy(2)
        .alarm_is(State::Alarm)
        .event_comes()
        .world("the alarm is switched off", |facts| facts.alarms.clear())
        .quietly()
        .later(47 * 60)
        .sweep()
        .later(2 * 60)
        .sweep()
        .ends("what people were told is forgotten");
}

#[test]
fn the_hook_is_called_before_and_after_and_never_stops_a_rollback() {
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
    check("a failing hook is told", 0, Some(Fault::Before(denied())));
}

#[test]
fn a_notice_has_a_text_for_people_for_chat_and_for_programs() {
    let mut shown = String::new();
    let tell = |shown: &mut String, twist: fn(&mut Facts)| {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts);
        run(&event("sns-alarm"), &world, &[TOLD]);
        let described = world.facts().described;
        assert_eq!(described.len(), 1);
        let chat: Value = serde_json::from_str(&described[0].chat).unwrap();
        let report: Value = serde_json::from_str(&described[0].report).unwrap();
        assert!(described[0].subject.len() <= 100 && described[0].subject.is_ascii());
        assert_eq!(report["outcome"], chat["metadata"]["eventType"]);
        writeln!(shown, "Subject: {}\n\n{}", described[0].subject, described[0].text).unwrap();
        writeln!(shown, "{}\n", serde_json::to_string_pretty(&chat).unwrap()).unwrap();
    };
    tell(&mut shown, |_| {});
    tell(&mut shown, |facts| facts.parameters.clear());
    tell(&mut shown, |facts| facts.stage_shows = Some(crate::support::world::release("d9", &[])));
    snapshot("notices", &shown);
}

#[test]
fn metrics_are_lines_in_the_embedded_format() {
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
