//! The pin: a parked stage that points at the known-good deployment, so that API Gateway refuses to delete
//! it. CloudFormation, CDK and Terraform delete a deployment as soon as the stage has moved on.

use crate::cloud::Gateway;
use crate::model::cloud_error::CloudError;
use crate::model::observed::MARK;
use crate::model::observed::Pin;
use crate::model::plan::StageChange;
use crate::model::stage::StageRef;

/// Moves the pin of a stage to a deployment. Reads first; a pin that is right is left alone.
///
/// # Errors
/// A sentence on what stood in the way. The record stands without a pin, and says so.
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
                "the known-good deployment is not pinned: {parked} exists and is not described as `{MARK}`; \
                 rename that stage, or set PIN to off"
            ));
        }
        Pin::None => {
            let description = format!(
                "{MARK}: keeps the known-good deployment of stage {} from being deleted. Serves nobody.",
                stage.stage
            );
            cloud.create_stage(&parked, deployment, &description).await.map_err(described)?;
        }
    }
    cloud.change_stage(&parked, &moved).await.map(|_| ()).map_err(described)
}
