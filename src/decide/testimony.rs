//! What a guarding alarm says about one stage: the one judgement of its state. Pure.

use crate::model::alarm::{Alarm, Metric, Origin, State};
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::reason::Reason;
use crate::model::stage::StageRef;
use crate::model::target::Target;
use crate::signal::triage::foreign_account;

/// What a guarding alarm says about one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// An alarm that names the stage is in ALARM by its own data, and it may act.
    Accuses,
    /// No alarm that names the stage is in ALARM.
    Quiet,
    /// An alarm that names the stage is in ALARM, but for this reason it accuses nobody.
    Abstains(Reason),
    /// Some alarms below it cannot be resolved: a sentence. It may be about this stage.
    Unreadable(String),
}

/// A guarding alarm of a stage, with what it says about the stage.
#[derive(Clone, Debug)]
pub struct Guarding<'a> {
    /// The alarm.
    pub alarm: &'a GuardingAlarm,
    /// The target by which it names the stage; `None` if it names no stage because it cannot be resolved.
    pub target: Option<&'a Target>,
    /// What it says.
    pub testimony: Testimony,
    /// The alarms whose states speak about the stage: the alarm itself, or leaves of a composite alarm.
    pub about: Vec<&'a Alarm>,
    /// The metrics of this stage that it watches.
    pub metrics: Vec<Metric>,
}

/// Returns the guarding alarms of a stage. A composite alarm that cannot be resolved may be about every stage, unless it
/// names its stages itself.
#[must_use]
pub fn guarding<'a>(
    alarms: &'a [GuardingAlarm],
    stage: &StageRef,
    api_names: &[String],
    home: &Origin,
) -> Vec<Guarding<'a>> {
    let about = alarms.iter().filter_map(|alarm| {
        let target = alarm.target(stage, api_names);
        let is_unknown = alarm.speaks_by_leaves() && !alarm.unresolved.is_empty();
        let testimony = match target {
            None if !is_unknown => return None,
            None => unreadable(alarm),
            Some(_) => testimony(alarm, stage, api_names, home),
        };
        let metrics = alarm.leaves_about(stage, api_names).flat_map(Leaf::metrics).cloned().collect();
        let about = alarm.alarms_about(stage, api_names);
        Some(Guarding { alarm, target, testimony, about, metrics })
    });
    about.collect()
}

/// Judges what a guarding alarm says about a stage. `home` is the account and Region of the function.
#[must_use]
pub fn testimony(
    guarding: &GuardingAlarm,
    stage: &StageRef,
    api_names: &[String],
    home: &Origin,
) -> Testimony {
    if guarding.alarm.state != State::Alarm {
        return if guarding.unresolved.is_empty() { Testimony::Quiet } else { unreadable(guarding) };
    }
    if let Some(by) = &guarding.alarm.suppressed_by {
        return Testimony::Abstains(Reason::Suppressed(by.clone()));
    }
    if !guarding.actions_enabled {
        return Testimony::Abstains(Reason::AlarmActionsDisabled { alarm: guarding.alarm.name.clone() });
    }
    let mut abstains = None;
    for leaf in guarding.leaves_about(stage, api_names).filter(|leaf| leaf.now.alarm.state == State::Alarm) {
        match weakness(leaf, home) {
            // A weak alarm never silences a strong one.
            None => return Testimony::Accuses,
            Some(reason) => abstains = abstains.or(Some(reason)),
        }
    }
    if !guarding.unresolved.is_empty() {
        return unreadable(guarding);
    }
    if let Some(leaf) = guarding.stageless().find(|leaf| leaf.now.alarm.state == State::Alarm) {
        let why = format!("the alarm `{}` is in ALARM and may be about any stage", leaf.now.alarm.name);
        abstains = abstains.or(Some(Reason::NoStage(why)));
    }
    // A composite alarm that names the stage itself speaks for all its leaves.
    if abstains.is_none() && !guarding.speaks_by_leaves() {
        return Testimony::Accuses;
    }
    abstains.map_or(Testimony::Quiet, Testimony::Abstains)
}

fn unreadable(guarding: &GuardingAlarm) -> Testimony {
    Testimony::Unreadable(guarding.unresolved.join("; "))
}

/// Why a leaf in ALARM accuses nobody.
fn weakness(leaf: &Leaf, home: &Origin) -> Option<Reason> {
    let alarm = &leaf.now.alarm;
    if let (Some(ours), Some(theirs)) = (&home.account, foreign_account(alarm, home)) {
        return Some(Reason::WrongAccount { theirs, ours: ours.clone() });
    }
    alarm.only_missing_data.then_some(Reason::NoDatapoints)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::alarm::{AlarmNow, Watches};
    use crate::model::target::ApiRef;

    const HOME: &str = "111111111111";

    /// An alarm's state, and what is said against it: `data`, `missing` or `foreign`.
    type Leaves<'a> = &'a [(&'a str, State, &'a str)];

    fn alarm(name: &str, state: State) -> Alarm {
        Alarm {
            name: name.into(),
            arn: None,
            claimed: Origin::default(),
            description: None,
            state,
            changed_at: None,
            why: String::new(),
            only_missing_data: false,
            suppressed_by: None,
            watches: Watches::Metrics(vec![]),
        }
    }

    fn names(api: &str) -> Vec<Target> {
        vec![Target { api: ApiRef::Id(api.into()), stage: "prod".into(), canary: false, protocol: None }]
    }

    fn leaf(api: &str, state: State, kind: &str) -> Leaf {
        let mut alarm = alarm(&format!("{api} {kind}"), state);
        alarm.only_missing_data = kind == "missing";
        alarm.claimed.account = Some(if kind == "foreign" { "222222222222" } else { HOME }.into());
        let now = AlarmNow { alarm, actions_enabled: true, actions: vec![], window: TimeDelta::minutes(2) };
        Leaf { now, targets: if api.is_empty() { vec![] } else { names(api) } }
    }

    /// A composite alarm whose leaves name the stages, or which names its stages itself.
    fn composite(state: State, leaves: Leaves<'_>, own: Option<&str>) -> GuardingAlarm {
        let mut alarm = alarm("composite", state);
        alarm.watches = Watches::Alarms(vec![]);
        let leaves: Vec<Leaf> = leaves.iter().map(|(api, state, kind)| leaf(api, *state, kind)).collect();
        let targets =
            own.map_or_else(|| leaves.iter().flat_map(|leaf| leaf.targets.clone()).collect(), names);
        let window = TimeDelta::minutes(2);
        GuardingAlarm { alarm, actions_enabled: true, window, targets, leaves, unresolved: vec![] }
    }

    fn said(guarding: &GuardingAlarm) -> String {
        let home = Origin { account: Some(HOME.into()), region: None };
        match testimony(guarding, &StageRef::rest("orders", "prod"), &[], &home) {
            Testimony::Accuses => "accuses".into(),
            Testimony::Quiet => "quiet".into(),
            Testimony::Abstains(reason) => reason.code().into(),
            Testimony::Unreadable(why) => why,
        }
    }

    #[test]
    fn only_an_alarm_in_alarm_by_its_own_data_accuses_the_stage_that_it_names() {
        use State::{Alarm as Fires, InsufficientData, Ok};
        let leaves: [(&str, State, Leaves<'_>, Option<&str>, &str); 16] = [
            ("OK", Ok, &[("orders", Ok, "data")], None, "quiet"),
            ("no data", InsufficientData, &[("orders", InsufficientData, "data")], None, "quiet"),
            ("ALARM", Fires, &[("orders", Fires, "data")], None, "accuses"),
            ("a composite in OK silences its leaves", Ok, &[("orders", Fires, "data")], None, "quiet"),
            ("missing data", Fires, &[("orders", Fires, "missing")], None, "no-datapoints"),
            ("another account", Fires, &[("orders", Fires, "foreign")], None, "wrong-account"),
            ("a neighbor", Fires, &[("orders", Ok, "data"), ("billing", Fires, "data")], None, "quiet"),
            ("both", Fires, &[("orders", Fires, "data"), ("billing", Fires, "data")], None, "accuses"),
            (
                "a weak alarm never silences a strong one",
                Fires,
                &[("orders", Fires, "missing"), ("orders", Fires, "data")],
                None,
                "accuses",
            ),
            (
                "a neighbor's strong alarm does not strengthen a weak one",
                Fires,
                &[("orders", Fires, "missing"), ("billing", Fires, "data")],
                None,
                "no-datapoints",
            ),
            (
                "a leaf names no stage",
                Fires,
                &[("orders", Ok, "data"), ("", Fires, "data")],
                None,
                "no-stage",
            ),
            ("such a leaf is quiet", Fires, &[("orders", Ok, "data"), ("", Ok, "data")], None, "quiet"),
            ("it names the stage itself", Fires, &[("billing", Fires, "data")], Some("orders"), "accuses"),
            (
                "it names the stage itself, and only missing data speaks",
                Fires,
                &[("billing", Fires, "missing")],
                Some("orders"),
                "no-datapoints",
            ),
            (
                "it names the stage itself, and its rule asks for an alarm in OK",
                Fires,
                &[("billing", Ok, "data")],
                Some("orders"),
                "accuses",
            ),
            ("it names another stage itself", Ok, &[("orders", Fires, "data")], Some("billing"), "quiet"),
        ];
        for (case, state, leaves, own, expected) in leaves {
            assert_eq!(said(&composite(state, leaves, own)), expected, "{case}");
        }
    }

    #[test]
    fn an_alarm_that_must_not_act_abstains_before_its_leaves_are_asked() {
        let fires = composite(State::Alarm, &[("orders", State::Alarm, "data")], None);
        let mut suppressed = fires.clone();
        suppressed.alarm.suppressed_by = Some("maintenance".into());
        let mut disabled = fires;
        disabled.actions_enabled = false;
        assert_eq!(said(&suppressed), "suppressed");
        assert_eq!(said(&disabled), "alarm-actions-disabled");
    }

    #[test]
    fn an_alarm_that_cannot_be_resolved_is_neither_quiet_nor_guilty() {
        let why = "the alarm `x` in its rule cannot be found";
        for (state, leaves, expected) in [
            (State::Ok, &[("orders", State::Ok, "data")][..], why),
            (State::Alarm, &[("orders", State::Ok, "data")], why),
            (State::Alarm, &[("orders", State::Alarm, "data")], "accuses"),
            (State::Alarm, &[("orders", State::Alarm, "missing")], why),
            (State::Alarm, &[], why),
        ] {
            let mut guarding = composite(state, leaves, None);
            guarding.unresolved = vec![why.to_owned()];
            assert_eq!(said(&guarding), expected, "{state} {leaves:?}");
        }
    }

    #[test]
    fn an_alarm_that_names_no_stage_concerns_every_stage_only_if_it_cannot_be_resolved() {
        let mut alarms = vec![
            composite(State::Alarm, &[("orders", State::Alarm, "data")], None),
            composite(State::Alarm, &[("billing", State::Alarm, "data")], None),
            composite(State::Alarm, &[], None),
        ];
        let count = |alarms: &[GuardingAlarm]| {
            guarding(alarms, &StageRef::rest("orders", "prod"), &[], &Origin::default()).len()
        };
        assert_eq!(count(&alarms), 1);
        alarms[2].unresolved.push("its rule names no alarm".into());
        assert_eq!(count(&alarms), 2);
        // What is missing below the neighbor's alarm may be about this stage, unless it names its stages itself.
        alarms[1].unresolved.push("the alarm `x` in its rule does not exist".into());
        assert_eq!(count(&alarms), 3);
        alarms[1].leaves[0].targets.clear();
        assert_eq!(count(&alarms), 2);
    }

    #[test]
    fn only_the_alarms_and_the_metrics_of_the_stage_prove_its_release() {
        let watching = |api: &str| {
            let mut leaf = leaf(api, State::Ok, "data");
            let name = api.to_owned();
            let metric = Metric { namespace: "n".into(), name, dimensions: vec![], account: None };
            leaf.now.alarm.watches = Watches::Metrics(vec![metric]);
            leaf
        };
        let mut alarms = vec![composite(State::Ok, &[("orders", State::Ok, "data")], None)];
        alarms[0].leaves = vec![watching("orders"), watching("billing")];
        alarms[0].targets.extend(names("billing"));
        let stage = StageRef::rest("orders", "prod");
        let found = |alarms: &[GuardingAlarm]| {
            let guarding = guarding(alarms, &stage, &[], &Origin::default());
            let about: Vec<String> = guarding[0].about.iter().map(|alarm| alarm.name.clone()).collect();
            let metrics: Vec<String> = guarding[0].metrics.iter().map(|metric| metric.name.clone()).collect();
            (about, metrics)
        };
        assert_eq!(found(&alarms), (vec!["orders data".into()], vec!["orders".into()]));
        // A composite alarm that names the stage itself speaks by its own state, and by all its data.
        alarms[0].targets = vec![names("orders").remove(0)];
        alarms[0].leaves[0].targets.clear();
        assert_eq!(found(&alarms), (vec!["composite".into()], vec!["orders".into(), "billing".into()]));
    }
}
