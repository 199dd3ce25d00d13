//! The commands about rollouts.

use crate::cloud::Cloud;
use crate::context::Context;
use crate::decide::rollout_begin::Asked;
use crate::decide::rollout_order::Order;
use crate::model::cloud_error::CloudError;
use crate::model::plain::counted;
use crate::model::reason::Reason;
use crate::model::report::{Details, Outcome, Report, SweptStage};
use crate::model::rollout::Terms;
use crate::model::stage::StageRef;
use crate::observe::protected_stages;
use crate::rollout::operate::order;
use crate::rollout::start::start;
use crate::rollout::{advance, go_on};
use crate::signal::Command;

/// Begins a rollout, and gives the canary its first share.
pub(super) async fn begin<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    command: &Command,
) -> Vec<Report> {
    and_advance(context, stage, start(context, stage, asked(command)).await).await
}

/// Gives an order to a rollout, and carries it out as far as the evidence allows.
pub(super) async fn give<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    one: Order,
    who: Option<String>,
) -> Vec<Report> {
    and_advance(context, stage, order(context, stage, &one, who).await).await
}

async fn and_advance<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    done: Result<Report, CloudError>,
) -> Vec<Report> {
    let report = done.unwrap_or_else(|error| context.failed_on(stage, &error));
    let is_written =
        matches!(report.outcome, Outcome::RolloutStarted | Outcome::RolloutPaused | Outcome::Done);
    let mut reports = vec![report.on(stage)];
    if is_written {
        reports.extend(Box::pin(go_on(context, stage)).await.reports);
    }
    reports
}

fn asked(command: &Command) -> Asked {
    let terms = match (&command.steps, command.bake_seconds, command.min_requests) {
        (Some(steps), Some(bake_seconds), Some(min_requests)) => {
            Some(Terms { steps: steps.clone(), bake_seconds, min_requests })
        }
        _ => None,
    };
    Asked {
        deployment: command.deployment.clone(),
        versions: command.aliases.clone().unwrap_or_default(),
        terms,
        who: command.who.clone(),
        label: command.label.clone(),
        note: command.note.clone(),
    }
}

/// Moves every running rollout on (`GetParametersByPath`, and for each running rollout what it needs).
pub(super) async fn advance_all<C: Cloud>(context: &Context<'_, C>) -> Vec<Report> {
    let found = match context.cloud.parameters_under(&context.config.names.stages()).await {
        Ok(found) => found,
        Err(error) => return vec![context.failed(&error)],
    };
    let (mut reports, mut details) = (Vec::new(), Vec::new());
    for stage in protected_stages::protected(context.config, &found) {
        let on_record = context.config.on_record(&stage, &found);
        if !on_record.has_open_rollout() {
            continue;
        }
        let advanced = Box::pin(advance(context, &stage)).await;
        // Another function may keep its records under the same prefix. It looks after its own rollouts.
        let is_ours = |report: &Report| !matches!(report.reason, Some(Reason::NotProtected(_)));
        let ours = advanced.reports.into_iter().filter(is_ours);
        reports.extend(ours.map(|report| report.named(&on_record)));
        details.push(SweptStage { stage: stage.to_string(), state: advanced.state });
    }
    let message = format!("looked after {}", counted(details.len(), "rollout"));
    reports.push(Report { details: Some(Details::Sweep(details)), ..context.report(Outcome::Done, message) });
    reports
}
