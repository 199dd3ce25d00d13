//! What AWS refuses, and what can never be recorded.

use apigw_rollback::model::alarm::{State, time};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::release::Canary;
use apigw_rollback::model::report::Outcome;
use apigw_rollback::model::routing::{Routing, RoutingRule};
use apigw_rollback::model::stage::Api;
use serde_json::{Value, json};

use crate::scenarios::components::{WHOLE, bad_everywhere};
use crate::support::harness::{attempt, event, run};
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, World, alarm, denied, lost, prod};

#[test]
fn a_release_that_differs_in_a_hundred_variables_is_put_back_in_several_calls() {
    let world = World::new(world_with_many());
    let shown = run(&event("sns-alarm"), &world, &[]);
    assert!(shown.contains("report: rolled-back"), "{shown}");
    assert_eq!(shown.matches("call: UpdateStage").count(), 2, "{shown}");
    // Between the two calls, the stage already serves the known-good deployment.
    let world = World::new(world_with_many()).fault("UpdateStage", 2, Fault::Before(denied()));
    let shown = run(&event("sns-alarm"), &world, &[]);
    assert!(shown.contains("report: needs-human"), "{shown}");
    assert_eq!(world.facts().stage().release.deployment, "d1", "{shown}");
}

/// After the window of a mute rule, CloudWatch repeats an alarm of any age, so its age refuses nothing.
#[test]
fn an_alarm_from_before_all_time_does_not_end_the_run() {
    for changed_at in ["-262143-01-01T00:00:00.000+0000", "+262142-12-31T23:59:59.000+0000"] {
        let mut alarm: Value = serde_json::from_str(&message_of("sns-alarm")).unwrap();
        alarm["StateChangeTime"] = json!(changed_at);
        alarm["ActionExecutedAfterMuteWindow"] = json!(true);
        let shown = run(&alarm.to_string(), &World::new(Facts::bad_release()), &[]);
        assert!(shown.contains("report: rolled-back"), "{changed_at}: {shown}");
    }
}

/// The incident of the first stage is closed before a read about the second one fails. Nothing is open on the next attempt.
#[test]
fn a_stage_that_recovered_is_reported_although_a_read_about_the_next_one_failed() {
    let stage = |stage: &str| json!({"api": "a1b2c3d4e5", "name": "orders-api", "stage": stage});
    let protected = json!([stage("prod"), stage("test")]).to_string();
    let settings = [("PROTECTED_STAGES", protected.as_str())];
    let rolled_back = World::new(Facts::bad_release());
    attempt(&event("sns-alarm"), &rolled_back, &settings, 1).unwrap();
    rolled_back.change(|facts| facts.alarms[0].alarm.state = State::Ok);
    let mut ok: Value = serde_json::from_str(&message_of("sns-ok")).unwrap();
    ok["AlarmDescription"] = json!("rollback-target: a1b2c3d4e5/prod, a1b2c3d4e5/test");
    for (operation, nth) in [("GetParameters", 3), ("DescribeAlarms", 2)] {
        let world = World::new(rolled_back.facts()).fault(operation, nth, Fault::Before(lost()));
        let first = attempt(&ok.to_string(), &world, &settings, 2).unwrap();
        let outcomes: Vec<Outcome> = first.iter().map(|report| report.outcome).collect();
        assert_eq!(outcomes, [Outcome::Recovered, Outcome::Failed], "{operation}: {:?}", world.take_calls());
        let again = attempt(&ok.to_string(), &World::new(world.facts()), &settings, 3).unwrap();
        assert_eq!((again.len(), again[0].code()), (1, Some("ok")), "{operation}");
    }
}

fn message_of(name: &str) -> String {
    let event: Value = serde_json::from_str(&event(name)).unwrap();
    event["Records"][0]["Sns"]["Message"].as_str().unwrap().to_owned()
}

fn world_with_many() -> Facts {
    let mut facts = Facts::bad_release();
    facts.stage().release.variables.extend((0..100).map(|n| (format!("v{n}"), "2".to_owned())));
    facts
}

/// API Gateway answers 409 if the SDK sends a request again whose answer was lost.
#[test]
fn a_parked_stage_whose_answer_was_lost_is_closed() {
    let world = World::new(Facts::bad_release()).fault("CreateStage", 1, Fault::Twice);
    let shown = run(&event("command-record"), &world, &[]);
    assert!(!shown.contains("not pinned"), "{shown}");
    assert!(shown.contains("stage: rest/a1b2c3d4e5/prod-known-good d2 {} closed"), "{shown}");
}

/// A canary that is the stage's own deployment, as a template makes it, never goes by itself.
#[test]
fn a_release_that_can_never_be_recorded_is_reported_after_its_bake_time() {
    let story = Story::with_known_good().deploy(2).world("the template sets a canary", |facts| {
        let deployment = Some("d2".to_owned());
        let canary = Canary { percent: "10".to_owned(), deployment, overrides: [].into(), uses_cache: false };
        facts.stage().release.canary = Some(canary);
    });
    let story = story.sweep().later(20).sweep();
    assert!(!story.described.contains("attention"), "{}", story.described);
    let story = story.later(11).sweep();
    assert!(story.described.contains("report: attention (not-recordable)"), "{}", story.described);
}

/// A routing rule of the custom domain comes before the mapping, so that moving the mapping would move no requests.
#[test]
fn a_mapping_that_a_routing_rule_overrides_is_not_moved_and_is_reported() {
    let rule = |base_paths: &[&str]| RoutingRule {
        priority: 10,
        base_paths: base_paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    for (routing, held) in [
        (Routing::Rules, true),
        (Routing::RulesThenMappings(vec![rule(&["orders"])]), true),
        (Routing::RulesThenMappings(vec![rule(&["billing"])]), false),
        (Routing::Mappings, false),
    ] {
        let mut facts = Facts::bad_release();
        bad_everywhere(&mut facts);
        facts.routing = [("api.example.com".to_owned(), routing.clone())].into();
        for send in [event("sns-alarm"), event("command-sweep")] {
            let world = World::new(facts.clone());
            let shown = run(&send, &world, &[("PROTECTED_STAGES", WHOLE)]);
            assert_eq!(shown.contains("(part-shadowed)"), held, "{routing:?}: {shown}");
            assert_eq!(shown.contains("report: rolled-back"), !held, "{routing:?}: {shown}");
        }
    }
}

/// A run that dies must not leave the stage's only way back where the next deploy deletes it.
#[test]
fn the_first_release_of_a_stage_is_pinned_before_it_is_recorded() {
    let mut facts = Facts::bad_release();
    facts.parameters.clear();
    let world = World::new(facts).fault("PutParameter", 1, Fault::DieAfter);
    assert!(attempt(&event("command-record"), &world, &[], 1).is_none(), "the run should die");
    let facts = world.facts();
    assert_eq!(facts.recorded(&prod()).len(), 1);
    let parked = &facts.stages[&prod().parked()];
    assert_eq!((parked.release.deployment.as_str(), parked.closed), ("d2", true));
}

/// A write without an answer may have taken effect, and then its release needs the pin. If it did not, the known-good
/// release keeps the pin.
#[test]
fn a_record_whose_answer_was_lost_is_looked_up_before_the_pin_moves() {
    for (fault, outcome, pinned) in [
        (Fault::After(lost()), "report: recorded", Some("d2")),
        (Fault::Before(lost()), "report: failed", None),
        (Fault::Before(denied()), "report: failed", None),
    ] {
        let world = World::new(Facts::bad_release()).fault("PutParameter", 1, fault);
        let shown = run(&event("command-record"), &world, &[]);
        assert!(shown.contains(outcome), "{shown}");
        let facts = world.facts();
        let parked = facts.stages.get(&prod().parked()).map(|parked| parked.release.deployment.as_str());
        assert_eq!(parked, pinned, "{shown}");
    }
}

#[test]
fn an_alarm_whose_name_for_the_api_can_mean_two_does_nothing() {
    let another = |facts: &mut Facts| {
        let name = "orders-api".to_owned();
        facts.apis.push(Api { protocol: Protocol::Rest, id: "b2c3d4e5f6".to_owned(), name });
    };
    Story::with_known_good()
        .world("somebody creates another API of the same name", another)
        .sweep()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .world("somebody deletes that API again", |facts| {
            facts.apis.pop();
        })
        .sweep()
        .ends("another api has the same name");
    Story::with_known_good()
        .world("the API is renamed, and another one takes its name", |facts| {
            facts.apis[0].name = "old-orders".to_owned();
            another(facts);
        })
        .sweep()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("another api took the name");
}

#[test]
fn a_name_that_is_not_ascii_is_compared_as_cloudwatch_spells_it() {
    let story = Story::new().set("PROTECTED_STAGES", "[]").world("the API's name has an umlaut", |facts| {
        facts.apis[0].name = "örders-äpi".to_owned();
        facts.alarms.truncate(1);
        let ours = [("ApiName", "rders-pi"), ("Stage", "prod")];
        let state = facts.alarms[0].alarm.state;
        facts.alarms[0] = alarm("orders-prod-5xx", state, &ours);
        facts.alarms[0].alarm.changed_at = time("2026-11-01T00:00:00Z");
    });
    let story = story.command("record", &json!({})).deploy(2).later(1).alarm_is(State::Alarm);
    story.event_of_first_alarm().sweep().ends("an api name with an umlaut");
}

#[test]
fn an_alarm_that_names_many_foreign_stages_is_told_once_and_asks_api_gateway_nothing() {
    let mut message: Value =
        serde_json::from_str(&event("sns-alarm-directive-two-stages")).expect("the event is JSON");
    let made_up: Vec<String> = (0..67).map(|n| format!("zzzzzzzz{n:02}/prod")).collect();
    let mut alarm: Value =
        serde_json::from_str(message["Records"][0]["Sns"]["Message"].as_str().unwrap()).unwrap();
    alarm["AlarmDescription"] = json!(format!("rollback-target: {}", made_up.join(", ")));
    message["Records"][0]["Sns"]["Message"] = json!(alarm.to_string());
    let world = World::new(Facts::bad_release());
    let shown = run(
        &message.to_string(),
        &world,
        &[("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people")],
    );
    assert_eq!(shown.matches("report: ").count(), 1, "{shown}");
    assert!(
        shown.contains("the alarm names 67 stages that are not protected or not found: API `zzzzzzzz00`"),
        "{shown}"
    );
    assert_eq!(world.facts().notifications.len(), 1, "{shown}");
    assert!(
        !["GetRestApi", "GetApi", "GetStage"].iter().any(|call| shown.contains(&format!("call: {call}"))),
        "{shown}"
    );
}
