//! What the endpoint's AWS looks like: one stage, some parameters, one alarm; and a count of what was asked.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ciborium::Value as Cbor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::Request;

/// What a stage serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The deployment's id.
    pub deployment: String,
    /// The stage variables.
    pub variables: BTreeMap<String, String>,
}

/// One request that was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// The operation.
    pub name: String,
    /// When it came, in nanoseconds since 1970.
    pub came: u64,
    /// When its answer went out.
    pub went: u64,
    /// Whether it is one of the stub's; else the candidate does something the bench knows nothing of.
    pub known: bool,
}

/// The state, and what was asked of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// How long every answer takes, in milliseconds.
    pub latency_ms: u64,
    /// The stage.
    pub stage: Stage,
    /// When it was changed last, in seconds since 1970.
    pub updated: i64,
    /// The parameters by their names.
    pub parameters: BTreeMap<String, String>,
    /// The name of the alarm that is in ALARM.
    pub alarm: String,
    /// The signed requests since the last reset.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// The requests without a signature since the candidate started: what warms a connection.
    #[serde(default)]
    pub unsigned: u32,
    /// The TLS connections by service since the candidate started.
    #[serde(default)]
    pub connections: BTreeMap<String, u32>,
}

/// An answer: status, content type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// Nanoseconds since 1970: the two processes share this clock.
pub fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// How long every answer takes.
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// The operation's name, whether it is known, and its answer.
    pub fn answer(&mut self, service: &str, request: &Request) -> (String, bool, Answer) {
        let (name, answer) = match service {
            "ssm" => {
                let target = request.header("x-amz-target").unwrap_or("none");
                let name = target.rsplit('.').next().unwrap_or(target);
                let body = serde_json::from_slice(&request.body).unwrap_or_default();
                (name.to_owned(), self.parameter_store(name, &body))
            }
            "apigateway" => self.gateway(request),
            _ => {
                let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
                let answer = (name == "DescribeAlarms").then(|| self.describe_alarms());
                (name, answer)
            }
        };
        let known = answer.is_some();
        let refusal = || {
            let body = json!({"__type": "UnknownOperationException", "message": "the stub does not know it"});
            (400, "application/json", body.to_string().into_bytes())
        };
        (name, known, answer.unwrap_or_else(refusal))
    }

    fn parameter_store(&mut self, operation: &str, body: &Value) -> Option<Answer> {
        let json =
            |status, body: Value| Some((status, "application/x-amz-json-1.1", body.to_string().into_bytes()));
        let found = |name: &str| {
            let value = self.parameters.get(name)?;
            Some(json!({"Name": name, "Type": "String", "Value": value, "Version": 3, "DataType": "text",
                "LastModifiedDate": self.updated,
                "ARN": format!("arn:aws:ssm:eu-west-1:123456789012:parameter{name}")}))
        };
        let name = body["Name"].as_str().unwrap_or_default();
        match operation {
            "GetParameter" => match found(name) {
                Some(parameter) => json(200, json!({"Parameter": parameter})),
                None => json(400, json!({"__type": "ParameterNotFound"})),
            },
            "GetParameters" => {
                let names: Vec<&str> = body["Names"].as_array()?.iter().filter_map(Value::as_str).collect();
                let parameters: Vec<Value> = names.iter().filter_map(|name| found(name)).collect();
                let missing: Vec<&&str> = names.iter().filter(|name| found(name).is_none()).collect();
                json(200, json!({"Parameters": parameters, "InvalidParameters": missing}))
            }
            "PutParameter" => {
                if body["Overwrite"] != true && self.parameters.contains_key(name) {
                    return json(400, json!({"__type": "ParameterAlreadyExists"}));
                }
                self.parameters.insert(name.to_owned(), body["Value"].as_str()?.to_owned());
                json(200, json!({"Version": 1, "Tier": "Standard"}))
            }
            _ => None,
        }
    }

    fn gateway(&mut self, request: &Request) -> (String, Option<Answer>) {
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let is_stage = matches!(path.as_slice(), ["restapis", _, "stages", _]);
        let name = match request.method.as_str() {
            "GET" if is_stage => "GetStage",
            "PATCH" if is_stage => "UpdateStage",
            method => return (format!("{method} {}", request.path), None),
        };
        if name == "UpdateStage" {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            for operation in body["patchOperations"].as_array().unwrap_or(&vec![]) {
                self.patch(operation);
            }
        }
        let stage = json!({
            "stageName": "prod", "deploymentId": self.stage.deployment, "variables": self.stage.variables,
            "createdDate": self.updated - 86_400, "lastUpdatedDate": self.updated, "cacheClusterEnabled": false,
            "cacheClusterStatus": "NOT_AVAILABLE", "tracingEnabled": false, "methodSettings": {}, "tags": {},
        });
        (name.to_owned(), Some((200, "application/json", stage.to_string().into_bytes())))
    }

    fn patch(&mut self, operation: &Value) {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let (path, value) = (text("path"), text("value").to_owned());
        match (text("op"), path.strip_prefix("/variables/")) {
            ("remove", Some(name)) => {
                self.stage.variables.remove(name);
            }
            (_, Some(name)) => {
                self.stage.variables.insert(name.to_owned(), value);
            }
            ("replace", None) if path == "/deploymentId" => self.stage.deployment = value,
            _ => {}
        }
    }

    /// CloudWatch speaks CBOR with the SDK for Rust, and no peer asks it.
    fn describe_alarms(&self) -> Answer {
        let text = |text: &str| Cbor::Text(text.to_owned());
        let entry = |name: &str, value: Cbor| (text(name), value);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float exactly")]
        let changed = Cbor::Tag(1, Box::new(Cbor::Float((self.updated + 300) as f64)));
        let dimension =
            |name: &str, value: &str| Cbor::Map(vec![entry("Name", text(name)), entry("Value", text(value))]);
        let alarm = Cbor::Map(vec![
            entry("AlarmName", text(&self.alarm)),
            entry("StateValue", text("ALARM")),
            entry("StateReason", text("Threshold Crossed")),
            entry("StateUpdatedTimestamp", changed.clone()),
            entry("StateTransitionedTimestamp", changed),
            entry("ActionsEnabled", Cbor::Bool(true)),
            entry("AlarmActions", Cbor::Array(vec![])),
            entry("Namespace", text("AWS/ApiGateway")),
            entry("MetricName", text("5XXError")),
            entry(
                "Dimensions",
                Cbor::Array(vec![dimension("ApiName", "orders-api"), dimension("Stage", "prod")]),
            ),
            entry("Period", Cbor::Integer(60.into())),
            entry("EvaluationPeriods", Cbor::Integer(2.into())),
        ]);
        let answer = Cbor::Map(vec![
            entry("MetricAlarms", Cbor::Array(vec![alarm])),
            entry("CompositeAlarms", Cbor::Array(vec![])),
        ]);
        let mut body = Vec::new();
        ciborium::into_writer(&answer, &mut body).expect("a vector takes every byte");
        (200, "application/cbor", body)
    }
}
