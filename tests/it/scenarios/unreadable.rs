//! A parameter that cannot be read is neither overwritten nor treated as absent.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use serde_json::json;

use crate::support::story::Story;
use crate::support::world::{prod, release};

/// Creates a story in which release 2 is live and one of the stage's parameters has a newer schema.
fn with_newer(what: &str) -> Story {
    let name = ParameterNames::under("/apigw-rollback").known_good(&prod()).replace("known-good", what);
    Story::with_known_good().deploy(2).world(&format!("the parameter `{what}` has a newer schema"), |facts| {
        facts.parameters.insert(name, vec![r#"{"schema":9}"#.to_owned()]);
    })
}

#[test]
fn a_newer_list_of_rollbacks_survives_every_command() {
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    let story = with_newer("rollbacks")
        .command("rollback", &json!({"reason": "checkout fails"}))
        .command("lift", &json!({"incident": fingerprint}))
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .sweep();
    let facts = story.world.facts();
    let list = facts.parameters.iter().find(|(name, _)| name.ends_with("/rollbacks")).unwrap();
    assert_eq!(list.1, &[r#"{"schema":9}"#]);
    story.ends("a newer list of rollbacks survives every command");
}

#[test]
fn announce_does_not_overwrite_a_newer_candidate() {
    let story = with_newer("candidate").command("announce", &json!({"reversible": false})).sweep();
    let facts = story.world.facts();
    let candidate = facts.parameters.iter().find(|(name, _)| name.ends_with("/candidate")).unwrap();
    assert_eq!(candidate.1, &[r#"{"schema":9}"#]);
    story.ends("announce does not overwrite a newer candidate");
}

#[test]
fn an_unreadable_incident_keeps_its_release_in_quarantine() {
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    let what = format!("incidents/{fingerprint}");
    let story = with_newer(&what)
        .command("record", &json!({}))
        .command("lift", &json!({"incident": fingerprint}))
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives();
    let facts = story.world.facts();
    let incident = facts.parameters.iter().find(|(name, _)| name.ends_with(&what)).unwrap();
    assert_eq!(incident.1, &[r#"{"schema":9}"#]);
    story.ends("an unreadable incident keeps its release in quarantine");
}
