//! The check of a plan: simple rules that every plan must follow, independent of the decision. Pure.

use crate::model::observed::{KnownGood, Observed};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::release::Release;

/// Checks whether a plan may be applied to the observed stage.
///
/// # Errors
/// The rule that the plan breaks. That is a bug in this program, and the function writes nothing.
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
    rule(!plan.stage.is_parked(), "a parked stage is never rolled back")?;
    rule(plan.version == *version, "it leads to the recorded version")?;
    rule(to.in_stage() == recorded.in_stage(), "it sets the stage to its recorded settings")?;
    rule(!to.deployment.is_empty() && to.canary.is_none(), "the recorded release is complete")?;
    rule(
        from.aliases.keys().eq(to.aliases.keys()) && from.mappings.keys().eq(to.mappings.keys()),
        "it moves only existing components",
    )?;
    rule(
        to.aliases.iter().all(|(alias, target)| {
            [from, recorded].iter().any(|release| release.aliases.get(alias) == Some(target))
        }),
        "each alias keeps its target or gets the recorded one",
    )?;
    rule(
        to.mappings.iter().all(|(mapping, target)| {
            [from, recorded].iter().any(|release| release.mappings.get(mapping) == Some(target))
        }),
        "each mapping keeps its target or gets the recorded one",
    )?;
    rule(observed.live.as_ref().is_some_and(|live| live.release == *from), "it starts at the live release")?;
    rule(from != to, "it changes something")?;
    rule(!plan.change().is_some_and(|change| change.close), "it closes no stage")?;
    rule(plan.steps.is_sorted_by_key(rank), "aliases come first, then the stage, then mappings")?;
    rule(release_after(plan) == Some(to.clone()), "its steps lead from the live to the recorded release")
}

fn rank(step: &Step) -> u8 {
    match step {
        Step::Alias { .. } => 0,
        Step::Stage { .. } => 1,
        Step::Mapping { .. } => 2,
    }
}

/// Returns the release after all steps; `None` if a step does not start where the one before it ended.
fn release_after(plan: &Plan) -> Option<Release> {
    let mut release = plan.from.clone();
    for step in &plan.steps {
        match step {
            Step::Alias { alias, from, to, .. } => {
                (release.aliases.insert(alias.clone(), to.clone()).as_ref() == Some(from)).then_some(())?;
            }
            Step::Stage { from, to, change } => {
                (release.in_stage() == from.in_stage() && *change != StageChange::default()).then_some(())?;
                release = change.applied_to(&release);
                (release.in_stage() == to.in_stage()).then_some(())?;
            }
            Step::Mapping { mapping, from, to, .. } => {
                (release.mappings.insert(mapping.clone(), to.clone()).as_ref() == Some(from)).then_some(())?;
            }
        }
    }
    Some(release)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decide::fixture::{good, mapped, record};
    use crate::model::release::Canary;

    fn change(plan: &mut Plan) -> &mut StageChange {
        match &mut plan.steps[1] {
            Step::Stage { change, .. } => change,
            Step::Alias { .. } | Step::Mapping { .. } => panic!("the second step changes the stage"),
        }
    }

    fn version(release: &mut Release, alias: &str, version: &str) {
        release.aliases.get_mut(&alias.parse().unwrap()).unwrap().version = version.into();
    }

    type Edit = fn(&mut Plan, &mut Observed);

    const TOGETHER: &str = "plan, record and stage belong together";
    const SAME_COMPONENTS: &str = "it moves only existing components";
    const ORDER: &str = "aliases come first, then the stage, then mappings";
    const RESULT: &str = "its steps lead from the live to the recorded release";

    /// The broken rule and the edit that breaks it. The first row breaks none.
    const RULES: [(&str, Edit); 31] = [
        ("", |_, _| ()),
        ("there is a usable record", |_, o| {
            o.on_record.known_good = KnownGood::None { parameter: "p".into() };
        }),
        (TOGETHER, |p, _| p.stage.stage = "test".into()),
        (TOGETHER, |_, o| o.stage.api = "b".into()),
        (TOGETHER, |_, o| record(o).stage.stage = "test".into()),
        ("a parked stage is never rolled back", |p, o| {
            p.stage = p.stage.parked();
            (o.stage, record(o).stage) = (p.stage.clone(), p.stage.clone());
        }),
        ("it leads to the recorded version", |p, _| p.version = 2),
        ("it sets the stage to its recorded settings", |p, _| p.to.deployment = "d9".into()),
        ("it sets the stage to its recorded settings", |p, _| p.to.variables.clear()),
        ("the recorded release is complete", |p, o| {
            p.to.deployment.clear();
            record(o).release.deployment.clear();
        }),
        ("the recorded release is complete", |p, o| {
            let overrides = BTreeMap::new();
            let canary =
                Some(Canary { deployment: None, percent: "10".into(), overrides, uses_cache: false });
            (p.to.canary, record(o).release.canary) = (canary.clone(), canary);
        }),
        (SAME_COMPONENTS, |p, _| {
            p.to.aliases.pop_last();
        }),
        (SAME_COMPONENTS, |p, _| p.to.mappings.clear()),
        (SAME_COMPONENTS, |p, _| {
            p.to.mappings.insert("b.example.com".parse().unwrap(), mapped("s1"));
        }),
        ("each alias keeps its target or gets the recorded one", |p, _| {
            version(&mut p.to, "orders:live", "9");
        }),
        ("each alias keeps its target or gets the recorded one", |p, _| version(&mut p.to, "web:live", "9")),
        ("each mapping keeps its target or gets the recorded one", |p, _| {
            p.to.mappings.first_entry().unwrap().insert(mapped("s9"));
        }),
        ("it starts at the live release", |_, o| o.live = None),
        ("it starts at the live release", |_, o| {
            o.live.as_mut().unwrap().release.variables.clear();
        }),
        ("it changes something", |p, o| {
            (p.from, p.steps) = (p.to.clone(), vec![]);
            o.live.as_mut().unwrap().release = p.to.clone();
        }),
        ("it closes no stage", |p, _| change(p).close = true),
        (ORDER, |p, _| p.steps.swap(0, 1)),
        (ORDER, |p, _| p.steps.swap(1, 2)),
        (ORDER, |p, _| p.steps.swap(0, 2)),
        (RESULT, |p, _| {
            p.steps.pop();
        }),
        (RESULT, |p, _| change(p).deployment = Some("d9".into())),
        (RESULT, |p, _| *change(p) = StageChange::default()),
        (RESULT, |p, _| {
            if let Step::Stage { from, .. } = &mut p.steps[1] {
                from.variables.clear();
            }
        }),
        (RESULT, |p, _| {
            if let Step::Stage { to, .. } = &mut p.steps[1] {
                to.variables.clear();
            }
        }),
        (RESULT, |p, _| {
            if let Step::Alias { from, .. } = &mut p.steps[0] {
                from.version = "9".into();
            }
        }),
        (RESULT, |p, _| {
            if let Step::Mapping { from, .. } = &mut p.steps[2] {
                from.stage = "s9".into();
            }
        }),
    ];

    #[test]
    fn every_rule_rejects_a_plan_that_breaks_it() {
        for (nth, (rule, edit)) in RULES.into_iter().enumerate() {
            let (mut plan, mut observed) = good();
            edit(&mut plan, &mut observed);
            let described = check(&plan, &observed).err().unwrap_or_default();
            let described = described.strip_prefix("the plan breaks a rule: ").unwrap_or(&described);
            assert_eq!(described, rule, "row {nth}");
        }
    }

    #[test]
    fn a_component_may_stay_as_it_is() {
        let (mut plan, observed) = good();
        plan.to.mappings.clone_from(&plan.from.mappings);
        plan.steps.pop();
        assert_eq!(check(&plan, &observed), Ok(()));
        version(&mut plan.to, "orders:live", "2");
        plan.steps.remove(0);
        assert_eq!(check(&plan, &observed), Ok(()));
    }
}
