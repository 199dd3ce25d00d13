//! What cannot be read is neither written over nor taken for absent.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use serde_json::json;

use crate::support::story::Story;
use crate::support::world::{prod, release};

/// Release 2 is live; one of the stage's parameters is of a newer schema.
fn with_newer(what: &str) -> Story {
    let name = ParameterNames::under("/apigw-rollback").known_good(&prod()).replace("known-good", what);
    Story::with_known_good().deploy(2).world(
        &format!("the parameter `{what}` is of a newer schema"),
        |facts| {
            facts.parameters.insert(name, vec![r#"{"schema":9}"#.to_owned()]);
        },
    )
}

#[test]
fn a_newer_list_of_rollbacks_survives_every_command() {
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    let story = with_newer("rollbacks")
        .command("rollback", &json!({"reason": "checkout fails"}))
        .command("lift", &json!({"incident": fingerprint}))
        .later(1)
        .alarm_is(State::Alarm)
        .event_comes()
        .sweep();
    let facts = story.world.facts();
    let list = facts.parameters.iter().find(|(name, _)| name.ends_with("/rollbacks")).unwrap();
    assert_eq!(list.1, &[r#"{"schema":9}"#]);
    story.ends("a newer list of rollbacks survives every command");
}

#[test]
fn a_newer_candidate_is_not_announced_over() {
    let story = with_newer("candidate").command("announce", &json!({"reversible": false})).sweep();
    let facts = story.world.facts();
    let candidate = facts.parameters.iter().find(|(name, _)| name.ends_with("/candidate")).unwrap();
    assert_eq!(candidate.1, &[r#"{"schema":9}"#]);
    story.ends("a newer candidate is not announced over");
}

#[test]
fn an_incident_that_cannot_be_read_is_a_quarantine_and_is_kept() {
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    let what = format!("incidents/{fingerprint}");
    let story = with_newer(&what)
        .command("record", &json!({}))
        .command("lift", &json!({"incident": fingerprint}))
        .later(1)
        .alarm_is(State::Alarm)
        .event_comes();
    let facts = story.world.facts();
    let incident = facts.parameters.iter().find(|(name, _)| name.ends_with(&what)).unwrap();
    assert_eq!(incident.1, &[r#"{"schema":9}"#]);
    story.ends("an incident that cannot be read is a quarantine and is kept");
}
