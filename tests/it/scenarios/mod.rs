//! An event, a world and the outcome: data in, a snapshot out, through one `check()`.

mod admission;
mod answers;
pub(crate) mod components;
pub(crate) mod doctor;
mod doctor_access_log;
mod doctor_alarms;
mod doctor_upkeep;
mod flood;
mod foreign;
mod guilt;
mod irreversible;
mod meanwhile;
mod messages;
mod notifications;
mod old_incidents;
mod previews;
mod refusals;
mod regions;
mod returns;
pub(crate) mod rollouts;
pub(crate) mod rollouts_of_aliases;
mod scale;
mod secrets;
mod stories;
mod testimony;
mod together;
mod twins;
mod unreadable;
mod watch;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::{State, Watches, time};
use apigw_rollback::model::observed::MARK;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::reason::stamp;
use apigw_rollback::model::records::{Incident, NameIndex, SCHEMA, print};
use apigw_rollback::model::release::Canary;
use apigw_rollback::model::stage::Api;
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::trigger::UNKNOWN;
use tokio::time::Instant;

use crate::support::harness::{event, run, snapshot};
use crate::support::world::{
    API, Facts, Fault, NOW, World, conflict, denied, error, live, lost, prod, record, release,
};

/// Compares one event in the world of a bad release, with this twist, to its snapshot.
fn check(story: &str, name: &str, twist: impl FnOnce(&mut Facts)) {
    check_with(story, name, twist, &[], |world| world);
}

pub(crate) fn check_with(
    story: &str,
    name: &str,
    twist: impl FnOnce(&mut Facts),
    settings: &[(&str, &str)],
    faults: impl FnOnce(World) -> World,
) {
    let mut facts = Facts::bad_release();
    twist(&mut facts);
    let world = faults(World::new(facts));
    snapshot(story, &run(&event(name), &world, settings));
}

fn nothing(_: &mut Facts) {}

fn canary(percent: &str) -> Canary {
    Canary {
        deployment: Some("d3".to_owned()),
        percent: percent.to_owned(),
        overrides: [].into(),
        uses_cache: false,
    }
}

#[test]
fn every_event_file_ends_in_a_report() {
    let mut names: Vec<_> = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut table = String::new();
    for name in names {
        let world = World::new(Facts::bad_release());
        let shown = run(&event(&name), &world, &[]);
        let reports = shown.lines().filter_map(|line| line.strip_prefix("report: "));
        let reports: Vec<_> = reports.filter_map(|report| report.split(": ").next()).collect();
        assert!(!reports.is_empty(), "{name} ended in no report");
        let calls = shown.lines().filter(|line| line.starts_with("call: ")).count();
        writeln!(table, "{name}: {}; {calls} calls", reports.join(", ")).unwrap();
    }
    snapshot("every event file ends in a report", &table);
}

#[test]
fn a_bad_release_is_rolled_back_with_one_update() {
    check("rolled back", "sns-alarm", nothing);
    check("rolled back by a directive", "sns-alarm-directive", |facts| {
        facts.alarms[0].alarm.name = "orders-queue-age".to_owned();
    });
    check("rolled back by a composite alarm", "sns-composite", |facts| {
        let mut parent = facts.alarms[0].clone();
        parent.alarm.name = "orders-prod".to_owned();
        parent.alarm.watches = Watches::Alarms(vec![]);
        facts.alarms.push(parent);
    });
    check("variables are replaced added and removed", "sns-alarm", |facts| {
        facts.stage().release.variables =
            [("release", "2"), ("new", "x"), ("same", "s")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let good = release("d1", &[("release", "1"), ("same", "s"), ("gone", "g")]);
        facts.known_good(&print(&record(good)).unwrap());
    });
}

#[test]
fn a_canary_is_removed_with_the_base_or_alone() {
    check("only the canary is removed", "sns-alarm-canary", |facts| {
        facts.alarms[0].alarm.name = "orders-prod-canary-5xx".to_owned();
        facts.stage().release = release("d1", &[("release", "1")]);
        facts.stage().release.canary = Some(canary("10"));
    });
    check("canary and base are rolled back together", "sns-alarm", |facts| {
        facts.stage().release.canary = Some(canary("50"));
    });
    let refusing = |facts: &mut Facts| {
        facts.refuses_combined_change = true;
        facts.stage().release.canary = Some(canary("50"));
    };
    check("the canary is removed in a separate call if necessary", "sns-alarm", refusing);
    check_with("the canary is removed and the rest is busy", "sns-alarm", refusing, &[], |world| {
        world.fault("UpdateStage", 3, Fault::Before(conflict()))
    });
    check_with("the canary is removed and the rest is denied", "sns-alarm", refusing, &[], |world| {
        world.fault("UpdateStage", 3, Fault::Before(denied()))
    });
    let showing = |facts: &mut Facts| {
        refusing(facts);
        facts.stage_shows = Some(release("d9", &[]));
    };
    check("the canary is removed and the stage shows something else", "sns-alarm", showing);
}

#[test]
fn the_alarm_is_only_a_hint() {
    check("alarm cleared", "sns-alarm", |facts| facts.alarms[0].alarm.state = State::Ok);
    check("alarm unknown", "sns-alarm", |facts| facts.alarms.clear());
    check("alarm actions disabled", "sns-alarm", |facts| facts.alarms[0].actions_enabled = false);
    check("a message about a stage that the alarm does not watch", "sns-alarm", |facts| {
        let Watches::Metrics(metrics) = &mut facts.alarms[0].alarm.watches else { unreachable!() };
        metrics[0].dimensions[1].1 = "test".to_owned();
    });
    check("none of a composite alarm's children is in alarm", "sns-composite", |facts| {
        facts.alarms[0].alarm.state = State::Ok;
    });
}

#[test]
fn without_a_usable_record_nothing_is_written() {
    check("no record", "sns-alarm", |facts| facts.parameters.clear());
    check("record is no json", "sns-alarm", |facts| facts.known_good("release 1"));
    check("record of a newer schema", "sns-alarm", |facts| facts.known_good(r#"{"schema":2}"#));
    check("record of another api", "sns-alarm", |facts| {
        let mut foreign = record(release("d1", &[]));
        foreign.stage = StageRef::rest("zzzzzzzzzz", "prod");
        facts.known_good(&print(&foreign).unwrap());
    });
    check("record of another region", "sns-alarm", |facts| {
        let mut foreign = record(release("d1", &[]));
        foreign.region = "us-east-1".to_owned();
        facts.known_good(&print(&foreign).unwrap());
    });
    check("record with a canary", "sns-alarm", |facts| {
        let mut half = record(release("d1", &[]));
        half.release.canary = Some(canary("10"));
        facts.known_good(&print(&half).unwrap());
    });
}

#[test]
fn a_stage_that_cannot_or_need_not_be_rolled_back_is_left_alone() {
    check("already known-good", "sns-alarm", |facts| {
        facts.stage().release = release("d1", &[("release", "1")]);
    });
    check("stage gone", "sns-alarm", |facts| facts.stages.clear());
    check("known-good deployment gone", "sns-alarm", |facts| facts.deployments.retain(|(_, id)| id != "d1"));
    check("changed after the alarm", "sns-alarm", |facts| {
        facts.stage().updated_at = time("2026-11-20T10:05:30Z");
    });
    check_with("observe mode", "sns-alarm", nothing, &[("MODE", "observe")], |world| world);
    check_with(
        "observe mode does not bind an operator",
        "command-rollback",
        nothing,
        &[("MODE", "observe")],
        |world| world,
    );
}

#[test]
fn an_api_is_found_by_its_name_or_reported_as_missing() {
    let elsewhere = [("PROTECTED_STAGES", "[]")];
    let index = |apis: &[&str]| {
        let apis = apis.iter().map(|id| (*id).to_owned()).collect();
        print(&NameIndex { schema: SCHEMA, apis }).unwrap()
    };
    let set = |facts: &mut Facts, value: String| {
        facts.parameters.insert(ParameterNames::under("/apigw-rollback").api_name("orders-api"), vec![value]);
    };
    check_with("found by the name index", "sns-alarm", |f| set(f, index(&[API])), &elsewhere, |world| world);
    check_with("found among all apis", "sns-alarm", nothing, &elsewhere, |world| world);
    check_with("not protected", "sns-alarm", |facts| facts.parameters.clear(), &elsewhere, |world| world);
    check_with("no api of that name", "sns-alarm", |facts| facts.apis.clear(), &elsewhere, |world| world);
    check_with(
        "two apis of that name",
        "sns-alarm",
        |facts| {
            facts.apis.push(Api {
                protocol: Protocol::Rest,
                id: "zzzzzzzzzz".to_owned(),
                name: "orders-api".to_owned(),
            });
        },
        &elsewhere,
        |world| world,
    );
    check_with(
        "two apis in the name index",
        "sns-alarm",
        |f| set(f, index(&[API, "zzzzzzzzzz"])),
        &elsewhere,
        |world| world,
    );
    check_with("name index unreadable", "sns-alarm", |f| set(f, "?".to_owned()), &elsewhere, |world| world);
    check("name index of a configured api unreadable", "sns-alarm", |f| set(f, "?".to_owned()));
    check_with(
        "an api without an ascii name is found by its id",
        "sns-alarm",
        |facts| {
            facts.apis =
                vec![Api {
                    protocol: Protocol::Rest, id: "orders-api".to_owned(), name: "注文".to_owned()
                }];
        },
        &elsewhere,
        |world| world,
    );
}

#[test]
fn a_stage_that_others_change_during_the_run_is_read_again() {
    let newer: fn(&mut Facts) = |facts| {
        facts.stage().release.deployment = "d3".to_owned();
        facts.stage().updated_at = time("2026-11-20T10:05:50Z");
    };
    check_with("conflict once", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(conflict()))
    });
    check_with("conflict with a newer deploy", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(conflict())).fault("GetStage", 2, Fault::World(newer))
    });
    check_with("deleted during the run", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::World(|facts| facts.stages.clear()))
    });
}

#[test]
fn a_lasting_conflict_ends_with_the_run() {
    let world = World::new(Facts::bad_release()).fault("UpdateStage", 0, Fault::Before(conflict()));
    let shown = run(&event("sns-alarm"), &world, &[]);
    assert!(shown.contains("report: failed: UpdateStage on `world` failed: ConflictException: "), "{shown}");
    assert!(shown.contains("lambda error: Failed: "), "{shown}");
    let tries = shown.matches("call: UpdateStage").count();
    assert!((9..40).contains(&tries), "{tries} tries in 20 s");
}

#[test]
fn a_lost_or_unexpected_answer_is_looked_up() {
    check_with("effect without an answer", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::After(lost()))
    });
    check_with("no effect and no answer", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(lost()))
    });
    let refusal = || {
        error(
            apigw_rollback::model::cloud_error::Failure::Refused,
            "BadRequestException",
            "Invalid patch path",
        )
    };
    check_with("refused although the deployment exists", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(refusal()))
    });
    let gone = |facts: &mut Facts| facts.deployments.retain(|(_, id)| id != "d1");
    check_with("refused and the deployment cannot be read", "sns-alarm", gone, &[], |world| {
        world.fault("GetDeployment", 1, Fault::Before(denied()))
    });
    check_with("refused although done", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::After(refusal()))
    });
    check_with("refused and changed by others during the run", "sns-alarm", nothing, &[], |world| {
        let by_others = Fault::World(|facts| {
            let now = facts.now;
            (facts.stage().release, facts.stage().updated_at) = (release("d7", &[]), Some(now));
        });
        world.fault("UpdateStage", 1, by_others).fault("UpdateStage", 1, Fault::Before(refusal()))
    });
    check("the stage shows something else", "sns-alarm", |facts| {
        facts.stage_shows = Some(release("d9", &[]));
    });
}

#[test]
fn a_call_that_aws_denies_is_reported_with_its_code() {
    check_with("update denied", "sns-alarm", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(denied()))
    });
    check_with("record denied", "sns-alarm", nothing, &[], |world| {
        world.fault("GetParameters", 1, Fault::Before(denied()))
    });
    check_with("incident denied", "sns-alarm", nothing, &[], |world| {
        world.fault("CreateParameter", 1, Fault::Before(denied()))
    });
}

#[test]
fn one_incident_is_rolled_back_once() {
    let world = World::new(Facts::bad_release());
    let first = run(&event("sns-alarm"), &world, &[]);
    let after_first = world.facts();
    let second = run(&event("sns-alarm"), &world, &[]);
    assert!(first.contains("report: rolled-back"), "{first}");
    assert!(second.contains("report: held (already-known-good)"), "{second}");
    assert!(
        !second.contains("UpdateStage")
            && !second.contains("Parameter /apigw-rollback/stages/a1b2c3d4e5/prod/incidents"),
        "{second}"
    );
    assert_eq!(after_first.parameters, world.facts().parameters);

    let incident = |at: &str| Incident {
        since: None,
        undone: false,
        by_alarm: true,
        sibling: None,
        schema: SCHEMA,
        stage: prod(),
        bad: release("d2", &[("release", "2")]).into(),
        good: release("d1", &[("release", "1")]).into(),
        version: 1,
        at: time(at).unwrap(),
        by: "orders-prod-latency".to_owned(),
        alarm_at: None,
        other_source: false,
        why: String::new(),
        run: "run-0".to_owned(),
        recovered_at: None,
        lifted_by: None,
    };
    let put = |facts: &mut Facts, at: &str| {
        let name =
            ParameterNames::under("/apigw-rollback").incident(&prod(), &facts.stage().release.fingerprint());
        facts.parameters.insert(name, vec![print(&incident(at)).unwrap()]);
    };
    check("another run was first", "sns-alarm", |facts| put(facts, "2026-11-20T10:05:58Z"));
    check("the same bad release is deployed again", "sns-alarm", |facts| put(facts, "2026-11-19T10:05:58Z"));
}

#[test]
fn a_queue_redelivers_only_the_messages_that_failed() {
    check_with("batch with a failure", "sqs-batch", nothing, &[], |world| {
        world.fault("UpdateStage", 1, Fault::Before(denied()))
    });
    check("batch without a failure", "sqs-batch", nothing);
}

#[test]
fn each_stage_of_one_alarm_is_reported() {
    check("two stages", "sns-alarm-directive-two-stages", |facts| {
        facts.alarms[0].alarm.name = "checkout-failing".to_owned();
        facts.alarms[0].alarm.description =
            Some("rollback-target: orders-api/prod, cart-api/prod".to_owned());
    });
}

#[test]
fn record_stores_indexes_and_pins_the_live_release() {
    let parked = |description: &str, closed| {
        let stage = live(release("d1", &[]), NOW);
        apigw_rollback::model::stage::LiveStage { description: description.to_owned(), closed, ..stage }
    };
    check("recorded for the first time", "command-record", |facts| facts.parameters.clear());
    check("recorded and the pin moves", "command-record", |facts| {
        facts.stages.insert(prod().parked(), parked(MARK, true));
    });
    check_with("recorded without a pin", "command-record", nothing, &[("PIN", "off")], |world| world);
    check("recorded next to a foreign stage", "command-record", |facts| {
        facts.stages.insert(prod().parked(), parked("blue/green", false));
    });
    check_with("recorded and the pin is denied", "command-record", nothing, &[], |world| {
        world.fault("CreateStage", 1, Fault::Before(denied()))
    });
    check("a canary is not recorded", "command-record", |facts| {
        facts.stage().release.canary = Some(canary("10"));
    });
    check("a lost deployment is not recorded", "command-record", |facts| {
        facts.deployments.retain(|(_, id)| id != "d2");
    });
    check("too many variables are not recorded", "command-record", |facts| {
        facts.stage().release.variables = (0..100).map(|n| (format!("v{n}"), "x".repeat(100))).collect();
    });
    check("an unreadable record is not overwritten", "command-record", |facts| facts.known_good("?"));

    let world = World::new(Facts::bad_release());
    run(&event("command-record"), &world, &[]);
    snapshot("recorded a second time", &run(&event("command-record"), &world, &[]));
}

#[test]
fn an_operator_can_plan_roll_back_and_read_the_status() {
    check("planned", "command-plan", nothing);
    check("rolled back by an operator", "command-rollback", nothing);
    check("rolled back to an older version", "command-rollback-to", |facts| {
        let newer = print(&record(release("d2", &[("release", "2")]))).unwrap();
        facts.parameters.values_mut().next().unwrap().push(newer);
    });
    check("rolled back to a version that does not exist", "command-rollback-to", |facts| {
        facts.parameters.clear();
    });
    check("status", "command-status", |facts| {
        let mut pin = live(release("d1", &[]), NOW);
        pin.description = MARK.to_owned();
        pin.closed = true;
        facts.stages.insert(prod().parked(), pin);
    });
    check("status of a stage without a record or alarms", "command-status", |facts| {
        facts.parameters.clear();
        facts.alarms.clear();
    });
    check("status of a known-good stage", "command-status", |facts| {
        facts.stage().release = release("d1", &[("release", "1")]);
    });
}

#[test]
fn a_huge_or_deeply_nested_event_is_reported_and_makes_no_call() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_message = serde_json::json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": format!("{{\"a\":{deep}}}")}}]});
    let huge = serde_json::json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "x".repeat(10_000_000)}}]});
    for (event, code) in
        [(deep, "malformed"), (deep_message.to_string(), "malformed"), (huge.to_string(), "malformed")]
    {
        let world = World::new(Facts::bad_release());
        let shown = run(&event, &world, &[]);
        assert!(
            shown.starts_with(&format!("report: rejected ({code})")),
            "{}",
            shown.get(..200).unwrap_or(&shown)
        );
        assert!(!shown.contains("call: "));
    }
}

#[test]
fn a_report_contains_the_time_since_the_alarm() {
    assert_eq!(stamp(time(NOW).unwrap()), NOW);
    let world = World::new(Facts::bad_release());
    let config = Config::read(|name| (name == "AWS_REGION").then(|| "eu-west-1".to_owned())).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let reports = runtime.block_on(async {
        let began = Instant::now();
        let now = time(NOW).unwrap();
        let run = Context {
            cloud: &world,
            config: &config,
            trigger: &UNKNOWN,
            id: "r",
            trace: None,
            function: None,
            now,
            began,
            deadline: began + Duration::from_secs(9),
        };
        handle(&event("sns-alarm"), &run).await.reports
    });
    assert_eq!(reports[0].seconds_since_alarm, Some(47.655));
}
