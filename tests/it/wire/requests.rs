//! Every verb of the port as the real adapter sends it, written down in `tests/template/requests.json` under what
//! brings it about. `make template` holds the template's policies against that list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Alarms, Cache, Components, Gateway, Notification, Outbox, Parameters, Write};
use apigw_rollback::config::Config;
use apigw_rollback::doctor::{StageReadings, required_permissions};
use apigw_rollback::model::alarm::time;
use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::observed::Pin;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::stage::StageRef;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::world::{FUNCTION, NOW, denied};

/// One request: who is asked, for what, and on what, as far as IAM looks at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    service: String,
    call: String,
    on: Vec<String>,
}

impl Request {
    /// What a request over the wire asks for.
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

    /// The same, each of its subjects alone. Of what is named after its content, and of deployments, one is like
    /// another; so are the versions of a parameter.
    fn single(&self) -> BTreeSet<(String, String, String)> {
        let alike = |on: &String| match on.rsplit_once('/') {
            Some((path, _))
                if ["/told", "/incidents", "/deployments"].iter().any(|end| path.ends_with(end)) =>
            {
                format!("{path}/*")
            }
            Some(_) if self.service == "ssm" => on.split(':').next().unwrap().to_owned(),
            Some(_) | None => on.clone(),
        };
        let on = self.on.iter().map(alike).chain(Some(String::new()).filter(|_| self.on.is_empty()));
        on.map(|on| (self.service.clone(), self.call.clone(), on)).collect()
    }
}

/// The parameters or the event buses that a body names.
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

/// Listens to the adapter, and answers as little as it is content with.
struct Tap {
    aws: Aws,
    heard: Arc<Mutex<Vec<Request>>>,
    described: Vec<Value>,
}

impl Tap {
    fn new() -> Self {
        let heard = Arc::new(Mutex::new(vec![]));
        let ear = Arc::clone(&heard);
        let client = infallible_client_fn(move |request: http::Request<SdkBody>| {
            let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
            let (method, uri) = (request.method().as_str(), request.uri().to_string());
            let asked = Request::read(method, &uri, header, request.body().bytes().unwrap());
            let answer = answer(&asked);
            ear.lock().unwrap().push(asked);
            answer
        });
        let settings = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
            .http_client(client)
            .build();
        let aws = Clients::new(&settings).until(Instant::now() + Duration::from_mins(1));
        Self { aws, heard, described: vec![] }
    }

    /// Writes down what was heard since, as the requests of this verb.
    fn note(&mut self, verb: &str) {
        for Request { service, call, on } in self.heard.lock().unwrap().drain(..) {
            self.described.push(json!({ "verb": verb, "service": service, "call": call, "on": on }));
        }
    }
}

fn answer(asked: &Request) -> http::Response<SdkBody> {
    // An empty map, in the format that CloudWatch speaks with the SDK.
    let (header, body) = match (asked.service.as_str(), asked.call.as_str()) {
        ("monitoring", _) => ("rpc-v2-cbor", SdkBody::from(vec![0xbf, 0xff])),
        ("sns", _) => ("", "<PublishResponse><PublishResult/></PublishResponse>".into()),
        ("codedeploy", "ListDeployments") => ("", r#"{"deployments":["d-1"]}"#.into()),
        ("codedeploy", "BatchGetDeployments") => {
            ("", r#"{"deploymentsInfo":[{"deploymentId":"d-1","computePlatform":"Lambda"}]}"#.into())
        }
        ("codedeploy", "ListDeploymentTargets") => ("", r#"{"targetIds":["d-1:orders"]}"#.into()),
        _ => ("", "{}".into()),
    };
    http::Response::builder().status(200).header("smithy-protocol", header).body(body).unwrap()
}

/// Calls these verbs, one after the other, and notes what each of them sends.
macro_rules! drive {
    ($tap:expr, $($verb:ident($($argument:expr),* $(,)?);)*) => {{$(
        $tap.aws.$verb($($argument),*).await.unwrap();
        $tap.note(stringify!($verb));
    )*}};
}

/// What every run may do on its stage.
async fn always(tap: &mut Tap, stage: &StageRef, name: &str) {
    let names = ParameterNames::under("/apigw-rollback");
    let (change, parked) = (StageChange::default(), stage.parked());
    let incident = names.incident(stage, "000000000000");
    let (good, hold, rollbacks) = (names.known_good(stage), names.hold(stage), names.rollbacks(stage));
    let policy = [names.policy(stage), names.candidate(stage), hold.clone(), rollbacks.clone()];
    let wanted = [good.clone(), format!("{good}:3"), incident.clone()];
    drive!(tap,
        stage(stage); stage(&parked); stages(stage.protocol, &stage.api);
        change_stage(stage, &change); deployment(stage, "d1");
        parameters(&wanted); parameters(&policy); history(&good);
        parameters(&[names.api_name(name)]); parameters(&[names.sweep()]);
    );
    for written in
        [good, names.candidate(stage), hold, rollbacks, incident, names.api_name(name), names.sweep()]
    {
        drive!(tap, put_parameter(&written, "{}", Write::Overwrite););
    }
    if stage.protocol.is_v2() {
        drive!(tap, v2_apis(); v2_api(&stage.api););
    } else {
        drive!(tap, rest_apis(););
    }
    let now = time(NOW).unwrap();
    drive!(tap,
        parameters_under(&names.stages()); alarms(&["orders-prod-5xx".to_owned()]);
        alarms_acting("arn:aws:sns:eu-west-1:123456789012:alarms"); all_alarms();
        states_since("orders-prod-5xx", now); samples(&[], now, now);
    );
}

/// Where the known-good deployment is pinned.
async fn pinning(tap: &mut Tap, stage: &StageRef) {
    let change = StageChange::default();
    drive!(tap, create_stage(&stage.parked(), "d1", "parked"); change_stage(&stage.parked(), &change););
}

/// Where aliases belong to the release.
async fn aliases(tap: &mut Tap) {
    for alias in ["orders:live", "carts_2:live"] {
        let (alias, target): (AliasRef, _) =
            (alias.parse().unwrap(), AliasTarget { version: "1".to_owned(), weights: [].into() });
        drive!(tap, alias(&alias); move_alias(&alias, &target, "r1"); has_version(&alias, "1"););
    }
    drive!(tap, moving_aliases(););
}

/// Where a mapping of a custom domain belongs to the release.
async fn mapping(tap: &mut Tap, stage: &StageRef, mapping: &str) {
    let mapping: MappingRef = mapping.parse().unwrap();
    let id = Some("m1").filter(|_| !mapping.is_base_path(stage.protocol));
    let target = MappingTarget { api: stage.api.clone(), stage: stage.stage.clone() };
    let other = StageRef { stage: "green".to_owned(), ..stage.clone() };
    drive!(tap, mapping(stage.protocol, &mapping); move_mapping(&mapping, id, &target); stage(&other););
}

async fn caches(tap: &mut Tap, stage: &StageRef) {
    drive!(tap,
        caches_decisions(&stage.api); flush(stage, Cache::Answers); flush(stage, Cache::Authorizers);
    );
}

/// Where people, programs or a hook hear of it.
async fn telling(tap: &mut Tap, who: &str) {
    let names = ParameterNames::under("/apigw-rollback");
    let mark = names.sent_mark("0000000000000000");
    let [subject, text, chat, report] = [(); 4].map(|()| "x".to_owned());
    let notice = Notification { subject, text, chat, report };
    match who {
        "people" => drive!(tap,
            publish("arn:aws:sns:eu-west-1:123456789012:people", &notice);
            put_parameter(&mark, "{}", Write::Create); parameters(std::slice::from_ref(&mark));
            delete_parameter(&mark); parameters_under(&names.sent_marks());
        ),
        "programs" => drive!(tap, put_event("default", "x", "{}");),
        _ => drive!(tap,
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
            let mut tap = Tap::new();
            match feature {
                "always" => always(&mut tap, &stage, name).await,
                "pinning" => pinning(&mut tap, &stage).await,
                "mapping" => mapping(&mut tap, &stage, "api.example.com/orders").await,
                "mapping-root" => mapping(&mut tap, &stage, "api.example.com").await,
                _ if protocol.is_v2() => continue,
                _ => caches(&mut tap, &stage).await,
            }
            of.insert(feature, tap.described);
        }
        of.insert("doctor", doctors(&stage, name));
    }
    for feature in ["aliases", "people", "programs", "hook"] {
        let mut tap = Tap::new();
        match feature {
            "aliases" => aliases(&mut tap).await,
            who => telling(&mut tap, who).await,
        }
        all.entry("any".to_owned()).or_default().insert(feature, tap.described);
    }
    // A stage that is protected by its record alone: `docs/many-apis.md` has the policy for it.
    let (more, mut tap) = (StageRef::rest("b2c3d4e5f6", "prod"), Tap::new());
    always(&mut tap, &more, "more").await;
    pinning(&mut tap, &more).await;
    drive!(tap, rest_api(&more.api););
    all.insert(more.to_string(), [("by-record", tap.described)].into());
    all
}

/// A line a request, so that a change shows which.
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

/// The doctor's questions about the role, in the place of the function's own calls.
fn doctors(stage: &StageRef, name: &str) -> Vec<Value> {
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
    all.into_iter().map(|want| json!({ "action": want.action, "on": want.resource })).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn recorded() -> Value {
    serde_json::from_str(&fs::read_to_string(root().join("tests/template/requests.json")).unwrap()).unwrap()
}

#[test]
fn every_request_of_the_port_is_on_the_list_that_the_policies_are_held_against() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(record());
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("requests.json");
    fs::write(&new, print(&heard)).unwrap();
    assert!(
        json!(heard) == recorded(),
        "the requests are others now. If that is meant: cp {} tests/template/requests.json; make template",
        new.display()
    );
}

/// The verbs are counted in the port's own source, so that a new one cannot be forgotten here.
#[test]
fn every_verb_of_the_port_is_on_the_list() {
    let rooms = ["gateway", "components", "parameters", "alarms", "outbox"];
    let port = rooms.map(|room| fs::read_to_string(root().join(format!("src/cloud/{room}.rs"))).unwrap());
    let verbs = port.iter().flat_map(|port| port.lines()).filter_map(|line| line.strip_prefix("    fn "));
    let verbs = verbs.map(|line| line.split_once('(').unwrap().0);
    let requests = entries(&recorded());
    let listed: BTreeSet<String> = requests.iter().map(|(verb, _)| verb.clone()).collect();
    assert_eq!(verbs.map(str::to_owned).collect::<BTreeSet<_>>(), listed);
}

/// A request of another test: it is on the list, up to what differs from run to run.
pub(crate) fn assert_on_the_list(request: &Request) {
    let listed: BTreeSet<_> = entries(&recorded()).iter().flat_map(|(_, one)| one.single()).collect();
    let unlisted: Vec<_> = request.single().into_iter().filter(|one| !listed.contains(one)).collect();
    assert!(
        unlisted.is_empty(),
        "the policies are not held against {unlisted:?}: let tests/it/requests.rs do it too"
    );
}

/// The verbs on the list, each with one of its requests.
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
