//! Judges whether the alarms of a stage would call the function when users get errors, for the doctor and the sweep alike.
//! Pure.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::testimony::Subject;
use super::wiring::{Ends, WiringFault, arrives};
use crate::model::alarm::{AlarmNow, Metric, State};
use crate::model::alarm_setup::Comparison;
use crate::model::guarding_alarm::{GuardingAlarm, Leaf};
use crate::model::reason::{Reason, stamp};
use crate::model::stage::StageRef;
use crate::model::target::{Target, naming};
use crate::model::wiring::WiringNow;
use crate::signal::target::stages_named_by;

/// An alarm that needs longer than this to fire is no safety net for a release.
const SLOW: TimeDelta = TimeDelta::hours(1);

/// The facts about the alarms of one stage.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// The stage.
    pub subject: Subject<'a>,
    /// Every guarding alarm.
    pub guards: &'a [GuardingAlarm],
    /// The way from the alarms to the function, if it was read.
    pub way: Option<Way<'a>>,
    /// Whether the stage serves its known-good release.
    pub serves_known_good: bool,
}

/// The way from the alarms to the function.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Its ends.
    pub ends: Ends<'a>,
    /// What was read of it.
    pub now: &'a WiringNow,
    /// Its faults.
    pub faults: &'a [WiringFault],
}

/// The result for one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    /// Why no alarm would call the function: a clause for each cause, at least one. `None` if an alarm would.
    pub unwatched: Option<Vec<String>>,
    /// The faults of the alarms that name the stage.
    pub faults: Vec<AlarmFault>,
}

/// A fault of one alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmFault {
    /// The alarm's name.
    pub alarm: String,
    /// The fault.
    pub fault: Fault,
}

/// Why an alarm that names a stage is of less use than its owner may think.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It neither notifies the topic nor invokes the function.
    NotWired,
    /// Its name is not allowed to act, for this reason.
    NotAllowed(Reason),
    /// Its actions are disabled.
    ActionsDisabled,
    /// It is in ALARM although the stage serves its known-good release, so it cannot call again before it was OK.
    InAlarm(Option<DateTime<Utc>>),
    /// It fires without any data.
    MissingBreaches,
    /// It does not call the function when it is OK again.
    NoOkAction,
    /// It cannot fire while any request succeeds.
    OutOfReach(Comparison),
    /// It fires when the metric is low, which is good.
    Inverted(Comparison),
    /// It counts requests instead of errors.
    CountsRequests(Comparison),
    /// It fires only after the data has breached for this long.
    Slow(TimeDelta),
    /// Its metrics had no data in the last 24 hours.
    NoData,
    /// It has too little data to have a state.
    InsufficientData,
}

/// Judges the alarms of one stage.
#[must_use]
pub fn watch(watched: &Watched<'_>) -> Watch {
    let Watched { subject, guards, way, .. } = *watched;
    let ours: Vec<&GuardingAlarm> =
        guards.iter().filter(|guard| guard.target(subject.stage, subject.api_names).is_some()).collect();
    let others = not_guarding(watched);
    let mut faults: Vec<AlarmFault> = Vec::new();
    let mut calls = false;
    for guard in &ours {
        let (found, is_deaf) = faults_of(guard, watched);
        calls |= !is_deaf && way.is_none_or(|way| arrives(way.ends, way.faults, guard));
        for fault in found {
            // Two composite alarms can share an alarm below them.
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    for now in others {
        let AlarmNow { alarm, actions, .. } = now;
        // A rule or a queue delivers an alarm that may act without being wired.
        if subject.admission.refuses(&alarm.name, actions).is_none() {
            calls = true;
        } else {
            faults.push(AlarmFault { alarm: alarm.name.clone(), fault: Fault::NotWired });
        }
    }
    // Alarms that a rule or a queue delivers are known only if every alarm was read.
    let is_known = way.is_some() || subject.admission.unwired.is_empty();
    let unwatched = (!calls && is_known).then(|| causes(way, &faults));
    Watch { unwatched, faults }
}

/// Returns a clause for each guarding alarm that names stages, but none of the protected ones. Each of these comes with the names
/// of its API.
#[must_use]
pub fn without_effect(guards: &[GuardingAlarm], protected: &[(&StageRef, Vec<String>)]) -> Vec<String> {
    let is_protected = |targets: &[Target]| {
        protected.iter().any(|(stage, api_names)| naming(targets, stage, api_names).is_some())
    };
    let clause = |guard: &GuardingAlarm| {
        let alarm = &guard.alarm.name;
        let named: Vec<String> =
            guard.targets.iter().map(|target| format!("{}/{}", target.api.text(), target.stage)).collect();
        match named.as_slice() {
            [] if !guard.unresolved.is_empty() => None,
            [] => Some(format!("the alarm `{alarm}` calls the function, but names no stage")),
            _ if is_protected(&guard.targets) => None,
            named => Some(format!(
                "the alarm `{alarm}` calls the function, but names {}, which is not protected",
                named.join(", ")
            )),
        }
    };
    guards.iter().filter_map(clause).collect()
}

/// Why no alarm calls the function.
fn causes(way: Option<Way<'_>>, faults: &[AlarmFault]) -> Vec<String> {
    let of_way = way.into_iter().flat_map(|way| way.faults).map(ToString::to_string);
    let of_alarms = faults.iter().filter(|one| one.fault.is_deaf()).map(ToString::to_string);
    let causes: Vec<String> = of_way.chain(of_alarms).collect();
    if causes.is_empty() { vec!["no alarm names the stage".to_owned()] } else { causes }
}

/// The alarms that name the stage, but neither notify the topic nor invoke the function, and are not below an alarm that does.
fn not_guarding<'a>(watched: &Watched<'a>) -> Vec<&'a AlarmNow> {
    let Watched { subject, guards, way, .. } = *watched;
    let leaves = guards.iter().flat_map(|guard| &guard.leaves).map(|leaf| leaf.now.alarm.name.as_str());
    let known: BTreeSet<&str> = guards.iter().map(|guard| guard.alarm.name.as_str()).chain(leaves).collect();
    let all = way.and_then(|way| way.now.alarms.as_ref().ok()).map(Vec::as_slice).unwrap_or_default();
    let names_it =
        |now: &&AlarmNow| naming(&stages_named_by(&now.alarm), subject.stage, subject.api_names).is_some();
    all.iter().filter(|now| !known.contains(now.alarm.name.as_str())).filter(names_it).collect()
}

/// Returns the faults of a guarding alarm that names the stage, and whether it does not call the function when users get errors.
/// One whose actions lead nowhere has only that fault.
fn faults_of(guard: &GuardingAlarm, watched: &Watched<'_>) -> (Vec<AlarmFault>, bool) {
    let Watched { subject, way, serves_known_good, .. } = *watched;
    let name = &guard.alarm.name;
    let fault = |fault| AlarmFault { alarm: name.clone(), fault };
    if let Some(reason) = subject.admission.refuses(name, &guard.actions) {
        return (vec![fault(Fault::NotAllowed(reason))], true);
    }
    if !guard.actions_enabled {
        return (vec![fault(Fault::ActionsDisabled)], true);
    }
    let mut faults = Vec::new();
    if guard.alarm.state == State::Alarm && serves_known_good {
        faults.push(fault(Fault::InAlarm(guard.alarm.changed_at)));
    }
    if !guard.ok_actions.iter().any(|action| subject.admission.is_wired(action)) {
        faults.push(fault(Fault::NoOkAction));
    }
    let leaves = guard.leaves_about(subject.stage, subject.api_names);
    let of_leaves: Vec<Vec<AlarmFault>> = leaves.map(faults_of_leaf).collect();
    let is_deaf = |faults: &Vec<AlarmFault>| faults.iter().any(|one| one.fault.is_deaf());
    let all_are_deaf = !of_leaves.is_empty() && of_leaves.iter().all(is_deaf);
    faults.extend(of_leaves.into_iter().flatten());
    let samples = way.and_then(|way| way.now.samples.get(name));
    if matches!(samples, Some(Ok(samples)) if *samples <= 0.0) {
        faults.push(fault(Fault::NoData));
    } else if guard.alarm.state == State::InsufficientData {
        faults.push(fault(Fault::InsufficientData));
    }
    (faults, all_are_deaf)
}

fn faults_of_leaf(leaf: &Leaf) -> Vec<AlarmFault> {
    let setup = &leaf.now.setup;
    let mut faults = Vec::new();
    faults.extend(setup.missing_breaches.then_some(Fault::MissingBreaches));
    faults.extend(setup.takes.filter(|takes| *takes > SLOW).map(Fault::Slow));
    // Metric math has several metrics, and its result can be anything.
    if let (Some(compares), [metric]) = (&setup.compares, leaf.metrics()) {
        faults.extend(misjudges(compares, metric));
    }
    faults.into_iter().map(|fault| AlarmFault { alarm: leaf.now.alarm.name.clone(), fault }).collect()
}

fn misjudges(compares: &Comparison, metric: &Metric) -> Option<Fault> {
    if compares.is_inverted(metric) {
        return Some(Fault::Inverted(compares.clone()));
    }
    if compares.counts_requests(metric) {
        return Some(Fault::CountsRequests(compares.clone()));
    }
    compares.is_out_of_reach(metric).then(|| Fault::OutOfReach(compares.clone()))
}

impl Fault {
    /// Whether the alarm does not call the function when users get errors.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        match self {
            Self::NotWired
            | Self::NotAllowed(_)
            | Self::ActionsDisabled
            | Self::OutOfReach(_)
            | Self::Inverted(_) => true,
            Self::InAlarm(_)
            | Self::MissingBreaches
            | Self::NoOkAction
            | Self::CountsRequests(_)
            | Self::Slow(_)
            | Self::NoData
            | Self::InsufficientData => false,
        }
    }
}

impl AlarmFault {
    /// Returns the next step for an operator. `topic` is the alarm topic, if there is one.
    #[must_use]
    pub fn advice(&self, topic: Option<&str>) -> String {
        let topic = topic.unwrap_or("the function");
        let alarm = &self.alarm;
        match &self.fault {
            Fault::NotWired => format!(
                "add {topic} to its actions for ALARM and OK; if it must not act, write `rollback-target: none` into its \
                 description"
            ),
            Fault::NotAllowed(reason) => reason.advice().to_owned(),
            Fault::ActionsDisabled => {
                format!("aws cloudwatch enable-alarm-actions --alarm-names {}", quoted(alarm))
            }
            Fault::InAlarm(_) => {
                "find out why it is in ALARM: the threshold may be too low, or the API's backend is at fault"
                    .to_owned()
            }
            Fault::MissingBreaches => "set TreatMissingData to notBreaching".to_owned(),
            Fault::NoOkAction => format!("add {topic} to its OKActions"),
            Fault::OutOfReach(_) => {
                "set a Threshold below 1, such as 0.05, or set Statistic to Sum".to_owned()
            }
            Fault::Inverted(_) => {
                "set ComparisonOperator to GreaterThanThreshold or GreaterThanOrEqualToThreshold".to_owned()
            }
            Fault::CountsRequests(_) => "set Statistic to Sum or Average".to_owned(),
            Fault::Slow(_) => {
                "lower its Period or DatapointsToAlarm, so that it fires within minutes".to_owned()
            }
            Fault::NoData | Fault::InsufficientData => {
                "check that its dimensions match those of the metric, and that the stage has traffic"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for AlarmFault {
    /// Prints one clause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alarm = &self.alarm;
        match &self.fault {
            Fault::NotWired => write!(
                f,
                "the alarm `{alarm}` names the stage, but neither notifies the topic nor invokes the function"
            ),
            Fault::NotAllowed(reason) => write!(f, "{reason}"),
            Fault::ActionsDisabled => write!(f, "the actions of the alarm `{alarm}` are disabled"),
            Fault::InAlarm(since) => {
                let since = since.map(|since| format!(" since {}", stamp(since))).unwrap_or_default();
                write!(
                    f,
                    "the alarm `{alarm}` is in ALARM{since} although the stage serves its known-good release, so it cannot \
                     call the function again before it was OK"
                )
            }
            Fault::MissingBreaches => write!(
                f,
                "the alarm `{alarm}` treats missing data as breaching: it fires without traffic, and then the function does \
                 not act"
            ),
            Fault::NoOkAction => write!(
                f,
                "the alarm `{alarm}` has no action of the function for OK, so only the sweep finds out that the stage has \
                 recovered"
            ),
            Fault::OutOfReach(compares) => write!(
                f,
                "the alarm `{alarm}` cannot fire while any request succeeds: it fires at {compares}, and this statistic is a \
                 share of the requests"
            ),
            Fault::Inverted(compares) => {
                write!(f, "the alarm `{alarm}` fires while the stage is well: it fires at {compares}")
            }
            Fault::CountsRequests(compares) => {
                write!(f, "the alarm `{alarm}` counts all requests, not the errors: it fires at {compares}")
            }
            Fault::Slow(takes) => {
                write!(f, "the alarm `{alarm}` fires only after its data has breached for {}", length(*takes))
            }
            Fault::NoData => write!(f, "the metrics of the alarm `{alarm}` had no data in the last 24 hours"),
            Fault::InsufficientData => write!(f, "the alarm `{alarm}` has insufficient data"),
        }
    }
}

/// Returns a length in the largest unit that keeps it whole.
fn length(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    let (number, unit) = match seconds {
        _ if seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        _ if seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        _ if seconds % 60 == 0 => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// Quotes a word for a shell, if it needs that.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
