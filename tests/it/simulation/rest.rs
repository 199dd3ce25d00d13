//! What must be true at the end of a life, when nothing has gone wrong for a while and nobody else has done anything:
//! the stage is healed, or there is a reason in the world for leaving it alone.

use apigw_rollback::model::alarm::State;
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::policy::{AutoDeploy, Mode};
use apigw_rollback::model::records::{Candidate, Hold, Incident, Rollbacks, parse};
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, TimeDelta, Utc};

use super::kind::served;
use super::life::Life;
use crate::simulation::invariants::Signal;
use crate::support::world::Facts;

/// The judgement on the end of a life.
pub(crate) fn is_at_rest(life: &Life, facts: &Facts) -> Result<(), String> {
    is_healed(life, facts)?;
    is_pinned(life, facts)?;
    is_told(life, facts)?;
    is_seen_to_the_end(life, facts)?;
    is_smooth(life)
}

fn newest<T: apigw_rollback::model::records::Stored>(facts: &Facts, name: &str) -> Option<T> {
    parse(facts.parameters.get(name)?.last()?).ok()
}

/// If an alarm is still in ALARM, there is no way back, or somebody wanted it so.
fn is_healed(life: &Life, facts: &Facts) -> Result<(), String> {
    let stage = life.others.stage();
    let alarmed = |now: &&apigw_rollback::model::alarm::AlarmNow| {
        now.alarm.state == State::Alarm && now.actions_enabled && now.alarm.name.contains("prod")
    };
    let Some(alarm) = facts.alarms.iter().find(alarmed) else { return Ok(()) };
    let since = alarm.alarm.changed_at.unwrap_or_default();
    // Two sweeps, and what the second of them waits for.
    if facts.now - since < TimeDelta::minutes(13) {
        return Ok(());
    }
    excuse(life, facts, &stage).map(|_| ()).ok_or_else(|| {
        format!(
            "`{}` is in ALARM since {since}, and the stage serves {}",
            alarm.alarm.name, facts.stages[&stage].release
        )
    })
}

/// Why a stage may be left as it is.
fn excuse(life: &Life, facts: &Facts, stage: &StageRef) -> Option<&'static str> {
    let names = ParameterNames::under("/apigw-rollback");
    let now = &facts.stages[stage];
    let whole = served(facts, stage);
    let overrides: PolicyOverrides = newest(facts, &names.policy(stage)).unwrap_or_default();
    let policy = &life.config.policy.under(&overrides);
    let rollbacks: Rollbacks = newest(facts, &names.rollbacks(stage)).unwrap_or_default();
    let serves = |release: &apigw_rollback::model::release::Release| {
        facts.deployments.contains(&(stage.api.clone(), release.deployment.clone()))
    };
    let recorded = facts.recorded(stage);
    let live_since =
        facts.changes.iter().rfind(|one| one.stage == *stage && one.from != one.to).map(|one| one.at);
    let live_since = live_since.or(now.updated_at).unwrap_or_default();
    let candidate: Option<Candidate> = newest(facts, &names.candidate(stage));
    let held_until = newest::<Hold>(facts, &names.hold(stage)).map(|hold| hold.until);
    // A function's clock may be behind by so much.
    let sweeps_since = |at: DateTime<Utc>| {
        let sweeps = life.seen.iter().filter(|run| run.signal == Signal::Sweep);
        sweeps.filter(|run| run.began > at + TimeDelta::seconds(15)).count()
    };
    let automatic = rollbacks.past.iter().filter(|past| past.alarm.is_some()).count();
    let reasons = [
        (policy.mode == Mode::Observe, "it is to observe only"),
        (recorded.last().is_none_or(|record| record.release.over(&whole) == whole), "it serves the record"),
        (
            !recorded.iter().any(|one| serves(&one.release) && !rollbacks.quarantines(&one.release)),
            "no recorded release serves",
        ),
        (now.auto_deploy && policy.auto_deploy == AutoDeploy::Hold, "AutoDeploy is on, and is to stay so"),
        (held_until.is_some_and(|until| sweeps_since(until) < 2), "it is held, or was until two sweeps ago"),
        (
            candidate.is_some_and(|one| one.irreversible && one.release.in_stage() == now.release),
            "it must not be gone back from",
        ),
        (policy.window.is_some_and(|window| facts.now - live_since > window), "it is live for long"),
        (automatic >= usize::try_from(policy.max_rollbacks).unwrap(), "it was put back often enough"),
    ];
    reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why)
}

/// What is recorded last is pinned by a parked stage that answers nobody, so it cannot be removed.
fn is_pinned(life: &Life, facts: &Facts) -> Result<(), String> {
    let stage = life.others.stage();
    let recorded = facts.recorded(&stage);
    let Some(record) = recorded.last().filter(|record| record.pinned && life.config.pin) else {
        return Ok(());
    };
    let deployment = &record.release.deployment;
    if !facts.deployments.contains(&(stage.api.clone(), deployment.clone())) {
        return Err(format!("the pinned deployment {deployment} is gone"));
    }
    match facts.stages.get(&stage.parked()) {
        Some(parked) if parked.release.deployment == *deployment && parked.closed => Ok(()),
        Some(parked) => Err(format!("the pin holds {} (closed: {})", parked.release, parked.closed)),
        None => Err("there is no pin".to_owned()),
    }
}

/// In fair weather, people hear of every rollback by an alarm exactly once.
fn is_told(life: &Life, facts: &Facts) -> Result<(), String> {
    let runs: Vec<_> =
        life.seen.iter().filter(|run| run.signal != Signal::Person).map(|run| &run.hand).collect();
    let changes = facts.changes.iter().filter(|one| !one.stage.is_parked() && one.from != one.to);
    let done = changes.filter(|one| runs.contains(&&one.by)).count();
    let by_people = facts.changes.iter().any(|one| {
        life.seen.iter().any(|run| run.hand == one.by && run.signal == Signal::Person)
            && !one.stage.is_parked()
    });
    let described = facts.described.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    let wrong = if by_people { described < done } else { described != done };
    if life.calm && wrong {
        return Err(format!("there were {done} rollbacks, and people were told of {described}"));
    }
    if described > facts.changes.iter().filter(|one| !one.stage.is_parked()).count() {
        return Err(format!(
            "people were told of {described} rollbacks, which is more than there were changes"
        ));
    }
    Ok(())
}

/// What was put back by a run that died before it could say so is on the list, and so was told, by the second sweep
/// after the run's longest time.
fn is_seen_to_the_end(life: &Life, facts: &Facts) -> Result<(), String> {
    let stage = life.others.stage();
    let names = ParameterNames::under("/apigw-rollback");
    let listed: Rollbacks = newest(facts, &names.rollbacks(&stage)).unwrap_or_default();
    let incidents = facts.parameters.keys().filter(|name| name.starts_with(&names.all_incidents(&stage)));
    let open = incidents.filter_map(|name| newest::<Incident>(facts, name)).filter(|one| {
        facts.now - one.at > TimeDelta::minutes(17) && !one.undone && one.good == served(facts, &stage)
    });
    for one in open {
        let print = one.bad.fingerprint();
        let near = |at: DateTime<Utc>| (at - one.at).abs() < TimeDelta::minutes(6);
        if !listed.past.iter().any(|past| past.fingerprint == print && near(past.at)) {
            return Err(format!("the incident {print} of {} is not on the list", one.at));
        }
    }
    Ok(())
}

/// In fair weather nothing fails, and nobody is called who is not needed.
fn is_smooth(life: &Life) -> Result<(), String> {
    let all = life.seen.iter().flat_map(|run| run.reports.iter().flatten().map(move |report| (run, report)));
    let mut failed = all.filter(|(_, report)| report.outcome.is_failure());
    match failed.next().filter(|_| life.calm) {
        Some((run, report)) => Err(format!("{} failed in fair weather: {}", run.hand, report.message)),
        None => Ok(()),
    }
}
