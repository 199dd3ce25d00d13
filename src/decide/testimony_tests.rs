//! The table of the testimony: what each alarm says about a stage and its release.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::fixture::{TOPIC, admission};
use super::leaves::resolved;
use super::testimony::*;
use crate::model::alarm::{Alarm, AlarmNow, Metric, Muted, Origin, State, Watches, time};
use crate::model::alarm_setup::AlarmSetup;
use crate::model::datapoint::{Datapoint, Reading};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};

const HOME: &str = "111111111111";
/// An alarm's state, and what is said against it: `data`, `missing` or `foreign`.
type Leaves<'a> = &'a [(&'a str, State, &'a str)];

fn alarm(name: &str, state: State) -> Alarm {
    Alarm::new(name, state)
}

fn now_of(alarm: Alarm) -> AlarmNow {
    AlarmNow {
        alarm,
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        window: TimeDelta::minutes(2),
        evaluated: vec![],
        setup: AlarmSetup::default(),
    }
}

fn names(api: &str) -> Vec<Target> {
    vec![Target { api: ApiRef::Id(api.into()), stage: "prod".into(), canary: false, protocol: None }]
}

fn leaf(api: &str, state: State, kind: &str) -> Leaf {
    let mut alarm = alarm(&format!("{api} {kind}"), state);
    alarm.only_missing_data = kind == "missing";
    alarm.claimed.account = Some(if kind == "foreign" { "222222222222" } else { HOME }.into());
    let (now, named_by) = (now_of(alarm.clone()), alarm.name);
    Leaf { now, targets: if api.is_empty() { vec![] } else { names(api) }, named_by, later: None }
}

/// A composite alarm whose leaves name the stages, or which names its stages itself.
fn composite(state: State, leaves: Leaves<'_>, own: Option<&str>) -> GuardingAlarm {
    let mut alarm = alarm("composite", state);
    alarm.watches = Watches::Alarms(vec![]);
    let leaves: Vec<Leaf> = leaves.iter().map(|(api, state, kind)| leaf(api, *state, kind)).collect();
    let targets = own.map_or_else(|| leaves.iter().flat_map(|leaf| leaf.targets.clone()).collect(), names);
    GuardingAlarm {
        alarm,
        actions_enabled: true,
        actions: vec![TOPIC.to_owned()],
        ok_actions: vec![],
        muted: Muted::No,
        window: TimeDelta::minutes(2),
        speaks_by_leaves: own.is_none(),
        targets,
        leaves,
        unresolved: vec![],
    }
}

fn said(guarding: &GuardingAlarm) -> String {
    about_orders(None, |subject| match testimony(guarding, subject) {
        Testimony::Accuses => "accuses".into(),
        Testimony::Quiet => "quiet".into(),
        Testimony::Abstains(reason) => reason.code().into(),
        Testimony::Unreadable(why) => why,
    })
}

/// Judges something about the stage `prod` of the API `orders`, whose release went live then.
fn about_orders<T>(went_live: Option<&str>, judge: impl FnOnce(Subject<'_>) -> T) -> T {
    let stage = StageRef::rest("orders", "prod");
    let home = Origin { account: Some(HOME.into()), region: None };
    let (went_live, admission, guilt) = (went_live.and_then(time), admission(), None);
    judge(Subject { stage: &stage, api_names: &[], home: &home, admission: &admission, went_live, guilt })
}

#[test]
fn only_an_alarm_in_alarm_by_its_own_data_accuses_the_stage_that_it_names() {
    use State::{Alarm as Fires, InsufficientData, Ok};
    let leaves: [(&str, State, Leaves<'_>, Option<&str>, &str); 16] = [
        ("OK", Ok, &[("orders", Ok, "data")], None, "quiet"),
        ("no data", InsufficientData, &[("orders", InsufficientData, "data")], None, "quiet"),
        ("ALARM", Fires, &[("orders", Fires, "data")], None, "accuses"),
        ("a composite in OK silences its leaves", Ok, &[("orders", Fires, "data")], None, "quiet"),
        ("missing data", Fires, &[("orders", Fires, "missing")], None, "no-datapoints"),
        ("another account", Fires, &[("orders", Fires, "foreign")], None, "wrong-account"),
        ("a neighbor", Fires, &[("orders", Ok, "data"), ("billing", Fires, "data")], None, "quiet"),
        ("both", Fires, &[("orders", Fires, "data"), ("billing", Fires, "data")], None, "accuses"),
        (
            "a weak alarm never silences a strong one",
            Fires,
            &[("orders", Fires, "missing"), ("orders", Fires, "data")],
            None,
            "accuses",
        ),
        (
            "a neighbor's strong alarm does not strengthen a weak one",
            Fires,
            &[("orders", Fires, "missing"), ("billing", Fires, "data")],
            None,
            "no-datapoints",
        ),
        ("a leaf names no stage", Fires, &[("orders", Ok, "data"), ("", Fires, "data")], None, "no-stage"),
        ("such a leaf is quiet", Fires, &[("orders", Ok, "data"), ("", Ok, "data")], None, "quiet"),
        ("it names the stage itself", Fires, &[("billing", Fires, "data")], Some("orders"), "accuses"),
        (
            "it names the stage itself, and only missing data speaks",
            Fires,
            &[("billing", Fires, "missing")],
            Some("orders"),
            "no-datapoints",
        ),
        (
            "it names the stage itself, and its rule asks for an alarm in OK",
            Fires,
            &[("billing", Ok, "data")],
            Some("orders"),
            "accuses",
        ),
        ("it names another stage itself", Ok, &[("orders", Fires, "data")], Some("billing"), "quiet"),
    ];
    for (case, state, leaves, own, expected) in leaves {
        assert_eq!(said(&composite(state, leaves, own)), expected, "{case}");
    }
}

#[test]
fn an_alarm_that_must_not_act_abstains_before_its_leaves_are_asked() {
    let fires = composite(State::Alarm, &[("orders", State::Alarm, "data")], None);
    let mut suppressed = fires.clone();
    suppressed.alarm.suppressed_by = Some("maintenance".into());
    let mut disabled = fires;
    disabled.actions_enabled = false;
    assert_eq!(said(&suppressed), "suppressed");
    assert_eq!(said(&disabled), "alarm-actions-disabled");
}

#[test]
fn an_alarm_that_cannot_be_resolved_is_neither_quiet_nor_guilty() {
    let why = "the alarm `x` in its rule cannot be found";
    for (state, leaves, expected) in [
        (State::Ok, &[("orders", State::Ok, "data")][..], why),
        (State::Alarm, &[("orders", State::Ok, "data")], why),
        (State::Alarm, &[("orders", State::Alarm, "data")], "accuses"),
        (State::Alarm, &[("orders", State::Alarm, "missing")], why),
        (State::Alarm, &[], why),
    ] {
        let mut guarding = composite(state, leaves, None);
        guarding.unresolved = vec![why.to_owned()];
        assert_eq!(said(&guarding), expected, "{state} {leaves:?}");
    }
}

#[test]
fn an_alarm_that_names_no_stage_concerns_every_stage_only_if_it_cannot_be_resolved() {
    let mut alarms = vec![
        composite(State::Alarm, &[("orders", State::Alarm, "data")], None),
        composite(State::Alarm, &[("billing", State::Alarm, "data")], None),
        composite(State::Alarm, &[], None),
    ];
    let count = |alarms: &[GuardingAlarm]| about_orders(None, |subject| guarding(alarms, subject).len());
    assert_eq!(count(&alarms), 1);
    alarms[2].unresolved.push("its rule names no alarm".into());
    assert_eq!(count(&alarms), 2);
    // What is missing below the neighbor's alarm may be about this stage, unless it names its stages itself.
    alarms[1].unresolved.push("the alarm `x` in its rule does not exist".into());
    assert_eq!(count(&alarms), 3);
    alarms[1].speaks_by_leaves = false;
    assert_eq!(count(&alarms), 2);
}

#[test]
fn only_the_alarms_and_the_metrics_of_the_stage_prove_its_release() {
    let watching = |api: &str| {
        let mut leaf = leaf(api, State::Ok, "data");
        let metric = |namespace: &str| Metric {
            namespace: namespace.into(),
            name: format!("{api} {namespace}"),
            dimensions: vec![("ApiId".into(), api.into()), ("Stage".into(), "prod".into())],
            account: None,
        };
        leaf.now.alarm.watches = Watches::Metrics(vec![metric("AWS/ApiGateway"), metric("AWS/Lambda")]);
        leaf
    };
    let mut alarms = vec![composite(State::Ok, &[("orders", State::Ok, "data")], None)];
    alarms[0].leaves = vec![watching("orders"), watching("billing")];
    alarms[0].targets.extend(names("billing"));
    let found = |alarms: &[GuardingAlarm]| {
        about_orders(None, |subject| {
            let guarding = guarding(alarms, subject);
            let about: Vec<String> = guarding[0].about.iter().map(|alarm| alarm.name.clone()).collect();
            let metrics: Vec<String> = guarding[0].metrics.iter().map(|metric| metric.name.clone()).collect();
            (about, metrics)
        })
    };
    assert_eq!(found(&alarms), (vec!["orders data".into()], vec!["orders AWS/ApiGateway".into()]));
    // A composite alarm that names the stage itself speaks by its own state, but only the stage's own data proves its use.
    alarms[0].targets = vec![names("orders").remove(0)];
    alarms[0].speaks_by_leaves = false;
    assert_eq!(found(&alarms), (vec!["composite".into()], vec!["orders AWS/ApiGateway".into()]));
}

const WENT_LIVE: &str = "2026-11-20T10:00:00Z";
const FIRED: &str = "2026-11-20T10:02:30Z";

fn point(begins: &str, reading: Reading) -> Datapoint {
    let begins: DateTime<Utc> = time(begins).unwrap();
    Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading }
}

/// The minute of the breach, against the release, which went live at 10:00.
const BREACHES: [(&str, Option<&str>); 4] = [
    ("no data", None),
    ("before the release", Some("2026-11-20T09:59:00Z")),
    ("while the release went live", Some("2026-11-20T09:59:30Z")),
    ("after the release", Some("2026-11-20T10:01:00Z")),
];

/// The facts of one case of the large table.
#[expect(clippy::struct_excessive_bools, reason = "each fact is independent of the others")]
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: &'static str,
    state: State,
    leaf: State,
    suppressed: bool,
    enabled: bool,
    muted: &'static str,
    missing: bool,
    foreign: bool,
    names: &'static str,
    breach: usize,
}

impl Case {
    fn now(&self, name: &str, state: State) -> AlarmNow {
        let mut alarm = Alarm { changed_at: time(FIRED), ..Alarm::new(name, state) };
        alarm.only_missing_data = self.missing;
        alarm.claimed.account = Some(if self.foreign { "222222222222" } else { HOME }.into());
        let breach = BREACHES[self.breach].1.map(|begins| point(begins, Reading::Breaching));
        let evaluated = breach.into_iter().collect();
        AlarmNow { evaluated, ..now_of(alarm) }
    }

    fn guarding(&self) -> GuardingAlarm {
        let directive = match self.names {
            "ours" => Some("rollback-target: orders/prod".to_owned()),
            "neighbor" => Some("rollback-target: billing/prod".to_owned()),
            _ => None,
        };
        let is_plain = self.kind == "plain";
        let mut leaf = self.now("leaf", if is_plain { self.state } else { self.leaf });
        let above = |name: &str, below: &str| {
            let mut now = self.now(name, self.state);
            now.alarm.watches = Watches::Alarms(vec![below.to_owned()]);
            (now.alarm.only_missing_data, now.evaluated) = (false, vec![]);
            now
        };
        let mut top = match self.kind {
            "two levels" => above("top", "middle"),
            _ => above("top", "leaf"),
        };
        let middle = above("middle", "leaf");
        let speaker = if self.kind == "composite with a directive" { &mut top } else { &mut leaf };
        speaker.alarm.description = directive;
        let mut known = BTreeMap::from([("middle".to_owned(), middle), ("leaf".to_owned(), leaf.clone())]);
        let mut now = if is_plain { known.remove("leaf").unwrap() } else { top };
        now.alarm.suppressed_by = self.suppressed.then(|| "maintenance".to_owned());
        now.actions_enabled = self.enabled;
        let muted = match self.muted {
            "no" => Muted::No,
            "by a rule" => Muted::By("window".to_owned()),
            _ => Muted::Unknown("denied".to_owned()),
        };
        GuardingAlarm { muted, ..resolved(now, &known) }
    }

    /// The rules of the table in their order, written without the types of the engine.
    fn expected(&self) -> &'static str {
        let is_plain = self.kind == "plain";
        let fires = self.state == State::Alarm;
        let by_own_name = self.kind == "composite with a directive";
        let leaf_fires = if is_plain { fires } else { self.leaf == State::Alarm };
        let weak = match (self.foreign, self.missing, self.breach) {
            (true, _, _) => Some("wrong-account"),
            (_, true, _) => Some("no-datapoints"),
            (_, _, 1) => Some("began-before-release"),
            _ => None,
        };
        let rules = [
            // Of another stage, or of none. A query that fires and names no stage may be about any.
            (self.names == "neighbor", "nothing"),
            (self.names == "none" && is_plain && fires, "unreadable"),
            (self.names == "none", "nothing"),
            (!fires, "quiet"),
            (self.suppressed, "suppressed"),
            (!self.enabled, "alarm-actions-disabled"),
            (self.muted == "by a rule", "muted"),
            (!leaf_fires && !by_own_name, "quiet"),
            (leaf_fires && weak.is_some(), weak.unwrap_or_default()),
            (self.muted == "unknown", "unreadable"),
        ];
        rules.iter().find(|(applies, _)| *applies).map_or("accuses", |(_, says)| says)
    }
}

#[test]
fn every_combination_of_facts_gives_the_testimony_of_the_table() {
    const STATES: [State; 3] = [State::Ok, State::InsufficientData, State::Alarm];
    let mut cases = 0;
    for kind in ["plain", "composite", "two levels", "composite with a directive"] {
        for names in ["ours", "neighbor", "none"] {
            for (state, leaf) in STATES.into_iter().flat_map(|state| STATES.map(|leaf| (state, leaf))) {
                for bits in 0..16 {
                    for (muted, breach) in
                        ["no", "by a rule", "unknown"].into_iter().flat_map(|m| (0..4).map(move |b| (m, b)))
                    {
                        let is = |bit: u32| bits >> bit & 1 == 1;
                        let (suppressed, enabled, missing, foreign) = (is(0), is(1), is(2), is(3));
                        let case = Case {
                            kind,
                            state,
                            leaf,
                            suppressed,
                            enabled,
                            muted,
                            missing,
                            foreign,
                            names,
                            breach,
                        };
                        let alarms = [case.guarding()];
                        let said = about_orders(Some(WENT_LIVE), |subject| {
                            match guarding(&alarms, subject).first().map(|one| &one.testimony) {
                                None => "nothing",
                                Some(Testimony::Accuses) => "accuses",
                                Some(Testimony::Quiet) => "quiet",
                                Some(Testimony::Abstains(reason)) => reason.code(),
                                Some(Testimony::Unreadable(_)) => "unreadable",
                            }
                        });
                        assert_eq!(said, case.expected(), "{case:?}, breach {}", BREACHES[breach].0);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 4 * 3 * 9 * 16 * 12);
}

#[test]
fn a_breach_from_before_the_release_acquits_it_until_a_new_breach_begins() {
    use Reading::{Breaching, Within};
    let (nine, ten, one, two) =
        ("2026-11-20T09:58:00Z", "2026-11-20T10:00:00Z", "2026-11-20T10:01:00Z", "2026-11-20T10:02:00Z");
    let old = || vec![point(nine, Breaching)];
    for (case, fired, evaluated, later, expected) in [
        ("no data", FIRED, vec![], None, "accuses"),
        ("old data", FIRED, old(), None, "began-before-release"),
        (
            "it begins before and goes on",
            FIRED,
            vec![point(nine, Breaching), point(one, Breaching)],
            None,
            "began-before-release",
        ),
        (
            "it goes on",
            FIRED,
            old(),
            Some(vec![point(ten, Breaching), point(one, Breaching)]),
            "began-before-release",
        ),
        ("it ends", FIRED, old(), Some(vec![point(ten, Within), point(one, Within)]), "began-before-release"),
        ("nothing is known of later", FIRED, old(), Some(vec![]), "began-before-release"),
        (
            "it ends and begins anew",
            FIRED,
            old(),
            Some(vec![point(one, Within), point(two, Breaching)]),
            "accuses",
        ),
        (
            "it fired before the release, whose change is judged elsewhere",
            "2026-11-20T09:59:30Z",
            old(),
            None,
            "accuses",
        ),
        ("it fired in the second of the release", "2026-11-20T10:00:00.500Z", old(), None, "accuses"),
    ] {
        let mut alarm = composite(State::Alarm, &[("orders", State::Alarm, "data")], None);
        let leaf = &mut alarm.leaves[0];
        leaf.now.alarm.changed_at = time(fired);
        (leaf.now.evaluated, leaf.later) = (evaluated, later);
        let said = about_orders(Some(WENT_LIVE), |subject| testimony(&alarm, subject));
        let said = match said {
            Testimony::Accuses => "accuses",
            Testimony::Abstains(reason) => reason.code(),
            said @ (Testimony::Quiet | Testimony::Unreadable(_)) => panic!("{case}: {said:?}"),
        };
        assert_eq!(said, expected, "{case}");
        // Where it is not known when the release went live, the alarm's own verdict stands.
        let unknown = about_orders(None, |subject| testimony(&alarm, subject));
        assert_eq!(unknown, Testimony::Accuses, "{case}");
    }
}

#[test]
fn a_composite_alarm_accuses_the_stages_of_its_leaves_in_alarm() {
    use State::{Alarm as Fires, Ok};
    let cases: [(&str, State, Leaves<'_>, &str); 8] = [
        ("one", Fires, &[("orders", Fires, "data")], "orders"),
        ("only those in ALARM", Fires, &[("orders", Fires, "data"), ("billing", Ok, "data")], "orders"),
        ("two", Fires, &[("orders", Fires, "data"), ("billing", Fires, "data")], "orders billing"),
        ("the same stage twice", Fires, &[("orders", Fires, "data"), ("orders", Fires, "missing")], "orders"),
        ("a weak one is judged with its stage", Fires, &[("orders", Fires, "missing")], "orders"),
        ("it has left ALARM", Ok, &[("orders", Fires, "data")], "alarm-cleared"),
        ("its leaves have", Fires, &[("orders", Ok, "data")], "alarm-cleared"),
        ("a leaf without a stage", Fires, &[("", Fires, "data"), ("orders", Ok, "data")], "no-stage"),
    ];
    let described = |guarding: &GuardingAlarm| match accused(guarding, &admission()) {
        Result::Ok(targets) => targets.iter().map(|one| one.api.text()).collect::<Vec<_>>().join(" "),
        Err(reason) => reason.code().to_owned(),
    };
    for (case, state, leaves, expected) in cases {
        assert_eq!(described(&composite(state, leaves, None)), expected, "{case}");
    }
    let mut unresolved = composite(Fires, &[], None);
    assert_eq!(described(&unresolved), "no-stage");
    unresolved.unresolved.push("the alarm `x` in its rule does not exist".into());
    assert_eq!(described(&unresolved), "alarm-unreadable");
}

#[test]
fn only_the_stages_last_change_says_when_a_release_went_live_and_not_always() {
    use crate::model::component::AliasTarget;
    use crate::model::observed::{KnownGood, OnRecord};
    use crate::model::policy::PolicyOverrides;
    use crate::model::protocol::Protocol;
    use crate::model::records::{Candidate, Rollbacks};
    use crate::model::release::{Canary, Release};
    use crate::model::stage::LiveStage;
    let release = |deployment: &str| Release { deployment: deployment.into(), ..Release::default() };
    let canary = Canary {
        percent: "10".into(),
        deployment: Some("d2".into()),
        overrides: BTreeMap::new(),
        uses_cache: false,
    };
    let canary = || Release { canary: Some(canary.clone()), ..release("d1") };
    let with_alias = || {
        let version = AliasTarget { version: "2".into(), weights: BTreeMap::new() };
        Release { aliases: [("orders:live".parse().unwrap(), version)].into(), ..release("d2") }
    };
    let (before, after) = ("2026-11-20T09:58:59Z", "2026-11-20T10:00:01Z");
    for (case, live, seen, certain) in [
        ("a new release", release("d2"), None, true),
        ("seen after its deploy", release("d2"), Some((release("d2"), after)), true),
        ("seen before the stage's last change", release("d2"), Some((release("d2"), before)), false),
        ("seen by a clock that is slow", release("d2"), Some((release("d2"), "2026-11-20T09:59:01Z")), true),
        ("another release was seen before", release("d2"), Some((release("d3"), before)), true),
        ("it was a canary", release("d2"), Some((canary(), before)), false),
        ("another release was a canary", release("d3"), Some((canary(), before)), true),
        ("it has an alias", with_alias(), None, false),
    ] {
        let candidate = seen
            .map(|(release, first_seen)| Candidate::new(Protocol::Rest, &release, time(first_seen).unwrap()));
        let on_record = OnRecord {
            known_good: KnownGood::None { parameter: String::new() },
            candidate,
            hold: None,
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks::default(),
            rollout: Ok(None),
            unreadable: None,
        };
        let live = LiveStage { release: live, updated_at: time(WENT_LIVE), ..LiveStage::default() };
        assert_eq!(went_live(&on_record, &live), live.updated_at.filter(|_| certain), "{case}");
        let unknown = LiveStage { updated_at: None, ..live };
        assert_eq!(went_live(&on_record, &unknown), None, "{case}");
    }
}
