//! From what a signal names to what there is: the stage of a target, and the alarms behind a composite alarm.

use crate::cloud::{Alarms, Gateway, Parameters};
use crate::config::Config;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::{Watches, name_of};
use crate::model::cloud_error::CloudError;
use crate::model::protocol::Protocol;
use crate::model::reason::Reason;
use crate::model::records::{self, NameIndex, Record};
use crate::model::stage::Api;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};

/// How deep composite alarms may be stacked; CloudWatch itself advises against more than a few levels.
const MAX_COMPOSITE_DEPTH: usize = 5;

/// The longest name of an API that is looked for, in bytes: written out as a parameter's name, SSM would refuse a
/// longer one (`GetParameters`).
const MAX_NAME: usize = 255;

/// The stage that a target means: by the settings, the name index, and last by every API there is.
///
/// # Errors
/// Outer: a failed call. Inner: why the API cannot be told.
pub async fn resolve<C: Gateway + Parameters>(
    cloud: &C,
    config: &Config,
    target: &Target,
) -> Result<Result<StageRef, Reason>, CloudError> {
    let configured = config.named(&target.api, &target.stage).map(|one| one.stage.clone());
    let configured: Vec<StageRef> = configured.filter(|stage| could_be(target, stage.protocol)).collect();
    if !configured.is_empty() {
        return Ok(only(target, configured));
    }
    if target.api.text().len() > MAX_NAME {
        let why = format!("the API's name has more than {MAX_NAME} bytes, so it is not looked for");
        return Ok(Err(Reason::NoStage(why)));
    }
    let name = match &target.api {
        ApiRef::Id(id) => return by_id(cloud, config, target, id).await,
        ApiRef::Name(name) => name,
    };
    let parameter = config.names.api_name(name);
    let found = cloud.parameters(std::slice::from_ref(&parameter)).await?;
    if let Some(found) = found.into_iter().find(|found| found.name == parameter) {
        let apis = match records::parse::<NameIndex>(&found.value) {
            Ok(index) => index.apis,
            Err(why) => return Ok(Err(Reason::NoKnownGood { parameter, why })),
        };
        return match apis.as_slice() {
            [id] => by_id(cloud, config, target, id).await,
            _ => Ok(only(target, apis.iter().map(|id| StageRef::rest(id, &target.stage)).collect())),
        };
    }
    let mut apis = vec![];
    if could_be(target, Protocol::Rest) {
        apis.extend(listed(cloud.rest_apis().await)?);
    }
    if could_be(target, Protocol::Http) {
        apis.extend(listed(cloud.v2_apis().await)?);
    }
    let same = apis.into_iter().filter(|api| is_called(&api.name, &api.id, name));
    Ok(only(target, same.map(|api| StageRef::new(api.protocol, api.id, &target.stage)).collect()))
}

/// What the function may not list is not for it to protect, and trying again would not help.
fn listed(apis: Result<Vec<Api>, CloudError>) -> Result<Vec<Api>, CloudError> {
    match apis {
        Err(error) if error.is_denial() => Ok(vec![]),
        apis => apis,
    }
}

/// Whether the signal leaves it open that the API is of this kind. HTTP and WebSocket metrics cannot always be
/// told apart.
fn could_be(target: &Target, protocol: Protocol) -> bool {
    target.protocol.is_none_or(|described| described.is_v2() == protocol.is_v2())
}

/// The stage of an API of this id. Where the signal does not tell its kind, the stage's record does, and last API
/// Gateway, whose requests are scarce.
async fn by_id<C: Gateway + Parameters>(
    cloud: &C,
    config: &Config,
    target: &Target,
    id: &str,
) -> Result<Result<StageRef, Reason>, CloudError> {
    let stage = |protocol| Ok(Ok(StageRef::new(protocol, id, &target.stage)));
    if target.protocol == Some(Protocol::Rest) {
        return stage(Protocol::Rest);
    }
    let parameter = config.names.known_good(&StageRef::rest(id, &target.stage));
    let found = cloud.parameters(&[parameter]).await?;
    let record = found.first().and_then(|found| records::parse::<Record>(&found.value).ok());
    if let Some(record) = record.filter(|record| could_be(target, record.stage.protocol)) {
        return stage(record.stage.protocol);
    }
    let found = match ask(cloud, target, id).await {
        Ok(found) => found,
        // Trying again would not help: what it may look at, the function's role says.
        Err(error) if error.is_denial() => {
            let why = format!(
                "API `{id}` is not in PROTECTED_STAGES, and the function may not look at it: {error}"
            );
            return Ok(Err(Reason::NotProtected(why)));
        }
        Err(error) => return Err(error),
    };
    match found {
        Some(api) => stage(api.protocol),
        None => Ok(Err(Reason::NoStage(format!("there is no API `{id}`")))),
    }
}

async fn ask<C: Gateway>(cloud: &C, target: &Target, id: &str) -> Result<Option<Api>, CloudError> {
    let rest = if could_be(target, Protocol::Rest) { cloud.rest_api(id).await? } else { None };
    if rest.is_some() { Ok(rest) } else { cloud.v2_api(id).await }
}

/// CloudWatch gets an API's name without its non-ASCII characters, or its id where none are left.
fn is_called(name: &str, id: &str, wanted: &str) -> bool {
    let ascii: String = name.chars().filter(char::is_ascii).collect();
    name == wanted || ascii == wanted || (ascii.is_empty() && id == wanted)
}

fn only(target: &Target, mut stages: Vec<StageRef>) -> Result<StageRef, Reason> {
    stages.sort();
    stages.dedup();
    let name = target.api.text();
    match stages.as_slice() {
        [stage] => Ok(stage.clone()),
        [] => Err(Reason::NoStage(format!("there is no API named `{name}` that the function may look at"))),
        several => Err(Reason::AmbiguousTarget(format!(
            "the name `{name}` belongs to several APIs: {}",
            several.iter().map(|stage| stage.api.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The alarms behind a composite alarm, as they are now, down to those that name a stage or a metric.
///
/// # Errors
/// A failed call.
pub async fn children<C: Alarms>(
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
    crate::signal::target::directives(description).is_some()
}
