//! Tables of the test of guilt: which requests it counts, with what it compares them, and what acquits.

use chrono::{DateTime, TimeDelta, Utc};

use super::fixture::{good, policy, record, release, rollout_of_versions};
use super::guilt::{innocent, test};
use super::sequential::Innocent;
use crate::model::guilt::{Finding, Terms, Verdict};
use crate::model::normal::Normal;
use crate::model::observed::{KnownGood, Observed};
use crate::model::release::{Canary, Release};
use crate::model::rollout::RolloutState;
use crate::model::traffic::{Bucket, Measure, Source, Traffic};

/// The release went live at 10:00:00.
fn at(second: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T10:00:00Z").unwrap().to_utc() + TimeDelta::seconds(second)
}

/// So many periods of ten seconds, each with so many requests, failures and slow answers.
fn periods(from: i64, number: i64, requests: u64, failed: u64, slow: u64) -> Vec<Bucket> {
    (0..number).map(|nth| Bucket { begins: at(from + 10 * nth), requests, failed, slow }).collect()
}

fn traffic(source: Source) -> Traffic {
    Traffic { source, live: vec![], canary: vec![], before: vec![], known_good_until: None }
}

/// Release 2, or release 1 with release 2 as its canary, or release 3 with it.
fn live(base: &str, has_canary: bool) -> Release {
    let canary = Canary {
        deployment: Some("d2".into()),
        percent: "10.0".into(),
        overrides: [].into(),
        uses_cache: false,
    };
    Release { canary: has_canary.then_some(canary), ..release(base) }
}

/// The observed stage, with release 1 as the known-good one.
fn observed() -> Observed {
    good().1
}

/// Describes what the test finds: its strongest finding, and what acquits.
fn found(traffic: &Traffic, live: &Release, observed: &Observed, terms: &Terms) -> String {
    let guilt = test(traffic, live, &observed.on_record, terms);
    let said = |finding: &Finding| format!("{:?}, {finding}", finding.verdict);
    let acquits = [Measure::Failed, Measure::Slow].map(|measure| guilt.acquittal(measure).is_some());
    let acquits = match acquits {
        [false, false] => "",
        [true, false] => "; failures acquit",
        [false, true] => "; latency acquits",
        [true, true] => "; both acquit",
    };
    let convicts = if guilt.conviction().is_some() { "; convicts" } else { "" };
    let strongest = guilt.strongest().map_or_else(|| "nothing".to_owned(), said);
    format!("{strongest}{convicts}{acquits}")
}

const TERMS: Terms = Terms { tolerated: 0.02, latency: None, alpha: 0.0001 };
const WITH_LATENCY: Terms = Terms { latency: Some(500), ..TERMS };

#[test]
fn an_innocent_release_fails_as_the_known_good_one_did_but_the_terms_are_a_floor() {
    let bad = Normal { requests: 1_000, failed: 50, slow: 100, latency: Some(500), ..Normal::default() };
    let other = Normal { latency: Some(400), ..bad.clone() };
    let all = Normal { requests: 10, failed: 10, ..Normal::default() };
    let a_burst = Normal { quiet: 240, bursts: 9, in_bursts: 29, ..Normal::default() };
    // Without a history: once an hour, that is in 360 periods, and for two periods of ten seconds.
    let (enter, stay) = (1.0 / 360.0, 0.5);
    for (case, normal, measure, tolerated, enter, stay) in [
        ("without a history", None, Measure::Failed, 0.02, enter, stay),
        ("latency without a history", None, Measure::Slow, 0.02, enter, stay),
        ("twice its failures", Some(&bad), Measure::Failed, 0.1, enter, stay),
        ("twice its slow answers", Some(&bad), Measure::Slow, 0.2, enter, stay),
        ("slow by another latency", Some(&other), Measure::Slow, 0.02, enter, stay),
        ("never more than all", Some(&all), Measure::Failed, 1.0, enter, stay),
        // Ten in 600 periods, and 21 of 31 periods of a burst are followed by another one.
        ("bursts", Some(&a_burst), Measure::Failed, 0.02, 10.0 / 600.0, 21.0 / 31.0),
    ] {
        let expected = Innocent { tolerated, enter, stay };
        for source in [Source::Deployments, Source::AccessLog] {
            assert_eq!(innocent(&WITH_LATENCY, normal, measure, source), expected, "{case}");
        }
    }
}

/// A minute has six periods of ten seconds.
#[test]
fn by_the_minute_a_burst_begins_more_often_and_is_over_sooner() {
    let lasting = Normal { quiet: 0, bursts: 1, in_bursts: 1_000, ..Normal::default() };
    for (case, normal, enter, stay) in [
        // A burst of two periods lasts a third of a minute.
        ("without a history", Normal::default(), 1.0 - (359.0_f64 / 360.0).powi(6), 1.0 / 3.0),
        // At most 0.8, so five periods on average.
        ("long bursts", lasting, 1.0 - (1.0 - 2.0 / 360.0_f64).powi(6), 5.0 / 6.0),
    ] {
        for source in [Source::OwnMetrics, Source::Versions] {
            let found = innocent(&TERMS, Some(&normal), Measure::Failed, source);
            assert!((found.enter - enter).abs() < 1e-12, "{case}: {} and not {enter}", found.enter);
            assert!((found.stay - stay).abs() < 1e-12, "{case}: {} and not {stay}", found.stay);
        }
    }
}

#[test]
fn a_finding_names_the_requests_since_the_trouble_began_and_what_they_are_compared_with() {
    let mut unknown = observed();
    unknown.on_record.known_good = KnownGood::None { parameter: "p".into() };
    let bad = |source| Traffic {
        // Two of a hundred are tolerated.
        live: [periods(0, 6, 100, 2, 0), periods(60, 6, 20, 10, 0)].concat(),
        before: periods(-60, 6, 10, 0, 0),
        ..traffic(source)
    };
    let since = "60 of 120 requests failed (50 %) since 2026-11-20T10:01:00Z; tolerated 2 %";
    let convicted = |of: &str| format!("Convicted, deployment d2: {since}{of}; convicts");
    let few = Traffic { live: periods(0, 1, 2, 2, 0), ..traffic(Source::Deployments) };
    for (case, traffic, on, expected) in [
        ("by deployment", bad(Source::Deployments), observed(), convicted("; for comparison d1: 0 %")),
        (
            "the access log does not name it",
            bad(Source::AccessLog),
            observed(),
            convicted("; for comparison the stage before it: 0 %"),
        ),
        ("nothing is known-good", bad(Source::Deployments), unknown, convicted("")),
        (
            "little data",
            few,
            observed(),
            "Undecided, deployment d2: 2 of 2 requests failed (100 %) since 2026-11-20T10:00:00Z; tolerated 2 %; no requests of d1 \
             to compare with"
                .to_owned(),
        ),
        (
            "no data",
            traffic(Source::Deployments),
            observed(),
            "Undecided, no request of deployment d2 was counted".to_owned(),
        ),
    ] {
        assert_eq!(found(&traffic, &live("2", false), &on, &TERMS), expected, "{case}");
    }
}

#[test]
fn by_latency_a_release_is_tested_only_if_one_is_tolerated() {
    let slow = Traffic { live: periods(0, 12, 20, 0, 10), ..traffic(Source::Deployments) };
    let both = Traffic { live: periods(0, 12, 20, 10, 20), ..traffic(Source::Deployments) };
    let end = "since 2026-11-20T10:00:00Z; tolerated 2 %; no requests of d1 to compare with";
    let undecided = format!("Undecided, deployment d2: 0 of 240 requests failed (0 %) {end}");
    let by_latency =
        format!("Convicted, deployment d2: 120 of 240 requests were too slow (50 %) {end}; convicts");
    let strongest =
        format!("Convicted, deployment d2: 240 of 240 requests were too slow (100 %) {end}; convicts");
    for (case, traffic, terms, expected) in [
        ("no latency is tolerated", &slow, TERMS, undecided),
        ("the slow answers convict", &slow, WITH_LATENCY, by_latency),
        ("the stronger evidence is told", &both, WITH_LATENCY, strongest),
    ] {
        assert_eq!(found(traffic, &live("2", false), &observed(), &terms), expected, "{case}");
    }
}

/// Twelve periods of a canary and of its base.
fn beside(source: Source, canary: (u64, u64), base: (u64, u64)) -> Traffic {
    Traffic {
        canary: periods(0, 12, canary.0, canary.1, 0),
        live: periods(0, 12, base.0, base.1, 0),
        ..traffic(source)
    }
}

#[test]
fn a_canary_is_tested_against_its_base_and_against_what_is_tolerated() {
    let of = |requests: u64, bad: u64, share: &str, base: &str| {
        format!(
            "deployment d2: {} of {} requests failed ({share}) since 2026-11-20T10:00:00Z; tolerated 2 %; for comparison d1: {base}",
            12 * bad,
            12 * requests
        )
    };
    let apart = Traffic {
        canary: periods(0, 12, 20, 10, 0),
        live: periods(600, 12, 200, 0, 0),
        ..traffic(Source::Deployments)
    };
    for (case, canary, base, expected) in [
        (
            "only the canary fails",
            (20, 10),
            (200, 0),
            format!("Convicted, {}; convicts", of(20, 10, "50 %", "0 %")),
        ),
        // The canary fails more often than its base beyond doubt, but as seldom as is tolerated.
        (
            "it is tolerated",
            (100_000, 2_000),
            (100_000, 0),
            format!("Undecided, {}", of(100_000, 2_000, "2 %", "0 %")),
        ),
        (
            "a little beyond",
            (100_000, 2_001),
            (100_000, 0),
            format!("Convicted, {}; convicts", of(100_000, 2_001, "2 %", "0 %")),
        ),
        (
            "both fail alike",
            (20, 10),
            (200, 100),
            format!("Acquitted, {}; failures acquit", of(20, 10, "50 %", "50 %")),
        ),
        // At most one and a half times as often.
        (
            "hardly worse",
            (20, 12),
            (200, 80),
            format!("Acquitted, {}; failures acquit", of(20, 12, "60 %", "40 %")),
        ),
        (
            "worse, and not certainly",
            (20, 13),
            (200, 80),
            format!("Undecided, {}", of(20, 13, "65 %", "40 %")),
        ),
        (
            "the base has hardly any trouble",
            (20, 0),
            (200, 1),
            format!("Undecided, {}", of(20, 0, "0 %", "0.5 %")),
        ),
    ] {
        let traffic = beside(Source::Deployments, canary, base);
        assert_eq!(found(&traffic, &live("1", true), &observed(), &TERMS), expected, "{case}");
    }
    let expected = format!("Convicted, {}; convicts", of(20, 10, "50 %", "0 %"));
    assert_eq!(
        found(&apart, &live("1", true), &observed(), &TERMS),
        expected,
        "its base had no requests then"
    );
}

#[test]
fn of_a_canary_and_a_base_that_is_not_known_good_both_are_tested() {
    let fails = |canary: u64, base: u64| beside(Source::Deployments, (200, canary), (200, base));
    let trouble = |known_good_until| Traffic {
        before: periods(-120, 12, 200, 100, 0),
        known_good_until,
        ..fails(100, 100)
    };
    let end = "since 2026-11-20T10:00:00Z; tolerated 2 %; for comparison";
    for (case, traffic, expected) in [
        (
            "the base fails",
            fails(0, 100),
            "Convicted, deployment d3: 1200 of 2400 requests failed (50 %) since 2026-11-20T10:00:00Z; tolerated 2 %; no requests \
             of d1 to compare with; convicts"
                .to_owned(),
        ),
        (
            "the canary fails",
            fails(100, 0),
            format!("Convicted, deployment d2: 1200 of 2400 requests failed (50 %) {end} d3: 0 %; convicts"),
        ),
        // The base acquits the canary, but nothing acquits the base.
        (
            "both fail, and who did before is not certain",
            trouble(None),
            format!("Undecided, deployment d3: 1200 of 2400 requests failed (50 %) {end} d1: 50 %"),
        ),
        (
            "both fail, and the known-good release did before",
            trouble(Some(at(0))),
            format!("Acquitted, deployment d3: 1200 of 2400 requests failed (50 %) {end} d1: 50 %; failures acquit"),
        ),
    ] {
        assert_eq!(found(&traffic, &live("3", true), &observed(), &TERMS), expected, "{case}");
    }
}

#[test]
fn the_errors_of_versions_convict_and_never_acquit() {
    let mut rolling = observed();
    rolling.on_record.rollout = Ok(Some((1, Box::new(rollout_of_versions(RolloutState::Baking)))));
    let told = |canary, base| {
        let traffic = beside(Source::Versions, canary, base);
        found(&traffic, &live("1", false), &rolling, &TERMS)
    };
    assert!(told((20, 10), (200, 0)).starts_with("Convicted, "), "{}", told((20, 10), (200, 0)));
    assert!(told((20, 10), (200, 100)).starts_with("Undecided, "), "{}", told((20, 10), (200, 100)));
    let metrics = Traffic { canary: periods(0, 12, 20, 10, 0), ..traffic(Source::OwnMetrics) };
    let whole = found(&metrics, &live("2", true), &observed(), &TERMS);
    assert_eq!(
        whole, "Undecided, no request of deployment d2 was counted",
        "a stage's metrics name no canary"
    );
}

#[test]
fn only_trouble_that_the_known_good_release_certainly_had_acquits() {
    let shared = |live: Vec<Bucket>, known_good_until: Option<i64>| Traffic {
        live,
        before: [periods(-240, 12, 166, 0, 0), periods(-120, 12, 166, 17, 0)].concat(),
        known_good_until: known_good_until.map(at),
        ..traffic(Source::Deployments)
    };
    let alike = periods(0, 6, 166, 17, 0);
    // Two periods with the same trouble, and then so many requests without any in one period.
    let quiet = |requests, then| [periods(0, 2, 166, 17, 0), periods(20, 1, requests, 0, 0), then].concat();
    let fails = periods(30, 6, 20, 20, 0);
    for (case, live_requests, known_good_until, expected) in [
        ("it is certain until the release", alike.clone(), Some(0), "Acquitted"),
        ("nobody saw it", alike.clone(), None, "Undecided"),
        ("only before the trouble", alike.clone(), Some(-120), "Undecided"),
        // The first period in trouble ends at -110.
        ("until just before its first period ends", alike.clone(), Some(-111), "Undecided"),
        ("until the first three periods end", alike.clone(), Some(-90), "Acquitted"),
        ("no requests since", vec![], Some(0), "Undecided"),
        ("worse by half", periods(0, 1, 20, 3, 0), Some(0), "Acquitted"),
        ("worse by more than half", periods(0, 1, 19, 3, 0), Some(0), "Undecided"),
        ("much worse", periods(0, 6, 166, 160, 0), Some(0), "Convicted"),
        ("it recovered, and fails now", quiet(166, fails.clone()), Some(0), "Convicted"),
        ("it recovered", quiet(166, vec![]), Some(0), "Undecided"),
        // The tolerated share explains these requests a hundred times better than the trouble does, and these not quite.
        ("it recovered just so", quiet(53, vec![]), Some(0), "Undecided"),
        ("it has not recovered", quiet(52, vec![]), Some(0), "Acquitted"),
    ] {
        let text = found(&shared(live_requests, known_good_until), &live("2", false), &observed(), &TERMS);
        assert_eq!(text.split(',').next(), Some(expected), "{case}: {text}");
    }
}

#[test]
fn only_trouble_that_is_proven_and_has_not_ended_excuses_a_release() {
    let told = |trouble: Vec<Bucket>, quiet: Vec<Bucket>, failed: u64| {
        let traffic = Traffic {
            live: periods(0, 6, 20, failed, 0),
            before: [trouble, quiet].concat(),
            known_good_until: Some(at(0)),
            ..traffic(Source::Deployments)
        };
        found(&traffic, &live("2", false), &observed(), &TERMS)
    };
    let half = || periods(-600, 12, 100, 50, 0);
    for (case, trouble, quiet, failed, expected) in [
        ("it lasted", half(), vec![], 10, "Acquitted"),
        // Twenty requests are enough to say that it has ended.
        ("nineteen requests without a failure", half(), periods(-10, 1, 19, 0, 0), 10, "Acquitted"),
        ("twenty requests without a failure", half(), periods(-10, 1, 20, 0, 0), 10, "Convicted"),
        ("twenty requests in two periods", half(), periods(-20, 2, 10, 0, 0), 10, "Convicted"),
        // Where one in ten fails, twenty requests without a failure are no proof.
        (
            "twenty requests after slight trouble",
            periods(-600, 12, 1_000, 100, 0),
            periods(-10, 1, 20, 0, 0),
            10,
            "Convicted",
        ),
        // Their evidence is 2.4 and 11.9, and 4.6 is needed.
        ("one failure", periods(-10, 1, 1, 1, 0), vec![], 20, "Convicted"),
        ("ten failures", periods(-10, 1, 10, 10, 0), vec![], 20, "Acquitted"),
    ] {
        let text = told(trouble, quiet, failed);
        assert_eq!(text.split(',').next(), Some(expected), "{case}: {text}");
    }
}

/// The tests of the sequential test have the same values as natural logarithms: 11.867 and 27.892.
#[test]
fn the_evidence_is_told_as_a_decimal_logarithm() {
    let own = Traffic { live: periods(0, 1, 10, 10, 0), ..traffic(Source::Deployments) };
    let compared = |base_begins| Traffic {
        canary: periods(0, 1, 17, 17, 0),
        live: [periods(-60, 1, 10, 10, 0), periods(base_begins, 1, 150, 1, 0)].concat(),
        ..traffic(Source::Deployments)
    };
    let alone = Traffic { live: periods(0, 1, 17, 17, 0), ..traffic(Source::Deployments) };
    let told = |traffic: &Traffic, live: &Release| {
        let guilt = test(traffic, live, &observed().on_record, &TERMS);
        guilt.strongest().unwrap().log10_e_value
    };
    let of_alone = told(&alone, &live("2", false));
    for (case, found, expected) in [
        ("a release", told(&own, &live("2", false)), 11.866_941_209 / 10_f64.ln()),
        ("a canary beside its base", told(&compared(0), &live("1", true)), 27.892_273_780 / 10_f64.ln()),
        ("a canary whose base had requests at other times", told(&compared(600), &live("1", true)), of_alone),
    ] {
        assert!((found - expected).abs() < 1e-6, "{case}: {found}, not {expected}");
    }
}

#[test]
fn a_release_may_fail_as_often_as_the_known_good_one_did_while_it_baked() {
    let traffic = Traffic { live: periods(0, 12, 100, 30, 0), ..traffic(Source::Deployments) };
    let mut used_to_fail = observed();
    record(&mut used_to_fail).normal = Some(Normal { requests: 1_000, failed: 160, ..Normal::default() });
    let verdict = |on: &Observed| {
        test(&traffic, &live("2", false), &on.on_record, &policy().test).strongest().unwrap().verdict
    };
    assert_eq!([verdict(&observed()), verdict(&used_to_fail)], [Verdict::Convicted, Verdict::Undecided]);
}
