//! The conversion of REST stages from the SDK's types, and of a change into a patch.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_apigateway::operation::get_stage::GetStageOutput;
use aws_sdk_apigateway::operation::update_stage::UpdateStageOutput;
use aws_sdk_apigateway::types::{CanarySettings, Op, PatchOperation, Stage};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, Utc};

use super::throttling::is_closed;
use crate::model::access_log::AccessLog;
use crate::model::alarm::is_plausible;
use crate::model::plan::StageChange;
use crate::model::release::{Canary, Release};
use crate::model::stage::LiveStage;
use crate::model::stage::StageRef;

/// Converts a stage. The SDK has a separate type for it in each operation, with the same fields.
macro_rules! live_stage {
    ($stage:expr) => {{
        let stage = $stage;
        LiveStage {
            release: Release {
                deployment: stage.deployment_id.unwrap_or_default(),
                variables: stage.variables.unwrap_or_default().into_iter().collect(),
                canary: stage.canary_settings.map(canary),
                ..Release::default()
            },
            updated_at: stage.last_updated_date.as_ref().and_then(time),
            description: stage.description.unwrap_or_default(),
            closed: stage.method_settings.is_some_and(|settings| is_closed(&settings)),
            cache: stage.cache_cluster_enabled,
            auto_deploy: false,
            managed: false,
            access_log: stage.access_log_settings.map(|log| AccessLog {
                destination: log.destination_arn.unwrap_or_default(),
                format: log.format.unwrap_or_default(),
            }),
        }
    }};
}

/// Returns the tags as the SDK takes them, if there are any: a request with tags may need another permission.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    Some(tags.clone().into_iter().collect()).filter(|tags: &HashMap<_, _>| !tags.is_empty())
}

pub(super) fn from_get(stage: GetStageOutput) -> LiveStage {
    live_stage!(stage)
}

pub(super) fn from_update(stage: UpdateStageOutput) -> LiveStage {
    live_stage!(stage)
}

/// Converts one stage of `GetStages`, which does not name the API.
pub(super) fn from_list(api: &str, stage: Stage) -> Option<(StageRef, LiveStage)> {
    let name = stage.stage_name.clone()?;
    Some((StageRef::rest(api, name), live_stage!(stage)))
}

fn canary(canary: CanarySettings) -> Canary {
    Canary {
        percent: canary.percent_traffic().to_string(),
        uses_cache: canary.use_stage_cache(),
        overrides: canary.stage_variable_overrides.unwrap_or_default().into_iter().collect(),
        deployment: canary.deployment_id,
    }
}

pub(super) fn time(time: &SdkTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos()).filter(is_plausible)
}

/// Converts a change into patch operations. API Gateway applies them in order, and accepts `replace` for a stage
/// variable that does not exist yet.
pub(super) fn patch(change: &StageChange) -> Vec<PatchOperation> {
    // Only HTTP and WebSocket stages have AutoDeploy.
    let StageChange {
        remove_canary,
        put_canary,
        promote_canary,
        deployment,
        set,
        remove,
        close,
        stop_auto_deploy: _,
    } = change;
    let mut patch = Vec::new();
    if *promote_canary {
        // Recorded on AWS: the overrides merge into the stage's variables, and the canary stays.
        patch.push(replace("/canarySettings/percentTraffic".to_owned(), "0.0"));
        patch.push(copy("/canarySettings/stageVariableOverrides", "/variables"));
        patch.push(copy("/canarySettings/deploymentId", "/deploymentId"));
    }
    if *remove_canary {
        patch.push(remove_at("/canarySettings".to_owned()));
    }
    if let Some(deployment) = deployment {
        patch.push(replace("/deploymentId".to_owned(), deployment));
    }
    patch.extend(set.iter().map(|(name, value)| replace(variable(name), value)));
    patch.extend(remove.iter().map(|name| remove_at(variable(name))));
    if *close {
        patch.push(replace("/*/*/throttling/rateLimit".to_owned(), "0"));
        patch.push(replace("/*/*/throttling/burstLimit".to_owned(), "0"));
    }
    if let Some(Canary { deployment, percent, overrides, uses_cache }) = put_canary {
        // Observed on AWS: `replace` creates a canary if the stage has none, and API Gateway refuses `add`.
        let deployment = deployment.as_ref();
        patch.extend(deployment.map(|id| replace("/canarySettings/deploymentId".to_owned(), id)));
        patch.push(replace("/canarySettings/percentTraffic".to_owned(), percent));
        if *uses_cache {
            patch.push(replace("/canarySettings/useStageCache".to_owned(), "true"));
        }
        let at = |name: &str| format!("/canarySettings/stageVariableOverrides/{}", escaped(name));
        patch.extend(overrides.iter().map(|(name, value)| replace(at(name), value)));
    }
    patch
}

fn variable(name: &str) -> String {
    format!("/variables/{}", escaped(name))
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn replace(path: String, value: &str) -> PatchOperation {
    PatchOperation::builder().op(Op::Replace).path(path).value(value).build()
}

fn copy(from: &str, path: &str) -> PatchOperation {
    PatchOperation::builder().op(Op::Copy).from(from).path(path).build()
}

fn remove_at(path: String) -> PatchOperation {
    PatchOperation::builder().op(Op::Remove).path(path).build()
}
