//! `make enumerate`: judges every combination of facts about a rollback, and prints the outcomes.
//!
//! With a number, it judges only every so many-th case.

#[path = "../../tests/it/enumeration/mod.rs"]
mod enumeration;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use enumeration::{Counts, spaces};

fn main() -> ExitCode {
    let began = Instant::now();
    let step = match std::env::args().nth(1).map(|step| step.parse::<u64>()) {
        None => 1,
        Some(Ok(step @ 1..)) => step,
        Some(_) => {
            eprintln!(
                "error: usage: enumerate [EVERY]   (EVERY is a number from 1; it judges every so many-th case)"
            );
            return ExitCode::FAILURE;
        }
    };
    let mut columns: Vec<(&str, Counts)> = Vec::new();
    let (mut cases, mut wrong) = (0, 0);
    for space in spaces() {
        let from = Instant::now();
        let outcomes = space.enumerate(step);
        println!(
            "{:>10} cases of {} ({:.1} s): {} wrong",
            space.number.div_ceil(step),
            space.name,
            from.elapsed().as_secs_f64(),
            outcomes.wrong
        );
        for one in outcomes.shown {
            println!("           {one}");
        }
        cases += space.number.div_ceil(step);
        wrong += outcomes.wrong;
        columns.push((space.name, outcomes.counts));
    }
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (outcome, number) in columns.iter().flat_map(|(_, counts)| counts) {
        *sums.entry(outcome).or_default() += number;
    }
    println!();
    for (outcome, number) in &sums {
        println!("{number:>10} {outcome}");
    }
    println!("{cases:>10} cases in {:.0} s, {wrong} of them wrong", began.elapsed().as_secs_f64());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
