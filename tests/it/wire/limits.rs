//! What AWS turns away as one request too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apigw_rollback::cloud::Cloud;
use apigw_rollback::cloud::aws::Clients;
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_http_client::test_util::infallible_client_fn;
use serde_json::json;
use tokio::time::Instant;

use super::{
    PROTECTED, back, check, event, operations, put_one, reads, run, settings, update_stage, with_error,
};
use crate::world::prod;

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

/// API Gateway has one word for "too many requests" and for "no more stages".
#[test]
fn a_quota_that_is_full_is_not_waited_for_until_the_deadline() {
    let (client, count) = always(429, "LimitExceededException");
    let clients = Clients::new(&settings(client));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (error, took) = runtime.block_on(async {
        let began = Instant::now();
        let cloud = clients.until(began + Duration::from_mins(5));
        let made = cloud.create_stage(&prod(), "d1", "Parked by apigw-rollback").await;
        let spent = cloud.spent();
        assert_eq!((spent.calls, spent.retries), (1, 4));
        (made.unwrap_err(), began.elapsed())
    });
    assert_eq!(error.code, "LimitExceededException");
    assert_eq!(count.load(Ordering::Relaxed), 5);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
