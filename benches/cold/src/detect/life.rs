//! One life of a release: the requests before and after it goes live, and which of them fail.
//!
//! Requests are Poisson processes, cut into pieces in which nothing changes. Of a piece, only the numbers are drawn; the times
//! of its requests are uniform, and are drawn again from the same key whenever somebody looks into the middle of it.

use std::cell::OnceCell;
use std::f64::consts::TAU;

use crate::random::{keyed, poisson, process};

/// The length of a period of the access log's metrics, in seconds.
pub const PERIOD: f64 = 10.0;
/// The length of a minute.
pub const MINUTE: f64 = 60.0;

/// The release goes live in the minute that begins at this second; the history before it fills the 15 minutes that count.
const GOES_LIVE: f64 = 960.0;

/// Bursts, on all deployments: how often, how long, and the share of requests that fail.
const BURSTS_A_SECOND: f64 = 1.0 / 3_600.0;
const BURST: f64 = 10.0;
const IN_BURST: f64 = 0.3;

/// The amplitude of the day's cycle.
const AMPLITUDE: f64 = 0.5;

/// What happens in a life. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Requests a minute.
    pub rate: f64,
    /// The share of failing requests of the known-good release.
    pub before: f64,
    /// The share of failing requests of the new release.
    pub after: f64,
    /// The share of the traffic that the new release gets as a canary; `None` if it replaces the known-good one.
    pub canary: Option<f64>,
    /// Whether the day's cycle scales the traffic, and bursts of errors occur.
    pub is_lively: bool,
    /// This share of all requests fails from two minutes before the release on.
    pub outage: Option<f64>,
    /// How long the new release is watched.
    pub lasts: f64,
}

/// The release that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    KnownGood,
    New,
}

/// The requests of one release in a part of one period.
#[derive(Clone, Debug)]
pub struct Piece {
    pub begin: f64,
    pub end: f64,
    pub by: By,
    bad: u32,
    good_mean: f64,
    /// Drawn when it is asked for: most pieces of most lives are never looked at.
    good: OnceCell<u32>,
}

/// How many requests there were, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub bad: u64,
}

impl Count {
    pub fn plus(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, bad: self.bad + other.bad }
    }
}

/// A life of a release.
#[derive(Clone, Debug)]
pub struct Life {
    pub seed: u64,
    pub live_at: f64,
    pub end: f64,
    pub is_canary: bool,
    pub pieces: Vec<Piece>,
    /// The number of the first piece of each period.
    first: Vec<usize>,
}

/// The keys of a life's random numbers.
const COURSE: u64 = 1;
const PIECES: u64 = 1_000;
const GOOD: u64 = 1_000_000;
const TIMES: u64 = 2_000_000;

impl Life {
    /// Draws a life.
    pub fn new(course: &Course, seed: u64) -> Self {
        let mut rng = keyed(seed, COURSE);
        let live_at = GOES_LIVE + MINUTE * rng.f64();
        let end = live_at + course.lasts;
        let hour = rng.f64();
        let bursts = if course.is_lively { process(&mut rng, BURSTS_A_SECOND, (0.0, end)) } else { vec![] };
        let outage = live_at - 2.0 * MINUTE;
        let mut life =
            Self { seed, live_at, end, is_canary: course.canary.is_some(), pieces: vec![], first: vec![] };
        let mut begin = 0.0;
        while begin < end {
            life.first.push(life.pieces.len());
            let ends = begin + PERIOD;
            let mut cuts: Vec<f64> = [live_at, outage]
                .into_iter()
                .chain(bursts.iter().flat_map(|burst| [*burst, burst + BURST]))
                .filter(|cut| begin < *cut && *cut < ends)
                .chain([begin, ends])
                .collect();
            cuts.sort_by(f64::total_cmp);
            for pair in cuts.windows(2) {
                let (from, to) = (pair[0], pair[1]);
                let in_burst = bursts.iter().any(|burst| *burst <= from && from < burst + BURST);
                let common = match course.outage {
                    Some(share) if from >= outage => Some(share),
                    _ => in_burst.then_some(IN_BURST),
                };
                let cycle = if course.is_lively {
                    1.0 + AMPLITUDE * (TAU * (hour + from / 86_400.0)).sin()
                } else {
                    1.0
                };
                life.add(course, (from, to), course.rate / MINUTE * cycle, common);
            }
            begin = ends;
        }
        life.first.push(life.pieces.len());
        life
    }

    fn add(&mut self, course: &Course, (begin, end): (f64, f64), rate: f64, common: Option<f64>) {
        let is_new = begin >= self.live_at;
        let parts = match course.canary {
            Some(canary) if is_new => vec![(By::KnownGood, 1.0 - canary), (By::New, canary)],
            _ => vec![(if is_new { By::New } else { By::KnownGood }, 1.0)],
        };
        for (by, part) in parts {
            let own = if by == By::New { course.after } else { course.before };
            let share = common.map_or(own, |common| common.max(own));
            let mean = rate * part * (end - begin);
            let mut rng = keyed(self.seed, PIECES + self.pieces.len() as u64);
            let bad = poisson(&mut rng, mean * share);
            self.pieces.push(Piece {
                begin,
                end,
                by,
                bad,
                good_mean: mean * (1.0 - share),
                good: OnceCell::new(),
            });
        }
    }

    /// Returns the number of periods.
    pub fn periods(&self) -> usize {
        self.first.len() - 1
    }

    /// Returns the numbers of the pieces of a period.
    pub fn pieces_of(&self, period: usize) -> std::ops::Range<usize> {
        self.first[period]..self.first[period + 1]
    }

    /// Returns the number of failed requests of a period.
    pub fn bad_in(&self, period: usize) -> u32 {
        self.pieces[self.pieces_of(period)].iter().map(|piece| piece.bad).sum()
    }

    fn good(&self, nth: usize) -> u32 {
        let piece = &self.pieces[nth];
        *piece.good.get_or_init(|| poisson(&mut keyed(self.seed, GOOD + nth as u64), piece.good_mean))
    }

    /// Counts the requests of a piece until a moment.
    pub fn count(&self, nth: usize, until: f64) -> Count {
        let piece = &self.pieces[nth];
        if until <= piece.begin {
            return Count::default();
        }
        let good = self.good(nth);
        if until >= piece.end {
            return Count { requests: u64::from(good + piece.bad), bad: u64::from(piece.bad) };
        }
        let mut rng = keyed(self.seed, TIMES + nth as u64);
        let share = (until - piece.begin) / (piece.end - piece.begin);
        let mut arrived = |of: u32| (0..of).filter(|_| rng.f64() < share).count() as u64;
        let (bad, good) = (arrived(piece.bad), arrived(good));
        Count { requests: bad + good, bad }
    }

    /// Counts the requests of all releases in a period until a moment.
    pub fn count_in(&self, period: usize, until: f64) -> Count {
        self.pieces_of(period).map(|nth| self.count(nth, until)).fold(Count::default(), Count::plus)
    }

    /// Counts the failed requests of the new release until a moment.
    pub fn hurt(&self, until: f64) -> u64 {
        let begun = self.pieces.iter().take_while(|piece| piece.begin < until);
        begun
            .zip(0..)
            .filter(|(piece, _)| piece.by == By::New)
            .map(|(_, nth)| self.count(nth, until).bad)
            .sum()
    }

    /// Returns when the first request of the new release failed.
    pub fn first_bad(&self) -> Option<f64> {
        let nth = self.pieces.iter().position(|piece| piece.by == By::New && piece.bad > 0)?;
        let piece = &self.pieces[nth];
        let mut rng = keyed(self.seed, TIMES + nth as u64);
        let first = (0..piece.bad).map(|_| rng.f64()).fold(1.0, f64::min);
        Some(piece.begin + first * (piece.end - piece.begin))
    }
}
