//! Begins a rollout: for a deployment that an operator names, or for the canary that is on the stage.

use std::collections::BTreeMap;

use super::record::{Replaced, replace};
use super::report::told;
use super::{Look, look};
use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::incidents::quarantines;
use crate::decide::rollout::may_begin;
use crate::model::cloud_error::CloudError;
use crate::model::observed::Observed;
use crate::model::reason::{Reason, stamp};
use crate::model::records::SCHEMA;
use crate::model::release::{Canary, Release};
use crate::model::report::{Outcome, Report};
use crate::model::rollout::{Percent, Rollout, RolloutState, Terms};
use crate::model::stage::StageRef;
use crate::observe::incidents;

/// What is asked of a new rollout.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The deployment; `None` adopts the canary that is on the stage.
    pub deployment: Option<String>,
    /// The terms; `None` takes those of the stage's policy.
    pub terms: Option<Terms>,
    /// Who asks.
    pub who: Option<String>,
    /// The label of the release.
    pub label: Option<String>,
    /// The note for the changelog.
    pub note: Option<String>,
}

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
        Ok(canary) => quarantine(context, stage, canary.deployment.as_deref().unwrap_or_default()).await?,
        Err(why) => return Ok(context.no(Reason::CannotRollOut(why))),
    };
    let rollout = match planned(context, &observed, asked, quarantine.as_deref()) {
        Ok(rollout) => rollout,
        Err(why) => return Ok(context.no(Reason::CannotRollOut(why))),
    };
    let exists = context.cloud.deployment(stage, rollout.deployment()).await?;
    if exists.is_none() {
        let why = format!("API `{}` has no deployment `{}`", stage.api, rollout.deployment());
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

/// Returns the canary that the rollout is to have.
fn wanted(observed: &Observed, asked: &Asked) -> Result<Canary, String> {
    let on_stage = observed.live.as_ref().and_then(|live| live.release.canary.clone());
    match (on_stage, &asked.deployment) {
        (Some(canary), wanted) if wanted.is_none() || *wanted == canary.deployment => Ok(canary),
        (Some(canary), Some(wanted)) => Err(format!(
            "the stage has a canary with deployment `{}`, not `{wanted}`",
            canary.deployment.as_deref().unwrap_or("that API Gateway does not name")
        )),
        (Some(_) | None, None) => Err(
            "the stage has no canary: name the deployment to roll out, or have your pipeline create a canary"
                .to_owned(),
        ),
        (None, Some(deployment)) => Ok(Canary {
            deployment: Some(deployment.clone()),
            percent: Percent::NONE.to_string(),
            overrides: BTreeMap::new(),
            uses_cache: false,
        }),
    }
}

/// Returns why a deployment is in quarantine on this stage, if it is: it was the live one, or the canary, of an incident
/// (`GetParametersByPath`). An incident that cannot be read may be about it.
async fn quarantine<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    deployment: &str,
) -> Result<Option<String>, CloudError> {
    let all = incidents::read(context, stage).await?;
    Ok(all.into_iter().find_map(|one| match one.incident {
        Err(why) => Some(format!("the parameter `{}` {why}", one.parameter)),
        Ok(incident) if !quarantines(&incident) => None,
        Ok(incident) => {
            let bad = &incident.bad.release;
            let canary = bad.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
            // The base of a bad canary is innocent.
            let is_it = canary.unwrap_or(&bad.deployment) == deployment;
            is_it.then(|| format!("it was rolled back at {} by `{}`", stamp(incident.at), incident.by))
        }
    }))
}

/// Plans the rollout.
fn planned<C>(
    context: &Context<'_, C>,
    observed: &Observed,
    asked: Asked,
    quarantine: Option<&str>,
) -> Result<Rollout, String> {
    let canary = wanted(observed, &asked)?;
    let deployment =
        canary.deployment.clone().ok_or("API Gateway does not name the deployment of the canary")?;
    let policy = context.config.policy.under(&observed.on_record.policy);
    may_begin(observed, &deployment, quarantine, &policy, observed.at)?;
    let live = observed.live.as_ref().ok_or("API Gateway has no such stage")?;
    let has_canary = live.release.canary.is_some();
    let from = has_canary.then(|| Percent::read(&canary.percent)).flatten();
    let asked_terms = asked.terms.or_else(|| observed.on_record.policy.rollout.clone());
    let terms = asked_terms.ok_or("neither the command nor the stage's policy says in which steps")?;
    terms.check()?;
    let terms = from_share(terms, from)?;
    let base = Release { canary: None, ..live.release.in_stage() };
    Ok(Rollout {
        schema: SCHEMA,
        id: context.id.to_owned(),
        base,
        canary: Canary { percent: Percent::NONE.to_string(), ..canary },
        terms,
        step: 0,
        from,
        state: RolloutState::Moving,
        since: observed.at,
        changed_at: None,
        live_since: None,
        started_at: observed.at,
        who: asked.who,
        label: asked.label,
        note: asked.note,
        told: false,
    })
}

/// The share that a canary already has is its first step, so that no traffic moves before a step has passed.
fn from_share(terms: Terms, from: Option<Percent>) -> Result<Terms, String> {
    let Some(from) = from.filter(|from| *from != Percent::NONE) else { return Ok(terms) };
    let above = terms.steps.iter().copied().filter(|step| *step > from);
    let terms = Terms { steps: std::iter::once(from).chain(above).collect(), ..terms };
    terms.check().map(|()| terms)
}
