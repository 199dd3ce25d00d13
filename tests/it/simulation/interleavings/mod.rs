//! The claim protocol, checked over every interleaving: up to three runs of the real engine, a deployer and the passage
//! of time, in every order in which their calls can reach AWS. Known states are not explored again, and equivalent
//! orders are skipped; `order.rs` decides which. For two runs, the tests also explore every order and compare the ends.

mod order;
mod play;
mod rollouts;

use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::{Outcome, Report};

use crate::scenarios::components::{WHOLE, bad_everywhere};
use crate::simulation::invariants::{Seen, Signal, hold};
use crate::support::harness::{config, event};
use crate::support::world::{Facts, live, prod, release};
use play::{Found, Other, Scene};

const SWEEP: &str = r#"{"command":"sweep"}"#;
const SETTINGS: [(&str, &str); 4] = [
    ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
    ("COOLDOWN_SECONDS", "0"),
    ("MAX_ALARM_AGE_SECONDS", "0"),
    ("PIN", "off"),
];

/// Explores a scene and checks every end.
fn explore(what: &str, events: &[(String, Signal)], others: &[Other], reduced: bool) -> Found {
    let (facts, config) = (Facts::bad_release(), config(&SETTINGS));
    let (events, others) = (events.to_vec(), others.to_vec());
    explore_scene(
        what,
        &Scene { facts, events, others, config, unordered: order::SWEEP, in_table: true },
        reduced,
    )
}

fn explore_scene(what: &str, scene: &Scene, reduced: bool) -> Found {
    let judge = |facts: &Facts, seen: &[Seen]| check(scene, facts, seen);
    let found = play::explore(scene, reduced, judge).unwrap_or_else(|why| panic!("{what}: {why}"));
    let how = if reduced { "reduced" } else { "every order" };
    let (states, ends) = (found.states(), found.ends.len());
    println!("{what}: {how}: {states} states, {ends} ends, {} schedules", found.played);
    found
}

/// Checks an end: the invariants hold, and each change of the stage is one incident, claimed, reported and notified
/// once.
fn check(scene: &Scene, facts: &Facts, seen: &[Seen]) -> Result<(), String> {
    hold(&scene.facts, facts, seen, &scene.config)?;
    let by_runs = |by: &str| seen.iter().any(|run| run.id == by);
    let changes = facts.changes.iter().filter(|one| by_runs(&one.by) && one.from != one.to).count();
    let reports: Vec<&Report> = seen.iter().filter_map(|run| run.reports.as_ref()).flatten().collect();
    let count = |outcome| reports.iter().filter(|report| report.outcome == outcome).count();
    let notified = facts
        .notifications
        .iter()
        .filter(|notification| notification.subject.starts_with("ROLLED BACK"))
        .count();
    let claims = || facts.writes.iter().filter(|write| write.name.contains("/incidents/"));
    // If a release was redeployed, a second claim also overwrites the incident; the run sees from the parameter's
    // version that another run was first.
    let (claims, overwritten) = (claims().count(), claims().filter(|write| !write.first).count());
    // API Gateway has no conditional write: a deploy between a run's read and its write is lost, and the run cannot
    // know. No other change may be lost.
    let pairs = facts.changes.windows(2).filter(|pair| !by_runs(&pair[0].by) && by_runs(&pair[1].by));
    let lost = pairs.count();
    let reported = count(Outcome::RolledBack);
    let claimed = reported <= claims && claims - reported <= overwritten;
    if reported != notified || !claimed || reported > changes + lost || reported + lost < changes {
        return Err(format!(
            "{changes} changes, {reported} reports, {notified} notifications, {claims} claims"
        ));
    }
    // No release was rolled back more often than it went live.
    let at_first = &scene.facts.stages[&prod()].release;
    for report in reports.iter().filter(|report| report.outcome == Outcome::RolledBack) {
        let is_its =
            |release: &Release| Some(release) == report.before.as_ref().map(Release::in_stage).as_ref();
        let off = reports.iter().filter(|one| one.outcome == report.outcome && one.before == report.before);
        let on = facts.changes.iter().filter(|one| !by_runs(&one.by) && is_its(&one.to)).count();
        if off.count() > on + usize::from(is_its(at_first)) {
            return Err(format!("a release is rolled back more often than it went live: {}", report.message));
        }
    }
    if count(Outcome::Failed) + count(Outcome::NeedsHuman) > 0 {
        return Err(format!("{reports:?}"));
    }
    Ok(())
}

fn alarm(event_file: &str) -> (String, Signal) {
    let name = if event_file.ends_with("latency") { "orders-prod-latency" } else { "orders-prod-5xx" };
    (event(event_file), Signal::Alarm { name: name.to_owned(), fired: None, ours: true })
}

fn sweep() -> (String, Signal) {
    (SWEEP.to_owned(), Signal::Sweep)
}

fn deploys(facts: &mut Facts) {
    facts.deployments.push((crate::support::world::API.to_owned(), "d3".to_owned()));
    let mut live = live(release("d3", &[("release", "3")]), "2026-11-20T10:06:00Z");
    live.updated_at = Some(facts.now);
    facts.serve(&prod(), live);
}

fn redeploys(facts: &mut Facts) {
    let mut live = live(release("d2", &[("release", "2")]), "2026-11-20T10:06:00Z");
    live.updated_at = Some(facts.now);
    facts.serve(&prod(), live);
}

/// Explores every order of a scene and the reduced orders, and checks that both lead to the same ends.
fn compare(what: &str, events: &[(String, Signal)], others: &[Other]) {
    let every = explore(what, events, others, false);
    let reduced = explore(what, events, others, true);
    assert!(reduced.states() < every.states() / 2, "{what}: {} states are no reduction", reduced.states());
    let mut lost = every.ends.iter().filter(|(end, _)| !reduced.ends.contains_key(end));
    assert!(lost.clone().next().is_none(), "{what}: no reduced order ends as\n{:?}", lost.next());
    assert_eq!(reduced.ends.len(), every.ends.len(), "{what}: the reduced orders have additional ends");
}

#[test]
fn only_one_run_wins_a_claim_in_every_order() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    compare("a duplicate event", &[fired(), fired()], &[]);
    compare("two alarms and a deploy", &[fired(), slow()], &[Other::ExternalAction(deploys)]);
    explore("three runs", &[fired(), slow(), fired()], &[], true);
}

/// With two alarms for a release of several components, one run acts and the other waits for it.
#[test]
fn only_one_run_rolls_back_several_components_in_every_order() {
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    let config = config(&[&SETTINGS[..], &[("PROTECTED_STAGES", WHOLE)]].concat());
    let events = vec![alarm("sns-alarm"), alarm("sns-alarm-latency")];
    let scene = Scene { facts, events, others: vec![], config, unordered: order::SWEEP, in_table: false };
    let found = explore_scene("several components", &scene, false);
    assert!(found.ends.len() > 1, "{} ends", found.ends.len());
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn only_one_of_three_runs_wins_a_claim_with_a_deployer_and_time() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    let (deploy, again) = (Other::ExternalAction(deploys), Other::ExternalAction(redeploys));
    explore("three runs, a deploy, time", &[fired(), slow(), fired()], &[deploy, Other::Wait], true);
    explore(
        "three runs, the bad release is redeployed, time",
        &[fired(), slow(), fired()],
        &[again, Other::Wait],
        true,
    );
    compare("an event and a sweep", &[fired(), sweep()], &[]);
    compare("two runs, the bad release is redeployed, time", &[fired(), slow()], &[again, Other::Wait]);
    compare("three runs", &[fired(), slow(), fired()], &[]);
}
