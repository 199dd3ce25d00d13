//! The second, dumber look at a plan: what must hold whatever the decision thought. Pure.

use super::Plan;
use crate::observe::{KnownGood, Observed};

/// Whether a plan may be applied to what was observed.
///
/// # Errors
/// The rule it breaks. That is a fault in this program, and nothing is written.
pub fn check(plan: &Plan, observed: &Observed) -> Result<(), String> {
    let rule =
        |holds: bool, rule: &str| if holds { Ok(()) } else { Err(format!("the plan breaks a rule: {rule}")) };
    let KnownGood::Found { version, record, .. } = &observed.on_record.known_good else {
        return Err("the plan breaks a rule: there is a usable record".to_owned());
    };
    rule(
        plan.stage == observed.stage && record.stage == plan.stage,
        "plan, record and stage belong together",
    )?;
    rule(!plan.stage.is_parked(), "a parked stage is never put back")?;
    rule(plan.to == record.release && plan.version == *version, "it leads to the recorded release")?;
    rule(!plan.to.deployment.is_empty() && plan.to.canary.is_none(), "the recorded release is whole")?;
    rule(
        observed.live.as_ref().is_some_and(|live| live.release == plan.from),
        "it starts at the live release",
    )?;
    rule(plan.from != plan.to, "it changes something")?;
    rule(!plan.change.close, "it closes no stage")?;

    let mut after = plan.from.clone();
    if plan.change.remove_canary {
        after.canary = None;
    }
    if let Some(deployment) = &plan.change.deployment {
        after.deployment.clone_from(deployment);
    }
    after.variables.extend(plan.change.set.clone());
    after.variables.retain(|name, _| !plan.change.remove.contains(name));
    rule(after == plan.to, "its change leads from the live to the recorded release")
}
