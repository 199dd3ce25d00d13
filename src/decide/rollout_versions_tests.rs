//! The decision table of rollouts that move aliases: every state, and every place of two aliases.

use super::fixture::{good, policy, rollout_of_versions};
use super::guilt::guilt;
use super::rollout_check::check_shift;
use super::rollout_tests::{decide, percent, states, traffic};
use crate::model::component::{AliasTarget, LiveAlias};
use crate::model::observed::Observed;
use crate::model::rollout::{Rollout, RolloutState, Shift};
use crate::model::traffic::{Bucket, Measure, Source, Traffic};

/// A rollout in its second step, from 5 to 25 percent, whose aliases are at these places.
fn second(state: RolloutState, orders: &str, web: &str) -> (Rollout, Observed) {
    let from = if state == RolloutState::Promoting { 25.0 } else { 5.0 };
    let rollout = Rollout { step: 1, from: Some(percent(from)), ..rollout_of_versions(state) };
    let observed = at(&rollout, orders, web);
    (rollout, observed)
}

/// The stage with its aliases at these places.
fn at(rollout: &Rollout, orders: &str, web: &str) -> Observed {
    let (_, mut observed) = good();
    let live = observed.live.as_mut().unwrap();
    live.release = rollout.base.clone();
    for (alias, place, base, new) in [("orders:live", orders, "1", "2"), ("web:live", web, "7", "8")] {
        let weight = |share: &str| [(new.to_owned(), percent(share.parse().unwrap()).weight())].into();
        let target = match place {
            "base" => Some(AliasTarget { version: base.into(), weights: [].into() }),
            "new" => Some(AliasTarget { version: new.into(), weights: [].into() }),
            "other" => Some(AliasTarget { version: "99".into(), weights: [].into() }),
            "gone" => None,
            share => Some(AliasTarget { version: base.into(), weights: weight(share) }),
        };
        let alias: crate::model::component::AliasRef = alias.parse().unwrap();
        live.release.aliases.remove(&alias);
        if let Some(target) = target {
            live.release.aliases.insert(alias.clone(), target.clone());
            observed.components.aliases.insert(alias, LiveAlias { target, revision: "r".into() });
        }
    }
    observed.traffic = Some(Ok(Traffic { source: Source::Versions, ..traffic(100, 0) }));
    observed
}

const STEP: &str = "orders:live from 1 (and 2 by 0.05) to 1 (and 2 by 0.25); web:live from 7 (and 8 by 0.05) to 7 (and 8 by 0.25)";
const PROMOTE: &str = "orders:live from 1 (and 2 by 0.25) to 2; web:live from 7 (and 8 by 0.25) to 8";
const REMOVE: &str = "orders:live from 1 (and 2 by 0.25) to 1; web:live from 7 (and 8 by 0.25) to 7";
const LOWER: &str =
    "record paused in step 1: somebody set the new version to 5 % of the traffic; this rollout had set 25 %";
const OTHER: &str = "record overtaken in step 1: the alias `orders:live` points at 99";
const HALF_OTHER: &str = "record paused in step 1: the alias `orders:live` points at 99";
const OFF: &str = "record aborted in step 1: somebody else, or a run that died, removed the new version";
const DIFFER: &str = "record paused in step 1: its aliases give the new version different shares: ";

#[test]
fn aliases_move_together_and_every_run_finishes_what_another_began() {
    let differ = |shares: &str| format!("{DIFFER}{shares}");
    let rows: [(&str, &str, [String; 5]); 12] = [
        ("base", "base", [OFF, OFF, OFF, OFF, "record aborted in step 1: an operator removed the new version"].map(str::to_owned)),
        ("5", "5", [STEP, LOWER, "is paused", LOWER, "orders:live from 1 (and 2 by 0.05) to 1; web:live from 7 (and 8 by 0.05) to 7"].map(str::to_owned)),
        ("25", "25", ["record baking in step 1", "record moving in step 2", "is paused", PROMOTE, REMOVE].map(str::to_owned)),
        ("25", "5", ["web:live from 7 (and 8 by 0.05) to 7 (and 8 by 0.25)".into(), differ("5 %, 25 %"), "is paused".into(), differ("5 %, 25 %"), "orders:live from 1 (and 2 by 0.25) to 1; web:live from 7 (and 8 by 0.05) to 7".into()]),
        ("new", "25", [differ("25 %, all"), differ("25 %, all"), "is paused".into(), "web:live from 7 (and 8 by 0.25) to 8".into(), "orders:live from 2 to 1; web:live from 7 (and 8 by 0.25) to 7".into()]),
        ("new", "new", ["record promoted in step 1"; 5].map(str::to_owned)),
        ("base", "25", [differ("0 %, 25 %"), differ("0 %, 25 %"), "is paused".into(), differ("0 %, 25 %"), "web:live from 7 (and 8 by 0.25) to 7".into()]),
        ("60", "60", ["record paused in step 1: somebody set the new version to 60 % of the traffic; this rollout had set 25 %".into(), "record paused in step 1: somebody set the new version to 60 % of the traffic; this rollout had set 25 %".into(), "is paused".into(), "record paused in step 1: somebody set the new version to 60 % of the traffic; this rollout had set 25 %".into(), "orders:live from 1 (and 2 by 0.6) to 1; web:live from 7 (and 8 by 0.6) to 7".into()]),
        ("other", "base", [OTHER; 5].map(str::to_owned)),
        ("other", "25", [HALF_OTHER, HALF_OTHER, "is paused", HALF_OTHER, "web:live from 7 (and 8 by 0.25) to 7"].map(str::to_owned)),
        ("gone", "base", ["record overtaken in step 1: the alias `orders:live` is gone"; 5].map(str::to_owned)),
        ("other", "other", ["record overtaken in step 1: the alias `web:live` points at 99"; 5].map(str::to_owned)),
    ];
    for (orders, web, expected) in rows {
        for (state, expected) in states().into_iter().zip(expected) {
            let word = state.word();
            let (rollout, observed) = second(state, orders, web);
            assert_eq!(decide(&rollout, &observed, &[]), expected, "{orders} and {web}, {word}");
        }
    }
}

/// Lambda may answer a read with what an alias was before the step.
#[test]
fn an_old_look_at_one_alias_after_a_step_pauses_nothing() {
    let rows = [
        (271, "25", "5", "bakes until 10:09:31".to_owned()),
        (270, "25", "5", format!("{DIFFER}5 %, 25 %")),
        (271, "25", "60", format!("{DIFFER}25 %, 60 %")),
    ];
    for (seconds, orders, web, expected) in rows {
        let (mut rollout, observed) = second(RolloutState::Baking, orders, web);
        rollout.since += chrono::TimeDelta::seconds(seconds);
        assert_eq!(decide(&rollout, &observed, &[]), expected, "{seconds} s, {orders} and {web}");
    }
}

#[test]
fn a_deploy_to_the_stage_pauses_or_ends_a_rollout_of_aliases() {
    for (orders, expected) in [
        ("25", "record paused in step 1: the stage serves deployment `d9` or other variables"),
        ("base", "record overtaken in step 1: the stage serves deployment `d9` or other variables"),
    ] {
        let (rollout, mut observed) = second(RolloutState::Baking, orders, orders);
        observed.live.as_mut().unwrap().release.deployment = "d9".into();
        assert_eq!(decide(&rollout, &observed, &[]), expected, "{orders}");
    }
}

#[test]
fn a_step_of_aliases_passes_only_by_the_requests_of_the_new_versions() {
    type Edit = fn(&mut Rollout, &mut Observed);
    let rows: [(&str, Edit); 7] = [
        ("record moving in step 2", |_, _| ()),
        ("waits: the new version answered 40 of the 100 requests that the step needs", |_, o| {
            o.traffic = Some(Ok(Traffic { source: Source::Versions, ..traffic(40, 0) }));
        }),
        ("waits: the requests of the new version were not counted", |_, o| o.traffic = None),
        ("waits: the requests of the new version were not counted", |_, o| {
            o.traffic = Some(Ok(Traffic { source: Source::AccessLog, ..traffic(100, 0) }));
        }),
        ("bakes until 10:05:01", |r, _| r.since += chrono::TimeDelta::seconds(1)),
        ("waits: a running CodeDeploy deployment moves the alias `web:live`", |_, o| {
            o.components.moving = vec!["web:live".parse().unwrap()];
        }),
        ("roll back", |r, o| {
            o.traffic = Some(Ok(Traffic { source: Source::Versions, ..traffic(100, 100) }));
            o.on_record.rollout = Ok(Some((1, Box::new(r.clone()))));
        }),
    ];
    for (nth, (expected, edit)) in rows.into_iter().enumerate() {
        let (mut rollout, mut observed) = second(RolloutState::Baking, "25", "25");
        edit(&mut rollout, &mut observed);
        assert_eq!(decide(&rollout, &observed, &[]), expected, "row {nth}");
    }
}

#[test]
fn the_errors_of_functions_convict_new_versions_and_acquit_none() {
    for (new, base, expected) in [
        (0, 0, "undecided"),
        (
            100,
            0,
            "convicted: version 2 of `orders:live`, version 8 of `web:live`: 100 of 100 requests failed (100 %) since 2026-11-20T10:00:00Z; tolerated 2 %; for comparison version 1 of `orders:live`, version 7 of `web:live`: 0 %",
        ),
        // The same trouble of a canary and its base would acquit the canary.
        (100, 100, "undecided"),
        (10, 100, "undecided"),
    ] {
        let (rollout, mut observed) = second(RolloutState::Baking, "25", "25");
        observed.on_record.rollout = Ok(Some((1, Box::new(rollout))));
        let percent = |of: Vec<Bucket>, percent: u64| {
            let fails = |one: Bucket| Bucket { failed: one.requests * percent / 100, ..one };
            of.into_iter().map(fails).collect::<Vec<_>>()
        };
        let read = traffic(100, 0);
        let (canary, live) =
            (percent(read.canary.into_iter().skip(1).collect(), new), percent(read.live, base));
        observed.traffic = Some(Ok(Traffic {
            source: Source::Versions,
            canary,
            live,
            before: vec![],
            known_good_until: None,
        }));
        let found = guilt(&observed, &policy());
        let described = match (found.conviction(), found.acquittal(Measure::Failed)) {
            (Some(finding), _) => format!("convicted: {finding}"),
            (None, Some(_)) => "acquitted".to_owned(),
            (None, None) => "undecided".to_owned(),
        };
        assert_eq!(described, expected, "{new} % and {base} %");
    }
}

#[test]
fn a_half_done_rollback_is_finished() {
    let (rollout, mut observed) = second(RolloutState::Baking, "base", "25");
    observed.traffic = Some(Ok(Traffic { source: Source::Versions, ..traffic(100, 100) }));
    observed.on_record.rollout = Ok(Some((1, Box::new(rollout.clone()))));
    assert_eq!(decide(&rollout, &observed, &[]), "roll back");
}

#[test]
fn every_rule_rejects_a_shift_that_breaks_it() {
    type Edit = fn(&mut Shift, &mut Rollout);
    let weighted =
        |weight: &str| AliasTarget { version: "1".into(), weights: [("2".into(), weight.into())].into() };
    let rows: [(&str, Edit); 10] = [
        ("", |_, _| ()),
        ("it names the revision that it has read", |s, _| s.revision.clear()),
        ("it touches no alias that somebody else has moved", |s, _| s.from.version = "9".into()),
        ("it touches no alias that somebody else has moved", |s, _| s.to.version = "9".into()),
        ("it touches no alias that somebody else has moved", |s, _| {
            s.alias = "billing:live".parse().unwrap();
        }),
        ("an alias gets the share of the step", |s, _| s.to.weights = [("2".into(), "0.5".into())].into()),
        ("an alias had the share of the step before", |s, _| s.from.weights = [].into()),
        ("a promotion gives the new version all traffic", |_, r| r.state = RolloutState::Promoting),
        ("an abort gives the new version no traffic", |_, r| r.state = RolloutState::Aborting),
        ("it moves aliases only for a step, a promotion or an abort", |_, r| r.state = RolloutState::Baking),
    ];
    for (nth, (rule, edit)) in rows.into_iter().enumerate() {
        let (mut rollout, _) = second(RolloutState::Moving, "5", "5");
        let mut shift = Shift {
            alias: "orders:live".parse().unwrap(),
            from: weighted("0.05"),
            to: weighted("0.25"),
            revision: "r".into(),
        };
        edit(&mut shift, &mut rollout);
        let described = check_shift(&[shift], &rollout).err().unwrap_or_default();
        let described = described.strip_prefix("the rollout breaks a rule: ").unwrap_or(&described);
        assert_eq!(described, rule, "row {nth}");
    }
    let (rollout, _) = second(RolloutState::Moving, "5", "5");
    assert!(check_shift(&[], &rollout).is_err());
}
