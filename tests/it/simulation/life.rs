//! The simulation run of one seed: an agenda of timed items, and the runs of the function that are in progress.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::others::Others;
use super::states::States;
use super::weather::SeededFaults;
use crate::simulation::invariants::{Seen, Signal};
use crate::support::world::{Clock, FUNCTION, Facts, Network, World, at};

/// The start of every simulation run, and the time during which others act and faults occur; then the world settles.
pub(crate) const START: &str = "2026-11-20T08:00:00Z";
pub(crate) const BUSY: TimeDelta = TimeDelta::minutes(36);
const SWEEP_EVERY: TimeDelta = TimeDelta::minutes(5);
/// The function's time-out, and the share of it that the function reserves for its report.
const TIME_OUT: Duration = Duration::from_mins(1);
const TO_REPORT: Duration = Duration::from_millis(700);

/// An item of the agenda.
#[derive(Clone, Debug)]
pub(crate) enum AgendaItem {
    /// A minute of traffic ends: CloudWatch gets metrics and evaluates alarms.
    Minute,
    Sweep,
    /// An event reaches Lambda, with the number of the attempt.
    Event(Event, u32),
    /// An action of others.
    Other(super::others::ExternalAction),
    /// From here on there are no faults and no actions of others.
    Calm,
}

/// An event for the function.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) text: String,
    pub(crate) signal: Signal,
}

struct Ended {
    event: Event,
    attempt: u32,
    seen: Seen,
    failed: bool,
}

/// The world of one seed, with everything that acts on it.
pub(crate) struct SimulationRun {
    pub(crate) rng: Rng,
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) calm: bool,
    /// The states that were reached, if they are counted.
    pub(crate) states: Option<States>,
    /// The story so far, if it is recorded.
    pub(crate) story: Option<Vec<String>>,
    faults: Arc<SeededFaults>,
    pub(crate) others: Others,
    agenda: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    items: Vec<AgendaItem>,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Ended>>>>,
    runs: usize,
}

impl SimulationRun {
    /// Creates the world of a seed, before anything happens.
    pub(crate) fn new(seed: u64, with_story: bool) -> Self {
        Self::changed(seed, with_story, |_, _, _| ())
    }

    /// Creates the world of a seed, with something changed in it.
    pub(super) fn changed(
        seed: u64,
        with_story: bool,
        change: impl FnOnce(&mut Rng, &mut Others, &mut Facts),
    ) -> Self {
        // The engine's own random numbers (jitter) must be the same every time.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let clock = Clock { began: Instant::now(), at: at(START) };
        let (mut others, mut facts) = Others::new(&mut rng);
        change(&mut rng, &mut others, &mut facts);
        // A third of the seeds have no faults, so that the undisturbed behaviour is tested too.
        let per_mille = [0, 10, 60][rng.usize(..3)];
        let faults = Arc::new(SeededFaults::new(clock, rng.fork(), per_mille));
        let config = Arc::new(crate::support::harness::config(&others.settings));
        let mut simulation = Self {
            calm: per_mille == 0,
            rng,
            world: World::new(facts),
            clock,
            config,
            seen: vec![],
            states: None,
            story: with_story.then(Vec::new),
            faults,
            others,
            agenda: BinaryHeap::new(),
            items: vec![],
            under_way: FuturesUnordered::new(),
            runs: 0,
        };
        simulation.plan();
        simulation
    }

    fn plan(&mut self) {
        let start = self.clock.at;
        let duration = BUSY + self.others.cloudwatch.settles_within();
        let end = start + duration;
        let offset = TimeDelta::seconds(self.rng.i64(0..300));
        let mut at = start + offset;
        while at < end {
            // While faults occur, the schedule sometimes misses a sweep or starts it twice.
            let times = if self.calm || at > start + BUSY {
                1
            } else {
                [0, 1, 1, 1, 1, 1, 1, 2][self.rng.usize(..8)]
            };
            (0..times).for_each(|_| self.at(at, AgendaItem::Sweep));
            at += SWEEP_EVERY;
        }
        let minutes = duration.num_minutes();
        (1..=minutes).for_each(|minute| self.at(start + TimeDelta::minutes(minute), AgendaItem::Minute));
        self.at(start + BUSY, AgendaItem::Calm);
        for (at, action) in self.others.agenda(&mut self.rng) {
            self.at(start + at, AgendaItem::Other(action));
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Adds an item to the agenda.
    pub(crate) fn at(&mut self, at: DateTime<Utc>, what: AgendaItem) {
        self.items.push(what);
        self.agenda.push(Reverse((at, self.items.len() - 1)));
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(story) = &mut self.story {
            story.push(format!("{} {}", now.format("%H:%M:%S%.3f"), what()));
        }
    }

    /// Changes the world as others do.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        // A stale answer shows the state before the last change.
        if !self.calm {
            self.world.remember(self.clock.now());
        }
        let mut answer = None;
        self.world.change(|facts| {
            facts.now = self.clock.now();
            "others".clone_into(&mut facts.caller);
            answer = Some(change(facts));
        });
        answer.unwrap()
    }

    /// Works through the agenda until it is empty and no run is in progress.
    pub(crate) async fn run_to_end(&mut self) {
        while !self.is_over() {
            self.go_on().await;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.agenda.is_empty() && self.under_way.is_empty()
    }

    /// Waits until a run ends or the time of an item comes, and carries it out. Waits forever if the life is over.
    pub(super) async fn go_on(&mut self) {
        let next = self.agenda.peek().map(|Reverse((at, _))| *at);
        let until = next.map(|at| self.clock.began + (at - self.clock.at).to_std().unwrap_or_default());
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(ended) = self.under_way.next() => self.ended(ended),
            () = timer => {
                if let Some(Reverse((_, nth))) = self.agenda.pop() {
                    let what = self.items[nth].clone();
                    self.carry_out(what);
                }
            }
        }
    }

    /// The number of runs that are in progress.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn carry_out(&mut self, what: AgendaItem) {
        match what {
            AgendaItem::Minute => self.minute(),
            AgendaItem::Sweep => {
                let text = r#"{"command":"sweep"}"#.to_owned();
                self.invoke(Event { text, signal: Signal::Sweep }, 1);
            }
            AgendaItem::Event(event, attempt) => self.invoke(event, attempt),
            AgendaItem::Other(action) => {
                super::others::carry_out(self, action);
                self.note_state(None);
            }
            AgendaItem::Calm => {
                self.say(|| "from now on there are no faults".to_owned());
                self.faults.stop();
                self.world.remember(self.clock.now());
            }
        }
    }

    fn minute(&mut self) {
        let now = self.now();
        if !self.calm && now < self.clock.at + BUSY && self.rng.u32(..20) == 0 {
            self.faults.drain();
        }
        let minute = self.world.look(|facts| self.others.minute(now, facts));
        let evaluated = self.change(|facts| {
            self.others.counted.count(facts, &self.others.stage(), &minute.failing);
            self.others.cloudwatch.evaluate(&minute, facts)
        });
        for (alarm, state) in evaluated {
            self.say(|| format!("the alarm {alarm} is {state}"));
            let deliveries = self
                .world
                .look(|facts| super::cloudwatch::deliveries(&mut self.rng, self.calm, facts, &alarm));
            for (delay, event) in deliveries {
                self.at(now + delay, AgendaItem::Event(event, 1));
            }
        }
    }

    /// Starts a run for an event, or postpones the event if Lambda throttles it.
    fn invoke(&mut self, event: Event, attempt: u32) {
        let crowded = self.under_way.len() >= self.others.at_once;
        let throttled = !self.calm && self.now() < self.clock.at + BUSY && self.rng.u32(..20) == 0;
        if crowded || throttled {
            let later = self.now() + TimeDelta::milliseconds(self.rng.i64(500..20_000));
            self.at(later, AgendaItem::Event(event, attempt));
            return;
        }
        self.runs += 1;
        let id = format!("run-{}", self.runs);
        self.say(|| format!("{id} begins: {:?}, attempt {attempt}", event.signal));
        let world = self.world.for_run(id.clone(), Network::FaultModel(Arc::clone(&self.faults) as _));
        let skew = TimeDelta::seconds(self.rng.i64(-15..=15));
        let (config, clock) = (Arc::clone(&self.config), self.clock);
        self.under_way.push(Box::pin(async move {
            let began = Instant::now();
            let at = clock.now();
            let run = Context {
                cloud: &world,
                config: &config,
                trigger: &UNKNOWN,
                id: &id,
                trace: None,
                function: Some(FUNCTION),
                now: at + skew,
                began,
                deadline: began + TIME_OUT.saturating_sub(TO_REPORT),
            };
            // Lambda kills a run that reaches the time-out.
            let answer = tokio::time::timeout(TIME_OUT, handle(&event.text, &run)).await;
            let reports = answer.as_ref().ok().map(|answer| answer.reports.clone());
            let failed = answer.map_or(true, |answer| answer.into_response().is_err());
            let seen = Seen { id, signal: event.signal.clone(), began: at, reports };
            Ended { event, attempt, seen, failed }
        }));
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { event, attempt, seen, failed } = ended;
        self.say(|| format!("{} ends: {}", seen.id, said(seen.reports.as_deref())));
        self.note_state(Some(&seen));
        // Lambda retries a failed event twice; an operator's command is not retried.
        let again = failed && attempt < 3 && seen.signal != Signal::Operator;
        if again {
            self.at(
                self.now() + TimeDelta::minutes(i64::from(attempt)),
                AgendaItem::Event(event, attempt + 1),
            );
        }
        self.seen.push(seen);
    }
}

fn said(reports: Option<&[Report]>) -> String {
    let Some(reports) = reports else { return "it died".to_owned() };
    let one = |report: &Report| {
        let reason = report.code().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let warnings = report.warnings.join("; ");
        let details = match (&report.details, report.outcome) {
            (Some(details), Outcome::Swept) => format!(" {}", serde_json::json!(details)),
            _ => String::new(),
        };
        format!("{:?}{reason}: {} {warnings}{details}", report.outcome, report.message)
    };
    reports.iter().map(one).collect::<Vec<_>>().join(" | ")
}

/// Runs one seed to its end, on its own clock; returns the simulation run and the world at its start.
pub(crate) fn simulate(seed: u64, with_story: bool) -> (SimulationRun, Facts) {
    played(|| SimulationRun::new(seed, with_story))
}

/// Runs one seed to its end, and counts the states that it reaches.
pub(crate) fn simulate_counting(seed: u64) -> (SimulationRun, Facts) {
    played(|| SimulationRun { states: Some(States::new()), ..SimulationRun::new(seed, false) })
}

fn played(simulation: impl FnOnce() -> SimulationRun) -> (SimulationRun, Facts) {
    on_its_own_clock(async {
        let mut simulation = simulation();
        let before = simulation.world.facts();
        simulation.run_to_end().await;
        simulation.world.change(|facts| facts.now = simulation.clock.now());
        (simulation, before)
    })
}

/// Runs something on a clock of its own, on which time passes only while everybody waits.
pub(super) fn on_its_own_clock<T>(life: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(life)
}
