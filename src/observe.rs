//! The read phase: everything a decision needs, read in one place before anything is decided.

use crate::alarm::{Watches, name_of};
use crate::cloud::{AlarmNow, Cloud, CloudError, LiveStage, Parameter};
use crate::config::Config;
use crate::records::{self, Candidate, Hold, NameIndex, Policy, Record, Rollbacks, Stored};
use crate::release::{Protocol, Release, StageRef};
use crate::target::{ApiRef, Target};
use crate::verdict::Reason;

/// How deep composite alarms may be stacked; CloudWatch itself advises against more than a few levels.
const MAX_COMPOSITE_DEPTH: usize = 5;

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

/// Reads stage, records and alarm at once: one round trip.
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
    let (live, found, alarms) = tokio::join!(cloud.stage(stage), cloud.parameters(&wanted), async {
        match alarm {
            Some(name) => cloud.alarms(&[name.to_owned()]).await,
            None => Ok(vec![]),
        }
    });
    let mut on_record = OnRecord::of(config, stage, &found?);
    if let KnownGood::None { parameter } = &mut on_record.known_good {
        *parameter = known_good;
    }
    Ok(Observed {
        stage: stage.clone(),
        configured: config.entry(stage).is_some(),
        live: live?,
        on_record,
        alarm: alarms?.into_iter().find(|now| Some(now.alarm.name.as_str()) == alarm),
    })
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
    if record.release.deployment.is_empty() || record.release.canary.is_some() {
        return Err("names no deployment, or has a canary, so it is no whole release".to_owned());
    }
    Ok(record)
}

/// The stage that a target means: by the settings, the name index, and last by every REST API there is.
///
/// # Errors
/// Outer: a failed call. Inner: why the API cannot be told.
pub async fn resolve<C: Cloud>(
    cloud: &C,
    config: &Config,
    target: &Target,
) -> Result<Result<StageRef, Reason>, CloudError> {
    if let Some(protocol @ (Protocol::Http | Protocol::WebSocket)) = target.protocol {
        return Ok(Err(Reason::NotProtected(format!(
            "{protocol}/{}/{} is not of a REST API, and only those can be put back",
            target.api.text(),
            target.stage
        ))));
    }
    let configured: Vec<_> =
        config.named(&target.api, &target.stage).map(|one| one.stage.api.clone()).collect();
    if !configured.is_empty() {
        return Ok(one_api(target, configured));
    }
    let name = match &target.api {
        ApiRef::Id(id) => return Ok(Ok(StageRef::rest(id, &target.stage))),
        ApiRef::Name(name) => name,
    };
    let parameter = config.names.api_name(name);
    let found = cloud.parameters(std::slice::from_ref(&parameter)).await?;
    if let Some(found) = found.into_iter().find(|found| found.name == parameter) {
        return Ok(match records::parse::<NameIndex>(&found.value) {
            Ok(index) => one_api(target, index.apis),
            Err(why) => Err(Reason::NoKnownGood { parameter, why }),
        });
    }
    let apis = cloud.apis().await?;
    let same = apis.into_iter().filter(|api| is_called(&api.name, &api.id, name)).map(|api| api.id);
    Ok(one_api(target, same.collect()))
}

/// CloudWatch gets an API's name without its non-ASCII characters, or its id where none are left.
fn is_called(name: &str, id: &str, wanted: &str) -> bool {
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    name == wanted || ascii == wanted || (ascii.is_empty() && id == wanted)
}

fn one_api(target: &Target, mut apis: Vec<String>) -> Result<StageRef, Reason> {
    apis.sort();
    apis.dedup();
    let name = target.api.text();
    match apis.as_slice() {
        [api] => Ok(StageRef::rest(api, &target.stage)),
        [] => Err(Reason::NoStage(format!("there is no REST API named `{name}`"))),
        several => Err(Reason::AmbiguousTarget(format!(
            "the name `{name}` belongs to several APIs: {}",
            several.join(", ")
        ))),
    }
}

/// The alarms behind a composite alarm, as they are now, down to those that name a stage or a metric.
///
/// # Errors
/// A failed call.
pub async fn children<C: Cloud>(
    cloud: &C,
    parent: &str,
    triggering: &[String],
) -> Result<Vec<AlarmNow>, CloudError> {
    let mut wanted: Vec<String> = triggering.iter().map(|child| name_of(child).to_owned()).collect();
    if wanted.is_empty() {
        wanted.push(parent.to_owned());
    }
    let mut leaves = Vec::new();
    for _ in 0..MAX_COMPOSITE_DEPTH {
        let mut deeper = Vec::new();
        // A call takes at most 100 names.
        for names in wanted.chunks(100) {
            for now in cloud.alarms(names).await? {
                match &now.alarm.watches {
                    Watches::Alarms(more)
                        if now.alarm.description.as_deref().is_none_or(|d| !has_directive(d)) =>
                    {
                        deeper.extend(more.iter().map(|child| name_of(child).to_owned()));
                    }
                    Watches::Alarms(_) | Watches::Metrics(_) => leaves.push(now),
                }
            }
        }
        if deeper.is_empty() {
            break;
        }
        wanted = deeper;
    }
    Ok(leaves)
}

fn has_directive(description: &str) -> bool {
    crate::target::directives(description).is_some()
}
