//! What operators do with a running rollout: look at it, pause it, resume it, skip the rest of it, abort it.

use super::record::{Replaced, replace};
use super::{Look, look};
use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::rollout::requests_in_step;
use crate::decide::rollout_order::{Order, ordered};
use crate::decide::rollout_place::place;
use crate::model::cloud_error::CloudError;
use crate::model::reason::Reason;
use crate::model::report::{Details, Outcome, Report};
use crate::model::rollout::Rollout;
use crate::model::stage::StageRef;
use crate::model::status::RolloutStatus;

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
