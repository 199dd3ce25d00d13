//! Plays a scene along schedules and collects the schedules that are still to be played.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::alarm::State;
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::TimeDelta;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::time::Instant;

use super::order::{Moment, Touch};
use crate::simulation::invariants::{Seen, Signal};
use crate::support::world::{FUNCTION, Facts, Gate, Network, World, hash};

/// An action of others at some moment.
#[derive(Clone, Copy)]
pub(super) enum Other {
    /// A change of the stage, at any moment.
    ExternalAction(fn(&mut Facts)),
    /// More time passes than a run can take, so no run is in progress; then the alarms fire again.
    Wait,
}

/// The world, the runs and the actions of others.
pub(super) struct Scene {
    /// The world at the start.
    pub(super) facts: Facts,
    pub(super) events: Vec<(String, Signal)>,
    pub(super) others: Vec<Other>,
    pub(super) config: Config,
    /// What a run may read and write that is not an alarm's, in any order.
    pub(super) unordered: Touch,
    /// Whether the runs follow the tables in `order.rs`, as the reduction requires.
    pub(super) in_table: bool,
}

/// The state of a run: its calls, how often it made each before, and their answers. The order of concurrent answers
/// does not matter.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Local {
    pub(super) answers: BTreeSet<(u64, usize, u64)>,
    /// The hash of the reports, once the run has ended.
    pub(super) over: Option<u64>,
}

/// A schedule to be played, as the number of the choice at each step, with the state before its last step.
#[derive(Default)]
struct Branch {
    schedule: Vec<usize>,
    locals: Vec<Local>,
    floors: Vec<usize>,
}

/// The results of an exploration.
#[derive(Default)]
pub(super) struct Found {
    /// The known states, which are not explored again.
    met: HashSet<u64>,
    left: Vec<Branch>,
    /// The distinct ends, each with the story of one order that leads there.
    pub(super) ends: BTreeMap<u64, String>,
    pub(super) played: usize,
}

impl Found {
    pub(super) fn states(&self) -> usize {
        self.met.len()
    }

    /// Takes the first choice and queues the others.
    fn choose(&mut self, at: &Moment, reduced: bool, path: &[usize], floors: &mut [usize]) -> usize {
        if at.scene.in_table {
            at.hold_to_table(floors);
        }
        let choices = if reduced { at.sufficient() } else { at.all() };
        for other in &choices[1..] {
            let schedule = path.iter().chain([other]).copied().collect();
            self.left.push(Branch { schedule, locals: at.locals.to_vec(), floors: floors.to_vec() });
        }
        choices[0]
    }
}

/// Hashes everything in the world that a run or a check can see.
fn state(facts: &Facts, others: &[Other]) -> u64 {
    let notified =
        facts.notifications.iter().fold(0, |all: u64, notification| all.wrapping_add(hash(notification)));
    let writes = facts.writes.iter().fold(0, |all: u64, write| all.wrapping_add(hash(write)));
    let left: Vec<_> = others.iter().map(std::mem::discriminant).collect();
    let components = (&facts.aliases, &facts.mappings, &facts.moves);
    hash(&(facts.now, &facts.stages, components, &facts.parameters, &facts.changes, notified, writes, left))
}

/// Runs one event; the run begins when the gate lets it through.
async fn run(scene: &Scene, number: usize, world: World, gate: Arc<Gate>) -> Seen {
    gate.pass(number, "begin".to_owned()).await;
    let (text, signal) = &scene.events[number];
    // No two clocks show the same millisecond.
    let now = world.now() + TimeDelta::milliseconds(i64::try_from(number).unwrap());
    let (began, id) = (Instant::now(), world.run_id());
    let run = Context {
        cloud: &world,
        config: &scene.config,
        trigger: &UNKNOWN,
        id: &id,
        trace: None,
        function: Some(FUNCTION),
        now,
        began,
        deadline: began + Duration::from_secs(30),
    };
    let reports = Some(Box::pin(handle(text, &run)).await.reports);
    Seen { id, signal: signal.clone(), began: now, reports }
}

/// Lets every run continue until it waits for its turn, waits for time to pass, or ends.
async fn settle(runs: &mut (impl Stream<Item = Seen> + Unpin), seen: &mut Vec<Seen>) {
    tokio::task::yield_now().await;
    std::future::poll_fn(|context| {
        while let Poll::Ready(Some(ended)) = std::pin::Pin::new(&mut *runs).poll_next(context) {
            seen.push(ended);
        }
        Poll::Ready(())
    })
    .await;
}

/// Plays a scene along a schedule, then continues until the scene ends or reaches a known state. The alternatives are
/// queued.
async fn play(
    scene: &Scene,
    reduced: bool,
    from: Branch,
    found: &mut Found,
) -> Option<(Facts, Vec<Seen>, String)> {
    // The engine's own random numbers (jitter) must be the same every time.
    fastrand::seed(0);
    let world = World::new(scene.facts.clone());
    let gate = Arc::new(Gate::default());
    let mut runs: FuturesUnordered<_> = (0..scene.events.len())
        .map(|number| {
            let cloud = world.for_run(format!("run-{number}"), Network::Gate(Arc::clone(&gate), number));
            run(scene, number, cloud, Arc::clone(&gate))
        })
        .collect();
    let Branch { schedule, mut locals, mut floors } = from;
    let (mut seen, mut path, mut story, mut asked) = (vec![], vec![], vec![], None);
    let mut others = scene.others.clone();
    let began = Instant::now();
    found.played += 1;
    loop {
        settle(&mut runs, &mut seen).await;
        let waiting = gate.waiting();
        if waiting.is_empty() && !runs.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        if path.len() >= schedule.len() {
            note(&mut locals, asked.take(), &gate, &seen);
            let mut here = DefaultHasher::new();
            (world.look(|facts| state(facts, &others)), &waiting, &locals, began.elapsed()).hash(&mut here);
            let here = here.finish();
            if runs.is_empty() {
                // Others may still act, or not.
                if others.iter().any(|other| matches!(other, Other::ExternalAction(_))) {
                    let schedule = path.into_iter().chain([0]).collect();
                    found.left.push(Branch { schedule, locals, floors });
                }
                let story = story.join("\n");
                let is_new = found.ends.insert(here, story.clone()).is_none();
                return is_new.then(|| (world.facts(), seen, story));
            }
            if !found.met.insert(here) {
                return None;
            }
        }
        let is_quiet = waiting.iter().all(|(_, call)| call == "begin");
        let open = others.iter().filter(|other| is_quiet || matches!(other, Other::ExternalAction(_)));
        let mut open: Vec<Other> = open.copied().collect();
        open.sort_by_key(|other| matches!(other, Other::Wait));
        let choice = schedule.get(path.len()).copied().unwrap_or_else(|| {
            let (waiting, locals, others) = (waiting.as_slice(), locals.as_slice(), others.as_slice());
            let moment = Moment { scene, waiting, locals, others, open: open.len() };
            found.choose(&moment, reduced, &path, &mut floors)
        });
        path.push(choice);
        if path.len() >= schedule.len() {
            gate.listen();
            asked = waiting.get(choice).cloned();
        }
        if let Some((run, call)) = waiting.get(choice) {
            story.push(format!("run-{run} {call}"));
            gate.open(choice);
        } else {
            story.push("others".to_owned());
            let other = open[choice - waiting.len()];
            others.retain(|one| std::mem::discriminant(one) != std::mem::discriminant(&other));
            world.change(|facts| act(facts, other));
        }
    }
}

fn act(facts: &mut Facts, other: Other) {
    "others".clone_into(&mut facts.caller);
    match other {
        Other::ExternalAction(action) => action(facts),
        Other::Wait => {
            facts.now += TimeDelta::minutes(20);
            for alarm in facts.alarms.iter_mut().map(|now| &mut now.alarm) {
                let fired = alarm.changed_at.replace(facts.now).unwrap();
                let quiet = facts.now - TimeDelta::minutes(1);
                for (at, state) in [(fired, State::Alarm), (quiet, State::Ok), (facts.now, State::Alarm)] {
                    facts.transitions.push((alarm.name.clone(), at, state));
                }
            }
        }
    }
}

/// Notes the answer to the last call, and the runs that have ended.
fn note(locals: &mut [Local], asked: Option<(usize, String)>, gate: &Gate, seen: &[Seen]) {
    if let (Some((run, call)), Some(answer)) = (asked, gate.take_answer()) {
        let call = hash(&call);
        let local = &mut locals[run];
        let before = local.answers.iter().filter(|(asked, ..)| *asked == call).count();
        local.answers.insert((call, before, answer));
    }
    for run in seen {
        let local = &mut locals[number_of(&run.id)];
        if local.over.is_none() {
            *local = Local { answers: BTreeSet::new(), over: Some(hash(&(run.began, &run.reports))) };
        }
    }
}

fn number_of(id: &str) -> usize {
    id.trim_start_matches("run-").parse().unwrap()
}

/// Explores every order of a scene, or a sufficient subset, and checks each end.
pub(super) fn explore(
    scene: &Scene,
    reduced: bool,
    judge: impl Fn(&Facts, &[Seen]) -> Result<(), String>,
) -> Result<Found, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let runs = scene.events.len();
    let first = Branch { schedule: vec![], locals: vec![Local::default(); runs], floors: vec![0; runs] };
    let mut found = Found { left: vec![first], ..Found::default() };
    while let Some(branch) = found.left.pop() {
        if let Some((facts, seen, story)) = runtime.block_on(play(scene, reduced, branch, &mut found)) {
            judge(&facts, &seen).map_err(|why| format!("{why}, after\n{story}"))?;
        }
    }
    Ok(found)
}
