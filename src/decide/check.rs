//! The second, dumber look at a plan: what must hold whatever the decision thought. Pure.

use crate::model::observed::{KnownGood, Observed};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::release::Release;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decide::fixture::{good, mapped, record};
    use crate::model::release::Canary;

    fn change(plan: &mut Plan) -> &mut StageChange {
        match &mut plan.steps[1] {
            Step::Stage { change, .. } => change,
            Step::Alias { .. } | Step::Mapping { .. } => panic!("the second step is the stage's"),
        }
    }

    fn version(release: &mut Release, alias: &str, version: &str) {
        release.aliases.get_mut(&alias.parse().unwrap()).unwrap().version = version.into();
    }

    type Twist = fn(&mut Plan, &mut Observed);

    const TOGETHER: &str = "plan, record and stage belong together";
    const SAME_PARTS: &str = "it moves what is there, and nothing else";
    const ORDER: &str = "aliases come first, then the stage, then mappings";
    const LEAD: &str = "its steps lead from the live to the recorded release";

    /// The rule that is broken, and how; the first row breaks none.
    const RULES: [(&str, Twist); 31] = [
        ("", |_, _| ()),
        ("there is a usable record", |_, o| {
            o.on_record.known_good = KnownGood::None { parameter: "p".into() };
        }),
        (TOGETHER, |p, _| p.stage.stage = "test".into()),
        (TOGETHER, |_, o| o.stage.api = "b".into()),
        (TOGETHER, |_, o| record(o).stage.stage = "test".into()),
        ("a parked stage is never put back", |p, o| {
            p.stage = p.stage.parked();
            (o.stage, record(o).stage) = (p.stage.clone(), p.stage.clone());
        }),
        ("it leads to the recorded version", |p, _| p.version = 2),
        ("its stage's part is the recorded one", |p, _| p.to.deployment = "d9".into()),
        ("its stage's part is the recorded one", |p, _| p.to.variables.clear()),
        ("the recorded release is whole", |p, o| {
            p.to.deployment.clear();
            record(o).release.deployment.clear();
        }),
        ("the recorded release is whole", |p, o| {
            let overrides = BTreeMap::new();
            let canary = Some(Canary { deployment: None, percent: "10".into(), overrides });
            (p.to.canary, record(o).release.canary) = (canary.clone(), canary);
        }),
        (SAME_PARTS, |p, _| {
            p.to.aliases.pop_last();
        }),
        (SAME_PARTS, |p, _| p.to.mappings.clear()),
        (SAME_PARTS, |p, _| {
            p.to.mappings.insert("b.example.com".parse().unwrap(), mapped("s1"));
        }),
        ("each alias stays or goes where it is recorded", |p, _| version(&mut p.to, "orders:live", "9")),
        ("each alias stays or goes where it is recorded", |p, _| version(&mut p.to, "web:live", "9")),
        ("each mapping stays or goes where it is recorded", |p, _| {
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
        (LEAD, |p, _| {
            p.steps.pop();
        }),
        (LEAD, |p, _| change(p).deployment = Some("d9".into())),
        (LEAD, |p, _| *change(p) = StageChange::default()),
        (LEAD, |p, _| {
            if let Step::Stage { from, .. } = &mut p.steps[1] {
                from.variables.clear();
            }
        }),
        (LEAD, |p, _| {
            if let Step::Stage { to, .. } = &mut p.steps[1] {
                to.variables.clear();
            }
        }),
        (LEAD, |p, _| {
            if let Step::Alias { from, .. } = &mut p.steps[0] {
                from.version = "9".into();
            }
        }),
        (LEAD, |p, _| {
            if let Step::Mapping { from, .. } = &mut p.steps[2] {
                from.stage = "s9".into();
            }
        }),
    ];

    #[test]
    fn every_rule_is_held_against_a_plan_that_breaks_it() {
        for (nth, (rule, twist)) in RULES.into_iter().enumerate() {
            let (mut plan, mut observed) = good();
            twist(&mut plan, &mut observed);
            let described = check(&plan, &observed).err().unwrap_or_default();
            let described = described.strip_prefix("the plan breaks a rule: ").unwrap_or(&described);
            assert_eq!(described, rule, "row {nth}");
        }
    }

    #[test]
    fn a_part_may_stay_where_it_is() {
        let (mut plan, observed) = good();
        let stays = plan.from.mappings.clone();
        plan.to.mappings = stays;
        plan.steps.pop();
        assert_eq!(check(&plan, &observed), Ok(()));
        version(&mut plan.to, "orders:live", "2");
        plan.steps.remove(0);
        assert_eq!(check(&plan, &observed), Ok(()));
    }
}
