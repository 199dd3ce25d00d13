//! Dispatches commands, and carries out the small ones.

mod rollouts;
pub mod status;

use chrono::TimeDelta;
use serde_json::json;

use crate::cloud::{Alarms, Cloud, Components, Gateway, Parameters, Write};
use crate::commands::rollouts::advance_all;
use crate::commands::status::{history, status};
use crate::context::Context;
use crate::decide::Trigger;
use crate::decide::evidence::{is_due, is_proven, not_live_before};
use crate::decide::guilt::guilt;
use crate::decide::rollout_order::Order;
use crate::decide::testimony::{Subject, guarding};
use crate::model::cloud_error::CloudError;
use crate::model::observed::Observed;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Candidate, Hold, SCHEMA};
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};
use crate::model::trigger::TriggeredBy;
use crate::model::trigger::Verb;
use crate::observe::resolve::{NamedBy, resolve};
use crate::observe::{evidence, guarding_alarms, observe};
use crate::rollback::incident;
use crate::rollback::{RollbackRequest, rollback};
use crate::rollout::operate;
use crate::signal::Command;
use crate::sweep::promote::promote;
use crate::sweep::reconcile::note;
use crate::sweep::record::{Recording, record};
use crate::sweep::sweep;

/// Carries out a command. Returns one report, or all reports of a sweep.
pub async fn execute<C: Cloud>(context: &Context<'_, C>, command: &Command) -> Vec<Report> {
    let trigger = TriggeredBy::command(command.verb, command.who.clone(), command.reason.clone());
    let context = &context.triggered_by(&trigger);
    let mut reports = carry_out(context, command).await;
    for report in &mut reports {
        context.complete(report);
    }
    reports
}

async fn carry_out<C: Cloud>(context: &Context<'_, C>, command: &Command) -> Vec<Report> {
    let Some(stage) = &command.stage else {
        return if command.verb == Verb::Advance { advance_all(context).await } else { sweep(context).await };
    };
    let target =
        Target { api: ApiRef::parse(&stage.api), stage: stage.name.clone(), canary: false, protocol: None };
    let report = match resolve(context.cloud, context.config, &target, NamedBy::Operator).await {
        Ok(Ok(stage)) => return on_stage(context, &stage, command).await,
        Ok(Err(reason)) => context.no(reason),
        Err(error) => context.failed(&error),
    };
    vec![report]
}

async fn on_stage<C: Cloud>(context: &Context<'_, C>, stage: &StageRef, command: &Command) -> Vec<Report> {
    let trigger = Trigger::Operator { force: command.force.unwrap_or(false) };
    let request = |dry| RollbackRequest { trigger, version: command.to, dry };
    let order = |order| async move { rollouts::give(context, stage, order, command.who.clone()).await };
    let done = match command.verb {
        Verb::Record => return vec![record(context, stage, recording(command)).await],
        Verb::Rollback => return vec![rollback(context, stage, request(false)).await],
        Verb::Plan => return vec![rollback(context, stage, request(true)).await],
        Verb::RolloutStart => return rollouts::begin(context, stage, command).await,
        Verb::RolloutPause => return order(Order::Pause(command.reason.clone())).await,
        Verb::RolloutResume => return order(Order::Resume).await,
        Verb::RolloutPromote => return order(Order::Promote).await,
        Verb::RolloutAbort => return order(Order::Abort).await,
        Verb::RolloutStatus => operate::status(context, stage).await,
        Verb::Status => status(context, stage).await,
        Verb::History => history(context, stage).await,
        Verb::Promote => promote_now(context, stage).await,
        Verb::Announce => announce(context, stage, command).await,
        Verb::Hold => hold(context, stage, command).await,
        Verb::ReleaseHold => release_hold(context, stage).await,
        Verb::Lift => lift(context, stage, command).await,
        Verb::Advance | Verb::Sweep => {
            Ok(context.no(Reason::Malformed(format!("`{}` takes no stage", command.verb.word()))))
        }
    };
    vec![done.unwrap_or_else(|error| context.failed_on(stage, &error)).on(stage)]
}

fn recording(command: &Command) -> Recording<'static> {
    Recording {
        label: command.label.clone(),
        note: command.note.clone(),
        who: command.who.clone(),
        irreversible: command.reversible.map(|reversible| !reversible),
        expected: None,
        outcome: Outcome::Recorded,
    }
}

/// Observes a stage and returns its candidate, if stored, or a new one. The inner error reports a missing stage.
async fn look<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Result<(Observed, Candidate), Report>, CloudError> {
    let observed = observe(context, stage, None, Trigger::Imagined).await?;
    let Some(live) = &observed.live else {
        let reason =
            Reason::NoStage(format!("API Gateway has no stage `{}` on API `{}`", stage.stage, stage.api));
        return Ok(Err(context.no(reason)));
    };
    let candidate = observed.on_record.candidate_or_new(stage.protocol, live, context.now);
    Ok(Ok((observed, candidate)))
}

async fn promote_now<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Report, CloudError> {
    let (observed, candidate) = match look(context, stage).await? {
        Ok(found) => found,
        Err(report) => return Ok(report),
    };
    let alarms = guarding_alarms::read(context).await?;
    let on_record = &observed.on_record;
    let policy = context.config.policy.under(&on_record.policy);
    let guilt = guilt(&observed, &policy);
    let guarding = guarding(&alarms, Subject::of(&observed, &guilt));
    if let Err(reason) = is_due(on_record, &candidate, &guarding, &policy, context.now, true) {
        return Ok(context.no(reason));
    }
    let before = observed.live.as_ref().and_then(|live| not_live_before(on_record, live, &candidate));
    let of = (stage, observed.api_names.as_slice());
    let evidence = evidence::read(context, of, (&candidate, before), &guarding, &policy).await?;
    if let Err(reason) = is_proven(&evidence, &policy) {
        return Ok(context.no(reason));
    }
    Ok(promote(context, stage, &candidate).await)
}

async fn announce<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    command: &Command,
) -> Result<Report, CloudError> {
    let (observed, candidate) = match look(context, stage).await? {
        Ok(found) => found,
        Err(report) => return Ok(report),
    };
    // A newer version of the function may have written an unreadable parameter, so it is not overwritten.
    if let Some(unreadable) = observed.on_record.unreadable {
        return Ok(context.no(Reason::HeldByOperator(unreadable)));
    }
    let announced = Candidate {
        irreversible: command.reversible.map_or(candidate.irreversible, |reversible| !reversible),
        label: command.label.clone().or(candidate.label),
        note: command.note.clone().or(candidate.note),
        ..candidate
    };
    if let Err(why) = records::print(&announced) {
        return Ok(context.no(Reason::NotRecordable(why)));
    }
    note(context, stage, &announced).await?;
    let message = format!(
        "{stage}: the live release (deployment `{}`) is announced as {}; its bake time began at {}",
        announced.release.deployment,
        if announced.irreversible { "irreversible: alarms will not roll it back" } else { "reversible" },
        stamp(announced.first_seen)
    );
    Ok(context.report(Outcome::Done, message))
}

/// The longest hold. A longer one would be forgotten, and its stage would have no protection.
const LONGEST_HOLD: TimeDelta = TimeDelta::days(30);

async fn hold<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    command: &Command,
) -> Result<Report, CloudError> {
    let until = command.until.unwrap_or(context.now);
    if until <= context.now {
        let why = format!(
            "`until` is {}, which is in the past: the time now is {}",
            stamp(until),
            stamp(context.now)
        );
        return Ok(context.no(Reason::Malformed(why)));
    }
    if until > context.now + LONGEST_HOLD {
        let why = format!(
            "`until` is {}, and a hold lasts at most {} days: renew it then, or set the stage's policy to observe",
            stamp(until),
            LONGEST_HOLD.num_days()
        );
        return Ok(context.no(Reason::Malformed(why)));
    }
    let hold = Hold { schema: SCHEMA, until, by: command.who.clone(), why: command.reason.clone() };
    write_hold(context, stage, &hold).await?;
    let message = format!("{stage} is held until {}: alarms and the sweep do not change it", stamp(until));
    Ok(context.report(Outcome::Done, message))
}

async fn release_hold<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Report, CloudError> {
    let mut wanted = vec![context.config.names.hold(stage)];
    wanted.extend(context.config.hears_siblings().then(|| context.config.names.rollbacks(stage)));
    let mut found = context.cloud.parameters(&wanted).await?;
    let on_record = context.config.on_record(stage, &found);
    let cleared = match incident::clear_siblings(context, stage, &on_record).await {
        Ok(cleared) => cleared,
        Err(why) => return Ok(context.no(Reason::NotRecordable(why))),
    };
    found.retain(|found| found.name == context.config.names.hold(stage));
    let message = match on_record.hold {
        Some(hold) if hold.until > context.now => {
            write_hold(context, stage, &Hold { until: context.now, ..hold }).await?;
            format!("{stage} is no longer held")
        }
        // An unreadable hold holds the stage, so an operator must be able to end it.
        None if !found.is_empty() => {
            let ended =
                Hold { schema: SCHEMA, until: context.now, by: context.trigger.name.clone(), why: None };
            write_hold(context, stage, &ended).await?;
            format!("{stage} is no longer held; its hold could not be read")
        }
        Some(_) | None if !cleared.is_empty() => format!("{stage} may go on"),
        Some(_) | None => format!("{stage} was not held"),
    };
    let cleared: Vec<String> = cleared.iter().map(|one| format!("; no longer held up: {one}")).collect();
    let message = format!("{message}{}", cleared.join(""));
    Ok(context.report(Outcome::Done, message))
}

async fn write_hold<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    hold: &Hold,
) -> Result<(), CloudError> {
    // Parameter Store refuses a hold that is too long, and the report says so.
    let value = records::print(hold).unwrap_or_else(|_| json!(hold).to_string());
    context.cloud.put_parameter(&context.config.names.hold(stage), &value, Write::Overwrite).await.map(|_| ())
}

async fn lift<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    command: &Command,
) -> Result<Report, CloudError> {
    let fingerprint = command.incident.as_deref().unwrap_or_default();
    if fingerprint.is_empty() || !fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why = "`incident` must be the fingerprint of a release: twelve hexadecimal digits".to_owned();
        return Ok(context.no(Reason::Malformed(why)));
    }
    let found = context.cloud.parameters(&[context.config.names.rollbacks(stage)]).await?;
    let on_record = context.config.on_record(stage, &found);
    match incident::lift(context, stage, &on_record, fingerprint, command.who.as_deref()).await? {
        Ok(lifted) => {
            let deployment = lifted
                .map(|one| format!(" (deployment `{}`)", one.bad.release.deployment))
                .unwrap_or_default();
            let message = format!(
                "{stage}: release {fingerprint}{deployment} is out of quarantine: it may be promoted again"
            );
            Ok(context.report(Outcome::Done, message))
        }
        Err(reason) => Ok(context.no(reason)),
    }
}
