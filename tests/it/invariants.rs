//! What must hold whatever goes wrong, once as a function over the world before, the world after, and the reports.

use std::collections::BTreeMap;

use apigw_rollback::observe::usable;
use apigw_rollback::records::{Names, Record};
use apigw_rollback::release::{Release, StageRef};
use apigw_rollback::report::{Outcome, Report};

use crate::world::Facts;

/// The recorded releases of a stage, every version.
fn recorded(facts: &Facts, stage: &StageRef) -> Vec<Record> {
    let versions = facts.parameters.get(&Names::under("/apigw-rollback").known_good(stage));
    versions.into_iter().flatten().filter_map(|value| usable(value, stage, "eu-west-1").ok()).collect()
}

/// Everything that must hold between two moments, with the runs in between; `Err` names what is broken.
pub(crate) fn hold(before: &Facts, after: &Facts, runs: &[Option<Vec<Report>>]) -> Result<(), String> {
    for (stage, from, to) in &after.changes {
        is_recorded(before, stage, from, to)?;
    }
    once_an_incident(after)?;
    nothing_else(before, after)?;
    told_once(after)?;
    for reports in runs.iter().flatten() {
        if reports.is_empty() {
            return Err("a run ended without a report".to_owned());
        }
    }
    Ok(())
}

/// A change of a stage leads to a recorded known-good release whose deployment exists, or takes a canary off, or is
/// the undoing of one that led there.
fn is_recorded(before: &Facts, stage: &StageRef, from: &Release, to: &Release) -> Result<(), String> {
    if stage.is_parked() {
        return Ok(());
    }
    let known = recorded(before, stage);
    let good = |release: &Release| known.iter().any(|record| record.release.in_stage() == *release);
    let exists =
        |release: &Release| before.deployments.contains(&(stage.api.clone(), release.deployment.clone()));
    let canary_off = Release { canary: None, ..from.clone() } == *to;
    let undone = good(from) && before.stages.get(stage).is_some_and(|live| live.release == *to);
    if (good(to) && exists(to)) || canary_off || undone {
        return Ok(());
    }
    Err(format!("{stage} went from {from} to {to}, which is not recorded or does not exist"))
}

/// No release is taken off twice, unless it was put back in between.
fn once_an_incident(after: &Facts) -> Result<(), String> {
    let mut live: BTreeMap<&StageRef, &Release> = BTreeMap::new();
    for (stage, from, to) in &after.changes {
        if live.get(stage).is_some_and(|live| *live != from) {
            return Err(format!("{stage} was changed from {from}, which was not live"));
        }
        live.insert(stage, to);
    }
    Ok(())
}

/// Of a stage nothing changes but what it serves, and no other stage, alias or mapping changes.
fn nothing_else(before: &Facts, after: &Facts) -> Result<(), String> {
    for (stage, was) in &before.stages {
        let Some(is) = after.stages.get(stage) else { return Err(format!("{stage} is gone")) };
        let same = (&was.description, was.cache, was.managed) == (&is.description, is.cache, is.managed);
        if !same || (was.closed != is.closed && !stage.is_parked()) {
            return Err(format!("{stage} has other settings than before"));
        }
    }
    if before.deployments != after.deployments {
        return Err("deployments are others than before".to_owned());
    }
    let aliases = |facts: &Facts| facts.aliases.keys().cloned().collect::<Vec<_>>();
    let mappings = |facts: &Facts| facts.mappings.keys().cloned().collect::<Vec<_>>();
    if aliases(before) != aliases(after) || mappings(before) != mappings(after) {
        return Err("aliases or mappings are others than before".to_owned());
    }
    Ok(())
}

/// Nobody is told the same twice.
fn told_once(after: &Facts) -> Result<(), String> {
    let mut told: Vec<(&str, String)> = Vec::new();
    for notice in &after.told {
        let chat: serde_json::Value =
            serde_json::from_str(&notice.chat).map_err(|error| error.to_string())?;
        let news = (notice.subject.as_str(), chat["metadata"]["threadId"].to_string());
        if told.contains(&news) {
            return Err(format!("people were told twice: {}", notice.subject));
        }
        told.push(news);
    }
    Ok(())
}

/// Once nothing fails any more and two sweeps have gone by, the stage serves its known-good release, the incident is
/// on the list, and another event changes nothing.
pub(crate) fn healed(facts: &Facts, stage: &StageRef, traced: bool) -> Result<(), String> {
    let known = recorded(facts, stage);
    let Some(good) = known.last() else { return Err("nothing is recorded".to_owned()) };
    let live = facts.stages.get(stage).map(|live| live.release.clone()).unwrap_or_default();
    if live != good.release.in_stage() {
        return Err(format!("{stage} serves {live}, and not {}", good.release));
    }
    for (alias, target) in &good.release.aliases {
        if facts.aliases.get(alias).map(|live| &live.target) != Some(target) {
            return Err(format!("the alias {alias} is not at {target}"));
        }
    }
    for (mapping, target) in &good.release.mappings {
        if facts.mappings.get(mapping).map(|live| &live.target) != Some(target) {
            return Err(format!("the mapping {mapping} is not at {target}"));
        }
    }
    let names = Names::under("/apigw-rollback");
    let listed = facts.parameters.get(&names.rollbacks(stage)).and_then(|versions| versions.last());
    if traced && !listed.is_some_and(|listed| listed.contains("\"fingerprint\"")) {
        return Err(format!("the rollback of {stage} is not on its list"));
    }
    let rolled_back = facts.told.iter().filter(|notice| notice.subject.starts_with("ROLLED BACK")).count();
    if rolled_back > 1 {
        return Err(format!("people were told of {rolled_back} rollbacks"));
    }
    Ok(())
}

/// Whether some run put the stage back, as far as its reports say.
pub(crate) fn reported(runs: &[Option<Vec<Report>>]) -> usize {
    let all = runs.iter().flatten().flatten();
    all.filter(|report| report.outcome == Outcome::RolledBack).count()
}
