//! What other runs, operators and AWS do between two calls of a run that moves a rollout on.

use apigw_rollback::model::report::Outcome;
use serde_json::{Value, json};

use super::{RECORD, Rolls, canary, logged, start};
use crate::support::harness::attempt;
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, conflict, denied};

/// A rollout whose new release fails every request.
fn convicted() -> Story {
    logged().command("rollout-start", &start()).served(1, 12, 12).quietly()
}

fn state(story: &Story) -> String {
    let facts = story.world.facts();
    let record: Value = serde_json::from_str(facts.parameters[RECORD].last().unwrap()).unwrap();
    record["state"]["is"].as_str().unwrap().to_owned()
}

/// API Gateway may answer a read with what the stage served before the first step. A second look shows the canary.
#[test]
fn an_old_look_ends_no_paused_rollout() {
    let story = logged();
    story.world.remember(story.now());
    let story = story
        .command("rollout-start", &start())
        .command("rollout-pause", &json!({"reason": "lunch"}))
        .quietly()
        .with_fault("GetStage", 1, Fault::Stale)
        .advance();
    assert_eq!(state(&story), "paused", "{}", story.described);
}

/// The canary of the first step, as a pipeline makes it.
fn canary_of_the_step(facts: &mut Facts) {
    canary(facts, "10");
    facts.stage().release.canary.as_mut().unwrap().overrides.clear();
}

/// The run sent no step, so what the stage serves after the end is not this rollout's.
#[test]
fn the_same_canary_that_somebody_makes_after_an_abort_stays() {
    let story = logged().command("rollout-start", &start()).quietly();
    let story = story.with_fault("GetStage", 5, Fault::World(canary_of_the_step));
    let story = story.command("rollout-abort", &json!({}));
    assert_eq!(state(&story), "aborted", "{}", story.described);
    assert!(story.world.facts().stage().release.canary.is_some(), "{}", story.described);
}

/// It is no reason to ask an operator: the next run tries again.
#[test]
fn a_rollback_that_fails_pauses_no_rollout() {
    for refused in [denied(), conflict()] {
        let story = convicted().with_fault("UpdateStage", 0, Fault::Before(refused)).advance();
        assert_eq!(state(&story), "baking", "{}", story.described);
    }
}

#[test]
fn a_rollback_of_a_quicker_run_pauses_no_rollout() {
    let off = Fault::World(|facts| facts.stage().release.canary = None);
    let story = convicted().with_fault("GetStage", 2, off).advance();
    assert_eq!(state(&story), "baking", "{}", story.described);
}

#[test]
fn only_one_of_two_rollouts_begins() {
    let begin = |fault| {
        let story = logged().with_fault("CreateParameter", 1, fault);
        story.command("rollout-start", &start()).described
    };
    let another = |facts: &mut Facts| {
        facts.parameters.insert(RECORD.to_owned(), vec!["{}".to_owned()]);
    };
    let theirs = begin(Fault::World(another));
    assert!(theirs.contains("report: rejected (rollout-running): another rollout"), "{theirs}");
    assert!(!theirs.contains("call: UpdateStage"), "{theirs}");
    let ours = begin(Fault::Twice);
    assert!(ours.contains("report: rollout-step"), "{ours}");
}

/// The second version of the record is the run's own, so the step is the run's own as well.
#[test]
fn a_step_whose_record_was_sent_twice_is_reported() {
    let story = logged().command("rollout-start", &start()).served(6, 12, 0);
    let story = story.with_fault("PutParameter", 2, Fault::Twice);
    let reports = attempt(r#"{"command":"advance"}"#, &story.world, &story.settings, 9).unwrap();
    let steps = reports.iter().filter(|report| report.outcome == Outcome::RolloutStep).count();
    assert_eq!(steps, 1, "{reports:?}");
    assert_eq!(state(&story), "baking");
}
