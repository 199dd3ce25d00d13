//! Carries out a plan step by step, and verifies each answer. Makes no decisions.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::undo::undo;
use crate::cloud::{Components, Gateway, Seen};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::plain::counted;
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
pub(super) enum StepResult {
    /// The step is done. For an alias, this is its new revision.
    Done(Option<String>),
    Again(CloudError),
    Refused(Refusal),
    Broken(String),
}

/// Applies a plan, one step after the other. `seen_at` is when the state that the plan rests on was read.
pub async fn apply<C: Gateway + Components>(cloud: &C, plan: &Plan, seen_at: Instant) -> Applied {
    if let Some(changed) = stage_changed(cloud, plan).await {
        return Applied::Again(changed);
    }
    let mut done: Vec<StepDone<'_>> = Vec::new();
    for step in &plan.steps {
        let stepped = match step {
            Step::Alias { alias, to, revision, .. } => move_alias(cloud, alias, to, revision).await,
            Step::Stage { from, to, change } => {
                StageSwitch { stage: &plan.stage, from, to, change, seen_at }.make(cloud).await
            }
            Step::Mapping { mapping, id, from, to } => {
                move_mapping(cloud, mapping, id.as_deref(), to, Seen { what: from, at: seen_at }).await
            }
        };
        match stepped {
            StepResult::Done(revision) => done.push(StepDone { step, revision, at: Instant::now() }),
            StepResult::Again(error) => return Applied::Again(error),
            StepResult::Broken(what) => return Applied::Broken(with_steps_done(what, &done)),
            StepResult::Refused(why) => return undo(cloud, plan, done, why).await,
        }
    }
    Applied::Done
}

/// Looks once more at the stage if the plan moves only its components: they were read after the stage, so a deploy in between
/// would look like a component that somebody has moved (`GetStage`). Other plans change the stage, which looks at it again.
async fn stage_changed<C: Gateway + Components>(cloud: &C, plan: &Plan) -> Option<CloudError> {
    if plan.change().is_some() {
        return None;
    }
    let now = match cloud.stage(&plan.stage).await {
        Ok(now) => now.map(|live| live.release.in_stage()),
        Err(error) => return Some(error),
    };
    let has_changed = now.as_ref() != Some(&plan.from.in_stage());
    has_changed.then(|| CloudError::changed_meanwhile("GetStage", &plan.stage.to_string()))
}

/// How long a look that does not show the plan may be out of date.
const OUT_OF_DATE: Duration = Duration::from_millis(500);

/// Looks once more at everything that a plan of several steps has changed. Others may have changed an earlier part before the
/// last step was done. Returns what is not as planned; a part that cannot be read is as its own answer showed it.
pub(super) async fn last_look<C: Gateway + Components>(cloud: &C, plan: &Plan) -> Option<String> {
    if plan.steps.len() < 2 {
        return None;
    }
    let looks = plan.steps.iter().map(|step| async move {
        differs(cloud, &plan.stage, step).await?;
        // A read can be older than the change that it follows.
        tokio::time::sleep(OUT_OF_DATE).await;
        differs(cloud, &plan.stage, step).await
    });
    let found: Vec<String> = join_all(looks).await.into_iter().flatten().collect();
    (!found.is_empty()).then(|| format!("somebody else changed it meanwhile: {}", found.join("; ")))
}

/// Reads what a step has changed. Returns what it is, if not as planned.
async fn differs<C: Gateway + Components>(cloud: &C, stage: &StageRef, step: &Step) -> Option<String> {
    match step {
        Step::Alias { alias, to, .. } => {
            let now = cloud.alias(alias).await.ok()?.map(|now| now.target);
            let is_there = now.as_ref() == Some(to);
            let now = now.map_or("nothing".to_owned(), |now| now.to_string());
            (!is_there).then(|| format!("the alias `{alias}` points at {now}, not at {to}"))
        }
        Step::Mapping { mapping, to, .. } => {
            let now = cloud.mapping(stage.protocol, mapping).await.ok()?.map(|now| now.target);
            let is_there = now.as_ref() == Some(to);
            let now = now.map_or("nothing".to_owned(), |now| now.to_string());
            (!is_there).then(|| format!("the mapping `{mapping}` points at {now}, not at {to}"))
        }
        Step::Stage { to, .. } => {
            let now = cloud.stage(stage).await.ok()?.map(|live| live.release);
            let is_there = now.as_ref() == Some(to);
            let now = now.map_or("nothing".to_owned(), |now| format!("deployment `{}`", now.deployment));
            (!is_there).then(|| format!("{stage} serves {now}"))
        }
    }
}

/// A completed step.
pub(super) struct StepDone<'a> {
    pub(super) step: &'a Step,
    /// For an alias, its new revision.
    pub(super) revision: Option<String>,
    /// When AWS answered.
    pub(super) at: Instant,
}

pub(super) fn with_steps_done(what: String, done: &[StepDone<'_>]) -> String {
    let steps: Vec<String> = done.iter().map(|StepDone { step, .. }| step.to_string()).collect();
    if steps.is_empty() { what } else { format!("{what}; steps done before: {}", steps.join("; ")) }
}

/// A call without effect, or whose effect is unknown, is followed by another look; a refusal ends the plan.
fn unapplied(error: CloudError) -> StepResult {
    match error.failure {
        Failure::Conflict | Failure::NoAnswer | Failure::Missing => StepResult::Again(error),
        Failure::Refused | Failure::NoSuchOperation | Failure::Other => {
            StepResult::Refused(Refusal::Error(error))
        }
    }
}

pub(super) async fn move_alias<C: Gateway + Components>(
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

pub(super) async fn move_mapping<C: Gateway + Components>(
    cloud: &C,
    mapping: &MappingRef,
    id: Option<&str>,
    to: &MappingTarget,
    seen: Seen<'_, MappingTarget>,
) -> StepResult {
    match cloud.move_mapping(mapping, id, to, seen).await {
        Ok(now) if now == *to => StepResult::Done(None),
        Ok(now) => StepResult::Broken(format!("the mapping `{mapping}` points at {now}, not at {to}")),
        Err(error) => unapplied(error),
    }
}

/// API Gateway's message for an unknown deployment: recorded for a canary's deployment, not documented for a stage's.
const NO_DEPLOYMENT: &str = "Deployment id does not exist";

/// One change of one stage.
#[derive(Clone, Copy)]
pub(super) struct StageSwitch<'a> {
    pub(super) stage: &'a StageRef,
    pub(super) from: &'a Release,
    pub(super) to: &'a Release,
    pub(super) change: &'a StageChange,
    /// When the stage was seen to serve `from`.
    pub(super) seen_at: Instant,
}

impl StageSwitch<'_> {
    /// Makes the change with one `UpdateStage`, or with several if it has too many variables for one.
    pub(super) async fn make<C: Gateway + Components>(self, cloud: &C) -> StepResult {
        let calls = self.change.calls(self.stage);
        let Some((first, rest)) = calls.split_first() else { return StepResult::Done(None) };
        let seen = Seen { what: self.from, at: self.seen_at };
        let mut answer = match cloud.change_stage(self.stage, first, seen).await {
            Ok(live) => live,
            Err(error) if matches!(error.failure, Failure::Refused | Failure::Missing) => {
                return self.refused(cloud, error).await;
            }
            Err(error) => return unapplied(error),
        };
        for call in rest {
            let seen = Seen { what: &answer.release, at: Instant::now() };
            answer = match cloud.change_stage(self.stage, call, seen).await {
                Ok(live) => live,
                Err(error) => return self.seen(cloud, Some(error)).await,
            };
        }
        if self.shows(&answer) { StepResult::Done(None) } else { self.seen(cloud, None).await }
    }

    fn shows(self, live: &LiveStage) -> bool {
        live.release == *self.to && !(self.change.stop_auto_deploy && live.auto_deploy)
    }

    /// Finds out why API Gateway refused, or what it did not find. Its message counts only if the deployment cannot be
    /// read. Whether a refused patch can change a stage is not documented, so the stage is read again.
    async fn refused<C: Gateway + Components>(self, cloud: &C, error: CloudError) -> StepResult {
        let deployment = cloud.deployment(self.stage, &self.to.deployment).await;
        let exists = deployment.map_or_else(
            |_| if error.message.contains(NO_DEPLOYMENT) { Some(false) } else { None },
            |found| Some(found.is_some()),
        );
        // If the deployment exists, something else is missing. The next look shows what.
        if error.failure == Failure::Missing && exists == Some(true) {
            return StepResult::Again(error);
        }
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
        let seen = Seen { what: self.from, at: Instant::now() };
        let between = match cloud.change_stage(self.stage, &first, seen).await {
            Ok(live) => live.release,
            Err(error) => return unapplied(error),
        };
        let seen = Seen { what: &between, at: Instant::now() };
        match cloud.change_stage(self.stage, &rest, seen).await {
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
            // It serves a third deployment: somebody else, perhaps another run, has changed it.
            (Ok(Some(live)), Some(error)) if self.is_by_others(&live) => StepResult::Again(error),
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

    fn is_by_others(self, live: &LiveStage) -> bool {
        [self.from, self.to].iter().all(|release| release.deployment != live.release.deployment)
    }

    fn unlike(self, live: &LiveStage, error: Option<&CloudError>) -> StepResult {
        StepResult::Broken(format!(
            "{} serves deployment `{}` with {}{}{}",
            self.stage,
            live.release.deployment,
            counted(live.release.variables.len(), "stage variable"),
            if self.change.stop_auto_deploy && live.auto_deploy { " and AutoDeploy on" } else { "" },
            error.map(|error| format!("; {error}")).unwrap_or_default()
        ))
    }
}
