//! The sweep: looks after every protected stage, whatever events came or did not come.

pub mod pin;
pub mod promote;
pub mod reconcile;
pub mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cloud::{Cloud, CloudError, LiveStage, Parameter, Write};
use crate::context::Run;
use crate::model::records::{self, Candidate, Incident, LastSweep, Names, Record, SCHEMA};
use crate::model::release::{Protocol, StageRef};
use crate::model::report::{Caller, Outcome, Report};
use crate::notify::forget;
use crate::observe::OnRecord;
use crate::observe::guarding_alarms::{self, Guard};
use crate::sweep::reconcile::{Facts, tend};

/// API Gateway lets 10 requests a second through, with a burst of 40, for the whole account and region.
/// The sweep's reads take ten at once and then five a second, so that a rollback always finds room. What it
/// does for the stages it does one after the other, for the same reason.
const BURST: usize = 10;
const PACE: Duration = Duration::from_millis(200);

/// No stage is begun with less time left than a rollback with some retries takes.
const TO_TEND: Duration = Duration::from_secs(8);

/// Looks after every protected stage: a report for each thing done or to be looked at, and one for the sweep.
pub async fn sweep<C: Cloud>(run: &Run<'_, C>, caller: &Caller) -> Vec<Report> {
    let world = match read(run).await {
        Ok(world) => world,
        Err(error) => return vec![run.failed(caller, &error)],
    };
    let mut all: Vec<Facts<'_>> = Vec::new();
    for (stage, (on_record, incidents)) in &world.on_record {
        all.push(Facts { stage, on_record, incidents, stages: &world.stages, guards: &world.guards });
    }
    // Where an alarm is in ALARM, users wait; what must bake can bake a little longer.
    all.sort_by_key(|facts| !facts.is_alarmed(run));
    let mut reports = Vec::new();
    let mut details: Vec<Value> = Vec::new();
    // Another function may keep its records under the same prefix, for APIs that ours may not read.
    let is_ours = |api: &str| run.config.stages.iter().any(|one| one.stage.api == api);
    for (_, error) in world.unread.iter().filter(|(api, error)| is_ours(api) || !error.is_denial()) {
        reports.push(run.failed(caller, error));
    }
    for facts in &all {
        if let Some(error) = world.unread.get(&facts.stage.api) {
            details.push(json!({"stage": facts.stage.to_string(), "state": error.to_string()}));
            continue;
        }
        if Instant::now() + TO_TEND > run.deadline {
            details.push(json!({"stage": facts.stage.to_string(), "state": "left for the next sweep"}));
            continue;
        }
        let tended = tend(run, facts, caller).await;
        details.push(json!({"stage": facts.stage.to_string(), "state": tended.state}));
        reports.extend(tended.reports);
    }
    let message = format!(
        "looked after {} stages of {} APIs with {} guarding alarms; {} reports",
        all.len(),
        apis(&world.on_record).len(),
        world.guards.len(),
        reports.len()
    );
    let swept = run.report(caller, Outcome::Swept, message);
    let (noted, forgotten) = tokio::join!(note_sweep(run, all.len()), forget(run));
    let warnings = [noted.err(), forgotten.err()].into_iter().flatten().map(|error| error.to_string());
    let warnings = warnings.collect();
    reports.push(Report { details: Some(json!(details)), since: world.last, warnings, ..swept });
    reports
}

/// Notes that a sweep went through, for whoever asks whether they still do.
async fn note_sweep<C: Cloud>(run: &Run<'_, C>, stages: usize) -> Result<(), CloudError> {
    let last = LastSweep { schema: SCHEMA, at: run.now, run: run.id.to_owned(), stages };
    run.cloud
        .put_parameter(&run.config.names.sweep(), &json!(last).to_string(), Write::Overwrite)
        .await
        .map(|_| ())
}

struct World {
    on_record: BTreeMap<StageRef, (OnRecord, Vec<Incident>)>,
    stages: BTreeMap<StageRef, LiveStage>,
    guards: Vec<Guard>,
    /// The APIs whose stages could not be read: only theirs are not looked after.
    unread: BTreeMap<String, CloudError>,
    /// When the sweep before this one was.
    last: Option<DateTime<Utc>>,
}

async fn read<C: Cloud>(run: &Run<'_, C>) -> Result<World, CloudError> {
    let path = run.config.names.stages();
    let last = [run.config.names.sweep()];
    let (parameters, guards, last) = tokio::join!(
        run.cloud.parameters_under(&path),
        guarding_alarms::read(run),
        run.cloud.parameters(&last)
    );
    // When the last sweep was is worth knowing, and not worth failing for.
    let last = last.unwrap_or_default();
    let last = last.first().and_then(|found| records::parse::<LastSweep>(&found.value).ok());
    let parameters = parameters?;
    let names = &run.config.names;
    let configured: BTreeSet<StageRef> = run.config.stages.iter().map(|one| one.stage.clone()).collect();
    let is_configured = |stage: &StageRef| {
        configured.iter().any(|known| (&known.api, &known.stage) == (&stage.api, &stage.stage))
    };
    let known = parameters.iter().filter_map(|parameter| recorded(names, parameter));
    let known: Vec<StageRef> = known.filter(|stage| !is_configured(stage)).collect();
    let protected: BTreeSet<StageRef> =
        configured.into_iter().chain(known).filter(|stage| !stage.is_parked()).collect();
    let mut by_stage: BTreeMap<(String, String), Vec<_>> = BTreeMap::new();
    for parameter in parameters {
        if let Some(stage) = names.stage_of(&parameter.name) {
            by_stage.entry(stage).or_default().push(parameter);
        }
    }
    let on_record: BTreeMap<StageRef, _> = protected
        .into_iter()
        .map(|stage| {
            let key = (stage.api.clone(), stage.stage.clone());
            let found = by_stage.remove(&key).unwrap_or_default();
            let on_record = OnRecord::of(run.config, &stage, &found);
            let incidents = names.all_incidents(&stage);
            let incidents = found.iter().filter(|found| found.name.starts_with(&incidents));
            let incidents = incidents.filter_map(|found| records::parse(&found.value).ok()).collect();
            (stage, (on_record, incidents))
        })
        .collect();
    let reads = apis(&on_record).into_iter().enumerate().map(|(nth, (protocol, api))| async move {
        let turn = u32::try_from(nth.saturating_sub(BURST)).unwrap_or(u32::MAX);
        tokio::time::sleep(PACE * turn).await;
        (run.cloud.stages(protocol, &api).await, api)
    });
    let (mut stages, mut unread) = (BTreeMap::new(), BTreeMap::new());
    for (answer, api) in futures_util::future::join_all(reads).await {
        match answer {
            Ok(found) => stages.extend(found),
            Err(error) => {
                unread.insert(api, error);
            }
        }
    }
    Ok(World { on_record, stages, guards: guards?, unread, last: last.map(|last| last.at) })
}

fn apis<T>(on_record: &BTreeMap<StageRef, T>) -> BTreeSet<(Protocol, String)> {
    on_record.keys().map(|stage| (stage.protocol, stage.api.clone())).collect()
}

/// The stage that a parameter says is protected: by its known-good record, or by its candidate. The kind of its
/// API is told inside; of one that cannot be read it is unknown, and a REST API's are the most.
pub(crate) fn recorded(names: &Names, parameter: &Parameter) -> Option<StageRef> {
    let (api, stage) = names.stage_of(&parameter.name)?;
    let rest = StageRef::rest(&api, &stage);
    let protocol = if parameter.name == names.known_good(&rest) {
        records::parse::<Record>(&parameter.value).map(|record| record.stage.protocol)
    } else if parameter.name == names.candidate(&rest) {
        records::parse::<Candidate>(&parameter.value).map(|candidate| candidate.protocol)
    } else {
        return None;
    };
    Some(StageRef { protocol: protocol.unwrap_or_default(), ..rest })
}
