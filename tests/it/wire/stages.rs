//! What the adapter reads from a stage.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apigw_rollback::cloud::aws::Clients;
use apigw_rollback::cloud::{Gateway, Seen};
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::stage::{LiveStage, StageRef};
use aws_sdk_ssm::config::SharedHttpClient;
use aws_smithy_http_client::test_util::infallible_client_fn;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::settings;
use crate::support::world::API;

/// Reads a stage of this protocol from AWS's answer, alone and in a list.
fn read(protocol: Protocol, mut answer: Value) -> [LiveStage; 2] {
    let stage = StageRef::new(protocol, API, "prod");
    answer["stageName"] = json!("prod");
    let client = infallible_client_fn(move |request| {
        let is_one = request.uri().path().ends_with("/stages/prod");
        let all = json!([{"stageName": "other"}, answer]);
        let answer = if is_one { answer.clone() } else { json!({"item": all, "items": all}) };
        http::Response::builder().status(200).body(answer.to_string()).unwrap()
    });
    let aws = Clients::new(&settings(SharedHttpClient::new(client)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let aws =
            aws.until(Instant::now() + Duration::from_secs(10), Instant::now() + Duration::from_secs(10));
        let all = aws.stages(protocol, API).await.unwrap();
        let (_, listed) = all.into_iter().find(|(listed, _)| *listed == stage).unwrap();
        [aws.stage(&stage).await.unwrap().unwrap(), listed]
    })
}

#[test]
fn a_stage_is_closed_only_if_every_throttle_is_there_and_zero() {
    let throttled =
        |rate: f64, burst: i32| json!({"throttlingRateLimit": rate, "throttlingBurstLimit": burst});
    for (case, method_settings, closed) in [
        ("no settings", json!({}), false),
        ("zero", json!({"*/*": throttled(0.0, 0)}), true),
        ("a rate", json!({"*/*": throttled(10.0, 0)}), false),
        ("a burst", json!({"*/*": throttled(0.0, 1)}), false),
        ("no throttle at all", json!({"*/*": {"loggingLevel": "INFO"}}), false),
        ("no burst", json!({"*/*": {"throttlingRateLimit": 0.0}}), false),
        ("no rate", json!({"*/*": {"throttlingBurstLimit": 0}}), false),
        ("a method of its own", json!({"*/*": throttled(0.0, 0), "test/GET": throttled(10.0, 5)}), false),
        (
            "a closed method of its own",
            json!({"*/*": throttled(0.0, 0), "test/GET": throttled(0.0, 0)}),
            true,
        ),
        ("only a method of its own", json!({"test/GET": throttled(0.0, 0)}), false),
    ] {
        let read = read(Protocol::Rest, json!({ "methodSettings": method_settings }));
        assert_eq!(read.map(|live| live.closed), [closed; 2], "REST: {case}");
    }
    let all = |settings: Value| json!({ "defaultRouteSettings": settings });
    let own = |settings: Value| json!({"defaultRouteSettings": throttled(0.0, 0), "routeSettings": {"GET /": settings}});
    for (case, answer, closed) in [
        ("no settings", json!({}), false),
        ("zero", all(throttled(0.0, 0)), true),
        ("a burst", all(throttled(0.0, 1)), false),
        ("no throttle at all", all(json!({"detailedMetricsEnabled": true})), false),
        ("a route of its own", own(throttled(10.0, 5)), false),
        ("a closed route of its own", own(throttled(0.0, 0)), true),
    ] {
        let read = read(Protocol::Http, answer);
        assert_eq!(read.map(|live| live.closed), [closed; 2], "HTTP: {case}");
    }
}

/// The patch of a rollout's step and of its promotion, as AWS has accepted them.
#[test]
fn a_rollout_sends_the_patches_that_aws_accepts() {
    let canary = Canary {
        deployment: Some("d2".to_owned()),
        percent: "12.5".to_owned(),
        overrides: [("release".to_owned(), "2".to_owned())].into(),
        uses_cache: false,
    };
    let replace = |path: &str, value: &str| json!({"op": "replace", "path": path, "value": value});
    let copy = |from: &str, path: &str| json!({"op": "copy", "from": from, "path": path});
    for (change, patch) in [
        (
            StageChange { put_canary: Some(canary), ..StageChange::default() },
            json!([
                replace("/canarySettings/deploymentId", "d2"),
                replace("/canarySettings/percentTraffic", "12.5"),
                replace("/canarySettings/stageVariableOverrides/release", "2"),
            ]),
        ),
        (
            StageChange { promote_canary: true, ..StageChange::default() },
            json!([
                replace("/canarySettings/percentTraffic", "0.0"),
                copy("/canarySettings/stageVariableOverrides", "/variables"),
                copy("/canarySettings/deploymentId", "/deploymentId"),
            ]),
        ),
        (
            StageChange { remove_canary: true, ..StageChange::default() },
            json!([{"op": "remove", "path": "/canarySettings"}]),
        ),
    ] {
        assert_eq!(sent(&change), json!({ "patchOperations": patch }), "{change:?}");
    }
}

/// Returns the body that a change of a REST stage sends.
fn sent(change: &StageChange) -> Value {
    let body = Arc::new(Mutex::new(Value::Null));
    let kept = Arc::clone(&body);
    let client = infallible_client_fn(move |request| {
        *kept.lock().unwrap() = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        http::Response::builder().status(200).body("{}").unwrap()
    });
    let aws = Clients::new(&settings(SharedHttpClient::new(client)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let until = Instant::now() + Duration::from_secs(10);
        let what = Release::default();
        let seen = Seen { what: &what, at: Instant::now() };
        aws.until(until, until).change_stage(&StageRef::rest(API, "prod"), change, seen).await.unwrap();
    });
    body.lock().unwrap().clone()
}

/// The description says which release it is, in every Region.
#[test]
fn a_deployment_has_its_description_or_an_empty_one() {
    for protocol in [Protocol::Rest, Protocol::Http] {
        for (answer, expected) in [
            (json!({"description": "v2", "id": "d1", "deploymentId": "d1"}), "v2"),
            (json!({"id": "d1", "deploymentId": "d1", "deploymentStatus": "DEPLOYED"}), ""),
        ] {
            let client = infallible_client_fn(move |_| {
                http::Response::builder().status(200).body(answer.to_string()).unwrap()
            });
            let aws = Clients::new(&settings(SharedHttpClient::new(client)));
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let found = runtime.unwrap().block_on(async {
                let until = Instant::now() + Duration::from_secs(10);
                aws.until(until, until).deployment(&StageRef::new(protocol, API, "prod"), "d1").await
            });
            assert_eq!(found.unwrap().unwrap().description, expected, "{protocol:?}");
        }
    }
}
