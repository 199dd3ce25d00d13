//! What is simulated, and how often.

use std::time::Instant;

use crate::life::Course;
use crate::model::guilt::Terms;
use crate::random::key;
use crate::run::{self, Blamed, Outcome, bad, each, healthy, in_outage, percentile, progress};
use crate::watch::{DECIDES, FAST, Setting, TEMPLATE};

/// The share of failing requests of a known-good release, and of a canary's base.
const BACKGROUND: f64 = 0.005;

/// The terms of the table.
pub const TOLERATED: f64 = 0.02;
const ALPHA: f64 = 0.0001;

/// How long a bad release is watched, and a healthy one: its bake time.
const WATCHED: f64 = 900.0;
const BAKES: f64 = 1_800.0;

const SEED: u64 = 20_261_126;

/// The setting of the table: the access log takes five seconds.
pub const SETTING: Setting = Setting {
    delay: 5.0,
    fast: FAST,
    decides: DECIDES,
    terms: Terms { tolerated: TOLERATED, latency: None, alpha: ALPHA },
};

/// The outcomes of the lives of one kind of bad release.
pub struct Bad {
    /// What differs from the setting of the table.
    pub setting: String,
    /// Requests a minute, and the share that fails.
    pub rate: f64,
    pub share: f64,
    pub outcomes: Vec<Outcome>,
}

impl Bad {
    pub fn percentile(&self, of: impl Fn(&Outcome) -> f64, share: f64) -> f64 {
        percentile(self.outcomes.iter().map(of), share)
    }

    /// Returns the share of the lives that the fast alarm ends, and not a later one.
    pub fn by_fast(&self) -> f64 {
        let is_fast = |one: &&Outcome| one.fast.is_finite() && one.fast <= one.both;
        self.outcomes.iter().filter(is_fast).count() as f64 / self.outcomes.len() as f64
    }

    /// Returns the number of lives that fast detection ends later than the alarm on the minute would.
    pub fn later(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.both > outcome.slow).count()
    }
}

/// The healthy lives of one kind.
pub struct Healthy {
    pub rate: f64,
    pub share: f64,
    pub blamed: Blamed,
}

/// The verdicts on releases that go live in an outage, as shares of the lives.
pub struct Outage {
    /// Requests a minute.
    pub rate: f64,
    /// The share of all requests that fails in it.
    pub share: f64,
    /// The share that the release fails by itself.
    pub after: f64,
    pub convicted: f64,
    pub acquitted: f64,
}

/// All results.
pub struct Results {
    pub lives: u64,
    pub table: Vec<Bad>,
    pub variants: Vec<Bad>,
    pub canaries: Vec<Bad>,
    pub healthy: Vec<Healthy>,
    /// The same with the template's default of 5 % instead of 2 %.
    pub default: Vec<Healthy>,
    pub outages: Vec<Outage>,
    /// Whether the verdicts by shortcuts are those of the whole test, as far as they were compared.
    pub shortcuts_hold: bool,
}

/// Simulates everything: so many bad lives of each kind, and so many healthy ones in all.
pub fn simulate(lives: u64, healthy: u64) -> Results {
    let began = Instant::now();
    let say = |what: &str| progress(&format!("{:4} s: {what}", began.elapsed().as_secs()));
    say("bad releases");
    let rates = [60.0, 100.0, 1_000.0];
    let table = [1.0, 0.5, 0.1, 0.05]
        .iter()
        .flat_map(|share| rates.map(|rate| replaced(lives, String::new(), &SETTING, rate, *share)))
        .collect();
    say("other settings");
    let variants = variants(lives);
    say("canaries");
    let canaries = [0.1, 0.05].map(|part| canary(lives, part)).into();
    say("outages");
    let kinds = [(0.5, BACKGROUND), (0.5, 1.0), (0.1, BACKGROUND), (0.1, 1.0)];
    let outages = [100.0, 1_000.0]
        .iter()
        .flat_map(|rate| kinds.map(|(share, after)| outage(lives.min(1_000), *rate, share, after)))
        .collect();
    say("healthy releases");
    let default = Setting { terms: Terms { tolerated: 0.05, ..SETTING.terms }, ..SETTING };
    let bakes = |setting: &Setting, lives: u64| -> Vec<Healthy> {
        let mut found = vec![];
        for (rate, share) in [(60.0, 0.002), (60.0, 0.01), (1_000.0, 0.002), (1_000.0, 0.01)] {
            found.push(Healthy { rate, share, blamed: baked(setting, rate, share, lives / 4) });
            say(&format!("{rate} requests a minute, {} % fail", share * 100.0));
        }
        found
    };
    let of_table = bakes(&SETTING, healthy);
    let default = bakes(&default, healthy / 10);
    Results {
        lives,
        table,
        variants,
        canaries,
        healthy: of_table,
        default,
        outages,
        shortcuts_hold: shortcuts_hold(lives),
    }
}

/// Compares the shortcuts with the whole test, in lives of every kind.
fn shortcuts_hold(lives: u64) -> bool {
    let shares = [0.002, 0.01, 0.03, 0.05, 0.1, 0.5, 1.0];
    let mut courses = [60.0, 1_000.0]
        .iter()
        .flat_map(|rate| shares.map(|share| course(*rate, share)))
        .flat_map(|one| [one, Course { is_lively: true, ..one }, Course { outage: Some(0.1), ..one }]);
    courses.all(|one| {
        let hold = each(lives / 10, |nth| run::shortcuts_hold(&one, &SETTING, key(SEED, nth)));
        hold.iter().all(|holds| *holds)
    })
}

fn course(rate: f64, after: f64) -> Course {
    Course { rate, before: BACKGROUND, after, canary: None, is_lively: false, outage: None, lasts: WATCHED }
}

fn lived(lives: u64, setting: &Setting, course: &Course) -> Vec<Outcome> {
    each(lives, |nth| bad(course, setting, key(SEED, nth)))
}

fn replaced(lives: u64, name: String, setting: &Setting, rate: f64, share: f64) -> Bad {
    Bad { setting: name, rate, share, outcomes: lived(lives, setting, &course(rate, share)) }
}

fn variants(lives: u64) -> Vec<Bad> {
    let tolerating = |tolerated| Terms { tolerated, ..SETTING.terms };
    let named = |name: &str, setting: Setting| (name.to_owned(), setting, BACKGROUND);
    let settings = [
        named("as in the table", SETTING),
        named("a line arrives after 2 s", Setting { delay: 2.0, ..SETTING }),
        named("after 10 s", Setting { delay: 10.0, ..SETTING }),
        named("after 15 s", Setting { delay: 15.0, ..SETTING }),
        named("5 % tolerated, the template's default", Setting { terms: tolerating(0.05), ..SETTING }),
        named("`DecideSeconds` 90", Setting { decides: 90.0, ..SETTING }),
        named(
            "`DecideSeconds` 90, 5 % tolerated",
            Setting { decides: 90.0, terms: tolerating(0.05), ..SETTING },
        ),
        named("a fast alarm with at least 20 requests", Setting { fast: TEMPLATE, ..SETTING }),
    ];
    let noisy = ("1 % fail of the known-good release".to_owned(), SETTING, 0.01);
    let kinds = [(60.0, 1.0), (100.0, 1.0), (1_000.0, 0.1), (1_000.0, 0.05)];
    let each = settings.iter().chain([&noisy]).flat_map(|(name, setting, before)| {
        kinds.map(|(rate, share)| {
            let course = Course { before: *before, ..course(rate, share) };
            Bad { setting: name.clone(), rate, share, outcomes: lived(lives, setting, &course) }
        })
    });
    each.collect()
}

fn canary(lives: u64, part: f64) -> Bad {
    let course = Course { canary: Some(part), ..course(1_000.0, 1.0) };
    let setting = format!("{:.0} %", part * 100.0);
    Bad { setting, rate: 1_000.0, share: 1.0, outcomes: lived(lives, &SETTING, &course) }
}

fn outage(lives: u64, rate: f64, failing: f64, after: f64) -> Outage {
    let course = Course { outage: Some(failing), ..course(rate, after) };
    let verdicts = each(lives, |nth| in_outage(&course, &SETTING, key(SEED, nth)));
    let share = |of: usize| of as f64 / verdicts.len() as f64;
    Outage {
        rate,
        share: failing,
        after,
        convicted: share(verdicts.iter().filter(|(convicted, _)| *convicted).count()),
        acquitted: share(verdicts.iter().filter(|(_, acquitted)| *acquitted).count()),
    }
}

/// Half of the lives follow a known-good release with a history.
fn baked(setting: &Setting, rate: f64, share: f64, lives: u64) -> Blamed {
    let course = Course {
        rate,
        before: share,
        after: share,
        canary: None,
        is_lively: true,
        outage: None,
        lasts: BAKES,
    };
    let blamed = each(lives, |nth| {
        healthy(&course, setting, key(SEED ^ rate.to_bits() ^ share.to_bits(), nth), nth % 2 == 0)
    });
    blamed.into_iter().fold(Blamed::default(), Blamed::plus)
}
