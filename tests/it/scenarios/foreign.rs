//! Components, APIs and stages of others, which an alarm, or whoever may write the records of a stage, can name: none of
//! them is moved, and none of them is a failure.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::component::MappingTarget;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records::print;
use serde_json::{Value, json};

use super::check_with;
use super::components::{WHOLE, alias, bad_everywhere, check_record, policy};
use crate::support::harness::{config, event, run};
use crate::support::world::{Facts, Fault, World, denied, record, release};

#[test]
fn a_policy_and_a_record_reach_no_component_of_others() {
    check_record("a policy that lists a foreign alias is refused", |facts| {
        let alias = "theirs:live".parse().unwrap();
        policy(facts, PolicyOverrides { aliases: Some(vec![alias]), ..PolicyOverrides::default() });
    });
    check_with(
        "a foreign alias in the policy holds the stage",
        "sns-alarm",
        |facts| {
            bad_everywhere(facts);
            let alias = "theirs:live".parse().unwrap();
            policy(facts, PolicyOverrides { aliases: Some(vec![alias]), ..PolicyOverrides::default() });
        },
        &[("PROTECTED_STAGES", WHOLE)],
        |world| world,
    );
    check_with(
        "a recorded mapping to a foreign API holds the stage",
        "sns-alarm",
        |facts| {
            bad_everywhere(facts);
            let mut forged = release("d1", &[]);
            let target = MappingTarget { api: "evil123456".into(), stage: "prod".into() };
            forged.mappings = [("api.example.com/orders".parse().unwrap(), target)].into();
            facts.known_good(&print(&record(forged)).unwrap());
        },
        &[("PROTECTED_STAGES", WHOLE)],
        |world| world,
    );
}

#[test]
fn an_alias_of_another_region_is_refused() {
    check_with(
        "an alias of another region is refused",
        "command-record",
        |facts| {
            bad_everywhere(facts);
            facts.parameters.clear();
        },
        &[
            (
                "PROTECTED_STAGES",
                r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod",
                    "aliases":["arn:aws:lambda:us-east-1:123456789012:function:orders:live"]}]"#,
            ),
            ("PIN", "off"),
        ],
        |world| world,
    );
    check_with(
        "a record with an alias of another region",
        "sns-alarm",
        |facts| {
            let mut recorded = release("d1", &[]);
            let alias_there = "arn:aws:lambda:us-east-1:123456789012:function:orders:live".parse().unwrap();
            recorded.aliases = [(alias_there, alias("1"))].into();
            facts.known_good(&print(&record(recorded)).unwrap());
        },
        &[],
        |world| world,
    );
}

/// A world whose function has the role of the template: it may read its own stage, and no other.
fn with_own_role(facts: Facts) -> World {
    let mut world = World::new(facts);
    for foreign in ["b2c3d4e5f6/prod", "a1b2c3d4e5/dev"] {
        for operation in ["GetParameters", "GetStage", "GetRestApi", "GetApi"] {
            world = world.fault(operation, 0, Fault::BeforeAbout(foreign, denied()));
        }
    }
    world
}

/// The event of an alarm whose description names these stages.
fn naming(stages: &str) -> String {
    let mut event: Value = serde_json::from_str(&event("sns-alarm-directive-two-stages")).unwrap();
    let message = &mut event["Records"][0]["Sns"]["Message"];
    let mut alarm: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
    alarm["AlarmDescription"] = json!(format!("rollback-target: {stages}"));
    *message = json!(alarm.to_string());
    event.to_string()
}

#[test]
fn a_stage_of_another_stack_that_the_role_may_not_read_is_not_protected() {
    let index = |apis: &[&str]| json!({"schema": 1, "apis": apis}).to_string();
    for (stages, apis, outcomes) in [
        ("a1b2c3d4e5/prod, b2c3d4e5f6/prod", None, &["rolled-back", "held (not-protected)"][..]),
        ("a1b2c3d4e5/dev", None, &["held (not-protected)"]),
        ("b2c3d4e5f6/prod", None, &["held (not-protected)"]),
        ("orders-api/dev", None, &["held (not-protected)"]),
        ("orders-api/dev", Some(index(&["a1b2c3d4e5"])), &["held (not-protected)"]),
        (
            "orders-api/prod, orders-api/dev",
            Some(index(&["a1b2c3d4e5"])),
            &["rolled-back", "held (not-protected)"],
        ),
    ] {
        let mut facts = Facts::bad_release();
        facts.alarms[0].alarm.name = "checkout-failing".to_owned();
        facts.alarms[0].alarm.description = Some(format!("rollback-target: {stages}"));
        facts.parameters.extend(apis.map(|index| (config(&[]).names.api_name("orders-api"), vec![index])));
        let shown = run(&naming(stages), &with_own_role(facts), &[]);
        let reports = shown.lines().filter_map(|line| line.strip_prefix("report: "));
        let found: Vec<&str> = reports.map(|report| report.split(": ").next().unwrap()).collect();
        assert_eq!(found, outcomes, "{stages}: {shown}");
        assert!(!shown.contains("lambda error"), "{stages}: {shown}");
    }
}

#[test]
fn a_denial_for_a_stage_of_the_settings_is_a_failure() {
    for operation in ["GetParameters", "GetStage"] {
        let world = World::new(Facts::bad_release()).fault(operation, 0, Fault::Before(denied()));
        let shown = run(&event("sns-alarm"), &world, &[]);
        assert!(shown.contains("report: failed") && shown.contains("lambda error"), "{operation}: {shown}");
    }
}

#[test]
fn the_ok_of_an_alarm_that_also_names_a_stage_of_another_stack_closes_the_own_incident() {
    for other in ["b2c3d4e5f6/prod", "a1b2c3d4e5/dev", "orders-api/dev"] {
        let stages = format!("{other}, a1b2c3d4e5/prod");
        let mut facts = Facts::bad_release();
        facts.alarms[0].alarm.name = "checkout-failing".to_owned();
        facts.alarms[0].alarm.description = Some(format!("rollback-target: {stages}"));
        let world = with_own_role(facts);
        run(&naming(&stages), &world, &[]);
        world.change(|facts| facts.alarms[0].alarm.state = State::Ok);
        let ok = naming(&stages).replace(r#"NewStateValue\":\"ALARM"#, r#"NewStateValue\":\"OK"#);
        let shown = run(&ok, &world, &[]);
        assert!(shown.starts_with("report: recovered: rest/a1b2c3d4e5/prod"), "{other}: {shown}");
        assert_eq!(shown.matches("report: ").count(), 1, "{other}: {shown}");
    }
}
