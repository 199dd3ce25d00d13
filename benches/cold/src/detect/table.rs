//! The results as Markdown, and the targets.

use std::fmt::Write;

use crate::cases::{Bad, Healthy, Results};
use crate::run::Outcome;

/// At most so many of a million healthy releases may be rolled back.
const BLAMED: f64 = 100.0;

/// At most so many users, in the median, may be hurt by a bad canary with 10 % of the traffic, and with 5 %.
const HURT: [f64; 2] = [40.0, 20.0];

/// Prints the results.
pub fn print(results: &Results) -> String {
    let mut out = String::new();
    let row = |out: &mut String, cells: &[String]| {
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    let head = |out: &mut String, cells: &[&str]| {
        let _ = writeln!(out, "\n| {} |\n|{}", cells.join(" | "), "---|".repeat(cells.len()));
    };
    let lives = results.lives;
    head(
        &mut out,
        &[
            "fail",
            "requests a minute",
            "with the access log: p50 / p95",
            "users hurt",
            "by the fast alarm",
            "API Gateway's own metrics: p50 / p95",
            "users hurt",
        ],
    );
    for bad in &results.table {
        row(
            &mut out,
            &[
                percent(bad.share),
                bad.rate.to_string(),
                times(bad, |one| one.both),
                median(bad, |one| one.hurt.0),
                percent(bad.by_fast()),
                times(bad, |one| one.slow),
                median(bad, |one| one.hurt.1),
            ],
        );
    }
    let _ = writeln!(
        out,
        "\nSeconds from the first failed request to the rolled-back stage; {lives} lives a row."
    );
    head(
        &mut out,
        &["setting", "all fail, 60 a minute", "all fail, 100", "one in ten, 1000", "one in twenty, 1000"],
    );
    for kinds in results.variants.chunks(4) {
        let cells =
            kinds.iter().map(|bad| format!("{} ({})", times(bad, |one| one.both), percent(bad.by_fast())));
        row(&mut out, &std::iter::once(kinds[0].setting.clone()).chain(cells).collect::<Vec<_>>());
    }
    head(
        &mut out,
        &[
            "canary, all its requests fail, 1000 a minute",
            "p50 / p95",
            "users hurt",
            "by the fast alarm",
            "by the alarm on the minute: p50 / p95",
            "users hurt",
        ],
    );
    for bad in &results.canaries {
        let by_fast = percent(bad.by_fast());
        row(
            &mut out,
            &[
                bad.setting.clone(),
                times(bad, |one| one.both),
                median(bad, |one| one.hurt.0),
                by_fast,
                times(bad, |one| one.slow),
                median(bad, |one| one.hurt.1),
            ],
        );
    }
    head(
        &mut out,
        &[
            "healthy releases, 30 minutes",
            "lives",
            "rolled back by fast detection",
            "by the alarm on the minute",
            "if its metrics do not acquit",
            "fast alarms an hour",
        ],
    );
    for (tolerated, all) in [("2 %", &results.healthy), ("5 %", &results.default)] {
        for one in all {
            row(&mut out, &innocent(tolerated, one));
        }
    }
    head(
        &mut out,
        &["an outage since two minutes before the release", "convicted", "acquitted after two minutes"],
    );
    for outage in &results.outages {
        let own = if outage.after >= 1.0 { "the release fails always" } else { "the release is innocent" };
        let of = format!("{} of {} a minute fail; {own}", percent(outage.share), outage.rate);
        row(&mut out, &[of, percent(outage.convicted), percent(outage.acquitted)]);
    }
    out
}

fn innocent(tolerated: &str, Healthy { rate, share, blamed }: &Healthy) -> [String; 6] {
    let lives = blamed.lives;
    let of = |number: u64| if number == 0 { "0".to_owned() } else { percent(number as f64 / lives as f64) };
    [
        format!("{tolerated} tolerated, {} fail, {rate} a minute", percent(*share)),
        lives.to_string(),
        blamed.fast.to_string(),
        of(blamed.alarm),
        of(blamed.slow),
        format!("{:.2}", blamed.fired as f64 * 2.0 / lives as f64),
    ]
}

/// Returns a sentence for each target that is missed.
pub fn missed(results: &Results) -> Vec<String> {
    let mut missed = vec![];
    let mut at_most = |what: String, value: f64, most: f64| {
        if value.is_nan() || value > most {
            missed.push(format!("{what} is {}, and must be at most {most}", seconds(value)));
        }
    };
    for bad in &results.table {
        let what = format!("{} fail at {} a minute", percent(bad.share), bad.rate);
        if bad.share >= 1.0 {
            at_most(format!("{what}: p50"), bad.percentile(|one| one.both, 0.5), 20.0);
            at_most(format!("{what}: p95"), bad.percentile(|one| one.both, 0.95), 35.0);
        }
        if (bad.share - 0.1).abs() < 1e-9 && bad.rate >= 1_000.0 {
            at_most(format!("{what}: p50"), bad.percentile(|one| one.both, 0.5), 60.0);
            at_most(
                format!("{what}: the number of lives that end later than by the alarm on the minute"),
                bad.later() as f64,
                0.0,
            );
        }
    }
    for (bad, most) in results.canaries.iter().zip(HURT) {
        let what = format!("users hurt by a canary with {}", bad.setting);
        at_most(what, bad.percentile(|one| one.hurt.0, 0.5), most);
    }
    let (lives, blamed) = results
        .healthy
        .iter()
        .fold((0, 0), |(lives, fast), one| (lives + one.blamed.lives, fast + one.blamed.fast));
    at_most(
        "healthy releases rolled back of a million".to_owned(),
        blamed as f64 * 1e6 / lives as f64,
        BLAMED,
    );
    missed.extend(wrong(results));
    missed
}

/// Returns a sentence if the simulation itself is wrong.
pub fn wrong(results: &Results) -> Vec<String> {
    let wrong = "the shortcuts of the simulation (`convicts` in watch.rs) are not the function's test";
    (!results.shortcuts_hold).then(|| wrong.to_owned()).into_iter().collect()
}

fn times(bad: &Bad, of: impl Fn(&Outcome) -> f64) -> String {
    format!("{} / {}", seconds(bad.percentile(&of, 0.5)), seconds(bad.percentile(&of, 0.95)))
}

fn median(bad: &Bad, of: impl Fn(&Outcome) -> f64) -> String {
    format!("{:.0}", bad.percentile(of, 0.5))
}

/// Prints seconds; a rollback that did not come has none.
pub fn seconds(value: f64) -> String {
    if value.is_infinite() { "never".to_owned() } else { format!("{value:.0}") }
}

pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let is_whole = percent >= 10.0 || (percent - percent.round()).abs() < 1e-9;
    let digits = usize::from(!is_whole);
    format!("{percent:.digits$} %")
}
