//! The port's gateway over the SDK. The calls on stages and deployments of HTTP and WebSocket APIs are in `v2`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_apigateway::operation::get_stage::builders::GetStageFluentBuilder;
use aws_sdk_apigateway::types::Authorizer;
use tokio::time::Instant;

use super::call::{found, pages};
use super::v2::protocol;
use super::{Aws, stages, v2};
use crate::cloud::tries::{Tries, tries};
use crate::cloud::{Cache, Gateway, Look, Seen};
use crate::model::cloud_error::CloudError;
use crate::model::plan::StageChange;
use crate::model::protocol::Protocol;
use crate::model::release::Release;
use crate::model::stage::{Api, Deployment, LiveStage, StageRef};

impl Gateway for Aws {
    async fn look(&self, stage: &StageRef) -> Result<Look, CloudError> {
        self.look_with(tries("GetStage"), stage).await
    }

    async fn look_at_once(&self, stage: &StageRef) -> Result<Option<Look>, CloudError> {
        if !self.clients.pace.is_free() {
            return Ok(None);
        }
        match self.look_with(Tries { throttled: false, ..tries("GetStage") }, stage).await {
            Err(error) if error.is_throttled() => Ok(None),
            look => look.map(Some),
        }
    }

    async fn stages(&self, protocol: Protocol, api: &str) -> Result<Vec<(StageRef, LiveStage)>, CloudError> {
        if protocol.is_v2() {
            return self.v2_get_stages(protocol, api).await;
        }
        let call = self.clients.apigateway.get_stages().rest_api_id(api);
        let answer = found(self.call("GetStages", api, || call.clone().send()).await)?;
        let stages = answer.and_then(|answer| answer.item).unwrap_or_default();
        Ok(stages.into_iter().filter_map(|stage| stages::from_list(api, stage)).collect())
    }

    async fn change_stage(
        &self,
        stage: &StageRef,
        change: &StageChange,
        seen: Seen<'_, Release>,
    ) -> Result<LiveStage, CloudError> {
        // If the deadline passes during this wait, the call below reports that.
        let _alone = tokio::time::timeout_at(self.deadline(), self.clients.pace.alone(&stage.api)).await.ok();
        let subject = stage.to_string();
        let is_same = || self.serves(stage, seen.what);
        if stage.protocol.is_v2() {
            let call = self.v2_update_stage(stage, change);
            let send = || call.clone().send();
            return self.change("UpdateStage", &subject, seen.at, is_same, send).await.map(v2::from_update);
        }
        let call = self
            .clients
            .apigateway
            .update_stage()
            .rest_api_id(&stage.api)
            .stage_name(&stage.stage)
            .set_patch_operations(Some(stages::patch(change)));
        self.change("UpdateStage", &subject, seen.at, is_same, || call.clone().send())
            .await
            .map(stages::from_update)
    }

    async fn create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        if stage.protocol.is_v2() {
            return self.v2_create_stage(stage, deployment, description, tags).await;
        }
        let call = self
            .clients
            .apigateway
            .create_stage()
            .rest_api_id(&stage.api)
            .stage_name(&stage.stage)
            .deployment_id(deployment)
            .description(description)
            .set_tags(stages::tags(tags));
        self.call("CreateStage", &stage.to_string(), || call.clone().send()).await.map(|_| ())
    }

    async fn deployment(&self, stage: &StageRef, deployment: &str) -> Result<Option<Deployment>, CloudError> {
        let api = &stage.api;
        if stage.protocol.is_v2() {
            return self.v2_get_deployment(api, deployment).await;
        }
        let call = self.clients.apigateway.get_deployment().rest_api_id(api).deployment_id(deployment);
        let answer =
            found(self.call("GetDeployment", &format!("{api}/{deployment}"), || call.clone().send()).await)?;
        Ok(answer.map(|found| Deployment {
            created: found.created_date().and_then(stages::time),
            undeployed: None,
            description: found.description().unwrap_or_default().to_owned(),
        }))
    }

    async fn rest_api(&self, id: &str) -> Result<Option<Api>, CloudError> {
        let call = self.clients.apigateway.get_rest_api().rest_api_id(id);
        let answer = found(self.call("GetRestApi", id, || call.clone().send()).await)?;
        let api = |name: Option<&str>| Api {
            protocol: Protocol::Rest,
            id: id.to_owned(),
            name: name.unwrap_or_default().to_owned(),
        };
        Ok(answer.map(|answer| api(answer.name())))
    }

    async fn v2_api(&self, id: &str) -> Result<Option<Api>, CloudError> {
        let call = self.clients.apigatewayv2.get_api().api_id(id);
        let answer = found(self.call("GetApi", id, || call.clone().send()).await)?;
        Ok(answer.and_then(|api| {
            let protocol = protocol(api.protocol_type())?;
            Some(Api { protocol, id: id.to_owned(), name: api.name().unwrap_or_default().to_owned() })
        }))
    }

    async fn rest_apis(&self) -> Result<Vec<Api>, CloudError> {
        // 500 is the largest page.
        let page = self.clients.apigateway.get_rest_apis().limit(500);
        let apis = pages(|next| {
            let page = page.clone().set_position(next);
            async move {
                let answer = self.call("GetRestApis", "all", || page.clone().send()).await?;
                Ok((answer.items.unwrap_or_default(), answer.position))
            }
        })
        .await?;
        let named = apis
            .into_iter()
            .filter_map(|api| Some(Api { protocol: Protocol::Rest, id: api.id?, name: api.name? }));
        Ok(named.collect())
    }

    async fn v2_apis(&self) -> Result<Vec<Api>, CloudError> {
        let page = self.clients.apigatewayv2.get_apis();
        let apis = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetApis", "all", || page.clone().send()).await?;
                Ok((answer.items.unwrap_or_default(), answer.next_token))
            }
        });
        let named = apis.await?.into_iter().filter_map(|api| {
            let protocol = protocol(api.protocol_type())?;
            Some(Api { protocol, id: api.api_id?, name: api.name? })
        });
        Ok(named.collect())
    }

    async fn caches_decisions(&self, api: &str) -> Result<bool, CloudError> {
        let page = self.clients.apigateway.get_authorizers().rest_api_id(api).limit(500);
        let authorizers = pages(|next| {
            let page = page.clone().set_position(next);
            async move {
                let answer = self.call("GetAuthorizers", api, || page.clone().send()).await?;
                Ok((answer.items.unwrap_or_default(), answer.position))
            }
        });
        // TOKEN and REQUEST authorizers cache a decision for 300 s by default.
        let keeps = |one: &Authorizer| one.authorizer_result_ttl_in_seconds().is_none_or(|ttl| ttl > 0);
        Ok(authorizers.await?.iter().any(keeps))
    }

    async fn flush(&self, stage: &StageRef, cache: Cache) -> Result<(), CloudError> {
        let (apigateway, subject) = (&self.clients.apigateway, stage.to_string());
        match cache {
            Cache::Answers => {
                let call = apigateway.flush_stage_cache();
                let call = call.rest_api_id(&stage.api).stage_name(&stage.stage);
                self.call("FlushStageCache", &subject, || call.clone().send()).await.map(|_| ())
            }
            Cache::Authorizers => {
                let call = apigateway.flush_stage_authorizers_cache();
                let call = call.rest_api_id(&stage.api).stage_name(&stage.stage);
                self.call("FlushStageAuthorizersCache", &subject, || call.clone().send()).await.map(|_| ())
            }
        }
    }
}

impl Aws {
    async fn look_with(&self, tries: Tries, stage: &StageRef) -> Result<Look, CloudError> {
        let subject = stage.to_string();
        let at = Mutex::new(Instant::now());
        let note = || *at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let live = if stage.protocol.is_v2() {
            let call = self.v2_get_stage(stage);
            let send = || {
                note();
                call.clone().send()
            };
            found(self.call_with(tries, "GetStage", &subject, send).await)?.map(v2::from_get)
        } else {
            let call = self.get_stage(stage);
            let send = || {
                note();
                call.clone().send()
            };
            found(self.call_with(tries, "GetStage", &subject, send).await)?.map(stages::from_get)
        };
        let at = *at.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Look { live, at })
    }

    fn get_stage(&self, stage: &StageRef) -> GetStageFluentBuilder {
        self.clients.apigateway.get_stage().rest_api_id(&stage.api).stage_name(&stage.stage)
    }

    /// Whether a stage serves this release, without its components (`GetStage`, in the turn of a change).
    async fn serves(&self, stage: &StageRef, release: &Release) -> Result<bool, CloudError> {
        let subject = stage.to_string();
        let live = if stage.protocol.is_v2() {
            let call = self.v2_get_stage(stage).send();
            found(self.in_turn("GetStage", &subject, call).await)?.map(v2::from_get)
        } else {
            let call = self.get_stage(stage).send();
            found(self.in_turn("GetStage", &subject, call).await)?.map(stages::from_get)
        };
        Ok(live.is_some_and(|live| live.release.in_stage() == release.in_stage()))
    }
}
