//! What holds after faults: the stage is healed.

use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::report::Outcome;
use apigw_rollback::model::stage::StageRef;

use crate::simulation::invariants::{Seen, marked};
use crate::support::world::Facts;

/// Checks that after two sweeps without faults the stage serves its known-good release, the rollback is listed, and it
/// was notified at most once.
pub(super) fn healed(facts: &Facts, runs: &[Seen], stage: &StageRef, traced: bool) -> Result<(), String> {
    let known = facts.recorded(stage);
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
    let names = ParameterNames::under("/apigw-rollback");
    let listed = facts.parameters.get(&names.rollbacks(stage)).and_then(|versions| versions.last());
    if traced && !listed.is_some_and(|listed| listed.contains("\"fingerprint\"")) {
        return Err(format!("the rollback of {stage} is not on its list"));
    }
    let rolled_back =
        marked(facts, runs).filter(|notification| notification.subject.starts_with("ROLLED BACK")).count();
    if rolled_back > 1 {
        return Err(format!("there are {rolled_back} notifications of a rollback"));
    }
    Ok(())
}

/// Counts the reports of a rollback.
pub(super) fn reported(runs: &[Seen]) -> usize {
    let all = runs.iter().filter_map(|run| run.reports.as_ref()).flatten();
    all.filter(|report| report.outcome == Outcome::RolledBack).count()
}
