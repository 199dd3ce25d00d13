//! The port's components over the SDK: Lambda aliases, CodeDeploy, and the mappings of custom domains.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_apigateway::types::{Op, PatchOperation};
use aws_sdk_codedeploy::types::{ComputePlatform, DeploymentStatus};
use aws_sdk_lambda::types::AliasRoutingConfiguration;

use tokio::time::Instant;

use super::Aws;
use super::call::{found, pages};
use crate::cloud::{Components, Seen};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::component::{LiveAlias, LiveMapping};
use crate::model::protocol::Protocol;
use crate::model::routing::{Routing, RoutingRule};

/// The spelling of a domain's root path in `apigateway`.
const ROOT: &str = "(none)";

/// Converts an alias. The SDK has a separate type for it in each operation, with the same fields.
macro_rules! live_alias {
    ($answer:expr) => {{
        let answer = $answer;
        let weights = answer.routing_config.and_then(|routing| routing.additional_version_weights);
        LiveAlias {
            target: AliasTarget {
                version: answer.function_version.unwrap_or_default(),
                weights: weights
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(version, weight)| (version, weight.to_string()))
                    .collect(),
            },
            revision: answer.revision_id.unwrap_or_default(),
        }
    }};
}

/// Converts the weights to the SDK's type. An empty map clears the alias's weights.
fn routing(weights: &BTreeMap<String, String>) -> AliasRoutingConfiguration {
    let weights =
        weights.iter().filter_map(|(version, weight)| Some((version.clone(), weight.parse().ok()?)));
    let weights: HashMap<String, f64> = weights.collect();
    AliasRoutingConfiguration::builder().set_additional_version_weights(Some(weights)).build()
}

impl Components for Aws {
    async fn alias(&self, alias: &AliasRef) -> Result<Option<LiveAlias>, CloudError> {
        let call = self.clients.lambda.get_alias().function_name(&alias.function).name(&alias.alias);
        Ok(found(self.call("GetAlias", &alias.to_string(), || call.clone().send()).await)?
            .map(|answer| live_alias!(answer)))
    }

    async fn move_alias(
        &self,
        alias: &AliasRef,
        to: &AliasTarget,
        revision: &str,
    ) -> Result<LiveAlias, CloudError> {
        let call = self
            .clients
            .lambda
            .update_alias()
            .function_name(&alias.function)
            .name(&alias.alias)
            .function_version(&to.version)
            .routing_config(routing(&to.weights))
            .revision_id(revision);
        // The revision says that nobody else has changed the alias.
        let same = || std::future::ready(Ok(true));
        let answer = self
            .change("UpdateAlias", &alias.to_string(), Instant::now(), same, || call.clone().send())
            .await;
        answer.map(|answer| live_alias!(answer))
    }

    async fn has_version(&self, alias: &AliasRef, version: &str) -> Result<bool, CloudError> {
        let call = self
            .clients
            .lambda
            .get_function_configuration()
            .function_name(&alias.function)
            .qualifier(version);
        let subject = format!("{}:{version}", alias.function);
        Ok(found(self.call("GetFunctionConfiguration", &subject, || call.clone().send()).await)?.is_some())
    }

    /// Names no application, so CodeDeploy lists the deployments of every application.
    async fn moving_aliases(&self) -> Result<Vec<(String, String)>, CloudError> {
        use DeploymentStatus::{Baking, Created, InProgress, Queued, Ready};
        let codedeploy = &self.clients.codedeploy;
        let running = vec![Created, Queued, InProgress, Baking, Ready];
        let page = codedeploy.list_deployments().set_include_only_statuses(Some(running));
        let ids = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("ListDeployments", "all", || page.clone().send()).await?;
                Ok((answer.deployments.unwrap_or_default(), answer.next_token))
            }
        })
        .await?;
        let mut aliases = Vec::new();
        for id in self.lambda_deployments(&ids).await? {
            let page = codedeploy.list_deployment_targets().deployment_id(&id);
            let subject = id.as_str();
            let targets = pages(|next| {
                let page = page.clone().set_next_token(next);
                async move {
                    let answer = self.call("ListDeploymentTargets", subject, || page.clone().send()).await?;
                    Ok((answer.target_ids.unwrap_or_default(), answer.next_token))
                }
            });
            let targets = targets.await?;
            if targets.is_empty() {
                continue;
            }
            let call =
                codedeploy.batch_get_deployment_targets().deployment_id(&id).set_target_ids(Some(targets));
            let answer = self.call("BatchGetDeploymentTargets", &id, || call.clone().send()).await?;
            let lambda = answer.deployment_targets().iter().filter_map(|target| target.lambda_target());
            aliases.extend(lambda.filter_map(|target| target.lambda_function_info()).filter_map(|info| {
                Some((info.function_name()?.to_owned(), info.function_alias()?.to_owned()))
            }));
        }
        Ok(aliases)
    }

    async fn mapping(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> Result<Option<LiveMapping>, CloudError> {
        if mapping.is_base_path(protocol) {
            self.get_base_path_mapping(mapping).await
        } else {
            self.get_api_mapping(mapping).await
        }
    }

    async fn routing(&self, protocol: Protocol, mapping: &MappingRef) -> Result<Routing, CloudError> {
        let mode = match self.routing_mode(protocol, &mapping.domain).await {
            // An endpoint that does not know custom domains has no routing rules.
            Err(error) if error.failure == Failure::NoSuchOperation => None,
            mode => found(mode)?.flatten(),
        };
        match mode.as_deref() {
            Some("ROUTING_RULE_ONLY") => Ok(Routing::Rules),
            None | Some("API_MAPPING_ONLY") => Ok(Routing::Mappings),
            // A mode that this version does not know may use the rules, too.
            Some(_) => Ok(Routing::RulesThenMappings(self.routing_rules(&mapping.domain).await?)),
        }
    }

    async fn move_mapping(
        &self,
        mapping: &MappingRef,
        id: Option<&str>,
        to: &MappingTarget,
        seen: Seen<'_, MappingTarget>,
    ) -> Result<MappingTarget, CloudError> {
        let subject = mapping.to_string();
        let is_same = || async {
            let now = match id {
                Some(_) => self.get_api_mapping(mapping).await?,
                None => self.get_base_path_mapping(mapping).await?,
            };
            Ok(now.is_some_and(|now| now.target == *seen.what))
        };
        if let Some(id) = id {
            let call = self
                .clients
                .apigatewayv2
                .update_api_mapping()
                .domain_name(&mapping.domain)
                .api_mapping_id(id)
                .api_id(&to.api)
                .stage(&to.stage);
            let answer =
                self.change("UpdateApiMapping", &subject, seen.at, is_same, || call.clone().send()).await?;
            return Ok(MappingTarget {
                api: answer.api_id.unwrap_or_default(),
                stage: answer.stage.unwrap_or_default(),
            });
        }
        let replace = |path: &str, value: &str| {
            PatchOperation::builder().op(Op::Replace).path(path).value(value).build()
        };
        let call = self
            .clients
            .apigateway
            .update_base_path_mapping()
            .domain_name(&mapping.domain)
            .base_path(base_path(mapping))
            // API Gateway spells it this way only here; elsewhere it is `restApiId`.
            .patch_operations(replace("/restapiId", &to.api))
            .patch_operations(replace("/stage", &to.stage));
        let answer =
            self.change("UpdateBasePathMapping", &subject, seen.at, is_same, || call.clone().send()).await?;
        Ok(MappingTarget {
            api: answer.rest_api_id.unwrap_or_default(),
            stage: answer.stage.unwrap_or_default(),
        })
    }
}

impl Aws {
    async fn routing_mode(&self, protocol: Protocol, domain: &str) -> Result<Option<String>, CloudError> {
        if protocol.is_v2() {
            let call = self.clients.apigatewayv2.get_domain_name().domain_name(domain);
            let answer = self.call("GetDomainName", domain, || call.clone().send()).await?;
            return Ok(answer.routing_mode.map(|mode| mode.as_str().to_owned()));
        }
        let call = self.clients.apigateway.get_domain_name().domain_name(domain);
        let answer = self.call("GetDomainName", domain, || call.clone().send()).await?;
        Ok(answer.routing_mode.map(|mode| mode.as_str().to_owned()))
    }

    async fn routing_rules(&self, domain: &str) -> Result<Vec<RoutingRule>, CloudError> {
        let page = self.clients.apigatewayv2.list_routing_rules().domain_name(domain);
        let rules = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("ListRoutingRules", domain, || page.clone().send()).await?;
                Ok((answer.routing_rules.unwrap_or_default(), answer.next_token))
            }
        });
        let rules = rules.await?.into_iter().map(|rule| {
            let conditions = rule.conditions.unwrap_or_default().into_iter();
            let base_paths = conditions.filter_map(|one| one.match_base_paths?.any_of).flatten().collect();
            RoutingRule { priority: rule.priority.unwrap_or_default(), base_paths }
        });
        Ok(rules.collect())
    }

    /// Returns the deployments that move Lambda aliases. Other deployments can have hundreds of targets, which the
    /// function does not need to read.
    async fn lambda_deployments(&self, ids: &[String]) -> Result<Vec<String>, CloudError> {
        let mut lambda = Vec::new();
        // One call accepts at most 25 ids.
        for ids in ids.chunks(25) {
            let call = self.clients.codedeploy.batch_get_deployments();
            let call = call.set_deployment_ids(Some(ids.to_vec()));
            let answer = self.call("BatchGetDeployments", &ids.join(", "), || call.clone().send()).await?;
            let ours = answer
                .deployments_info()
                .iter()
                .filter(|info| info.compute_platform() == Some(&ComputePlatform::Lambda));
            lambda.extend(ours.filter_map(|info| info.deployment_id().map(str::to_owned)));
        }
        Ok(lambda)
    }

    async fn get_base_path_mapping(&self, mapping: &MappingRef) -> Result<Option<LiveMapping>, CloudError> {
        let call = self.clients.apigateway.get_base_path_mapping();
        let call = call.domain_name(&mapping.domain).base_path(base_path(mapping));
        let answer =
            found(self.call("GetBasePathMapping", &mapping.to_string(), || call.clone().send()).await)?;
        Ok(answer.map(|answer| LiveMapping {
            target: MappingTarget {
                api: answer.rest_api_id.unwrap_or_default(),
                stage: answer.stage.unwrap_or_default(),
            },
            id: None,
        }))
    }

    async fn get_api_mapping(&self, mapping: &MappingRef) -> Result<Option<LiveMapping>, CloudError> {
        let page = self.clients.apigatewayv2.get_api_mappings().domain_name(&mapping.domain);
        let mappings = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("GetApiMappings", &mapping.domain, || page.clone().send()).await?;
                Ok((answer.items.unwrap_or_default(), answer.next_token))
            }
        });
        // The root has no key, an empty key, or the spelling of base path mappings.
        let is_it = |key: Option<&str>| match key {
            None | Some(ROOT) => mapping.path.is_empty(),
            Some(key) => key == mapping.path,
        };
        let mut mappings = found(mappings.await)?.unwrap_or_default().into_iter();
        Ok(mappings.find(|one| is_it(one.api_mapping_key())).map(|one| LiveMapping {
            target: MappingTarget {
                api: one.api_id.unwrap_or_default(),
                stage: one.stage.unwrap_or_default(),
            },
            id: one.api_mapping_id,
        }))
    }
}

fn base_path(mapping: &MappingRef) -> &str {
    if mapping.path.is_empty() { ROOT } else { &mapping.path }
}
