//! Stages and deployments of HTTP and WebSocket APIs (`apigatewayv2`), and their conversion from the SDK's types.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_apigatewayv2::operation::get_stage::GetStageOutput;
use aws_sdk_apigatewayv2::operation::get_stage::builders::GetStageFluentBuilder;
use aws_sdk_apigatewayv2::operation::update_stage::UpdateStageOutput;
use aws_sdk_apigatewayv2::operation::update_stage::builders::UpdateStageFluentBuilder;
use aws_sdk_apigatewayv2::types::{DeploymentStatus, ProtocolType, RouteSettings, Stage};

use super::call::{found, pages};
use super::{Aws, stages};
use crate::model::access_log::AccessLog;
use crate::model::cloud_error::CloudError;
use crate::model::plan::StageChange;
use crate::model::protocol::Protocol;
use crate::model::release::Release;
use crate::model::stage::StageRef;
use crate::model::stage::{Deployment, LiveStage};

/// Converts a stage. The SDK has a separate type for it in each operation, with the same fields.
macro_rules! live_stage {
    ($stage:expr) => {{
        let stage = $stage;
        LiveStage {
            release: Release {
                deployment: stage.deployment_id.unwrap_or_default(),
                variables: variables(stage.stage_variables),
                ..Release::default()
            },
            updated_at: stage.last_updated_date.as_ref().and_then(stages::time),
            description: stage.description.unwrap_or_default(),
            closed: stage.default_route_settings.is_some_and(|settings| is_closed(&settings))
                && stage.route_settings.is_none_or(|routes| routes.values().all(is_closed)),
            cache: false,
            auto_deploy: stage.auto_deploy.unwrap_or(false),
            managed: stage.api_gateway_managed.unwrap_or(false),
            access_log: stage.access_log_settings.map(|log| AccessLog {
                destination: log.destination_arn.unwrap_or_default(),
                format: log.format.unwrap_or_default(),
            }),
        }
    }};
}

/// Returns the stage variables that have a value. An empty value means that the variable was removed.
fn variables(variables: Option<HashMap<String, String>>) -> std::collections::BTreeMap<String, String> {
    variables.unwrap_or_default().into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Whether rate and burst are zero. The rate is a configured float, so the comparison is exact.
fn is_closed(settings: &RouteSettings) -> bool {
    settings.throttling_rate_limit().is_some_and(|rate| rate <= 0.0)
        && settings.throttling_burst_limit() == Some(0)
}

pub(super) fn from_get(stage: GetStageOutput) -> LiveStage {
    live_stage!(stage)
}

pub(super) fn from_update(stage: UpdateStageOutput) -> LiveStage {
    live_stage!(stage)
}

fn from_list(protocol: Protocol, api: &str, stage: Stage) -> Option<(StageRef, LiveStage)> {
    let name = stage.stage_name.clone()?;
    Some((StageRef::new(protocol, api, name), live_stage!(stage)))
}

/// Converts an API's protocol. Returns `None` for a protocol that this function does not know.
pub(super) fn protocol(kind: Option<&ProtocolType>) -> Option<Protocol> {
    let kinds = [(ProtocolType::Http, Protocol::Http), (ProtocolType::Websocket, Protocol::WebSocket)];
    kinds.into_iter().find(|(theirs, _)| Some(theirs) == kind).map(|(_, ours)| ours)
}

impl Aws {
    pub(super) fn v2_get_stage(&self, stage: &StageRef) -> GetStageFluentBuilder {
        self.clients.apigatewayv2.get_stage().api_id(&stage.api).stage_name(&stage.stage)
    }

    pub(super) async fn v2_get_stages(
        &self,
        protocol: Protocol,
        api: &str,
    ) -> Result<Vec<(StageRef, LiveStage)>, CloudError> {
        let page = self.clients.apigatewayv2.get_stages().api_id(api);
        let stages = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetStages", api, || page.clone().send()).await?;
                Ok((answer.items.unwrap_or_default(), answer.next_token))
            }
        });
        let stages = found(stages.await)?.unwrap_or_default().into_iter();
        Ok(stages.filter_map(|stage| from_list(protocol, api, stage)).collect())
    }

    /// Builds the call that makes a change. An empty value removes a variable; Terraform's provider relies on that too. A change of variables sends all of
    /// them, because API Gateway does not document whether it keeps those that a call leaves out.
    pub(super) fn v2_update_stage(&self, stage: &StageRef, change: &StageChange) -> UpdateStageFluentBuilder {
        let removed = change.remove.iter().map(|name| (name.clone(), String::new()));
        let variables: HashMap<String, String> = change.set.clone().into_iter().chain(removed).collect();
        let none = RouteSettings::builder().throttling_rate_limit(0.0).throttling_burst_limit(0).build();
        self.clients
            .apigatewayv2
            .update_stage()
            .api_id(&stage.api)
            .stage_name(&stage.stage)
            .set_auto_deploy(change.stop_auto_deploy.then_some(false))
            .set_deployment_id(change.deployment.clone())
            .set_stage_variables(Some(variables).filter(|variables| !variables.is_empty()))
            .set_default_route_settings(change.close.then_some(none))
    }

    pub(super) async fn v2_create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        let call = self
            .clients
            .apigatewayv2
            .create_stage()
            .api_id(&stage.api)
            .stage_name(&stage.stage)
            .deployment_id(deployment)
            .description(description)
            .set_tags(stages::tags(tags));
        self.call("CreateStage", &stage.to_string(), || call.clone().send()).await.map(|_| ())
    }

    pub(super) async fn v2_get_deployment(
        &self,
        api: &str,
        deployment: &str,
    ) -> Result<Option<Deployment>, CloudError> {
        let call = self.clients.apigatewayv2.get_deployment().api_id(api).deployment_id(deployment);
        let answer =
            found(self.call("GetDeployment", &format!("{api}/{deployment}"), || call.clone().send()).await)?;
        Ok(answer.map(|found| Deployment {
            created: found.created_date().and_then(stages::time),
            undeployed: found
                .deployment_status()
                .filter(|status| **status != DeploymentStatus::Deployed)
                .map(|status| status.as_str().to_owned()),
            description: found.description().unwrap_or_default().to_owned(),
        }))
    }
}
