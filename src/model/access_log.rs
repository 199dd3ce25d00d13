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

/// The dimension of the API's id.
pub const API: &str = "ApiId";

/// The dimension of the stage's name.
pub const STAGE: &str = "Stage";

/// The dimension of the deployment's id. REST only.
pub const DEPLOYMENT: &str = "DeploymentId";

/// The access log of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// The ARN of the log group or the Firehose stream; empty if API Gateway names none.
    pub destination: String,
    /// The format of its lines.
    pub format: String,
}

/// By which dimensions the lines of an access log count in the metrics `Status` and `Latency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// By the API and the stage only.
    ByStage,
    /// Also by the deployment that answered.
    ByDeployment,
}

impl AccessLog {
    /// Returns how CloudWatch counts the lines; `None` if their format is not one that [`format()`] makes. People may have
    /// added members or spaces, so only what CloudWatch needs is compared.
    #[must_use]
    pub fn counted(&self) -> Option<Counted> {
        let dense: String = self.format.chars().filter(|one| !one.is_whitespace()).collect();
        let has = |member: &str| dense.contains(member);
        let counts = has(&format!(r#""Namespace":"{NAMESPACE}""#))
            && has(r#""Status":$context.status"#)
            && has(r#""ApiId":"$context.apiId""#)
            && has(r#""Stage":"$context.stage""#);
        let by_deployment =
            has(r#"["ApiId","Stage","DeploymentId"]"#) && has(r#""DeploymentId":"$context.deploymentId""#);
        counts.then_some(if by_deployment { Counted::ByDeployment } else { Counted::ByStage })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_log_counts_by_what_its_format_names() {
        let rest = format(Protocol::Rest);
        let spaced = rest.replace(':', ": ").replace(',', " ,\n");
        let without_deployment = rest.replace(r#""DeploymentId":"$context.deploymentId","#, "");
        let of_old = rest.replace("access-log", "other");
        for (case, format, expected) in [
            ("REST", rest.clone(), Some(Counted::ByDeployment)),
            ("HTTP", format(Protocol::Http), Some(Counted::ByStage)),
            ("WebSocket", format(Protocol::WebSocket), Some(Counted::ByStage)),
            ("with spaces, as a template may write it", spaced, Some(Counted::ByDeployment)),
            (
                "with a member of its own",
                rest.replacen('{', r#"{"Own":"1","#, 1),
                Some(Counted::ByDeployment),
            ),
            ("without its deployment", without_deployment, Some(Counted::ByStage)),
            ("of another namespace", of_old, None),
            ("common log format", "$context.identity.sourceIp $context.status".to_owned(), None),
            ("none", String::new(), None),
        ] {
            let log = AccessLog { format, ..AccessLog::default() };
            assert_eq!(log.counted(), expected, "{case}");
        }
    }
}
