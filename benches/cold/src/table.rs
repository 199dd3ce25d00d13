//! The numbers as a table, as JSON, and held against the targets.

use std::fmt::Write;

use serde::Serialize;

use crate::stats::{Column, Spread};

/// One pass: a latency and a CPU.
#[derive(Clone, Debug, Serialize)]
pub struct Pass {
    /// Its title.
    pub title: String,
    /// What every answer of the endpoint takes, in milliseconds.
    pub latency_ms: u64,
    /// The memory in MB whose CPU the candidates have after init; all of this machine's where `None`.
    pub memory: Option<u64>,
    /// Why it could not be run.
    pub skipped: Option<String>,
    /// The candidates in their order; an error says why there are no numbers.
    pub columns: Vec<Result<Column, String>>,
}

/// A candidate, as the table has it.
#[derive(Clone, Debug, Serialize)]
pub struct Entrant {
    /// Its name.
    pub name: &'static str,
    /// The size of its zip in bytes; `None` where it could not be made ready.
    pub zip: Option<u64>,
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Fresh processes of each candidate in each pass.
    pub runs: usize,
    /// The candidates; the first is this function.
    pub entrants: Vec<Entrant>,
    /// The passes.
    pub passes: Vec<Pass>,
}

/// A row of the table: its title, and its value.
type Row = (&'static str, fn(&Column) -> Spread);

const ROWS: [Row; 8] = [
    ("init: exec to first `/next`, ms", |column| column.init),
    ("first invocation, ms", |column| column.first),
    ("exec to stage healed, ms", |column| column.healed),
    ("cold total: exec to answer, ms", |column| column.total),
    ("warm invocation, ms", |column| column.warm),
    ("peak memory, MiB", |column| column.memory),
    ("AWS calls", |column| whole(column.calls)),
    ("connections", |column| whole(column.connections as usize)),
];

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn whole(count: usize) -> Spread {
    Spread { p50: count as f64, p90: count as f64 }
}

impl Results {
    /// The table, in Markdown.
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
        text
    }

    /// Whether every target is met, a line each. The first candidate is this function, the second the boto3 one.
    pub fn targets(&self) -> Vec<(bool, String)> {
        let mut lines = Vec::new();
        let mut at_most = |what: &str, value: f64, limit: f64| {
            lines.push((value <= limit, format!("{what}: {value:.3}, at most {limit}")));
        };
        for pass in &self.passes {
            let Some(Ok(ours)) = pass.columns.first() else { continue };
            let title = &pass.title;
            if let Some(Ok(boto3)) = pass.columns.get(1) {
                let share = match (pass.latency_ms, pass.memory) {
                    (0, None) => Some(0.05),
                    (10, None) | (0, Some(128)) => Some(0.10),
                    _ => None,
                };
                if let Some(share) = share {
                    at_most(
                        &format!("{title}: cold total, share of boto3's"),
                        ours.total.p50 / boto3.total.p50,
                        share,
                    );
                }
                if pass.memory.is_none() {
                    at_most(
                        &format!("{title}: init, share of boto3's"),
                        ours.init.p50 / boto3.init.p50,
                        0.10,
                    );
                }
            }
            if pass.memory.is_none() {
                let trips = 2.0 * f64::from(u32::try_from(pass.latency_ms).unwrap_or(u32::MAX));
                at_most(&format!("{title}: warm invocation, ms"), ours.warm.p50, trips + 1.0);
                if trips > 0.0 {
                    at_most(&format!("{title}: first invocation, ms"), ours.first.p50, trips * 1.3);
                }
            }
            at_most(&format!("{title}: peak memory, MiB"), ours.memory.p50, 12.0);
        }
        if let Some(zip) = self.entrants.first().and_then(|ours| ours.zip) {
            #[expect(clippy::cast_precision_loss, reason = "megabytes to one digit")]
            at_most("zip, MB", zip as f64 / 1e6, 4.0);
        }
        lines
    }

    /// What is wrong with the calls that this function made until the stage was back.
    pub fn wrong_calls(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for pass in self.passes.iter().filter(|pass| pass.latency_ms > 0) {
            let Some(Ok(ours)) = pass.columns.first() else { continue };
            for operation in ["GetParameter", "GetStage", "DescribeAlarms", "UpdateStage", "PutParameter"] {
                let count = ours.calls_to_heal.iter().filter(|call| call.starts_with(operation)).count();
                if count > 1 {
                    wrong.push(format!("{count} calls of {operation} before the stage is back, at most 1"));
                }
            }
            if ours.steps_to_heal > 2 {
                let calls = ours.calls_to_heal.join(", ");
                wrong.push(format!(
                    "{} steps one after the other before the stage is back, at most 2: {calls}",
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
    if spread.p50.fract() == 0.0 && spread.p50 == spread.p90 {
        return format!("{:.0}{share}", spread.p50);
    }
    format!("{:.1} / {:.1}{share}", spread.p50, spread.p90)
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "megabytes to two digits")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.2}")
}
