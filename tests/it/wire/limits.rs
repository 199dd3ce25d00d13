//! What AWS turns away as one request too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apigw_rollback::cloud::aws::{Aws, Clients};
use apigw_rollback::cloud::{Cloud, Gateway};
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

/// More often than the SDK would try.
#[test]
fn what_is_one_request_too_many_is_sent_again_without_reading_again() {
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
        assert!(report.message.contains("is back"), "{}", report.message);
    }
}

/// A client that answers every request alike, and counts them.
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
fn what_is_turned_away_to_the_end_is_told_in_the_words_of_aws() {
    let (client, count) = always(429, "TooManyRequestsException");
    let reports = run(&event("sns-alarm"), client, &[PROTECTED]);
    assert!(reports[0].outcome.is_failure());
    let message = &reports[0].message;
    assert!(message.ends_with(" failed: TooManyRequestsException: what AWS says"), "{message}");
    assert!(count.load(Ordering::Relaxed) > 20, "three reads, each tried for 20 s: {count:?}");
}

/// What becomes of one call that is always answered so, in a run of five minutes.
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
        let Err(error) = call(&cloud).await else { panic!("it was turned away") };
        let (took, count) = (began.elapsed(), count.load(Ordering::Relaxed));
        let spent = cloud.spent();
        assert_eq!((spent.calls, spent.retries + 1), (1, count as u64));
        (error, took, count)
    })
}

/// API Gateway has one word for "too many requests" and for "no more stages".
#[test]
fn a_quota_that_is_full_is_not_waited_for_until_the_deadline() {
    let (error, took, count) =
        alone(429, "LimitExceededException", async |cloud| cloud.create_stage(&prod(), "d1", "").await);
    assert_eq!((error.code.as_str(), count), ("LimitExceededException", 5));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// What a change was decided by is out of date by then.
#[test]
fn a_change_that_is_turned_away_for_long_leads_to_another_look() {
    let change = StageChange { deployment: Some("d1".to_owned()), ..StageChange::default() };
    let (error, took, _) =
        alone(429, "TooManyRequestsException", async |cloud| cloud.change_stage(&prod(), &change).await);
    assert_eq!((error.failure, error.code.as_str()), (Failure::Conflict, "TooManyRequestsException"));
    assert!((Duration::from_secs(19)..=Duration::from_secs(20)).contains(&took), "{took:?}");
    let (error, took, _) = alone(429, "TooManyRequestsException", async |cloud| cloud.stage(&prod()).await);
    assert_eq!(error.failure, Failure::Other);
    assert!(took > Duration::from_mins(4), "a look waits to the end: {took:?}");
}
