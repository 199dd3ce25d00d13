//! What operators, pipelines and other runs write while a sweep works with what it read at its start.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Candidate, Hold, SCHEMA, print};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::story::{START, Story};
use crate::support::world::{Facts, Fault, World, live, prod, release};

fn write(facts: &mut Facts, name: String, value: String) {
    facts.parameters.entry(name).or_default().push(value);
}

fn names() -> ParameterNames {
    ParameterNames::under("/apigw-rollback")
}

/// A pipeline deploys release 2 and announces it as irreversible.
fn announced(facts: &mut Facts) {
    let two = release("d2", &[("release", "2")]);
    let now = facts.now;
    *facts.stage() = live(two.clone(), START);
    facts.stage().updated_at = Some(now);
    let candidate = Candidate {
        irreversible: true,
        label: Some("v2".to_owned()),
        ..Candidate::new(Protocol::Rest, &two, now)
    };
    write(facts, names().candidate(&prod()), print(&candidate).unwrap());
}

/// A pipeline announces the live release as irreversible.
fn marked(facts: &mut Facts) {
    let name = names().candidate(&prod());
    let mut candidate: Value = serde_json::from_str(facts.parameters[&name].last().unwrap()).unwrap();
    candidate["irreversible"] = json!(true);
    candidate["label"] = json!("v2");
    write(facts, name, candidate.to_string());
}

/// The same story without its faults.
fn undisturbed(story: Story) -> Story {
    Story { world: World::new(story.world.facts()), ..story }
}

#[test]
fn an_announcement_that_comes_during_a_sweep_stays() {
    let sweep = Story::with_known_good().later(5).with_fault("GetStages", 1, Fault::World(announced)).sweep();
    let story = undisturbed(sweep).later(2).alarm_is(State::Alarm).event_arrives();
    assert!(story.described.contains("(irreversible-release)"), "{}", story.described);
    assert_eq!(story.stage(), "d2", "{}", story.described);
}

/// An alarm fired before there was anything to roll back to, so the bake time starts again.
#[test]
fn an_announcement_that_comes_before_the_bake_time_starts_again_stays() {
    let fired =
        Story::new().deploy(2).sweep().later(5).alarm_is(State::Alarm).later(5).alarm_is(State::Ok).later(40);
    let restarted = "the bake time starts again";
    let checked =
        Story { world: World::new(fired.world.facts()), described: String::new(), settings: vec![] };
    let checked = checked.sweep();
    assert!(checked.described.contains(restarted), "{}", checked.described);
    let story = undisturbed(fired.with_fault("GetStages", 1, Fault::World(marked)).sweep());
    let facts = story.world.facts();
    let candidate = facts.parameters[&names().candidate(&prod())].last().unwrap();
    let candidate: Candidate = serde_json::from_str(candidate).unwrap();
    assert!(candidate.irreversible, "{}", story.described);
}

#[test]
fn what_operators_write_before_a_promotion_counts() {
    let held = |facts: &mut Facts| {
        let until = facts.now + TimeDelta::days(1);
        let hold = Hold { schema: SCHEMA, until, by: Some("eve".to_owned()), why: None };
        write(facts, names().hold(&prod()), print(&hold).unwrap());
    };
    let recorded = |facts: &mut Facts| {
        let mut record = facts.recorded(&prod()).pop().unwrap();
        record.release = release("d2", &[("release", "2")]);
        (record.label, record.recorded_at) = (Some("v2.1".to_owned()), facts.now);
        write(facts, names().known_good(&prod()), print(&record).unwrap());
    };
    let due = || Story::with_known_good().deploy(2).sweep().later(31).quietly();
    let undisturbed_sweep = due().sweep();
    assert!(undisturbed_sweep.described.contains("report: promoted"), "{}", undisturbed_sweep.described);
    for (case, change) in
        [("a hold", held as fn(&mut Facts)), ("an announcement", marked), ("a record", recorded)]
    {
        let story = due().with_fault("GetStages", 1, Fault::World(change)).sweep();
        assert!(!story.described.contains("report: promoted"), "{case}: {}", story.described);
        let last = undisturbed(story).sweep().world.facts().recorded(&prod()).pop().unwrap();
        let found = (last.release.deployment.as_str(), last.label.as_deref(), last.irreversible);
        match case {
            "a hold" => assert_eq!(found.0, "d1"),
            "an announcement" => assert_eq!(found, ("d2", Some("v2"), true)),
            _ => assert_eq!(found, ("d2", Some("v2.1"), false)),
        }
    }
}

/// The list of rollbacks with one more, of another release, as a run that rolls the stage back during the sweep writes it.
fn one_more(facts: &mut Facts) {
    let name = names().rollbacks(&prod());
    let mut list: Value = serde_json::from_str(facts.parameters[&name].last().unwrap()).unwrap();
    let now = facts.now;
    list["past"]
        .as_array_mut()
        .unwrap()
        .push(json!({"at": now, "fingerprint": "aaaaaaaaaaaa", "alarm": "another", "alarm_at": now}));
    write(facts, name, list.to_string());
}

fn listed(story: &Story) -> Vec<(String, bool)> {
    let facts = story.world.facts();
    let list: Value =
        serde_json::from_str(facts.parameters[&names().rollbacks(&prod())].last().unwrap()).unwrap();
    let past = list["past"].as_array().unwrap().iter();
    past.map(|one| (one["fingerprint"].as_str().unwrap().to_owned(), one["recovered_at"].is_string()))
        .collect()
}

#[test]
fn a_rollback_that_is_listed_during_a_sweep_stays_on_the_list() {
    let rolled_back = || Story::with_known_good().deploy(2).later(1).alarm_is(State::Alarm).event_arrives();
    let two = release("d2", &[("release", "2")]).fingerprint();
    let closed = rolled_back().later(20).alarm_is(State::Ok);
    let closed = closed.with_fault("GetStages", 1, Fault::World(one_more)).sweep();
    let closed = undisturbed(closed).sweep();
    let expected = [(two.clone(), true), ("aaaaaaaaaaaa".to_owned(), false)];
    assert_eq!(listed(&closed), expected, "{}", closed.described);
    let lost = rolled_back().later(20).world("the run died before it listed its rollback", |facts| {
        write(facts, names().rollbacks(&prod()), json!({"schema": SCHEMA, "past": []}).to_string());
    });
    let lost = lost.with_fault("GetStages", 1, Fault::World(one_more)).sweep();
    let lost = undisturbed(lost).sweep();
    let mut found = listed(&lost);
    found.sort();
    let mut expected = [(two, false), ("aaaaaaaaaaaa".to_owned(), false)];
    expected.sort();
    assert_eq!(found, expected, "{}", lost.described);
}

/// The run listed its rollback after the sweep had read the list.
#[test]
fn a_rollback_that_its_own_run_lists_during_a_sweep_is_not_reported_again() {
    let story = Story::with_known_good().deploy(2).later(1).alarm_is(State::Alarm).event_arrives().later(20);
    let story = story.quietly().world("the list is not written yet", |facts| {
        write(facts, names().rollbacks(&prod()), json!({"schema": SCHEMA, "past": []}).to_string());
    });
    let listing = |facts: &mut Facts| {
        let versions = facts.parameters.get_mut(&names().rollbacks(&prod())).unwrap();
        versions.push(versions[versions.len() - 2].clone());
    };
    let story = story.with_fault("GetStages", 1, Fault::World(listing)).sweep();
    assert!(!story.described.contains("could not report it"), "{}", story.described);
    assert_eq!(listed(&story).len(), 1, "{}", story.described);
}
