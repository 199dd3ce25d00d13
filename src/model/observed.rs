//! The world as far as one decision needs it: what the read phase found.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};

use super::alarm::AlarmNow;
use super::component::{AliasRef, LiveAlias, LiveMapping, MappingRef};
use super::parameter_names::ParameterNames;
use super::policy::PolicyOverrides;
use super::records::{self, Candidate, Hold, Parameter, Record, Rollbacks, Stored};
use super::release::Release;
use super::stage::{Deployment, LiveStage, StageRef};

/// The world, as far as one decision needs it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When the last of it was read.
    pub at: DateTime<Utc>,
    /// The stage in question.
    pub stage: StageRef,
    /// Whether the settings name it.
    pub configured: bool,
    /// The stage as it is; `None` where API Gateway has none.
    pub live: Option<LiveStage>,
    /// What Parameter Store has about it.
    pub on_record: OnRecord,
    /// The alarm that called, as it is now; `None` where unknown, or where none called.
    pub alarm: Option<AlarmNow>,
    /// What of the release is not in the stage.
    pub components: LiveComponents,
}

/// What Parameter Store has about a stage.
#[derive(Clone, Debug)]
pub struct OnRecord {
    /// The known-good release.
    pub known_good: KnownGood,
    /// The release that was live and unproven when last looked at.
    pub candidate: Option<Candidate>,
    /// An operator's hold, also one that has ended.
    pub hold: Option<Hold>,
    /// The stage's own settings.
    pub policy: PolicyOverrides,
    /// The latest rollbacks.
    pub rollbacks: Rollbacks,
    /// A parameter that cannot be read, and why: the stage counts as held.
    pub unreadable: Option<String>,
}

/// What Parameter Store has on the known-good release.
#[derive(Clone, Debug)]
pub enum KnownGood {
    /// There is no record.
    None {
        /// Where it would be.
        parameter: String,
    },
    /// There is one, and it cannot be used.
    Unusable {
        /// Where it is.
        parameter: String,
        /// Why not: a sentence's end.
        why: String,
    },
    /// A usable record.
    Found {
        /// Where it is.
        parameter: String,
        /// The parameter's version.
        version: i64,
        /// The record.
        record: Box<Record>,
    },
}

impl OnRecord {
    /// What these parameters say about a stage; those of other stages are passed over. No I/O.
    #[must_use]
    pub fn from_parameters(
        names: &ParameterNames,
        region: &str,
        stage: &StageRef,
        found: &[Parameter],
    ) -> Self {
        let value = |name: &str| found.iter().find(|found| found.name == name);
        let parameter = names.known_good(stage);
        let known_good = match value(&parameter) {
            Some(found) => match usable(&found.value, stage, region) {
                Ok(record) => {
                    KnownGood::Found { parameter, version: found.version, record: Box::new(record) }
                }
                Err(why) => KnownGood::Unusable { parameter, why },
            },
            None => KnownGood::None { parameter },
        };
        let mut unreadable = None;
        Self {
            known_good,
            candidate: read(value(&names.candidate(stage)), &mut unreadable),
            hold: read(value(&names.hold(stage)), &mut unreadable),
            policy: read(value(&names.policy(stage)), &mut unreadable).unwrap_or_default(),
            rollbacks: read(value(&names.rollbacks(stage)), &mut unreadable).unwrap_or_default(),
            unreadable,
        }
    }

    /// The version and the record of the known-good release, where there is a usable one.
    #[must_use]
    pub fn good(&self) -> Option<(i64, &Record)> {
        match &self.known_good {
            KnownGood::Found { version, record, .. } => Some((*version, record)),
            KnownGood::None { .. } | KnownGood::Unusable { .. } => None,
        }
    }

    /// The candidate, where it is this release.
    #[must_use]
    pub fn candidate_for(&self, release: &Release) -> Option<&Candidate> {
        self.candidate.as_ref().filter(|candidate| candidate.release == *release)
    }
}

fn read<T: Stored>(found: Option<&Parameter>, unreadable: &mut Option<String>) -> Option<T> {
    let found = found?;
    match records::parse(&found.value) {
        Ok(value) => Some(value),
        Err(why) => {
            *unreadable = Some(format!("the parameter `{}` {why}", found.name));
            None
        }
    }
}

/// Reads a record and refuses one that is not this stage's own or could not be put back as it is.
///
/// # Errors
/// A sentence's end for "the parameter X ...".
pub fn usable(value: &str, stage: &StageRef, region: &str) -> Result<Record, String> {
    let record: Record = records::parse(value)?;
    if record.stage != *stage {
        return Err(format!("belongs to {}, not to {stage}", record.stage));
    }
    if record.region != region {
        return Err(format!("belongs to region `{}`, not to `{region}`", record.region));
    }
    let release = &record.release;
    if release.deployment.is_empty() || release.canary.is_some() {
        return Err("names no deployment, or has a canary, so it is no whole release".to_owned());
    }
    if let Some(alias) = release.aliases.iter().find(|(_, target)| !target.weights.is_empty()) {
        return Err(format!("names the alias `{}` with shared traffic, so it is no whole release", alias.0));
    }
    if let Some(alias) = release.aliases.keys().find(|alias| alias.region().is_some_and(|of| of != region)) {
        return Err(format!("names the alias `{alias}`, which is not of region `{region}`"));
    }
    Ok(record)
}

/// What is known of the recorded deployment before anything is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeploymentNow {
    /// It was not asked for: the one call that sets it would be refused whole.
    #[default]
    NotAsked,
    /// A stage can serve it.
    There,
    /// It does not exist.
    Gone,
    /// It exists with this status, in which no stage can serve it.
    Undeployed(String),
}

impl DeploymentNow {
    /// What the answer of `GetDeployment` says.
    #[must_use]
    pub fn from_answer(found: Option<&Deployment>) -> Self {
        match found {
            None => Self::Gone,
            Some(Deployment { undeployed: Some(status), .. }) => Self::Undeployed(status.clone()),
            Some(Deployment { undeployed: None, .. }) => Self::There,
        }
    }
}

/// The components as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveComponents {
    /// The listed aliases that exist.
    pub aliases: BTreeMap<AliasRef, LiveAlias>,
    /// The listed mappings that exist.
    pub mappings: BTreeMap<MappingRef, LiveMapping>,
    /// What does not exist.
    pub missing: Vec<MissingComponent>,
    /// The listed aliases that a running CodeDeploy deployment moves.
    pub moving: Vec<AliasRef>,
    /// The recorded deployment.
    pub deployment: DeploymentNow,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// An alias.
    Alias(AliasRef),
    /// A mapping.
    Mapping(MappingRef),
}

/// A part that does not exist, or could not be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingComponent {
    /// Which.
    pub part: Component,
    /// What is missing.
    pub why: String,
    /// Whether only what is recorded is gone, which does not keep the live release from being recorded.
    pub recorded: bool,
}

impl fmt::Display for MissingComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Component::Alias(alias) => write!(f, "the alias `{alias}` {}", self.why),
            Component::Mapping(mapping) => write!(f, "the mapping `{mapping}` {}", self.why),
        }
    }
}

impl LiveComponents {
    /// Fills in what of a release is not in its stage.
    pub fn complete(&self, release: &mut Release) {
        let aliases = self.aliases.iter().map(|(alias, live)| (alias.clone(), live.target.clone()));
        let mappings = self.mappings.iter().map(|(mapping, live)| (mapping.clone(), live.target.clone()));
        (release.aliases, release.mappings) = (aliases.collect(), mappings.collect());
    }

    /// What is missing, in words.
    #[must_use]
    pub fn described(&self) -> Vec<String> {
        self.missing.iter().map(ToString::to_string).collect()
    }

    /// Notes a component that does not exist.
    pub fn lacks(&mut self, part: Component, why: &str) {
        self.missing.push(MissingComponent { part, why: why.to_owned(), recorded: false });
    }

    /// Notes that what is recorded of a component does not exist.
    pub fn lost(&mut self, part: Component, why: String) {
        self.missing.push(MissingComponent { part, why, recorded: true });
    }
}

/// How a parked stage's description begins; a stage without it is somebody else's and left alone.
pub const MARK: &str = "Parked by apigw-rollback";

/// What is known of a stage's pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It holds this deployment, closed to traffic or not.
    Holds {
        /// The deployment.
        deployment: String,
        /// Whether requests to it are refused.
        closed: bool,
    },
    /// There is no parked stage.
    None,
    /// A stage of that name exists and is not ours.
    Foreign,
}

impl Pin {
    /// What a parked stage says of the pin.
    #[must_use]
    pub fn from_parked_stage(parked: Option<&LiveStage>) -> Self {
        match parked {
            None => Self::None,
            Some(live) if !live.description.starts_with(MARK) => Self::Foreign,
            Some(live) => Self::Holds { deployment: live.release.deployment.clone(), closed: live.closed },
        }
    }
}
