//! Rollouts from their beginning to their end, and what others do meanwhile.
//!
//! Release 1 is known-good and serves as deployment d1; d2 is the new one. The access log counts the requests of each.

mod between;
mod told;

use apigw_rollback::model::access_log::{self, AccessLog};
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::reason::stamp;
use apigw_rollback::model::release::Canary;
use apigw_rollback::model::traffic::Bucket;
use apigw_rollback::notify::metrics;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::harness;
use crate::support::story::Story;
use crate::support::world::{API, Facts, Fault, denied, error};

/// The parameter with the record of the stage's rollout.
pub(crate) const RECORD: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/rollout";

/// A stage whose first release is known-good and whose access log counts by deployment.
pub(crate) fn logged() -> Story {
    let format = access_log::format(Protocol::Rest);
    let log = AccessLog { destination: String::new(), format };
    Story::with_known_good()
        .world("", |facts| facts.stage().access_log = Some(log))
        .set("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people")
        .quietly()
}

pub(crate) fn terms() -> Value {
    json!({"steps": [10, 50, 100], "bake_seconds": 300, "min_requests": 100})
}

pub(crate) fn start() -> Value {
    let mut command = terms();
    command["deployment"] = json!("d2");
    command["label"] = json!("v2");
    command
}

pub(crate) trait Rolls: Sized {
    /// Lets so many minutes pass, in which d2 answers so many requests every ten seconds, of which so many fail, and d1 a
    /// hundred, of which none does.
    fn served(self, minutes: i64, requests: u64, failed: u64) -> Self;
    /// The schedule for rollouts runs.
    fn advance(self) -> Self;
}

impl Rolls for Story {
    fn served(self, minutes: i64, requests: u64, failed: u64) -> Self {
        self.world.change(|facts| serve(facts, minutes, requests, failed));
        self.later(minutes)
    }

    fn advance(self) -> Self {
        self.send("the schedule moves rollouts on", r#"{"command":"advance"}"#)
    }
}

pub(crate) fn serve(facts: &mut Facts, minutes: i64, requests: u64, failed: u64) {
    let now = facts.now;
    for (deployment, requests, failed) in [("d1", 100, 0), ("d2", requests, failed)] {
        let buckets = (0..minutes * 6).map(|nth| Bucket {
            begins: now + TimeDelta::seconds(10 * nth),
            requests,
            failed,
            slow: 0,
        });
        facts.requests.entry(deployment.to_owned()).or_default().extend(buckets);
    }
}

pub(crate) fn canary(facts: &mut Facts, percent: &str) {
    let now = facts.now;
    let overrides = [("release".to_owned(), "2".to_owned())].into();
    facts.stage().release.canary = Some(Canary {
        deployment: Some("d2".to_owned()),
        percent: percent.to_owned(),
        overrides,
        uses_cache: false,
    });
    facts.stage().updated_at = Some(now);
}

#[test]
fn a_good_release_is_promoted_in_steps_and_bakes() {
    logged()
        .command("rollout-start", &start())
        .served(4, 12, 0)
        .advance()
        .served(2, 12, 0)
        .advance()
        .served(6, 60, 0)
        .advance()
        .served(6, 120, 0)
        .advance()
        .command("rollout-status", &json!({}))
        .sweep()
        .later(31)
        .sweep()
        .ends("a good release is rolled out");
}

/// A graph repeats the last share until the next one, so every end needs one.
#[test]
fn every_move_publishes_the_share_of_the_rollout() {
    let advance = r#"{"command":"advance"}"#.to_owned();
    let command = |verb: &str, more: Value| {
        let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}});
        command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        command.to_string()
    };
    let begin = || (0, 0, command("rollout-start", start()));
    for (case, events, expected) in [
        (
            "a good release",
            vec![begin(), (6, 0, advance.clone()), (6, 0, advance.clone()), (6, 0, advance.clone())],
            vec![10.0, 50.0, 100.0, 100.0],
        ),
        ("a bad release", vec![begin(), (1, 30, advance.clone())], vec![10.0, 0.0]),
        ("an abort", vec![begin(), (1, 0, command("rollout-abort", json!({})))], vec![10.0, 0.0]),
        (
            "a pause",
            vec![
                begin(),
                (1, 0, command("rollout-pause", json!({}))),
                (1, 0, command("rollout-resume", json!({}))),
            ],
            vec![10.0, 10.0],
        ),
        ("a step that waits", vec![begin(), (1, 0, advance)], vec![10.0]),
    ] {
        let mut story = logged();
        let mut shares = Vec::new();
        for (minutes, failed, event) in events {
            story = story.served(minutes, 30, failed);
            let reports = harness::reports(&event, &story.world);
            shares.extend(reports.iter().filter_map(|report| {
                let line = metrics::report_metrics(report, "apigw-rollback");
                let is_by_stage = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().iter().any(|one| {
                    one["Dimensions"] == json!([["Function", "Stage"]])
                        && one["Metrics"] == json!([{"Name": "RolloutShare", "Unit": "Percent"}])
                });
                line["RolloutShare"].as_f64().filter(|_| is_by_stage)
            }));
        }
        assert_eq!(shares, expected, "{case}");
    }
}

/// Lambda's clock has nanoseconds, which nobody wants to read.
#[test]
fn people_are_told_times_to_the_millisecond() {
    for (time, expected) in [
        ("2026-11-27T04:41:27.302687900Z", "2026-11-27T04:41:27.302Z"),
        ("2026-11-27T04:41:27.000000001Z", "2026-11-27T04:41:27Z"),
        ("2026-11-27T04:41:27Z", "2026-11-27T04:41:27Z"),
    ] {
        assert_eq!(stamp(time.parse().unwrap()), expected);
    }
}

#[test]
fn a_bad_release_is_taken_off_by_its_requests() {
    logged()
        .command("rollout-start", &start())
        .served(1, 12, 12)
        .advance()
        .advance()
        .command("rollout-start", &start())
        .ends("a bad release is taken off by its requests");
}

#[test]
fn the_sweep_moves_a_rollout_on_as_well() {
    logged()
        .command("rollout-start", &start())
        .served(6, 12, 0)
        .sweep()
        .served(1, 60, 60)
        .sweep()
        .ends("the sweep moves a rollout on");
}

#[test]
fn an_alarm_ends_a_rollout_and_people_are_told_once() {
    logged()
        .command("rollout-start", &start())
        .served(6, 12, 0)
        .advance()
        .served(2, 1, 0)
        .alarm_is(State::Alarm)
        .event_arrives()
        .advance()
        .alarm_is(State::Ok)
        .event_arrives()
        .ends("an alarm ends a rollout");
}

/// Only a step of the rollout changed the stage, so a breach that began in the step before is the canary's.
#[test]
fn a_step_of_a_rollout_is_no_new_release_to_an_alarm() {
    logged()
        .command("rollout-start", &start())
        .served(6, 12, 0)
        .advance()
        .alarm_is(State::Alarm)
        .world("the alarm fired a minute before the step", |facts| {
            let before = facts.now - TimeDelta::minutes(1);
            facts.alarms[0].alarm.changed_at = Some(before);
        })
        .event_arrives()
        .ends("a step of a rollout is no fix");
}

#[test]
fn traffic_does_not_move_without_evidence() {
    logged()
        .command("rollout-start", &start())
        .served(6, 2, 0)
        .advance()
        .advance()
        .world("the access log loses its format", |facts| facts.stage().access_log = None)
        .served(6, 20, 0)
        .advance()
        .ends("traffic does not move without evidence");
}

#[test]
fn an_operator_pauses_resumes_skips_and_aborts() {
    logged()
        .command("rollout-resume", &json!({}))
        .command("rollout-start", &start())
        .command("rollout-start", &start())
        .command("record", &json!({}))
        .command("rollout-resume", &json!({}))
        .command("rollout-pause", &json!({"reason": "lunch"}))
        .command("rollout-pause", &json!({}))
        .served(6, 12, 0)
        .advance()
        .command("rollout-resume", &json!({}))
        .served(6, 12, 0)
        .advance()
        .command("rollout-abort", &json!({}))
        .command("rollout-abort", &json!({}))
        .command("rollout-start", &start())
        .command("rollout-promote", &json!({}))
        .ends("an operator pauses, resumes, skips and aborts");
}

#[test]
fn others_are_not_fought() {
    let begun = || logged().command("rollout-start", &start()).served(6, 12, 0).quietly();
    begun()
        .world("somebody sets the canary to 60 %", |facts| canary(facts, "60"))
        .world("with other variables", |facts| {
            facts.stage().release.canary.as_mut().unwrap().overrides.clear();
        })
        .advance()
        .advance()
        .command("rollout-resume", &json!({}))
        .advance()
        .ends("another share pauses a rollout");
    begun()
        .world("somebody deploys without the canary", |facts| {
            facts.stage().release.canary = None;
            facts.stage().release.deployment = "d5".to_owned();
        })
        .advance()
        .advance()
        .ends("a deploy ends a rollout");
    begun()
        .world("somebody takes the canary off", |facts| facts.stage().release.canary = None)
        .advance()
        .ends("a canary that is taken off ends a rollout");
    begun()
        .command("rollback", &json!({"reason": "by hand"}))
        .advance()
        .ends("a rollback by hand ends a rollout");
    let until = json!({"until": "2026-11-20T12:00:00Z", "reason": "load test"});
    begun()
        .command("hold", &until)
        .advance()
        .command("release-hold", &json!({}))
        .advance()
        .ends("a hold keeps a rollout where it is");
}

fn policy(facts: &mut Facts) {
    let policy = json!({"schema": 1, "rollout": terms()}).to_string();
    facts.parameters.insert("/apigw-rollback/stages/a1b2c3d4e5/prod/policy".to_owned(), vec![policy]);
}

#[test]
fn a_policy_adopts_the_canary_of_a_pipeline() {
    logged()
        .world("the policy asks for rollouts", policy)
        .world("a pipeline makes a canary with 25 %", |facts| canary(facts, "25"))
        .sweep()
        .served(6, 30, 0)
        .advance()
        .ends("a policy adopts a canary");
    logged()
        .world("the policy asks for rollouts", policy)
        .world("the access log counts nothing", |facts| facts.stage().access_log = None)
        .world("a pipeline makes a canary", |facts| canary(facts, "0"))
        .sweep()
        .ends("a policy cannot adopt a canary");
}

#[test]
fn a_rollout_that_cannot_begin_says_why() {
    let with = |more: &Value| {
        let mut command = start();
        for (field, value) in more.as_object().unwrap() {
            command[field] = value.clone();
        }
        command
    };
    logged()
        .command("rollout-start", &with(&json!({"deployment": "d99"})))
        .command("rollout-start", &with(&json!({"deployment": "d1"})))
        .command("rollout-start", &with(&json!({"deployment": null})))
        .command("rollout-start", &with(&json!({"steps": [50, 10]})))
        .command("rollout-start", &with(&json!({"steps": [0.001]})))
        .command("rollout-start", &with(&json!({"min_requests": 0})))
        .command("rollout-start", &json!({"deployment": "d2"}))
        .deploy(3)
        .command("rollout-start", &start())
        .ends("a rollout that cannot begin");
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_keeps_no_alarm_from_acting() {
    logged()
        .deploy(2)
        .sweep()
        .quietly()
        .world("the record of the rollout is damaged", |facts| {
            let name = "/apigw-rollback/stages/a1b2c3d4e5/prod/rollout".to_owned();
            facts.parameters.insert(name, vec!["{".to_owned()]);
        })
        .sweep()
        .command("rollout-status", &json!({}))
        .command("rollout-abort", &json!({}))
        .later(2)
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("a damaged record of a rollout");
}

#[test]
fn a_rollout_that_is_paused_before_its_first_step_can_go_on() {
    let until = json!({"until": "2026-11-20T12:00:00Z"});
    logged()
        .command("rollout-start", &start())
        .command("rollout-abort", &json!({}))
        .command("rollout-start", &start())
        .quietly()
        .world("the first step could not be made yet", |facts| {
            facts.stage().release.canary = None;
            let versions = facts.parameters.get_mut(RECORD).unwrap();
            let first = versions.iter().rev().find(|one| one.contains("moving")).unwrap().clone();
            versions.push(first);
        })
        .command("hold", &until)
        .command("rollout-pause", &json!({"reason": "lunch"}))
        .advance()
        .command("rollout-promote", &json!({}))
        .command("release-hold", &json!({}))
        .advance()
        .command("rollout-resume", &json!({}))
        .ends("a rollout paused before its first step");
}

/// API Gateway may answer a read with what the stage served before the step.
#[test]
fn an_old_look_after_a_step_pauses_nothing() {
    let shows = |facts: &mut Facts, share: &str| {
        facts.stage().release.canary.as_mut().unwrap().percent = share.to_owned();
    };
    logged()
        .command("rollout-start", &start())
        .served(6, 12, 0)
        .advance()
        .world("a read shows the stage as it was before the step", |facts| shows(facts, "10"))
        .advance()
        .world("and then as it is", |facts| shows(facts, "50"))
        .advance()
        .ends("an old look after a step");
}

/// Writes what the record says once an operator has aborted the rollout.
fn is_aborted(facts: &mut Facts) {
    let versions = facts.parameters.get_mut(RECORD).unwrap();
    let mut record: Value = serde_json::from_str(versions.last().unwrap()).unwrap();
    record["state"] = json!({"is": "aborted", "why": "an operator removed the canary"});
    record["since"] = json!(facts.now);
    versions.push(record.to_string());
}

#[test]
fn whoever_writes_the_record_of_a_rollout_first_wins() {
    logged()
        .with_fault(
            "PutParameter",
            1,
            Fault::World(|facts| {
                if facts.stage().release.canary.is_some() {
                    is_aborted(facts);
                    facts.stage().release.canary = None;
                }
            }),
        )
        .command("rollout-start", &start())
        .advance()
        .ends("the record of an abort stays");
}

/// The abort comes after the look and before the first step, when the stage is the same before and after it.
#[test]
fn an_abort_outlasts_the_first_step_of_a_run_that_looked_before_it() {
    logged()
        .with_fault("UpdateStage", 1, Fault::World(is_aborted))
        .command("rollout-start", &start())
        .advance()
        .ends("an abort before the first step");
}

/// The run dies before its next look, so nobody takes the abort up again.
#[test]
fn people_are_told_of_a_canary_that_an_ended_rollout_left() {
    logged()
        .command("rollout-start", &start())
        .quietly()
        .world("the abort came just before the step of a run that died", is_aborted)
        .sweep()
        .later(5)
        .world("the policy asks for rollouts, but the operator wanted none of this release", policy)
        .sweep()
        .world("an operator removes the canary", |facts| facts.stage().release.canary = None)
        .sweep()
        .ends("the canary of an ended rollout");
}

#[test]
fn a_refused_step_pauses_a_rollout() {
    let refused = error(Failure::Refused, "BadRequestException", "Invalid percentage");
    logged()
        .with_fault("UpdateStage", 0, Fault::Before(refused))
        .command("rollout-start", &start())
        .ends("a refused step pauses a rollout");
}

/// Two functions keep their records under the same prefix.
#[test]
fn the_rollout_of_another_function_is_no_failure_of_this_one() {
    let shared = || {
        logged().command("rollout-start", &start()).quietly().world("", |facts| {
            let theirs = |text: &String| text.replace(API, "b2c3d4e5f6");
            let copied = facts.parameters.iter().filter(|(name, _)| name.contains(API));
            let copied = copied.map(|(name, versions)| (theirs(name), versions.iter().map(theirs).collect()));
            let copied: Vec<(String, Vec<String>)> = copied.collect();
            facts.parameters.extend(copied);
        })
    };
    for operation in ["GetParameters", "GetStage"] {
        for (of, outcomes) in [("b2c3d4e5f6/prod", &["done"][..]), ("a1b2c3d4e5/prod", &["failed", "done"])] {
            let mut story = shared();
            for foreign in ["b2c3d4e5f6/prod", of] {
                story = story.with_fault(operation, 0, Fault::BeforeAbout(foreign, denied()));
            }
            let reports = harness::attempt(r#"{"command":"advance"}"#, &story.world, &story.settings, 1);
            let mut found: Vec<Value> = reports.unwrap().iter().map(|report| json!(report.outcome)).collect();
            found.dedup();
            assert_eq!(found, outcomes, "{operation} of {of}");
        }
    }
}
