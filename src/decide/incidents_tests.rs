//! The tests of which incidents are open, closed, unlisted, expired and in quarantine.

use chrono::{DateTime, TimeDelta, Utc};

use super::fixture::{good, incident, release};
use super::incidents::{closing, entry_of, has_expired, is_listed, last_open, quarantines, unlisted};
use crate::model::alarm::time;
use crate::model::records::{Incident, RollbackEntry, Rollbacks};

/// So many seconds after the rollback.
fn at(second: i64) -> DateTime<Utc> {
    time("2026-11-20T10:00:00Z").unwrap() + TimeDelta::seconds(second)
}

fn entry(alarm: Option<&str>, second: i64, recovered: Option<i64>) -> RollbackEntry {
    RollbackEntry {
        at: at(second),
        fingerprint: release("2").fingerprint(),
        alarm: alarm.map(str::to_owned),
        alarm_at: None,
        other_source: false,
        recovered_at: recovered.map(at),
        lifted: false,
    }
}

fn list(past: Vec<RollbackEntry>) -> Rollbacks {
    Rollbacks { past, ..Rollbacks::default() }
}

#[test]
fn an_ok_closes_every_open_rollback_for_its_alarm_and_no_other() {
    let open = |second| entry(Some("5xx"), second, None);
    let closed = |second, recovered| entry(Some("5xx"), second, Some(recovered));
    let (other, operators) = (entry(Some("latency"), 20, None), entry(None, 30, None));
    for (case, past, last, after) in [
        ("no rollback", vec![], None, vec![]),
        ("one", vec![open(0)], Some(0), vec![closed(0, 100)]),
        ("one is closed already", vec![closed(0, 50)], None, vec![]),
        ("two", vec![open(0), open(10)], Some(10), vec![closed(0, 100), closed(10, 100)]),
        (
            "the last one is closed already",
            vec![open(0), closed(10, 50)],
            Some(0),
            vec![closed(0, 100), closed(10, 50)],
        ),
        ("those of another alarm and of an operator", vec![other.clone(), operators.clone()], None, vec![]),
        (
            "one among others",
            vec![open(0), other.clone(), operators.clone()],
            Some(0),
            vec![closed(0, 100), other, operators],
        ),
        // CloudWatch may truncate its times to whole seconds.
        ("the OK seems to be older than the rollback", vec![open(101)], Some(101), vec![closed(101, 101)]),
    ] {
        let rollbacks = list(past);
        let found = closing(&rollbacks, "5xx", at(100));
        let listed = found.as_ref().map(|one| one.rollbacks.past.clone()).unwrap_or_default();
        let entry = found.map(|one| one.entry.at);
        let of_last = last_open(&rollbacks, "5xx").map(|one| one.at);
        assert_eq!((entry, of_last, listed), (last.map(at), last.map(at), after), "{case}");
    }
}

#[test]
fn a_rollback_is_missing_from_the_list_if_its_run_is_dead_and_the_list_goes_back_far_enough() {
    type Edit = fn(&mut Incident, &mut Rollbacks);
    fn full(entries: usize, oldest: i64) -> Rollbacks {
        let nth = |nth: usize| entry(None, oldest + i64::try_from(nth).unwrap(), None);
        let fingerprint = |one| RollbackEntry { fingerprint: "f".into(), ..one };
        list((0..entries).map(nth).map(fingerprint).collect())
    }
    let rows: [(&str, Edit, i64, bool); 14] = [
        ("its run may still act", |_, _| (), 6 * 60, false),
        ("its run is dead", |_, _| (), 6 * 60 + 1, true),
        ("it is almost a day old", |_, _| (), 24 * 3_600 - 1, true),
        ("it is a day old", |_, _| (), 24 * 3_600, false),
        ("it is on the list", |_, list| list.past.push(entry(None, 0, None)), 900, false),
        ("it was undone", |one, _| one.undone = true, 900, false),
        ("another release is live", |one, _| one.good = release("3").into(), 900, false),
        ("the list is not full", |_, list| *list = full(19, 10), 900, true),
        ("the list is full, and goes back further", |_, list| *list = full(20, -1), 900, true),
        ("the list is full, and begins with it", |_, list| *list = full(20, 0), 900, false),
        ("the list is full, and begins after it", |_, list| *list = full(20, 10), 900, false),
        (
            "it is on the list, and was undone",
            |one, list| {
                one.undone = true;
                list.past.push(entry(None, 0, None));
            },
            900,
            false,
        ),
        ("its run may still act, and it was undone", |one, _| one.undone = true, 60, false),
        (
            "it is long past, and another release is live",
            |one, _| one.good = release("3").into(),
            90_000,
            false,
        ),
    ];
    for (case, edit, age, expected) in rows {
        let (_, mut observed) = good();
        let mut incident = incident("2", "1", at(0));
        edit(&mut incident, &mut observed.on_record.rollbacks);
        let incidents = [incident];
        let found = unlisted(&observed.on_record, &incidents, &release("1"), at(age));
        let expected: Vec<&Incident> = incidents.iter().filter(|_| expected).collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_rollback_is_on_the_list_if_an_entry_for_its_release_is_less_than_a_run_away() {
    for (case, number, second, expected) in [
        ("at the same time", "2", 0, true),
        ("just before it", "2", -359, true),
        ("just after it", "2", 359, true),
        ("a whole run before it", "2", -360, false),
        ("a whole run after it", "2", 360, false),
        ("for another release", "3", 0, false),
        ("for another release, long after it", "3", 3_600, false),
    ] {
        let fingerprint = release(number).fingerprint();
        let rollbacks = list(vec![RollbackEntry { fingerprint, ..entry(None, second, None) }]);
        assert_eq!(is_listed(&rollbacks, &incident("2", "1", at(0))), expected, "{case}");
    }
    assert!(!is_listed(&list(vec![]), &incident("2", "1", at(0))), "an empty list");
}

#[test]
fn an_incident_expires_only_after_it_was_kept_for_the_whole_time() {
    for (case, age, expected) in
        [("it is younger", 99, false), ("it is as old", 100, false), ("it is older", 101, true)]
    {
        let incident = incident("2", "1", at(0));
        assert_eq!(has_expired(&incident, TimeDelta::seconds(100), at(age)), expected, "{case}");
    }
}

#[test]
fn an_incident_keeps_its_release_in_quarantine_until_it_is_undone_or_lifted() {
    for (case, lifted_by, undone, expected) in [
        ("a rollback", None, false, true),
        ("one that was undone", None, true, false),
        ("one that was lifted", Some("on call"), false, false),
        ("one that was undone and lifted", Some("on call"), true, false),
    ] {
        let lifted_by = lifted_by.map(str::to_owned);
        let incident = Incident { undone, lifted_by, ..incident("2", "1", at(0)) };
        assert_eq!(quarantines(&incident), expected, "{case}");
    }
}

#[test]
fn an_entry_names_the_alarm_or_the_sibling_but_no_operator() {
    for (case, by_alarm, sibling, lifted_by, expected) in [
        ("an alarm", true, None, None, (Some("5xx"), false)),
        ("an operator", false, None, None, (None, false)),
        ("a sibling", false, Some("us-east-1"), None, (Some("5xx"), false)),
        ("an alarm, and a sibling", true, Some("us-east-1"), None, (Some("5xx"), false)),
        ("one that was lifted", true, None, Some("on call"), (Some("5xx"), true)),
    ] {
        let [sibling, lifted_by] = [sibling, lifted_by].map(|text: Option<&str>| text.map(str::to_owned));
        let (alarm_at, recovered_at) = (Some(at(-30)), Some(at(60)));
        let of = incident("2", "1", at(0));
        let incident =
            Incident { by_alarm, sibling, lifted_by, alarm_at, recovered_at, other_source: true, ..of };
        let (alarm, lifted) = expected;
        let expected = RollbackEntry {
            at: at(0),
            fingerprint: release("2").fingerprint(),
            alarm: alarm.map(str::to_owned),
            alarm_at,
            other_source: true,
            recovered_at,
            lifted,
        };
        assert_eq!(entry_of(&incident), expected, "{case}");
    }
}
