//! The pin: a parked stage that points at the known-good deployment, so that API Gateway refuses to delete
//! it. CloudFormation, CDK and Terraform delete a deployment as soon as the stage uses another one.

use tokio::time::Instant;

use crate::cloud::{Gateway, Look, Parameters, Seen};
use crate::context::Context;
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::observed::{self, FOREIGN_PIN, MARK, Pin, protected_by_other};
use crate::model::plan::StageChange;
use crate::model::release::Release;
use crate::model::stage::{LiveStage, StageRef};

/// The code with which API Gateway refuses one more stage than an API may have (`CreateStage`).
const QUOTA: &str = "LimitExceededException";

/// Why a deployment is not pinned.
#[derive(Debug, thiserror::Error)]
pub enum NotPinned {
    /// A call failed.
    #[error("the known-good deployment is not pinned: {0}")]
    Failed(#[from] CloudError),
    /// A stage with the parked stage's name exists, but the function did not create it.
    #[error(
        "the known-good deployment is not pinned: the description of {0} does not begin with `{MARK}`, so the function did \
         not create that stage; {FOREIGN_PIN}"
    )]
    Foreign(StageRef),
    /// API Gateway refuses one more stage.
    #[error(
        "the known-good deployment is not pinned: the API has no room for one more stage ({0}); delete a stage that nobody \
         uses, or have the quota of stages for each API raised"
    )]
    Full(CloudError),
    /// Another function protects the stage.
    #[error("{0}")]
    Other(String),
}

/// Moves the pin of a stage to the deployment of this version of its record (`GetStage` and `GetParameters`, then `CreateStage` or `UpdateStage`). A correct
/// pin is left alone, and so is any pin once another deployment is known-good: the run that recorded that one moves it.
///
/// # Errors
/// Why the deployment is not pinned. The release stays recorded nevertheless.
pub async fn move_to<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    (deployment, version): (&str, i64),
) -> Result<(), NotPinned> {
    let (cloud, prefix) = (context.cloud, context.config.names.prefix());
    let parked = stage.parked();
    let moved =
        StageChange { deployment: Some(deployment.to_owned()), close: true, ..StageChange::default() };
    let mut look = cloud.look(&parked).await?;
    let pin = Pin::from_parked_stage(look.live.as_ref(), prefix);
    let is_right = matches!(&pin, Pin::Holds { deployment: held, closed: true } if held == deployment);
    if is_right || is_outdated(context, stage, (deployment, version)).await? {
        return Ok(());
    }
    match pin {
        Pin::Holds { .. } => {}
        Pin::Foreign => return Err(NotPinned::Foreign(parked)),
        Pin::Other(owner) => return Err(NotPinned::Other(protected_by_other(stage, &owner))),
        Pin::None => {
            let description = Pin::description(stage, prefix);
            match cloud.create_stage(&parked, deployment, &description, &context.config.tags).await {
                // Another run created it, or this one did and lost the answer. It is closed below.
                Err(error) if error.failure == Failure::Conflict => {
                    look = cloud.look(&parked).await?;
                    if !matches!(Pin::from_parked_stage(look.live.as_ref(), prefix), Pin::Holds { .. }) {
                        return Err(error.into());
                    }
                }
                Err(error) if error.code == QUOTA => return Err(NotPinned::Full(error)),
                created => {
                    created?;
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
    cloud.change_stage(&parked, &moved, seen).await?;
    Ok(())
}

/// Returns whether another deployment has become known-good. A run can have read the record before another run replaced it.
async fn is_outdated<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    (deployment, version): (&str, i64),
) -> Result<bool, CloudError> {
    let name = context.config.names.known_good(stage);
    let found = context.cloud.parameters(std::slice::from_ref(&name)).await?;
    // An answer can also be older than what this run has just written.
    let newer = found.iter().find(|found| found.name == name && found.version > version);
    let newest = newer.and_then(|newer| observed::usable(&newer.value, stage, &context.config.region).ok());
    Ok(newest.is_some_and(|newest| newest.release.deployment != deployment))
}
