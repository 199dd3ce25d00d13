//! Undoes the completed steps of a plan in reverse order, after a step was refused.

use std::time::Duration;

use tokio::time::Instant;

use super::apply::{
    Applied, Refusal, StageSwitch, StepDone, StepResult, move_alias, move_mapping, with_steps_done,
};
use crate::cloud::{Components, Gateway, Seen};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::plan::{Plan, StageChange, Step};

/// How often the undoing of one step is sent at most, and the pause after the first time, which doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Undoes the completed steps, the last one first. If one cannot be undone, the report lists all steps.
pub(super) async fn undo<C: Gateway + Components>(
    cloud: &C,
    plan: &Plan,
    mut done: Vec<StepDone<'_>>,
    why: Refusal,
) -> Applied {
    let mut undone = Vec::new();
    while let Some(last) = done.pop() {
        let step = last.step;
        let trouble = match undo_step(cloud, plan, last).await {
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

/// Undoes one step. A call that may have taken effect, or had none only because of others, is followed by a look, and sent
/// again if the step is not undone yet.
async fn undo_step<C: Gateway + Components>(cloud: &C, plan: &Plan, mut done: StepDone<'_>) -> StepResult {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        let sent = send(cloud, plan, &done).await;
        if !matches!(&sent, StepResult::Again(error) if may_be_repeated(error)) {
            return sent;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        // If it cannot be read, or is neither undone nor as this run left it, the next call says why.
        if let Ok(true) = is_undone(cloud, plan, &mut done).await {
            return StepResult::Done(None);
        }
    }
    send(cloud, plan, &done).await
}

/// Whether nobody else has changed what the call changes, as far as its error says.
fn may_be_repeated(error: &CloudError) -> bool {
    error.failure == Failure::NoAnswer || error.is_throttled() || error.code == "ConflictException"
}

async fn send<C: Gateway + Components>(cloud: &C, plan: &Plan, done: &StepDone<'_>) -> StepResult {
    match done.step {
        Step::Alias { alias, from, .. } => {
            move_alias(cloud, alias, from, done.revision.as_deref().unwrap_or_default()).await
        }
        Step::Stage { from, to, .. } => {
            let change = &StageChange::between(&plan.stage, to, from);
            let (stage, seen_at) = (&plan.stage, done.at);
            StageSwitch { stage, from: to, to: from, change, seen_at }.make(cloud).await
        }
        Step::Mapping { mapping, id, from, to } => {
            let seen = Seen { what: to, at: done.at };
            move_mapping(cloud, mapping, id.as_deref(), from, seen).await
        }
    }
}

/// Looks whether a step is undone. Where it is still as this run left it, notes what the next call needs.
async fn is_undone<C: Gateway + Components>(
    cloud: &C,
    plan: &Plan,
    done: &mut StepDone<'_>,
) -> Result<bool, CloudError> {
    let at = Instant::now();
    Ok(match done.step {
        Step::Alias { alias, from, to, .. } => {
            let Some(now) = cloud.alias(alias).await? else { return Ok(false) };
            if now.target == *to {
                done.revision = Some(now.revision);
            }
            now.target == *from
        }
        Step::Stage { from, to, .. } => {
            let look = cloud.look(&plan.stage).await?;
            let Some(live) = look.live else { return Ok(false) };
            if live.release == *to {
                done.at = look.at;
            }
            live.release == *from
        }
        Step::Mapping { mapping, from, to, .. } => {
            let Some(now) = cloud.mapping(plan.stage.protocol, mapping).await? else { return Ok(false) };
            if now.target == *to {
                done.at = at;
            }
            now.target == *from
        }
    })
}
