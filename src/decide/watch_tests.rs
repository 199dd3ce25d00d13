//! The tests of whether the alarms of a stage would call the function.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::fixture::{TOPIC, admission, failed};
use super::leaves::resolved;
use super::testimony::Subject;
use super::watch::{AlarmFault, Fault, Watch, Watched, Way, watch, without_effect};
use super::wiring::{Ends, WiringFault};
use crate::model::admission::Admission;
use crate::model::alarm::{Alarm, AlarmNow, Metric, Origin, State, Watches, time};
use crate::model::alarm_setup::{AlarmSetup, Comparison, Operator};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::reason::Reason;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};
use crate::model::wiring::WiringNow;

fn target(api: &str, stage: &str) -> Target {
    Target { api: ApiRef::Id(api.into()), stage: stage.into(), canary: false, protocol: None }
}

fn metric(name: &str) -> Metric {
    Metric { namespace: "AWS/ApiGateway".into(), name: name.into(), dimensions: vec![], account: None }
}

fn compares(statistic: &str, operator: Operator, threshold: f64) -> Comparison {
    Comparison { statistic: statistic.into(), operator, threshold }
}

/// An alarm on the errors of the stage that nobody need correct, except that it is wired to nobody.
fn now(name: &str) -> AlarmNow {
    let alarm = Alarm {
        changed_at: time("2026-11-20T11:00:00Z"),
        description: Some("rollback-target: a/prod".into()),
        watches: Watches::Metrics(vec![metric("5XXError")]),
        ..Alarm::new(name, State::Ok)
    };
    let setup = AlarmSetup {
        ok_actions: vec![TOPIC.to_owned()],
        missing_breaches: false,
        takes: Some(TimeDelta::minutes(5)),
        compares: Some(compares("Sum", Operator::AtLeast, 1.0)),
    };
    let window = TimeDelta::minutes(2);
    AlarmNow { alarm, actions_enabled: true, actions: vec![], window, evaluated: vec![], setup }
}

/// The same alarm, wired to the function by the topic.
fn guard(name: &str) -> GuardingAlarm {
    resolved(AlarmNow { actions: vec![TOPIC.to_owned()], ..now(name) }, &BTreeMap::new())
}

/// The stage, which serves its known-good release, its alarms and the way from them to the function.
struct Scene {
    guards: Vec<GuardingAlarm>,
    admission: Admission,
    way: Option<WiringNow>,
    way_faults: Vec<WiringFault>,
    serves_known_good: bool,
}

impl Scene {
    fn new() -> Self {
        let way = WiringNow {
            topic: Ok(None),
            subscriptions: Ok(None),
            policy: Ok(None),
            alarms: Ok(vec![now("5xx")]),
            samples: BTreeMap::new(),
        };
        let (guards, way_faults) = (vec![guard("5xx")], vec![]);
        Self { guards, admission: admission(), way: Some(way), way_faults, serves_known_good: true }
    }

    fn watch(&self) -> Watch {
        let (stage, home) = (StageRef::rest("a", "prod"), Origin::default());
        let subject = Subject {
            stage: &stage,
            api_names: &[],
            home: &home,
            admission: &self.admission,
            went_live: None,
            guilt: None,
        };
        let ends = Ends { topic: Some(TOPIC), function: "arn:aws:lambda:eu-west-1:123456789012:function:f" };
        let way = self.way.as_ref().map(|now| Way { ends, now, faults: &self.way_faults });
        let serves_known_good = self.serves_known_good;
        watch(&Watched { subject, guards: &self.guards, way, serves_known_good })
    }
}

fn leaf(scene: &mut Scene) -> &mut Leaf {
    &mut scene.guards[0].leaves[0]
}

fn compare(scene: &mut Scene, statistic: &str, operator: Operator, threshold: f64) {
    leaf(scene).now.setup.compares = Some(compares(statistic, operator, threshold));
}

fn read(scene: &mut Scene) -> &mut WiringNow {
    scene.way.as_mut().unwrap()
}

fn samples(scene: &mut Scene, samples: f64) {
    read(scene).samples.insert("5xx".into(), Ok(samples));
}

fn no_alarm(scene: &mut Scene) {
    scene.guards.clear();
    read(scene).alarms = Ok(vec![]);
}

type Edit = fn(&mut Scene);

/// The case, the faults of the alarms, and why no alarm would call the function.
type Row = (&'static str, Edit, Vec<(&'static str, Fault)>, Option<Vec<&'static str>>);

fn check(rows: impl IntoIterator<Item = Row>) {
    for (case, edit, faults, unwatched) in rows {
        let mut scene = Scene::new();
        edit(&mut scene);
        let faults =
            faults.into_iter().map(|(alarm, fault)| AlarmFault { alarm: alarm.into(), fault }).collect();
        let unwatched = unwatched.map(|all| all.into_iter().map(str::to_owned).collect());
        assert_eq!(scene.watch(), Watch { unwatched, faults }, "{case}");
    }
}

const NO_ALARM: &str = "no alarm names the stage";

#[test]
fn an_alarm_calls_the_function_unless_it_is_deaf_or_its_events_do_not_arrive() {
    let not_allowed = || Reason::AlarmNotAllowed { alarm: "5xx".into(), list: "the setting ALARM_PREFIXES" };
    let disabled = "the actions of the alarm `5xx` are disabled";
    let not_subscribed = "the function is not subscribed to x, so no alarm reaches it";
    let rows: [Row; 8] = [
        ("nothing is wrong", |_| (), vec![], None),
        ("no alarm", no_alarm, vec![], Some(vec![NO_ALARM])),
        (
            "an alarm of another stage",
            |s| s.guards[0].targets = vec![target("b", "prod")],
            vec![],
            Some(vec![NO_ALARM]),
        ),
        (
            "its name may not act",
            |s| s.admission.allowed = vec!["web-".into()],
            vec![("5xx", Fault::NotAllowed(not_allowed()))],
            Some(vec!["the setting ALARM_PREFIXES does not allow the alarm `5xx`"]),
        ),
        (
            "its actions are disabled",
            |s| s.guards[0].actions_enabled = false,
            vec![("5xx", Fault::ActionsDisabled)],
            Some(vec![disabled]),
        ),
        (
            "the actions of the second alarm are disabled",
            |s| {
                s.guards.push(guard("web"));
                s.guards[1].actions_enabled = false;
            },
            vec![("web", Fault::ActionsDisabled)],
            None,
        ),
        (
            "the way has a fault",
            |s| s.way_faults = vec![WiringFault::NotSubscribed("x".into())],
            vec![],
            Some(vec![not_subscribed]),
        ),
        (
            "the way and the alarm have faults, of which one is not why",
            |s| {
                s.way_faults = vec![WiringFault::NotSubscribed("x".into())];
                s.guards[0].actions_enabled = false;
                s.guards.push(guard("web"));
                s.guards[1].ok_actions.clear();
            },
            vec![("5xx", Fault::ActionsDisabled), ("web", Fault::NoOkAction)],
            Some(vec![not_subscribed, disabled]),
        ),
    ];
    check(rows);
}

#[test]
fn an_alarm_that_was_not_read_can_call_the_function_only_if_a_queue_may_deliver_it() {
    let rows: [Row; 4] = [
        ("the way was not read", |s| s.way = None, vec![], None),
        (
            "no alarm, and the way was not read",
            |s| (s.way, s.guards) = (None, vec![]),
            vec![],
            Some(vec![NO_ALARM]),
        ),
        (
            "no alarm, but a queue may deliver one that was not read",
            |s| (s.way, s.guards, s.admission.unwired) = (None, vec![], vec!["web-".into()]),
            vec![],
            None,
        ),
        (
            "no alarm, and a queue delivers none of those that were read",
            |s| (s.guards, s.admission.unwired) = (vec![], vec!["web-".into()]),
            vec![("5xx", Fault::NotWired)],
            Some(vec![
                "the alarm `5xx` names the stage, but neither notifies the topic nor invokes the function",
            ]),
        ),
    ];
    check(rows);
}

#[test]
fn an_alarm_that_is_not_wired_is_found_unless_a_wired_one_is_above_it() {
    let rows: [Row; 6] = [
        (
            "another alarm names the stage",
            |s| read(s).alarms.as_mut().unwrap().push(now("web")),
            vec![("web", Fault::NotWired)],
            None,
        ),
        (
            "another alarm names another stage",
            |s| {
                let mut other = now("web");
                other.alarm.description = Some("rollback-target: b/prod".into());
                read(s).alarms.as_mut().unwrap().push(other);
            },
            vec![],
            None,
        ),
        (
            "it is below a wired one",
            |s| {
                read(s).alarms.as_mut().unwrap().push(now("web"));
                let mut below = s.guards[0].leaves[0].clone();
                below.now.alarm.name = "web".into();
                s.guards[0].leaves.push(below);
            },
            vec![],
            None,
        ),
        (
            "a queue delivers it",
            |s| {
                s.guards.clear();
                s.admission.unwired = vec!["web".into()];
                read(s).alarms = Ok(vec![now("web")]);
            },
            vec![],
            None,
        ),
        (
            "a queue delivers it, but its name may not act",
            |s| {
                (s.admission.unwired, s.admission.allowed) = (vec!["web".into()], vec!["5xx".into()]);
                read(s).alarms = Ok(vec![now("web")]);
            },
            vec![("web", Fault::NotWired)],
            None,
        ),
        ("the alarms cannot be read", |s| read(s).alarms = Err(failed("Read")), vec![], None),
    ];
    check(rows);
}

#[test]
fn an_alarms_state_its_actions_and_its_samples_have_faults() {
    let rows: [Row; 11] = [
        (
            "it is in ALARM, and the stage serves its known-good release",
            |s| s.guards[0].alarm.state = State::Alarm,
            vec![("5xx", Fault::InAlarm(time("2026-11-20T11:00:00Z")))],
            None,
        ),
        (
            "it is in ALARM, and the stage serves another release",
            |s| (s.guards[0].alarm.state, s.serves_known_good) = (State::Alarm, false),
            vec![],
            None,
        ),
        ("no action for OK", |s| s.guards[0].ok_actions.clear(), vec![("5xx", Fault::NoOkAction)], None),
        (
            "an action of others for OK",
            |s| s.guards[0].ok_actions = vec!["arn:aws:sns:eu-west-1:1:x".into()],
            vec![("5xx", Fault::NoOkAction)],
            None,
        ),
        ("samples", |s| samples(s, 7.0), vec![], None),
        ("no samples", |s| samples(s, 0.0), vec![("5xx", Fault::NoData)], None),
        (
            "the samples cannot be read",
            |s| {
                read(s).samples.insert("5xx".into(), Err(failed("Read")));
            },
            vec![],
            None,
        ),
        (
            "insufficient data",
            |s| s.guards[0].alarm.state = State::InsufficientData,
            vec![("5xx", Fault::InsufficientData)],
            None,
        ),
        (
            "insufficient data although it had samples",
            |s| {
                s.guards[0].alarm.state = State::InsufficientData;
                samples(s, 7.0);
            },
            vec![("5xx", Fault::InsufficientData)],
            None,
        ),
        (
            "insufficient data because it had no samples",
            |s| {
                s.guards[0].alarm.state = State::InsufficientData;
                samples(s, 0.0);
            },
            vec![("5xx", Fault::NoData)],
            None,
        ),
        (
            "two alarms above one that fires without data",
            |s| {
                leaf(s).now.setup.missing_breaches = true;
                let second = GuardingAlarm { alarm: now("second").alarm, ..s.guards[0].clone() };
                s.guards.push(second);
            },
            vec![("5xx", Fault::MissingBreaches)],
            None,
        ),
    ];
    check(rows);
}

#[test]
fn an_alarms_comparison_decides_whether_it_fires_when_users_get_errors() {
    let share = || compares("Average", Operator::AtLeast, 1.0);
    let low = || compares("Sum", Operator::Below, 1.0);
    let is_low = "the alarm `5xx` fires while the stage is well: it fires at Sum < 1";
    let rows: [Row; 10] = [
        (
            "missing data breaches",
            |s| leaf(s).now.setup.missing_breaches = true,
            vec![("5xx", Fault::MissingBreaches)],
            None,
        ),
        ("it takes an hour", |s| leaf(s).now.setup.takes = Some(TimeDelta::hours(1)), vec![], None),
        (
            "it takes more than an hour",
            |s| leaf(s).now.setup.takes = Some(TimeDelta::seconds(3_601)),
            vec![("5xx", Fault::Slow(TimeDelta::seconds(3_601)))],
            None,
        ),
        (
            "a share that no share exceeds",
            |s| compare(s, "Average", Operator::AtLeast, 1.0),
            vec![("5xx", Fault::OutOfReach(share()))],
            Some(vec![
                "the alarm `5xx` cannot fire while any request succeeds: it fires at Average >= 1, and this statistic is \
                 a share of the requests",
            ]),
        ),
        ("a share below 1", |s| compare(s, "Average", Operator::AtLeast, 0.05), vec![], None),
        (
            "it fires when errors are few",
            |s| compare(s, "Sum", Operator::Below, 1.0),
            vec![("5xx", Fault::Inverted(low()))],
            Some(vec![is_low]),
        ),
        (
            "it counts requests",
            |s| compare(s, "SampleCount", Operator::Above, 5.0),
            vec![("5xx", Fault::CountsRequests(compares("SampleCount", Operator::Above, 5.0)))],
            None,
        ),
        (
            "it compares the result of metric math",
            |s| {
                compare(s, "Sum", Operator::Below, 1.0);
                leaf(s).now.alarm.watches = Watches::Metrics(vec![metric("5XXError"), metric("Count")]);
            },
            vec![],
            None,
        ),
        (
            "one of two alarms below it fires",
            |s| {
                let below = s.guards[0].leaves[0].clone();
                s.guards[0].leaves.push(below);
                compare(s, "Sum", Operator::Below, 1.0);
            },
            vec![("5xx", Fault::Inverted(low()))],
            None,
        ),
        ("no alarm below it can be found", |s| s.guards[0].leaves.clear(), vec![], None),
    ];
    check(rows);
}

#[test]
fn an_alarm_has_no_effect_if_it_names_only_stages_that_are_not_protected() {
    let stage = StageRef::rest("a", "prod");
    let protected = [(&stage, vec!["orders".to_owned()])];
    let named = |api: &str| Target { api: ApiRef::Name(api.into()), ..target("", "prod") };
    let other = "the alarm `5xx` calls the function, but names b/prod, which is not protected";
    let others = "the alarm `5xx` calls the function, but names b/prod, a/test, which is not protected";
    let none = "the alarm `5xx` calls the function, but names no stage";
    for (case, targets, unresolved, expected) in [
        ("a protected stage", vec![target("a", "prod")], vec![], None),
        ("a protected stage, by its API's name", vec![named("orders")], vec![], None),
        ("another stage, and a protected one", vec![target("b", "prod"), target("a", "prod")], vec![], None),
        ("another stage", vec![target("b", "prod")], vec![], Some(other)),
        ("other stages", vec![target("b", "prod"), target("a", "test")], vec![], Some(others)),
        ("another stage, and one that is unknown", vec![target("b", "prod")], vec!["x"], Some(other)),
        ("no stage", vec![], vec![], Some(none)),
        ("perhaps a stage", vec![], vec!["the alarm `x` in its rule cannot be found"], None),
    ] {
        let unresolved = unresolved.into_iter().map(str::to_owned).collect();
        let guards = [GuardingAlarm { targets, unresolved, ..guard("5xx") }];
        let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
        assert_eq!(without_effect(&guards, &protected), expected, "{case}");
    }
}
