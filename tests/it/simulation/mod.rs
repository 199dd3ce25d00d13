//! Simulation runs of one stage, each from a seed: deployers, canaries, traffic, alarms, SNS, Lambda, operators and the
//! function, on a simulated clock. For every seed the invariants hold, and the world is at rest at the end.
//!
//! `SEED=n cargo test --test it simulation -- --nocapture` replays one seed with its story. `make test` runs ten
//! thousand seeds: first those that a soak kept because they reached new states. `make soak SEEDS=n` runs more.

mod alarms;
mod cloudwatch;
mod interleavings;
pub(crate) mod invariants;
mod kind;
mod life;
mod others;
pub(crate) mod regions;
mod requests;
mod rest;
mod rollouts;
mod states;
pub(crate) mod weather;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{available_parallelism, scope};

use crate::simulation::invariants::hold;
use life::{simulate, simulate_counting};
use states::{Soak, States};

const SEEDS: usize = 10_000;

/// How many runs a soak adds between two lines about its states.
const BATCH: usize = 1_000;

/// Checks one seed; `Err` names the broken invariant. Returns the states that it reached, if they are counted.
fn check(seed: u64, counts: bool) -> Result<States, String> {
    let (simulation, before) = if counts { simulate_counting(seed) } else { simulate(seed, false) };
    let after = simulation.world.facts();
    hold(&before, &after, &simulation.seen, &simulation.config)?;
    rest::is_at_rest(&simulation, &after)?;
    Ok(simulation.states.unwrap_or_default())
}

/// Reads a number from the environment.
fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; set it to a number")))
}

/// Returns the number of seeds that the environment asks for.
fn asked(usual: usize) -> usize {
    number("SEEDS").map_or(usual, |seeds| usize::try_from(seeds).unwrap())
}

/// Runs these seeds on every core, and names the first that break an invariant. Returns the states of each, if they are
/// counted, in the order of the seeds.
fn check_all(seeds: &[u64], counts: bool) -> Vec<(u64, States)> {
    let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cores = available_parallelism().map_or(1, usize::from);
    let mut answers: Vec<(usize, Result<States, String>)> = scope(|threads| {
        let work = || {
            let mut answers = Vec::new();
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                // A few broken ones are enough to see what is wrong.
                let Some(seed) = seeds.get(nth).filter(|_| found.load(Ordering::Relaxed) <= 5) else {
                    return answers;
                };
                let answer = check(*seed, counts);
                found.fetch_add(usize::from(answer.is_err()), Ordering::Relaxed);
                answers.push((nth, answer));
            }
        };
        let working: Vec<_> = (0..cores).map(|_| threads.spawn(work)).collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_by_key(|(nth, _)| *nth);
    let broken: Vec<String> = answers
        .iter()
        .filter_map(|(nth, answer)| {
            let why = answer.as_ref().err()?;
            let seed = seeds[*nth];
            Some(format!("SEED={seed} cargo test --test it simulation -- --nocapture  # {why}"))
        })
        .collect();
    assert!(broken.is_empty(), "seeds that break an invariant:\n{}", broken.join("\n"));
    answers.into_iter().map(|(nth, answer)| (seeds[nth], answer.unwrap_or_default())).collect()
}

#[test]
fn ten_thousand_runs_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let (simulation, _) = simulate(seed, true);
        simulation.story.iter().flatten().for_each(|line| println!("{line}"));
        if let Err(why) = check(seed, false) {
            panic!("seed {seed}: {why}");
        }
        return;
    }
    check_all(&states::seeds(asked(SEEDS)), false);
}

#[test]
#[ignore = "takes as long as SEEDS says: `make soak`"]
fn many_runs_keep_every_promise() {
    let seeds = states::seeds(SEEDS + asked(100_000));
    let mut soak = Soak::default();
    for batch in seeds.chunks(BATCH) {
        for (seed, states) in check_all(batch, true) {
            soak.add(seed, states);
        }
        println!("{}; {}", soak.described(), soak.store().display());
    }
    println!(
        "to let `make test` begin with the seeds that are kept, copy that file to tests/it/simulation/seeds.txt"
    );
}

#[test]
fn a_seed_always_gives_the_same_simulation_run() {
    for seed in 0..20 {
        let (one, _) = simulate(seed, true);
        let (other, _) = simulate(seed, true);
        assert_eq!(one.story, other.story, "seed {seed}");
    }
}
