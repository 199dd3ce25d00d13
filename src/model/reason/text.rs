//! The sentence of each reason.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{Reason, stamp};
use crate::model::cloud_error::CloudError;

impl Reason {
    /// Returns the reason for doing nothing about a stage that the settings do not name and that the role may not read.
    #[must_use]
    pub fn not_readable(api: &str, stage: &str, error: &CloudError) -> Self {
        Self::NotProtected(format!(
            "stage `{stage}` of API `{api}` is not in PROTECTED_STAGES, and the function is not allowed to read it: {error}"
        ))
    }
}

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "a table with a row for each reason")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what)
            | Self::NotAnAlarm(what)
            | Self::NoStage(what)
            | Self::AmbiguousTarget(what)
            | Self::NotProtected(what)
            | Self::HeldByOperator(what)
            | Self::Cooldown(what)
            | Self::NotProven(what)
            | Self::NotPinned(what)
            | Self::CannotRollOut(what)
            | Self::RolloutRunning(what)
            | Self::NoRollout(what)
            | Self::RolloutWaits(what)
            | Self::NotASibling(what)
            | Self::SiblingIncident(what)
            | Self::SiblingKnownGood(what)
            | Self::SiblingUnmatched(what)
            | Self::SiblingElsewhere(what)
            | Self::NotRecordable(what) => f.write_str(what),
            Self::PartMissing(what) => {
                write!(f, "components of the release are missing: {}", what.join("; "))
            }
            Self::PartShadowed(what) => {
                write!(f, "routing rules override components of the release: {}", what.join("; "))
            }
            Self::CodeDeployRunning(aliases) => {
                write!(f, "a running CodeDeploy deployment moves {}", aliases.join(", "))
            }
            Self::AutoDeploy(stage) => {
                write!(f, "AutoDeploy is on for {stage}, so API Gateway accepts no other deployment")
            }
            Self::ManagedStage(stage) => {
                write!(f, "API Gateway manages {stage} (quick create), so it cannot be changed")
            }
            Self::NotAStateChange(what) => {
                write!(f, "the event reports a `{what}`, not a change of the alarm's own state")
            }
            Self::Suppressed(by) => write!(f, "the alarm's actions are suppressed by `{by}`"),
            Self::Muted(by) => write!(f, "the mute rule `{by}` mutes the alarm's actions"),
            Self::NotInAlarm(state) => write!(f, "the alarm is {state}"),
            Self::NotApiGateway(namespaces) => {
                write!(f, "the alarm watches metrics of {} and names no stage", namespaces.join(", "))
            }
            Self::WrongAccount { theirs, ours } => {
                write!(f, "the alarm belongs to account `{theirs}`, but this function belongs to `{ours}`")
            }
            Self::WrongRegion { theirs, ours } => {
                write!(f, "the alarm belongs to Region `{theirs}`, but this function belongs to `{ours}`")
            }
            Self::NoDatapoints => f.write_str(
                "the alarm has too few datapoints: it fired only because missing data counts as breaching",
            ),
            Self::Stale { changed_at, now, max_age_seconds } => {
                f.write_str(&stale(*changed_at, *now, *max_age_seconds))
            }
            Self::AlarmCleared { alarm, state } => write!(f, "the alarm `{alarm}` is now {state}"),
            Self::AlarmNotWired { alarm } => {
                write!(
                    f,
                    "the alarm `{alarm}` neither notifies the function's topic nor invokes the function"
                )
            }
            Self::AlarmNotAllowed { alarm, list } => write!(f, "{list} does not allow the alarm `{alarm}`"),
            Self::AlarmUnknown { alarm, why } => write!(f, "the alarm `{alarm}` {why}"),
            Self::AlarmUnreadable { alarm, why } => {
                write!(f, "the alarm `{alarm}` cannot be read in full: {why}")
            }
            Self::AlarmActionsDisabled { alarm } => {
                write!(f, "the actions of the alarm `{alarm}` are disabled")
            }
            Self::NoKnownGood { parameter, why } => write!(f, "the parameter `{parameter}` {why}"),
            Self::AlreadyKnownGood { deployment, version, by } => {
                write!(
                    f,
                    "the stage already serves its known-good deployment `{deployment}` (version {version})"
                )?;
                by.as_ref().map_or(Ok(()), |by| write!(f, ": {by}"))
            }
            Self::ChangedAfterAlarm { changed_at, alarm_at } => write!(
                f,
                "the stage changed at {}, after the alarm fired at {}",
                stamp(*changed_at),
                stamp(*alarm_at)
            ),
            Self::BeganBeforeRelease { alarm, began, live_since } => write!(
                f,
                "the data of the alarm `{alarm}` breaches its threshold since {}, but the release went live at {}",
                stamp(*began),
                stamp(*live_since)
            ),
            Self::NotThisRelease { alarm, finding } => {
                write!(f, "the alarm `{alarm}` is not about the live release: {finding}")
            }
            Self::NotDecided { alarm, finding } => write!(
                f,
                "the alarm `{alarm}` fired, but the requests do not convict the live release: {}",
                finding.as_deref().unwrap_or("they could not be counted")
            ),
            Self::OutsideWindow { live_since, window_seconds } => write!(
                f,
                "the release has been live since {}, longer than the rollback window of {window_seconds} s",
                stamp(*live_since)
            ),
            Self::IrreversibleRelease { deployment } => {
                write!(f, "the rollback would undo an irreversible release (deployment `{deployment}`)")
            }
            Self::NotRecovered { alarm, rolled_back_at } => write!(
                f,
                "the alarm `{alarm}` is still in ALARM, although the stage was rolled back at {}",
                stamp(*rolled_back_at)
            ),
            Self::KnownGoodMissing { deployment, parameter, version, why } => write!(
                f,
                "the known-good deployment `{deployment}` (parameter `{parameter}`, version {version}) {why}"
            ),
            Self::KnownGoodUnusable { parameter, fault } => write!(f, "the parameter `{parameter}` {fault}"),
            Self::StageMissing(stage) => {
                write!(f, "{stage} is protected, but API Gateway has no such stage")
            }
            Self::Unwatched(causes) => {
                write!(f, "no alarm would call the function for this stage: {}", causes.join("; "))
            }
            Self::AlarmsWithFaults(faults) => f.write_str(&faults.join("; ")),
            Self::ParametersNearlyFull { used, most } => write!(
                f,
                "the records use {used} parameters, and an account can have {most} in a Region; when they are used up, a \
                 rollback leaves no incident"
            ),
            Self::ObserveMode { deployment } => {
                write!(
                    f,
                    "in enforce mode, the function would roll the stage back to deployment `{deployment}`"
                )
            }
        }
    }
}

fn stale(changed_at: Option<DateTime<Utc>>, now: DateTime<Utc>, max_age_seconds: i64) -> String {
    let Some(at) = changed_at else {
        return "the alarm's state change has no readable time".to_owned();
    };
    let age = now.signed_duration_since(at).num_seconds();
    format!(
        "the alarm changed its state at {}, {age} s before this run ({}); the limit is {max_age_seconds} s",
        stamp(at),
        stamp(now)
    )
}
