//! What operators do with a running rollout: look at it, pause it, resume it, skip the rest of it, abort it.

use super::record::{Replaced, replace};
use super::{Look, look};
use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::rollout::{differ, requests_in_step};
use crate::decide::rollout_place::{Place, place};
use crate::model::cloud_error::CloudError;
use crate::model::percent::Percent;
use crate::model::reason::Reason;
use crate::model::report::{Details, Outcome, Report};
use crate::model::rollout::{At, Rollout, RolloutState, Terms};
use crate::model::stage::StageRef;
use crate::model::status::RolloutStatus;

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

/// Writes an operator's order into the record of the rollout (`PutParameter`). [`advance`](super::advance()) carries it out.
///
/// # Errors
/// A failed call.
pub async fn order<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    order: &Order,
    who: Option<String>,
) -> Result<Report, CloudError> {
    // An order that was overtaken is given again, on what is there now.
    for _ in 0..3 {
        let Look { observed, on_record, .. } = look(context, stage).await?;
        if let Err(why) = &observed.on_record.rollout {
            return Ok(context.no(Reason::NoRollout(why.clone())));
        }
        let running = on_record.filter(|(_, rollout)| !rollout.state.has_ended());
        let Some((version, rollout)) = running else {
            return Ok(
                context.no(Reason::NoRollout(format!("{stage} has no rollout that is running or paused")))
            );
        };
        let place = observed.live.as_ref().map(|live| place(&rollout, &live.release));
        let next = match ordered(&rollout, order, place.as_ref(), who.clone()) {
            Ok(next) => Rollout { since: context.clock(), told: false, ..next },
            Err(why) => return Ok(context.no(Reason::NoRollout(why))),
        };
        match replace(context, stage, version, &next).await? {
            Replaced::Ours => {
                let did = super::report::of(context, stage, &rollout, &next);
                let message = format!("{stage}: the rollout to {} is {}", next.name(), next.state.word());
                return Ok(did.unwrap_or_else(|| context.report(Outcome::Done, message)));
            }
            Replaced::Theirs => {}
            Replaced::TooLong(why) => return Ok(context.no(Reason::NoRollout(why))),
        }
    }
    Ok(context.no(Reason::NoRollout(
        "the rollout changed at the same time, three times: look at it again".to_owned(),
    )))
}

/// Returns the rollout after an order.
fn ordered(
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
        Some(Place::Base | Place::Promoted | Place::Other(_)) | None => {
            Err(format!("{} gets no traffic, so there is nothing to go on with", rollout.part()))
        }
    }
}

/// Reports where the last rollout of a stage stands. Writes nothing.
///
/// # Errors
/// A failed call.
pub async fn status<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Report, CloudError> {
    let Look { observed, .. } = look(context, stage).await?;
    let rollout = match &observed.on_record.rollout {
        Ok(Some((_, rollout))) => (**rollout).clone(),
        Ok(None) => return Ok(context.no(Reason::NoRollout(format!("{stage} never had a rollout")))),
        Err(why) => return Ok(context.no(Reason::NoRollout(why.clone()))),
    };
    let is_live = !rollout.state.has_ended();
    let requests = requests_in_step(&rollout, &observed).ok().filter(|_| is_live);
    let message = format!(
        "{stage}: the rollout to {} is {} (step {} of {}, {} %)",
        rollout.name(),
        rollout.state.word(),
        rollout.step + 1,
        rollout.terms.steps.len(),
        rollout.share()
    );
    let live = observed.live.map(|live| live.release);
    let details = Some(Details::Rollout(Box::new(RolloutStatus { rollout, requests })));
    Ok(Report { before: live.clone(), after: live, details, ..context.report(Outcome::Status, message) })
}
