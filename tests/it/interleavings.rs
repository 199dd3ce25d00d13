//! The claim protocol, checked over every interleaving: up to three runs of the real engine, somebody who deploys, and
//! time that passes, with every order in which their calls can reach AWS. States that were met before are not gone
//! through again: a run's state is what it has asked and what the world was then.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::handler::handle;
use apigw_rollback::report::{Outcome, Report};
use apigw_rollback::run::Run;
use chrono::TimeDelta;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::Instant;

use crate::harness::{config, event};
use crate::invariants::{Seen, Signal, hold};
use crate::world::{Air, FUNCTION, Facts, Gate, World, live, prod, release};

const SWEEP: &str = r#"{"command":"sweep"}"#;
const SETTINGS: [(&str, &str); 4] = [
    ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people"),
    ("COOLDOWN_SECONDS", "0"),
    ("MAX_ALARM_AGE_SECONDS", "0"),
    ("PIN", "off"),
];

/// What others do at some moment, one step each.
#[derive(Clone, Copy)]
enum Other {
    /// At any moment.
    Deed(fn(&mut Facts)),
    /// More time passes than a run can take, so only while none is under way.
    Wait,
}

/// Who is there.
struct Scene {
    events: Vec<(String, Signal)>,
    others: Vec<Other>,
}

/// How one schedule went on after its prefix.
struct Played {
    /// The choices made, and at each step how many there were.
    path: Vec<(usize, usize)>,
    /// The end, unless a state was met that was met before.
    end: Option<(Facts, Vec<Seen>)>,
}

fn hash(of: &impl Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{of:?}").hash(&mut hasher);
    hasher.finish()
}

/// What a call can see or change of the world, and the whole of it.
#[derive(Clone, Copy, Default)]
struct View {
    stages: u64,
    alarms: u64,
    parameters: u64,
    told: usize,
}

impl View {
    fn of(world: &World) -> Self {
        world.look(|facts| Self {
            stages: hash(&facts.stages),
            alarms: hash(&(facts.now, facts.alarms.iter().map(|now| now.alarm.state).collect::<Vec<_>>())),
            parameters: hash(&facts.parameters),
            told: facts.told.len(),
        })
    }

    fn seen_by(&self, operation: &str) -> u64 {
        match operation {
            "GetStage" | "GetStages" | "UpdateStage" => self.stages,
            "DescribeAlarms" => self.alarms,
            "Publish" => 0,
            _ => self.parameters,
        }
    }

    fn whole(&self) -> u64 {
        hash(&(self.stages, self.alarms, self.parameters, self.told))
    }
}

/// One run, which begins when it is let through.
async fn run(scene: &Scene, number: usize, hand: World, gate: Arc<Gate>, config: &Config) -> Seen {
    gate.pass(number, "begin").await;
    let (text, signal) = &scene.events[number];
    let (now, began, id) = (hand.now(), Instant::now(), hand.whose());
    let run = Run {
        cloud: &hand,
        config,
        id: &id,
        trace: None,
        function: Some(FUNCTION),
        now,
        began,
        deadline: began + Duration::from_secs(30),
    };
    let reports = Some(Box::pin(handle(text, &run)).await.reports);
    Seen { hand: id, signal: signal.clone(), began: now, reports }
}

/// Plays a scene along this schedule, and then always takes the first who waits.
async fn play(scene: &Scene, schedule: &[usize], met: &mut BTreeSet<u64>) -> Played {
    let world = World::new(Facts::bad_release());
    let gate = Arc::new(Gate::default());
    let config = config(&SETTINGS);
    let mut runs: FuturesUnordered<_> = (0..scene.events.len())
        .map(|number| {
            let hand = world.hand(format!("run-{number}"), Air::Gate(Arc::clone(&gate), number));
            run(scene, number, hand, Arc::clone(&gate), &config)
        })
        .collect();
    let mut seen = Vec::new();
    let mut path = Vec::new();
    // What each run has asked, how often, and what it can have seen: nothing else decides what it does next. The
    // order of calls that it makes at the same time does not.
    let mut locals: Vec<BTreeSet<(&str, usize, u64)>> = vec![BTreeSet::new(); scene.events.len()];
    let mut others: Vec<Other> = scene.others.clone();
    let (mut now, mut changed) = (View::default(), true);
    loop {
        // Everybody goes on until they wait for their turn, for time to pass, or for nothing more.
        tokio::task::yield_now().await;
        std::future::poll_fn(|context| {
            while let Poll::Ready(Some(ended)) = std::pin::Pin::new(&mut runs).poll_next(context) {
                seen.push(ended);
            }
            Poll::Ready(())
        })
        .await;
        if std::mem::take(&mut changed) {
            now = View::of(&world);
        }
        let waiting = gate.waiting();
        let is_quiet = waiting.iter().all(|(_, operation)| *operation == "begin");
        let open = others.iter().filter(|other| is_quiet || matches!(other, Other::Deed(_)));
        let open: Vec<Other> = open.copied().collect();
        let choices = waiting.len() + open.len();
        if waiting.is_empty() {
            if runs.is_empty() {
                return Played { path, end: Some((world.facts(), seen)) };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let step = path.len();
        if step >= schedule.len() && !met.insert(hash(&(now.whole(), &locals, others.len()))) {
            return Played { path, end: None };
        }
        let choice = schedule.get(step).copied().unwrap_or(0);
        path.push((choice, choices));
        if let Some((run, operation)) = waiting.get(choice) {
            let nth = locals[*run].iter().filter(|(asked, ..)| asked == operation).count();
            locals[*run].insert((*operation, nth, now.seen_by(operation)));
            changed = !operation.starts_with("Get") && !operation.starts_with("Describe");
            gate.open(choice);
        } else {
            changed = true;
            let other = open[choice - waiting.len()];
            others.retain(|one| std::mem::discriminant(one) != std::mem::discriminant(&other));
            world.change(|facts| {
                "others".clone_into(&mut facts.caller);
                match other {
                    Other::Deed(deed) => deed(facts),
                    Other::Wait => facts.now += TimeDelta::minutes(20),
                }
            });
        }
    }
}

/// Goes through every interleaving of a scene; returns how many states and ends there are.
fn explore(what: &str, scene: &Scene) -> (usize, usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut met, mut ends) = (BTreeSet::new(), 0);
    let mut prefixes: Vec<Vec<usize>> = vec![vec![]];
    while let Some(prefix) = prefixes.pop() {
        let played = runtime.block_on(play(scene, &prefix, &mut met));
        let choices: Vec<usize> = played.path.iter().map(|(choice, _)| *choice).collect();
        for (step, (_, choices_then)) in played.path.iter().enumerate().skip(prefix.len()) {
            for other in 1..*choices_then {
                let mut branch = choices[..step].to_vec();
                branch.push(other);
                prefixes.push(branch);
            }
        }
        if let Some((facts, seen)) = played.end {
            ends += 1;

            check(&facts, &seen).unwrap_or_else(|why| panic!("{what}: schedule {choices:?}: {why}"));
        }
    }
    println!("{what}: {} states, {ends} ends", met.len());
    (met.len(), ends)
}

/// What holds at every end: the invariants, and each change of the stage is one incident, claimed, reported and told
/// once.
fn check(facts: &Facts, seen: &[Seen]) -> Result<(), String> {
    hold(&Facts::bad_release(), facts, seen, &config(&SETTINGS))?;
    let by_runs = |by: &str| seen.iter().any(|run| run.hand == by);
    let changes = facts.changes.iter().filter(|one| by_runs(&one.by) && one.from != one.to).count();
    let reports: Vec<&Report> = seen.iter().filter_map(|run| run.reports.as_ref()).flatten().collect();
    let count = |outcome| reports.iter().filter(|report| report.outcome == outcome).count();
    let told = facts.told.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    let claims = facts.writes.iter().filter(|write| write.name.contains("/incidents/")).count();
    // API Gateway compares nothing before it writes: what is deployed between a run's look and its write is lost, and
    // the run cannot know. Nothing else may be.
    let pairs = facts.changes.windows(2).filter(|pair| !by_runs(&pair[0].by) && by_runs(&pair[1].by));
    let lost = pairs.count();
    let reported = count(Outcome::RolledBack);
    if reported != told || reported != claims || reported > changes || reported + lost < changes {
        return Err(format!("{changes} changes, {reported} reports, {told} notices, {claims} claims"));
    }
    if count(Outcome::Failed) + count(Outcome::NeedsHuman) > 0 {
        return Err(format!("{reports:?}"));
    }
    Ok(())
}

fn alarm(event_file: &str) -> (String, Signal) {
    let name = if event_file.ends_with("latency") { "orders-prod-latency" } else { "orders-prod-5xx" };
    (event(event_file), Signal::Alarm { name: name.to_owned(), fired: None, ours: true })
}

fn sweep() -> (String, Signal) {
    (SWEEP.to_owned(), Signal::Sweep)
}

fn deploys(facts: &mut Facts) {
    facts.deployments.push((crate::world::API.to_owned(), "d3".to_owned()));
    let mut live = live(release("d3", &[("release", "3")]), "2026-11-20T10:06:00Z");
    live.updated_at = Some(facts.now);
    facts.serve(&prod(), live);
}

fn brings_it_back(facts: &mut Facts) {
    let mut live = live(release("d2", &[("release", "2")]), "2026-11-20T10:06:00Z");
    live.updated_at = Some(facts.now);
    facts.serve(&prod(), live);
}

#[test]
fn a_claim_is_one_runs_alone_in_every_order() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    let deploy = Other::Deed(deploys);
    for (what, events, others) in [
        ("an event twice", vec![fired(), fired()], vec![]),
        ("two alarms and a deploy", vec![fired(), slow()], vec![deploy]),
    ] {
        let (states, ends) = explore(what, &Scene { events, others });
        assert!(states > 1000 && ends > 100, "{what}: {states} states and {ends} ends are no interleaving");
    }
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn a_claim_is_one_runs_alone_with_three_runs_a_deployer_and_time() {
    let (fired, slow) = (|| alarm("sns-alarm"), || alarm("sns-alarm-latency"));
    let (deploy, again) = (Other::Deed(deploys), Other::Deed(brings_it_back));
    for (what, events, others) in [
        ("two, the bad release comes back, time", vec![fired(), slow()], vec![again, Other::Wait]),
        ("an event and a sweep", vec![fired(), sweep()], vec![]),
        ("three", vec![fired(), slow(), fired()], vec![]),
        ("three, a deploy, time", vec![fired(), slow(), fired()], vec![deploy, Other::Wait]),
    ] {
        explore(what, &Scene { events, others });
    }
}
