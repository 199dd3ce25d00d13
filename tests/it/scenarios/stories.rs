//! Stories over time: the tests control the clock, others change the world, and events arrive or get lost.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::observed::Pin;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::records::{Record, print};
use apigw_rollback::model::stage::StageRef;
use serde_json::json;

use crate::support::story::{START, Story};
use crate::support::world::{Facts, Fault, denied, live, prod, record, release};

#[test]
fn a_release_is_earned_a_bad_one_is_rolled_back_and_a_fix_is_earned() {
    Story::new()
        .sweep()
        .later(10)
        .sweep()
        .later(21)
        .sweep()
        .later(5)
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .event_arrives()
        .event_arrives()
        .later(4)
        .alarm_is(State::Ok)
        .event_arrives()
        .sweep()
        .later(20)
        .deploy(3)
        .later(1)
        .sweep()
        .later(31)
        .sweep()
        .later(10)
        .deploy(4)
        .later(2)
        .alarm_is(State::Alarm)
        .event_arrives()
        .command("history", &json!({}))
        .ends("a release is earned and a bad one is rolled back");
}

#[test]
fn the_sweep_makes_up_for_lost_events() {
    Story::with_known_good()
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .later(4)
        .sweep()
        .later(2)
        .alarm_is(State::Ok)
        .later(3)
        .sweep()
        .ends("the sweep makes up for a lost event");
    Story::with_known_good()
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .event_arrives()
        .later(7)
        .deploy(3)
        .say("the alarm never left ALARM")
        .later(1)
        .sweep()
        .later(5)
        .sweep()
        .ends("a second bad release is judged after a full evaluation");
    Story::with_known_good()
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .later(1)
        .deploy(3)
        .event_arrives()
        .later(1)
        .alarm_is(State::Ok)
        .sweep()
        .ends("a fix before the alarm's event is left alone");
}

#[test]
fn a_release_is_not_proven_without_evidence() {
    Story::new()
        .sweep()
        .world("there is no traffic", |facts| facts.samples = 0.0)
        .later(31)
        .sweep()
        .world("traffic starts", |facts| facts.samples = 12.0)
        .later(5)
        .sweep()
        .ends("no traffic is no evidence");
    Story::new()
        .set("BAKE_NEEDS_DATA", "off")
        .world("no alarm exists", |facts| facts.alarms.clear())
        .sweep()
        .later(31)
        .sweep()
        .ends("evidence is waived by a parameter");
    Story::new()
        .world("no alarm calls the function", |facts| facts.alarms.iter_mut().for_each(|a| a.actions.clear()))
        .sweep()
        .later(31)
        .sweep()
        .ends("no guarding alarm is no evidence");
    Story::with_known_good()
        .deploy(2)
        .sweep()
        .later(5)
        .alarm_is(State::Alarm)
        .later(1)
        .alarm_is(State::Ok)
        .later(31)
        .sweep()
        .command("promote", &json!({}))
        .command("record", &json!({"label": "v2", "reversible": false}))
        .ends("an alarm during the bake blocks the promotion");
    Story::new()
        .sweep()
        .later(5)
        .alarm_is(State::Alarm)
        .sweep()
        .later(1)
        .alarm_is(State::Ok)
        .later(31)
        .sweep()
        .later(31)
        .sweep()
        .ends("without a known-good release the bake starts again");
    Story::new()
        .sweep()
        .command("announce", &json!({"label": "v1.0", "note": "first"}))
        .later(3)
        .command("promote", &json!({}))
        .command("history", &json!({}))
        .ends("an operator may shorten the bake");
    Story::new()
        .sweep()
        .later(20)
        .deploy(2)
        .sweep()
        .later(20)
        .sweep()
        .later(11)
        .sweep()
        .ends("every release bakes separately");
}

#[test]
fn a_promotion_that_races_a_rollback_does_no_lasting_harm() {
    let rolled_back: fn(&mut Facts) = |facts| {
        facts.stage().release = release("d1", &[("release", "1")]);
        facts.stage().updated_at = Some(facts.now);
    };
    let story = Story::with_known_good().deploy(2).sweep().later(31);
    story
        .with_fault("GetStage", 0, Fault::World(rolled_back))
        .sweep()
        .ends("rolled back just before the promotion");

    // The worst case: the record is written after another run rolled the release back and recorded the rollback.
    let story = Story::with_known_good().deploy(2).later(1).alarm_is(State::Alarm).event_arrives();
    story
        .world("a running promotion records the bad release", |facts| {
            let name = ParameterNames::under("/apigw-rollback").known_good(&prod());
            let bad = print(&record(release("d2", &[("release", "2")]))).unwrap();
            facts.parameters.get_mut(&name).unwrap().push(bad);
        })
        .later(10)
        .event_arrives()
        .sweep()
        .deploy(3)
        .later(2)
        .alarm_is(State::Ok)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("a bad release that was recorded is not rolled back to");
}

#[test]
fn a_hold_stops_all_automation_until_it_ends() {
    let hold = |until: &str| json!({"until": until, "reason": "moving the database"});
    Story::with_known_good()
        .command("hold", &hold("2026-11-20T09:00:00Z"))
        .deploy(2)
        .later(3)
        .alarm_is(State::Alarm)
        .event_arrives()
        .sweep()
        .later(40)
        .sweep()
        .ends("a hold expires");
    Story::with_known_good()
        .command("hold", &hold("2026-11-20T12:00:00Z"))
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .command("release-hold", &json!({}))
        .command("release-hold", &json!({}))
        .sweep()
        .ends("a hold is released");
    Story::with_known_good()
        .command("hold", &hold("2026-11-20T07:00:00Z"))
        .command("hold", &hold("9999-12-31T23:59:59Z"))
        .command("hold", &hold("2026-11-20T12:00:00Z"))
        .deploy(2)
        .command("rollback", &json!({"reason": "a hold does not bind an operator"}))
        .ends("a hold does not bind an operator");
    let unreadable = |what: &str, value: &str| {
        let name = ParameterNames::under("/apigw-rollback").known_good(&prod()).replace("known-good", what);
        let value = value.to_owned();
        Story::with_known_good()
            .world(&format!("the parameter `{what}` is {value}"), move |facts| {
                facts.parameters.insert(name, vec![value]);
            })
            .deploy(2)
            .later(2)
            .alarm_is(State::Alarm)
            .event_arrives()
            .sweep()
    };
    unreadable("policy", r#"{"schema":1,"bake_minutes":5}"#).ends("a misspelt policy holds the stage");
    unreadable("hold", "?")
        .command("release-hold", &json!({}))
        .sweep()
        .ends("an unreadable hold holds the stage");
    unreadable("candidate", r#"{"schema":9}"#).ends("a newer candidate holds the stage");
    unreadable("policy", r#"{"schema":1,"mode":"observe"}"#).ends("a policy can make one stage observe only");
}

#[test]
fn the_preconditions_keep_an_alarm_from_undoing_more_than_a_bad_deployment() {
    Story::with_known_good()
        .deploy(2)
        .sweep()
        .later(60 * 25)
        .alarm_is(State::Alarm)
        .event_arrives()
        .sweep()
        .ends("outside the rollback window");
    let mut story = Story::with_known_good();
    for number in 2..=5 {
        story = story
            .deploy(number)
            .later(6)
            .alarm_is(State::Alarm)
            .event_arrives()
            .later(6)
            .alarm_is(State::Ok)
            .event_arrives();
    }
    story.deploy(6).later(6).alarm_is(State::Alarm).sweep().ends("too many rollbacks in a day");
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .later(1)
        .alarm_is(State::Ok)
        .deploy(3)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .later(5)
        .sweep()
        .ends("a second rollback waits for the cooldown");
}

#[test]
fn a_deleted_known_good_release_is_replaced_by_an_older_one() {
    let three = || {
        let story = Story::with_known_good().deploy(2).sweep().later(31).sweep();
        story.deploy(3).sweep().later(31).sweep().quietly()
    };
    let gone = |facts: &mut Facts| facts.deployments.retain(|(_, id)| id != "d3" && id != "d2");
    let another_run = |facts: &mut Facts| {
        facts.stage().release = release("d1", &[("release", "1")]);
        let name = ParameterNames::under("/apigw-rollback").known_good(&prod());
        let versions = facts.parameters.get_mut(&name).unwrap();
        versions.push(versions[0].clone());
    };
    three()
        .deploy(4)
        .world("two deployments are deleted", gone)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .command("history", &json!({}))
        .ends("rolled back to the newest version that still exists");
    three()
        .deploy(4)
        .world("two deployments are deleted", gone)
        .later(1)
        .alarm_is(State::Alarm)
        .with_fault("UpdateStage", 1, Fault::World(another_run))
        .event_arrives()
        .ends("another run goes for an older release first");
    three()
        .deploy(4)
        .world("all other deployments are deleted", |facts| facts.deployments.retain(|(_, id)| id == "d4"))
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .sweep()
        .ends("no recorded version exists");
    three()
        .command("rollback", &json!({"to": 1}))
        .later(10)
        .deploy(4)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("after a manual rollback an alarm rolls back to the same version");
    Story::with_known_good()
        .deploy(2)
        .command("record", &json!({"reversible": false}))
        .deploy(3)
        .world("release 2 is deleted", |facts| facts.deployments.retain(|(_, id)| id != "d2"))
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("the search stops at an irreversible release");
}

#[test]
fn a_release_that_was_rolled_back_stays_in_quarantine_until_an_operator_lifts_it() {
    let fingerprint = release("d2", &[("release", "2")]).fingerprint();
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .alarm_is(State::Ok)
        .event_arrives()
        .later(10)
        .deploy(2)
        .sweep()
        .later(31)
        .sweep()
        .command("promote", &json!({}))
        .command("record", &json!({}))
        .command("lift", &json!({"incident": "nothing"}))
        .command("lift", &json!({"incident": "0123456789ab"}))
        .command("lift", &json!({"incident": fingerprint, "reason": "the database was the cause"}))
        .sweep()
        .ends("an operator lifts the quarantine");
}

#[test]
fn the_known_good_release_is_kept_and_problems_with_it_are_reported_in_advance() {
    Story::with_known_good()
        .world("an operator deletes the parked stage", |facts| {
            facts.stages.remove(&prod().parked());
        })
        .sweep()
        .sweep()
        .ends("a lost pin is recreated");
    Story::with_known_good()
        .world("another team's stage has the parked stage's name", |facts| {
            facts.stages.insert(prod().parked(), live(release("d7", &[]), START));
        })
        .sweep()
        .ends("a pin that cannot be recreated is reported");
    Story::new()
        .world("another function protects the stage", |facts| {
            let mut parked = live(release("d1", &[]), START);
            parked.description = Pin::description(&prod(), "/other");
            facts.stages.insert(prod().parked(), parked);
        })
        .later(31)
        .sweep()
        .command("record", &json!({}))
        .ends("a stage of another function is left alone");
    // Another sweep records a release after this one has read the records.
    let promoted: fn(&mut Facts) = |facts| {
        let name = ParameterNames::under("/apigw-rollback").known_good(&prod());
        let newer = print(&record(release("d2", &[("release", "2")]))).unwrap();
        facts.parameters.get_mut(&name).unwrap().push(newer);
        facts.stages.get_mut(&prod().parked()).unwrap().release = release("d2", &[]);
    };
    Story::with_known_good()
        .deploy(2)
        .with_fault("GetStages", 1, Fault::World(promoted))
        .sweep()
        .ends("a newer pin is left alone");
    Story::with_known_good()
        .set("PIN", "off")
        .world("the known-good deployment is deleted", |facts| {
            facts.stages.remove(&prod().parked());
            facts.deployments.retain(|(_, id)| id != "d1");
            facts.stage().release.deployment = "d2".to_owned();
        })
        .sweep()
        .ends("a lost deployment is reported before it is needed");
    Story::with_known_good()
        .world("the stage is deleted", |facts| {
            facts.stages.remove(&prod());
        })
        .sweep()
        .ends("a lost stage is reported");
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .later(10)
        .sweep()
        .later(10)
        .sweep()
        .ends("an alarm that stays after a rollback is reported");
    let story = Story::with_known_good().deploy(2).sweep();
    let parked = story.world.facts().stages.keys().filter(|stage| stage.is_parked()).count();
    assert_eq!(parked, 1, "a parked stage is not protected, so the sweep creates none for it");
}

#[test]
fn the_recovery_of_each_alarm_of_an_incident_is_recorded_once() {
    let quiet = |facts: &mut Facts| {
        let now = facts.now;
        facts
            .alarms
            .iter_mut()
            .for_each(|one| (one.alarm.state, one.alarm.changed_at) = (State::Ok, Some(now)));
    };
    Story::with_known_good()
        .deploy(2)
        .later(1)
        .alarm_is(State::Alarm)
        .event_arrives()
        .later(10)
        .deploy(3)
        .world("the other alarm fires too", |facts| {
            facts.alarms[1].alarm.state = State::Alarm;
            facts.alarms[0].alarm.state = State::InsufficientData;
            facts.alarms[1].alarm.changed_at = Some(facts.now);
        })
        .later(1)
        .sweep()
        .world("both alarms are OK", quiet)
        .later(5)
        .sweep()
        .sweep()
        .ends("two alarms recover in one sweep");
}

#[test]
fn two_sweeps_at_once_or_a_sweep_that_fails_halfway_do_no_harm() {
    let story = Story::new().sweep().later(31).sweep();
    let without_sweep_time = |story: &Story| {
        let mut parameters = story.world.facts().parameters;
        parameters.remove("/apigw-rollback/sweep");
        parameters
    };
    let (first, again) = (without_sweep_time(&story), story.sweep());
    assert_eq!(first, without_sweep_time(&again), "a second sweep changes something");

    let story = Story::new().sweep().later(31).with_fault("PutParameter", 2, Fault::Before(denied()));
    let story = story.quietly().sweep().later(5).sweep();
    assert_eq!(story.stage(), "d1");
    story.ends("the next sweep finishes one that failed halfway");
    let unreachable =
        CloudError { code: "ThrottlingException".to_owned(), failure: Failure::Other, ..denied() };
    let story = Story::new().with_fault("GetParametersByPath", 1, Fault::Before(unreachable));
    story.sweep().ends("a sweep that cannot read fails as a whole");

    let other = StageRef::rest("b1b2c3d4e5", "prod");
    let known = Record { stage: other.clone(), ..record(release("d1", &[])) };
    let with_another_api = |fault| {
        Story::with_known_good()
            .world("another API has a record under the same prefix", |facts| {
                let name = ParameterNames::under("/apigw-rollback").known_good(&other);
                facts.parameters.insert(name, vec![print(&known).unwrap()]);
            })
            .deploy(2)
            .later(1)
            .alarm_is(State::Alarm)
            .with_fault("GetStages", 2, fault)
            .sweep()
    };
    let throttled = CloudError { code: "TooManyRequestsException".to_owned(), ..denied() };
    with_another_api(Fault::Before(throttled))
        .ends("an API that cannot be read does not stop the sweep of the others");
    with_another_api(Fault::Before(denied())).ends("records of another function are skipped");
    with_another_api(Fault::World(|_| {})).ends("records outlive their stage silently");
}
