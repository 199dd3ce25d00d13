//! Reads the guarding alarms, and resolves composite alarms down to the alarms that watch data.

use std::collections::BTreeMap;

use crate::cloud::Alarms;
use crate::context::Context;
use crate::model::alarm::{Alarm, AlarmNow, Watches, name_of};
use crate::model::cloud_error::CloudError;
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::signal::target::stages_named_by;

/// How deep composite alarms may be stacked. CloudWatch advises against more than a few levels.
const MAX_DEPTH: usize = 5;

/// The most alarms below the guarding alarms that are read. More would exhaust the quota of `DescribeAlarms`.
const MAX_CHILDREN: usize = 1_000;

/// Reads every alarm that notifies our topic or invokes our function, and the alarms below composite alarms
/// (`DescribeAlarms`, one call for each level and 100 names).
///
/// # Errors
/// A failed call.
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
    Ok(alarms.into_iter().map(|now| resolved(now, &known)).collect())
}

/// Reads alarms by name, and the alarms below those that are composite, level by level.
///
/// # Errors
/// A failed call.
pub(super) async fn below<C: Alarms>(
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

/// Returns the names of the alarms in a composite alarm's rule.
fn children_of(alarm: &Alarm) -> Vec<String> {
    match &alarm.watches {
        Watches::Alarms(names) => names.iter().map(|name| name_of(name).to_owned()).collect(),
        Watches::Metrics(_) => vec![],
    }
}

/// Combines an alarm with the alarms below it.
fn resolved(now: AlarmNow, known: &BTreeMap<String, AlarmNow>) -> GuardingAlarm {
    let mut leaves = Leaves::default();
    match &now.alarm.watches {
        Watches::Alarms(_) => leaves.add_below(&now, known, &mut vec![]),
        Watches::Metrics(_) => leaves.add(&now, known, &mut vec![]),
    }
    let mut targets = stages_named_by(&now.alarm);
    if targets.is_empty() {
        for target in leaves.found.iter().flat_map(|leaf| &leaf.targets) {
            if !targets.contains(target) {
                targets.push(target.clone());
            }
        }
    }
    let window = leaves.found.iter().map(|leaf| leaf.now.window).max();
    GuardingAlarm {
        window: window.unwrap_or(now.window),
        actions_enabled: now.actions_enabled,
        targets,
        leaves: leaves.found,
        unresolved: leaves.unresolved,
        alarm: now.alarm,
    }
}

/// The leaves below an alarm.
#[derive(Default)]
pub(super) struct Leaves {
    pub(super) found: Vec<Leaf>,
    pub(super) unresolved: Vec<String>,
}

impl Leaves {
    /// Adds an alarm: itself if it watches data or names its stages, otherwise the alarms below it.
    pub(super) fn add(&mut self, now: &AlarmNow, known: &BTreeMap<String, AlarmNow>, path: &mut Vec<String>) {
        let targets = stages_named_by(&now.alarm);
        if matches!(now.alarm.watches, Watches::Alarms(_)) && targets.is_empty() {
            return self.add_below(now, known, path);
        }
        if self.found.iter().all(|leaf| leaf.now.alarm.name != now.alarm.name) {
            self.found.push(Leaf { targets, now: now.clone() });
        }
    }

    /// Adds the alarms below a composite alarm that is reached by this path.
    pub(super) fn add_below(
        &mut self,
        now: &AlarmNow,
        known: &BTreeMap<String, AlarmNow>,
        path: &mut Vec<String>,
    ) {
        let name = now.alarm.name.clone();
        if path.contains(&name) {
            return self.unresolved.push(format!("its rule leads back to the alarm `{name}`"));
        }
        if path.len() >= MAX_DEPTH {
            let why = format!("the alarm `{name}` is more than {MAX_DEPTH} levels below it");
            return self.unresolved.push(why);
        }
        let children = children_of(&now.alarm);
        if children.is_empty() {
            self.unresolved.push(format!("the rule of the alarm `{name}` names no alarm"));
        }
        path.push(name);
        for child in children {
            match known.get(&child) {
                Some(child) => self.add(child, known, path),
                None => self.unresolved.push(format!(
                    "the alarm `{child}` in its rule does not exist, or is not among the first {MAX_CHILDREN}"
                )),
            }
        }
        path.pop();
    }
}
