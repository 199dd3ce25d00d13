//! The real port: the AWS SDK's clients. This file and its folder are the only users of `aws_sdk_*`.

mod alarms;
mod call;
mod clients;
mod components;
#[cfg(feature = "cli")]
mod diagnostics;
mod environment;
mod http;
mod outbox;
#[cfg(feature = "cli")]
mod settings;
mod stages;
mod v2;
mod warm;

use aws_sdk_apigateway::operation::get_deployment::GetDeploymentOutput;
use aws_sdk_apigateway::types::Authorizer;
use aws_sdk_cloudwatch::operation::describe_alarms::builders::DescribeAlarmsFluentBuilder;
use aws_sdk_cloudwatch::types::{AlarmType, HistoryItemType, MetricDataResult};
use aws_sdk_ssm::types::{Parameter as SdkParameter, ParameterTier, ParameterType};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    AlarmNow, Api, Cache, Cloud, CloudError, Deployment, LiveAlias, LiveMapping, LiveStage, Notice,
    Parameter, Spent, StageChange, Write, Written,
};
use crate::model::alarm::{Metric, State};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::release::{Protocol, StageRef};

use call::{causes, found, pages};
pub use clients::Clients;
#[cfg(feature = "cli")]
pub use diagnostics::AwsClinic;
pub use environment::{Environment, environment_settings};
#[cfg(feature = "cli")]
pub use settings::{find_credentials, personal_settings};

/// The port, over the SDK.
#[derive(Clone, Debug)]
pub struct Aws {
    clients: Clients,
    deadline: Instant,
    spent_before: Spent,
}

fn parameter(parameter: SdkParameter) -> Option<Parameter> {
    Some(Parameter { name: parameter.name?, value: parameter.value?, version: parameter.version })
}

impl Cloud for Aws {
    async fn stage(&self, stage: &StageRef) -> Result<Option<LiveStage>, CloudError> {
        if stage.protocol.is_v2() {
            return self.v2_get_stage(stage).await;
        }
        let call = self.clients.apigateway.get_stage().rest_api_id(&stage.api).stage_name(&stage.stage);
        Ok(found(self.call("GetStage", &stage.to_string(), || call.clone().send()).await)?
            .map(stages::of_get))
    }

    async fn stages(&self, protocol: Protocol, api: &str) -> Result<Vec<(StageRef, LiveStage)>, CloudError> {
        if protocol.is_v2() {
            return self.v2_get_stages(protocol, api).await;
        }
        let call = self.clients.apigateway.get_stages().rest_api_id(api);
        let answer = found(self.call("GetStages", api, || call.clone().send()).await)?;
        let stages = answer.and_then(|answer| answer.item).unwrap_or_default();
        Ok(stages.into_iter().filter_map(|stage| stages::of_list(api, stage)).collect())
    }

    async fn change_stage(&self, stage: &StageRef, change: &StageChange) -> Result<LiveStage, CloudError> {
        // Where the time is up before it is our turn, the call itself says so.
        let _alone = tokio::time::timeout_at(self.deadline, self.clients.pace.alone(&stage.api)).await.ok();
        if stage.protocol.is_v2() {
            return self.v2_update_stage(stage, change).await;
        }
        let call = self
            .clients
            .apigateway
            .update_stage()
            .rest_api_id(&stage.api)
            .stage_name(&stage.stage)
            .set_patch_operations(Some(stages::patch(change)));
        self.call("UpdateStage", &stage.to_string(), || call.clone().send()).await.map(stages::of_update)
    }

    async fn create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
    ) -> Result<(), CloudError> {
        if stage.protocol.is_v2() {
            return self.v2_create_stage(stage, deployment, description).await;
        }
        let call = self
            .clients
            .apigateway
            .create_stage()
            .rest_api_id(&stage.api)
            .stage_name(&stage.stage)
            .deployment_id(deployment)
            .description(description);
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
        let created = |found: GetDeploymentOutput| found.created_date().and_then(stages::time);
        Ok(answer.map(|found| Deployment { created: created(found), undeployed: None }))
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
        self.v2_get_api(id).await
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
        self.v2_get_apis().await
    }

    async fn alias(&self, alias: &AliasRef) -> Result<Option<LiveAlias>, CloudError> {
        self.get_alias(alias).await
    }

    async fn move_alias(
        &self,
        alias: &AliasRef,
        to: &AliasTarget,
        revision: &str,
    ) -> Result<LiveAlias, CloudError> {
        self.update_alias(alias, to, revision).await
    }

    async fn has_version(&self, alias: &AliasRef, version: &str) -> Result<bool, CloudError> {
        self.get_version(alias, version).await
    }

    async fn moving_aliases(&self) -> Result<Vec<(String, String)>, CloudError> {
        self.running_deployments().await
    }

    async fn mapping(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> Result<Option<LiveMapping>, CloudError> {
        self.get_mapping(protocol, mapping).await
    }

    async fn move_mapping(
        &self,
        mapping: &MappingRef,
        id: Option<&str>,
        to: &MappingTarget,
    ) -> Result<MappingTarget, CloudError> {
        self.update_mapping(mapping, id, to).await
    }

    async fn publish(&self, topic: &str, notice: &Notice) -> Result<(), CloudError> {
        self.send_notice(topic, notice).await
    }

    async fn put_event(&self, bus: &str, kind: &str, detail: &str) -> Result<(), CloudError> {
        self.send_event(bus, kind, detail).await
    }

    async fn invoke(&self, function: &str, payload: &str, wait: bool) -> Result<(), CloudError> {
        self.call_function(function, payload, wait).await
    }

    async fn delete_parameter(&self, name: &str) -> Result<(), CloudError> {
        let call = self.clients.ssm.delete_parameter().name(name);
        match self.call("DeleteParameter", name, || call.clone().send()).await {
            Err(error) if error.code != "ParameterNotFound" => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn spent(&self) -> Spent {
        self.clients.meter.since(self.spent_before)
    }

    async fn caches_decisions(&self, api: &str) -> Result<bool, CloudError> {
        let call = self.clients.apigateway.get_authorizers().rest_api_id(api).limit(500);
        let answer = self.call("GetAuthorizers", api, || call.clone().send()).await?;
        // Authorizers of the kind TOKEN and REQUEST keep a decision for 300 s unless told otherwise.
        let keeps = |one: &Authorizer| one.authorizer_result_ttl_in_seconds().is_none_or(|ttl| ttl > 0);
        Ok(answer.items().iter().any(keeps))
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

    async fn parameters(&self, names: &[String]) -> Result<Vec<Parameter>, CloudError> {
        let call = self.clients.ssm.get_parameters().set_names(Some(names.to_vec()));
        let answer = self.call("GetParameters", &names.join(", "), || call.clone().send()).await?;
        Ok(answer.parameters.unwrap_or_default().into_iter().filter_map(parameter).collect())
    }

    async fn parameters_under(&self, path: &str) -> Result<Vec<Parameter>, CloudError> {
        // Ten is the largest page.
        let page = self.clients.ssm.get_parameters_by_path().path(path).recursive(true).max_results(10);
        let found = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetParametersByPath", path, || page.clone().send()).await?;
                Ok((answer.parameters.unwrap_or_default(), answer.next_token))
            }
        });
        Ok(found.await?.into_iter().filter_map(parameter).collect())
    }

    async fn history(&self, name: &str) -> Result<Vec<Parameter>, CloudError> {
        let page = self.clients.ssm.get_parameter_history().name(name);
        let versions = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetParameterHistory", name, || page.clone().send()).await?;
                Ok((answer.parameters.unwrap_or_default(), answer.next_token))
            }
        });
        let versions = match versions.await {
            Err(error) if error.code == "ParameterNotFound" => vec![],
            other => other?,
        };
        let whole = versions
            .into_iter()
            .filter_map(|one| Some(Parameter { name: one.name?, value: one.value?, version: one.version }));
        Ok(whole.collect())
    }

    async fn put_parameter(&self, name: &str, value: &str, write: Write) -> Result<Written, CloudError> {
        let call = self
            .clients
            .ssm
            .put_parameter()
            .name(name)
            .value(value)
            .r#type(ParameterType::String)
            .tier(ParameterTier::IntelligentTiering)
            .overwrite(write == Write::Overwrite);
        // The stage is back by then or about to be, and people are told after its record: SSM is said to take three
        // writes a second, and must not use all the time up.
        match self.leaving_a_tenth().call("PutParameter", name, || call.clone().send()).await {
            Ok(answer) => Ok(Written::Version(answer.version())),
            Err(error) if write == Write::Create && error.code == "ParameterAlreadyExists" => {
                Ok(Written::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmNow>, CloudError> {
        let call = self.describe_alarms().set_alarm_names(Some(names.to_vec()));
        let answer = self.call("DescribeAlarms", &names.join(", "), || call.clone().send()).await?;
        Ok(alarms::of_page(answer).0)
    }

    async fn alarms_acting(&self, action: &str) -> Result<Vec<AlarmNow>, CloudError> {
        let all = self.all_pages_of_alarms(action, self.describe_alarms().action_prefix(action)).await?;
        // Emulators tell of every alarm.
        let acts = |now: &AlarmNow| now.actions.iter().any(|arn| arn.starts_with(action));
        Ok(all.into_iter().filter(acts).collect())
    }

    async fn states_since(&self, alarm: &str, since: DateTime<Utc>) -> Result<Vec<State>, CloudError> {
        let page = self
            .clients
            .cloudwatch
            .describe_alarm_history()
            .alarm_name(alarm)
            .set_alarm_types(Some(vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm]))
            .history_item_type(HistoryItemType::StateUpdate)
            .start_date(SdkTime::from_secs(since.timestamp()));
        let items = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("DescribeAlarmHistory", alarm, || page.clone().send()).await?;
                Ok((answer.alarm_history_items.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        Ok(items.iter().filter_map(|item| item.history_data()).flat_map(alarms::of_history).collect())
    }

    async fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<f64, CloudError> {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let names = &names.join(", ");
        let page = self
            .clients
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(metrics.iter().enumerate().map(alarms::sample_count).collect()))
            .start_time(SdkTime::from_secs(since.timestamp()))
            .end_time(SdkTime::from_secs(until.timestamp()));
        let results = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetMetricData", names, || page.clone().send()).await?;
                Ok((answer.metric_data_results.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        Ok(results.iter().flat_map(MetricDataResult::values).sum())
    }

    async fn all_alarms(&self) -> Result<Vec<AlarmNow>, CloudError> {
        self.all_pages_of_alarms("all", self.describe_alarms()).await
    }
}

impl Aws {
    async fn all_pages_of_alarms(
        &self,
        subject: &str,
        page: DescribeAlarmsFluentBuilder,
    ) -> Result<Vec<AlarmNow>, CloudError> {
        pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("DescribeAlarms", subject, || page.clone().send()).await?;
                Ok(alarms::of_page(answer))
            }
        })
        .await
    }

    fn describe_alarms(&self) -> DescribeAlarmsFluentBuilder {
        // Without the types only metric alarms are told.
        let types = vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm];
        self.clients.cloudwatch.describe_alarms().set_alarm_types(Some(types))
    }
}
