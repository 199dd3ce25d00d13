//! The second, dumber look at a plan: what must hold whatever the decision thought. Pure.

use crate::cloud::StageChange;
use crate::observe::{KnownGood, Observed};
use crate::plan::{Plan, Step};
use crate::release::Release;

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
    let (from, to, recorded) = (&plan.from, &plan.to, &record.release);
    rule(
        plan.stage == observed.stage && record.stage == plan.stage,
        "plan, record and stage belong together",
    )?;
    rule(!plan.stage.is_parked(), "a parked stage is never put back")?;
    rule(plan.version == *version, "it leads to the recorded version")?;
    rule(to.in_stage() == recorded.in_stage(), "its stage's part is the recorded one")?;
    rule(!to.deployment.is_empty() && to.canary.is_none(), "the recorded release is whole")?;
    rule(
        from.aliases.keys().eq(to.aliases.keys()) && from.mappings.keys().eq(to.mappings.keys()),
        "it moves what is there, and nothing else",
    )?;
    rule(
        to.aliases.iter().all(|(alias, target)| {
            [from, recorded].iter().any(|release| release.aliases.get(alias) == Some(target))
        }),
        "each alias stays or goes where it is recorded",
    )?;
    rule(
        to.mappings.iter().all(|(mapping, target)| {
            [from, recorded].iter().any(|release| release.mappings.get(mapping) == Some(target))
        }),
        "each mapping stays or goes where it is recorded",
    )?;
    rule(observed.live.as_ref().is_some_and(|live| live.release == *from), "it starts at the live release")?;
    rule(from != to, "it changes something")?;
    rule(!plan.change().is_some_and(|change| change.close), "it closes no stage")?;
    rule(plan.steps.is_sorted_by_key(place), "aliases come first, then the stage, then mappings")?;
    rule(after(plan) == Some(to.clone()), "its steps lead from the live to the recorded release")
}

fn place(step: &Step) -> u8 {
    match step {
        Step::Alias { .. } => 0,
        Step::Stage { .. } => 1,
        Step::Mapping { .. } => 2,
    }
}

/// Where the steps lead; `None` where one of them starts elsewhere than the one before it ended.
fn after(plan: &Plan) -> Option<Release> {
    let mut at = plan.from.clone();
    for step in &plan.steps {
        match step {
            Step::Alias { alias, from, to, .. } => {
                (at.aliases.insert(alias.clone(), to.clone()).as_ref() == Some(from)).then_some(())?;
            }
            Step::Stage { from, to, change } => {
                (at.in_stage() == from.in_stage() && *change != StageChange::default()).then_some(())?;
                at = change.applied_to(&at);
                (at.in_stage() == to.in_stage()).then_some(())?;
            }
            Step::Mapping { mapping, from, to, .. } => {
                (at.mappings.insert(mapping.clone(), to.clone()).as_ref() == Some(from)).then_some(())?;
            }
        }
    }
    Some(at)
}
