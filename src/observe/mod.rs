//! Reads everything that a decision needs, before the decision.

pub mod components;
pub mod evidence;
pub mod guarding_alarms;
pub mod incidents;
pub mod protected_stages;
pub mod resolve;
pub mod sweep;
pub mod traffic;
pub mod wiring;

use crate::cloud::{Alarms, Components, FRESH, Gateway, Parameters};
use crate::context::Context;
use crate::decide::claim::live_before_undoing;
use crate::decide::counters::{known_good_seen, of_release};
use crate::decide::{Decision, Trigger, decide, in_doubt_since};
use crate::model::cloud_error::{CloudError, Fetched};
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::{KnownGood, LiveComponents, Observed};
use crate::model::reason::Reason;
use crate::model::records::{self, Incident, LastSweep, NameIndex, Parameter};
use crate::model::stage::StageRef;
use crate::model::target::{ApiRef, Target};
use crate::model::traffic::Traffic;
use components::{components, moving_aliases, recorded_deployment};
use resolve::MAX_NAME;

/// Reads everything that the decision needs (see [`look`]). In doubt about when the trouble began, it also reads the alarm's
/// datapoints (`GetMetricData`), and then everything else again. `version` selects a version of the known-good record,
/// `None` the newest.
///
/// # Errors
/// The first call that failed. A stage or record that does not exist is not an error.
pub async fn observe<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: Option<i64>,
    trigger: Trigger<'_>,
) -> Result<Observed, CloudError> {
    observe_and(context, stage, version, trigger, Deployment::IfNeeded).await
}

/// Reads the same as [`observe`], and always the recorded deployment (`GetDeployment`): no call follows that API Gateway
/// would refuse if the deployment did not exist. For plans and for the effect of an alarm now.
///
/// # Errors
/// See [`observe`].
pub async fn observe_for_preview<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: Option<i64>,
    trigger: Trigger<'_>,
) -> Result<Observed, CloudError> {
    observe_and(context, stage, version, trigger, Deployment::Always).await
}

/// Whether to read the recorded deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deployment {
    IfNeeded,
    Always,
}

async fn observe_and<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: Option<i64>,
    trigger: Trigger<'_>,
    deployment: Deployment,
) -> Result<Observed, CloudError> {
    let mut observed = look(context, stage, version, trigger, deployment).await?;
    let policy = context.config.policy.under(&observed.on_record.policy);
    if let Some(since) = in_doubt_since(trigger, &observed, &policy, context.now)
        && let Some(alarm) = &observed.alarm
    {
        let about = (stage, observed.api_names.as_slice());
        let later = guarding_alarms::datapoints(context.cloud, alarm, about, (since, context.now)).await;
        // The stage may have changed meanwhile.
        observed = look(context, stage, version, trigger, deployment).await?;
        for leaf in observed.alarm.iter_mut().flat_map(|alarm| &mut alarm.leaves) {
            leaf.later = later.get(&leaf.now.alarm.name).cloned();
        }
    }
    without_undoing(context, &mut observed, trigger).await;
    Ok(Observed { at: context.clock(), ..observed })
}

/// Reads the stage, its records and the trigger's alarm in one round trip (`GetStage`, `GetParameters`,
/// `DescribeAlarms`, `ListAlarmMuteRules`); a composite alarm takes more (see [`guarding_alarms::named`]). A second round
/// trip reads the components, if any (see [`components()`]), and the recorded deployment (`GetDeployment`), unless the plan
/// is one call, which API Gateway would refuse if the deployment did not exist.
async fn look<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: Option<i64>,
    trigger: Trigger<'_>,
    deployment: Deployment,
) -> Result<Observed, CloudError> {
    let (cloud, config, names) = (context.cloud, context.config, &context.config.names);
    let known_good = names.known_good(stage);
    let known_good = version.map_or_else(|| known_good.clone(), |version| format!("{known_good}:{version}"));
    let others = names.besides_known_good(stage);
    let index = match trigger {
        Trigger::Alarm { target: Target { api: ApiRef::Name(name), .. }, .. } if name.len() <= MAX_NAME => {
            Some(names.api_name(name))
        }
        Trigger::Alarm { .. }
        | Trigger::Operator { .. }
        | Trigger::Rollout
        | Trigger::Sibling { .. }
        | Trigger::Imagined => None,
    };
    let is_shown = matches!((trigger, deployment), (Trigger::Imagined, Deployment::Always));
    let sweep = (is_shown || trigger.alarm().is_some()).then(|| names.sweep());
    let wanted: Vec<String> =
        std::iter::once(known_good.clone()).chain(others).chain(index.clone()).chain(sweep.clone()).collect();
    let fired = async {
        match trigger.alarm() {
            Some(name) => guarding_alarms::named(cloud, name).await,
            None => Ok(None),
        }
    };
    let by_stage = async {
        let names = names_in_metrics(context, stage, trigger, deployment)?;
        traffic::of_stage(context, stage, &names, config.policy.test.latency).await
    };
    let (look, found, alarm, by_stage) =
        tokio::join!(cloud.look_at_once(stage), cloud.parameters(&wanted), fired, by_stage);
    let found = found?;
    let mut on_record = config.on_record(stage, &found);
    let index = found.iter().find(|found| Some(&found.name) == index.as_ref());
    let namesakes = index.map_or_else(|| Ok(vec![]), namesakes).unwrap_or_else(|unreadable| {
        // It may say that the alarm means two APIs.
        on_record.unreadable.get_or_insert(unreadable);
        vec![]
    });
    if let KnownGood::None { parameter } = &mut on_record.known_good {
        *parameter = known_good;
    }
    // When hundreds of runs read alarms at once, the stage is read last, or again.
    let look = match look? {
        Some(look) if look.at.elapsed() <= FRESH => look,
        Some(_) | None => cloud.look(stage).await?,
    };
    let mut api_names = config.api_names(stage, on_record.good().map(|(_, record)| record));
    if let Trigger::Alarm { target, .. } = trigger {
        api_names.push(target.api.text().to_owned());
    }
    let alarm = alarm?.map(|alarm| GuardingAlarm::fired_by(alarm, context.trigger.changed_at));
    let admission = config.admission(context.function, &on_record.policy);
    let observed = Observed {
        at: context.clock(),
        stage: stage.clone(),
        configured: config.entry(stage).is_some(),
        live: look.live.map(|live| on_record.without_own_step(live)),
        seen_at: context.time(look.at),
        on_record,
        api_names,
        namesakes,
        home: config.home(context.account()),
        admission,
        alarm,
        components: LiveComponents::default(),
        traffic: None,
        last_sweep: sweep.and_then(|name| last_sweep(&found, &name)),
    };
    complete(context, observed, by_stage, trigger, deployment).await
}

/// The second round trip: reads the components, the recorded deployment and the requests by the access log. `by_stage` has
/// those by API Gateway's own metrics.
async fn complete<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    mut observed: Observed,
    by_stage: Option<Fetched<Traffic>>,
    trigger: Trigger<'_>,
    deployment: Deployment,
) -> Result<Observed, CloudError> {
    let (cloud, config, stage) = (context.cloud, context.config, &observed.stage);
    let Some(live) = &mut observed.live else { return Ok(observed) };
    let listed = config.listed(stage, &observed.on_record.policy);
    let recorded = observed.on_record.good().map(|(_, record)| &record.release);
    let ask = deployment == Deployment::Always || stage.protocol.is_v2() || !listed.is_empty();
    let other = recorded.filter(|recorded| ask && recorded.deployment != live.release.deployment);
    let by_log = async {
        // An operator's rollback needs no proof.
        if matches!(trigger, Trigger::Operator { .. }) {
            return Ok(None);
        }
        let latency = config.policy.test.latency;
        Ok(traffic::of_releases(context, stage, (live, &observed.on_record), latency).await)
    };
    let (components, moving, deployment, by_log) = tokio::try_join!(
        components(cloud, config, stage, &listed, recorded),
        moving_aliases(cloud, &listed),
        recorded_deployment(cloud, stage, other),
        by_log
    )?;
    observed.components = LiveComponents { moving, deployment, ..components };
    observed.components.complete(&mut live.release);
    observed.traffic = match by_log.or(by_stage).transpose() {
        Ok(read) => {
            let seen = known_good_seen(observed.last_sweep.as_ref(), stage);
            read.and_then(|read| of_release(&read, live, &observed.on_record, seen)).map(Ok)
        }
        Err(error) => Some(Err(error)),
    };
    Ok(observed)
}

/// Returns the names that the API has in its metrics, as far as they are known before anything is read; `None` if its requests
/// do not matter. An alarm that names the API by its id does not say whether another API has the same name.
fn names_in_metrics<C>(
    context: &Context<'_, C>,
    stage: &StageRef,
    trigger: Trigger<'_>,
    deployment: Deployment,
) -> Option<Vec<String>> {
    match trigger {
        Trigger::Alarm { target: Target { api: ApiRef::Name(name), .. }, .. } => Some(vec![name.clone()]),
        Trigger::Alarm { .. } => Some(vec![]),
        Trigger::Imagined if deployment == Deployment::Always => Some(context.config.api_names(stage, None)),
        // The deployments of a rollout are counted by the access log alone.
        Trigger::Imagined | Trigger::Rollout | Trigger::Sibling { .. } | Trigger::Operator { .. } => None,
    }
}

/// Returns the last sweep, if its parameter can be read.
fn last_sweep(found: &[Parameter], name: &str) -> Option<LastSweep> {
    let found = found.iter().find(|found| found.name == name)?;
    records::parse(&found.value).ok()
}

/// Returns the APIs that a name can mean, if its index says that there are several.
///
/// # Errors
/// A sentence, if the index cannot be read.
fn namesakes(index: &Parameter) -> Result<Vec<String>, String> {
    match records::parse::<NameIndex>(&index.value) {
        Ok(index) if index.apis.len() > 1 => Ok(index.apis),
        Ok(_) => Ok(vec![]),
        Err(why) => Err(format!("the parameter `{}` {why}", index.name)),
    }
}

/// Ignores the change that a refused run made when it undid its steps. API Gateway reports it like a deploy, but it is
/// not a fix. If only this change keeps the alarm from acting, the release counts as live since before the change
/// (`GetParameters`). If the incident cannot be read, the change counts as a deploy.
async fn without_undoing<C: Parameters>(
    context: &Context<'_, C>,
    observed: &mut Observed,
    trigger: Trigger<'_>,
) {
    let policy = context.config.policy.under(&observed.on_record.policy);
    let Decision::Hold(Reason::ChangedAfterAlarm { changed_at, .. }) =
        decide(trigger, observed, &policy, context.now)
    else {
        return;
    };
    let Some(live) = &mut observed.live else { return };
    let name = context.config.names.incident(&observed.stage, &live.release.fingerprint());
    let found = context.cloud.parameters(&[name]).await.unwrap_or_default();
    let incident = found.first().and_then(|found| records::parse::<Incident>(&found.value).ok());
    if let Some(since) = incident.and_then(|incident| live_before_undoing(&incident, changed_at)) {
        live.updated_at = Some(since);
    }
}
