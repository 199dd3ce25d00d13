//! Checks the names of the protected APIs, and notes in the index which APIs a name can mean.

use std::collections::BTreeSet;

use crate::cloud::{Gateway, Parameters, Write};
use crate::context::Context;
use crate::decide::names::{KnownNames, bearers, fault};
use crate::model::cloud_error::CloudError;
use crate::model::reason::Reason;
use crate::model::records::{self, NameIndex, SCHEMA};
use crate::model::report::{Outcome, Report};
use crate::observe::resolve::MAX_NAME;
use crate::observe::sweep::SweepReadings;

/// `GetParameters` takes this many names at a time.
const NAMES: usize = 10;

/// Compares the names of the protected REST APIs with those of all APIs (`GetRestApis`), and writes the index of each name
/// that another API bears, too, or no longer bears (`GetParameters`, `PutParameter`). An event then finds that its alarm can
/// mean both. Alarms know HTTP and WebSocket APIs by their ids. Returns a report for each stage that has a problem. A role that
/// may not list the APIs checks nothing.
///
/// # Errors
/// The first call that failed.
pub async fn check<C: Gateway + Parameters>(
    context: &Context<'_, C>,
    world: &SweepReadings,
) -> Result<Vec<Report>, CloudError> {
    let rest = world.on_record.iter().filter(|(stage, _)| !stage.protocol.is_v2());
    let known: Vec<KnownNames<'_>> = rest
        .map(|(stage, (on_record, _))| {
            (stage, context.config.api_names(stage, on_record.good().map(|(_, record)| record)))
        })
        .collect();
    if known.is_empty() {
        return Ok(vec![]);
    }
    let apis = match context.cloud.rest_apis().await {
        Err(error) if error.is_denial() => return Ok(vec![]),
        apis => apis?,
    };
    let bearers = bearers(&known, &apis);
    let wanted: Vec<(String, &BTreeSet<String>)> = bearers
        .iter()
        .filter(|(name, _)| name.len() <= MAX_NAME)
        .map(|(name, ids)| (context.config.names.api_name(name), ids))
        .collect();
    for some in wanted.chunks(NAMES) {
        let names: Vec<String> = some.iter().map(|(name, _)| name.clone()).collect();
        let found = context.cloud.parameters(&names).await?;
        for (name, ids) in some {
            let value = found.iter().find(|found| found.name == *name).map(|found| found.value.as_str());
            write_index(context, name, ids, value).await?;
        }
    }
    let faults = known.iter().filter_map(|one| Some((one.0, fault(one, &bearers, &apis)?)));
    let report = |(stage, why)| Report {
        outcome: Outcome::Attention,
        ..context.no(Reason::AmbiguousTarget(why)).on(stage)
    };
    Ok(faults.map(report).collect())
}

/// Writes the index of a name if it names other APIs. A name that means one API needs no index.
async fn write_index<C: Parameters>(
    context: &Context<'_, C>,
    name: &str,
    ids: &BTreeSet<String>,
    value: Option<&str>,
) -> Result<(), CloudError> {
    let indexed: BTreeSet<String> = match value.map(records::parse::<NameIndex>) {
        Some(Ok(index)) => index.apis.into_iter().collect(),
        // A newer version of the function may have written it.
        Some(Err(_)) => return Ok(()),
        None => BTreeSet::new(),
    };
    if indexed == *ids || (ids.len() < 2 && indexed.len() < 2) {
        return Ok(());
    }
    let index = NameIndex { schema: SCHEMA, apis: ids.iter().cloned().collect() };
    let Ok(value) = records::print(&index) else { return Ok(()) };
    context.cloud.put_parameter(name, &value, Write::Overwrite).await.map(|_| ())
}
