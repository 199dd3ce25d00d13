//! The preconditions for a rollback by an alarm, so that an alarm undoes nothing but a bad deployment. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::Trigger;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::CLOCK_SKEW;
use crate::model::observed::OnRecord;
use crate::model::policy::StagePolicy;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{Candidate, Rollbacks};
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

/// Checks that the stage did not change after the alarm fired, because the change may be the fix. The sweep judges such
/// a change after one full evaluation of the alarm. Both times come from AWS.
pub(super) fn unchanged_since(
    trigger: Trigger<'_>,
    live: &LiveStage,
    alarm: Option<&AlarmNow>,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    let (Trigger::Alarm { swept, .. }, Some(alarm)) = (trigger, alarm) else { return Ok(()) };
    let (Some(changed_at), Some(alarm_at)) = (live.updated_at, alarm.alarm.changed_at) else { return Ok(()) };
    let judged = swept.is_some_and(|window| now > changed_at + window + CLOCK_SKEW);
    if changed_at <= alarm_at || judged {
        return Ok(());
    }
    Err(Reason::ChangedAfterAlarm { changed_at, alarm_at })
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

/// Checks that the stage was not rolled back a moment ago or too often.
pub(super) fn is_not_too_soon(
    rollbacks: &Rollbacks,
    policy: &StagePolicy,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    let automatic = || rollbacks.past.iter().filter(|past| past.alarm.is_some());
    if let Some(last) = automatic().map(|past| past.at).max()
        && now - last < policy.cooldown
    {
        return Err(Reason::Cooldown(format!(
            "the stage was rolled back at {}, and the cooldown is {} s",
            stamp(last),
            policy.cooldown.num_seconds()
        )));
    }
    let today = automatic().filter(|past| now - past.at < TimeDelta::days(1)).count();
    if today >= usize::try_from(policy.max_rollbacks).unwrap_or(usize::MAX) {
        return Err(Reason::Cooldown(format!(
            "the stage was rolled back {today} times in 24 hours, and the maximum is {}",
            policy.max_rollbacks
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::policy;
    use crate::model::alarm::{Alarm, Origin, State, Watches, time};
    use crate::model::component::{AliasTarget, MappingTarget};
    use crate::model::observed::KnownGood;
    use crate::model::policy::PolicyOverrides;
    use crate::model::protocol::Protocol;
    use crate::model::records::{Hold, RollbackEntry, SCHEMA};
    use crate::model::release::Release;
    use crate::model::target::{ApiRef, Target};

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

    #[test]
    fn only_the_sweep_judges_a_change_after_the_alarm_and_only_after_a_full_evaluation() {
        let target = Target { api: ApiRef::Id("a".into()), stage: "p".into(), canary: false, protocol: None };
        let alarm = |fired: Option<&str>| AlarmNow {
            actions_enabled: true,
            actions: vec![],
            window: TimeDelta::zero(),
            alarm: Alarm {
                name: "a".into(),
                arn: None,
                claimed: Origin::default(),
                description: None,
                state: State::Alarm,
                changed_at: fired.and_then(time),
                why: String::new(),
                only_missing_data: false,
                suppressed_by: None,
                watches: Watches::Metrics(vec![]),
            },
        };
        let live = |updated: Option<&str>| LiveStage {
            release: Release { deployment: "d".into(), ..Release::default() },
            updated_at: updated.and_then(time),
            ..LiveStage::default()
        };
        let hold = "changed-after-alarm";
        let (swept, query) = (Some(TimeDelta::minutes(2)), Some(TimeDelta::minutes(15)));
        for (changed, fired, swept, now, expected) in [
            (Some("2026-11-20T09:59:00Z"), Some(FIRED), None, "2026-11-20T10:00:30Z", "continue"),
            (Some(FIRED), Some(FIRED), None, "2026-11-20T10:00:30Z", "continue"),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), None, "2026-11-20T10:00:30Z", hold),
            // An event never undoes the change, however late it arrives. The sweep does after 2 minutes and the skew.
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), None, "2026-11-20T11:00:00Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), swept, "2026-11-20T10:02:30Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), swept, "2026-11-20T10:03:01Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), swept, "2026-11-20T10:03:02Z", "continue"),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), query, "2026-11-20T10:16:01Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), query, "2026-11-20T10:16:02Z", "continue"),
            // If our clock is a minute behind, an event is not affected and the sweep waits longer.
            (Some("2026-11-20T09:59:00Z"), Some(FIRED), None, "2026-11-20T09:58:30Z", "continue"),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), swept, "2026-11-20T09:59:00Z", hold),
            (None, Some(FIRED), None, FIRED, "continue"),
            (Some(FIRED), None, None, FIRED, "continue"),
        ] {
            let trigger = Trigger::Alarm { name: "a", target: &target, swept };
            let answer = unchanged_since(trigger, &live(changed), Some(&alarm(fired)), at(now));
            assert_eq!(described(&answer), expected, "{changed:?} {fired:?} swept {swept:?} at {now}");
        }
        let after = live(Some("2026-11-20T10:05:00Z"));
        for trigger in [Trigger::Operator { force: false }, Trigger::Imagined] {
            assert_eq!(
                described(&unchanged_since(trigger, &after, Some(&alarm(Some(FIRED))), at(FIRED))),
                "continue"
            );
        }
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
    fn a_stage_is_not_rolled_back_too_soon_or_too_often() {
        let rollbacks = |times: &[(&str, bool)]| Rollbacks {
            schema: SCHEMA,
            past: times
                .iter()
                .map(|(when, automatic)| RollbackEntry {
                    at: at(when),
                    fingerprint: "f".into(),
                    alarm: automatic.then(|| "a".to_owned()),
                    alarm_at: None,
                    recovered_at: None,
                    lifted: false,
                })
                .collect(),
        };
        let (seven, eight, nine) = ("2026-11-20T07:00:00Z", "2026-11-20T08:00:00Z", "2026-11-20T09:00:00Z");
        for (times, expected) in [
            (vec![], "continue"),
            (vec![("2026-11-20T09:55:01Z", true)], "cooldown"),
            (vec![("2026-11-20T09:55:00Z", true)], "continue"),
            (vec![("2026-11-20T09:59:00Z", false)], "continue"),
            (vec![("2026-11-20T10:00:30Z", true)], "cooldown"),
            (vec![(seven, true), (eight, true)], "continue"),
            (vec![(seven, true), (eight, true), (nine, true)], "cooldown"),
            (vec![("2026-11-19T10:00:00Z", true), (eight, true), (nine, true)], "continue"),
            (vec![(seven, false), (eight, true), (nine, true)], "continue"),
        ] {
            assert_eq!(
                described(&is_not_too_soon(&rollbacks(&times), &policy(), at(FIRED))),
                expected,
                "{times:?}"
            );
        }
    }
}
