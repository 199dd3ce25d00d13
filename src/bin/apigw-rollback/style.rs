//! Colours, ages and tables: how the tool speaks to people. What prints it takes the colours out again where
//! nobody would see them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

/// How a word is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Careful,
    Bad,
    Quiet,
}

/// A text in the colour of its tone.
pub(crate) fn painted(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Good => 32,
        Tone::Careful => 33,
        Tone::Bad => 31,
        Tone::Quiet => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A cell of a table; a table counts the width of what is seen, so its colours are told to it apart.
pub(crate) fn cell(text: impl ToString, tone: Option<Tone>) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Some(Tone::Good) => cell.fg(Color::DarkGreen),
        Some(Tone::Careful) => cell.fg(Color::DarkYellow),
        Some(Tone::Bad) => cell.fg(Color::DarkRed),
        Some(Tone::Quiet) => cell.add_attribute(Attribute::Dim),
        None => cell,
    }
}

/// Below this a terminal is none, or does not tell its width.
const NARROW: u16 = 40;

/// A table without lines, as wide as the terminal; without a terminal no text is broken, so that others can read it.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    table.style_text_only();
    if table.width().is_some_and(|width| width < NARROW) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if !header.is_empty() {
        table.set_header(header.iter().map(|text| cell(text, Some(Tone::Quiet))));
    }
    table
}

/// The table's text; no line ends in blanks.
pub(crate) fn drawn(mut table: Table) -> String {
    // The left edge is the page's.
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The time that lies between, in its largest unit.
pub(crate) fn lasting(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A time, to the second: more of it nobody reads.
pub(crate) fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time in the past, with how long ago it was.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({} ago)", second(at), lasting(now - at))
}
