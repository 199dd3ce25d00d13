//! The order of the reasons: every precondition holds or fails, in every combination.

use std::sync::LazyLock;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::{AliasRef, MappingRef};
use apigw_rollback::model::datapoint::Reading;
use apigw_rollback::model::guarding_alarm::GuardingAlarm;
use apigw_rollback::model::observed::{Component, DeploymentNow, KnownGood};
use apigw_rollback::model::policy::Mode;
use apigw_rollback::model::record_fault::RecordFault;
use apigw_rollback::model::records::{Hold, SCHEMA};
use apigw_rollback::model::traffic::Traffic;
use chrono::TimeDelta;

use super::facts::{space, values};
use super::table::{By, Truth, Verdict};
use super::world::{self, Case, Kind, at};

values! {
    /// What CloudWatch says about the alarm.
    Says { Unknown, Ok, OfAnother, NotWired, Accuses, BeganBefore, Fast }

    /// What the stage serves.
    Live { Nothing, KnownGood, Whole, Components }

    /// The record.
    Recorded { Found, None, Unusable }

    /// What the requests say.
    Requests { Unread, Convicted, Acquitted }

    /// What keeps the recorded release from being served.
    Gone { No, Deleted, InQuarantine }

    /// An alarm that does not trigger.
    Beside { None, Accuses }

    /// Who asks without an alarm.
    Asks { Operator, Forced, Rollout, Sibling, Nobody }
}

space! {
    /// The preconditions that do not depend on who asks.
    Guards {
        listed: bool,
        live: Live,
        recorded: Recorded,
        held: bool,
        changed: bool,
        outside: bool,
        irreversible: bool,
        gone: Gone,
        missing: bool,
        moving: bool,
        overridden: bool,
        managed: bool,
        auto: bool,
        cooldown: bool,
        observe: bool,
    }
}

space! {
    /// An alarm asks.
    ByAlarm { says: Says, requests: Requests, ambiguous: bool }
}

space! {
    /// An operator asks, or nobody.
    WithoutAlarm { asks: Asks, beside: Beside, requests: Requests }
}

/// The parts that every case copies.
struct Parts {
    cases: [Case; 3],
    alias: AliasRef,
    mapping: MappingRef,
    fingerprints: [String; 2],
    accuses: GuardingAlarm,
    fast: GuardingAlarm,
    requests: [Option<Traffic>; 3],
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let recorded = world::with_components("1");
    Parts {
        cases: [
            world::serving(recorded.clone(), recorded.clone()).complete(),
            world::serving(world::whole("2"), world::whole("1")),
            world::serving(world::with_components("2"), recorded).complete(),
        ],
        alias: "orders:live".parse().unwrap(),
        mapping: "api.example.com".parse().unwrap(),
        fingerprints: [world::whole("1"), world::with_components("1")].map(|one| one.fingerprint()),
        accuses: world::alarm(Kind::Own),
        fast: world::alarm(Kind::Fast),
        requests: [Verdict::Unread, Verdict::Convicted, Verdict::Acquitted].map(world::requests),
    }
});

impl Guards {
    /// Returns the case without its alarm. The stage changed at 0, and the alarm fired ten minutes after or 30 seconds
    /// before.
    fn case(self) -> Case {
        let parts = &*PARTS;
        let mut case = parts.cases[match self.live {
            Live::KnownGood => 0,
            Live::Nothing | Live::Whole => 1,
            Live::Components => 2,
        }]
        .clone();
        case.now = if self.changed { at(60) } else { at(700) };
        self.set_stage(&mut case);
        self.set_records(&mut case);
        self.set_policy(&mut case);
        self.tell(&mut case.truth);
        case
    }

    fn set_stage(self, case: &mut Case) {
        let parts = &*PARTS;
        let observed = &mut case.observed;
        observed.configured = self.listed;
        if let Some(live) = &mut observed.live {
            (live.managed, live.auto_deploy) = (self.managed, self.auto);
        }
        if self.live == Live::Nothing {
            observed.live = None;
        }
        if self.gone == Gone::Deleted {
            observed.components.deployment = DeploymentNow::Gone;
        }
        if self.missing {
            let alias = "gone:live".parse().unwrap();
            observed.components.lacks(Component::Alias(alias), "does not exist");
        }
        if self.moving {
            observed.components.moving.push(parts.alias.clone());
        }
        if self.overridden {
            observed.components.overridden.insert(parts.mapping.clone(), "is overridden".into());
        }
    }

    fn set_records(self, case: &mut Case) {
        let parts = &*PARTS;
        let live = case.observed.live.as_ref().map(|live| live.release.clone());
        let record = &mut case.observed.on_record;
        match self.recorded {
            Recorded::Found => {}
            Recorded::None => record.known_good = KnownGood::None { parameter: "p".into() },
            Recorded::Unusable => {
                let fault = RecordFault::Damaged("is damaged".into());
                record.known_good = KnownGood::Unusable { parameter: "p".into(), fault };
            }
        }
        if self.held {
            let until = case.now + TimeDelta::seconds(1);
            record.hold = Some(Hold { schema: SCHEMA, until, by: None, why: None });
        }
        if self.irreversible {
            record.candidate = live.map(|live| world::candidate(&live, 10, true));
        }
        if self.gone == Gone::InQuarantine {
            let good = match self.live {
                Live::Nothing | Live::Whole => &parts.fingerprints[0],
                Live::Components | Live::KnownGood => &parts.fingerprints[1],
            };
            record.rollbacks.past.push(world::entry(at(-20_000), good, None, false));
        }
        if self.cooldown {
            let before = case.now - TimeDelta::seconds(10);
            record.rollbacks.past.push(world::entry(before, "f", Some("another"), false));
        }
    }

    fn set_policy(self, case: &mut Case) {
        if self.outside {
            case.policy.window = Some(TimeDelta::seconds(1));
        }
        if self.observe {
            case.policy.mode = Mode::Observe;
        }
    }

    fn tell(self, truth: &mut Truth) {
        truth.is_protected = self.listed || self.recorded != Recorded::None;
        truth.exists = self.live != Live::Nothing;
        truth.is_held = self.held;
        truth.has_record = self.recorded == Recorded::Found;
        truth.serves_it = self.live == Live::KnownGood;
        truth.changed_after = self.changed.then_some("changed-after-alarm");
        truth.is_outside_window = self.outside;
        truth.is_irreversible = self.irreversible;
        truth.is_gone = self.gone != Gone::No;
        truth.lacks_component = self.missing;
        truth.is_moving = self.moving && self.live == Live::Components;
        truth.is_overridden = self.overridden && self.live == Live::Components;
        truth.is_managed = self.managed;
        truth.deploys_itself = self.auto;
        truth.too_often = self.cooldown;
        truth.only_observes = self.observe;
    }
}

/// Returns the case of an alarm that asks.
pub(crate) fn by_alarm((guards, facts): (Guards, ByAlarm)) -> Case {
    let mut case = guards.case();
    let parts = &*PARTS;
    let mut alarm = if facts.says == Says::Fast { &parts.fast } else { &parts.accuses }.clone();
    world::fired(&mut alarm, Some(if guards.changed { at(-30) } else { at(600) }));
    match facts.says {
        Says::Unknown | Says::Accuses | Says::Fast => {}
        Says::Ok => {
            alarm.alarm.state = State::Ok;
            alarm.leaves[0].now.alarm.state = State::Ok;
        }
        Says::OfAnother => alarm.targets[0].stage = "another".into(),
        Says::NotWired => alarm.actions.clear(),
        Says::BeganBefore => alarm.leaves[0].now.evaluated = vec![world::point(-60, Reading::Breaching)],
    }
    case.observed.alarm = (facts.says != Says::Unknown).then_some(alarm);
    if facts.ambiguous {
        case.observed.namesakes = vec!["a".into(), "b".into()];
    }
    let (nth, verdict) = nth_of(facts.requests);
    case.observed.traffic = parts.requests[nth].clone().map(Ok);
    case.truth.verdict = verdict;
    case.truth.alarm_says = match facts.says {
        Says::Unknown | Says::OfAnother => Some("alarm-unknown"),
        Says::Ok => Some("alarm-cleared"),
        Says::NotWired => Some("alarm-not-wired"),
        Says::Accuses | Says::BeganBefore | Says::Fast => None,
    };
    case.truth.alarm_is_fast = facts.says == Says::Fast;
    // Nobody knows for certain when components changed.
    case.truth.began_before =
        facts.says == Says::BeganBefore && guards.live == Live::Whole && !guards.changed;
    case.truth.is_ambiguous = facts.ambiguous;
    case
}

fn nth_of(requests: Requests) -> (usize, Verdict) {
    match requests {
        Requests::Unread => (0, Verdict::Unread),
        Requests::Convicted => (1, Verdict::Convicted),
        Requests::Acquitted => (2, Verdict::Acquitted),
    }
}

/// Returns the case of an operator or a rollout that asks, or of nobody.
pub(crate) fn without_alarm((guards, facts): (Guards, WithoutAlarm)) -> Case {
    let mut case = guards.case();
    let parts = &*PARTS;
    case.truth.by = match facts.asks {
        Asks::Operator => By::Operator,
        Asks::Forced => By::Forced,
        Asks::Rollout => By::Rollout,
        Asks::Sibling => By::Sibling,
        Asks::Nobody => By::Nobody,
    };
    // An alarm does not matter to them, and the requests only to a rollout and to a sibling.
    case.observed.alarm = (facts.beside == Beside::Accuses).then(|| {
        let mut alarm = parts.accuses.clone();
        world::fired(&mut alarm, Some(at(-30)));
        alarm
    });
    let (nth, verdict) = nth_of(facts.requests);
    case.observed.traffic = parts.requests[nth].clone().map(Ok);
    case.truth.verdict = verdict;
    case
}
