//! The values of stage variables, which are often tokens, leave the function only as the answer to a command.

use apigw_rollback::model::records::print;
use serde_json::json;

use crate::support::harness::{attempt, event};
use crate::support::world::{Facts, World, live, record, release};

const SECRET: &str = "s3cret";
const NOTIFY: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");

fn world() -> World {
    let mut facts = Facts::bad_release();
    facts.known_good(&print(&record(release("d1", &[("token", "s3cret-1"), ("same", "s3cret-3")]))).unwrap());
    let bad = release("d2", &[("token", "s3cret-2"), ("same", "s3cret-3")]);
    *facts.stage() = live(bad, "2026-11-20T10:00:00Z");
    World::new(facts)
}

#[test]
fn notifications_and_answers_name_the_variables_that_changed_and_have_no_values() {
    for (shows, expected) in [("off", false), ("on", true)] {
        let world = world();
        let settings = [NOTIFY, ("SHOW_VARIABLES", shows)];
        let reports = attempt(&event("sns-alarm"), &world, &settings, 1).unwrap();
        let sent = world.facts().notifications.remove(0);
        let answer = json!(reports).to_string();
        for (place, text) in
            [("mail", &sent.text), ("chat", &sent.chat), ("report", &sent.report), ("answer", &answer)]
        {
            assert_eq!(text.contains(SECRET), expected, "{shows}, {place}: {text}");
            assert!(text.contains("token"), "{shows}, {place}: {text}");
        }
        if !expected {
            assert!(sent.text.contains("token=(hidden, old value), same=(hidden)"), "{}", sent.text);
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_not_quoted() {
    for odd in [json!({"token": 53_234_917}), json!("token=s3cret"), json!(["s3cret"])] {
        let mut record = json!(record(release("d1", &[("release", "1")])));
        record["release"]["variables"] = odd;
        let mut facts = Facts::bad_release();
        facts.known_good(&record.to_string());
        let world = World::new(facts);
        let reports = attempt(&event("sns-alarm"), &world, &[NOTIFY], 1).unwrap();
        let text = format!("{}{:?}", json!(reports), world.facts().notifications);
        assert!(text.contains("no-known-good") && text.contains("invalid type, expected"), "{text}");
        assert!(!text.contains(SECRET) && !text.contains("53234917"), "{text}");
    }
}

#[test]
fn the_answer_to_a_command_has_the_values() {
    let reports =
        attempt(&event("command-status"), &world(), &[NOTIFY, ("SHOW_VARIABLES", "off")], 1).unwrap();
    assert!(json!(reports).to_string().contains(SECRET));
}
