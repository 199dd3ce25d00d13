//! How the twin's API Gateway changes a stage.

use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::plan::StageChange;
use apigw_rollback::model::stage::{LiveStage, StageRef};
use chrono::SubsecRound;

use super::{Facts, error};

/// Applies a change as API Gateway does: all of it or none, with API Gateway's refusals.
pub(super) fn change(
    facts: &mut Facts,
    stage: &StageRef,
    change: &StageChange,
) -> Result<LiveStage, CloudError> {
    let mut live =
        facts.stages.get(stage).cloned().ok_or_else(|| {
            error(Failure::Missing, "NotFoundException", "Invalid stage identifier specified")
        })?;
    if live.managed {
        return Err(error(Failure::Refused, "BadRequestException", "The stage is managed by API Gateway"));
    }
    // API Gateway accepts 80 operations; where the limit is, is not documented.
    if !stage.protocol.is_v2() && change.set.len() + change.remove.len() > 80 {
        let why = "Update size too large. Try updating stage in multiple UpdateStage operations";
        return Err(error(Failure::Refused, "BadRequestException", why));
    }
    let in_the_way = if stage.protocol.is_v2() {
        "Deployment ID cannot be set on this stage because AutoDeploy is enabled"
    } else {
        "Non canary deployment not supported on a stage with canary settings"
    };
    let clears = change.remove_canary || change.stop_auto_deploy;
    if clears && change.deployment.is_some() && facts.refuses_combined_change {
        return Err(error(Failure::Refused, "BadRequestException", in_the_way));
    }
    live.auto_deploy &= !change.stop_auto_deploy;
    if change.promote_canary {
        let Some(canary) = &mut live.release.canary else {
            let why = "Promotion not available. Canary does not exist.";
            return Err(error(Failure::Refused, "BadRequestException", why));
        };
        "0".clone_into(&mut canary.percent);
        live.release.deployment = canary.deployment.clone().unwrap_or_default();
        live.release.variables.extend(canary.overrides.clone());
    }
    let wanted = change.put_canary.as_ref().and_then(|canary| canary.deployment.clone());
    if wanted.is_some_and(|id| !facts.deployments.contains(&(stage.api.clone(), id))) {
        return Err(error(Failure::Refused, "BadRequestException", "Deployment id does not exist"));
    }
    if change.remove_canary {
        live.release.canary = None;
    }
    if let Some(deployment) = &change.deployment {
        if !facts.deployments.contains(&(stage.api.clone(), deployment.clone())) {
            return Err(error(Failure::Refused, "BadRequestException", "Deployment id does not exist"));
        }
        if live.release.canary.is_some() || live.auto_deploy {
            return Err(error(Failure::Refused, "BadRequestException", in_the_way));
        }
        live.release.deployment.clone_from(deployment);
    }
    live.release.variables.extend(change.set.clone());
    live.release.variables.retain(|name, _| !change.remove.contains(name));
    live.closed |= change.close;
    live.release.canary = change.put_canary.clone().or(live.release.canary);
    // API Gateway's times are whole seconds.
    live.updated_at = Some(facts.now.trunc_subsecs(0));
    if let Some(shown) = &facts.stage_shows {
        live.release = shown.clone();
    }
    facts.serve(stage, live.clone());
    Ok(live)
}
