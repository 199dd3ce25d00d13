//! Checks whether the alarms of the protected stages would call the function, and reports in advance if they would not.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::cloud::{Alarms, Wiring};
use crate::context::Context;
use crate::decide::incidents::last_open;
use crate::decide::testimony::Subject;
use crate::decide::watch::{AlarmFault, Fault, Watched, Way, watch, without_effect};
use crate::decide::wiring::{Ends, faults};
use crate::model::component::ListedComponents;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::{OnRecord, Pin};
use crate::model::reason::Reason;
use crate::model::report::{Outcome, Report};
use crate::model::stage::StageRef;
use crate::model::wiring::WiringNow;
use crate::observe::sweep::SweepReadings;
use crate::observe::wiring;

/// The time that must be left: the sweep has more important things to do.
const SPARE: Duration = Duration::from_secs(15);

/// The most alarms whose samples one sweep counts: each takes a request of CloudWatch's quota.
const SAMPLED_AT_ONCE: usize = 20;

/// The result of the check.
#[derive(Debug, Default)]
pub struct Checked {
    /// The reports of problems.
    pub reports: Vec<Report>,
    /// What was not checked: a sentence for each read that failed, or that there was no time.
    pub unread: Vec<String>,
}

/// Checks the way from the alarms to the function, and the alarms of every protected stage (`GetTopicAttributes`, `ListSubscriptionsByTopic`,
/// `GetPolicy`, `DescribeAlarms`, `GetMetricData` for some alarms). Does nothing if the function does not
/// know its own ARN, and says so if too little time is left.
pub async fn check<C: Alarms + Wiring>(context: &Context<'_, C>, world: &SweepReadings) -> Checked {
    let Some(function) = context.function else { return Checked::default() };
    if Instant::now() + SPARE > context.deadline {
        let late = "the alarms were not checked, because the sweep had too little time left".to_owned();
        return Checked { unread: vec![late], ..Checked::default() };
    }
    let now = wiring::read(context, function, &some(&world.alarms, context.now)).await;
    let ends = Ends { topic: context.config.alarm_topic.as_deref(), function };
    let of_way = faults(ends, &now, &world.alarms);
    let way = Way { ends, now: &now, faults: &of_way };
    let mut reports = Vec::new();
    let stages = world.on_record.iter().filter(|(stage, _)| is_watched_here(context, world, stage));
    for (stage, (on_record, _)) in stages {
        reports.extend(check_stage(context, world, way, stage, on_record));
    }
    let is_told = reports.iter().any(|one| matches!(one.reason, Some(Reason::Unwatched(_))));
    let mut others: Vec<String> =
        if is_told { vec![] } else { of_way.iter().map(ToString::to_string).collect() };
    let protected: Vec<(&StageRef, Vec<String>)> = world
        .on_record
        .iter()
        .map(|(stage, (on_record, _))| (stage, names(context, stage, on_record)))
        .collect();
    others.extend(without_effect(&world.alarms, &protected));
    if !others.is_empty() {
        reports.push(attention(context, Reason::AlarmsWithFaults(others)));
    }
    let WiringNow { topic, subscriptions, policy, alarms, samples } = now;
    let failed = [topic.err(), subscriptions.err(), policy.err(), alarms.err()].into_iter().flatten();
    let failed = failed.chain(samples.into_values().filter_map(Result::err));
    let unread = failed.map(|error| error.to_string()).collect();
    Checked { reports, unread }
}

/// Whether the sweep of this function reports about the alarms of a stage. A stage that does not exist or that another
/// function protects has other reports, and functions that share a prefix may have different topics.
fn is_watched_here<C>(context: &Context<'_, C>, world: &SweepReadings, stage: &StageRef) -> bool {
    let configured = &context.config.stages;
    let is_ours = configured.is_empty() || configured.iter().any(|one| one.stage.api == stage.api);
    let parked = world.stages.get(&stage.parked());
    let pin = Pin::from_parked_stage(parked, context.config.names.prefix());
    is_ours && world.stages.contains_key(stage) && !matches!(pin, Pin::Other(_))
}

fn check_stage<C>(
    context: &Context<'_, C>,
    world: &SweepReadings,
    way: Way<'_>,
    stage: &StageRef,
    on_record: &OnRecord,
) -> Vec<Report> {
    let admission = context.config.admission(context.function, &on_record.policy);
    let live = world.stages.get(stage).map(|live| &live.release);
    // The components were not read, and another version of one makes another release.
    let has_components = context.config.listed(stage, &on_record.policy) != ListedComponents::default();
    let subject = Subject {
        stage,
        api_names: &names(context, stage, on_record),
        home: &context.config.home(context.account()),
        admission: &admission,
        went_live: None,
        guilt: None,
    };
    let serves_known_good = !has_components && live.is_some_and(|live| on_record.is_known_good(live));
    let found = watch(&Watched { subject, guards: &world.alarms, way: Some(way), serves_known_good });
    // The operator of a stage whose policy allows no alarm wants none.
    let unwatched = found.unwatched.filter(|_| admission.narrowed.as_deref() != Some(&[]));
    let worth: Vec<String> = found
        .faults
        .iter()
        .filter(|one| is_worth_reporting(one, context.now, context.config.not_recovered, on_record))
        .map(ToString::to_string)
        .collect();
    let reasons = match unwatched {
        Some(causes) => Some(Reason::Unwatched(causes)),
        None => (!worth.is_empty()).then_some(Reason::AlarmsWithFaults(worth)),
    };
    reasons.into_iter().map(|reason| attention(context, reason).on(stage).named(on_record)).collect()
}

/// Whether people are told of an alarm's fault: not of what the settings or the stage's policy want, nor of a state that
/// may be over soon or that another report is about.
fn is_worth_reporting(
    one: &AlarmFault,
    now: DateTime<Utc>,
    patience: TimeDelta,
    on_record: &OnRecord,
) -> bool {
    match &one.fault {
        // A stage without traffic has insufficient data for a while; a day without data is another fault.
        Fault::NotAllowed(_) | Fault::InsufficientData => false,
        Fault::InAlarm(since) => {
            let lasts = since.is_none_or(|since| now - since > patience);
            lasts && last_open(&on_record.rollbacks, &one.alarm).is_none()
        }
        Fault::NotWired
        | Fault::ActionsDisabled
        | Fault::MissingBreaches
        | Fault::NoOkAction
        | Fault::OutOfReach(_)
        | Fault::Inverted(_)
        | Fault::CountsRequests(_)
        | Fault::Slow(_)
        | Fault::NoData => true,
    }
}

fn names<C>(context: &Context<'_, C>, stage: &StageRef, on_record: &OnRecord) -> Vec<String> {
    context.config.api_names(stage, on_record.good().map(|(_, record)| record))
}

fn attention<C>(context: &Context<'_, C>, reason: Reason) -> Report {
    Report { outcome: Outcome::Attention, ..context.no(reason) }
}

/// Returns the alarms whose samples this sweep counts; every sweep takes others.
fn some(guards: &[GuardingAlarm], now: DateTime<Utc>) -> Vec<GuardingAlarm> {
    let minutes = usize::try_from(now.timestamp() / 60).unwrap_or_default();
    let first = minutes % guards.len().max(1);
    guards.iter().cycle().skip(first).take(guards.len().min(SAMPLED_AT_ONCE)).cloned().collect()
}
