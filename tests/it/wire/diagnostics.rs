//! The doctor's own reads over the wire: its exact requests and its reading of AWS's answers.

use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, AwsDiagnostics, Clients};
use apigw_rollback::cloud::{Diagnostics, LogClass, RequiredPermission, Schedule, Wiring};
use apigw_rollback::model::alarm::{Metric, time};
use apigw_rollback::model::wiring::TopicNow;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::config::{
    AsyncSleep, Credentials, SharedAsyncSleep, SharedCredentialsProvider, SharedHttpClient, Sleep,
};
use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
use aws_smithy_types::body::SdkBody;
use serde_json::json;
use tokio::time::Instant;

use super::alarms::encoded;

const LAMBDA: &str = "https://lambda.eu-west-1.amazonaws.com";
const GATEWAY: &str = "https://apigateway.eu-west-1.amazonaws.com";
const IAM: &str = "https://iam.amazonaws.com/";
const SNS: &str = "https://sns.eu-west-1.amazonaws.com/";
const SQS: &str = "https://sqs.eu-west-1.amazonaws.com/";
const STAGE: &str = "arn:aws:apigateway:eu-west-1::/restapis/a1/stages/prod";
const PARKED: &str = "arn:aws:apigateway:eu-west-1::/restapis/a1/stages/prod-known-good";

#[derive(Clone, Debug)]
struct TokioSleep;

impl AsyncSleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(tokio::time::sleep(duration))
    }
}

/// Returns the results of the reads of the doctor for these answers, and the requests that were sent.
fn read_with<T>(answers: &[(u16, &str)], reads: impl AsyncFnOnce(AwsDiagnostics) -> T) -> (T, Vec<String>) {
    ask(answers, async |settings, aws| reads(AwsDiagnostics::new(&settings, aws)).await)
}

fn read_bodies<T>(
    answers: Vec<(u16, SdkBody)>,
    reads: impl AsyncFnOnce(AwsDiagnostics) -> T,
) -> (T, Vec<String>) {
    ask_bodies(answers, async |settings, aws| reads(AwsDiagnostics::new(&settings, aws)).await)
}

/// Returns the results of the reads for these answers, and the requests that were sent.
fn ask<T>(answers: &[(u16, &str)], reads: impl AsyncFnOnce(SdkConfig, Aws) -> T) -> (T, Vec<String>) {
    let bodies = answers.iter().map(|(status, body)| (*status, SdkBody::from(*body)));
    ask_bodies(bodies.collect(), reads)
}

fn ask_bodies<T>(
    answers: Vec<(u16, SdkBody)>,
    reads: impl AsyncFnOnce(SdkConfig, Aws) -> T,
) -> (T, Vec<String>) {
    let events = answers.into_iter().map(|(status, body)| {
        let request = http::Request::builder().uri("https://x.example.com").body(SdkBody::empty()).unwrap();
        // Only CloudWatch's protocol has this header; the others ignore it.
        let answer = http::Response::builder().status(status).header("smithy-protocol", "rpc-v2-cbor");
        ReplayEvent::new(request, answer.body(body).unwrap())
    });
    let client = StaticReplayClient::new(events.collect());
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep))
        .http_client(SharedHttpClient::new(client.clone()))
        .build();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = runtime.block_on(async {
        let aws = Clients::new(&settings)
            .until(Instant::now() + Duration::from_secs(20), Instant::now() + Duration::from_secs(20));
        reads(settings.clone(), aws).await
    });
    let sent = client.actual_requests().map(|request| {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        format!("{} {} {body}", request.method(), request.uri()).trim_end().to_owned()
    });
    (result, sent.collect())
}

#[test]
fn the_function_is_read_with_its_settings() {
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:apigw-rollback";
    let answer = format!(
        r#"{{"FunctionArn":"{arn}:live","Role":"arn:aws:iam::123456789012:role/r","State":"Failed",
            "StateReason":"no image","LoggingConfig":{{"LogGroup":"/rollback"}},
            "DeadLetterConfig":{{"TargetArn":"arn:q"}},"Environment":{{"Variables":{{"MODE":"observe"}}}}}}"#
    );
    let (found, sent) =
        read_with(&[(200, &answer)], async |diagnostics| diagnostics.function("apigw-rollback").await);
    assert_eq!(sent, [format!("GET {LAMBDA}/2015-03-31/functions/apigw-rollback/configuration")]);
    let found = found.unwrap().unwrap();
    assert_eq!((found.arn.as_str(), found.role.as_str()), (arn, "arn:aws:iam::123456789012:role/r"));
    assert_eq!((found.state.as_deref(), found.why.as_deref()), (Some("Failed"), Some("no image")));
    assert_eq!(
        (found.log_group.as_deref(), found.dead_letter.as_deref()),
        (Some("/rollback"), Some("arn:q"))
    );
    assert_eq!(found.name(), "apigw-rollback");
    assert_eq!(found.variables.get("MODE").map(String::as_str), Some("observe"));
    let hidden = r#"{"Environment":{"Error":{"ErrorCode":"AccessDeniedException","Message":"kms"}}}"#;
    let (found, _) = read_with(&[(200, hidden)], async |diagnostics| diagnostics.function("f").await);
    assert_eq!(found.unwrap().unwrap().hidden.as_deref(), Some("AccessDeniedException: kms"));
    let missing = r#"{"__type":"ResourceNotFoundException","Message":"Function not found"}"#;
    let (found, _) = read_with(&[(404, missing)], async |diagnostics| diagnostics.function("f").await);
    assert_eq!(found, Ok(None));
}

#[test]
fn the_policy_and_the_concurrency_of_the_function_are_read() {
    let (policy, sent) = ask(&[(200, r#"{"Policy":"{}"}"#)], async |_, aws| aws.function_policy("f").await);
    assert_eq!(
        (policy, sent),
        (Ok(Some("{}".to_owned())), vec![format!("GET {LAMBDA}/2015-03-31/functions/f/policy")])
    );
    let none =
        r#"{"__type":"ResourceNotFoundException","Message":"The resource you requested does not exist."}"#;
    let (policy, _) = ask(&[(404, none)], async |_, aws| aws.function_policy("f").await);
    assert_eq!(policy, Ok(None));
    let zero = r#"{"ReservedConcurrentExecutions":0}"#;
    let (reserved, sent) =
        read_with(&[(200, zero)], async |diagnostics| diagnostics.reserved_concurrency("f").await);
    assert_eq!(
        (reserved, sent),
        (Ok(Some(0)), vec![format!("GET {LAMBDA}/2019-09-30/functions/f/concurrency")])
    );
    let (reserved, _) =
        read_with(&[(200, "{}")], async |diagnostics| diagnostics.reserved_concurrency("f").await);
    assert_eq!(reserved, Ok(None));
}

#[test]
fn the_topic_is_read_with_its_policy_and_key() {
    let entry = |key: &str, value: &str| format!("<entry><key>{key}</key><value>{value}</value></entry>");
    let answer = |entries: String| {
        format!(
            "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>{entries}</Attributes>\
             </GetTopicAttributesResult></GetTopicAttributesResponse>"
        )
    };
    let encrypted = answer(entry("Policy", "{}") + &entry("KmsMasterKeyId", "alias/aws/sns"));
    let (found, sent) = ask(&[(200, &encrypted)], async |_, aws| aws.topic("arn:t").await);
    let expected = TopicNow { policy: Some("{}".to_owned()), key: Some("alias/aws/sns".to_owned()) };
    assert_eq!(found, Ok(Some(expected)));
    assert_eq!(sent, [format!("POST {SNS} Action=GetTopicAttributes&Version=2010-03-31&TopicArn=arn%3At")]);
    let plain = answer(entry("Policy", "{}") + &entry("KmsMasterKeyId", ""));
    let (found, _) = ask(&[(200, &plain)], async |_, aws| aws.topic("arn:t").await);
    assert_eq!(found.unwrap().unwrap().key, None);
    let missing = "<ErrorResponse><Error><Code>NotFound</Code><Message>Topic does not exist</Message></Error></ErrorResponse>";
    let (found, _) = ask(&[(404, missing)], async |_, aws| aws.topic("arn:t").await);
    assert_eq!(found, Ok(None));
}

#[test]
fn every_page_of_subscriptions_is_read() {
    let page = |arn: &str, next: &str| {
        format!(
            "<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult><Subscriptions><member>\
             <Protocol>email</Protocol><Endpoint>a@example.com</Endpoint><SubscriptionArn>{arn}</SubscriptionArn>\
             </member></Subscriptions>{next}</ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>"
        )
    };
    let first = page("PendingConfirmation", "<NextToken>2</NextToken>");
    let second = page("arn:aws:sns:eu-west-1:123456789012:t:1", "");
    let (all, sent) = ask(&[(200, &first), (200, &second)], async |_, aws| aws.subscriptions("arn:t").await);
    let confirmed: Vec<bool> = all.unwrap().unwrap().iter().map(|one| one.confirmed).collect();
    assert_eq!(confirmed, [false, true]);
    let call = "Action=ListSubscriptionsByTopic&Version=2010-03-31&TopicArn=arn%3At";
    assert_eq!(sent, [format!("POST {SNS} {call}"), format!("POST {SNS} {call}&NextToken=2")]);
    let missing = "<ErrorResponse><Error><Code>NotFound</Code><Message>Topic does not exist</Message></Error></ErrorResponse>";
    let (all, _) = ask(&[(404, missing)], async |_, aws| aws.subscriptions("arn:t").await);
    assert_eq!(all, Ok(None));
}

#[test]
fn the_queue_of_failed_events_is_read() {
    let none = r#"{"__type":"ResourceNotFoundException","Message":"The function has no EventInvokeConfig"}"#;
    let config = r#"{"DestinationConfig":{"OnSuccess":{},"OnFailure":{"Destination":"arn:aws:sqs:r:1:q"}}}"#;
    for (status, answer, expected) in
        [(404, none, None), (200, "{}", None), (200, config, Some("arn:aws:sqs:r:1:q".to_owned()))]
    {
        let (found, sent) =
            read_with(&[(status, answer)], async |diagnostics| diagnostics.on_failure("f").await);
        assert_eq!(found, Ok(expected));
        assert_eq!(sent, [format!("GET {LAMBDA}/2019-09-25/functions/f/event-invoke-config")]);
    }
    let url = r#"{"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/1/q"}"#;
    let counts = |waiting: &str| {
        format!(r#"{{"Attributes":{{{waiting}"ApproximateNumberOfMessagesNotVisible":"1"}}}}"#)
    };
    let counted = counts(r#""ApproximateNumberOfMessages":"2","#);
    let read = |answers: &[(u16, &str)]| {
        read_with(answers, async |diagnostics| diagnostics.messages("arn:aws:sqs:eu-west-1:1:q").await)
    };
    let (messages, sent) = read(&[(200, url), (200, &counted)]);
    assert_eq!(messages, Ok(Some(3)));
    assert_eq!(sent[0], format!(r#"POST {SQS} {{"QueueName":"q","QueueOwnerAWSAccountId":"1"}}"#));
    let asked = r#""AttributeNames":["ApproximateNumberOfMessages","ApproximateNumberOfMessagesNotVisible"]"#;
    assert!(sent[1].contains(asked), "{sent:?}");
    for code in ["AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"] {
        let missing = format!(r#"{{"__type":"{code}","message":"The specified queue does not exist."}}"#);
        assert_eq!(read(&[(400, &missing)]).0, Ok(None), "{code}");
        assert_eq!(read(&[(200, url), (400, &missing)]).0, Ok(None), "{code}");
    }
    // A number that is missing is not zero.
    assert_eq!(read(&[(200, url), (200, &counts(""))]).0.unwrap_err().code, "NotUnderstood");
    let denied = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    assert!(read(&[(400, denied)]).0.unwrap_err().is_denial());
}

#[test]
fn a_log_group_has_exactly_this_name() {
    let read = |answers: &[(u16, &str)]| {
        read_with(answers, async |diagnostics| diagnostics.log_class("/aws/lambda/f").await)
    };
    let other = r#"{"logGroups":[{"logGroupName":"/aws/lambda/f2"}],"nextToken":"2"}"#;
    let ours = r#"{"logGroups":[{"logGroupName":"/aws/lambda/f"}]}"#;
    let (found, sent) = read(&[(200, other), (200, ours)]);
    assert_eq!(found, Ok(Some(LogClass::Standard)));
    assert!(sent[0].ends_with(r#"{"logGroupNamePrefix":"/aws/lambda/f"}"#), "{sent:?}");
    assert!(sent[1].contains(r#""nextToken":"2""#), "{sent:?}");
    assert_eq!(read(&[(200, &other.replace(r#","nextToken":"2""#, ""))]).0, Ok(None));
    for (class, expected) in [
        ("STANDARD", LogClass::Standard),
        ("INFREQUENT_ACCESS", LogClass::Other("INFREQUENT_ACCESS".to_owned())),
        ("NEW", LogClass::Other("NEW".to_owned())),
    ] {
        let group = ours.replace(r#"/f"}"#, &format!(r#"/f","logGroupClass":"{class}"}}"#));
        assert_eq!(read(&[(200, &group)]).0, Ok(Some(expected)), "{class}");
    }
}

#[test]
fn the_role_for_the_logs_of_apis_is_read() {
    let role = "arn:aws:iam::123456789012:role/logs";
    let account = format!(r#"{{"cloudwatchRoleArn":"{role}","throttleSettings":{{"burstLimit":5000}}}}"#);
    let empty = r#"{"cloudwatchRoleArn":""}"#;
    for (answer, expected) in [(account.as_str(), Some(role.to_owned())), (empty, None), ("{}", None)] {
        let (found, sent) =
            read_with(&[(200, answer)], async |diagnostics| diagnostics.gateway_log_role().await);
        assert_eq!((found, sent), (Ok(expected), vec![format!("GET {GATEWAY}/account")]));
    }
}

#[test]
fn schedules_are_found_by_their_target() {
    let function = "arn:aws:lambda:eu-west-1:1:function:f";
    let listed = |name: &str, target: &str| {
        format!(
            r#"{{"Name":"{name}","GroupName":"default","State":"DISABLED","Target":{{"Arn":"{target}"}}}}"#
        )
    };
    let first = format!(
        r#"{{"Schedules":[{},{}],"NextToken":"2"}}"#,
        listed("a", "arn:x"),
        listed("b", &format!("{function}2"))
    );
    let second = format!(r#"{{"Schedules":[{}]}}"#, listed("c", &format!("{function}:live")));
    let schedule = r#"{"Name":"c","ScheduleExpression":"rate(5 minutes)","Target":{"Arn":"x","RoleArn":"y","Input":"{\"command\":\"sweep\"}"}}"#;
    let (found, sent) = read_with(&[(200, &first), (200, &second), (200, schedule)], async |diagnostics| {
        diagnostics.schedules(function).await
    });
    let expected = Schedule {
        name: "c".to_owned(),
        enabled: false,
        expression: "rate(5 minutes)".to_owned(),
        input: r#"{"command":"sweep"}"#.to_owned(),
    };
    assert_eq!(found, Ok(vec![expected]));
    let scheduler = "GET https://scheduler.eu-west-1.amazonaws.com/schedules";
    assert_eq!(sent[0], format!("{scheduler}?MaxResults=100"));
    assert!(sent[1].contains("NextToken=2"), "{sent:?}");
    assert_eq!(sent[2], format!("{scheduler}/c?groupName=default"));
}

#[test]
fn a_metric_without_data_is_not_zero() {
    let metric = Metric {
        namespace: "AWS/Lambda".to_owned(),
        name: "Errors".to_owned(),
        dimensions: vec![("FunctionName".to_owned(), "f".to_owned())],
        account: None,
    };
    let (since, until) = (time("2026-11-20T09:00:00Z").unwrap(), time("2026-11-20T10:00:00Z").unwrap());
    for (values, expected) in [(json!([]), None), (json!([0.0]), Some(0.0)), (json!([1.0, 2.0]), Some(3.0))] {
        let body = encoded(&json!({"MetricDataResults": [{"Id": "q0", "Values": values}]}));
        let (sum, sent) = read_bodies(vec![(200, SdkBody::from(body))], async |diagnostics| {
            diagnostics.sum(&metric, since, until).await
        });
        assert_eq!(sum, Ok(expected));
        for word in ["Sum", "AWS/Lambda", "FunctionName"] {
            assert!(sent[0].contains(word), "{sent:?}");
        }
    }
}

#[test]
fn an_event_bus_is_read_by_its_name_or_its_arn() {
    let missing = r#"{"__type":"ResourceNotFoundException","message":"Event bus x does not exist."}"#;
    for bus in ["default", "aws.partner/x", "arn:aws:events:eu-west-1:123456789012:event-bus/x"] {
        for (status, answer, expected) in [(200, "{}", true), (400, missing, false)] {
            let (found, sent) =
                read_with(&[(status, answer)], async |diagnostics| diagnostics.has_event_bus(bus).await);
            assert_eq!(found, Ok(expected), "{bus}");
            assert!(sent[0].ends_with(&format!(r#"{{"Name":"{bus}"}}"#)), "{sent:?}");
        }
    }
    let denied = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    let (found, _) = read_with(&[(400, denied)], async |diagnostics| diagnostics.has_event_bus("x").await);
    assert!(found.unwrap_err().is_denial());
}

fn permission(action: &'static str, resource: &str) -> RequiredPermission {
    RequiredPermission { action, resource: resource.to_owned() }
}

fn simulated(results: &str) -> String {
    format!(
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>\
         <EvaluationResults>{results}</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    )
}

fn result(action: &str, resource: &str, decision: &str, inside: &str) -> String {
    format!(
        "<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>\
         <EvalDecision>{decision}</EvalDecision>{inside}</member>"
    )
}

#[test]
fn the_refused_calls_of_the_role_are_reported_by_resource() {
    let required_permissions =
        [permission("apigateway:PATCH", STAGE), permission("apigateway:PATCH", PARKED)];
    let specific = |resource: &str, decision: &str| {
        format!(
            "<member><EvalResourceName>{resource}</EvalResourceName>\
             <EvalResourceDecision>{decision}</EvalResourceDecision></member>"
        )
    };
    let inside = format!(
        "<ResourceSpecificResults>{}{}</ResourceSpecificResults>",
        specific(STAGE, "allowed"),
        specific(PARKED, "implicitDeny")
    );
    // One result per action, with its resources inside, as IAM answers today.
    let today = result("apigateway:PATCH", "arn:${Partition}:apigateway", "implicitDeny", &inside);
    // One result per action and resource, as IAM answered before and emulators still do.
    let before = result("apigateway:PATCH", STAGE, "allowed", "")
        + &result("apigateway:PATCH", PARKED, "explicitDeny", "");
    for (what, results) in [("today", today), ("before", before)] {
        let answer = simulated(&results);
        let (refused, sent) = read_with(&[(200, &answer)], async |diagnostics| {
            diagnostics.refused("arn:role", &required_permissions).await
        });
        assert_eq!(refused, Ok(vec![permission("apigateway:PATCH", PARKED)]), "{what}");
        assert!(sent[0].starts_with(&format!("POST {IAM} Action=SimulatePrincipalPolicy")), "{sent:?}");
        assert!(sent[0].contains("ActionNames.member.1=apigateway%3APATCH"), "{sent:?}");
        assert!(sent[0].contains("ResourceArns.member.2="), "{sent:?}");
        // Some of the template's statements apply only to the function's Region and to its own events.
        for (nth, key, value) in
            [(1, "aws%3ARequestedRegion", "eu-west-1"), (2, "events%3Asource", "apigw-rollback")]
        {
            let entry = format!(
                "ContextEntries.member.{nth}.ContextKeyName={key}\
                 &ContextEntries.member.{nth}.ContextKeyValues.member.1={value}"
            );
            assert!(sent[0].contains(&entry), "{sent:?}");
        }
    }
}

#[test]
fn actions_on_the_same_resources_go_into_one_call() {
    let required_permissions =
        [permission("cloudwatch:DescribeAlarms", "*"), permission("cloudwatch:GetMetricData", "*")];
    let both = result("cloudwatch:DescribeAlarms", "*", "allowed", "")
        + &result("cloudwatch:GetMetricData", "*", "allowed", "");
    let (refused, sent) = read_with(&[(200, &simulated(&both))], async |diagnostics| {
        diagnostics.refused("arn:role", &required_permissions).await
    });
    assert_eq!((refused, sent.len()), (Ok(vec![]), 1));
    // A call that is missing from IAM's answer does not count as allowed.
    let (refused, _) = read_with(&[(200, &simulated(""))], async |diagnostics| {
        diagnostics.refused("arn:role", &required_permissions).await
    });
    assert_eq!(refused.unwrap().len(), 2);
}
