//! The real port: the AWS SDK's clients. This file and its folder are the only users of `aws_sdk_*`.

mod alarms;
mod clients;
#[cfg(feature = "cli")]
mod clinic;
mod environment;
mod http;
mod parts;
#[cfg(feature = "cli")]
mod settings;
mod stages;
mod telling;
mod v2;
mod warm;

use std::error::Error as StdError;

use aws_sdk_apigateway::config::http::HttpResponse;
use aws_sdk_apigateway::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_apigateway::operation::get_deployment::GetDeploymentOutput;
use aws_sdk_apigateway::types::Authorizer;
use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
use aws_sdk_cloudwatch::types::{AlarmType, HistoryItemType, MetricDataResult};
use aws_sdk_ssm::types::{Parameter as SdkParameter, ParameterTier, ParameterType};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    AlarmNow, Api, Cache, Cloud, CloudError, Deployment, Failure, LiveAlias, LiveMapping, LiveStage, Notice,
    Parameter, Spent, StageChange, Write, Written,
};
use crate::alarm::{Metric, State};
use crate::parts::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::release::{Protocol, StageRef};

pub use clients::Clients;
#[cfg(feature = "cli")]
pub use clinic::AwsClinic;
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

impl Aws {
    /// Waits for a call until the deadline, its turn included, and says which call on what failed.
    async fn call<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let turn = tokio::time::timeout_at(self.deadline, self.clients.pace.turn(operation)).await;
        let answer = match turn {
            Ok(()) => tokio::time::timeout_at(self.deadline, call).await,
            Err(late) => Err(late),
        };
        match answer {
            Ok(answer) => answer.map_err(|error| failed(operation, subject, &error)),
            Err(_) => Err(CloudError {
                failure: Failure::NoAnswer,
                operation,
                subject: subject.to_owned(),
                code: "Deadline".to_owned(),
                message: "no answer before the function's own deadline".to_owned(),
            }),
        }
    }
}

fn failed<E>(operation: &'static str, subject: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let failure = match (error.as_service_error(), status) {
        (None, _) => Failure::NoAnswer,
        (Some(_), Some(404)) => Failure::Missing,
        (Some(_), Some(409 | 412)) => Failure::Conflict,
        (Some(_), Some(400)) if code.as_deref() == Some("BadRequestException") => Failure::Refused,
        (Some(_), _) => Failure::Other,
    };
    CloudError {
        failure,
        operation,
        subject: subject.to_owned(),
        code: code.unwrap_or_else(|| status.map_or("NoAnswer".to_owned(), |status| format!("HTTP {status}"))),
        message: error.message().map_or_else(|| causes(error), str::to_owned),
    }
}

/// An error and its causes in one line. The SDK's own display says only "service error" or "dispatch failure".
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

fn parameter(parameter: SdkParameter) -> Option<Parameter> {
    Some(Parameter { name: parameter.name?, value: parameter.value?, version: parameter.version })
}

/// `None` in the place of "does not exist".
fn found<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.failure == Failure::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

impl Cloud for Aws {
    async fn stage(&self, stage: &StageRef) -> Result<Option<LiveStage>, CloudError> {
        if stage.protocol.is_v2() {
            return self.v2_get_stage(stage).await;
        }
        let call =
            self.clients.apigateway.get_stage().rest_api_id(&stage.api).stage_name(&stage.stage).send();
        Ok(found(self.call("GetStage", &stage.to_string(), call).await)?.map(stages::of_get))
    }

    async fn stages(&self, protocol: Protocol, api: &str) -> Result<Vec<(StageRef, LiveStage)>, CloudError> {
        if protocol.is_v2() {
            return self.v2_get_stages(protocol, api).await;
        }
        let call = self.clients.apigateway.get_stages().rest_api_id(api).send();
        let answer = found(self.call("GetStages", api, call).await)?;
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
            .set_patch_operations(Some(stages::patch(change)))
            .send();
        self.call("UpdateStage", &stage.to_string(), call).await.map(stages::of_update)
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
            .description(description)
            .send();
        self.call("CreateStage", &stage.to_string(), call).await.map(|_| ())
    }

    async fn deployment(&self, stage: &StageRef, deployment: &str) -> Result<Option<Deployment>, CloudError> {
        let api = &stage.api;
        if stage.protocol.is_v2() {
            return self.v2_get_deployment(api, deployment).await;
        }
        let call = self.clients.apigateway.get_deployment().rest_api_id(api).deployment_id(deployment).send();
        let answer = found(self.call("GetDeployment", &format!("{api}/{deployment}"), call).await)?;
        let created = |found: GetDeploymentOutput| found.created_date().and_then(stages::time);
        Ok(answer.map(|found| Deployment { created: created(found), undeployed: None }))
    }

    async fn rest_api(&self, id: &str) -> Result<Option<Api>, CloudError> {
        let call = self.clients.apigateway.get_rest_api().rest_api_id(id).send();
        let answer = found(self.call("GetRestApi", id, call).await)?;
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
        let pages = self.clients.apigateway.get_rest_apis().limit(500).into_paginator().items().send();
        let apis = self.call("GetRestApis", "all", pages.collect::<Result<Vec<_>, _>>()).await?;
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
        let call = self.clients.ssm.delete_parameter().name(name).send();
        match self.call("DeleteParameter", name, call).await {
            Err(error) if error.code != "ParameterNotFound" => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn spent(&self) -> Spent {
        self.clients.meter.since(self.spent_before)
    }

    async fn caches_decisions(&self, api: &str) -> Result<bool, CloudError> {
        let call = self.clients.apigateway.get_authorizers().rest_api_id(api).limit(500).send();
        let answer = self.call("GetAuthorizers", api, call).await?;
        // Authorizers of the kind TOKEN and REQUEST keep a decision for 300 s unless told otherwise.
        let keeps = |one: &Authorizer| one.authorizer_result_ttl_in_seconds().is_none_or(|ttl| ttl > 0);
        Ok(answer.items().iter().any(keeps))
    }

    async fn flush(&self, stage: &StageRef, cache: Cache) -> Result<(), CloudError> {
        let (apigateway, subject) = (&self.clients.apigateway, stage.to_string());
        match cache {
            Cache::Answers => {
                let call = apigateway.flush_stage_cache();
                let call = call.rest_api_id(&stage.api).stage_name(&stage.stage).send();
                self.call("FlushStageCache", &subject, call).await.map(|_| ())
            }
            Cache::Authorizers => {
                let call = apigateway.flush_stage_authorizers_cache();
                let call = call.rest_api_id(&stage.api).stage_name(&stage.stage).send();
                self.call("FlushStageAuthorizersCache", &subject, call).await.map(|_| ())
            }
        }
    }

    async fn parameters(&self, names: &[String]) -> Result<Vec<Parameter>, CloudError> {
        let call = self.clients.ssm.get_parameters().set_names(Some(names.to_vec())).send();
        let answer = self.call("GetParameters", &names.join(", "), call).await?;
        Ok(answer.parameters.unwrap_or_default().into_iter().filter_map(parameter).collect())
    }

    async fn parameters_under(&self, path: &str) -> Result<Vec<Parameter>, CloudError> {
        // Ten is the largest page.
        let pages = self.clients.ssm.get_parameters_by_path().path(path).recursive(true).max_results(10);
        let pages = pages.into_paginator().send();
        let pages = self.call("GetParametersByPath", path, pages.collect::<Result<Vec<_>, _>>()).await?;
        let found = pages.into_iter().flat_map(|page| page.parameters.unwrap_or_default());
        Ok(found.filter_map(parameter).collect())
    }

    async fn history(&self, name: &str) -> Result<Vec<Parameter>, CloudError> {
        let pages = self.clients.ssm.get_parameter_history().name(name).into_paginator().send();
        let answer = self.call("GetParameterHistory", name, pages.collect::<Result<Vec<_>, _>>()).await;
        let pages = match answer {
            Err(error) if error.code == "ParameterNotFound" => vec![],
            other => other?,
        };
        let versions = pages.into_iter().flat_map(|page| page.parameters.unwrap_or_default());
        let whole = versions
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
            .overwrite(write == Write::Overwrite)
            .send();
        match self.call("PutParameter", name, call).await {
            Ok(answer) => Ok(Written::Version(answer.version())),
            Err(error) if write == Write::Create && error.code == "ParameterAlreadyExists" => {
                Ok(Written::Exists)
            }
            Err(error) => Err(error),
        }
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmNow>, CloudError> {
        let call = self.describe_alarms().set_alarm_names(Some(names.to_vec())).send();
        let answer = self.call("DescribeAlarms", &names.join(", "), call).await?;
        Ok(alarms::of_page(answer))
    }

    async fn alarms_acting(&self, action: &str) -> Result<Vec<AlarmNow>, CloudError> {
        let pages = self.describe_alarms().action_prefix(action).into_paginator().send();
        let pages = self.call("DescribeAlarms", action, pages.collect::<Result<Vec<_>, _>>()).await?;
        // Emulators tell of every alarm.
        let acts = |now: &AlarmNow| now.actions.iter().any(|arn| arn.starts_with(action));
        Ok(pages.into_iter().flat_map(alarms::of_page).filter(acts).collect())
    }

    async fn states_since(&self, alarm: &str, since: DateTime<Utc>) -> Result<Vec<State>, CloudError> {
        let items = self
            .clients
            .cloudwatch
            .describe_alarm_history()
            .alarm_name(alarm)
            .set_alarm_types(Some(vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm]))
            .history_item_type(HistoryItemType::StateUpdate)
            .start_date(SdkTime::from_secs(since.timestamp()))
            .into_paginator()
            .items()
            .send();
        let items = self.call("DescribeAlarmHistory", alarm, items.collect::<Result<Vec<_>, _>>()).await?;
        Ok(items.iter().filter_map(|item| item.history_data()).flat_map(alarms::of_history).collect())
    }

    async fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<f64, CloudError> {
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let pages = self
            .clients
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(metrics.iter().enumerate().map(alarms::sample_count).collect()))
            .start_time(SdkTime::from_secs(since.timestamp()))
            .end_time(SdkTime::from_secs(until.timestamp()))
            .into_paginator()
            .send();
        let pages =
            self.call("GetMetricData", &names.join(", "), pages.collect::<Result<Vec<_>, _>>()).await?;
        let results = pages.iter().flat_map(GetMetricDataOutput::metric_data_results);
        Ok(results.flat_map(MetricDataResult::values).sum())
    }

    async fn all_alarms(&self) -> Result<Vec<AlarmNow>, CloudError> {
        let pages = self.describe_alarms().into_paginator().send();
        let pages = self.call("DescribeAlarms", "all", pages.collect::<Result<Vec<_>, _>>()).await?;
        Ok(pages.into_iter().flat_map(alarms::of_page).collect())
    }
}

impl Aws {
    fn describe_alarms(
        &self,
    ) -> aws_sdk_cloudwatch::operation::describe_alarms::builders::DescribeAlarmsFluentBuilder {
        // Without the types only metric alarms are told.
        let types = vec![AlarmType::MetricAlarm, AlarmType::CompositeAlarm];
        self.clients.cloudwatch.describe_alarms().set_alarm_types(Some(types))
    }
}
