//! Regressions that the simulation found: each story once broke an invariant in some seed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::records::{Incident, SCHEMA, print};
use apigw_rollback::model::report::Report;
use apigw_rollback::model::stage::LiveStage;
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::time::Instant;

use super::healed::healed;
use crate::scenarios::components::{WHOLE, bad_everywhere};
use crate::support::harness::{config, event, run, run_together};
use crate::support::story::{START, Story};
use crate::support::world::{
    Clock, FUNCTION, Facts, Fault, FaultModel, Network, Transit, World, denied, error, live, prod, release,
};

#[test]
fn a_release_that_was_replaced_between_two_sweeps_bakes_again() {
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .sweep()
        .later(1)
        .deploy(3)
        .later(25)
        .deploy(2)
        .later(5)
        .sweep()
        .later(26)
        .sweep()
        .ends("a release that was replaced in between bakes again");
}

#[test]
fn an_alarm_with_disabled_actions_does_not_hide_another() {
    let story = Story::with_known_good().deploy(2).later(3).alarm_is(State::Alarm).world(
        "its actions are disabled, and another alarm is in ALARM",
        |facts| {
            facts.alarms[0].actions_enabled = false;
            (facts.alarms[1].alarm.state, facts.alarms[1].alarm.changed_at) = (State::Alarm, Some(facts.now));
        },
    );
    assert_eq!(story.later(1).sweep().stage(), "d1");
}

#[test]
fn a_lift_before_the_first_listed_rollback_leaves_a_readable_list() {
    let story = Story::with_known_good()
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .with_fault("PutParameter", 0, Fault::Before(denied()))
        .event_arrives();
    let facts = story.world.facts();
    let bad = release("d2", &[("release", "2")]).fingerprint();
    let story = Story { world: World::new(facts), ..story };
    let story = story.alarm_is(State::Ok).command("lift", &json!({"incident": bad}));
    let story = story.later(10).deploy(3).later(3).alarm_is(State::Alarm).event_arrives();
    assert_eq!(story.stage(), "d1");
}

#[test]
fn a_redeployed_release_that_two_alarms_roll_back_is_notified_once_more() {
    let settings = [
        ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
        ("COOLDOWN_SECONDS", "0"),
        ("MAX_ALARM_AGE_SECONDS", "0"),
    ];
    let world = World::new(Facts::bad_release());
    run(&event("sns-alarm"), &world, &settings);
    world.change(|facts| {
        facts.now += TimeDelta::minutes(30);
        let now = facts.now;
        let mut back = live(release("d2", &[("release", "2")]), "2026-11-20T10:00:00Z");
        back.updated_at = Some(now - TimeDelta::minutes(2));
        facts.serve(&prod(), back);
        facts.alarms.iter_mut().for_each(|one| one.alarm.changed_at = Some(now - TimeDelta::minutes(1)));
    });
    run_together(&[&event("sns-alarm"), &event("sns-alarm-latency")], &world, &settings);
    world.change(|facts| facts.now += TimeDelta::minutes(5));
    let shown = run(r#"{"command":"sweep"}"#, &world, &settings);
    let sent = world.facts().notifications;
    let rolled_back =
        sent.iter().filter(|notification| notification.subject.starts_with("ROLLED BACK")).count();
    assert_eq!(rolled_back, 2, "{shown}");
}

#[test]
fn the_rollback_window_starts_with_the_deploy_and_not_with_the_next_sweep() {
    let story = Story::with_known_good().set("ROLLBACK_WINDOW_SECONDS", "300");
    let story = story.deploy(2).later(14).alarm_is(State::Alarm).sweep().later(1).sweep();
    assert_eq!(story.stage(), "d2");
}

/// Changes the world as if, during the run, the release was rolled back, redeployed, and rolled back by another run.
fn redeployed_and_rolled_back(facts: &mut Facts) {
    let good = release("d1", &[("release", "1")]);
    let incident = Incident {
        schema: SCHEMA,
        stage: prod(),
        bad: release("d2", &[("release", "2")]).into(),
        good: good.clone().into(),
        version: 1,
        at: facts.now,
        since: Some(facts.now),
        undone: false,
        by: "orders-prod-latency".to_owned(),
        by_alarm: true,
        sibling: None,
        alarm_at: None,
        other_source: false,
        why: String::new(),
        run: "run-9".to_owned(),
        recovered_at: None,
        lifted_by: None,
    };
    let name = ParameterNames::under("/apigw-rollback").incident(&prod(), &incident.bad.fingerprint());
    facts.parameters.insert(name, vec!["{}".to_owned(), print(&incident).unwrap()]);
    facts.serve(&prod(), live(good, "2026-11-20T10:06:00Z"));
}

#[test]
fn a_run_that_saw_only_the_first_deployment_of_a_release_does_not_claim_the_second() {
    let world = World::new(Facts::bad_release()).fault(
        "CreateParameter",
        1,
        Fault::World(redeployed_and_rolled_back),
    );
    let shown = run(&event("sns-alarm"), &world, &[]);
    assert!(shown.contains("report: held (already-known-good)"), "{shown}");
}

/// A fault model in which every call takes ten milliseconds, and a claim takes the given time.
struct Slow(Clock, Duration);

impl FaultModel for Slow {
    fn transit<'a>(
        &'a self,
        operation: &'static str,
        _once: bool,
    ) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>> {
        let outbound = if operation == "CreateParameter" { self.1 } else { Duration::from_millis(10) };
        Box::pin(async move { Transit { outbound, ..Transit::default() } })
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }
}

/// Starts a run `begins` milliseconds after the world; each of its claims takes `claims` milliseconds.
async fn later(begins: u64, claims: u64, text: &str, world: &World, config: &Config) -> Vec<Report> {
    later_with(begins, claims, text, world, config, |world| world).await
}

async fn later_with(
    begins: u64,
    claims: u64,
    text: &str,
    world: &World,
    config: &Config,
    faults: impl FnOnce(World) -> World,
) -> Vec<Report> {
    let clock = Clock { began: Instant::now(), at: world.now() };
    tokio::time::sleep(Duration::from_millis(begins)).await;
    let id = format!("run-{begins}");
    let cloud = &faults(
        world.for_run(id.clone(), Network::FaultModel(Arc::new(Slow(clock, Duration::from_millis(claims))))),
    );
    let (began, now, function) = (Instant::now(), clock.now(), Some(FUNCTION));
    let deadline = began + Duration::from_secs(20);
    let run =
        Context { cloud, config, trigger: &UNKNOWN, id: &id, trace: None, function, now, began, deadline };
    Box::pin(handle(text, &run)).await.reports
}

#[test]
fn a_rollback_of_several_components_is_notified_once_whenever_the_second_alarm_arrives() {
    let settings = [
        ("PROTECTED_STAGES", WHOLE),
        ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
    ];
    let (config, fired, slow) = (config(&settings), event("sns-alarm"), event("sns-alarm-latency"));
    for (claims, begins) in
        [10, 300].into_iter().flat_map(|claims| (1..60).map(move |begins| (claims, begins)))
    {
        let mut facts = Facts::bad_release();
        bad_everywhere(&mut facts);
        let world = World::new(facts);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let reports = runtime.block_on(async {
            tokio::join!(later(0, claims, &fired, &world, &config), later(begins, 10, &slow, &world, &config))
        });
        let facts = world.facts();
        let notified = facts
            .notifications
            .iter()
            .filter(|notification| notification.subject.starts_with("ROLLED BACK"))
            .count();
        let story = format!("claims take {claims} ms, {begins} ms later: {reports:?}");
        healed(&facts, &[], &prod(), true).unwrap_or_else(|why| panic!("{why}: {story}"));
        assert_eq!(notified, 1, "{story}");
    }
}

/// AWS refuses the last step of one of two runs. That run undoes its own steps and none of the other run's.
#[test]
fn a_second_run_does_not_partly_undo_a_rollback_of_several_components() {
    let (config, fired, slow) =
        (config(&[("PROTECTED_STAGES", WHOLE)]), event("sns-alarm"), event("sns-alarm-latency"));
    for (refused, begins) in [true, false].into_iter().flat_map(|first| (1..90).map(move |ms| (first, ms))) {
        let mut facts = Facts::bad_release();
        bad_everywhere(&mut facts);
        let world = World::new(facts.clone());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let refuse = |world: World, it: bool| {
            if it { world.fault("UpdateBasePathMapping", 0, Fault::Before(denied())) } else { world }
        };
        let reports = runtime.block_on(async {
            tokio::join!(
                later_with(0, 10, &fired, &world, &config, |world| refuse(world, refused)),
                later_with(begins, 10, &slow, &world, &config, |world| refuse(world, !refused))
            )
        });
        let after = world.facts();
        let is_healed = healed(&after, &[], &prod(), false);
        let served = |facts: &Facts| format!("{:?} {:?}", facts.stages[&prod()].release, facts.mappings);
        let untouched = served(&after) == served(&facts);
        let reported = format!("{reports:?}").contains("RolledBack");
        let story =
            format!("refused is the first: {refused}, the second begins {begins} ms later: {reports:?}");
        assert!(untouched || is_healed.is_ok(), "the release is only partly rolled back: {story}");
        assert_eq!(reported, is_healed.is_ok(), "{story}");
    }
}

/// API Gateway dates the undo after the alarm, but the undo is not a fix.
#[test]
fn the_next_attempt_rolls_back_again_after_an_undo() {
    let settings = [
        ("PROTECTED_STAGES", WHOLE),
        ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
    ];
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    let world = World::new(facts).fault("UpdateBasePathMapping", 1, Fault::Before(denied()));
    let first = run(&event("sns-alarm"), &world, &settings);
    assert!(first.contains("report: failed") && first.contains("undone: "), "{first}");
    let world = World::new(world.facts());
    world.change(|facts| facts.now += TimeDelta::minutes(1));
    let second = run(&event("sns-alarm"), &world, &settings);
    assert!(second.contains("report: rolled-back"), "{second}");
    healed(&world.facts(), &[], &prod(), true).unwrap();
}

/// If the time of the previous change is unknown, the function must assume that another deploy made the last one.
#[test]
fn an_undone_stage_without_a_time_of_change_is_left_alone() {
    let settings = [("PROTECTED_STAGES", WHOLE)];
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    facts.stage().updated_at = None;
    let world = World::new(facts).fault("UpdateBasePathMapping", 1, Fault::Before(denied()));
    run(&event("sns-alarm"), &world, &settings);
    let world = World::new(world.facts());
    world.change(|facts| facts.now += TimeDelta::minutes(1));
    let shown = run(&event("sns-alarm"), &world, &settings);
    assert!(shown.contains("report: held (changed-after-alarm)"), "{shown}");
}

/// A later change by another deploy is left alone, even after an undo.
#[test]
fn a_change_after_an_undo_is_treated_as_another_deploy() {
    let settings = [("PROTECTED_STAGES", WHOLE), ("MAX_ALARM_AGE_SECONDS", "0")];
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    let world = World::new(facts).fault("UpdateBasePathMapping", 1, Fault::Before(denied()));
    run(&event("sns-alarm"), &world, &settings);
    let world = World::new(world.facts());
    world.change(|facts| {
        facts.now += TimeDelta::minutes(2);
        let changed = LiveStage { updated_at: Some(facts.now), ..facts.stages[&prod()].clone() };
        facts.serve(&prod(), changed);
        facts.now += TimeDelta::minutes(1);
    });
    let shown = run(&event("sns-alarm"), &world, &settings);
    assert!(shown.contains("report: held (changed-after-alarm)"), "{shown}");
}

/// Users come first: if the claim is slow to write, the run starts the rollback before the claim is written.
#[test]
fn a_rollback_of_several_components_does_not_wait_for_a_slow_claim() {
    let (config, fired) = (config(&[("PROTECTED_STAGES", WHOLE)]), event("sns-alarm"));
    let mut facts = Facts::bad_release();
    bad_everywhere(&mut facts);
    let world = World::new(facts);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let began = world.now();
    runtime.block_on(later(0, 15_000, &fired, &world, &config));
    let facts = world.facts();
    healed(&facts, &[], &prod(), true).unwrap();
    let back = facts.changes.iter().find(|one| one.stage == prod()).unwrap().at - began;
    assert!(back < TimeDelta::seconds(3), "the rollback took {back}");
}

/// While the hook runs, another deploy fixes the stage, or the hook itself does.
#[test]
fn a_change_during_the_hook_is_not_overwritten() {
    for (number, expected) in [("3", "held (changed-after-alarm)"), ("1", "held (already-known-good)")] {
        let change: fn(&mut Facts) = match number {
            "3" => |facts| deploy(facts, "3"),
            _ => |facts| deploy(facts, "1"),
        };
        let story = Story::with_known_good()
            .set("HOOK_FUNCTION", "capture")
            .deploy(2)
            .later(3)
            .alarm_is(State::Alarm)
            .later(1)
            .with_fault("Invoke", 1, Fault::World(change))
            .event_arrives();
        assert_eq!(story.stage(), format!("d{number}"), "{}", story.described);
        assert!(story.described.contains(&format!("report: {expected}")), "{}", story.described);
    }
}

fn deploy(facts: &mut Facts, number: &str) {
    *facts.stage() = live(release(&format!("d{number}"), &[("release", number)]), START);
    facts.stage().updated_at = Some(facts.now);
}

#[test]
fn a_quarantine_stands_on_the_list_alone_if_the_incident_could_not_be_written() {
    let full =
        error(Failure::Other, "ParameterLimitExceeded", "You have reached the maximum number of parameters");
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .with_fault("CreateParameter", 0, Fault::Before(full))
        .event_arrives()
        .alarm_is(State::Ok)
        .later(10)
        .deploy(2)
        .command("record", &json!({}))
        .command("lift", &json!({"incident": fingerprint}))
        .command("record", &json!({}))
        .ends("a quarantine stands on the list alone");
}
