//! Renders lists: a stage's history, its incidents, and the doctor's findings.

use std::cmp::Ordering;
use std::fmt::Write as _;

use apigw_rollback::doctor::{Finding, Level};
use apigw_rollback::model::report::{Report, SweptStage};
use apigw_rollback::model::rollout::{Rollout, RolloutState};
use apigw_rollback::model::status::{HistoryEntry, RolloutStatus, Version};
use apigw_rollback::observe::incidents::OnFile;
use chrono::{DateTime, Utc};

use super::style::{Tone, ago, cell, drawn, painted, second, table};

/// Renders the known-good releases and the rollbacks between them.
pub(crate) fn history(report: &Report, entries: &[HistoryEntry]) -> String {
    if entries.is_empty() {
        return format!("{}\n", report.message);
    }
    let mut rows = table(&["WHEN", "WHAT", "DEPLOYMENT", "LABEL", "BY", "NOTE"]);
    for entry in entries {
        let text = |text: &Option<String>| cell(text.as_deref().unwrap_or_default(), None);
        rows.add_row(match entry {
            HistoryEntry::Rollback { rollback } => [
                cell(second(rollback.at), None),
                cell("rollback", Some(Tone::Careful)),
                cell(format!("from {}", rollback.fingerprint), None),
                cell("", None),
                cell(rollback.alarm.as_deref().unwrap_or("an operator"), None),
                cell(if rollback.lifted { "lifted" } else { "" }, None),
            ],
            HistoryEntry::Version(Version::Usable { version, deployment, recorded_at, label, note, who }) => {
                [
                    cell(second(*recorded_at), None),
                    cell(format!("version {version}"), None),
                    cell(deployment, None),
                    text(label),
                    text(who),
                    text(note),
                ]
            }
            HistoryEntry::Version(Version::Unusable { version, unusable }) => [
                cell("", None),
                cell(format!("version {version}"), None),
                cell("", None),
                cell("", None),
                cell("", None),
                cell(unusable, None),
            ],
        });
    }
    format!("{}\n{}\n", report.message, drawn(rows))
}

/// Renders the steps of a rollout: which have passed, and how far the current one is.
pub(crate) fn rollout(status: &RolloutStatus) -> String {
    let RolloutStatus { rollout, requests } = status;
    let mut rows = table(&["STEP", "TRAFFIC", "STATE"]);
    for (nth, share) in rollout.terms.steps.iter().enumerate() {
        let (state, tone) = match nth.cmp(&rollout.step) {
            Ordering::Less => ("passed".to_owned(), Tone::Good),
            Ordering::Greater => (String::new(), Tone::Quiet),
            Ordering::Equal => (current(rollout, *requests), Tone::Careful),
        };
        let number = (nth + 1).to_string();
        rows.add_row([cell(number, None), cell(format!("{share} %"), None), cell(state, Some(tone))]);
    }
    format!("{}\n", drawn(rows))
}

fn current(rollout: &Rollout, requests: Option<u64>) -> String {
    let requests = requests.map(|seen| format!("; {seen} of {} requests", rollout.terms.min_requests));
    let requests = requests.unwrap_or_default();
    let since = second(rollout.since);
    match &rollout.state {
        RolloutState::Baking => {
            format!("bakes from {since} until {}{requests}", second(rollout.bakes_until()))
        }
        RolloutState::Paused { why, by } => {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("paused since {since}{by}: {why}")
        }
        RolloutState::Aborted { why }
        | RolloutState::RolledBack { why, .. }
        | RolloutState::Overtaken { why } => {
            format!("{} at {since}: {why}", rollout.state.word())
        }
        RolloutState::Promoted => format!("promoted at {since}"),
        RolloutState::Moving | RolloutState::Promoting | RolloutState::Aborting => {
            format!("{} since {since}", rollout.state.word())
        }
    }
}

/// Renders the state of each stage after a sweep.
pub(crate) fn swept(stages: &[SweptStage]) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let mut rows = table(&["STAGE", "STATE"]);
    for SweptStage { stage, state } in stages {
        rows.add_row([cell(stage, None), cell(state, None)]);
    }
    format!("{}\n", drawn(rows))
}

/// Renders the incidents of a stage, with a warning for each that cannot be parsed.
pub(crate) fn incidents(all: &[OnFile], now: DateTime<Utc>) -> String {
    if all.is_empty() {
        return "no incidents are recorded\n".to_owned();
    }
    let mut rows = table(&["INCIDENT", "WHEN", "FROM", "TO", "BY", "ALARM", "BAD RELEASE"]);
    let mut warnings = String::new();
    for OnFile { parameter, incident } in all {
        let incident = match incident {
            Ok(incident) => incident,
            Err(why) => {
                let _ = writeln!(
                    warnings,
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
            cell(&incident.bad.release.deployment, None),
            cell(format!("{} (version {})", incident.good.release.deployment, incident.version), None),
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
    format!("{}\n{warnings}", drawn(rows))
}

/// Renders the doctor's findings: first the function, then each stage.
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
            Level::Warning | Level::NotChecked => Tone::Careful,
            Level::Fault => Tone::Bad,
        };
        // Consecutive findings with the same advice show it once, after the last of them.
        let is_omitted = finding.next.is_empty() || finding.next == following;
        let next = if is_omitted { String::new() } else { format!("\nnext: {}", finding.next) };
        rows.add_row([
            cell(finding.level, Some(tone)),
            cell(finding.check, None),
            cell(format!("{}{next}", finding.message), None),
        ]);
    }
    let count = |level: Level| all.iter().filter(|finding| finding.level == level).count();
    let (faults, unknown, warnings) = (count(Level::Fault), count(Level::NotChecked), count(Level::Warning));
    let not_checked = if unknown > 0 { format!(", {unknown} not checked") } else { String::new() };
    let sum = match (faults, unknown, warnings) {
        (0, 0, 0) => painted("a rollback would work", Tone::Good),
        (0, _, _) => painted(&format!("no faults{not_checked}, {warnings} warnings"), Tone::Careful),
        (_, _, _) => painted(
            &format!(
                "an alarm might not lead to a rollback: {faults} faults{not_checked}, {warnings} warnings"
            ),
            Tone::Bad,
        ),
    };
    format!("{}\n{sum}\n", drawn(rows))
}
