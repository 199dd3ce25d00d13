//! Writes the claim: the create-only incident record that exactly one run wins. `decide::claim` holds its rules and
//! its time constants.

use std::pin::pin;

use super::apply::{Applied, apply};
use super::incident::not_on_record;
use crate::cloud::{Components, Gateway, Parameters, Write, Written, is_next};
use crate::context::Context;
use crate::decide::claim::{HEAD_START, comes_first, half_done_by, is_same, is_under_way, just_rolled_back};
use crate::model::observed::Observed;
use crate::model::plan::Plan;
use crate::model::records::{self, Incident};
use crate::model::release::Release;
use crate::model::stage::StageRef;

/// The result of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This run opened the incident.
    Won(Box<Incident>),
    /// Another run opened the incident first. This is its record.
    Lost(Box<Incident>),
    /// The incident could not be recorded, for this reason.
    Unwritten(Box<Incident>, String),
    /// Whether the incident is on record is not known: the run had to look again before its write was answered.
    Unfinished(Box<Incident>),
}

/// Claims a rollback: exactly one run creates the record of the incident (`PutParameter`). If a run dies between the
/// claim and its first step, the sweep completes the rollback.
pub async fn claim<C: Parameters>(context: &Context<'_, C>, plan: &Plan, incident: Incident) -> Claim {
    if let Some(other_run) = half_done_by_other_run(context, plan, &incident).await {
        return Claim::Lost(Box::new(other_run));
    }
    match create(context, &incident).await {
        Ok(None) => Claim::Won(Box::new(incident)),
        Ok(Some(other_run)) => Claim::Lost(Box::new(other_run)),
        Err(why) => Claim::Unwritten(Box::new(incident), why),
    }
}

/// Claims and applies a plan. If the plan has one step, the claim's request is sent first and neither waits for the
/// other. `incident` is what `claim` writes.
///
/// # Errors
/// The incident of another run that is rolling the stage back. Nothing was applied.
pub async fn claim_and_apply<C: Gateway + Components>(
    context: &Context<'_, C>,
    plan: &Plan,
    incident: &Incident,
    claim: impl Future<Output = Claim>,
    observed: &Observed,
) -> Result<(Claim, Applied), Box<Incident>> {
    let seen_at = context.instant(observed.seen_at);
    let mut claim = pin!(claim);
    if comes_first(plan)
        && let Ok(claim) = tokio::time::timeout(HEAD_START, &mut claim).await
    {
        return match claim {
            Claim::Lost(other_run) if is_under_way(&other_run, observed.at) => Err(other_run),
            Claim::Won(_) | Claim::Lost(_) | Claim::Unwritten(..) | Claim::Unfinished(_) => {
                Ok((claim, apply(context.cloud, plan, seen_at).await))
            }
        };
    }
    let mut applied = pin!(apply(context.cloud, plan, seen_at));
    tokio::select! {
        biased;
        claim = &mut claim => Ok((claim, applied.await)),
        applied = &mut applied => match applied {
            // Parameter Store can be far slower than API Gateway. The next pass begins at once, and claims again.
            Applied::Again(_) => Ok((Claim::Unfinished(Box::new(incident.clone())), applied)),
            Applied::Done | Applied::Refused { .. } | Applied::Broken(_) => Ok((claim.await, applied)),
        },
    }
}

/// Creates the record of the incident. Returns the incident of the run that created it first, if any.
async fn create<C: Parameters>(
    context: &Context<'_, C>,
    incident: &Incident,
) -> Result<Option<Incident>, String> {
    let name = context.config.names.incident(&incident.stage, &incident.bad.fingerprint());
    let value = records::print(incident)?;
    let put = async |write| {
        context.cloud.put_parameter(&name, &value, write).await.map_err(|error| not_on_record(&error))
    };
    if let Written::Version(_) = put(Write::Create).await? {
        return Ok(None);
    }
    let found = context.cloud.parameters(std::slice::from_ref(&name)).await;
    let found = found.map_err(|error| not_on_record(&error))?;
    let found = found.first().ok_or_else(|| format!("the parameter `{name}` exists but cannot be read"))?;
    let before: Incident =
        records::parse(&found.value).map_err(|why| format!("the parameter `{name}` {why}"))?;
    // A call whose answer was lost is repeated, so this run itself may be the first writer.
    if before == *incident {
        return Ok(None);
    }
    if is_same(incident, &before) {
        return Ok(Some(before));
    }
    // The release was redeployed, or a step of the last run was refused. Parameter Store numbers the versions, so only
    // one run gets the next number.
    match put(Write::Overwrite).await? {
        Written::Version(version) if version == found.version + 1 => Ok(None),
        Written::Version(_) | Written::Exists => {
            let is_ours = is_next(context.cloud, found, &value).await;
            let is_ours = is_ours.map_err(|error| not_on_record(&error))?;
            Ok(Some(before).filter(|_| !is_ours))
        }
    }
}

/// Returns the incident of another run whose half-done rollback this run found. An unreadable incident counts as none:
/// a second notification is better than no notification.
async fn half_done_by_other_run<C: Parameters>(
    context: &Context<'_, C>,
    plan: &Plan,
    ours: &Incident,
) -> Option<Incident> {
    if !plan.is_partly_done() {
        return None;
    }
    half_done_by(on_record(context, &plan.stage).await.into_iter(), ours)
}

/// Returns the incident whose rollback made the stage serve this release a moment ago, if any.
pub async fn just_rolled_back_by<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    live: &Release,
) -> Option<Incident> {
    just_rolled_back(on_record(context, stage).await.into_iter(), live, context.now)
}

/// Reads the incidents of a stage (`GetParametersByPath`). One that cannot be read counts as none.
async fn on_record<C: Parameters>(context: &Context<'_, C>, stage: &StageRef) -> Vec<Incident> {
    // The function's role allows listing only the path above all stages.
    let names = &context.config.names;
    let found = context.cloud.parameters_under(&names.stages()).await.unwrap_or_default();
    let ours_begin_with = names.all_incidents(stage);
    let ours = found.iter().filter(|found| found.name.starts_with(&ours_begin_with));
    ours.filter_map(|found| records::parse::<Incident>(&found.value).ok()).collect()
}
