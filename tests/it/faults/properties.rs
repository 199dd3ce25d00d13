//! Round trips: records, names, releases and components are read back as they were written, whatever they contain.

use std::collections::BTreeMap;

use apigw_rollback::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::percent::Percent;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::policy::{AutoDeploy, MissingComponents, Mode, Siblings};
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{
    Candidate, Hold, Incident, LastSweep, NameIndex, Record, RollbackEntry, Rollbacks, SCHEMA, Stored, parse,
    print,
};
use apigw_rollback::model::release::{Canary, Release};
use apigw_rollback::model::rollout::{Rollout, RolloutState, Terms};
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, Datelike, Utc};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Fixes the seed, so that a commit always gets the same result.
///
/// `PROPTEST_RNG_SEED`, `PROPTEST_CASES` and `make fuzz` try other cases.
pub(crate) fn settings() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match default.rng_seed {
        RngSeed::Fixed(_) => default,
        RngSeed::Random => ProptestConfig { rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// Text as an operator writes it, including characters that JSON, Parameter Store or CloudWatch treat specially.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", r#"[ "\\{}_$/:.a-z0-9é-]{0,12}"#, Just("{{resolve:ssm:x}}".to_owned())]
}

/// Any time that a record can hold, with milliseconds as AWS returns them.
fn times() -> impl Strategy<Value = DateTime<Utc>> {
    let ends = [DateTime::<Utc>::MIN_UTC.timestamp_millis(), DateTime::<Utc>::MAX_UTC.timestamp_millis()];
    prop_oneof![1_700_000_000_000_i64..1_900_000_000_000, ends[0]..=ends[1]]
        .prop_map(|millis| DateTime::from_timestamp_millis(millis).unwrap())
}

/// Times within the years that can be calculated with.
fn seconds() -> impl Strategy<Value = DateTime<Utc>> {
    (0..253_402_300_799_i64).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Rest), Just(Protocol::Http), Just(Protocol::WebSocket)]
}

fn stages() -> impl Strategy<Value = StageRef> {
    (protocols(), words(), words()).prop_map(|(protocol, api, stage)| StageRef::new(protocol, api, stage))
}

fn aliases() -> impl Strategy<Value = AliasRef> {
    ("(arn:aws:lambda:eu-west-1:1:function:)?[a-zA-Z0-9_-]{1,3}", "[a-z][a-z0-9-]{0,3}")
        .prop_map(|(function, alias)| format!("{function}:{alias}").parse().unwrap())
}

fn mappings() -> impl Strategy<Value = MappingRef> {
    r"(\*|[a-c]{1,2})\.example\.com(/[a-c]{1,2}){0,2}".prop_map(|text| text.parse().unwrap())
}

/// Valid releases, built from so few letters that many of them are almost equal.
fn releases() -> impl Strategy<Value = Release> {
    let variables = || btree_map("[ab]{1,2}", "[ab=]{0,2}", 0..3);
    let canary = (of("[ab]{1,2}"), "[0-9]{1,2}", variables()).prop_map(|(deployment, percent, overrides)| {
        Canary { deployment, percent, overrides, uses_cache: false }
    });
    let weights = btree_map("[0-9]{1}", "0\\.[0-9]", 0..2);
    let target = ("[0-9]{1}", weights).prop_map(|(version, weights)| AliasTarget { version, weights });
    let mapped = ("[ab]{1,2}", "[ab]{0,2}").prop_map(|(api, stage)| MappingTarget { api, stage });
    let components = (btree_map(aliases(), target, 0..3), btree_map(mappings(), mapped, 0..3));
    ("[ab]{1,2}", variables(), of(canary), components).prop_map(
        |(deployment, variables, canary, (aliases, mappings))| Release {
            deployment,
            variables,
            canary,
            aliases,
            mappings,
        },
    )
}

/// Releases with any text in their variables.
fn odd_releases() -> impl Strategy<Value = Release> {
    (releases(), btree_map(words(), words(), 0..4))
        .prop_map(|(release, variables)| Release { variables, ..release })
}

fn records() -> impl Strategy<Value = Record> {
    let texts = (words(), of(words()), of(words()), of(words()), of(words()));
    let times = (of(times()), times());
    (stages(), odd_releases(), texts, times, any::<[bool; 2]>()).prop_map(
        |(
            stage,
            release,
            (region, api_name, label, note, who),
            (created, recorded_at),
            [pinned, irreversible],
        )| {
            Record {
                schema: SCHEMA,
                stage,
                region,
                api_name,
                release,
                created,
                recorded_at,
                pinned,
                label,
                note,
                who,
                irreversible,
                normal: None,
            }
        },
    )
}

fn incidents() -> impl Strategy<Value = Incident> {
    let texts = (words(), words(), words(), of(words()));
    let times = (times(), of(seconds()), of(times()), of(times()));
    (stages(), odd_releases(), odd_releases(), any::<(i64, bool, bool, bool)>(), texts, times).prop_map(
        |(
            stage,
            bad,
            good,
            (version, undone, by_alarm, other_source),
            (by, why, run, lifted_by),
            (at, since, alarm_at, recovered_at),
        )| {
            Incident {
                schema: SCHEMA,
                stage,
                bad: bad.into(),
                good: good.into(),
                version,
                at,
                since,
                undone,
                by,
                by_alarm,
                sibling: None,
                alarm_at,
                other_source,
                why,
                run,
                recovered_at,
                lifted_by,
            }
        },
    )
}

fn candidates() -> impl Strategy<Value = Candidate> {
    let seen =
        times().prop_filter("a candidate's time is in range", |time| (1970..=9999).contains(&time.year()));
    (protocols(), odd_releases(), seen, any::<(bool, bool)>(), of(words()), of(words())).prop_map(
        |(protocol, release, first_seen, (irreversible, gone), label, note)| Candidate {
            schema: SCHEMA,
            protocol,
            release,
            first_seen,
            gone,
            irreversible,
            label,
            note,
        },
    )
}

fn lists() -> impl Strategy<Value = Rollbacks> {
    let one = (times(), words(), of(words()), of(times()), of(times()), any::<(bool, bool)>()).prop_map(
        |(at, fingerprint, alarm, alarm_at, recovered_at, (lifted, other_source))| RollbackEntry {
            at,
            fingerprint,
            alarm,
            alarm_at,
            other_source,
            recovered_at,
            lifted,
        },
    );
    vec(one, 0..=Rollbacks::KEPT).prop_map(|past| Rollbacks { schema: SCHEMA, past, ..Rollbacks::default() })
}

/// Steps that grow, and numbers within their limits.
fn terms() -> impl Strategy<Value = Terms> {
    (btree_set(1..=10_000_u16, 1..=20), 0..=604_800_u32, 1..=u64::MAX).prop_map(
        |(steps, bake_seconds, min_requests)| {
            let steps =
                steps.into_iter().map(|step| Percent::try_from(f64::from(step) / 100.0).unwrap()).collect();
            Terms { steps, bake_seconds, min_requests }
        },
    )
}

fn states() -> impl Strategy<Value = RolloutState> {
    prop_oneof![
        Just(RolloutState::Moving),
        Just(RolloutState::Baking),
        Just(RolloutState::Promoting),
        Just(RolloutState::Aborting),
        Just(RolloutState::Promoted),
        (words(), of(words())).prop_map(|(why, by)| RolloutState::Paused { why, by }),
        words().prop_map(|why| RolloutState::Aborted { why }),
        (words(), seconds(), words()).prop_map(|(why, at, fingerprint)| RolloutState::RolledBack {
            why,
            at,
            fingerprint
        }),
        words().prop_map(|why| RolloutState::Overtaken { why }),
    ]
}

/// Rollouts as they are recorded.
fn rollouts() -> impl Strategy<Value = Rollout> {
    let numbers = (terms(), any::<prop::sample::Index>(), any::<bool>());
    let texts = (words(), of(words()), of(words()), of(words()));
    (releases(), "[a-z0-9]{1,6}", btree_map(words(), words(), 0..3), numbers, states(), seconds(), texts)
        .prop_map(
            |(
                base,
                deployment,
                overrides,
                (terms, step, by_weights),
                state,
                since,
                (id, who, label, note),
            )| {
                let base = Release { deployment: "d1".to_owned(), canary: None, ..base.in_stage() };
                let alias: AliasRef = "orders:live".parse().unwrap();
                let canary = Canary {
                    deployment: Some(deployment),
                    percent: "0".to_owned(),
                    overrides,
                    uses_cache: false,
                };
                let target = AliasTarget { version: "7".to_owned(), weights: BTreeMap::new() };
                let (base, canary, versions) = if by_weights {
                    let base = Release { aliases: [(alias.clone(), target)].into(), ..base };
                    (base, None, [(alias, "8".to_owned())].into())
                } else {
                    (base, Some(canary), BTreeMap::new())
                };
                Rollout {
                    schema: SCHEMA,
                    id,
                    base,
                    canary,
                    versions,
                    step: step.index(terms.steps.len()),
                    from: terms.steps.first().copied(),
                    terms,
                    state,
                    since,
                    changed_at: Some(since),
                    live_since: None,
                    started_at: since,
                    who,
                    label,
                    note,
                    told: false,
                }
            },
        )
}

/// Policies with numbers within their limits.
fn policies() -> impl Strategy<Value = PolicyOverrides> {
    let numbers = (of(0..=604_800_u32), of(0..=31_536_000_u32), of(0..=86_400_u32), of(0..=20_u32));
    let modes = (
        of(prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)]),
        of(prop_oneof![Just(AutoDeploy::Hold), Just(AutoDeploy::SwitchOff)]),
        of(prop_oneof![Just(MissingComponents::Hold), Just(MissingComponents::Skip)]),
        of(prop_oneof![Just(Siblings::Tell), Just(Siblings::Hold), Just(Siblings::Follow)]),
    );
    let lists =
        (of(vec(aliases(), 0..4)), of(vec(mappings(), 0..4)), of(vec("[a-z]{1,9}", 0..3)), of(terms()));
    (numbers, modes, any::<(Option<bool>, Option<bool>)>(), lists).prop_map(
        |(
            (bake_seconds, rollback_window_seconds, cooldown_seconds, max_rollbacks_a_day),
            (mode, auto_deploy, missing_parts, siblings),
            (bake_needs_data, flush_cache),
            (aliases, mappings, alarm_prefixes, rollout),
        )| PolicyOverrides {
            schema: SCHEMA,
            mode,
            bake_seconds,
            bake_needs_data,
            rollback_window_seconds,
            cooldown_seconds,
            max_rollbacks_a_day,
            flush_cache,
            auto_deploy,
            missing_parts,
            aliases,
            mappings,
            alarm_prefixes,
            siblings,
            rollout,
        },
    )
}

/// Checks that a value fits into Parameter Store and is read back as it was written.
fn round_trip<T: Stored + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = print(value).map_err(TestCaseError::fail)?;
    prop_assert!(!text.contains("{{") && text.len() <= 8192, "{}", text);
    let read = parse::<T>(&text).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
    prop_assert_eq!(&read, value);
    Ok(())
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_record_is_read_as_it_was_written(record in records()) {
        round_trip(&record)?;
    }

    #[test]
    fn an_incident_is_read_as_it_was_written(incident in incidents()) {
        round_trip(&incident)?;
    }

    #[test]
    fn a_candidate_is_read_as_it_was_written(candidate in candidates()) {
        round_trip(&candidate)?;
    }

    #[test]
    fn a_list_of_rollbacks_is_read_as_it_was_written(list in lists()) {
        round_trip(&list)?;
    }

    #[test]
    fn a_rollout_is_read_as_it_was_written(rollout in rollouts()) {
        round_trip(&rollout)?;
    }

    #[test]
    fn a_policy_is_read_as_it_was_written(policy in policies()) {
        round_trip(&policy)?;
    }

    #[test]
    fn a_small_record_is_read_as_it_was_written(
        until in times(), at in seconds(), by in of(words()), why in of(words()), apis in vec(words(), 0..9), run in words(),
        stages in any::<u32>(), states in btree_map(words(), words(), 0..9), known_good in vec(words(), 0..9),
    ) {
        round_trip(&Hold { schema: SCHEMA, until, by, why })?;
        round_trip(&NameIndex { schema: SCHEMA, apis })?;
        let stages = stages.try_into().unwrap();
        round_trip(&LastSweep { schema: SCHEMA, at, run, stages, states, known_good })?;
    }

    #[test]
    fn releases_share_a_fingerprint_only_if_they_are_the_same(one in releases(), other in releases()) {
        prop_assert_eq!(one == other, one.fingerprint() == other.fingerprint());
        prop_assert_eq!(one.fingerprint(), one.clone().fingerprint());
        let print = one.fingerprint();
        prop_assert!(print.len() == 12 && print.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_component_is_read_as_it_is_printed_or_refused(text in r"[a-z*0-9:./_-]{0,24}", alias in aliases(), mapping in mappings()) {
        prop_assert_eq!(alias.to_string().parse::<AliasRef>(), Ok(alias));
        prop_assert_eq!(mapping.to_string().parse::<MappingRef>(), Ok(mapping));
        if let Ok(alias) = text.parse::<AliasRef>() {
            prop_assert_eq!(alias.to_string(), text.as_str());
        }
        if let Ok(mapping) = text.parse::<MappingRef>() {
            prop_assert_eq!(mapping.to_string(), text.strip_suffix('/').unwrap_or(&text));
        }
    }

    /// No two parameters of any two stages share a name, and each name leads back to its stage.
    #[test]
    fn a_parameter_name_belongs_to_one_stage(
        (one, other) in prop_oneof![
            (stages(), stages()),
            // Few letters, including those that escape other characters.
            (("[a_2F/]{0,4}", "[a_2F/]{0,4}"), ("[a_2F/]{0,4}", "[a_2F/]{0,4}"))
                .prop_map(|(one, other)| (StageRef::rest(one.0, one.1), StageRef::rest(other.0, other.1))),
        ],
    ) {
        let names = ParameterNames::under("/apigw-rollback");
        let all = |stage: &StageRef| {
            [names.known_good(stage), names.candidate(stage), names.hold(stage), names.policy(stage),
             names.rollbacks(stage), names.incident(stage, "known-good")]
        };
        let same = (&one.api, &one.stage) == (&other.api, &other.stage);
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for name in all(&one).into_iter().chain(all(&other)) {
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b)), "{}", name);
            *seen.entry(name).or_default() += 1;
        }
        prop_assert_eq!(seen.len(), if same { 6 } else { 12 });
        for name in all(&one) {
            prop_assert_eq!(names.stage_of(&name), Some((one.api.clone(), one.stage.clone())));
        }
    }

    /// A name that this program did not create belongs to no stage.
    #[test]
    fn a_foreign_parameter_belongs_to_no_stage(api in "[ab_2fF5é]{0,5}", stage in "[ab_2fF5é]{0,5}") {
        let names = ParameterNames::under("/apigw-rollback");
        let name = format!("/apigw-rollback/stages/{api}/{stage}/known-good");
        if let Some((api, stage)) = names.stage_of(&name) {
            prop_assert_eq!(names.known_good(&StageRef::rest(api, stage)), name);
        }
    }
}
