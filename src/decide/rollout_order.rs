//! Decides what an operator's order makes of a running rollout. Pure.

use super::rollout::differ;
use super::rollout_place::Place;
use crate::model::percent::Percent;
use crate::model::rollout::{At, Rollout, RolloutState, Terms};

/// An operator's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let nothing move, for this reason.
    Pause(Option<String>),
    /// Go on. The bake time of the step begins again.
    Resume,
    /// Skip the remaining steps.
    Promote,
    /// Remove the new release.
    Abort,
}

/// Returns the rollout after an order. `place` is what the stage serves, if the stage exists; `who` gave the order.
///
/// # Errors
/// Why the order cannot be carried out now, as a clause.
pub fn ordered(
    rollout: &Rollout,
    order: &Order,
    place: Option<&Place>,
    who: Option<String>,
) -> Result<Rollout, String> {
    let is_paused = matches!(rollout.state, RolloutState::Paused { .. });
    let on_its_way = matches!(rollout.state, RolloutState::Promoting | RolloutState::Aborting);
    let to = |state| Ok(Rollout { state, ..rollout.clone() });
    match order {
        _ if on_its_way => Err(format!("the rollout is already {}", rollout.state.word())),
        Order::Pause(_) if is_paused => Err("the rollout is paused already".to_owned()),
        Order::Resume if !is_paused => Err("the rollout is not paused".to_owned()),
        Order::Pause(why) => to(RolloutState::Paused {
            why: why.clone().unwrap_or_else(|| "no reason given".to_owned()),
            by: who,
        }),
        Order::Resume => Ok(Rollout {
            state: RolloutState::Moving,
            from: from(rollout, place, [rollout.from, Some(rollout.share())])?,
            changed_at: None,
            ..rollout.clone()
        }),
        // The new release keeps its share until it is promoted.
        Order::Promote => Ok(Rollout {
            state: RolloutState::Promoting,
            from: from(rollout, place, [None; 2])?,
            terms: Terms {
                steps: rollout.terms.steps.iter().copied().take(rollout.step + 1).collect(),
                ..rollout.terms.clone()
            },
            ..rollout.clone()
        }),
        Order::Abort => to(RolloutState::Aborting),
    }
}

/// Returns the share with which the new release goes on: what it has, or what it had before a step that a run has begun. `step` is
/// the share before the step and in it.
fn from(
    rollout: &Rollout,
    place: Option<&Place>,
    step: [Option<Percent>; 2],
) -> Result<Option<Percent>, String> {
    match place {
        Some(Place::Share(share)) => Ok(Some(*share)),
        Some(Place::Between(places)) => {
            let ends = step.map(|share| At::Share(share.unwrap_or(Percent::NONE)));
            let is_begun = step != [None; 2] && places.iter().all(|at| ends.contains(at));
            if is_begun { Ok(rollout.from) } else { Err(differ(places)) }
        }
        Some(Place::Changed(why)) => Err(why.clone()),
        // The canary is still to be removed.
        Some(Place::HalfPromoted) => Ok(rollout.from),
        // It was paused before its first step.
        Some(Place::Base) if rollout.has_not_begun() && step != [None; 2] => Ok(None),
        Some(Place::Base | Place::Promoted | Place::Other(_)) | None => {
            Err(format!("{} gets no traffic, so there is nothing to go on with", rollout.part()))
        }
    }
}
