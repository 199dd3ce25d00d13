//! The alarms over a life, and the function that they start: when is the stage rolled back?
//!
//! The verdict is that of the function's own code, `decide::guilt::test`, over the requests that it keeps by
//! `decide::counters::of_release`.

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::counters::of_release;
use crate::decide::guilt::{Guilt, innocent, test};
use crate::decide::sequential::Innocent;
use crate::life::{By, Count, Life, MINUTE, PERIOD};
use crate::model::guilt::Terms;
use crate::model::normal::Normal;
use crate::model::observed::{KnownGood, OnRecord};
use crate::model::policy::PolicyOverrides;
use crate::model::records::{Record, Rollbacks, SCHEMA};
use crate::model::release::{Canary, Release};
use crate::model::stage::{LiveStage, StageRef};
use crate::model::traffic::{Bucket, Measure, Source, Traffic};
use crate::random::keyed;

/// From an alarm's change of state to the function's first look: SNS and the start of the sandbox.
const STARTS: f64 = 0.5;
/// From the verdict to the rolled-back stage.
const ROLLS_BACK: f64 = 0.5;
/// The function looks this often after a fast alarm.
const LOOKS_AGAIN: f64 = 3.0;
/// `DecideSeconds` of the template.
pub const DECIDES: f64 = 45.0;

/// An alarm of fast detection watches so many periods, and one bad one suffices.
const FAST_PERIODS: usize = 6;
/// The alarm on the minute watches so many, and one bad one suffices.
const SLOW_MINUTES: usize = 2;
/// A minute's metric arrives between these two times after its end.
const PUBLISHED: (f64, f64) = (20.0, 60.0);

/// The keys of a life's random numbers.
const FAST_PHASE: u64 = 2;
const SLOW_PHASE: u64 = 3;
const ARRIVALS: u64 = 5_000_000;

/// The least that a period must have for an alarm to look at its share of failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    pub requests: u64,
    pub errors: u64,
}

/// The minimums of the template's alarm on the minute (`MinimumRequests`, `MinimumErrors`), and of its fast alarm.
pub const TEMPLATE: Minimum = Minimum { requests: 20, errors: 5 };
pub const FAST: Minimum = Minimum { requests: 0, ..TEMPLATE };

/// How long before the release the last sweep saw the known-good one, in seconds: half of the time between two sweeps.
const SWEPT_BEFORE: f64 = 150.0;

/// The settings of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How long after its request a line of the access log arrives, in seconds.
    pub delay: f64,
    /// The minimums of the fast alarm.
    pub fast: Minimum,
    /// For how long the function looks after a fast alarm (`DecideSeconds`).
    pub decides: f64,
    /// The terms of the test. The tolerated share is also the threshold of both alarms (`ErrorRateThreshold`).
    pub terms: Terms,
}

impl Setting {
    fn breaches(&self, minimum: Minimum, count: Count) -> bool {
        count.requests >= minimum.requests
            && count.bad >= minimum.errors
            && count.bad as f64 > self.terms.tolerated * count.requests as f64
    }
}

/// A life under watch.
pub struct Watch<'a> {
    life: &'a Life,
    setting: &'a Setting,
    on_record: OnRecord,
    live: LiveStage,
}

impl<'a> Watch<'a> {
    /// Watches a life. `normal` is what was learnt about the known-good release.
    pub fn new(life: &'a Life, setting: &'a Setting, normal: Option<Normal>) -> Self {
        let deployment = if life.is_canary { "good" } else { "new" };
        let canary = life.is_canary.then(|| Canary {
            deployment: Some("new".to_owned()),
            percent: "10".to_owned(),
            overrides: [].into(),
            uses_cache: false,
        });
        let served = Release { canary, ..release(deployment) };
        // API Gateway's times are whole seconds.
        let observed =
            LiveStage { release: served, updated_at: Some(at(life.live_at.floor())), ..LiveStage::default() };
        Self { life, setting, on_record: on_record(normal), live: observed }
    }

    /// Returns when the fast alarm has caused a rollback; `None` if it never does.
    pub fn fast(&self) -> Option<f64> {
        self.at_each_firing(|fired, fires| self.decided(fired, fires))
    }

    /// Returns how often the fast alarm fires after the release.
    pub fn fired(&self) -> u64 {
        let mut number = 0;
        let _: Option<()> = self.at_each_firing(|_, _| {
            number += 1;
            None
        });
        number
    }

    /// Asks at each change of the fast alarm to ALARM after the release, until there is an answer.
    fn at_each_firing<T>(
        &self,
        mut ask: impl FnMut(f64, &mut dyn FnMut(f64) -> bool) -> Option<T>,
    ) -> Option<T> {
        let phase = PERIOD * keyed(self.life.seed, FAST_PHASE).f64();
        let quiet = (0..self.life.periods())
            .skip_while(|period| (*period as f64 + 7.0) * PERIOD < self.life.live_at)
            .all(|period| u64::from(self.life.bad_in(period)) < self.setting.fast.errors);
        if quiet {
            return None;
        }
        let mut full = vec![None; self.life.periods()];
        let mut fires = |evaluated: f64| self.fast_alarm(evaluated, &mut full);
        let mut evaluated = phase + ((self.life.live_at - 2.0 * MINUTE) / PERIOD).floor() * PERIOD;
        let mut was_on = fires(evaluated);
        while evaluated + PERIOD < self.life.end {
            evaluated += PERIOD;
            let is_on = fires(evaluated);
            if is_on
                && !was_on
                && evaluated >= self.life.live_at
                && let Some(answer) = ask(evaluated, &mut fires)
            {
                return Some(answer);
            }
            was_on = is_on;
        }
        None
    }

    /// Whether the fast alarm is in ALARM after an evaluation. It looks at the periods that have ended.
    fn fast_alarm(&self, evaluated: f64, full: &mut [Option<bool>]) -> bool {
        let ended = ((evaluated / PERIOD) as usize).min(self.life.periods());
        let arrived = evaluated - self.setting.delay;
        (ended.saturating_sub(FAST_PERIODS)..ended).any(|period| {
            if u64::from(self.life.bad_in(period)) < self.setting.fast.errors {
                return false;
            }
            let is_bad = || self.setting.breaches(self.setting.fast, self.life.count_in(period, arrived));
            if arrived < (period + 1) as f64 * PERIOD {
                return is_bad();
            }
            *full[period].get_or_insert_with(is_bad)
        })
    }

    /// Returns when the run that a fast alarm starts has rolled the stage back.
    fn decided(&self, fired: f64, is_on: &mut dyn FnMut(f64) -> bool) -> Option<f64> {
        let mut look = fired + STARTS;
        while look <= fired + STARTS + self.setting.decides && look < self.life.end {
            let last = fired + ((look - fired) / PERIOD).floor() * PERIOD;
            if !is_on(last) {
                return None;
            }
            if self.convicts(look) {
                return Some(look + ROLLS_BACK);
            }
            look += LOOKS_AGAIN;
        }
        None
    }

    /// Returns when the alarm on the minute has caused a rollback, if the function believes it unless the requests by this
    /// source acquit the release; without a source, always.
    pub fn slow(&self, source: Option<Source>) -> Option<f64> {
        let phase = MINUTE * keyed(self.life.seed, SLOW_PHASE).f64();
        let quiet = (0..self.life.periods()).all(|period| self.life.bad_in(period) == 0);
        if quiet {
            return None;
        }
        let minutes = self.life.periods() / 6;
        let bad: Vec<bool> =
            (0..minutes).map(|minute| self.setting.breaches(TEMPLATE, self.minute(minute))).collect();
        if !bad.contains(&true) {
            return None;
        }
        let mut evaluated = phase + ((self.life.live_at - 3.0 * MINUTE) / MINUTE).floor() * MINUTE;
        let mut was_on = true;
        while evaluated < self.life.end {
            let arrived = self.arrived(evaluated, minutes);
            let seen = arrived.saturating_sub(SLOW_MINUTES)..arrived;
            let first = seen.clone().find(|minute| bad[*minute]);
            if let Some(first) = first.filter(|_| !was_on && evaluated >= self.life.live_at) {
                // A breach that ended before the release accuses it of nothing.
                let is_before = (first + 1) as f64 * MINUTE <= self.life.live_at.floor();
                let look = evaluated + STARTS;
                let acquits = |source| self.guilt(source, look).acquittal(Measure::Failed).is_some();
                if !is_before && !source.is_some_and(acquits) {
                    return Some(look + ROLLS_BACK);
                }
            }
            was_on = first.is_some();
            evaluated += MINUTE;
        }
        None
    }

    fn minute(&self, minute: usize) -> Count {
        let periods = 6 * minute..6 * (minute + 1);
        periods.map(|period| self.life.count_in(period, f64::INFINITY)).fold(Count::default(), Count::plus)
    }

    /// Returns the number of minutes whose metric has arrived.
    fn arrived(&self, by: f64, of: usize) -> usize {
        (0..of).take_while(|minute| self.published(*minute) <= by).count()
    }

    fn published(&self, minute: usize) -> f64 {
        let (soonest, latest) = PUBLISHED;
        let waited = soonest + (latest - soonest) * keyed(self.life.seed, ARRIVALS + minute as u64).f64();
        (minute + 1) as f64 * MINUTE + waited
    }

    /// Returns the verdict of the function's test at a moment.
    pub fn guilt(&self, source: Source, look: f64) -> Guilt {
        self.traffic(source, look).map_or_else(Guilt::default, |traffic| self.test(&traffic))
    }

    /// Whether the function's test convicts the release at a moment. The test takes long, so it is left out where it
    /// [`cannot_convict`]; [`Self::shortcuts_hold`] compares.
    fn convicts(&self, look: f64) -> bool {
        let normal = self.on_record.good().and_then(|(_, record)| record.normal.as_ref());
        let innocent = innocent(&self.setting.terms, normal, Measure::Failed, Source::Deployments);
        let alpha = self.setting.terms.alpha;
        let cannot = |by, alpha| cannot_convict(self.counts(by, look - self.setting.delay), &innocent, alpha);
        if self.life.is_canary {
            return self.guilt(Source::Deployments, look).conviction().is_some();
        }
        if cannot(By::New, alpha) {
            return false;
        }
        let Some(mut traffic) = self.traffic(Source::Deployments, look) else { return false };
        // A known-good release that was not in trouble excuses nothing, whatever its numbers were. Half of the bar excuses.
        if cannot(By::KnownGood, alpha.sqrt()) {
            traffic.before.clear();
        }
        self.test(&traffic).conviction().is_some()
    }

    /// Whether the verdicts of some looks are those of the whole test.
    pub fn shortcuts_hold(&self) -> bool {
        let looks = (1..=12).map(|nth| self.life.live_at + 17.0 * f64::from(nth));
        let mut looks = looks.filter(|look| *look < self.life.end);
        looks.all(|look| self.convicts(look) == self.guilt(Source::Deployments, look).conviction().is_some())
    }

    /// Returns the counts of a release's pieces until a moment, the latest first.
    fn counts(&self, by: By, arrived: f64) -> impl Iterator<Item = Count> {
        let pieces = self.life.pieces.iter().enumerate().rev();
        pieces
            .filter(move |(_, piece)| piece.by == by && piece.begin < arrived)
            .map(move |(nth, _)| self.life.count(nth, arrived))
    }

    fn test(&self, traffic: &Traffic) -> Guilt {
        test(traffic, &self.live.release, &self.on_record, &self.setting.terms)
    }

    /// Returns what the function reads at a moment, of which it keeps what matters.
    fn traffic(&self, source: Source, look: f64) -> Option<Traffic> {
        let read = match source {
            Source::Deployments => self.by_deployment(look - self.setting.delay),
            Source::AccessLog | Source::OwnMetrics | Source::Versions => self.by_minute(look),
        };
        let swept = at(self.life.live_at - SWEPT_BEFORE);
        of_release(&read, &self.live, &self.on_record, Some(swept))
    }

    fn by_deployment(&self, arrived: f64) -> Traffic {
        let (good, new) = (self.buckets(By::KnownGood, arrived), self.buckets(By::New, arrived));
        let source = Source::Deployments;
        if self.life.is_canary {
            return Traffic { source, live: good, canary: new, before: vec![], known_good_until: None };
        }
        Traffic { source, live: new, canary: vec![], before: good, known_good_until: None }
    }

    fn buckets(&self, by: By, arrived: f64) -> Vec<Bucket> {
        let change = (self.life.live_at / PERIOD) as usize;
        let periods = match by {
            By::KnownGood if !self.life.is_canary => 0..change + 1,
            By::KnownGood => 0..self.life.periods(),
            By::New => change..self.life.periods(),
        };
        let counts = periods.map(|period| {
            let of = self.life.pieces_of(period).filter(|nth| self.life.pieces[*nth].by == by);
            (
                period as f64 * PERIOD,
                of.map(|nth| self.life.count(nth, arrived)).fold(Count::default(), Count::plus),
            )
        });
        counts.take_while(|(begins, _)| *begins < arrived).filter_map(bucket).collect()
    }

    fn by_minute(&self, look: f64) -> Traffic {
        let arrived = 0..self.arrived(look, self.life.periods() / 6);
        let live =
            arrived.filter_map(|minute| bucket((minute as f64 * MINUTE, self.minute(minute)))).collect();
        Traffic { source: Source::OwnMetrics, live, canary: vec![], before: vec![], known_good_until: None }
    }
}

/// Whether the evidence of these counts, the latest first, is certainly below the bar.
///
/// The likelihood of innocence is at least that of a release that becomes quiet at any moment, and stays so. Against it, the
/// evidence of a share that began at that moment is at most `requests * KL(share, tolerated)`. So the highest such value
/// bounds the evidence, but for the probability to become quiet, and to stay so.
fn cannot_convict(latest_first: impl Iterator<Item = Count>, innocent: &Innocent, alpha: f64) -> bool {
    let (mut total, mut most, mut number) = (Count::default(), 0.0_f64, 0.0);
    for count in latest_first {
        total = total.plus(count);
        most = most.max(divergence(total, innocent.tolerated));
        number += 1.0;
    }
    let stays = -(1.0 - innocent.stay).ln() - number * (1.0 - innocent.enter).ln();
    most + stays < -alpha.ln()
}

/// Returns the logarithm of the likelihood of the share that was seen, against the tolerated one; 0 unless it is higher.
fn divergence(Count { requests, bad }: Count, tolerated: f64) -> f64 {
    let (bad, good) = (bad as f64, (requests - bad) as f64);
    let share = bad / (bad + good);
    if bad < 1.0 || share <= tolerated {
        return 0.0;
    }
    let of_good = if good > 0.0 { good * ((1.0 - share) / (1.0 - tolerated)).ln() } else { 0.0 };
    bad * (share / tolerated).ln() + of_good
}

fn bucket((begins, count): (f64, Count)) -> Option<Bucket> {
    let begins = at(begins);
    (count.requests > 0).then_some(Bucket { begins, requests: count.requests, failed: count.bad, slow: 0 })
}

/// Learns from the last half hour of a life, as a sweep does when it records a release.
pub fn learnt(life: &Life, tolerated: f64) -> Normal {
    let periods = life.periods().saturating_sub(180)..life.periods();
    let counts = periods.map(|period| (period as f64 * PERIOD, life.count_in(period, f64::INFINITY)));
    Normal::learnt(&counts.filter_map(bucket).collect::<Vec<_>>(), tolerated, None)
}

fn release(deployment: &str) -> Release {
    Release { deployment: deployment.to_owned(), ..Release::default() }
}

/// Returns the records of the stage: the known-good release, and what was learnt about it.
fn on_record(normal: Option<Normal>) -> OnRecord {
    let record = Record {
        schema: SCHEMA,
        stage: StageRef::rest("a1b2c3d4e5", "prod"),
        region: "eu-west-1".to_owned(),
        api_name: None,
        release: release("good"),
        created: None,
        recorded_at: at(0.0),
        pinned: true,
        label: None,
        note: None,
        who: None,
        irreversible: false,
        normal,
    };
    OnRecord {
        known_good: KnownGood::Found { parameter: String::new(), version: 1, record: Box::new(record) },
        candidate: None,
        hold: None,
        policy: PolicyOverrides::default(),
        rollbacks: Rollbacks::default(),
        rollout: Ok(None),
        unreadable: None,
    }
}

fn at(seconds: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds((seconds * 1_000.0) as i64)
}
