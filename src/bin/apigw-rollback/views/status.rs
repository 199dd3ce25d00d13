//! The status of one stage as a card, and of several as a table.

use std::fmt::Write as _;

use apigw_rollback::model::report::Report;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::style::{Tone, ago, cell, drawn, lasting, painted, second, second_in, table, text, time};

/// One stage, a line for each fact.
pub(crate) fn card(report: &Report, details: &Value) -> String {
    let mut rows = table(&[]);
    let now = report.at;
    let lines = [
        ("live", live(details, now), None),
        ("known-good", known_good(details, now), missing(details)),
        ("pin", pin(details), None),
        ("candidate", candidate(details, now), None),
        ("alarms", alarms(details), alarms_tone(details)),
        (
            "hold",
            hold(details),
            text(details, "/hold/until").is_empty().then_some(Tone::Quiet).or(Some(Tone::Careful)),
        ),
        ("rollbacks", rollbacks(details, now), None),
        ("an alarm now", verdict(details), Some(verdict_tone(details))),
    ];
    for (what, how, tone) in lines {
        rows.add_row([cell(what, Some(Tone::Quiet)), cell(how, tone)]);
    }
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{}\n{}\n", painted(&stage, Tone::Good), drawn(rows))
}

/// Several stages, a line for each.
pub(crate) fn overview(reports: &[Report]) -> String {
    let mut rows = table(&["STAGE", "LIVE", "KNOWN-GOOD", "AGE", "BAKES", "ALARMS", "HOLD", "AN ALARM NOW"]);
    let mut beside = String::new();
    for report in reports {
        let none = Value::Null;
        let details = report.details.as_ref().unwrap_or(&none);
        let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
        let held = second_in(details, "/hold/until");
        let recorded = time(details, "/known_good/record/recorded_at");
        rows.add_row([
            cell(&stage, None),
            cell(text(details, "/live/release/deployment"), None),
            cell(short_known_good(details), missing(details)),
            cell(recorded.map(|at| lasting(report.at - at)).unwrap_or_default(), None),
            cell(short_candidate(details, report.at), None),
            cell(short_alarms(details), alarms_tone(details)),
            cell(if held.is_empty() { "-" } else { &held }, None),
            cell(short_verdict(details), Some(verdict_tone(details))),
        ]);
        for warning in &report.warnings {
            let _ = writeln!(beside, "  {} {stage}: {warning}", painted("warning:", Tone::Careful));
        }
    }
    format!("{}\n{beside}", drawn(rows))
}

fn live(details: &Value, now: DateTime<Utc>) -> String {
    let deployment = text(details, "/live/release/deployment");
    if deployment.is_empty() {
        return "API Gateway has no such stage".to_owned();
    }
    let mut parts = vec![format!("deployment {deployment}")];
    parts.extend(variables(details, "/live/release/variables"));
    let percent = text(details, "/live/release/canary/percent");
    parts.extend((!percent.is_empty()).then(|| format!("a canary with {percent} % of the traffic")));
    parts.extend(of_map(details, "/live/release/aliases", "/version"));
    parts.extend(of_map(details, "/live/release/mappings", "/stage"));
    parts.extend(time(details, "/live/updated_at").map(|at| format!("changed {}", ago(at, now))));
    parts.join(", ")
}

fn variables(details: &Value, pointer: &str) -> Option<String> {
    let all = details.pointer(pointer)?.as_object().filter(|all| !all.is_empty())?;
    let shown = all.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    Some(shown.collect::<Vec<_>>().join(" "))
}

/// Aliases and mappings, each with what it points at.
fn of_map(details: &Value, pointer: &str, at: &str) -> Vec<String> {
    let all = details.pointer(pointer).and_then(Value::as_object);
    all.into_iter().flatten().map(|(name, target)| format!("{name} at {}", text(target, at))).collect()
}

fn known_good(details: &Value, now: DateTime<Utc>) -> String {
    let recorded = time(details, "/known_good/record/recorded_at");
    let Some(recorded) = recorded else { return short_known_good(details) };
    let mut parts = vec![format!("deployment {}", text(details, "/known_good/record/release/deployment"))];
    parts.push(format!("version {}", text(details, "/known_good/version")));
    let label = text(details, "/known_good/record/label");
    parts.extend(Some(label).filter(|label| !label.is_empty()));
    parts.extend(variables(details, "/known_good/record/release/variables"));
    let who = text(details, "/known_good/record/who");
    let by = if who.is_empty() { String::new() } else { format!(" by {who}") };
    parts.push(format!("recorded {}{by}", ago(recorded, now)));
    parts.join(", ")
}

fn short_known_good(details: &Value) -> String {
    let deployment = text(details, "/known_good/record/release/deployment");
    if deployment.is_empty() {
        let why =
            format!("{}{}", text(details, "/known_good/missing"), text(details, "/known_good/unusable"));
        return why;
    }
    let label = text(details, "/known_good/record/label");
    if label.is_empty() { deployment } else { format!("{deployment} {label}") }
}

fn missing(details: &Value) -> Option<Tone> {
    text(details, "/known_good/record/release/deployment").is_empty().then_some(Tone::Bad)
}

fn pin(details: &Value) -> String {
    let (deployment, foreign) = (text(details, "/pin/deployment"), text(details, "/pin/foreign"));
    match (deployment.is_empty(), foreign.is_empty()) {
        (false, _) if text(details, "/pin/closed") == "true" => format!("deployment {deployment}"),
        (false, _) => format!("deployment {deployment}, open to traffic"),
        (true, false) => foreign,
        (true, true) => "none".to_owned(),
    }
}

fn candidate(details: &Value, now: DateTime<Utc>) -> String {
    let Some(since) = time(details, "/candidate/candidate/first_seen") else { return "none".to_owned() };
    let mut parts = vec![format!("deployment {}", text(details, "/candidate/candidate/release/deployment"))];
    let label = text(details, "/candidate/candidate/label");
    parts.extend(Some(label).filter(|label| !label.is_empty()));
    parts.push(format!("seen first {}", ago(since, now)));
    if text(details, "/candidate/is_live") != "true" {
        parts.push("not live any more".to_owned());
    } else if let Some(until) = time(details, "/candidate/bakes_until") {
        parts.push(bakes(until, now));
    }
    if text(details, "/candidate/candidate/irreversible") == "true" {
        parts.push("not reversible".to_owned());
    }
    parts.join(", ")
}

fn bakes(until: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if until > now {
        return format!("bakes {} more, until {}", lasting(until - now), second(until));
    }
    "has baked: the next sweep judges it".to_owned()
}

fn short_candidate(details: &Value, now: DateTime<Utc>) -> String {
    match time(details, "/candidate/bakes_until") {
        Some(until) if text(details, "/candidate/is_live") == "true" && until > now => lasting(until - now),
        Some(_) if text(details, "/candidate/is_live") == "true" => "done".to_owned(),
        Some(_) | None => "-".to_owned(),
    }
}

fn list<'a>(details: &'a Value, pointer: &str) -> &'a [Value] {
    details.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn alarms(details: &Value) -> String {
    let shown = list(details, "/alarms").iter().map(|alarm| {
        let enabled =
            if text(alarm, "/actions_enabled") == "true" { "" } else { ", its actions are disabled" };
        let ours =
            if text(alarm, "/calls_this_function") == "true" { "" } else { ", does not call the function" };
        let since = time(alarm, "/since").map(|at| format!(" since {}", second(at))).unwrap_or_default();
        format!("{} {}{since}{enabled}{ours}", text(alarm, "/name"), text(alarm, "/state"))
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "none names this stage".to_owned() } else { shown.join("\n") }
}

fn short_alarms(details: &Value) -> String {
    let alarms = list(details, "/alarms");
    let firing = alarms.iter().filter(|alarm| text(alarm, "/state") == "ALARM").count();
    match (alarms.len(), firing) {
        (0, _) => "none".to_owned(),
        (all, 0) => format!("{all} quiet"),
        (all, firing) => format!("{firing} of {all} ALARM"),
    }
}

fn alarms_tone(details: &Value) -> Option<Tone> {
    let alarms = list(details, "/alarms");
    if alarms.is_empty() {
        return Some(Tone::Careful);
    }
    alarms.iter().any(|alarm| text(alarm, "/state") == "ALARM").then_some(Tone::Bad)
}

fn hold(details: &Value) -> String {
    let until = second_in(details, "/hold/until");
    if until.is_empty() {
        return "none".to_owned();
    }
    let (by, why) = (text(details, "/hold/by"), text(details, "/hold/why"));
    let by = if by.is_empty() { by } else { format!(" by {by}") };
    let why = if why.is_empty() { why } else { format!(": {why}") };
    format!("until {until}{by}{why}")
}

fn rollbacks(details: &Value, now: DateTime<Utc>) -> String {
    let past = list(details, "/rollbacks");
    let Some(last) = past.last() else { return "none".to_owned() };
    let by = text(last, "/alarm");
    let by = if by.is_empty() { "a person".to_owned() } else { by };
    let at = time(last, "/at").map(|at| ago(at, now)).unwrap_or_default();
    format!("{}, the last one {at} by {by}", past.len())
}

fn verdict(details: &Value) -> String {
    if is_act(details) {
        return "puts it back".to_owned() + &plan(details);
    }
    format!("changes nothing ({}): {}", text(details, "/alarm_now/reason"), text(details, "/alarm_now/why"))
}

fn plan(details: &Value) -> String {
    let to = text(details, "/alarm_now/plan/to/deployment");
    format!(" on deployment {to}, version {}", text(details, "/alarm_now/plan/version"))
}

fn short_verdict(details: &Value) -> String {
    if is_act(details) { "puts it back".to_owned() } else { text(details, "/alarm_now/reason") }
}

fn is_act(details: &Value) -> bool {
    text(details, "/alarm_now/verdict") == "act"
}

fn verdict_tone(details: &Value) -> Tone {
    let is_fine = is_act(details) || text(details, "/alarm_now/reason") == "already-known-good";
    if is_fine { Tone::Good } else { Tone::Careful }
}
