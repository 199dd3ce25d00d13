//! The second table of the sweep: rollouts, canaries, siblings and the times around them.

use std::collections::BTreeMap;

use super::fixture::{release, rollout};
use super::upkeep_tests::{Edit, Scene, alarm, at, incident, live, past};
use crate::model::alarm::{State, Watches, time};
use crate::model::observed::{KnownGood, Pin};
use crate::model::policy::Siblings;
use crate::model::release::{Canary, Release};
use crate::model::rollout::{Rollout, RolloutState};
use crate::model::sibling::{BadRelease, Deed, SiblingIncident};

/// A sibling found a release with this label, or this deployment of the stage, bad.
fn sibling(scene: &mut Scene, policy: Siblings, label: Option<&str>, here: &str) {
    scene.on_record.policy.siblings = Some(policy);
    scene.on_record.rollbacks.siblings = vec![SiblingIncident {
        bad: BadRelease {
            region: "us-east-1".into(),
            function: "apigw-rollback".into(),
            id: "i".into(),
            label: label.map(str::to_owned),
            contents: None,
        },
        deed: Deed::RolledBack,
        at: at("2026-11-20T11:00:00Z"),
        here: Some(here.to_owned()),
        cleared: false,
    }];
}

/// Gives the stage the base and the canary of a rollout in this state.
fn roll(scene: &mut Scene, state: RolloutState, told: bool) {
    let rollout = Rollout { told, ..rollout(state) };
    live(scene).release = Release { canary: rollout.in_step().canary, ..release("1") };
    scene.on_record.rollout = Ok(Some((1, Box::new(rollout))));
}

fn aborted() -> RolloutState {
    RolloutState::Aborted { why: "x".into() }
}

/// The policy wants what a pipeline gave some of the traffic to be rolled out.
fn adopts(scene: &mut Scene) {
    scene.on_record.policy.rollout = Some(rollout(RolloutState::Baking).terms);
}

fn split(scene: &mut Scene, deployment: Option<&str>) {
    let deployment = deployment.map(str::to_owned);
    live(scene).release.canary =
        Some(Canary { deployment, percent: "10".into(), overrides: BTreeMap::new(), uses_cache: false });
}

fn weigh(scene: &mut Scene) {
    let alias = "orders:live".parse().unwrap();
    let target = live(scene).release.aliases.get_mut(&alias).unwrap();
    target.weights = [("3".to_owned(), "0.05".parse().unwrap())].into();
}

/// The known-good release is live, and differs from the candidate by the version of an alias.
fn move_alias(scene: &mut Scene) {
    let alias = "orders:live".parse().unwrap();
    live(scene).release.aliases.get_mut(&alias).unwrap().version = "9".into();
    let release = live(scene).release.clone();
    let KnownGood::Found { record, .. } = &mut scene.on_record.known_good else { unreachable!() };
    record.release = release;
    scene.pin = Pin::Holds { deployment: "d2".into(), closed: true };
}

/// The sweep has noted that the candidate had gone.
fn gone(scene: &mut Scene) {
    scene.on_record.candidate.as_mut().unwrap().gone = true;
}

/// A composite alarm in ALARM has rolled the stage back an hour ago. It names no stage; its leaves name this one and another.
fn any_of(scene: &mut Scene, ours: State, other: State) {
    let leaf = |name: &str, state, stage: &str| {
        let mut leaf = alarm(name, state).leaves.remove(0);
        leaf.targets[0].stage = stage.into();
        leaf.now.alarm.changed_at = time("2026-11-20T11:10:00Z");
        leaf
    };
    let mut any = alarm("5xx", State::Alarm);
    any.alarm.watches = Watches::Alarms(vec!["ours".into(), "other".into()]);
    any.speaks_by_leaves = true;
    any.leaves = vec![leaf("ours", ours, "prod"), leaf("other", other, "other")];
    any.targets = any.leaves.iter().flat_map(|leaf| leaf.targets.clone()).collect();
    scene.alarms = vec![any];
    past(scene, "2026-11-20T11:00:00Z", "x");
    live(scene).release = release("1");
}

/// The edit, the actions, and the start of the stage's state.
type Row = (&'static str, Edit, &'static [&'static str], &'static str);

fn check(rows: impl IntoIterator<Item = Row>) {
    for (case, edit, actions, state) in rows {
        let mut scene = Scene::new();
        edit(&mut scene);
        let (described, reached) = scene.outcome();
        assert_eq!(described, actions, "{case}");
        assert!(reached.starts_with(state) && reached.is_empty() == state.is_empty(), "{case}: {reached}");
    }
}

#[test]
fn the_time_of_a_candidate_that_comes_back_by_a_component_begins_anew() {
    let good = "serves its known-good release";
    let rows: [Row; 7] = [
        ("an alias moved back to the known-good release", move_alias, &["note d2 gone"], good),
        (
            "that is noted once",
            |s| {
                move_alias(s);
                gone(s);
            },
            &[],
            good,
        ),
        ("the stage's own last change will show it", |s| live(s).release = release("1"), &[], good),
        (
            "it is the known-good release",
            |s| {
                move_alias(s);
                s.on_record.candidate.as_mut().unwrap().release = live(s).release.clone();
                weigh(s);
                adopts(s);
            },
            &["adopt"],
            "",
        ),
        ("it is back", gone, &["note d2 seen 12:00"], "a new release was found"),
        (
            "it is back, and an alarm accuses it",
            |s| {
                gone(s);
                s.alarms[0] = alarm("5xx", State::Alarm);
            },
            &["note d2 seen 12:00", "roll back for 5xx"],
            "",
        ),
        (
            "another release is live by an alias, which replaces it",
            |s| {
                move_alias(s);
                s.on_record.known_good = KnownGood::None { parameter: "p".into() };
            },
            &["note d2 seen 12:00"],
            "a new release was found",
        ),
    ];
    check(rows);
}

#[test]
fn an_incident_of_a_sibling_holds_up_its_release_unless_that_is_known_good() {
    let rows: [Row; 6] = [
        (
            "it is about the live release",
            |s| sibling(s, Siblings::Hold, None, "d2"),
            &["report sibling-incident"],
            "Region us-east-1 rolled",
        ),
        (
            "it is about the live release, but told only",
            |s| sibling(s, Siblings::Tell, None, "d2"),
            &["promote d2"],
            "",
        ),
        ("it is about another release", |s| sibling(s, Siblings::Hold, None, "d3"), &["promote d2"], ""),
        (
            "it is about the known-good release, which is live",
            |s| {
                live(s).release = release("1");
                sibling(s, Siblings::Hold, None, "d1");
            },
            &[],
            "serves its known-good release",
        ),
        (
            "it is about the new release of a rollout",
            |s| {
                roll(s, RolloutState::Baking, false);
                sibling(s, Siblings::Hold, Some("v2"), "d2");
            },
            &["report sibling-incident", "advance"],
            "",
        ),
        (
            "it is about another release than that of the rollout",
            |s| {
                roll(s, RolloutState::Baking, false);
                sibling(s, Siblings::Hold, Some("v3"), "d3");
            },
            &["advance"],
            "",
        ),
    ];
    check(rows);
}

#[test]
fn a_rollout_is_moved_on_until_it_has_ended_and_people_know_it() {
    let rows: [Row; 5] = [
        ("a rollout runs", |s| roll(s, RolloutState::Baking, false), &["advance"], ""),
        (
            "a rollout has ended, and its canary is on the stage",
            |s| roll(s, aborted(), true),
            &["report not-recordable"],
            "the rollout to v2 (d2) has ended (aborted)",
        ),
        (
            "a rollout has ended, and people may not know it",
            |s| roll(s, aborted(), false),
            &["report not-recordable", "advance"],
            "the rollout to v2 (d2) has ended (aborted)",
        ),
        (
            "a rollout has ended, and its canary is gone",
            |s| {
                roll(s, aborted(), true);
                live(s).release = release("2");
            },
            &["promote d2"],
            "",
        ),
        (
            "the rollout cannot be read",
            |s| s.on_record.rollout = Err("is damaged".into()),
            &["report no-rollout", "promote d2"],
            "",
        ),
    ];
    check(rows);
}

#[test]
fn what_a_pipeline_gave_some_of_the_traffic_is_rolled_out_if_the_policy_wants_that() {
    let rows: [Row; 7] = [
        ("the policy wants rollouts, and there is no canary", adopts, &["promote d2"], ""),
        (
            "the policy wants rollouts, and there is a canary",
            |s| {
                adopts(s);
                split(s, Some("d3"));
            },
            &["adopt"],
            "",
        ),
        (
            "the policy wants rollouts, and a canary has the stage's own deployment",
            |s| {
                adopts(s);
                split(s, Some("d2"));
            },
            &["note d2 seen 12:00"],
            "a new release was found",
        ),
        (
            "the policy wants rollouts, and a canary has no deployment",
            |s| {
                adopts(s);
                split(s, None);
            },
            &["note d2 seen 12:00"],
            "a new release was found",
        ),
        (
            "the policy wants rollouts, and an alias has weights",
            |s| {
                adopts(s);
                weigh(s);
            },
            &["note d2 gone", "adopt"],
            "",
        ),
        (
            "a canary, and no policy for it",
            |s| split(s, Some("d3")),
            &["note d2 seen 12:00"],
            "a new release",
        ),
        ("weights, and no policy for them", weigh, &["note d2 seen 12:00"], "a new release was found"),
    ];
    check(rows);
}

#[test]
fn a_stage_recovers_with_the_leaf_of_a_composite_alarm_that_names_it() {
    let good = "serves its known-good release";
    let rows: [Row; 6] = [
        ("another stage's leaf is in ALARM", |s| any_of(s, State::Ok, State::Alarm), &["close ours"], good),
        (
            "its own leaf is in ALARM",
            |s| {
                any_of(s, State::Alarm, State::Alarm);
                live(s).release = release("2");
            },
            &["report not-recovered", "roll back for 5xx"],
            "",
        ),
        ("its own leaf has no data", |s| any_of(s, State::InsufficientData, State::Alarm), &[], good),
        (
            "one of its two leaves is in ALARM",
            |s| {
                any_of(s, State::Ok, State::Alarm);
                s.alarms[0].leaves[1].targets = s.alarms[0].leaves[0].targets.clone();
                live(s).release = release("2");
            },
            &["report not-recovered", "roll back for 5xx"],
            "",
        ),
        (
            "a leaf that may be about any stage is in ALARM",
            |s| {
                any_of(s, State::Ok, State::Alarm);
                s.alarms[0].leaves[1].targets.clear();
                s.alarms[0].targets.truncate(1);
            },
            &["report not-recovered"],
            good,
        ),
        (
            "another leaf cannot be found",
            |s| {
                any_of(s, State::Ok, State::Alarm);
                s.alarms[0].unresolved.push("the alarm `x` in its rule cannot be found".into());
            },
            &["report alarm-unreadable"],
            good,
        ),
    ];
    check(rows);
}

#[test]
fn the_times_of_alarms_and_rollbacks_decide_what_is_reported_and_tried_first() {
    let rows: [Row; 7] = [
        (
            "an alarm stays for a quarter of an hour after its rollback",
            |s| {
                past(s, "2026-11-20T11:45:00Z", "x");
                s.alarms[0] = alarm("5xx", State::Alarm);
            },
            &["roll back for 5xx"],
            "",
        ),
        (
            "an alarm stays for longer after its rollback",
            |s| {
                past(s, "2026-11-20T11:44:59Z", "x");
                s.alarms[0] = alarm("5xx", State::Alarm);
            },
            &["report not-recovered", "roll back for 5xx"],
            "",
        ),
        (
            "an alarm has no data after its rollback",
            |s| {
                past(s, "2026-11-20T11:00:00Z", "x");
                s.alarms[0] = alarm("5xx", State::InsufficientData);
            },
            &["promote d2"],
            "",
        ),
        (
            "another run rolled the stage back after an incident that is not on the list",
            |s| {
                past(s, "2026-11-20T11:05:00Z", "x");
                s.incidents = vec![incident("2026-11-20T11:00:00Z")];
            },
            &["close 5xx", "list r after 1", "promote d2"],
            "",
        ),
        (
            "an alarm that fired before the stage changed comes after one that fired with the change",
            |s| {
                s.alarms = vec![alarm("older", State::Alarm), alarm("same", State::Alarm)];
                live(s).updated_at = time("2026-11-20T11:00:01Z");
                s.alarms[1].alarm.changed_at = time("2026-11-20T11:00:01Z");
            },
            &["roll back for same or older"],
            "",
        ),
        (
            "two alarms fired when the stage changed, and later",
            |s| {
                s.alarms = vec![alarm("same", State::Alarm), alarm("later", State::Alarm)];
                live(s).updated_at = time("2026-11-20T11:00:00Z");
                s.alarms[1].alarm.changed_at = time("2026-11-20T11:00:01Z");
            },
            &["roll back for same or later"],
            "",
        ),
        (
            "the pin is open, and the settings want none",
            |s| (s.pin, s.pins) = (Pin::Holds { deployment: "d1".into(), closed: false }, false),
            &["promote d2"],
            "",
        ),
    ];
    check(rows);
}
