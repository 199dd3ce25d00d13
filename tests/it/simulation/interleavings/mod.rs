//! The claim protocol, checked over every interleaving: up to three runs of the real engine, somebody who deploys, and
//! time that passes, with every order in which their calls can reach AWS. States that were met before are not gone
//! through again, and orders that cannot differ in what comes of them are not tried twice: `order.rs` says which, and
//! where two runs meet, every order is tried as well, to see that nothing is lost by that.

mod order;
mod play;

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

/// Goes through a scene and judges every end.
fn explore(what: &str, events: &[(String, Signal)], others: &[Other], reduced: bool) -> Found {
    let (facts, config) = (Facts::bad_release(), config(&SETTINGS));
    let (events, others) = (events.to_vec(), others.to_vec());
    explore_scene(what, &Scene { facts, events, others, config, in_table: true }, reduced)
}

fn explore_scene(what: &str, scene: &Scene, reduced: bool) -> Found {
    let judge = |facts: &Facts, seen: &[Seen]| check(scene, facts, seen);
    let found = play::explore(scene, reduced, judge).unwrap_or_else(|why| panic!("{what}: {why}"));
    let how = if reduced { "enough orders" } else { "every order" };
    let (states, ends) = (found.states(), found.ends.len());
    println!("{what}: {how}: {states} states, {ends} ends, {} schedules", found.played);
    found
}

/// What holds at every end: the invariants, and each change of the stage is one incident, claimed, reported and told
/// once.
fn check(scene: &Scene, facts: &Facts, seen: &[Seen]) -> Result<(), String> {
    hold(&scene.facts, facts, seen, &scene.config)?;
    let by_runs = |by: &str| seen.iter().any(|run| run.hand == by);
    let changes = facts.changes.iter().filter(|one| by_runs(&one.by) && one.from != one.to).count();
    let reports: Vec<&Report> = seen.iter().filter_map(|run| run.reports.as_ref()).flatten().collect();
    let count = |outcome| reports.iter().filter(|report| report.outcome == outcome).count();
    let described = facts.described.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    let claims = || facts.writes.iter().filter(|write| write.name.contains("/incidents/"));
    // Where a release came back, who claims it second overwrites the incident too, and sees by its version that
    // another run was first.
    let (claims, overwritten) = (claims().count(), claims().filter(|write| !write.first).count());
    // API Gateway compares nothing before it writes: what is deployed between a run's look and its write is lost, and
    // the run cannot know. Nothing else may be.
    let pairs = facts.changes.windows(2).filter(|pair| !by_runs(&pair[0].by) && by_runs(&pair[1].by));
    let lost = pairs.count();
    let reported = count(Outcome::RolledBack);
    let claimed = reported <= claims && claims - reported <= overwritten;
    if reported != described || !claimed || reported > changes + lost || reported + lost < changes {
        return Err(format!("{changes} changes, {reported} reports, {described} notices, {claims} claims"));
    }
    // No release was taken off more often than it went live.
    let at_first = &scene.facts.stages[&prod()].release;
    for report in reports.iter().filter(|report| report.outcome == Outcome::RolledBack) {
        let is_its =
            |release: &Release| Some(release) == report.before.as_ref().map(Release::in_stage).as_ref();
        let off = reports.iter().filter(|one| one.outcome == report.outcome && one.before == report.before);
        let on = facts.changes.iter().filter(|one| !by_runs(&one.by) && is_its(&one.to)).count();
        if off.count() > on + usize::from(is_its(at_first)) {
            return Err(format!("a release is taken off more often than it went live: {}", report.message));
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

fn brings_it_back(facts: &mut Facts) {
    let mut live = live(release("d2", &[("release", "2")]), "2026-11-20T10:06:00Z");
    live.updated_at = Some(facts.now);
    facts.serve(&prod(), live);
}

/// Goes through every order of a scene, and through those that are enough: they lead to the same ends.
fn compare(what: &str, events: &[(String, Signal)], others: &[Other]) {
    let every = explore(what, events, others, false);
    let enough = explore(what, events, others, true);
    assert!(enough.states() < every.states() / 2, "{what}: {} states are no reduction", enough.states());
    let mut lost = every.ends.iter().filter(|(end, _)| !enough.ends.contains_key(end));
    assert!(lost.clone().next().is_none(), "{what}: no order that is enough ends as\n{:?}", lost.next());
    assert_eq!(enough.ends.len(), every.ends.len(), "{what}: there are other ends than by every order");
}

#[test]
fn a_claim_is_one_runs_alone_in_every_order() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    compare("an event twice", &[fired(), fired()], &[]);
    compare("two alarms and a deploy", &[fired(), slow()], &[Other::ExternalAction(deploys)]);
    explore("three", &[fired(), slow(), fired()], &[], true);
}

/// Two alarms of a release of several parts: one run goes, and the other waits for it.
#[test]
fn several_parts_are_one_runs_alone_in_every_order() {
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    let config = config(&[&SETTINGS[..], &[("PROTECTED_STAGES", WHOLE)]].concat());
    let events = vec![alarm("sns-alarm"), alarm("sns-alarm-latency")];
    let scene = Scene { facts, events, others: vec![], config, in_table: false };
    let found = explore_scene("several parts", &scene, false);
    assert!(found.ends.len() > 1, "{} ends", found.ends.len());
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn a_claim_is_one_runs_alone_with_three_runs_a_deployer_and_time() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    let (deploy, again) = (Other::ExternalAction(deploys), Other::ExternalAction(brings_it_back));
    explore("three, a deploy, time", &[fired(), slow(), fired()], &[deploy, Other::Wait], true);
    explore(
        "three, the bad release comes back, time",
        &[fired(), slow(), fired()],
        &[again, Other::Wait],
        true,
    );
    compare("an event and a sweep", &[fired(), sweep()], &[]);
    compare("two, the bad release comes back, time", &[fired(), slow()], &[again, Other::Wait]);
    compare("three", &[fired(), slow(), fired()], &[]);
}
