//! What keeps the tool from starting at all, as one sentence that says what to do, and the exit codes.

use apigw_rollback::doctor::Level;
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::report::{Outcome, Report};

/// The exit codes, as `--help` tells them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing wrong
  1  failed: AWS said no or did not answer; trying again may help
  2  the command line, or the settings in the environment, cannot be read
  3  held or rejected: nothing was done, and the report says why
  4  needs a human: the stage is neither as it was nor as it should be
  5  doctor: warnings
  6  doctor: faults, so an alarm may not lead to a rollback
  7  no access: no credentials, or they do not allow it
  8  no such function in this region, or it is another one";

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const FAILED: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const HELD: Self = Self(3);
    const NEEDS_HUMAN: Self = Self(4);
    const NO_ACCESS: Self = Self(7);
    const NO_FUNCTION: Self = Self(8);

    /// The worst of several reports: what needs a human, then what failed, then what was held.
    pub(crate) fn of(reports: &[Report]) -> Self {
        let codes: Vec<Self> = reports.iter().map(Self::for_report).collect();
        let worst = [Self::NEEDS_HUMAN, Self::NO_ACCESS, Self::FAILED, Self::HELD];
        worst.into_iter().find(|code| codes.contains(code)).unwrap_or(Self::DONE)
    }

    fn for_report(report: &Report) -> Self {
        match report.outcome {
            Outcome::NeedsHuman | Outcome::Attention => Self::NEEDS_HUMAN,
            Outcome::Failed if is_denied(report) => Self::NO_ACCESS,
            Outcome::Failed => Self::FAILED,
            Outcome::Held | Outcome::Rejected => Self::HELD,
            Outcome::RolledBack
            | Outcome::WouldRollBack
            | Outcome::Recorded
            | Outcome::Status
            | Outcome::Promoted
            | Outcome::Recovered
            | Outcome::Swept
            | Outcome::Done
            | Outcome::Ignored => Self::DONE,
        }
    }

    /// What the doctor's worst finding means.
    pub(crate) fn for_level(level: Level) -> Self {
        match level {
            Level::Ok => Self::DONE,
            Level::Warning => Self(5),
            Level::Fault => Self(6),
        }
    }
}

/// What keeps the tool from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line or the environment.
    #[error("{0}")]
    Usage(String),
    /// Nothing was done, because a person said so.
    #[error("{0}")]
    Declined(String),
    /// No such stage.
    #[error("{0}")]
    Stage(String),
    /// No credentials, or not enough.
    #[error("{0}")]
    Access(String),
    /// No function, or another one.
    #[error("{0}")]
    Function(String),
    /// Anything else that AWS says.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::USAGE,
            Self::Declined(_) | Self::Stage(_) => Exit::HELD,
            Self::Access(_) => Exit::NO_ACCESS,
            Self::Function(_) => Exit::NO_FUNCTION,
            Self::Failed(_) => Exit::FAILED,
        }
    }

    /// A failed call before there is a run that could report it.
    pub(crate) fn of(error: &CloudError, region: &str) -> Self {
        let stale =
            ["ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"];
        match error.code.as_str() {
            "NoCredentials" => Self::Access(format!(
                "there are no credentials: set AWS_PROFILE or give --profile, or sign in as you do for the AWS CLI ({})",
                error.message
            )),
            code if stale.contains(&code) => Self::Access(format!(
                "the credentials are not valid (any more): sign in again ({code}: {})",
                error.message
            )),
            _ if error.is_denial() => Self::Access(format!(
                "you may not do {} on `{}`: let your own user or role do it ({}: {})",
                error.operation, error.subject, error.code, error.message
            )),
            _ if error.failure == Failure::NoAnswer => Self::Failed(format!(
                "AWS does not answer in the region `{region}`: see that the region is spelt right and that there is a network ({}: {})",
                error.operation, error.message
            )),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What a person does about a refused call: the engine's own advice is for the function's role.
pub(crate) const YOURS: &str = "let your own user or role do this call, or sign in again; docs/command-line.md lists what the tool needs";

/// Whether a call was refused to the person, whom the engine takes for the function.
pub(crate) fn is_denied(report: &Report) -> bool {
    let refused = |code: &str| CloudError {
        failure: Failure::Other,
        operation: "",
        subject: String::new(),
        code: code.to_owned(),
        message: String::new(),
    };
    let advice = ["AccessDenied", "ExpiredTokenException"].map(|code| refused(code).advice());
    let is_advice = |next: &String| next == YOURS || advice.contains(&next.as_str());
    report.outcome == Outcome::Failed && report.next.iter().any(is_advice)
}
