//! The table of the sweep: each edit of a stage, and the ordered actions that follow from it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::evidence::Evidence;
use super::fixture::{self, TOPIC, admission, failed, good, record, release};
use super::leaves::resolved;
use super::testimony::{Subject, guarding};
use super::upkeep::{Action, StageFacts, promotion_due, upkeep};
use crate::config::Config;
use crate::model::alarm::{Alarm, AlarmNow, Origin, State, Watches, time};
use crate::model::alarm_setup::AlarmSetup;
use crate::model::cloud_error::CloudError;
use crate::model::component::AliasRef;
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::observed::{Component, DeploymentNow, KnownGood, LiveComponents, MissingComponent};
use crate::model::observed::{OnRecord, Pin};
use crate::model::policy::PolicyOverrides;
use crate::model::record_fault::RecordFault;
use crate::model::records::{Candidate, Hold, Incident, RollbackEntry, SCHEMA};
use crate::model::stage::{LiveStage, StageRef};
use crate::model::target::{ApiRef, Target};

const NOW: &str = "2026-11-20T12:00:00Z";

pub(super) fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

fn target() -> Target {
    Target { api: ApiRef::Id("a".into()), stage: "prod".into(), canary: false, protocol: None }
}

pub(super) fn alarm(name: &str, state: State) -> GuardingAlarm {
    let now = AlarmNow {
        alarm: Alarm { changed_at: time("2026-11-20T11:00:00Z"), ..Alarm::new(name, state) },
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: TimeDelta::minutes(2),
        evaluated: vec![],
        setup: AlarmSetup::default(),
    };
    let leaf = Leaf { now: now.clone(), targets: vec![target()], named_by: name.into(), later: None };
    GuardingAlarm { targets: vec![target()], leaves: vec![leaf], ..resolved(now, &BTreeMap::new()) }
}

pub(super) fn incident(when: &str) -> Incident {
    fixture::incident("9", "2", at(when))
}

/// The facts of a row: release 2 is live and has baked, release 1 is known-good and pinned, and the alarm is quiet.
pub(super) struct Scene {
    live: Option<LiveStage>,
    pub(super) on_record: OnRecord,
    pub(super) incidents: Vec<Incident>,
    pub(super) alarms: Vec<GuardingAlarm>,
    components: Result<LiveComponents, CloudError>,
    deployment: Result<DeploymentNow, CloudError>,
    pub(super) pin: Pin,
    evidence: Result<Evidence, CloudError>,
    protected: &'static str,
    /// Whether the settings want a pin.
    pub(super) pins: bool,
}

fn quiet(samples: Option<f64>) -> Evidence {
    Evidence { samples, ..Evidence::default() }
}

impl Scene {
    pub(super) fn new() -> Self {
        let (_, mut observed) = good();
        record(&mut observed);
        let live = observed.live.as_ref().unwrap().release.clone();
        let mut on_record = observed.on_record;
        on_record.candidate =
            Some(Candidate::new(observed.stage.protocol, &live, at("2026-11-20T11:00:00Z")));
        Self {
            live: observed.live,
            on_record,
            incidents: vec![],
            alarms: vec![alarm("5xx", State::Ok)],
            components: Ok(LiveComponents::default()),
            deployment: Ok(DeploymentNow::There),
            pin: Pin::Holds { deployment: "d1".into(), closed: true },
            evidence: Ok(quiet(Some(7.0))),
            pins: true,
            protected: r#"[{"api":"a","name":"orders","stage":"prod"}]"#,
        }
    }

    /// Returns the ordered actions, then the state of the stage.
    pub(super) fn outcome(&self) -> (Vec<String>, String) {
        let stage = StageRef::rest("a", "prod");
        let config = Config::read(|name| match name {
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            "PROTECTED_STAGES" => Some(self.protected.to_owned()),
            "PIN" => Some(if self.pins { "on" } else { "off" }.to_owned()),
            _ => None,
        });
        let config = config.unwrap();
        let (home, admission) = (Origin::default(), admission());
        let (went_live, guilt) = (None, None);
        let subject =
            Subject { stage: &stage, api_names: &[], home: &home, admission: &admission, went_live, guilt };
        let mut facts = StageFacts {
            stage: &stage,
            live: self.live.clone(),
            on_record: &self.on_record,
            incidents: &self.incidents,
            alarms: &self.alarms,
            guarding: guarding(&self.alarms, subject),
            components: self.components.clone(),
            deployment: self.deployment.clone(),
            pin: self.pin.clone(),
            evidence: None,
        };
        // The evidence is read if, and only if, the promotion is due.
        if promotion_due(&facts, &config, at(NOW)).is_some() {
            facts.evidence = Some(self.evidence.clone());
        }
        let upkeep = upkeep(&facts, &config, at(NOW));
        (upkeep.actions.iter().map(described).collect(), upkeep.state)
    }
}

fn described(action: &Action<'_>) -> String {
    match action {
        Action::Report(reason) => format!("report {}", reason.code()),
        Action::Fail(error) => format!("fail {}", error.operation),
        Action::Close(closing) => format!("close {}", closing.alarm),
        Action::List { incident, report, on_record } => format!(
            "list {}{} after {}",
            incident.run,
            if *report { " and report" } else { "" },
            on_record.rollbacks.past.len()
        ),
        Action::MovePin { deployment, .. } => format!("pin {deployment}"),
        Action::Note(candidate) if candidate.gone => format!("note {} gone", candidate.release.deployment),
        Action::Note(candidate) => {
            format!("note {} seen {}", candidate.release.deployment, candidate.first_seen.format("%H:%M"))
        }
        Action::RollBack(accusations) => {
            let names: Vec<&str> = accusations.iter().map(|(alarm, _)| alarm.alarm.name.as_str()).collect();
            format!("roll back for {}", names.join(" or "))
        }
        Action::Promote(candidate) => format!("promote {}", candidate.release.deployment),
        Action::Adopt => "adopt".to_owned(),
        Action::Advance => "advance".to_owned(),
    }
}

fn entry(when: &str, alarm: Option<&str>, fingerprint: &str) -> RollbackEntry {
    RollbackEntry {
        at: at(when),
        fingerprint: fingerprint.into(),
        alarm: alarm.map(str::to_owned),
        alarm_at: None,
        other_source: false,
        recovered_at: None,
        lifted: false,
    }
}

pub(super) fn past(scene: &mut Scene, when: &str, fingerprint: &str) {
    scene.on_record.rollbacks.past.push(entry(when, Some("5xx"), fingerprint));
}

pub(super) fn live(scene: &mut Scene) -> &mut LiveStage {
    scene.live.as_mut().unwrap()
}

fn no_record(scene: &mut Scene) {
    scene.on_record.known_good = KnownGood::None { parameter: "p".into() };
}

fn hold(scene: &mut Scene) {
    scene.on_record.hold =
        Some(Hold { schema: SCHEMA, until: at("2026-11-20T13:00:00Z"), by: None, why: None });
}

fn unseen(scene: &mut Scene) {
    scene.on_record.candidate = None;
}

fn missing_alias() -> MissingComponent {
    let alias: AliasRef = "orders:live".parse().unwrap();
    MissingComponent { component: Component::Alias(alias), why: "does not exist".into(), recorded: true }
}

pub(super) type Edit = fn(&mut Scene);

/// The edit, the actions, and the start of the stage's state.
const ROWS: [(&str, Edit, &[&str], &str); 40] = [
    ("nothing", |_| (), &["promote d2"], ""),
    (
        "no stage, and the settings name it",
        |s| s.live = None,
        &["report no-stage"],
        "rest/a/prod is protected",
    ),
    (
        "no stage, and only a record names it",
        |s| (s.live, s.protected) = (None, "[]"),
        &[],
        "rest/a/prod is protected",
    ),
    (
        "a parameter cannot be read",
        |s| s.on_record.unreadable = Some("the parameter x".into()),
        &["report held-by-operator"],
        "is held",
    ),
    (
        "a new release, and a parameter cannot be read",
        |s| {
            unseen(s);
            s.on_record.unreadable = Some("the parameter x".into());
        },
        &["report held-by-operator"],
        "is held",
    ),
    (
        "the known-good release is live",
        |s| live(s).release = release("1"),
        &[],
        "serves its known-good release",
    ),
    ("a new release", unseen, &["note d2 seen 12:00"], "a new release was found"),
    (
        "a new release, and an alarm",
        |s| {
            unseen(s);
            s.alarms[0] = alarm("5xx", State::Alarm);
        },
        &["note d2 seen 12:00", "roll back for 5xx"],
        "",
    ),
    (
        "a new release, and a hold",
        |s| {
            unseen(s);
            hold(s);
        },
        &["note d2 seen 12:00"],
        "is held",
    ),
    (
        "it bakes",
        |s| s.on_record.candidate.as_mut().unwrap().first_seen = at("2026-11-20T11:31:00Z"),
        &[],
        "the bake time runs",
    ),
    (
        "the stage changed recently",
        |s| live(s).updated_at = time("2026-11-20T11:45:00Z"),
        &[],
        "the bake time runs",
    ),
    ("a hold", hold, &[], "is held"),
    ("an alarm", |s| s.alarms[0] = alarm("5xx", State::Alarm), &["roll back for 5xx"], ""),
    (
        "an alarm, and a hold: the rollback itself respects the hold",
        |s| {
            hold(s);
            s.alarms[0] = alarm("5xx", State::Alarm);
        },
        &["roll back for 5xx"],
        "",
    ),
    (
        "an alarm whose actions are off does not hide another",
        |s| {
            s.alarms = vec![alarm("off", State::Alarm), alarm("on", State::Alarm)];
            s.alarms[0].actions_enabled = false;
        },
        &["roll back for on"],
        "",
    ),
    (
        "an alarm that accuses nobody",
        |s| {
            s.alarms[0] = alarm("5xx", State::Alarm);
            s.alarms[0].alarm.suppressed_by = Some("maintenance".into());
        },
        &[],
        "the alarm `5xx` is in ALARM",
    ),
    (
        "an alarm that fired before the stage changed does not hide a newer one",
        |s| {
            s.alarms = vec![alarm("older", State::Alarm), alarm("newer", State::Alarm)];
            live(s).updated_at = time("2026-11-20T11:00:01Z");
            s.alarms[1].alarm.changed_at = time("2026-11-20T11:00:02Z");
        },
        &["roll back for newer or older"],
        "",
    ),
    (
        "an alarm that cannot be resolved blocks the promotion, and is reported",
        |s| {
            let mut unresolved = alarm("composite", State::Ok);
            (unresolved.targets, unresolved.leaves) = (vec![], vec![]);
            unresolved.alarm.watches = Watches::Alarms(vec!["x".into()]);
            unresolved.speaks_by_leaves = true;
            unresolved.unresolved = vec!["the alarm `x` in its rule cannot be found".into()];
            s.alarms.push(unresolved);
        },
        &["report alarm-unreadable"],
        "the alarm `composite` cannot be resolved",
    ),
    ("no guarding alarm", |s| s.alarms.clear(), &[], "no guarding alarm names the stage"),
    (
        "no guarding alarm, and the policy requires none",
        |s| {
            s.alarms.clear();
            s.on_record.policy =
                PolicyOverrides { bake_needs_data: Some(false), ..s.on_record.policy.clone() };
        },
        &["promote d2"],
        "",
    ),
    ("no traffic", |s| s.evidence = Ok(quiet(Some(0.0))), &[], "API Gateway's own metrics of the stage"),
    (
        "an alarm fired during the bake time",
        |s| s.evidence = Ok(Evidence { fired: Some("5xx".into()), ..Evidence::default() }),
        &[],
        "the alarm `5xx` was in ALARM",
    ),
    (
        "an alarm fired during the bake time, and nothing is recorded",
        |s| {
            no_record(s);
            s.evidence = Ok(Evidence { fired: Some("5xx".into()), ..Evidence::default() });
        },
        &["note d2 seen 12:00"],
        "an alarm fired, and there is no known-good release",
    ),
    (
        "an alarm from before the release has ended",
        |s| s.evidence.as_mut().unwrap().clear_since = time("2026-11-20T11:08:00Z"),
        &["note d2 seen 11:08"],
        "an alarm that fired before the release",
    ),
    (
        "the evidence cannot be read",
        |s| s.evidence = Err(failed("GetMetricData")),
        &["fail GetMetricData"],
        "GetMetricData on `x` failed",
    ),
    (
        "the live release is in quarantine",
        |s| past(s, "2026-11-20T09:00:00Z", &release("2").fingerprint()),
        &["close 5xx"],
        "release ",
    ),
    (
        "it does not fit into a parameter",
        |s| {
            live(s).release.variables.insert("x".into(), "y".repeat(9000));
        },
        &["report not-recordable"],
        "the candidate has",
    ),
    ("nothing is recorded", no_record, &["promote d2"], ""),
    (
        "the record is unusable",
        |s| {
            s.on_record.known_good =
                KnownGood::Unusable { parameter: "p".into(), fault: RecordFault::Damaged("x".into()) }
        },
        &["report no-known-good", "promote d2"],
        "",
    ),
    (
        "the known-good deployment is gone",
        |s| s.deployment = Ok(DeploymentNow::Gone),
        &["report known-good-missing", "promote d2"],
        "",
    ),
    (
        "the known-good deployment is not deployed, and not pinned",
        |s| (s.deployment, s.pin) = (Ok(DeploymentNow::Undeployed("FAILED".into())), Pin::None),
        &["report known-good-missing", "promote d2"],
        "",
    ),
    (
        "the known-good deployment cannot be read",
        |s| (s.deployment, s.pin) = (Err(failed("GetDeployment")), Pin::None),
        &["fail GetDeployment", "promote d2"],
        "",
    ),
    ("there is no pin", |s| s.pin = Pin::None, &["pin d1", "promote d2"], ""),
    (
        "the pin is open to traffic",
        |s| s.pin = Pin::Holds { deployment: "d1".into(), closed: false },
        &["pin d1", "promote d2"],
        "",
    ),
    ("AutoDeploy", |s| live(s).auto_deploy = true, &["report auto-deploy", "promote d2"], ""),
    (
        "a component is missing",
        |s| s.components = Ok(LiveComponents { missing: vec![missing_alias()], ..LiveComponents::default() }),
        &["report part-missing", "promote d2"],
        "",
    ),
    (
        "the components cannot be read: the release is not judged",
        |s| s.components = Err(failed("GetAlias")),
        &["fail GetAlias"],
        "GetAlias on `x` failed",
    ),
    (
        "an alarm stays long after its rollback",
        |s| {
            past(s, "2026-11-20T11:00:00Z", "x");
            s.alarms[0] = alarm("5xx", State::Alarm);
        },
        &["report not-recovered", "roll back for 5xx"],
        "",
    ),
    (
        "another function protects the stage",
        |s| {
            s.pin = Pin::Other("/other".into());
            s.alarms[0] = alarm("5xx", State::Alarm);
        },
        &["report not-pinned"],
        "another function, with its records under `/other`, protects rest/a/prod",
    ),
    (
        "everything at once keeps its order",
        |s| {
            past(s, "2026-11-20T10:00:00Z", "x");
            s.incidents = vec![incident("2026-11-20T11:00:00Z")];
            s.pin = Pin::Foreign;
            live(s).managed = true;
            unseen(s);
        },
        &["close 5xx", "pin d1", "report managed-stage", "list r and report after 1", "note d2 seen 12:00"],
        "a new release was found",
    ),
];

#[test]
fn each_fact_leads_to_its_actions_in_order() {
    for (case, edit, actions, state) in ROWS {
        let mut scene = Scene::new();
        edit(&mut scene);
        let (described, reached) = scene.outcome();
        assert_eq!(described, actions, "{case}");
        assert!(reached.starts_with(state) && reached.is_empty() == state.is_empty(), "{case}: {reached}");
    }
}

/// An action that changes the list of rollbacks passes its list to the next, so that no entry is lost.
#[test]
fn each_action_passes_the_list_of_rollbacks_to_the_next() {
    let mut scene = Scene::new();
    past(&mut scene, "2026-11-20T10:00:00Z", "x");
    scene.incidents = vec![incident("2026-11-20T11:00:00Z"), incident("2026-11-20T11:30:00Z")];
    let (stage, config) = (
        StageRef::rest("a", "prod"),
        Config::read(|name| (name == "AWS_REGION").then(|| "eu-west-1".to_owned())).unwrap(),
    );
    let facts = StageFacts {
        stage: &stage,
        live: scene.live.clone(),
        on_record: &scene.on_record,
        incidents: &scene.incidents,
        alarms: &scene.alarms,
        guarding: vec![],
        components: Ok(LiveComponents::default()),
        deployment: Ok(DeploymentNow::There),
        pin: scene.pin.clone(),
        evidence: None,
    };
    let upkeep = upkeep(&facts, &config, at(NOW));
    let lists: Vec<_> = upkeep
        .actions
        .iter()
        .filter_map(|action| {
            let Action::List { on_record, report, .. } = action else { return None };
            Some((&on_record.rollbacks.past, *report))
        })
        .collect();
    let [(first, true), (second, true)] = lists.as_slice() else { panic!("{lists:?}") };
    assert!(first[0].recovered_at.is_some(), "the first list contains the recovery");
    assert_eq!((first.len(), second.len()), (1, 2));
}
