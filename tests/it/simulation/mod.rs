//! Simulation runs of one stage, each from a seed: deployers, canaries, traffic, alarms, SNS, Lambda, operators and the
//! function, on a simulated clock. For every seed the invariants hold, and the world is at rest at the end.
//!
//! `SEED=n cargo test --test it simulation -- --nocapture` replays one seed with its story. `make test` runs ten
//! thousand seeds; `make soak SEEDS=n` runs more.

mod alarms;
mod cloudwatch;
mod interleavings;
pub(crate) mod invariants;
mod kind;
mod life;
mod others;
mod requests;
mod rest;
pub(crate) mod weather;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, scope};

use crate::simulation::invariants::hold;
use life::simulate;

const SEEDS: u64 = 10_000;

/// Checks one seed; `Err` names the broken invariant.
fn check(seed: u64) -> Result<(), String> {
    let (simulation, before) = simulate(seed, false);
    let after = simulation.world.facts();
    hold(&before, &after, &simulation.seen, &simulation.config)?;
    rest::is_at_rest(&simulation, &after)
}

/// Reads a number from the environment.
fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; set it to a number")))
}

/// Runs these seeds on every core and names the first that break an invariant.
fn check_all(seeds: std::ops::Range<u64>) {
    let (next, found) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let cores = available_parallelism().map_or(1, usize::from);
    let broken: Vec<(u64, String)> = scope(|threads| {
        let work = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                // A few are enough to see what is wrong.
                if seed >= seeds.end || found.load(Ordering::Relaxed) > 5 {
                    return broken;
                }
                if let Err(why) = check(seed) {
                    found.fetch_add(1, Ordering::Relaxed);
                    broken.push((seed, why));
                }
            }
        };
        let working: Vec<_> = (0..cores).map(|_| threads.spawn(work)).collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let lines: Vec<_> = broken
        .iter()
        .map(|(seed, why)| format!("SEED={seed} cargo test --test it simulation -- --nocapture  # {why}"))
        .collect();
    assert!(broken.is_empty(), "seeds that break an invariant:\n{}", lines.join("\n"));
}

#[test]
fn ten_thousand_runs_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let (simulation, _) = simulate(seed, true);
        simulation.story.iter().flatten().for_each(|line| println!("{line}"));
        check(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    check_all(0..number("SEEDS").unwrap_or(SEEDS));
}

#[test]
#[ignore = "takes as long as SEEDS says: `make soak`"]
fn many_runs_keep_every_promise() {
    check_all(SEEDS..SEEDS + number("SEEDS").unwrap_or(100_000));
}

#[test]
fn a_seed_always_gives_the_same_simulation_run() {
    for seed in 0..20 {
        let (one, _) = simulate(seed, true);
        let (other, _) = simulate(seed, true);
        assert_eq!(one.story, other.story, "seed {seed}");
    }
}
