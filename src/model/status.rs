//! The state of a stage as `status` and `history` report it: data for the JSON answer and for the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::admission::Admission;
use super::alarm::State;
use super::plan::Plan;
use super::reason::Reason;
use super::records::{Candidate, Hold, Record, RollbackEntry};
use super::release::Release;
use super::rollout::Rollout;
use super::sibling::SiblingIncident;

/// The state of one stage, as `status` reports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageStatus {
    /// The live release; `None` if API Gateway has no such stage.
    pub live: Option<Live>,
    /// The known-good record.
    pub known_good: KnownGoodStatus,
    /// The recorded candidate.
    pub candidate: Option<CandidateStatus>,
    /// Why the live release is not known-good yet, as the last sweep found; `None` if it is, or if no sweep has seen it.
    pub not_yet: Option<NotYetStatus>,
    /// The hold, unless it has ended.
    pub hold: Option<Hold>,
    /// The latest rollbacks, oldest first.
    pub rollbacks: Vec<RollbackEntry>,
    /// The latest incidents of siblings, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<SiblingIncident>,
    /// The versions of the known-good record, newest first.
    pub history: Vec<Version>,
    /// The pin; `None` if there is no parked stage.
    pub pin: Option<PinStatus>,
    /// The alarms that name the stage.
    pub alarms: Vec<AlarmStatus>,
    /// The alarms that may act on the stage.
    pub admission: Admission,
    /// Whether the values of stage variables leave the function in notifications, events, the log and the hook's input.
    pub shows_variables: bool,
    /// The rollout that is running or paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The effect of an alarm that fires now.
    pub alarm_now: AlarmNowStatus,
    /// Whether the settings list the stage.
    pub configured: bool,
}

/// A rollout, as `rollout-status` reports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutStatus {
    /// The rollout.
    pub rollout: Rollout,
    /// How many requests the canary has answered in the current step; `None` if they could not be counted, or at the end.
    pub requests: Option<u64>,
}

/// The live release of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The release.
    pub release: Release,
    /// When the stage was last changed.
    pub updated_at: Option<DateTime<Utc>>,
}

/// The known-good record of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum KnownGoodStatus {
    /// A usable record.
    Found {
        /// The parameter's name.
        parameter: String,
        /// The parameter's version.
        version: i64,
        /// The record.
        record: Box<Record>,
    },
    /// There is no record.
    Missing {
        /// The parameter's name.
        parameter: String,
        /// A sentence that says so.
        missing: String,
    },
    /// The record is unusable.
    Unusable {
        /// The parameter's name.
        parameter: String,
        /// Why: the end of a sentence that begins with the parameter.
        unusable: String,
    },
}

impl KnownGoodStatus {
    /// Returns the version and the record, if usable.
    #[must_use]
    pub fn record(&self) -> Option<(i64, &Record)> {
        match self {
            Self::Found { version, record, .. } => Some((*version, record)),
            Self::Missing { .. } | Self::Unusable { .. } => None,
        }
    }
}

/// Why the live release is not known-good yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotYetStatus {
    /// The reason, in words.
    pub why: String,
    /// The time of the sweep that found it.
    pub swept_at: DateTime<Utc>,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CandidateStatus {
    /// When its bake time ends.
    pub bakes_until: DateTime<Utc>,
    /// The record.
    pub candidate: Candidate,
    /// Whether the stage still serves it.
    pub is_live: bool,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PinStatus {
    /// The parked stage holds this deployment.
    Holds {
        /// The deployment.
        deployment: String,
        /// Whether it rejects every request.
        closed: bool,
    },
    /// A stage with the parked stage's name exists, but the function did not create it.
    Foreign {
        /// A sentence that says so.
        foreign: String,
    },
}

/// An alarm that names the stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlarmStatus {
    /// The name.
    pub name: String,
    /// The state.
    pub state: State,
    /// Since when it has this state.
    pub since: Option<DateTime<Utc>>,
    /// Whether its actions are enabled.
    pub actions_enabled: bool,
    /// Whether one of its actions notifies our topic or invokes our function, so that it guards the stage.
    pub calls_this_function: bool,
    /// What a guarding alarm says about the stage and its live release: `accuses`, `quiet`, `abstains` or `unreadable`.
    pub testimony: Option<&'static str>,
    /// The code of the reason for which it accuses nobody.
    pub reason: Option<&'static str>,
    /// The reason in words.
    pub why: Option<String>,
}

/// The effect of an alarm that fires now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmNowStatus {
    /// The rollback of this plan.
    Act(Box<Plan>),
    /// Nothing, for this reason.
    Hold(Reason),
}

impl Serialize for AlarmNowStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Json<'a> {
            Act { verdict: &'static str, plan: &'a Plan },
            Hold { verdict: &'static str, reason: &'static str, why: String },
        }
        let json = match self {
            Self::Act(plan) => Json::Act { verdict: "act", plan },
            Self::Hold(reason) => {
                Json::Hold { verdict: reason.kind().word(), reason: reason.code(), why: reason.to_string() }
            }
        };
        json.serialize(serializer)
    }
}

/// A version of the known-good record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Version {
    /// A usable version.
    Usable {
        /// The version.
        version: i64,
        /// The release's deployment.
        deployment: String,
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
        /// The label of the release.
        label: Option<String>,
        /// The note for the changelog.
        note: Option<String>,
        /// The sender of the command, or `sweep`.
        who: Option<String>,
    },
    /// An unusable version.
    Unusable {
        /// The version.
        version: i64,
        /// Why: the end of a sentence that begins with the parameter.
        unusable: String,
    },
}

/// An entry of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HistoryEntry {
    /// A version of the known-good record.
    Version(Version),
    /// A rollback.
    Rollback {
        /// The entry on the stage's list of rollbacks.
        rollback: RollbackEntry,
    },
}
