//! The function's exact requests and its reading of AWS's answers: the real adapter over a client that replays a
//! conversation. A request that is not in the conversation fails the test.

mod alarms;
mod components;
#[cfg(feature = "cli")]
mod diagnostics;
mod environment;
mod limits;
mod load;
mod outbox;
mod pages;
mod promotion;
mod recordings;
pub(crate) mod requests;
mod stages;

use std::time::Duration;

use apigw_rollback::cloud::aws::Clients;
use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::time;
use apigw_rollback::model::records::print;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::Report;
use apigw_rollback::model::trigger::UNKNOWN;
use aws_sdk_ssm::config::{
    AsyncSleep, BehaviorVersion, Credentials, Region, SharedAsyncSleep, SharedCredentialsProvider,
    SharedHttpClient, Sleep,
};
use aws_smithy_cbor::Encoder;
use aws_smithy_http_client::test_util::{NeverClient, ReplayEvent, StaticReplayClient};
use aws_smithy_types::{DateTime as SdkTime, body::SdkBody};
use aws_types::SdkConfig;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::world::{FUNCTION, NOW, record, release};
use crate::wire::requests::{Request, assert_on_the_list};

const STAGE: &str = "https://apigateway.eu-west-1.amazonaws.com/restapis/a1b2c3d4e5/stages/prod";
const SSM: &str = "https://ssm.eu-west-1.amazonaws.com/";
const CLOUDWATCH: &str = "https://monitoring.eu-west-1.amazonaws.com/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
const KNOWN_GOOD: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good";

fn exchange(
    method: &str,
    uri: &str,
    request: impl Into<SdkBody>,
    status: u16,
    answer: impl Into<SdkBody>,
) -> ReplayEvent {
    ReplayEvent::new(
        http::Request::builder().method(method).uri(uri).body(request.into()).unwrap(),
        http::Response::builder().status(status).body(answer.into()).unwrap(),
    )
}

fn get_stage(live: &Release) -> ReplayEvent {
    exchange("GET", STAGE, "", 200, stage(live).to_string())
}

/// A stage with settings that the function must not touch.
fn stage(live: &Release) -> Value {
    let canary = live.canary.as_ref().map(|c| json!({"percentTraffic": 10.0, "deploymentId": c.deployment}));
    json!({
        "deploymentId": live.deployment, "stageName": "prod", "variables": live.variables, "canarySettings": canary,
        "lastUpdatedDate": 1_795_168_800, "cacheClusterEnabled": true, "cacheClusterSize": "0.5", "tracingEnabled": true,
        "methodSettings": {"*/*": {"loggingLevel": "ERROR", "throttlingBurstLimit": 100, "throttlingRateLimit": 50.0}},
        "accessLogSettings": {"destinationArn": "arn:aws:logs:eu-west-1:123456789012:log-group:api", "format": "x"},
        "clientCertificateId": "cert", "webAclArn": "arn:aws:wafv2:eu-west-1:123456789012:x", "tags": {"team": "orders"},
    })
}

fn get_record(value: &str) -> ReplayEvent {
    let others = ["candidate", "hold", "policy", "rollbacks", "rollout"];
    let others = others.map(|what| KNOWN_GOOD.replace("known-good", what));
    let others = others
        .iter()
        .map(String::as_str)
        .chain(["/apigw-rollback/names/orders-api", "/apigw-rollback/sweep"]);
    let names: Vec<&str> = std::iter::once(KNOWN_GOOD).chain(others).collect();
    let request = json!({ "Names": names }).to_string();
    let answer =
        json!({"Parameters": [{"Name": KNOWN_GOOD, "Type": "String", "Value": value, "Version": 3}]});
    exchange("POST", SSM, request, 200, answer.to_string())
}

/// CloudWatch and the SDK exchange CBOR.
fn describe_alarm(state: &str) -> ReplayEvent {
    let mut request = Encoder::new(Vec::new());
    request.begin_map().str("AlarmNames").array(1).str("orders-prod-5xx");
    request.str("AlarmTypes").array(3).str("MetricAlarm").str("CompositeAlarm").str("LogAlarm").end();
    let mut answer = Encoder::new(Vec::new());
    metric_alarm(&mut answer, state, 1_795_169_112);
    let response = http::Response::builder().status(200).header("smithy-protocol", "rpc-v2-cbor");
    ReplayEvent::new(
        http::Request::builder()
            .method("POST")
            .uri(CLOUDWATCH)
            .body(SdkBody::from(request.into_writer()))
            .unwrap(),
        response.body(SdkBody::from(answer.into_writer())).unwrap(),
    )
}

/// An answer with one alarm on the stage's 5xx metric, which changed its state at this time and invokes the function.
fn metric_alarm(answer: &mut Encoder, state: &str, changed_at: i64) {
    answer.begin_map().str("MetricAlarms").array(1).begin_map();
    for (name, value) in [
        ("AlarmName", "orders-prod-5xx"),
        ("StateValue", state),
        ("Namespace", "AWS/ApiGateway"),
        ("MetricName", "5XXError"),
    ] {
        answer.str(name).str(value);
    }
    answer.str("StateTransitionedTimestamp").timestamp(&SdkTime::from_secs(changed_at));
    answer.str("AlarmActions").array(1);
    answer.str(FUNCTION);
    answer.str("Dimensions").array(2);
    answer.begin_map().str("Name").str("ApiName").str("Value").str("orders-api").end();
    answer.begin_map().str("Name").str("Stage").str("Value").str("prod").end();
    answer.end().end();
}

/// The read of the mute rules, of which there are none.
fn no_mute_rules() -> ReplayEvent {
    cloudwatch("ListAlarmMuteRules", |answer| {
        answer.begin_map().str("AlarmMuteRuleSummaries").array(0).end();
    })
}

fn update_stage(operations: &Value, status: u16, answer: &Value) -> ReplayEvent {
    let request = json!({"patchOperations": operations}).to_string();
    exchange("PATCH", STAGE, request, status, answer.to_string())
}

/// One write of a parameter: the incident is written together with the first step, the rollback list after the last.
fn put_one() -> ReplayEvent {
    exchange("POST", SSM, "put", 200, json!({"Version": 1, "Tier": "Standard"}).to_string())
}

/// The stage's metrics have no data.
fn no_requests() -> ReplayEvent {
    cloudwatch("GetMetricData", |answer| {
        answer.begin_map().str("MetricDataResults").array(0).end();
    })
}

/// The incident, the change and the rollback list. The written values contain times of the run and are not compared.
fn done() -> Vec<ReplayEvent> {
    vec![put_one(), update_stage(&operations(), 200, &back()), put_one()]
}

fn settings(client: SharedHttpClient) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::for_tests()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep))
        .http_client(client)
        .build()
}

/// Makes the SDK wait on Tokio's clock, which the tests pause.
#[derive(Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

const PROTECTED: (&str, &str) =
    ("PROTECTED_STAGES", r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#);

fn run(event: &str, client: SharedHttpClient, given: &[(&str, &str)]) -> Vec<Report> {
    let given = |name: &str| given.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let config =
        Config::read(|name| if name == "AWS_REGION" { Some("eu-west-1".to_owned()) } else { given(name) });
    let clients = Clients::new(&settings(client));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let deadline = began + Duration::from_secs(20);
        let run = Context {
            cloud: &clients.until(deadline, deadline),
            config: &config.unwrap(),
            trigger: &UNKNOWN,
            id: "run-1",
            trace: None,
            function: Some(FUNCTION),
            now: time(NOW).unwrap(),
            began,
            deadline,
        };
        Box::pin(handle(event, &run)).await.reports
    })
}

fn event(name: &str) -> String {
    std::fs::read_to_string(format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Runs an event against a conversation, which must take place completely and in this order.
fn check(name: &str, conversation: Vec<ReplayEvent>) -> (Report, Vec<Value>) {
    check_on(&[PROTECTED], name, conversation)
}

fn check_on(settings: &[(&str, &str)], name: &str, conversation: Vec<ReplayEvent>) -> (Report, Vec<Value>) {
    let expected: Vec<(String, String, Vec<u8>)> = conversation.iter().map(|e| seen(e.request())).collect();
    let client = StaticReplayClient::new(conversation);
    let mut reports = run(&event(name), SharedHttpClient::new(client.clone()), settings);
    client.actual_requests().for_each(assert_listed);
    let actual: Vec<_> = client.actual_requests().map(seen).collect();
    for (nth, (wanted, got)) in expected.iter().zip(&actual).enumerate() {
        assert_eq!((&wanted.0, &wanted.1), (&got.0, &got.1), "request {nth}");
        if wanted.2 != b"put" {
            assert_eq!(body(&wanted.2), body(&got.2), "request {nth}");
        }
    }
    assert_eq!(expected.len(), actual.len(), "number of requests");
    let bodies = actual.iter().filter_map(|(_, _, body)| serde_json::from_slice(body).ok());
    (reports.remove(0), bodies.collect())
}

/// Parses a body as a value, because the order of a JSON object's fields does not matter.
fn body(bytes: &[u8]) -> Value {
    let text = || json!(String::from_utf8_lossy(bytes));
    serde_json::from_slice(bytes).unwrap_or_else(|_| text())
}

fn assert_listed(request: &aws_sdk_ssm::config::http::HttpRequest) {
    let (method, uri, body) = seen(request);
    assert_on_the_list(&Request::read(&method, &uri, |name| request.headers().get(name), &body));
}

fn seen(request: &aws_sdk_ssm::config::http::HttpRequest) -> (String, String, Vec<u8>) {
    let body = request.body().bytes().unwrap_or_default().to_vec();
    (request.method().to_owned(), request.uri().to_owned(), body)
}

fn good() -> String {
    print(&record(release("d1", &[("release", "1"), ("same", "s"), ("gone", "g")]))).unwrap()
}

fn bad() -> Release {
    release("d2", &[("release", "2"), ("same", "s"), ("new", "n")])
}

fn back() -> Value {
    stage(&release("d1", &[("release", "1"), ("same", "s"), ("gone", "g")]))
}

fn operations() -> Value {
    json!([
        {"op": "replace", "path": "/deploymentId", "value": "d1"},
        {"op": "replace", "path": "/variables/gone", "value": "g"},
        {"op": "replace", "path": "/variables/release", "value": "1"},
        {"op": "remove", "path": "/variables/new"},
    ])
}

fn reads() -> Vec<ReplayEvent> {
    vec![get_stage(&bad()), get_record(&good()), describe_alarm("ALARM"), no_mute_rules(), no_requests()]
}

#[test]
fn a_rollback_makes_five_reads_at_once_one_patch_and_two_writes_of_records() {
    let mut conversation = reads();
    conversation.extend(done());
    let (report, bodies) = check("sns-alarm", conversation);
    assert_eq!(
        report.message,
        "rest/a1b2c3d4e5/prod was rolled back: deployment `d2` -> `d1`; stage variables set: gone, release; stage variables removed: new (known-good version 3)"
    );
    let [.., put, _, list] = bodies.as_slice() else { panic!("two parameters are written: {bodies:?}") };
    assert_eq!(list["Name"], json!(KNOWN_GOOD.replace("known-good", "rollbacks")));
    assert_eq!(put["Overwrite"], json!(false));
    assert_eq!((&put["Type"], &put["Tier"]), (&json!("String"), &json!("Intelligent-Tiering")));
    let incident: Value = serde_json::from_str(put["Value"].as_str().unwrap()).unwrap();
    assert_eq!((&incident["bad"]["deployment"], &incident["by"]), (&json!("d2"), &json!("orders-prod-5xx")));
}

#[test]
fn the_canary_is_removed_first_in_the_same_patch() {
    let mut with_canary = bad();
    with_canary.canary = Some(apigw_rollback::model::release::Canary {
        deployment: Some("d3".to_owned()),
        percent: "10".to_owned(),
        overrides: [].into(),
        uses_cache: false,
    });
    let mut all = vec![json!({"op": "remove", "path": "/canarySettings"})];
    all.extend(operations().as_array().unwrap().clone());
    let conversation = vec![
        get_stage(&with_canary),
        get_record(&good()),
        describe_alarm("ALARM"),
        no_mute_rules(),
        no_requests(),
        put_one(),
        update_stage(&json!(all), 200, &back()),
        put_one(),
    ];
    let (report, _) = check("sns-alarm", conversation);
    assert!(report.message.contains("canary with 10 % of the traffic removed"), "{}", report.message);
}

#[test]
fn an_ignored_or_rejected_event_makes_no_call() {
    for name in
        ["sns-text", "sns-alarm-stale", "eventbridge-alarm-suppressed", "sns-alarm-wrong-account", "hello"]
    {
        let (report, _) = check(name, vec![]);
        assert!(!report.outcome.is_failure(), "{}", report.message);
    }
}

#[test]
fn an_alarm_that_has_cleared_causes_no_write() {
    let (report, _) = check(
        "sns-alarm",
        vec![get_stage(&bad()), get_record(&good()), describe_alarm("OK"), no_mute_rules(), no_requests()],
    );
    assert_eq!(report.code(), Some("alarm-cleared"));
}

#[test]
fn after_a_conflict_the_function_reads_again() {
    let busy = json!({"message": "Unable to complete operation due to concurrent modification. Please try again later."});
    let mut conflict = update_stage(&operations(), 409, &busy);
    conflict = with_error(&conflict, "ConflictException");
    let mut conversation = reads();
    conversation.extend([put_one(), conflict]);
    conversation.extend(reads());
    conversation.extend([update_stage(&operations(), 200, &back()), put_one()]);
    let (report, _) = check("sns-alarm", conversation);
    assert!(report.message.contains("was rolled back"), "{}", report.message);
}

#[test]
fn after_a_refusal_the_function_reads_the_deployment_and_the_stage() {
    let refused = || {
        with_error(
            &update_stage(&operations(), 400, &json!({"message": "Deployment id does not exist"})),
            "BadRequestException",
        )
    };
    let deployment = "https://apigateway.eu-west-1.amazonaws.com/restapis/a1b2c3d4e5/deployments/d1";
    let missing = with_error(
        &exchange("GET", deployment, "", 404, r#"{"message":"Invalid deployment identifier"}"#),
        "NotFoundException",
    );
    let mut conversation = reads();
    conversation.extend([put_one(), refused(), missing, get_stage(&bad()), put_one()]);
    let history = json!({"Name": KNOWN_GOOD}).to_string();
    let only = json!({"Parameters": [{"Name": KNOWN_GOOD, "Value": good(), "Version": 3}]}).to_string();
    conversation.push(exchange("POST", SSM, history, 200, only));
    let rollbacks = json!({"Names": [KNOWN_GOOD.replace("known-good", "rollbacks")]}).to_string();
    conversation.push(exchange("POST", SSM, rollbacks, 200, r#"{"Parameters":[]}"#));
    let (report, _) = check("sns-alarm", conversation);
    assert_eq!(report.code(), Some("known-good-missing"));

    let mut conversation = reads();
    conversation.extend([
        put_one(),
        refused(),
        exchange("GET", deployment, "", 200, r#"{"id":"d1"}"#),
        get_stage(&bad()),
        put_one(),
    ]);
    let (report, _) = check("sns-alarm", conversation);
    assert_eq!(
        report.message,
        "UpdateStage on `rest/a1b2c3d4e5/prod` failed: BadRequestException: Deployment id does not exist"
    );
}

#[test]
fn a_denial_is_reported_with_its_code_its_message_and_the_next_step() {
    let denied = exchange(
        "GET",
        STAGE,
        "",
        403,
        r#"{"Message":"User: arn:aws:sts::123456789012:assumed-role/x is not authorized"}"#,
    );
    let conversation =
        vec![with_error(&denied, "AccessDeniedException"), get_record(&good()), describe_alarm("ALARM")];
    let (report, _) = check("sns-alarm", conversation);
    assert_eq!(
        report.message,
        "GetStage on `rest/a1b2c3d4e5/prod` failed: AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/x is not authorized"
    );
    assert_eq!(
        report.next,
        [
            "allow this call for the function's role: the template's policies list the permissions that it needs"
        ]
    );
}

#[test]
fn a_call_without_an_answer_ends_at_the_deadline_and_is_reported() {
    let reports = run(&event("sns-alarm"), SharedHttpClient::new(NeverClient::new()), &[PROTECTED]);
    assert!(reports[0].outcome.is_failure());
    let message = &reports[0].message;
    assert!(message.ends_with(" failed: Deadline: no answer in the time that was left"), "{message}");
}

/// CloudWatch's answer to any request; the request's bytes are not compared.
fn cloudwatch(operation: &str, answer: impl FnOnce(&mut Encoder)) -> ReplayEvent {
    let mut body = Encoder::new(Vec::new());
    answer(&mut body);
    let uri = CLOUDWATCH.replace("DescribeAlarms", operation);
    let response = http::Response::builder().status(200).header("smithy-protocol", "rpc-v2-cbor");
    ReplayEvent::new(
        http::Request::builder().method("POST").uri(uri).body(SdkBody::from("put")).unwrap(),
        response.body(SdkBody::from(body.into_writer())).unwrap(),
    )
}

/// One entry of an alarm's history.
fn history(encoder: &mut Encoder) {
    let data = json!({"oldState": {"stateValue": "INSUFFICIENT_DATA"}, "newState": {"stateValue": "OK"}});
    encoder.begin_map().str("AlarmHistoryItems").array(1);
    encoder.begin_map().str("HistoryData").str(&data.to_string()).end().end();
}

/// Two samples of a metric.
fn samples(encoder: &mut Encoder) {
    encoder.begin_map().str("MetricDataResults").array(1).begin_map();
    encoder.str("Id").str("q0").str("Values").array(2).double(3.0).double(4.0).end().end();
}

/// Adds the header with the error's code to an exchange's answer, as API Gateway does.
fn with_error(event: &ReplayEvent, code: &str) -> ReplayEvent {
    let (request, response) = (event.request(), event.response());
    let (method, uri, body) = seen(request);
    let status = response.status().as_u16();
    let answer = response.body().bytes().unwrap_or_default().to_vec();
    ReplayEvent::new(
        http::Request::builder().method(method.as_str()).uri(uri).body(SdkBody::from(body)).unwrap(),
        http::Response::builder()
            .status(status)
            .header("x-amzn-errortype", code)
            .body(SdkBody::from(answer))
            .unwrap(),
    )
}
