//! The table of an operator's orders: every order in every state, and every place of the stage.

use super::fixture::rollout;
use super::rollout_order::{Order, ordered};
use super::rollout_place::Place;
use super::rollout_tests::percent;
use crate::model::alarm::time;
use crate::model::rollout::{At, Rollout, RolloutState};

/// A rollout in its second step, from 5 to 25 percent, since the stage was changed at 10:00:00.
fn second(state: RolloutState) -> Rollout {
    let at = time("2026-11-20T10:00:00Z");
    Rollout { step: 1, from: Some(percent(5.0)), changed_at: at, live_since: at, ..rollout(state) }
}

fn paused() -> RolloutState {
    RolloutState::Paused { why: "x".into(), by: None }
}

/// Describes the rollout after an order by what an order can change.
fn answer(rollout: &Rollout, order: &Order, place: Option<&Place>) -> String {
    match ordered(rollout, order, place, Some("on call".into())) {
        Ok(next) => {
            let from = next.from.map_or("nothing".to_owned(), |from| format!("{from} %"));
            let steps: Vec<String> = next.terms.steps.iter().map(ToString::to_string).collect();
            let dated = if next.changed_at.is_some() { "dated" } else { "undated" };
            let by = match &next.state {
                RolloutState::Paused { why, by } => format!(" by {}: {why}", by.as_deref().unwrap()),
                RolloutState::Moving
                | RolloutState::Baking
                | RolloutState::Promoting
                | RolloutState::Aborting
                | RolloutState::Promoted
                | RolloutState::Aborted { .. }
                | RolloutState::RolledBack { .. }
                | RolloutState::Overtaken { .. } => String::new(),
            };
            format!("{} from {from} in {}, {dated}{by}", next.state.word(), steps.join(","))
        }
        Err(why) => why,
    }
}

#[test]
fn an_order_is_carried_out_in_the_states_that_it_is_for() {
    let pause = Order::Pause(Some("lunch".into()));
    let paused_now = "paused from 5 % in 5,25,50, dated by on call: lunch";
    let unsaid = "paused from 5 % in 5,25,50, dated by on call: no reason given";
    let promoted = "promoting from 25 % in 5,25, dated";
    let aborted = "aborting from 5 % in 5,25,50, dated";
    let not_paused = "the rollout is not paused";
    for (state, expected) in [
        (RolloutState::Moving, [paused_now, unsaid, not_paused, promoted, aborted]),
        (RolloutState::Baking, [paused_now, unsaid, not_paused, promoted, aborted]),
        (
            paused(),
            [
                "the rollout is paused already",
                "the rollout is paused already",
                "moving from 25 % in 5,25,50, undated",
                promoted,
                aborted,
            ],
        ),
        (RolloutState::Promoting, ["the rollout is already promoting"; 5]),
        (RolloutState::Aborting, ["the rollout is already aborting"; 5]),
    ] {
        let rollout = second(state);
        let place = Place::Share(percent(25.0));
        let orders = [pause.clone(), Order::Pause(None), Order::Resume, Order::Promote, Order::Abort];
        let found = orders.map(|order| answer(&rollout, &order, Some(&place)));
        assert_eq!(found, expected.map(str::to_owned), "{:?}", rollout.state);
    }
}

#[test]
fn a_rollout_goes_on_with_the_share_that_the_new_release_has() {
    let at = |shares: &[f64]| Place::Between(shares.iter().map(|share| At::Share(percent(*share))).collect());
    let promoted = Place::Between([At::Share(percent(25.0)), At::Promoted].into());
    let nothing = "the canary gets no traffic, so there is nothing to go on with";
    let resumed = |from: &str| format!("moving from {from} in 5,25,50, undated");
    let skips = |from: &str| format!("promoting from {from} in 5,25, dated");
    let differ = |shares: &str| format!("its aliases give the new version different shares: {shares}");
    let both = |why: String| [why.clone(), why];
    for (case, place, expected) in [
        ("the share of the step", Some(Place::Share(percent(25.0))), [resumed("25 %"), skips("25 %")]),
        ("another share", Some(Place::Share(percent(60.0))), [resumed("60 %"), skips("60 %")]),
        // A run began the step. It goes on with the step, but it is not promoted from two shares.
        ("the step has begun", Some(at(&[5.0, 25.0])), [resumed("5 %"), differ("5 %, 25 %")]),
        ("a share of no step", Some(at(&[5.0, 60.0])), both(differ("5 %, 60 %"))),
        ("one alias is promoted", Some(promoted), both(differ("25 %, all"))),
        ("the canary is still there", Some(Place::HalfPromoted), [resumed("5 %"), skips("5 %")]),
        ("something else", Some(Place::Changed("somebody edits".into())), both("somebody edits".into())),
        ("the base", Some(Place::Base), both(nothing.into())),
        ("the promoted release", Some(Place::Promoted), both(nothing.into())),
        ("another release", Some(Place::Other("d9".into())), both(nothing.into())),
        ("no stage", None, both(nothing.into())),
    ] {
        let found =
            [Order::Resume, Order::Promote].map(|order| answer(&second(paused()), &order, place.as_ref()));
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_rollout_that_was_paused_before_its_first_step_can_begin_but_not_be_promoted() {
    let first = rollout(paused());
    let was_live = Rollout { live_since: time("2026-11-20T10:00:00Z"), ..first.clone() };
    let nothing = "the canary gets no traffic, so there is nothing to go on with";
    for (case, rollout, expected) in [
        ("it never began", first, ["moving from nothing in 5,25,50, undated", nothing]),
        ("its canary was live", was_live, [nothing, nothing]),
    ] {
        let found = [Order::Resume, Order::Promote].map(|order| answer(&rollout, &order, Some(&Place::Base)));
        assert_eq!(found, expected.map(str::to_owned), "{case}");
    }
}

#[test]
fn a_new_release_is_on_the_stage_unless_that_serves_the_base_or_another_release() {
    for (place, expected) in [
        (Place::Base, false),
        (Place::Other("d9".into()), false),
        (Place::Share(percent(5.0)), true),
        (Place::Between([At::Promoted].into()), true),
        (Place::HalfPromoted, true),
        (Place::Promoted, true),
        (Place::Changed("x".into()), true),
    ] {
        assert_eq!(place.has_traffic(), expected, "{place:?}");
    }
}
