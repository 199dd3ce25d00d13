//! Records every request of the port, as the real adapter sends it, in `tests/template/requests.json`, grouped by the
//! feature that needs it. `make template` checks the template's policies against that list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{
    Alarms, Cache, Components, Gateway, Notification, Outbox, Parameters, Seen, Wiring, Write,
};
use apigw_rollback::config::Config;
use apigw_rollback::doctor::{StageReadings, required_permissions};
use apigw_rollback::model::alarm::time;
use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::observed::Pin;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::StageRef;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::world::{FUNCTION, NOW, denied};

/// One request as IAM sees it: the service, the call and its resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    service: String,
    call: String,
    on: Vec<String>,
}

impl Request {
    /// Reads a request from the wire.
    pub(crate) fn read<'a>(
        method: &str,
        uri: &str,
        header: impl Fn(&str) -> Option<&'a str>,
        body: &[u8],
    ) -> Self {
        let (host, path) = uri.split_once("://").unwrap().1.split_once('/').unwrap();
        let path = format!("/{}", path.split('?').next().unwrap());
        let service = host.split('.').next().unwrap().to_owned();
        let last = |text: &str, at: char| text.rsplit(at).next().unwrap().to_owned();
        let (call, on) = match (service.as_str(), header("x-amz-target")) {
            (_, Some(target)) => (last(target, '.'), subjects(body)),
            ("monitoring", None) => (last(&path, '/'), vec![]),
            ("sns", None) => {
                let form = String::from_utf8_lossy(body).replace("%3A", ":");
                let field =
                    |name: &str| form.split('&').find_map(|f| f.strip_prefix(name)).unwrap().to_owned();
                (field("Action="), vec![field("TopicArn=")])
            }
            _ => (method.to_owned(), vec![path]),
        };
        Self { service, call, on }
    }

    /// Splits the request by resource. Parameters named after their content, deployments and the versions of a
    /// parameter are replaced by a wildcard.
    fn single(&self) -> BTreeSet<(String, String, String)> {
        let general = |on: &String| match on.rsplit_once('/') {
            Some((path, _))
                if ["/told", "/incidents", "/deployments"].iter().any(|end| path.ends_with(end)) =>
            {
                format!("{path}/*")
            }
            Some(_) if self.service == "ssm" => on.split(':').next().unwrap().to_owned(),
            Some(_) | None => on.clone(),
        };
        let on = self.on.iter().map(general).chain(Some(String::new()).filter(|_| self.on.is_empty()));
        on.map(|on| (self.service.clone(), self.call.clone(), on)).collect()
    }
}

/// Returns the parameters or the event buses that a body names.
fn subjects(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let names = list(body.get("Names")).iter().filter_map(text).collect::<Vec<_>>();
    let one = ["Name", "Path"].iter().filter_map(|key| body.get(key)).filter_map(text);
    let buses = list(body.get("Entries"));
    let buses = buses.iter().filter_map(|entry| entry.get("EventBusName")).filter_map(text);
    names.into_iter().chain(one).chain(buses).collect()
}

/// Records the adapter's requests and returns the smallest answers that it accepts.
struct Recorder {
    aws: Aws,
    requests: Arc<Mutex<Vec<Request>>>,
    recorded: Vec<Value>,
}

impl Recorder {
    fn new() -> Self {
        let requests = Arc::new(Mutex::new(vec![]));
        let sink = Arc::clone(&requests);
        let client = infallible_client_fn(move |request: http::Request<SdkBody>| {
            let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
            let (method, uri) = (request.method().as_str(), request.uri().to_string());
            let asked = Request::read(method, &uri, header, request.body().bytes().unwrap());
            let answer = answer(&asked);
            sink.lock().unwrap().push(asked);
            answer
        });
        let settings = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .http_client(client)
            .build();
        let aws = Clients::new(&settings)
            .until(Instant::now() + Duration::from_mins(1), Instant::now() + Duration::from_mins(1));
        Self { aws, requests, recorded: vec![] }
    }

    /// Stores the requests since the last call under this verb.
    fn note(&mut self, verb: &str) {
        for Request { service, call, on } in self.requests.lock().unwrap().drain(..) {
            self.recorded.push(json!({ "verb": verb, "service": service, "call": call, "on": on }));
        }
    }
}

fn answer(asked: &Request) -> http::Response<SdkBody> {
    // CloudWatch's answer is an empty map in CBOR.
    let (header, body) = match (asked.service.as_str(), asked.call.as_str()) {
        ("monitoring", _) => ("rpc-v2-cbor", SdkBody::from(vec![0xbf, 0xff])),
        ("sns", "GetTopicAttributes") => {
            ("", "<GetTopicAttributesResponse><GetTopicAttributesResult/></GetTopicAttributesResponse>".into())
        }
        ("sns", "ListSubscriptionsByTopic") => {
            ("", "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult/></ListSubscriptionsByTopicResponse>".into())
        }
        ("sns", _) => ("", "<PublishResponse><PublishResult/></PublishResponse>".into()),
        ("apigateway", "GET")
            if asked.on.iter().any(|path| path.ends_with("/domainnames/api.example.com")) =>
        {
            ("", r#"{"routingMode":"ROUTING_RULE_THEN_API_MAPPING"}"#.into())
        }
        ("codedeploy", "ListDeployments") => ("", r#"{"deployments":["d-1"]}"#.into()),
        ("codedeploy", "BatchGetDeployments") => {
            ("", r#"{"deploymentsInfo":[{"deploymentId":"d-1","computePlatform":"Lambda"}]}"#.into())
        }
        ("codedeploy", "ListDeploymentTargets") => ("", r#"{"targetIds":["d-1:orders"]}"#.into()),
        _ => ("", "{}".into()),
    };
    http::Response::builder().status(200).header("smithy-protocol", header).body(body).unwrap()
}

/// What was seen just now.
pub(crate) fn just_seen<T>(what: &T) -> Seen<'_, T> {
    Seen { what, at: Instant::now() }
}

/// Calls these verbs one after the other and stores the requests of each.
macro_rules! drive {
    ($recorder:expr, $($verb:ident($($argument:expr),* $(,)?);)*) => {{$(
        $recorder.aws.$verb($($argument),*).await.unwrap();
        $recorder.note(stringify!($verb));
    )*}};
}

/// Makes the requests that every run may make for its stage.
async fn always(recorder: &mut Recorder, stage: &StageRef, name: &str) {
    let names = ParameterNames::under("/apigw-rollback");
    let (change, parked) = (StageChange::default(), stage.parked());
    let incident = names.incident(stage, "000000000000");
    let (good, hold, rollbacks) = (names.known_good(stage), names.hold(stage), names.rollbacks(stage));
    let rollout = names.rollout(stage);
    let policy =
        [names.policy(stage), names.candidate(stage), hold.clone(), rollbacks.clone(), rollout.clone()];
    let wanted = [good.clone(), format!("{good}:3"), incident.clone(), format!("{rollout}:3")];
    drive!(recorder,
        stage(stage); stage(&parked); stages(stage.protocol, &stage.api);
        look(stage); look_at_once(stage); change_stage(stage, &change, just_seen(&Release::default())); deployment(stage, "d1");
        parameters(&wanted); parameters(&policy); history(&good);
        parameters(&[names.api_name(name)]); parameters(&[names.sweep()]);
    );
    for written in [
        good,
        names.candidate(stage),
        hold,
        rollbacks,
        rollout,
        incident,
        names.api_name(name),
        names.sweep(),
    ] {
        drive!(recorder, put_parameter(&written, "{}", Write::Overwrite););
    }
    drive!(recorder, delete_parameter(&names.incident(stage, "000000000000")););
    if stage.protocol.is_v2() {
        drive!(recorder, v2_apis(); v2_api(&stage.api););
    } else {
        drive!(recorder, rest_apis(););
    }
    let now = time(NOW).unwrap();
    drive!(recorder,
        parameters_under(&names.stages()); alarms(&["orders-prod-5xx".to_owned()]);
        alarms_acting("arn:aws:sns:eu-west-1:123456789012:alarms"); all_alarms();
        states_since("orders-prod-5xx", now); samples(&[], now, now);
        requests(&[], TimeDelta::seconds(10), now, now); muted_by("orders-prod-5xx");
        datapoints("orders-prod-5xx", now, now); function_policy(FUNCTION);
        topic("arn:aws:sns:eu-west-1:123456789012:apigw-rollback-AlarmTopic-X1");
        subscriptions("arn:aws:sns:eu-west-1:123456789012:apigw-rollback-AlarmTopic-X1");
    );
}

/// Makes the requests for the pin.
async fn pinning(recorder: &mut Recorder, stage: &StageRef) {
    let change = StageChange::default();
    drive!(recorder, create_stage(&stage.parked(), "d1", "parked", &BTreeMap::new()); change_stage(&stage.parked(), &change, just_seen(&Release::default())););
}

/// Makes the requests for aliases.
async fn aliases(recorder: &mut Recorder) {
    for alias in ["orders:live", "carts_2:live"] {
        let (alias, target): (AliasRef, _) =
            (alias.parse().unwrap(), AliasTarget { version: "1".to_owned(), weights: [].into() });
        drive!(recorder, alias(&alias); move_alias(&alias, &target, "r1"); has_version(&alias, "1"););
    }
    drive!(recorder, moving_aliases(););
}

/// Makes the requests for the mapping of a custom domain.
async fn mapping(recorder: &mut Recorder, stage: &StageRef, mapping: &str) {
    let mapping: MappingRef = mapping.parse().unwrap();
    let id = Some("m1").filter(|_| !mapping.is_base_path(stage.protocol));
    let target = MappingTarget { api: stage.api.clone(), stage: stage.stage.clone() };
    let other = StageRef { stage: "green".to_owned(), ..stage.clone() };
    drive!(recorder, mapping(stage.protocol, &mapping); routing(stage.protocol, &mapping); move_mapping(&mapping, id, &target, just_seen(&target)); stage(&other););
}

async fn caches(recorder: &mut Recorder, stage: &StageRef) {
    drive!(recorder,
        caches_decisions(&stage.api); flush(stage, Cache::Answers); flush(stage, Cache::Authorizers);
    );
}

/// Makes the requests that notify people, programs or a hook.
async fn notifying(recorder: &mut Recorder, recipient: &str) {
    let names = ParameterNames::under("/apigw-rollback");
    let mark = names.sent_mark("0000000000000000");
    let [subject, text, chat, report] = [(); 4].map(|()| "x".to_owned());
    let notification = Notification { subject, text, chat, report };
    match recipient {
        "people" => drive!(recorder,
            publish("arn:aws:sns:eu-west-1:123456789012:people", &notification);
            put_parameter(&mark, "{}", Write::Create); parameters(std::slice::from_ref(&mark));
            delete_parameter(&mark); parameters_under(&names.sent_marks());
        ),
        "programs" => drive!(recorder, put_event("default", "x", "{}");),
        _ => drive!(recorder,
            invoke("arn:aws:lambda:eu-west-1:123456789012:function:capture", "{}", true);
            invoke("capture", "{}", false);
        ),
    }
}

type Recorded = BTreeMap<String, BTreeMap<&'static str, Vec<Value>>>;

async fn record() -> Recorded {
    let mut all = Recorded::new();
    for (protocol, api, name, stage) in [
        (Protocol::Rest, "a1b2c3d4e5", "orders-api", "prod"),
        (Protocol::Rest, "a1b2c3d4e5", "orders-api", "pre_prod-2"),
        (Protocol::Http, "ju6maoy9o2", "web", "prod"),
        (Protocol::Http, "ju6maoy9o2", "web", "$default"),
        (Protocol::WebSocket, "k7v2m9x1q4", "chat", "prod"),
    ] {
        let stage = StageRef::new(protocol, api, stage);
        let of = all.entry(stage.to_string()).or_default();
        for feature in ["always", "pinning", "mapping", "mapping-root", "caches"] {
            let mut recorder = Recorder::new();
            match feature {
                "always" => always(&mut recorder, &stage, name).await,
                "pinning" => pinning(&mut recorder, &stage).await,
                "mapping" => mapping(&mut recorder, &stage, "api.example.com/orders").await,
                "mapping-root" => mapping(&mut recorder, &stage, "api.example.com").await,
                _ if protocol.is_v2() => continue,
                _ => caches(&mut recorder, &stage).await,
            }
            of.insert(feature, recorder.recorded);
        }
        of.insert("doctor", doctor_permissions(&stage, name));
    }
    for feature in ["aliases", "people", "programs", "hook"] {
        let mut recorder = Recorder::new();
        match feature {
            "aliases" => aliases(&mut recorder).await,
            recipient => notifying(&mut recorder, recipient).await,
        }
        all.entry("any".to_owned()).or_default().insert(feature, recorder.recorded);
    }
    // This stage is protected only by its record; `docs/many-apis.md` has the policy for it.
    let (more, mut recorder) = (StageRef::rest("b2c3d4e5f6", "prod"), Recorder::new());
    always(&mut recorder, &more, "more").await;
    pinning(&mut recorder, &more).await;
    drive!(recorder, rest_api(&more.api););
    all.insert(more.to_string(), [("by-record", recorder.recorded)].into());
    all
}

/// Prints one request per line, so that a diff shows the changed request.
fn print(recorded: &Recorded) -> String {
    let indented =
        |lines: &[Value]| lines.iter().map(|line| format!("   {line}")).collect::<Vec<_>>().join(",\n");
    let features = |of: &BTreeMap<&str, Vec<Value>>| {
        let each = of.iter().map(|(feature, lines)| format!("  {feature:?}: [\n{}\n  ]", indented(lines)));
        each.collect::<Vec<_>>().join(",\n")
    };
    let each = recorded.iter().map(|(stage, of)| format!(" {stage:?}: {{\n{}\n }}", features(of)));
    format!("{{\n{}\n}}\n", each.collect::<Vec<_>>().join(",\n"))
}

/// Returns the permissions that the doctor requires for a stage.
fn doctor_permissions(stage: &StageRef, name: &str) -> Vec<Value> {
    let protocol = stage.to_string().split('/').next().unwrap().to_owned();
    let entry = json!([{
        "api": stage.api, "name": name, "stage": stage.stage, "protocol": protocol,
        "aliases": ["orders:live"], "mappings": ["api.example.com/orders"],
    }]);
    let setting = |setting: &str| match setting {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(entry.to_string()),
        "FLUSH_CACHE" => Some("on".to_owned()),
        "NOTIFICATION_TOPIC_ARN" => Some("arn:aws:sns:eu-west-1:123456789012:people".to_owned()),
        "EVENT_BUS" => Some("default".to_owned()),
        "HOOK_FUNCTION" => Some("arn:aws:lambda:eu-west-1:123456789012:function:capture".to_owned()),
        _ => None,
    };
    let facts = StageReadings {
        stage: stage.clone(),
        observed: Err(denied()),
        deployment: Ok(None),
        pin: Ok(Pin::None),
        incidents: Ok(vec![]),
    };
    let all = required_permissions(&Config::read(setting).unwrap(), FUNCTION, &[facts]);
    let all: BTreeSet<_> = all.into_iter().map(|want| want.permission).collect();
    all.into_iter().map(|want| json!({ "action": want.action, "on": want.resource })).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recorded() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("tests/template/requests.json")).unwrap()).unwrap()
}

#[test]
fn every_request_of_the_port_is_on_the_list_that_the_policies_are_checked_against() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = runtime.block_on(record());
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("requests.json");
    fs::write(&new, print(&all)).unwrap();
    assert!(
        json!(all) == recorded(),
        "the requests have changed. If this is intended: cp {} tests/template/requests.json; make template",
        new.display()
    );
}

/// Reads the verbs from the port's source, so that a new one cannot be forgotten here.
#[test]
fn every_verb_of_the_port_is_on_the_list() {
    let traits = ["gateway", "components", "parameters", "alarms", "wiring", "outbox"];
    let port = traits.map(|file| fs::read_to_string(root().join(format!("src/cloud/{file}.rs"))).unwrap());
    let verbs = port.iter().flat_map(|port| port.lines()).filter_map(|line| line.strip_prefix("    fn "));
    let verbs = verbs.map(|line| line.split_once('(').unwrap().0);
    let requests = entries(&recorded());
    let listed: BTreeSet<String> = requests.iter().map(|(verb, _)| verb.clone()).collect();
    assert_eq!(verbs.map(str::to_owned).collect::<BTreeSet<_>>(), listed);
}

/// Checks that a request of another test is on the list, apart from values that differ from run to run.
pub(crate) fn assert_on_the_list(request: &Request) {
    let listed: BTreeSet<_> = entries(&recorded()).iter().flat_map(|(_, one)| one.single()).collect();
    let unlisted: Vec<_> = request.single().into_iter().filter(|one| !listed.contains(one)).collect();
    assert!(
        unlisted.is_empty(),
        "the policies are not checked against {unlisted:?}: make these requests in tests/it/wire/requests.rs too"
    );
}

/// Returns the requests on the list, each with its verb.
fn entries(recorded: &Value) -> Vec<(String, Request)> {
    let lists = recorded.as_object().unwrap().values().flat_map(|of| of.as_object().unwrap().values());
    let requests = lists.flat_map(|list| list.as_array().unwrap()).filter(|one| one.get("verb").is_some());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = |one: &Value| Request {
        service: text(&one["service"]),
        call: text(&one["call"]),
        on: one["on"].as_array().unwrap().iter().map(text).collect(),
    };
    requests.map(|one| (text(&one["verb"]), read(one))).collect()
}
