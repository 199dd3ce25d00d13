//! Rolls one stage back: observe, decide, check, claim and apply. The pass is repeated if the stage changed meanwhile.

pub mod apply;
pub mod claim;
mod finish;
pub mod hook;
pub mod incident;
pub mod pin;
mod undo;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::cloud::{Cloud, Gateway, Parameters};
use crate::context::Context;
use crate::decide::claim::{is_fresh, is_half_done, plan_of};
use crate::decide::guilt::guilt;
use crate::decide::{Decision, NO_OLDER, Trigger, check, decide};
use crate::model::cloud_error::CloudError;
use crate::model::guilt::Finding;
use crate::model::observed::{Observed, usable};
use crate::model::plan::Plan;
use crate::model::reason::{Reason, stamp};
use crate::model::records::Incident;
use crate::model::report::{ForPeople, Outcome, Report, release_name};
use crate::model::stage::{Deployment, StageRef};
use crate::observe::{observe, observe_for_preview};
use apply::{Applied, Refusal, last_look};
use claim::{Claim, claim, claim_and_apply, just_rolled_back_by};
use finish::finish;

/// A request to roll a stage back.
#[derive(Clone, Copy, Debug)]
pub struct RollbackRequest<'a> {
    /// The trigger.
    pub trigger: Trigger<'a>,
    /// The version of the known-good record to roll back to; `None` means the newest.
    pub version: Option<i64>,
    /// Whether to report the plan without applying it.
    pub dry: bool,
}

/// The result of one pass.
enum Pass {
    /// The run is over.
    Over(Box<Report>),
    /// The stage changed or its state is unknown: observe again after a pause.
    Again(Wait),
    /// The hook took some time: observe again immediately.
    AfterHook,
    /// This version of the known-good record cannot serve; an older one may.
    CannotServe(i64, Box<Report>),
}

/// The reason for a pause.
enum Wait {
    /// A call that met a conflict or got no answer.
    Call(CloudError),
    /// Another run that is rolling the stage back.
    OtherRun(Box<Incident>),
}

/// The state that a run keeps between its passes.
#[derive(Default)]
struct Attempt {
    /// The first plan whose steps were started. The report covers this whole plan.
    first: Option<Box<Plan>>,
    /// What the test of guilt found before those steps.
    test: Option<Finding>,
    /// The claim of that plan.
    claim: Option<Claim>,
    /// The incident of the other run that this run waits for.
    other_run: Option<Box<Incident>>,
    /// Whether the hook was called.
    hooked: bool,
    /// Failures that did not stop the rollback.
    warnings: Vec<String>,
}

/// Rolls one stage back if `decide` says so, and reports the result.
pub async fn rollback<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    request: RollbackRequest<'_>,
) -> Report {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times()
        .with_jitter()
        .build();
    let mut attempt = Attempt::default();
    let mut current = request;
    loop {
        let wait = match pass(context, stage, current, &mut attempt).await {
            Pass::Over(report) => return report.on(stage),
            Pass::AfterHook => continue,
            Pass::CannotServe(_, report) if request.version.is_some() => {
                return of_asked_version(*report).on(stage);
            }
            Pass::CannotServe(version, report) => match older_version(context, stage, version).await {
                Ok(Some(older)) => {
                    current.version = Some(older);
                    continue;
                }
                Ok(None) => return report.on(stage),
                Err(error) => Wait::Call(error),
            },
            Pass::Again(wait) => wait,
        };
        let pause = pauses.next().unwrap_or_default();
        if Instant::now() + pause >= context.deadline {
            return out_of_time(context, &wait).on(stage);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn pass<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    request: RollbackRequest<'_>,
    attempt: &mut Attempt,
) -> Pass {
    let (version, trigger) = (request.version, request.trigger);
    let observed = if request.dry {
        observe_for_preview(context, stage, version, trigger).await
    } else {
        observe(context, stage, version, trigger).await
    };
    let observed = match observed {
        Ok(observed) => without_own_change(observed, attempt.first.as_deref()),
        // Once a step was made, a stage that cannot be read is half done.
        Err(error) if attempt.first.is_some() => return Pass::Over(Box::new(context.failed(&error))),
        Err(error) => return Pass::Over(Box::new(context.failed_on(stage, &error))),
    };
    let policy = context.config.policy.under(&observed.on_record.policy);
    let found = guilt(&observed, &policy).strongest().filter(|finding| finding.requests > 0).cloned();
    // What led to the first steps is reported, whatever later passes read.
    attempt.test = attempt.test.take().filter(|_| attempt.first.is_some()).or(found);
    let test = attempt.test.clone();
    let complete =
        |report: Box<Report>| Box::new(tested(test, *report, &observed).named(&observed.on_record));
    match judge(context, request, &observed, attempt).await {
        Pass::Over(report) => Pass::Over(complete(report)),
        Pass::CannotServe(version, report) => Pass::CannotServe(version, complete(report)),
        pass @ (Pass::Again(_) | Pass::AfterHook) => pass,
    }
}

/// Adds to a report what the test of guilt found, or why the requests could not be counted.
fn tested(test: Option<Finding>, mut report: Report, observed: &Observed) -> Report {
    report.test = test;
    if let (None, Some(Err(error))) = (&report.test, &observed.traffic) {
        report.warnings.push(format!(
            "the requests of the release could not be counted, so the alarm alone decides: {error}"
        ));
    }
    report
}

/// Decides on what was observed, and acts on the decision.
async fn judge<C: Cloud>(
    context: &Context<'_, C>,
    request: RollbackRequest<'_>,
    observed: &Observed,
    attempt: &mut Attempt,
) -> Pass {
    let other_run = attempt.other_run.take();
    if let Some(other_run) = other_run.as_ref().filter(|other_run| is_half_done(other_run, observed)) {
        attempt.other_run = Some(other_run.clone());
        return Pass::Again(Wait::OtherRun(other_run.clone()));
    }
    let policy = context.config.policy.under(&observed.on_record.policy);
    // The run finishes a rollback that it started, even if the first step has already cleared the alarm.
    let is_begun = is_begun(attempt, observed);
    let trigger = if is_begun { Trigger::Operator { force: true } } else { request.trigger };
    let plan = match decide(trigger, observed, &policy, context.now) {
        Decision::Act(plan) => plan,
        Decision::Hold(reason) => {
            return on_hold(context, request, observed, attempt, other_run, reason).await;
        }
    };
    if let Err(broken) = check(&plan, observed) {
        return Pass::Over(Box::new(context.report(Outcome::NeedsHuman, broken).with_plan(&plan)));
    }
    if request.dry {
        let message = format!("{} would be rolled back: {plan}", observed.stage);
        return Pass::Over(Box::new(context.report(Outcome::WouldRollBack, message).with_plan(&plan)));
    }
    if let Some(hook) = context.config.hook.as_ref().filter(|_| !attempt.hooked) {
        attempt.hooked = true;
        attempt.other_run = other_run;
        attempt.warnings.extend(hook::before(context, hook, &plan).await);
        return Pass::AfterHook;
    }
    act(context, request, observed, attempt, plan).await
}

/// Claims and applies the plan, then reports.
async fn act<C: Cloud>(
    context: &Context<'_, C>,
    request: RollbackRequest<'_>,
    observed: &Observed,
    attempt: &mut Attempt,
    plan: Box<Plan>,
) -> Pass {
    // If an earlier pass of this run did some of the steps, the report covers the whole plan.
    let whole = attempt.first.take().filter(|first| first.to == plan.to && first.passes_through(&plan.from));
    if whole.is_none() {
        abandon(context, attempt).await;
    }
    let whole = whole.unwrap_or_else(|| plan.clone());
    let since = observed.live.as_ref().and_then(|live| live.updated_at);
    let made = attempt.claim.take();
    let incident = match &made {
        Some(Claim::Won(ours) | Claim::Unwritten(ours, _) | Claim::Unfinished(ours)) => ours.as_ref().clone(),
        Some(Claim::Lost(_)) | None => incident::new(context, &whole, observed, since),
    };
    let claim = async {
        match made {
            None | Some(Claim::Unfinished(_)) => claim(context, &whole, incident.clone()).await,
            Some(made) => made,
        }
    };
    let applied = match claim_and_apply(context, &plan, &incident, claim, observed).await {
        Ok((claim, applied)) => {
            attempt.claim = Some(claim);
            applied
        }
        Err(other_run) => {
            attempt.other_run = Some(other_run.clone());
            return Pass::Again(Wait::OtherRun(other_run));
        }
    };
    match applied {
        Applied::Done => match last_look(context.cloud, &whole).await {
            None => Pass::Over(Box::new(finish(context, &whole, request, observed, attempt).await)),
            Some(what) => broken(context, &whole, &what),
        },
        Applied::Again(error) => {
            attempt.first = Some(whole);
            Pass::Again(Wait::Call(error))
        }
        Applied::Refused { why, undone } => {
            abandon(context, attempt).await;
            refused(context, observed, &whole, why, &undone)
        }
        Applied::Broken(what) => broken(context, &whole, &what),
    }
}

/// Reports that a rollback ended in a state that only an operator can judge.
fn broken<C>(context: &Context<'_, C>, whole: &Plan, what: &str) -> Pass {
    let message = format!("the rollback of {} did not complete: {whole}; {what}", whole.stage);
    let report = context.report(Outcome::NeedsHuman, message).with_plan(whole);
    Pass::Over(Box::new(Report { after: None, next: vec![HALF_WAY.to_owned()], ..report }))
}

const HALF_WAY: &str = "check the stage, its aliases and its mappings, and set them to one release manually; \
                        `status` shows the live and the known-good release";

/// Handles a hold. If the stage already serves the known-good release, this run or another one may have rolled it back.
async fn on_hold<C: Cloud>(
    context: &Context<'_, C>,
    request: RollbackRequest<'_>,
    observed: &Observed,
    attempt: &mut Attempt,
    other_run: Option<Box<Incident>>,
    reason: Reason,
) -> Pass {
    if matches!(reason, Reason::AlreadyKnownGood { .. }) {
        // An earlier call of this run took effect, and only its answer was lost. Another run may have gone for another release.
        let live = observed.live.as_ref().map(|live| &live.release);
        if let Some(plan) = attempt.first.take().filter(|first| live == Some(&first.to)) {
            return Pass::Over(Box::new(finish(context, &plan, request, observed, attempt).await));
        }
        let is_hint = context.trigger.is_alarm() || context.trigger.is_sibling();
        let other_run = match (other_run, &observed.live) {
            (None, Some(live)) if is_hint && !is_fresh(&observed.on_record.rollbacks, context.now) => {
                just_rolled_back_by(context, &observed.stage, &live.release).await.map(Box::new)
            }
            (other_run, _) => other_run,
        };
        if let Some(other_run) = other_run {
            let warnings = std::mem::take(&mut attempt.warnings);
            return Pass::Over(Box::new(done_by_other_run(context, &other_run, warnings)));
        }
    }
    attempt.first = None;
    abandon(context, attempt).await;
    let warnings = std::mem::take(&mut attempt.warnings);
    held(context, reason, observed, warnings)
}

fn held<C>(context: &Context<'_, C>, reason: Reason, observed: &Observed, warnings: Vec<String>) -> Pass {
    let live = observed.live.as_ref().map(|live| live.release.clone());
    let handled = matches!(reason, Reason::AlreadyKnownGood { .. })
        && is_fresh(&observed.on_record.rollbacks, context.now);
    let missing = if let Reason::KnownGoodMissing { version, .. } = reason { Some(version) } else { None };
    let report = Report { before: live.clone(), after: live, handled, warnings, ..context.no(reason) };
    match missing {
        Some(version) => Pass::CannotServe(version, Box::new(report)),
        None => Pass::Over(Box::new(report)),
    }
}

/// Corrects the report about a version that the operator asked for: no older one was tried.
fn of_asked_version(mut report: Report) -> Report {
    if let Some(reason @ Reason::KnownGoodMissing { .. }) = &mut report.reason {
        if let Reason::KnownGoodMissing { why, .. } = reason {
            *why = why.replace(NO_OLDER, "");
        }
        report.message = reason.to_string();
    }
    report
}

/// Reports that another run rolled the stage back first.
fn done_by_other_run<C>(context: &Context<'_, C>, other_run: &Incident, warnings: Vec<String>) -> Report {
    let reason = Reason::AlreadyKnownGood {
        deployment: other_run.good.release.deployment.clone(),
        version: other_run.version,
        by: Some(format!("run {} rolled it back at {}", other_run.run, stamp(other_run.at))),
    };
    let incident = context.config.names.incident(&other_run.stage, &other_run.bad.fingerprint());
    let report = context.no(reason).with_plan(&plan_of(other_run));
    Report { incident: Some(incident), warnings, handled: true, ..report }
}

/// Withdraws the incident that this run opened, because its rollback had no effect. If that fails, the release stays in
/// quarantine until an operator sends `lift`.
async fn abandon<C: Parameters>(context: &Context<'_, C>, attempt: &mut Attempt) {
    let ours = match attempt.claim.take() {
        Some(Claim::Won(incident)) => incident,
        Some(Claim::Unfinished(incident)) if incident::is_on_record(context, &incident).await => incident,
        Some(Claim::Lost(_) | Claim::Unwritten(..) | Claim::Unfinished(_)) | None => return,
    };
    attempt.warnings.extend(incident::withdraw(context, *ours).await);
}

/// Handles a refused step, whose earlier steps are undone. If the deployment does not exist, the run tries an older
/// release; otherwise it fails.
fn refused<C>(
    context: &Context<'_, C>,
    observed: &Observed,
    plan: &Plan,
    why: Refusal,
    undone: &[String],
) -> Pass {
    let warnings: Vec<String> = undone.iter().map(|step| format!("undone: {step}")).collect();
    match why {
        Refusal::DeploymentGone => {
            let reason = Reason::KnownGoodMissing {
                deployment: plan.to.deployment.clone(),
                parameter: context.config.names.known_good(&plan.stage),
                version: plan.version,
                why: format!("no longer exists{NO_OLDER}"),
            };
            held(context, reason, observed, vec![])
        }
        Refusal::Error(error) => {
            let live = release_name(&plan.from, observed.on_record.label(&plan.from));
            let live = Some(live).filter(|_| context.trigger.is_alarm());
            let people = ForPeople { live, ..ForPeople::default() };
            Pass::Over(Box::new(Report { people, warnings, ..context.failed(&error) }))
        }
    }
}

/// Reports that the run's time ran out during a pause.
fn out_of_time<C>(context: &Context<'_, C>, wait: &Wait) -> Report {
    match wait {
        Wait::Call(error) => context.failed(error),
        Wait::OtherRun(incident) => {
            let Incident { run, stage, at, .. } = incident.as_ref();
            let since = stamp(*at);
            let message =
                format!("run {run} has been rolling {stage} back since {since} and did not finish in time");
            context.report(Outcome::Failed, message)
        }
    }
}

/// Whether an earlier pass of this run did some of the steps and nothing else changed the stage.
fn is_begun(attempt: &Attempt, observed: &Observed) -> bool {
    let (Some(first), Some(live)) = (&attempt.first, &observed.live) else { return false };
    live.release != first.from && first.passes_through(&live.release)
}

/// Hides the last change of the stage if this run made it: the change must not look like a fix that was deployed after
/// the alarm.
fn without_own_change(mut observed: Observed, begun: Option<&Plan>) -> Observed {
    if let (Some(plan), Some(live)) = (begun, observed.live.as_mut()) {
        let moved = live.release.in_stage() != plan.from.in_stage() && plan.passes_through(&live.release);
        if moved || (plan.stops_auto_deploy() && !live.auto_deploy) {
            live.updated_at = None;
        }
    }
    observed
}

/// Returns the newest version of the record before this one that can serve (`GetParameterHistory`): it is readable, it
/// is not in quarantine, and its deployment exists. The search stops at the first version marked irreversible.
///
/// # Errors
/// A failed call.
pub async fn older_version<C: Parameters + Gateway>(
    context: &Context<'_, C>,
    stage: &StageRef,
    before: i64,
) -> Result<Option<i64>, CloudError> {
    let config = context.config;
    let history = context.cloud.history(&config.names.known_good(stage)).await?;
    let rollbacks = context.cloud.parameters(&[config.names.rollbacks(stage)]).await?;
    let rollbacks = config.on_record(stage, &rollbacks).rollbacks;
    let can_serve =
        |deployment: Option<Deployment>| deployment.is_some_and(|found| found.undeployed.is_none());
    for one in history.iter().rev().filter(|one| one.version <= before) {
        let Ok(record) = usable(&one.value, stage, &config.region) else { continue };
        let serves = one.version < before
            && !rollbacks.quarantines(&record.release)
            && can_serve(context.cloud.deployment(stage, &record.release.deployment).await?);
        if serves {
            return Ok(Some(one.version));
        }
        if record.irreversible {
            break;
        }
    }
    Ok(None)
}
