//! Pairs of stories that differ only in who is guilty. A guilty release is rolled back by the alarm's event, or by the second
//! sweep at the latest. An innocent one is left alone by the event and by every sweep of an hour.

use apigw_rollback::model::alarm::{AlarmNow, State, Watches};
use apigw_rollback::model::datapoint::{Datapoint, Reading};
use apigw_rollback::model::release::Canary;
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::story::Story;
use crate::support::world::{Facts, Fault, alarm, denied, release};

const OURS: [(&str, &str); 2] = [("ApiName", "orders-api"), ("Stage", "prod")];
const CANARY: [(&str, &str); 2] = [("ApiName", "orders-api"), ("Stage", "prod/Canary")];
const NEIGHBOR: [(&str, &str); 2] = [("ApiName", "billing-api"), ("Stage", "prod")];

/// The alarm that fires in every story, and the alarms below it if it is composite.
fn fires(facts: &mut Facts, mut alarms: Vec<AlarmNow>) {
    for now in &mut alarms {
        now.alarm.changed_at = Some(facts.now);
    }
    facts.alarms = alarms;
}

fn plain() -> AlarmNow {
    alarm("5xx", State::Alarm, &OURS)
}

/// An alarm that only a composite alarm reads.
fn below(name: &str, state: State, dimensions: &[(&str, &str)]) -> AlarmNow {
    AlarmNow { actions: vec![], ..alarm(name, state, dimensions) }
}

fn composite(leaves: &[&str]) -> AlarmNow {
    let mut now = alarm("composite", State::Alarm, &[]);
    now.alarm.watches = Watches::Alarms(leaves.iter().map(|leaf| (*leaf).to_owned()).collect());
    now
}

/// A composite alarm above one that names the stage, above one on data, which `change` changes.
fn nested(evaluated: &[Datapoint], change: fn(&mut AlarmNow)) -> Vec<AlarmNow> {
    let (mut top, mut between) = (composite(&["health"]), composite(&["5xx"]));
    top.alarm.name = "all".to_owned();
    between.alarm.name = "health".to_owned();
    between.alarm.description = Some("rollback-target: orders-api/prod".to_owned());
    between.actions = vec![];
    let mut data = AlarmNow { evaluated: evaluated.to_vec(), ..below("5xx", State::Alarm, &[]) };
    change(&mut data);
    vec![top, between, data]
}

/// An alarm without dimensions and without datapoints, as a log alarm or a query.
fn query(window: TimeDelta) -> AlarmNow {
    let mut now = AlarmNow { window, ..alarm("5xx", State::Alarm, &[]) };
    now.alarm.watches = Watches::Metrics(vec![]);
    now.alarm.description = Some("rollback-target: orders-api/prod".to_owned());
    now
}

/// A datapoint for each letter, breaching or within, in the minutes that end now.
fn minutes(now: DateTime<Utc>, readings: &str) -> Vec<Datapoint> {
    let since = now - TimeDelta::minutes(i64::try_from(readings.len()).unwrap());
    let points = readings.chars().zip(0..).map(|(letter, minute)| {
        let begins = since + TimeDelta::minutes(minute);
        let reading = if letter == 'B' { Reading::Breaching } else { Reading::Within };
        Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading }
    });
    points.collect()
}

type Change = fn(&mut Facts);

/// Release 2 is live for four minutes when `alarms` fire.
fn bad_release(alarms: impl FnOnce(&mut Facts) + 'static) -> Story {
    Story::with_known_good().deploy(2).later(4).world("alarms fire", alarms)
}

/// Release 2 is bad, and release 3 is deployed a minute after its alarm. `later` changes the world 20 minutes later.
fn fix(alarms: impl FnOnce(&mut Facts) + 'static, later: Change) -> Story {
    let story = bad_release(alarms).later(1).deploy(3);
    story.later(20).world("time passes", later)
}

fn is_rolled_back(story: &Story) -> bool {
    story.stage() == "d1" && story.world.facts().stages.values().all(|live| live.release.canary.is_none())
}

/// Sends the event of the first alarm and two sweeps.
fn judged(story: Story) -> Story {
    story.event_of_first_alarm().later(1).sweep().later(5).sweep()
}

fn check(case: &str, innocent: Story, guilty: Story) {
    let guilty = judged(guilty);
    assert!(is_rolled_back(&guilty), "{case}: the guilty one is live\n{}", guilty.described);
    let mut innocent = judged(innocent);
    for _ in 0..10 {
        innocent = innocent.later(5).sweep();
    }
    assert!(!is_rolled_back(&innocent), "{case}: the innocent one is gone\n{}", innocent.described);
}

#[test]
fn trouble_from_before_a_release_acquits_it() {
    check(
        "an outage",
        bad_release(|facts| {
            let evaluated = minutes(facts.now - TimeDelta::minutes(4), "BB");
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
        bad_release(|facts| {
            let evaluated = minutes(facts.now, "BB");
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
    );
    check(
        "a shared backend, down before and after",
        bad_release(|facts| {
            let evaluated = minutes(facts.now, "BBBBBB");
            facts.datapoints.insert("5xx".to_owned(), evaluated.clone());
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
        bad_release(|facts| {
            let evaluated = minutes(facts.now, "BWBBBB");
            facts.datapoints.insert("5xx".to_owned(), evaluated.clone());
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
    );
    check(
        "the errors of the base below a canary",
        bad_release(|facts| {
            with_canary(facts);
            let evaluated = minutes(facts.now, "BBBBBB");
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
        bad_release(|facts| {
            with_canary(facts);
            let evaluated = minutes(facts.now, "WWWBBB");
            fires(facts, vec![AlarmNow { evaluated, ..plain() }]);
        }),
    );
    check(
        "the errors of an earlier canary",
        bad_release(|facts| {
            with_canary(facts);
            let evaluated = minutes(facts.now - TimeDelta::minutes(4), "BB");
            fires(facts, vec![AlarmNow { evaluated, ..alarm("5xx", State::Alarm, &CANARY) }]);
        }),
        bad_release(|facts| {
            with_canary(facts);
            fires(
                facts,
                vec![AlarmNow { evaluated: minutes(facts.now, "BB"), ..alarm("5xx", State::Alarm, &CANARY) }],
            );
        }),
    );
}

/// Release 2 is a canary over the known-good release, instead of the whole stage.
fn with_canary(facts: &mut Facts) {
    let deployment = Some("d2".to_owned());
    let canary = Canary { percent: "10".to_owned(), deployment, overrides: [].into(), uses_cache: false };
    facts.stage().release = release("d1", &[("release", "1")]);
    facts.stage().release.canary = Some(canary);
}

#[test]
fn an_alarm_that_its_owner_silenced_or_that_is_about_others_accuses_nobody() {
    check(
        "suppressed",
        bad_release(|facts| {
            let mut now = composite(&["orders"]);
            now.alarm.suppressed_by = Some("maintenance".to_owned());
            fires(facts, vec![now, below("orders", State::Alarm, &OURS)]);
        }),
        bad_release(|facts| fires(facts, vec![composite(&["orders"]), below("orders", State::Alarm, &OURS)])),
    );
    check(
        "muted",
        bad_release(|facts| {
            facts.muted.insert("5xx".to_owned(), "deploys".to_owned());
            fires(facts, vec![plain()]);
        }),
        bad_release(|facts| {
            facts.muted.insert("latency".to_owned(), "deploys".to_owned());
            fires(facts, vec![plain()]);
        }),
    );
    check(
        "perhaps muted",
        bad_release(|facts| fires(facts, vec![plain()])).with_fault(
            "ListAlarmMuteRules",
            0,
            Fault::Before(denied()),
        ),
        bad_release(|facts| fires(facts, vec![plain()])),
    );
    let missing = |only_missing_data: bool| {
        let mut now = plain();
        now.alarm.only_missing_data = only_missing_data;
        bad_release(|_| ()).world("the alarm fires", move |facts| fires(facts, vec![now]))
    };
    check("missing data", missing(true), missing(false));
    let both = |orders, billing| {
        let leaves = vec![
            composite(&["orders", "billing"]),
            below("orders", orders, &OURS),
            below("billing", billing, &NEIGHBOR),
        ];
        bad_release(|_| ()).world("the alarm fires", move |facts| fires(facts, leaves))
    };
    check("the neighbor's errors", both(State::Ok, State::Alarm), both(State::Alarm, State::Ok));
    let of_account = |account: &str| {
        let mut now = plain();
        let Watches::Metrics(metrics) = &mut now.alarm.watches else { unreachable!() };
        metrics[0].account = Some(account.to_owned());
        bad_release(|_| ()).world("the alarm fires", move |facts| fires(facts, vec![now]))
    };
    check("another account's API of the same name", of_account("999999999999"), of_account("123456789012"));
    let watched = |actions: bool| {
        let mut now = alarm("4xx", State::Alarm, &OURS);
        if !actions {
            now.actions.clear();
        }
        bad_release(|_| ()).world("the alarm fires", move |facts| fires(facts, vec![now]))
    };
    // Nobody is notified of the 4xx alarm, so it has no event either.
    let unguarded = watched(false).sweep().later(5).sweep().later(31).sweep();
    assert!(!is_rolled_back(&unguarded), "a release that only added 4xx: {}", unguarded.described);
    assert!(is_rolled_back(&judged(watched(true))));
    check(
        "a load test under a hold",
        bad_release(|facts| fires(facts, vec![plain()]))
            .command("hold", &serde_json::json!({"until": "2026-11-20T23:00:00Z"})),
        bad_release(|facts| fires(facts, vec![plain()])),
    );
}

#[test]
fn a_fix_stays_until_the_alarm_speaks_about_it() {
    check(
        "a plain alarm, by data",
        fix(
            |facts| fires(facts, vec![plain()]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBWWWWWWWWWWWWWWWWWWWW"));
            },
        ),
        fix(
            |facts| fires(facts, vec![plain()]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBBBBBBBBBBBBBBBBBBBBB"));
            },
        ),
    );
    check(
        "an alarm whose window still holds the old errors",
        fix(
            |facts| fires(facts, vec![AlarmNow { window: TimeDelta::minutes(20), ..plain() }]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBBWWWWWWWWWWWWWWWWWWW"));
            },
        ),
        fix(
            |facts| fires(facts, vec![AlarmNow { window: TimeDelta::minutes(20), ..plain() }]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBBWWWWWWWBWWWWWWWWWWW"));
            },
        ),
    );
    check(
        "a composite alarm, by its leaf's data",
        fix(
            |facts| fires(facts, vec![composite(&["5xx"]), below("5xx", State::Alarm, &OURS)]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBWWWWWWWWWWWWWWWWWWWW"));
            },
        ),
        fix(
            |facts| fires(facts, vec![composite(&["5xx"]), below("5xx", State::Alarm, &OURS)]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBWWWWWWWWWWWWWWWWWWBB"));
            },
        ),
    );
    // API Gateway's times are whole seconds.
    let in_the_same_second = |milliseconds: i64| {
        bad_release(|_| ()).deploy(3).world("the alarm fires", move |facts| {
            facts.now += TimeDelta::milliseconds(milliseconds);
            fires(facts, vec![plain()]);
            facts.datapoints.insert("5xx".to_owned(), minutes(facts.now, "BBBB"));
        })
    };
    check("a fix in the alarm's own second", in_the_same_second(900), in_the_same_second(1_100));
}

#[test]
fn a_composite_alarm_speaks_at_the_time_of_the_stages_own_alarm() {
    // The neighbor's errors set the composite alarm off long before; only the stage's own alarm says when it is about us.
    let after_the_fix = |ours: State| {
        let leaves = || {
            vec![
                composite(&["orders", "billing"]),
                below("orders", State::Ok, &OURS),
                below("billing", State::Alarm, &NEIGHBOR),
            ]
        };
        bad_release(|_| ())
            .world("the neighbor's alarm fires", move |facts| fires(facts, leaves()))
            .later(10)
            .deploy(3)
            .later(2)
            .world("time passes", move |facts| {
                let orders = &mut facts.alarms[1].alarm;
                (orders.state, orders.changed_at) = (ours, Some(facts.now));
            })
    };
    check("a neighbor's alarm before the release", after_the_fix(State::Ok), after_the_fix(State::Alarm));
}

/// The alarm on errors fires while release 2 is live, that on latency a minute after the fix, by the minutes before it.
#[test]
fn of_two_alarms_below_a_composite_one_only_the_one_that_accuses_the_fix_judges_it() {
    let both = |late: fn(&mut AlarmNow, DateTime<Utc>), errors: &'static str| {
        bad_release(|facts| {
            fires(facts, vec![below("5xx", State::Alarm, &OURS), below("p99", State::Ok, &OURS)]);
        })
        .later(1)
        .deploy(3)
        .later(3)
        .world("the composite alarm fires", move |facts| {
            let (mut p99, now) = (below("p99", State::Alarm, &OURS), facts.now);
            p99.alarm.changed_at = Some(now);
            p99.evaluated = minutes(now - TimeDelta::minutes(3), "BB");
            late(&mut p99, now);
            let mut top = composite(&["5xx", "p99"]);
            top.alarm.changed_at = Some(now);
            facts.alarms[1] = p99;
            facts.alarms.insert(0, top);
            facts.datapoints.insert("5xx".to_owned(), minutes(now, errors));
        })
    };
    check("its data is from before the fix", both(|_, _| (), "BBWWWW"), both(|_, _| (), "BBWWWB"));
    check(
        "it fired because data is missing",
        both(|p99, _| p99.alarm.only_missing_data = true, "BBWWWW"),
        both(|p99, _| p99.alarm.only_missing_data = true, "BBWWWB"),
    );
    check(
        "it reads the metrics of another account",
        both(|p99, _| p99.alarm.claimed.account = Some("222222222222".to_owned()), "BBWWWW"),
        both(|p99, now| p99.evaluated = minutes(now, "B"), "BBWWWW"),
    );
}

/// The composite alarm between names the stage; the alarm on data below it says of which release the errors are.
#[test]
fn a_composite_alarm_that_names_the_stage_below_another_one_is_judged_by_the_data_below_it() {
    let before = |facts: &Facts| minutes(facts.now - TimeDelta::minutes(4), "BB");
    check(
        "the errors began before the release",
        bad_release(move |facts| {
            let alarms = nested(&before(facts), |_| ());
            fires(facts, alarms);
        }),
        bad_release(move |facts| {
            let alarms = nested(&minutes(facts.now, "BB"), |_| ());
            fires(facts, alarms);
        }),
    );
    check(
        "data is missing",
        bad_release(move |facts| {
            let alarms = nested(&[], |data| data.alarm.only_missing_data = true);
            fires(facts, alarms);
        }),
        bad_release(move |facts| {
            let alarms = nested(&[], |_| ());
            fires(facts, alarms);
        }),
    );
    check(
        "a fix, by the window of the alarm on data",
        fix(move |facts| fires(facts, nested(&[], |data| data.window = TimeDelta::days(1))), |_| ()),
        fix(move |facts| fires(facts, nested(&[], |data| data.window = TimeDelta::minutes(15))), |_| ()),
    );
}

/// Only the alarm on another service fires, which names no stage.
#[test]
fn a_composite_alarm_with_a_directive_speaks_for_all_below_it_whatever_they_name_themselves() {
    const DIRECTIVE: Option<&str> = Some("rollback-target: orders-api/prod");
    let both = |of_top: Option<&'static str>, functions: State| {
        bad_release(move |facts| {
            let mut top = composite(&["5xx", "functions"]);
            top.alarm.description = of_top.map(str::to_owned);
            let mut errors = below("5xx", State::Ok, &OURS);
            errors.alarm.description = DIRECTIVE.map(str::to_owned);
            fires(facts, vec![top, errors, below("functions", functions, &[])]);
        })
    };
    check("with the directive, and without it", both(None, State::Alarm), both(DIRECTIVE, State::Alarm));
}

#[test]
fn without_data_about_a_fix_silence_acquits_it_and_time_judges_it() {
    // Silence since the change says nothing against it. If not even the errors before it can be read, time decides.
    check(
        "a fix without traffic",
        fix(
            |facts| fires(facts, vec![plain()]),
            |facts| {
                let before = minutes(facts.now - TimeDelta::minutes(20), "BB");
                facts.datapoints.insert("5xx".to_owned(), before);
            },
        ),
        fix(
            |facts| fires(facts, vec![plain()]),
            |facts| {
                facts.datapoints.insert("5xx".to_owned(), vec![]);
            },
        ),
    );
    // Without data, a full evaluation must pass: here the window of a log alarm, or of a query of 300 s x 3.
    check(
        "a log alarm or a query, by time",
        fix(|facts| fires(facts, vec![query(TimeDelta::days(1))]), |_| ()),
        fix(|facts| fires(facts, vec![query(TimeDelta::minutes(15))]), |_| ()),
    );
}

/// How long after a fix each kind of alarm, without datapoints, lets the sweep judge it: its window, two minutes for
/// publication and evaluation, and a minute for the clocks.
#[test]
fn a_fix_has_the_time_of_a_full_evaluation_from_every_kind_of_alarm() {
    type Kind = (&'static str, fn() -> Vec<AlarmNow>, i64);
    let kinds: [Kind; 4] = [
        ("60 s x 1", || vec![plain()], 5),
        ("300 s x 3", || vec![query(TimeDelta::minutes(20))], 23),
        ("PromQL with a recovery of 600 s", || vec![query(TimeDelta::minutes(11))], 14),
        (
            "a composite alarm over it",
            || vec![composite(&["5xx"]), AlarmNow { actions: vec![], ..query(TimeDelta::minutes(11)) }],
            14,
        ),
    ];
    for (kind, alarms, minutes) in kinds {
        let fixed = |after: i64| {
            let story = bad_release(|_| ()).world("the alarm fires", |facts| fires(facts, alarms()));
            story.later(1).deploy(3).later(after).sweep()
        };
        assert_eq!(fixed(minutes).stage(), "d3", "{kind}");
        assert_eq!(fixed(minutes + 1).stage(), "d1", "{kind}");
    }
}

#[test]
fn the_time_of_the_event_counts_if_cloudwatch_tells_a_later_one_or_none() {
    for told in [Some(2), None] {
        let story = bad_release(|facts| fires(facts, vec![plain()])).later(1).deploy(3).later(1);
        let story = story.world("the alarm's state is updated", |facts| {
            facts.alarms[0].alarm.changed_at = told.map(|minutes| facts.now + TimeDelta::minutes(minutes));
        });
        let fired = story.now() - TimeDelta::minutes(2);
        let message = serde_json::json!({
            "AlarmName": "5xx", "AlarmArn": "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:5xx",
            "NewStateValue": "ALARM", "StateChangeTime": fired, "NewStateReason": "Threshold Crossed",
            "Trigger": {"Namespace": "AWS/ApiGateway", "MetricName": "5XXError", "Dimensions":
                [{"name": "ApiName", "value": "orders-api"}, {"name": "Stage", "value": "prod"}]},
        });
        let story = story.send("the alarm's event arrives", &message.to_string());
        assert_eq!(story.stage(), "d3", "{told:?}\n{}", story.described);
        assert!(story.described.contains("changed-after-alarm"), "{told:?}\n{}", story.described);
    }
}
