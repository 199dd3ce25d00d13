//! A small AWS for the real program: it answers each request with a fixed text, and keeps the writes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::tls;

/// The state of this AWS.
pub(super) struct Facts {
    /// The ARN of the function.
    pub(super) function: String,
    /// Whether somebody else writes a parameter after every read of it.
    pub(super) meddles: bool,
    /// The variables of the function.
    pub(super) variables: BTreeMap<&'static str, String>,
    /// The parameters, each with its versions.
    pub(super) parameters: BTreeMap<String, Vec<String>>,
    /// The stages of the API `a1b2c3d4e5`, each with its deployment.
    pub(super) stages: BTreeMap<&'static str, &'static str>,
    /// The deployments of the API.
    pub(super) deployments: Vec<&'static str>,
    /// The lines of the function's log.
    pub(super) log: Vec<String>,
    /// Whether API Gateway denies every call.
    pub(super) fails_gateway: bool,
    /// The Regions without the function.
    pub(super) without: Vec<&'static str>,
    /// Whether STS answers.
    pub(super) knows_caller: bool,
    /// Every request, as its operation.
    pub(super) requests: Vec<String>,
}

impl Default for Facts {
    fn default() -> Self {
        let stages = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live"]}]"#;
        Self {
            function: "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback".to_owned(),
            meddles: false,
            variables: [("PROTECTED_STAGES", stages.to_owned())].into(),
            parameters: BTreeMap::new(),
            stages: [("prod", "d2"), ("test", "d2")].into(),
            deployments: vec!["d1", "d2"],
            log: vec![],
            fails_gateway: false,
            without: vec![],
            knows_caller: true,
            requests: vec![],
        }
    }
}

/// A server that answers until the test ends.
pub(super) struct Aws {
    pub(super) endpoint: String,
    facts: Arc<Mutex<Facts>>,
}

impl Aws {
    pub(super) fn new(facts: Facts) -> Self {
        Self::over("http", facts, serve)
    }

    /// Like [`Aws::new`], but over TLS. Returns the root certificate, too, as PEM.
    pub(super) fn over_tls(facts: Facts) -> (Self, String) {
        let (config, authority) = tls::identity("a company");
        let aws = Self::over("https", facts, move |stream, facts| {
            let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
            serve(StreamOwned::new(connection, stream), facts)
        });
        (aws, authority)
    }

    fn over(
        scheme: &str,
        facts: Facts,
        serve: impl Fn(TcpStream, &Mutex<Facts>) -> Option<()> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("{scheme}://{}", listener.local_addr().unwrap());
        let facts = Arc::new(Mutex::new(facts));
        let shared = Arc::clone(&facts);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (facts, serve) = (Arc::clone(&shared), serve.clone());
                std::thread::spawn(move || serve(stream, &facts));
            }
        });
        Self { endpoint, facts }
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Facts) -> T) -> T {
        look(&mut self.facts.lock().unwrap())
    }
}

/// One answer: the status, the type of its error or its content, and the body.
type Answer = (u16, &'static str, Vec<u8>);

fn serve(stream: impl Read + Write, facts: &Mutex<Facts>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = headers.get("x-amz-target").cloned().unwrap_or_default();
    let path = first.split(' ').nth(1)?.to_owned();
    // The signature names the Region that is called; what the facts say about Ireland holds there.
    let signature = headers.get("authorization").cloned().unwrap_or_default();
    let region = signature.split('/').nth(2).unwrap_or("eu-west-1").to_owned();
    let (status, kind, mut body) =
        answer(&mut facts.lock().unwrap(), (&region, &path), &target, &String::from_utf8_lossy(&body));
    if kind == "application/json" {
        body = String::from_utf8_lossy(&body).replace("eu-west-1", &region).into_bytes();
    }
    let kind = match (status, kind) {
        (200, "cbor") => "smithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor".to_owned(),
        (200, kind) => format!("content-type: {kind}"),
        (_, error) => format!("x-amzn-errortype: {error}"),
    };
    let head =
        format!("HTTP/1.1 {status} x\r\n{kind}\r\nconnection: close\r\ncontent-length: {}", body.len());
    let stream = reader.get_mut();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).ok()?;
    stream.write_all(&body).ok()?;
    stream.flush().ok()
}

fn found(value: &Value) -> Answer {
    (200, "application/json", value.to_string().into_bytes())
}

fn missing() -> Answer {
    (404, "NotFoundException", br#"{"message":"not found"}"#.to_vec())
}

fn answer(facts: &mut Facts, (region, path): (&str, &str), target: &str, body: &str) -> Answer {
    let operation = target.rsplit('.').next().unwrap_or_default();
    let input: Value = serde_json::from_str(body).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    facts.requests.push(if operation.is_empty() { path.to_owned() } else { operation.to_owned() });
    if path.starts_with("/2015-03-31/functions/") && facts.without.contains(&region) {
        return (404, "ResourceNotFoundException", br#"{"message":"not found"}"#.to_vec());
    }
    if path.starts_with("/2015-03-31/functions/") {
        return found(&json!({
            "FunctionArn": facts.function,
            "Environment": {"Variables": facts.variables},
            "LoggingConfig": {"LogGroup": "/team/rollbacks"},
        }));
    }
    if body.contains("Action=GetCallerIdentity") {
        let arn = "arn:aws:sts::210987654321:assumed-role/Admin/jane";
        let result = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{arn}</Arn><UserId>x</UserId><Account>210987654321</Account></GetCallerIdentityResult>\
             </GetCallerIdentityResponse>"
        );
        return if facts.knows_caller { (200, "text/xml", result.into()) } else { missing() };
    }
    if path.contains("/operation/") {
        // An empty map of CBOR: CloudWatch has no alarms.
        return (200, "cbor", vec![0xa0]);
    }
    match operation {
        "" if facts.fails_gateway => (403, "AccessDeniedException", br#"{"message":"denied"}"#.to_vec()),
        "" => gateway(facts, path),
        "FilterLogEvents" => {
            let events = facts.log.iter().zip(0..).map(|(line, nth)| {
                let mut event = json!({"timestamp": 1_795_169_160_000_i64 + nth, "message": line});
                // An emulator may leave the id out.
                if nth == 0 {
                    event["eventId"] = json!("e0");
                }
                event
            });
            found(&json!({"events": events.collect::<Vec<_>>()}))
        }
        _ => parameters(facts, operation, &input),
    }
}

fn gateway(facts: &Facts, path: &str) -> Answer {
    let stage = |(name, deployment): (&&str, &&str)| json!({"stageName": name, "deploymentId": deployment});
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["restapis"] => found(&json!({"item": [{"id": "a1b2c3d4e5", "name": "orders-api"}]})),
        ["v2", "apis"] => found(&json!({"items": []})),
        ["restapis", "a1b2c3d4e5"] => found(&json!({"id": "a1b2c3d4e5", "name": "orders-api"})),
        ["restapis", "a1b2c3d4e5", "stages"] => {
            found(&json!({"item": facts.stages.iter().map(stage).collect::<Vec<_>>()}))
        }
        ["restapis", "a1b2c3d4e5", "stages", name] => {
            facts.stages.get_key_value(name).map_or_else(missing, |one| found(&stage(one)))
        }
        ["restapis", "a1b2c3d4e5", "deployments", id] if facts.deployments.contains(id) => {
            found(&json!({"id": id}))
        }
        _ => missing(),
    }
}

fn parameters(facts: &mut Facts, operation: &str, input: &Value) -> Answer {
    let parameter = |name: &str| {
        let versions = facts.parameters.get(name)?;
        Some(json!({"Name": name, "Value": versions.last()?, "Version": versions.len()}))
    };
    match operation {
        "GetParameters" => {
            let names = input["Names"].as_array().cloned().unwrap_or_default();
            let all: Vec<Value> = names.iter().filter_map(Value::as_str).filter_map(parameter).collect();
            for one in all.iter().filter(|_| facts.meddles) {
                let versions = facts.parameters.get_mut(one["Name"].as_str().unwrap()).unwrap();
                versions.push(one["Value"].as_str().unwrap().to_owned());
            }
            found(&json!({"Parameters": all, "InvalidParameters": []}))
        }
        "GetParametersByPath" | "GetParameterHistory" => found(&json!({"Parameters": []})),
        "PutParameter" => {
            let versions = facts.parameters.entry(input["Name"].as_str().unwrap().to_owned()).or_default();
            versions.push(input["Value"].as_str().unwrap().to_owned());
            found(&json!({"Version": versions.len(), "Tier": "Standard"}))
        }
        _ => missing(),
    }
}
