//! Adapts the advice of a report to the operator, whose own command and credentials led to it. Pure.

use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::trigger::Verb;
use apigw_rollback::signal::Command;

use super::error::{YOURS, is_denied};

/// The command that led to a report.
pub(crate) struct Asked<'a> {
    /// The command.
    pub(crate) command: &'a Command,
    /// Whether it is the status of a stage that does not exist.
    pub(crate) is_missing: bool,
    /// A clause about the stages that its API has instead, if any.
    pub(crate) stages: Option<String>,
}

const PROTECTED: &str = "list the protected stages: apigw-rollback status";

/// Adapts the advice of a report, which is about alarms and the function's role. Rejects the status of a stage that does not
/// exist.
pub(crate) fn for_operator(report: Report, asked: &Asked<'_>) -> Report {
    if is_denied(&report) {
        return Report { next: vec![YOURS.to_owned()], ..report };
    }
    let report = if asked.is_missing { rejected(report) } else { report };
    let advice = advice(&report, asked);
    match advice {
        Some(advice) => Report { next: vec![advice], ..report },
        None => report,
    }
}

fn rejected(report: Report) -> Report {
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    Report {
        outcome: Outcome::Rejected,
        message: format!("API Gateway has no stage {stage}"),
        reason: Some(Reason::NoStage(stage)),
        details: None,
        warnings: vec![],
        ..report
    }
}

/// Returns the next step by the cause; `None` if the report's own advice fits.
fn advice(report: &Report, asked: &Asked<'_>) -> Option<String> {
    let list = |what: &str, command: &str| {
        let stage = report.stage.as_ref().map(|StageRef { api, stage, .. }| format!(" {api}/{stage}"));
        format!("{what}: apigw-rollback {command}{}", stage.unwrap_or_default())
    };
    Some(match (&report.reason, asked.command.verb) {
        (Some(Reason::NoStage(_) | Reason::NotProtected(_)), _) => match &asked.stages {
            Some(stages) => format!("correct the name of the stage: {stages}"),
            None => PROTECTED.to_owned(),
        },
        (Some(Reason::AmbiguousTarget(_)), _) => "give the API's id instead of its name".to_owned(),
        (Some(Reason::NoKnownGood { .. }), Verb::Plan | Verb::Rollback) if asked.command.to.is_some() => {
            list("list the versions", "history")
        }
        (Some(Reason::KnownGoodMissing { .. }), Verb::Plan | Verb::Rollback)
            if asked.command.to.is_some() =>
        {
            list("choose another version", "history")
        }
        (Some(Reason::Malformed(_)), Verb::Hold) => {
            "give a later time with --until, or a duration with --for, of at most 30 days".to_owned()
        }
        (Some(Reason::Malformed(_)), Verb::Lift) => list("list the incidents", "incidents"),
        _ => return None,
    })
}
