//! AWS's recorded answers through the adapter: each is read, or refused with AWS's code.
//!
//! `AWS_RECORDINGS` names the folder, with one JSON file for each answer: `request.operation`, and `response` or
//! `error{status, code, message}`, in the spelling of AWS's Python SDK. Without it, nothing is read. `make record-aws` writes
//! such files, and besides them what it measured, which is no answer.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Alarms, Components, Gateway, Outbox, Parameters, Write};
use apigw_rollback::model::alarm::time;
use apigw_rollback::model::cloud_error::CloudError;
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::signal::{self, Signal};
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::alarms::encoded;
use super::requests::just_seen;
use super::settings;
use crate::support::world::NOW;

/// The members whose text must arrive in what the adapter returns.
const KEPT: [&str; 12] = [
    "deploymentId",
    "DeploymentId",
    "variables",
    "StageVariables",
    "stageVariableOverrides",
    "AlarmName",
    "AlarmDescription",
    "Value",
    "FunctionVersion",
    "RevisionId",
    "restApiId",
    "name",
];

/// Recorded operations that the function does not use, or whose answer it does not read.
const UNUSED: [&str; 30] = [
    "CreateAuthorizer",
    "CreateDeployment",
    "CreateResource",
    "DeleteDeployment",
    "GetDeployments",
    "SetAlarmState",
    "CreateAlias",
    "BatchGetDeployments",
    "ListDeploymentTargets",
    "ListDeployments",
    "SimulatePrincipalPolicy",
    "Lambda event of a publish",
    "SQS message of a publish with MessageStructure json",
    "Publish",
    "DescribeEventBus",
    "EventBridge event of a muted alarm",
    "FilterLogEvents",
    "FlushStageCache",
    "GetAlarmMuteRule",
    "ListAlarmMuteRules",
    "ListMetrics",
    "PutAlarmMuteRule",
    "PutLogAlarm",
    "GetBasePathMappings",
    "CloudControl GetResource AWS::ApiGateway::BasePathMapping",
    "CloudControl GetResource AWS::ApiGatewayV2::ApiMapping",
    "CloudControl GetResource AWS::ApiGateway::Stage",
    "CloudControl GetResource AWS::ApiGatewayV2::Stage",
    "CloudControl GetResource AWS::CloudWatch::Alarm",
    "CloudControl GetResource AWS::CloudWatch::CompositeAlarm",
];

fn is_time(key: &str) -> bool {
    ["Date", "date", "Timestamp"].iter().any(|end| key.ends_with(end)) || key == "Timestamps"
}

/// Converts a recorded answer to the wire format of its service. Times and JSON texts are placeholders in the recordings.
fn on_the_wire(service: &str, key: &str, value: &Value) -> Value {
    match value {
        Value::String(_) if is_time(key) => match service {
            "cloudwatch" if key == "Timestamps" => json!([format!("@{NOW}")]),
            "cloudwatch" => json!(format!("@{NOW}")),
            "apigatewayv2" => json!(NOW),
            _ => json!(time(NOW).unwrap().timestamp()),
        },
        // On the wire, these are JSON in a text.
        Value::Object(_) if ["StateReasonData", "HistoryData"].contains(&key) => json!(value.to_string()),
        Value::Object(fields) => {
            let is_ours = ["variables", "StageVariables", "stageVariables", "tags", "Tags"].contains(&key);
            let spelled = |name: &String| match name.chars().next() {
                Some(first) if service == "apigatewayv2" && !is_ours => {
                    name.replacen(first, &first.to_lowercase().to_string(), 1)
                }
                _ => name.clone(),
            };
            let fields =
                fields.iter().map(|(name, value)| (spelled(name), on_the_wire(service, name, value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(|one| on_the_wire(service, key, one)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Some recordings have only the alarm out of its list, or the list under the Python SDK's own name.
fn whole(response: &Value) -> Value {
    if response.get("AlarmRule").is_some() {
        return json!({ "CompositeAlarms": [response] });
    }
    let Some(items) = response.get("items") else { return response.clone() };
    json!({ "item": items })
}

/// A client that gives every request this answer.
fn client(service: &str, recording: &Value) -> SharedHttpClient {
    let (status, code, body) = match recording.get("error") {
        Some(error) => {
            let code = error["code"].as_str().unwrap().to_owned();
            let body = match error["message"].as_str().unwrap_or_default() {
                "" => json!({ "__type": code }),
                message => json!({ "__type": code, "message": message }),
            };
            (u16::try_from(error["status"].as_u64().unwrap()).unwrap(), code, body)
        }
        None => (200, String::new(), on_the_wire(service, "", &whole(&recording["response"]))),
    };
    let is_cbor = service == "cloudwatch";
    let body = if is_cbor { encoded(&body) } else { body.to_string().into_bytes() };
    let client = infallible_client_fn(move |_| {
        let mut response = http::Response::builder().status(status);
        if is_cbor {
            response = response.header("smithy-protocol", "rpc-v2-cbor");
        }
        if !code.is_empty() {
            response = response.header("x-amzn-errortype", &code);
        }
        response.body(SdkBody::from(body.clone())).unwrap()
    });
    SharedHttpClient::new(client)
}

fn shown<T: Debug>(answer: Result<T, CloudError>) -> Result<String, CloudError> {
    answer.map(|answer| format!("{answer:?}"))
}

/// Makes the call of the port that gets this answer. Returns `None` for an operation that the port does not make.
async fn read(aws: &Aws, service: &str, operation: &str) -> Option<Result<String, CloudError>> {
    let protocol = if service == "apigatewayv2" { Protocol::Http } else { Protocol::Rest };
    let stage = StageRef::new(protocol, "a1b2c3d4e5", "prod");
    let change = StageChange { deployment: Some("d1".to_owned()), ..StageChange::default() };
    let alias = "orders:live".parse().unwrap();
    let target = AliasTarget { version: "1".to_owned(), weights: [].into() };
    let names = ["x".to_owned()];
    let (since, until) = (time("2026-11-19T10:00:00Z").unwrap(), time(NOW).unwrap());
    let mapping = MappingTarget { api: "a1b2c3d4e5".to_owned(), stage: "prod".to_owned() };
    Some(match operation {
        "GetStage" => shown(aws.stage(&stage).await),
        "GetStages" => shown(aws.stages(protocol, "a1b2c3d4e5").await),
        "UpdateStage" | "any" => {
            shown(aws.change_stage(&stage, &change, just_seen(&Release::default())).await)
        }
        "CreateStage" => shown(aws.create_stage(&stage, "d1", "x", &BTreeMap::new()).await),
        "GetDeployment" => shown(aws.deployment(&stage, "d1").await),
        "GetRestApi" => shown(aws.rest_api("a1b2c3d4e5").await),
        "GetRestApis" => shown(aws.rest_apis().await),
        "GetApi" => shown(aws.v2_api("a1b2c3d4e5").await),
        "GetApis" => shown(aws.v2_apis().await),
        "GetAuthorizers" => shown(aws.caches_decisions("a1b2c3d4e5").await),
        "GetApiMappings" => shown(aws.mapping(protocol, &"api.example.com/myTestApi".parse().unwrap()).await),
        "UpdateApiMapping" => shown(
            aws.move_mapping(
                &"api.example.com/x".parse().unwrap(),
                Some("m1"),
                &mapping,
                just_seen(&mapping),
            )
            .await,
        ),
        "DescribeAlarms" => shown(aws.alarms(&names).await),
        "DescribeAlarmHistory" => shown(aws.states_since("x", since).await),
        "GetMetricData" => shown(aws.samples(&[], since, until).await),
        "GetParameters" => shown(aws.parameters(&names).await),
        "GetParametersByPath" => shown(aws.parameters_under("/x").await),
        "GetParameterHistory" => shown(aws.history("x").await),
        "PutParameter" => shown(aws.put_parameter("x", "{}", Write::Create).await),
        "GetAlias" => shown(aws.alias(&alias).await),
        "UpdateAlias" => shown(aws.move_alias(&alias, &target, "r1").await),
        "GetFunctionConfiguration" => shown(aws.has_version(&alias, "1").await),
        "PutEvents" => shown(aws.put_event("default", "x", "{}").await),
        _ => return None,
    })
}

/// What is wrong with the adapter's reading of a recording; `None` if it is right.
fn wrong(service: &str, recording: &Value) -> Option<String> {
    let operation = recording["request"]["operation"].as_str().unwrap();
    if ["SNS message of an alarm action", "payload of a Lambda alarm action"].contains(&operation) {
        let read = signal::read(&recording["response"].to_string());
        let is_alarm = matches!(&read.deliveries[0].signal, Signal::Alarm(_));
        return (!is_alarm).then(|| format!("it is no alarm: {read:?}"));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let answer = runtime.block_on(async {
        let clients = Clients::new(&settings(client(service, recording)));
        read(
            &clients
                .until(Instant::now() + Duration::from_secs(20), Instant::now() + Duration::from_secs(20)),
            service,
            operation,
        )
        .await
    });
    let Some(answer) = answer else {
        return (!UNUSED.contains(&operation)).then(|| "the operation is not read here".to_owned());
    };
    match (answer, recording.get("error")) {
        // What does not exist, or exists already, is an answer.
        (Ok(answer), Some(error)) => {
            let is_answer = error["status"] == 404 || error["code"] == "ParameterAlreadyExists";
            (!is_answer).then(|| format!("{error} is read as {answer}"))
        }
        (Err(error), Some(recorded)) => {
            let same = (error.code.as_str(), error.message.as_str())
                == (recorded["code"].as_str().unwrap(), recorded["message"].as_str().unwrap_or_default());
            let is_empty =
                recorded["message"].as_str().is_none_or(str::is_empty) && error.code == recorded["code"];
            (!same && !is_empty).then(|| format!("{recorded} is read as {error:?}"))
        }
        (Err(error), None) => {
            let refused = recording["response"]["FailedEntryCount"].as_u64().is_some_and(|count| count > 0);
            (!refused).then(|| format!("a good answer is read as {error}"))
        }
        // These return less than AWS does.
        (Ok(_), None) if ["CreateStage", "GetDeployment", "DescribeAlarmHistory"].contains(&operation) => {
            None
        }
        (Ok(answer), None) => lost(&recording["response"], &answer),
    }
}

/// Returns a text of the answer that the adapter lost.
fn lost(response: &Value, answer: &str) -> Option<String> {
    if let Some(list) = response.as_array() {
        return list.iter().find_map(|one| lost(one, answer));
    }
    response.as_object()?.iter().find_map(|(name, value)| {
        let inner =
            value.as_object().into_iter().flat_map(|fields| fields.values().filter_map(Value::as_str));
        let texts = value.as_str().into_iter().chain(inner).filter(|_| KEPT.contains(&name.as_str()));
        let missing = texts.into_iter().find(|text| !answer.contains(format!("{text:?}").as_str()));
        missing.map(|text| format!("{name} `{text}` is not in {answer}")).or_else(|| lost(value, answer))
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_recorded_answer_is_read_as_aws_means_it() {
    let Some(folder) = std::env::var_os("AWS_RECORDINGS").map(PathBuf::from) else {
        println!("AWS_RECORDINGS is not set: no recorded answer is read");
        return;
    };
    let files = files(&folder);
    assert!(files.len() > 100, "AWS_RECORDINGS={}: {} files", folder.display(), files.len());
    let mut differences = Vec::new();
    for file in &files {
        let recording: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        if recording.get("request").is_none() || recording["kind"] == "measured" {
            continue;
        }
        let service = file.parent().unwrap().file_name().unwrap().to_string_lossy();
        differences.extend(wrong(&service, &recording).map(|why| format!("{}: {why}", file.display())));
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), files.len(), differences.join("\n"));
}
