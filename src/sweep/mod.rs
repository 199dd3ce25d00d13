//! The sweep: checks every protected stage on a schedule, independently of alarm events.

pub mod forget;
pub mod names;
pub mod promote;
pub mod reconcile;
pub mod record;
pub mod watch;

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Cloud, Parameters, Write};
use crate::context::Context;
use crate::decide::testimony::Testimony;
use crate::model::cloud_error::CloudError;
use crate::model::plain::counted;
use crate::model::records::{LastSweep, SCHEMA, SERVES_KNOWN_GOOD};
use crate::model::report::{Details, Outcome, Report, SweptStage};
use crate::notify::marks::tend;
use crate::observe::sweep::{apis, stage, world};
use reconcile::reconcile;

/// The time that must be left to start with a stage: a rollback with some retries takes this long.
const TIME_FOR_A_STAGE: Duration = Duration::from_secs(8);

/// Checks every protected stage, one after the other, to leave room for a rollback in API Gateway's quota. Returns a
/// report for each action and each problem, and one for the sweep.
pub async fn sweep<C: Cloud>(context: &Context<'_, C>) -> Vec<Report> {
    let world = match world(context).await {
        Ok(world) => world,
        Err(error) => return vec![context.failed(&error)],
    };
    let mut reports = Vec::new();
    let mut details = Vec::new();
    let is_not_ours = |api: &str, error| context.config.is_not_ours(error, |ours| ours.api == api);
    for (_, error) in world.unread.iter().filter(|(api, error)| !is_not_ours(api, error)) {
        reports.push(context.failed(error));
    }
    // Before the stages: a name that can mean two APIs must not lead to a rollback.
    match names::check(context, &world).await {
        Ok(found) => reports.extend(found),
        Err(error) => reports.push(context.failed(&error)),
    }
    let mut stages: Vec<_> = world.on_record.iter().collect();
    // A stage in ALARM comes first, because its users see errors. A release can bake a little longer.
    stages.sort_by_key(|(stage, (on_record, _))| {
        let guarding = world.guarding(context, stage, on_record);
        !guarding.iter().any(|one| one.testimony == Testimony::Accuses)
    });
    for (name, (on_record, incidents)) in stages {
        let state = if let Some(error) = world.unread.get(&name.api) {
            error.to_string()
        } else if Instant::now() + TIME_FOR_A_STAGE > context.deadline {
            "left for the next sweep".to_owned()
        } else {
            let facts = stage(context, &world, name, on_record, incidents).await;
            let reconciled = reconcile(context, &facts).await;
            reports.extend(reconciled.reports.into_iter().map(|report| report.named(on_record)));
            reconciled.state
        };
        details.push(SweptStage { stage: name.to_string(), state });
    }
    reports.extend(forget::nearly_full(context, &world));
    let watched = watch::check(context, &world).await;
    reports.extend(watched.reports);
    let message = format!(
        "checked {} of {} with {}; {}",
        counted(details.len(), "stage"),
        counted(apis(&world.on_record).len(), "API"),
        counted(world.alarms.len(), "guarding alarm"),
        counted(reports.len(), "report")
    );
    let swept = context.report(Outcome::Swept, message);
    let (noted, tended, forgot) =
        tokio::join!(note_sweep(context, &details), tend(context), forget::forget(context, &world));
    let warnings = [noted.err(), tended.err(), forgot.err()]
        .into_iter()
        .flatten()
        .map(|error| error.to_string())
        .chain(watched.unread)
        .collect();
    reports.push(Report { details: Some(Details::Sweep(details)), since: world.last, warnings, ..swept });
    reports
}

/// Records that a sweep ran, for `doctor`; why a release is not known-good yet, for `status`; and which stages served their
/// known-good release, for the test of guilt (`PutParameter`).
async fn note_sweep<C: Parameters>(context: &Context<'_, C>, swept: &[SweptStage]) -> Result<(), CloudError> {
    let (good, open): (Vec<_>, Vec<_>) = swept.iter().partition(|one| one.state == SERVES_KNOWN_GOOD);
    let states = open.iter().map(|one| (one.stage.clone(), one.state.clone())).collect();
    let known_good = good.iter().map(|one| one.stage.clone()).collect();
    let (at, run) = (context.now, context.id.to_owned());
    let last = LastSweep { schema: SCHEMA, at, run, stages: swept.len(), states, known_good };
    // Without states and names it always fits.
    let value = last.print().unwrap_or_default();
    context.cloud.put_parameter(&context.config.names.sweep(), &value, Write::Overwrite).await.map(|_| ())
}
