//! Alarms that nobody wired to the function or whose name is not allowed: they neither act, nor prove, nor prevent a promotion.

use apigw_rollback::model::alarm::{AlarmNow, State, Watches};
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{SCHEMA, print};
use apigw_rollback::model::report::Outcome;
use apigw_rollback::model::stage::Api;

use crate::support::harness::{attempt, config, event};
use crate::support::story::Story;
use crate::support::world::{Facts, World, prod};

const TICKETS: &str = "arn:aws:sns:eu-west-1:123456789012:tickets";
const OTHER_METRIC: &str = "Business/Orders";

fn policy(facts: &mut Facts, alarm_prefixes: &[&str]) {
    let alarm_prefixes = Some(alarm_prefixes.iter().map(|prefix| (*prefix).to_owned()).collect());
    let policy = PolicyOverrides { schema: SCHEMA, alarm_prefixes, ..PolicyOverrides::default() };
    let name = config(&[]).names.policy(&prod());
    facts.parameters.insert(name, vec![print(&policy).unwrap()]);
}

/// Makes an alarm watch a metric that anybody can write, and name the stage by a directive.
fn on_another_metric(now: &mut AlarmNow) {
    now.alarm.description = Some("rollback-target: a1b2c3d4e5/prod".to_owned());
    let Watches::Metrics(metrics) = &mut now.alarm.watches else { unreachable!() };
    metrics[0].namespace = OTHER_METRIC.to_owned();
}

#[test]
fn an_alarm_acts_only_if_cloudwatch_shows_that_it_is_wired_and_its_name_is_allowed() {
    let open = ("UNWIRED_ALARM_PREFIXES", "web-, orders-");
    let other = ("UNWIRED_ALARM_PREFIXES", "web-");
    for (case, wired, settings, prefixes, expected) in [
        ("wired", true, vec![], None, "rolled-back"),
        ("a ticket topic is its only action", false, vec![], None, "alarm-not-wired"),
        ("a queue may deliver it", false, vec![open], None, "rolled-back"),
        ("a queue may deliver others", false, vec![other], None, "alarm-not-wired"),
        ("the settings allow it", true, vec![("ALARM_PREFIXES", "orders-")], None, "rolled-back"),
        ("the settings allow others", true, vec![("ALARM_PREFIXES", "web-")], None, "alarm-not-allowed"),
        ("the policy allows it", true, vec![], Some(vec!["orders-prod-"]), "rolled-back"),
        ("the policy allows others", true, vec![], Some(vec!["web-"]), "alarm-not-allowed"),
        (
            "the policy cannot widen",
            true,
            vec![("ALARM_PREFIXES", "web-")],
            Some(vec!["orders-"]),
            "alarm-not-allowed",
        ),
        ("the policy does not wire", false, vec![], Some(vec!["orders-"]), "alarm-not-wired"),
    ] {
        for name in ["sns-alarm", "eventbridge-alarm"] {
            let mut facts = Facts::bad_release();
            if !wired {
                facts.alarms.iter_mut().for_each(|now| now.actions = vec![TICKETS.to_owned()]);
            }
            if let Some(prefixes) = &prefixes {
                policy(&mut facts, prefixes);
            }
            let world = World::new(facts);
            let reports = attempt(&event(name), &world, &settings, 1).unwrap();
            let report = &reports[0];
            let shown = report.code().unwrap_or_else(|| report.outcome.word());
            assert_eq!(shown, expected, "{case}, {name}: {}", report.message);
            assert_eq!(world.facts().changes.is_empty(), expected != "rolled-back", "{case}, {name}");
        }
    }
}

#[test]
fn an_alarm_that_may_not_act_neither_proves_nor_prevents_a_promotion() {
    Story::new()
        .set("ALARM_PREFIXES", "orders-prod-5xx")
        .world("an alarm of another name is in ALARM all the time", |facts| {
            let mut theirs = facts.alarms[0].clone();
            theirs.alarm.name = "evil".to_owned();
            theirs.alarm.state = State::Alarm;
            facts.alarms.push(theirs);
        })
        .sweep()
        .later(31)
        .sweep()
        .ends("an alarm of another name does not prevent a promotion");
    let proves = |case: &str, settings: &[(&'static str, &'static str)], twist: fn(&mut Facts), expected| {
        let mut story = Story::new();
        for (name, value) in settings {
            story = story.set(name, value);
        }
        let story = story.world("the alarms are these", twist).sweep().later(31).sweep();
        let recorded = story.world.facts().recorded(&prod()).len();
        assert_eq!(recorded > 0, expected, "{case}: {}", story.described);
    };
    proves("the stage's own metrics", &[], |_| {}, true);
    proves("alarms of other names", &[("ALARM_PREFIXES", "web-")], |_| {}, false);
    let quiet = |facts: &mut Facts| facts.alarms.iter_mut().for_each(on_another_metric);
    proves("alarms on another metric while the stage is used", &[], quiet, true);
    let unused = |facts: &mut Facts| {
        facts.alarms.iter_mut().for_each(on_another_metric);
        facts.samples = 0.0;
    };
    proves("alarms on another metric while nobody uses the stage", &[], unused, false);
    let contested = |facts: &mut Facts| {
        facts.apis.push(Api { protocol: Protocol::Rest, id: "b2".to_owned(), name: "orders-api".to_owned() });
    };
    proves("a name that can mean another API", &[], contested, false);
}

#[test]
fn a_composite_alarm_lends_its_actions_but_not_its_name() {
    for (leaf, expected) in [("orders-prod-5xx", "rolled-back"), ("db-cpu", "alarm-not-allowed")] {
        let mut facts = Facts::bad_release();
        let mut below = facts.alarms.remove(0);
        below.alarm.name = leaf.to_owned();
        below.actions.clear();
        on_another_metric(&mut below);
        let mut composite = facts.alarms.remove(0);
        composite.alarm.name = "orders-prod".to_owned();
        composite.alarm.state = State::Alarm;
        composite.alarm.watches = Watches::Alarms(vec![leaf.to_owned()]);
        facts.alarms = vec![composite, below];
        let world = World::new(facts);
        let reports =
            attempt(&event("direct-composite"), &world, &[("ALARM_PREFIXES", "orders-prod")], 1).unwrap();
        let shown = reports[0].code().unwrap_or_else(|| reports[0].outcome.word());
        assert_eq!(shown, expected, "{leaf}: {}", reports[0].message);
    }
}

#[test]
fn alarms_of_another_source_do_not_use_up_what_protects_the_users() {
    let theirs = |facts: &mut Facts| {
        for number in 1..=4 {
            let mut alarm = facts.alarms[0].clone();
            alarm.alarm.name = format!("theirs-{number}");
            alarm.alarm.arn = None;
            on_another_metric(&mut alarm);
            facts.alarms.push(alarm);
        }
    };
    let mut story = Story::with_known_good().world("alarms on another metric name the stage", theirs);
    for number in 1..=4_u8 {
        story = story.deploy(number + 1).later(30);
        let at = story.now();
        story = story.world("one of them fires", |facts| {
            let alarm =
                facts.alarms.iter_mut().find(|now| now.alarm.name == format!("theirs-{number}")).unwrap();
            (alarm.alarm.state, alarm.alarm.changed_at) = (State::Alarm, Some(at));
        });
        story = story.sweep();
    }
    story
        .world("they are over", |facts| {
            facts.alarms.iter_mut().for_each(|now| now.alarm.state = State::Ok);
        })
        .deploy(6)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("alarms of another source do not hold the one of the users");
}

#[test]
fn the_sweep_tries_the_alarm_of_the_users_after_one_whose_budget_is_used_up() {
    let story = Story::with_known_good().set("COOLDOWN_SECONDS", "86400").world(
        "another alarm names the stage",
        |facts| {
            let mut first = facts.alarms[0].clone();
            first.alarm.name = "a-theirs".to_owned();
            on_another_metric(&mut first);
            facts.alarms.insert(0, first);
        },
    );
    let fires = |index: usize| {
        move |facts: &mut Facts| {
            let now = facts.now;
            (facts.alarms[index].alarm.state, facts.alarms[index].alarm.changed_at) =
                (State::Alarm, Some(now));
        }
    };
    let story = story.deploy(2).later(1).world("it fires", fires(0)).sweep().deploy(3).later(1);
    let story = story.world("both fire", fires(0)).world("both fire", fires(1)).sweep();
    assert_eq!(story.stage(), "d1", "{}", story.described);
    let rolled_back = story.described.matches(Outcome::RolledBack.word()).count();
    assert!(rolled_back >= 2, "{}", story.described);
}
