//! Injects every fault into every call of everything that a rollout does. Afterwards nothing fails and the schedule runs; the
//! rollout must come to the same end as without faults.

use apigw_rollback::model::percent::Percent;
use apigw_rollback::model::records::parse;
use apigw_rollback::model::release::Release;
use apigw_rollback::model::rollout::{Rollout, RolloutState};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{NOTIFY, SWEEP, faults};
use crate::scenarios::rollouts::{RECORD, Rolls, canary, logged, serve, start, terms};
use crate::scenarios::rollouts_of_aliases::{self as of_aliases, weigh, with_aliases};
use crate::support::harness::attempt;
use crate::support::story::Story;
use crate::support::world::{API, Change, Facts, Fault, World, prod};

const ADVANCE: &str = r#"{"command":"advance"}"#;

/// One thing that a rollout does: its event, the world before it, how the new release serves from then on, and the end.
struct Kind {
    name: &'static str,
    of: &'static Of,
    event: String,
    facts: Facts,
    /// The requests of the new release in a period, and how many of them fail.
    serves: (u64, u64),
    end: &'static str,
}

/// What a rollout moves.
struct Of {
    settings: &'static [(&'static str, &'static str)],
    /// Lets so many minutes pass with so many requests of the new release in a period, of which so many fail.
    serve: fn(&mut Facts, i64, u64, u64),
    /// Checks the changes that the function made.
    is_allowed: fn(&Facts) -> Result<(), String>,
    /// Returns where the new release is.
    place: fn(&Facts) -> Result<Place, String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Base,
    Share(Percent),
    Promoted,
}

const CANARY: Of =
    Of { settings: &[NOTIFY], serve, is_allowed: every_change_is_allowed, place: place_of_canary };
const ALIASES: Of = Of {
    settings: &[NOTIFY, ("PROTECTED_STAGES", of_aliases::LISTED)],
    serve: of_aliases::serve,
    is_allowed: every_move_is_allowed,
    place: place_of_aliases,
};

fn command(verb: &str, more: &Value) -> String {
    let mut command = json!({"command": verb, "stage": {"api": API, "name": "prod"}, "who": "on call"});
    for (field, value) in more.as_object().unwrap() {
        command[field] = value.clone();
    }
    command.to_string()
}

fn kind(
    of: &'static Of,
    name: &'static str,
    event: String,
    story: &Story,
    serves: (u64, u64),
    end: &'static str,
) -> Kind {
    let mut facts = story.world.facts();
    facts.changes.clear();
    facts.moves.clear();
    Kind { name, of, event, facts, serves, end }
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
    let kind =
        |name, event: String, story: Story, serves, end| kind(&CANARY, name, event, &story, serves, end);
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

/// The same by the weights of two aliases.
fn kinds_of_aliases() -> Vec<Kind> {
    let begun = || with_aliases().command("rollout-start", &of_aliases::start());
    let served = |story: Story, minutes: i64, requests: u64, failed: u64| {
        story.world.change(|facts| of_aliases::serve(facts, minutes, requests, failed));
        story.later(minutes)
    };
    let last = || served(served(begun(), 7, 60, 0).advance(), 7, 300, 0);
    let adoptable = || {
        let policy =
            json!({"schema": 1, "rollout": {"steps": [10, 50], "bake_seconds": 300, "min_requests": 100}});
        with_aliases().world("", |facts| {
            facts.parameters.insert(RECORD.replace("rollout", "policy"), vec![policy.to_string()]);
            weigh(facts, "orders:live", &[("2", "0.1")]);
            weigh(facts, "web:live", &[("8", "0.1")]);
        })
    };
    let order = |verb: &str| command(verb, &json!({}));
    let kind =
        |name, event: String, story: Story, serves, end| kind(&ALIASES, name, event, &story, serves, end);
    vec![
        kind(
            "a start of versions",
            command("rollout-start", &of_aliases::start()),
            with_aliases(),
            (0, 0),
            "baking at 10",
        ),
        kind("an adoption of weights", SWEEP.to_owned(), adoptable(), (0, 0), "baking at 10"),
        kind("a step of versions", ADVANCE.to_owned(), served(begun(), 7, 60, 0), (0, 0), "baking at 50"),
        kind("a promotion of versions", ADVANCE.to_owned(), last(), (300, 0), "promoted"),
        kind(
            "a conviction of versions",
            ADVANCE.to_owned(),
            served(begun(), 4, 60, 60),
            (60, 60),
            "rolled-back, or aborted",
        ),
        kind("an abort of versions", order("rollout-abort"), begun(), (60, 0), "aborted"),
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

fn every_change_is_allowed(facts: &Facts) -> Result<(), String> {
    let mut ours =
        facts.changes.iter().filter(|change| change.by.starts_with("run-") && change.stage == prod());
    ours.try_for_each(is_allowed)
}

fn place_of_canary(facts: &Facts) -> Result<Place, String> {
    let live = &facts.stages[&prod()].release;
    match (share(live), is_promoted(live)) {
        (None, false) => Ok(Place::Base),
        (Some(share), false) => Ok(Place::Share(share)),
        (None, true) => Ok(Place::Promoted),
        (Some(_), true) => Err(format!("the stage serves {live:?}")),
    }
}

/// Where an alias that was at `base` can be: at the base, with each share, or at the new version.
fn places_of(base: &str, new: &str) -> [(String, Place); 4] {
    let share = |percent: f64| Place::Share(Percent::try_from(percent).unwrap());
    [
        (base.to_owned(), Place::Base),
        (format!("{base} (and {new} by 0.1)"), share(10.0)),
        (format!("{base} (and {new} by 0.5)"), share(50.0)),
        (new.to_owned(), Place::Promoted),
    ]
}

fn versions_of(alias: &str) -> (&'static str, &'static str) {
    if alias == "orders:live" { ("1", "2") } else { ("7", "8") }
}

/// Checks that an alias moves on by one step, or back to the base.
fn every_move_is_allowed(facts: &Facts) -> Result<(), String> {
    for one in facts.moves.iter().filter(|one| one.by.starts_with("run-")) {
        let (base, new) = versions_of(&one.component);
        let places = places_of(base, new);
        let nth = |text: &String| places.iter().position(|(place, _)| place == text);
        match (nth(&one.from), nth(&one.to)) {
            (Some(_), Some(0)) => {}
            (Some(from), Some(to)) if to == from + 1 || to == from => {}
            _ => return Err(format!("it moved {} from {} to {}", one.component, one.from, one.to)),
        }
    }
    Ok(())
}

fn place_of_aliases(facts: &Facts) -> Result<Place, String> {
    let mut found = Vec::new();
    for (alias, now) in &facts.aliases {
        let (base, new) = versions_of(&alias.to_string());
        let places = places_of(base, new);
        let place = places.iter().find(|(place, _)| *place == now.target.to_string());
        found.push(place.ok_or_else(|| format!("{alias} points at {}", now.target))?.1);
    }
    match found.as_slice() {
        [one, other] if one == other => Ok(*one),
        _ => Err(format!("the aliases are at {found:?}")),
    }
}

/// Returns where the rollout stands, if its record and the stage agree.
fn end(facts: &Facts, place: Place) -> Result<String, String> {
    let Some(found) = facts.parameters.get(RECORD).and_then(|versions| versions.last()) else {
        return if place == Place::Base {
            Ok("none".to_owned())
        } else {
            Err(format!("{place:?} without a record"))
        };
    };
    let rollout: Rollout = parse(found).map_err(|why| why.to_string())?;
    let word = rollout.state.word();
    let expected = match &rollout.state {
        RolloutState::Baking => Place::Share(rollout.share()),
        RolloutState::Paused { .. } => place,
        RolloutState::Promoted => Place::Promoted,
        RolloutState::Aborted { .. } | RolloutState::RolledBack { .. } => Place::Base,
        RolloutState::Moving
        | RolloutState::Promoting
        | RolloutState::Aborting
        | RolloutState::Overtaken { .. } => {
            return Err(format!("it is {word}, and the new release is at {place:?}"));
        }
    };
    match (place == expected, place) {
        (true, Place::Share(share)) => Ok(format!("{word} at {share}")),
        (true, Place::Base | Place::Promoted) => Ok(word.to_owned()),
        (false, _) => Err(format!("it is {word}, and the new release is at {place:?}")),
    }
}

/// Returns where the rollout of a canary stands, if every change was allowed, and its record and the stage agree.
pub(crate) fn consistent(facts: &Facts) -> Result<String, String> {
    every_change_is_allowed(facts)?;
    end(facts, place_of_canary(facts)?)
}

fn check(kind: &Kind, injected: &[(usize, Fault)]) -> Result<(), String> {
    let world = World::new(kind.facts.clone());
    world.inject(injected);
    let mut runs = 0;
    let mut run = |event: &str| {
        runs += 1;
        let reports = attempt(event, &world, kind.of.settings, runs);
        world.look(kind.of.is_allowed)?;
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
            (kind.of.serve)(facts, 1, requests, failed);
            facts.now += TimeDelta::minutes(1);
        });
        run(event)?;
    }
    let end = world.look(|facts| end(facts, (kind.of.place)(facts)?))?;
    // A rollback whose run died is listed by the sweep, after the rollout has ended.
    if kind.end.split(", or ").any(|one| one == end) {
        Ok(())
    } else {
        Err(format!("it ends as {end}, not as {}", kind.end))
    }
}

#[test]
fn a_rollout_recovers_from_every_single_fault() {
    recover(kinds());
}

#[test]
fn a_rollout_of_aliases_recovers_from_every_single_fault() {
    recover(kinds_of_aliases());
}

fn recover(kinds: Vec<Kind>) {
    for kind in kinds {
        check(&kind, &[]).unwrap_or_else(|why| panic!("{}: {why}", kind.name));
        let world = World::new(kind.facts.clone());
        attempt(&kind.event, &world, kind.of.settings, 1);
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
