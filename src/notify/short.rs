//! Keeps notifications and events within the size that SNS and EventBridge accept: 256 KB, with the report in several
//! renderings. What changed comes first, and what is left out stands in the function's log. Pure.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::plain::{self, counted};
use crate::model::release::Release;
use crate::model::report::Report;

/// The most bytes of each rendering, as JSON text within JSON. SNS gets the report four times, the text twice, and the chat
/// message once.
pub const MAX_REPORT: usize = 44_000;
const MAX_TEXT: usize = 20_000;
const MAX_DESCRIPTION: usize = 20_000;
const MAX_KEPT: usize = 3_000;

/// The most stage variables of a release in a text, and the most characters of a value.
const VARIABLES: usize = 20;
const VALUE: usize = 60;

/// The most warnings of a shortened report, and the most characters of each.
const WARNINGS: usize = 10;
const WARNING: usize = 300;

/// Returns a text with at most this many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Returns the number of bytes of a text as a JSON string.
fn bytes(text: &str) -> usize {
    json!(text).to_string().len()
}

/// Returns a release with its first variables and the number of the others: those that `other` has with another value come
/// first, and long values are cut.
#[must_use]
pub fn release(release: &Release, other: Option<&Release>) -> String {
    let differs = |name: &String, value: &String| {
        other.is_some_and(|other| other.variables.get(name).is_none_or(|theirs| theirs != value))
    };
    let (changed, same): (Vec<_>, Vec<_>) =
        release.variables.iter().partition(|(name, value)| differs(name, value));
    let all = changed.into_iter().chain(same);
    let mut shown: Vec<String> =
        all.take(VARIABLES).map(|(name, value)| format!("{name}={}", cut(value, VALUE))).collect();
    if release.variables.len() > VARIABLES {
        let more = counted(release.variables.len().saturating_sub(VARIABLES), "more variable");
        shown.push(format!("and {more}"));
    }
    if shown.is_empty() { release.to_string() } else { format!("{release}, {}", shown.join(", ")) }
}

/// Returns a name that others gave as one line, cut if it is too long.
#[must_use]
pub fn name(text: &str) -> String {
    cut(&plain::line(text), VALUE)
}

/// Returns one line of a list, cut if it is too long.
#[must_use]
pub fn line(text: &str) -> String {
    cut(text, WARNING)
}

/// Returns the first lines of a list, and the number of the others.
pub fn lines(all: &[String]) -> impl Iterator<Item = String> {
    let more = all.len().saturating_sub(WARNINGS);
    let more = match more {
        0 => None,
        1 => Some("and 1 more, which is in the function's log".to_owned()),
        more => Some(format!("and {more} more, which are in the function's log")),
    };
    all.iter().take(WARNINGS).map(|one| line(one)).chain(more)
}

/// Returns an e-mail's text, cut if it is too long.
#[must_use]
pub fn text(text: &str, run: &str) -> String {
    within(text, MAX_TEXT, run)
}

/// Returns a chat message's description, cut if it is too long.
#[must_use]
pub fn description(text: &str, run: &str) -> String {
    within(text, MAX_DESCRIPTION, run)
}

fn within(text: &str, most: usize, run: &str) -> String {
    if bytes(text) <= most {
        return text.to_owned();
    }
    let note = format!("…\n\n{}\n", note(run));
    let mut end = most.saturating_sub(note.len()).min(text.len());
    // A character can take six bytes as JSON, so the end may have to move more than once.
    while end > 0
        && (!text.is_char_boundary(end) || bytes(text.get(..end).unwrap_or_default()) + note.len() > most)
    {
        end -= end.div_ceil(64);
    }
    format!("{}{note}", text.get(..end).unwrap_or_default())
}

fn note(run: &str) -> String {
    format!("This is shortened. The whole report is in the function's log: search for the run {run}.")
}

/// Returns a report as JSON of at most [`MAX_REPORT`] bytes as JSON text: first without what did not change, then without
/// the releases.
#[must_use]
pub fn report(report: &Report) -> String {
    let whole = json!(report).to_string();
    if bytes(&whole) <= MAX_REPORT {
        return whole;
    }
    let mut warnings = vec![note(&report.run)];
    warnings.extend(lines(&report.warnings));
    let (before, after) = (report.before.as_ref(), report.after.as_ref());
    let short = Report {
        message: cut(&report.message, 1_000),
        next: lines(&report.next).collect(),
        before: before.map(|before| changed(before, after)),
        after: after.map(|after| changed(after, before)),
        warnings,
        details: None,
        ..report.clone()
    };
    let text = json!(short).to_string();
    if bytes(&text) <= MAX_REPORT {
        return text;
    }
    json!(bare(short)).to_string()
}

/// Returns a report without what is in its releases.
fn bare(report: Report) -> Report {
    let bare = |release: Option<Release>| {
        release.map(|release| Release { deployment: cut(&release.deployment, VALUE), ..Release::default() })
    };
    let short = |text: &Option<String>| text.as_deref().map(name);
    let mut signal = report.signal.clone();
    signal.why = signal.why.map(|why| line(&why));
    Report {
        api_name: short(&report.api_name),
        before: bare(report.before.clone()),
        before_label: short(&report.before_label),
        after: bare(report.after.clone()),
        after_label: short(&report.after_label),
        signal,
        ..report
    }
}

/// Returns the smallest report as JSON: what happened, and where the rest stands.
#[must_use]
pub fn smallest(report: &Report) -> String {
    let warnings = vec![note(&report.run)];
    let message = line(&report.message);
    json!(bare(Report { message, next: vec![], warnings, details: None, ..report.clone() })).to_string()
}

/// Returns an e-mail's text, short enough to be kept in a parameter.
#[must_use]
pub fn kept(text: &str, run: &str) -> String {
    within(text, MAX_KEPT, run)
}

/// Returns a release with only the variables that `other` has with another value; long values are cut.
fn changed(release: &Release, other: Option<&Release>) -> Release {
    let is_other = |name: &String, value: &String| {
        other.is_none_or(|other| other.variables.get(name).is_none_or(|theirs| theirs != value))
    };
    let variables = release.variables.iter().filter(|(name, value)| is_other(name, value));
    let variables: BTreeMap<String, String> =
        variables.take(VARIABLES * 5).map(|(name, value)| (name.clone(), cut(value, VALUE))).collect();
    Release { variables, ..release.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::time;
    use crate::model::report::Outcome;
    use crate::model::trigger::UNKNOWN;

    /// A release with this many variables of this length; one of them differs by its number.
    fn release_of(number: usize, variables: usize, length: usize) -> Release {
        let mut all: BTreeMap<String, String> =
            (0..variables).map(|nth| (format!("v{nth:03}"), "\"".repeat(length))).collect();
        all.insert("zz".to_owned(), number.to_string());
        Release { deployment: format!("d{number}"), variables: all, ..Release::default() }
    }

    fn report_of(variables: usize, length: usize, warnings: usize) -> Report {
        let now = time("2026-11-20T10:06:00Z").unwrap();
        let mut report = Report::new("run-1", now, &UNKNOWN, Outcome::RolledBack, "x".repeat(9_000));
        report.before = Some(release_of(2, variables, length));
        report.after = Some(release_of(1, variables, length));
        report.warnings = vec!["\"\\".repeat(2_000); warnings];
        report.api_name = Some("\"".repeat(500));
        report.before_label = Some("\"".repeat(500));
        report.after_label = Some("\u{1}".repeat(500));
        report
    }

    #[test]
    fn a_notification_fits_whatever_is_in_the_report() {
        for (variables, length, warnings) in
            [(0, 0, 0), (3, 10, 1), (100, 512, 0), (100, 512, 50), (1_000, 512, 500), (1, 900_000, 0)]
        {
            let report = report_of(variables, length, warnings);
            let sent = crate::notify::notification::of(&report, "apigw-rollback");
            let message = json!({
                "default": sent.text, "email": sent.text, "https": sent.chat,
                "email-json": sent.report, "http": sent.report, "lambda": sent.report, "sqs": sent.report,
            });
            let size = message.to_string().len();
            assert!(size < 256 * 1024, "{variables} {length} {warnings}: {size}");
            for part in [&sent.chat, &sent.report] {
                assert!(serde_json::from_str::<serde_json::Value>(part).is_ok(), "{part}");
            }
            assert!(sent.text.contains("zz=2"), "what changed comes first: {}", sent.text);
            let is_short = sent.report.contains("The whole report is in the function's log");
            assert_eq!(
                is_short,
                variables * length > 40_000 || warnings > 10,
                "{variables} {length} {warnings}"
            );
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, most, expected) in [("abc", 3, "abc"), ("abcd", 3, "abc…"), ("äöü", 2, "äö…"), ("", 0, "")]
        {
            assert_eq!(cut(text, most), expected);
        }
        for text in ["ä".repeat(50_000), "\u{1}".repeat(50_000), "x".repeat(50_000)] {
            assert!(bytes(&within(&text, MAX_TEXT, "run-1")) <= MAX_TEXT);
        }
    }
}
