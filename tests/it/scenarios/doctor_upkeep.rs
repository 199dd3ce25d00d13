//! The doctor looks at what the function needs besides a rollback: its schedule and sweeps, its queue, log and
//! alarms.

use std::fmt::Write as _;

use apigw_rollback::cloud::Schedule;
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::{LiveMapping, MappingRef, MappingTarget};
use apigw_rollback::model::records::print;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::stage::StageRef;
use serde_json::json;

use super::doctor::{check, described, found, healthy, own_alarm};
use crate::support::harness::snapshot;
use crate::support::world::{Facts, Fault, World, denied, prod, record};

pub(crate) fn schedule(expression: &str, enabled: bool) -> Schedule {
    Schedule {
        name: "apigw-rollback-SweepSchedule-X1".to_owned(),
        enabled,
        expression: expression.to_owned(),
        input: r#"{"command":"sweep"}"#.to_owned(),
    }
}

/// The schedule that moves rollouts on, which invokes the same function.
fn rollout_schedule() -> Schedule {
    Schedule {
        name: "apigw-rollback-RolloutSchedule-X1".to_owned(),
        input: r#"{"command":"advance"}"#.to_owned(),
        ..schedule("rate(1 minute)", true)
    }
}

/// Makes these the times of the last sweeps.
fn sweep(facts: &mut Facts, at: &[&str]) {
    let values = at.iter().map(|at| json!({"schema": 1, "at": at}).to_string()).collect();
    facts.parameters.insert("/apigw-rollback/sweep".to_owned(), values);
}

#[test]
fn the_sweep_must_run_regularly() {
    let mut shown = String::new();
    let cron = |expression| vec![schedule(expression, true)];
    check(&mut shown, "no sweep yet", &[], |facts, _| {
        facts.parameters.remove("/apigw-rollback/sweep");
    });
    check(&mut shown, "a sweep that is late by the rate of its schedule", &[], |facts, _| {
        sweep(facts, &["2026-11-20T09:00:00Z", "2026-11-20T09:50:00Z"]);
    });
    check(&mut shown, "a sweep that is on time by the rate of its schedule", &[], |facts, around| {
        sweep(facts, &["2026-11-20T08:19:00Z", "2026-11-20T08:20:00Z"]);
        around.schedules = cron("rate(60 minutes)");
    });
    check(&mut shown, "a sweep every minute may be five minutes old", &[], |facts, around| {
        sweep(facts, &["2026-11-20T10:00:59Z", "2026-11-20T10:01:59Z"]);
        around.schedules = cron("rate(1 minute)");
    });
    check(&mut shown, "a late sweep after an outage, on a schedule without a rate", &[], |facts, around| {
        let at =
            ["2026-11-20T02:00:00Z", "2026-11-20T09:40:00Z", "2026-11-20T09:45:00Z", "2026-11-20T09:50:00Z"];
        sweep(facts, &at);
        around.schedules = cron("cron(0/5 * * * ? *)");
    });
    check(
        &mut shown,
        "a sweep that runs once an hour, on a schedule without a rate",
        &[],
        |facts, around| {
            sweep(facts, &["2026-11-20T07:20:00Z", "2026-11-20T08:20:00Z", "2026-11-20T08:21:00Z"]);
            around.schedules = cron("cron(20 * * * ? *)");
        },
    );
    check(
        &mut shown,
        "the only sweep was an hour ago, on a schedule without a rate",
        &[],
        |facts, around| {
            sweep(facts, &["2026-11-20T09:00:00Z"]);
            around.schedules = cron("cron(0 * * * ? *)");
        },
    );
    check(&mut shown, "the schedule is disabled", &[], |_, around| {
        around.schedules = vec![schedule("rate(5 minutes)", false)];
    });
    check(&mut shown, "one of two schedules is disabled", &[], |_, around| {
        around.schedules = vec![schedule("rate(1 minute)", false), schedule("rate(5 minutes)", true)];
    });
    check(&mut shown, "the schedule is deleted", &[], |facts, around| {
        sweep(facts, &["2026-11-20T08:55:00Z", "2026-11-20T09:00:00Z"]);
        around.schedules.clear();
    });
    check(&mut shown, "something else starts the sweeps", &[], |_, around| around.schedules.clear());
    snapshot("doctor checks the sweep", &shown);
}

#[test]
fn the_schedule_of_the_rollouts_starts_no_sweeps() {
    let mut shown = String::new();
    check(&mut shown, "rollouts move on more often than sweeps run", &[], |facts, around| {
        sweep(facts, &["2026-11-20T09:26:00Z", "2026-11-20T09:56:00Z"]);
        around.schedules = vec![schedule("rate(30 minutes)", true), rollout_schedule()];
    });
    check(
        &mut shown,
        "the schedule of the sweeps is disabled, and that of the rollouts runs",
        &[],
        |_, around| {
            around.schedules = vec![schedule("rate(5 minutes)", false), rollout_schedule()];
        },
    );
    check(&mut shown, "only the schedule of the rollouts is left", &[], |facts, around| {
        sweep(facts, &["2026-11-20T08:55:00Z", "2026-11-20T09:00:00Z"]);
        around.schedules = vec![rollout_schedule()];
    });
    snapshot("doctor tells the schedule of the rollouts from that of the sweeps", &shown);
}

#[test]
fn the_role_must_be_allowed_to_move_a_mapping_of_several_levels() {
    let mut shown = String::new();
    let deep = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","mappings":["api.example.com/v1/orders"]}]"#;
    let deep = [("PROTECTED_STAGES", deep)];
    check(&mut shown, "the role may neither move the mapping nor read its target", &deep, |facts, around| {
        let mapping: MappingRef = "api.example.com/v1/orders".parse().unwrap();
        let to = MappingTarget { api: prod().api, stage: "blue".to_owned() };
        let live = facts.stage().clone();
        let known = Release { mappings: [(mapping.clone(), to.clone())].into(), ..live.release.clone() };
        facts.known_good(&print(&record(known)).unwrap());
        facts.stages.insert(StageRef { stage: "blue".to_owned(), ..prod() }, live);
        facts.mappings = [(mapping, LiveMapping { target: to, id: Some("m1".to_owned()) })].into();
        around.refuses = vec![
            "apigateway:PATCH arn:aws:apigateway:eu-west-1::/domainnames/api.example.com/apimappings/m1",
            "apigateway:GET arn:aws:apigateway:eu-west-1::/restapis/a1b2c3d4e5/stages/blue",
        ];
    });
    snapshot("doctor checks the permissions for a mapping of several levels", &shown);
}

#[test]
fn what_the_function_needs_besides_a_rollback_is_checked() {
    let mut shown = String::new();
    check(&mut shown, "the dead-letter queue is deleted", &[], |_, around| around.messages = None);
    check(&mut shown, "the dead-letter queue holds events", &[], |_, around| around.messages = Some(3));
    check(&mut shown, "there is no dead-letter queue", &[], |_, around| around.on_failure = None);
    check(&mut shown, "failed events go to a topic", &[], |_, around| {
        around.on_failure = Some("arn:aws:sns:eu-west-1:123456789012:failed");
    });
    check(&mut shown, "a dead-letter target beside the destination", &[], |_, around| {
        let function = around.function.as_mut().unwrap();
        function.dead_letter = Some("arn:aws:sqs:eu-west-1:123456789012:older".to_owned());
        around.messages = Some(1);
    });
    check(&mut shown, "the log group is deleted", &[], |_, around| around.log_groups.clear());
    check(&mut shown, "a log group of another name exists", &[], |_, around| {
        let function = around.function.as_mut().unwrap();
        function.log_group = Some("/rollback".to_owned());
        around.log_groups = vec!["/rollback"];
    });
    check(&mut shown, "the role may write neither log nor queue", &[], |_, around| {
        around.refuses = vec!["logs:", "sqs:"];
    });
    check(&mut shown, "the function failed", &[], |_, around| {
        around.sums = vec![("Errors", 2.0), ("Throttles", 1.0)];
    });
    check(&mut shown, "no data on the function's errors", &[], |_, around| around.sums.clear());
    check(&mut shown, "an alarm about the function is in ALARM", &[], |facts, _| {
        facts.alarms.last_mut().unwrap().alarm.state = State::Alarm;
    });
    check(&mut shown, "no alarm watches the function", &[], |facts, _| {
        facts.alarms.pop();
    });
    for (namespace, dimension) in
        [("AWS/Lambda", "FunctionName"), ("apigw-rollback", "Function"), ("AWS/SQS", "QueueName")]
    {
        check(&mut shown, &format!("the alarm on {namespace} watches another function"), &[], |facts, _| {
            facts.alarms.pop();
            facts.alarms.push(own_alarm(namespace, dimension, "others"));
        });
    }
    for (namespace, dimension) in [("AWS/Lambda", "FunctionName"), ("apigw-rollback", "Function")] {
        check(&mut shown, &format!("an alarm on {namespace} watches the function"), &[], |facts, _| {
            facts.alarms.pop();
            facts.alarms.push(own_alarm(namespace, dimension, "apigw-rollback"));
        });
    }
    for operation in [
        "GetFunctionEventInvokeConfig",
        "GetQueueAttributes",
        "DescribeLogGroups",
        "ListSchedules",
        "GetMetricData",
    ] {
        check(&mut shown, &format!("{operation} is denied to the operator"), &[], |_, around| {
            around.denied = vec![operation];
        });
    }
    snapshot("doctor checks what the function needs besides a rollback", &shown);
}

#[test]
fn a_call_that_fails_leaves_one_fact_unknown() {
    let mut shown = String::new();
    for operation in
        ["GetStage", "GetParametersByPath", "DescribeAlarms", "GetMetricData", "GetParameterHistory"]
    {
        let (facts, surroundings) = healthy();
        let world = World::new(facts).fault(operation, 0, Fault::Before(denied()));
        writeln!(shown, "== {operation}\n{}", described(&found(&world, &surroundings, &[]), false)).unwrap();
    }
    snapshot("doctor a call that fails leaves one fact unknown", &shown);
}
