//! Rollouts by the weights of aliases: two functions get a new version, step by step and together.
//!
//! The known-good release has version 1 of `orders:live` and version 7 of `web:live`; the new one has 2 and 8. Lambda counts the
//! requests of each version.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::component::{AliasTarget, LiveAlias};
use apigw_rollback::model::traffic::Bucket;
use apigw_rollback::notify::metrics::report_metrics;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::harness::attempt;
use crate::support::story::Story;
use crate::support::world::{Facts, Fault, conflict, denied, error, lost};

pub(crate) const LISTED: &str =
    r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod","aliases":["orders:live","web:live"]}]"#;

/// A stage whose known-good release has both aliases.
pub(crate) fn with_aliases() -> Story {
    Story::with_known_good()
        .set("PROTECTED_STAGES", LISTED)
        .set("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people")
        .world("", |facts| {
            for (alias, version) in [("orders:live", "1"), ("web:live", "7")] {
                let target = AliasTarget { version: version.to_owned(), weights: [].into() };
                let live = LiveAlias { target, revision: format!("{alias} 0") };
                facts.aliases.insert(alias.parse().unwrap(), live);
            }
        })
        .command("record", &json!({}))
        .quietly()
}

pub(crate) fn start() -> Value {
    json!({
        "aliases": {"orders:live": "2", "web:live": "8"},
        "steps": [10, 50],
        "bake_seconds": 300,
        "min_requests": 100,
        "label": "v2",
    })
}

/// Lets both versions answer so many requests a minute, of which so many of the new one fail.
pub(crate) fn serve(facts: &mut Facts, minutes: i64, requests: u64, failed: u64) {
    let now = facts.now;
    for (version, requests, failed) in [("version 1", 600, 0), ("version 2", requests, failed)] {
        let buckets = (0..minutes).map(|nth| Bucket {
            begins: now + TimeDelta::minutes(nth),
            requests,
            failed,
            slow: 0,
        });
        facts.requests.entry(version.to_owned()).or_default().extend(buckets);
    }
}

pub(crate) fn weigh(facts: &mut Facts, alias: &str, weights: &[(&str, &str)]) {
    let alias = facts.aliases.get_mut(&alias.parse().unwrap()).unwrap();
    alias.target.weights = weights.iter().map(|(v, w)| ((*v).to_owned(), (*w).to_owned())).collect();
    alias.revision.push('+');
}

trait Shifts: Sized {
    fn served(self, minutes: i64, requests: u64, failed: u64) -> Self;
    fn advance(self) -> Self;
}

impl Shifts for Story {
    fn served(self, minutes: i64, requests: u64, failed: u64) -> Self {
        self.world.change(|facts| serve(facts, minutes, requests, failed));
        self.later(minutes)
    }

    fn advance(self) -> Self {
        self.send("the schedule moves rollouts on", r#"{"command":"advance"}"#)
    }
}

#[test]
fn a_good_version_is_promoted_in_steps() {
    with_aliases()
        .command("rollout-start", &start())
        .served(4, 60, 0)
        .advance()
        .served(3, 60, 0)
        .advance()
        .served(7, 300, 0)
        .advance()
        .command("rollout-status", &json!({}))
        .sweep()
        .ends("a good version is rolled out");
}

#[test]
fn a_bad_version_is_taken_off_by_its_errors() {
    with_aliases()
        .command("rollout-start", &start())
        .served(4, 60, 60)
        .advance()
        .advance()
        .command("rollout-start", &start())
        .ends("a bad version is taken off by its errors");
}

#[test]
fn an_alarm_takes_a_version_off() {
    with_aliases()
        .command("rollout-start", &start())
        .served(4, 60, 0)
        .alarm_is(State::Alarm)
        .advance()
        .event_arrives()
        .advance()
        .ends("an alarm takes a version off");
}

/// Errors of functions are only some of the failures that the alarm counts.
#[test]
fn the_same_errors_of_the_versions_before_do_not_excuse_the_new_ones() {
    with_aliases()
        .command("rollout-start", &start())
        .served(4, 60, 60)
        .world("all requests of the versions before fail as well", |facts| {
            let before = facts.requests.get_mut("version 1").unwrap();
            for bucket in before {
                bucket.failed = bucket.requests;
            }
        })
        .alarm_is(State::Alarm)
        .event_arrives()
        .ends("the versions before fail as well");
}

#[test]
fn the_weight_of_a_step_is_published() {
    let world = with_aliases().world;
    let mut command = start();
    command["command"] = json!("rollout-start");
    command["stage"] = json!({"api": "orders-api", "name": "prod"});
    let reports = attempt(&command.to_string(), &world, &[("PROTECTED_STAGES", LISTED)], 1).unwrap();
    let shares: Vec<_> = reports
        .iter()
        .filter_map(|report| report_metrics(report, "apigw-rollback")["RolloutShare"].as_f64())
        .collect();
    assert_eq!(shares, [10.0]);
}

#[test]
fn a_half_moved_step_is_finished_or_undone() {
    let refused = || error(Failure::Refused, "InvalidParameterValueException", "Invalid weight");
    with_aliases()
        .with_fault("UpdateAlias", 2, Fault::Before(lost()))
        .command("rollout-start", &start())
        .ends("the answer to the change of an alias is lost");
    with_aliases()
        .with_fault("UpdateAlias", 2, Fault::Before(conflict()))
        .command("rollout-start", &start())
        .ends("an alias is changed by somebody else in a step");
    with_aliases()
        .with_fault("UpdateAlias", 2, Fault::Before(refused()))
        .with_fault("UpdateAlias", 3, Fault::Before(denied()))
        .command("rollout-start", &start())
        .advance()
        .ends("an alias that could not be moved is moved by the next run");
    with_aliases()
        .with_fault("UpdateAlias", 2, Fault::Before(refused()))
        .with_fault("UpdateAlias", 3, Fault::Before(refused()))
        .command("rollout-start", &start())
        .command("rollout-promote", &json!({}))
        .command("rollout-abort", &json!({}))
        .ends("a rollout of a half moved release is aborted");
}

#[test]
fn others_who_move_the_aliases_are_not_fought() {
    let begun = || with_aliases().command("rollout-start", &start()).served(6, 60, 0).quietly();
    begun()
        .world("somebody gives one alias 60 %", |facts| weigh(facts, "web:live", &[("8", "0.6")]))
        .advance()
        .command("rollout-resume", &json!({}))
        .world("and takes that back", |facts| weigh(facts, "web:live", &[("8", "0.1")]))
        .command("rollout-resume", &json!({}))
        .ends("another weight pauses a rollout");
    begun()
        .world("somebody points an alias at version 9", |facts| {
            weigh(facts, "web:live", &[]);
            facts.aliases.get_mut(&"web:live".parse().unwrap()).unwrap().target.version = "9".to_owned();
        })
        .advance()
        .command("rollout-abort", &json!({}))
        .ends("an alias that somebody else has moved stays");
    begun()
        .world("CodeDeploy moves an alias", |facts| {
            facts.moving = vec![("web".to_owned(), "live".to_owned())];
        })
        .advance()
        .ends("a rollout waits for codedeploy");
}

#[test]
fn a_policy_takes_over_the_weights_of_a_pipeline() {
    with_aliases()
        .world("the policy asks for rollouts", |facts| {
            let rollout = json!({"steps": [10, 50], "bake_seconds": 300, "min_requests": 100});
            let policy = json!({"schema": 1, "rollout": rollout}).to_string();
            facts.parameters.insert("/apigw-rollback/stages/a1b2c3d4e5/prod/policy".to_owned(), vec![policy]);
        })
        .world("a pipeline gives version 8 a quarter", |facts| weigh(facts, "web:live", &[("8", "0.25")]))
        .sweep()
        .ends("a policy takes over weights");
}

#[test]
fn a_rollout_of_versions_that_cannot_begin_says_why() {
    let with = |aliases: Value| {
        let mut command = start();
        command["aliases"] = aliases;
        command
    };
    with_aliases()
        .world("version 3 of orders does not exist", |facts| {
            facts.lost_versions = vec![("orders".to_owned(), "3".to_owned())];
        })
        .command("rollout-start", &with(json!({"orders:live": "3"})))
        .command("rollout-start", &with(json!({"orders:live": "$LATEST"})))
        .command("rollout-start", &with(json!({"billing:live": "2"})))
        .command("rollout-start", &with(json!({"orders": "2"})))
        .command("rollout-start", &json!({"aliases": {"orders:live": "2"}, "deployment": "d2"}))
        .ends("a rollout of versions that cannot begin");
}
