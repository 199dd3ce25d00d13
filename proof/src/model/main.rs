//! `make model`: the life of a stage and of a rollout as state machines, explored whole. Wherever a life goes, it comes to rest
//! once the others are calm: a stage on its known-good release, on a release that was promoted, or held with people told; a
//! rollout at its end or paused, with people told.
//!
//! The decisions are the function's own (`decide`, `check`, `upkeep`, `rollout`); deploys, alarms, crashes and the order of
//! reads and writes are the model's. docs/proof.md says what they leave out.

mod life;
mod rollout_life;
mod rollout_world;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use stateright::{Checker, Model, Property};

use life::{Life, Move};
use rollout_life::{Is, Rolling};

/// The life of a stage: how many of each the others may do. More of them repeat what these show.
#[derive(Clone, Copy, Debug)]
struct StageModel {
    deploys: u8,
    crashes: u8,
    lost: u8,
    holds: u8,
}

/// The life of a rollout: how many orders, acts of others and crashes it meets, with so many runs at a time.
#[derive(Clone, Copy, Debug)]
struct RolloutModel {
    runs: usize,
    orders: u8,
    others: u8,
    crashes: u8,
}

impl Model for StageModel {
    type State = Life;
    type Action = Move;

    fn init_states(&self) -> Vec<Life> {
        // With a known-good release, and at the very beginning.
        vec![Life::new(true), Life::new(false)]
    }

    fn actions(&self, life: &Life, actions: &mut Vec<Move>) {
        actions.extend(life.moves(self.deploys, self.crashes, self.lost, self.holds));
    }

    fn next_state(&self, life: &Life, action: Move) -> Option<Life> {
        let mut next = life.clone();
        next.make(action);
        (next != *life).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("once the others are calm, the stage comes to rest", |_, life: &Life| {
                life.comes_to_rest()
            }),
            Property::always("the function sets the stage only to its record", |_, life: &Life| {
                !life.faults.set_to_another
            }),
            Property::always("no good release is rolled back", |_, life: &Life| !life.faults.wronged),
            Property::always("no release is recorded that is bad", |_, life: &Life| {
                !life.faults.recorded_bad
            }),
            Property::always("every plan passes the check", |_, life: &Life| !life.faults.unchecked),
            Property::always("a held stage is left alone", |_, life: &Life| !life.faults.touched_held),
            // Without these, the others would show nothing.
            Property::sometimes("a bad release is rolled back", |_, life: &Life| life.was_rolled_back()),
            Property::sometimes("a new release is promoted", |_, life: &Life| life.was_promoted()),
            Property::sometimes("a run dies after its change, and nobody has been told", |_, life: &Life| {
                life.is_untold()
            }),
            Property::sometimes("people are told of a stage that is left as it is", |_, life: &Life| {
                life.is_told_hold()
            }),
        ]
    }
}

impl Model for RolloutModel {
    type State = Rolling;
    type Action = rollout_life::Move;

    fn init_states(&self) -> Vec<Rolling> {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(bad, adopted)| Rolling::new(bad, adopted))
            .into()
    }

    fn actions(&self, rolling: &Rolling, actions: &mut Vec<rollout_life::Move>) {
        actions.extend(rolling.moves(self.runs, self.orders, self.others, self.crashes));
    }

    fn next_state(&self, rolling: &Rolling, action: rollout_life::Move) -> Option<Rolling> {
        let mut next = rolling.clone();
        next.make(action);
        (next != *rolling).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(
                "once the others are calm, the rollout comes to rest",
                |_, rolling: &Rolling| rolling.comes_to_rest(),
            ),
            Property::always(
                "traffic grows only by a step that passed, or by an order",
                |_, rolling: &Rolling| !rolling.faults.unearned,
            ),
            Property::always("no bad release is promoted without an order", |_, rolling: &Rolling| {
                !rolling.promoted_a_bad_one()
            }),
            Property::always("every change of a rollout passes the check", |_, rolling: &Rolling| {
                !rolling.faults.unchecked
            }),
            Property::always("nobody is named as the cause who did nothing", |_, rolling: &Rolling| {
                !rolling.faults.slandered
            }),
            Property::sometimes("a release is promoted", |_, rolling: &Rolling| {
                rolling.ends_as(Is::Promoted)
            }),
            Property::sometimes("a release is removed", |_, rolling: &Rolling| rolling.ends_as(Is::Aborted)),
            Property::sometimes("a bad release is rolled back", |_, rolling: &Rolling| {
                rolling.ends_as(Is::RolledBack)
            }),
            Property::sometimes("a rollout is paused", |_, rolling: &Rolling| rolling.ends_as(Is::Paused)),
        ];
        // Nothing overtakes a rollout if nobody else acts.
        if self.others > 0 {
            all.push(Property::sometimes("a rollout is overtaken", |_, rolling: &Rolling| {
                rolling.ends_as(Is::Overtaken)
            }));
        }
        all
    }
}

/// Explores a model, and prints how large it is and what holds. Returns whether all of it holds.
fn explore<M>(model: &M) -> bool
where
    M: Model + Clone + std::fmt::Debug + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::fmt::Debug + std::hash::Hash + Send + Sync,
    M::Action: Clone + PartialEq + std::fmt::Debug,
{
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = model.clone().checker().threads(threads).spawn_bfs().join();
    println!(
        "{model:?}: {} states, {} unique, {} moves deep, {:.0} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let mut holds = checker.is_done();
    for property in model.properties() {
        let found = checker.discovery(property.name);
        let is_example = property.expectation == stateright::Expectation::Sometimes;
        let good = found.is_some() == is_example;
        holds &= good;
        println!("{} {}", if good { "ok     " } else { "NOT OK " }, property.name);
        if let Some(path) = found.filter(|_| !good) {
            for (state, step) in path.into_vec() {
                println!("          {state:?}\n          {step:?}");
            }
        }
    }
    holds
}

fn main() -> ExitCode {
    let (stage, rollouts) = match std::env::args().nth(1).as_deref() {
        None => (
            StageModel { deploys: 2, crashes: 1, lost: 1, holds: 1 },
            [
                RolloutModel { runs: 2, orders: 1, others: 1, crashes: 1 },
                // Two runs of the schedule, and an operator at the same time.
                RolloutModel { runs: 3, orders: 1, others: 0, crashes: 0 },
            ],
        ),
        Some("--large") => (
            StageModel { deploys: 3, crashes: 1, lost: 1, holds: 1 },
            [
                RolloutModel { runs: 2, orders: 2, others: 2, crashes: 1 },
                RolloutModel { runs: 3, orders: 1, others: 1, crashes: 1 },
            ],
        ),
        Some(_) => {
            eprintln!("error: usage: model [--large]");
            return ExitCode::FAILURE;
        }
    };
    let rests = rollouts.iter().map(explore).fold(explore(&stage), |all, one| all && one);
    if rests { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
