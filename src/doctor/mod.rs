//! The doctor: would a rollback work right now? Every fact is read first, then judged. Nothing is written.

mod facts;
mod function_checks;
mod permissions;
mod read;
mod stage_checks;

use std::fmt;

use serde::Serialize;

use crate::config::Config;
use crate::model::cloud_error::CloudError;
use crate::model::stage::StageRef;

pub use facts::{Readings, StageReadings, Watcher};
pub use permissions::required_permissions;
pub use read::read;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// A rollback would work, or is not wanted now; somebody should know.
    Warning,
    /// An alarm would not lead to a rollback.
    Fault,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, as a stable word.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// The stage it is about; `None` where it is about the function.
    pub stage: Option<StageRef>,
    /// How it is, in one sentence.
    pub message: String,
    /// What to do about it; empty where nothing is to be done.
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

    /// What could not be read is no proof of either.
    fn unknown(check: &'static str, error: &CloudError) -> Self {
        let next = if error.is_denial() {
            "let your own user or role do this call, or ask somebody who may".to_owned()
        } else {
            error.advice().to_owned()
        };
        Self::warning(check, format!("not checked: {error}"), next)
    }

    fn on(self, stage: &StageRef) -> Self {
        Self { stage: Some(stage.clone()), ..self }
    }
}

/// Judges the facts: the function and what is around it first, then each stage. Pure.
#[must_use]
pub fn examine(config: &Config, facts: &Readings) -> Vec<Finding> {
    let mut findings = function_checks::examine(config, facts);
    for stage in &facts.stages {
        let found = stage_checks::examine(config, facts, stage);
        findings.extend(found.into_iter().map(|finding| finding.on(&stage.stage)));
    }
    findings
}

/// The worst level of all; nothing looked at is a fault.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fault)
}
