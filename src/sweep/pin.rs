//! The pin: a parked stage that points at the known-good deployment, so that API Gateway refuses to delete
//! it. CloudFormation, CDK and Terraform delete a deployment as soon as the stage has moved on.

use crate::cloud::{Cloud, CloudError, LiveStage, StageChange};
use crate::model::release::StageRef;

/// How a parked stage's description begins; a stage without it is somebody else's and left alone.
pub const MARK: &str = "Parked by apigw-rollback";

/// What is known of a stage's pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// It holds this deployment, closed to traffic or not.
    Holds {
        /// The deployment.
        deployment: String,
        /// Whether requests to it are refused.
        closed: bool,
    },
    /// There is no parked stage.
    None,
    /// A stage of that name exists and is not ours.
    Foreign,
}

/// What a parked stage says of the pin.
#[must_use]
pub fn read(parked: Option<LiveStage>) -> Pin {
    match parked {
        None => Pin::None,
        Some(live) if !live.description.starts_with(MARK) => Pin::Foreign,
        Some(live) => Pin::Holds { deployment: live.release.deployment, closed: live.closed },
    }
}

/// Moves the pin of a stage to a deployment. Reads first; a pin that is right is left alone.
///
/// # Errors
/// A sentence on what stood in the way. The record stands without a pin, and says so.
pub async fn move_to<C: Cloud>(cloud: &C, stage: &StageRef, deployment: &str) -> Result<(), String> {
    let parked = stage.parked();
    let told = |error: CloudError| format!("the known-good deployment is not pinned: {error}");
    let moved =
        StageChange { deployment: Some(deployment.to_owned()), close: true, ..StageChange::default() };
    match read(cloud.stage(&parked).await.map_err(told)?) {
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
            cloud.create_stage(&parked, deployment, &description).await.map_err(told)?;
        }
    }
    cloud.change_stage(&parked, &moved).await.map(|_| ()).map_err(told)
}
