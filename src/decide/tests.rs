//! The table of the decision: which fact decides, in which order, and for which triggers.

use chrono::TimeDelta;

use std::collections::BTreeMap;

use super::fixture::{TOPIC, good, policy, record};
use super::leaves::resolved;
use super::*;
use crate::model::alarm::Muted;
use crate::model::alarm::{Alarm, Metric, time};
use crate::model::alarm::{AlarmNow, State, Watches};
use crate::model::alarm_setup::AlarmSetup;
use crate::model::component::AliasRef;
use crate::model::component::{LiveAlias, LiveMapping};
use crate::model::datapoint::{Datapoint, Reading};
use crate::model::observed::MissingComponent;
use crate::model::observed::{Component, DeploymentNow, KnownGood, Observed};
use crate::model::record_fault::RecordFault;

use crate::model::policy::{Mode, StagePolicy};
use crate::model::records::{Candidate, Hold, RollbackEntry, SCHEMA};
use crate::model::stage::LiveStage;
use crate::model::target::{ApiRef, Target};

pub(super) const NOW: &str = "2026-11-20T10:06:00Z";

pub(super) fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

fn alarm() -> AlarmNow {
    AlarmNow {
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: TimeDelta::minutes(2),
        evaluated: vec![],
        setup: AlarmSetup::default(),
        alarm: Alarm {
            description: Some("rollback-target: a/prod".into()),
            changed_at: time("2026-11-20T10:05:00Z"),
            ..Alarm::new("5xx", State::Alarm)
        },
    }
}

/// Release 2 has been live since 10:00, release 1 is recorded, and the alarm is in ALARM.
pub(super) fn observed() -> Observed {
    let (_, mut observed) = good();
    let live = observed.live.as_mut().unwrap();
    live.updated_at = time("2026-11-20T10:00:00Z");
    let alias = |target: &crate::model::component::AliasTarget| LiveAlias {
        target: target.clone(),
        revision: "r".into(),
    };
    observed.components.aliases =
        live.release.aliases.iter().map(|(name, to)| (name.clone(), alias(to))).collect();
    let mapping =
        |target: &crate::model::component::MappingTarget| LiveMapping { target: target.clone(), id: None };
    observed.components.mappings =
        live.release.mappings.iter().map(|(name, to)| (name.clone(), mapping(to))).collect();
    observed.alarm = Some(resolved(alarm(), &BTreeMap::new()));
    observed
}

fn orders() -> AliasRef {
    "orders:live".parse().unwrap()
}

fn change_alarm(observed: &mut Observed, change: impl FnOnce(&mut AlarmNow)) {
    let mut now = observed.alarm.take().unwrap().leaves.remove(0).now;
    change(&mut now);
    observed.alarm = Some(resolved(now, &BTreeMap::new()));
}

/// A composite alarm that names no stage, over one alarm that names this one.
fn composite(observed: &mut Observed, state: State, description: &str) {
    let mut below = alarm();
    below.alarm = Alarm { name: "x".into(), state, description: Some(description.into()), ..below.alarm };
    let mut above = alarm();
    above.alarm = Alarm { description: None, watches: Watches::Alarms(vec!["x".into()]), ..above.alarm };
    observed.alarm = Some(resolved(above, &[("x".to_owned(), below)].into()));
}

fn muted(observed: &mut Observed, muted: Muted) {
    observed.alarm.as_mut().unwrap().muted = muted;
}

/// A minute of the alarm's data that breaches its threshold.
fn breach(begins: &str) -> Datapoint {
    let begins = at(begins);
    Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading: Reading::Breaching }
}

/// The release has no components, so the stage's last change says when it went live.
fn only_the_stage(observed: &mut Observed) {
    let release = &mut live(observed).release;
    (release.aliases, release.mappings) = (BTreeMap::new(), BTreeMap::new());
    let recorded = &mut record(observed).release;
    (recorded.aliases, recorded.mappings) = (BTreeMap::new(), BTreeMap::new());
    (observed.components.aliases, observed.components.mappings) = (BTreeMap::new(), BTreeMap::new());
}

pub(super) fn live(observed: &mut Observed) -> &mut LiveStage {
    observed.live.as_mut().unwrap()
}

/// Makes the stage equal to its record, so that only aliases and mappings differ.
pub(super) fn only_components_differ(observed: &mut Observed) {
    let recorded = record(observed).release.clone();
    let live = &mut live(observed).release;
    (live.deployment, live.variables) = (recorded.deployment, recorded.variables);
}

fn candidate(observed: &mut Observed, seen: &str, irreversible: bool) {
    let (protocol, release) = (observed.stage.protocol, live(observed).release.clone());
    observed.on_record.candidate =
        Some(Candidate { irreversible, ..Candidate::new(protocol, &release, at(seen)) });
}

fn past(observed: &mut Observed, when: &str, fingerprint: &str) {
    observed.on_record.rollbacks.past.push(RollbackEntry {
        at: at(when),
        fingerprint: fingerprint.into(),
        alarm: Some("5xx".into()),
        alarm_at: None,
        other_source: false,
        recovered_at: None,
        lifted: false,
    });
}

fn quarantine(observed: &mut Observed) {
    let fingerprint = record(observed).release.fingerprint();
    past(observed, "2026-11-01T00:00:00Z", &fingerprint);
}

pub(super) fn missing(observed: &mut Observed) {
    let why = "does not exist".to_owned();
    observed.components.missing =
        vec![MissingComponent { component: Component::Alias(orders()), why, recorded: true }];
}

pub(super) fn other_protocol(observed: &mut Observed, protocol: crate::model::protocol::Protocol) {
    (observed.stage.protocol, record(observed).stage.protocol) = (protocol, protocol);
}

fn overridden(observed: &mut Observed) {
    let why = "gets no requests".to_owned();
    observed.components.overridden = [("api.example.com".parse().unwrap(), why)].into();
}

fn metrics(namespace: &str) -> Watches {
    let metric = Metric { namespace: namespace.into(), name: "m".into(), dimensions: vec![], account: None };
    Watches::Metrics(vec![metric])
}

pub(super) type Edit = fn(&mut Observed, &mut StagePolicy);

/// The edit, and the results for an alarm, an operator, an operator with force, and an imagined alarm.
const ROWS: [(&str, Edit, [&str; 4]); 50] = {
    const ACT: [&str; 4] = ["act"; 4];
    const fn alarm_only(code: &str) -> [&str; 4] {
        [code, "act", "act", "act"]
    }
    const fn not_operator(code: &str) -> [&str; 4] {
        [code, "act", "act", code]
    }
    const fn all(code: &str) -> [&str; 4] {
        [code; 4]
    }
    [
        ("nothing", |_, _| (), ACT),
        ("CloudWatch has no such alarm", |o, _| o.alarm = None, alarm_only("alarm-unknown")),
        ("it is OK", |o, _| change_alarm(o, |now| now.alarm.state = State::Ok), alarm_only("alarm-cleared")),
        (
            "it watches another stage",
            |o, _| change_alarm(o, |now| now.alarm.description = Some("rollback-target: a/test".into())),
            alarm_only("alarm-unknown"),
        ),
        (
            "it watches another API",
            |o, _| change_alarm(o, |now| now.alarm.description = Some("rollback-target: b/prod".into())),
            alarm_only("alarm-unknown"),
        ),
        (
            "it names the API by its id",
            |o, _| {
                (o.stage.api, record(o).stage.api) = ("a1b2c3d4e5".into(), "a1b2c3d4e5".into());
                change_alarm(o, |now| {
                    now.alarm.description = Some("x, rollback-target: a1b2c3d4e5/prod".into());
                });
            },
            ACT,
        ),
        ("it is composite", |o, _| composite(o, State::Alarm, "rollback-target: a/prod"), ACT),
        (
            "it is composite, and its rule is about another stage",
            |o, _| composite(o, State::Alarm, "rollback-target: a/test"),
            alarm_only("alarm-unknown"),
        ),
        (
            "it is composite, and the alarm below it is OK",
            |o, _| composite(o, State::Ok, "rollback-target: a/prod"),
            alarm_only("alarm-cleared"),
        ),
        (
            "it is composite, and its rule cannot be resolved",
            |o, _| {
                change_alarm(o, |now| {
                    now.alarm.description = None;
                    now.alarm.watches = Watches::Alarms(vec!["gone".into()]);
                });
            },
            alarm_only("alarm-unreadable"),
        ),
        (
            "it is a query without a directive",
            |o, _| change_alarm(o, |now| now.alarm.description = None),
            alarm_only("alarm-unknown"),
        ),
        (
            "it is about something else",
            |o, _| {
                change_alarm(o, |now| {
                    now.alarm.description = None;
                    now.alarm.watches = metrics("AWS/EC2");
                });
            },
            alarm_only("alarm-unknown"),
        ),
        (
            "its actions are off",
            |o, _| change_alarm(o, |now| now.actions_enabled = false),
            alarm_only("alarm-actions-disabled"),
        ),
        ("a mute rule mutes it", |o, _| muted(o, Muted::By("window".into())), alarm_only("muted")),
        (
            "whether a mute rule mutes it is unknown",
            |o, _| muted(o, Muted::Unknown("AccessDenied".into())),
            alarm_only("alarm-unreadable"),
        ),
        (
            "its data breached before the release went live",
            |o, _| {
                only_the_stage(o);
                change_alarm(o, |now| now.evaluated = vec![breach("2026-11-20T09:59:00Z")]);
            },
            alarm_only("began-before-release"),
        ),
        (
            "its data breached while the release went live",
            |o, _| {
                only_the_stage(o);
                change_alarm(o, |now| now.evaluated = vec![breach("2026-11-20T09:59:01Z")]);
            },
            ACT,
        ),
        (
            "its data breached before the stage changed, and an alias may have moved earlier",
            |o, _| change_alarm(o, |now| now.evaluated = vec![breach("2026-11-20T09:59:00Z")]),
            ACT,
        ),
        (
            "CloudWatch suppresses its actions",
            |o, _| change_alarm(o, |now| now.alarm.suppressed_by = Some("maintenance".into())),
            alarm_only("suppressed"),
        ),
        (
            "CloudWatch says that only missing data changed its state",
            |o, _| change_alarm(o, |now| now.alarm.only_missing_data = true),
            alarm_only("no-datapoints"),
        ),
        (
            "a parked stage",
            |o, _| {
                o.stage = o.stage.parked();
                let directive = format!("rollback-target: a/{}", o.stage.stage);
                change_alarm(o, |now| now.alarm.description = Some(directive));
            },
            all("not-protected"),
        ),
        ("only recorded", |o, _| o.configured = false, ACT),
        (
            "neither configured nor recorded",
            |o, _| {
                o.configured = false;
                o.on_record.known_good = KnownGood::None { parameter: "p".into() };
            },
            all("not-protected"),
        ),
        (
            "no record",
            |o, _| o.on_record.known_good = KnownGood::None { parameter: "p".into() },
            all("no-known-good"),
        ),
        (
            "an unusable record",
            |o, _| {
                o.configured = false;
                o.on_record.known_good =
                    KnownGood::Unusable { parameter: "p".into(), fault: RecordFault::Damaged("x".into()) };
            },
            all("no-known-good"),
        ),
        ("no stage", |o, _| o.live = None, all("no-stage")),
        (
            "a hold",
            |o, _| {
                o.on_record.hold =
                    Some(Hold { schema: SCHEMA, until: at(NOW) + TimeDelta::hours(1), by: None, why: None });
            },
            not_operator("held-by-operator"),
        ),
        (
            "an unreadable parameter",
            |o, _| o.on_record.unreadable = Some("x".into()),
            not_operator("held-by-operator"),
        ),
        (
            "it serves the known-good release",
            |o, _| {
                let good = record(o).release.clone();
                live(o).release = good;
            },
            all("already-known-good"),
        ),
        (
            "changed after the alarm",
            |o, _| live(o).updated_at = time("2026-11-20T10:05:01Z"),
            alarm_only("changed-after-alarm"),
        ),
        (
            "changed in the second in which the alarm fired",
            |o, _| {
                live(o).updated_at = time("2026-11-20T10:05:00Z");
                change_alarm(o, |now| now.alarm.changed_at = time("2026-11-20T10:05:00.900Z"));
            },
            alarm_only("changed-after-alarm"),
        ),
        (
            "the stage was changed after the alarm, and stays as it is",
            |o, _| {
                only_components_differ(o);
                live(o).updated_at = time("2026-11-20T10:05:01Z");
            },
            ACT,
        ),
        (
            "live for longer than the window",
            |o, _| live(o).updated_at = time("2026-11-19T10:05:59Z"),
            not_operator("outside-window"),
        ),
        ("live for just the window", |o, _| live(o).updated_at = time("2026-11-19T10:06:00Z"), ACT),
        (
            "first seen long ago, and changed recently",
            |o, _| candidate(o, "2026-11-19T10:05:59Z", false),
            not_operator("outside-window"),
        ),
        (
            "changed long ago, and first seen recently",
            |o, _| {
                live(o).updated_at = time("2026-11-01T00:00:00Z");
                candidate(o, "2026-11-20T10:00:00Z", false);
            },
            ACT,
        ),
        (
            "irreversible",
            |o, _| candidate(o, "2026-11-20T10:00:00Z", true),
            ["irreversible-release", "irreversible-release", "act", "irreversible-release"],
        ),
        ("the recorded release is in quarantine", |o, _| quarantine(o), all("known-good-missing")),
        (
            "the recorded deployment is gone",
            |o, _| o.components.deployment = DeploymentNow::Gone,
            all("known-good-missing"),
        ),
        (
            "the recorded deployment is not deployed",
            |o, _| o.components.deployment = DeploymentNow::Undeployed("FAILED".into()),
            all("known-good-missing"),
        ),
        ("the recorded deployment exists", |o, _| o.components.deployment = DeploymentNow::There, ACT),
        ("a component is missing", |o, _| missing(o), all("part-missing")),
        ("CodeDeploy moves an alias", |o, _| o.components.moving = vec![orders()], all("codedeploy-running")),
        (
            "CodeDeploy moves an alias that stays",
            |o, _| o.components.moving = vec!["web:live".parse().unwrap()],
            ACT,
        ),
        ("a routing rule overrides the mapping", |o, _| overridden(o), all("part-shadowed")),
        ("a managed stage", |o, _| live(o).managed = true, all("managed-stage")),
        (
            "a managed stage that stays as it is",
            |o, _| {
                only_components_differ(o);
                live(o).managed = true;
            },
            ACT,
        ),
        ("AutoDeploy", |o, _| live(o).auto_deploy = true, all("auto-deploy")),
        ("rolled back a moment ago", |o, _| past(o, "2026-11-20T10:01:01Z", "x"), not_operator("cooldown")),
        ("observe mode", |_, t| t.mode = Mode::Observe, not_operator("observe-mode")),
    ]
};

#[test]
fn each_fact_decides_only_for_the_triggers_that_it_applies_to() {
    let target =
        Target { api: ApiRef::Name("a".into()), stage: "prod".into(), canary: false, protocol: None };
    let triggers = [
        Trigger::Alarm { name: "5xx", target: &target },
        Trigger::Operator { force: false },
        Trigger::Operator { force: true },
        Trigger::Imagined,
    ];
    for (case, edit, expected) in ROWS {
        let (mut observed, mut policy) = (observed(), policy());
        edit(&mut observed, &mut policy);
        let described = triggers.map(|trigger| match decide(trigger, &observed, &policy, at(NOW)) {
            Decision::Act(plan) => {
                assert_eq!(check(&plan, &observed), Ok(()), "{case}");
                "act"
            }
            Decision::Hold(reason) => reason.code(),
        });
        assert_eq!(described, expected, "{case}");
    }
}

/// If two rows apply, the first one in the table decides.
#[test]
fn the_first_row_of_the_table_decides() {
    let target =
        Target { api: ApiRef::Name("a".into()), stage: "prod".into(), canary: false, protocol: None };
    let trigger = Trigger::Alarm { name: "5xx", target: &target };
    let order = [
        "alarm-unknown",
        "alarm-cleared",
        "suppressed",
        "alarm-actions-disabled",
        "muted",
        "no-datapoints",
        "held-by-operator",
        "no-known-good",
        "changed-after-alarm",
        "irreversible-release",
        "known-good-missing",
        "part-missing",
        "codedeploy-running",
        "part-shadowed",
        "managed-stage",
        "auto-deploy",
        "cooldown",
        "observe-mode",
    ];
    // One edit for each reason, which does not change the facts of the others.
    let edit = |code: &str| {
        ROWS.iter().find(|(_, _, described)| described[0] == code).map(|(_, edit, _)| *edit).unwrap()
    };
    for (nth, first) in order.iter().enumerate().skip(1) {
        for second in order.iter().skip(nth + 1) {
            let (mut observed, mut policy) = (observed(), policy());
            edit(second)(&mut observed, &mut policy);
            if *first == "no-known-good" {
                observed.on_record.known_good =
                    KnownGood::Unusable { parameter: "p".into(), fault: RecordFault::Damaged("x".into()) };
            } else {
                edit(first)(&mut observed, &mut policy);
            }
            let Decision::Hold(reason) = decide(trigger, &observed, &policy, at(NOW)) else {
                panic!("{first} {second}")
            };
            assert_eq!(reason.code(), *first, "with {second}");
        }
    }
}

#[test]
fn a_deployment_that_no_longer_exists_is_reported_with_its_record() {
    let (mut observed, policy) = (observed(), policy());
    observed.components.deployment = DeploymentNow::Gone;
    let Decision::Hold(reason) = decide(Trigger::Imagined, &observed, &policy, at(NOW)) else {
        panic!("acts")
    };
    let expected = Reason::KnownGoodMissing {
        deployment: "d1".into(),
        parameter: "p".into(),
        version: 3,
        why: "no longer exists, and no older version can serve".into(),
    };
    assert_eq!(reason, expected);
}
