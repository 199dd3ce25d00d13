//! The doctor names every alarm that says less than its owner may think, through its `check()`.

use apigw_rollback::model::alarm::{State, Watches};
use apigw_rollback::model::alarm_setup::{AlarmSetup, Comparison, Operator};
use chrono::TimeDelta;

use super::canary;
use super::doctor::{check, described, found, healthy};
use crate::support::harness::snapshot;
use crate::support::world::{World, alarm, release};

type Change = fn(&mut AlarmSetup);

#[test]
fn every_alarm_that_says_less_than_its_owner_may_think_is_named() {
    let mut shown = String::new();
    let other = "arn:aws:sns:eu-west-1:123456789012:tickets".to_owned();
    check(&mut shown, "one of two alarms notifies another topic", &[], |facts, _| {
        facts.alarms[1].actions = vec![other.clone()];
    });
    check(&mut shown, "it says that it must not act", &[], |facts, _| {
        facts.alarms[1].actions = vec![other.clone()];
        facts.alarms[1].alarm.description = Some("Pages the team. rollback-target: none".to_owned());
    });
    check(&mut shown, "one of two alarms has its actions disabled", &[], |facts, _| {
        facts.alarms[0].actions_enabled = false;
    });
    check(&mut shown, "one of two alarms has a typing error in its API's name", &[], |facts, _| {
        let dimensions = [("ApiName", "ordrs-api"), ("Stage", "prod")];
        facts.alarms[0] = alarm("orders-prod-5xx", State::Ok, &dimensions);
    });
    check(&mut shown, "all alarms have a typing error in the API's name", &[], |facts, _| {
        let dimensions = [("ApiName", "ordrs-api"), ("Stage", "prod")];
        let mistaken = |name| alarm(name, State::Ok, &dimensions);
        facts.alarms = ["orders-prod-5xx", "orders-prod-latency"].map(mistaken).into();
    });
    check(&mut shown, "an alarm is in ALARM on a known-good stage", &[], |facts, _| {
        facts.alarms[0].alarm.state = State::Alarm;
    });
    check(&mut shown, "an alarm is in ALARM on a release with another stage variable", &[], |facts, _| {
        facts.alarms[0].alarm.state = State::Alarm;
        facts.stage().release = release("d1", &[("release", "2")]);
    });
    check(&mut shown, "an alarm is in ALARM on a canary on the known-good release", &[], |facts, _| {
        facts.alarms[0].alarm.state = State::Alarm;
        facts.stage().release.canary = Some(canary("10"));
    });
    let set: [(&str, Change); 9] = [
        ("missing data counts as breaching", |setup| setup.missing_breaches = true),
        ("no OK action", |setup| setup.ok_actions.clear()),
        ("it takes seven days", |setup| setup.takes = Some(TimeDelta::days(7))),
        ("it takes ninety minutes", |setup| setup.takes = Some(TimeDelta::minutes(90))),
        ("it takes an hour", |setup| setup.takes = Some(TimeDelta::hours(1))),
        ("a share cannot be above 1", |setup| setup.compares = compares("Average", Operator::Above, 1.0)),
        ("a share is above 0.05", |setup| setup.compares = compares("Average", Operator::Above, 0.05)),
        ("it fires when few requests fail", |setup| setup.compares = compares("Sum", Operator::Below, 5.0)),
        ("it counts requests", |setup| setup.compares = compares("SampleCount", Operator::AtLeast, 5.0)),
    ];
    for (story, change) in set {
        check(&mut shown, story, &[], |facts, _| change(&mut facts.alarms[0].setup));
    }
    check(&mut shown, "no alarm can fire", &[], |facts, _| {
        for now in &mut facts.alarms {
            now.setup.compares = compares("p99", Operator::AtLeast, 5.0);
        }
    });
    check(&mut shown, "an alarm below a composite alarm cannot fire", &[], |facts, _| {
        let mut above = alarm("orders-prod", State::Ok, &[]);
        let below = facts.alarms.iter().map(|now| now.alarm.name.clone()).collect();
        above.alarm.watches = Watches::Alarms(below);
        facts.alarms.iter_mut().for_each(|now| now.actions.clear());
        facts.alarms[0].setup.compares = compares("Average", Operator::AtLeast, 1.0);
        facts.alarms.push(above);
    });
    check(
        &mut shown,
        "a rule of EventBridge delivers the alarms",
        &[("UNWIRED_ALARM_PREFIXES", "orders-")],
        |facts, _| facts.alarms.iter_mut().for_each(|now| now.actions.clear()),
    );
    snapshot("doctor names every alarm with a fault", &shown);
}

#[test]
fn alarms_that_only_a_rule_delivers_are_not_said_to_be_checked() {
    let (mut facts, around) = healthy();
    facts.alarms.iter_mut().for_each(|now| now.actions.clear());
    let settings = [("UNWIRED_ALARM_PREFIXES", "orders-")];
    let shown = described(&found(&World::new(facts), &around, &settings), true);
    let line = shown.lines().find(|line| line.starts_with("ok alarms")).unwrap_or_default();
    assert!(line.contains("only alarms that a rule or a queue delivers watch the stage"), "{shown}");
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
fn compares(statistic: &str, operator: Operator, threshold: f64) -> Option<Comparison> {
    Some(Comparison { statistic: statistic.to_owned(), operator, threshold })
}
