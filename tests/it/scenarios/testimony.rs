//! What the guarding alarms say decides what the sweep does: pairs of guilty and innocent releases.
//!
//! In each row release 1 is known-good, and release 2 goes live at the time at which the alarms get their state. Two
//! sweeps follow, the second after the bake time.

use apigw_rollback::model::alarm::{AlarmNow, State, Watches};

use crate::support::story::Story;
use crate::support::world::{alarm, prod};

const OURS: [(&str, &str); 2] = [("ApiName", "orders-api"), ("Stage", "prod")];
const NEIGHBOR: [(&str, &str); 2] = [("ApiName", "billing-api"), ("Stage", "prod")];

/// What becomes of release 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    RolledBack,
    Promoted,
    LeftAlone,
}

/// An alarm that nobody is notified of: only a composite alarm reads it.
fn below(name: &str, state: State, dimensions: &[(&str, &str)]) -> AlarmNow {
    AlarmNow { actions: vec![], ..alarm(name, state, dimensions) }
}

/// A composite alarm over these alarms.
fn composite(name: &str, state: State, below: &[&str]) -> AlarmNow {
    let mut now = alarm(name, state, &[]);
    now.alarm.watches = Watches::Alarms(below.iter().map(|name| (*name).to_owned()).collect());
    now
}

/// A composite alarm that only another composite alarm reads.
fn nested(name: &str, state: State, below: &[&str]) -> AlarmNow {
    AlarmNow { actions: vec![], ..composite(name, state, below) }
}

fn changed(mut now: AlarmNow, change: impl FnOnce(&mut AlarmNow)) -> AlarmNow {
    change(&mut now);
    now
}

fn fate(story: &Story) -> Fate {
    let facts = story.world.facts();
    let promoted = facts.recorded(&prod()).iter().any(|record| record.release.deployment == "d2");
    match (story.stage().as_str(), promoted) {
        ("d1", false) => Fate::RolledBack,
        ("d2", true) => Fate::Promoted,
        ("d2", false) => Fate::LeftAlone,
        other => panic!("{other:?}"),
    }
}

fn check(case: &str, alarms: Vec<AlarmNow>, expected: Fate, reported: &str) {
    let mut alarms = Some(alarms);
    let story = Story::with_known_good()
        .deploy(2)
        .world("the alarms change their state", |facts| {
            facts.alarms = alarms.take().unwrap();
            for now in &mut facts.alarms {
                now.alarm.changed_at = Some(facts.now);
            }
        })
        .later(4)
        .sweep()
        .later(31)
        .sweep();
    assert_eq!(fate(&story), expected, "{case}: {}", story.described);
    assert!(story.described.contains(reported), "{case}: {}", story.described);
}

#[test]
fn a_plain_alarm_accuses_the_release_only_by_its_own_data_and_if_it_may_act() {
    let fires = || alarm("5xx", State::Alarm, &OURS);
    let suppressed = |now: &mut AlarmNow| now.alarm.suppressed_by = Some("maintenance".to_owned());
    let foreign = |now: &mut AlarmNow| {
        let Watches::Metrics(metrics) = &mut now.alarm.watches else { unreachable!() };
        metrics[0].account = Some("999999999999".to_owned());
    };
    for (case, now, expected) in [
        ("in ALARM", fires(), Fate::RolledBack),
        ("in OK", alarm("5xx", State::Ok, &OURS), Fate::Promoted),
        ("suppressed", changed(fires(), suppressed), Fate::LeftAlone),
        ("missing data", changed(fires(), |now| now.alarm.only_missing_data = true), Fate::LeftAlone),
        ("a metric of another account", changed(fires(), foreign), Fate::LeftAlone),
        ("its actions are off", changed(fires(), |now| now.actions_enabled = false), Fate::LeftAlone),
    ] {
        check(case, vec![now], expected, "");
    }
}

#[test]
fn a_composite_alarm_accuses_the_release_only_by_an_alarm_that_names_the_stage() {
    let both = || composite("orders or billing", State::Alarm, &["orders", "billing"]);
    let leaf = |name: &str, state| below(name, state, if name == "orders" { &OURS } else { &NEIGHBOR });
    let missing = |now: &mut AlarmNow| now.alarm.only_missing_data = true;
    for (case, alarms, expected) in [
        (
            "the stage's alarm fires",
            vec![both(), leaf("orders", State::Alarm), leaf("billing", State::Ok)],
            Fate::RolledBack,
        ),
        (
            "the neighbor's alarm fires",
            vec![both(), leaf("orders", State::Ok), leaf("billing", State::Alarm)],
            Fate::Promoted,
        ),
        (
            "an alarm that names no stage fires",
            vec![
                composite("c", State::Alarm, &["orders", "any"]),
                leaf("orders", State::Ok),
                below("any", State::Alarm, &[]),
            ],
            Fate::LeftAlone,
        ),
        (
            "an alarm without data does not silence one with data",
            vec![
                composite("c", State::Alarm, &["no traffic", "orders"]),
                changed(below("no traffic", State::Alarm, &OURS), missing),
                leaf("orders", State::Alarm),
            ],
            Fate::RolledBack,
        ),
        (
            "two levels",
            vec![
                composite("outer", State::Alarm, &["inner"]),
                nested("inner", State::Alarm, &["orders"]),
                leaf("orders", State::Alarm),
            ],
            Fate::RolledBack,
        ),
        (
            "a composite alarm in OK",
            vec![
                composite("outer", State::Ok, &["inner"]),
                nested("inner", State::Ok, &["orders"]),
                leaf("orders", State::Ok),
            ],
            Fate::Promoted,
        ),
    ] {
        check(case, alarms, expected, "");
    }
}

#[test]
fn a_composite_alarm_that_cannot_be_resolved_blocks_the_promotion_and_is_reported() {
    let quiet = || alarm("5xx", State::Ok, &OURS);
    let mut deep = vec![composite("c", State::Alarm, &["0"]), below("6", State::Alarm, &OURS)];
    deep.extend((0..6).map(|level| nested(&level.to_string(), State::Alarm, &[&(level + 1).to_string()])));
    for (case, mut alarms) in [
        ("an alarm does not exist", vec![composite("c", State::Alarm, &["deleted"])]),
        ("it is too deep", deep),
        ("its rule names no alarm", vec![composite("c", State::Alarm, &[])]),
        (
            "it leads back to itself",
            vec![composite("c", State::Alarm, &["d"]), nested("d", State::Alarm, &["c"])],
        ),
    ] {
        alarms.push(quiet());
        check(case, alarms, Fate::LeftAlone, "alarm-unreadable");
    }
}

/// CloudWatch allows fewer alarms below one, but many alarms may share the topic.
#[test]
fn a_thousand_alarms_below_composite_alarms_are_read_and_more_block_the_promotion() {
    let over = |number: usize, firing: Option<usize>| {
        let names: Vec<String> = (0..number).map(|nth| format!("alarm-{nth:04}")).collect();
        let below_it = names.iter().enumerate().map(|(nth, name)| {
            below(name, if firing == Some(nth) { State::Alarm } else { State::Ok }, &OURS)
        });
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let state = if firing.is_some() { State::Alarm } else { State::Ok };
        std::iter::once(composite("all", state, &all)).chain(below_it).collect::<Vec<_>>()
    };
    check("a thousand, one of which fires", over(1_000, Some(999)), Fate::RolledBack, "");
    check("a thousand quiet ones", over(1_000, None), Fate::Promoted, "");
    check("one more", over(1_001, None), Fate::LeftAlone, "alarm-unreadable");
}

#[test]
fn an_alarm_that_is_older_than_the_release_does_not_hide_one_that_accuses_it() {
    let story = Story::with_known_good()
        .world("an old alarm stays in ALARM", |facts| {
            facts.alarms = vec![alarm("a", State::Alarm, &OURS), alarm("b", State::Ok, &OURS)];
            facts.alarms[0].alarm.changed_at = Some(facts.now);
        })
        .later(60)
        .deploy(2)
        .later(3)
        .world("another alarm fires", |facts| {
            facts.alarms[1] = alarm("b", State::Alarm, &OURS);
            facts.alarms[1].alarm.changed_at = Some(facts.now);
        })
        .later(4)
        .sweep();
    assert_eq!(fate(&story), Fate::RolledBack, "{}", story.described);
    let facts = story.world.facts();
    let incident = facts.parameters.iter().find(|(name, _)| name.contains("/incidents/")).unwrap();
    assert!(incident.1[0].contains(r#""by":"b""#), "{}", incident.1[0]);
}

#[test]
fn an_alarm_that_names_a_stage_in_two_ways_starts_one_run() {
    let by_directive = changed(below("latency", State::Alarm, &[]), |now| {
        now.alarm.watches = Watches::Metrics(vec![]);
        now.alarm.description = Some("rollback-target: a1b2c3d4e5/prod".to_owned());
    });
    let alarms = vec![
        composite("orders", State::Alarm, &["5xx", "latency"]),
        below("5xx", State::Alarm, &OURS),
        by_directive,
    ];
    let story = Story::with_known_good().deploy(2).later(4).world("the alarms fire", |facts| {
        let now = facts.now;
        facts.alarms = alarms;
        facts.alarms.iter_mut().for_each(|alarm| alarm.alarm.changed_at = Some(now));
    });
    let story = story.event_of_first_alarm();
    assert_eq!(story.described.matches("report: ").count(), 1, "{}", story.described);
    assert_eq!(fate(&story), Fate::RolledBack, "{}", story.described);
}

/// An alarm on a query, whose data comes from anywhere.
fn on_a_query() -> AlarmNow {
    changed(alarm("query", State::Alarm, &[]), |now| now.alarm.watches = Watches::Metrics(vec![]))
}

#[test]
fn a_query_that_fires_and_names_no_stage_blocks_the_promotion() {
    let quiet = alarm("5xx", State::Ok, &OURS);
    check(
        "a query fires",
        vec![quiet.clone(), on_a_query()],
        Fate::LeftAlone,
        "its description names no stage",
    );
    let recovered = changed(on_a_query(), |now| now.alarm.state = State::Ok);
    check("a query is quiet", vec![quiet, recovered], Fate::Promoted, "");
}

#[test]
fn a_message_that_says_what_an_alarm_is_about_is_not_believed() {
    let others = changed(alarm("any", State::Alarm, &NEIGHBOR), |_| ());
    for (case, now) in [("a query", on_a_query()), ("an alarm of a neighbor", others)] {
        let story = Story::with_known_good()
            .deploy(2)
            .world("the alarm fires", |facts| {
                facts.alarms = vec![now];
                facts.alarms[0].alarm.changed_at = Some(facts.now);
            })
            .later(1)
            .event_arrives();
        assert_eq!(fate(&story), Fate::LeftAlone, "{case}: {}", story.described);
        assert!(
            story.described.contains("does not watch rest/a1b2c3d4e5/prod"),
            "{case}: {}",
            story.described
        );
    }
}

/// Release 2 is rolled back, and release 3 goes live while the alarm is still in ALARM.
fn fixed() -> Story {
    let bad = Story::with_known_good().deploy(2).later(3).alarm_is(State::Alarm).event_arrives();
    bad.later(2).deploy(3).later(1).sweep().later(3)
}

fn is_promoted(story: &Story) -> bool {
    story.world.facts().recorded(&prod()).iter().any(|record| record.release.deployment == "d3")
}

#[test]
fn a_fix_that_went_live_during_the_alarm_bakes_from_the_end_of_the_alarm() {
    let mut story = fixed().alarm_is(State::Ok);
    for (minutes, promoted) in [(1, false), (27, false), (1, false), (2, true)] {
        story = story.later(minutes).sweep();
        assert_eq!(is_promoted(&story), promoted, "{minutes}: {}", story.described);
    }
}

#[test]
fn an_alarm_that_fires_while_a_release_is_live_prevents_its_promotion() {
    let held = r#"{"until": "2026-11-20T23:00:00Z", "reason": "a drill"}"#;
    let first_seen_in_alarm = Story::with_known_good()
        .command("hold", &serde_json::from_str(held).unwrap())
        .deploy(3)
        .later(2)
        .alarm_is(State::Alarm)
        .later(1)
        .sweep()
        .later(3)
        .alarm_is(State::Ok)
        .command("release-hold", &serde_json::json!({}));
    let again = fixed().alarm_is(State::Ok).later(2).alarm_is(State::Alarm).later(1).alarm_is(State::Ok);
    for (case, story) in [
        ("it fired before a sweep saw the release", first_seen_in_alarm),
        ("it fired again after it had ended", again),
    ] {
        let story = story.later(31).sweep().later(300).sweep();
        assert!(!is_promoted(&story), "{case}: {}", story.described);
        assert_eq!(story.stage(), "d3", "{case}");
    }
}
