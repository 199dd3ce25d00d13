//! The pin: a parked stage that points at the known-good deployment, so that API Gateway refuses to delete
//! it. CloudFormation, CDK and Terraform delete a deployment as soon as the stage uses another one.

use tokio::time::Instant;

use crate::cloud::{Gateway, Look, Seen};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::observed::{MARK, Pin};
use crate::model::plan::StageChange;
use crate::model::release::Release;
use crate::model::stage::{LiveStage, StageRef};

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
    let mut look = cloud.look(&parked).await.map_err(described)?;
    match Pin::from_parked_stage(look.live.as_ref()) {
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
                Err(error) if error.failure == Failure::Conflict => {
                    look = cloud.look(&parked).await.map_err(described)?;
                    if !matches!(Pin::from_parked_stage(look.live.as_ref()), Pin::Holds { .. }) {
                        return Err(described(error));
                    }
                }
                created => {
                    created.map_err(described)?;
                    let release = Release { deployment: deployment.to_owned(), ..Release::default() };
                    look = Look {
                        live: Some(LiveStage { release, ..LiveStage::default() }),
                        at: Instant::now(),
                    };
                }
            }
        }
    }
    let seen = look.live.unwrap_or_default().release;
    let seen = Seen { what: &seen, at: look.at };
    cloud.change_stage(&parked, &moved, seen).await.map(|_| ()).map_err(described)
}
