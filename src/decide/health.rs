//! Finds the problems that prevent a rollback of a stage, for the sweep, `status` and `doctor` alike. Pure.

use chrono::{DateTime, Utc};

use crate::model::component::AliasRef;
use crate::model::observed::{DeploymentNow, KnownGood, LiveComponents, OnRecord, Pin};
use crate::model::policy::{AutoDeploy, MissingComponents, StagePolicy};
use crate::model::record_fault::RecordFault;
use crate::model::records::Hold;
use crate::model::release::Release;
use crate::model::stage::LiveStage;

/// The facts about a stage. A fact that was not read causes no problem.
#[derive(Clone, Copy, Debug)]
pub struct StageHealth<'a> {
    /// The stage as it is now.
    pub live: &'a LiveStage,
    /// Its records in Parameter Store.
    pub on_record: &'a OnRecord,
    /// Its policy.
    pub policy: &'a StagePolicy,
    /// Whether the settings ask for a pin.
    pub pin_wanted: bool,
    /// The components of its release.
    pub components: Option<&'a LiveComponents>,
    /// The known-good deployment.
    pub deployment: Option<&'a DeploymentNow>,
    /// The pin.
    pub pin: Option<&'a Pin>,
    /// The current time.
    pub now: DateTime<Utc>,
}

/// A problem that prevents a rollback, or may prevent the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// API Gateway manages the stage (quick create).
    Managed,
    /// AutoDeploy is on. The policy says whether a rollback may switch it off.
    AutoDeploy(AutoDeploy),
    /// A parameter cannot be read. The text is a sentence.
    Unreadable(String),
    /// No release is recorded.
    NoKnownGood,
    /// The known-good record is unusable.
    UnusableKnownGood {
        /// Its parameter.
        parameter: String,
        /// Why.
        fault: RecordFault,
    },
    /// The known-good release was itself rolled back and is in quarantine.
    Quarantined(KnownGoodRelease),
    /// The known-good deployment does not exist.
    DeploymentGone(KnownGoodRelease),
    /// The known-good deployment has this status, so no stage can serve it.
    Undeployed(KnownGoodRelease, String),
    /// The known-good deployment is not pinned correctly.
    NotPinned {
        /// The deployment.
        deployment: String,
        /// The fault.
        how: Unpinned,
    },
    /// These components do not exist. The policy says whether a rollback continues without them.
    ComponentsMissing(Vec<String>, MissingComponents),
    /// Routing rules override these mappings.
    ComponentsOverridden(Vec<String>),
    /// A running CodeDeploy deployment moves these aliases.
    ComponentsMoving(Vec<AliasRef>),
    /// An operator holds the stage.
    Held(Hold),
}

/// The known-good release and the version of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGoodRelease {
    /// The release.
    pub release: Release,
    /// The version of its record.
    pub version: i64,
}

/// The fault of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// The parked stage holds the deployment, but is open to traffic.
    Open,
    /// The settings switch pinning off.
    Off,
    /// A stage with the parked stage's name exists, but the function did not create it.
    Foreign,
    /// Another function protects the stage.
    Other,
    /// No parked stage holds the deployment.
    Missing,
}

/// Returns every problem of a stage.
#[must_use]
pub fn problems(stage: &StageHealth<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(stage.on_record.unreadable.clone().map(Problem::Unreadable));
    problems.extend(known_good_problems(stage));
    problems.extend(not_pinned(stage));
    problems.extend(unchangeable(stage));
    if let Some(components) = stage.components {
        if !components.missing.is_empty() {
            problems
                .push(Problem::ComponentsMissing(components.described(), stage.policy.missing_components));
        }
        if !components.overridden.is_empty() {
            problems.push(Problem::ComponentsOverridden(components.overridden_described()));
        }
        if !components.moving.is_empty() {
            problems.push(Problem::ComponentsMoving(components.moving.clone()));
        }
    }
    let hold = stage.on_record.hold.clone().filter(|hold| hold.until > stage.now);
    problems.extend(hold.map(Problem::Held));
    problems
}

fn unchangeable(stage: &StageHealth<'_>) -> Option<Problem> {
    if stage.live.managed {
        return Some(Problem::Managed);
    }
    stage.live.auto_deploy.then_some(Problem::AutoDeploy(stage.policy.auto_deploy))
}

fn known_good_problems(stage: &StageHealth<'_>) -> Vec<Problem> {
    let (version, record) = match &stage.on_record.known_good {
        KnownGood::None { .. } => return vec![Problem::NoKnownGood],
        KnownGood::Unusable { parameter, fault } => {
            return vec![Problem::UnusableKnownGood { parameter: parameter.clone(), fault: fault.clone() }];
        }
        KnownGood::Found { version, record, .. } => (*version, record),
    };
    let good = KnownGoodRelease { release: record.release.clone(), version };
    let is_bad = stage.on_record.rollbacks.quarantines(&record.release);
    let quarantined = is_bad.then(|| Problem::Quarantined(good.clone()));
    let deployment = match stage.deployment {
        None | Some(DeploymentNow::NotAsked | DeploymentNow::There) => None,
        Some(DeploymentNow::Gone) => Some(Problem::DeploymentGone(good)),
        Some(DeploymentNow::Undeployed(status)) => Some(Problem::Undeployed(good, status.clone())),
    };
    quarantined.into_iter().chain(deployment).collect()
}

fn not_pinned(stage: &StageHealth<'_>) -> Option<Problem> {
    let (_, record) = stage.on_record.good()?;
    let wanted = &record.release.deployment;
    let how = match stage.pin? {
        Pin::Holds { deployment, closed: true } if deployment == wanted => return None,
        Pin::Holds { deployment, closed: false } if deployment == wanted => Unpinned::Open,
        Pin::Other(_) => Unpinned::Other,
        Pin::Holds { .. } | Pin::None | Pin::Foreign if !stage.pin_wanted => Unpinned::Off,
        Pin::Foreign => Unpinned::Foreign,
        Pin::Holds { .. } | Pin::None => Unpinned::Missing,
    };
    Some(Problem::NotPinned { deployment: wanted.clone(), how })
}
