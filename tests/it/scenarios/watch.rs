//! The sweep reports in advance what would keep an alarm from leading to a rollback: a healthy world with one fault each.

use std::fmt::Write as _;

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::parameter_names::ParameterNames;
use chrono::TimeDelta;
use serde_json::json;

use super::canary;
use super::components::{WHOLE, bad_everywhere};
use super::doctor::{PEOPLE, healthy};
use crate::support::harness::{run, snapshot};
use crate::support::world::{
    FUNCTION, Facts, Fault, TOPIC, World, alarm, denied, error, may_invoke, prod, release,
};

const OBSERVE: [(&str, &str); 1] = [("MODE", "observe")];
const WHOLE_OBSERVED: [(&str, &str); 2] = [("MODE", "observe"), ("PROTECTED_STAGES", WHOLE)];
const NOTIFY: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", PEOPLE);
const SWEEP: &str = r#"{"command":"sweep"}"#;
const TICKETS: &str = "arn:aws:sns:eu-west-1:123456789012:tickets";

/// Appends the reports of a sweep of the healthy world with this twist, and the subjects that people get.
fn check(shown: &mut String, story: &str, settings: &[(&str, &str)], twist: impl FnOnce(&mut Facts)) {
    let (mut facts, _) = healthy();
    twist(&mut facts);
    let world = World::new(facts);
    let settings: Vec<(&str, &str)> = settings.iter().copied().chain([NOTIFY]).collect();
    let described = run(SWEEP, &world, &settings);
    writeln!(shown, "== {story}").unwrap();
    let wanted = ["report: ", "  next: ", "  warning: "];
    for line in described.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start))) {
        writeln!(shown, "{line}").unwrap();
    }
    for notification in world.facts().notifications {
        writeln!(shown, "notified: {}", notification.subject).unwrap();
    }
    writeln!(shown).unwrap();
}

#[test]
fn a_chain_that_is_broken_is_reported_before_it_is_needed() {
    let mut shown = String::new();
    let names = ParameterNames::under("/apigw-rollback");
    check(&mut shown, "nothing is wrong", &[], |_| {});
    check(&mut shown, "no alarm", &[], |facts| facts.alarms.clear());
    check(&mut shown, "all actions are disabled", &[], |facts| {
        facts.alarms.iter_mut().for_each(|now| now.actions_enabled = false);
    });
    check(&mut shown, "one alarm notifies another topic", &[], |facts| {
        facts.alarms[0].actions = vec![TICKETS.to_owned()];
    });
    check(&mut shown, "all alarms notify another topic", &[], |facts| {
        facts.alarms.iter_mut().for_each(|now| now.actions = vec![TICKETS.to_owned()]);
    });
    let mistaken = |name| alarm(name, State::Ok, &[("ApiName", "ordrs-api"), ("Stage", "prod")]);
    check(&mut shown, "one alarm has a typing error in its API's name", &[], |facts| {
        facts.alarms[0] = mistaken("orders-prod-5xx");
    });
    check(&mut shown, "all alarms have a typing error in the API's name", &[], |facts| {
        facts.alarms = ["orders-prod-5xx", "orders-prod-latency"].map(mistaken).into();
    });
    check(&mut shown, "nobody is subscribed", &[], |facts| {
        facts.topics.get_mut(TOPIC).unwrap().clear();
    });
    check(&mut shown, "the alarm topic is gone", &[], |facts| {
        facts.topics.remove(TOPIC);
    });
    check(&mut shown, "CloudWatch may not use the topic's key", &[], |facts| {
        facts.alarm_topic.key = Some("alias/aws/sns".to_owned());
    });
    check(&mut shown, "CloudWatch may not publish to the topic", &[], |facts| {
        facts.alarm_topic.policy = Some(json!({"Statement": []}).to_string());
    });
    check(&mut shown, "SNS may not invoke the function", &[], |facts| facts.policy = None);
    check(&mut shown, "an alarm that invokes the function still may", &[], |facts| {
        facts.topics.get_mut(TOPIC).unwrap().clear();
        facts.alarms[0].actions = vec![FUNCTION.to_owned()];
        let cloudwatch = may_invoke("lambda.alarms.cloudwatch.amazonaws.com", "arn:aws:cloudwatch:*");
        let sns = may_invoke("sns.amazonaws.com", TOPIC);
        facts.policy = Some(json!({"Statement": [cloudwatch, sns]}).to_string());
    });
    check(&mut shown, "the metrics had no data", &[], |facts| facts.samples = 0.0);
    check(&mut shown, "an alarm is in ALARM for long on a known-good stage", &[], |facts| {
        facts.alarms[0].alarm.state = State::Alarm;
        facts.alarms[0].alarm.changed_at = Some(facts.now - TimeDelta::hours(1));
    });
    check(&mut shown, "an alarm is in ALARM for a moment on a known-good stage", &[], |facts| {
        facts.alarms[0].alarm.state = State::Alarm;
    });
    check(&mut shown, "the stage's policy allows no alarm", &[], |facts| {
        let policy = json!({"schema": 1, "alarm_prefixes": []}).to_string();
        facts.parameters.insert(names.policy(&prod()), vec![policy]);
    });
    check(&mut shown, "the record is damaged", &[], |facts| facts.known_good("v7"));
    check(&mut shown, "the record has a newer schema", &[], |facts| {
        facts.known_good(&json!({"schema": 2}).to_string());
    });
    check(&mut shown, "the record belongs to another stage", &[], |facts| {
        let other = facts.parameters[&names.known_good(&prod())].concat().replace("prod", "test");
        facts.known_good(&other);
    });
    check(&mut shown, "the deployment is gone", &[], |facts| {
        facts.stage().release.deployment = "d2".to_owned();
        facts.stages.remove(&prod().parked());
        facts.deployments.retain(|(_, id)| id != "d1");
    });
    check(&mut shown, "the stage was renamed", &[], |facts| facts.stages.clear());
    snapshot("the sweep reports a broken chain", &shown);
}

#[test]
fn an_alarm_on_another_release_is_no_alarm_on_the_known_good_one() {
    let mut shown = String::new();
    let in_alarm = |facts: &mut Facts| {
        facts.alarms[0].alarm.state = State::Alarm;
        facts.alarms[0].alarm.changed_at = Some(facts.now - TimeDelta::minutes(20));
    };
    check(&mut shown, "an alarm is in ALARM on a release with another stage variable", &OBSERVE, |facts| {
        in_alarm(facts);
        facts.stage().release = release("d1", &[("release", "2")]);
    });
    check(&mut shown, "an alarm is in ALARM on a canary on the known-good release", &OBSERVE, |facts| {
        in_alarm(facts);
        facts.stage().release.canary = Some(canary("10"));
    });
    check(
        &mut shown,
        "an alarm is in ALARM on a release with another version of an alias",
        &WHOLE_OBSERVED,
        |facts| {
            bad_everywhere(facts);
            in_alarm(facts);
            facts.stage().release = release("d1", &[("release", "1")]);
        },
    );
    snapshot("the sweep compares releases and not only deployments", &shown);
}

#[test]
fn what_the_sweep_may_not_read_of_the_chain_is_a_warning() {
    let mut shown = String::new();
    check(&mut shown, "the topic and the policy", &[], |facts| facts.wiring_refused = Some(denied()));
    snapshot("the sweep may not read the chain", &shown);
}

#[test]
fn a_broken_chain_is_notified_once_a_day() {
    let (mut facts, _) = healthy();
    facts.alarms.iter_mut().for_each(|now| now.actions_enabled = false);
    let world = World::new(facts);
    for (minutes, notified) in [(0, 1), (5, 1), (60, 1), (24 * 60, 2)] {
        world.change(|facts| facts.now += TimeDelta::minutes(minutes));
        run(SWEEP, &world, &[NOTIFY]);
        assert_eq!(world.facts().notifications.len(), notified, "{minutes} minutes later");
    }
}

#[test]
fn a_sweep_counts_the_samples_of_some_alarms_and_the_next_ones_of_others() {
    let (mut facts, _) = healthy();
    facts.samples = 0.0;
    let of_stage = [("ApiName", "orders-api"), ("Stage", "prod")];
    facts.alarms = (0..50).map(|nth| alarm(&format!("alarm-{nth:02}"), State::Ok, &of_stage)).collect();
    let world = World::new(facts);
    let mut named = std::collections::BTreeSet::new();
    for _ in 0..50 {
        world.change(|facts| facts.now += TimeDelta::minutes(1));
        let described = run(SWEEP, &world, &[]);
        assert_eq!(described.matches("call: GetMetricData").count(), 20, "{described}");
        let message = described.lines().find(|line| line.contains("alarms-with-faults")).unwrap();
        named.extend(message.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    assert_eq!(named.len(), 50);
}

#[test]
fn a_rollback_by_the_sweep_does_not_wait_for_the_check_of_the_chain() {
    let described = run(SWEEP, &World::new(Facts::bad_release()), &[]);
    let position =
        |call: &str| described.find(&format!("call: {call}")).unwrap_or_else(|| panic!("{described}"));
    assert!(position("UpdateStage") < position("GetPolicy"), "{described}");
}

#[test]
fn an_api_without_room_for_the_parked_stage_is_reported_with_what_to_do() {
    let (mut facts, _) = healthy();
    facts.stages.remove(&prod().parked());
    let full = "Maximum number of Stages for this API has been reached.  Please contact AWS if you need additional Stages.";
    let full = error(Failure::Other, "LimitExceededException", full);
    let world = World::new(facts).fault("CreateStage", 1, Fault::Before(full));
    snapshot("an API without room for the parked stage", &run(SWEEP, &world, &[NOTIFY]));
}
