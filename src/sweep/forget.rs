//! Removes old incidents, because an account can have only so many parameters, and watches how many there are.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Gateway, Parameters};
use crate::context::Context;
use crate::decide::incidents::{has_expired, quarantines};
use crate::model::cloud_error::CloudError;
use crate::model::reason::Reason;
use crate::model::records::Incident;
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;
use crate::observe::sweep::SweepReadings;

/// The most old incidents that one sweep looks at: each can take a request of API Gateway's quota.
const AT_ONCE: usize = 5;

/// The time that must be left: the sweep has more important things to do.
const SPARE: Duration = Duration::from_secs(20);

/// The most standard parameters of an account in a Region, and how many of them the records may use before people are told.
const MOST: usize = 10_000;
const MANY: usize = 8_000;

/// Removes some incidents that are older than the setting says and quarantine nothing that still exists (`GetDeployment`,
/// `DeleteParameter`). Every sweep looks at others. A role that may not delete them keeps them.
///
/// # Errors
/// The first call that failed.
pub async fn forget<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    world: &SweepReadings,
) -> Result<(), CloudError> {
    let Some(kept) = context.config.incidents_kept else { return Ok(()) };
    let all = world
        .on_record
        .iter()
        .flat_map(|(stage, (_, incidents))| incidents.iter().map(move |one| (stage, one)));
    let old: Vec<(&StageRef, &Incident)> =
        all.filter(|(_, one)| has_expired(one, kept, context.now)).collect();
    let minutes = usize::try_from(context.now.timestamp() / 60).unwrap_or_default();
    let first = minutes % old.len().max(1);
    for (stage, incident) in old.iter().cycle().skip(first).take(old.len().min(AT_ONCE)) {
        if Instant::now() + SPARE > context.deadline {
            break;
        }
        if quarantines(incident)
            && context.cloud.deployment(stage, &incident.bad.release.deployment).await?.is_some()
        {
            continue;
        }
        let name = context.config.names.incident(stage, &incident.bad.fingerprint());
        match context.cloud.delete_parameter(&name).await {
            Err(error) if error.is_denial() => break,
            deleted => deleted?,
        }
    }
    Ok(())
}

/// Reports that Parameter Store will soon be full: then a rollback leaves no incident.
#[must_use]
pub fn nearly_full<C>(context: &Context<'_, C>, world: &SweepReadings) -> Option<Report> {
    let used = world.parameters;
    (used >= MANY).then(|| Report {
        outcome: Outcome::Attention,
        ..context.no(Reason::ParametersNearlyFull { used, most: MOST })
    })
}
