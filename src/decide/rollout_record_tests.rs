//! What the record of a rollout says after a move: since when its state is as it is, and from which share it comes.

use chrono::{DateTime, Utc};

use super::fixture::{good, policy, release, rollout, rollout_of_versions};
use super::rollout::{Move, RolloutFacts, next_move};
use super::rollout_tests::{alarm, decide, now, percent, traffic};
use super::testimony::{Guarding, Testimony};
use crate::model::alarm::time;
use crate::model::observed::Observed;
use crate::model::reason::Reason;
use crate::model::records::{parse, print};
use crate::model::release::Release;
use crate::model::rollout::{Rollout, RolloutState};

fn at(text: &str) -> DateTime<Utc> {
    time(&format!("2026-11-20T{text}Z")).unwrap()
}

/// The stage serves this release, and API Gateway changed it at 10:04:10.
fn serving(live: Release) -> Observed {
    let (_, mut observed) = good();
    let now = observed.live.as_mut().unwrap();
    (now.release, now.updated_at) = (live, Some(at("10:04:10")));
    observed.traffic = Some(Ok(traffic(100, 0)));
    observed
}

/// The record that follows, described by its state, its step, and its times and shares as far as it has them.
fn recorded(rollout: &Rollout, observed: &Observed, stepped: bool) -> String {
    let policy = policy();
    let facts = RolloutFacts { rollout, observed, guarding: &[], policy: &policy, stepped, now: now() };
    let Move::Record(next) = next_move(&facts) else { return "no record".to_owned() };
    let clock = |at: DateTime<Utc>| at.format("%H:%M:%S").to_string();
    let said = [
        Some(format!("{} in step {} since {}", next.state.word(), next.step, clock(next.since))),
        next.from.map(|share| format!("from {share} %")),
        next.changed_at.map(|at| format!("changed at {}", clock(at))),
        next.live_since.map(|at| format!("live since {}", clock(at))),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

type Serves<'a> = &'a dyn Fn(&Rollout) -> Observed;

/// It is 10:05:00, and the rollout's state is as it is since 10:00:00.
#[test]
fn a_record_says_since_when_its_state_is_so_and_from_which_share_it_comes() {
    let canary = |state| Rollout { step: 1, from: Some(percent(5.0)), ..rollout(state) };
    let first = |state| Rollout { from: None, ..rollout(state) };
    let versions = |state| Rollout { from: None, ..rollout_of_versions(state) };
    let live_before = |rollout| Rollout { live_since: Some(at("09:50:00")), ..rollout };
    let in_step = |rollout: &Rollout| serving(rollout.in_step());
    let base = |rollout: &Rollout| serving(rollout.base.clone());
    let gone = |rollout: &Rollout| Observed { live: None, ..in_step(rollout) };
    let rows: [(&str, Rollout, Serves<'_>, &str); 9] = [
        (
            "the first step has begun",
            first(RolloutState::Moving),
            &in_step,
            "baking in step 0 since 10:05:00, changed at 10:04:10, live since 10:04:10",
        ),
        (
            "a later step has begun",
            live_before(canary(RolloutState::Moving)),
            &in_step,
            "baking in step 1 since 10:05:00, from 5 %, changed at 10:04:10, live since 09:50:00",
        ),
        // An alias does not say when its weights were set.
        (
            "the first step of versions has begun",
            versions(RolloutState::Moving),
            &in_step,
            "baking in step 0 since 10:05:00, live since 10:05:00",
        ),
        (
            "a step passes",
            canary(RolloutState::Baking),
            &in_step,
            "moving in step 2 since 10:05:00, from 25 %",
        ),
        (
            "the last step passes",
            Rollout { step: 2, ..canary(RolloutState::Baking) },
            &in_step,
            "promoting in step 2 since 10:05:00, from 50 %",
        ),
        // An operator's order and a step met: the step was made.
        (
            "it is promoted from the share of a step that was just made",
            canary(RolloutState::Promoting),
            &in_step,
            "promoting in step 1 since 10:00:00, from 25 %",
        ),
        (
            "the stage is gone",
            canary(RolloutState::Baking),
            &gone,
            "overtaken in step 1 since 10:05:00, from 5 %",
        ),
        (
            "an operator's abort is done",
            canary(RolloutState::Aborting),
            &base,
            "aborted in step 1 since 10:05:00, from 5 %",
        ),
        (
            "somebody removed the canary",
            canary(RolloutState::Baking),
            &base,
            "aborted in step 1 since 10:05:00, from 5 %",
        ),
    ];
    for (case, rollout, serves, expected) in rows {
        assert_eq!(recorded(&rollout, &serves(&rollout), false), expected, "{case}");
    }
}

#[test]
fn an_aborted_rollout_is_taken_up_again_only_by_the_run_whose_step_came_after_the_abort() {
    let state = RolloutState::Aborted { why: "x".into() };
    let aborted = Rollout { step: 1, from: Some(percent(5.0)), ..rollout(state) };
    let observed = serving(aborted.in_step());
    let again = "aborting in step 1 since 10:05:00, from 5 %";
    assert_eq!([false, true].map(|stepped| recorded(&aborted, &observed, stepped)), ["no record", again]);
}

#[test]
fn a_rollout_that_was_paused_before_its_first_step_waits_and_a_later_one_without_its_canary_has_ended() {
    let paused = || rollout(RolloutState::Paused { why: "x".into(), by: None });
    for (case, rollout, expected) in [
        ("before its first step", paused(), "is paused"),
        (
            "after its first step",
            Rollout { live_since: Some(at("09:50:00")), ..paused() },
            "record aborted in step 0: somebody else, or a run that died, removed the canary",
        ),
    ] {
        let observed = serving(rollout.base.clone());
        assert_eq!(decide(&rollout, &observed, &[]), expected, "{case}");
    }
}

#[test]
fn a_rollout_begins_only_while_every_alarm_is_quiet() {
    let alarm = alarm();
    for (testimony, expected) in [
        (Testimony::Quiet, "canary d2 at 5"),
        (Testimony::Accuses, "waits: the alarm `orders-5xx` is not OK"),
        (Testimony::Abstains(Reason::NoDatapoints), "waits: the alarm `orders-5xx` is not OK"),
        (Testimony::Unreadable("x".into()), "waits: the alarm `orders-5xx` is not OK"),
    ] {
        let rollout = rollout(RolloutState::Moving);
        let observed = serving(release("1").in_stage());
        let case = format!("{testimony:?}");
        let guarding = [Guarding { alarm: &alarm, target: None, testimony, about: vec![], metrics: vec![] }];
        assert_eq!(decide(&rollout, &observed, &guarding), expected, "{case}");
    }
}

#[test]
fn a_record_of_a_rollout_with_an_impossible_time_is_refused() {
    let of = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let (last, later) = (of("9999-12-31T23:59:59Z"), of("+10000-01-01T00:00:00Z"));
    for (since, live_since, expected) in
        [(last, None, true), (last, Some(last), true), (later, None, false), (last, Some(later), false)]
    {
        let record = Rollout { since, live_since, ..rollout(RolloutState::Baking) };
        let read = parse::<Rollout>(&print(&record).unwrap());
        assert_eq!(read.is_ok(), expected, "{read:?}");
    }
}
