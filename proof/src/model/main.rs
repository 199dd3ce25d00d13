//! `make model`: a stage's life as a state machine, explored whole. Wherever it goes, the stage comes to rest once the others
//! are calm: on its known-good release, on a release that was promoted, or held with people told.
//!
//! The decisions are the function's own (`decide`, `check`, `upkeep`); deploys, alarms, crashes and the order of writes are
//! the model's. docs/proof.md says what it leaves out.

mod life;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use stateright::{Checker, Model, Property};

use life::{Life, Move};

/// How many of each the others may do. More of them repeat what these show.
#[derive(Clone, Copy, Debug)]
struct Others {
    deploys: u8,
    crashes: u8,
    lost: u8,
    holds: u8,
}

impl Model for Others {
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

fn main() -> ExitCode {
    let began = Instant::now();
    let others = match std::env::args().nth(1).as_deref() {
        None => Others { deploys: 2, crashes: 1, lost: 1, holds: 1 },
        Some("--large") => Others { deploys: 3, crashes: 1, lost: 1, holds: 1 },
        Some(_) => {
            eprintln!("error: usage: model [--large]");
            return ExitCode::FAILURE;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let checker = others.checker().threads(threads).spawn_bfs().join();
    println!(
        "{others:?}: {} states, {} unique, {} moves deep, {:.0} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    let mut holds = checker.is_done();
    for property in others.properties() {
        let found = checker.discovery(property.name);
        let is_example = property.expectation == stateright::Expectation::Sometimes;
        let good = found.is_some() == is_example;
        holds &= good;
        println!("{} {}", if good { "ok     " } else { "NOT OK " }, property.name);
        if let Some(path) = found.filter(|_| !good) {
            for (life, step) in path.into_vec() {
                println!("          {life:?}\n          {step:?}");
            }
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
