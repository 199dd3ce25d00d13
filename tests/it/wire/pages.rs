//! Every list is read to its last page: AWS answers with one item for each page.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Alarms, Components, Gateway, Parameters};
use apigw_rollback::model::alarm::{Metric, time};
use apigw_rollback::model::cloud_error::CloudError;
use apigw_rollback::model::protocol::Protocol;
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::alarms::encoded;
use super::settings;
use crate::support::world::NOW;

const PAGES: usize = 3;

/// The page of a list: the member with its one item, and the member with the token of the next page.
fn page(operation: &str, nth: usize) -> Option<Value> {
    let id = format!("item-{nth}");
    let (list, item, token) = match operation {
        "GetRestApis" => ("item", json!({"id": id, "name": id}), "position"),
        "GetAuthorizers" => {
            ("item", json!({"authorizerResultTtlInSeconds": nth / (PAGES - 1) * 300}), "position")
        }
        "GetApis" => ("items", json!({"apiId": id, "name": id, "protocolType": "HTTP"}), "nextToken"),
        "GetStages" => ("items", json!({"stageName": id, "deploymentId": "d"}), "nextToken"),
        "GetApiMappings" => ("items", json!({"apiMappingKey": id, "apiId": id, "stage": id}), "nextToken"),
        "ListRoutingRules" => {
            let conditions = json!([{"matchBasePaths": {"anyOf": [id]}}]);
            ("routingRules", json!({"priority": nth, "conditions": conditions}), "nextToken")
        }
        "GetParametersByPath" | "GetParameterHistory" => {
            ("Parameters", json!({"Name": id, "Value": "{}", "Version": nth}), "NextToken")
        }
        "ListDeployments" => ("deployments", json!(id), "nextToken"),
        "ListDeploymentTargets" => ("targetIds", json!(id), "nextToken"),
        "DescribeAlarms" => (
            "MetricAlarms",
            json!({"AlarmName": id, "StateValue": "OK", "AlarmActions": ["arn"]}),
            "NextToken",
        ),
        "DescribeAlarmHistory" => {
            let states = ["OK", "INSUFFICIENT_DATA", "ALARM"];
            let data = json!({"newState": {"stateValue": states[nth]}}).to_string();
            ("AlarmHistoryItems", json!({ "HistoryData": data }), "NextToken")
        }
        "ListAlarmMuteRules" => {
            let status = if nth + 1 == PAGES { "ACTIVE" } else { "SCHEDULED" };
            ("AlarmMuteRuleSummaries", json!({"AlarmMuteRuleArn": id, "Status": status}), "NextToken")
        }
        "GetMetricData" => ("MetricDataResults", json!({"Id": "q0", "Values": [1.0]}), "NextToken"),
        _ => return None,
    };
    let mut answer = json!({ list: [item] });
    if nth + 1 < PAGES {
        answer[token] = json!(format!("token-{nth}"));
    }
    Some(answer)
}

/// What AWS answers to the calls that are not lists.
fn other(operation: &str) -> Value {
    match operation {
        "GetDomainName" => json!({"routingMode": "ROUTING_RULE_THEN_API_MAPPING"}),
        "BatchGetDeployments" => {
            let one = |nth| json!({"deploymentId": format!("item-{nth}"), "computePlatform": "Lambda"});
            json!({"deploymentsInfo": [one(0), one(1), one(2)]})
        }
        _ => json!({}),
    }
}

/// Returns the operation of a request.
fn operation(request: &http::Request<SdkBody>) -> String {
    if let Some(target) = request.headers().get("x-amz-target") {
        return target.to_str().unwrap().rsplit('.').next().unwrap().to_owned();
    }
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap();
    match last {
        "restapis" => "GetRestApis",
        "apis" => "GetApis",
        "authorizers" => "GetAuthorizers",
        "stages" => "GetStages",
        "apimappings" => "GetApiMappings",
        "routingrules" => "ListRoutingRules",
        "api.example.com" => "GetDomainName",
        other => other,
    }
    .to_owned()
}

/// Calls a verb of the port. Returns what it read, and how often each operation was called.
fn read<T: Debug>(verb: impl AsyncFnOnce(Aws) -> Result<T, CloudError>) -> (String, BTreeMap<String, usize>) {
    let counts = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let counted = Arc::clone(&counts);
    let client = infallible_client_fn(move |request: http::Request<SdkBody>| {
        let operation = operation(&request);
        let mut counts = counted.lock().unwrap();
        let nth = counts.entry(operation.clone()).or_default();
        // The second list of targets begins anew.
        let answer = page(&operation, *nth % PAGES).unwrap_or_else(|| other(&operation));
        *nth += 1;
        let is_cbor = request.uri().to_string().contains("monitoring");
        let body = if is_cbor { encoded(&answer) } else { answer.to_string().into_bytes() };
        let header = if is_cbor { "rpc-v2-cbor" } else { "" };
        http::Response::builder().header("smithy-protocol", header).body(SdkBody::from(body)).unwrap()
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let answer = runtime.block_on(async {
        let clients = Clients::new(&settings(SharedHttpClient::new(client)));
        verb(
            clients.until(Instant::now() + Duration::from_secs(20), Instant::now() + Duration::from_secs(20)),
        )
        .await
    });
    let counts = counts.lock().unwrap().clone();
    (format!("{:?}", answer.unwrap()), counts)
}

fn check<T: Debug>(list: &str, verb: impl AsyncFnOnce(Aws) -> Result<T, CloudError>, expected: &[&str]) {
    let (answer, counts) = read(verb);
    let calls = counts.get(list).copied().unwrap_or_default();
    // CodeDeploy's targets are listed for each of the three deployments.
    let lists = if list == "ListDeploymentTargets" { PAGES } else { 1 };
    assert_eq!(calls, lists * PAGES, "{list}: {counts:?}");
    for text in expected {
        assert!(answer.contains(text), "{list}: `{text}` is not in {answer}");
    }
}

#[test]
fn every_list_is_read_to_its_last_page() {
    let all = ["item-0", "item-1", "item-2"];
    let (since, until) = (time("2026-11-20T08:00:00Z").unwrap(), time(NOW).unwrap());
    let metric = Metric { namespace: "n".into(), name: "m".into(), dimensions: vec![], account: None };
    check("GetRestApis", async |aws| aws.rest_apis().await, &all);
    check("GetApis", async |aws| aws.v2_apis().await, &all);
    check("GetStages", async |aws| aws.stages(Protocol::Http, "a").await, &all);
    check("GetAuthorizers", async |aws| aws.caches_decisions("a").await, &["true"]);
    check("GetParametersByPath", async |aws| aws.parameters_under("/x").await, &all);
    check("GetParameterHistory", async |aws| aws.history("x").await, &all);
    check("DescribeAlarms", async |aws| aws.alarms(&["x".to_owned()]).await, &all);
    check("DescribeAlarms", async |aws| aws.alarms_acting("arn").await, &all);
    check("DescribeAlarms", async |aws| aws.all_alarms().await, &all);
    check(
        "DescribeAlarmHistory",
        async |aws| aws.states_since("x", since).await,
        &["Ok, InsufficientData, Alarm"],
    );
    check("ListAlarmMuteRules", async |aws| aws.muted_by("x").await, &["item-2"]);
    check("GetMetricData", async |aws| aws.samples(&[metric], since, until).await, &["3.0"]);
    check("ListDeployments", async |aws| aws.moving_aliases().await, &[]);
    check("ListDeploymentTargets", async |aws| aws.moving_aliases().await, &[]);
    let last = "api.example.com/item-2".parse().unwrap();
    check("GetApiMappings", async |aws| aws.mapping(Protocol::Http, &last).await, &["item-2"]);
    check("ListRoutingRules", async |aws| aws.routing(Protocol::Rest, &last).await, &all);
}

/// The lists of the port are those whose answer has a token. A new one cannot be forgotten here.
#[test]
fn every_list_of_the_adapter_is_checked() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let ours = std::fs::read_to_string(folder.join("tests/it/wire/pages.rs")).unwrap();
    let ours: String = ours.split_whitespace().collect();
    let mut lists = 0;
    for file in ["alarms", "components", "gateway", "parameters", "v2"] {
        let source = std::fs::read_to_string(folder.join(format!("src/cloud/aws/{file}.rs"))).unwrap();
        let paged = source.split("pages(|next|").skip(1);
        for list in paged.filter_map(|after| after.split("self.call(").nth(1)?.split('"').nth(1)) {
            lists += 1;
            assert!(ours.contains(&format!("check(\"{list}\"")), "{list} is not checked");
        }
    }
    assert!(lists > 10, "{lists}");
}
