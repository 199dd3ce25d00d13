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
            let why = format!("the alarms below `{name}` are more than {MAX_DEPTH} levels below it");
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::alarm::State;
    use crate::model::alarm_setup::AlarmSetup;

    /// An alarm written `top: one two`, or `leaf` if it watches data.
    fn alarm(text: &str, description: Option<&str>) -> AlarmNow {
        let on_data = (text, Watches::Metrics(vec![]));
        let (name, watches) = text.split_once(':').map_or(on_data, |(name, rule)| {
            (name, Watches::Alarms(rule.split_whitespace().map(str::to_owned).collect()))
        });
        let description = description.map(str::to_owned);
        AlarmNow {
            alarm: Alarm { description, watches, ..Alarm::new(name, State::Alarm) },
            actions_enabled: true,
            actions: vec![],
            window: TimeDelta::zero(),
            evaluated: vec![],
            setup: AlarmSetup::default(),
        }
    }

    fn names(of: &[Leaf]) -> Vec<&str> {
        of.iter().map(|leaf| leaf.now.alarm.name.as_str()).collect()
    }

    #[test]
    fn a_composite_alarm_is_resolved_to_each_alarm_below_it_once() {
        let back = "its rule leads back to the alarm `top`";
        let gone = "the alarm `gone` in its rule does not exist, or is not among the first 1000";
        for (case, alarms, leaves, unresolved) in [
            ("an alarm on data", vec!["top"], vec!["top"], vec![]),
            ("one alarm below", vec!["top: a", "a"], vec!["a"], vec![]),
            ("three alarms below", vec!["top: a b c", "a", "b", "c", "d"], vec!["a", "b", "c"], vec![]),
            ("an alarm twice in a rule", vec!["top: a b a", "a", "b"], vec!["a", "b"], vec![]),
            (
                "an alarm in the rules of two alarms",
                vec!["top: x y", "x: a b", "y: b c", "a", "b", "c"],
                vec!["a", "b", "c"],
                vec![],
            ),
            ("a rule that leads back", vec!["top: a x", "a", "x: top"], vec!["a"], vec![back]),
            ("an alarm that does not exist", vec!["top: gone a", "a"], vec!["a"], vec![gone]),
            ("an empty rule", vec!["top:"], vec![], vec!["the rule of the alarm `top` names no alarm"]),
        ] {
            let mut known = alarms.into_iter().map(|text| alarm(text, None));
            let top = known.next().unwrap();
            let known = known.chain([top.clone()]).map(|now| (now.alarm.name.clone(), now)).collect();
            let found = resolved(top, &known);
            let unresolved = unresolved.into_iter().map(str::to_owned).collect();
            assert_eq!((names(&found.leaves), found.unresolved), (leaves, unresolved), "{case}");
        }
    }

    #[test]
    fn a_composite_alarm_that_names_its_stages_speaks_for_the_alarms_below_it() {
        let directive = Some("rollback-target: a/prod");
        for (case, of_top, of_middle, leaves, targets) in [
            ("none names a stage", None, None, vec!["a"], 0),
            ("the middle one does", None, directive, vec!["middle"], 1),
            ("the top one does", directive, None, vec!["a"], 1),
        ] {
            let top = alarm("top: middle", of_top);
            let below = [alarm("middle: a", of_middle), alarm("a", None)];
            let known = below.map(|now| (now.alarm.name.clone(), now)).into();
            let found = resolved(top, &known);
            assert_eq!((names(&found.leaves), found.targets.len()), (leaves, targets), "{case}");
        }
    }
}
