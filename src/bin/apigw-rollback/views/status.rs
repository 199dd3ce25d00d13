//! Renders the status of one stage as a list of facts, and of several stages as a table.

use std::fmt::Write as _;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::records::Candidate;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::Report;
use apigw_rollback::model::status::{
    AlarmNowStatus, CandidateStatus, KnownGoodStatus, NotYetStatus, PinStatus, StageStatus,
};
use chrono::{DateTime, Utc};

use super::style::{Tone, ago, cell, drawn, lasting, painted, second, table};

/// Renders one stage, with a line for each fact.
pub(crate) fn card(report: &Report, status: &StageStatus) -> String {
    let mut rows = table(&[]);
    let now = report.at;
    let lines = [
        ("live", live(status, now), None),
        ("known-good", known_good(status, now), missing(status)),
        ("pin", pin(status), None),
        ("rollout", rollout(status), Some(Tone::Careful)),
        ("candidate", candidate(status, now), None),
        ("not known-good yet", not_yet(status, now), Some(Tone::Careful)),
        ("alarms", alarms(status), alarms_tone(status)),
        ("hold", hold(status), Some(if status.hold.is_some() { Tone::Careful } else { Tone::Quiet })),
        ("rollbacks", rollbacks(status, now), None),
        ("other Regions", siblings(status), Some(Tone::Careful)),
        ("may act", status.admission.to_string(), Some(Tone::Quiet)),
        ("variables", values(status).to_owned(), Some(Tone::Quiet)),
        ("an alarm now", alarm_now(status), Some(alarm_now_tone(status))),
    ];
    for (label, value, tone) in lines {
        if value.is_empty() {
            continue;
        }
        rows.add_row([cell(label, Some(Tone::Quiet)), cell(value, tone)]);
    }
    format!("{}\n{}\n", painted(&stage(report), Tone::Good), drawn(rows))
}

/// Renders several stages, with a line for each.
pub(crate) fn overview(reports: &[(&Report, &StageStatus)]) -> String {
    let mut rows = table(&["STAGE", "LIVE", "KNOWN-GOOD", "AGE", "BAKES", "ALARMS", "HOLD", "AN ALARM NOW"]);
    let mut warnings = String::new();
    for (report, status) in reports {
        let stage = stage(report);
        let live = status.live.as_ref().map(|live| live.release.deployment.clone());
        let recorded = status.known_good.record().map(|(_, record)| lasting(report.at - record.recorded_at));
        let held = status.hold.as_ref().map(|hold| second(hold.until));
        rows.add_row([
            cell(&stage, None),
            cell(live.unwrap_or_default(), None),
            cell(short_known_good(status), missing(status)),
            cell(recorded.unwrap_or_default(), None),
            cell(short_candidate(status, report.at), None),
            cell(short_alarms(status), alarms_tone(status)),
            cell(held.unwrap_or_else(|| "-".to_owned()), None),
            cell(short_alarm_now(status), Some(alarm_now_tone(status))),
        ]);
        for warning in &report.warnings {
            let _ = writeln!(warnings, "  {} {stage}: {warning}", painted("warning:", Tone::Careful));
        }
    }
    format!("{}\n{warnings}", drawn(rows))
}

fn stage(report: &Report) -> String {
    report.stage.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn live(status: &StageStatus, now: DateTime<Utc>) -> String {
    let Some(live) = &status.live else { return "API Gateway has no such stage".to_owned() };
    let release = &live.release;
    let mut facts = vec![format!("deployment {}", release.deployment)];
    facts.extend(variables(release));
    let canary = release.canary.as_ref();
    facts.extend(canary.map(|canary| format!("a canary with {} % of the traffic", canary.percent)));
    facts.extend(release.aliases.iter().map(|(alias, target)| format!("{alias} at {}", target.version)));
    facts.extend(release.mappings.iter().map(|(mapping, target)| format!("{mapping} at {}", target.stage)));
    facts.extend(live.updated_at.map(|at| format!("changed {}", ago(at, now))));
    facts.join(", ")
}

fn variables(release: &Release) -> Option<String> {
    let shown: Vec<String> =
        release.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Some(shown.join(" ")).filter(|shown| !shown.is_empty())
}

fn known_good(status: &StageStatus, now: DateTime<Utc>) -> String {
    let Some((version, record)) = status.known_good.record() else { return short_known_good(status) };
    let mut facts = vec![format!("deployment {}", record.release.deployment), format!("version {version}")];
    facts.extend(record.label.clone());
    facts.extend(variables(&record.release));
    let by = record.who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
    facts.push(format!("recorded {}{by}", ago(record.recorded_at, now)));
    facts.join(", ")
}

fn short_known_good(status: &StageStatus) -> String {
    match &status.known_good {
        KnownGoodStatus::Missing { missing, .. } => missing.clone(),
        KnownGoodStatus::Unusable { unusable, .. } => unusable.clone(),
        KnownGoodStatus::Found { record, .. } => {
            let deployment = &record.release.deployment;
            record.label.as_ref().map_or_else(|| deployment.clone(), |label| format!("{deployment} {label}"))
        }
    }
}

fn missing(status: &StageStatus) -> Option<Tone> {
    status.known_good.record().is_none().then_some(Tone::Bad)
}

fn pin(status: &StageStatus) -> String {
    match &status.pin {
        Some(PinStatus::Holds { deployment, closed: true }) => format!("deployment {deployment}"),
        Some(PinStatus::Holds { deployment, closed: false }) => {
            format!("deployment {deployment}, open to traffic")
        }
        Some(PinStatus::Foreign { foreign }) => foreign.clone(),
        None => "none".to_owned(),
    }
}

/// The rollout that is running. While the stage has its canary, API Gateway refuses other deployments.
fn rollout(status: &StageStatus) -> String {
    let Some(rollout) = &status.rollout else { return String::new() };
    format!(
        "{} to {}: step {} of {}, {} % of the traffic, since {}; no other deployment is possible until it ends",
        rollout.state.word(),
        rollout.name(),
        rollout.step + 1,
        rollout.terms.steps.len(),
        rollout.share(),
        second(rollout.since)
    )
}

/// Why the live release is not known-good yet. Without a release that waits, the row is empty and left out.
fn not_yet(status: &StageStatus, now: DateTime<Utc>) -> String {
    let Some(NotYetStatus { why, swept_at }) = &status.not_yet else { return String::new() };
    format!("{why} (sweep at {})", ago(*swept_at, now))
}

/// Returns the candidate, unless it is already the known-good release.
fn open_candidate(status: &StageStatus) -> Option<&CandidateStatus> {
    let good = status.known_good.record().map(|(_, record)| &record.release);
    status.candidate.as_ref().filter(|found| Some(&found.candidate.release) != good)
}

fn candidate(status: &StageStatus, now: DateTime<Utc>) -> String {
    let Some(found) = open_candidate(status) else { return "none".to_owned() };
    let Candidate { release, label, first_seen, irreversible, .. } = &found.candidate;
    let mut facts = vec![format!("deployment {}", release.deployment)];
    facts.extend(label.clone());
    facts.push(format!("first seen {}", ago(*first_seen, now)));
    facts.push(if found.is_live { bakes(found.bakes_until, now) } else { "no longer live".to_owned() });
    facts.extend(irreversible.then(|| "irreversible".to_owned()));
    facts.join(", ")
}

fn bakes(until: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if until > now {
        return format!("bakes for another {}, until {}", lasting(until - now), second(until));
    }
    "has baked; the next sweep decides on its promotion".to_owned()
}

fn short_candidate(status: &StageStatus, now: DateTime<Utc>) -> String {
    match open_candidate(status) {
        Some(found) if found.is_live && found.bakes_until > now => lasting(found.bakes_until - now),
        Some(found) if found.is_live => "done".to_owned(),
        Some(_) | None => "-".to_owned(),
    }
}

fn alarms(status: &StageStatus) -> String {
    let shown = status.alarms.iter().map(|alarm| {
        let enabled = if alarm.actions_enabled { "" } else { ", its actions are disabled" };
        let ours = if alarm.calls_this_function { "" } else { ", does not notify the function" };
        let since = alarm.since.map(|at| format!(" since {}", second(at))).unwrap_or_default();
        let says = match (alarm.testimony, alarm.reason) {
            (None | Some("quiet"), _) => String::new(),
            (Some(testimony), None) => format!(": {testimony} the live release"),
            (Some(testimony), Some(reason)) => format!(": {testimony} ({reason})"),
        };
        format!("{} {}{since}{enabled}{ours}{says}", alarm.name, alarm.state)
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "no alarm names this stage".to_owned() } else { shown.join("\n") }
}

fn firing(status: &StageStatus) -> usize {
    status.alarms.iter().filter(|alarm| alarm.state == State::Alarm).count()
}

fn short_alarms(status: &StageStatus) -> String {
    match (status.alarms.len(), firing(status)) {
        (0, _) => "none".to_owned(),
        (all, 0) => format!("{all} quiet"),
        (all, firing) => format!("{firing} of {all} in ALARM"),
    }
}

fn alarms_tone(status: &StageStatus) -> Option<Tone> {
    if status.alarms.is_empty() {
        return Some(Tone::Careful);
    }
    (firing(status) > 0).then_some(Tone::Bad)
}

fn hold(status: &StageStatus) -> String {
    let Some(hold) = &status.hold else { return "none".to_owned() };
    let by = hold.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = hold.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("until {}{by}{why}", second(hold.until))
}

fn rollbacks(status: &StageStatus, now: DateTime<Utc>) -> String {
    let Some(last) = status.rollbacks.last() else { return "none".to_owned() };
    let by = last.alarm.as_deref().unwrap_or("an operator");
    format!("{}, the last one {} by {by}", status.rollbacks.len(), ago(last.at, now))
}

/// What other Regions found bad. Without such an incident, the row is empty and left out.
fn siblings(status: &StageStatus) -> String {
    let shown = status.siblings.iter().map(|one| {
        let here = one.here.as_ref().map(|here| format!("; here it is deployment {here}"));
        let cleared = if one.cleared { "; an operator has let this stage go on" } else { "" };
        format!("{one}{}{cleared}", here.unwrap_or_default())
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn values(status: &StageStatus) -> &'static str {
    if status.shows_variables { "their values are sent" } else { "only their names are sent" }
}

fn alarm_now(status: &StageStatus) -> String {
    match &status.alarm_now {
        AlarmNowStatus::Act(plan) => {
            format!("would roll back to deployment {}, version {}", plan.to.deployment, plan.version)
        }
        AlarmNowStatus::Hold(reason) => format!("would change nothing ({}): {reason}", reason.code()),
    }
}

fn short_alarm_now(status: &StageStatus) -> String {
    match &status.alarm_now {
        AlarmNowStatus::Act(_) => "rolls back".to_owned(),
        AlarmNowStatus::Hold(reason) => reason.code().to_owned(),
    }
}

fn alarm_now_tone(status: &StageStatus) -> Tone {
    match &status.alarm_now {
        AlarmNowStatus::Act(_) | AlarmNowStatus::Hold(Reason::AlreadyKnownGood { .. }) => Tone::Good,
        AlarmNowStatus::Hold(_) => Tone::Careful,
    }
}
