//! The twin's answers to each call.

use std::collections::BTreeMap;

use apigw_rollback::cloud::{Alarms, Components, Gateway, Outbox, Parameters, Wiring};
use apigw_rollback::cloud::{Cache, Cloud, Look, Notification, Seen, Spent, Write, Written};
use apigw_rollback::model::access_log::{DEPLOYMENT, NAMESPACE};
use apigw_rollback::model::alarm::AlarmNow;
use apigw_rollback::model::alarm::{Metric, State, time};
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::datapoint::Datapoint;
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::Parameter;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::routing::Routing;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::stage::{Api, Deployment, LiveStage};
use apigw_rollback::model::traffic::{Bucket, Counter};
use apigw_rollback::model::wiring::{Subscription, TopicNow};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::change::change;
use super::{Facts, NOW, World, error, live, release};

fn apis(facts: &Facts, v2: bool) -> Vec<Api> {
    facts.apis.iter().filter(|api| api.protocol.is_v2() == v2).cloned().collect()
}

impl Gateway for World {
    async fn look(&self, stage: &StageRef) -> Result<Look, CloudError> {
        let mut at = Instant::now();
        let live = self.call("GetStage", stage, |facts| {
            at = Instant::now();
            Ok(facts.stages.get(stage).cloned())
        });
        Ok(Look { live: live.await?, at })
    }

    async fn look_at_once(&self, stage: &StageRef) -> Result<Option<Look>, CloudError> {
        if !self.network.is_free() {
            return Ok(None);
        }
        self.network.turn("GetStage").await;
        let mut at = Instant::now();
        let live = self.call_in_turn("GetStage", stage, true, |facts| {
            at = Instant::now();
            Ok(facts.stages.get(stage).cloned())
        });
        match live.await {
            Err(error) if error.is_throttled() => Ok(None),
            live => Ok(Some(Look { live: live?, at })),
        }
    }

    async fn stages(&self, protocol: Protocol, api: &str) -> Result<Vec<(StageRef, LiveStage)>, CloudError> {
        self.call("GetStages", api, |facts| {
            let all = facts.stages.iter().filter(|(stage, _)| stage.api == api && stage.protocol == protocol);
            Ok(all.map(|(stage, live)| (stage.clone(), live.clone())).collect())
        })
        .await
    }

    async fn change_stage(
        &self,
        stage: &StageRef,
        to: &StageChange,
        seen: Seen<'_, Release>,
    ) -> Result<LiveStage, CloudError> {
        let is_same =
            |facts: &Facts| facts.stages.get(stage).is_some_and(|live| live.release == seen.what.in_stage());
        let call = ("UpdateStage", stage.to_string());
        self.call_while((call.0, &call.1), seen.at, "GetStage", is_same, |facts| change(facts, stage, to))
            .await
    }

    async fn create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
        _tags: &BTreeMap<String, String>,
    ) -> Result<(), CloudError> {
        self.call("CreateStage", stage, |facts| {
            if !facts.deployments.contains(&(stage.api.clone(), deployment.to_owned())) {
                return Err(error(Failure::Refused, "BadRequestException", "Deployment id does not exist"));
            }
            // The SDK sends a request again whose answer was lost.
            if facts.twice || facts.stages.contains_key(stage) {
                let made =
                    facts.stages.entry(stage.clone()).or_insert_with(|| live(release(deployment, &[]), NOW));
                if facts.twice {
                    description.clone_into(&mut made.description);
                }
                return Err(error(Failure::Conflict, "ConflictException", "Stage already exists"));
            }
            let mut made = live(release(deployment, &[]), NOW);
            description.clone_into(&mut made.description);
            facts.stages.insert(stage.clone(), made);
            Ok(())
        })
        .await
    }

    async fn deployment(&self, stage: &StageRef, deployment: &str) -> Result<Option<Deployment>, CloudError> {
        self.call("GetDeployment", format!("{}/{deployment}", stage.api), |facts| {
            let exists = facts.deployments.contains(&(stage.api.clone(), deployment.to_owned()));
            let undeployed = facts.undeployed.iter().find(|(id, _)| id == deployment);
            let undeployed = undeployed.map(|(_, status)| status.clone());
            let description = facts.descriptions.get(deployment).cloned().unwrap_or_default();
            let created = time("2026-11-01T08:00:00Z");
            Ok(exists.then_some(Deployment { created, undeployed, description }))
        })
        .await
    }

    async fn rest_api(&self, id: &str) -> Result<Option<Api>, CloudError> {
        self.call("GetRestApi", id, |facts| Ok(apis(facts, false).into_iter().find(|api| api.id == id))).await
    }

    async fn v2_api(&self, id: &str) -> Result<Option<Api>, CloudError> {
        self.call("GetApi", id, |facts| Ok(apis(facts, true).into_iter().find(|api| api.id == id))).await
    }

    async fn rest_apis(&self) -> Result<Vec<Api>, CloudError> {
        self.call("GetRestApis", "", |facts| Ok(apis(facts, false))).await
    }

    async fn v2_apis(&self) -> Result<Vec<Api>, CloudError> {
        self.call("GetApis", "", |facts| Ok(apis(facts, true))).await
    }

    async fn caches_decisions(&self, api: &str) -> Result<bool, CloudError> {
        self.call("GetAuthorizers", api, |facts| Ok(facts.caches_decisions)).await
    }

    async fn flush(&self, stage: &StageRef, cache: Cache) -> Result<(), CloudError> {
        let operation = match cache {
            Cache::Answers => "FlushStageCache",
            Cache::Authorizers => "FlushStageAuthorizersCache",
        };
        self.call(operation, stage, |_| Ok(())).await
    }
}

impl Components for World {
    async fn alias(&self, alias: &AliasRef) -> Result<Option<LiveAlias>, CloudError> {
        self.call("GetAlias", alias, |facts| Ok(facts.aliases.get(alias).cloned())).await
    }

    async fn move_alias(
        &self,
        alias: &AliasRef,
        to: &AliasTarget,
        revision: &str,
    ) -> Result<LiveAlias, CloudError> {
        self.call("UpdateAlias", format!("{alias} {to}"), |facts| {
            let unknown = || error(Failure::Missing, "ResourceNotFoundException", "Alias not found");
            let now = facts.aliases.get(alias).ok_or_else(unknown)?;
            if now.revision != revision {
                let why = "The Revision Id provided does not match the latest Revision Id";
                return Err(error(Failure::Conflict, "PreconditionFailedException", why));
            }
            facts.point(alias, to);
            let now = facts.aliases.get_mut(alias).ok_or_else(unknown)?;
            if let Some(shown) = facts.components_show {
                shown.clone_into(&mut now.target.version);
            }
            if facts.twice {
                let why = "The Revision Id provided does not match the latest Revision Id";
                return Err(error(Failure::Conflict, "PreconditionFailedException", why));
            }
            Ok(now.clone())
        })
        .await
    }

    async fn has_version(&self, alias: &AliasRef, version: &str) -> Result<bool, CloudError> {
        self.call("GetFunctionConfiguration", format!("{}:{version}", alias.function), |facts| {
            Ok(!facts.lost_versions.contains(&(alias.function.clone(), version.to_owned())))
        })
        .await
    }

    async fn moving_aliases(&self) -> Result<Vec<(String, String)>, CloudError> {
        self.call("ListDeployments", "", |facts| Ok(facts.moving.clone())).await
    }

    async fn mapping(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> Result<Option<LiveMapping>, CloudError> {
        let operation = if mapping.is_base_path(protocol) { "GetBasePathMapping" } else { "GetApiMappings" };
        self.call(operation, mapping, |facts| Ok(facts.mappings.get(mapping).cloned())).await
    }

    async fn routing(&self, _protocol: Protocol, mapping: &MappingRef) -> Result<Routing, CloudError> {
        self.call("GetDomainName", &mapping.domain, |facts| {
            Ok(facts.routing.get(&mapping.domain).cloned().unwrap_or_default())
        })
        .await
    }

    async fn move_mapping(
        &self,
        mapping: &MappingRef,
        id: Option<&str>,
        to: &MappingTarget,
        seen: Seen<'_, MappingTarget>,
    ) -> Result<MappingTarget, CloudError> {
        let (operation, reads) = match id {
            Some(_) => ("UpdateApiMapping", "GetApiMappings"),
            None => ("UpdateBasePathMapping", "GetBasePathMapping"),
        };
        let subject = format!("{mapping} {to}");
        let is_same = |facts: &Facts| facts.mappings.get(mapping).is_some_and(|now| now.target == *seen.what);
        self.call_while((operation, &subject), seen.at, reads, is_same, |facts| {
            let unknown = || error(Failure::Missing, "NotFoundException", "Invalid mapping identifier");
            facts.map(mapping, to);
            let now = facts.mappings.get_mut(mapping).ok_or_else(unknown)?;
            if let Some(shown) = facts.components_show {
                shown.clone_into(&mut now.target.stage);
            }
            Ok(now.target.clone())
        })
        .await
    }
}

impl Parameters for World {
    async fn parameters(&self, names: &[String]) -> Result<Vec<Parameter>, CloudError> {
        assert!((1..=10).contains(&names.len()), "GetParameters takes one to ten names: {names:?}");
        self.call("GetParameters", names.join(" "), |facts| {
            let found = names.iter().filter_map(|wanted| {
                let (name, version) = wanted.split_once(':').unwrap_or((wanted, ""));
                let versions = facts.parameters.get(name)?;
                let at = version.parse().unwrap_or(versions.len());
                let value = versions.get(at.checked_sub(1)?)?;
                Some(Parameter {
                    name: name.to_owned(),
                    value: value.clone(),
                    version: i64::try_from(at).unwrap(),
                })
            });
            Ok(found.collect())
        })
        .await
    }

    async fn parameters_under(&self, path: &str) -> Result<Vec<Parameter>, CloudError> {
        self.call("GetParametersByPath", path, |facts| {
            let below = facts.parameters.iter().filter(|(name, _)| name.starts_with(&format!("{path}/")));
            let newest = below.filter_map(|(name, versions)| {
                let version = i64::try_from(versions.len()).unwrap();
                Some(Parameter { name: name.clone(), value: versions.last()?.clone(), version })
            });
            Ok(newest.collect())
        })
        .await
    }

    async fn history(&self, name: &str) -> Result<Vec<Parameter>, CloudError> {
        self.call("GetParameterHistory", name, |facts| {
            let versions = facts.parameters.get(name).into_iter().flatten().zip(1..);
            let all = versions.map(|(value, version)| Parameter {
                name: name.to_owned(),
                value: value.clone(),
                version,
            });
            Ok(all.collect())
        })
        .await
    }

    async fn put_parameter(&self, name: &str, value: &str, write: Write) -> Result<Written, CloudError> {
        let operation = if write == Write::Create { "CreateParameter" } else { "PutParameter" };
        let key = name;
        self.call(operation, name, |facts| {
            let versions = facts.parameters.entry(key.to_owned()).or_default();
            if write == Write::Create && !versions.is_empty() {
                return Ok(Written::Exists);
            }
            versions.push(value.to_owned());
            let first = versions.len() == 1;
            let (at, name, value) = (facts.now, name.to_owned(), value.to_owned());
            if name.ends_with("/known-good") {
                facts.records.push((at, facts.caller.clone(), value.clone()));
            }
            facts.writes.push(super::LedgerWrite { at, name, value: value.clone(), first });
            if facts.twice && write == Write::Create {
                return Ok(Written::Exists);
            }
            let versions = facts.parameters.entry(key.to_owned()).or_default();
            if facts.twice {
                versions.push(value);
            }
            Ok(Written::Version(i64::try_from(versions.len()).unwrap()))
        })
        .await
    }

    async fn delete_parameter(&self, name: &str) -> Result<(), CloudError> {
        self.call("DeleteParameter", name, |facts| {
            facts.parameters.remove(name);
            Ok(())
        })
        .await
    }
}

impl Alarms for World {
    async fn alarms(&self, names: &[String]) -> Result<Vec<AlarmNow>, CloudError> {
        self.call("DescribeAlarms", names.join(" "), |facts| {
            Ok(facts.alarms.iter().filter(|now| names.contains(&now.alarm.name)).cloned().collect())
        })
        .await
    }

    async fn alarms_acting(&self, action: &str) -> Result<Vec<AlarmNow>, CloudError> {
        self.call("DescribeAlarms", action, |facts| {
            let acts = |now: &&AlarmNow| now.actions.iter().any(|arn| arn.starts_with(action));
            Ok(facts.alarms.iter().filter(acts).cloned().collect())
        })
        .await
    }

    async fn all_alarms(&self) -> Result<Vec<AlarmNow>, CloudError> {
        self.call("DescribeAlarms", "", |facts| Ok(facts.alarms.clone())).await
    }

    async fn muted_by(&self, alarm: &str) -> Result<Option<String>, CloudError> {
        self.call("ListAlarmMuteRules", alarm, |facts| Ok(facts.muted.get(alarm).cloned())).await
    }

    async fn datapoints(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Vec<Datapoint>>, CloudError> {
        self.call("GetMetricData", alarm, |facts| {
            let within = |point: &&Datapoint| since <= point.begins && point.ends <= until;
            Ok(facts.datapoints.get(alarm).map(|all| all.iter().filter(within).copied().collect()))
        })
        .await
    }

    async fn states_since(&self, alarm: &str, since: DateTime<Utc>) -> Result<Vec<State>, CloudError> {
        self.call("DescribeAlarmHistory", alarm, |facts| {
            let ours = facts.transitions.iter().filter(|(name, at, _)| name == alarm && *at >= since);
            Ok(ours.map(|(_, _, state)| *state).collect())
        })
        .await
    }

    async fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<f64, CloudError> {
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.clone()).collect();
        self.call("GetMetricData", names.join(" "), |facts| {
            // Anybody can write other metrics at any time. Those of the access log follow the traffic.
            let is_written =
                metrics.iter().any(|one| !["AWS/ApiGateway", NAMESPACE].contains(&&*one.namespace));
            Ok(if is_written { 1.0 } else { facts.samples_between(since, until) })
        })
        .await
    }

    async fn requests(
        &self,
        counters: &[&Counter],
        _period: TimeDelta,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Vec<Bucket>>, CloudError> {
        let counted: Vec<String> = counters.iter().map(|counter| counted(counter)).collect();
        self.call("GetMetricData", format!("requests of {}", counted.join(", ")), |facts| {
            let within = |bucket: &&Bucket| since <= bucket.begins && bucket.begins <= until;
            let of = |name: &String| facts.requests.get(name).map(Vec::as_slice).unwrap_or_default();
            Ok(counted.iter().map(|name| of(name).iter().filter(within).copied().collect()).collect())
        })
        .await
    }
}

/// The name under which the world keeps the requests that a counter counts.
fn counted(counter: &Counter) -> String {
    let metric = &counter.requests[0].metric;
    if let Some(version) = metric.values("ExecutedVersion").next() {
        return format!("version {version}");
    }
    let deployment = metric.values(DEPLOYMENT).next().map(str::to_owned);
    let whole = if metric.namespace == NAMESPACE { "the access log" } else { "own metrics" };
    deployment.unwrap_or_else(|| whole.to_owned())
}

impl Wiring for World {
    async fn function_policy(&self, function: &str) -> Result<Option<String>, CloudError> {
        self.call("GetPolicy", function, |facts| {
            facts.wiring_refused.clone().map_or_else(|| Ok(facts.policy.clone()), Err)
        })
        .await
    }

    async fn topic(&self, topic: &str) -> Result<Option<TopicNow>, CloudError> {
        self.call("GetTopicAttributes", topic, |facts| {
            let found = facts.topics.contains_key(topic).then(|| facts.alarm_topic.clone());
            facts.wiring_refused.clone().map_or(Ok(found), Err)
        })
        .await
    }

    async fn subscriptions(&self, topic: &str) -> Result<Option<Vec<Subscription>>, CloudError> {
        self.call("ListSubscriptionsByTopic", topic, |facts| {
            facts.wiring_refused.clone().map_or_else(|| Ok(facts.topics.get(topic).cloned()), Err)
        })
        .await
    }
}

impl Outbox for World {
    async fn publish(&self, _topic: &str, notification: &Notification) -> Result<(), CloudError> {
        self.call("Publish", &notification.subject, |facts| {
            facts.notifications.push(notification.clone());
            Ok(())
        })
        .await
    }

    async fn put_event(&self, bus: &str, kind: &str, detail: &str) -> Result<(), CloudError> {
        self.call("PutEvents", format!("{bus} {kind}"), |facts| {
            facts.events.push(detail.to_owned());
            Ok(())
        })
        .await
    }

    async fn invoke(&self, function: &str, _payload: &str, wait: bool) -> Result<(), CloudError> {
        let how = if wait { "and waits" } else { "without waiting" };
        let asked = self.call("Invoke", format!("{function} {how}"), |facts| Ok(facts.hook_takes)).await?;
        tokio::time::sleep(asked).await;
        Ok(())
    }
}

impl Cloud for World {
    fn spent(&self) -> Spent {
        Spent { calls: self.calls_so_far(), retries: 0 }
    }

    fn begin_to_notify(&self) {}
}
