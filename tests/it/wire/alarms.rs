//! Alarms as CloudWatch tells of them: log alarms, mute rules, the datapoints behind a state, and later datapoints.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use apigw_rollback::cloud::Alarms;
use apigw_rollback::cloud::aws::Clients;
use apigw_rollback::model::alarm::{AlarmNow, time};
use apigw_rollback::model::cloud_error::CloudError;
use apigw_rollback::model::datapoint::Datapoint;
use apigw_rollback::model::report::Report;
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_cbor::Encoder;
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::{DateTime as SdkTime, body::SdkBody};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::world::FUNCTION;

use super::{KNOWN_GOOD, PROTECTED, back, bad, event, good, run, settings, stage};

/// CloudWatch's answers by operation, in their order; the last one is repeated.
type Answers = BTreeMap<&'static str, Vec<(u16, Value)>>;

/// Writes a value as CBOR. A text that begins with `@` is a time.
fn cbor(encoder: &mut Encoder, value: &Value) {
    match value {
        Value::Null => {
            encoder.null();
        }
        Value::Bool(value) => {
            encoder.boolean(*value);
        }
        Value::Number(value) if value.is_i64() => {
            encoder.long(value.as_i64().unwrap());
        }
        Value::Number(value) => {
            encoder.double(value.as_f64().unwrap());
        }
        Value::String(text) => {
            match text.strip_prefix('@') {
                Some(text) => encoder.timestamp(&SdkTime::from_secs(time(text).unwrap().timestamp())),
                None => encoder.str(text),
            };
        }
        Value::Array(list) => {
            encoder.array(list.len());
            for value in list {
                cbor(encoder, value);
            }
        }
        Value::Object(fields) => {
            encoder.begin_map();
            for (name, value) in fields {
                encoder.str(name);
                cbor(encoder, value);
            }
            encoder.end();
        }
    }
}

/// Returns a value as CBOR.
pub(super) fn encoded(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    cbor(&mut encoder, value);
    encoder.into_writer()
}

/// A client that answers as AWS does: the stage serves release 2, release 1 is recorded, and CloudWatch answers this.
/// Returns the operations of CloudWatch that were called, too.
fn client(answers: Answers) -> (SharedHttpClient, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let sink = Arc::clone(&asked);
    let client = infallible_client_fn(move |request: http::Request<SdkBody>| {
        let uri = request.uri().to_string();
        let response = http::Response::builder();
        if !uri.contains("monitoring") {
            let body = match (request.method().as_str(), uri.contains("apigateway")) {
                ("GET", true) => stage(&bad()).to_string(),
                (_, true) => back().to_string(),
                _ => json!({"Version": 1, "Parameters": [
                    {"Name": KNOWN_GOOD, "Type": "String", "Value": good(), "Version": 3}]})
                .to_string(),
            };
            return response.status(200).body(SdkBody::from(body)).unwrap();
        }
        let operation = uri.rsplit('/').next().unwrap().to_owned();
        let mut asked = sink.lock().unwrap();
        let nth = asked.iter().filter(|one| **one == operation).count();
        let all = answers.get(operation.as_str()).map(Vec::as_slice).unwrap_or_default();
        let none = (200, json!({}));
        let (status, body) = all.get(nth).or(all.last()).unwrap_or(&none);
        asked.push(operation);
        let response = response.status(*status).header("smithy-protocol", "rpc-v2-cbor");
        response.body(SdkBody::from(encoded(body))).unwrap()
    });
    (SharedHttpClient::new(client), asked)
}

/// Runs a read of the port against these answers.
fn read<T>(answers: Answers, read: impl AsyncFnOnce(&dyn Fn() -> apigw_rollback::cloud::aws::Aws) -> T) -> T {
    let (client, _) = client(answers);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clients = Clients::new(&settings(client));
        read(&|| {
            clients.until(
                Instant::now() + std::time::Duration::from_secs(20),
                Instant::now() + std::time::Duration::from_secs(20),
            )
        })
        .await
    })
}

/// The alarm on the stage's 5xx metric, in ALARM since 10:05:12, with these fields besides.
fn in_alarm(more: &Value) -> Value {
    let mut alarm = json!({
        "AlarmName": "orders-prod-5xx", "StateValue": "ALARM", "ActionsEnabled": true,
        "AlarmActions": [FUNCTION],
        "StateTransitionedTimestamp": "@2026-11-20T10:05:12Z", "Namespace": "AWS/ApiGateway", "MetricName": "5XXError",
        "Dimensions": [{"Name": "ApiName", "Value": "orders-api"}, {"Name": "Stage", "Value": "prod"}],
        "Period": 60, "EvaluationPeriods": 2, "Threshold": 0.05, "ComparisonOperator": "GreaterThanThreshold",
        "Statistic": "Average",
    });
    alarm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"MetricAlarms": [alarm]})
}

fn error(code: &str) -> Value {
    json!({"__type": format!("com.amazonaws.cloudwatch#{code}"), "message": "what AWS says"})
}

fn outcome(reports: &[Report]) -> String {
    let code = reports[0].code().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{}{code}", json!(reports[0].outcome).as_str().unwrap())
}

#[test]
fn a_muted_alarm_does_nothing_and_unreadable_mute_rules_hold() {
    let rule = |name: &str, status: &str| {
        let arn = format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm-mute-rule:{name}");
        json!({"AlarmMuteRuleArn": arn, "Status": status})
    };
    let rules = |rules: Vec<Value>| vec![(200, json!({ "AlarmMuteRuleSummaries": rules }))];
    let two_pages = vec![
        (200, json!({"AlarmMuteRuleSummaries": [], "NextToken": "2"})),
        (200, json!({"AlarmMuteRuleSummaries": [rule("deploys", "ACTIVE")]})),
    ];
    for (case, mutes, expected, message) in [
        ("no rule", rules(vec![]), "rolled-back", "was rolled back"),
        ("an active rule", rules(vec![rule("deploys", "ACTIVE")]), "ignored (muted)", "`deploys`"),
        ("an expired rule", rules(vec![rule("deploys", "EXPIRED")]), "rolled-back", ""),
        ("on the second page", two_pages, "ignored (muted)", "`deploys`"),
        ("denied", vec![(400, error("AccessDeniedException"))], "held (alarm-unreadable)", "what AWS says"),
        ("an older endpoint", vec![(400, error("InvalidAction"))], "rolled-back", ""),
        ("an emulator", vec![(501, error("InternalFailure"))], "rolled-back", ""),
        ("no code at all", vec![(400, json!({}))], "rolled-back", ""),
    ] {
        let answers =
            [("DescribeAlarms", vec![(200, in_alarm(&json!({})))]), ("ListAlarmMuteRules", mutes)].into();
        let reports = run(&event("sns-alarm"), client(answers).0, &[PROTECTED]);
        assert_eq!(outcome(&reports), expected, "{case}: {}", reports[0].message);
        assert!(reports[0].message.contains(message), "{case}: {}", reports[0].message);
    }
}

#[test]
fn an_endpoint_that_refuses_log_alarms_is_asked_without_them_from_then_on() {
    let answers = [(
        "DescribeAlarms",
        vec![(400, error("ValidationError")), (200, in_alarm(&json!({}))), (200, in_alarm(&json!({})))],
    )];
    let (client, asked) = client(answers.into());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let clients = Clients::new(&settings(client));
        let aws = clients.until(
            Instant::now() + std::time::Duration::from_secs(20),
            Instant::now() + std::time::Duration::from_secs(20),
        );
        for _ in 0..2 {
            assert_eq!(aws.alarms(&["orders-prod-5xx".to_owned()]).await.unwrap().len(), 1);
        }
    });
    assert_eq!(asked.lock().unwrap().len(), 3, "the second read asks once");
}

/// Reads one alarm from CloudWatch's answer.
fn described(answer: Value) -> AlarmNow {
    let answers = [("DescribeAlarms", vec![(200, answer)])].into();
    let alarms = read(answers, async |aws| aws().alarms(&["orders-prod-5xx".to_owned()]).await);
    alarms.unwrap().remove(0)
}

fn points(points: &[Datapoint]) -> String {
    let shown = points.iter().map(|point| format!("{} {:?}", point.begins.format("%H:%M"), point.reading));
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_log_alarm_is_read_and_its_window_counts_as_the_longest() {
    let now = described(json!({"LogAlarms": [{
        "AlarmName": "orders-prod-5xx", "StateValue": "ALARM", "AlarmDescription": "rollback-target: orders-api/prod",
        "StateReason": "3 out of the last 5 query results", "AlarmActions": ["arn:aws:sns:eu-west-1:1:alarms"],
        "QueryResultsToEvaluate": 5, "QueryResultsToAlarm": 3, "Threshold": 100.0,
    }]}));
    assert_eq!(now.alarm.description.as_deref(), Some("rollback-target: orders-api/prod"));
    assert_eq!((now.window, now.actions.len(), now.actions_enabled), (TimeDelta::days(1), 1, true));
}

#[test]
fn the_datapoints_behind_a_state_say_whether_only_missing_data_made_it() {
    let data =
        |points: &Value| json!({"version": "1.0", "period": 60, "evaluatedDatapoints": points}).to_string();
    let (three, four) = ("2026-11-20T10:03:00.000+0000", "2026-11-20T10:04:00.000+0000");
    for (case, treat, points_told, expected, missing) in [
        (
            "two breach",
            "breaching",
            json!([{"timestamp": four, "value": 0.4}, {"timestamp": three, "value": 0.1}]),
            "10:03 Breaching, 10:04 Breaching",
            false,
        ),
        (
            "one is missing",
            "breaching",
            json!([{"timestamp": four}, {"timestamp": three, "value": 0.4}]),
            "10:03 Breaching, 10:04 Missing",
            true,
        ),
        (
            "one is within",
            "breaching",
            json!([{"timestamp": four, "value": 0.0}, {"timestamp": three, "value": 0.4}]),
            "10:03 Breaching, 10:04 Within",
            false,
        ),
        (
            "missing data does not breach",
            "notBreaching",
            json!([{"timestamp": four}]),
            "10:04 Missing",
            false,
        ),
        ("no list", "breaching", json!(1), "", false),
    ] {
        let more = json!({"TreatMissingData": treat, "StateReasonData": data(&points_told)});
        let now = described(in_alarm(&more));
        assert_eq!(
            (points(&now.evaluated).as_str(), now.alarm.only_missing_data),
            (expected, missing),
            "{case}"
        );
    }
}

/// Reads an alarm's datapoints from 10:00:30 until 10:05.
fn later(alarm: Value, results: &Value) -> Result<Option<Vec<Datapoint>>, CloudError> {
    let answers = [
        ("DescribeAlarms", vec![(200, alarm)]),
        ("GetMetricData", vec![(200, json!({ "MetricDataResults": results }))]),
    ];
    let (since, until) = (time("2026-11-20T10:00:30Z").unwrap(), time("2026-11-20T10:05:00Z").unwrap());
    read(answers.into(), async |aws| aws().datapoints("orders-prod-5xx", since, until).await)
}

#[test]
fn the_later_datapoints_are_those_of_the_alarms_own_queries() {
    let at = |minutes: &[u32]| {
        json!(minutes.iter().map(|minute| format!("@2026-11-20T10:{minute:02}:00Z")).collect::<Vec<_>>())
    };
    let stat = json!({"Metric": {"Namespace": "n", "MetricName": "m"}, "Period": 60, "Stat": "Sum"});
    let queries = |more: Value| {
        let mut alarm = json!({"Metrics": [{"Id": "rate", "Expression": "m1 / m2", "ReturnData": true},
            {"Id": "m1", "MetricStat": stat, "ReturnData": false}]});
        alarm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut alarm = in_alarm(&alarm);
        for field in ["Namespace", "MetricName", "Dimensions", "Period", "Statistic"] {
            alarm["MetricAlarms"][0].as_object_mut().unwrap().remove(field);
        }
        alarm
    };
    let band = json!({"ThresholdMetricId": "band", "ComparisonOperator": "GreaterThanUpperThreshold", "Metrics": [
        {"Id": "rate", "MetricStat": stat, "ReturnData": true},
        {"Id": "band", "Expression": "ANOMALY_DETECTION_BAND(rate, 2)", "ReturnData": true}]});
    let prom_ql = json!({"MetricAlarms": [{"AlarmName": "orders-prod-5xx", "StateValue": "ALARM"}]});
    for (case, alarm, results, expected) in [
        (
            "one metric",
            in_alarm(&json!({})),
            json!([{"Id": "m", "Timestamps": at(&[3, 1]), "Values": [0.4, 0.01]}]),
            Some("10:01 Within, 10:03 Breaching"),
        ),
        (
            "the last minute is not over",
            in_alarm(&json!({})),
            json!([{"Id": "m", "Timestamps": at(&[4, 5]), "Values": [0.4, 0.4]}]),
            Some("10:04 Breaching"),
        ),
        (
            "metric math",
            queries(json!({})),
            json!([{"Id": "rate", "Timestamps": at(&[1]), "Values": [0.4]},
                {"Id": "m1", "Timestamps": at(&[2]), "Values": [9.0]}]),
            Some("10:01 Breaching"),
        ),
        (
            "a query with two series",
            queries(json!({})),
            json!([{"Id": "rate", "Timestamps": at(&[1, 2]), "Values": [0.0, 0.4]},
                {"Id": "rate", "Timestamps": at(&[1, 2]), "Values": [0.4, 0.0]}]),
            Some("10:01 Breaching, 10:02 Breaching"),
        ),
        (
            "an anomaly band",
            queries(band),
            json!([{"Id": "rate", "Timestamps": at(&[1, 2, 3]), "Values": [5.0, 9.0, 9.0]},
                {"Id": "band", "Timestamps": at(&[1, 2]), "Values": [8.0, 8.0]},
                {"Id": "band", "Timestamps": at(&[1, 2]), "Values": [1.0, 1.0]}]),
            Some("10:01 Within, 10:02 Breaching, 10:03 Unknown"),
        ),
        ("no data", in_alarm(&json!({})), json!([{"Id": "m", "Timestamps": [], "Values": []}]), Some("")),
        ("PromQL", prom_ql, json!([]), None),
        ("a log alarm", json!({"LogAlarms": [{"AlarmName": "orders-prod-5xx"}]}), json!([]), None),
        ("it no longer exists", json!({}), json!([]), None),
    ] {
        let found = later(alarm, &results).unwrap();
        assert_eq!(found.as_deref().map(points).as_deref(), expected, "{case}");
    }
}

#[test]
fn a_value_is_compared_as_the_alarm_compares_it() {
    for (operator, value, expected) in [
        ("GreaterThanThreshold", 5.0, "Within"),
        ("GreaterThanThreshold", 5.1, "Breaching"),
        ("GreaterThanOrEqualToThreshold", 5.0, "Breaching"),
        ("LessThanThreshold", 5.0, "Within"),
        ("LessThanThreshold", 4.9, "Breaching"),
        ("LessThanOrEqualToThreshold", 5.0, "Breaching"),
        ("LessThanLowerOrGreaterThanUpperThreshold", 4.9, "Breaching"),
        ("AsTomorrowsCloudWatchCompares", 5.0, "Unknown"),
    ] {
        let alarm = in_alarm(&json!({"ComparisonOperator": operator, "Threshold": 5.0}));
        let results = json!([{"Id": "m", "Timestamps": ["@2026-11-20T10:01:00Z"], "Values": [value]}]);
        let found = later(alarm, &results).unwrap().unwrap();
        assert_eq!(points(&found), format!("10:01 {expected}"), "{operator} {value}");
    }
}

#[test]
fn an_alarm_whose_breach_began_before_the_release_is_held_and_its_later_data_is_read() {
    // The stage serves release 2 since 10:00.
    let data = |minute: &str| {
        let points = json!([{"timestamp": format!("2026-11-20T{minute}:00.000+0000"), "value": 0.4}]);
        json!({"StateReasonData": json!({"version": "1.0", "period": 60, "evaluatedDatapoints": points}).to_string()})
    };
    for (case, minute, later, expected, reads) in [
        // Each look counts the requests of the stage.
        ("after the release", "10:03", json!([]), "rolled-back", 1),
        ("before it", "09:58", json!([]), "held (began-before-release)", 3),
        (
            "before it, and then it began anew",
            "09:58",
            json!([{"Id": "m", "Values": [0.01, 0.4],
                "Timestamps": ["@2026-11-20T10:01:00Z", "@2026-11-20T10:02:00Z"]}]),
            "rolled-back",
            3,
        ),
    ] {
        let answers = [
            ("DescribeAlarms", vec![(200, in_alarm(&data(minute)))]),
            ("GetMetricData", vec![(200, json!({ "MetricDataResults": later }))]),
        ];
        let (client, asked) = client(answers.into());
        let reports = run(&event("sns-alarm"), client, &[PROTECTED]);
        assert_eq!(outcome(&reports), expected, "{case}: {}", reports[0].message);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.iter().filter(|one| *one == "GetMetricData").count(), reads, "{case}");
    }
}

#[test]
fn a_state_that_is_not_understood_is_an_error_and_never_left_out() {
    let alarms = |list: &str, state: Value| {
        let mut alarm = json!({"AlarmName": "orders-prod-5xx", "StateValue": state});
        if alarm["StateValue"].is_null() {
            alarm.as_object_mut().unwrap().remove("StateValue");
        }
        json!({ list: [alarm] })
    };
    for (answer, expected) in [
        (alarms("MetricAlarms", json!("OK")), "1 alarms"),
        (alarms("MetricAlarms", json!("PAUSED")), "the alarm's state is `PAUSED`"),
        (alarms("CompositeAlarms", json!("PAUSED")), "the alarm's state is `PAUSED`"),
        (alarms("LogAlarms", json!("PAUSED")), "the alarm's state is `PAUSED`"),
        (alarms("MetricAlarms", Value::Null), "the alarm's state is ``"),
        (json!({"MetricAlarms": [{"StateValue": "OK"}]}), "an alarm has no name"),
    ] {
        let answers = [("DescribeAlarms", vec![(200, answer.clone())])].into();
        let read = read(answers, async |aws| aws().all_alarms().await);
        let shown = read.map_or_else(|error| error.to_string(), |all| format!("{} alarms", all.len()));
        assert!(shown.contains(expected), "{answer}: {shown}");
    }
    let change = |from: &str, to: &str| {
        json!({"oldState": {"stateValue": from}, "newState": {"stateValue": to}}).to_string()
    };
    for (data, expected) in [
        (change("OK", "ALARM"), "[Ok, Alarm]"),
        (json!({"newState": {"stateValue": "OK"}}).to_string(), "[Ok]"),
        (change("OK", "PAUSED"), "PAUSED"),
        (change("PAUSED", "OK"), "PAUSED"),
        (json!({"oldState": {"stateValue": "OK"}}).to_string(), "a state change reads"),
        ("Alarm updated".to_owned(), "a state change reads `Alarm updated`"),
        (String::new(), "a state change reads ``"),
    ] {
        let items = json!({"AlarmHistoryItems": [{"HistoryData": data}]});
        let answers = [("DescribeAlarmHistory", vec![(200, items)])].into();
        let read = read(answers, async |aws| {
            aws().states_since("orders-prod-5xx", time("2026-11-20T10:00:00Z").unwrap()).await
        });
        let shown = read.map_or_else(|error| error.to_string(), |states| format!("{states:?}"));
        assert!(shown.contains(expected), "{data}: {shown}");
    }
    let answers = [("DescribeAlarms", vec![(200, in_alarm(&json!({"StateValue": "PAUSED"})))])].into();
    let reports = run(&event("sns-alarm"), client(answers).0, &[PROTECTED]);
    assert_eq!(outcome(&reports), "failed", "{}", reports[0].message);
    assert!(reports[0].message.contains("`PAUSED`"), "{}", reports[0].message);
}

#[test]
fn the_history_of_an_alarm_is_read_in_the_order_of_time() {
    let item = |from: &str, to: &str, at: &str| {
        let change = json!({"oldState": {"stateValue": from}, "newState": {"stateValue": to}});
        json!({"HistoryData": change.to_string(), "Timestamp": at})
    };
    let newest_first = [
        item("ALARM", "OK", "@2026-11-20T10:08:00Z"),
        item("INSUFFICIENT_DATA", "ALARM", "@2026-11-20T10:07:00Z"),
        item("OK", "INSUFFICIENT_DATA", "@2026-11-20T10:06:00Z"),
    ];
    let items = json!({"AlarmHistoryItems": newest_first});
    let answers = [("DescribeAlarmHistory", vec![(200, items)])].into();
    let states = read(answers, async |aws| {
        aws().states_since("orders-prod-5xx", time("2026-11-20T10:00:00Z").unwrap()).await
    });
    let expected = "[Ok, InsufficientData, InsufficientData, Alarm, Alarm, Ok]";
    assert_eq!(format!("{:?}", states.unwrap()), expected);
}
