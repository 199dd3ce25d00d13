//! The read phase: everything that a decision needs is read here, before anything is decided.

pub mod components;
pub mod evidence;
pub mod guarding_alarms;
pub mod incidents;
pub mod protected_stages;
pub mod resolve;
pub mod sweep;

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::context::Context;
use crate::decide::claim::live_before_undoing;
use crate::decide::{Decision, Trigger, decide};
use crate::model::cloud_error::CloudError;
use crate::model::observed::{KnownGood, LiveComponents, Observed, OnRecord};
use crate::model::reason::Reason;
use crate::model::records::{self, Incident};
use crate::model::stage::StageRef;
use components::{components, moving_aliases, recorded_deployment};

/// How old a look at a stage may be when everything else is read.
const STILL_FRESH: Duration = Duration::from_secs(5);

/// Reads the stage, its records and the trigger's alarm at once, in one round trip (`GetStage`, `GetParameters`,
/// `DescribeAlarms`). A second round trip reads the components, if the release has any, and the recorded deployment,
/// unless the one call that sets it would refuse the plan as a whole. `version` is the version of the known-good record
/// to read; `None` takes the newest.
///
/// # Errors
/// The first call that failed; "does not exist" is no failure.
pub async fn observe<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: Option<i64>,
    trigger: Trigger<'_>,
) -> Result<Observed, CloudError> {
    let (cloud, config, names) = (context.cloud, context.config, &context.config.names);
    let known_good = names.known_good(stage);
    let known_good = version.map_or_else(|| known_good.clone(), |version| format!("{known_good}:{version}"));
    let others = [names.candidate(stage), names.hold(stage), names.policy(stage), names.rollbacks(stage)];
    let wanted: Vec<String> = std::iter::once(known_good.clone()).chain(others).collect();
    let alarm = trigger.alarm();
    let look = async { (cloud.stage(stage).await, Instant::now()) };
    let ((live, looked), found, alarms) = tokio::join!(look, cloud.parameters(&wanted), async {
        match alarm {
            Some(name) => cloud.alarms(&[name.to_owned()]).await,
            None => Ok(vec![]),
        }
    });
    // If hundreds of alarms are read at once, their answer can come long after the look at the stage.
    let live = if looked.elapsed() > STILL_FRESH { cloud.stage(stage).await } else { live };
    let mut on_record = OnRecord::from_parameters(names, &config.region, stage, &found?);
    if let KnownGood::None { parameter } = &mut on_record.known_good {
        *parameter = known_good;
    }
    let mut observed = Observed {
        at: context.clock(),
        stage: stage.clone(),
        configured: config.entry(stage).is_some(),
        live: live?,
        on_record,
        alarm: alarms?.into_iter().find(|now| Some(now.alarm.name.as_str()) == alarm),
        components: LiveComponents::default(),
    };
    let Some(live) = &mut observed.live else { return Ok(observed) };
    let listed = config.listed(stage, &observed.on_record.policy);
    let recorded = observed.on_record.good().map(|(_, record)| &record.release);
    let ask = stage.protocol.is_v2() || !listed.is_empty();
    let other = recorded.filter(|recorded| ask && recorded.deployment != live.release.deployment);
    let (components, moving, deployment) = tokio::try_join!(
        components(cloud, config, stage, &listed, recorded),
        moving_aliases(cloud, &listed),
        recorded_deployment(cloud, stage, other)
    )?;
    observed.components = LiveComponents { moving, deployment, ..components };
    observed.components.complete(&mut live.release);
    without_undoing(context, &mut observed, trigger).await;
    observed.at = context.clock();
    Ok(observed)
}

/// A refused run undoes its steps. API Gateway reports that as a change of the stage, but it is nobody's fix. If only
/// this change keeps the alarm from acting, the release counts as live since before it (`GetParameters`). An incident
/// that cannot be read counts as none: then the change is taken for somebody's.
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
