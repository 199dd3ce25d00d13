//! Runs at the same time: duplicate events, two alarms of one release, sweeps next to events. The runs take turns at
//! every call to AWS.

use apigw_rollback::model::alarm::State;

use crate::support::harness::{event, run_together};
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, World, conflict, live, prod, release};

const SWEEP: &str = r#"{"command":"sweep"}"#;

/// Runs the events at the same time in the world of a bad release with this twist; returns the output and the world.
fn together(events: &[&str], twist: impl FnOnce(&mut Facts)) -> (String, World) {
    let mut facts = Facts::bad_release();
    twist(&mut facts);
    let world = World::new(facts);
    let shown = run_together(events, &world, &[]);
    (shown, world)
}

#[test]
fn one_incident_is_reported_once_by_any_number_of_runs() {
    let (alarm, latency) = (event("sns-alarm"), event("sns-alarm-latency"));
    for events in [
        vec![alarm.as_str(), alarm.as_str()],
        vec![alarm.as_str(), latency.as_str()],
        vec![alarm.as_str(), SWEEP],
        vec![SWEEP, SWEEP],
        vec![latency.as_str(), SWEEP, alarm.as_str(), SWEEP],
    ] {
        let (shown, world) = together(&events, |_| {});
        let facts = world.facts();
        assert_eq!(facts.stages[&prod()].release, release("d1", &[("release", "1")]), "{shown}");
        assert_eq!(shown.matches("report: rolled-back").count(), 1, "{shown}");
        let incidents = facts.parameters.iter().filter(|(name, _)| name.contains("/incidents/"));
        assert_eq!(incidents.map(|(_, versions)| versions.len()).collect::<Vec<_>>(), [1], "{shown}");
        let rollbacks = facts.parameters.iter().find(|(name, _)| name.ends_with("/rollbacks")).unwrap();
        assert_eq!(rollbacks.1.len(), 1, "{shown}");
        assert!(!shown.contains("failed") && !shown.contains("needs-human"), "{shown}");
    }
}

#[test]
fn two_sweeps_at_once_record_the_same_release() {
    let quiet = |facts: &mut Facts| {
        facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
        facts.alarms.iter_mut().for_each(|now| now.alarm.changed_at = None);
        facts.parameters.clear();
        *facts.stage() = live(release("d1", &[("release", "1")]), "2026-11-20T08:00:00Z");
    };
    let (_, world) = together(&[SWEEP, SWEEP], quiet);
    world.change(|facts| facts.now += chrono::TimeDelta::minutes(31));
    let shown = run_together(&[SWEEP, SWEEP, SWEEP], &world, &[]);
    let facts = world.facts();
    assert_eq!(facts.stages[&prod()].release.deployment, "d1", "{shown}");
    assert_eq!(facts.stages[&prod().parked()].release.deployment, "d1", "{shown}");
    assert!(facts.stages[&prod().parked()].closed, "{shown}");
    let known_good = facts.parameters.iter().find(|(name, _)| name.ends_with("/known-good")).unwrap();
    assert!(known_good.1.iter().all(|version| version.contains(r#""deployment":"d1""#)), "{shown}");
    assert!(!shown.contains("report: failed"), "{shown}");
}

#[test]
fn a_release_whose_rollback_was_abandoned_is_not_in_quarantine() {
    let facts = Facts::bad_release();
    let world = World::new(facts).fault("UpdateStage", 1, Fault::Before(conflict())).fault(
        "DescribeAlarms",
        2,
        Fault::World(|facts| facts.alarms[0].alarm.state = State::Ok),
    );
    let shown = run_together(&[&event("sns-alarm")], &world, &[]);
    assert!(shown.contains("report: held (alarm-cleared)"), "{shown}");
    let shown = run_together(&[&event("command-record")], &World::new(world.facts()), &[("PIN", "off")]);
    assert!(shown.contains("report: recorded"), "{shown}");
}

/// Parameter Store stores the record of the incident twice: the answer of the first call is lost.
#[test]
fn a_record_of_an_incident_that_was_written_twice_is_this_runs_own() {
    let again = || {
        Story::with_known_good()
            .deploy(2)
            .later(1)
            .alarm_is(State::Alarm)
            .event_arrives()
            .later(24 * 60)
            .alarm_is(State::Ok)
            .sweep()
            .deploy(2)
            .later(1)
            .alarm_is(State::Alarm)
            .quietly()
    };
    for fault in [None, Some(Fault::Twice)] {
        let mut story = again();
        if let Some(fault) = fault {
            story = story.with_fault("PutParameter", 1, fault);
        }
        let story = story.event_arrives();
        assert!(story.described.contains("report: rolled-back"), "{}", story.described);
        assert_eq!(story.stage(), "d1", "{}", story.described);
    }
}
