//! The calls of a sweep that promotes a release.

use super::*;

#[test]
fn a_promotion_reads_history_and_data_and_then_pins_and_records() {
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
    let create = json!({
        "deploymentId": "d2",
        "description": "Parked by apigw-rollback (/apigw-rollback): keeps the known-good deployment of stage prod from being deleted. Serves no traffic.",
        "stageName": "prod-known-good",
    });
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
        exchange("POST", SSM, by_path, 200, kept),
        cloudwatch("DescribeAlarms", quiet),
        exchange("POST", SSM, json!({"Names": ["/apigw-rollback/sweep"]}).to_string(), 200, none.clone()),
        exchange("GET", stages, "", 200, json!({"item": [since_seven]}).to_string()),
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
        get_stage(&bad()),
        exchange("POST", SSM, "put", 200, none.clone()),
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
    let (report, bodies) = check("command-sweep", conversation);
    assert_eq!(report.message, "rest/a1b2c3d4e5/prod: deployment `d2` is known-good version 1");
    let written = bodies.iter().find(|body| body["Name"] == json!(KNOWN_GOOD)).unwrap();
    assert_eq!(written["Overwrite"], json!(true));
}
