//! Begins a rollout: of what an operator names, or of the canary or the weights that are on the stage.

use super::record::{Replaced, replace};
use super::report::told;
use super::{Look, look};
use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::rollout_begin::{Arrival, Asked, planned, wanted};
use crate::model::cloud_error::CloudError;
use crate::model::reason::{Reason, stamp};
use crate::model::report::{Outcome, Report};
use crate::model::rollout::Rollout;
use crate::model::stage::StageRef;
use crate::observe::incidents;

/// Begins a rollout, and records it (`PutParameter`). The stage itself is changed by [`advance`](super::advance()).
///
/// # Errors
/// A failed call.
pub async fn start<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    asked: Asked,
) -> Result<Report, CloudError> {
    let Look { observed, on_record, .. } = look(context, stage).await?;
    if let Some(running) = observed.on_record.running() {
        let why = format!(
            "a rollout to {} runs since {}, started by {}",
            running.name(),
            stamp(running.started_at),
            running.who.as_deref().unwrap_or("somebody unknown")
        );
        return Ok(context.no(Reason::RolloutRunning(why)));
    }
    let quarantine = match wanted(&observed, &asked) {
        Ok(arrival) => quarantine(context, stage, &arrival).await?,
        Err(why) => return Ok(context.no(Reason::CannotRollOut(why))),
    };
    let policy = context.config.policy.under(&observed.on_record.policy);
    let rollout = match planned(&observed, asked, quarantine.as_deref(), &policy, context.id) {
        Ok(rollout) => rollout,
        Err(why) => return Ok(context.no(Reason::CannotRollOut(why))),
    };
    if let Some(why) = missing(context, stage, &rollout).await? {
        return Ok(context.no(Reason::CannotRollOut(why)));
    }
    let version = on_record.map_or(0, |(version, _)| version);
    Ok(match replace(context, stage, version, &rollout).await? {
        Replaced::Ours => {
            let message = format!("{stage}: a rollout to {} begins: {}", rollout.name(), plan(&rollout));
            told(context.report(Outcome::RolloutStarted, message), &rollout)
        }
        Replaced::Theirs => {
            context.no(Reason::RolloutRunning("another rollout was started at the same time".to_owned()))
        }
        Replaced::TooLong(why) => context.no(Reason::CannotRollOut(why)),
    })
}

fn plan(rollout: &Rollout) -> String {
    let steps: Vec<String> = rollout.terms.steps.iter().map(|step| format!("{step} %")).collect();
    format!(
        "{} of the traffic, for {} s and at least {} requests each",
        steps.join(", "),
        rollout.terms.bake_seconds,
        rollout.terms.min_requests
    )
}

/// Returns what of the new release does not exist, as a clause (`GetDeployment`, `GetFunctionConfiguration`).
async fn missing<C: Gateway + Components>(
    context: &Context<'_, C>,
    stage: &StageRef,
    rollout: &Rollout,
) -> Result<Option<String>, CloudError> {
    if let Some(deployment) = rollout.deployment() {
        let exists = context.cloud.deployment(stage, deployment).await?.is_some();
        return Ok((!exists).then(|| format!("API `{}` has no deployment `{deployment}`", stage.api)));
    }
    for (alias, version) in &rollout.versions {
        if !context.cloud.has_version(alias, version).await? {
            return Ok(Some(format!("the function of the alias `{alias}` has no version {version}")));
        }
    }
    Ok(None)
}

/// Returns why a new release is in quarantine on this stage, if it is (`GetParametersByPath`). An incident that cannot be read
/// may be about it.
async fn quarantine<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    arrival: &Arrival,
) -> Result<Option<String>, CloudError> {
    let all = incidents::read(context, stage).await?;
    Ok(all.into_iter().find_map(|one| match one.incident {
        Err(why) => Some(format!("the parameter `{}` {why}", one.parameter)),
        Ok(incident) => arrival.is_in(&incident),
    }))
}
