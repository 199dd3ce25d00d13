//! How often alarms may roll a stage back. A rollback counts against its alarm and against its stage. Pure.
//!
//! API Gateway's own metrics of the stage show that users are hurt, and nobody else can write them. So an alarm on them is
//! held only by the rollbacks of such alarms: those of any other source cannot use up what protects the users.

use chrono::{DateTime, TimeDelta, Utc};

use super::Trigger;
use super::guilt::Guilt;
use super::testimony::{Subject, shows_hurt_users};
use crate::model::observed::Observed;
use crate::model::policy::StagePolicy;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{RollbackEntry, Rollbacks};

/// How many times the budget of one alarm all alarms on the stage's own metrics have together.
const TOGETHER: usize = 2;

/// Who wants to roll the stage back.
#[derive(Clone, Copy, Debug)]
pub struct Accuser<'a> {
    /// The alarm's name; `None` stands for an alarm that never acted.
    pub alarm: Option<&'a str>,
    /// Whether it accuses the release by other data than API Gateway's own metrics of the stage.
    pub other_source: bool,
}

impl<'a> Accuser<'a> {
    /// Returns the accuser of an observed stage.
    #[must_use]
    pub fn of(trigger: Trigger<'a>, observed: &Observed, guilt: &Guilt) -> Self {
        let shows = |alarm| shows_hurt_users(alarm, Subject::of(observed, guilt));
        Self {
            alarm: trigger.alarm(),
            other_source: matches!(trigger, Trigger::Sibling { .. })
                || observed.alarm.as_ref().is_some_and(|alarm| !shows(alarm)),
        }
    }
}

/// Checks that alarms did not roll the stage back a moment ago or too often.
///
/// # Errors
/// [`Reason::Cooldown`].
pub fn is_not_too_soon(
    rollbacks: &Rollbacks,
    accuser: Accuser<'_>,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    let automatic = || rollbacks.past.iter().filter(|past| past.alarm.is_some());
    let counted = || automatic().filter(|past| accuser.other_source || !past.other_source);
    if let Some(last) = counted().map(|past| past.at).max()
        && now - last < policy.cooldown
    {
        return Err(Reason::Cooldown(format!(
            "the stage was rolled back at {}, and the cooldown is {} s",
            stamp(last),
            policy.cooldown.num_seconds()
        )));
    }
    let is_today = |past: &&RollbackEntry| now - past.at < TimeDelta::days(1);
    let most = usize::try_from(policy.max_rollbacks).unwrap_or(usize::MAX);
    let together = if accuser.other_source { most } else { most.saturating_mul(TOGETHER) };
    let by_alarm = |past: &&RollbackEntry| accuser.alarm.is_some() && past.alarm.as_deref() == accuser.alarm;
    for (what, times, most) in [
        ("by this alarm", counted().filter(is_today).filter(by_alarm).count(), most),
        ("by alarms", counted().filter(is_today).count(), together),
        // The list keeps no more, so it cannot tell whether there were more.
        ("by alarms", automatic().filter(is_today).count(), Rollbacks::KEPT),
    ] {
        if times >= most {
            return Err(Reason::Cooldown(format!(
                "the stage was rolled back {times} times in 24 hours {what}, and the maximum is {most}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::fixture::policy;
    use crate::model::alarm::time;
    use crate::model::records::SCHEMA;

    const NOW: &str = "2026-11-20T10:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        time(text).unwrap()
    }

    fn entry(at: DateTime<Utc>, alarm: Option<&str>, other_source: bool) -> RollbackEntry {
        RollbackEntry {
            at,
            fingerprint: "f".into(),
            alarm: alarm.map(str::to_owned),
            alarm_at: None,
            other_source,
            recovered_at: None,
            lifted: false,
        }
    }

    /// Rollbacks at these hours and minutes, each by this alarm, or by an operator. The alarm `other` has another source.
    fn rollbacks(past: &[(&str, &str)]) -> Rollbacks {
        let past = past.iter().map(|(when, alarm)| {
            let (day, when) = when.split_once(' ').unwrap_or(("20", when));
            let alarm = Some(*alarm).filter(|alarm| *alarm != "operator");
            let is_other = alarm.is_some_and(|alarm| alarm.starts_with("other"));
            entry(at(&format!("2026-11-{day}T{when}Z")), alarm, is_other)
        });
        Rollbacks { schema: SCHEMA, past: past.collect(), ..Rollbacks::default() }
    }

    #[test]
    fn a_stage_is_not_rolled_back_too_soon_or_too_often() {
        let (seven, eight, nine) = ("07:00:00", "08:00:00", "09:00:00");
        for (case, past, alarm, expected) in [
            ("never before", vec![], "5xx", "continue"),
            ("a moment ago", vec![("09:55:01", "5xx")], "5xx", "cooldown"),
            ("the cooldown is over", vec![("09:55:00", "5xx")], "5xx", "continue"),
            ("an operator did", vec![("09:59:00", "operator")], "5xx", "continue"),
            ("our clock is behind", vec![("10:00:30", "5xx")], "5xx", "cooldown"),
            ("twice today", vec![(seven, "5xx"), (eight, "5xx")], "5xx", "continue"),
            ("three times today", vec![(seven, "5xx"), (eight, "5xx"), (nine, "5xx")], "5xx", "cooldown"),
            (
                "one was yesterday",
                vec![("19 10:00:00", "5xx"), (eight, "5xx"), (nine, "5xx")],
                "5xx",
                "continue",
            ),
            (
                "one was an operator's",
                vec![(seven, "operator"), (eight, "5xx"), (nine, "5xx")],
                "5xx",
                "continue",
            ),
            ("another alarm of users did", vec![("09:55:01", "latency")], "5xx", "cooldown"),
            (
                "another alarm of users used its budget up",
                vec![(seven, "latency"), (eight, "latency"), (nine, "latency")],
                "5xx",
                "continue",
            ),
            (
                "alarms of users used their budget up",
                vec![
                    ("04:00:00", "latency"),
                    ("05:00:00", "latency"),
                    ("06:00:00", "latency"),
                    (seven, "4xx"),
                    (eight, "4xx"),
                    (nine, "4xx"),
                ],
                "5xx",
                "cooldown",
            ),
            ("another source did a moment ago", vec![("09:59:00", "other")], "5xx", "continue"),
            (
                "other sources used their budget up",
                vec![(seven, "other1"), (eight, "other2"), (nine, "other3")],
                "5xx",
                "continue",
            ),
            ("another source after users", vec![("09:59:00", "5xx")], "other", "cooldown"),
            (
                "another source after its like",
                vec![(seven, "other1"), (eight, "other2"), (nine, "other3")],
                "other4",
                "cooldown",
            ),
        ] {
            let accuser = Accuser { alarm: Some(alarm), other_source: alarm.starts_with("other") };
            let answer = is_not_too_soon(&rollbacks(&past), accuser, &policy(), at(NOW));
            let described = answer.as_ref().map_or_else(Reason::code, |()| "continue");
            assert_eq!(described, expected, "{case}");
        }
    }

    #[test]
    fn no_alarm_acts_where_none_may_and_none_on_a_list_that_may_be_incomplete() {
        let none = StagePolicy { max_rollbacks: 0, ..policy() };
        let accuser = Accuser { alarm: Some("5xx"), other_source: false };
        assert!(is_not_too_soon(&Rollbacks::default(), accuser, &none, at(NOW)).is_err());
        let many = StagePolicy { max_rollbacks: 20, cooldown: TimeDelta::zero(), ..policy() };
        let past = (0..20).map(|n| entry(at(NOW) - TimeDelta::minutes(n + 1), Some("other"), true)).collect();
        assert!(
            is_not_too_soon(
                &Rollbacks { schema: SCHEMA, past, ..Rollbacks::default() },
                accuser,
                &many,
                at(NOW)
            )
            .is_err()
        );
    }

    proptest! {
        /// Whatever alarms want and however often the stage gets a new bad release, the rollbacks of a day have a bound.
        #[test]
        fn alarms_cannot_flap_a_stage_for_ever(
            wishes in proptest::collection::vec((0..2_000_i64, 0..5_usize, any::<bool>()), 0..200),
            max_rollbacks in 0..=20_u32,
        ) {
            let policy = StagePolicy { max_rollbacks, cooldown: TimeDelta::zero(), ..policy() };
            let (mut now, mut list, mut done) = (at(NOW), Rollbacks::default(), Vec::new());
            for (seconds, alarm, other_source) in wishes {
                now += TimeDelta::seconds(seconds);
                let name = format!("{alarm}{other_source}");
                let accuser = Accuser { alarm: Some(&name), other_source };
                if is_not_too_soon(&list, accuser, &policy, now).is_ok() {
                    done.push((now, name.clone()));
                    list = list.with(entry(now, Some(&name), other_source));
                }
                let today = |one: &&(DateTime<Utc>, String)| now - one.0 < TimeDelta::days(1);
                let most = usize::try_from(max_rollbacks).unwrap();
                prop_assert!(done.iter().filter(today).count() <= (3 * most).min(Rollbacks::KEPT));
                let by_it = done.iter().filter(today).filter(|one| one.1 == name).count();
                prop_assert!(by_it <= most);
            }
        }
    }
}
