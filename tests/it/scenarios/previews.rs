//! `plan` and `status` promise only what an alarm or a rollback would do, and `status` says why a release still waits.

use apigw_rollback::model::report::{Details, Report};
use apigw_rollback::model::status::{AlarmNowStatus, NotYetStatus};

use crate::support::harness::{event, reports};
use crate::support::world::{Facts, World, at, live, prod, record, release};
use apigw_rollback::model::records::print;

fn one(world: &World, command: &str) -> Report {
    let [report] = <[Report; 1]>::try_from(reports(command, world)).unwrap();
    report
}

fn alarm_now(report: &Report) -> String {
    let Some(Details::Status(status)) = &report.details else { panic!("{}", report.message) };
    match &status.alarm_now {
        AlarmNowStatus::Act(plan) => format!("{} of version {}", plan.to.deployment, plan.version),
        AlarmNowStatus::Hold(reason) => reason.code().to_owned(),
    }
}

fn planned(report: &Report) -> String {
    let to = report.after.as_ref().filter(|_| report.code().is_none());
    to.map_or_else(
        || report.code().unwrap().to_owned(),
        |to| format!("{} of version {}", to.deployment, report.version.unwrap()),
    )
}

#[test]
fn a_preview_asks_for_the_known_good_deployment() {
    let delete = |facts: &mut Facts, deployment: &str| facts.deployments.retain(|(_, id)| id != deployment);
    let plan = event("command-plan");
    let to_1 = plan.replace(r#""plan","#, r#""plan","to":1,"#);
    for (deleted, plan_says, plan_of_1_says, status_says) in [
        (&[][..], "d1 of version 2", "d0 of version 1", "d1 of version 2"),
        (&["d1"], "d0 of version 1", "d0 of version 1", "d0 of version 1"),
        (&["d0"], "d1 of version 2", "known-good-missing", "d1 of version 2"),
        (&["d0", "d1"], "known-good-missing", "known-good-missing", "known-good-missing"),
    ] {
        let mut facts = Facts::bad_release();
        let versions = ["d0", "d1"].map(|id| print(&record(release(id, &[("release", "1")]))).unwrap());
        facts.known_good("");
        *facts.parameters.values_mut().next().unwrap() = versions.into();
        facts.deployments.push((prod().api, "d0".to_owned()));
        for deployment in deleted {
            delete(&mut facts, deployment);
        }
        let world = World::new(facts);
        assert_eq!(planned(&one(&world, &plan)), plan_says, "plan without {deleted:?}");
        let of_1 = one(&world, &to_1);
        assert_eq!(planned(&of_1), plan_of_1_says, "plan of 1 without {deleted:?}");
        // Nothing older than the version that was asked for was tried.
        assert!(!of_1.message.contains("no older version"), "{}", of_1.message);
        let status = one(&world, &event("command-status"));
        assert_eq!(alarm_now(&status), status_says, "status without {deleted:?}");
    }
}

#[test]
fn a_rollback_does_not_wait_for_the_deployment_that_its_only_call_names() {
    let world = World::new(Facts::bad_release());
    assert_eq!(one(&world, &event("sns-alarm")).outcome.word(), "rolled-back");
    let calls = world.take_calls();
    assert!(!calls.iter().any(|call| call.starts_with("GetDeployment")), "{calls:?}");
}

#[test]
fn the_status_tells_what_the_last_sweep_found() {
    let found = |world: &World| {
        let report = one(world, &event("command-status"));
        let Some(Details::Status(status)) = report.details else { panic!("{}", report.message) };
        status.not_yet
    };
    let mut facts = Facts::bad_release();
    facts.alarms.clear();
    let world = World::new(facts);
    assert_eq!(found(&world), None, "without a sweep");
    reports(&event("command-sweep"), &world);
    let first = found(&world);
    let why = "a new release was found, and its bake time starts".to_owned();
    assert_eq!(first, Some(NotYetStatus { why, swept_at: world.now() }));
    world.change(|facts| facts.now += chrono::TimeDelta::minutes(5));
    reports(&event("command-sweep"), &world);
    let NotYetStatus { why, swept_at } = found(&world).unwrap();
    assert_eq!(swept_at, world.now());
    assert!(why.contains("bake"), "{why}");
    // A release that went live after the sweep was not judged by it.
    world.change(|facts| {
        facts.now = at("2026-11-20T11:00:00Z");
        facts.stages.insert(prod(), live(release("d3", &[]), "2026-11-20T10:59:00Z"));
    });
    assert_eq!(found(&world), None, "a release after the sweep");
    // The known-good release waits for nothing.
    world.change(|facts| {
        facts.stages.insert(prod(), live(release("d1", &[("release", "1")]), "2026-11-20T10:00:00Z"));
    });
    assert_eq!(found(&world), None, "the known-good release");
    reports(&event("command-sweep"), &world);
    let sweep = world.facts().parameters["/apigw-rollback/sweep"].last().unwrap().clone();
    assert!(!sweep.contains("states"), "{sweep}");
}

#[test]
fn a_promotion_without_a_name_is_not_one_of_the_sweep() {
    for (command, who) in [
        (event("command-promote"), "release pipeline"),
        (event("command-promote").replace(",\n  \"who\": \"release pipeline\"", ""), "an unknown operator"),
    ] {
        let mut facts = Facts::bad_release();
        for alarm in &mut facts.alarms {
            alarm.alarm.state = apigw_rollback::model::alarm::State::Ok;
        }
        let world = World::new(facts);
        let report = one(&world, &command);
        assert_eq!(report.outcome.word(), "promoted", "{}", report.message);
        assert_eq!(world.facts().recorded(&prod()).pop().unwrap().who.as_deref(), Some(who));
    }
}
