//! Stories that the simulation found: each was a seed that broke a promise.

use apigw_rollback::alarm::State;
use chrono::TimeDelta;
use serde_json::json;

use crate::harness::{event, run, run_together};
use crate::story::Story;
use crate::world::{Facts, Fault, World, denied, live, prod, release};

#[test]
fn a_release_that_was_away_between_two_sweeps_bakes_anew() {
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .sweep()
        .later(1)
        .deploy(3)
        .later(25)
        .deploy(2)
        .later(5)
        .sweep()
        .later(26)
        .sweep()
        .ends("a release that was away bakes anew");
}

#[test]
fn an_alarm_whose_actions_are_off_hides_no_other() {
    let story = Story::with_known_good().deploy(2).later(3).alarm_is(State::Alarm).world(
        "its actions are off, and another alarm is in ALARM",
        |facts| {
            facts.alarms[0].actions_enabled = false;
            (facts.alarms[1].alarm.state, facts.alarms[1].alarm.changed_at) = (State::Alarm, Some(facts.now));
        },
    );
    assert_eq!(story.later(1).sweep().stage(), "d1");
}

#[test]
fn a_lift_before_anything_is_listed_leaves_a_list_that_can_be_read() {
    let story = Story::with_known_good()
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .with_fault("PutParameter", 0, Fault::Before(denied()))
        .event_comes();
    let facts = story.world.facts();
    let bad = release("d2", &[("release", "2")]).fingerprint();
    let story = Story { world: World::new(facts), ..story };
    let story = story.alarm_is(State::Ok).command("lift", &json!({"incident": bad}));
    let story = story.later(10).deploy(3).later(3).alarm_is(State::Alarm).event_comes();
    assert_eq!(story.stage(), "d1");
}

#[test]
fn a_release_that_is_brought_back_and_taken_off_by_two_alarms_is_told_of_once_more() {
    let settings = [
        ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
        ("COOLDOWN_SECONDS", "0"),
        ("MAX_ALARM_AGE_SECONDS", "0"),
    ];
    let world = World::new(Facts::bad_release());
    run(&event("sns-alarm"), &world, &settings);
    world.change(|facts| {
        facts.now += TimeDelta::minutes(30);
        let now = facts.now;
        let mut back = live(release("d2", &[("release", "2")]), "2026-11-20T10:00:00Z");
        back.updated_at = Some(now - TimeDelta::minutes(2));
        facts.serve(&prod(), back);
        facts.alarms.iter_mut().for_each(|one| one.alarm.changed_at = Some(now - TimeDelta::minutes(1)));
    });
    run_together(&[&event("sns-alarm"), &event("sns-alarm-latency")], &world, &settings);
    world.change(|facts| facts.now += TimeDelta::minutes(5));
    let shown = run(r#"{"command":"sweep"}"#, &world, &settings);
    let told = world.facts().told;
    let rolled_back = told.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    assert_eq!(rolled_back, 2, "{shown}");
}
