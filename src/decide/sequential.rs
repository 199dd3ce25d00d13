//! A sequential test: do the requests of a release fail more often than is tolerated? Pure.
//!
//! The result is an e-value: how much better the data fits "it has been failing since some moment" than "it fails no more
//! than is tolerated". If the release is innocent, the e-value ever reaches `1 / alpha` with a probability of at most alpha
//! (Ville's inequality). So it may be computed anew after every period. Errors come in bursts, which prove nothing, so an
//! innocent release has two states: quiet, with at most the tolerated share of failures, and a burst, with any share up to a
//! half. All values are natural logarithms, because the probabilities are too small for a float.

/// The number of shares of failures that a guilty release may have.
const ALTERNATIVES: usize = 24;

/// The number of shares of failures that a burst may have.
const BURSTS: usize = 12;

/// No release is without any failure.
const LEAST_TOLERATED: f64 = 1e-4;

/// A guilty release need not fail always.
const HIGHEST: f64 = 0.98;

/// The highest share of failures in a burst.
const HIGHEST_BURST: f64 = 0.5;

/// A guilty release fails at least this much more often than is tolerated.
const WORSE: f64 = 1.5;

/// The probability that a guilty release fails from its first request on, and otherwise that it begins to fail in a period.
const AT_ONCE: f64 = 0.8;
const LATER: f64 = 1.0 / 720.0;

/// The requests of a period: how many there were, and how many of them were bad.
pub type Counts = (u64, u64);

/// How an innocent release fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Innocent {
    /// The tolerated share of bad requests while it is quiet.
    pub tolerated: f64,
    /// The probability that a burst begins in a period.
    pub enter: f64,
    /// The probability that a burst lasts into the next period.
    pub stay: f64,
}

/// Returns the logarithm of the e-value of these periods, in the order of time. It is 0 without data, and if the tolerated
/// share leaves no room for a worse one.
#[must_use]
pub fn evidence(periods: &[Counts], innocent: &Innocent) -> f64 {
    let tolerated = innocent.tolerated.max(LEAST_TOLERATED);
    let (quiet, lowest) = (Share::of(tolerated), WORSE * tolerated);
    if lowest >= HIGHEST {
        return 0.0;
    }
    let bursts: [Share; BURSTS] = Share::between(lowest.min(HIGHEST_BURST), HIGHEST_BURST);
    let worse: [Share; ALTERNATIVES] = Share::between(lowest, HIGHEST);
    let mut null = Null::new(innocent);
    let mut mixture = Mixture::new();
    for (requests, bad) in periods {
        let counts = &(*requests, *bad.min(requests));
        mixture.step(null.total(), worse.map(|share| share.of_counts(*counts)));
        let in_burst = bursts.map(|share| share.of_counts(*counts) - count(BURSTS).ln());
        null.step(quiet.of_counts(*counts), sum(&in_burst));
    }
    mixture.against(null.total())
}

/// Returns the logarithm of the e-value of a canary against its base, from their requests in the same periods. Under the
/// innocent hypothesis its requests fail at most `factor` times as often. Failures that both share prove nothing, so bursts
/// need no state of their own.
#[must_use]
pub fn contrast(periods: &[(Counts, Counts)], factor: f64) -> f64 {
    let times = |odds: f64, (canary, base): (u64, u64)| {
        let weighted = odds * count(canary);
        Share::of(weighted / (weighted + count(base)))
    };
    let odds = between(WORSE * factor, 1_000.0 * factor);
    let mut mixture = Mixture::new();
    for ((requests, bad), (base_requests, base_bad)) in periods {
        if *requests == 0 || *base_requests == 0 {
            continue;
        }
        let (split, failures) = ((*requests, *base_requests), (bad.saturating_add(*base_bad), *bad));
        let fair = times(factor, split).of_counts(failures);
        mixture.step(0.0, odds.map(|odds: f64| times(odds, split).of_counts(failures) - fair));
    }
    mixture.against(0.0)
}

/// Returns the logarithm of the likelihood of these counts, if requests are bad with this probability. The binomial coefficient
/// is left out: it cancels in every ratio.
#[must_use]
pub fn likelihood(share: f64, counts: Counts) -> f64 {
    Share::of(share).of_counts(counts)
}

/// A share of bad requests, with the logarithms that its likelihood needs.
#[derive(Clone, Copy)]
struct Share {
    bad: f64,
    good: f64,
}

impl Share {
    fn of(share: f64) -> Self {
        let share = share.clamp(1e-9, 1.0 - 1e-9);
        Self { bad: share.ln(), good: (-share).ln_1p() }
    }

    fn between<const N: usize>(low: f64, high: f64) -> [Self; N] {
        between(low, high).map(Self::of)
    }

    /// The logarithm of the likelihood. The binomial coefficient is left out: it cancels in every ratio.
    fn of_counts(self, (requests, bad): Counts) -> f64 {
        count(bad) * self.bad + count(requests.saturating_sub(bad)) * self.good
    }
}

/// Returns values from `low` to `high` in equal ratios.
fn between<const N: usize>(low: f64, high: f64) -> [f64; N] {
    let step = (high / low).ln() / count(N - 1);
    std::array::from_fn(|nth| low * (step * count(nth)).exp())
}

/// The likelihood that the release is innocent, by the state that it is in.
struct Null {
    quiet: f64,
    burst: f64,
    /// From state to state: quiet to quiet, quiet to burst, burst to quiet, burst to burst.
    moves: [f64; 4],
}

impl Null {
    fn new(innocent: &Innocent) -> Self {
        let (enter, stay) = (innocent.enter.clamp(1e-9, 0.5), innocent.stay.clamp(1e-9, 0.99));
        let moves = [(-enter).ln_1p(), enter.ln(), (-stay).ln_1p(), stay.ln()];
        Self { quiet: 0.0, burst: f64::NEG_INFINITY, moves }
    }

    fn total(&self) -> f64 {
        add(self.quiet, self.burst)
    }

    fn step(&mut self, quiet: f64, burst: f64) {
        let [stays_quiet, enters, leaves, stays] = self.moves;
        let (before, in_burst) = (self.quiet, self.burst);
        self.quiet = add(before + stays_quiet, in_burst + leaves) + quiet;
        self.burst = add(before + enters, in_burst + stays) + burst;
    }
}

/// The likelihood that the release is guilty, by its share of failures, and the probability that it has not begun to fail.
struct Mixture {
    failing: [f64; ALTERNATIVES],
    not_yet: f64,
}

impl Mixture {
    fn new() -> Self {
        let each = (AT_ONCE / count(ALTERNATIVES)).ln();
        Self { failing: [each; ALTERNATIVES], not_yet: (1.0 - AT_ONCE).ln() }
    }

    /// Adds a period. `null` is the likelihood of the earlier ones for an innocent release: so they are for a guilty one that
    /// begins to fail now.
    fn step(&mut self, null: f64, likelihoods: [f64; ALTERNATIVES]) {
        let begins = self.not_yet + (LATER / count(ALTERNATIVES)).ln() + null;
        for (failing, likelihood) in self.failing.iter_mut().zip(likelihoods) {
            *failing = add(*failing, begins) + likelihood;
        }
        self.not_yet += (-LATER).ln_1p();
    }

    fn against(&self, null: f64) -> f64 {
        add(sum(&self.failing), self.not_yet + null) - null
    }
}

/// Returns the logarithm of the sum of two values given by their logarithms.
fn add(one: f64, other: f64) -> f64 {
    let (high, low) = if one >= other { (one, other) } else { (other, one) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

fn sum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, add)
}

/// Converts a count. Above 2^53 it is rounded, which changes no decision.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Innocent = Innocent { tolerated: 0.02, enter: 1.0 / 360.0, stay: 0.5 };
    const BAR: f64 = 9.21;

    /// The number of periods after which the e-value reaches `1 / 0.0001`; `None` if it never does.
    fn convicted_after(periods: &[Counts], innocent: &Innocent) -> Option<usize> {
        (1..=periods.len()).find(|end| evidence(&periods[..*end], innocent) >= BAR)
    }

    #[test]
    fn a_failing_release_is_convicted_and_a_burst_convicts_nobody() {
        let then = |parts: &[(usize, Counts)]| -> Vec<Counts> {
            parts.iter().flat_map(|(times, counts)| std::iter::repeat_n(*counts, *times)).collect()
        };
        for (case, periods, expected) in [
            ("no data", vec![], None),
            ("ten of ten fail", then(&[(3, (10, 10))]), Some(1)),
            ("three of three fail", then(&[(6, (3, 3))]), Some(2)),
            ("one request, which fails", vec![(1, 1)], None),
            ("166 of 166 fail", then(&[(3, (166, 166))]), Some(1)),
            ("one in ten of 166 fails", then(&[(30, (166, 17))]), Some(3)),
            ("one in twenty of 166 fails", then(&[(60, (166, 8))]), Some(5)),
            ("it begins to fail after half an hour", then(&[(180, (10, 0)), (5, (10, 10))]), Some(182)),
            ("two in a hundred fail", then(&[(1_000, (100, 2))]), None),
            ("a burst of 30 % for 20 s", then(&[(60, (166, 1)), (2, (166, 50)), (60, (166, 1))]), None),
            ("a burst of 50 % for 10 s", then(&[(60, (166, 1)), (1, (166, 83)), (60, (166, 1))]), None),
            ("no request fails", then(&[(1_000, (1_000, 0))]), None),
            ("periods without requests", then(&[(1_000, (0, 0))]), None),
        ] {
            assert_eq!(convicted_after(&periods, &DEFAULT), expected, "{case}");
        }
    }

    #[test]
    fn a_release_that_has_recovered_is_no_longer_convicted() {
        let bad = std::iter::repeat_n((10, 10), 3);
        let periods: Vec<Counts> = bad.chain(std::iter::repeat_n((100, 1), 60)).collect();
        assert!(evidence(&periods[..3], &DEFAULT) > BAR);
        assert!(evidence(&periods, &DEFAULT) < BAR);
    }

    #[test]
    fn no_share_is_worse_than_a_tolerated_share_of_almost_one() {
        let innocent = Innocent { tolerated: 0.7, ..DEFAULT };
        assert!(evidence(&[(1_000, 1_000)], &innocent).abs() < f64::EPSILON);
    }

    #[test]
    fn odd_numbers_do_not_panic() {
        for counts in [(0, 5), (u64::MAX, u64::MAX), (u64::MAX, 0), (1, 1)] {
            for tolerated in [0.0, 1e-12, 0.5, 1.0] {
                let innocent = Innocent { tolerated, ..DEFAULT };
                assert!(!evidence(&[counts; 3], &innocent).is_nan(), "{counts:?} {tolerated}");
            }
            assert!(!contrast(&[(counts, counts)], 1.5).is_nan(), "{counts:?}");
        }
    }

    #[test]
    fn a_canary_is_convicted_by_what_its_base_does_not_share() {
        let bar = |periods: &[(Counts, Counts)]| {
            (1..=periods.len()).find(|end| contrast(&periods[..*end], 1.5) >= BAR)
        };
        for (case, canary, base, expected) in [
            ("all its requests fail, at 10 %", (17, 17), (150, 1), Some(1)),
            ("all its requests fail, at 5 %", (8, 8), (158, 0), Some(1)),
            ("one in ten of them fails", (17, 2), (150, 1), Some(6)),
            ("both fail alike", (17, 17), (150, 150), None),
            ("both fail alike, in part", (17, 5), (150, 45), None),
            ("neither fails", (17, 0), (150, 0), None),
            ("the base fails", (17, 0), (150, 150), None),
            ("the base has no requests", (17, 17), (0, 0), None),
            ("it has no requests", (0, 0), (150, 9), None),
        ] {
            assert_eq!(bar(&vec![(canary, base); 100]), expected, "{case}");
        }
    }

    fn assert_is(found: f64, expected: f64, case: &str) {
        assert!((found - expected).abs() < 1e-6, "{case}: {found}, not {expected}");
    }

    /// A script computed the expected values with 60 digits: it adds up every beginning of the trouble and every course of an
    /// innocent release, without logarithms.
    #[test]
    fn the_evidence_compares_every_beginning_and_share_with_every_course_of_an_innocent_release() {
        let bursty = Innocent { tolerated: 0.02, enter: 0.2, stay: 0.7 };
        let of = |tolerated| Innocent { tolerated, ..DEFAULT };
        for (case, periods, innocent, expected) in [
            ("no data", vec![], DEFAULT, 0.0),
            ("one of one fails", vec![(1, 1)], DEFAULT, 2.422_218_506),
            ("ten of ten fail", vec![(10, 10)], DEFAULT, 11.866_941_209),
            ("none of 100 fails", vec![(100, 0)], DEFAULT, -1.486_055_233),
            ("it begins to fail later", [vec![(10, 0); 5], vec![(10, 10)]].concat(), DEFAULT, 3.688_965_500),
            ("a burst", vec![(20, 0), (20, 8), (20, 0)], DEFAULT, -1.430_309_968),
            ("a burst of two periods", vec![(20, 0), (20, 8), (20, 9), (20, 0)], DEFAULT, -1.589_467_047),
            ("several bursts", vec![(10, 0), (10, 3), (10, 2), (10, 0), (10, 6)], bursty, -1.398_239_411),
            ("a hundred good periods", vec![(10, 0); 100], DEFAULT, -1.746_568_484),
            ("a hundred periods without requests", vec![(0, 0); 100], DEFAULT, 0.0),
            ("two of five are tolerated, nine of ten fail", vec![(10, 9)], of(0.4), 4.645_831_659),
            ("none is tolerated, one of ten fails", vec![(10, 1)], of(0.0), 4.201_235_727),
        ] {
            assert_is(evidence(&periods, &innocent), expected, case);
        }
    }

    /// The same script computed the expected values.
    #[test]
    fn a_contrast_compares_every_ratio_of_odds_with_the_factor() {
        let failing = ((17, 17), (150, 1));
        let silent = |counts| vec![(counts, (0, 0)), ((0, 0), counts)];
        for (case, periods, factor, expected) in [
            ("no data", vec![], 1.5, 0.0),
            ("all its requests fail", vec![failing], 1.5, 27.892_273_780),
            ("it may fail three times as often", vec![failing], 3.0, 18.593_877_074),
            ("one in ten fails, twice", vec![((17, 2), (150, 1)); 2], 1.5, 2.902_930_131),
            ("it begins to fail", vec![((17, 0), (150, 1)), ((20, 5), (100, 2))], 2.0, 0.734_206_525),
            ("only the base fails", vec![((17, 0), (150, 9))], 1.5, -1.446_762_757),
            // A period in which one of them has no requests compares nothing.
            ("one of them is silent", silent((100, 50)), 1.5, 0.0),
            (
                "it fails after half an hour in which one of them was silent",
                [silent((100, 50)).repeat(90), vec![failing]].concat(),
                1.5,
                27.892_273_780,
            ),
        ] {
            assert_is(contrast(&periods, factor), expected, case);
        }
    }

    #[test]
    fn no_share_makes_a_request_impossible() {
        // A share is at least 1e-9, whose logarithm is -20.723, and at most 1 - 1e-9.
        for (case, share, counts, expected) in [
            ("three of a hundred, by one in fifty", 0.02, (100, 3), -13.695_731_626),
            ("one of ten is good, by a share of 1", 1.0, (10, 9), -20.723_265_845),
            ("all of ten are bad, by a share of 1", 1.0, (10, 10), 0.0),
            ("one of ten is bad, by a share of 0", 0.0, (10, 1), -20.723_265_845),
            ("none of ten is bad, by a share of 0", 0.0, (10, 0), 0.0),
            ("no requests", 0.3, (0, 0), 0.0),
        ] {
            assert_is(likelihood(share, counts), expected, case);
        }
    }
}
