//! What people and programs are told about a rollout, even if the run that had the news dies.

use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::reason::stamp;
use serde_json::{Value, json};

use super::{RECORD, Rolls, logged, start};
use crate::support::harness::{attempt, reports};
use crate::support::story::Story;
use crate::support::world::{API, Fault, World, denied, error};

fn command(verb: &str) -> String {
    json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"}).to_string()
}

fn record(story: &Story) -> Value {
    serde_json::from_str(story.world.facts().parameters[RECORD].last().unwrap()).unwrap()
}

/// The same story without its faults.
fn undisturbed(story: Story) -> Story {
    Story { world: World::new(story.world.facts()), ..story }
}

/// A rollout whose first step was denied, and that cannot make it now because of a hold.
fn held() -> Story {
    let story = logged().with_fault("UpdateStage", 0, Fault::Before(denied()));
    let story = undisturbed(story.command("rollout-start", &start()));
    story.command("hold", &json!({"until": "2026-11-20T12:00:00Z"})).later(1).quietly()
}

/// Lets a run die after it has written the record of the rollout.
fn dies_after_the_record(story: Story, event: &str) -> Story {
    let story = story.with_fault("PutParameter", 1, Fault::DieAfter);
    assert!(attempt(event, &story.world, &story.settings, 9).is_none(), "{event}");
    undisturbed(story)
}

fn subjects(story: &Story) -> Vec<String> {
    let sent = story.world.facts().notifications.into_iter();
    sent.map(|notification| notification.subject.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn people_are_told_of_the_second_pause_as_of_the_first() {
    let story = held()
        .command("rollout-pause", &json!({"reason": "lunch"}))
        .advance()
        .later(1)
        .command("rollout-resume", &json!({}))
        .later(1);
    assert_eq!(subjects(&story), ["ROLLOUT STARTED", "ROLLOUT PAUSED"]);
    let story = dies_after_the_record(story, &command("rollout-pause")).later(1).advance();
    assert_eq!(subjects(&story), ["ROLLOUT STARTED", "ROLLOUT PAUSED", "ROLLOUT PAUSED"]);
}

#[test]
fn people_are_told_of_the_end_of_a_rollout_whose_pause_they_know() {
    let story = held().command("rollout-pause", &json!({"reason": "lunch"})).advance().later(1).deploy(3);
    assert_eq!(record(&story)["told"], true);
    let story = dies_after_the_record(story, r#"{"command":"advance"}"#).later(1).advance();
    assert_eq!(subjects(&story), ["ROLLOUT STARTED", "ROLLOUT PAUSED", "ROLLOUT ENDED"]);
}

#[test]
fn a_refused_step_ends_a_rollout_when_it_is_refused() {
    let refused = error(Failure::Refused, "BadRequestException", "Invalid percentage");
    let story = held().command("release-hold", &json!({}));
    let story = story.later(5).with_fault("UpdateStage", 0, Fault::Before(refused)).advance();
    let record = record(&story);
    assert_eq!(record["state"]["is"], "aborted", "{}", story.described);
    assert_eq!(record["since"], stamp(story.now()));
}

#[test]
fn the_status_of_a_rollout_shows_what_is_live() {
    let story = logged().command("rollout-start", &start());
    let live = Some(story.world.facts().stage().release.clone());
    let [status] = reports(&command("rollout-status"), &story.world).try_into().unwrap();
    assert_eq!((&status.before, &status.after), (&live, &live));
}

/// The messages of one rollout are one thread, and each names both releases.
#[test]
fn people_are_told_both_releases_in_one_thread() {
    let story = logged().command("rollout-start", &start()).later(5);
    let story = story.command("rollout-pause", &json!({"reason": "lunch"}));
    let id = record(&story)["id"].as_str().unwrap().to_owned();
    let sent = story.world.facts().notifications;
    assert_eq!(sent.len(), 2);
    for notification in sent {
        let was_live = "Was live   deployment `d1`, release=1, since 08:31:00 UTC";
        for expected in [was_live, "Live now   v2, deployment `d1`"] {
            assert!(notification.text.contains(expected), "{expected}:\n{}", notification.text);
        }
        let chat: Value = serde_json::from_str(&notification.chat).unwrap();
        assert_eq!(chat["metadata"]["threadId"], format!("rollout/{id}"));
    }
}

#[test]
fn people_are_told_by_which_rollout_a_release_was_convicted() {
    let story = logged().command("rollout-start", &start()).served(1, 12, 12).advance();
    let sent = story.world.facts().notifications.pop().unwrap();
    let expected = "rollout to v2 (d2): deployment d2: ";
    assert!(sent.text.contains(expected), "{}", sent.text);
}
