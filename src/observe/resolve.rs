//! Resolves a target to its stage.

use crate::cloud::{Gateway, Parameters};
use crate::config::Config;
use crate::model::cloud_error::CloudError;
use crate::model::protocol::Protocol;
use crate::model::reason::Reason;
use crate::model::records::{self, NameIndex};
use crate::model::stage::Api;
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target, means};
use crate::observe::protected_stages::recorded;

/// The longest name of an API that is looked up, in bytes. Parameter Store would refuse the parameter's name that a
/// longer one leads to (`GetParameters`).
pub const MAX_NAME: usize = 255;

/// Who names a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// An alarm that names one stage. Only the settings and the records are asked about an API's id.
    Alarm,
    /// An alarm that names several stages. It may name any number, so API Gateway is asked about none of them.
    AlarmOfMany,
    /// An operator, who may mean a stage that is not protected yet.
    Operator,
}

impl NamedBy {
    /// Returns who names these targets of an alarm.
    #[must_use]
    pub fn alarm_of(targets: &[Target]) -> Self {
        if targets.len() > 1 { Self::AlarmOfMany } else { Self::Alarm }
    }
}

/// Finds the stage that a target means: in the settings, then in the name index (`GetParameters`), and last among all
/// APIs (`GetRestApis`, `GetApis`).
///
/// # Errors
/// Outer: a failed call. Inner: why the target does not lead to exactly one stage.
pub async fn resolve<C: Gateway + Parameters>(
    cloud: &C,
    config: &Config,
    target: &Target,
    by: NamedBy,
) -> Result<Result<StageRef, Reason>, CloudError> {
    let configured = config.named(&target.api, &target.stage).map(|one| one.stage.clone());
    let configured: Vec<StageRef> = configured.filter(|stage| could_be(target, stage.protocol)).collect();
    if !configured.is_empty() {
        return Ok(only(target, configured));
    }
    if target.api.text().len() > MAX_NAME {
        let why =
            format!("the API's name is longer than {MAX_NAME} bytes, so the function does not look it up");
        return Ok(Err(Reason::NoStage(why)));
    }
    let name = match &target.api {
        ApiRef::Id(id) => return by_id(cloud, config, target, id, by).await,
        ApiRef::Name(name) => name,
    };
    let parameter = config.names.api_name(name);
    let found = cloud.parameters(std::slice::from_ref(&parameter)).await?;
    if let Some(found) = found.into_iter().find(|found| found.name == parameter) {
        let apis = match records::parse::<NameIndex>(&found.value) {
            Ok(index) => index.apis,
            Err(fault) => return Ok(Err(Reason::KnownGoodUnusable { parameter, fault })),
        };
        return match apis.as_slice() {
            // Usually only an API with a record is in the index, but not every stage of it has one.
            [id] if by == NamedBy::AlarmOfMany => by_id(cloud, config, target, id, by).await,
            [id] => by_id(cloud, config, target, id, NamedBy::Operator).await,
            _ => Ok(only(target, apis.iter().map(|id| StageRef::rest(id, &target.stage)).collect())),
        };
    }
    if by == NamedBy::AlarmOfMany {
        let why = format!("no API named `{name}` is in PROTECTED_STAGES or recorded");
        return Ok(Err(Reason::NotProtected(why)));
    }
    let mut apis = vec![];
    if could_be(target, Protocol::Rest) {
        apis.extend(empty_if_denied(cloud.rest_apis().await)?);
    }
    if could_be(target, Protocol::Http) {
        apis.extend(empty_if_denied(cloud.v2_apis().await)?);
    }
    let same = apis.into_iter().filter(|api| means(name, &api.id, &api.name));
    Ok(only(target, same.map(|api| StageRef::new(api.protocol, api.id, &target.stage)).collect()))
}

/// Turns a denial into an empty list: the function need not protect APIs that it is not allowed to list, and a retry
/// would not help.
fn empty_if_denied(apis: Result<Vec<Api>, CloudError>) -> Result<Vec<Api>, CloudError> {
    match apis {
        Err(error) if error.is_denial() => Ok(vec![]),
        apis => apis,
    }
}

/// Whether the API may be of this protocol, as far as the signal says. The metrics of HTTP and WebSocket APIs cannot
/// always be distinguished.
fn could_be(target: &Target, protocol: Protocol) -> bool {
    target.protocol.is_none_or(|described| described.is_v2() == protocol.is_v2())
}

/// Finds the stage of the API with this id. If the signal does not say the protocol, the stage's record or candidate does
/// (`GetParameters`), and for an operator last API Gateway, whose requests are scarce (`GetRestApi`, `GetApi`).
async fn by_id<C: Gateway + Parameters>(
    cloud: &C,
    config: &Config,
    target: &Target,
    id: &str,
    by: NamedBy,
) -> Result<Result<StageRef, Reason>, CloudError> {
    let stage = |protocol| Ok(Ok(StageRef::new(protocol, id, &target.stage)));
    if target.protocol == Some(Protocol::Rest) && by == NamedBy::Operator {
        return stage(Protocol::Rest);
    }
    let as_rest = StageRef::rest(id, &target.stage);
    let (known_good, candidate) = (config.names.known_good(&as_rest), config.names.candidate(&as_rest));
    let found = match cloud.parameters(&[known_good, candidate]).await {
        Ok(found) => found,
        Err(error) if config.is_not_ours(&error, |ours| ours.api == id && ours.stage == target.stage) => {
            return Ok(Err(Reason::not_readable(id, &target.stage, &error)));
        }
        Err(error) => return Err(error),
    };
    let recorded = found.iter().find_map(|found| recorded(&config.names, found));
    if let Some(recorded) = &recorded
        && could_be(target, recorded.protocol)
    {
        return stage(recorded.protocol);
    }
    if by != NamedBy::Operator {
        // A record that cannot be read does not tell the protocol.
        if let (Some(_), Some(protocol)) = (recorded, target.protocol) {
            return stage(protocol);
        }
        let why =
            format!("API `{id}` is not in PROTECTED_STAGES, and its stage `{}` has no record", target.stage);
        return Ok(Err(Reason::NotProtected(why)));
    }
    let found = match find_api(cloud, target, id).await {
        Ok(found) => found,
        // A retry would not help: the function's role decides what it may read.
        Err(error) if error.is_denial() => return Ok(Err(Reason::not_readable(id, &target.stage, &error))),
        Err(error) => return Err(error),
    };
    match found {
        Some(api) => stage(api.protocol),
        None => Ok(Err(Reason::NoStage(format!("the API `{id}` does not exist")))),
    }
}

async fn find_api<C: Gateway>(cloud: &C, target: &Target, id: &str) -> Result<Option<Api>, CloudError> {
    let rest = if could_be(target, Protocol::Rest) { cloud.rest_api(id).await? } else { None };
    if rest.is_some() { Ok(rest) } else { cloud.v2_api(id).await }
}

fn only(target: &Target, mut stages: Vec<StageRef>) -> Result<StageRef, Reason> {
    stages.sort();
    stages.dedup();
    let name = target.api.text();
    match stages.as_slice() {
        [stage] => Ok(stage.clone()),
        [] => Err(Reason::NoStage(format!(
            "there is no API named `{name}` that the function is allowed to read"
        ))),
        several => Err(Reason::AmbiguousTarget(format!(
            "the name `{name}` belongs to several APIs: {}",
            several.iter().map(|stage| stage.api.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}
