//! Requests that AWS throttles or refuses because of a quota.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Cloud, Components, FRESH, Gateway, Outbox, Parameters, Seen, Write};
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::time;
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::trigger::UNKNOWN;
use aws_sdk_ssm::config::http::HttpRequest;
use aws_sdk_ssm::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use serde_json::json;
use tokio::time::Instant;

use super::requests::just_seen;
use super::{PROTECTED, event, run, settings};
use crate::support::harness::config;
use crate::support::world::{FUNCTION, NOW, prod};

/// A client that gives every request the same answer and counts the requests.
fn always(status: u16, code: &'static str) -> (SharedHttpClient, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let client = infallible_client_fn(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let answer = http::Response::builder().status(status).header("x-amzn-errortype", code);
        answer.body(r#"{"message":"what AWS says"}"#).unwrap()
    });
    (client, count)
}

#[test]
fn a_call_that_is_throttled_until_the_deadline_is_reported_with_the_message_of_aws() {
    let (client, count) = always(429, "TooManyRequestsException");
    let reports = run(&event("sns-alarm"), client, &[PROTECTED]);
    assert!(reports[0].outcome.is_failure());
    let message = &reports[0].message;
    assert!(message.ends_with(" failed: TooManyRequestsException: what AWS says"), "{message}");
    assert!(count.load(Ordering::Relaxed) > 20, "three reads should each be retried for 20 s: {count:?}");
}

/// Makes one call that always gets this answer, in a run of five minutes; returns its error, its duration and the
/// number of requests.
fn alone<T>(
    status: u16,
    code: &'static str,
    call: impl AsyncFnOnce(&Aws) -> Result<T, CloudError>,
) -> (CloudError, Duration, usize) {
    let (client, count) = always(status, code);
    let clients = Clients::new(&settings(client));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let cloud = clients.until(began + Duration::from_mins(5), began + Duration::from_mins(5));
        let Err(error) = call(&cloud).await else { panic!("the call should fail") };
        let (took, count) = (began.elapsed(), count.load(Ordering::Relaxed));
        let spent = cloud.spent();
        assert_eq!((spent.calls, spent.retries + 1), (1, count as u64));
        (error, took, count)
    })
}

/// Parameter Store refuses rival writes of one parameter, in an answer without a message.
#[test]
fn a_rival_write_of_a_parameter_is_sent_again() {
    let (error, took, count) = alone(400, "TooManyUpdates", async |cloud| {
        cloud.put_parameter("/apigw-rollback/x", "{}", Write::Overwrite).await
    });
    assert_eq!(error.code, "TooManyUpdates");
    assert!(count > 50 && took > Duration::from_mins(4), "{count} {took:?}");
}

/// API Gateway uses one error code for "too many requests" and for "no more stages".
#[test]
fn a_call_over_a_full_quota_does_not_wait_until_the_deadline() {
    let (error, took, count) = alone(429, "LimitExceededException", async |cloud| {
        cloud.create_stage(&prod(), "d1", "", &BTreeMap::new()).await
    });
    assert_eq!((error.code.as_str(), count), ("LimitExceededException", 5));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// How often each kind of call is sent, if it always gets this answer.
#[test]
fn a_change_is_sent_once_a_message_twice_and_a_read_until_the_deadline() {
    async fn change(cloud: &Aws) -> Result<(), CloudError> {
        let change = StageChange { deployment: Some("d1".to_owned()), ..StageChange::default() };
        cloud.change_stage(&prod(), &change, just_seen(&Release::default())).await.map(|_| ())
    }
    async fn mapping(cloud: &Aws) -> Result<(), CloudError> {
        let to = MappingTarget { api: "a".to_owned(), stage: "prod".to_owned() };
        let mapping = "api.example.com/orders".parse().unwrap();
        cloud.move_mapping(&mapping, None, &to, just_seen(&to)).await.map(|_| ())
    }
    async fn alias(cloud: &Aws) -> Result<(), CloudError> {
        let to = AliasTarget { version: "1".to_owned(), weights: [].into() };
        cloud.move_alias(&"orders:live".parse().unwrap(), &to, "r").await.map(|_| ())
    }
    let (busy, broken) = ((429, "TooManyRequestsException"), (503, "ServiceUnavailableException"));
    for ((status, code), expected) in
        [(broken, Failure::NoAnswer), ((409, "ConflictException"), Failure::Conflict)]
    {
        for (error, took, count) in
            [alone(status, code, change), alone(status, code, mapping), alone(status, code, alias)]
        {
            assert_eq!((error.failure, error.code.as_str(), count), (expected, code, 1), "{error}");
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
    }
    let (error, _, count) =
        alone(broken.0, broken.1, async |cloud| cloud.put_event("default", "Report", "{}").await);
    assert_eq!((error.failure, count), (Failure::NoAnswer, 2));
    let (error, _, count) = alone(broken.0, broken.1, async |cloud| {
        cloud.put_parameter("/apigw-rollback/x", "{}", Write::Create).await
    });
    assert_eq!((error.failure, count), (Failure::NoAnswer, 5));
    for (status, code) in [busy, broken] {
        let (_, took, count) = alone(status, code, async |cloud| cloud.stage(&prod()).await);
        assert!(took > Duration::from_mins(4) && count > 50, "a read: {took:?}, {count}");
    }
}

/// The requests for a stage that serves `deployments` one after the other, a second each, while its changes are throttled for
/// this long: the methods, each with its time in milliseconds, and the result.
fn throttled_change(
    throttled: Duration,
    deployments: &'static [&'static str],
) -> (Vec<(String, u128)>, Result<(), CloudError>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let began = Arc::new(OnceLock::new());
    let (logged, start) = (Arc::clone(&log), Arc::clone(&began));
    let client = infallible_client_fn(move |request| {
        let since: Duration = Instant::elapsed(start.get_or_init(Instant::now));
        logged.lock().unwrap().push((request.method().to_string(), since.as_millis()));
        let answer = http::Response::builder();
        if request.method() == "PATCH" && since < throttled {
            let answer = answer.status(429).header("x-amzn-errortype", "TooManyRequestsException");
            return answer.body("{}".to_owned()).unwrap();
        }
        let now = usize::try_from(since.as_secs()).unwrap().min(deployments.len() - 1);
        answer.status(200).body(json!({"deploymentId": deployments[now]}).to_string()).unwrap()
    });
    let clients = Clients::new(&settings(SharedHttpClient::new(client)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let changed = runtime.block_on(async {
        let at = *began.get_or_init(Instant::now);
        let deadline = at + Duration::from_mins(5);
        let change = StageChange { deployment: Some("d1".to_owned()), ..StageChange::default() };
        let live = Release { deployment: "d2".to_owned(), ..Release::default() };
        clients.until(deadline, deadline).change_stage(&prod(), &change, Seen { what: &live, at }).await
    });
    let requests = log.lock().unwrap().clone();
    (requests, changed.map(|_| ()))
}

#[test]
fn a_throttled_change_is_sent_again_only_while_the_last_look_is_fresh() {
    let (requests, changed) = throttled_change(Duration::from_secs(4), &["d2"]);
    assert!(changed.is_ok(), "{changed:?}");
    let mut looked = 0;
    for (method, at) in &requests {
        match method.as_str() {
            "GET" => looked = *at,
            _ => assert!(at - looked <= FRESH.as_millis(), "{at} ms: the last look is of {looked} ms"),
        }
    }
    assert!(looked > 3_000, "{requests:?}");
}

#[test]
fn a_stage_that_others_change_while_aws_throttles_is_left_alone() {
    let (requests, changed) = throttled_change(Duration::from_secs(4), &["d2", "d3"]);
    let error = changed.unwrap_err();
    assert_eq!((error.failure, error.code.as_str()), (Failure::Conflict, "ChangedMeanwhile"));
    let (method, at) = requests.last().unwrap();
    assert!(method == "GET" && (1_000..2_000).contains(at), "{method} {at}");
}

/// After a long wait, the alarm on which the change was decided may be out of date, too.
#[test]
fn a_change_that_is_throttled_for_long_becomes_a_conflict() {
    let (requests, changed) = throttled_change(Duration::from_mins(5), &["d2"]);
    let error = changed.unwrap_err();
    assert_eq!((error.failure, error.code.as_str()), (Failure::Conflict, "TooManyRequestsException"));
    let (_, at) = requests.last().unwrap();
    assert!((19_000..=20_000).contains(at), "{at}");
}

/// Each attempt without an answer has more time than the one before.
#[test]
fn a_slow_service_is_waited_for() {
    let clients = Clients::new(&settings(SharedHttpClient::new(SlowClient(Duration::from_millis(3_200)))));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let deadline = began + Duration::from_mins(5);
        let answer = clients.until(deadline, deadline).parameters(&["/apigw-rollback/x".to_owned()]).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    });
}

/// The hook has as long as the settings say, and is called once.
#[test]
fn a_slow_hook_is_waited_for() {
    let clients = Clients::new(&settings(SharedHttpClient::new(SlowClient(Duration::from_secs(8)))));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_mins(5);
        let cloud = clients.until(deadline, deadline);
        let answer = cloud.invoke("hook", "{}", true).await;
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(cloud.spent().retries, 0);
    });
}

/// If Parameter Store never answers, people are told before the run's time is over.
#[test]
fn people_are_told_if_the_function_cannot_act() {
    let sent = Arc::new(AtomicUsize::new(0));
    let clients = Clients::new(&settings(SharedHttpClient::new(NoParameters(Arc::clone(&sent)))));
    let topic = ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");
    let config = config(&[PROTECTED, topic]);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let reports = runtime.block_on(async {
        let began = Instant::now();
        let deadline = began + Duration::from_mins(4);
        let run = Context {
            cloud: &clients.until(deadline, deadline + Duration::from_secs(10)),
            config: &config,
            trigger: &UNKNOWN,
            id: "run-1",
            trace: None,
            function: Some(FUNCTION),
            now: time(NOW).unwrap(),
            began,
            deadline,
        };
        let reports = Box::pin(handle(&event("sns-alarm"), &run)).await.reports;
        assert!(began.elapsed() < Duration::from_secs(250), "{:?}", began.elapsed());
        reports
    });
    assert_eq!(sent.load(Ordering::Relaxed), 1);
    assert!(reports[0].outcome.is_failure() && reports[0].message.contains("GetParameters"), "{reports:?}");
}

/// A client for which Parameter Store never answers. It counts the messages to SNS.
#[derive(Clone, Debug)]
struct NoParameters(Arc<AtomicUsize>);

impl HttpConnector for NoParameters {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (to, sent) = (request.uri().to_owned(), Arc::clone(&self.0));
        HttpConnectorFuture::new(async move {
            if to.contains("//ssm.") {
                std::future::pending::<()>().await;
            }
            let is_message = to.contains("//sns.");
            sent.fetch_add(usize::from(is_message), Ordering::Relaxed);
            let answer = if is_message { PUBLISHED } else { "{}" };
            let answer = http::Response::builder().status(200).body(SdkBody::from(answer));
            Ok(answer.unwrap().try_into().unwrap())
        })
    }
}

const PUBLISHED: &str =
    "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>";

impl HttpClient for NoParameters {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A client whose every answer takes this long.
#[derive(Clone, Debug)]
struct SlowClient(Duration);

impl HttpConnector for SlowClient {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let takes = self.0;
        HttpConnectorFuture::new(async move {
            tokio::time::sleep(takes).await;
            let answer = http::Response::builder().status(200).body(SdkBody::from(r#"{"Parameters":[]}"#));
            Ok(answer.unwrap().try_into().unwrap())
        })
    }
}

impl HttpClient for SlowClient {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
