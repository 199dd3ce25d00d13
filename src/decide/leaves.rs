//! Resolves a composite alarm down to the alarms that watch data. Pure.

use std::collections::BTreeMap;

use crate::model::alarm::{Alarm, AlarmNow, Muted, State, Watches, name_of};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::target::Target;
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
    let mut targets = stages_named_by(&now.alarm);
    match &now.alarm.watches {
        Watches::Alarms(_) => leaves.add_below(&now, known, &mut vec![], None),
        Watches::Metrics(_) => leaves.push(&now, &now.alarm.name, &targets),
    }
    let speaks_by_leaves = targets.is_empty() && matches!(now.alarm.watches, Watches::Alarms(_));
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
        speaks_by_leaves,
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

/// A composite alarm between, which names the stages for the alarms below it.
#[derive(Clone, Copy)]
struct Speaker<'a> {
    name: &'a str,
    targets: &'a [Target],
}

impl Leaves {
    /// Adds an alarm: itself if it watches data, otherwise the alarms below it. `speaker` names the stages for them.
    fn add(
        &mut self,
        now: &AlarmNow,
        known: &BTreeMap<String, AlarmNow>,
        path: &mut Vec<String>,
        speaker: Option<Speaker<'_>>,
    ) {
        let own = stages_named_by(&now.alarm);
        match (&now.alarm.watches, speaker) {
            (Watches::Metrics(_), None) => self.push(now, &now.alarm.name, &own),
            (Watches::Metrics(_), Some(speaker)) => self.push(now, speaker.name, speaker.targets),
            (Watches::Alarms(_), None) if !own.is_empty() => self.add_speaker(now, known, path, &own),
            (Watches::Alarms(_), speaker) => self.add_below(now, known, path, speaker),
        }
    }

    /// Adds a composite alarm that names these stages for the alarms below it. In ALARM, those of them that are, too, accuse the
    /// stages by their data; if none is (a rule with `NOT`), it does so itself.
    fn add_speaker(
        &mut self,
        now: &AlarmNow,
        known: &BTreeMap<String, AlarmNow>,
        path: &mut Vec<String>,
        targets: &[Target],
    ) {
        let name = &now.alarm.name;
        let mut below = Self::default();
        below.add_below(now, known, path, Some(Speaker { name, targets }));
        let fires = below.found.iter().any(|leaf| leaf.now.alarm.state == State::Alarm);
        if now.alarm.state == State::Alarm && (fires || !below.unresolved.is_empty()) {
            below.found.iter().for_each(|leaf| self.push(&leaf.now, name, targets));
            return self.unresolved.append(&mut below.unresolved);
        }
        let window = below.found.iter().map(|leaf| leaf.now.window).max().unwrap_or(now.window);
        self.push(&AlarmNow { window, ..now.clone() }, name, targets);
    }

    /// Adds a leaf, or the stages that are named for it if it is one already.
    fn push(&mut self, now: &AlarmNow, named_by: &str, targets: &[Target]) {
        let Some(leaf) = self.found.iter_mut().find(|leaf| leaf.now.alarm.name == now.alarm.name) else {
            let (named_by, targets) = (named_by.to_owned(), targets.to_vec());
            return self.found.push(Leaf { now: now.clone(), targets, named_by, later: None });
        };
        let more = targets.iter().filter(|target| !leaf.targets.contains(target)).cloned();
        leaf.targets.extend(more.collect::<Vec<_>>());
    }

    /// Adds the alarms below a composite alarm that is reached by this path.
    fn add_below(
        &mut self,
        now: &AlarmNow,
        known: &BTreeMap<String, AlarmNow>,
        path: &mut Vec<String>,
        speaker: Option<Speaker<'_>>,
    ) {
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
                Some(child) => self.add(child, known, path, speaker),
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
    use crate::model::alarm_setup::AlarmSetup;
    use crate::model::target::ApiRef;

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
        let (fires, ok) = (State::Alarm, State::Ok);
        for (case, of_top, of_middle, middle, leaf, expected) in [
            ("none names a stage", None, None, fires, fires, "a by a: 0 stages, 10 min"),
            ("the top one does", directive, None, fires, fires, "a by a: 1 stages, 10 min"),
            ("the middle one does", None, directive, fires, fires, "a by middle: 1 stages, 10 min"),
            ("both do", directive, directive, fires, fires, "a by middle: 1 stages, 10 min"),
            // What it says is not what the alarm below it says.
            (
                "the middle one does, and is OK",
                None,
                directive,
                ok,
                fires,
                "middle by middle: 1 stages, 10 min",
            ),
            ("the middle one fires alone", None, directive, fires, ok, "middle by middle: 1 stages, 10 min"),
        ] {
            let top = alarm("top: middle", of_top);
            let (mut middle_now, mut data) = (alarm("middle: a", of_middle), alarm("a", None));
            (middle_now.alarm.state, data.alarm.state) = (middle, leaf);
            data.window = TimeDelta::minutes(10);
            let known = [middle_now, data].map(|now| (now.alarm.name.clone(), now)).into();
            let found = resolved(top, &known);
            let [leaf] = found.leaves.as_slice() else { panic!("{case}: {:?}", found.leaves) };
            let (name, window) = (&leaf.now.alarm.name, found.window.num_minutes());
            let shown = format!("{name} by {}: {} stages, {window} min", leaf.named_by, found.targets.len());
            assert_eq!((shown.as_str(), found.speaks_by_leaves), (expected, of_top.is_none()), "{case}");
        }
    }

    #[test]
    fn an_alarm_on_data_has_the_stages_that_are_named_for_it() {
        let named = |api: &str| format!("rollback-target: {api}/prod");
        for (case, rule, of_leaf, unresolved, expected) in [
            ("by itself", "top: a", Some(named("a")), 0, "a"),
            ("by the alarm between", "top: x", None, 0, "x"),
            ("by the alarm between, not by itself", "top: x", Some(named("a")), 0, "x"),
            ("by two alarms between", "top: x y", None, 0, "x y"),
            ("by itself and by an alarm between", "top: a x", Some(named("a")), 0, "a x"),
            ("by the upper one of two alarms between", "top: z", None, 0, "z"),
            ("by one that has an alarm that does not exist", "top: v", None, 1, "v"),
        ] {
            let mut alarms: Vec<_> = [("x", "a"), ("y", "a"), ("z", "x"), ("v", "a gone")]
                .map(|(api, below)| alarm(&format!("{api}: {below}"), Some(&named(api))))
                .into();
            alarms.push(alarm("a", of_leaf.as_deref()));
            let known = alarms.into_iter().map(|now| (now.alarm.name.clone(), now)).collect();
            let found = resolved(alarm(rule, None), &known);
            let apis = found.leaves.iter().flat_map(|leaf| &leaf.targets).map(|target| match &target.api {
                ApiRef::Id(id) | ApiRef::Name(id) => id.as_str(),
            });
            let apis: Vec<_> = apis.collect();
            assert_eq!((apis.join(" ").as_str(), found.unresolved.len()), (expected, unresolved), "{case}");
        }
    }
}
