//! Lists: a stage's changelog, its incidents, and what the doctor found.

use std::fmt::Write as _;

use apigw_rollback::doctor::{Finding, Level};
use apigw_rollback::model::report::Report;
use apigw_rollback::observe::lists::OnFile;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::style::{Tone, ago, cell, drawn, painted, second, second_in, table, text};

/// What was known-good when, with the rollbacks in between.
pub(crate) fn history(report: &Report, details: &Value) -> String {
    if details.as_array().is_none_or(Vec::is_empty) {
        return format!("{}\n", report.message);
    }
    let mut rows = table(&["WHEN", "WHAT", "DEPLOYMENT", "LABEL", "BY", "NOTE"]);
    for entry in details.as_array().into_iter().flatten() {
        if entry.get("rollback").is_some() {
            let by = text(entry, "/rollback/alarm");
            let lifted = if text(entry, "/rollback/lifted") == "true" { "lifted" } else { "" };
            rows.add_row([
                cell(second_in(entry, "/rollback/at"), None),
                cell("rollback", Some(Tone::Careful)),
                cell(format!("off {}", text(entry, "/rollback/fingerprint")), None),
                cell("", None),
                cell(if by.is_empty() { "a person" } else { &by }, None),
                cell(lifted, None),
            ]);
            continue;
        }
        let unusable = text(entry, "/unusable");
        let note = if unusable.is_empty() { text(entry, "/note") } else { unusable };
        rows.add_row([
            cell(second_in(entry, "/recorded_at"), None),
            cell(format!("version {}", text(entry, "/version")), None),
            cell(text(entry, "/deployment"), None),
            cell(text(entry, "/label"), None),
            cell(text(entry, "/who"), None),
            cell(note, None),
        ]);
    }
    format!("{}\n{}\n", report.message, drawn(rows))
}

/// The incidents of a stage.
pub(crate) fn incidents(all: &[OnFile], now: DateTime<Utc>) -> String {
    if all.is_empty() {
        return "no incident is on record\n".to_owned();
    }
    let mut rows = table(&["INCIDENT", "WHEN", "BAD", "BACK ON", "BY", "ALARM", "BAD RELEASE"]);
    let mut beside = String::new();
    for OnFile { parameter, incident } in all {
        let incident = match incident {
            Ok(incident) => incident,
            Err(why) => {
                let _ = writeln!(
                    beside,
                    "  {} the parameter `{parameter}` {why}",
                    painted("warning:", Tone::Careful)
                );
                continue;
            }
        };
        let recovered = incident.recovered_at.map(|at| format!("OK since {}", second(at)));
        let lifted = incident.lifted_by.as_ref().map(|who| format!("lifted by {who}"));
        let recovered = recovered.or_else(|| incident.undone.then(|| "undone, nothing changed".to_owned()));
        let is_open = recovered.is_none() && incident.alarm_at.is_some();
        rows.add_row([
            cell(parameter.rsplit('/').next().unwrap_or_default(), None),
            cell(ago(incident.at, now), None),
            cell(&incident.bad.deployment, None),
            cell(format!("{} (version {})", incident.good.deployment, incident.version), None),
            cell(&incident.by, None),
            cell(
                recovered.unwrap_or_else(|| if is_open { "not recovered" } else { "-" }.to_owned()),
                is_open.then_some(Tone::Careful),
            ),
            cell(
                lifted.unwrap_or_else(|| if incident.undone { "-" } else { "in quarantine" }.to_owned()),
                None,
            ),
        ]);
    }
    format!("{}\n{beside}", drawn(rows))
}

/// What the doctor found: the whole chain first, then each stage.
pub(crate) fn findings(all: &[Finding]) -> String {
    let mut rows = table(&[]);
    let mut about = None;
    let following = all.iter().map(|finding| finding.next.as_str()).skip(1).chain([""]);
    for (finding, following) in all.iter().zip(following) {
        if about.as_ref() != Some(&finding.stage) {
            let name = finding.stage.as_ref().map_or("the function".to_owned(), ToString::to_string);
            rows.add_row([cell("", None), cell("", None), cell(name, Some(Tone::Quiet))]);
            about = Some(finding.stage.clone());
        }
        let tone = match finding.level {
            Level::Ok => Tone::Good,
            Level::Warning => Tone::Careful,
            Level::Fault => Tone::Bad,
        };
        // What is to be done about several in a row is told once.
        let is_told = finding.next.is_empty() || finding.next == following;
        let next = if is_told { String::new() } else { format!("\nnext: {}", finding.next) };
        rows.add_row([
            cell(finding.level, Some(tone)),
            cell(finding.check, None),
            cell(format!("{}{next}", finding.message), None),
        ]);
    }
    let count = |level: Level| all.iter().filter(|finding| finding.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    let sum = match (faults, warnings) {
        (0, 0) => painted("a rollback would work", Tone::Good),
        (0, _) => painted(&format!("no fault; {warnings} warnings"), Tone::Careful),
        (_, _) => painted(
            &format!("an alarm may not lead to a rollback: {faults} faults, {warnings} warnings"),
            Tone::Bad,
        ),
    };
    format!("{}\n{sum}\n", drawn(rows))
}
