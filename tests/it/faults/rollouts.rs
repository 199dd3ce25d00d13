//! Injects every fault into every call of everything that a rollout does. Afterwards nothing fails and the schedule runs; the
//! rollout must come to the same end as without faults.

use apigw_rollback::model::records::parse;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::rollout::{Percent, Rollout, RolloutState};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{NOTIFY, SWEEP, faults};
use crate::scenarios::rollouts::{Rolls, canary, logged, serve, start, terms};
use crate::support::harness::attempt;
use crate::support::story::Story;
use crate::support::world::{API, Change, Facts, Fault, World, prod};

const ADVANCE: &str = r#"{"command":"advance"}"#;
const RECORD: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/rollout";

/// One thing that a rollout does: its event, the world before it, how d2 serves from then on, and the end.
struct Kind {
    name: &'static str,
    event: String,
    facts: Facts,
    /// The requests of d2 in ten seconds, and how many of them fail.
    serves: (u64, u64),
    end: &'static str,
}

fn command(verb: &str, more: &Value) -> String {
    let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"});
    for (field, value) in more.as_object().unwrap() {
        command[field] = value.clone();
    }
    command.to_string()
}

fn kinds() -> Vec<Kind> {
    let begun = || logged().command("rollout-start", &start());
    let last = || begun().served(6, 12, 0).advance().served(6, 60, 0).advance();
    let adoptable = || {
        logged()
            .world("", |facts| {
                let policy = json!({"schema": 1, "rollout": terms()}).to_string();
                facts.parameters.insert(RECORD.replace("rollout", "policy"), vec![policy]);
            })
            .world("", |facts| canary(facts, "10"))
    };
    let order = |verb: &str| command(verb, &json!({}));
    let kind = |name, event: String, story: Story, serves, end| {
        let mut facts = story.world.facts();
        facts.changes.clear();
        Kind { name, event, facts, serves, end }
    };
    vec![
        kind("a start", command("rollout-start", &start()), logged(), (0, 0), "baking at 10"),
        kind("an adoption", SWEEP.to_owned(), adoptable(), (0, 0), "baking at 10"),
        kind("a step", ADVANCE.to_owned(), begun().served(6, 12, 0), (0, 0), "baking at 50"),
        kind("a step of the sweep", SWEEP.to_owned(), begun().served(6, 12, 0), (0, 0), "baking at 50"),
        kind("a step without evidence", ADVANCE.to_owned(), begun().served(6, 2, 0), (0, 0), "baking at 10"),
        kind("a promotion", ADVANCE.to_owned(), last().served(6, 120, 0), (120, 0), "promoted"),
        kind(
            "a conviction",
            ADVANCE.to_owned(),
            begun().served(1, 12, 12),
            (12, 12),
            "rolled-back, or aborted",
        ),
        kind("an abort", order("rollout-abort"), begun(), (12, 0), "aborted"),
        kind("a pause", order("rollout-pause"), begun(), (12, 0), "paused at 10"),
        kind("an early promotion", order("rollout-promote"), begun(), (12, 0), "promoted"),
    ]
}

/// Returns the share of a canary; `None` if there is none.
fn share(release: &Release) -> Option<Percent> {
    Percent::read(&release.canary.as_ref()?.percent)
}

fn is_promoted(release: &Release) -> bool {
    release.deployment == "d2"
}

/// Checks a change that the function made: the canary comes, gets the share of the next step, becomes the release or goes.
fn is_allowed(change: &Change) -> Result<(), String> {
    let shares = [10.0, 50.0, 100.0].map(|step| Percent::try_from(step).ok());
    let (from, to) = (share(&change.from), share(&change.to));
    let next = shares
        .iter()
        .position(|step| *step == from)
        .map_or(shares[0], |nth| *shares.get(nth + 1).unwrap_or(&None));
    let stays = is_promoted(&change.from) == is_promoted(&change.to);
    let is_step = stays && to.is_some() && (to == next || to == from);
    let is_promotion = !is_promoted(&change.from) && is_promoted(&change.to) && to == Some(Percent::NONE);
    let is_removal = stays && to.is_none();
    let variables = change.to.variables == [("release".to_owned(), "1".to_owned())].into();
    let is_known = (is_step || is_promotion || is_removal) && (variables || is_promoted(&change.to));
    if is_known { Ok(()) } else { Err(format!("it changed {:?} to {:?}", change.from, change.to)) }
}

/// Returns where the rollout stands, if its record and the stage agree.
fn end(facts: &Facts) -> Result<String, String> {
    let live = &facts.stages[&prod()].release;
    let Some(found) = facts.parameters.get(RECORD).and_then(|versions| versions.last()) else {
        return if live.canary.is_none() {
            Ok("none".to_owned())
        } else {
            Err("a canary without a record".to_owned())
        };
    };
    let rollout: Rollout = parse(found).map_err(|why| why.to_string())?;
    let word = rollout.state.word();
    let (expected, promoted) = match &rollout.state {
        RolloutState::Baking => (Some(rollout.share()), false),
        RolloutState::Paused { .. } => {
            return Ok(format!("{word} at {}", share(live).unwrap_or(Percent::NONE)));
        }
        RolloutState::Promoted => (None, true),
        RolloutState::Aborted { .. } | RolloutState::RolledBack { .. } => (None, false),
        RolloutState::Moving
        | RolloutState::Promoting
        | RolloutState::Aborting
        | RolloutState::Overtaken { .. } => {
            return Err(format!("it is {word}, and the stage serves {live:?}"));
        }
    };
    if (share(live), is_promoted(live)) != (expected, promoted) {
        return Err(format!("it is {word}, and the stage serves {live:?}"));
    }
    Ok(expected.map_or(word.to_owned(), |share| format!("{word} at {share}")))
}

fn check(kind: &Kind, injected: &[(usize, Fault)]) -> Result<(), String> {
    let world = World::new(kind.facts.clone());
    world.inject(injected);
    let settings = [NOTIFY];
    let mut runs = 0;
    let mut run = |event: &str| {
        runs += 1;
        let reports = attempt(event, &world, &settings, runs);
        world.look(|facts| {
            let mut ours =
                facts.changes.iter().filter(|change| change.by.starts_with("run-") && change.stage == prod());
            ours.try_for_each(is_allowed)
        })?;
        match reports {
            Some(reports) if reports.is_empty() => Err(format!("no report of {event}")),
            Some(_) | None => Ok(()),
        }
    };
    run(&kind.event)?;
    world.inject(&[]);
    // An operator repeats a command that failed, and the schedule goes on.
    for event in [kind.event.as_str(), ADVANCE, SWEEP, ADVANCE] {
        world.change(|facts| {
            let (requests, failed) = kind.serves;
            serve(facts, 1, requests, failed);
            facts.now += TimeDelta::minutes(1);
        });
        run(event)?;
    }
    let end = world.look(end)?;
    // A rollback whose run died is listed by the sweep, after the rollout has ended.
    if kind.end.split(", or ").any(|one| one == end) {
        Ok(())
    } else {
        Err(format!("it ends as {end}, not as {}", kind.end))
    }
}

#[test]
fn a_rollout_recovers_from_every_single_fault() {
    for kind in kinds() {
        check(&kind, &[]).unwrap_or_else(|why| panic!("{}: {why}", kind.name));
        let world = World::new(kind.facts.clone());
        attempt(&kind.event, &world, &[NOTIFY], 1);
        // A fault may cause additional calls.
        let calls = world.take_calls().len() + 6;
        let mut broken = Vec::new();
        for (call, fault) in (1..=calls).flat_map(|call| faults().into_iter().map(move |fault| (call, fault)))
        {
            if let Err(why) = check(&kind, &[(call, fault.clone())]) {
                broken.push(format!("call {call}, {fault:?}: {why}"));
            }
        }
        let shown = broken.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
        assert!(
            broken.is_empty(),
            "{}: {} of {} cases fail:\n{shown}",
            kind.name,
            broken.len(),
            calls * faults().len()
        );
        println!("{}: {} single faults", kind.name, calls * faults().len());
    }
}
