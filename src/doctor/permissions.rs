//! Lists the calls that the function's role must allow, under their IAM names, and what needs them. Pure.

use std::fmt;

use super::facts::{StageReadings, Upkeep};
use crate::cloud::RequiredPermission;
use crate::config::Config;
use crate::model::component::ListedComponents;
use crate::model::observed::OnRecord;
use crate::model::policy::StagePolicy;
use crate::model::protocol::Protocol;
use crate::model::stage::StageRef;

/// What a call serves. Only a call that a rollback needs can keep an alarm from leading to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A rollback fails, or does nothing, without the call.
    Rollback,
    /// A release becomes known-good.
    Promotion,
    /// The known-good deployment cannot be deleted.
    Pin,
    /// The sweep looks after the stages.
    Sweep,
    /// The caches are flushed after a rollback.
    Cache,
    /// The hook runs before and after a rollback. A failed hook never stops a rollback.
    Hook,
    /// People are notified.
    Notification,
    /// Programs are notified.
    Event,
    /// Lambda writes the function's log.
    Log,
    /// Lambda keeps the events that failed on every retry.
    Queue,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollback => "rollbacks",
            Self::Promotion => "promotions",
            Self::Pin => "pins",
            Self::Sweep => "sweeps",
            Self::Cache => "cache flushes",
            Self::Hook => "hooks",
            Self::Notification => "notifications",
            Self::Event => "events",
            Self::Log => "logs",
            Self::Queue => "dead-letter queues",
        })
    }
}

/// A call that the function makes, and what needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The stage for which it makes the call; `None` if the call serves all stages.
    pub stage: Option<StageRef>,
    /// The call and its resource.
    pub permission: RequiredPermission,
    /// What needs the call.
    pub need: Need,
}

/// The function's location, from which the ARNs of the other resources are built.
struct Location {
    partition: String,
    region: String,
    account: String,
}

impl Location {
    fn of(function: &str) -> Self {
        let part = |nth: usize| function.split(':').nth(nth).unwrap_or_default().to_owned();
        Self { partition: part(1), region: part(3), account: part(4) }
    }

    /// Returns the ARN of an API Gateway resource. It names no account.
    fn api_gateway(&self, path: &str) -> String {
        format!("arn:{}:apigateway:{}::{path}", self.partition, self.region)
    }

    /// Returns the ARN of a custom domain's routing rules. Unlike the others of API Gateway, it names the account.
    fn routing_rules(&self, domain: &str) -> String {
        let Self { partition, region, account, .. } = self;
        format!("arn:{partition}:apigateway:{region}:{account}:/domainnames/{domain}/routingrules/*")
    }

    fn parameter(&self, name: &str) -> String {
        format!("arn:{}:ssm:{}:{}:parameter{name}", self.partition, self.region, self.account)
    }

    fn function(&self, name: &str) -> String {
        if name.starts_with("arn:") {
            return name.to_owned();
        }
        format!("arn:{}:lambda:{}:{}:function:{name}", self.partition, self.region, self.account)
    }
}

/// The requirements of one stage, or of all stages.
struct Requirements<'a> {
    all: &'a mut Vec<Requirement>,
    stage: Option<&'a StageRef>,
}

impl Requirements<'_> {
    fn add(&mut self, need: Need, actions: &[&'static str], resource: &str) {
        let stage = self.stage.cloned();
        self.all.extend(actions.iter().map(|action| Requirement {
            stage: stage.clone(),
            permission: RequiredPermission { action, resource: resource.to_owned() },
            need,
        }));
    }
}

/// Returns every call that the function makes for these stages, each with its resource and with what needs it.
#[must_use]
pub fn required_permissions(config: &Config, function: &str, stages: &[StageReadings]) -> Vec<Requirement> {
    let location = Location::of(function);
    let mut all = Vec::new();
    for facts in stages {
        let on_record = facts.observed.as_ref().ok().map(|observed| &observed.on_record);
        let overrides = on_record.map(|on_record| on_record.policy.clone()).unwrap_or_default();
        let policy = config.policy.under(&overrides);
        let mut of = Requirements { all: &mut all, stage: Some(&facts.stage) };
        for_the_stage(&mut of, &location, config, &facts.stage, &policy, on_record);
        for_its_components(&mut of, &location, facts, &config.listed(&facts.stage, &overrides));
        for_its_records(&mut of, &location, config, &facts.stage);
    }
    let mut of = Requirements { all: &mut all, stage: None };
    for_all_stages(&mut of, &location, config);
    of.add(Need::Sweep, &["lambda:GetPolicy"], function);
    if let Some(topic) = &config.alarm_topic {
        of.add(Need::Sweep, &["sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"], topic);
    }
    all.sort();
    all.dedup();
    all
}

/// Returns the calls that Lambda makes with the function's role: to write its log, and to keep failed events.
pub(super) fn required_by_lambda(function: &str, upkeep: &Upkeep) -> Vec<Requirement> {
    let Location { partition, region, account } = Location::of(function);
    let mut all = Vec::new();
    let mut of = Requirements { all: &mut all, stage: None };
    // One stream stands for all: Lambda names them.
    let stream =
        format!("arn:{partition}:logs:{region}:{account}:log-group:{}:log-stream:0", upkeep.log_group);
    of.add(Need::Log, &["logs:CreateLogStream", "logs:PutLogEvents"], &stream);
    for queue in upkeep.queues() {
        of.add(Need::Queue, &["sqs:SendMessage"], queue);
    }
    all
}

fn for_all_stages(all: &mut Requirements<'_>, location: &Location, config: &Config) {
    all.add(Need::Sweep, &["ssm:GetParametersByPath"], &location.parameter(&config.names.stages()));
    let sweep = location.parameter(&config.names.sweep());
    all.add(Need::Sweep, &["ssm:GetParameters", "ssm:PutParameter"], &sweep);
    // An alarm accuses nobody as long as it is unknown whether a mute rule mutes it.
    all.add(Need::Rollback, &["cloudwatch:DescribeAlarms", "cloudwatch:ListAlarmMuteRules"], "*");
    all.add(Need::Promotion, &["cloudwatch:DescribeAlarmHistory", "cloudwatch:GetMetricData"], "*");
    if let Some(topic) = &config.notification_topic {
        all.add(Need::Notification, &["sns:Publish"], topic);
        // One mark stands for all: they differ only in their last segment.
        let mark = location.parameter(&config.names.sent_mark("0"));
        all.add(Need::Notification, &["ssm:PutParameter", "ssm:DeleteParameter"], &mark);
        let marks = location.parameter(&config.names.sent_marks());
        all.add(Need::Notification, &["ssm:GetParametersByPath"], &marks);
    }
    if let Some(bus) = &config.event_bus {
        let Location { partition, region, account } = location;
        let named = format!("arn:{partition}:events:{region}:{account}:event-bus/{bus}");
        let bus = if bus.starts_with("arn:") { bus } else { &named };
        all.add(Need::Event, &["events:PutEvents"], bus);
    }
    if let Some(hook) = &config.hook {
        all.add(Need::Hook, &["lambda:InvokeFunction"], &location.function(&hook.function));
    }
}

fn for_the_stage(
    all: &mut Requirements<'_>,
    location: &Location,
    config: &Config,
    stage: &StageRef,
    policy: &StagePolicy,
    on_record: Option<&OnRecord>,
) {
    let api = api(stage.protocol, &stage.api);
    let at = |path: &str| location.api_gateway(&format!("{api}{path}"));
    let (itself, parked) = (&stage.stage, stage.parked().stage);
    all.add(Need::Rollback, &["apigateway:GET", "apigateway:PATCH"], &at(&format!("/stages/{itself}")));
    all.add(Need::Pin, &["apigateway:GET"], &at(&format!("/stages/{parked}")));
    all.add(Need::Sweep, &["apigateway:GET"], &at("/stages"));
    let known_good = on_record.and_then(OnRecord::good);
    if let Some((_, record)) = known_good {
        let deployment = at(&format!("/deployments/{}", record.release.deployment));
        all.add(Need::Rollback, &["apigateway:GET"], &deployment);
    }
    if config.pin {
        all.add(Need::Pin, &["apigateway:POST"], &at("/stages"));
        all.add(Need::Pin, &["apigateway:PATCH"], &at(&format!("/stages/{parked}")));
    }
    if policy.flush_cache && !stage.protocol.is_v2() {
        all.add(Need::Cache, &["apigateway:GET"], &at("/authorizers"));
        all.add(Need::Cache, &["apigateway:DELETE"], &at(&format!("/stages/{itself}/cache/data")));
        all.add(Need::Cache, &["apigateway:DELETE"], &at(&format!("/stages/{itself}/cache/authorizers")));
    }
}

/// Returns the path of an API.
fn api(protocol: Protocol, id: &str) -> String {
    format!("{}/{id}", if protocol.is_v2() { "/apis" } else { "/restapis" })
}

fn for_its_components(
    all: &mut Requirements<'_>,
    location: &Location,
    facts: &StageReadings,
    listed: &ListedComponents,
) {
    let stage = &facts.stage;
    let observed = facts.observed.as_ref().ok();
    for alias in &listed.aliases {
        let function = location.function(&alias.function);
        all.add(Need::Rollback, &["lambda:GetAlias", "lambda:UpdateAlias"], &function);
        // The recorded version must exist. One version stands for all.
        all.add(Need::Rollback, &["lambda:GetFunctionConfiguration"], &format!("{function}:1"));
    }
    if !listed.aliases.is_empty() {
        let moving = [
            "codedeploy:ListDeployments",
            "codedeploy:BatchGetDeployments",
            "codedeploy:ListDeploymentTargets",
            "codedeploy:BatchGetDeploymentTargets",
        ];
        all.add(Need::Rollback, &moving, "*");
    }
    for mapping in &listed.mappings {
        let domain = format!("/domainnames/{}", mapping.domain);
        all.add(Need::Rollback, &["apigateway:GET"], &location.api_gateway(&domain));
        let rules = location.routing_rules(&mapping.domain);
        all.add(Need::Rollback, &["apigateway:ListRoutingRules"], &rules);
        if mapping.is_base_path(stage.protocol) {
            let path = if mapping.path.is_empty() { "(none)" } else { &mapping.path };
            let arn = location.api_gateway(&format!("{domain}/basepathmappings/{path}"));
            all.add(Need::Rollback, &["apigateway:GET", "apigateway:PATCH"], &arn);
        } else {
            let mappings = location.api_gateway(&format!("{domain}/apimappings"));
            all.add(Need::Rollback, &["apigateway:GET"], &mappings);
            // The ARN has the id of the mapping, so it is known only if the mapping was read.
            let live = observed.and_then(|observed| observed.components.mappings.get(mapping));
            if let Some(id) = live.and_then(|live| live.id.as_ref()) {
                all.add(Need::Rollback, &["apigateway:PATCH"], &format!("{mappings}/{id}"));
            }
        }
        // The recorded target must exist.
        let known_good = observed.and_then(|observed| observed.on_record.good());
        if let Some(target) = known_good.and_then(|(_, record)| record.release.mappings.get(mapping)) {
            let path = format!("{}/stages/{}", api(stage.protocol, &target.api), target.stage);
            all.add(Need::Rollback, &["apigateway:GET"], &location.api_gateway(&path));
        }
    }
}

fn for_its_records(all: &mut Requirements<'_>, location: &Location, config: &Config, stage: &StageRef) {
    let names = &config.names;
    let (known_good, candidate, rollbacks) =
        (names.known_good(stage), names.candidate(stage), names.rollbacks(stage));
    for name in [&known_good, &candidate, &rollbacks, &names.hold(stage), &names.policy(stage)] {
        all.add(Need::Rollback, &["ssm:GetParameters"], &location.parameter(name));
    }
    all.add(Need::Rollback, &["ssm:GetParameterHistory"], &location.parameter(&known_good));
    // One incident stands for all: they differ only in their last segment.
    let incident = location.parameter(&names.incident(stage, "000000000000"));
    all.add(Need::Rollback, &["ssm:PutParameter"], &incident);
    all.add(Need::Rollback, &["ssm:PutParameter"], &location.parameter(&rollbacks));
    for name in [&known_good, &candidate] {
        all.add(Need::Promotion, &["ssm:PutParameter"], &location.parameter(name));
    }
    if config.incidents_kept.is_some() {
        all.add(Need::Sweep, &["ssm:DeleteParameter"], &incident);
    }
}
