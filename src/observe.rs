//! The read phase: everything a decision needs, read in one place before anything is decided.

use crate::alarm::{Watches, name_of};
use crate::cloud::{AlarmNow, Cloud, CloudError, LiveStage};
use crate::config::Config;
use crate::release::{self, NameIndex, Protocol, Record, StageRef};
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
    /// What the record says.
    pub known_good: KnownGood,
    /// The alarm that called, as it is now; `None` where unknown, or where none called.
    pub alarm: Option<AlarmNow>,
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

/// Reads stage, record and alarm at once: one round trip.
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
    let parameter = config.names.known_good(stage);
    let wanted = [version.map_or_else(|| parameter.clone(), |version| format!("{parameter}:{version}"))];
    let (live, records, alarms) = tokio::join!(cloud.stage(stage), cloud.parameters(&wanted), async {
        match alarm {
            Some(name) => cloud.alarms(&[name.to_owned()]).await,
            None => Ok(vec![]),
        }
    });
    let known_good = match records?.into_iter().find(|found| found.name == parameter) {
        Some(found) => match usable(&found.value, stage, &config.region) {
            Ok(record) => KnownGood::Found { parameter, version: found.version, record: Box::new(record) },
            Err(why) => KnownGood::Unusable { parameter, why },
        },
        None => KnownGood::None { parameter: wanted.concat() },
    };
    Ok(Observed {
        stage: stage.clone(),
        configured: config.entry(stage).is_some(),
        live: live?,
        known_good,
        alarm: alarms?.into_iter().find(|now| Some(now.alarm.name.as_str()) == alarm),
    })
}

/// Reads a record and refuses one that is not this stage's own or could not be put back as it is.
///
/// # Errors
/// A sentence's end for "the parameter X ...".
pub fn usable(value: &str, stage: &StageRef, region: &str) -> Result<Record, String> {
    let record: Record = release::parse(value)?;
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
        return Ok(match release::parse::<NameIndex>(&found.value) {
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
