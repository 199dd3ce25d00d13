//! The conditions at the end of a simulation run, after a period without faults and actions of others: the stage is
//! healed, or the world contains a reason to leave it alone.

use apigw_rollback::model::alarm::{AlarmNow, State, Watches};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::policy::{AutoDeploy, Mode};
use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::records::{Candidate, Hold, Incident, RollbackEntry, Rollbacks, parse};
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::notify::key;
use apigw_rollback::notify::marks::SentMark;
use chrono::{DateTime, TimeDelta, Utc};

use super::cloudwatch::TRAFFIC;
use super::kind::served;
use super::life::SimulationRun;
use super::requests::are_just;
use crate::simulation::invariants::{Signal, marked};
use crate::support::world::{Change, Facts};

/// Checks all conditions at the end of a simulation run.
pub(crate) fn is_at_rest(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    is_healed(simulation, facts)?;
    are_just(simulation, facts)?;
    is_pinned(simulation, facts)?;
    is_notified(simulation, facts)?;
    is_told(simulation, facts)?;
    is_on_the_list(simulation, facts)?;
    has_no_failures(simulation)
}

fn newest<T: apigw_rollback::model::records::Stored>(facts: &Facts, name: &str) -> Option<T> {
    parse(facts.parameters.get(name)?.last()?).ok()
}

/// Checks that an alarm that is still in ALARM has an excuse.
fn is_healed(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let stage = simulation.others.stage();
    let alarmed = |now: &&apigw_rollback::model::alarm::AlarmNow| {
        let acts = facts.may_act(now) && facts.guardian(now).alarm.state == State::Alarm;
        now.alarm.state == State::Alarm
            && acts
            && now.alarm.name.contains("prod")
            && now.alarm.name != TRAFFIC
    };
    let Some(alarm) = facts.alarms.iter().find(alarmed) else { return Ok(()) };
    let since = alarm.alarm.changed_at.unwrap_or_default();
    // The time of two sweeps and of the evaluation that the second one waits for. An event can come long after the last
    // sweep.
    let sweeps = simulation.seen.iter().filter(|run| run.signal == Signal::Sweep);
    let swept = sweeps.map(|run| run.began).max().unwrap_or(facts.now);
    if swept - since < TimeDelta::minutes(13) {
        return Ok(());
    }
    // The trouble began before the release, so the alarm does not accuse it. The sweep tells people so.
    let began_before =
        alarm.evaluated.first().is_some_and(|point| Some(point.ends) <= facts.stages[&stage].updated_at);
    if began_before && has_code(simulation, "began-before-release") {
        return Ok(());
    }
    // A fast alarm convicts nobody of trouble that was there before the release. The sweep tells people.
    let is_told =
        |report: &Report| report.outcome == Outcome::Attention && report.code() == Some("not-decided");
    let mut reports = simulation.seen.iter().filter_map(|run| run.reports.as_ref()).flatten();
    if alarm.alarm.is_fast() && reports.any(is_told) {
        return Ok(());
    }
    // The requests acquit the release, as is checked elsewhere.
    if has_code(simulation, "not-this-release") {
        return Ok(());
    }
    excuse(simulation, facts, &stage).map(|_| ()).ok_or_else(|| {
        format!(
            "`{}` is in ALARM since {since}, and the stage serves {}",
            alarm.alarm.name, facts.stages[&stage].release
        )
    })
}

fn has_code(simulation: &SimulationRun, code: &str) -> bool {
    let reports = simulation.seen.iter().filter_map(|run| run.reports.as_ref()).flatten();
    reports.filter_map(Report::code).any(|told| told == code)
}

/// Returns the reason why a stage may be left alone, if any.
fn excuse(simulation: &SimulationRun, facts: &Facts, stage: &StageRef) -> Option<&'static str> {
    let names = ParameterNames::under("/apigw-rollback");
    let now = &facts.stages[stage];
    let whole = served(facts, stage);
    let overrides: PolicyOverrides = newest(facts, &names.policy(stage)).unwrap_or_default();
    let policy = &simulation.config.policy.under(&overrides);
    let rollbacks: Rollbacks = newest(facts, &names.rollbacks(stage)).unwrap_or_default();
    let serves = |release: &apigw_rollback::model::release::Release| {
        facts.deployments.contains(&(stage.api.clone(), release.deployment.clone()))
    };
    let recorded = facts.recorded(stage);
    // The search for an older version stops at the first one that is irreversible.
    let last = recorded.iter().rposition(|one| one.irreversible).unwrap_or_default();
    let in_reach = &recorded[last..];
    let live_since =
        facts.changes.iter().rfind(|one| one.stage == *stage && one.from != one.to).map(|one| one.at);
    let live_since = live_since.or(now.updated_at).unwrap_or_default();
    let candidate: Option<Candidate> = newest(facts, &names.candidate(stage));
    let held_until = newest::<Hold>(facts, &names.hold(stage)).map(|hold| hold.until);
    // A run's clock may be slow by up to 15 seconds.
    let sweeps_since = |at: DateTime<Utc>| {
        let sweeps = simulation.seen.iter().filter(|run| run.signal == Signal::Sweep);
        sweeps.filter(|run| run.began > at + TimeDelta::seconds(15)).count()
    };
    let most = usize::try_from(policy.max_rollbacks).unwrap();
    let automatic = rollbacks.past.iter().filter(|past| past.alarm.is_some()).count();
    let is_used_up = |now: &AlarmNow| {
        let by_it = |past: &&RollbackEntry| past.alarm.as_ref() == Some(&now.alarm.name);
        // A query, the access log and the alarms below a composite alarm may be of another source than the stage's own metrics.
        let is_metric = matches!(&now.alarm.watches, Watches::Metrics(metrics) if !metrics.is_empty());
        let is_own = is_metric && !now.alarm.is_fast();
        rollbacks.past.iter().filter(by_it).count() >= most || (!is_own && automatic >= most)
    };
    let mut firing = facts
        .alarms
        .iter()
        .filter(|now| now.alarm.state == State::Alarm && !now.actions.is_empty() && facts.may_act(now));
    let reasons = [
        (policy.mode == Mode::Observe, "the policy is to observe only"),
        (
            recorded.last().is_none_or(|record| record.release.over(&whole) == whole),
            "the stage serves the recorded release",
        ),
        (
            !in_reach.iter().any(|one| serves(&one.release) && !rollbacks.quarantines(&one.release)),
            "no recorded release can be served",
        ),
        (
            now.auto_deploy && policy.auto_deploy == AutoDeploy::Hold,
            "AutoDeploy is on, and the policy keeps it on",
        ),
        (
            held_until.is_some_and(|until| sweeps_since(until) < 2),
            "an operator holds the stage, or did so until two sweeps ago",
        ),
        (
            candidate.is_some_and(|one| {
                let is_behind = recorded.last().is_none_or(|record| record.recorded_at <= one.first_seen);
                one.irreversible && (one.release.in_stage() == now.release || is_behind)
            }),
            "the release is irreversible",
        ),
        (
            policy.window.is_some_and(|window| facts.now - live_since > window),
            "the release is live for longer than the rollback window",
        ),
        (
            automatic >= 2 * most || (automatic >= most && firing.all(is_used_up)),
            "the maximum of rollbacks is reached",
        ),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
}

/// Checks that the last recorded release is pinned by a closed parked stage, so nothing can delete its deployment.
fn is_pinned(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let stage = simulation.others.stage();
    let recorded = facts.recorded(&stage);
    let Some(record) = recorded.last().filter(|record| record.pinned && simulation.config.pin) else {
        return Ok(());
    };
    let deployment = &record.release.deployment;
    if !facts.deployments.contains(&(stage.api.clone(), deployment.clone())) {
        // AWS may refuse the pin. A run that dies between the record and the pin leaves an older release pinned, until the
        // next sweep moves the pin; the first record of a stage is written after its pin.
        let is_first = recorded.len() == 1;
        let author = facts.records.last().map(|(_, author, _)| author.as_str());
        let is_refused = author.is_some_and(|author| facts.refused_pins.contains(author));
        let author = simulation.seen.iter().find(|run| Some(run.id.as_str()) == author);
        let failed = |report: &Report| report.warnings.iter().any(|warning| warning.contains("not pinned"));
        // A run that died could not say that its pin was refused.
        let not_pinned = author.is_some_and(|run| {
            run.reports.as_ref().map_or(!is_first || is_refused, |reports| reports.iter().any(failed))
        });
        let reports = simulation.seen.iter().filter_map(|run| run.reports.as_ref()).flatten();
        let told = reports.filter_map(|report| report.reason.as_ref()).any(|reason| {
            matches!(reason, Reason::KnownGoodMissing { deployment: missing, .. } if missing == deployment)
        });
        if not_pinned && told {
            return Ok(());
        }
        return Err(format!("the pinned deployment {deployment} is gone"));
    }
    match facts.stages.get(&stage.parked()) {
        Some(parked) if parked.release.deployment == *deployment && parked.closed => Ok(()),
        Some(parked) => Err(format!("the pin holds {} (closed: {})", parked.release, parked.closed)),
        None => Err("there is no pin".to_owned()),
    }
}

/// Checks that without faults every rollback by an alarm is notified exactly once.
fn is_notified(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let runs: Vec<_> =
        simulation.seen.iter().filter(|run| run.signal != Signal::Operator).map(|run| &run.id).collect();
    let changes = facts.changes.iter().filter(|one| !one.stage.is_parked() && one.from != one.to);
    let done = changes.filter(|one| runs.contains(&&one.by)).count();
    let by_operators = facts.changes.iter().any(|one| {
        simulation.seen.iter().any(|run| run.id == one.by && run.signal == Signal::Operator)
            && !one.stage.is_parked()
    });
    let notified = facts
        .notifications
        .iter()
        .filter(|notification| notification.subject.starts_with("ROLLED BACK"))
        .count();
    let wrong = if by_operators { notified < done } else { notified != done };
    if simulation.calm && wrong {
        return Err(format!("there were {done} rollbacks and {notified} notifications of them"));
    }
    let marked = marked(facts, &simulation.seen)
        .filter(|notification| notification.subject.starts_with("ROLLED BACK"))
        .count();
    if marked > facts.changes.iter().filter(|one| !one.stage.is_parked()).count() {
        return Err(format!(
            "there are {marked} notifications of rollbacks, which is more than there are changes"
        ));
    }
    Ok(())
}

/// Checks that whatever a finished run reports for people has reached them: it has a mark, or it was sent without one. What SNS
/// refused was sent by a later sweep.
fn is_told(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    if simulation.config.notification_topic.is_none() {
        return Ok(());
    }
    let names = ParameterNames::under("/apigw-rollback");
    let untold = facts
        .parameters
        .keys()
        .filter(|name| name.starts_with(&names.sent_marks()))
        .find(|name| newest::<SentMark>(facts, name).is_some_and(|mark| mark.untold.is_some()));
    if let Some(name) = untold {
        return Err(format!("what SNS refused is still in `{name}`"));
    }
    let all: Vec<&Report> = simulation.seen.iter().filter_map(|run| run.reports.as_ref()).flatten().collect();
    for (report, name) in all.iter().filter_map(|report| Some((report, key(report)?))) {
        let has_mark = facts.parameters.contains_key(&names.sent_mark(&name));
        let by = format!("\"run\":\"{}\"", report.run);
        let is_sent = facts.notifications.iter().any(|one| one.report.contains(&by));
        // Of several reports about the same, one is sent. If neither the mark can be written nor SNS accepts it, the log and the metric `NotTold` are all there is. What every
        // sweep finds again is not sent without a mark.
        let is_same = |other: &&&Report| other.run == report.run && key(other).as_ref() == Some(&name);
        let is_admitted =
            all.iter().filter(is_same).flat_map(|one| &one.warnings).any(|one| one.starts_with("not sent:"));
        if !has_mark && !is_sent && !is_admitted {
            return Err(format!("nobody was told of {}: {}", report.run, report.message));
        }
    }
    Ok(())
}

/// Checks that a rollback whose run died before its report is on the list, and so was reported, two sweeps after the
/// run's maximum duration.
fn is_on_the_list(simulation: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let stage = simulation.others.stage();
    let names = ParameterNames::under("/apigw-rollback");
    let listed: Rollbacks = newest(facts, &names.rollbacks(&stage)).unwrap_or_default();
    let incidents = facts.parameters.keys().filter(|name| name.starts_with(&names.all_incidents(&stage)));
    let open = incidents.filter_map(|name| newest::<Incident>(facts, name)).filter(|one| {
        facts.now - one.at > TimeDelta::minutes(17) && !one.undone && one.good.is(&served(facts, &stage))
    });
    for one in open {
        let print = one.bad.fingerprint();
        let near = |at: DateTime<Utc>| (at - one.at).abs() < TimeDelta::minutes(6);
        // After another deploy, a later rollback of that one says nothing about this incident.
        let of_another = |change: &Change| {
            let is_later = change.at > one.at && !near(change.at) && change.by != "others";
            change.stage == stage && is_later && change.from.deployment != one.bad.release.deployment
        };
        if facts.changes.iter().any(of_another) {
            continue;
        }
        if !listed.past.iter().any(|past| past.fingerprint == print && near(past.at)) {
            return Err(format!("the incident {print} of {} is not on the list", one.at));
        }
    }
    Ok(())
}

/// Checks that no run fails if there are no faults.
fn has_no_failures(simulation: &SimulationRun) -> Result<(), String> {
    let all =
        simulation.seen.iter().flat_map(|run| run.reports.iter().flatten().map(move |report| (run, report)));
    let mut failed = all.filter(|(_, report)| report.outcome.is_failure());
    match failed.next().filter(|_| simulation.calm) {
        Some((run, report)) => Err(format!("{} failed without faults: {}", run.id, report.message)),
        None => Ok(()),
    }
}
