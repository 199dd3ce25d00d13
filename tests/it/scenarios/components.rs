//! The whole release: which components roll back with a stage's deployment and variables, in which order, and what
//! happens if one of them fails.

use apigw_rollback::model::alarm::Watches;
use apigw_rollback::model::cloud_error::Failure;
use apigw_rollback::model::component::{AliasTarget, MappingTarget};
use apigw_rollback::model::component::{LiveAlias, LiveMapping};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{SCHEMA, print};
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::stage::Api;
use apigw_rollback::model::stage::StageRef;
use serde_json::json;

use crate::scenarios::check_with;
use crate::support::story::Story;
use crate::support::world::{
    API, Facts, Fault, World, conflict, denied, error, live, lost, prod, record, release,
};

/// A release with two components: an alias and a mapping.
pub(crate) const WHOLE: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod",
    "aliases":["orders:live"],"mappings":["api.example.com/orders"]}]"#;
pub(crate) const HTTP: &str = r#"[{"api":"ju6maoy9o2","name":"web","stage":"$default","protocol":"http"}]"#;

pub(crate) fn alias(version: &str) -> AliasTarget {
    AliasTarget { version: version.to_owned(), weights: [].into() }
}

fn to(stage: &str) -> MappingTarget {
    MappingTarget { api: API.to_owned(), stage: stage.to_owned() }
}

/// Makes release 2 live and bad in the stage and in both components.
pub(crate) fn bad_everywhere(facts: &mut Facts) {
    facts.aliases =
        [("orders:live".parse().unwrap(), LiveAlias { target: alias("2"), revision: "r1".to_owned() })]
            .into();
    facts.mappings =
        [("api.example.com/orders".parse().unwrap(), LiveMapping { target: to("green"), id: None })].into();
    facts.stages.insert(StageRef::rest(API, "green"), live(release("d2", &[]), "2026-11-20T10:00:00Z"));
    facts.known_good(&print(&record(whole("1"))).unwrap());
}

fn whole(version: &str) -> Release {
    Release {
        aliases: [("orders:live".parse().unwrap(), alias(version))].into(),
        mappings: [("api.example.com/orders".parse().unwrap(), to("prod"))].into(),
        ..release("d1", &[("release", "1")])
    }
}

pub(super) fn policy(facts: &mut Facts, policy: PolicyOverrides) {
    policy_of(&prod(), facts, policy);
}

pub(crate) fn policy_of(stage: &StageRef, facts: &mut Facts, policy: PolicyOverrides) {
    let policy = PolicyOverrides { schema: SCHEMA, ..policy };
    facts
        .parameters
        .insert(ParameterNames::under("/apigw-rollback").policy(stage), vec![print(&policy).unwrap()]);
}

fn check(story: &str, twist: impl FnOnce(&mut Facts), faults: impl FnOnce(World) -> World) {
    let twist = |facts: &mut Facts| {
        bad_everywhere(facts);
        twist(facts);
    };
    check_with(story, "sns-alarm", twist, &[("PROTECTED_STAGES", WHOLE)], faults);
}

fn good_but_for_the_mapping(facts: &mut Facts) {
    facts.stage().release = release("d1", &[("release", "1")]);
    facts.stage().updated_at = apigw_rollback::model::alarm::time("2026-11-20T10:05:30Z");
    facts.aliases.values_mut().next().unwrap().target.version = "1".to_owned();
}

fn refused() -> apigw_rollback::model::cloud_error::CloudError {
    error(Failure::Refused, "BadRequestException", "Invalid stage identifier specified")
}

#[test]
fn aliases_roll_back_first_then_the_stage_then_mappings() {
    check("the whole release is rolled back", |_| {}, |world| world);
    check(
        "weighted routing of an alias is removed",
        |facts| {
            let live = facts.aliases.values_mut().next().unwrap();
            live.target.version = "1".to_owned();
            live.target.weights = [("2".to_owned(), "0.1".to_owned())].into();
        },
        |world| world,
    );
    check("only the mapping has moved", good_but_for_the_mapping, |world| world);
    check(
        "a component that the record does not name stays as it is",
        |facts| facts.known_good(&print(&record(release("d1", &[("release", "1")]))).unwrap()),
        |world| world,
    );
    check(
        "a component that is no longer listed stays as it is",
        |facts| policy(facts, PolicyOverrides { aliases: Some(vec![]), ..PolicyOverrides::default() }),
        |world| world,
    );
}

#[test]
fn a_refused_step_is_undone_in_reverse_and_a_failed_undo_needs_manual_action() {
    check(
        "the stage is refused and the alias is undone",
        |_| {},
        |world| world.fault("UpdateStage", 1, Fault::Before(denied())),
    );
    check(
        "the mapping is refused and everything is undone",
        |_| {},
        |world| world.fault("UpdateBasePathMapping", 1, Fault::Before(refused())),
    );
    check(
        "the undo restores a removed canary",
        |facts| {
            facts.stage().release.canary = Some(Canary {
                deployment: Some("d3".to_owned()),
                percent: "10".to_owned(),
                overrides: [].into(),
                uses_cache: false,
            });
        },
        |world| world.fault("UpdateBasePathMapping", 1, Fault::Before(refused())),
    );
    check(
        "the undo fails and manual action is required",
        |_| {},
        |world| {
            world.fault("UpdateBasePathMapping", 1, Fault::Before(refused())).fault(
                "UpdateStage",
                2,
                Fault::Before(denied()),
            )
        },
    );
    check(
        "the answer of an undo is lost",
        |_| {},
        |world| {
            world
                .fault("UpdateBasePathMapping", 1, Fault::Before(refused()))
                .fault("UpdateStage", 2, Fault::After(lost()))
                .fault("UpdateAlias", 2, Fault::Before(lost()))
        },
    );
    check(
        "another deploy moved the alias before the undo",
        |_| {},
        |world| {
            world
                .fault(
                    "UpdateStage",
                    1,
                    Fault::World(|facts| {
                        facts.aliases.values_mut().next().unwrap().revision = "theirs".to_owned();
                    }),
                )
                .fault("UpdateStage", 1, Fault::Before(denied()))
        },
    );
}

#[test]
fn a_part_that_others_change_before_the_last_step_is_done_needs_manual_action() {
    check(
        "somebody sets weights before the last step",
        |_| {},
        |world| {
            world.fault(
                "UpdateBasePathMapping",
                1,
                Fault::World(|facts| {
                    let alias = facts.aliases.values_mut().next().unwrap();
                    alias.target.weights.insert("2".to_owned(), "0.1".to_owned());
                }),
            )
        },
    );
}

#[test]
fn a_deploy_between_the_stage_and_its_components_is_left_alone() {
    check(
        "a deploy comes between the stage and its components",
        |facts| {
            good_but_for_the_mapping(facts);
            facts.mappings.values_mut().next().unwrap().target.stage = "prod".to_owned();
        },
        |world| {
            world.fault(
                "GetAlias",
                1,
                Fault::World(|facts| {
                    let now = facts.now;
                    facts.stage().release = release("d3", &[("release", "3")]);
                    facts.stage().updated_at = Some(now);
                    let alias = facts.aliases.values_mut().next().unwrap();
                    (alias.target.version, alias.revision) = ("3".to_owned(), "theirs".to_owned());
                }),
            )
        },
    );
}

#[test]
fn a_component_that_shows_another_target_afterwards_needs_manual_action() {
    check("an alias shows something else", |facts| facts.components_show = Some("9"), |world| world);
    check(
        "a mapping shows something else",
        |facts| {
            facts.aliases.values_mut().next().unwrap().target.version = "1".to_owned();
            facts.components_show = Some("9");
        },
        |world| world,
    );
}

#[test]
fn a_component_that_others_move_during_the_run_is_read_again() {
    check(
        "an alias with another revision is read again",
        |_| {},
        |world| {
            world.fault(
                "UpdateAlias",
                1,
                Fault::World(|facts| {
                    facts.aliases.values_mut().next().unwrap().revision = "r2".to_owned();
                }),
            )
        },
    );
    check(
        "a busy stage is retried after the alias has moved",
        |_| {},
        |world| world.fault("UpdateStage", 1, Fault::Before(conflict())),
    );
    check(
        "a lost answer to the last step is looked up",
        |_| {},
        |world| world.fault("UpdateBasePathMapping", 1, Fault::After(lost())),
    );
}

#[test]
fn a_missing_or_contested_component_holds_before_any_write() {
    let skip = |facts: &mut Facts| {
        policy(
            facts,
            PolicyOverrides {
                missing_parts: Some(apigw_rollback::model::policy::MissingComponents::Skip),
                ..PolicyOverrides::default()
            },
        );
    };
    let lose = |facts: &mut Facts| facts.lost_versions.push(("orders".to_owned(), "1".to_owned()));
    check("the recorded version of a function is gone", lose, |world| world);
    check(
        "a missing component is skipped if the policy says so",
        |facts| {
            lose(facts);
            skip(facts);
        },
        |world| world,
    );
    check(
        "an alias and a mapping are gone",
        |facts| {
            facts.aliases.clear();
            facts.mappings.clear();
        },
        |world| world,
    );
    check(
        "a recorded mapping points at a stage that is gone",
        |facts| {
            let mut recorded = whole("1");
            recorded.mappings.values_mut().next().unwrap().stage = "blue".to_owned();
            facts.known_good(&print(&record(recorded)).unwrap());
        },
        |world| world,
    );
    check(
        "the recorded deployment of a whole release is gone",
        |facts| facts.deployments.retain(|(_, id)| id != "d1"),
        |world| world,
    );
    check(
        "codedeploy moves the alias",
        |facts| facts.moving.push(("orders".to_owned(), "live".to_owned())),
        |world| world,
    );
    check(
        "codedeploy moves another alias",
        |facts| facts.moving.push(("orders".to_owned(), "test".to_owned())),
        |world| world,
    );
    check("an alias cannot be read", |_| {}, |world| world.fault("GetAlias", 1, Fault::Before(denied())));
}

/// Compares a `record` command in this world to its snapshot.
pub(super) fn check_record(story: &str, twist: impl FnOnce(&mut Facts)) {
    let twist = |facts: &mut Facts| {
        bad_everywhere(facts);
        facts.parameters.clear();
        twist(facts);
    };
    check_with(story, "command-record", twist, &[("PROTECTED_STAGES", WHOLE), ("PIN", "off")], |world| world);
}

#[test]
fn a_release_is_recorded_whole_or_refused_with_every_problem() {
    check_record("a whole release is recorded", |_| {});
    check_record("everything wrong with a release is reported", |facts| {
        facts.aliases.values_mut().next().unwrap().target.weights =
            [("3".to_owned(), "0.5".to_owned())].into();
        facts.moving.push(("orders".to_owned(), "live".to_owned()));
        facts.mappings.clear();
        facts.deployments.clear();
    });
    check_record("a mapping to another kind of api is refused", |facts| {
        facts.mappings.values_mut().next().unwrap().target.api = "httpapi123".to_owned();
    });
}

pub(crate) fn web() -> StageRef {
    StageRef::new(Protocol::Http, "ju6maoy9o2", "$default")
}

/// Turns the world's API into an HTTP API with its default stage.
pub(crate) fn http(facts: &mut Facts) {
    let live = facts.stages.remove(&prod()).unwrap();
    facts.stages.insert(web(), live);
    facts.deployments.iter_mut().for_each(|(api, _)| *api = web().api);
    facts.apis = vec![Api { protocol: Protocol::Http, id: web().api, name: "web".to_owned() }];
    let mut recorded = record(release("d1", &[("release", "1"), ("same", "s")]));
    recorded.stage = web();
    let names = ParameterNames::under("/apigw-rollback");
    facts.parameters = [(names.known_good(&web()), vec![print(&recorded).unwrap()])].into();
    let Watches::Metrics(metrics) = &mut facts.alarms[0].alarm.watches else { unreachable!() };
    metrics[0].dimensions =
        [("ApiId", "ju6maoy9o2"), ("Stage", "$default")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    facts.alarms[0].alarm.name = "web-5xx".to_owned();
}

fn stage_of(facts: &mut Facts) -> &mut apigw_rollback::model::stage::LiveStage {
    facts.stages.values_mut().next().unwrap()
}

fn check_http(story: &str, twist: impl FnOnce(&mut Facts)) {
    let twist = |facts: &mut Facts| {
        http(facts);
        stage_of(facts).release = release("d2", &[("release", "2"), ("same", "s"), ("new", "n")]);
        twist(facts);
    };
    check_with(story, "sns-alarm-http-api", twist, &[("PROTECTED_STAGES", HTTP)], |world| world);
}

#[test]
fn an_http_stage_is_rolled_back_with_its_variables() {
    check_http("an http stage is rolled back", |_| {});
    check_http("a deployment that is not deployed is not rolled back to", |facts| {
        facts.undeployed.push(("d1".to_owned(), "FAILED".to_owned()));
    });
    check_http("a stage with autodeploy is held", |facts| stage_of(facts).auto_deploy = true);
    let switch_off = |facts: &mut Facts| {
        let auto_deploy = Some(apigw_rollback::model::policy::AutoDeploy::SwitchOff);
        policy_of(&web(), facts, PolicyOverrides { auto_deploy, ..PolicyOverrides::default() });
        stage_of(facts).auto_deploy = true;
    };
    check_http("autodeploy is switched off if the policy says so", switch_off);
    check_http("autodeploy is switched off in a separate call if necessary", |facts| {
        switch_off(facts);
        facts.refuses_combined_change = true;
    });
    check_http("a stage made by quick create is held", |facts| {
        stage_of(facts).auto_deploy = true;
        stage_of(facts).managed = true;
    });
    check_with(
        "an http api is found by its id",
        "sns-alarm-http-api",
        http,
        &[("PROTECTED_STAGES", "[]")],
        |world| world,
    );
    check_with(
        "an api that may not be read is not protected",
        "sns-alarm-http-api",
        http,
        &[("PROTECTED_STAGES", "[]")],
        |world| world.fault("GetApi", 1, Fault::Before(denied())),
    );
    check_with(
        "an http api is recorded and pinned",
        "command-record-http",
        http,
        &[("PROTECTED_STAGES", HTTP)],
        |world| world,
    );
}

#[test]
fn caches_are_flushed_only_if_configured_and_enabled() {
    for (story, cache, decisions, setting) in [
        ("no cache is flushed by default", true, true, "off"),
        ("both caches are flushed", true, true, "on"),
        ("only a cache that is on is flushed", false, false, "on"),
    ] {
        let twist = |facts: &mut Facts| {
            facts.stage().cache = cache;
            facts.caches_decisions = decisions;
        };
        check_with(story, "sns-alarm", twist, &[("FLUSH_CACHE", setting)], |world| world);
    }
    let on = |facts: &mut Facts| facts.stage().cache = true;
    check_with("a failed cache flush is reported", "sns-alarm", on, &[("FLUSH_CACHE", "on")], |world| {
        world.fault("FlushStageCache", 1, Fault::Before(denied()))
    });
}

/// A run that dies after a step leaves a world that the next signal or the sweep can finish.
#[test]
fn a_crash_after_any_step_is_finished_by_the_next_signal() {
    let story = |steps: usize| {
        Story::new().set("PROTECTED_STAGES", WHOLE).set("PIN", "off").world(
            &format!("a run died after {steps} steps"),
            |facts| {
                let bad = Facts::bad_release();
                (facts.now, facts.alarms) = (bad.now, bad.alarms);
                *facts.stage() = live(release("d2", &[("release", "2")]), "2026-11-20T10:00:00Z");
                bad_everywhere(facts);
                if steps > 0 {
                    facts.aliases.values_mut().for_each(|one| one.target = alias("1"));
                }
                if steps > 1 {
                    facts.stage().release = release("d1", &[("release", "1")]);
                    facts.stage().updated_at = Some(facts.now);
                }
            },
        )
    };
    for steps in 0..3 {
        story(steps)
            .event_arrives()
            .event_arrives()
            .ends(&format!("a run died after {steps} steps and the event is repeated"));
        story(steps).sweep().sweep().ends(&format!("a run died after {steps} steps and the sweep runs"));
    }
}

#[test]
fn a_whole_release_is_earned() {
    Story::new()
        .set("PROTECTED_STAGES", WHOLE)
        .set("PIN", "off")
        .world("the release has an alias and a mapping", |facts| {
            bad_everywhere(facts);
            facts.parameters.clear();
        })
        .sweep()
        .later(31)
        .sweep()
        .world("CodeDeploy shifts the alias to version 3", |facts| {
            let live = facts.aliases.values_mut().next().unwrap();
            live.target.weights = [("3".to_owned(), "0.1".to_owned())].into();
        })
        .sweep()
        .later(31)
        .sweep()
        .command("status", &json!({}))
        .ends("a whole release is earned");
}

#[test]
fn a_change_contains_only_the_differences() {
    let from = release("d2", &[("release", "2"), ("same", "s"), ("new", "n")]);
    let to = release("d1", &[("release", "1"), ("same", "s")]);
    for (protocol, set) in [
        (Protocol::Rest, vec!["release"]),
        (Protocol::Http, vec!["release", "same"]),
        (Protocol::WebSocket, vec!["release", "same"]),
    ] {
        let change = StageChange::between(&StageRef::new(protocol, API, "prod"), &from, &to);
        assert_eq!(change.set.keys().collect::<Vec<_>>(), set, "{protocol}");
        assert_eq!(change.remove, ["new"]);
        assert_eq!(change.applied_to(&from), to);
        let back = StageChange::between(&StageRef::new(protocol, API, "prod"), &to, &from);
        assert_eq!(back.applied_to(&to), from);
    }
}
