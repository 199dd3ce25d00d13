//! The observed state: the facts that one decision needs.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};

use super::admission::Admission;
use super::alarm::Origin;
use super::cloud_error::Fetched;
use super::component::{AliasRef, LiveAlias, LiveMapping, MappingRef};
use super::guarding_alarm::GuardingAlarm;
use super::parameter_names::ParameterNames;
use super::policy::PolicyOverrides;
use super::protocol::Protocol;
use super::record_fault::RecordFault;
use super::records::{self, Candidate, Hold, LastSweep, Parameter, Record, Rollbacks, Stored};
use super::release::Release;
use super::rollout::{Rollout, RolloutState};
use super::stage::{Deployment, LiveStage, StageRef};
use super::traffic::Traffic;

/// The facts that one decision needs, as read from AWS.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When the last of these facts was read.
    pub at: DateTime<Utc>,
    /// The stage in question.
    pub stage: StageRef,
    /// Whether the settings list the stage.
    pub configured: bool,
    /// The present state of the stage; `None` if API Gateway has no such stage.
    pub live: Option<LiveStage>,
    /// When the read of the stage was sent.
    pub seen_at: DateTime<Utc>,
    /// The stage's records in Parameter Store.
    pub on_record: OnRecord,
    /// The names by which alarms know the stage's API, besides its id.
    pub api_names: Vec<String>,
    /// The APIs that the alarm's name for the API can mean, if there are several.
    pub namesakes: Vec<String>,
    /// The account and Region of the function.
    pub home: Origin,
    /// The alarms that may act on the stage.
    pub admission: Admission,
    /// The present state of the alarm that triggered the run; `None` if unknown, or if no alarm did.
    pub alarm: Option<GuardingAlarm>,
    /// The components of the release.
    pub components: LiveComponents,
    /// The requests of the live release and of the one before it, if they were read.
    pub traffic: Option<Fetched<Traffic>>,
    /// The last sweep, if it was read: `status` shows it, and it says whether the known-good release was live then.
    pub last_sweep: Option<LastSweep>,
}

/// A stage's records in Parameter Store.
#[derive(Clone, Debug)]
pub struct OnRecord {
    /// The known-good release.
    pub known_good: KnownGood,
    /// The recorded candidate, which need not be live.
    pub candidate: Option<Candidate>,
    /// The operator's hold, even if it has ended.
    pub hold: Option<Hold>,
    /// The stage's policy.
    pub policy: PolicyOverrides,
    /// The latest rollbacks.
    pub rollbacks: Rollbacks,
    /// The last rollout, with the version of its parameter; or a sentence, if it cannot be read. It keeps no alarm from
    /// acting.
    pub rollout: Result<Option<(i64, Box<Rollout>)>, String>,
    /// A sentence about a parameter that cannot be read, if any: the stage then counts as held.
    pub unreadable: Option<String>,
}

/// The known-good record in Parameter Store.
#[derive(Clone, Debug)]
pub enum KnownGood {
    /// There is no record.
    None {
        /// The name it would have.
        parameter: String,
    },
    /// There is a record, but it is unusable.
    Unusable {
        /// The parameter's name.
        parameter: String,
        /// Why it is unusable.
        fault: RecordFault,
    },
    /// A usable record.
    Found {
        /// The parameter's name.
        parameter: String,
        /// The parameter's version.
        version: i64,
        /// The record.
        record: Box<Record>,
    },
}

impl OnRecord {
    /// Parses a stage's parameters, and ignores those of other stages.
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
                Err(fault) => KnownGood::Unusable { parameter, fault },
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
            rollout: value(&names.rollout(stage)).map(rollout).transpose(),
            unreadable,
        }
    }

    /// Returns the version and the record of the known-good release, if there is a usable one.
    #[must_use]
    pub fn good(&self) -> Option<(i64, &Record)> {
        match &self.known_good {
            KnownGood::Found { version, record, .. } => Some((*version, record)),
            KnownGood::None { .. } | KnownGood::Unusable { .. } => None,
        }
    }

    /// Returns the rollout that is running or paused, if there is one.
    #[must_use]
    pub fn running(&self) -> Option<&Rollout> {
        let (_, rollout) = self.rollout.as_ref().ok()?.as_ref()?;
        Some(&**rollout).filter(|rollout| !rollout.state.has_ended())
    }

    /// Whether a rollout needs a run: it is running or paused, or people may not know its end.
    #[must_use]
    pub fn has_open_rollout(&self) -> bool {
        let last = self.rollout.as_ref().ok().and_then(Option::as_ref);
        last.is_some_and(|(_, rollout)| !rollout.state.has_ended() || !rollout.told)
    }

    /// Ignores a stage's last change if it was a step of the rollout: such a change is not a fix.
    #[must_use]
    pub fn without_own_step(&self, live: LiveStage) -> LiveStage {
        let since = self.running().and_then(|rollout| rollout.live_since(&live));
        LiveStage { updated_at: since.or(live.updated_at), ..live }
    }

    /// Returns the label of a release: that of the record if it is the known-good release, otherwise that of the candidate.
    #[must_use]
    pub fn label(&self, release: &Release) -> Option<&str> {
        let of_record = self.record_of(release).and_then(|record| record.label.as_deref());
        of_record.or_else(|| self.candidate_for(release)?.label.as_deref())
    }

    /// Returns the note on a release, as [`Self::label`] does its label.
    #[must_use]
    pub fn note(&self, release: &Release) -> Option<&str> {
        let of_record = self.record_of(release).and_then(|record| record.note.as_deref());
        of_record.or_else(|| self.candidate_for(release)?.note.as_deref())
    }

    /// Returns whether a live release is the known-good one, as far as its components were read.
    #[must_use]
    pub fn is_known_good(&self, live: &Release) -> bool {
        self.record_of(live).is_some()
    }

    fn record_of(&self, release: &Release) -> Option<&Record> {
        let good = self.good().map(|(_, record)| record);
        good.filter(|record| record.release.over(release) == *release)
    }

    /// Returns the candidate if it is this release.
    #[must_use]
    pub fn candidate_for(&self, release: &Release) -> Option<&Candidate> {
        self.candidate.as_ref().filter(|candidate| candidate.release == *release)
    }

    /// Returns the candidate for the live release: the recorded one, not older than the stage's last change or its return, or a
    /// new one. A new one keeps the mark of an irreversible release that a rollback from it would undo as well.
    #[must_use]
    pub fn candidate_or_new(&self, protocol: Protocol, live: &LiveStage, now: DateTime<Utc>) -> Candidate {
        let (label, note) = self.promoted_as(&live.release);
        self.candidate_for(&live.release).cloned().map_or_else(
            || Candidate {
                irreversible: self.irreversible(&live.release).is_some(),
                label,
                note,
                ..Candidate::new(protocol, &live.release, now)
            },
            |known| known.back(now).unchanged_since(live.updated_at),
        )
    }

    /// Returns the candidate as gone, if another release is live and only components differ: when the candidate comes back,
    /// the stage's last change does not show that it was away. The known-good release has nothing to prove any more.
    #[must_use]
    pub fn gone_for(&self, live: &Release) -> Option<Candidate> {
        let candidate = self.candidate.as_ref().filter(|one| !one.gone)?;
        let release = &candidate.release;
        let is_gone = release != live && release.in_stage() == live.in_stage();
        let is_good = self.good().is_some_and(|(_, record)| record.release == *release);
        (is_gone && !is_good).then(|| Candidate { gone: true, ..candidate.clone() })
    }

    /// Returns the label and the note of a release that the last rollout has promoted.
    fn promoted_as(&self, live: &Release) -> (Option<String>, Option<String>) {
        let last = self.rollout.as_ref().ok().and_then(Option::as_ref).map(|(_, rollout)| rollout);
        let last = last.filter(|rollout| rollout.state == RolloutState::Promoted);
        match last.filter(|rollout| rollout.promoted().over(live) == *live) {
            Some(rollout) => (rollout.label.clone(), rollout.note.clone()),
            None => (None, None),
        }
    }

    /// Returns the release marked irreversible that a rollback from the live release would undo: the live release itself, or
    /// a candidate since the last record, because its changes of the data remain. If an operator has rolled that candidate
    /// back with force, its mark no longer counts.
    #[must_use]
    pub fn irreversible(&self, live: &Release) -> Option<&Candidate> {
        let marked = self.candidate.as_ref().filter(|candidate| candidate.irreversible)?;
        (marked.release == *live || self.mark_since_record().is_some()).then_some(marked)
    }

    /// Whether a new record of the live release is marked irreversible if nothing else is said: its record was, or a release
    /// is that a rollback from it would undo. The way back from later releases then ends at this record.
    #[must_use]
    pub fn keeps_mark(&self, live: &Release) -> bool {
        self.record_of(live).is_some_and(|record| record.irreversible) || self.irreversible(live).is_some()
    }

    /// Returns the candidate that was marked irreversible after the last record, unless an operator rolled it back with force.
    #[must_use]
    pub fn mark_since_record(&self) -> Option<&Candidate> {
        let marked = self.candidate.as_ref().filter(|candidate| candidate.irreversible)?;
        let is_recorded = self.good().is_some_and(|(_, record)| record.recorded_at > marked.first_seen);
        (!is_recorded && !self.rollbacks.quarantines(&marked.release)).then_some(marked)
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

fn rollout(found: &Parameter) -> Result<(i64, Box<Rollout>), String> {
    let rollout =
        records::parse(&found.value).map_err(|why| format!("the parameter `{}` {why}", found.name))?;
    Ok((found.version, Box::new(rollout)))
}

/// Parses a record. Refuses one of another stage, and one that no rollback could restore.
///
/// # Errors
/// [`RecordFault`] if it is neither.
pub fn usable(value: &str, stage: &StageRef, region: &str) -> Result<Record, RecordFault> {
    let record: Record = records::parse(value)?;
    if record.stage != *stage {
        return Err(RecordFault::Foreign(format!("belongs to {}, not to {stage}", record.stage)));
    }
    if record.region != region {
        let why = format!("belongs to Region `{}`, not to `{region}`", record.region);
        return Err(RecordFault::Foreign(why));
    }
    let release = &record.release;
    if release.deployment.is_empty() || release.canary.is_some() {
        let why = "has no deployment, or has a canary, so it is not a complete release";
        return Err(RecordFault::Damaged(why.to_owned()));
    }
    if let Some(alias) = release.aliases.iter().find(|(_, target)| !target.weights.is_empty()) {
        let why =
            format!("has the alias `{}` with weighted traffic, so it is not a complete release", alias.0);
        return Err(RecordFault::Damaged(why));
    }
    if let Some(alias) = release.aliases.keys().find(|alias| alias.region().is_some_and(|of| of != region)) {
        let why = format!("names the alias `{alias}`, which is not in Region `{region}`");
        return Err(RecordFault::Foreign(why));
    }
    Ok(record)
}

/// The state of the recorded deployment before the run changes anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeploymentNow {
    /// The run did not read it. A plan with a single call needs no check: API Gateway refuses that call as a whole.
    #[default]
    NotAsked,
    /// It exists, and a stage can serve it.
    There,
    /// It does not exist.
    Gone,
    /// It exists, but no stage can serve it in this status.
    Undeployed(String),
}

impl DeploymentNow {
    /// Reads the answer of `GetDeployment`.
    #[must_use]
    pub fn from_answer(found: Option<&Deployment>) -> Self {
        match found {
            None => Self::Gone,
            Some(Deployment { undeployed: Some(status), .. }) => Self::Undeployed(status.clone()),
            Some(Deployment { undeployed: None, .. }) => Self::There,
        }
    }
}

/// The present state of the components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveComponents {
    /// The listed aliases that exist.
    pub aliases: BTreeMap<AliasRef, LiveAlias>,
    /// The listed mappings that exist.
    pub mappings: BTreeMap<MappingRef, LiveMapping>,
    /// The components that are missing.
    pub missing: Vec<MissingComponent>,
    /// The listed mappings that do not get all the requests of their path, each with the end of a sentence.
    pub overridden: BTreeMap<MappingRef, String>,
    /// The listed aliases that a running CodeDeploy deployment moves.
    pub moving: Vec<AliasRef>,
    /// The state of the recorded deployment.
    pub deployment: DeploymentNow,
}

/// A component of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// A Lambda alias.
    Alias(AliasRef),
    /// A mapping of a custom domain.
    Mapping(MappingRef),
}

/// A component that does not exist, or that a rollback could not restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingComponent {
    /// The component.
    pub component: Component,
    /// The end of a sentence that begins with the component.
    pub why: String,
    /// Whether only its recorded target is missing. The live release can then still be recorded.
    pub recorded: bool,
}

impl fmt::Display for MissingComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.component {
            Component::Alias(alias) => write!(f, "the alias `{alias}` {}", self.why),
            Component::Mapping(mapping) => write!(f, "the mapping `{mapping}` {}", self.why),
        }
    }
}

impl LiveComponents {
    /// Sets a release's components to the live ones.
    pub fn complete(&self, release: &mut Release) {
        let aliases = self.aliases.iter().map(|(alias, live)| (alias.clone(), live.target.clone()));
        let mappings = self.mappings.iter().map(|(mapping, live)| (mapping.clone(), live.target.clone()));
        (release.aliases, release.mappings) = (aliases.collect(), mappings.collect());
    }

    /// Returns the missing components, each as a clause.
    #[must_use]
    pub fn described(&self) -> Vec<String> {
        self.missing.iter().map(ToString::to_string).collect()
    }

    /// Returns the overridden mappings, each as a clause.
    #[must_use]
    pub fn overridden_described(&self) -> Vec<String> {
        self.overridden.iter().map(|(mapping, why)| format!("the mapping `{mapping}` {why}")).collect()
    }

    /// Adds a component that does not exist.
    pub fn lacks(&mut self, component: Component, why: &str) {
        self.missing.push(MissingComponent { component, why: why.to_owned(), recorded: false });
    }

    /// Adds a component whose recorded target does not exist.
    pub fn lost(&mut self, component: Component, why: String) {
        self.missing.push(MissingComponent { component, why, recorded: true });
    }
}

/// The first words of a parked stage's description. The function never changes a stage without them.
pub const MARK: &str = "Parked by apigw-rollback";

/// What to do about a stage that has the parked stage's name and that the function did not create. API Gateway cannot rename
/// a stage.
pub const FOREIGN_PIN: &str =
    "if nobody uses that stage, delete it, so that the function can create its own; otherwise set PIN to off";

/// The state of a stage's pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The parked stage holds this deployment.
    Holds {
        /// The deployment.
        deployment: String,
        /// Whether it rejects every request.
        closed: bool,
    },
    /// There is no parked stage.
    None,
    /// Another function created the parked stage: the one with its records under this prefix.
    Other(String),
    /// A stage of that name exists, but the function did not create it.
    Foreign,
}

impl Pin {
    /// Reads the state of the pin from the parked stage. `prefix` is that of this function's records. An older version of the
    /// function wrote no prefix into the description; such a pin counts as this function's.
    #[must_use]
    pub fn from_parked_stage(parked: Option<&LiveStage>, prefix: &str) -> Self {
        let Some(live) = parked else { return Self::None };
        let Some(rest) = live.description.strip_prefix(MARK) else { return Self::Foreign };
        let owner = rest.strip_prefix(" (").and_then(|rest| rest.split_once(')')).map(|(owner, _)| owner);
        match owner.filter(|owner| *owner != prefix) {
            Some(owner) => Self::Other(owner.to_owned()),
            None => Self::Holds { deployment: live.release.deployment.clone(), closed: live.closed },
        }
    }

    /// Returns the description of the parked stage that pins `stage`.
    #[must_use]
    pub fn description(stage: &StageRef, prefix: &str) -> String {
        format!(
            "{MARK} ({prefix}): keeps the known-good deployment of stage {} from being deleted. Serves no traffic.",
            stage.stage
        )
    }
}

/// Says that another function protects a stage, which this one therefore leaves alone.
#[must_use]
pub fn protected_by_other(stage: &StageRef, owner: &str) -> String {
    format!(
        "another function, with its records under `{owner}`, protects {stage}, so this one leaves it alone; if there is no \
         such function any more, delete the stage `{}`",
        stage.parked().stage
    )
}
