//! Reads the guarding alarms, and the alarms below those that are composite.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use crate::cloud::Alarms;
use crate::context::Context;
use crate::decide::leaves::{MAX_CHILDREN, MAX_DEPTH, children_of, resolved};
use crate::model::alarm::{AlarmNow, Muted, State};
use crate::model::cloud_error::CloudError;
use crate::model::datapoint::Datapoint;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::stage::StageRef;

/// How many mute rules or alarms' metrics are read at the same time. Rollbacks share CloudWatch's quotas.
const AT_ONCE: usize = 8;

/// The most alarms below one guarding alarm whose metrics are read in doubt.
const MAX_DOUBTS: usize = 20;

/// Reads every alarm that notifies our topic or invokes our function, and the alarms below composite alarms
/// (`DescribeAlarms`, one call for each level and 100 names). For those in ALARM, reads whether a mute rule mutes them
/// (`ListAlarmMuteRules`).
///
/// # Errors
/// A failed call of `DescribeAlarms`.
pub async fn read<C: Alarms>(context: &Context<'_, C>) -> Result<Vec<GuardingAlarm>, CloudError> {
    let acting = |action: Option<String>| async move {
        match action {
            Some(action) => context.cloud.alarms_acting(&action).await,
            None => Ok(vec![]),
        }
    };
    let (by_topic, by_function) =
        tokio::join!(acting(context.config.alarm_topic.clone()), acting(context.function.map(str::to_owned)));
    let mut alarms = by_topic?;
    alarms.extend(by_function?);
    alarms.sort_by(|a, b| a.alarm.name.cmp(&b.alarm.name));
    alarms.dedup_by(|a, b| a.alarm.name == b.alarm.name);
    let wanted = alarms.iter().flat_map(|now| children_of(&now.alarm)).collect();
    let known = below(context.cloud, wanted).await?;
    let alarms = alarms.into_iter().map(|now| resolved(now, &known)).collect();
    Ok(with_mutes(context.cloud, alarms).await)
}

/// Reads whether mute rules mute those of the alarms that are in ALARM (`ListAlarmMuteRules`, one call for each).
pub async fn with_mutes<C: Alarms>(cloud: &C, alarms: Vec<GuardingAlarm>) -> Vec<GuardingAlarm> {
    let reads = alarms.into_iter().map(|alarm| async move {
        let muted = match alarm.alarm.state {
            State::Alarm => muted(cloud, &alarm.alarm.name).await,
            State::Ok | State::InsufficientData => Muted::No,
        };
        GuardingAlarm { muted, ..alarm }
    });
    futures_util::stream::iter(reads).buffered(AT_ONCE).collect().await
}

/// Reads one alarm by name and whether a mute rule mutes it, in one round trip (`DescribeAlarms`,
/// `ListAlarmMuteRules`), then the alarms below it if it is composite. Returns `None` if there is no such alarm.
///
/// # Errors
/// A failed call of `DescribeAlarms`.
pub async fn named<C: Alarms>(cloud: &C, name: &str) -> Result<Option<GuardingAlarm>, CloudError> {
    let names = [name.to_owned()];
    let (found, muted) = tokio::join!(cloud.alarms(&names), muted(cloud, name));
    let Some(now) = found?.into_iter().find(|now| now.alarm.name == name) else { return Ok(None) };
    let known = below(cloud, children_of(&now.alarm)).await?;
    Ok(Some(GuardingAlarm { muted, ..resolved(now, &known) }))
}

/// Reads the datapoints of the alarms in ALARM that speak about a stage, from `since` until `until` (`GetMetricData`), by the
/// alarms' names. Leaves out those that cannot be read: for them, the times decide.
pub async fn datapoints<C: Alarms>(
    cloud: &C,
    guarding: &GuardingAlarm,
    (stage, api_names): (&StageRef, &[String]),
    (since, until): (DateTime<Utc>, DateTime<Utc>),
) -> BTreeMap<String, Vec<Datapoint>> {
    let reads = guarding.firing_about(stage, api_names).take(MAX_DOUBTS).map(|leaf| {
        let name = leaf.now.alarm.name.clone();
        // The breach may have begun a whole evaluation earlier.
        let since = since - leaf.now.window.min(TimeDelta::hours(3));
        async move {
            let found = cloud.datapoints(&name, since, until).await.unwrap_or_default();
            // The alarm fired in this period. If nothing is told even of that, its data cannot be had.
            found.filter(|found| !found.is_empty()).map(|found| (name, found))
        }
    });
    let reads: Vec<_> = reads.collect();
    futures_util::stream::iter(reads).buffered(AT_ONCE).filter_map(std::future::ready).collect().await
}

async fn muted<C: Alarms>(cloud: &C, alarm: &str) -> Muted {
    match cloud.muted_by(alarm).await {
        Ok(None) => Muted::No,
        Ok(Some(rule)) => Muted::By(rule),
        Err(error) => Muted::Unknown(error.to_string()),
    }
}

/// Reads alarms by name, and the alarms below those that are composite, level by level.
///
/// # Errors
/// A failed call.
async fn below<C: Alarms>(
    cloud: &C,
    mut wanted: Vec<String>,
) -> Result<BTreeMap<String, AlarmNow>, CloudError> {
    let mut known = BTreeMap::new();
    for _ in 0..MAX_DEPTH {
        wanted.sort();
        wanted.dedup();
        wanted.retain(|name| !known.contains_key(name));
        wanted.truncate(MAX_CHILDREN.saturating_sub(known.len()));
        if wanted.is_empty() {
            break;
        }
        let mut deeper = Vec::new();
        // One call accepts at most 100 names.
        for names in wanted.chunks(100) {
            for now in cloud.alarms(names).await? {
                deeper.extend(children_of(&now.alarm));
                known.insert(now.alarm.name.clone(), now);
            }
        }
        wanted = deeper;
    }
    Ok(known)
}
