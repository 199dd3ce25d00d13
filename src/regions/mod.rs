//! What a function tells its siblings in other Regions about a bad release, and what it does about theirs.

use crate::cloud::{Cloud, Gateway, Parameters};
use crate::context::Context;
use crate::decide::Trigger;
use crate::decide::sibling::{Contents, Place, place, rollout_label};
use crate::model::cloud_error::CloudError;
use crate::model::observed::Observed;
use crate::model::policy::Siblings;
use crate::model::reason::Reason;
use crate::model::release::Release;
use crate::model::report::{Outcome, Report};
use crate::model::sibling::{BadRelease, SiblingIncident, contents};
use crate::model::stage::{LiveStage, StageRef};
use crate::observe::observe;
use crate::rollback::{RollbackRequest, incident, rollback};

/// Names in a report the release that this run found bad, so that siblings can recognize it (`GetDeployment`, twice). What a
/// sibling found is not passed on, or its report would go in a circle.
pub async fn name_bad<C: Gateway>(context: &Context<'_, C>, report: &mut Report) {
    if !context.config.hears_siblings() || report.signal.is_sibling() || report.people.by_sibling {
        return;
    }
    let (Some(stage), Some(before), Some(after), Some(id)) =
        (&report.stage, &report.before, &report.after, &report.notification_key)
    else {
        return;
    };
    let canary = |release: &Release| release.canary.as_ref().and_then(|canary| canary.deployment.clone());
    let (bad, good, label) = if report.outcome == Outcome::RolledBack {
        let is_canary = before.deployment == after.deployment;
        let bad = if is_canary { canary(before) } else { Some(before.deployment.clone()) };
        (bad, &after.deployment, &report.before_label)
    } else if report.outcome == Outcome::RolloutAborted && report.people.is_abort {
        (canary(after), &before.deployment, &report.after_label)
    } else {
        return;
    };
    let read = tokio::try_join!(
        contents_of(context, stage, bad.as_deref()),
        contents_of(context, stage, Some(good))
    );
    let (contents, warning) = match read {
        // A description that the known-good deployment has as well does not say which release it is.
        Ok((bad, good)) => (bad.filter(|bad| good.as_ref() != Some(bad)), None),
        Err(error) => (None, Some(format!("other Regions may not recognize the release: {error}"))),
    };
    let (region, function) = (context.config.region.clone(), context.function_name().to_owned());
    report.bad = Some(BadRelease { region, function, id: id.clone(), label: label.clone(), contents });
    report.warnings.extend(warning);
}

/// Returns the fingerprint of a deployment's contents, if it exists and has a description (`GetDeployment`).
async fn contents_of<C: Gateway>(
    context: &Context<'_, C>,
    stage: &StageRef,
    deployment: Option<&str>,
) -> Result<Option<String>, CloudError> {
    let Some(deployment) = deployment else { return Ok(None) };
    Ok(context.cloud.deployment(stage, deployment).await?.and_then(|found| contents(&found.description)))
}

/// Takes the incident of a sibling as a hint about a stage, and does what the stage's policy says.
pub async fn hear<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    incident: &SiblingIncident,
) -> Report {
    let report = match heard(context, stage, incident).await {
        Ok(report) => report,
        Err(error) => context.failed_on(stage, &error),
    };
    let id = format!("{} {}", incident.bad.region, incident.bad.id);
    // The key of a rollback is that of its own incident.
    Report { notification_key: report.notification_key.clone().or(Some(id)), ..report }.on(stage)
}

async fn heard<C: Cloud>(
    context: &Context<'_, C>,
    stage: &StageRef,
    incident: &SiblingIncident,
) -> Result<Report, CloudError> {
    let observed = observe(context, stage, None, Trigger::Imagined).await?;
    let Some(live) = &observed.live else {
        let why = format!("{incident}; API Gateway has no stage `{}` on API `{}`", stage.stage, stage.api);
        return Ok(context.no(Reason::NoStage(why)));
    };
    let contents = contents_here(context, &observed, live, &incident.bad).await?;
    let place = place(&incident.bad, &live.release, &observed.on_record, &contents);
    let known = observed.on_record.rollbacks.siblings.iter().find(|one| one.is(&incident.bad));
    let incident = SiblingIncident { here: here(place, &live.release), ..incident.clone() };
    let report = match place {
        Place::Live | Place::Canary => match context.config.policy.under(&observed.on_record.policy).siblings {
            Siblings::Tell => context.no(Reason::SiblingIncident(format!(
                "{incident}; this stage serves it as well, and its policy `siblings` is `tell`"
            ))),
            Siblings::Hold => context.no(held(&incident, known)),
            // Never twice: an operator may have brought the release back meanwhile.
            Siblings::Follow if known.is_some() => context.no(held(&incident, known)),
            Siblings::Follow => {
                let trigger = Trigger::Sibling { incident: &incident, found: &live.release };
                rollback(context, stage, RollbackRequest { trigger, version: None, dry: false }).await
            }
        },
        Place::KnownGood => context.no(Reason::SiblingKnownGood(format!(
            "{incident}; it is known-good on this stage, so it stays"
        ))),
        Place::Elsewhere => {
            context.no(Reason::SiblingElsewhere(format!("{incident}; this stage serves another release")))
        }
        Place::Unknown => context.no(Reason::SiblingUnmatched(format!(
            "{incident}; neither a label nor the description of a deployment says whether this stage serves it"
        ))),
    };
    let live = Some(live.release.clone());
    let report = Report {
        before: report.before.clone().or_else(|| live.clone()),
        after: report.after.clone().or(live),
        ..report
    }
    .named(&observed.on_record);
    // After a failed rollback, the event comes again, and is not known then. Without a label, no later release can be the one.
    let is_over = place == Place::Elsewhere && incident.bad.label.is_none();
    // What is known may lack the deployment: the release went live here after the first message.
    let is_known = known.is_some_and(|known| incident.here.is_none() || known.here == incident.here);
    if is_known || is_over || report.outcome.is_failure() {
        return Ok(report);
    }
    let not_listed = match note(context, stage, &incident).await {
        Ok(not_listed) => not_listed,
        // The stage is rolled back, and that must be reported.
        Err(error) if report.outcome == Outcome::RolledBack => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let warnings = report.warnings.iter().cloned().chain(not_listed).collect();
    Ok(Report { warnings, ..report })
}

/// Returns why the release is held here, unless an operator has cleared that.
fn held(incident: &SiblingIncident, known: Option<&SiblingIncident>) -> Reason {
    Reason::SiblingIncident(match known {
        Some(known) if known.cleared => format!("{incident}; an operator has let this stage go on"),
        Some(_) | None => {
            format!(
                "{incident}; this stage serves it as well, so it is not promoted, and its rollout waits, until `release-hold` lets \
                 the stage go on"
            )
        }
    })
}

/// Returns the deployment of this stage that is the bad one.
fn here(place: Place, live: &Release) -> Option<String> {
    match place {
        Place::Live => Some(live.deployment.clone()),
        Place::Canary => live.canary.as_ref()?.deployment.clone(),
        Place::KnownGood | Place::Elsewhere | Place::Unknown => None,
    }
}

/// Adds the incident to the list as it is now: a rollback may just have changed it (`GetParameters`, `PutParameter`).
async fn note<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    incident: &SiblingIncident,
) -> Result<Option<String>, CloudError> {
    let found = context.cloud.parameters(&[context.config.names.rollbacks(stage)]).await?;
    let on_record = context.config.on_record(stage, &found);
    Ok(incident::list_of_sibling(context, stage, &on_record, incident).await.err())
}

/// Reads the descriptions of the stage's deployments, if labels do not decide (`GetDeployment`, up to three times).
async fn contents_here<C: Gateway>(
    context: &Context<'_, C>,
    observed: &Observed,
    live: &LiveStage,
    bad: &BadRelease,
) -> Result<Contents, CloudError> {
    let on_record = &observed.on_record;
    let good = on_record.good().map(|(_, record)| record);
    let canary = live.release.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
    let labels = [
        Some(on_record.label(&live.release)),
        good.map(|good| good.label.as_deref()),
        canary.map(|_| rollout_label(on_record, &live.release)),
    ];
    let is_labelled = labels.into_iter().flatten().all(|label| label.is_some());
    if bad.contents.is_none() || (bad.label.is_some() && is_labelled) {
        return Ok(Contents::default());
    }
    let stage = &observed.stage;
    let (live, canary, known_good) = tokio::try_join!(
        contents_of(context, stage, Some(&live.release.deployment)),
        contents_of(context, stage, canary),
        contents_of(context, stage, good.map(|good| good.release.deployment.as_str()))
    )?;
    Ok(Contents { live, canary, known_good })
}
