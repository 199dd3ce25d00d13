//! Renders reports as text for operators.

pub(crate) mod lists;
mod status;

use std::fmt::Write as _;

use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::report::{Details, Outcome, Report};
use apigw_rollback::model::status::StageStatus;

use super::style::{self, Tone, painted};

/// Renders the reports. The status of several stages becomes one table.
pub(crate) fn reports(reports: &[Report]) -> String {
    match reports {
        [] => "no stage is protected\n".to_owned(),
        [one] => report(one),
        several => match several.iter().map(status_of).collect::<Option<Vec<_>>>() {
            Some(all) => status::overview(&all),
            None => several.iter().map(report).collect::<Vec<_>>().join("\n"),
        },
    }
}

fn status_of(report: &Report) -> Option<(&Report, &StageStatus)> {
    match &report.details {
        Some(Details::Status(status)) => Some((report, status)),
        Some(Details::History(_) | Details::Sweep(_) | Details::Rollout(_)) | None => None,
    }
}

fn report(report: &Report) -> String {
    let mut shown = before_asking(report);
    for next in report.next.iter().cloned().chain(command(report)) {
        let _ = writeln!(shown, "  {} {next}", painted("next:", Tone::Quiet));
    }
    shown
}

/// Renders a report without the next steps, because a confirmation prompt follows.
pub(crate) fn before_asking(report: &Report) -> String {
    let mut shown = match &report.details {
        Some(Details::Status(status)) => status::card(report, status),
        Some(Details::History(entries)) => lists::history(report, entries),
        Some(Details::Sweep(stages)) => format!("{}{}", headline(report), lists::swept(stages)),
        Some(Details::Rollout(status)) => format!("{}{}", headline(report), lists::rollout(status)),
        None => headline(report),
    };
    for warning in &report.warnings {
        let _ = writeln!(shown, "  {} {warning}", painted("warning:", Tone::Careful));
    }
    shown
}

fn headline(report: &Report) -> String {
    let outcome = report.outcome.word();
    let reason = report.code().map(|code| format!(" ({code})")).unwrap_or_default();
    let mut shown =
        format!("{}: {}\n", painted(&format!("{outcome}{reason}"), tone(report.outcome)), report.message);
    if let Some(incident) = &report.incident {
        let _ = writeln!(shown, "  {} {incident}", painted("incident:", Tone::Quiet));
    }
    shown
}

fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::RolledBack
        | Outcome::Recorded
        | Outcome::Promoted
        | Outcome::RolloutStarted
        | Outcome::RolloutStep
        | Outcome::RolloutPromoted
        | Outcome::Recovered
        | Outcome::Swept
        | Outcome::Status
        | Outcome::Done => Tone::Good,
        Outcome::WouldRollBack
        | Outcome::RolloutPaused
        | Outcome::RolloutAborted
        | Outcome::Held
        | Outcome::Rejected
        | Outcome::Attention => Tone::Careful,
        Outcome::Ignored => Tone::Quiet,
        Outcome::Failed | Outcome::NeedsHuman => Tone::Bad,
    }
}

/// Returns the next command, ready to paste.
fn command(report: &Report) -> Option<String> {
    let stage = report.stage.as_ref()?;
    let stage = format!("{}/{}", stage.api, stage.stage);
    let line = match (report.outcome, &report.reason) {
        (Outcome::RolledBack | Outcome::NeedsHuman, _) => format!("apigw-rollback status {stage}"),
        (Outcome::WouldRollBack, _) => format!("apigw-rollback rollback {stage}"),
        // No release would be recorded as a version that the operator asked for.
        (_, Some(Reason::NoKnownGood { parameter, .. })) if !parameter.contains(':') => {
            format!("apigw-rollback record {stage}")
        }
        (_, Some(Reason::HeldByOperator(_))) => format!("apigw-rollback release-hold {stage}"),
        (_, Some(Reason::IrreversibleRelease { .. })) => format!("apigw-rollback rollback {stage} --force"),
        (_, Some(Reason::KnownGoodMissing { .. } | Reason::PartMissing(_) | Reason::NotPinned(_))) => {
            "apigw-rollback doctor".to_owned()
        }
        _ => return None,
    };
    Some(line)
}
