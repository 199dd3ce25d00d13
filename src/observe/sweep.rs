//! Reads what a sweep needs: first everything that all stages share, then the rest for each stage before its actions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{components, evidence, guarding_alarms, protected_stages};
use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::evidence::not_live_before;
use crate::decide::testimony::{Guarding, Subject, guarding, went_live};
use crate::decide::upkeep::{StageFacts, promotion_due};
use crate::model::cloud_error::{CloudError, Fetched};
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::{DeploymentNow, LiveComponents, OnRecord, Pin};
use crate::model::protocol::Protocol;
use crate::model::records::{self, Incident, LastSweep};
use crate::model::stage::{LiveStage, StageRef};

/// API Gateway accepts 10 requests per second, with a burst of 40, for the whole account and Region. A sweep sends ten
/// reads at once and then five per second, so that a rollback can always send its own requests.
const BURST: usize = 10;
const PACE: Duration = Duration::from_millis(200);

/// What a sweep reads for all stages together.
#[derive(Debug)]
pub struct SweepReadings {
    /// The protected stages, each with its records and incidents.
    pub on_record: BTreeMap<StageRef, (OnRecord, Vec<Incident>)>,
    /// Every stage of the protected APIs.
    pub stages: BTreeMap<StageRef, LiveStage>,
    /// The guarding alarms.
    pub alarms: Vec<GuardingAlarm>,
    /// The APIs whose stages could not be read, each with the failed call. The sweep skips only their stages.
    pub unread: BTreeMap<String, CloudError>,
    /// How many parameters hold records.
    pub parameters: usize,
    /// The time of the previous sweep, if recorded.
    pub last: Option<DateTime<Utc>>,
}

/// Reads every record, guarding alarm and stage (`GetParametersByPath`, `DescribeAlarms`, `GetStages` for each API).
///
/// # Errors
/// The first failed call, except for `GetStages`: see [`SweepReadings::unread`].
pub async fn world<C: Gateway + Parameters + Alarms>(
    context: &Context<'_, C>,
) -> Result<SweepReadings, CloudError> {
    let (cloud, names) = (context.cloud, &context.config.names);
    let last = [names.sweep()];
    let stages_path = names.stages();
    let (parameters, alarms, last) = tokio::join!(
        cloud.parameters_under(&stages_path),
        guarding_alarms::read(context),
        cloud.parameters(&last)
    );
    // The time of the previous sweep is not worth a failed sweep.
    let last = last.unwrap_or_default();
    let last = last.first().and_then(|found| records::parse::<LastSweep>(&found.value).ok());
    let parameters = parameters?;
    let number = parameters.len();
    let protected = protected_stages::protected(context.config, &parameters);
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
            let on_record = context.config.on_record(&stage, &found);
            let incidents = names.all_incidents(&stage);
            let incidents = found.iter().filter(|found| found.name.starts_with(&incidents));
            let incidents = incidents.filter_map(|found| records::parse(&found.value).ok()).collect();
            (stage, (on_record, incidents))
        })
        .collect();
    let (stages, unread) = stages(cloud, &on_record).await;
    let last = last.map(|last| last.at);
    Ok(SweepReadings { on_record, stages, alarms: alarms?, unread, parameters: number, last })
}

async fn stages<C: Gateway, T>(
    cloud: &C,
    protected: &BTreeMap<StageRef, T>,
) -> (BTreeMap<StageRef, LiveStage>, BTreeMap<String, CloudError>) {
    let reads = apis(protected).into_iter().enumerate().map(|(nth, (protocol, api))| async move {
        let turn = u32::try_from(nth.saturating_sub(BURST)).unwrap_or(u32::MAX);
        tokio::time::sleep(PACE * turn).await;
        (cloud.stages(protocol, &api).await, api)
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
    (stages, unread)
}

/// Returns the APIs of the protected stages.
#[must_use]
pub fn apis<T>(protected: &BTreeMap<StageRef, T>) -> BTreeSet<(Protocol, String)> {
    protected.keys().map(|stage| (stage.protocol, stage.api.clone())).collect()
}

impl SweepReadings {
    /// Returns the guarding alarms of a stage, each with what it says about the stage.
    #[must_use]
    pub fn guarding<'a, C>(
        &'a self,
        context: &Context<'_, C>,
        stage: &StageRef,
        on_record: &OnRecord,
    ) -> Vec<Guarding<'a>> {
        let subject = Subject {
            stage,
            api_names: &context.config.api_names(stage, on_record.good().map(|(_, record)| record)),
            home: &context.config.home(context.account()),
            admission: &context.config.admission(context.function, &on_record.policy),
            went_live: self
                .stages
                .get(stage)
                .and_then(|live| went_live(on_record, &on_record.without_own_step(live.clone()))),
            guilt: None,
        };
        guarding(&self.alarms, subject)
    }
}

/// Reads the remaining facts about one stage: its components, its known-good deployment, and the evidence about its
/// live release if a promotion is due. A failed call becomes one of the facts.
pub async fn stage<'a, C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    world: &'a SweepReadings,
    stage: &'a StageRef,
    on_record: &'a OnRecord,
    incidents: &'a [Incident],
) -> StageFacts<'a> {
    let mut facts = StageFacts {
        stage,
        live: world.stages.get(stage).map(|live| on_record.without_own_step(live.clone())),
        on_record,
        incidents,
        alarms: &world.alarms,
        guarding: world.guarding(context, stage, on_record),
        components: Ok(LiveComponents::default()),
        deployment: Ok(DeploymentNow::NotAsked),
        pin: Pin::from_parked_stage(world.stages.get(&stage.parked()), context.config.names.prefix()),
        evidence: None,
    };
    let Some(live) = &mut facts.live else { return facts };
    facts.deployment = known_good_deployment(context, world, stage, on_record).await;
    let listed = context.config.listed(stage, &on_record.policy);
    if !listed.is_empty() {
        let recorded = on_record.good().map(|(_, record)| &record.release);
        facts.components =
            components::components(context.cloud, context.config, stage, &listed, recorded).await;
        if let Ok(components) = &facts.components {
            components.complete(&mut live.release);
        }
    }
    if let Some(candidate) = promotion_due(&facts, context.config, context.now) {
        let policy = context.config.policy.under(&on_record.policy);
        let names = context.config.api_names(stage, on_record.good().map(|(_, record)| record));
        let of = (stage, names.as_slice());
        let before = facts.live.as_ref().and_then(|live| not_live_before(on_record, live, &candidate));
        let candidate = (&candidate, before);
        facts.evidence = Some(evidence::read(context, of, candidate, &facts.guarding, &policy).await);
    }
    facts
}

/// Reads the known-good deployment (`GetDeployment`). A REST deployment that a stage serves needs no call, because API
/// Gateway does not delete it. For HTTP and WebSocket APIs that is not documented, so their deployments are read.
async fn known_good_deployment<C: Gateway>(
    context: &Context<'_, C>,
    world: &SweepReadings,
    stage: &StageRef,
    on_record: &OnRecord,
) -> Fetched<DeploymentNow> {
    let good = on_record.good().filter(|(_, record)| !on_record.rollbacks.quarantines(&record.release));
    let Some((_, record)) = good else { return Ok(DeploymentNow::NotAsked) };
    let deployment = &record.release.deployment;
    let in_use =
        world.stages.iter().any(|(one, live)| one.api == stage.api && live.release.deployment == *deployment);
    if in_use && !stage.protocol.is_v2() {
        return Ok(DeploymentNow::There);
    }
    let found = context.cloud.deployment(stage, deployment).await?;
    Ok(DeploymentNow::from_answer(found.as_ref()))
}
