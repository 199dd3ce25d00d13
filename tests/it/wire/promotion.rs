//! The calls of a sweep that promotes a release.

use std::collections::BTreeMap;

use apigw_rollback::cloud::Gateway as _;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::stage::StageRef;

use super::*;

#[test]
fn a_promotion_reads_history_and_data_and_then_pins_and_records() {
    promote(&[PROTECTED], None);
}

#[test]
fn the_pin_gets_the_tags_of_the_settings() {
    let tags = json!({"team": "orders", "cost-center": "42"});
    promote(&[PROTECTED, ("TAGS", "team=orders,cost-center=42")], Some(tags));
}

#[test]
fn a_stage_of_each_protocol_is_created_with_its_tags() {
    for (protocol, url) in [
        (Protocol::Rest, "https://apigateway.eu-west-1.amazonaws.com/restapis/a1b2c3d4e5/stages"),
        (Protocol::Http, "https://apigateway.eu-west-1.amazonaws.com/v2/apis/a1b2c3d4e5/stages"),
    ] {
        let created = json!({
            "deploymentId": "d1", "description": "x", "stageName": "prod-known-good", "tags": {"team": "orders"},
        });
        let client = StaticReplayClient::new(vec![exchange("POST", url, created.to_string(), 201, "{}")]);
        let clients = Clients::new(&settings(SharedHttpClient::new(client.clone())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tags = BTreeMap::from([("team".to_owned(), "orders".to_owned())]);
        let stage = StageRef::new(protocol, "a1b2c3d4e5", "prod-known-good");
        runtime.block_on(async {
            let until = Instant::now() + Duration::from_secs(20);
            clients.until(until, until).create_stage(&stage, "d1", "x", &tags).await.unwrap();
        });
        let (method, uri, sent) = seen(client.actual_requests().next().unwrap());
        assert_eq!((method.as_str(), uri.as_str(), body(&sent)), ("POST", url, created));
    }
}

/// Plays a promotion whose pin gets these tags.
fn promote(settings: &[(&str, &str)], tags: Option<Value>) {
    let quiet = |encoder: &mut Encoder| metric_alarm(encoder, "OK", 1_795_168_900);
    let candidate = json!({"schema": 1, "release": bad(), "first_seen": "2026-11-20T08:00:00Z", "label": null, "note": null});
    let name = KNOWN_GOOD.replace("known-good", "candidate");
    let kept =
        json!({"Parameters": [{"Name": name, "Value": candidate.to_string(), "Version": 1}]}).to_string();
    let by_path = json!({"Path": "/apigw-rollback/stages", "Recursive": true, "MaxResults": 10}).to_string();
    let stages = STAGE.trim_end_matches("/prod");
    let apis = "https://apigateway.eu-west-1.amazonaws.com/restapis?limit=500";
    let parked = format!("{STAGE}-known-good");
    let none = json!({"Parameters": []}).to_string();
    let index = json!({"Names": ["/apigw-rollback/names/orders-api"]}).to_string();
    let no_index = || exchange("POST", SSM, index.clone(), 200, none.clone());
    let put = || exchange("POST", SSM, "put", 200, json!({"Version": 1, "Tier": "Standard"}).to_string());
    let deployment = "https://apigateway.eu-west-1.amazonaws.com/restapis/a1b2c3d4e5/deployments/d2";
    let no_stage = exchange("GET", &parked, "", 404, r#"{"message":"Invalid stage identifier specified"}"#);
    let mut create = json!({
        "deploymentId": "d2",
        "description": "Parked by apigw-rollback (/apigw-rollback): keeps the known-good deployment of stage prod from being deleted. Serves no traffic.",
        "stageName": "prod-known-good",
    });
    if let Some(tags) = tags {
        create["tags"] = tags;
    }
    let close = json!({"patchOperations": [
        {"op": "replace", "path": "/deploymentId", "value": "d2"},
        {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "0"},
        {"op": "replace", "path": "/*/*/throttling/burstLimit", "value": "0"},
    ]});
    let policy = format!(
        "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/{}/policy",
        FUNCTION.replace(':', "%3A")
    );
    let mut since_seven = stage(&bad());
    since_seven["lastUpdatedDate"] = json!(1_795_158_000);
    let conversation = vec![
        exchange("POST", SSM, by_path, 200, kept.clone()),
        cloudwatch("DescribeAlarms", quiet),
        exchange("POST", SSM, json!({"Names": ["/apigw-rollback/sweep"]}).to_string(), 200, none.clone()),
        exchange("GET", stages, "", 200, json!({"item": [since_seven.clone()]}).to_string()),
        exchange(
            "GET",
            apis,
            "",
            200,
            json!({"item": [{"id": "a1b2c3d4e5", "name": "orders-api"}]}).to_string(),
        ),
        no_index(),
        cloudwatch("DescribeAlarmHistory", history),
        no_index(),
        cloudwatch("GetMetricData", samples),
        // The promotion rests on the same records and the same stage.
        exchange("GET", STAGE, "", 200, since_seven.to_string()),
        exchange("POST", SSM, "put", 200, kept),
        exchange("GET", deployment, "", 200, r#"{"id":"d2","createdDate":1795168800}"#),
        exchange("POST", SSM, "put", 200, none.clone()),
        // The first record of a stage is written after its pin.
        with_error(&no_stage, "NotFoundException"),
        exchange("POST", SSM, json!({"Names": [KNOWN_GOOD]}).to_string(), 200, none.clone()),
        exchange("POST", stages, create.to_string(), 201, "{}"),
        exchange("PATCH", &parked, close.to_string(), 200, "{}"),
        put(),
        exchange("POST", SSM, "put", 200, none.clone()),
        put(),
        // Last come the checks of the way from the alarms to the function.
        exchange("GET", &policy, "", 200, json!({"Policy": "{}"}).to_string()),
        cloudwatch("DescribeAlarms", quiet),
        cloudwatch("GetMetricData", samples),
        put(),
    ];
    let (report, bodies) = check_on(settings, "command-sweep", conversation);
    assert_eq!(report.message, "rest/a1b2c3d4e5/prod: deployment `d2` is known-good version 1");
    let written = bodies.iter().find(|body| body["Name"] == json!(KNOWN_GOOD)).unwrap();
    assert_eq!(written["Overwrite"], json!(true));
}
