//! Renders a report for each of its readers: an e-mail, a chat message, the report as JSON. Pure.

use serde_json::{Value, json};

use super::message::{self, Message, has_fired};
use super::short;
use super::words::{clock, times};
use crate::cloud::Notification;
use crate::model::plain;
use crate::model::reason::stamp;
use crate::model::release::Release;
use crate::model::report::{Outcome, Report};

/// Renders the notification of a report. Its commands use `function`.
#[must_use]
pub fn of(report: &Report, function: &str) -> Notification {
    with_note(report, function, None)
}

/// Renders the notification of a report, with a note that is not about the report itself.
#[must_use]
pub fn with_note(report: &Report, function: &str, note: Option<&str>) -> Notification {
    let message = message::of(report, function);
    let facts = facts(report, &message, note);
    Notification {
        subject: message.subject(),
        text: short::text(&text(&message, &facts), &report.run),
        chat: chat(report, &message, &facts).to_string(),
        report: short::report(report),
    }
}

/// A fact: a label and a text of one line.
type Fact = (&'static str, String);

/// Returns the facts behind a message.
fn facts(report: &Report, message: &Message, note: Option<&str>) -> Vec<Fact> {
    let today = report.at.date_naive();
    let signal = &report.signal;
    let mut facts = Vec::new();
    facts.extend(note.map(|note| ("Note", note.to_owned())));
    // A recovery is told in full, and the report's sentence has fractions of a second.
    let details = times(&plain::line(&report.message), today);
    if report.outcome != Outcome::Recovered && !message.what.to_lowercase().contains(&details.to_lowercase())
    {
        facts.push(("Details", details));
    }
    let test = report.test.as_ref().map(ToString::to_string);
    let test = test.filter(|test| !report.message.contains(test));
    facts.extend(test.map(|test| ("Requests", times(&test, today))));
    if has_fired(report) {
        let fired = signal.changed_at.map_or("an unknown time".to_owned(), stamp);
        let name = signal.name.as_deref().unwrap_or("unnamed");
        let why = signal.why.as_deref().unwrap_or("no reason given");
        let state = if report.outcome == Outcome::Recovered { "Cleared" } else { "Fired" };
        facts.push((state, format!("alarm `{name}` at {fired}: {why}")));
    } else if signal.is_sibling() {
        facts.push(("Heard", signal.why.clone().unwrap_or_default()));
    } else if signal.is_rollout() {
        let why = signal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        facts.push(("Trigger", format!("the rollout{why}")));
    } else if signal.is_sweep() && signal.name.is_none() {
        facts.push(("Trigger", "the sweep".to_owned()));
    } else {
        let who = signal.name.as_deref().unwrap_or("an unnamed sender");
        let why = signal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        facts.push(("Requested", format!("`{}` by {who}{why}", signal.kind.word())));
    }
    facts.extend(releases(report));
    if report.people.is_late {
        facts.push((
            "Found by",
            "the sweep: the run that rolled the stage back could not report it".to_owned(),
        ));
    } else if signal.is_sweep() && has_fired(report) {
        facts.push(("Found by", "the sweep: the alarm's event did not lead to a rollback".to_owned()));
    }
    facts.extend(short::lines(&report.warnings).map(|warning| ("Warning", warning)));
    facts.extend(report.stage.iter().map(|stage| ("Stage", stage.to_string())));
    facts.extend(report.incident.iter().map(|incident| ("Incident", incident.clone())));
    // One line for each fact: a text of others must not look like another one.
    let mut facts: Vec<Fact> =
        facts.into_iter().map(|(label, fact)| (label, times(&plain::line(&fact), today))).collect();
    let date = today.format("%Y-%m-%d");
    facts.push(("Run", format!("{} at {date} {}", plain::line(&report.run), clock(report.at, today))));
    facts
}

/// Returns the releases before and after the run.
fn releases(report: &Report) -> Vec<Fact> {
    let changed = report.before != report.after;
    let shown = |release: &Release, label: &Option<String>, other: &Option<Release>| {
        let label = label.as_deref().map(|label| format!("{}, ", short::name(label))).unwrap_or_default();
        format!("{label}{}", short::release(release, other.as_ref()))
    };
    let mut facts = Vec::new();
    if let (true, Some(before)) = (changed, &report.before) {
        let since = report.since.map(|since| format!(", since {}", stamp(since))).unwrap_or_default();
        facts.push(("Was live", format!("{}{since}", shown(before, &report.before_label, &report.after))));
    }
    if let Some(after) = &report.after {
        let version = report.version.filter(|_| changed);
        let version = version.map(|n| format!(" (known-good version {n})")).unwrap_or_default();
        facts.push(("Live now", format!("{}{version}", shown(after, &report.after_label, &report.before))));
    }
    facts
}

fn text(message: &Message, facts: &[Fact]) -> String {
    let mut lines = vec![message.title(), message.what.clone(), message.next.line(""), String::new()];
    lines.extend(facts.iter().map(|(label, fact)| format!("{label:<11}{fact}")));
    lines.push(String::new());
    lines.join("\n")
}

/// Renders the schema of Amazon Q Developer in chat applications for custom notifications, version 1.0. Each incident
/// is one thread.
fn chat(report: &Report, message: &Message, facts: &[Fact]) -> Value {
    let facts: Vec<String> =
        facts.iter().map(|(label, fact)| format!("*{label}* {}", plain::chat(fact))).collect();
    let description = format!("{}\n\n{}", plain::chat(&message.what), facts.join("\n"));
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let title = plain::chat(&message.subject());
    json!({
        "version": "1.0",
        "source": "custom",
        "id": report.run,
        "content": {
            "textType": "client-markdown",
            "title": title,
            "description": short::description(&description, &report.run),
            "nextSteps": [plain::chat(&message.next.line("`"))],
            "keywords": [message.headline, stage],
        },
        "metadata": {
            "threadId": thread(report),
            "summary": title,
            "eventType": report.outcome,
            "relatedResources": report.signal.arn.iter().collect::<Vec<_>>(),
            "additionalContext": {"reason": report.code().unwrap_or_default(), "stage": stage},
        },
    })
}

/// Renders a chat message of a title and a text, for a report that is no longer known as a whole.
#[must_use]
pub fn plain_chat(title: &str, text: &str, thread: &str) -> Value {
    json!({
        "version": "1.0",
        "source": "custom",
        "content": {"textType": "client-markdown", "title": plain::chat(title), "description": chat_lines(text)},
        "metadata": {"threadId": thread, "summary": plain::chat(title)},
    })
}

/// Returns a text of several lines, each safe for a chat.
fn chat_lines(text: &str) -> String {
    text.lines().map(plain::chat).collect::<Vec<_>>().join("\n")
}

/// Returns the id of the thread: the rollout, otherwise the incident, otherwise the alarm and the time of its state change, otherwise the run.
#[must_use]
pub fn thread(report: &Report) -> String {
    let by_alarm = || {
        let signal = &report.signal;
        Some(format!("{}/{}", signal.name.as_deref()?, stamp(signal.changed_at?)))
    };
    let by_rollout = report.people.rollout.as_ref().map(|id| format!("rollout/{id}"));
    by_rollout.or_else(|| report.incident.clone()).or_else(by_alarm).unwrap_or_else(|| report.run.clone())
}
