//! Requests that AWS throttles or refuses because of a quota.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Cloud, Gateway, Parameters, Write};
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::plan::StageChange;
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_http_client::test_util::infallible_client_fn;
use serde_json::json;
use tokio::time::Instant;

use super::{
    PROTECTED, back, check, event, operations, put_one, reads, run, settings, update_stage, with_error,
};
use crate::support::world::prod;

/// The port retries more often than the SDK would.
#[test]
fn a_throttled_change_is_sent_again_without_another_read() {
    for times in [1, 11] {
        let throttled = || {
            with_error(
                &update_stage(&operations(), 429, &json!({"message": "Too Many Requests"})),
                "TooManyRequestsException",
            )
        };
        let mut conversation = reads();
        conversation.push(put_one());
        conversation.extend(std::iter::repeat_with(throttled).take(times));
        conversation.extend([update_stage(&operations(), 200, &back()), put_one()]);
        let (report, _) = check("sns-alarm", conversation);
        assert!(report.message.contains("was rolled back"), "{}", report.message);
    }
}

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
        let cloud = clients.until(began + Duration::from_mins(5));
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
    let (error, took, count) =
        alone(429, "LimitExceededException", async |cloud| cloud.create_stage(&prod(), "d1", "").await);
    assert_eq!((error.code.as_str(), count), ("LimitExceededException", 5));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// After a long wait, the state on which the change was decided is out of date.
#[test]
fn a_change_that_is_throttled_for_long_becomes_a_conflict() {
    let change = StageChange { deployment: Some("d1".to_owned()), ..StageChange::default() };
    let (error, took, _) =
        alone(429, "TooManyRequestsException", async |cloud| cloud.change_stage(&prod(), &change).await);
    assert_eq!((error.failure, error.code.as_str()), (Failure::Conflict, "TooManyRequestsException"));
    assert!((Duration::from_secs(19)..=Duration::from_secs(20)).contains(&took), "{took:?}");
    let (error, took, _) = alone(429, "TooManyRequestsException", async |cloud| cloud.stage(&prod()).await);
    assert_eq!(error.failure, Failure::Other);
    assert!(took > Duration::from_mins(4), "a read should wait until the deadline: {took:?}");
}
