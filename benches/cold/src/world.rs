//! The endpoint's AWS: stages, parameters, alarms and a limit, and a record of all requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ciborium::Value as Cbor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::Request;
use crate::runtime_api::FUNCTION;

/// The release that a stage serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The deployment's id.
    pub deployment: String,
    /// The stage variables.
    pub variables: BTreeMap<String, String>,
}

/// What an alarm watches.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Watch {
    /// The API's name in the alarm's dimensions.
    pub api: String,
    /// The alarm's description, which can name stages.
    pub description: Option<String>,
}

/// API Gateway's request limit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// Requests at once.
    pub burst: f64,
    /// Requests per second after the burst.
    pub a_second: f64,
}

/// One answered request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// The operation.
    pub name: String,
    /// The API's id; empty if the call concerns no API.
    pub api: String,
    /// The status of its answer.
    pub status: u16,
    /// When the request arrived, in nanoseconds since 1970.
    pub came: u64,
    /// When the answer was sent, in nanoseconds since 1970.
    pub went: u64,
    /// Whether the stub implements the operation. If not, the candidate's job differs from the one measured.
    pub known: bool,
}

/// API Gateway's short-term state.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// How many requests the limit still allowed, and when.
    room: Option<(f64, Instant)>,
    /// When the current change of each API ends.
    changing: BTreeMap<String, Instant>,
}

/// The state of AWS, and the requests it received.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// The latency of every answer in milliseconds.
    pub latency_ms: u64,
    /// The stage `prod` of each API, by the API's id.
    pub stages: BTreeMap<String, Stage>,
    /// When the stages were last changed, in seconds since 1970.
    pub updated: i64,
    /// The parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// The alarms by name, all in ALARM.
    pub alarms: BTreeMap<String, Watch>,
    /// API Gateway's limit, if any.
    #[serde(default)]
    pub limit: Option<Limit>,
    /// API Gateway's short-term state.
    #[serde(skip)]
    pub moments: Moments,
    /// The signed requests since the last reset.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// The number of requests without a signature since the candidate started. They warm up a connection.
    #[serde(default)]
    pub unsigned: u32,
    /// The number of TLS connections by service since the candidate started.
    #[serde(default)]
    pub connections: BTreeMap<String, u32>,
}

/// An answer: status, content type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// Returns the nanoseconds since 1970, on the clock that both processes share.
pub fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    /// The latency of every answer.
    pub fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// Answers a request. Returns the call, without its times, and the answer.
    pub fn answer(&mut self, service: &str, request: &Request) -> (Call, Answer) {
        let mut api = String::new();
        let (name, answer) = match service {
            "ssm" => {
                let target = request.header("x-amz-target").unwrap_or("none");
                let name = target.rsplit('.').next().unwrap_or(target);
                let body = serde_json::from_slice(&request.body).unwrap_or_default();
                (name.to_owned(), self.parameter_store(name, &body))
            }
            "apigateway" => {
                let mut path = request.path.trim_matches('/').split('/');
                path.nth(1).unwrap_or_default().clone_into(&mut api);
                self.gateway(&api, request)
            }
            _ => {
                let name = request.path.rsplit('/').next().unwrap_or_default().to_owned();
                let answer = match name.as_str() {
                    "DescribeAlarms" => Some(self.describe_alarms(&request.body)),
                    "ListAlarmMuteRules" => Some(no_mute_rules()),
                    "GetMetricData" => Some(no_data()),
                    _ => None,
                };
                (name, answer)
            }
        };
        let known = answer.is_some();
        let refusal = || {
            let body =
                json!({"__type": "UnknownOperationException", "message": "the stub does not implement it"});
            (400, "application/json", body.to_string().into_bytes())
        };
        let answer = answer.unwrap_or_else(refusal);
        (Call { name, api, status: answer.0, known, ..Call::default() }, answer)
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

    fn gateway(&mut self, api: &str, request: &Request) -> (String, Option<Answer>) {
        let refused = |status, code: &str| {
            let body = json!({"__type": code, "message": "the stub's limit is reached"});
            Some((status, "application/json", body.to_string().into_bytes()))
        };
        let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        let is_stage = matches!(path.as_slice(), ["restapis", _, "stages", _]);
        let name = match request.method.as_str() {
            "GET" if is_stage => "GetStage",
            "PATCH" if is_stage => "UpdateStage",
            method => return (format!("{method} {}", request.path), None),
        };
        if !self.lets_through() {
            return (name.to_owned(), refused(429, "TooManyRequestsException"));
        }
        let now = Instant::now();
        let latency = self.latency();
        let Some(stage) = self.stages.get_mut(api) else {
            return (name.to_owned(), refused(404, "NotFoundException"));
        };
        if name == "UpdateStage" {
            if self.moments.changing.get(api).is_some_and(|until| now < *until) {
                return (name.to_owned(), refused(409, "ConflictException"));
            }
            self.moments.changing.insert(api.to_owned(), now + latency);
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            body["patchOperations"].as_array().unwrap_or(&vec![]).iter().for_each(|one| stage.patch(one));
        }
        let stage = json!({
            "stageName": "prod", "deploymentId": stage.deployment, "variables": stage.variables,
            "createdDate": self.updated - 86_400, "lastUpdatedDate": self.updated, "cacheClusterEnabled": false,
            "cacheClusterStatus": "NOT_AVAILABLE", "tracingEnabled": false, "methodSettings": {}, "tags": {},
        });
        (name.to_owned(), Some((200, "application/json", stage.to_string().into_bytes())))
    }

    /// Takes one request from the limit, if it still allows one.
    fn lets_through(&mut self) -> bool {
        let Some(limit) = self.limit else { return true };
        let now = Instant::now();
        let (level, at) = self.moments.room.unwrap_or((limit.burst, now));
        let level = (level + (now - at).as_secs_f64() * limit.a_second).min(limit.burst);
        let lets = level >= 1.0;
        self.moments.room = Some((if lets { level - 1.0 } else { level }, now));
        lets
    }

    /// The SDK for Rust and CloudWatch exchange CBOR. No peer calls CloudWatch.
    fn describe_alarms(&self, body: &[u8]) -> Answer {
        let asked: Cbor = ciborium::from_reader(body).unwrap_or(Cbor::Null);
        let entries = asked.as_map().into_iter().flatten();
        let names = entries.filter(|(key, _)| key.as_text() == Some("AlarmNames"));
        let names = names.filter_map(|(_, names)| names.as_array()).flatten().filter_map(Cbor::as_text);
        let found = names.filter_map(|name| Some(self.alarm(name, self.alarms.get(name)?)));
        let answer = Cbor::Map(vec![
            (Cbor::Text("MetricAlarms".to_owned()), Cbor::Array(found.collect())),
            (Cbor::Text("CompositeAlarms".to_owned()), Cbor::Array(vec![])),
        ]);
        cbor(&answer)
    }

    fn alarm(&self, name: &str, watch: &Watch) -> Cbor {
        let text = |text: &str| Cbor::Text(text.to_owned());
        let entry = |name: &str, value: Cbor| (text(name), value);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float exactly")]
        let changed = Cbor::Tag(1, Box::new(Cbor::Float((self.updated + 300) as f64)));
        let dimension =
            |name: &str, value: &str| Cbor::Map(vec![entry("Name", text(name)), entry("Value", text(value))]);
        let description = watch.description.iter().map(|told| entry("AlarmDescription", text(told)));
        let rest = vec![
            entry("AlarmName", text(name)),
            entry("StateValue", text("ALARM")),
            entry("StateReason", text("Threshold Crossed")),
            entry("StateUpdatedTimestamp", changed.clone()),
            entry("StateTransitionedTimestamp", changed),
            entry("ActionsEnabled", Cbor::Bool(true)),
            entry("AlarmActions", Cbor::Array(vec![text(FUNCTION)])),
            entry("Namespace", text("AWS/ApiGateway")),
            entry("MetricName", text("5XXError")),
            entry(
                "Dimensions",
                Cbor::Array(vec![dimension("ApiName", &watch.api), dimension("Stage", "prod")]),
            ),
            entry("Period", Cbor::Integer(60.into())),
            entry("EvaluationPeriods", Cbor::Integer(2.into())),
        ];
        Cbor::Map(description.chain(rest).collect())
    }
}

impl Stage {
    fn patch(&mut self, operation: &Value) {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let (path, value) = (text("path"), text("value").to_owned());
        match (text("op"), path.strip_prefix("/variables/")) {
            ("remove", Some(name)) => {
                self.variables.remove(name);
            }
            (_, Some(name)) => {
                self.variables.insert(name.to_owned(), value);
            }
            ("replace", None) if path == "/deploymentId" => self.deployment = value,
            _ => {}
        }
    }
}

/// No alarm is muted.
fn no_mute_rules() -> Answer {
    let key = Cbor::Text("AlarmMuteRuleSummaries".to_owned());
    cbor(&Cbor::Map(vec![(key, Cbor::Array(vec![]))]))
}

/// No metric has data, so the alarm alone decides.
fn no_data() -> Answer {
    let key = Cbor::Text("MetricDataResults".to_owned());
    cbor(&Cbor::Map(vec![(key, Cbor::Array(vec![]))]))
}

fn cbor(answer: &Cbor) -> Answer {
    let mut body = Vec::new();
    ciborium::into_writer(answer, &mut body).expect("cannot encode the answer");
    (200, "application/cbor", body)
}

#[cfg(test)]
mod tests {
    use super::{Limit, World};

    #[test]
    fn a_limit_allows_its_burst_and_then_no_more_at_once() {
        let limit = Limit { burst: 40.0, a_second: 0.001 };
        let mut world = World { limit: Some(limit), ..World::default() };
        assert_eq!((0..100).filter(|_| world.lets_through()).count(), 40);
        world.limit = None;
        assert!(world.lets_through());
    }
}
