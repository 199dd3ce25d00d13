//! The access-log format: rendered as API Gateway does it, and read as CloudWatch does it.

mod specification;

use std::fs;
use std::path::Path;

use apigw_rollback::model::access_log::format;
use apigw_rollback::model::protocol::Protocol;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use specification::extracted;

const PROTOCOLS: [Protocol; 3] = [Protocol::Rest, Protocol::Http, Protocol::WebSocket];

const DIGITS: &str = "0123456789";
const ID: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const STAGE_NAME: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_$/";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_";

/// The variables that a format may use, an example, and the characters that their values can have. API Gateway makes
/// these values itself. All others are left out, because a client, an authorizer or a backend could put quotes into
/// them: paths, headers, messages, claims, and the `requestId` of a REST API.
const SAFE: [(&str, &str, &str); 7] = [
    ("requestTimeEpoch", "1795168512345", DIGITS),
    ("apiId", "a1b2c3d4e5", ID),
    // `$default` is a stage of HTTP APIs; a canary may be `prod/Canary`.
    ("stage", "prod", STAGE_NAME),
    ("deploymentId", "d1e2f3", ID),
    ("status", "200", DIGITS),
    ("responseLatency", "23", DIGITS),
    ("extendedRequestId", "Fkb1_JtoKANExCk=", BASE64),
];

fn now() -> DateTime<Utc> {
    "2026-11-20T10:06:00Z".parse().unwrap()
}

/// Completes a format for one request, as API Gateway does: it neither quotes nor escapes, and writes `-` for a value
/// that is missing.
fn rendered(format: &str, context: &[(&str, &str)]) -> String {
    let mut pieces = format.split("$context.");
    let mut line = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap();
        let (variable, rest) = piece.split_at(end);
        line += context.iter().rev().find(|(name, _)| *name == variable).map_or("-", |(_, value)| *value);
        line += rest;
    }
    line
}

fn request(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    SAFE.iter().map(|(name, example, _)| (*name, *example)).chain(changes.iter().copied()).collect()
}

fn check(story: &str, protocol: Protocol, changes: &[(&'static str, &'static str)], expected: &[&str]) {
    let line = rendered(&format(protocol), &request(changes));
    let data = extracted(&line, now()).unwrap_or_else(|error| panic!("{story}: {error}: {line}"));
    let data: Vec<String> = data.iter().map(ToString::to_string).collect();
    assert_eq!(data, expected, "{story}: {line}");
}

#[test]
fn each_request_becomes_a_value_of_each_metric() {
    let rest = [
        "Status 200 of ApiId=a1b2c3d4e5 Stage=prod in None at 1795168512345 each 1 s",
        "Latency 23 of ApiId=a1b2c3d4e5 Stage=prod in Milliseconds at 1795168512345 each 1 s",
        "Status 200 of ApiId=a1b2c3d4e5 DeploymentId=d1e2f3 Stage=prod in None at 1795168512345 each 1 s",
        "Latency 23 of ApiId=a1b2c3d4e5 DeploymentId=d1e2f3 Stage=prod in Milliseconds at 1795168512345 each 1 s",
    ];
    check("a request to a REST API", Protocol::Rest, &[], &rest);
    let http = [
        "Status 200 of ApiId=a1b2c3d4e5 Stage=$default in None at 1795168512345 each 1 s",
        "Latency 23 of ApiId=a1b2c3d4e5 Stage=$default in Milliseconds at 1795168512345 each 1 s",
    ];
    check("a request to the default stage", Protocol::Http, &[("stage", "$default")], &http);
    let websocket = ["Status 500 of ApiId=a1b2c3d4e5 Stage=prod in None at 1795168512345 each 1 s"];
    check("a message that fails", Protocol::WebSocket, &[("status", "500")], &websocket);
    let refused = [("status", "504"), ("responseLatency", "29003"), ("integrationLatency", "-")];
    check(
        "an answer of API Gateway itself, without an integration",
        Protocol::Http,
        &refused,
        &[
            "Status 504 of ApiId=a1b2c3d4e5 Stage=prod in None at 1795168512345 each 1 s",
            "Latency 29003 of ApiId=a1b2c3d4e5 Stage=prod in Milliseconds at 1795168512345 each 1 s",
        ],
    );
    let hostile = [
        ("path", r#"/prod/","Status":200,"x":""#),
        ("requestId", r#"","Status":200,"x":""#),
        ("identity.userAgent", r"\"),
        ("error.message", r#"Invalid "body""#),
    ];
    check("quotes and backslashes from the client", Protocol::Rest, &hostile, &rest);
}

/// A line without a value may lose itself. It must not write another metric, or another value.
#[test]
fn a_missing_value_loses_its_line_or_names_no_release() {
    for protocol in PROTOCOLS {
        let whole = extracted(&rendered(&format(protocol), &request(&[])), now()).unwrap();
        for missing in 0..1_u32 << SAFE.len() {
            let context: Vec<_> = (0..)
                .zip(SAFE)
                .filter(|(nth, _)| missing >> nth & 1 == 0)
                .map(|(_, (name, example, _))| (name, example))
                .collect();
            let line = rendered(&format(protocol), &context);
            let is_lost = ["status", "responseLatency", "requestTimeEpoch"].into_iter().any(|name| {
                let is_used = format(protocol).contains(&format!("$context.{name},"));
                is_used && context.iter().all(|(known, _)| *known != name)
            });
            let read = extracted(&line, now());
            assert_eq!(read.is_err(), is_lost, "{line}");
            for datum in read.unwrap_or_default() {
                let is_of_nothing = datum.dimensions.values().any(|value| value == "-");
                assert!(is_of_nothing || whole.contains(&datum), "{line}: {datum}");
            }
        }
    }
    // A missing deployment does not cost the metrics of the stage.
    let context: Vec<_> = request(&[]).into_iter().filter(|(name, _)| *name != "deploymentId").collect();
    let data = extracted(&rendered(&format(Protocol::Rest), &context), now()).unwrap();
    let deployments: Vec<_> = data.iter().map(|datum| datum.dimensions.get("DeploymentId")).collect();
    let none = "-".to_owned();
    assert_eq!(deployments, [None, None, Some(&none), Some(&none)]);
}

#[test]
fn no_value_can_break_the_line() {
    for protocol in PROTOCOLS {
        let format = format(protocol);
        let used: Vec<&str> = format.split("$context.").skip(1).collect();
        for rest in &used {
            let known = |(name, _, _): &&(&str, &str, &str)| {
                rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(['"', ',']))
            };
            let (name, _, characters) = SAFE.iter().find(known).unwrap_or_else(|| panic!("not safe: {rest}"));
            assert!(characters.bytes().all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\'), "{name}");
            let is_text = rest.strip_prefix(name).unwrap().starts_with('"');
            assert_eq!(is_text, *characters != DIGITS, "{name} is quoted if it is no number");
            if is_text {
                let line = rendered(&format, &request(&[(name, characters)]));
                assert!(extracted(&line, now()).is_ok(), "{line}");
            }
        }
        assert_eq!(
            used.len(),
            match protocol {
                Protocol::Rest => 7,
                Protocol::Http => 6,
                Protocol::WebSocket => 5,
            }
        );
        assert!(!format.contains('\n') && format.contains("$context.extendedRequestId"), "{format}");
        let line = rendered(&format, &request(&[]));
        assert!(line.len() <= 450, "docs/cost.md has the cost of 450 bytes, not of {}", line.len());
    }
}

#[test]
fn the_rules_of_the_specification_are_checked() {
    let line = rendered(&format(Protocol::Rest), &request(&[]));
    let dimensions: Vec<String> = (0..31).map(|nth| format!("D{nth}")).collect();
    let values = vec![1; 101];
    let directive = "/_aws/CloudWatchMetrics/0";
    for (at, value, broken) in [
        ("/_aws/Timestamp".to_owned(), json!(1_795_168_512), "`Timestamp`, in milliseconds, is older"),
        ("/_aws/Timestamp".to_owned(), json!("1795168512345"), "`Timestamp` is no integer"),
        ("/_aws/CloudWatchMetrics".to_owned(), json!({}), "`CloudWatchMetrics` is no array"),
        (format!("{directive}/Namespace"), json!("AWS/ApiGateway"), "a namespace of AWS"),
        (format!("{directive}/Namespace"), json!(""), "is no name"),
        (format!("{directive}/Dimensions"), json!([]), "`Dimensions` has no set"),
        (format!("{directive}/Dimensions/0"), json!(dimensions), "at most 30 dimensions"),
        (format!("{directive}/Dimensions/0/0"), json!("Status"), "a dimension is no string"),
        (format!("{directive}/Dimensions/0/0"), json!("_aws.Timestamp"), "a dimension is no string"),
        (format!("{directive}/Metrics/0/Name"), json!("Stage"), "a metric is no number"),
        (format!("{directive}/Metrics/0/Name"), json!("_aws.Timestamp"), "a metric is no member"),
        (format!("{directive}/Metrics/0/StorageResolution"), json!(10), "a resolution is 1 or 60"),
        (format!("{directive}/Metrics/1/Unit"), json!("ms"), "an unknown unit"),
        (format!("{directive}/Metrics/0"), json!({"Name": "Status", "X": 1}), "an additional member"),
        (format!("{directive}/Metrics/0"), json!({}), "a required member is missing"),
        ("/Status".to_owned(), json!("200"), "a metric is no number"),
        ("/Status".to_owned(), json!(values), "at most 100 values"),
        ("/Stage".to_owned(), json!(""), "a dimension has 1 to 1024 characters"),
        ("/Stage".to_owned(), json!(1), "a dimension is no string"),
    ] {
        let mut document: Value = serde_json::from_str(&line).unwrap();
        *document.pointer_mut(&at).unwrap() = value;
        let error = extracted(&document.to_string(), now()).unwrap_err();
        assert!(error.contains(broken), "{at}: {error}");
    }
    for line in [format!("{line} -"), line.replace(":200,", ":-,"), "[]".to_owned()] {
        assert!(extracted(&line, now()).is_err(), "{line}");
    }
}

#[test]
fn page_and_template_have_each_format_and_their_statistic_counts_5xx_only() {
    let text = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (page, template) = (text("docs/access-log.md"), text("template.yaml"));
    for protocol in PROTOCOLS {
        assert!(page.contains(&format(protocol)), "{protocol}: docs/access-log.md has another format");
        let has_sample = protocol != Protocol::WebSocket;
        assert_eq!(template.contains(&format(protocol)), has_sample, "{protocol}: template.yaml");
    }
    let mut ranges = 0;
    let of_status = |range: &&str| !range.starts_with('$');
    for range in page.split("PR(").skip(1).chain(template.split("PR(").skip(1)).filter(of_status) {
        let (above, most) = range.split(')').next().unwrap().split_once(':').unwrap();
        let (above, most): (u16, u16) = (above.parse().unwrap(), most.parse().unwrap());
        // CloudWatch: a percentile rank excludes the lower bound and includes the upper one.
        for status in 100..=999 {
            assert_eq!(above < status && status <= most, (500..=599).contains(&status), "{status}");
        }
        ranges += 1;
    }
    assert!(ranges > 2, "{ranges} statistics");
}
