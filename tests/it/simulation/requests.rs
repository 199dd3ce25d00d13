//! The requests that CloudWatch counts in a simulation run, and whether what they prove is true.

use apigw_rollback::model::access_log::{self, AccessLog};
use apigw_rollback::model::alarm::Watches;
use apigw_rollback::model::guilt::Verdict;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::traffic::Bucket;
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::life::SimulationRun;
use crate::simulation::invariants::{BLUR, Seen, Signal};
use crate::support::world::Facts;

/// The requests of a period of ten seconds, and how many of them a canary answers.
const REQUESTS: u64 = 10;
const OF_CANARY: u64 = 2;

/// How long ago shared trouble may have been that a test still takes into account.
const REMEMBERED: TimeDelta = TimeDelta::minutes(40);

/// Runs that begin within this time of each other can be about the same trouble.
const AT_ONCE: TimeDelta = TimeDelta::seconds(10);

/// What CloudWatch counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Counted {
    Nothing,
    OwnMetrics,
    AccessLog,
    /// The access log, and the alarm on errors watches its metrics.
    FastAlarm,
}

/// Which deployments of the stage fail.
pub(crate) struct Failing {
    pub(crate) traffic: bool,
    pub(crate) base: bool,
    pub(crate) canary: bool,
}

impl Counted {
    pub(crate) fn drawn(rng: &mut Rng) -> Self {
        [Self::Nothing, Self::Nothing, Self::OwnMetrics, Self::OwnMetrics, Self::AccessLog, Self::FastAlarm]
            [rng.usize(..6)]
    }

    /// Gives the stage its access log.
    pub(crate) fn set_up(self, facts: &mut Facts, stage: &StageRef) {
        if !matches!(self, Self::AccessLog | Self::FastAlarm) {
            return;
        }
        let format = access_log::format(stage.protocol);
        let log = AccessLog { destination: String::new(), format };
        facts.stages.get_mut(stage).unwrap().access_log = Some(log);
        let errors = facts.alarms.iter_mut().find(|now| now.alarm.name == "orders-prod-5xx").unwrap();
        if let (Self::FastAlarm, Watches::Metrics(metrics)) = (self, &mut errors.alarm.watches) {
            metrics[0].namespace = access_log::NAMESPACE.to_owned();
            metrics[0].name = access_log::STATUS.to_owned();
            errors.alarm.description = Some(format!("rollback-target: {}/prod", stage.api));
        }
    }

    /// Counts the requests of the minute that ends now.
    pub(crate) fn count(self, facts: &mut Facts, stage: &StageRef, failing: &Failing) {
        if self == Self::Nothing || !failing.traffic {
            return;
        }
        let live = facts.stages[stage].clone();
        let canary = live.release.canary.as_ref().and_then(|canary| canary.deployment.clone());
        let of_canary = canary.as_ref().map_or(0, |_| OF_CANARY);
        let base = (REQUESTS - of_canary, if failing.base { REQUESTS - of_canary } else { 0 });
        let canaries = (of_canary, if failing.canary { of_canary } else { 0 });
        let began = facts.now - TimeDelta::minutes(1);
        let mut add = |name: &str, begins: DateTime<Utc>, (requests, failed): (u64, u64)| {
            let bucket = Bucket { begins, requests, failed, slow: 0 };
            facts.requests.entry(name.to_owned()).or_default().push(bucket);
        };
        let all = (REQUESTS, base.1 + canaries.1);
        add("own metrics", began, (6 * all.0, 6 * all.1));
        if self == Self::OwnMetrics {
            return;
        }
        for nth in 0..6 {
            let begins = began + TimeDelta::seconds(10 * nth);
            // What was live before the stage's last change is not known any more.
            if live.updated_at.is_some_and(|changed| begins < changed) {
                continue;
            }
            add("the access log", begins, all);
            add(&live.release.deployment, begins, base);
            if let Some(canary) = &canary {
                add(canary, begins, canaries);
            }
        }
    }
}

/// Whether the requests convicted the release that this run rolled back, or may have: a run that died has no report, that of
/// one that failed afterwards says nothing about them, and of two runs at the same time one reports the rollback.
pub(crate) fn may_have_convicted(after: &Facts, run: &Seen, runs: &[Seen]) -> bool {
    let convicted =
        |report: &Report| report.test.as_ref().is_some_and(|test| test.verdict == Verdict::Convicted);
    let at_once = runs.iter().filter(|other| (other.began - run.began).abs() < AT_ONCE);
    if at_once.filter_map(|run| run.reports.as_ref()).flatten().any(convicted) {
        return true;
    }
    let tells = |reports: &Vec<Report>| !reports.iter().any(|report| report.outcome.is_failure());
    !run.reports.as_ref().is_some_and(tells) && !after.requests.is_empty()
}

/// Checks that nobody guilty was acquitted and nobody innocent convicted.
pub(crate) fn are_just(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let runs = simulation.seen.iter().filter(|run| run.signal != Signal::Operator);
    for report in runs.filter_map(|run| run.reports.as_ref()).flatten() {
        let Some(before) = &report.before else { continue };
        // The clocks of the function and of AWS differ.
        let at = report.at + BLUR;
        let deployments =
            [Some(&before.deployment), before.canary.as_ref().and_then(|one| one.deployment.as_ref())];
        let is_bad = simulation.others.is_bad_release(before, at)
            || deployments.into_iter().flatten().any(|one| simulation.others.is_bad(one, at));
        let since = report.at - REMEMBERED;
        let was_bad = |change: &crate::support::world::Change| {
            change.at >= since && simulation.others.is_bad_release(&change.from, at)
        };
        let shared = simulation.others.was_down(since, at) || facts.changes.iter().any(was_bad);
        let convicted = report.test.as_ref().is_some_and(|test| test.verdict == Verdict::Convicted);
        if convicted && report.outcome == Outcome::RolledBack && !is_bad && !shared {
            return Err(format!("an innocent release was convicted: {}", report.message));
        }
        if report.code() == Some("not-this-release") && is_bad && !shared {
            return Err(format!("a guilty release was acquitted: {}", report.message));
        }
    }
    Ok(())
}
