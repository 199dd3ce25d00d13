//! The port's diagnostics over the SDK.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};

use super::Aws;
use super::outbox::SOURCE;
use crate::cloud::{Diagnostics, FunctionNow, RequiredPermission};
use crate::model::cloud_error::CloudError;

/// The doctor's clients, in addition to those of the port.
#[derive(Clone, Debug)]
pub struct AwsDiagnostics {
    aws: Aws,
    iam: aws_sdk_iam::Client,
}

impl AwsDiagnostics {
    /// Builds the clients for these settings. Their calls have the same deadline as the port's.
    #[must_use]
    pub fn new(settings: &SdkConfig, aws: Aws) -> Self {
        Self { aws, iam: aws_sdk_iam::Client::new(settings) }
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
