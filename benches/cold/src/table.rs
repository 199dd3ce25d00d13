//! The results as a table and as JSON, and their comparison with the targets.

use std::fmt::Write;

use serde::Serialize;

use crate::rush::{self, Rush};
use crate::stats::{Column, Spread};

/// One pass, with one latency and one amount of CPU.
#[derive(Clone, Debug, Serialize)]
pub struct Pass {
    /// Its title.
    pub title: String,
    /// The latency of the endpoint's answers in milliseconds.
    pub latency_ms: u64,
    /// The memory in MB whose CPU the candidates get after init; `None` for the whole machine's CPU.
    pub memory: Option<u64>,
    /// Why the pass was skipped, if it was.
    pub skipped: Option<String>,
    /// The candidates' columns, in the order of the entrants. An error says why a column is empty.
    pub columns: Vec<Result<Column, String>>,
}

/// A candidate in the table.
#[derive(Clone, Debug, Serialize)]
pub struct Entrant {
    /// Its name.
    pub name: &'static str,
    /// The size of its zip in bytes; `None` if the candidate is not available.
    pub zip: Option<u64>,
}

/// All results.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The number of fresh processes of each candidate in each pass.
    pub runs: usize,
    /// The candidates; the first is this function.
    pub entrants: Vec<Entrant>,
    /// The passes.
    pub passes: Vec<Pass>,
    /// This function with the CPU of increasing memory sizes, in MB.
    pub memories: Vec<(u64, Result<Column, String>)>,
    /// Many stages at once.
    pub rushes: Vec<Result<Rush, String>>,
}

/// One target and its result.
pub struct Target {
    /// Whether the target is met.
    pub met: bool,
    /// Whether a miss is an error. If not, `docs/performance.md` explains the miss.
    pub enforced: bool,
    /// The target and the value, in one line.
    pub told: String,
}

/// A row of the table: its title and its value.
type Row = (&'static str, fn(&Column) -> Spread);

const ROWS: [Row; 10] = [
    ("init: exec to first `/next`, ms", |column| column.init),
    ("first invocation, ms", |column| column.first),
    ("first event to stage rolled back, ms", |column| column.first_healed),
    ("exec to stage rolled back, ms", |column| column.healed),
    ("cold total: exec to answer, ms", |column| column.total),
    ("warm invocation, ms", |column| column.warm),
    ("later event to stage rolled back, ms", |column| column.warm_healed),
    ("peak memory, MiB", |column| column.memory),
    ("AWS calls", |column| whole(column.calls)),
    ("connections", |column| whole(column.connections as usize)),
];

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn whole(count: usize) -> Spread {
    Spread { p50: count as f64, p90: count as f64 }
}

impl Results {
    /// Writes the tables in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "{} fresh processes each; p50 / p90; in brackets this function's share of the peer's p50\n",
            self.runs
        );
        for pass in &self.passes {
            writeln!(text, "\n### {}\n", pass.title).ok();
            if let Some(why) = &pass.skipped {
                writeln!(text, "Not run: {why}.").ok();
                continue;
            }
            let names: Vec<&str> = self.entrants.iter().map(|entrant| entrant.name).collect();
            writeln!(text, "| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len())).ok();
            for (title, value) in ROWS {
                let cells = pass.columns.iter().map(|column| cell(column, pass.columns.first(), value));
                writeln!(text, "| {title} | {} |", cells.collect::<Vec<_>>().join(" | ")).ok();
            }
            let zips = self.entrants.iter().map(|entrant| entrant.zip.map_or("–".to_owned(), megabytes));
            writeln!(text, "| zip, MB | {} |", zips.collect::<Vec<_>>().join(" | ")).ok();
            for (name, column) in names.iter().zip(&pass.columns) {
                if let Err(why) = column {
                    writeln!(text, "\n{name}: {why}").ok();
                }
            }
        }
        text + &self.by_memory() + &rush::markdown(&self.rushes)
    }

    /// Writes how this function's times depend on its memory.
    fn by_memory(&self) -> String {
        let mut text = "\n### By memory, no latency\n\n| memory, MB | first event to stage rolled back, ms | first invocation, ms | \
                        later event to stage rolled back, ms | warm invocation, ms |\n|---|---|---|---|---|\n"
            .to_owned();
        for (memory, column) in &self.memories {
            let cells = [ROWS[2].1, ROWS[1].1, ROWS[6].1, ROWS[5].1].map(|value| cell(column, None, value));
            writeln!(text, "| {memory} | {} |", cells.join(" | ")).ok();
            if let Err(why) = column {
                writeln!(text, "\n{memory} MB: {why}").ok();
            }
        }
        if self.memories.is_empty() { String::new() } else { text }
    }

    /// Returns the rushes in which this function failed or left a stage broken.
    pub fn left_broken(&self) -> impl Iterator<Item = String> {
        let ours = self.entrants.first().map(|entrant| entrant.name);
        self.rushes.iter().filter_map(move |rush| match rush {
            Ok(rush) if Some(rush.name) != ours || rush.broken == 0 => None,
            Ok(rush) => Some(format!(
                "{} of {} stages are left broken, with {:?}",
                rush.broken, rush.stages, rush.how
            )),
            Err(why) => ours.filter(|ours| why.starts_with(ours)).map(|_| why.clone()),
        })
    }

    /// Compares the results with the targets. The first candidate is this function, the second is boto3.
    pub fn targets(&self) -> Vec<Target> {
        let mut lines = Vec::new();
        for pass in &self.passes {
            let Some(Ok(ours)) = pass.columns.first() else { continue };
            let mut at_most = |enforced, what: &str, value: f64, limit: f64| {
                let told = format!("{}: {what}: {value:.3}, at most {limit}", pass.title);
                lines.push(Target { met: value <= limit, enforced, told });
            };
            let share = match (pass.latency_ms, pass.memory) {
                (0, None) => 0.05,
                _ => 0.10,
            };
            if let (Some(Ok(boto3)), true) = (pass.columns.get(1), pass.memory != Some(512)) {
                // With a latency of 10 ms, the round trips decide, and this function makes a third one.
                at_most(
                    pass.latency_ms == 0,
                    "cold total, share of boto3's",
                    ours.total.p50 / boto3.total.p50,
                    share,
                );
                at_most(true, "init, share of boto3's", ours.init.p50 / boto3.init.p50, 0.10);
            }
            if pass.memory.is_none() {
                let trips = 2.0 * f64::from(u32::try_from(pass.latency_ms).unwrap_or(u32::MAX));
                at_most(
                    trips == 0.0,
                    "later event to stage rolled back, ms",
                    ours.warm_healed.p50,
                    trips + 1.0,
                );
                // The function writes the list of rollbacks after the stage, which takes another round trip.
                at_most(trips == 0.0, "warm invocation, ms", ours.warm.p50, trips + 1.0);
                if trips > 0.0 {
                    at_most(true, "first event to stage rolled back, ms", ours.first_healed.p50, trips * 1.3);
                    at_most(false, "first invocation, ms", ours.first.p50, trips * 1.3);
                }
            }
            at_most(true, "peak memory, MiB", ours.memory.p50, 12.0);
        }
        let ours = self.entrants.first().map(|entrant| entrant.name);
        for rush in self.rushes.iter().flatten().filter(|rush| Some(rush.name) == ours) {
            let (stages, seconds, most) = (rush.stages, rush.seconds, rush.most());
            let told = format!("{stages} stages at once, {:?}: {seconds:.1} s, at most {most:.1}", rush.how);
            lines.push(Target { met: seconds <= most, enforced: true, told });
        }
        if let Some(zip) = self.entrants.first().and_then(|ours| ours.zip) {
            lines.push(Target {
                met: zip <= 4_000_000,
                enforced: true,
                told: format!("zip, MB: {}, at most 4", megabytes(zip)),
            });
        }
        lines
    }

    /// Returns this function's failures. A peer that is not available or that fails is only an empty column.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        let of_pass = |pass: &'_ Pass| -> Vec<String> {
            let peers = ["boto3", "Node"];
            let columns = self.entrants.iter().zip(&pass.columns);
            let ours = columns.filter(|(entrant, _)| !peers.contains(&entrant.name));
            ours.filter_map(|(entrant, column)| Some(format!("{}: {}", entrant.name, column.as_ref().err()?)))
                .collect()
        };
        self.passes.iter().flat_map(of_pass).collect::<Vec<_>>().into_iter()
    }

    /// Returns the surplus calls and round trips of this function until the stage was rolled back.
    pub fn wrong_calls(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for pass in self.passes.iter().filter(|pass| pass.latency_ms > 0) {
            let Some(Ok(ours)) = pass.columns.first() else { continue };
            for operation in [
                "GetParameter",
                "GetStage",
                "DescribeAlarms",
                "ListAlarmMuteRules",
                "GetMetricData",
                "UpdateStage",
                "PutParameter",
            ] {
                let count = ours.calls_to_heal.iter().filter(|call| call.starts_with(operation)).count();
                if count > 1 {
                    wrong.push(format!(
                        "{count} calls of {operation} before the stage is rolled back, at most 1"
                    ));
                }
            }
            if ours.steps_to_heal > 2 {
                let calls = ours.calls_to_heal.join(", ");
                wrong.push(format!(
                    "{} consecutive round trips before the stage is rolled back, at most 2: {calls}",
                    ours.steps_to_heal
                ));
            }
        }
        wrong
    }
}

fn cell(
    column: &Result<Column, String>,
    ours: Option<&Result<Column, String>>,
    value: fn(&Column) -> Spread,
) -> String {
    let Ok(column) = column else { return "–".to_owned() };
    let spread = value(column);
    let share = match ours {
        Some(Ok(ours)) if !std::ptr::eq(ours, column) => format!(" ({:.2})", value(ours).p50 / spread.p50),
        _ => String::new(),
    };
    if spread.is_a_count() {
        return format!("{:.0}{share}", spread.p50);
    }
    format!("{:.1} / {:.1}{share}", spread.p50, spread.p90)
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "megabytes to two digits")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.2}")
}

#[cfg(test)]
mod tests {
    use super::{Entrant, Pass, Results};
    use crate::measure::Sample;
    use crate::stats::Column;

    fn results(calls: &[&str], steps: usize) -> Results {
        let calls = calls.iter().map(|call| (*call).to_owned()).collect();
        let sample =
            Sample { calls_to_heal: calls, steps_to_heal: steps, warm: vec![1.0], ..Sample::default() };
        let sample = Sample { warm_healed: vec![1.0], ..sample };
        let pass = Pass {
            title: String::new(),
            latency_ms: 10,
            memory: None,
            skipped: None,
            columns: vec![Ok(Column::of(&[sample]))],
        };
        Results {
            runs: 1,
            entrants: vec![Entrant { name: "ours", zip: None }],
            passes: vec![pass],
            memories: vec![],
            rushes: vec![],
        }
    }

    #[test]
    fn a_surplus_call_or_round_trip_is_reported() {
        let fine = [
            "GetParameters",
            "GetStage",
            "DescribeAlarms",
            "ListAlarmMuteRules",
            "GetMetricData",
            "PutParameter",
            "UpdateStage",
        ];
        assert!(results(&fine, 2).wrong_calls().is_empty());
        let twice = [&fine[..], &["GetParameter"]].concat();
        assert_eq!(results(&twice, 2).wrong_calls().len(), 1);
        assert_eq!(results(&fine, 3).wrong_calls().len(), 1);
    }
}
