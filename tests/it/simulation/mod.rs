//! Whole lives of a stage from a seed: deployers, canaries, traffic, alarms, SNS, Lambda, operators and the function,
//! on a clock of their own. Whatever the seed, the invariants hold, and at the end the world is at rest.
//!
//! One seed again, with its story: `SEED=n cargo test --test it simulation -- --nocapture`. More seeds than the ten
//! thousand of `make test`: `make soak SEEDS=n`.

mod interleavings;
pub(crate) mod invariants;
mod kind;
mod life;
mod others;
mod rest;
pub(crate) mod weather;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{available_parallelism, scope};

use crate::simulation::invariants::hold;
use life::live;

const SEEDS: u64 = 10_000;

/// One seed; `Err` names what is broken.
fn check(seed: u64) -> Result<(), String> {
    let (life, before) = live(seed, false);
    let after = life.world.facts();
    hold(&before, &after, &life.seen, &life.config)?;
    rest::is_at_rest(&life, &after)
}

/// A number that the environment sets.
fn number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test's own settings")]
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; it is a number")))
}

/// Runs these seeds on every core, and names the first that breaks something.
fn check_all(seeds: std::ops::Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let cores = available_parallelism().map_or(1, usize::from);
    let broken: Vec<(u64, String)> = scope(|threads| {
        let work = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end || broken.len() > 5 {
                    return broken;
                }
                broken.extend(check(seed).err().map(|why| (seed, why)));
            }
        };
        let working: Vec<_> = (0..cores).map(|_| threads.spawn(work)).collect();
        working.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let described: Vec<_> = broken
        .iter()
        .map(|(seed, why)| format!("SEED={seed} cargo test --test it simulation -- --nocapture  # {why}"))
        .collect();
    assert!(broken.is_empty(), "seeds that break an invariant:\n{}", described.join("\n"));
}

#[test]
fn ten_thousand_lives_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let (life, _) = live(seed, true);
        life.described.iter().flatten().for_each(|line| println!("{line}"));
        check(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    check_all(0..number("SEEDS").unwrap_or(SEEDS));
}

#[test]
#[ignore = "takes as long as SEEDS says: `make soak`"]
fn many_lives_keep_every_promise() {
    check_all(SEEDS..SEEDS + number("SEEDS").unwrap_or(100_000));
}

#[test]
fn a_seed_is_the_same_life_every_time() {
    for seed in 0..20 {
        let (one, _) = live(seed, true);
        let (other, _) = live(seed, true);
        assert_eq!(one.described, other.described, "seed {seed}");
    }
}
