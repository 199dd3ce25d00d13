//! A rollout in every order of two runs of the schedule.

use std::collections::BTreeSet;

use super::order::MOVE_OF_A_ROLLOUT;
use super::play::{self, Scene};
use crate::faults::rollouts::consistent;
use crate::scenarios::rollouts::{Rolls, logged, start};
use crate::simulation::invariants::{Seen, Signal};
use crate::support::harness::{attempt, config};
use crate::support::world::{Facts, World};

const ADVANCE: &str = r#"{"command":"advance"}"#;
/// Without a topic: the marks of notifications would multiply the orders.
const SETTINGS: [(&str, &str); 2] = [("MAX_ALARM_AGE_SECONDS", "0"), ("PIN", "off")];

/// What a run may do is not known to the reduction, as with a sweep.
const LIKE_A_SWEEP: Signal = Signal::Sweep;

fn advance() -> (String, Signal) {
    (ADVANCE.to_owned(), LIKE_A_SWEEP)
}

/// A rollout whose first step has passed.
fn a_step_is_due() -> Facts {
    let story = logged().command("rollout-start", &start()).served(6, 12, 0);
    let mut facts = story.world.facts();
    facts.changes.clear();
    facts.notifications.clear();
    facts
}

/// Checks an end: no run fails, every change was allowed, and after one more run of the schedule the record and the stage agree.
/// Returns the end.
fn judge(facts: &Facts, seen: &[Seen]) -> Result<String, String> {
    let mut reports = seen.iter().filter_map(|run| run.reports.as_ref()).flatten();
    if let Some(report) = reports.find(|report| report.outcome.is_failure()) {
        return Err(format!("a run fails: {}", report.message));
    }
    let world = World::new(facts.clone());
    attempt(ADVANCE, &world, &SETTINGS, 99);
    world.look(consistent)
}

/// Explores every order of these runs, and returns the ends.
fn explore(what: &str, facts: Facts, events: Vec<(String, Signal)>) -> BTreeSet<String> {
    let (others, config) = (vec![], config(&SETTINGS));
    let scene = Scene { facts, events, others, config, unordered: MOVE_OF_A_ROLLOUT, in_table: true };
    let ends = std::cell::RefCell::new(BTreeSet::new());
    let judged = |facts: &Facts, seen: &[Seen]| {
        ends.borrow_mut().insert(judge(facts, seen)?);
        Ok(())
    };
    let found = play::explore(&scene, true, judged).unwrap_or_else(|why| panic!("{what}: {why}"));
    let ends = ends.take();
    println!("{what}: {} states, {} schedules: {ends:?}", found.states(), found.played);
    ends
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn a_rollout_ends_well_in_every_order_of_two_runs() {
    let ends = explore("two schedules", a_step_is_due(), vec![advance(), advance()]);
    assert_eq!(ends, ["baking at 50".to_owned()].into());
}
