//! Which rollouts may begin.

use super::fixture::{good, incident, policy, record};
use super::rollout_begin::{Arrival, Asked, planned};
use super::rollout_tests::percent;
use crate::model::access_log::{AccessLog, format};
use crate::model::alarm::time;
use crate::model::component::{AliasRef, LiveAlias};
use crate::model::observed::{KnownGood, Observed};
use crate::model::policy::{Mode, StagePolicy};
use crate::model::protocol::Protocol;
use crate::model::records::{Hold, Incident, SCHEMA};
use crate::model::release::Canary;
use crate::model::rollout::Terms;

type Stage = fn(&mut Observed);

/// What is asked: a deployment, or versions of aliases; and the steps.
#[derive(Clone, Copy)]
struct Ask(&'static str, &'static [(&'static str, &'static str)], &'static [f64]);

const CANARY: Ask = Ask("d2", &[], &[5.0, 25.0, 50.0]);
const VERSION: Ask = Ask("", &[("orders:live", "2")], &[5.0, 25.0, 50.0]);
const ADOPT: Ask = Ask("", &[], &[5.0, 25.0, 50.0]);

fn orders() -> AliasRef {
    "orders:live".parse().unwrap()
}

fn weigh(observed: &mut Observed, alias: &str, version: &str, weight: &str) {
    let target = observed.live.as_mut().unwrap().release.aliases.get_mut(&alias.parse().unwrap()).unwrap();
    target.weights.insert(version.to_owned(), weight.to_owned());
}

fn canary(observed: &mut Observed, deployment: Option<&str>, percent: &str) {
    observed.live.as_mut().unwrap().release.canary = Some(Canary {
        deployment: deployment.map(str::to_owned),
        percent: percent.to_owned(),
        overrides: [].into(),
        uses_cache: false,
    });
}

/// Returns the plan in a few words, or why there is none.
fn begins(ask: Ask, edit: Stage, quarantine: Option<&str>, mode: Mode) -> String {
    let (plan, mut observed) = good();
    let live = observed.live.as_mut().unwrap();
    live.release = plan.to;
    live.access_log = Some(AccessLog { destination: "arn".into(), format: format(Protocol::Rest) });
    let aliases =
        live.release.aliases.iter().map(|(alias, target)| {
            (alias.clone(), LiveAlias { target: target.clone(), revision: "r".into() })
        });
    observed.components.aliases = aliases.collect();
    edit(&mut observed);
    let Ask(deployment, versions, steps) = ask;
    let versions = versions.iter().map(|(alias, version)| (alias.parse().unwrap(), (*version).to_owned()));
    let steps = steps.iter().copied().map(percent).collect();
    let asked = Asked {
        deployment: Some(deployment.to_owned()).filter(|deployment| !deployment.is_empty()),
        versions: versions.collect(),
        terms: Some(Terms { steps, bake_seconds: 300, min_requests: 100 }),
        ..Asked::default()
    };
    let policy = StagePolicy { mode, ..policy() };
    match planned(&observed, asked, quarantine, &policy, "run-1") {
        Ok(rollout) => {
            let steps: Vec<String> = rollout.terms.steps.iter().map(ToString::to_string).collect();
            // The record keeps the canary without its share, which its steps say.
            assert!(
                rollout.canary.as_ref().is_none_or(|canary| canary.percent == "0"),
                "{:?}",
                rollout.canary
            );
            let from = rollout.from.map(|from| format!(", from {from}")).unwrap_or_default();
            format!("{} in {}{from}", rollout.what(), steps.join(","))
        }
        Err(why) => why,
    }
}

#[test]
fn a_rollout_begins_only_on_a_known_good_release() {
    let other = "the stage serves deployment `d9` with `orders:live` at 1 with `web:live` at 7 with `api.example.com` at a/s1, which is not its known-good release: wait until it has baked, or record it";
    let rows: [(Ask, &str, Stage); 11] = [
        (CANARY, "deployment d2 in 5,25,50", |_| ()),
        (VERSION, "version 2 of `orders:live` in 5,25,50", |_| ()),
        (CANARY, "API Gateway has no such stage", |o| o.live = None),
        (CANARY, "the stage has no known-good release to go back to", |o| {
            o.on_record.known_good = KnownGood::None { parameter: "p".into() };
        }),
        (CANARY, other, |o| o.live.as_mut().unwrap().release.deployment = "d9".into()),
        (VERSION, other, |o| o.live.as_mut().unwrap().release.deployment = "d9".into()),
        (CANARY, "the stage already serves deployment `d2`", |o| {
            record(o).release.deployment = "d2".into();
            o.live.as_mut().unwrap().release.deployment = "d2".into();
        }),
        (
            CANARY,
            "its access log does not count the requests of each deployment; set the format that `apigw-rollback access-log rest` prints",
            |o| o.live.as_mut().unwrap().access_log = None,
        ),
        (CANARY, "only stages of REST APIs have canaries: roll out versions of its aliases instead", |o| {
            o.stage.protocol = Protocol::Http;
        }),
        (CANARY, "x is damaged: delete it when no rollout is running", |o| {
            o.on_record.rollout = Err("x is damaged".into());
        }),
        (CANARY, "the stage is held until 2026-11-20T11:00:00Z by an operator: no reason given", |o| {
            let until = time("2026-11-20T11:00:00Z").unwrap();
            o.on_record.hold = Some(Hold { schema: SCHEMA, until, by: None, why: None });
        }),
    ];
    for (ask, expected, edit) in rows {
        assert_eq!(begins(ask, edit, None, Mode::Enforce), expected);
    }
    assert_eq!(
        begins(CANARY, |_| (), Some("it was bad"), Mode::Enforce),
        "the release (deployment `d2`) is in quarantine: it was bad"
    );
    assert_eq!(begins(CANARY, |_| (), None, Mode::Observe), "the stage is in observe mode");
}

#[test]
fn versions_are_rolled_out_by_the_weights_of_listed_aliases() {
    let rows: [(Ask, &str, Stage); 10] = [
        (VERSION, "version 2 of `orders:live` in 5,25,50", |o| o.stage.protocol = Protocol::Http),
        (VERSION, "version 2 of `orders:live` in 5,25,50", |o| o.live.as_mut().unwrap().access_log = None),
        (
            Ask("", &[("orders:live", "2"), ("web:live", "8")], &[5.0]),
            "version 2 of `orders:live`, version 8 of `web:live` in 5",
            |_| (),
        ),
        (
            Ask("d2", &[("orders:live", "2")], &[5.0]),
            "a rollout moves a deployment or aliases, not both",
            |_| (),
        ),
        (
            Ask("", &[("billing:live", "2")], &[5.0]),
            "the settings and the policy do not list the alias `billing:live`, or it does not exist",
            |_| (),
        ),
        (
            Ask("", &[("orders:live", "$LATEST")], &[5.0]),
            "`$LATEST` is no version of a function: publish one, and give its number",
            |_| (),
        ),
        (
            Ask("", &[("orders:live", "1")], &[5.0]),
            "the alias `orders:live` already points at version 1",
            |_| (),
        ),
        (
            Ask("", &[("orders:live", "2")], &[5.0, 100.0]),
            "the steps of aliases must be below 100 %: the promotion gives them all traffic",
            |_| (),
        ),
        (VERSION, "a running CodeDeploy deployment moves the alias `orders:live`", |o| {
            o.components.moving = vec![orders()];
        }),
        (VERSION, "the stage has a canary with deployment `d2`, which is another release", |o| {
            canary(o, Some("d2"), "10");
        }),
    ];
    for (ask, expected, edit) in rows {
        assert_eq!(begins(ask, edit, None, Mode::Enforce), expected);
    }
    assert_eq!(
        begins(VERSION, |_| (), Some("it was bad"), Mode::Enforce),
        "the release (version 2 of `orders:live`) is in quarantine: it was bad"
    );
}

#[test]
fn a_rollout_takes_over_what_a_pipeline_has_begun() {
    let rows: [(Ask, &str, Stage); 12] = [
        (
            ADOPT,
            "the stage has no canary and no alias with weights: name the deployment or the versions to roll out, or have your pipeline create a canary",
            |_| (),
        ),
        (ADOPT, "deployment d2 in 10,25,50, from 10", |o| canary(o, Some("d2"), "10.0")),
        (ADOPT, "deployment d2 in 25,50, from 25", |o| canary(o, Some("d2"), "25.0")),
        (CANARY, "deployment d2 in 10,25,50, from 10", |o| canary(o, Some("d2"), "10.0")),
        (CANARY, "the stage has a canary with deployment `d3`, which is another release", |o| {
            canary(o, Some("d3"), "10.0");
        }),
        (ADOPT, "API Gateway does not name the deployment of the canary", |o| canary(o, None, "10.0")),
        (ADOPT, "version 2 of `orders:live` in 10,25,50, from 10", |o| weigh(o, "orders:live", "2", "0.1")),
        (VERSION, "version 2 of `orders:live` in 10,25,50, from 10", |o| weigh(o, "orders:live", "2", "0.1")),
        (VERSION, "other releases already get traffic: `orders:live` gives 10 % to version 3", |o| {
            weigh(o, "orders:live", "3", "0.1");
        }),
        (CANARY, "other releases already get traffic: `orders:live` gives 10 % to version 3", |o| {
            weigh(o, "orders:live", "3", "0.1");
        }),
        (
            ADOPT,
            "the aliases split their traffic in different ways: `orders:live` points at 1 (and 2 by 0.1)",
            |o| {
                weigh(o, "orders:live", "2", "0.1");
                weigh(o, "web:live", "8", "0.2");
            },
        ),
        (ADOPT, "the stage has a canary, and its aliases split their traffic", |o| {
            canary(o, Some("d2"), "10");
            weigh(o, "orders:live", "2", "0.1");
        }),
    ];
    for (ask, expected, edit) in rows {
        assert_eq!(begins(ask, edit, None, Mode::Enforce), expected);
    }
}

/// The incident of a release with deployment d2, with version 2 of `orders:live` and version 7 of `web:live`.
#[test]
fn a_release_is_in_quarantine_if_it_is_what_was_bad_in_the_release_that_was_rolled_back() {
    type Bad = fn(&mut Incident);
    let whole: Bad = |_| ();
    let with_canary: Bad = |of| {
        let deployment = Some("d3".to_owned());
        let canary = Canary { deployment, percent: "10".into(), overrides: [].into(), uses_cache: false };
        of.bad.release.canary = Some(canary);
    };
    let with_weights: Bad = |of| {
        let orders = of.bad.release.aliases.get_mut(&orders()).unwrap();
        orders.weights.insert("3".into(), "0.1".into());
    };
    let canary = |deployment: Option<&str>| {
        let deployment = deployment.map(str::to_owned);
        Arrival::Canary(Canary { deployment, percent: "0".into(), overrides: [].into(), uses_cache: false })
    };
    let version = |alias: &str, version: &str| {
        let versions = [(alias.parse().unwrap(), version.to_owned())].into();
        Arrival::Versions(versions, percent(0.0))
    };
    for (case, bad, arrival, is_in) in [
        ("its deployment", whole, canary(Some("d2")), true),
        ("another deployment", whole, canary(Some("d4")), false),
        ("a canary without a deployment", whole, canary(None), false),
        ("its canary", with_canary, canary(Some("d3")), true),
        ("the innocent base of a canary", with_canary, canary(Some("d2")), false),
        ("the deployment behind bad weights", with_weights, canary(Some("d2")), false),
        ("its version", whole, version("orders:live", "2"), true),
        ("another version", whole, version("orders:live", "4"), false),
        ("that version of another function", whole, version("users:live", "2"), false),
        ("the version of its weights", with_weights, version("orders:live", "3"), true),
        ("the innocent version beside the weights", with_weights, version("orders:live", "2"), false),
    ] {
        let mut of = incident("2", "1", time("2026-11-20T10:06:00Z").unwrap());
        bad(&mut of);
        let why = "it was rolled back at 2026-11-20T10:06:00Z by `5xx`".to_owned();
        assert_eq!(arrival.is_in(&of), is_in.then_some(why), "{case}");
        let lifted = Incident { lifted_by: Some("on call".into()), ..of };
        assert_eq!(arrival.is_in(&lifted), None, "{case}, and lifted");
    }
}
