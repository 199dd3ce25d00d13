//! The sweep removes old incidents, and tells when Parameter Store is nearly full.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::records::{Incident, SCHEMA, print};
use chrono::TimeDelta;

use crate::support::harness::run;
use crate::support::world::{Facts, Fault, World, denied, prod, record, release};

const SWEEP: &str = r#"{"command":"sweep"}"#;

/// Makes a quiet stage with incidents of releases, each with its age in days and what an operator or a run made of it.
fn with_incidents(incidents: &[(&str, i64, &str)]) -> Facts {
    let mut facts = Facts::bad_release();
    let names = ParameterNames::under("/apigw-rollback");
    facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
    for (deployment, days, what) in incidents {
        let incident = Incident {
            schema: SCHEMA,
            stage: prod(),
            bad: release(deployment, &[]).into(),
            good: release("d1", &[("release", "1")]).into(),
            version: 1,
            at: facts.now - TimeDelta::days(*days),
            since: None,
            undone: *what == "undone",
            by: "orders-prod-5xx".to_owned(),
            by_alarm: true,
            sibling: None,
            alarm_at: None,
            other_source: false,
            why: String::new(),
            run: "run-0".to_owned(),
            recovered_at: None,
            lifted_by: (*what == "lifted").then(|| "eve".to_owned()),
        };
        let name = names.incident(&prod(), &incident.bad.fingerprint());
        facts.parameters.insert(name, vec![print(&incident).unwrap()]);
    }
    facts
}

fn left(world: &World) -> Vec<String> {
    let facts = world.facts();
    let incidents = facts.parameters.iter().filter(|(name, _)| name.contains("/incidents/"));
    let incidents = incidents.filter_map(|(_, value)| serde_json::from_str::<Incident>(value.last()?).ok());
    let mut left: Vec<String> = incidents.map(|one| one.bad.release.deployment).collect();
    left.sort();
    left
}

#[test]
fn an_old_incident_is_removed_once_it_quarantines_nothing_that_exists() {
    let incidents = [
        ("gone", 91, ""),
        ("young", 89, ""),
        ("d2", 91, ""),
        ("lifted", 91, "lifted"),
        ("undone", 400, "undone"),
    ];
    for (case, settings, expected) in [
        ("90 days", vec![], vec!["d2", "young"]),
        ("a month", vec![("INCIDENTS_KEPT_DAYS", "30")], vec!["d2"]),
        ("for good", vec![("INCIDENTS_KEPT_DAYS", "0")], vec!["d2", "gone", "lifted", "undone", "young"]),
    ] {
        let world = World::new(with_incidents(&incidents));
        run(SWEEP, &world, &settings);
        assert_eq!(left(&world), expected, "{case}");
    }
}

#[test]
fn a_sweep_looks_at_a_few_old_incidents_and_the_next_ones_at_the_others() {
    let many: Vec<String> = (0..12).map(|n| format!("gone{n:02}")).collect();
    let incidents: Vec<_> = many.iter().map(|deployment| (deployment.as_str(), 91, "")).collect();
    let world = World::new(with_incidents(&incidents));
    let mut numbers = vec![];
    for _ in 0..4 {
        run(SWEEP, &world, &[]);
        world.change(|facts| facts.now += TimeDelta::minutes(5));
        numbers.push(left(&world).len());
    }
    assert_eq!(numbers, [7, 2, 0, 0]);
}

#[test]
fn an_incident_that_cannot_be_judged_or_removed_stays() {
    let unread =
        World::new(with_incidents(&[("gone", 91, "")])).fault("GetDeployment", 0, Fault::Before(denied()));
    let shown = run(SWEEP, &unread, &[]);
    assert!(shown.contains("GetDeployment") && left(&unread) == ["gone"], "{shown}");
    // An older role may not delete it: nothing to tell.
    let kept =
        World::new(with_incidents(&[("gone", 91, "")])).fault("DeleteParameter", 0, Fault::Before(denied()));
    let shown = run(SWEEP, &kept, &[]);
    assert!(!shown.contains("warning") && left(&kept) == ["gone"], "{shown}");
}

#[test]
fn people_are_told_before_parameter_store_is_full() {
    let fill = |number: usize| {
        let mut facts = with_incidents(&[]);
        let value = print(&record(release("d1", &[]))).unwrap();
        let name = |n: usize| format!("/apigw-rollback/stages/other/s{n}/policy");
        facts.parameters.extend((0..number).map(|n| (name(n), vec![value.clone()])));
        run(SWEEP, &World::new(facts), &[])
    };
    assert!(
        fill(8_000).contains("report: attention (parameters-nearly-full): the records use 8001 parameters")
    );
    assert!(!fill(7_000).contains("parameters-nearly-full"));
}
