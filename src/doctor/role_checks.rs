//! Checks whether the function's role allows the calls that the function makes, by IAM's simulation. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Readings;
use super::permissions::{Need, Requirement};
use super::{Finding, Level};
use crate::model::stage::StageRef;

const NEXT: &str = "deploy the stack again, or add it to the role; a permissions boundary or a service control policy may deny it";

/// Checks the calls that serve all stages.
pub(super) fn of_all_stages(facts: &Readings) -> Vec<Finding> {
    let refused = match &facts.refused {
        Err(error) => return vec![Finding::unknown("role", error)],
        Ok(refused) => refused,
    };
    if !matches!(facts.function, Ok(Some(_))) {
        return vec![Finding::not_checked("role", "without the function, its role is unknown", "")];
    }
    if refused.is_empty() {
        let all: BTreeSet<_> = facts.required.iter().map(|one| &one.permission).collect();
        return vec![Finding::ok(
            "role",
            format!("the role allows all {} required calls (simulated)", all.len()),
        )];
    }
    refused_for(facts, None)
}

/// Checks the calls that serve one stage.
pub(super) fn of_stage(facts: &Readings, stage: &StageRef) -> Vec<Finding> {
    refused_for(facts, Some(stage))
}

/// Returns one finding for each action that the role does not allow.
fn refused_for(facts: &Readings, stage: Option<&StageRef>) -> Vec<Finding> {
    let refused = facts.refused.as_deref().unwrap_or_default();
    let is_refused = |one: &&Requirement| one.stage.as_ref() == stage && refused.contains(&one.permission);
    let mut by_action: BTreeMap<&str, Vec<&Requirement>> = BTreeMap::new();
    for one in facts.required.iter().filter(is_refused) {
        by_action.entry(one.permission.action).or_default().push(one);
    }
    by_action.into_iter().map(|(action, refused)| finding(action, refused)).collect()
}

fn finding(action: &str, mut refused: Vec<&Requirement>) -> Finding {
    // The resource that a rollback needs is the one to show.
    refused.sort_by_key(|one| one.need);
    let resources: BTreeSet<&str> = refused.iter().map(|one| one.permission.resource.as_str()).collect();
    let needs: BTreeSet<Need> = refused.iter().map(|one| one.need).collect();
    let first = refused.first().map(|one| one.permission.resource.as_str()).unwrap_or_default();
    let more = resources.len().saturating_sub(1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let needed_by: Vec<String> = needs.iter().map(ToString::to_string).collect();
    let level = if needs.contains(&Need::Rollback) { Level::Fault } else { Level::Warning };
    let message = format!(
        "the function's role does not allow {action}, which {} need: {first}{more}",
        needed_by.join(" and ")
    );
    Finding { level, ..Finding::warning("role", message, NEXT) }
}
