//! The exact requests that send notifications and events and invoke the hook.

use aws_smithy_http_client::test_util::ReplayEvent;
use serde_json::{Value, json};

use super::{PROTECTED, SSM, check_on, done, exchange, put_one, reads};

const NOTIFY: &[(&str, &str)] = &[
    PROTECTED,
    ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
    ("EVENT_BUS", "default"),
    ("HOOK_FUNCTION", "capture"),
];
const HOOK: &str = "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/capture/invocations";
const SNS: &str = "https://sns.eu-west-1.amazonaws.com/";
const EVENTS: &str = "https://events.eu-west-1.amazonaws.com/";

fn published() -> ReplayEvent {
    let answer = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";
    exchange("POST", SNS, "put", 200, answer)
}

#[test]
fn a_rollback_is_sent_to_the_hook_the_topic_and_the_event_bus() {
    let mut conversation = reads();
    conversation.push(exchange("POST", HOOK, "put", 200, "null"));
    conversation.extend(reads());
    conversation.extend(done());
    conversation.push(exchange("POST", HOOK, "put", 202, ""));
    let accepted = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]}).to_string();
    conversation.extend([put_one(), published()]);
    conversation.push(exchange("POST", EVENTS, "put", 200, accepted));
    let (report, bodies) = check_on(NOTIFY, "sns-alarm", conversation);
    assert_eq!(report.warnings, Vec::<String>::new());
    let phases: Vec<&Value> = bodies.iter().filter_map(|body| body.get("phase")).collect();
    assert_eq!(phases, [&json!("before"), &json!("after")]);
    let event = bodies.iter().find_map(|body| body["Entries"].get(0)).unwrap();
    assert_eq!(
        (&event["Source"], &event["DetailType"], &event["EventBusName"]),
        (&json!("apigw-rollback"), &json!("API Gateway Rollback Report"), &json!("default"))
    );
    let detail: Value = serde_json::from_str(event["Detail"].as_str().unwrap()).unwrap();
    assert_eq!((&detail["outcome"], &detail["schema"]), (&json!("rolled-back"), &json!(1)));
}

#[test]
fn a_refused_event_and_a_failed_hook_are_reported() {
    let mut conversation = reads();
    let failed = exchange("POST", HOOK, "put", 200, r#"{"errorMessage":"no disk"}"#);
    conversation.push(with_header(&failed, "x-amz-function-error", "Unhandled"));
    conversation.extend(reads());
    conversation.extend(done());
    conversation.push(exchange("POST", HOOK, "put", 202, ""));
    let refused =
        json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NotAuthorized", "ErrorMessage": "no"}]});
    conversation.extend([put_one(), published()]);
    conversation.push(exchange("POST", EVENTS, "put", 200, refused.to_string()));
    let (report, _) = check_on(NOTIFY, "sns-alarm", conversation);
    assert_eq!(
        report.warnings,
        [
            r#"the hook failed before the rollback: Invoke on `capture` failed: Unhandled: {"errorMessage":"no disk"}"#,
            "not sent: PutEvents on `default` failed: NotAuthorized: no",
        ]
    );
}

#[test]
fn the_run_that_creates_the_sent_mark_sends_the_notification() {
    let first = exchange("POST", SSM, "put", 200, json!({"Version": 1, "Tier": "Standard"}).to_string());
    let settings = &[PROTECTED, NOTIFY[1]];
    let no_count = || exchange("POST", SSM, "put", 200, json!({"Parameters": []}).to_string());
    let counted = exchange("POST", SSM, "put", 200, json!({"Version": 1, "Tier": "Standard"}).to_string());
    let (report, bodies) =
        check_on(settings, "sns-alarm-stale", vec![no_count(), first, published(), counted]);
    assert_eq!(report.code(), Some("stale"));
    assert_eq!(bodies[1]["Overwrite"], json!(false));
    assert!(bodies[1]["Name"].as_str().unwrap().starts_with("/apigw-rollback/told/"));
    let count = (bodies[2]["Name"].as_str().unwrap(), bodies[2]["Value"].as_str().unwrap());
    assert!(count.0.starts_with("/apigw-rollback/told/count-"), "{count:?}");
    assert_eq!(count.1, r#"{"schema":1,"day":"2026-11-20","sent":1}"#);

    let taken = exchange("POST", SSM, "put", 400, r#"{"message":"The parameter already exists."}"#);
    let taken = with_header(&taken, "x-amzn-errortype", "ParameterAlreadyExists");
    let mark = json!({"schema": 1, "at": "2026-11-20T10:05:59Z", "run": "run-0"}).to_string();
    let mark = json!({"Parameters": [{"Name": "mark", "Value": mark, "Version": 1}]});
    let theirs = exchange("POST", SSM, "put", 200, mark.to_string());
    let (report, _) = check_on(settings, "sns-alarm-stale", vec![no_count(), taken, theirs]);
    assert_eq!(report.warnings, Vec::<String>::new());
}

/// Adds this header to an exchange's answer.
fn with_header(event: &ReplayEvent, name: &str, value: &str) -> ReplayEvent {
    let (method, uri, body) = super::seen(event.request());
    let answer = event.response();
    ReplayEvent::new(
        http::Request::builder().method(method.as_str()).uri(uri).body(body.into()).unwrap(),
        http::Response::builder()
            .status(answer.status().as_u16())
            .header(name, value)
            .body(answer.body().bytes().unwrap_or_default().to_vec().into())
            .unwrap(),
    )
}
