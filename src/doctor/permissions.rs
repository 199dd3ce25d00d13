//! Lists the calls that the function's role must allow, under their IAM names. Pure.

use super::facts::StageReadings;
use crate::cloud::RequiredPermission;
use crate::config::Config;
use crate::model::component::ListedComponents;
use crate::model::observed::OnRecord;
use crate::model::policy::StagePolicy;
use crate::model::stage::StageRef;

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

/// Returns every call that the function makes for these stages, each with its resource.
#[must_use]
pub fn required_permissions(
    config: &Config,
    function: &str,
    stages: &[StageReadings],
) -> Vec<RequiredPermission> {
    let location = Location::of(function);
    let mut all = Vec::new();
    for facts in stages {
        let on_record = facts.observed.as_ref().ok().map(|observed| &observed.on_record);
        let overrides = on_record.map(|on_record| on_record.policy.clone()).unwrap_or_default();
        let policy = config.policy.under(&overrides);
        for_the_stage(&mut all, &location, config, &facts.stage, &policy, on_record);
        for_its_components(&mut all, &location, &facts.stage, &config.listed(&facts.stage, &overrides));
        for_its_records(&mut all, &location, config, &facts.stage);
    }
    require(&mut all, &["ssm:GetParametersByPath"], &location.parameter(&config.names.stages()));
    require(&mut all, &["ssm:GetParameters", "ssm:PutParameter"], &location.parameter(&config.names.sweep()));
    let cloudwatch = [
        "cloudwatch:DescribeAlarms",
        "cloudwatch:DescribeAlarmHistory",
        "cloudwatch:GetMetricData",
        "cloudwatch:ListAlarmMuteRules",
    ];
    require(&mut all, &cloudwatch, "*");
    require(&mut all, &["lambda:GetPolicy"], function);
    if let Some(topic) = &config.alarm_topic {
        require(&mut all, &["sns:ListSubscriptionsByTopic"], topic);
    }
    if let Some(topic) = &config.notification_topic {
        require(&mut all, &["sns:Publish"], topic);
        // One mark stands for all: they differ only in their last segment.
        let mark = location.parameter(&config.names.sent_mark("0"));
        require(&mut all, &["ssm:PutParameter", "ssm:DeleteParameter"], &mark);
        require(&mut all, &["ssm:GetParametersByPath"], &location.parameter(&config.names.sent_marks()));
    }
    if let Some(bus) = &config.event_bus {
        let named = format!(
            "arn:{}:events:{}:{}:event-bus/{bus}",
            location.partition, location.region, location.account
        );
        require(&mut all, &["events:PutEvents"], if bus.starts_with("arn:") { bus } else { &named });
    }
    if let Some(hook) = &config.hook {
        require(&mut all, &["lambda:InvokeFunction"], &location.function(&hook.function));
    }
    all.sort();
    all.dedup();
    all
}

fn require(all: &mut Vec<RequiredPermission>, actions: &[&'static str], resource: &str) {
    all.extend(actions.iter().map(|action| RequiredPermission { action, resource: resource.to_owned() }));
}

fn for_the_stage(
    all: &mut Vec<RequiredPermission>,
    location: &Location,
    config: &Config,
    stage: &StageRef,
    policy: &StagePolicy,
    on_record: Option<&OnRecord>,
) {
    let apis = if stage.protocol.is_v2() { "/apis" } else { "/restapis" };
    let api = format!("{apis}/{}", stage.api);
    let at = |path: &str| location.api_gateway(&format!("{api}{path}"));
    let (itself, parked) = (&stage.stage, stage.parked().stage);
    require(all, &["apigateway:GET", "apigateway:PATCH"], &at(&format!("/stages/{itself}")));
    require(all, &["apigateway:GET"], &at(&format!("/stages/{parked}")));
    require(all, &["apigateway:GET"], &at("/stages"));
    let known_good = on_record.and_then(OnRecord::good);
    if let Some((_, record)) = known_good {
        require(all, &["apigateway:GET"], &at(&format!("/deployments/{}", record.release.deployment)));
    }
    if config.pin {
        require(all, &["apigateway:POST"], &at("/stages"));
        require(all, &["apigateway:PATCH"], &at(&format!("/stages/{parked}")));
    }
    if policy.flush_cache && !stage.protocol.is_v2() {
        require(all, &["apigateway:GET"], &at("/authorizers"));
        require(all, &["apigateway:DELETE"], &at(&format!("/stages/{itself}/cache/data")));
        require(all, &["apigateway:DELETE"], &at(&format!("/stages/{itself}/cache/authorizers")));
    }
}

fn for_its_components(
    all: &mut Vec<RequiredPermission>,
    location: &Location,
    stage: &StageRef,
    listed: &ListedComponents,
) {
    for alias in &listed.aliases {
        let function = location.function(&alias.function);
        require(all, &["lambda:GetAlias", "lambda:UpdateAlias"], &function);
    }
    if !listed.aliases.is_empty() {
        require(all, &["codedeploy:ListDeployments"], "*");
    }
    for mapping in &listed.mappings {
        let domain = format!("/domainnames/{}", mapping.domain);
        require(all, &["apigateway:GET"], &location.api_gateway(&domain));
        require(all, &["apigateway:ListRoutingRules"], &location.routing_rules(&mapping.domain));
        if mapping.is_base_path(stage.protocol) {
            let path = if mapping.path.is_empty() { "(none)" } else { &mapping.path };
            let arn = location.api_gateway(&format!("{domain}/basepathmappings/{path}"));
            require(all, &["apigateway:GET", "apigateway:PATCH"], &arn);
        } else {
            require(all, &["apigateway:GET"], &location.api_gateway(&format!("{domain}/apimappings")));
        }
    }
}

fn for_its_records(
    all: &mut Vec<RequiredPermission>,
    location: &Location,
    config: &Config,
    stage: &StageRef,
) {
    let names = &config.names;
    let (known_good, candidate, rollbacks) =
        (names.known_good(stage), names.candidate(stage), names.rollbacks(stage));
    for name in [&known_good, &candidate, &rollbacks, &names.hold(stage), &names.policy(stage)] {
        require(all, &["ssm:GetParameters"], &location.parameter(name));
    }
    require(all, &["ssm:GetParameterHistory"], &location.parameter(&known_good));
    // One incident stands for all: they differ only in their last segment.
    for name in [&known_good, &candidate, &rollbacks, &names.incident(stage, "000000000000")] {
        require(all, &["ssm:PutParameter"], &location.parameter(name));
    }
    if config.incidents_kept.is_some() {
        require(all, &["ssm:DeleteParameter"], &location.parameter(&names.incident(stage, "000000000000")));
    }
}
