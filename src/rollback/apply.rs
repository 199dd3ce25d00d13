//! Does what a plan says, step by step, looks at each answer, and undoes in reverse where a step is refused.
//! Decides nothing.

use crate::cloud::{Components, Gateway};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::release::Release;
use crate::model::stage::LiveStage;
use crate::model::stage::StageRef;

/// What came of applying a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Everything shows the planned release.
    Done,
    /// Somebody else changes a part, or no answer came: read the world again, then decide again. What is done
    /// stays done, because the next look goes on from there.
    Again(CloudError),
    /// A step was refused; everything is as it was.
    Refused {
        /// Why.
        why: Refusal,
        /// The steps that were done and are undone.
        undone: Vec<String>,
    },
    /// Something is neither as it was nor as planned.
    Broken(String),
}

/// Why a step was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The planned deployment does not exist.
    DeploymentGone,
    /// Whatever AWS says.
    Error(CloudError),
}

/// What came of one step.
enum StepResult {
    /// It is done; the revision that an alias has now.
    Done(Option<String>),
    Again(CloudError),
    Refused(Refusal),
    Broken(String),
}

/// Applies a plan.
pub async fn apply<C: Gateway + Components>(cloud: &C, plan: &Plan) -> Applied {
    let mut done: Vec<(&Step, Option<String>)> = Vec::new();
    for step in &plan.steps {
        let stepped = match step {
            Step::Alias { alias, to, revision, .. } => move_alias(cloud, alias, to, revision).await,
            Step::Stage { from, to, change } => {
                StageSwitch { stage: &plan.stage, from, to, change }.make(cloud).await
            }
            Step::Mapping { mapping, id, to, .. } => move_mapping(cloud, mapping, id.as_deref(), to).await,
        };
        match stepped {
            StepResult::Done(revision) => done.push((step, revision)),
            StepResult::Again(error) => return Applied::Again(error),
            StepResult::Broken(what) => return Applied::Broken(with_steps_done(what, &done)),
            StepResult::Refused(why) => return undo(cloud, plan, done, why).await,
        }
    }
    Applied::Done
}

fn with_steps_done(what: String, done: &[(&Step, Option<String>)]) -> String {
    let steps: Vec<String> = done.iter().map(|(step, _)| step.to_string()).collect();
    if steps.is_empty() { what } else { format!("{what}; done before that: {}", steps.join("; ")) }
}

/// Undoes what was done, the last step first. What cannot be undone is left for a person, who is told of all.
async fn undo<C: Gateway + Components>(
    cloud: &C,
    plan: &Plan,
    mut done: Vec<(&Step, Option<String>)>,
    why: Refusal,
) -> Applied {
    let mut undone = Vec::new();
    while let Some((step, revision)) = done.pop() {
        let stepped = match step {
            Step::Alias { alias, from, .. } => {
                move_alias(cloud, alias, from, revision.as_deref().unwrap_or_default()).await
            }
            Step::Stage { from, to, .. } => {
                let change = StageChange::between(&plan.stage, to, from);
                StageSwitch { stage: &plan.stage, from: to, to: from, change: &change }.make(cloud).await
            }
            Step::Mapping { mapping, id, from, .. } => {
                move_mapping(cloud, mapping, id.as_deref(), from).await
            }
        };
        let trouble = match stepped {
            StepResult::Done(_) => {
                undone.push(step.to_string());
                continue;
            }
            StepResult::Again(error) | StepResult::Refused(Refusal::Error(error)) => error.to_string(),
            StepResult::Refused(Refusal::DeploymentGone) => "its deployment does not exist".to_owned(),
            StepResult::Broken(what) => what,
        };
        let cause = match why {
            Refusal::DeploymentGone => "the known-good deployment does not exist".to_owned(),
            Refusal::Error(error) => error.to_string(),
        };
        let undone = if undone.is_empty() { "nothing".to_owned() } else { undone.join("; ") };
        let what = format!("{cause}; undoing ({step}) failed: {trouble}; undone: {undone}");
        return Applied::Broken(with_steps_done(what, &done));
    }
    Applied::Refused { why, undone }
}

fn unapplied(error: CloudError) -> StepResult {
    match error.failure {
        Failure::Conflict | Failure::NoAnswer | Failure::Missing => StepResult::Again(error),
        Failure::Refused | Failure::Other => StepResult::Refused(Refusal::Error(error)),
    }
}

async fn move_alias<C: Gateway + Components>(
    cloud: &C,
    alias: &AliasRef,
    to: &AliasTarget,
    revision: &str,
) -> StepResult {
    match cloud.move_alias(alias, to, revision).await {
        Ok(now) if now.target == *to => StepResult::Done(Some(now.revision)),
        Ok(now) => StepResult::Broken(format!("the alias `{alias}` shows {}, not {to}", now.target)),
        Err(error) => unapplied(error),
    }
}

async fn move_mapping<C: Gateway + Components>(
    cloud: &C,
    mapping: &MappingRef,
    id: Option<&str>,
    to: &MappingTarget,
) -> StepResult {
    match cloud.move_mapping(mapping, id, to).await {
        Ok(now) if now == *to => StepResult::Done(None),
        Ok(now) => StepResult::Broken(format!("the mapping `{mapping}` shows {now}, not {to}")),
        Err(error) => unapplied(error),
    }
}

/// What API Gateway says of an unknown deployment, recorded for a canary's; for a stage's it is not documented.
const NO_DEPLOYMENT: &str = "Deployment id does not exist";

/// One change of a stage.
#[derive(Clone, Copy)]
struct StageSwitch<'a> {
    stage: &'a StageRef,
    from: &'a Release,
    to: &'a Release,
    change: &'a StageChange,
}

impl StageSwitch<'_> {
    /// Makes it with one `UpdateStage`.
    async fn make<C: Gateway + Components>(self, cloud: &C) -> StepResult {
        match cloud.change_stage(self.stage, self.change).await {
            Ok(live) if self.shows(&live) => StepResult::Done(None),
            Ok(_) => self.seen(cloud, None).await,
            Err(error) if error.failure == Failure::Refused => self.refused(cloud, error).await,
            Err(error) => unapplied(error),
        }
    }

    fn shows(self, live: &LiveStage) -> bool {
        live.release == *self.to && !(self.change.stop_auto_deploy && live.auto_deploy)
    }

    /// Why API Gateway refused. Its words are only trusted where the deployment cannot be asked for; and
    /// whether a refused patch leaves nothing behind is not documented, so the stage is looked at.
    async fn refused<C: Gateway + Components>(self, cloud: &C, error: CloudError) -> StepResult {
        let deployment = cloud.deployment(self.stage, &self.to.deployment).await;
        let exists = deployment.map_or_else(
            |_| if error.message.contains(NO_DEPLOYMENT) { Some(false) } else { None },
            |found| Some(found.is_some()),
        );
        let seen = self.seen(cloud, Some(error)).await;
        match (&seen, exists, self.change.in_two_calls()) {
            (StepResult::Refused(_), Some(false), _) => StepResult::Refused(Refusal::DeploymentGone),
            (StepResult::Refused(_), Some(true), Some(calls)) => self.one_by_one(cloud, calls).await,
            _ => seen,
        }
    }

    /// What stands in the way first, then the rest. If the rest fails, what stood in the way stays off: that
    /// is nearer to the plan than before, and the next look at the stage goes on from there.
    async fn one_by_one<C: Gateway + Components>(self, cloud: &C, calls: [StageChange; 2]) -> StepResult {
        let [first, rest] = calls;
        if let Err(error) = cloud.change_stage(self.stage, &first).await {
            return unapplied(error);
        }
        match cloud.change_stage(self.stage, &rest).await {
            Ok(live) if self.shows(&live) => StepResult::Done(None),
            Ok(live) => self.unlike(&live, None),
            Err(error) if matches!(error.failure, Failure::Refused | Failure::Other) => {
                StepResult::Broken(format!(
                    "{} has {} off and is otherwise as it was; {error}",
                    self.stage,
                    if first.stop_auto_deploy { "AutoDeploy" } else { "its canary" }
                ))
            }
            Err(error) => unapplied(error),
        }
    }

    async fn seen<C: Gateway + Components>(self, cloud: &C, error: Option<CloudError>) -> StepResult {
        match (cloud.stage(self.stage).await, error) {
            (Ok(Some(live)), _) if self.shows(&live) => StepResult::Done(None),
            (Ok(Some(live)), Some(error)) if live.release == *self.from => {
                StepResult::Refused(Refusal::Error(error))
            }
            (Ok(Some(live)), error) => self.unlike(&live, error.as_ref()),
            (_, Some(error)) | (Err(error), None) => StepResult::Again(error),
            (Ok(None), None) => StepResult::Again(CloudError {
                failure: Failure::Missing,
                operation: "GetStage",
                subject: self.stage.to_string(),
                code: "NotFoundException".to_owned(),
                message: "the stage was deleted while it was put back".to_owned(),
            }),
        }
    }

    fn unlike(self, live: &LiveStage, error: Option<&CloudError>) -> StepResult {
        StepResult::Broken(format!(
            "{} shows deployment `{}` with {} stage variables{}{}",
            self.stage,
            live.release.deployment,
            live.release.variables.len(),
            if self.change.stop_auto_deploy && live.auto_deploy { " and AutoDeploy on" } else { "" },
            error.map(|error| format!("; {error}")).unwrap_or_default()
        ))
    }
}
