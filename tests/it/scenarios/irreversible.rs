//! Releases that are marked irreversible, as after a data migration.

use apigw_rollback::model::alarm::State;
use serde_json::{Value, json};

use crate::support::story::Story;
use crate::support::world::{API, prod};

#[test]
fn a_record_keeps_the_label_and_the_note_that_were_announced_for_its_release() {
    let announced = json!({"label": "v2", "note": "faster"});
    let check = |what: &str, story: Story, expected: [Option<&str>; 2]| {
        let facts = story.world.facts();
        let record = facts.parameters[&format!("/apigw-rollback/stages/{API}/prod/known-good")].last();
        let record: Value = serde_json::from_str(record.unwrap()).unwrap();
        assert_eq!(["label", "note"].map(|field| record[field].as_str()), expected, "{what}");
    };
    let two = || Story::with_known_good().deploy(2).command("announce", &announced);
    let recorded = |story: Story, more| story.command("record", &more);
    check("nothing is given", recorded(two(), json!({})), [Some("v2"), Some("faster")]);
    check("a label is given", recorded(two(), json!({"label": "v2.1"})), [Some("v2.1"), Some("faster")]);
    check("it was announced of another release", recorded(two().deploy(3), json!({})), [None, None]);
    let again = recorded(recorded(two(), json!({"note": "much faster"})).later(1), json!({}));
    check("it is recorded again", again, [Some("v2"), Some("much faster")]);
}

#[test]
fn no_alarm_undoes_an_irreversible_release_or_goes_behind_it_until_a_release_is_recorded() {
    Story::with_known_good()
        .deploy(2)
        .command("announce", &json!({"reversible": false, "note": "moves the orders table"}))
        .later(2)
        .alarm_is(State::Alarm)
        .event_arrives()
        .sweep()
        .command("rollback", &json!({}))
        .command("rollback", &json!({"force": true}))
        .ends("an irreversible release is only rolled back by force");
    Story::with_known_good()
        .deploy(2)
        .command("announce", &json!({"reversible": false}))
        .deploy(3)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .command("announce", &json!({"reversible": true}))
        .command("rollback", &json!({}))
        .ends("a release after an irreversible one is left alone");
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .command("announce", &json!({"reversible": false}))
        .deploy(1)
        .later(1)
        .command("record", &json!({}))
        .deploy(3)
        .command("rollback", &json!({}))
        .ends("a record ends the mark of an irreversible release");
}

#[test]
fn a_record_keeps_the_mark_of_an_irreversible_release_unless_it_says_otherwise() {
    let marked = || Story::with_known_good().deploy(2).command("announce", &json!({"reversible": false}));
    let recorded = |story: Story, more| story.later(1).command("record", &more);
    for (case, story, expected) in [
        ("nothing is given", recorded(marked(), json!({})), true),
        ("a label is given", recorded(marked(), json!({"label": "v2"})), true),
        ("it is reversible again", recorded(marked(), json!({"reversible": true})), false),
        (
            "it was announced as reversible again",
            recorded(marked().command("announce", &json!({"reversible": true})), json!({})),
            false,
        ),
        ("it is recorded again", recorded(recorded(marked(), json!({})), json!({"label": "v2"})), true),
        (
            "it was only recorded as irreversible, and is recorded again",
            recorded(recorded(Story::with_known_good().deploy(2), json!({"reversible": false})), json!({})),
            true,
        ),
        ("a release after it is recorded", recorded(marked().deploy(3), json!({})), true),
        ("none was announced", recorded(Story::with_known_good().deploy(2), json!({})), false),
    ] {
        let facts = story.world.facts();
        let record = facts.recorded(&prod()).pop().unwrap();
        assert_eq!(record.irreversible, expected, "{case}: {}", story.described);
    }
}

#[test]
fn no_alarm_goes_behind_the_record_of_a_release_that_was_announced_as_irreversible() {
    let story = Story::with_known_good()
        .deploy(2)
        .command("announce", &json!({"reversible": false}))
        .later(1)
        .command("record", &json!({}))
        .deploy(3)
        .world("the deployment of release 2 is deleted", |facts| {
            facts.deployments.retain(|(_, id)| id != "d2");
        })
        .later(1)
        .alarm_is(State::Alarm)
        .quietly()
        .event_arrives();
    assert!(story.described.contains("(known-good-missing)"), "{}", story.described);
    assert_eq!(story.stage(), "d3", "{}", story.described);
}
