//! The tests of which metrics count the requests of a release, and from when on they are about it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::counters::{
    Began, began, known_good_seen, of_access_log, of_own_metrics, of_release, of_versions,
};
use super::fixture::{good, record, release, rollout, rollout_of_versions};
use crate::model::access_log::{AccessLog, format};
use crate::model::alarm::time;
use crate::model::observed::{KnownGood, Observed, OnRecord};
use crate::model::protocol::Protocol;
use crate::model::records::{Candidate, LastSweep, Record, SCHEMA};
use crate::model::release::Canary;
use crate::model::rollout::{Rollout, RolloutState};
use crate::model::stage::{LiveStage, StageRef};
use crate::model::traffic::{Bucket, Counter, Source, Statistic, Traffic};

/// So many seconds after the release.
fn at(second: i64) -> DateTime<Utc> {
    time("2026-11-20T10:00:00Z").unwrap() + TimeDelta::seconds(second)
}

/// Gives the stage an access log with this format.
fn log(live: &mut LiveStage, format: String) {
    live.access_log = Some(AccessLog { destination: "arn".to_owned(), format });
}

/// Gives the stage a canary.
fn split(live: &mut LiveStage, deployment: Option<&str>) {
    let deployment = deployment.map(str::to_owned);
    let canary = Canary { deployment, percent: "10".into(), overrides: BTreeMap::new(), uses_cache: false };
    live.release.canary = Some(canary);
}

fn known_good(on_record: &mut OnRecord) -> &mut Record {
    match &mut on_record.known_good {
        KnownGood::Found { record, .. } => record,
        KnownGood::None { .. } | KnownGood::Unusable { .. } => panic!("there is a record"),
    }
}

fn running(on_record: &mut OnRecord, rollout: Rollout) {
    on_record.rollout = Ok(Some((1, Box::new(rollout))));
}

/// Shows statistics with the values of their dimensions.
fn shown(statistics: &[Statistic]) -> String {
    let one = |of: &Statistic| {
        let dimensions: Vec<String> =
            of.metric.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (namespace, name) = (&of.metric.namespace, &of.metric.name);
        format!("{} of {namespace} {name} by {}", of.statistic, dimensions.join(","))
    };
    statistics.iter().map(one).collect::<Vec<_>>().join(" + ")
}

/// The values of the dimensions by which a counter counts.
fn values(of: &Counter) -> String {
    of.requests[0].metric.dimensions.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("/")
}

#[test]
fn an_access_log_counts_by_deployment_only_where_that_tells_releases_apart() {
    type Edit = fn(&mut LiveStage, &mut Observed);
    let rows: [(&str, Edit, Option<&str>); 10] = [
        ("another deployment is known-good", |_, _| (), Some("Deployments a/prod/d2 - a/prod/d1")),
        ("no access log", |live, _| live.access_log = None, None),
        ("lines that count nothing", |live, _| log(live, "$context.status".into()), None),
        (
            "lines without a deployment",
            |live, _| log(live, format(Protocol::Http)),
            Some("AccessLog a/prod - -"),
        ),
        (
            "its own deployment is known-good",
            |_, observed| record(observed).release.deployment = "d2".into(),
            Some("AccessLog a/prod - -"),
        ),
        (
            "nothing is known-good",
            |_, observed| observed.on_record.known_good = KnownGood::None { parameter: "p".into() },
            Some("AccessLog a/prod - -"),
        ),
        (
            "a canary, and another deployment is known-good",
            |live, _| split(live, Some("d3")),
            Some("Deployments a/prod/d2 a/prod/d3 a/prod/d1"),
        ),
        (
            "a canary, and its base is known-good",
            |live, observed| {
                split(live, Some("d3"));
                record(observed).release.deployment = "d2".into();
            },
            Some("Deployments a/prod/d2 a/prod/d3 -"),
        ),
        (
            "a canary without a deployment",
            |live, _| split(live, None),
            Some("Deployments a/prod/d2 - a/prod/d1"),
        ),
        (
            "a canary, and lines without a deployment",
            |live, _| {
                log(live, format(Protocol::Http));
                split(live, Some("d3"));
            },
            Some("AccessLog a/prod - -"),
        ),
    ];
    for (case, edit, expected) in rows {
        let (_, mut observed) = good();
        let mut live = observed.live.take().unwrap();
        log(&mut live, format(Protocol::Rest));
        edit(&mut live, &mut observed);
        let wanted = of_access_log(&observed.stage, &live, &observed.on_record, None);
        let other = |of: Option<Counter>| of.as_ref().map_or("-".to_owned(), values);
        let found = wanted.map(|of| {
            format!("{:?} {} {} {}", of.source, values(&of.live), other(of.canary), other(of.before))
        });
        assert_eq!(found.as_deref(), expected, "{case}");
    }
}

#[test]
fn an_access_log_counts_every_line_and_those_with_a_5xx_and_the_slow_ones() {
    let of = |statistic: &str, name: &str| {
        format!("{statistic} of apigw-rollback/access-log {name} by ApiId=a,Stage=prod")
    };
    let (requests, failed) = (of("SampleCount", "Status"), of("TC(499:599)", "Status"));
    let slow = of("TC(3000:)", "Latency");
    for (protocol, latency, slow) in [
        (Protocol::Rest, Some(3_000), slow.as_str()),
        (Protocol::Rest, None, ""),
        (Protocol::Http, Some(3_000), slow.as_str()),
        (Protocol::Http, None, ""),
        // API Gateway knows no latency for a WebSocket API.
        (Protocol::WebSocket, Some(3_000), ""),
        (Protocol::WebSocket, None, ""),
    ] {
        let (_, mut observed) = good();
        record(&mut observed).release.deployment = "d2".into();
        let mut live = observed.live.unwrap();
        log(&mut live, format(protocol));
        let stage = StageRef::new(protocol, "a", "prod");
        let wanted = of_access_log(&stage, &live, &observed.on_record, latency).unwrap();
        let found = [&wanted.live.requests, &wanted.live.failed, &wanted.live.slow].map(|of| shown(of));
        assert_eq!(found, [requests.as_str(), &failed, slow], "{protocol} {latency:?}");
    }
}

#[test]
fn api_gateways_own_metrics_have_the_names_and_dimensions_of_the_protocol() {
    let rest = |statistic: &str, name: &str, api: &str| {
        format!("{statistic} of AWS/ApiGateway {name} by ApiName={api},Stage=prod")
    };
    let v2 =
        |statistic: &str, name: &str| format!("{statistic} of AWS/ApiGateway {name} by ApiId=a,Stage=prod");
    let [orders, order_e, by_id] = ["orders", "order-", "a"].map(|api| {
        [rest("Sum", "Count", api), rest("Sum", "5XXError", api), rest("TC(3000:)", "Latency", api)]
    });
    let [count, failed, _] = orders.clone();
    let messages = format!("{} + {}", v2("Sum", "IntegrationError"), v2("Sum", "ExecutionError"));
    let http = [v2("Sum", "Count"), v2("Sum", "5xx"), v2("TC(3000:)", "Latency")];
    let websocket = [v2("Sum", "MessageCount"), messages, String::new()];
    for (case, protocol, names, latency, expected) in [
        ("REST", Protocol::Rest, vec!["orders", "old"], Some(3_000), Some(orders)),
        ("no latency", Protocol::Rest, vec!["orders"], None, Some([count, failed, String::new()])),
        ("a name that is not ASCII", Protocol::Rest, vec!["order-é"], Some(3_000), Some(order_e)),
        ("a name of which nothing is left", Protocol::Rest, vec!["注文"], Some(3_000), Some(by_id)),
        ("an unknown name", Protocol::Rest, vec![], Some(3_000), None),
        ("HTTP", Protocol::Http, vec![], Some(3_000), Some(http.clone())),
        ("HTTP, whatever its name", Protocol::Http, vec!["orders"], Some(3_000), Some(http)),
        ("WebSocket", Protocol::WebSocket, vec![], Some(3_000), Some(websocket)),
    ] {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let counter = of_own_metrics(&StageRef::new(protocol, "a", "prod"), &names, latency);
        let found = counter.map(|of| [of.requests, of.failed, of.slow].map(|of| shown(&of)));
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_rollout_of_aliases_counts_the_new_versions_beside_those_before() {
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders:live";
    let by_arn = |rollout: Rollout| {
        let mut base = rollout.base.clone();
        let target = base.aliases.remove(&"orders:live".parse().unwrap()).unwrap();
        base.aliases = [(arn.parse().unwrap(), target)].into();
        Rollout { base, versions: [(arn.parse().unwrap(), "2".to_owned())].into(), ..rollout }
    };
    let of = |name: &str, function: &str, version: &str| {
        let dimensions =
            format!("FunctionName={function},Resource={function}:live,ExecutedVersion={version}");
        format!("Sum of AWS/Lambda {name} by {dimensions}")
    };
    let both = |name: &str, orders: &str, web: &str| {
        format!("{} + {}", of(name, "orders", orders), of(name, "web", web))
    };
    let two = [
        both("Invocations", "1", "7"),
        both("Errors", "1", "7"),
        both("Invocations", "2", "8"),
        both("Errors", "2", "8"),
    ];
    let one = [
        of("Invocations", "orders", "1"),
        of("Errors", "orders", "1"),
        of("Invocations", "orders", "2"),
        of("Errors", "orders", "2"),
    ];
    let versions = || rollout_of_versions(RolloutState::Baking);
    for (case, rollout, expected) in [
        ("two aliases", Some(versions()), Some(two)),
        ("an alias by its ARN", Some(by_arn(versions())), Some(one)),
        ("no rollout", None, None),
        ("a rollout of a canary", Some(rollout(RolloutState::Baking)), None),
        ("a rollout that has ended", Some(rollout_of_versions(RolloutState::Promoted)), None),
    ] {
        let (_, mut observed) = good();
        observed.on_record.rollout = Ok(rollout.map(|rollout| (1, Box::new(rollout))));
        let found = of_versions(&observed.on_record).map(|wanted| {
            let new = wanted.canary.unwrap();
            assert!(wanted.source == Source::Versions && wanted.before.is_none(), "{case}");
            assert!(wanted.live.slow.is_empty() && new.slow.is_empty(), "{case}");
            [wanted.live.requests, wanted.live.failed, new.requests, new.failed].map(|of| shown(&of))
        });
        assert_eq!(found, expected, "{case}");
    }
}

/// Release 2 without components, whose stage was changed at 0 s; release 1 is known-good.
fn certain() -> (LiveStage, OnRecord) {
    let (_, mut observed) = good();
    let recorded = &mut record(&mut observed).release;
    *recorded = recorded.in_stage();
    let live = observed.live.unwrap();
    let live = LiveStage { release: live.release.in_stage(), updated_at: Some(at(0)), ..live };
    (live, observed.on_record)
}

/// Release 2 with components, which a run first saw at 0 s; release 1 is known-good.
fn uncertain() -> (LiveStage, OnRecord) {
    let (_, mut observed) = good();
    observed.on_record.candidate = Some(Candidate::new(Protocol::Rest, &release("2"), at(0)));
    (observed.live.unwrap(), observed.on_record)
}

#[test]
fn a_release_began_when_its_stage_was_changed_or_else_when_a_run_saw_it() {
    type Edit = fn(&mut LiveStage, &mut OnRecord);
    /// The case, and in which second the release began, and whether that is certain.
    type Row = (&'static str, Edit, Option<(i64, bool)>);
    fn see(live: &LiveStage, on_record: &mut OnRecord, second: i64) {
        on_record.candidate = Some(Candidate::new(Protocol::Rest, &live.release, at(second)));
    }
    fn shift(on_record: &mut OnRecord, live_since: Option<i64>, state: RolloutState) {
        running(on_record, Rollout { live_since: live_since.map(at), ..rollout_of_versions(state) });
    }
    let of_the_stage: [Row; 6] = [
        ("the stage was changed", |_, _| (), Some((0, true))),
        ("it was seen later", |live, on_record| see(live, on_record, 30), Some((0, true))),
        (
            "it was seen before, but by another clock",
            |live, on_record| see(live, on_record, -60),
            Some((0, true)),
        ),
        ("it was seen before", |live, on_record| see(live, on_record, -61), Some((0, false))),
        (
            "its deployment was the canary's before",
            |live, on_record| {
                let mut before = LiveStage { release: release("1").in_stage(), ..live.clone() };
                split(&mut before, Some("d2"));
                see(&before, on_record, -600);
            },
            None,
        ),
        ("nobody says when", |live, _| live.updated_at = None, None),
    ];
    let with_components: [Row; 9] = [
        ("components, and a run saw it", |_, _| (), Some((0, false))),
        ("a run saw it after a change", |live, _| live.updated_at = Some(at(-30)), Some((0, false))),
        ("the stage changed since", |live, _| live.updated_at = Some(at(30)), Some((30, false))),
        ("no run saw it", |_, on_record| on_record.candidate = None, None),
        ("a run saw another release", |live, _| live.release.deployment = "d3".into(), None),
        ("aliases move", |_, on_record| shift(on_record, Some(40), RolloutState::Baking), Some((40, false))),
        ("aliases are about to move", |_, on_record| shift(on_record, None, RolloutState::Moving), None),
        (
            "aliases have moved",
            |_, on_record| shift(on_record, Some(40), RolloutState::Promoted),
            Some((0, false)),
        ),
        (
            "a canary gets traffic",
            |_, on_record| {
                running(on_record, Rollout { live_since: Some(at(40)), ..rollout(RolloutState::Baking) });
            },
            Some((0, false)),
        ),
    ];
    let rows = of_the_stage.map(|row| (certain(), row)).into_iter();
    for ((mut live, mut on_record), (case, edit, expected)) in
        rows.chain(with_components.map(|row| (uncertain(), row)))
    {
        edit(&mut live, &mut on_record);
        let found = began(&on_record, &live);
        assert_eq!(found, expected.map(|(second, certain)| Began { at: at(second), certain }), "{case}");
    }
}

/// The requests of twenty minutes before and five after the release, in periods that begin every second: one in each of the live
/// release, two of its canary, three of the release before.
fn read(source: Source) -> Traffic {
    let of = |requests: u64| -> Vec<Bucket> {
        (-1_200..=300).map(|second| Bucket { begins: at(second), requests, failed: 0, slow: 0 }).collect()
    };
    Traffic { source, live: of(1), canary: of(2), before: of(3), known_good_until: None }
}

/// The number of requests in each period, and the first and the last second in which one begins.
fn span(of: &[Bucket]) -> Option<(u64, i64, i64)> {
    let second = |bucket: &Bucket| (bucket.begins - at(0)).num_seconds();
    let (first, last) = (of.first()?, of.last()?);
    let length = usize::try_from(second(last) - second(first)).unwrap() + 1;
    assert!(of.len() == length && of.iter().all(|bucket| bucket.requests == first.requests));
    Some((first.requests, second(first), second(last)))
}

#[test]
fn a_request_counts_for_the_release_only_after_it_spread_everywhere() {
    for (source, is_certain, first) in [
        // The line names the deployment: each period counts that ends after the release went live.
        (Source::Deployments, true, -9),
        (Source::Deployments, false, 51),
        (Source::Versions, true, -59),
        (Source::Versions, false, 1),
        (Source::AccessLog, true, 10),
        (Source::AccessLog, false, 70),
        (Source::OwnMetrics, true, 60),
        (Source::OwnMetrics, false, 120),
    ] {
        let (live, on_record) = if is_certain { certain() } else { uncertain() };
        let found = of_release(&read(source), &live, &on_record, None).unwrap();
        let spans = (found.source, span(&found.live), span(&found.canary));
        let expected = (source, Some((1, first, 300)), Some((2, first, 300)));
        assert_eq!(spans, expected, "{source:?}, certain: {is_certain}");
    }
}

#[test]
fn only_a_quarter_of_an_hour_that_the_release_before_certainly_served_excuses_or_acquits() {
    for (source, is_certain, seen, expected) in [
        (Source::Deployments, true, None, Some((3, -900, -10))),
        (Source::Versions, true, None, Some((3, -900, -60))),
        (Source::AccessLog, true, None, Some((1, -900, -10))),
        (Source::OwnMetrics, true, None, Some((1, -900, -60))),
        (Source::Deployments, true, Some(-300), Some((3, -900, -10))),
        (Source::Deployments, false, None, None),
        (Source::AccessLog, false, None, None),
        // A sweep saw the known-good release, by a clock that may be a minute fast.
        (Source::Deployments, false, Some(-300), Some((3, -900, -370))),
        (Source::Versions, false, Some(-300), Some((3, -900, -420))),
        (Source::AccessLog, false, Some(-300), Some((1, -900, -370))),
        (Source::OwnMetrics, false, Some(-300), Some((1, -900, -420))),
        (Source::AccessLog, false, Some(-830), Some((1, -900, -900))),
        (Source::AccessLog, false, Some(-831), None),
        (Source::AccessLog, false, Some(200), Some((1, -900, -10))),
    ] {
        let (live, mut on_record) = if is_certain { certain() } else { uncertain() };
        known_good(&mut on_record).recorded_at = at(-3_600);
        let found = of_release(&read(source), &live, &on_record, seen.map(at)).unwrap();
        assert_eq!(span(&found.before), expected, "{source:?}, certain: {is_certain}, seen: {seen:?}");
    }
}

#[test]
fn the_known_good_release_was_live_until_a_minute_before_a_sweep_saw_it_since_its_record() {
    type Edit = fn(&mut LiveStage, &mut OnRecord);
    /// The case, when the record was written, when a sweep saw it live, and until when it certainly was.
    type Row = (&'static str, Edit, i64, Option<i64>, Option<i64>);
    let same: Edit = |live, on_record| known_good(on_record).release = live.release.clone();
    let but_for: Edit = |live, on_record| known_good(on_record).release = live.release.in_stage();
    let none: Edit = |_, on_record| on_record.known_good = KnownGood::None { parameter: "p".into() };
    let rows: [Row; 10] = [
        ("a sweep saw it", |_, _| (), -600, Some(-300), Some(-360)),
        ("no sweep saw it", |_, _| (), -600, None, None),
        ("a sweep at the time of the record", |_, _| (), -300, Some(-300), Some(-360)),
        ("a sweep before the record", |_, _| (), -299, Some(-300), None),
        ("a sweep just before the release", |_, _| (), -600, Some(59), Some(-1)),
        ("a sweep at the time of the release", |_, _| (), -600, Some(60), Some(0)),
        ("a sweep long after the release", |_, _| (), -600, Some(200), Some(0)),
        ("the live release is known-good", same, -600, Some(-300), None),
        ("the record lacks a component of the live release", but_for, -600, Some(-300), None),
        ("nothing is known-good", none, -600, Some(-300), None),
    ];
    for (case, edit, recorded_at, seen, expected) in rows {
        let (mut live, mut on_record) = uncertain();
        known_good(&mut on_record).recorded_at = at(recorded_at);
        edit(&mut live, &mut on_record);
        let found = of_release(&read(Source::AccessLog), &live, &on_record, seen.map(at)).unwrap();
        assert_eq!(found.known_good_until, expected.map(at), "{case}");
    }
}

#[test]
fn nothing_is_about_a_release_of_which_nobody_knows_when_it_began() {
    let (live, on_record) = uncertain();
    let on_record = OnRecord { candidate: None, ..on_record };
    assert_eq!(of_release(&read(Source::Deployments), &live, &on_record, Some(at(-300))), None);
}

#[test]
fn a_sweep_saw_the_known_good_release_of_each_stage_that_it_names() {
    let sweep = |known_good: &str| LastSweep {
        schema: SCHEMA,
        at: at(-300),
        run: "r".into(),
        stages: 2,
        states: BTreeMap::new(),
        known_good: vec!["rest/b/prod".into(), known_good.into()],
    };
    let stage = StageRef::rest("a", "prod");
    for (case, last, expected) in [
        ("it is named", Some(sweep("rest/a/prod")), Some(at(-300))),
        ("another stage is named", Some(sweep("rest/a/test")), None),
        ("a stage of another kind is named", Some(sweep("http/a/prod")), None),
        ("no sweep", None, None),
    ] {
        assert_eq!(known_good_seen(last.as_ref(), &stage), expected, "{case}");
    }
}
