//! The preconditions for a rollback by an alarm, so that an alarm undoes nothing but a bad deployment. Pure.

use chrono::{DateTime, Utc};

use super::guilt::Guilt;
use super::testimony::{Subject, fired_at, is_after, is_judged};
use crate::model::observed::{Observed, OnRecord};
use crate::model::policy::StagePolicy;
use crate::model::reason::{Reason, stamp};
use crate::model::records::Candidate;
use crate::model::stage::LiveStage;

/// A parameter that cannot be read may be a hold, so its stage counts as held.
#[must_use]
pub fn counts_as_held(unreadable: &str) -> String {
    format!("{unreadable}, so the stage counts as held")
}

/// Checks that no operator holds the stage, and that every parameter that could say so can be read.
///
/// # Errors
/// [`Reason::HeldByOperator`].
pub fn is_not_held(on_record: &OnRecord, now: DateTime<Utc>) -> Result<(), Reason> {
    if let Some(unreadable) = &on_record.unreadable {
        return Err(Reason::HeldByOperator(counts_as_held(unreadable)));
    }
    match &on_record.hold {
        Some(hold) if hold.until > now => Err(Reason::HeldByOperator(format!(
            "the stage is held until {} by {}: {}",
            stamp(hold.until),
            hold.by.as_deref().unwrap_or("an operator"),
            hold.why.as_deref().unwrap_or("no reason given")
        ))),
        _ => Ok(()),
    }
}

/// Checks that the stage did not change after the alarm fired, because the change may be the fix, unless the alarm speaks
/// about the change. Both times come from AWS.
pub(super) fn unchanged_since(
    observed: &Observed,
    live: &LiveStage,
    guilt: &Guilt,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    let (Some(alarm), Some(changed_at)) = (&observed.alarm, live.updated_at) else { return Ok(()) };
    let subject = Subject::of(observed, guilt);
    let fired_at = fired_at(alarm, subject);
    if fired_at.is_some_and(|alarm_at| !is_after(changed_at, alarm_at))
        || is_judged(alarm, subject, changed_at, now)
    {
        return Ok(());
    }
    Err(match fired_at {
        Some(alarm_at) => Reason::ChangedAfterAlarm { changed_at, alarm_at },
        None => Reason::AlarmUnreadable {
            alarm: alarm.alarm.name.clone(),
            why: "neither CloudWatch nor the event says when it fired".to_owned(),
        },
    })
}

/// Returns when the stage changed and when the alarm fired, if the stage changed after it.
pub(super) fn changed_after_alarm(
    observed: &Observed,
    live: &LiveStage,
    guilt: &Guilt,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let fired_at = fired_at(observed.alarm.as_ref()?, Subject::of(observed, guilt));
    let times = live.updated_at.zip(fired_at);
    times.filter(|(changed_at, alarm_at)| is_after(*changed_at, *alarm_at))
}

/// Returns since when a release is live: since the function first saw it, or since the stage's last change if that is
/// earlier. A stage's last change says nothing about aliases and mappings.
pub(super) fn live_since(candidate: Option<&Candidate>, live: &LiveStage) -> Option<DateTime<Utc>> {
    let seen = candidate.map(|candidate| candidate.first_seen);
    let in_stage = live.release.aliases.is_empty() && live.release.mappings.is_empty();
    match (seen, live.updated_at) {
        (Some(seen), Some(updated)) if in_stage => Some(seen.min(updated)),
        (seen, updated) => seen.or(updated),
    }
}

/// Checks that the release went live recently enough to be the cause of the alarm.
pub(super) fn is_in_window(
    live_since: Option<DateTime<Utc>>,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    match (live_since, policy.window) {
        (Some(live_since), Some(window)) if now - live_since > window => {
            Err(Reason::OutsideWindow { live_since, window_seconds: window.num_seconds() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::TimeDelta;

    use super::*;
    use crate::decide::fixture::{TOPIC, good, policy, release};
    use crate::decide::leaves::resolved;
    use crate::model::alarm::{Alarm, AlarmNow, State, time};
    use crate::model::alarm_setup::AlarmSetup;
    use crate::model::component::{AliasTarget, MappingTarget};
    use crate::model::datapoint::{Datapoint, Reading};
    use crate::model::observed::KnownGood;
    use crate::model::policy::PolicyOverrides;
    use crate::model::protocol::Protocol;
    use crate::model::records::{Hold, RollbackEntry, Rollbacks, SCHEMA};
    use crate::model::release::Release;

    const FIRED: &str = "2026-11-20T10:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        time(text).unwrap()
    }

    fn described(answer: &Result<(), Reason>) -> &'static str {
        answer.as_ref().map_or_else(Reason::code, |()| "continue")
    }

    #[test]
    fn a_hold_lasts_until_it_ends_and_an_unreadable_parameter_counts_as_one() {
        let on_record = |until: Option<&str>, unreadable: Option<&str>| OnRecord {
            known_good: KnownGood::None { parameter: String::new() },
            candidate: None,
            hold: until.map(|until| Hold { schema: SCHEMA, until: at(until), by: None, why: None }),
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks::default(),
            rollout: Ok(None),
            unreadable: unreadable.map(str::to_owned),
        };
        for (until, unreadable, expected) in [
            (None, None, "continue"),
            (Some("2026-11-20T10:00:01Z"), None, "held-by-operator"),
            (Some("2026-11-20T10:00:00Z"), None, "continue"),
            (Some("2026-11-20T09:59:59Z"), None, "continue"),
            (None, Some("the parameter x"), "held-by-operator"),
            (Some("2026-11-20T09:00:00Z"), Some("the parameter x"), "held-by-operator"),
        ] {
            let answer = is_not_held(&on_record(until, unreadable), at(FIRED));
            assert_eq!(described(&answer), expected, "{until:?} {unreadable:?}");
        }
    }

    /// An alarm that fired then, and whose window is two minutes unless said otherwise. `later` has the beginnings of its
    /// breaching minutes since, if they were read.
    fn fired(at: Option<&str>, window: TimeDelta, later: Option<&[&str]>) -> Observed {
        let alarm = Alarm {
            description: Some("rollback-target: a/prod".into()),
            changed_at: at.and_then(time),
            ..Alarm::new("a", State::Alarm)
        };
        let now = AlarmNow {
            alarm,
            actions_enabled: true,
            actions: vec![TOPIC.to_owned()],
            window,
            evaluated: vec![],
            setup: AlarmSetup::default(),
        };
        let mut alarm = resolved(now, &BTreeMap::new());
        let breach = |begins: &&str| {
            let begins = time(begins).unwrap();
            Datapoint { begins, ends: begins + TimeDelta::minutes(1), reading: Reading::Breaching }
        };
        alarm.leaves[0].later = later.map(|later| later.iter().map(breach).collect());
        Observed { alarm: Some(alarm), ..good().1 }
    }

    #[test]
    fn a_change_after_the_alarm_is_judged_by_data_after_it_or_after_a_full_evaluation() {
        let hold = "changed-after-alarm";
        let (plain, query) = (TimeDelta::minutes(2), TimeDelta::minutes(15));
        let (fix, odd) = (Some("2026-11-20T10:00:01Z"), Some("2026-11-20T10:00:00.900Z"));
        let none: Option<&[&str]> = None;
        for (changed, alarm, window, later, now, expected) in [
            (Some("2026-11-20T09:59:59Z"), Some(FIRED), plain, none, "2026-11-20T10:00:30Z", "continue"),
            // API Gateway's times are whole seconds: the change may be from just after the alarm.
            (Some(FIRED), Some(FIRED), plain, none, "2026-11-20T10:00:30Z", hold),
            (Some(FIRED), odd, plain, none, "2026-11-20T10:00:30Z", hold),
            (Some("2026-11-20T09:59:59Z"), odd, plain, none, "2026-11-20T10:00:30Z", "continue"),
            (fix, Some(FIRED), plain, none, "2026-11-20T10:02:06Z", hold),
            // The window, two minutes of publication and evaluation, and the clocks' difference.
            (fix, Some(FIRED), plain, none, "2026-11-20T10:05:01Z", hold),
            (fix, Some(FIRED), plain, none, "2026-11-20T10:05:02Z", "continue"),
            (fix, Some(FIRED), query, none, "2026-11-20T10:18:01Z", hold),
            (fix, Some(FIRED), query, none, "2026-11-20T10:18:02Z", "continue"),
            // Data decides if it can be read, both for and against the change.
            (fix, Some(FIRED), plain, Some(&[][..]), "2026-11-20T11:00:00Z", hold),
            (fix, Some(FIRED), plain, Some(&["2026-11-20T10:00:00Z"]), "2026-11-20T11:00:00Z", hold),
            // A request that failed before the change may be counted a minute later.
            (fix, Some(FIRED), plain, Some(&["2026-11-20T10:01:00Z"]), "2026-11-20T11:00:00Z", hold),
            (fix, Some(FIRED), plain, Some(&["2026-11-20T10:02:00Z"]), "2026-11-20T10:03:10Z", "continue"),
            (fix, Some(FIRED), query, Some(&["2026-11-20T10:02:00Z"]), "2026-11-20T10:03:10Z", "continue"),
            // If our clock is a minute behind, the run waits longer.
            (fix, Some(FIRED), plain, none, "2026-11-20T09:59:00Z", hold),
            (None, Some(FIRED), plain, none, FIRED, "continue"),
            // If nothing says when the alarm fired, every change may have come after it.
            (Some(FIRED), None, plain, none, FIRED, "alarm-unreadable"),
            (Some(FIRED), None, plain, none, "2026-11-20T10:05:01Z", "continue"),
            (fix, None, plain, Some(&[][..]), "2026-11-20T11:00:00Z", "alarm-unreadable"),
        ] {
            let live = LiveStage { updated_at: changed.and_then(time), ..LiveStage::default() };
            let answer = unchanged_since(&fired(alarm, window, later), &live, &Guilt::default(), at(now));
            assert_eq!(described(&answer), expected, "{changed:?} {alarm:?} {window} {later:?} at {now}");
        }
        let live = LiveStage { updated_at: time("2026-11-20T10:05:00Z"), ..LiveStage::default() };
        assert_eq!(
            described(&unchanged_since(&good().1, &live, &Guilt::default(), at(FIRED))),
            "continue",
            "no alarm"
        );
    }

    #[test]
    fn the_stages_last_change_counts_only_for_a_release_without_components() {
        let (early, late) = ("2026-11-20T08:00:00Z", "2026-11-20T09:00:00Z");
        for (seen, updated, alias, mapping, expected) in [
            (Some(late), Some(early), false, false, Some(early)),
            (Some(early), Some(late), false, false, Some(early)),
            (Some(late), Some(early), true, false, Some(late)),
            (Some(late), Some(early), false, true, Some(late)),
            (Some(late), Some(early), true, true, Some(late)),
            (None, Some(early), true, false, Some(early)),
            (None, Some(early), false, false, Some(early)),
            (Some(late), None, false, false, Some(late)),
            (None, None, false, false, None),
        ] {
            let mut release = Release { deployment: "d".into(), ..Release::default() };
            let version = AliasTarget { version: "2".into(), weights: [].into() };
            release.aliases.extend(alias.then(|| ("orders:live".parse().unwrap(), version)));
            let target = MappingTarget { api: "a".into(), stage: "p".into() };
            release.mappings.extend(mapping.then(|| ("api.example.com".parse().unwrap(), target)));
            let candidate = seen.map(|seen| Candidate {
                schema: SCHEMA,
                protocol: Protocol::Rest,
                release: release.clone(),
                first_seen: at(seen),
                gone: false,
                irreversible: false,
                label: None,
                note: None,
            });
            let live = LiveStage { release, updated_at: updated.and_then(time), ..LiveStage::default() };
            let described = format!("seen {seen:?}, updated {updated:?}, alias {alias}, mapping {mapping}");
            assert_eq!(live_since(candidate.as_ref(), &live), expected.and_then(time), "{described}");
        }
    }

    #[test]
    fn a_release_that_has_been_live_for_long_is_outside_the_window() {
        let without = StagePolicy { window: None, ..policy() };
        for (since, policy, expected) in [
            (Some("2026-11-20T09:59:00Z"), &policy(), "continue"),
            (Some("2026-11-19T10:00:00Z"), &policy(), "continue"),
            (Some("2026-11-19T09:59:59Z"), &policy(), "outside-window"),
            (Some("2026-11-20T10:01:00Z"), &policy(), "continue"),
            (Some("2025-11-19T09:59:59Z"), &without, "continue"),
            (None, &policy(), "continue"),
        ] {
            assert_eq!(
                described(&is_in_window(since.and_then(time), policy, at(FIRED))),
                expected,
                "{since:?}"
            );
        }
    }

    #[test]
    fn the_mark_of_an_irreversible_release_holds_until_another_one_is_recorded() {
        let (recorded, before, after) =
            ("2026-11-20T10:00:00Z", "2026-11-20T09:59:59Z", "2026-11-20T10:00:01Z");
        let moved = |release: &Release| {
            let mut moved = release.clone();
            moved.aliases.values_mut().for_each(|target| target.version = "9".into());
            moved
        };
        for (case, of, seen, irreversible, forced, expected) in [
            ("the live release", "live", before, true, false, true),
            ("the live release, which was announced as reversible", "live", after, false, false, false),
            ("an alias was moved since", "moved", after, true, false, true),
            ("another deployment was made since", "other", after, true, false, true),
            ("that one was reversible", "other", after, false, false, false),
            ("a release was recorded since", "other", before, true, false, false),
            ("a release was recorded at that time", "other", recorded, true, false, true),
            ("an operator rolled it back with force", "other", after, true, true, false),
        ] {
            let (_, mut observed) = good();
            let live = observed.live.clone().unwrap();
            let marked = match of {
                "live" => live.release.clone(),
                "moved" => moved(&live.release),
                _ => release("3"),
            };
            observed.on_record.rollbacks.past.extend(forced.then(|| RollbackEntry {
                at: at(after),
                fingerprint: marked.fingerprint(),
                alarm: None,
                alarm_at: None,
                other_source: false,
                recovered_at: None,
                lifted: false,
            }));
            observed.on_record.candidate =
                Some(Candidate { irreversible, ..Candidate::new(Protocol::Rest, &marked, at(seen)) });
            let found = observed.on_record.irreversible(&live.release);
            assert_eq!(found.map(|one| &one.release), expected.then_some(&marked), "{case}");
            let candidate = observed.on_record.candidate_or_new(Protocol::Rest, &live, at(after));
            assert_eq!(candidate.irreversible, expected, "{case}");
        }
    }
}
