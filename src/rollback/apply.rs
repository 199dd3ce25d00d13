//! Carries out a plan step by step, verifies each answer, and undoes the steps in reverse order if one is refused.
//! Makes no decisions.

use crate::cloud::{Components, Gateway};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::plan::StageChange;
use crate::model::plan::{Plan, Step};
use crate::model::release::Release;
use crate::model::stage::LiveStage;
use crate::model::stage::StageRef;

/// The result of applying a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The stage and its components serve the planned release.
    Done,
    /// Another run or deploy changes a component, or a call got no answer: observe and decide again. Completed
    /// steps stay, because the next pass continues from there.
    Again(CloudError),
    /// A step was refused, and the steps before it were undone.
    Refused {
        /// The cause.
        why: Refusal,
        /// The steps that were undone.
        undone: Vec<String>,
    },
    /// The stage or a component is in neither the old nor the planned state.
    Broken(String),
}

/// The cause of a refused step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The planned deployment does not exist.
    DeploymentGone,
    /// AWS refused the call with this error.
    Error(CloudError),
}

/// The result of one step.
enum StepResult {
    /// The step is done. For an alias, this is its new revision.
    Done(Option<String>),
    Again(CloudError),
    Refused(Refusal),
    Broken(String),
}

/// Applies a plan, one step after the other.
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
    if steps.is_empty() { what } else { format!("{what}; steps done before: {}", steps.join("; ")) }
}

/// Undoes the completed steps, the last one first. If one cannot be undone, the report lists all steps.
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
        Failure::Refused | Failure::NoSuchOperation | Failure::Other => {
            StepResult::Refused(Refusal::Error(error))
        }
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
        Ok(now) => StepResult::Broken(format!("the alias `{alias}` points at {}, not at {to}", now.target)),
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
        Ok(now) => StepResult::Broken(format!("the mapping `{mapping}` points at {now}, not at {to}")),
        Err(error) => unapplied(error),
    }
}

/// API Gateway's message for an unknown deployment: recorded for a canary's deployment, not documented for a stage's.
const NO_DEPLOYMENT: &str = "Deployment id does not exist";

/// One change of one stage.
#[derive(Clone, Copy)]
struct StageSwitch<'a> {
    stage: &'a StageRef,
    from: &'a Release,
    to: &'a Release,
    change: &'a StageChange,
}

impl StageSwitch<'_> {
    /// Makes the change with one `UpdateStage`, or with several if it has too many variables for one.
    async fn make<C: Gateway + Components>(self, cloud: &C) -> StepResult {
        let calls = self.change.calls(self.stage);
        let Some((first, rest)) = calls.split_first() else { return StepResult::Done(None) };
        let mut answer = match cloud.change_stage(self.stage, first).await {
            Ok(live) => live,
            Err(error) if error.failure == Failure::Refused => return self.refused(cloud, error).await,
            Err(error) => return unapplied(error),
        };
        for call in rest {
            answer = match cloud.change_stage(self.stage, call).await {
                Ok(live) => live,
                Err(error) => return self.seen(cloud, Some(error)).await,
            };
        }
        if self.shows(&answer) { StepResult::Done(None) } else { self.seen(cloud, None).await }
    }

    fn shows(self, live: &LiveStage) -> bool {
        live.release == *self.to && !(self.change.stop_auto_deploy && live.auto_deploy)
    }

    /// Finds out why API Gateway refused. Its message counts only if the deployment cannot be read. Whether a
    /// refused patch can change a stage is not documented, so the stage is read again.
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

    /// Makes the blocking change first, then the rest. If the rest fails, the first call is not undone: the stage
    /// is nearer to the plan than before, and the next pass continues from there.
    async fn one_by_one<C: Gateway + Components>(self, cloud: &C, calls: [StageChange; 2]) -> StepResult {
        let [first, rest] = calls;
        if let Err(error) = cloud.change_stage(self.stage, &first).await {
            return unapplied(error);
        }
        match cloud.change_stage(self.stage, &rest).await {
            Ok(live) if self.shows(&live) => StepResult::Done(None),
            Ok(live) => self.unlike(&live, None),
            Err(error)
                if matches!(error.failure, Failure::Refused | Failure::NoSuchOperation | Failure::Other) =>
            {
                StepResult::Broken(format!(
                    "{} is unchanged except that {}; {error}",
                    self.stage,
                    if first.stop_auto_deploy { "AutoDeploy is off" } else { "its canary is removed" }
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
                message: "the stage was deleted during the rollback".to_owned(),
            }),
        }
    }

    fn unlike(self, live: &LiveStage, error: Option<&CloudError>) -> StepResult {
        StepResult::Broken(format!(
            "{} serves deployment `{}` with {} stage variables{}{}",
            self.stage,
            live.release.deployment,
            live.release.variables.len(),
            if self.change.stop_auto_deploy && live.auto_deploy { " and AutoDeploy on" } else { "" },
            error.map(|error| format!("; {error}")).unwrap_or_default()
        ))
    }
}
