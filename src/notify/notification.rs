//! Renders a report for each of its readers: an e-mail, a chat message, the report as JSON. Pure.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::short;
use crate::cloud::Notification;
use crate::model::plain;
use crate::model::reason::stamp;
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;

/// A next step for the operator, with a command to paste.
struct NextStep {
    what: &'static str,
    command: String,
}

/// Renders the notification of a report. Its commands invoke `function`.
#[must_use]
pub fn of(report: &Report, function: &str) -> Notification {
    let next_steps = next_steps(report, function);
    Notification {
        subject: subject(report),
        text: short::text(&text(report, &next_steps), &report.run),
        chat: chat(report, &next_steps).to_string(),
        report: short::report(report),
    }
}

/// Returns the headline of an outcome.
#[must_use]
pub fn headline(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::RolledBack => "ROLLED BACK",
        Outcome::WouldRollBack => "WOULD ROLL BACK",
        Outcome::Recorded => "RECORDED",
        Outcome::Status => "STATUS",
        Outcome::Promoted => "PROMOTED",
        Outcome::Recovered => "RECOVERED",
        Outcome::Swept => "SWEPT",
        Outcome::Done => "DONE",
        Outcome::Attention => "ATTENTION",
        Outcome::Held => "NOT ROLLED BACK",
        Outcome::Rejected => "CANNOT ACT ON THIS ALARM",
        Outcome::Ignored => "IGNORED",
        Outcome::Failed => "FAILED",
        Outcome::NeedsHuman => "MANUAL ACTION REQUIRED",
    }
}

fn about(report: &Report) -> String {
    let alarm = || report.signal.name.as_ref().map(|name| format!("alarm {name}"));
    report.stage.as_ref().map(ToString::to_string).or_else(alarm).unwrap_or_else(|| "an event".to_owned())
}

/// Returns the subject. SNS accepts printable ASCII, and at most 100 characters.
fn subject(report: &Report) -> String {
    let reason = report.code().map(|code| format!(" ({code})")).unwrap_or_default();
    let line = format!("{}: {}{reason}", headline(report.outcome), about(report));
    line.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(100).collect()
}

/// Returns the facts, one per line: a label and a text.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let signal = &report.signal;
    if let Some(fired) = signal.changed_at {
        let name = signal.name.as_deref().unwrap_or("unnamed");
        let why = signal.why.as_deref().unwrap_or("no reason given");
        let state = if report.outcome == Outcome::Recovered { "Cleared" } else { "Fired" };
        facts.push((state, format!("alarm `{name}` at {}: {why}", stamp(fired))));
    } else {
        let who = signal.name.as_deref().unwrap_or("an unnamed sender");
        let why = signal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        facts.push(("Requested", format!("`{}` by {who}{why}", signal.kind.word())));
    }
    let changed = report.before != report.after;
    if let (true, Some(before)) = (changed, &report.before) {
        let since = report.since.map(|since| format!(", since {}", stamp(since))).unwrap_or_default();
        facts.push(("Was live", format!("{}{since}", short::release(before, report.after.as_ref()))));
    }
    if let Some(after) = &report.after {
        let version = report.version.filter(|_| changed);
        let version = version.map(|n| format!(" (known-good version {n})")).unwrap_or_default();
        facts.push(("Live now", format!("{}{version}", short::release(after, report.before.as_ref()))));
    }
    if let (Outcome::RolledBack, Some(seconds)) = (report.outcome, report.seconds_since_alarm) {
        facts.push(("Took", format!("{seconds:.1} s from the alarm's state change")));
    }
    if report.signal.is_sweep() && report.signal.changed_at.is_some() {
        facts.push(("Found by", "the sweep: the alarm's event did not lead to a rollback".to_owned()));
    }
    facts.extend(short::lines(&report.warnings).map(|warning| ("Warning", warning)));
    facts.push(("Run", format!("{} at {}", report.run, stamp(report.at))));
    facts.extend(report.incident.iter().map(|incident| ("Incident", incident.clone())));
    // One line for each fact: a text of others must not look like another one.
    facts.into_iter().map(|(label, fact)| (label, plain::line(&fact))).collect()
}

fn text(report: &Report, next_steps: &[NextStep]) -> String {
    let mut lines = vec![
        format!("{}: {}", headline(report.outcome), about(report)),
        String::new(),
        report.message.clone(),
        String::new(),
    ];
    lines.extend(facts(report).into_iter().map(|(label, fact)| format!("{label:<11}{fact}")));
    if !report.next.is_empty() || !next_steps.is_empty() {
        lines.extend([String::new(), "What to do next".to_owned()]);
        lines.extend(short::lines(&report.next).map(|next| format!("- {}", plain::line(&next))));
        lines.extend(next_steps.iter().map(|NextStep { what, command }| format!("- {what}:\n  {command}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Renders the schema of Amazon Q Developer in chat applications for custom notifications, version 1.0. Each incident
/// is one thread.
fn chat(report: &Report, next_steps: &[NextStep]) -> Value {
    let facts: Vec<String> =
        facts(report).into_iter().map(|(label, fact)| format!("*{label}* {}", plain::chat(&fact))).collect();
    let next = short::lines(&report.next);
    let next: Vec<String> = next
        .map(|next| plain::chat(&next))
        .chain(next_steps.iter().map(|NextStep { what, command }| format!("{what}: `{command}`")))
        .collect();
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    json!({
        "version": "1.0",
        "source": "custom",
        "id": report.run,
        "content": {
            "textType": "client-markdown",
            "title": subject(report),
            "description":
                short::description(&format!("{}\n\n{}", plain::chat(&report.message), facts.join("\n")), &report.run),
            "nextSteps": next,
            "keywords": [headline(report.outcome), stage],
        },
        "metadata": {
            "threadId": thread(report),
            "summary": subject(report),
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
        "content": {"textType": "client-markdown", "title": title, "description": chat_lines(text)},
        "metadata": {"threadId": thread, "summary": title},
    })
}

/// Returns a text of several lines, each safe for a chat.
fn chat_lines(text: &str) -> String {
    text.lines().map(plain::chat).collect::<Vec<_>>().join("\n")
}

/// Returns the id of the thread: the incident, otherwise the alarm and the time of its state change, otherwise the run.
#[must_use]
pub fn thread(report: &Report) -> String {
    let by_alarm = || {
        let signal = &report.signal;
        Some(format!("{}/{}", signal.name.as_deref()?, stamp(signal.changed_at?)))
    };
    report.incident.clone().or_else(by_alarm).unwrap_or_else(|| report.run.clone())
}

fn next_steps(report: &Report, function: &str) -> Vec<NextStep> {
    let Some(stage) = &report.stage else { return vec![] };
    let step = |what, verb, more: Value| NextStep { what, command: command(function, stage, verb, more) };
    let status = step("show the status of the stage", "status", json!({}));
    let until = stamp(report.at + TimeDelta::hours(2));
    let hold = json!({"until": until, "reason": "working on it"});
    match report.outcome {
        Outcome::RolledBack => {
            vec![status, step("stop the function from changing the stage for two hours", "hold", hold)]
        }
        Outcome::Held => {
            let reason = json!({"reason": "manual rollback"});
            vec![status, step("roll back manually if the release is the cause", "rollback", reason)]
        }
        Outcome::Failed | Outcome::NeedsHuman | Outcome::Attention | Outcome::Recovered => vec![status],
        Outcome::WouldRollBack
        | Outcome::Recorded
        | Outcome::Status
        | Outcome::Promoted
        | Outcome::Swept
        | Outcome::Done
        | Outcome::Rejected
        | Outcome::Ignored => vec![],
    }
}

/// Returns a command to paste into a shell.
fn command(function: &str, stage: &StageRef, verb: &str, more: Value) -> String {
    let mut payload = json!({"command": verb, "stage": {"api": stage.api, "name": stage.stage}});
    if let (Some(payload), Value::Object(more)) = (payload.as_object_mut(), more) {
        payload.extend(more);
    }
    format!(
        "aws lambda invoke --function-name {function} --cli-binary-format raw-in-base64-out --payload '{}' /dev/stdout",
        payload.to_string().replace('\'', r"'\''")
    )
}
