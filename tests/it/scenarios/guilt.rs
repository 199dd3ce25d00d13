//! The requests of a release decide what an alarm may cause: guilty and innocent releases, with and without an access log.
//!
//! In each row release 1 is known-good, release 2 is live since 10:00:00, the alarm fired at 10:05:12, and it is 10:06:00.

use apigw_rollback::model::access_log::{self, AccessLog};
use apigw_rollback::model::alarm::{Metric, State, Watches};
use apigw_rollback::model::guilt::Verdict;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Candidate, print};
use apigw_rollback::model::release::Canary;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::traffic::Bucket;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::harness::{event, reports};
use crate::support::world::{API, Facts, Fault, World, at, denied, live, record, release};

/// The requests of a deployment or of the whole stage: the name of the counter, the beginning, the number of periods of so
/// many seconds, and the number of requests and failures in each.
type Series = (&'static str, &'static str, usize, i64, (u64, u64));

/// The case, its world, its requests and the outcome.
type Row = (&'static str, fn(&mut Facts), Vec<Series>, &'static str);

const LOG: &str = "the access log";
const OWN: &str = "own metrics";

/// The access log of a REST stage counts requests by deployment, and the last sweep saw the known-good release.
fn logged(facts: &mut Facts) {
    swept_before_the_release(facts);
    let format = access_log::format(Protocol::Rest);
    facts.stage().access_log = Some(AccessLog { destination: String::new(), format });
}

/// The access log counts the requests of the whole stage.
fn logged_by_stage(facts: &mut Facts) {
    let format = access_log::format(Protocol::Http);
    facts.stage().access_log = Some(AccessLog { destination: String::new(), format });
}

fn watches(facts: &mut Facts, namespace: &str, name: &str) {
    let dimensions =
        vec![("ApiName".to_owned(), "orders-api".to_owned()), ("Stage".to_owned(), "prod".to_owned())];
    let metric = Metric { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, account: None };
    facts.alarms[0].alarm.watches = Watches::Metrics(vec![metric]);
    facts.alarms[0].alarm.description = Some(format!("rollback-target: {API}/prod"));
}

/// The alarm watches the access log's metrics.
fn fast(facts: &mut Facts) {
    watches(facts, access_log::NAMESPACE, access_log::STATUS);
}

fn with_log_and_fast_alarm(facts: &mut Facts) {
    logged(facts);
    fast(facts);
}

/// Release 1 is live, with release 2 as its canary.
fn canary(facts: &mut Facts) {
    with_log_and_fast_alarm(facts);
    let live = &mut facts.stage().release;
    let overrides = [].into();
    live.canary = Some(Canary {
        deployment: Some("d2".to_owned()),
        percent: "10".to_owned(),
        overrides,
        uses_cache: false,
    });
    live.deployment = "d1".to_owned();
    live.variables = [("release".to_owned(), "1".to_owned())].into();
}

/// The function's own sweep, at 09:59:30, finds the stage with its known-good release.
fn swept_before_the_release(facts: &mut Facts) {
    let mut before = Facts::bad_release();
    before.now = at("2026-11-20T09:59:30Z");
    *before.stage() = live(release("d1", &[("release", "1")]), "2026-11-20T09:00:00Z");
    for now in &mut before.alarms {
        now.alarm.state = State::Ok;
    }
    let world = World::new(before);
    let _ = reports(r#"{"command":"sweep"}"#, &world);
    let sweep = world.facts().parameters["/apigw-rollback/sweep"].clone();
    facts.parameters.insert("/apigw-rollback/sweep".to_owned(), sweep);
}

/// The last sweep, at 09:59:30, found the stage in this state.
fn swept(facts: &mut Facts, state: &str) {
    let sweep = json!({"schema": 1, "at": "2026-11-20T09:59:30Z", "run": "run", "stages": 1,
        "states": {format!("rest/{API}/prod"): state}});
    facts.parameters.insert("/apigw-rollback/sweep".to_owned(), vec![sweep.to_string()]);
}

fn add(facts: &mut Facts, (name, from, periods, seconds, (requests, failed)): &Series) {
    let first = at(&format!("2026-11-20T{from}Z"));
    let begins = (0..*periods).zip(0..).map(|(_, nth)| first + TimeDelta::seconds(seconds * nth));
    let buckets = begins.map(|begins| Bucket { begins, requests: *requests, failed: *failed, slow: 0 });
    facts.requests.entry((*name).to_owned()).or_default().extend(buckets);
}

fn outcome(report: &Report) -> String {
    let verdict = match report.test.as_ref().map(|test| test.verdict) {
        Some(Verdict::Convicted) => "convicted",
        Some(Verdict::Acquitted) => "acquitted",
        Some(Verdict::Undecided) => "undecided",
        None => "not tested",
    };
    let code = report.code().map_or(String::new(), |code| format!(" ({code})"));
    format!("{}{code}, {verdict}", report.outcome.word())
}

fn check(case: &str, twist: impl FnOnce(&mut Facts), requests: &[Series], expected: &str) -> Report {
    let mut facts = Facts::bad_release();
    twist(&mut facts);
    for series in requests {
        add(&mut facts, series);
    }
    let reports = reports(&event("sns-alarm"), &World::new(facts));
    let [report] = reports.as_slice() else { panic!("{case}: {reports:?}") };
    assert_eq!(outcome(report), expected, "{case}: {} {:?}", report.message, report.warnings);
    report.clone()
}

/// Release 2 fails from its first request on.
const BAD: Series = ("d2", "10:00:00", 35, 10, (10, 10));
/// Release 2 does not.
const WELL: Series = ("d2", "10:00:00", 35, 10, (10, 0));
/// The known-good release failed before it, or did not.
const BAD_BEFORE: Series = ("d1", "09:55:00", 30, 10, (10, 9));
const WELL_BEFORE: Series = ("d1", "09:45:00", 90, 10, (10, 0));

#[test]
fn earlier_trouble_excuses_no_release_that_becomes_much_worse() {
    let as_before = ("d2", "10:00:00", 20, 10, (20, 8));
    let then_always = ("d2", "10:03:20", 10, 10, (10, 10));
    let before = ("d1", "09:55:00", 30, 10, (10, 4));
    let requests = [as_before, then_always, before];
    let report = check("", with_log_and_fast_alarm, &requests, "rolled-back, convicted");
    assert_eq!(report.test.unwrap().bad, 260);
}

#[test]
fn a_fast_alarm_convicts_nobody_and_the_requests_do() {
    let fast = with_log_and_fast_alarm;
    for (case, requests, expected) in [
        ("every request fails", vec![BAD, WELL_BEFORE], "rolled-back, convicted"),
        ("and the known-good release has no history", vec![BAD], "rolled-back, convicted"),
        (
            "and the known-good release failed, too",
            vec![BAD, BAD_BEFORE],
            "held (not-this-release), acquitted",
        ),
        ("no request fails", vec![WELL, WELL_BEFORE], "ignored (not-decided), undecided"),
        ("there are no requests", vec![], "ignored (not-decided), not tested"),
        (
            "the deployments of all lines are missing",
            vec![("-", "10:00:00", 35, 10, (10, 10))],
            "ignored (not-decided), not tested",
        ),
        (
            "one request in a hundred fails",
            vec![("d2", "10:00:00", 35, 10, (100, 1))],
            "ignored (not-decided), undecided",
        ),
        ("one request in five fails", vec![("d2", "10:00:00", 35, 10, (20, 4))], "rolled-back, convicted"),
        (
            "it begins to fail half a minute ago",
            vec![WELL, ("d2", "10:05:30", 3, 10, (10, 10))],
            "rolled-back, convicted",
        ),
        (
            "it failed and recovered",
            vec![("d2", "10:00:00", 3, 10, (10, 10)), ("d2", "10:01:00", 30, 10, (50, 0))],
            "ignored (not-decided), undecided",
        ),
        (
            "a burst of ten seconds",
            vec![
                ("d2", "10:00:00", 20, 10, (50, 0)),
                ("d2", "10:03:20", 1, 10, (50, 20)),
                ("d2", "10:03:30", 14, 10, (50, 0)),
            ],
            "ignored (not-decided), undecided",
        ),
        (
            "the shared trouble ended, and then it failed",
            vec![
                BAD_BEFORE,
                ("d2", "10:00:00", 6, 10, (10, 9)),
                ("d2", "10:01:00", 12, 10, (10, 0)),
                ("d2", "10:03:00", 17, 10, (10, 10)),
            ],
            "rolled-back, convicted",
        ),
        (
            "it fails much more often than the one before",
            vec![("d1", "09:55:00", 30, 10, (50, 8)), ("d2", "10:00:00", 35, 10, (50, 50))],
            "rolled-back, convicted",
        ),
        (
            "only its time before the last deploy was bad",
            vec![("d2", "09:30:00", 60, 10, (10, 10)), ("d2", "10:00:00", 35, 10, (10, 0))],
            "ignored (not-decided), undecided",
        ),
    ] {
        let _ = check(case, fast, &requests, expected);
    }
}

#[test]
fn the_known_good_deployment_may_have_served_other_variables_since_a_sweep_saw_it() {
    let unseen = |facts: &mut Facts| {
        with_log_and_fast_alarm(facts);
        swept(facts, "the bake time runs");
    };
    let _ = check("an edit broke it", unseen, &[BAD, BAD_BEFORE], "ignored (not-decided), undecided");
}

#[test]
fn a_slower_alarm_keeps_its_verdict_unless_the_requests_have_one() {
    let other_metric = |facts: &mut Facts| {
        logged(facts);
        watches(facts, "Shop", "LostOrders");
    };
    let fixed = |facts: &mut Facts| {
        logged(facts);
        facts.stage().updated_at = Some(at("2026-11-20T10:05:20Z"));
    };
    let after = ("d2", "10:05:20", 4, 10, (10, 10));
    let cases: [Row; 7] = [
        ("nothing is known", logged, vec![], "rolled-back, not tested"),
        ("few requests", logged, vec![("d2", "10:05:00", 1, 10, (1, 1))], "rolled-back, undecided"),
        ("every request fails", logged, vec![BAD, WELL_BEFORE], "rolled-back, convicted"),
        ("both releases fail", logged, vec![BAD, BAD_BEFORE], "held (not-this-release), acquitted"),
        (
            "both fail, but the alarm watches something else",
            other_metric,
            vec![BAD, BAD_BEFORE],
            "rolled-back, acquitted",
        ),
        (
            "a fix after the alarm, about which nothing is known",
            fixed,
            vec![],
            "held (changed-after-alarm), not tested",
        ),
        ("a fix after the alarm, which fails, too", fixed, vec![after], "rolled-back, convicted"),
    ];
    for (case, twist, requests, expected) in cases {
        let _ = check(case, twist, &requests, expected);
    }
}

#[test]
fn requests_that_may_be_from_before_a_fix_convict_it_not() {
    let fixed = |facts: &mut Facts| facts.stage().updated_at = Some(at("2026-11-20T10:05:20Z"));
    let seen_before = |facts: &mut Facts| {
        logged(facts);
        fixed(facts);
        let live = facts.stage().release.clone();
        let candidate = Candidate::new(Protocol::Rest, &live, at("2026-11-20T09:50:00Z"));
        let name = format!("/apigw-rollback/stages/{API}/prod/candidate");
        facts.parameters.insert(name, vec![print(&candidate).unwrap()]);
    };
    let held = "held (changed-after-alarm), not tested";
    // API Gateway counts requests of the minute before.
    let _ = check("counted late", fixed, &[(OWN, "10:06:00", 1, 60, (60, 60))], held);
    // Only the function's clock says since when the release is live.
    let _ = check("by another clock", seen_before, &[("d2", "10:05:20", 4, 10, (10, 10))], held);
}

#[test]
fn a_canary_is_compared_with_its_base() {
    let base = |failed| ("d1", "10:00:00", 35, 10, (150, failed));
    for (case, requests, expected) in [
        (
            "all its requests fail",
            vec![("d2", "10:00:00", 35, 10, (17, 17)), base(1)],
            "rolled-back, convicted",
        ),
        (
            "both fail alike",
            vec![("d2", "10:00:00", 35, 10, (17, 17)), base(150)],
            "held (not-this-release), acquitted",
        ),
        (
            "neither fails",
            vec![("d2", "10:00:00", 35, 10, (17, 0)), base(0)],
            "ignored (not-decided), undecided",
        ),
        (
            "only the base fails",
            vec![("d2", "10:00:00", 35, 10, (17, 0)), base(150)],
            "held (not-this-release), acquitted",
        ),
        (
            "it fails more often, but within what is tolerated",
            vec![("d2", "10:00:00", 35, 10, (170, 5)), base(0)],
            "ignored (not-decided), undecided",
        ),
        (
            "both are in trouble, and it fails somewhat more often",
            vec![("d2", "10:04:00", 6, 10, (17, 8)), ("d1", "10:04:00", 6, 10, (150, 30))],
            "ignored (not-decided), undecided",
        ),
        ("the base has no requests", vec![("d2", "10:00:00", 35, 10, (17, 17))], "rolled-back, convicted"),
    ] {
        let _ = check(case, canary, &requests, expected);
    }
}

#[test]
fn without_deployments_the_requests_before_and_after_the_release_count() {
    let by_stage = |facts: &mut Facts| {
        logged_by_stage(facts);
        fast(facts);
        swept_before_the_release(facts);
    };
    let unseen = |facts: &mut Facts| {
        logged_by_stage(facts);
        fast(facts);
    };
    // The function saw the release by its own clock, so a minute more is left out.
    let seen = |facts: &mut Facts| {
        logged_by_stage(facts);
        fast(facts);
        let deployment = facts.stage().release.clone();
        let candidate = json!({"schema": 1, "release": deployment, "first_seen": "2026-11-20T09:58:59Z"});
        let name = format!("/apigw-rollback/stages/{API}/prod/candidate");
        facts.parameters.insert(name, vec![candidate.to_string()]);
    };
    let cases: [Row; 8] = [
        (
            "every request failed before, but no sweep saw which release answered them",
            unseen,
            vec![(LOG, "09:50:00", 95, 10, (10, 10))],
            "ignored (not-decided), undecided",
        ),
        (
            "the trouble had ended before the release",
            by_stage,
            vec![
                (LOG, "09:50:00", 51, 10, (10, 10)),
                (LOG, "09:58:30", 9, 10, (10, 0)),
                (LOG, "10:00:10", 34, 10, (10, 10)),
            ],
            "rolled-back, convicted",
        ),
        (
            "every request fails since",
            by_stage,
            vec![(LOG, "09:50:00", 60, 10, (10, 0)), (LOG, "10:00:00", 35, 10, (10, 10))],
            "rolled-back, convicted",
        ),
        (
            "every request failed before, too",
            by_stage,
            vec![(LOG, "09:50:00", 95, 10, (10, 10))],
            "held (not-this-release), acquitted",
        ),
        (
            "it failed until the release",
            by_stage,
            vec![(LOG, "09:50:00", 61, 10, (10, 10)), (LOG, "10:00:10", 34, 10, (10, 0))],
            "ignored (not-decided), undecided",
        ),
        (
            "only the first seconds are bad, while the deployment spreads",
            by_stage,
            vec![(LOG, "10:00:00", 1, 10, (100, 100)), (LOG, "10:00:10", 34, 10, (10, 0))],
            "ignored (not-decided), undecided",
        ),
        (
            "our clock is a minute ahead, and what was before failed",
            seen,
            vec![(LOG, "09:50:00", 66, 10, (10, 10)), (LOG, "10:01:00", 30, 10, (10, 0))],
            "ignored (not-decided), undecided",
        ),
        ("and it fails later", seen, vec![(LOG, "10:01:00", 30, 10, (10, 10))], "rolled-back, convicted"),
    ];
    for (case, twist, requests, expected) in cases {
        let _ = check(case, twist, &requests, expected);
    }
}

#[test]
fn without_an_access_log_the_minutes_before_and_after_the_release_count() {
    let changed = |facts: &mut Facts| facts.stage().updated_at = Some(at("2026-11-20T10:05:20Z"));
    let cases: [Row; 7] = [
        (
            "the known-good release is live, and its own requests failed before",
            |facts| {
                swept_before_the_release(facts);
                facts.stage().release = release("d1", &[("release", "1")]);
            },
            vec![(OWN, "09:50:00", 15, 60, (60, 60))],
            "held (already-known-good), undecided",
        ),
        (
            "it fails since",
            |_| (),
            vec![(OWN, "09:50:00", 10, 60, (60, 0)), (OWN, "10:01:00", 4, 60, (60, 60))],
            "rolled-back, convicted",
        ),
        (
            "they failed before, too",
            swept_before_the_release,
            vec![(OWN, "09:50:00", 15, 60, (60, 60))],
            "held (not-this-release), acquitted",
        ),
        (
            "the minute of the release may count requests from before it",
            |_| (),
            vec![(OWN, "10:00:00", 1, 60, (600, 600)), (OWN, "10:01:00", 4, 60, (60, 0))],
            "rolled-back, undecided",
        ),
        (
            "a fix after the alarm",
            changed,
            vec![(OWN, "09:50:00", 10, 60, (60, 0)), (OWN, "10:00:00", 5, 60, (60, 60))],
            "held (changed-after-alarm), not tested",
        ),
        (
            "another release was live before",
            |facts| swept(facts, "the bake time runs"),
            vec![(OWN, "09:50:00", 10, 60, (60, 60)), (OWN, "10:01:00", 4, 60, (60, 60))],
            "rolled-back, undecided",
        ),
        (
            "nothing says when the release went live",
            |facts| facts.stage().updated_at = None,
            vec![(OWN, "10:01:00", 4, 60, (60, 60))],
            "rolled-back, not tested",
        ),
    ];
    for (case, twist, requests, expected) in cases {
        let _ = check(case, twist, &requests, expected);
    }
}

#[test]
fn requests_that_cannot_be_counted_are_told_and_the_alarm_alone_decides() {
    for (case, twist, expected) in [
        ("a slower alarm", (|_: &mut Facts| ()) as fn(&mut Facts), "rolled-back, not tested"),
        ("a slower alarm, with an access log", logged, "rolled-back, not tested"),
        ("a fast alarm", with_log_and_fast_alarm, "ignored (not-decided), not tested"),
    ] {
        let mut facts = Facts::bad_release();
        twist(&mut facts);
        let world = World::new(facts).fault("GetMetricData", 0, Fault::Before(denied()));
        let reports = reports(&event("sns-alarm"), &world);
        assert_eq!(outcome(&reports[0]), expected, "{case}");
        let told = reports[0]
            .warnings
            .iter()
            .any(|one| one.contains("could not be counted") && one.contains("AccessDenied"));
        assert!(told, "{case}: {:?}", reports[0].warnings);
    }
}

#[test]
fn a_sweep_from_before_the_record_saw_another_known_good_release() {
    let recorded = |facts: &mut Facts| {
        with_log_and_fast_alarm(facts);
        let mut record = record(release("d1", &[("release", "1")]));
        record.recorded_at = at("2026-11-20T09:59:31Z");
        facts.known_good(&print(&record).unwrap());
    };
    let _ = check("recorded later", recorded, &[BAD, BAD_BEFORE], "ignored (not-decided), undecided");
}

#[test]
fn a_report_says_why_in_numbers() {
    let report = check("", with_log_and_fast_alarm, &[BAD, WELL_BEFORE], "rolled-back, convicted");
    assert_eq!(
        report.test.as_ref().unwrap().to_string(),
        "deployment d2: 350 of 350 requests failed (100 %) since 2026-11-20T10:00:00Z; tolerated 5 %; for comparison d1: 0 %"
    );
    // A stage without an access log does not say which release answered before.
    let own = [(OWN, "09:50:00", 10, 60, (60, 0)), (OWN, "10:01:00", 4, 60, (60, 60))];
    let report = check("", |_| (), &own, "rolled-back, convicted");
    let found = report.test.as_ref().unwrap().to_string();
    assert!(found.ends_with("; tolerated 5 %; for comparison the stage before it: 0 %"), "{found}");
    let report = check("", with_log_and_fast_alarm, &[BAD, BAD_BEFORE], "held (not-this-release), acquitted");
    assert_eq!(report.outcome, Outcome::Held);
    assert_eq!(
        report.message,
        "the alarm `orders-prod-5xx` is not about the live release: deployment d2: 350 of 350 requests failed (100 %) since \
         2026-11-20T10:00:00Z; tolerated 5 %; for comparison d1: 90 %"
    );
}
