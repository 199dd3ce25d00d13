//! The access-log format that turns each request into high-resolution metrics: a document in CloudWatch's embedded
//! metric format, made of API Gateway's own variables (`accessLogSettings.format` of a stage).

use serde_json::{Value, json};

use crate::model::protocol::Protocol;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "apigw-rollback/access-log";

/// The metric whose values are HTTP status codes. The statistic `PR(499:599)` is the share of 5xx, in percent.
pub const STATUS: &str = "Status";

/// The metric of the response latency, in milliseconds. API Gateway knows none for a WebSocket API.
pub const LATENCY: &str = "Latency";

const API: &str = "ApiId";
const STAGE: &str = "Stage";
const DEPLOYMENT: &str = "DeploymentId";

/// Returns the format of a protocol's access logs: one line, which API Gateway completes for each request.
///
/// API Gateway neither quotes nor escapes a value, and writes a missing one as `-`. So every variable here has a value
/// without quotes and backslashes, and a number without a value makes its line invalid instead of wrong.
#[must_use]
pub fn format(protocol: Protocol) -> String {
    let texts = texts(protocol);
    let numbers = numbers(protocol);
    let mut members = vec![metadata(&texts, &numbers)];
    members.extend(texts.iter().map(|(name, variable)| format!(r#""{name}":"$context.{variable}""#)));
    members.extend(numbers.iter().map(|(name, variable)| format!(r#""{name}":$context.{variable}"#)));
    // API Gateway requires one of two request ids. A client of a REST API can set the other one, `requestId`.
    members.push(r#""RequestId":"$context.extendedRequestId""#.to_owned());
    format!("{{{}}}", members.join(","))
}

/// Returns the dimensions with their variables. Only a REST API has a variable for the deployment.
fn texts(protocol: Protocol) -> Vec<(&'static str, &'static str)> {
    let mut texts = vec![(API, "apiId"), (STAGE, "stage")];
    if protocol == Protocol::Rest {
        texts.push((DEPLOYMENT, "deploymentId"));
    }
    texts
}

/// Returns the metrics with their variables.
fn numbers(protocol: Protocol) -> Vec<(&'static str, &'static str)> {
    let mut numbers = vec![(STATUS, "status")];
    if protocol != Protocol::WebSocket {
        numbers.push((LATENCY, "responseLatency"));
    }
    numbers
}

/// Returns the member that tells CloudWatch which members are metrics, and by which dimensions.
fn metadata(texts: &[(&str, &str)], numbers: &[(&str, &str)]) -> String {
    let mut sets = vec![vec![API, STAGE]];
    if texts.iter().any(|(name, _)| *name == DEPLOYMENT) {
        sets.push(vec![API, STAGE, DEPLOYMENT]);
    }
    let metrics: Vec<Value> = numbers.iter().map(|(name, _)| definition(name)).collect();
    let directive = json!([{"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": metrics}]);
    format!(r#""_aws":{{"Timestamp":$context.requestTimeEpoch,"CloudWatchMetrics":{directive}}}"#)
}

fn definition(name: &str) -> Value {
    if name == LATENCY {
        json!({"Name": name, "StorageResolution": 1, "Unit": "Milliseconds"})
    } else {
        json!({"Name": name, "StorageResolution": 1})
    }
}
