//! Releases that come back by a component, which the stage's own last change does not show.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::LiveAlias;
use serde_json::json;

use crate::scenarios::components::alias;
use crate::support::story::Story;
use crate::support::world::API;

const WHOLE: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"]}]"#;

fn moves(story: Story, version: &str) -> Story {
    let target = alias(version);
    story.world(&format!("the alias moves to version {version}"), |facts| {
        let live = LiveAlias { target, revision: "r1".to_owned() };
        facts.aliases = [("orders:live".parse().unwrap(), live)].into();
    })
}

/// Version 1 is known-good. A sweep sees version 2, later ones see version 1 again, and then the alias moves to version 2.
fn back(away: i64) -> Story {
    let good = moves(Story::new().set("PROTECTED_STAGES", WHOLE), "1").sweep().later(31).sweep();
    let seen = moves(good, "2").sweep().command("announce", &json!({"label": "v2"})).later(5);
    let gone = moves(seen, "1").sweep().later(away).sweep().quietly();
    moves(gone, "2")
}

#[test]
fn a_release_that_comes_back_by_its_alias_bakes_anew() {
    let story = back(300).later(5).sweep();
    assert!(!story.described.contains("report: promoted"), "{}", story.described);
    let story = story.later(29).sweep();
    assert!(!story.described.contains("report: promoted"), "{}", story.described);
    let story = story.later(2).sweep();
    assert!(story.described.contains("report: promoted"), "{}", story.described);
    let facts = story.world.facts();
    let record = facts.parameters[&format!("/apigw-rollback/stages/{API}/prod/known-good")].last().unwrap();
    assert!(record.contains(r#""label":"v2""#), "{record}");
}

#[test]
fn a_release_that_comes_back_by_its_alias_is_not_outside_the_rollback_window() {
    for sweeps in [false, true] {
        let story = back(60 * 25).later(3).alarm_is(State::Alarm);
        let story = if sweeps { story.sweep() } else { story.event_arrives() };
        assert!(story.described.contains("report: rolled-back"), "{sweeps}: {}", story.described);
    }
}

#[test]
fn a_fix_by_an_alias_during_the_alarm_bakes_from_the_end_of_the_alarm() {
    let good = moves(Story::new().set("PROTECTED_STAGES", WHOLE), "1").sweep().later(31).sweep();
    let bad = moves(good, "2").later(3).alarm_is(State::Alarm).later(1).event_arrives();
    assert!(bad.described.contains("report: rolled-back"), "{}", bad.described);
    let mut story = moves(bad.later(2), "3").later(1).sweep().later(3).alarm_is(State::Ok);
    for (minutes, promoted) in [(28, false), (1, false), (2, true)] {
        story = story.quietly().later(minutes).sweep();
        assert_eq!(story.described.contains("report: promoted"), promoted, "{minutes}: {}", story.described);
    }
}
