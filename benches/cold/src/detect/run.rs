//! Many lives at once: their outcomes, and what they have in common.

use std::io::Write;
use std::thread;

use crate::life::{Course, Life};
use crate::model::traffic::{Measure, Source};
use crate::random::key;
use crate::watch::{Setting, Watch, learnt};

/// The end of one life, in seconds from the first failed request to the rolled-back stage; infinite without a rollback.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// By fast detection alone.
    pub fast: f64,
    /// By fast detection, or the alarm on the minute if that is sooner.
    pub both: f64,
    /// Without an access log, by the alarm on the minute.
    pub slow: f64,
    /// The failed requests of the release until the rollback, with fast detection and without.
    pub hurt: (f64, f64),
}

/// Runs something for so many lives, on all cores. The results are in the order of the lives.
pub fn each<T: Send>(lives: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<(u64, T)> = thread::scope(|scope| {
        let run = &run;
        let part = |of: usize| {
            scope.spawn(move || {
                (of as u64..lives).step_by(threads).map(|nth| (nth, run(nth))).collect::<Vec<_>>()
            })
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    found.sort_by_key(|(nth, _)| *nth);
    found.into_iter().map(|(_, one)| one).collect()
}

/// Lives through a bad release.
pub fn bad(course: &Course, setting: &Setting, seed: u64) -> Outcome {
    let life = Life::new(course, seed);
    let watch = Watch::new(&life, setting, None);
    let first = life.first_bad().unwrap_or(life.live_at);
    let never = |back: Option<f64>| back.unwrap_or(f64::INFINITY);
    let fast = never(watch.fast());
    let both = fast.min(never(watch.slow(Some(Source::Deployments))));
    let slow = never(watch.slow(Some(Source::OwnMetrics)));
    let hurt = (life.hurt(both) as f64, life.hurt(slow) as f64);
    Outcome { fast: fast - first, both: both - first, slow: slow - first, hurt }
}

/// Which alarms roll a healthy release back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blamed {
    pub lives: u64,
    /// By fast detection.
    pub fast: u64,
    /// By the alarm on the minute alone, without a test.
    pub alarm: u64,
    /// By the alarm on the minute, unless the requests of its metrics acquit the release.
    pub slow: u64,
    /// How often the fast alarm fired.
    pub fired: u64,
}

/// Lives through a healthy release, after a known-good one with or without a history.
pub fn healthy(course: &Course, setting: &Setting, seed: u64, has_history: bool) -> Blamed {
    let life = Life::new(course, seed);
    let least = setting.fast.errors;
    let is_quiet = (0..life.periods()).all(|period| u64::from(life.bad_in(period)) < least);
    if is_quiet {
        let slow = Watch::new(&life, setting, None).slow(None).is_some();
        return Blamed { lives: 1, alarm: u64::from(slow), slow: u64::from(slow), ..Blamed::default() };
    }
    let history = has_history.then(|| {
        let baked = Life::new(&Course { after: course.before, ..*course }, key(seed, 77));
        learnt(&baked, setting.terms.tolerated)
    });
    let watch = Watch::new(&life, setting, history);
    let alarm = watch.slow(None).is_some();
    Blamed {
        lives: 1,
        fast: u64::from(watch.fast().is_some()),
        alarm: u64::from(alarm),
        slow: u64::from(alarm && watch.slow(Some(Source::OwnMetrics)).is_some()),
        fired: watch.fired(),
    }
}

/// What the test says about a release that goes live in an outage: whether it convicts at any look of two minutes, and whether
/// it acquits at the last.
pub fn in_outage(course: &Course, setting: &Setting, seed: u64) -> (bool, bool) {
    let life = Life::new(course, seed);
    let watch = Watch::new(&life, setting, None);
    let looks = (1..=40).map(|nth| life.live_at + setting.delay + 3.0 * f64::from(nth));
    let verdicts: Vec<_> = looks.map(|look| watch.guilt(Source::Deployments, look)).collect();
    let acquitted = verdicts.last().is_some_and(|last| last.acquittal(Measure::Failed).is_some());
    (verdicts.iter().any(|one| one.conviction().is_some()), acquitted)
}

/// Whether the shortcuts of the simulation give the verdicts of the whole test in a life.
pub fn shortcuts_hold(course: &Course, setting: &Setting, seed: u64) -> bool {
    let life = Life::new(course, seed);
    Watch::new(&life, setting, None).shortcuts_hold()
}

/// Returns the value that this share of the values does not exceed.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil().max(1.0) as usize;
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

impl Blamed {
    pub fn plus(self, other: Self) -> Self {
        Self {
            lives: self.lives + other.lives,
            fast: self.fast + other.fast,
            alarm: self.alarm + other.alarm,
            slow: self.slow + other.slow,
            fired: self.fired + other.fired,
        }
    }
}

/// Says on stderr how far the simulation is.
pub fn progress(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
