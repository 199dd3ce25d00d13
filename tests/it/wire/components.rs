//! The exact requests beyond a REST stage: HTTP stages, Lambda aliases, CodeDeploy, mappings and caches.

use std::time::Duration;

use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_cbor::Encoder;
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::DateTime as SdkTime;
use serde_json::{Value, json};
use tokio::time::Instant;

use apigw_rollback::cloud::Components;
use apigw_rollback::cloud::aws::Clients;
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::print;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::routing::{Routing, RoutingRule};
use apigw_rollback::model::stage::StageRef;

use super::{
    KNOWN_GOOD, SSM, STAGE, back, bad, check_on, cloudwatch, describe_alarm, exchange, get_record, get_stage,
    no_mute_rules, no_requests, operations, put_one, settings, update_stage,
};
use crate::support::world::{FUNCTION, record, release};

const WHOLE: &[(&str, &str)] = &[
    (
        "PROTECTED_STAGES",
        r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"],
    "mappings":["api.example.com/orders"]}]"#,
    ),
    ("FLUSH_CACHE", "on"),
];
const LAMBDA: &str = "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/orders";
const CODEDEPLOY: &str = "https://codedeploy.eu-west-1.amazonaws.com/";
const APIGATEWAY: &str = "https://apigateway.eu-west-1.amazonaws.com";

fn whole() -> Release {
    let alias = AliasTarget { version: "1".to_owned(), weights: [].into() };
    let target = MappingTarget { api: "a1b2c3d4e5".to_owned(), stage: "prod".to_owned() };
    Release {
        aliases: [("orders:live".parse().unwrap(), alias)].into(),
        mappings: [("api.example.com/orders".parse().unwrap(), target)].into(),
        ..release("d1", &[("release", "1"), ("same", "s"), ("gone", "g")])
    }
}

fn codedeploy(request: &Value, answer: &Value) -> ReplayEvent {
    exchange("POST", CODEDEPLOY, request.to_string(), 200, answer.to_string())
}

fn none_running() -> ReplayEvent {
    let running = ["Created", "Queued", "InProgress", "Baking", "Ready"];
    codedeploy(&json!({"includeOnlyStatuses": running}), &json!({"deployments": []}))
}

/// The reads for a release with an alias and a mapping, both bad.
fn component_reads(weights: &Value, running: ReplayEvent) -> Vec<ReplayEvent> {
    let alias = json!({"Name": "live", "FunctionVersion": "2", "RevisionId": "r1", "RoutingConfig": weights});
    let version = json!({"FunctionName": "orders", "Version": "1"});
    let mapping = json!({"basePath": "orders", "restApiId": "a1b2c3d4e5", "stage": "green"});
    vec![
        get_stage(&bad()),
        get_record(&print(&record(whole())).unwrap()),
        describe_alarm("ALARM"),
        no_mute_rules(),
        no_requests(),
        exchange("GET", &format!("{LAMBDA}/aliases/live"), "", 200, alias.to_string()),
        exchange("GET", &format!("{LAMBDA}/configuration?Qualifier=1"), "", 200, version.to_string()),
        exchange("GET", &mapping_uri(), "", 200, mapping.to_string()),
        exchange("GET", &format!("{APIGATEWAY}/domainnames/api.example.com"), "", 200, "{}"),
        running,
        exchange(
            "GET",
            &format!("{APIGATEWAY}/restapis/a1b2c3d4e5/deployments/d1"),
            "",
            200,
            r#"{"id":"d1"}"#,
        ),
    ]
}

fn mapping_uri() -> String {
    format!("{APIGATEWAY}/domainnames/api.example.com/basepathmappings/orders")
}

#[test]
fn a_whole_release_is_rolled_back_by_one_put_and_two_patches() {
    let mut conversation = component_reads(&json!({"AdditionalVersionWeights": {"3": 0.1}}), none_running());
    let alias = json!({"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {}}, "RevisionId": "r1"});
    let moved = json!({"Name": "live", "FunctionVersion": "1", "RevisionId": "r2"});
    conversation.push(put_one());
    conversation.push(exchange(
        "PUT",
        &format!("{LAMBDA}/aliases/live"),
        alias.to_string(),
        200,
        moved.to_string(),
    ));
    conversation.push(update_stage(&operations(), 200, &back()));
    let mapping = json!({"patchOperations": [
        {"op": "replace", "path": "/restapiId", "value": "a1b2c3d4e5"},
        {"op": "replace", "path": "/stage", "value": "prod"},
    ]});
    let mapped = json!({"basePath": "orders", "restApiId": "a1b2c3d4e5", "stage": "prod"});
    conversation.extend([
        exchange("PATCH", &mapping_uri(), mapping.to_string(), 200, mapped.to_string()),
        exchange("GET", &format!("{LAMBDA}/aliases/live"), "", 200, moved.to_string()),
        exchange("GET", STAGE, "", 200, back().to_string()),
        exchange("GET", &mapping_uri(), "", 200, mapped.to_string()),
    ]);
    let authorizers = format!("{APIGATEWAY}/restapis/a1b2c3d4e5/authorizers?limit=500");
    conversation.extend([
        put_one(),
        exchange("DELETE", &format!("{STAGE}/cache/data"), "", 202, ""),
        exchange("GET", &authorizers, "", 200, r#"{"item":[{"id":"a","authorizerResultTtlInSeconds":300}]}"#),
        exchange("DELETE", &format!("{STAGE}/cache/authorizers"), "", 202, ""),
    ]);
    let (report, _) = check_on(WHOLE, "sns-alarm", conversation);
    assert_eq!(
        report.message,
        "rest/a1b2c3d4e5/prod was rolled back: alias `orders:live` 2 (and 3 by 0.1) -> 1; deployment `d2` -> `d1`; \
         stage variables set: gone, release; stage variables removed: new; \
         mapping `api.example.com/orders` a1b2c3d4e5/green -> a1b2c3d4e5/prod (known-good version 3)"
    );
    assert_eq!(report.warnings, Vec::<String>::new());
}

#[test]
fn codedeploy_is_asked_which_aliases_its_running_deployments_move() {
    let listed = json!({"deployments": ["d-AAAA", "d-EC2"]});
    let kinds = json!({"deploymentsInfo": [
        {"deploymentId": "d-AAAA", "computePlatform": "Lambda"}, {"deploymentId": "d-EC2", "computePlatform": "Server"},
    ]});
    let running = ["Created", "Queued", "InProgress", "Baking", "Ready"];
    let mut conversation =
        component_reads(&Value::Null, codedeploy(&json!({"includeOnlyStatuses": running}), &listed));
    let targets = json!({"deploymentTargets": [{"deploymentTargetType": "LambdaTarget", "lambdaTarget":
        {"lambdaFunctionInfo": {"functionName": "orders", "functionAlias": "live", "currentVersion": "1"}}}]});
    // The function reads from CodeDeploy and reads the deployment at the same time.
    let deployment = conversation.pop().unwrap();
    conversation.extend([
        codedeploy(&json!({"deploymentIds": ["d-AAAA", "d-EC2"]}), &kinds),
        codedeploy(&json!({"deploymentId": "d-AAAA"}), &json!({"targetIds": ["d-AAAA:orders"]})),
        codedeploy(&json!({"deploymentId": "d-AAAA", "targetIds": ["d-AAAA:orders"]}), &targets),
        deployment,
    ]);
    let (report, _) = check_on(WHOLE, "sns-alarm", conversation);
    assert_eq!(report.code(), Some("codedeploy-running"));
    assert_eq!(report.message, "a running CodeDeploy deployment moves the alias `orders:live`");
}

const HTTP: &[(&str, &str)] = &[(
    "PROTECTED_STAGES",
    r#"[{"api":"ju6maoy9o2","name":"web","stage":"$default","protocol":"http",
    "mappings":["api.example.com"]}]"#,
)];
const WEB: &str = "https://apigateway.eu-west-1.amazonaws.com/v2/apis/ju6maoy9o2";

fn web(deployment: &str, variables: &Value) -> Value {
    json!({
        "stageName": "$default", "deploymentId": deployment, "stageVariables": variables, "autoDeploy": false,
        "lastUpdatedDate": "2026-11-20T10:00:00Z", "tags": {"team": "web"},
        "defaultRouteSettings": {"detailedMetricsEnabled": true, "throttlingBurstLimit": 100, "throttlingRateLimit": 50.0},
    })
}

#[test]
fn an_http_stage_is_rolled_back_by_plain_fields_and_its_mapping_by_id() {
    let stage = StageRef::new(Protocol::Http, "ju6maoy9o2", "$default");
    let mut recorded = record(release("d1", &[("release", "1"), ("same", "s")]));
    recorded.stage = stage;
    let target = MappingTarget { api: "ju6maoy9o2".to_owned(), stage: "$default".to_owned() };
    recorded.release.mappings = [("api.example.com".parse().unwrap(), target)].into();
    let name = KNOWN_GOOD.replace("a1b2c3d4e5/prod", "ju6maoy9o2/_24default");
    let kept = json!({"Parameters": [{"Name": name, "Value": print(&recorded).unwrap(), "Version": 3}]});
    let mappings = "https://apigateway.eu-west-1.amazonaws.com/v2/domainnames/api.example.com/apimappings";
    let listed = json!({"items": [
        {"apiMappingId": "m0", "apiMappingKey": "other", "apiId": "zzzzzzzzzz", "stage": "x"},
        {"apiMappingId": "m1", "apiMappingKey": "", "apiId": "ju6maoy9o2", "stage": "green"},
    ]});
    // An empty value removes a variable. Unchanged variables are sent again, because AWS does not document whether
    // they would stay.
    let change = json!({"deploymentId": "d1", "stageVariables": {"new": "", "release": "1", "same": "s"}});
    let mapping = json!({"apiId": "ju6maoy9o2", "stage": "$default"});
    let mapped =
        json!({"apiMappingId": "m1", "apiMappingKey": "", "apiId": "ju6maoy9o2", "stage": "$default"});
    let live = web("d2", &json!({"release": "2", "same": "s", "new": "n"}));
    let there = web("d1", &json!({"release": "1", "same": "s"}));
    let uri = format!("{WEB}/stages/%24default");
    let conversation = vec![
        exchange("GET", &uri, "", 200, live.to_string()),
        exchange("POST", SSM, "put", 200, kept.to_string()),
        cloudwatch("DescribeAlarms", web_alarm),
        no_mute_rules(),
        no_requests(),
        exchange("GET", mappings, "", 200, listed.to_string()),
        exchange("GET", mappings.trim_end_matches("/apimappings"), "", 200, "{}"),
        exchange("GET", &format!("{WEB}/deployments/d1"), "", 200, r#"{"deploymentStatus":"DEPLOYED"}"#),
        put_one(),
        exchange("PATCH", &uri, change.to_string(), 200, there.to_string()),
        exchange("PATCH", &format!("{mappings}/m1"), mapping.to_string(), 200, mapped.to_string()),
        exchange("GET", &uri, "", 200, there.to_string()),
        exchange("GET", mappings, "", 200, json!({ "items": [mapped] }).to_string()),
        put_one(),
    ];
    let (report, _) = check_on(HTTP, "sns-alarm-http-api", conversation);
    assert_eq!(
        report.message,
        "http/ju6maoy9o2/$default was rolled back: deployment `d2` -> `d1`; stage variables set: release; stage variables \
         removed: new; mapping `api.example.com` ju6maoy9o2/green -> ju6maoy9o2/$default (known-good version 3)"
    );
}

fn web_alarm(encoder: &mut Encoder) {
    encoder.begin_map().str("MetricAlarms").array(1).begin_map();
    encoder.str("AlarmName").str("web-5xx").str("StateValue").str("ALARM");
    encoder.str("StateTransitionedTimestamp").timestamp(&SdkTime::from_secs(1_795_169_112));
    encoder.str("AlarmActions").array(1).str(FUNCTION);
    encoder.str("Namespace").str("AWS/ApiGateway").str("MetricName").str("5xx").str("Dimensions").array(2);
    encoder.begin_map().str("Name").str("ApiId").str("Value").str("ju6maoy9o2").end();
    encoder.begin_map().str("Name").str("Stage").str("Value").str("$default").end();
    encoder.end().end();
}

/// Reads the routing of a domain with these answers, the pages of its rules among them.
fn routing_of(answers: &[Value]) -> Routing {
    let events =
        answers.iter().map(|answer| exchange("GET", "https://x.example.com", "", 200, answer.to_string()));
    let client = StaticReplayClient::new(events.collect());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clients = Clients::new(&settings(SharedHttpClient::new(client)));
        let aws =
            clients.until(Instant::now() + Duration::from_secs(20), Instant::now() + Duration::from_secs(20));
        aws.routing(Protocol::Rest, &"api.example.com/orders".parse().unwrap()).await.unwrap()
    })
}

#[test]
fn the_routing_of_a_domain_is_read_with_all_its_rules() {
    let rule = |priority: i32, conditions: Value| json!({"priority": priority, "conditions": conditions});
    let paths = json!([{"matchBasePaths": {"anyOf": ["orders", "carts"]}}, {"matchHeaders": {"anyOf": []}}]);
    for (answers, expected) in [
        (vec![json!({})], Routing::Mappings),
        (vec![json!({"routingMode": "API_MAPPING_ONLY"})], Routing::Mappings),
        (vec![json!({"routingMode": "ROUTING_RULE_ONLY"})], Routing::Rules),
        (
            vec![
                json!({"routingMode": "ROUTING_RULE_THEN_API_MAPPING"}),
                json!({"routingRules": [rule(10, paths)], "nextToken": "2"}),
                json!({"routingRules": [rule(20, json!([]))]}),
            ],
            Routing::RulesThenMappings(vec![
                RoutingRule { priority: 10, base_paths: vec!["orders".to_owned(), "carts".to_owned()] },
                RoutingRule { priority: 20, base_paths: vec![] },
            ]),
        ),
        (
            vec![json!({"routingMode": "AS_TOMORROW"}), json!({"routingRules": []})],
            Routing::RulesThenMappings(vec![]),
        ),
    ] {
        assert_eq!(routing_of(&answers), expected);
    }
}
