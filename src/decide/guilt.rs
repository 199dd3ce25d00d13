//! The test of guilt: do the requests say that the live release is at fault? Pure.
//!
//! It convicts a release that fails more often than is tolerated, and acquits one if the known-good release fails as often
//! just before it, or the base of a canary at the same time.

use super::sequential::{Counts, Innocent, contrast, evidence, likelihood};
use crate::model::guilt::{Compared, Finding, Terms, Verdict, share};
use crate::model::normal::Normal;
use crate::model::observed::{Observed, OnRecord};
use crate::model::policy::StagePolicy;
use crate::model::release::Release;
use crate::model::traffic::{Bucket, Measure, Source, Traffic};

/// A release may fail this many times as often as the known-good release did while it baked.
const MULTIPLE: f64 = 2.0;

/// A release that fails at most this many times as often as another one at the same time is no worse.
const AS_BAD: f64 = 1.5;

/// By a latency that one request in a hundred exceeds, a release may exceed it twice as often.
const TOLERATED_SLOW: f64 = 0.02;

/// A release has recovered after at least this many requests without trouble.
const RECOVERED: u64 = 20;

/// What the test says about a live release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Guilt {
    findings: Vec<Finding>,
}

impl Guilt {
    /// Returns the finding that convicts the release, if one does.
    #[must_use]
    pub fn conviction(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.verdict == Verdict::Convicted)
    }

    /// Returns the finding that acquits the release by this measure, if it is not convicted by any.
    #[must_use]
    pub fn acquittal(&self, measure: Measure) -> Option<&Finding> {
        let acquits =
            |finding: &&Finding| finding.measure == measure && finding.verdict == Verdict::Acquitted;
        self.findings.iter().find(acquits).filter(|_| self.conviction().is_none())
    }

    /// Returns the finding with the most evidence.
    #[must_use]
    pub fn strongest(&self) -> Option<&Finding> {
        let decided = |finding: &&Finding| (finding.verdict == Verdict::Undecided, -finding.log10_e_value);
        self.findings
            .iter()
            .min_by(|a, b| decided(a).partial_cmp(&decided(b)).unwrap_or(std::cmp::Ordering::Equal))
    }
}

/// Tests the live release of an observed stage. Without counts, nothing is found.
#[must_use]
pub fn guilt(observed: &Observed, policy: &StagePolicy) -> Guilt {
    match (&observed.traffic, &observed.live) {
        (Some(Ok(traffic)), Some(live)) => test(traffic, &live.release, &observed.on_record, &policy.test),
        (None | Some(Err(_)), _) | (_, None) => Guilt::default(),
    }
}

/// Tests a release by its requests: its deployment unless that is the known-good one, and its canary.
#[must_use]
pub fn test(traffic: &Traffic, live: &Release, on_record: &OnRecord, terms: &Terms) -> Guilt {
    let good = on_record.good().map(|(_, record)| record);
    let known_good = good.map(|record| record.release.deployment.as_str());
    let normal = good.and_then(|record| record.normal.as_ref());
    let measures = [Some(Measure::Failed), terms.latency.map(|_| Measure::Slow)];
    let new = arrival(traffic.source, live, on_record);
    let is_base = new
        .as_ref()
        .is_some_and(|(_, base)| traffic.source == Source::Versions || known_good == Some(base.as_str()));
    let mut findings = Vec::new();
    for measure in measures.into_iter().flatten() {
        let innocent = innocent(terms, normal, measure, traffic.source);
        let case = Case { traffic, measure, innocent, bar: -terms.alpha.ln() };
        findings.extend(new.as_ref().map(|(new, base)| case.of_canary(new, base)));
        findings.extend((!is_base).then(|| case.of_live(&live.deployment, known_good)));
    }
    // Of a canary and its base, both must be acquitted.
    let undecided: Vec<Measure> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Undecided)
        .map(|finding| finding.measure)
        .collect();
    findings.retain(|one| one.verdict != Verdict::Acquitted || !undecided.contains(&one.measure));
    Guilt { findings }
}

/// Returns the names of what gets a share of the traffic and of its base: the canary's deployment and the stage's, or the versions
/// of a rollout, whose base is the known-good release.
fn arrival(source: Source, live: &Release, on_record: &OnRecord) -> Option<(String, String)> {
    match source {
        Source::Deployments => {
            let deployment = live.canary.as_ref()?.deployment.clone()?;
            Some((deployment, live.deployment.clone()))
        }
        Source::Versions => on_record.running().map(|rollout| (rollout.what(), rollout.compared_with())),
        Source::AccessLog | Source::OwnMetrics => None,
    }
}

/// Returns how an innocent release fails: as the known-good release did while it baked, but not more cautiously than the
/// terms say.
#[must_use]
pub fn innocent(terms: &Terms, normal: Option<&Normal>, measure: Measure, source: Source) -> Innocent {
    let learnt = normal.map(|normal| MULTIPLE * normal.share(measure, terms.latency)).unwrap_or_default();
    let floor = match measure {
        Measure::Failed => terms.tolerated,
        Measure::Slow => TOLERATED_SLOW,
    };
    let (enter, stay) = normal.map_or_else(|| Normal::default().bursts(), Normal::bursts);
    let innocent = Innocent { tolerated: floor.max(learnt).min(1.0), enter, stay };
    match source {
        Source::Deployments | Source::AccessLog => innocent,
        Source::OwnMetrics | Source::Versions => in_minutes(innocent),
    }
}

/// Converts the rates of bursts from periods of 10 seconds to minutes.
fn in_minutes(innocent: Innocent) -> Innocent {
    const IN_A_MINUTE: f64 = 6.0;
    let enter = 1.0 - (1.0 - innocent.enter).powf(IN_A_MINUTE);
    let lasts = 1.0 / (1.0 - innocent.stay.min(0.99));
    Innocent { enter, stay: (lasts / IN_A_MINUTE).clamp(innocent.stay.powf(IN_A_MINUTE), 0.9), ..innocent }
}

/// The requests of a stage, tested by one measure.
struct Case<'a> {
    traffic: &'a Traffic,
    measure: Measure,
    innocent: Innocent,
    /// The logarithm of the e-value that convicts.
    bar: f64,
}

impl Case<'_> {
    /// Tests the live deployment against what is tolerated. Trouble that was there before excuses it, until it has been without
    /// trouble. If the known-good release certainly had it, the live release is acquitted.
    fn of_live(&self, deployment: &str, known_good: Option<&str>) -> Finding {
        let (live, before) = (self.traffic.live.as_slice(), self.traffic.before.as_slice());
        // The requests of a whole stage do not name the release that answered them.
        let named = known_good.filter(|_| self.traffic.source == Source::Deployments);
        let by = |of| known_good.map(|_| (named, of));
        let plain = |of| {
            self.finding(deployment, of, self.innocent.tolerated, by(before), |found| {
                if found >= self.bar { Verdict::Convicted } else { Verdict::Undecided }
            })
        };
        let Some(trouble) = self.trouble(before) else { return plain(live) };
        let (requests, bad) = total(trouble, self.measure);
        if let Some(recovered) = self.recovered(live, share(bad, requests)) {
            return plain(live.get(recovered..).unwrap_or_default());
        }
        let period = self.traffic.source.period();
        let is_certain = |bucket: &&Bucket| {
            self.traffic.known_good_until.is_some_and(|until| bucket.begins + period <= until)
        };
        let certain: Vec<Bucket> = before.iter().filter(is_certain).copied().collect();
        let acquits = self.trouble(&certain).is_some() && self.is_no_worse(live, share(bad, requests));
        let tolerated = (AS_BAD * share(bad, requests)).max(self.innocent.tolerated).min(1.0);
        self.finding(deployment, live, tolerated, by(trouble), |found| match (found >= self.bar, acquits) {
            (true, _) => Verdict::Convicted,
            (false, true) => Verdict::Acquitted,
            (false, false) => Verdict::Undecided,
        })
    }

    /// Returns the periods in trouble at the end of these, if there are any. Half of the bar is enough: nobody is convicted.
    fn trouble<'b>(&self, of: &'b [Bucket]) -> Option<&'b [Bucket]> {
        let trouble = worst_end(of, self.measure, self.innocent.tolerated);
        let (requests, bad) = total(trouble, self.measure);
        let is_proven = evidence(&self.counts(trouble), &self.innocent) >= self.bar / 2.0;
        let ends = (0..trouble.len()).filter_map(|begin| trouble.get(begin..));
        let has_ended =
            ends.map(|end| total(end, self.measure)).any(|end| self.is_quiet(end, share(bad, requests)));
        (is_proven && !has_ended).then_some(trouble)
    }

    /// Tests a canary, or the new versions of a rollout, against its base and against what is tolerated. That a function's errors
    /// are as many as before acquits nobody, because they are not all failures.
    fn of_canary(&self, deployment: &str, base_deployment: &str) -> Finding {
        let (canary, base) = (self.traffic.canary.as_slice(), self.traffic.live.as_slice());
        let periods: Vec<(Counts, Counts)> = canary.iter().map(|bucket| self.beside(bucket, base)).collect();
        let pairs = contrast(&periods, AS_BAD);
        let compared = Some((Some(base_deployment), base));
        let has_base = periods.iter().any(|(_, (requests, _))| *requests > 0);
        let alone = evidence(&self.counts(canary), &self.innocent);
        let worst = worst_end(canary, self.measure, self.innocent.tolerated);
        let (requests, bad) = total(worst, self.measure);
        let is_beyond = share(bad, requests) > self.innocent.tolerated;
        let base_in_trouble = self.traffic.source == Source::Deployments
            && evidence(&self.counts(base), &self.innocent) >= self.bar;
        let (base_requests, base_bad) = total(base, self.measure);
        let base_share = share(base_bad, base_requests);
        let against_base = if has_base { pairs } else { alone };
        let verdict = if is_beyond && against_base >= self.bar {
            Verdict::Convicted
        } else if base_in_trouble && self.is_no_worse(canary, base_share) {
            Verdict::Acquitted
        } else {
            Verdict::Undecided
        };
        let finding = self.finding(deployment, canary, self.innocent.tolerated, compared, |_| verdict);
        Finding { log10_e_value: against_base / std::f64::consts::LN_10, ..finding }
    }

    /// Whether there are requests, and they fail about as often as this share. A few failures are not much evidence against a
    /// release, but they do not acquit it either.
    fn is_no_worse(&self, of: &[Bucket], other: f64) -> bool {
        let (requests, bad) = total(of, self.measure);
        requests > 0 && share(bad, requests) <= AS_BAD * other
    }

    /// Returns the counts of a canary's period and of its base's.
    fn beside(&self, bucket: &Bucket, base: &[Bucket]) -> (Counts, Counts) {
        let beside = base.iter().find(|one| one.begins == bucket.begins);
        let counts = |bucket: &Bucket| (bucket.requests, bucket.bad(self.measure));
        (counts(bucket), beside.map(counts).unwrap_or_default())
    }

    /// Builds the finding about the requests of a deployment. The numbers are those since its trouble began.
    fn finding(
        &self,
        deployment: &str,
        of: &[Bucket],
        tolerated: f64,
        compared: Option<(Option<&str>, &[Bucket])>,
        verdict: impl FnOnce(f64) -> Verdict,
    ) -> Finding {
        let found = evidence(&self.counts(of), &Innocent { tolerated, ..self.innocent });
        let shown = worst_end(of, self.measure, self.innocent.tolerated);
        let (requests, bad) = total(shown, self.measure);
        Finding {
            verdict: verdict(found),
            source: self.traffic.source,
            measure: self.measure,
            deployment: deployment.to_owned(),
            requests,
            bad,
            since: shown.first().map(|bucket| bucket.begins),
            tolerated: self.innocent.tolerated,
            log10_e_value: found / std::f64::consts::LN_10,
            compared: compared.map(|(deployment, of)| {
                let (requests, bad) = total(of, self.measure);
                Compared { deployment: deployment.map(str::to_owned), requests, bad }
            }),
        }
    }

    /// Returns from which period on there was no trouble any more, if ever.
    fn recovered(&self, of: &[Bucket], trouble: f64) -> Option<usize> {
        (0..of.len()).find(|begin| {
            let mut sum: Counts = (0, 0);
            of.get(*begin..).unwrap_or_default().iter().any(|bucket| {
                sum.0 = sum.0.saturating_add(bucket.requests);
                sum.1 = sum.1.saturating_add(bucket.bad(self.measure));
                self.is_quiet(sum, trouble)
            })
        })
    }

    /// Whether these counts are those of a time without trouble: with enough requests, the tolerated share explains them much
    /// better than that of the trouble.
    fn is_quiet(&self, counts: Counts, trouble: f64) -> bool {
        let better = likelihood(self.innocent.tolerated, counts) - likelihood(trouble, counts);
        counts.0 >= RECOVERED && better >= self.bar / 2.0
    }

    fn counts(&self, of: &[Bucket]) -> Vec<Counts> {
        of.iter().map(|bucket| (bucket.requests, bucket.bad(self.measure))).collect()
    }
}

fn total(of: &[Bucket], measure: Measure) -> Counts {
    let sum = |(requests, bad): Counts, one: &Bucket| {
        (requests.saturating_add(one.requests), bad.saturating_add(one.bad(measure)))
    };
    of.iter().fold((0, 0), sum)
}

/// Returns the end of these periods in which the number of bad requests exceeds the tolerated one the most; all of them if
/// none does.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
fn worst_end(of: &[Bucket], measure: Measure, tolerated: f64) -> &[Bucket] {
    let (mut excess, mut most, mut begin) = (0.0, 0.0, 0);
    for (nth, bucket) in of.iter().enumerate().rev() {
        excess += bucket.bad(measure) as f64 - tolerated * bucket.requests as f64;
        if excess > most {
            (most, begin) = (excess, nth);
        }
    }
    of.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::decide::fixture::{good, policy};

    const LIVE: i64 = 6_000;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// Periods of ten seconds with so many requests, of which this share fails: at times one more, at times one less.
    fn periods(from: i64, number: i64, requests: u64, percent: u64) -> Vec<Bucket> {
        let failed = |nth: i64| {
            let odd = [0_i64, 2, -1, 1, -2, 0, 1, -1][usize::try_from(nth % 8).unwrap()];
            let mean = i64::try_from(requests * percent / 100).unwrap();
            let is_even = percent == 0 || percent == 100;
            let spread = if is_even { 0 } else { odd * i64::try_from(requests / 80).unwrap().max(1) };
            u64::try_from((mean + spread).max(0)).unwrap()
        };
        (0..number)
            .map(|nth| Bucket { begins: at(from + 10 * nth), requests, failed: failed(nth), slow: 0 })
            .collect()
    }

    /// The verdict on a release that went live two minutes after shared trouble began.
    fn verdict(requests: u64, shared: u64, own: u64, seen: bool) -> Verdict {
        let before =
            [periods(LIVE - 900, 78, requests, 0), periods(LIVE - 120, 12, requests, shared)].concat();
        let traffic = Traffic {
            source: Source::Deployments,
            live: periods(LIVE, 12, requests, own),
            canary: vec![],
            before,
            known_good_until: seen.then(|| at(LIVE)),
        };
        let (_, observed) = good();
        let live = observed.live.unwrap().release;
        let found = test(&traffic, &live, &observed.on_record, &policy().test);
        found.strongest().unwrap().verdict
    }

    #[test]
    fn a_few_requests_that_fail_much_more_often_acquit_nobody() {
        let shared = |requests, percent| periods(LIVE - 120, 12, requests, percent);
        for (case, live, expected) in [
            ("as often", (10, 1), Verdict::Acquitted),
            ("three of three fail", (3, 3), Verdict::Undecided),
            ("no requests", (0, 0), Verdict::Undecided),
        ] {
            let (requests, failed) = live;
            let live = vec![Bucket { begins: at(LIVE), requests, failed, slow: 0 }];
            let traffic = Traffic {
                source: Source::Deployments,
                live,
                canary: vec![],
                before: shared(166, 10),
                known_good_until: Some(at(LIVE)),
            };
            let (_, observed) = good();
            let of = test(&traffic, &observed.live.unwrap().release, &observed.on_record, &policy().test);
            assert_eq!(of.strongest().unwrap().verdict, expected, "{case}");
        }
    }

    #[test]
    fn trouble_that_was_there_before_excuses_and_acquits_only_if_it_is_the_known_good_releases() {
        for (requests, shared, own, seen, expected) in [
            (16, 50, 50, true, Verdict::Acquitted),
            (16, 50, 50, false, Verdict::Undecided),
            (166, 50, 50, true, Verdict::Acquitted),
            (166, 50, 50, false, Verdict::Undecided),
            (16, 100, 100, true, Verdict::Acquitted),
            (16, 100, 100, false, Verdict::Undecided),
            (166, 10, 10, true, Verdict::Acquitted),
            (166, 10, 10, false, Verdict::Undecided),
            (166, 10, 100, true, Verdict::Convicted),
            (166, 0, 10, true, Verdict::Convicted),
            (166, 0, 0, true, Verdict::Undecided),
            // It has recovered since, and the trouble is no longer shared.
            (166, 10, 0, true, Verdict::Undecided),
        ] {
            let case = format!("{requests} requests, {shared} % before, {own} % now, seen: {seen}");
            assert_eq!(verdict(requests, shared, own, seen), expected, "{case}");
        }
    }
}
