//! How a stage stands: what `status` and `history` report, as data for the JSON answer and for the command line.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::alarm::State;
use super::plan::Plan;
use super::reason::Reason;
use super::records::{Candidate, Hold, Record, RollbackEntry};
use super::release::Release;

/// What `status` reports about one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageStatus {
    /// What the stage serves; `None` if API Gateway has no such stage.
    pub live: Option<Live>,
    /// The known-good record.
    pub known_good: KnownGoodStatus,
    /// The candidate on record.
    pub candidate: Option<CandidateStatus>,
    /// The hold, unless it has ended.
    pub hold: Option<Hold>,
    /// The latest rollbacks, oldest first.
    pub rollbacks: Vec<RollbackEntry>,
    /// The versions of the known-good record, newest first.
    pub history: Vec<Version>,
    /// The pin; `None` if there is no parked stage.
    pub pin: Option<PinStatus>,
    /// The alarms that name the stage.
    pub alarms: Vec<AlarmStatus>,
    /// What an alarm that fired now would lead to.
    pub alarm_now: AlarmNowStatus,
    /// Whether the settings name the stage.
    pub configured: bool,
}

/// What a stage serves.
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
        /// Its parameter.
        parameter: String,
        /// Its version.
        version: i64,
        /// The record.
        record: Box<Record>,
    },
    /// There is no record.
    Missing {
        /// Its parameter.
        parameter: String,
        /// In words.
        missing: String,
    },
    /// The record is unusable.
    Unusable {
        /// Its parameter.
        parameter: String,
        /// Why: a sentence's end.
        unusable: String,
    },
}

impl KnownGoodStatus {
    /// The usable record.
    #[must_use]
    pub fn record(&self) -> Option<(i64, &Record)> {
        match self {
            Self::Found { version, record, .. } => Some((*version, record)),
            Self::Missing { .. } | Self::Unusable { .. } => None,
        }
    }
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CandidateStatus {
    /// When its bake time ends.
    pub bakes_until: DateTime<Utc>,
    /// Its record.
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
        /// Whether it refuses requests.
        closed: bool,
    },
    /// A stage of the parked stage's name exists and is not ours.
    Foreign {
        /// In words.
        foreign: String,
    },
}

/// An alarm that names the stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlarmStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when it has this state.
    pub since: Option<DateTime<Utc>>,
    /// Whether its actions run at all.
    pub actions_enabled: bool,
    /// Whether one of its actions is our topic or our function.
    pub calls_this_function: bool,
}

/// What an alarm that fired now would lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmNowStatus {
    /// This rollback.
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
    /// A usable one.
    Usable {
        /// The version.
        version: i64,
        /// The release's deployment.
        deployment: String,
        /// When it was recorded.
        recorded_at: DateTime<Utc>,
        /// The release's name for people.
        label: Option<String>,
        /// The changelog's note.
        note: Option<String>,
        /// Who recorded it.
        who: Option<String>,
    },
    /// One that cannot be used.
    Unusable {
        /// The version.
        version: i64,
        /// Why: a sentence's end.
        unusable: String,
    },
}

/// A line of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HistoryEntry {
    /// A version of the known-good record.
    Version(Version),
    /// A rollback.
    Rollback {
        /// Its entry on the stage's list.
        rollback: RollbackEntry,
    },
}
