//! The decision table of rollouts: every state and every place of the stage, then the evidence of a step.

use chrono::{DateTime, TimeDelta, Utc};

use super::fixture::{good, policy, rollout};
use super::rollout::{Move, RolloutFacts, Waits, next_move};
use super::testimony::{Guarding, Testimony};
use crate::model::alarm::{Alarm, Muted, State, time};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::Observed;
use crate::model::percent::Percent;
use crate::model::policy::{Mode, StagePolicy};
use crate::model::reason::Reason;
use crate::model::records::{Hold, RollbackEntry, SCHEMA};
use crate::model::release::Release;
use crate::model::rollout::{Rollout, RolloutState};
use crate::model::traffic::{Bucket, Source, Traffic};

const NOW: &str = "2026-11-20T10:05:00Z";

pub(super) fn now() -> DateTime<Utc> {
    time(NOW).unwrap()
}

pub(super) fn percent(number: f64) -> Percent {
    Percent::try_from(number).unwrap()
}

/// A rollout in its second step, from 5 to 25 percent, and the stage as it should be in this state.
fn second(state: RolloutState) -> (Rollout, Observed) {
    // The share of the step before, or that with which the canary is promoted.
    let from = if state == RolloutState::Promoting { 25.0 } else { 5.0 };
    let rollout = Rollout { step: 1, from: Some(percent(from)), ..rollout(state) };
    let observed = serving(&rollout, |_| ());
    (rollout, observed)
}

fn serving(rollout: &Rollout, edit: fn(&mut Release)) -> Observed {
    let (_, mut observed) = good();
    let live = observed.live.as_mut().unwrap();
    live.release = rollout.in_step();
    edit(&mut live.release);
    observed.traffic = Some(Ok(traffic(100, 0)));
    observed
}

/// So many requests of the canary in the current step, and twenty times as many of the base, none of which failed.
pub(super) fn traffic(requests: u64, failed: u64) -> Traffic {
    let bucket = |second: i64, requests, failed| Bucket {
        begins: time("2026-11-20T10:00:00Z").unwrap() + TimeDelta::seconds(second),
        requests,
        failed,
        slow: 0,
    };
    let old = bucket(-10, 1_000, 0);
    Traffic {
        source: Source::Deployments,
        live: vec![bucket(0, requests * 20, 0), bucket(10, requests * 20, 0)],
        canary: vec![
            old,
            bucket(0, requests / 2, failed / 2),
            bucket(10, requests - requests / 2, failed - failed / 2),
        ],
        before: vec![],
        known_good_until: None,
    }
}

pub(super) fn decide(rollout: &Rollout, observed: &Observed, guarding: &[Guarding<'_>]) -> String {
    let policy = policy();
    described(&next_move(&RolloutFacts {
        rollout,
        observed,
        guarding,
        policy: &policy,
        stepped: false,
        now: now(),
    }))
}

fn described(next: &Move) -> String {
    match next {
        Move::Wait(Waits::Bake(until)) => format!("bakes until {}", until.format("%H:%M:%S")),
        Move::Wait(waits) => waits.described(),
        Move::RollBack => "roll back".to_owned(),
        Move::Change(change) => match (&change.put_canary, change.promote_canary, change.remove_canary) {
            (Some(canary), false, false) => {
                format!("canary {} at {}", canary.deployment.as_deref().unwrap(), canary.percent)
            }
            (None, true, false) => "promote".to_owned(),
            (None, false, true) => "remove the canary".to_owned(),
            other => format!("{other:?}"),
        },
        Move::Shift(shifts) => {
            let shifts =
                shifts.iter().map(|shift| format!("{} from {} to {}", shift.alias, shift.from, shift.to));
            shifts.collect::<Vec<_>>().join("; ")
        }
        Move::Record(next) => {
            let why = match &next.state {
                RolloutState::Paused { why, .. }
                | RolloutState::Aborted { why }
                | RolloutState::RolledBack { why, .. }
                | RolloutState::Overtaken { why } => {
                    format!(": {why}")
                }
                RolloutState::Moving
                | RolloutState::Baking
                | RolloutState::Promoting
                | RolloutState::Aborting
                | RolloutState::Promoted => String::new(),
            };
            format!("record {} in step {}{why}", next.state.word(), next.step)
        }
    }
}

type Edit = fn(&mut Release);

/// The states of a rollout that has not ended.
pub(super) fn states() -> [RolloutState; 5] {
    let paused = RolloutState::Paused { why: "x".into(), by: None };
    [RolloutState::Moving, RolloutState::Baking, paused, RolloutState::Promoting, RolloutState::Aborting]
}

/// What the stage serves, and the move for each of these states.
type Row = (&'static str, Edit, [&'static str; 5]);

/// The stage as the rollout left it, or nearly.
fn ours() -> Vec<Row> {
    let base: Edit = |live| live.canary = None;
    let before: Edit = |live| live.canary.as_mut().unwrap().percent = "5".into();
    let step: Edit = |_| ();
    let rounded: Edit = |live| live.canary.as_mut().unwrap().percent = "24.999999".into();
    let half: Edit = |live| {
        live.deployment = "d2".into();
        live.variables.insert("release".into(), "2".into());
        live.canary.as_mut().unwrap().percent = "0".into();
    };
    let done: Edit = |live| {
        (live.deployment, live.canary) = ("d2".into(), None);
        live.variables.insert("release".into(), "2".into());
    };
    let off = "record aborted in step 1: somebody else, or a run that died, removed the canary";
    let lower =
        "record paused in step 1: somebody set the canary to 5 % of the traffic; this rollout had set 25 %";
    vec![
        ("base", base, [off, off, off, off, "record aborted in step 1: an operator removed the canary"]),
        ("the share before", before, ["canary d2 at 25", lower, "is paused", lower, "remove the canary"]),
        (
            "the share of the step",
            step,
            [
                "record baking in step 1",
                "record moving in step 2",
                "is paused",
                "promote",
                "remove the canary",
            ],
        ),
        (
            "the share, as API Gateway rounds it",
            rounded,
            [
                "record baking in step 1",
                "record moving in step 2",
                "is paused",
                "promote",
                "remove the canary",
            ],
        ),
        (
            "half promoted",
            half,
            ["remove the canary", "remove the canary", "is paused", "remove the canary", "remove the canary"],
        ),
        ("promoted", done, ["record promoted in step 1"; 5]),
    ]
}

/// What others made of it.
fn others() -> Vec<Row> {
    let other_share: Edit = |live| live.canary.as_mut().unwrap().percent = "60.0".into();
    let other_variables: Edit = |live| live.variables = [("a".into(), "b".into())].into();
    let other_canary: Edit = |live| live.canary.as_mut().unwrap().deployment = Some("d7".into());
    let deployed: Edit = |live| (live.deployment, live.canary) = ("d9".into(), None);
    let share =
        "record paused in step 1: somebody set the canary to 60 % of the traffic; this rollout had set 25 %";
    let variables = "record paused in step 1: the stage now serves deployment `d1` with other variables";
    let canary =
        "record overtaken in step 1: the stage has another canary, with deployment `d7` or other variables";
    let other = "record overtaken in step 1: the stage serves deployment `d9`, without the canary";
    vec![
        ("another share", other_share, [share, share, "is paused", share, "remove the canary"]),
        (
            "other variables",
            other_variables,
            [variables, variables, "is paused", variables, "remove the canary"],
        ),
        ("another canary", other_canary, [canary; 5]),
        ("another deployment", deployed, [other; 5]),
    ]
}

#[test]
fn every_state_has_a_move_for_every_place_of_the_stage() {
    for (place, edit, expected) in ours().into_iter().chain(others()) {
        for (state, expected) in states().into_iter().zip(expected) {
            let (rollout, mut observed) = second(state);
            edit(&mut observed.live.as_mut().unwrap().release);
            assert_eq!(decide(&rollout, &observed, &[]), expected, "{} and {place}", rollout.state.word());
        }
    }
    for state in states() {
        let (rollout, mut observed) = second(state);
        observed.live = None;
        assert_eq!(
            decide(&rollout, &observed, &[]),
            "record overtaken in step 1: the stage does not exist any more"
        );
    }
    for state in [
        RolloutState::Promoted,
        RolloutState::Aborted { why: "x".into() },
        RolloutState::Overtaken { why: "x".into() },
    ] {
        let (rollout, observed) = second(state);
        assert_eq!(decide(&rollout, &observed, &[]), "has ended");
    }
}

#[test]
fn a_canary_is_made_once() {
    let begin = rollout(RolloutState::Moving);
    let observed = serving(&begin, |live| live.canary = None);
    assert_eq!(decide(&begin, &observed, &[]), "canary d2 at 5");
    let mut rolled_back = observed.clone();
    rolled_back.on_record.rollbacks.past.push(RollbackEntry {
        at: now(),
        fingerprint: "f".into(),
        alarm: Some("orders-5xx".into()),
        alarm_at: None,
        other_source: false,
        recovered_at: None,
        lifted: false,
    });
    let expected =
        "record rolled-back in step 0: the alarm `orders-5xx` rolled the stage back at 2026-11-20T10:05:00Z";
    assert_eq!(decide(&begin, &rolled_back, &[]), expected);
    // A canary that was there at the beginning is not made again.
    let adopted = Rollout { from: Some(percent(0.0)), ..begin.clone() };
    assert_eq!(
        decide(&adopted, &observed, &[]),
        "record aborted in step 0: somebody else, or a run that died, removed the canary"
    );
}

/// API Gateway may answer a read with what it served before a change.
#[test]
fn a_look_just_after_a_step_may_be_older_than_the_step() {
    for (seconds, second_step, first_step) in [
        (29, "bakes until 10:09:31", "bakes until 10:09:31"),
        (
            30,
            "record paused in step 1: somebody set the canary to 5 % of the traffic; this rollout had set 25 %",
            "record aborted in step 0: somebody else, or a run that died, removed the canary",
        ),
    ] {
        let since = now() - TimeDelta::seconds(seconds);
        let (rollout, mut observed) = second(RolloutState::Baking);
        observed.live.as_mut().unwrap().release.canary.as_mut().unwrap().percent = "5".into();
        assert_eq!(decide(&Rollout { since, ..rollout }, &observed, &[]), second_step);
        let first = Rollout { since, ..super::fixture::rollout(RolloutState::Baking) };
        observed.live.as_mut().unwrap().release.canary = None;
        assert_eq!(decide(&first, &observed, &[]), first_step);
    }
}

pub(super) fn alarm() -> GuardingAlarm {
    GuardingAlarm {
        alarm: Alarm::new("orders-5xx", State::Alarm),
        actions_enabled: true,
        actions: vec![],
        ok_actions: vec![],
        muted: Muted::No,
        window: TimeDelta::minutes(1),
        speaks_by_leaves: false,
        targets: vec![],
        leaves: vec![],
        unresolved: vec![],
    }
}

/// The stage is the same before a first step and after an abort, so a run that looked before can begin the step.
#[test]
fn a_step_that_this_run_began_after_an_abort_is_removed_again() {
    for (state, share, stepped, next) in [
        (RolloutState::Aborted { why: "x".into() }, "5", true, "record aborting in step 0"),
        // Somebody else's, like every other canary after the end.
        (RolloutState::Aborted { why: "x".into() }, "5", false, "has ended"),
        (RolloutState::Aborted { why: "x".into() }, "60", true, "has ended"),
        (RolloutState::Promoted, "5", true, "has ended"),
    ] {
        let (rollout, policy) = (rollout(state), policy());
        let mut observed = serving(&rollout, |_| ());
        observed.live.as_mut().unwrap().release.canary.as_mut().unwrap().percent = share.into();
        let (rollout, observed) = (&rollout, &observed);
        let facts = RolloutFacts { rollout, observed, guarding: &[], policy: &policy, stepped, now: now() };
        assert_eq!(described(&next_move(&facts)), next, "{share} %, stepped {stepped}");
    }
}

/// An operator skips the rest of a rollout while a run makes the step.
#[test]
fn a_promotion_takes_the_share_that_a_step_gave_at_the_same_time() {
    let (rollout, mut observed) = second(RolloutState::Promoting);
    let rollout = Rollout { from: Some(percent(5.0)), ..rollout };
    assert_eq!(decide(&rollout, &observed, &[]), "record promoting in step 1");
    observed.live.as_mut().unwrap().release.canary.as_mut().unwrap().percent = "5".into();
    assert_eq!(decide(&rollout, &observed, &[]), "promote");
}

type Circumstances = fn(&mut Rollout, &mut Observed);

/// A rollout whose step has baked, with enough requests, and what keeps it from moving on.
const KEPT: [(&str, Circumstances); 15] = [
    ("record moving in step 2", |_, _| ()),
    ("record promoting in step 2", |r, o| {
        (r.step, r.from) = (2, Some(percent(25.0)));
        o.live.as_mut().unwrap().release = r.in_step();
    }),
    ("bakes until 10:05:01", |r, _| r.terms.bake_seconds = 301),
    ("waits: the canary answered 99 of the 100 requests that the step needs", |_, o| {
        o.traffic = Some(Ok(traffic(99, 0)));
    }),
    ("waits: the canary answered 0 of the 100 requests that the step needs", |_, o| {
        o.traffic = Some(Ok(traffic(0, 0)));
    }),
    ("waits: the canary answered 50 of the 100 requests that the step needs", |r, _| {
        (r.since, r.terms.bake_seconds) = (r.since + TimeDelta::seconds(5), 60);
    }),
    ("waits: the access log of the stage does not count the requests of each deployment", |_, o| {
        o.traffic = None;
    }),
    ("waits: the access log of the stage does not count the requests of each deployment", |_, o| {
        o.traffic = Some(Ok(Traffic { source: Source::OwnMetrics, ..traffic(100, 0) }));
    }),
    (
        "waits: the requests of the canary could not be counted: GetMetricData on `x` failed: Throttling: slow down",
        |_, o| {
            let (code, message) = ("Throttling".to_owned(), "slow down".to_owned());
            let (operation, subject) = ("GetMetricData", "x".to_owned());
            o.traffic =
                Some(Err(CloudError { failure: Failure::Conflict, operation, subject, code, message }));
        },
    ),
    ("roll back", |_, o| o.traffic = Some(Ok(traffic(200, 200)))),
    ("roll back", |r, o| {
        r.state = RolloutState::Moving;
        let live = &mut o.live.as_mut().unwrap().release;
        live.canary.as_mut().unwrap().percent = "5".into();
        o.traffic = Some(Ok(traffic(200, 200)));
    }),
    ("roll back", |r, o| {
        (r.state, r.from) = (RolloutState::Promoting, Some(percent(25.0)));
        o.traffic = Some(Ok(traffic(200, 200)));
    }),
    ("waits: the stage is held until 2026-11-20T11:00:00Z by on call: work", |_, o| {
        let (by, why) = (Some("on call".into()), Some("work".into()));
        o.on_record.hold =
            Some(Hold { schema: SCHEMA, until: time("2026-11-20T11:00:00Z").unwrap(), by, why });
    }),
    ("waits: x is unreadable, so the stage counts as held", |_, o| {
        o.on_record.unreadable = Some("x is unreadable".into());
    }),
    // A failure or two convict nobody.
    ("record moving in step 2", |_, o| o.traffic = Some(Ok(traffic(100, 2)))),
];

#[test]
fn a_step_passes_only_by_evidence() {
    for (nth, (expected, edit)) in KEPT.into_iter().enumerate() {
        let (mut rollout, mut observed) = second(RolloutState::Baking);
        edit(&mut rollout, &mut observed);
        assert_eq!(decide(&rollout, &observed, &[]), expected, "row {nth}");
    }
    let (rollout, observed) = second(RolloutState::Baking);
    let alarm = alarm();
    for (testimony, expected) in [
        (Testimony::Quiet, "record moving in step 2"),
        (Testimony::Accuses, "waits: the alarm `orders-5xx` is in ALARM"),
        (Testimony::Abstains(Reason::NoDatapoints), "waits: the alarm `orders-5xx` is in ALARM"),
        (
            Testimony::Unreadable("its rule is too deep".into()),
            "waits: the alarm `orders-5xx` cannot be resolved: its rule is too deep",
        ),
    ] {
        let guarding = [Guarding { alarm: &alarm, target: None, testimony, about: vec![], metrics: vec![] }];
        assert_eq!(decide(&rollout, &observed, &guarding), expected);
    }
    let observe = StagePolicy { mode: Mode::Observe, ..policy() };
    let facts = RolloutFacts {
        rollout: &rollout,
        observed: &observed,
        guarding: &[],
        policy: &observe,
        stepped: false,
        now: now(),
    };
    assert_eq!(
        described(&next_move(&facts)),
        "waits: the stage is in observe mode, so only operators may change it"
    );
}
