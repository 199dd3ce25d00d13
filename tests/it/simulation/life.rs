//! One seed's life: an agenda of things that happen at their time, beside the runs that are under way.

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
use super::weather::Weather;
use crate::simulation::invariants::{Seen, Signal};
use crate::support::world::{Clock, FUNCTION, Facts, Network, World, at};

/// When the stories begin, and how long others act and things go wrong; after that the world comes to rest.
pub(crate) const START: &str = "2026-11-20T08:00:00Z";
pub(crate) const BUSY: TimeDelta = TimeDelta::minutes(36);
const REST: TimeDelta = TimeDelta::minutes(20);
const SWEEP_EVERY: TimeDelta = TimeDelta::minutes(5);
/// The function's time-out, and what it keeps back of it to report.
const TIME_OUT: Duration = Duration::from_mins(1);
const TO_REPORT: Duration = Duration::from_millis(700);

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// A minute of traffic is over: metrics come in, and alarms are evaluated.
    Minute,
    Sweep,
    /// An event reaches Lambda; which attempt it is.
    Event(Event, u32),
    /// Something that others do.
    Other(super::others::ExternalAction),
    /// Nothing goes wrong any more, and nobody else does anything.
    Calm,
}

/// What Lambda is handed.
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

/// One seed's world and everybody in it.
pub(crate) struct Life {
    pub(crate) rng: Rng,
    pub(crate) world: World,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Config>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) calm: bool,
    /// The story so far, where somebody wants to read it.
    pub(crate) described: Option<Vec<String>>,
    weather: Arc<Weather>,
    pub(crate) others: Others,
    agenda: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    happenings: Vec<Happening>,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Ended>>>>,
    runs: usize,
}

impl Life {
    /// The world of a seed, before anything happens.
    pub(crate) fn new(seed: u64, described: bool) -> Self {
        // Where the engine itself draws lots (jitter), it must draw the same.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let clock = Clock { began: Instant::now(), at: at(START) };
        let (others, facts) = Others::new(&mut rng);
        // A third of the seeds have fair weather, so that what happens then is seen undisturbed.
        let per_mille = [0, 10, 60][rng.usize(..3)];
        let weather = Arc::new(Weather::new(clock, rng.fork(), per_mille));
        let config = Arc::new(crate::support::harness::config(&others.settings));
        let mut life = Self {
            calm: per_mille == 0,
            rng,
            world: World::new(facts),
            clock,
            config,
            seen: vec![],
            described: described.then(Vec::new),
            weather,
            others,
            agenda: BinaryHeap::new(),
            happenings: vec![],
            under_way: FuturesUnordered::new(),
            runs: 0,
        };
        life.plan();
        life
    }

    fn plan(&mut self) {
        let start = self.clock.at;
        let end = start + BUSY + REST;
        let offset = TimeDelta::seconds(self.rng.i64(0..300));
        let mut at = start + offset;
        while at < end {
            // Sometimes the schedule misses one, and sometimes it comes twice, while things go wrong.
            let times = if self.calm || at > start + BUSY {
                1
            } else {
                [0, 1, 1, 1, 1, 1, 1, 2][self.rng.usize(..8)]
            };
            (0..times).for_each(|_| self.at(at, Happening::Sweep));
            at += SWEEP_EVERY;
        }
        let minutes = (BUSY + REST).num_minutes();
        (1..=minutes).for_each(|minute| self.at(start + TimeDelta::minutes(minute), Happening::Minute));
        self.at(start + BUSY, Happening::Calm);
        for (at, deed) in self.others.agenda(&mut self.rng) {
            self.at(start + at, Happening::Other(deed));
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Puts something on the agenda.
    pub(crate) fn at(&mut self, at: DateTime<Utc>, what: Happening) {
        self.happenings.push(what);
        self.agenda.push(Reverse((at, self.happenings.len() - 1)));
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(described) = &mut self.described {
            described.push(format!("{} {}", now.format("%H:%M:%S%.3f"), what()));
        }
    }

    /// Changes the world by other hands.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        // A stale answer shows how things were before the last change.
        if !self.calm {
            self.world.remember();
        }
        let mut answer = None;
        self.world.change(|facts| {
            facts.now = self.clock.now();
            "others".clone_into(&mut facts.caller);
            answer = Some(change(facts));
        });
        answer.unwrap()
    }

    /// Everything that happens, until nothing is left on the agenda and no run is under way.
    pub(crate) async fn live(&mut self) {
        loop {
            let next = self.agenda.peek().map(|Reverse((at, _))| *at);
            if next.is_none() && self.under_way.is_empty() {
                return;
            }
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
                        let what = self.happenings[nth].clone();
                        self.happen(what);
                    }
                }
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Minute => self.minute(),
            Happening::Sweep => {
                let text = r#"{"command":"sweep"}"#.to_owned();
                self.invoke(Event { text, signal: Signal::Sweep }, 1);
            }
            Happening::Event(event, attempt) => self.invoke(event, attempt),
            Happening::Other(deed) => super::others::happen(self, deed),
            Happening::Calm => {
                self.say(|| "from now on nothing goes wrong".to_owned());
                self.weather.clears_up();
                self.world.remember();
            }
        }
    }

    fn minute(&mut self) {
        let now = self.now();
        if !self.calm && now < self.clock.at + BUSY && self.rng.u32(..20) == 0 {
            self.weather.drain();
        }
        let judged = self.world.look(|facts| self.others.judge(now, facts));
        for (alarm, state) in self.change(|facts| judged.apply(facts)) {
            self.say(|| format!("the alarm {alarm} is {state}"));
            let deliveries =
                self.world.look(|facts| super::others::deliveries(&mut self.rng, self.calm, facts, &alarm));
            for (delay, event) in deliveries {
                self.at(now + delay, Happening::Event(event, 1));
            }
        }
    }

    /// Lambda takes an event, or has no room for it and takes it later.
    fn invoke(&mut self, event: Event, attempt: u32) {
        let crowded = self.under_way.len() >= self.others.at_once;
        let throttled = !self.calm && self.now() < self.clock.at + BUSY && self.rng.u32(..20) == 0;
        if crowded || throttled {
            let later = self.now() + TimeDelta::milliseconds(self.rng.i64(500..20_000));
            self.at(later, Happening::Event(event, attempt));
            return;
        }
        self.runs += 1;
        let hand = format!("run-{}", self.runs);
        self.say(|| format!("{hand} begins: {:?}, attempt {attempt}", event.signal));
        let world = self.world.hand(hand.clone(), Network::FaultModel(Arc::clone(&self.weather) as _));
        let skew = TimeDelta::seconds(self.rng.i64(-15..=15));
        let (config, clock) = (Arc::clone(&self.config), self.clock);
        self.under_way.push(Box::pin(async move {
            let began = Instant::now();
            let at = clock.now();
            let run = Context {
                cloud: &world,
                config: &config,
                trigger: &UNKNOWN,
                id: &hand,
                trace: None,
                function: Some(FUNCTION),
                now: at + skew,
                began,
                deadline: began + TIME_OUT.saturating_sub(TO_REPORT),
            };
            // Whatever is still under way at the time-out is killed.
            let answer = tokio::time::timeout(TIME_OUT, handle(&event.text, &run)).await;
            let reports = answer.as_ref().ok().map(|answer| answer.reports.clone());
            let failed = answer.map_or(true, |answer| answer.into_response().is_err());
            let seen = Seen { hand, signal: event.signal.clone(), began: at, reports };
            Ended { event, attempt, seen, failed }
        }));
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { event, attempt, seen, failed } = ended;
        self.say(|| format!("{} ends: {}", seen.hand, said(seen.reports.as_deref())));
        // Lambda tries an event that failed twice more; a person's command was answered.
        let again = failed && attempt < 3 && seen.signal != Signal::Person;
        if again {
            self.at(
                self.now() + TimeDelta::minutes(i64::from(attempt)),
                Happening::Event(event, attempt + 1),
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

/// Runs one seed to its end, on a clock of its own.
pub(crate) fn live(seed: u64, described: bool) -> (Life, Facts) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = Life::new(seed, described);
        let before = life.world.facts();
        life.live().await;
        life.world.change(|facts| facts.now = life.clock.now());
        (life, before)
    })
}
