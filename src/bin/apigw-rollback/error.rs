//! The exit codes, and the errors that stop the tool before there is a report.

use apigw_rollback::doctor::{Finding, Level};
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::report::{Outcome, Report};
use serde_json::{Value, json};

/// The exit codes, as `--help` lists them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or nothing wrong
  1  failed: AWS refused a call or did not answer; a retry may help
  2  the command line, or a setting in the environment, is invalid
  3  held or rejected: nothing was changed, and the report says why
  4  manual action required: the stage serves neither its old nor its known-good release
  5  doctor: warnings; sweep: problems that need attention
  6  doctor: faults, so an alarm might not lead to a rollback
  7  no access: there are no credentials, or they do not allow the call
  8  the function does not exist in this Region, or is not an apigw-rollback function
  9  doctor: some checks could not be made, and the others found no fault
  10  rollout wait: the rollout ended without its release
  11  rollout wait: the rollout is paused, or was not over in time";

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const FAILED: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const HELD: Self = Self(3);
    /// The status with which a shell reports other tools, such as `git`, that wrote to a closed pipe (`SIGPIPE`).
    const READER_GONE: Self = Self(141);
    const NEEDS_HUMAN: Self = Self(4);
    const WARNINGS: Self = Self(5);
    const NO_ACCESS: Self = Self(7);
    const NO_FUNCTION: Self = Self(8);
    pub(crate) const ROLLOUT_ENDED: Self = Self(10);
    pub(crate) const ROLLOUT_OPEN: Self = Self(11);

    /// Returns the exit code of the worst report: manual action, then no access, then failed, then held, then
    /// attention.
    pub(crate) fn of(reports: &[Report]) -> Self {
        let codes: Vec<Self> = reports.iter().map(Self::for_report).collect();
        let worst = [Self::NEEDS_HUMAN, Self::NO_ACCESS, Self::FAILED, Self::HELD, Self::WARNINGS];
        worst.into_iter().find(|code| codes.contains(code)).unwrap_or(Self::DONE)
    }

    fn for_report(report: &Report) -> Self {
        match report.outcome {
            Outcome::NeedsHuman => Self::NEEDS_HUMAN,
            Outcome::Attention => Self::WARNINGS,
            Outcome::Failed if is_denied(report) => Self::NO_ACCESS,
            Outcome::Failed => Self::FAILED,
            Outcome::Held | Outcome::Rejected => Self::HELD,
            Outcome::RolledBack
            | Outcome::WouldRollBack
            | Outcome::Recorded
            | Outcome::Status
            | Outcome::Promoted
            | Outcome::RolloutStarted
            | Outcome::RolloutStep
            | Outcome::RolloutPaused
            | Outcome::RolloutPromoted
            | Outcome::RolloutAborted
            | Outcome::Recovered
            | Outcome::Swept
            | Outcome::Done
            | Outcome::Ignored => Self::DONE,
        }
    }

    /// Returns the exit code for the doctor's worst finding.
    pub(crate) fn for_level(level: Level) -> Self {
        match level {
            Level::Ok => Self::DONE,
            Level::Warning => Self::WARNINGS,
            Level::NotChecked => Self(9),
            Level::Fault => Self(6),
        }
    }
}

/// An error before there is a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line or the environment is invalid.
    #[error("{0}")]
    Usage(String),
    /// The operator declined the confirmation.
    #[error("{0}")]
    Declined(String),
    /// The stage is not protected.
    #[error("{0}")]
    Stage(String),
    /// There are no credentials, or they do not allow the call.
    #[error("{0}")]
    Access(String),
    /// The function does not exist, or is not an apigw-rollback function.
    #[error("{0}")]
    Function(String),
    /// The reader of standard output stopped reading. Not an error of the tool, so it prints nothing.
    #[error("the reader of the output stopped reading")]
    ReaderGone,
    /// Standard output cannot be written.
    #[error("{0}")]
    Output(String),
    /// Any other failure of a call to AWS.
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
            Self::ReaderGone => Exit::READER_GONE,
            Self::Output(_) | Self::Failed(_) => Exit::FAILED,
        }
    }

    /// Returns the error as the document that `--format json` prints.
    pub(crate) fn as_json(&self) -> Value {
        json!({"schema": 1, "error": self.to_string(), "exit": self.exit().0})
    }

    /// Returns the error as a finding of the doctor, whose checks it prevents; `None` if the output itself failed.
    pub(crate) fn as_finding(&self) -> Option<Finding> {
        let (check, level) = match self {
            Self::Usage(_) => ("settings", Level::Fault),
            Self::Stage(_) => ("stages", Level::Fault),
            Self::Declined(_) | Self::Function(_) => ("function", Level::Fault),
            Self::Access(_) | Self::Failed(_) => ("function", Level::NotChecked),
            Self::ReaderGone | Self::Output(_) => return None,
        };
        Some(Finding { check, level, stage: None, message: self.to_string(), next: String::new() })
    }

    /// Describes a failed call to AWS, and what to do about it.
    pub(crate) fn of(error: &CloudError, region: &str) -> Self {
        let stale =
            ["ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"];
        match error.code.as_str() {
            "NoCredentials" => Self::Access(format!(
                "no credentials were found: set AWS_PROFILE, give --profile, or sign in as you do for the AWS CLI ({})",
                error.message
            )),
            code if stale.contains(&code) => Self::Access(format!(
                "the credentials are invalid or have expired: sign in again ({code}: {})",
                error.message
            )),
            _ if error.is_denial() => Self::Access(format!(
                "you are not allowed to call {} on `{}`: allow it for your own user or role ({}: {})",
                error.operation, error.subject, error.code, error.message
            )),
            "NoAnswer" | "Deadline" => Self::Failed(format!(
                "AWS does not answer in the Region `{region}`: check the name of the Region and your network ({}: {})",
                error.operation, error.message
            )),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// What the operator does about a denied call. The report's own advice is about the function's role.
pub(crate) const YOURS: &str = "allow this call for your own user or role, or sign in again; docs/command-line.md lists the permissions that the tool needs";

/// Returns whether AWS denied a call to the operator. The report has only the advice for the function's role.
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
