//! Finishes a rollback once the stage serves the known-good release: records, caches, the hook, and the report.

use super::claim::{Claim, claim};
use super::pin;
use super::{Attempt, RollbackRequest, done_by_other_run, hook, incident};
use crate::cloud::{Cache, Cloud, Gateway, Parameters, Write, Written};
use crate::context::Context;
use crate::decide::claim::is_under_way;
use crate::decide::incidents::is_listed;
use crate::decide::sibling::rollout_label;
use crate::model::cloud_error::CloudError;
use crate::model::observed::Observed;
use crate::model::plan::{Plan, Step};
use crate::model::records::{self, Incident, Record};
use crate::model::report::{ForPeople, Outcome, Report};
use crate::model::trigger::TriggeredBy;

/// Records the rollback and reports it. A run that lost the claim reports `already-known-good`.
pub(super) async fn finish<C: Cloud>(
    context: &Context<'_, C>,
    plan: &Plan,
    request: RollbackRequest<'_>,
    observed: &Observed,
    attempt: &mut Attempt,
) -> Report {
    let on_record = &observed.on_record;
    let people = ForPeople { rolled_back_at: Some(context.clock()), ..ForPeople::default() };
    let mut warnings = std::mem::take(&mut attempt.warnings);
    let incident = match incident_of(context, plan, observed, attempt.claim.take(), &mut warnings).await {
        Ok(incident) => incident,
        Err(other_run) => return done_by_other_run(context, &other_run, warnings),
    };
    let (listed, flushed, hooked) = tokio::join!(
        incident::list(context, on_record, &incident),
        flush(context, plan, observed),
        hook::after(context, plan)
    );
    warnings.extend(listed.err().into_iter().chain(flushed).chain(hooked));
    // A rollback to an older version makes that version the known-good release from now on.
    if let (Some(_), Some((_, record))) = (request.version, on_record.good()) {
        warnings.extend(renew(context, plan, record).await);
    }
    if plan.stops_auto_deploy() {
        warnings.push(AUTO_DEPLOY_IS_OFF.to_owned());
    }
    let missing = observed.components.described();
    if !missing.is_empty() {
        warnings.push(format!("the rollback left out some components: {}", missing.join("; ")));
    }
    let live = observed.live.as_ref().and_then(|live| live.updated_at);
    let seen = on_record.candidate_for(&plan.from).map(|seen| seen.clone().back(context.now).first_seen);
    let since = seen.or(live);
    let label = rollout_label(on_record, &plan.from).map(str::to_owned);
    let message = format!("{} was rolled back: {plan}", plan.stage);
    Report {
        next: advice(plan, context.trigger),
        incident: Some(context.config.names.incident(&plan.stage, &plan.from.fingerprint())),
        warnings,
        since,
        before_label: label,
        notification_key: Some(incident::notification_key(&incident.bad.fingerprint(), incident.at)),
        people,
        ..context.report(Outcome::RolledBack, message).with_plan(plan)
    }
}

const AUTO_DEPLOY_IS_OFF: &str =
    "AutoDeploy of the stage is now OFF: API changes do not go live until it is switched on again";

/// Returns the incident that this run opened, or that of a dead run whose rollback it made, and retries the write if that
/// failed before the rollback. The error is the incident of the run that won the claim.
async fn incident_of<C: Parameters>(
    context: &Context<'_, C>,
    plan: &Plan,
    observed: &Observed,
    made: Option<Claim>,
    warnings: &mut Vec<String>,
) -> Result<Box<Incident>, Box<Incident>> {
    let made = match made {
        Some(Claim::Unwritten(incident, _) | Claim::Unfinished(incident)) => {
            Some(claim(context, plan, *incident).await)
        }
        made => made,
    };
    let rollbacks = &observed.on_record.rollbacks;
    match made {
        // The other run died before it listed its rollback, perhaps even before the change. Both runs use the same mark, so
        // people are notified once.
        Some(Claim::Lost(dead))
            if dead.good.is(&plan.to)
                && !is_under_way(&dead, observed.at)
                && !is_listed(rollbacks, &dead) =>
        {
            Ok(dead)
        }
        // A run that goes for another release at this time will not report this one.
        Some(Claim::Lost(other_run))
            if other_run.good.is(&plan.to) || !is_under_way(&other_run, observed.at) =>
        {
            Err(other_run)
        }
        Some(Claim::Won(incident) | Claim::Unfinished(incident)) => Ok(incident),
        Some(Claim::Unwritten(incident, why)) => {
            warnings.push(why);
            Ok(incident)
        }
        Some(Claim::Lost(_)) | None => Ok(Box::new(incident::new(context, plan, observed, None))),
    }
}

/// Flushes the caches that are on, if the plan says so (`FlushStageCache`, `FlushStageAuthorizersCache`). Returns a
/// warning for each failure.
async fn flush<C: Gateway>(context: &Context<'_, C>, plan: &Plan, observed: &Observed) -> Vec<String> {
    if !plan.flush {
        return vec![];
    }
    let answers = async {
        match &observed.live {
            Some(live) if live.cache => context.cloud.flush(&plan.stage, Cache::Answers).await,
            Some(_) | None => Ok(()),
        }
    };
    let authorizers = async {
        if context.cloud.caches_decisions(&plan.stage.api).await? {
            context.cloud.flush(&plan.stage, Cache::Authorizers).await?;
        }
        Ok(())
    };
    let (answers, authorizers) = tokio::join!(answers, authorizers);
    let failed = |error: CloudError| format!("a cache was not flushed: {error}");
    [answers, authorizers].into_iter().filter_map(Result::err).map(failed).collect()
}

/// Writes an older version of the record as the newest one, and moves the pin. Returns a warning for each failure.
async fn renew<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    plan: &Plan,
    record: &Record,
) -> Vec<String> {
    let renewed = Record {
        recorded_at: context.now,
        note: Some(format!("restored from version {}", plan.version)),
        ..record.clone()
    };
    let (mut warnings, mut newest) = (Vec::new(), plan.version);
    match records::print(&renewed) {
        Ok(value) => {
            let name = context.config.names.known_good(&plan.stage);
            let put = context.cloud.put_parameter(&name, &value, Write::Overwrite).await;
            match put {
                Ok(Written::Version(version)) => newest = version,
                Ok(Written::Exists) => {}
                Err(error) => {
                    warnings.push(format!("the older release was not recorded as the newest: {error}"));
                }
            }
        }
        Err(why) => warnings.push(why),
    }
    if context.config.pin {
        let moved = pin::move_to(context, &plan.stage, (&plan.to.deployment, newest)).await;
        warnings.extend(moved.err().map(|why| why.to_string()));
    }
    warnings
}

/// Names what was bad: the deployment, or the components if the stage keeps its deployment.
fn bad_part(plan: &Plan) -> String {
    let components = plan.steps.iter().filter_map(|step| match step {
        Step::Alias { alias, from, .. } => Some(format!("alias `{alias}` at {from}")),
        Step::Mapping { mapping, from, .. } => Some(format!("mapping `{mapping}` to {from}")),
        Step::Stage { .. } => None,
    });
    let components: Vec<String> = components.collect();
    if plan.change().is_some() || components.is_empty() {
        return format!("deployment `{}`", plan.from.deployment);
    }
    components.join(", ")
}

fn advice(plan: &Plan, trigger: &TriggeredBy) -> Vec<String> {
    let stack = format!(
        "the stack or pipeline still describes the bad release ({}), and its next deploy brings that release back: fix or \
         revert the change first",
        bad_part(plan)
    );
    let stack = match &plan.from.canary {
        Some(canary) if plan.from.deployment == plan.to.deployment => format!(
            "only the canary is off (deployment `{}`): fix or revert its change before the next one",
            canary.deployment.as_deref().unwrap_or("unknown")
        ),
        Some(_) | None => stack,
    };
    let watch = "watch the alarm: if it stays in ALARM, the release was not the cause".to_owned();
    std::iter::once(stack).chain(trigger.is_alarm().then_some(watch)).collect()
}
