//! The pin: a parked stage that points at the known-good deployment, so that API Gateway refuses to delete
//! it. CloudFormation, CDK and Terraform delete a deployment as soon as the stage uses another one.

use crate::cloud::Gateway;
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::observed::MARK;
use crate::model::observed::Pin;
use crate::model::plan::StageChange;
use crate::model::stage::StageRef;

/// Moves the pin of a stage to a deployment (`GetStage`, then `CreateStage` or `UpdateStage`). A correct pin is left
/// alone.
///
/// # Errors
/// A sentence that says why the deployment is not pinned. The release stays recorded nevertheless.
pub async fn move_to<C: Gateway>(cloud: &C, stage: &StageRef, deployment: &str) -> Result<(), String> {
    let parked = stage.parked();
    let described = |error: CloudError| format!("the known-good deployment is not pinned: {error}");
    let moved =
        StageChange { deployment: Some(deployment.to_owned()), close: true, ..StageChange::default() };
    match Pin::from_parked_stage(cloud.stage(&parked).await.map_err(described)?.as_ref()) {
        Pin::Holds { deployment: held, closed: true } if held == deployment => return Ok(()),
        Pin::Holds { .. } => {}
        Pin::Foreign => {
            return Err(format!(
                "the known-good deployment is not pinned: the description of {parked} does not begin with `{MARK}`; \
                 rename that stage, or set PIN to off"
            ));
        }
        Pin::None => {
            let description = format!(
                "{MARK}: keeps the known-good deployment of stage {} from being deleted. Serves no traffic.",
                stage.stage
            );
            match cloud.create_stage(&parked, deployment, &description).await {
                // Another run created it, or this one did and lost the answer. It is closed below.
                Err(error) if error.failure == Failure::Conflict && is_parked(cloud, &parked).await => {}
                created => created.map_err(described)?,
            }
        }
    }
    cloud.change_stage(&parked, &moved).await.map(|_| ()).map_err(described)
}

async fn is_parked<C: Gateway>(cloud: &C, parked: &StageRef) -> bool {
    let found = cloud.stage(parked).await;
    found.is_ok_and(|found| matches!(Pin::from_parked_stage(found.as_ref()), Pin::Holds { .. }))
}
