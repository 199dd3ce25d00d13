//! A report as text for people.

pub(crate) mod lists;
mod status;

use std::fmt::Write as _;

use apigw_rollback::model::report::{Outcome, Report};

use super::style::{self, Tone, painted};

/// The reports as text. The status of several stages is one table.
pub(crate) fn reports(reports: &[Report]) -> String {
    let is_status = |report: &Report| report.signal.kind == "status" && report.details.is_some();
    match reports {
        [] => "no stage is protected\n".to_owned(),
        [one] => report(one),
        several if several.iter().all(is_status) => status::overview(several),
        several => several.iter().map(report).collect::<Vec<_>>().join("\n"),
    }
}

fn report(report: &Report) -> String {
    let mut shown = before_asking(report);
    for next in report.next.iter().cloned().chain(command(report)) {
        let _ = writeln!(shown, "  {} {next}", painted("next:", Tone::Quiet));
    }
    shown
}

/// The report without what to do next: that is what is asked then.
pub(crate) fn before_asking(report: &Report) -> String {
    let mut shown = match (&report.details, report.signal.kind.as_str()) {
        (Some(details), "status") => status::card(report, details),
        (Some(details), "history") => lists::history(report, details),
        _ => headline(report),
    };
    for warning in &report.warnings {
        let _ = writeln!(shown, "  {} {warning}", painted("warning:", Tone::Careful));
    }
    shown
}

fn headline(report: &Report) -> String {
    let outcome = word(report.outcome);
    let reason = report.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut shown =
        format!("{}: {}\n", painted(&format!("{outcome}{reason}"), tone(report.outcome)), report.message);
    if let Some(incident) = &report.incident {
        let _ = writeln!(shown, "  {} {incident}", painted("incident:", Tone::Quiet));
    }
    shown
}

/// The outcome's word, as in the JSON report.
fn word(outcome: Outcome) -> String {
    let word = serde_json::to_value(outcome).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::RolledBack
        | Outcome::Recorded
        | Outcome::Promoted
        | Outcome::Recovered
        | Outcome::Swept
        | Outcome::Status
        | Outcome::Done => Tone::Good,
        Outcome::WouldRollBack | Outcome::Held | Outcome::Rejected | Outcome::Attention => Tone::Careful,
        Outcome::Ignored => Tone::Quiet,
        Outcome::Failed | Outcome::NeedsHuman => Tone::Bad,
    }
}

/// The command that comes next, to be pasted.
fn command(report: &Report) -> Option<String> {
    let stage = report.stage.as_ref()?;
    let stage = format!("{}/{}", stage.api, stage.stage);
    let line = match (report.outcome, report.reason) {
        (Outcome::RolledBack | Outcome::NeedsHuman, _) => format!("apigw-rollback status {stage}"),
        (Outcome::WouldRollBack, _) => format!("apigw-rollback rollback {stage}"),
        (_, Some("no-known-good")) => format!("apigw-rollback record {stage}"),
        (_, Some("held-by-operator")) => format!("apigw-rollback release-hold {stage}"),
        (_, Some("irreversible-release")) => format!("apigw-rollback rollback {stage} --force"),
        (_, Some("known-good-missing" | "part-missing" | "not-pinned")) => "apigw-rollback doctor".to_owned(),
        _ => return None,
    };
    Some(line)
}
