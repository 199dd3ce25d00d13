//! `make detect`: simulates how soon a bad release is rolled back, and how often a healthy one is.
//!
//! The verdicts are those of the function's own code, which is compiled from its source: `decide::guilt::test`, over the
//! requests that `decide::counters::of_release` keeps. Only the requests, the metrics' delays and the alarms are simulated.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of requests and seconds are small"
)]

mod cases;
mod life;
mod picture;
mod random;
mod run;
mod table;
mod watch;

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../../../src/model/mod.rs"]
mod model;

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../../../src/signal"]
mod signal {
    pub mod target;
    pub mod triage;
}

#[allow(
    clippy::pedantic,
    dead_code,
    unused_imports,
    unfulfilled_lint_expectations,
    reason = "a part of the function, which has lints of its own"
)]
#[path = "../../../../src/decide"]
mod decide {
    pub mod counters;
    pub mod guilt;
    pub mod sequential;
    pub mod testimony;
}

use std::fs;
use std::process::ExitCode;

const USE: &str = "detect --smoke | detect PICTURE   (PICTURE is the SVG to write)";

/// The numbers of bad lives of each kind, and of healthy lives in all.
const FULL: (u64, u64) = (2_000, 1_000_000);
const SMOKE: (u64, u64) = (50, 400);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let picture = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--smoke"] => None,
        [picture] if !picture.starts_with('-') => Some(*picture),
        _ => {
            eprintln!("error: usage: {USE}");
            return ExitCode::FAILURE;
        }
    };
    let (lives, healthy) = if picture.is_some() { FULL } else { SMOKE };
    let results = cases::simulate(lives, healthy);
    println!("{}", table::print(&results));
    // Few lives say nothing about the targets.
    let missed = if picture.is_some() { table::missed(&results) } else { table::wrong(&results) };
    for missed in &missed {
        eprintln!("MISSED: {missed}");
    }
    let done = if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let Some(picture) = picture else { return done };
    if let Err(why) = fs::write(picture, picture::draw(&results)) {
        eprintln!("error: {picture} cannot be written: {why}");
        return ExitCode::FAILURE;
    }
    done
}
