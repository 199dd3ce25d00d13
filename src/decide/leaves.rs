//! Resolves a composite alarm down to the alarms that watch data. Pure.

use std::collections::BTreeMap;

use crate::model::alarm::{Alarm, AlarmNow, Muted, Watches, name_of};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::signal::target::stages_named_by;

/// How deep composite alarms may be stacked. CloudWatch advises against more than a few levels.
pub const MAX_DEPTH: usize = 5;

/// The most alarms below the guarding alarms that are read. More would exhaust the quota of `DescribeAlarms`.
pub const MAX_CHILDREN: usize = 1_000;

/// Returns the names of the alarms in a composite alarm's rule.
#[must_use]
pub fn children_of(alarm: &Alarm) -> Vec<String> {
    match &alarm.watches {
        Watches::Alarms(names) => names.iter().map(|name| name_of(name).to_owned()).collect(),
        Watches::Metrics(_) => vec![],
    }
}

/// Combines an alarm with the alarms below it. Whether a mute rule mutes it is not known here.
#[must_use]
pub fn resolved(now: AlarmNow, known: &BTreeMap<String, AlarmNow>) -> GuardingAlarm {
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
        actions: now.actions,
        ok_actions: now.setup.ok_actions,
        muted: Muted::No,
        targets,
        leaves: leaves.found,
        unresolved: leaves.unresolved,
        alarm: now.alarm,
    }
}

/// The leaves below an alarm.
#[derive(Default)]
struct Leaves {
    found: Vec<Leaf>,
    unresolved: Vec<String>,
}

impl Leaves {
    /// Adds an alarm: itself if it watches data or names its stages, otherwise the alarms below it.
    fn add(&mut self, now: &AlarmNow, known: &BTreeMap<String, AlarmNow>, path: &mut Vec<String>) {
        let targets = stages_named_by(&now.alarm);
        if matches!(now.alarm.watches, Watches::Alarms(_)) && targets.is_empty() {
            return self.add_below(now, known, path);
        }
        if self.found.iter().all(|leaf| leaf.now.alarm.name != now.alarm.name) {
            self.found.push(Leaf { targets, now: now.clone(), later: None });
        }
    }

    /// Adds the alarms below a composite alarm that is reached by this path.
    fn add_below(&mut self, now: &AlarmNow, known: &BTreeMap<String, AlarmNow>, path: &mut Vec<String>) {
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
