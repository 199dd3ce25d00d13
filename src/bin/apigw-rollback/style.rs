//! Colours, ages and tables for terminals. The printer strips the colours if the output is not a terminal.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

/// The meaning of a text, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Careful,
    Bad,
    Quiet,
}

/// Wraps a text in the escape codes of its tone.
pub(crate) fn painted(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Good => 32,
        Tone::Careful => 33,
        Tone::Bad => 31,
        Tone::Quiet => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Builds a cell of a table. Escape codes in the text would count towards its width, so the tone is separate.
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

/// A width below this one is not that of a real terminal.
const NARROW: u16 = 40;

/// Builds a table without borders that fits the terminal. Without a terminal no text is wrapped, for other programs.
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

/// Renders the table, without trailing spaces.
pub(crate) fn drawn(mut table: Table) -> String {
    // The first column starts at the left margin.
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Formats a duration in its largest suitable unit.
pub(crate) fn lasting(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats a time, to the second.
pub(crate) fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Formats a time in the past, with its age.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({} ago)", second(at), lasting(now - at))
}
