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
    /// The alarms below this composite alarm decide, given by name or ARN: see [`triage_children`].
    Composite(Vec<String>),
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
        Ok(Named::Children(children)) => Triage::Composite(children),
        Err(reason) => Triage::Refused(reason),
    }
}

/// Returns the stages that are named by those alarms below a composite alarm that are in ALARM.
///
/// # Errors
/// The first [`Reason`] that applies to the parent or to a child. A child that accuses nobody is skipped: one that does
/// not watch API Gateway, that belongs to another account or Region, or whose state only missing data changed.
pub fn triage_children(parent: &Alarm, children: &[Alarm], bounds: &Bounds) -> Result<Vec<Target>, Reason> {
    is_current(parent, bounds)?;
    let mut targets = Vec::new();
    let mut refusals = Vec::new();
    for child in children.iter().filter(|child| child.state == State::Alarm) {
        match triage(child, &Bounds { max_age: None, ..bounds.clone() }) {
            Triage::Targets(more) => {
                targets.extend(more.into_iter().filter(|t| !targets.contains(t)).collect::<Vec<_>>());
            }
            Triage::Refused(
                reason @ (Reason::NotApiGateway(_)
                | Reason::NoDatapoints
                | Reason::WrongAccount { .. }
                | Reason::WrongRegion { .. }),
            ) => refusals.push(reason),
            Triage::Refused(reason) => return Err(reason),
            Triage::Composite(_) => {
                let why = format!(
                    "the composite alarm `{}` is nested too deeply below `{}`",
                    child.name, parent.name
                );
                return Err(Reason::NoStage(why));
            }
        }
    }
    if !targets.is_empty() {
        return Ok(targets);
    }
    // The alarm of another service says the least about the parent.
    let refusal = refusals.into_iter().min_by_key(|reason| matches!(reason, Reason::NotApiGateway(_)));
    let cleared = |child: &Alarm| Reason::AlarmCleared { alarm: child.name.clone(), state: child.state };
    let none = || Reason::NoStage(format!("no alarm was found below `{}`", parent.name));
    Err(refusal.or_else(|| children.first().map(cleared)).unwrap_or_else(none))
}

fn is_in_alarm(alarm: &Alarm) -> Result<(), Reason> {
    match (&alarm.suppressed_by, alarm.state) {
        (Some(by), _) => Err(Reason::Suppressed(by.clone())),
        (None, State::Alarm) => Ok(()),
        (None, state) => Err(Reason::NotInAlarm(state)),
    }
}

/// Checks that the alarm belongs to this account and Region, has data, and is recent.
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
    let Some(max_age) = bounds.max_age else { return Ok(()) };
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
            name: "a".into(),
            arn: Some("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:a".into()),
            claimed: Origin::default(),
            description: None,
            state: State::Alarm,
            changed_at: time("2026-11-20T10:05:00Z"),
            why: String::new(),
            only_missing_data: false,
            suppressed_by: None,
            watches: Watches::Metrics(vec![Metric {
                namespace: NAMESPACE.into(),
                name: "5XXError".into(),
                dimensions,
                account: None,
            }]),
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
            Triage::Composite(_) => "composite",
            Triage::Refused(reason) => reason.code(),
        }
    }

    #[test]
    fn the_first_reason_that_applies_is_returned() {
        let bounds = Bounds {
            home: Origin { account: Some("123456789012".into()), region: Some("eu-west-1".into()) },
            max_age: Some(TimeDelta::seconds(900)),
            now: time(NOW).unwrap(),
        };
        let other = "arn:aws:cloudwatch:us-east-1:999999999999:alarm:a";
        for (what, alarm, expected) in [
            ("a valid alarm", alarm(), "act"),
            ("no arn", Alarm { arn: None, ..alarm() }, "act"),
            ("OK", Alarm { state: State::Ok, ..alarm() }, "ok"),
            ("no data", Alarm { state: State::InsufficientData, ..alarm() }, "insufficient-data"),
            (
                "suppressed comes before its state",
                Alarm { suppressed_by: Some("Alarm".into()), state: State::Ok, ..alarm() },
                "suppressed",
            ),
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
        ] {
            assert_eq!(described(&triage(&alarm, &bounds)), expected, "{what}");
        }
    }

    #[test]
    fn a_composite_alarm_targets_the_stages_of_its_children_in_alarm() {
        let bounds = Bounds {
            home: Origin::default(),
            max_age: Some(TimeDelta::seconds(900)),
            now: time(NOW).unwrap(),
        };
        let long_ago = Alarm { changed_at: time("2026-11-01T00:00:00Z"), ..alarm() };
        let quiet = Alarm { state: State::Ok, ..alarm() };
        let elsewhere = Alarm {
            watches: Watches::Metrics(vec![Metric {
                namespace: "AWS/EC2".into(),
                name: "CPU".into(),
                dimensions: vec![],
                account: None,
            }]),
            ..alarm()
        };
        let without_data = Alarm { only_missing_data: true, ..alarm() };
        let stageless = Alarm { watches: Watches::Metrics(vec![]), ..alarm() };
        for (what, children, expected) in [
            ("one child", vec![alarm()], "act"),
            ("the parent's time counts, not the child's", vec![long_ago], "act"),
            ("the same stage twice", vec![alarm(), alarm()], "act"),
            ("another child watches another service", vec![elsewhere.clone(), alarm()], "act"),
            ("another child has no data", vec![without_data.clone(), alarm()], "act"),
            ("no child has data", vec![elsewhere.clone(), without_data], "no-datapoints"),
            ("none is in ALARM", vec![quiet], "alarm-cleared"),
            ("no child was found", vec![], "no-stage"),
            ("no child watches an API", vec![elsewhere], "not-api-gateway"),
            ("a child without a stage", vec![alarm(), stageless], "no-stage"),
        ] {
            let described = triage_children(&alarm(), &children, &bounds);
            assert_eq!(
                described.as_ref().map_or_else(Reason::code, |t| if t.len() == 1 { "act" } else { "many" }),
                expected,
                "{what}"
            );
        }
    }
}
