//! Does what a plan says, looks at the answer, and says what came of it. Decides nothing.

use crate::cloud::{Cloud, CloudError, Failure, LiveStage, StageChange};
use crate::decide::Plan;

/// What came of applying a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The stage shows the planned release.
    Done,
    /// Somebody else changes the stage, or no answer came: read the world again, then decide again.
    Again(CloudError),
    /// API Gateway refused, because the planned deployment does not exist.
    DeploymentGone,
    /// API Gateway refused or failed; the stage is as it was.
    Failed(CloudError),
    /// The stage shows neither what it was nor what was planned.
    Unlike {
        /// The stage as it shows itself.
        live: Box<LiveStage>,
        /// The error that came with it, if any.
        error: Option<CloudError>,
    },
}

/// Applies a plan with one `UpdateStage`.
pub async fn apply<C: Cloud>(cloud: &C, plan: &Plan) -> Applied {
    match cloud.change_stage(&plan.stage, &plan.change).await {
        Ok(live) if live.release == plan.to => Applied::Done,
        Ok(_) => seen(cloud, plan, None).await,
        Err(error) if error.failure == Failure::Refused => refused(cloud, plan, error).await,
        Err(error) => unapplied(error),
    }
}

fn unapplied(error: CloudError) -> Applied {
    match error.failure {
        Failure::Conflict | Failure::NoAnswer | Failure::Missing => Applied::Again(error),
        Failure::Refused | Failure::Other => Applied::Failed(error),
    }
}

/// What API Gateway says of an unknown deployment, recorded for a canary's; for a stage's it is not documented.
const NO_DEPLOYMENT: &str = "Deployment id does not exist";

/// Why API Gateway refused. Its words are only trusted where the deployment cannot be asked for; and whether
/// a refused patch leaves nothing behind is not documented, so the stage is looked at.
async fn refused<C: Cloud>(cloud: &C, plan: &Plan, error: CloudError) -> Applied {
    let deployment = cloud.deployment(&plan.stage.api, &plan.to.deployment).await;
    let exists = deployment.map_or_else(
        |_| if error.message.contains(NO_DEPLOYMENT) { Some(false) } else { None },
        |found| Some(found.is_some()),
    );
    let seen = seen(cloud, plan, Some(error)).await;
    match (&seen, exists, plan.in_two_calls()) {
        (Applied::Failed(_), Some(false), _) => Applied::DeploymentGone,
        (Applied::Failed(_), Some(true), Some(calls)) => one_by_one(cloud, plan, calls).await,
        _ => seen,
    }
}

/// The canary first, then the rest. If the rest fails the canary stays off: that is nearer to the plan than
/// before, and the next look at the stage goes on from there.
async fn one_by_one<C: Cloud>(cloud: &C, plan: &Plan, calls: [StageChange; 2]) -> Applied {
    let mut last = Applied::Done;
    for change in calls {
        last = match cloud.change_stage(&plan.stage, &change).await {
            Ok(live) if live.release == plan.to => Applied::Done,
            Ok(live) => Applied::Unlike { live: Box::new(live), error: None },
            Err(error) => return unapplied(error),
        };
    }
    last
}

async fn seen<C: Cloud>(cloud: &C, plan: &Plan, error: Option<CloudError>) -> Applied {
    match (cloud.stage(&plan.stage).await, error) {
        (Ok(Some(live)), _) if live.release == plan.to => Applied::Done,
        (Ok(Some(live)), Some(error)) if live.release == plan.from => Applied::Failed(error),
        (Ok(Some(live)), error) => Applied::Unlike { live: Box::new(live), error },
        (_, Some(error)) | (Err(error), None) => Applied::Again(error),
        (Ok(None), None) => Applied::Again(CloudError {
            failure: Failure::Missing,
            operation: "GetStage",
            subject: plan.stage.to_string(),
            code: "NotFoundException".to_owned(),
            message: "the stage was deleted while it was put back".to_owned(),
        }),
    }
}
