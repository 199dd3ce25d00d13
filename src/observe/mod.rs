//! The read phase: everything a decision needs, read in one place before anything is decided.

mod components;
pub mod guarding_alarms;
pub mod lists;
pub mod resolve;

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{AlarmNow, Cloud, CloudError, LiveStage, Parameter};
use crate::config::Config;
use crate::model::records::{self, Candidate, Hold, Policy, Record, Rollbacks, Stored};
use crate::model::release::{Release, StageRef};

pub use components::{DeploymentNow, Missing, Part, PartsNow, parts, strayed};
use components::{deployment, moving};

/// The world, as far as one decision needs it.
#[derive(Clone, Debug)]
pub struct Observed {
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
    pub parts: PartsNow,
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
    pub policy: Policy,
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

/// How old a look at a stage may be when all else is read.
const STILL_FRESH: Duration = Duration::from_secs(5);

/// Reads stage, records and alarm at once: one round trip. A second one asks for what is not in the stage
/// where the release has such parts, and for the recorded deployment where it is not asked for by the one
/// call that sets it.
///
/// # Errors
/// The first call that failed; "does not exist" is no failure.
pub async fn observe<C: Cloud>(
    cloud: &C,
    config: &Config,
    stage: &StageRef,
    version: Option<i64>,
    alarm: Option<&str>,
) -> Result<Observed, CloudError> {
    let names = &config.names;
    let known_good = names.known_good(stage);
    let known_good = version.map_or_else(|| known_good.clone(), |version| format!("{known_good}:{version}"));
    let beside = [names.candidate(stage), names.hold(stage), names.policy(stage), names.rollbacks(stage)];
    let wanted: Vec<String> = std::iter::once(known_good.clone()).chain(beside).collect();
    let look = async { (cloud.stage(stage).await, Instant::now()) };
    let ((live, looked), found, alarms) = tokio::join!(look, cloud.parameters(&wanted), async {
        match alarm {
            Some(name) => cloud.alarms(&[name.to_owned()]).await,
            None => Ok(vec![]),
        }
    });
    // Where hundreds of alarms are asked for at once, the answer can come long after the look at the stage.
    let live = if looked.elapsed() > STILL_FRESH { cloud.stage(stage).await } else { live };
    let mut on_record = OnRecord::of(config, stage, &found?);
    if let KnownGood::None { parameter } = &mut on_record.known_good {
        *parameter = known_good;
    }
    let mut observed = Observed {
        stage: stage.clone(),
        configured: config.entry(stage).is_some(),
        live: live?,
        on_record,
        alarm: alarms?.into_iter().find(|now| Some(now.alarm.name.as_str()) == alarm),
        parts: PartsNow::default(),
    };
    let Some(live) = &mut observed.live else { return Ok(observed) };
    let listed = config.listed(stage, &observed.on_record.policy);
    let recorded = observed.on_record.good().map(|(_, record)| &record.release);
    let ask = stage.protocol.is_v2() || !listed.is_empty();
    let other = recorded.filter(|recorded| ask && recorded.deployment != live.release.deployment);
    let (parts, moving, deployment) = tokio::try_join!(
        parts(cloud, config, stage, &listed, recorded),
        moving(cloud, &listed),
        deployment(cloud, stage, other)
    )?;
    observed.parts = PartsNow { moving, deployment, ..parts };
    observed.parts.complete(&mut live.release);
    Ok(observed)
}

impl OnRecord {
    /// What these parameters say about a stage; those of other stages are passed over. No I/O.
    #[must_use]
    pub fn of(config: &Config, stage: &StageRef, found: &[Parameter]) -> Self {
        let names = &config.names;
        let value = |name: &str| found.iter().find(|found| found.name == name);
        let parameter = names.known_good(stage);
        let known_good = match value(&parameter) {
            Some(found) => match usable(&found.value, stage, &config.region) {
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
