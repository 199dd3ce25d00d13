//! The first decision on an alarm, from its message alone, before anything is read from AWS. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::alarm::CLOCK_SKEW;
use crate::model::alarm::{Alarm, Origin, State, Watches};
use crate::model::reason::Reason;
use crate::model::target::Target;
use crate::signal::target::{self, NAMESPACE, Named};

/// The bounds within which an alarm's message counts.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// The account and Region in which the function runs. An unknown value is not compared.
    pub home: Origin,
    /// The oldest state change that the function acts on; `None` switches the check off.
    pub max_age: Option<TimeDelta>,
    /// The current time.
    pub now: DateTime<Utc>,
}

/// The result of an alarm's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triage {
    /// The function runs for each of these stages.
    Targets(Vec<Target>),
    /// The alarms below this composite alarm decide, by CloudWatch's own answer, if the alarm [`is_current`].
    Composite,
    /// The function does nothing, for the first [`Reason`] that applies.
    Refused(Reason),
}

/// Decides on an alarm's message without reading anything else.
#[must_use]
pub fn triage(alarm: &Alarm, bounds: &Bounds) -> Triage {
    match is_in_alarm(alarm).and_then(|()| target::named_by(alarm)) {
        Ok(Named::Stages(targets)) => match is_current(alarm, bounds) {
            Ok(()) => Triage::Targets(targets),
            Err(reason) => Triage::Refused(reason),
        },
        Ok(Named::Children) => Triage::Composite,
        Err(reason) => Triage::Refused(reason),
    }
}

fn is_in_alarm(alarm: &Alarm) -> Result<(), Reason> {
    match (&alarm.suppressed_by, &alarm.muted_by, alarm.state) {
        (Some(by), _, _) => Err(Reason::Suppressed(by.clone())),
        (None, Some(rule), _) => Err(Reason::Muted(rule.clone())),
        (None, None, State::Alarm) => Ok(()),
        (None, None, state) => Err(Reason::NotInAlarm(state)),
    }
}

/// Checks that the alarm belongs to this account and Region, has data, and is recent. An event that repeats an older change
/// of state, because a mute window has ended, may be old.
///
/// # Errors
/// [`Reason::WrongAccount`], [`Reason::WrongRegion`], [`Reason::NoDatapoints`], [`Reason::Stale`].
pub fn is_current(alarm: &Alarm, bounds: &Bounds) -> Result<(), Reason> {
    let origin = alarm.origin();
    if let (Some(ours), Some(theirs)) = (&bounds.home.account, foreign_account(alarm, &bounds.home)) {
        return Err(Reason::WrongAccount { theirs, ours: ours.clone() });
    }
    if let (Some(ours), Some(theirs)) = (&bounds.home.region, origin.region)
        && *ours != theirs
    {
        return Err(Reason::WrongRegion { theirs, ours: ours.clone() });
    }
    if alarm.only_missing_data {
        return Err(Reason::NoDatapoints);
    }
    let Some(max_age) = bounds.max_age.filter(|_| !alarm.repeated) else { return Ok(()) };
    let is_recent =
        alarm.changed_at.is_some_and(|at| at <= bounds.now + CLOCK_SKEW && bounds.now - at <= max_age);
    if is_recent {
        return Ok(());
    }
    Err(Reason::Stale {
        changed_at: alarm.changed_at,
        now: bounds.now,
        max_age_seconds: max_age.num_seconds(),
    })
}

/// Returns an account other than ours, of the alarm or of an API Gateway metric that it reads.
pub(crate) fn foreign_account(alarm: &Alarm, home: &Origin) -> Option<String> {
    let mut accounts = vec![alarm.origin().account];
    if let Watches::Metrics(metrics) = &alarm.watches {
        let apis = metrics.iter().filter(|metric| metric.namespace == NAMESPACE);
        accounts.extend(apis.map(|metric| metric.account.clone()));
    }
    accounts.into_iter().flatten().find(|account| Some(account) != home.account.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alarm::{Metric, time};

    const NOW: &str = "2026-11-20T10:06:00Z";

    fn alarm() -> Alarm {
        let dimensions = vec![("ApiName".into(), "orders".into()), ("Stage".into(), "prod".into())];
        Alarm {
            arn: Some("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a".into()),
            changed_at: time("2026-11-20T10:05:00Z"),
            watches: Watches::Metrics(vec![Metric {
                namespace: NAMESPACE.into(),
                name: "5XXError".into(),
                dimensions,
                account: None,
            }]),
            ..Alarm::new("a", State::Alarm)
        }
    }

    fn metric_account(account: &str) -> Watches {
        let Watches::Metrics(mut metrics) = alarm().watches else { unreachable!() };
        metrics[0].account = Some(account.into());
        Watches::Metrics(metrics)
    }

    fn described(triage: &Triage) -> &'static str {
        match triage {
            Triage::Targets(_) => "act",
            Triage::Composite => "composite",
            Triage::Refused(reason) => reason.code(),
        }
    }

    fn check(cases: &[(&str, Alarm, &str)]) {
        let bounds = Bounds {
            home: Origin { account: Some("123456789012".into()), region: Some("eu-west-1".into()) },
            max_age: Some(TimeDelta::seconds(900)),
            now: time(NOW).unwrap(),
        };
        for (what, alarm, expected) in cases {
            assert_eq!(described(&triage(alarm, &bounds)), *expected, "{what}");
        }
    }

    #[test]
    fn an_alarm_acts_only_in_alarm_and_if_nobody_silenced_it() {
        check(&[
            ("a valid alarm", alarm(), "act"),
            ("no arn", Alarm { arn: None, ..alarm() }, "act"),
            ("OK", Alarm { state: State::Ok, ..alarm() }, "ok"),
            ("no data", Alarm { state: State::InsufficientData, ..alarm() }, "insufficient-data"),
            (
                "suppressed comes before its state",
                Alarm { suppressed_by: Some("Alarm".into()), state: State::Ok, ..alarm() },
                "suppressed",
            ),
        ]);
    }

    #[test]
    fn an_alarm_of_another_account_or_region_or_without_data_does_not_act() {
        let other = "arn:aws:cloudwatch:us-east-1:999999999999:alarm:a";
        check(&[
            (
                "another Region",
                Alarm { arn: Some("arn:aws:cloudwatch:us-east-1:123456789012:alarm:a".into()), ..alarm() },
                "wrong-region",
            ),
            ("another account", Alarm { arn: Some(other.into()), ..alarm() }, "wrong-account"),
            (
                "a claimed account, without an arn",
                Alarm { arn: None, claimed: Origin { account: Some("9".into()), region: None }, ..alarm() },
                "wrong-account",
            ),
            (
                "a metric of another account",
                Alarm { watches: metric_account("999999999999"), ..alarm() },
                "wrong-account",
            ),
            ("a metric of our account", Alarm { watches: metric_account("123456789012"), ..alarm() }, "act"),
            (
                "another account comes before missing data",
                Alarm { arn: Some(other.into()), only_missing_data: true, ..alarm() },
                "wrong-account",
            ),
            (
                "missing data comes before age",
                Alarm { only_missing_data: true, changed_at: None, ..alarm() },
                "no-datapoints",
            ),
        ]);
    }

    #[test]
    fn an_old_alarm_or_one_without_a_stage_does_not_act() {
        let other = "arn:aws:cloudwatch:us-east-1:999999999999:alarm:a";
        check(&[
            ("no time", Alarm { changed_at: None, ..alarm() }, "stale"),
            ("just in time", Alarm { changed_at: time("2026-11-20T09:51:00Z"), ..alarm() }, "act"),
            ("too old", Alarm { changed_at: time("2026-11-20T09:50:59Z"), ..alarm() }, "stale"),
            (
                "a clock that is a minute ahead",
                Alarm { changed_at: time("2026-11-20T10:07:00Z"), ..alarm() },
                "act",
            ),
            ("the future", Alarm { changed_at: time("2026-11-20T10:07:01Z"), ..alarm() }, "stale"),
            (
                "no stage comes before another account",
                Alarm { arn: Some(other.into()), watches: Watches::Metrics(vec![]), ..alarm() },
                "no-stage",
            ),
            (
                "muted comes before its state",
                Alarm { muted_by: Some("window".into()), state: State::Ok, ..alarm() },
                "muted",
            ),
            (
                "suppressed comes before muted",
                Alarm { muted_by: Some("window".into()), suppressed_by: Some("x".into()), ..alarm() },
                "suppressed",
            ),
            (
                "too old, and repeated after a mute window",
                Alarm { changed_at: time("2026-11-19T10:05:00Z"), repeated: true, ..alarm() },
                "act",
            ),
            ("composite", Alarm { watches: Watches::Alarms(vec![]), ..alarm() }, "composite"),
            (
                "composite with a directive",
                Alarm {
                    watches: Watches::Alarms(vec![]),
                    description: Some("rollback-target: a/p".into()),
                    ..alarm()
                },
                "act",
            ),
        ]);
    }
}
