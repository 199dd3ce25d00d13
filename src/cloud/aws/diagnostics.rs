//! The port's diagnostics over the SDK.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::types::MetricDataResult;
use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};

use aws_sdk_scheduler::types::{ScheduleState, ScheduleSummary};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use chrono::{DateTime, Utc};

use super::Aws;
use super::alarms::{LASTING, statistic};
use super::call::{found, not_understood, pages};
use crate::cloud::{Diagnostics, FunctionNow, LogClass, RequiredPermission, Schedule};
use crate::model::alarm::Metric;
use crate::model::cloud_error::CloudError;
use crate::model::sibling::SOURCE;

/// The doctor's clients, in addition to those of the port.
#[derive(Clone, Debug)]
pub struct AwsDiagnostics {
    aws: Aws,
    iam: aws_sdk_iam::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    scheduler: aws_sdk_scheduler::Client,
    sqs: aws_sdk_sqs::Client,
}

impl AwsDiagnostics {
    /// Builds the clients for these settings. Their calls have the same deadline as the port's.
    #[must_use]
    pub fn new(settings: &SdkConfig, aws: Aws) -> Self {
        Self {
            aws,
            iam: aws_sdk_iam::Client::new(settings),
            logs: aws_sdk_cloudwatchlogs::Client::new(settings),
            scheduler: aws_sdk_scheduler::Client::new(settings),
            sqs: aws_sdk_sqs::Client::new(settings),
        }
    }

    /// Reads a schedule, of which the list has everything but its expression and its input (`GetSchedule`).
    async fn schedule(&self, listed: ScheduleSummary) -> Result<Schedule, CloudError> {
        let name = listed.name.unwrap_or_default();
        let call = self.scheduler.get_schedule().name(&name).set_group_name(listed.group_name);
        let answer = self.aws.call("GetSchedule", &name, || call.clone().send()).await?;
        let enabled = listed.state == Some(ScheduleState::Enabled);
        let expression = answer.schedule_expression.unwrap_or_default();
        let input = answer.target.and_then(|target| target.input).unwrap_or_default();
        Ok(Schedule { name, enabled, expression, input })
    }
}

impl Diagnostics for AwsDiagnostics {
    async fn function(&self, name: &str) -> Result<Option<FunctionNow>, CloudError> {
        self.aws.clients.function(name).await
    }

    async fn reserved_concurrency(&self, function: &str) -> Result<Option<i32>, CloudError> {
        let call = self.aws.clients.lambda.get_function_concurrency().function_name(function);
        let answer = self.aws.call("GetFunctionConcurrency", function, || call.clone().send()).await?;
        Ok(answer.reserved_concurrent_executions)
    }

    async fn on_failure(&self, function: &str) -> Result<Option<String>, CloudError> {
        let call = self.aws.clients.lambda.get_function_event_invoke_config().function_name(function);
        let answer = self.aws.call("GetFunctionEventInvokeConfig", function, || call.clone().send()).await;
        let destinations = found(answer)?.and_then(|answer| answer.destination_config);
        Ok(destinations.and_then(|all| all.on_failure).and_then(|one| one.destination))
    }

    async fn messages(&self, queue: &str) -> Result<Option<u64>, CloudError> {
        let [account, name] = [4, 5].map(|nth| queue.split(':').nth(nth).unwrap_or_default());
        let call = self.sqs.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        let answer = self.aws.call("GetQueueUrl", queue, || call.clone().send()).await;
        let Some(url) = queue_found(answer)?.and_then(|answer| answer.queue_url) else { return Ok(None) };
        let wanted =
            [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        let call = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(wanted.to_vec()));
        let answer = self.aws.call("GetQueueAttributes", queue, || call.clone().send()).await;
        let Some(answer) = queue_found(answer)? else { return Ok(None) };
        let counts = answer.attributes.unwrap_or_default();
        let mut all = 0;
        for attribute in wanted {
            let count = counts.get(&attribute).and_then(|count| count.parse::<u64>().ok());
            let count = count.ok_or_else(|| {
                let message = format!("the answer has no number for {}", attribute.as_str());
                not_understood("GetQueueAttributes", queue, message)
            })?;
            all += count;
        }
        Ok(Some(all))
    }

    async fn log_class(&self, name: &str) -> Result<Option<LogClass>, CloudError> {
        let page = self.logs.describe_log_groups().log_group_name_prefix(name);
        let groups = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.aws.call("DescribeLogGroups", name, || page.clone().send()).await?;
                Ok((answer.log_groups.unwrap_or_default(), answer.next_token))
            }
        });
        let groups = groups.await?;
        let ours = groups.iter().find(|group| group.log_group_name.as_deref() == Some(name));
        Ok(ours.map(|group| LogClass::parse(group.log_group_class().map(LogGroupClass::as_str))))
    }

    async fn gateway_log_role(&self) -> Result<Option<String>, CloudError> {
        let call = self.aws.clients.apigateway.get_account();
        let account = self.aws.call("GetAccount", "the account", || call.clone().send()).await?;
        Ok(account.cloudwatch_role_arn.filter(|role| !role.is_empty()))
    }

    async fn schedules(&self, function: &str) -> Result<Vec<Schedule>, CloudError> {
        let page = self.scheduler.list_schedules().max_results(100);
        let listed = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.aws.call("ListSchedules", function, || page.clone().send()).await?;
                Ok((answer.schedules, answer.next_token))
            }
        });
        let is_ours = |one: &ScheduleSummary| {
            let rest = one.target.as_ref().and_then(|target| target.arn.strip_prefix(function));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let ours: Vec<ScheduleSummary> = listed.await?.into_iter().filter(is_ours).collect();
        let mut schedules = Vec::new();
        for one in ours {
            schedules.push(self.schedule(one).await?);
        }
        Ok(schedules)
    }

    async fn sum(
        &self,
        metric: &Metric,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<f64>, CloudError> {
        let queries = vec![statistic("q0", metric, "Sum", LASTING)];
        let results = self.aws.metric_data(&metric.name, queries, (since, until)).await?;
        let values: Vec<f64> = results.iter().flat_map(MetricDataResult::values).copied().collect();
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    async fn has_event_bus(&self, bus: &str) -> Result<bool, CloudError> {
        let call = self.aws.clients.eventbridge.describe_event_bus().name(bus);
        match self.aws.call("DescribeEventBus", bus, || call.clone().send()).await {
            // EventBridge answers 400.
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            found => found.map(|_| true),
        }
    }

    async fn refused(
        &self,
        role: &str,
        required_permissions: &[RequiredPermission],
    ) -> Result<Vec<RequiredPermission>, CloudError> {
        let mut by_action: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
        for permission in required_permissions {
            by_action.entry(permission.action).or_default().insert(&permission.resource);
        }
        // One call simulates all actions on the same resources.
        let mut simulations: BTreeMap<BTreeSet<&str>, Vec<&'static str>> = BTreeMap::new();
        for (action, resources) in by_action {
            simulations.entry(resources).or_default().push(action);
        }
        let mut allowed: BTreeSet<(String, String)> = BTreeSet::new();
        for (resources, actions) in simulations {
            let pages = self
                .iam
                .simulate_principal_policy()
                .policy_source_arn(role)
                .set_action_names(Some(actions.iter().map(|action| (*action).to_owned()).collect()))
                .set_resource_arns(Some(resources.iter().map(|arn| (*arn).to_owned()).collect()))
                .set_context_entries(Some(condition_keys(&resources)))
                .into_paginator()
                .items()
                .send();
            let results = pages.collect::<Result<Vec<_>, _>>();
            let results = self.aws.once("SimulatePrincipalPolicy", role, results).await?;
            for result in &results {
                allowed.extend(allows(result, &resources));
            }
        }
        let is_refused =
            |one: &&RequiredPermission| !allowed.contains(&(one.action.to_owned(), one.resource.clone()));
        Ok(required_permissions.iter().filter(is_refused).cloned().collect())
    }
}

/// Turns SQS's error "does not exist" into `None`. SQS answers 400, under the code of its old protocol or of its new one.
fn queue_found<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Err(error)
            if ["NonExistentQueue", "QueueDoesNotExist"].iter().any(|code| error.code.ends_with(code)) =>
        {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

/// Returns the condition keys of the function's calls. Without them, IAM treats a statement that has such a condition
/// as not matching.
fn condition_keys(resources: &BTreeSet<&str>) -> Vec<ContextEntry> {
    let region = resources.iter().filter_map(|arn| arn.split(':').nth(3)).find(|region| !region.is_empty());
    let known = [("aws:RequestedRegion", region), ("events:source", Some(SOURCE))];
    let entry = |(key, value): (&str, Option<&str>)| {
        let entry = ContextEntry::builder().context_key_name(key).context_key_values(value?);
        Some(entry.context_key_type(ContextKeyTypeEnum::String).build())
    };
    known.into_iter().filter_map(entry).collect()
}

/// Returns what one result allows. IAM used to return a result per action and resource, and now returns one per action
/// with the resources inside. A result that names none of our resources applies to all of them.
fn allows(result: &EvaluationResult, asked: &BTreeSet<&str>) -> Vec<(String, String)> {
    let is_allowed =
        |decision: &PolicyEvaluationDecisionType| *decision == PolicyEvaluationDecisionType::Allowed;
    let action = result.eval_action_name.clone();
    let specific = result.resource_specific_results();
    if !specific.is_empty() {
        let allowed = specific.iter().filter(|one| is_allowed(&one.eval_resource_decision));
        return allowed.map(|one| (action.clone(), one.eval_resource_name.clone())).collect();
    }
    if !is_allowed(&result.eval_decision) {
        return vec![];
    }
    match &result.eval_resource_name {
        Some(name) if asked.contains(name.as_str()) => vec![(action, name.clone())],
        Some(_) | None => asked.iter().map(|name| (action.clone(), (*name).to_owned())).collect(),
    }
}
