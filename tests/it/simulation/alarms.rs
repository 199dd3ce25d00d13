//! Which alarms were in ALARM about a stage, and when, by the world's ledger.

use apigw_rollback::model::alarm::{AlarmNow, State};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::signal::target::stages_named_by;
use chrono::{DateTime, Utc};

use crate::simulation::cloudwatch::TRAFFIC;
use crate::support::world::Facts;

/// Returns the alarms, and when they fired, that accused the stage at some moment of this period: by data that was there, and with the
/// composite alarm above them in ALARM, too.
pub(crate) fn accusations_since<'a>(
    facts: &'a Facts,
    stage: &'a StageRef,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<(&'a str, DateTime<Utc>)> {
    let by_data = alarms_about(facts, stage, from, to).filter(|now| now.alarm.name != TRAFFIC);
    let fired = by_data.flat_map(|now| {
        let above = in_alarm(facts, facts.guardian(now), from, to);
        let meets = move |(began, ended): &(DateTime<Utc>, DateTime<Utc>)| {
            above.iter().any(|(since, until)| since <= ended && began <= until)
        };
        let periods = in_alarm(facts, now, from, to).into_iter().filter(meets);
        periods.map(|(began, _)| (now.alarm.name.as_str(), began))
    });
    fired.collect()
}

/// The alarms that name a stage, without those that were switched off or silent during the whole period.
pub(crate) fn alarms_about<'a>(
    facts: &'a Facts,
    stage: &'a StageRef,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = &'a AlarmNow> {
    let names =
        |now: &&AlarmNow| stages_named_by(&now.alarm).first().is_some_and(|one| one.stage == stage.stage);
    let is_off = move |now: &&AlarmNow| {
        let guardian = facts.guardian(now);
        let mut ours = facts.switched.iter().filter(|(name, ..)| *name == guardian.alarm.name);
        let at_first = ours.clone().next().map_or(guardian.actions_enabled, |(_, _, on)| !on);
        let before = ours.clone().rfind(|(_, at, _)| *at < from).map_or(at_first, |(_, _, on)| *on);
        !before && !ours.any(|(_, at, on)| *on && from <= *at && *at <= to)
    };
    let is_silent = move |now: &&AlarmNow| {
        let guardian = facts.guardian(now);
        let mut ours = facts.mutes.iter().filter(|(name, ..)| *name == guardian.alarm.name);
        let before = ours.clone().rfind(|(_, at, _)| *at < from).is_some_and(|(_, _, on)| *on);
        before && !ours.any(|(_, at, on)| !*on && from <= *at && *at <= to)
    };
    facts.alarms.iter().filter(names).filter(move |now| !is_off(now) && !is_silent(now))
}

/// Returns from when until when an alarm was in ALARM, as far as that meets this period.
pub(crate) fn in_alarm(
    facts: &Facts,
    now: &AlarmNow,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let mut periods = Vec::new();
    let ours = facts.transitions.iter().filter(|(name, ..)| *name == now.alarm.name);
    let known = ours.clone().next().is_some();
    let mut since: Option<DateTime<Utc>> = None;
    for (_, at, state) in ours.filter(|(_, at, _)| *at <= to) {
        match (state, since) {
            (State::Alarm, None) => since = Some(*at),
            (State::Alarm, Some(_)) | (_, None) => {}
            (_, Some(began)) => {
                periods.extend(Some((began, *at)).filter(|_| *at >= from));
                since = None;
            }
        }
    }
    if !known && now.alarm.state == State::Alarm {
        since = now.alarm.changed_at;
    }
    periods.extend(since.map(|began| (began, to)));
    periods
}
