//! The check of the changes by a rollout: simple rules, independent of the decision. Pure.

use crate::model::percent::Percent;
use crate::model::plan::StageChange;
use crate::model::release::Release;
use crate::model::rollout::{At, Rollout, RolloutState, Shift};

/// Checks whether a rollout may make this change to a stage that serves `live`.
///
/// # Errors
/// The rule that the change breaks. That is a bug in this program, and the function writes nothing.
pub fn check_step(change: &StageChange, rollout: &Rollout, live: &Release) -> Result<(), String> {
    let rule = |holds: bool, rule: &str| {
        if holds { Ok(()) } else { Err(format!("the rollout breaks a rule: {rule}")) }
    };
    let canary_only = StageChange {
        remove_canary: change.remove_canary,
        put_canary: change.put_canary.clone(),
        promote_canary: change.promote_canary,
        ..StageChange::default()
    };
    rule(*change == canary_only, "it changes nothing but the canary")?;
    let after = change.applied_to(live);
    let is_ours = live.canary.as_ref().is_none_or(|canary| rollout.owns(canary));
    rule(is_ours, "it touches no canary but its own")?;
    let share = |release: &Release| {
        release.canary.as_ref().map_or(Some(Percent::NONE), |canary| Percent::read(&canary.percent))
    };
    match (&change.put_canary, change.promote_canary, change.remove_canary) {
        (Some(canary), false, false) => {
            rule(rollout.owns(canary), "it sets the canary that it began with")?;
            rule(rollout.state == RolloutState::Moving, "it moves traffic only to the next step")?;
            rule(share(&after) == Some(rollout.share()), "the canary gets the share of the step")?;
            let before = rollout.from.unwrap_or(Percent::NONE);
            rule(share(live) == Some(before), "the canary had the share of the step before")?;
            rule(after.deployment == rollout.base.deployment, "the base stays")
        }
        (None, true, false) => {
            rule(
                rollout.state == RolloutState::Promoting,
                "it promotes only after the last step, or for an operator",
            )?;
            rule(live.deployment == rollout.base.deployment, "the base is that of the beginning")?;
            rule(
                Some(after.deployment.as_str()) == rollout.deployment(),
                "the stage gets the deployment of the canary",
            )
        }
        (None, false, true) => {
            let is_promoted = Some(live.deployment.as_str()) == rollout.deployment();
            let is_aborting = rollout.state == RolloutState::Aborting;
            rule(is_promoted || is_aborting, "it removes the canary only when it is promoted or aborted")
        }
        _ => rule(false, "it does one thing at a time"),
    }
}

/// Checks whether a rollout may change these aliases.
///
/// # Errors
/// The rule that a change breaks. That is a bug in this program, and the function writes nothing.
pub fn check_shift(shifts: &[Shift], rollout: &Rollout) -> Result<(), String> {
    let rule = |holds: bool, rule: &str| {
        if holds { Ok(()) } else { Err(format!("the rollout breaks a rule: {rule}")) }
    };
    rule(!shifts.is_empty(), "it changes something")?;
    for Shift { alias, from, to, revision } in shifts {
        rule(!revision.is_empty(), "it names the revision that it has read")?;
        let (Some(from), Some(to)) = (rollout.at(alias, from), rollout.at(alias, to)) else {
            return rule(false, "it touches no alias that somebody else has moved");
        };
        let before = At::Share(rollout.from.unwrap_or(Percent::NONE));
        match rollout.state {
            RolloutState::Moving => {
                rule(to == At::Share(rollout.share()), "an alias gets the share of the step")?;
                rule(from == before, "an alias had the share of the step before")?;
            }
            RolloutState::Promoting => {
                rule(to == At::Promoted, "a promotion gives the new version all traffic")?;
                rule(from == before, "an alias had the share of the last step")?;
            }
            RolloutState::Aborting => {
                rule(to == At::Share(Percent::NONE), "an abort gives the new version no traffic")?;
            }
            RolloutState::Baking
            | RolloutState::Paused { .. }
            | RolloutState::Promoted
            | RolloutState::Aborted { .. }
            | RolloutState::RolledBack { .. }
            | RolloutState::Overtaken { .. } => {
                rule(false, "it moves aliases only for a step, a promotion or an abort")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::rollout;

    type Edit = fn(&mut StageChange, &mut Rollout, &mut Release);

    const ONLY: &str = "it changes nothing but the canary";
    const ONE: &str = "it does one thing at a time";

    #[test]
    fn every_rule_rejects_a_change_that_breaks_it() {
        let edits: [(&str, Edit); 20] = [
            ("", |_, _, _| ()),
            (ONLY, |c, _, _| c.deployment = Some("d9".into())),
            (ONLY, |c, _, _| c.remove = vec!["a".into()]),
            (ONLY, |c, _, _| c.close = true),
            (ONLY, |c, _, _| c.stop_auto_deploy = true),
            ("it touches no canary but its own", |_, _, live| {
                live.canary.as_mut().unwrap().deployment = Some("d9".into());
            }),
            ("it sets the canary that it began with", |c, _, _| {
                c.put_canary.as_mut().unwrap().deployment = None;
            }),
            ("it moves traffic only to the next step", |_, r, _| r.state = RolloutState::Baking),
            ("the canary gets the share of the step", |c, _, _| {
                c.put_canary.as_mut().unwrap().percent = "100".into();
            }),
            ("the canary had the share of the step before", |_, _, live| {
                live.canary.as_mut().unwrap().percent = "7".into();
            }),
            ("the canary had the share of the step before", |_, _, live| live.canary = None),
            ("the base stays", |_, _, live| live.deployment = "d9".into()),
            (ONE, |c, _, _| c.remove_canary = true),
            (ONE, |c, _, _| c.promote_canary = true),
            (ONE, |c, _, _| *c = StageChange::default()),
            ("it promotes only after the last step, or for an operator", |c, _, _| {
                *c = StageChange { promote_canary: true, ..StageChange::default() };
            }),
            ("the base is that of the beginning", |c, r, live| {
                *c = StageChange { promote_canary: true, ..StageChange::default() };
                r.state = RolloutState::Promoting;
                live.deployment = "d9".into();
            }),
            ("it removes the canary only when it is promoted or aborted", |c, _, _| {
                *c = StageChange { remove_canary: true, ..StageChange::default() };
            }),
            ("", |c, r, _| {
                *c = StageChange { remove_canary: true, ..StageChange::default() };
                r.state = RolloutState::Aborting;
            }),
            ("", |c, r, _| {
                *c = StageChange { promote_canary: true, ..StageChange::default() };
                r.state = RolloutState::Promoting;
            }),
        ];
        for (nth, (rule, edit)) in edits.into_iter().enumerate() {
            let mut rollout = rollout(RolloutState::Moving);
            let mut live = rollout.in_step();
            live.canary.as_mut().unwrap().percent = "5".into();
            (rollout.step, rollout.from) = (1, Some(rollout.share()));
            let mut change = StageChange { put_canary: rollout.in_step().canary, ..StageChange::default() };
            edit(&mut change, &mut rollout, &mut live);
            let described = check_step(&change, &rollout, &live).err().unwrap_or_default();
            let described = described.strip_prefix("the rollout breaks a rule: ").unwrap_or(&described);
            assert_eq!(described, rule, "row {nth}");
        }
    }
}
