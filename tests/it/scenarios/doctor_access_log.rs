//! The doctor looks at the access logs of the stages that ask for fast detection.

use std::fmt::Write as _;

use apigw_rollback::model::access_log::{AccessLog, NAMESPACE, format};
use apigw_rollback::model::alarm::{AlarmNow, State, Watches};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::stage::{LiveStage, StageRef};

use super::canary;
use super::doctor::{Surroundings, described, found, healthy};
use crate::support::harness::snapshot;
use crate::support::world::{API, Facts, World, alarm, live, prod, release};

const GROUP: &str = "arn:aws:logs:eu-west-1:123456789012:log-group:/apigateway/orders:*";
const FIREHOSE: &str = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/amazon-apigateway-orders";
const PROTECTED: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"},
    {"api":"ju6maoy9o2","name":"web","stage":"prod","protocol":"http"},
    {"api":"k7v2m9x1q4","name":"chat","stage":"prod","protocol":"websocket"}]"#;
const ROLE: &str = "arn:aws:iam::123456789012:role/api-gateway-logs";

fn log_to(facts: &mut Facts, destination: &str, format: impl Into<String>) {
    facts.stage().access_log = Some(AccessLog { destination: destination.to_owned(), format: format.into() });
}

/// An alarm on the metrics of a stage's access log.
fn fast(stage: &StageRef) -> AlarmNow {
    let dimensions = [("ApiId", stage.api.as_str()), ("Stage", stage.stage.as_str())];
    let mut now = alarm("orders-prod-fast-5xx", State::Ok, &dimensions);
    now.alarm.description = Some(format!("rollback-target: {}/{}", stage.api, stage.stage));
    if let Watches::Metrics(metrics) = &mut now.alarm.watches {
        metrics[0].namespace = NAMESPACE.to_owned();
        metrics[0].name = "Status".to_owned();
    }
    now
}

/// The healthy setup with fast detection: an alarm on the metrics, and an access log that has had data.
fn fast_setup() -> (Facts, Surroundings) {
    let (mut facts, mut around) = healthy();
    log_to(&mut facts, GROUP, format(Protocol::Rest));
    facts.alarms.insert(0, fast(&prod()));
    around.log_groups.push("/apigateway/orders");
    around.log_role = Some(ROLE.to_owned());
    around.sums.push(("Status", 200.0));
    (facts, around)
}

/// Appends what the doctor says of the access log, and what is wrong with the alarms, in this setup with this twist.
fn check(shown: &mut String, story: &str, twist: impl FnOnce(&mut Facts, &mut Surroundings)) {
    let (mut facts, mut around) = fast_setup();
    twist(&mut facts, &mut around);
    let mut findings = found(&World::new(facts), &around, &[("PROTECTED_STAGES", PROTECTED)]);
    findings.retain(|one| one.check == "access log" || one.check == "alarms" && !one.next.is_empty());
    let findings = if findings.is_empty() { "nothing\n".to_owned() } else { described(&findings, true) };
    writeln!(shown, "== {story}\n{findings}").unwrap();
}

fn has_canary(facts: &mut Facts) {
    facts.stage().release.canary = Some(canary("10"));
}

/// Protects a stage of another protocol instead, with an alarm on the metrics of its access log.
fn becomes(facts: &mut Facts, protocol: Protocol) {
    let api = if protocol == Protocol::Http { "ju6maoy9o2" } else { "k7v2m9x1q4" };
    let stage = StageRef::new(protocol, api, "prod");
    let log = AccessLog { destination: GROUP.to_owned(), format: format(protocol) };
    let live = live(release("d1", &[]), "2026-11-20T10:00:00Z");
    facts.stages = [(stage.clone(), LiveStage { access_log: Some(log), ..live })].into();
    facts.alarms[0] = fast(&stage);
}

#[test]
fn the_access_log_must_count_requests() {
    let mut shown = String::new();
    check(&mut shown, "all is well", |_, _| {});
    check(&mut shown, "neither an alarm nor the log asks for it", |facts, _| {
        facts.alarms.remove(0);
        log_to(facts, GROUP, "$context.requestId $context.status");
    });
    check(&mut shown, "an alarm watches the access log of another stage", |facts, _| {
        facts.stage().access_log = None;
        facts.alarms[0] = fast(&StageRef::rest(API, "test"));
    });
    check(&mut shown, "the stage has no access log", |facts, _| facts.stage().access_log = None);
    check(&mut shown, "the access log has another format", |facts, _| {
        log_to(facts, GROUP, "$context.requestId $context.status");
    });
    check(&mut shown, "the format of a REST API names no deployment", |facts, _| {
        log_to(facts, GROUP, format(Protocol::Http));
    });
    check(&mut shown, "the access log goes to Firehose", |facts, _| {
        log_to(facts, FIREHOSE, format(Protocol::Rest));
    });
    check(&mut shown, "the access log goes to an unknown service", |facts, _| {
        log_to(facts, "arn:aws:s3:::logs", format(Protocol::Rest));
    });
    check(&mut shown, "the access log has no destination", |facts, _| {
        log_to(facts, "", format(Protocol::Rest));
    });
    check(&mut shown, "no alarm watches the access log", |facts, _| {
        facts.alarms.remove(0);
    });
    snapshot("doctor checks that the access log counts requests", &shown);
}

#[test]
fn the_log_group_must_be_one_from_which_cloudwatch_extracts_metrics() {
    let mut shown = String::new();
    check(&mut shown, "the log group is deleted", |_, around| around.log_groups.clear());
    check(&mut shown, "a longer name begins like the log group's", |_, around| {
        around.log_groups = vec!["/apigateway/orders-2"];
    });
    check(&mut shown, "the log group has another class", |_, around| {
        around.log_groups = vec!["/apigateway/orders INFREQUENT_ACCESS"];
    });
    check(&mut shown, "a canary has a log group", |facts, around| {
        has_canary(facts);
        around.log_groups.push("/apigateway/orders/Canary");
    });
    check(&mut shown, "a canary has no log group", |facts, _| has_canary(facts));
    check(&mut shown, "the log group of a canary has another class", |facts, around| {
        has_canary(facts);
        around.log_groups.push("/apigateway/orders/Canary INFREQUENT_ACCESS");
    });
    check(&mut shown, "API Gateway has no role for logs", |_, around| around.log_role = None);
    check(&mut shown, "an HTTP API needs no role", |facts, around| {
        becomes(facts, Protocol::Http);
        around.log_role = None;
    });
    check(&mut shown, "a WebSocket API needs the role", |facts, around| {
        becomes(facts, Protocol::WebSocket);
        around.log_role = None;
    });
    snapshot("doctor checks the log group of the access log", &shown);
}

#[test]
fn the_access_log_must_have_data() {
    let mut shown = String::new();
    check(&mut shown, "neither the alarm nor the status has data", |facts, around| {
        facts.samples = 0.0;
        around.sums.pop();
    });
    check(&mut shown, "the status has no data, and no alarm watches it", |facts, around| {
        facts.alarms.remove(0);
        around.sums.pop();
    });
    check(&mut shown, "the alarm that would say so has its actions disabled", |facts, around| {
        facts.samples = 0.0;
        facts.alarms[0].actions_enabled = false;
        around.sums.pop();
    });
    check(&mut shown, "a missing log group explains it", |facts, around| {
        facts.alarms.remove(0);
        around.sums.pop();
        around.log_groups.clear();
    });
    check(&mut shown, "a missing role explains it", |facts, around| {
        facts.alarms.remove(0);
        around.sums.pop();
        around.log_role = None;
    });
    for operation in ["DescribeLogGroups", "GetAccount", "GetMetricData"] {
        check(&mut shown, &format!("{operation} is denied to the operator"), |_, around| {
            around.denied = vec![operation];
        });
    }
    check(&mut shown, "the class of the log group is unknown, and there is no data", |_, around| {
        around.denied = vec!["DescribeLogGroups"];
        around.sums.pop();
    });
    snapshot("doctor checks the data of the access log", &shown);
}
