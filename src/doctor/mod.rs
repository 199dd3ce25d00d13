//! The doctor: checks whether a rollback would work right now. Reads all facts first, then judges them. Writes nothing.

mod access_log_checks;
mod facts;
mod function_checks;
mod permissions;
mod read;
mod role_checks;
mod stage_checks;
mod upkeep_checks;

use std::fmt;

use serde::Serialize;

use crate::config::Config;
use crate::model::cloud_error::CloudError;
use crate::model::stage::StageRef;

pub use facts::{AccessLogs, Readings, StageReadings, Upkeep, Watcher};
pub use permissions::{Need, Requirement, required_permissions};
pub use read::read;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A rollback would work, or is paused on purpose. An operator should know about it.
    Warning,
    /// The check could not be made, so it proves neither health nor a fault.
    NotChecked,
    /// An alarm would not lead to a rollback.
    Fault,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::NotChecked => "not-checked",
            Self::Fault => "fault",
        })
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check, a stable word.
    pub check: &'static str,
    /// The severity.
    pub level: Level,
    /// The stage; `None` if the finding is about the function.
    pub stage: Option<StageRef>,
    /// The finding, in one sentence.
    pub message: String,
    /// The next step; empty if there is nothing to do.
    pub next: String,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, stage: None, message: message.into(), next: String::new() }
    }

    fn warning(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warning, next: next.into(), ..Self::ok(check, message) }
    }

    fn fault(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Fault, next: next.into(), ..Self::ok(check, message) }
    }

    fn not_checked(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::NotChecked, next: next.into(), ..Self::ok(check, message) }
    }

    /// A failed read proves neither health nor a fault.
    fn unknown(check: &'static str, error: &CloudError) -> Self {
        let next = if error.is_denial() {
            "allow this call for your own user or role, or ask your administrator".to_owned()
        } else {
            error.advice().to_owned()
        };
        Self::not_checked(check, error.to_string(), next)
    }

    fn is_ok(&self) -> bool {
        self.level == Level::Ok
    }

    fn on(self, stage: &StageRef) -> Self {
        Self { stage: Some(stage.clone()), ..self }
    }
}

/// Judges the facts: first the function and its environment, then each stage. Pure.
#[must_use]
pub fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = function_checks::examine(config, facts);
    findings.extend(role_checks::of_all_stages(facts));
    findings.extend(upkeep_checks::examine(config, facts));
    findings.extend(access_log_checks::of_all_stages(facts));
    for stage in &facts.stages {
        let mut found = stage_checks::examine(config, facts, stage);
        found.extend(access_log_checks::of_stage(facts, stage));
        found.extend(role_checks::of_stage(facts, &stage.stage));
        findings.extend(found.into_iter().map(|finding| finding.on(&stage.stage)));
    }
    findings
}

/// Returns the worst level of all findings. No findings count as a fault.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fault)
}
