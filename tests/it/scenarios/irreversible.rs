//! Releases that are marked irreversible, as after a data migration.

use apigw_rollback::model::alarm::State;
use serde_json::json;

use crate::support::story::Story;

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
