//! Reads the requests of a release and of the one before it, for the test of guilt.

use std::time::Duration;

use crate::cloud::Alarms;
use crate::context::Context;
use crate::decide::counters::{KEPT, Wanted, of_access_log, of_own_metrics, of_versions};
use crate::model::cloud_error::{CloudError, Failure, Fetched};
use crate::model::observed::OnRecord;
use crate::model::stage::{LiveStage, StageRef};
use crate::model::traffic::{Counter, Source, Traffic};

/// The longest time that a decision waits for the requests. Without them, the alarm's own verdict stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the requests of the last hours by API Gateway's own metrics (`GetMetricData`), so that a stage without an access log
/// needs no further round trip. Returns `None` if the name of the API in its metrics is not known.
pub async fn of_stage<C: Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    api_names: &[String],
    latency: Option<u32>,
) -> Option<Fetched<Traffic>> {
    let counter = of_own_metrics(stage, api_names, latency)?;
    Some(read(context, Wanted::of_stage(Source::OwnMetrics, counter)).await)
}

/// Reads the requests of the last hours by the access log, or those of versions while a rollout moves aliases
/// (`GetMetricData`). Returns `None` if the access log does not count them.
pub async fn of_releases<C: Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    (live, on_record): (&LiveStage, &OnRecord),
    latency: Option<u32>,
) -> Option<Fetched<Traffic>> {
    let by_log = || of_access_log(stage, live, on_record, latency);
    Some(read(context, of_versions(on_record).or_else(by_log)?).await)
}

async fn read<C: Alarms>(context: &Context<'_, C>, wanted: Wanted) -> Fetched<Traffic> {
    let Wanted { source, live, canary, before } = &wanted;
    let counters: Vec<&Counter> =
        [Some(live), canary.as_ref(), before.as_ref()].into_iter().flatten().collect();
    let reading = context.cloud.requests(&counters, source.period(), context.now - KEPT, context.clock());
    let answer = tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
        Err(CloudError {
            failure: Failure::NoAnswer,
            operation: "GetMetricData",
            subject: "the requests of the stage".to_owned(),
            code: "TimedOut".to_owned(),
            message: format!("no answer within {} ms", PATIENCE.as_millis()),
        })
    });
    let mut found = answer?.into_iter();
    let mut next = |is_wanted: bool| if is_wanted { found.next().unwrap_or_default() } else { vec![] };
    Ok(Traffic {
        source: *source,
        live: next(true),
        canary: next(canary.is_some()),
        before: next(before.is_some()),
        known_good_until: None,
    })
}
