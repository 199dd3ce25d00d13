//! What keeps an alarm from undoing more than a bad deployment. Each guard is a question with its facts. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::Trigger;
use crate::model::alarm::AlarmNow;
use crate::model::alarm::CLOCK_SKEW;
use crate::model::observed::OnRecord;
use crate::model::policy::StagePolicy;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{Candidate, Rollbacks};
use crate::model::stage::LiveStage;

/// No operator holds the stage, and everything that could say so can be read.
///
/// # Errors
/// [`Reason::HeldByOperator`].
pub fn is_not_held(on_record: &OnRecord, now: DateTime<Utc>) -> Result<(), Reason> {
    if let Some(unreadable) = &on_record.unreadable {
        return Err(Reason::HeldByOperator(format!("{unreadable}, so the stage counts as held")));
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

/// What was deployed after the alarm fired may be the fix. The sweep judges it once the alarm has had one
/// full evaluation period with it; until then nobody undoes it. Both times are AWS's own.
pub(super) fn unchanged_since(
    call: Trigger<'_>,
    live: &LiveStage,
    alarm: Option<&AlarmNow>,
    now: DateTime<Utc>,
) -> Result<(), Reason> {
    let (Trigger::Alarm { swept, .. }, Some(alarm)) = (call, alarm) else { return Ok(()) };
    let (Some(changed_at), Some(alarm_at)) = (live.updated_at, alarm.alarm.changed_at) else { return Ok(()) };
    let judged = swept && now > changed_at + alarm.window + CLOCK_SKEW;
    if changed_at <= alarm_at || judged {
        return Ok(());
    }
    Err(Reason::ChangedAfterAlarm { changed_at, alarm_at })
}

/// Since when a release is live: since it was first seen, or before that, where the stage tells so. A stage does not
/// tell when an alias or a mapping was moved.
pub(super) fn live_since(candidate: Option<&Candidate>, live: &LiveStage) -> Option<DateTime<Utc>> {
    let seen = candidate.map(|candidate| candidate.first_seen);
    let in_stage = live.release.aliases.is_empty() && live.release.mappings.is_empty();
    match (seen, live.updated_at) {
        (Some(seen), Some(updated)) if in_stage => Some(seen.min(updated)),
        (seen, updated) => seen.or(updated),
    }
}

/// The release went live lately enough for the alarm to be about it.
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

/// The stage was not put back a moment ago, nor too often.
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
            "the stage was put back at {}, and the cooldown is {} s",
            stamp(last),
            policy.cooldown.num_seconds()
        )));
    }
    let today = automatic().filter(|past| now - past.at < TimeDelta::days(1)).count();
    if today >= usize::try_from(policy.max_rollbacks).unwrap_or(usize::MAX) {
        return Err(Reason::Cooldown(format!(
            "the stage was put back {today} times in 24 hours, and {} is the most",
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
        answer.as_ref().map_or_else(Reason::code, |()| "go on")
    }

    #[test]
    fn a_hold_holds_until_it_ends_and_an_unreadable_parameter_holds() {
        let on_record = |until: Option<&str>, unreadable: Option<&str>| OnRecord {
            known_good: KnownGood::None { parameter: String::new() },
            candidate: None,
            hold: until.map(|until| Hold { schema: SCHEMA, until: at(until), by: None, why: None }),
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks::default(),
            unreadable: unreadable.map(str::to_owned),
        };
        for (until, unreadable, expected) in [
            (None, None, "go on"),
            (Some("2026-11-20T10:00:01Z"), None, "held-by-operator"),
            (Some("2026-11-20T10:00:00Z"), None, "go on"),
            (Some("2026-11-20T09:59:59Z"), None, "go on"),
            (None, Some("the parameter x"), "held-by-operator"),
            (Some("2026-11-20T09:00:00Z"), Some("the parameter x"), "held-by-operator"),
        ] {
            let answer = is_not_held(&on_record(until, unreadable), at(FIRED));
            assert_eq!(described(&answer), expected, "{until:?} {unreadable:?}");
        }
    }

    #[test]
    fn a_change_after_the_alarm_is_left_to_the_sweep_and_to_a_full_evaluation() {
        let target = Target { api: ApiRef::Id("a".into()), stage: "p".into(), canary: false, protocol: None };
        let alarm = |fired: Option<&str>| AlarmNow {
            actions_enabled: true,
            actions: vec![],
            window: TimeDelta::minutes(2),
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
        for (changed, fired, swept, now, expected) in [
            (Some("2026-11-20T09:59:00Z"), Some(FIRED), false, "2026-11-20T10:00:30Z", "go on"),
            (Some(FIRED), Some(FIRED), false, "2026-11-20T10:00:30Z", "go on"),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), false, "2026-11-20T10:00:30Z", hold),
            // An event never undoes it, however late it comes; the sweep does after 2 minutes and the skew.
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), false, "2026-11-20T11:00:00Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), true, "2026-11-20T10:02:30Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), true, "2026-11-20T10:03:01Z", hold),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), true, "2026-11-20T10:03:02Z", "go on"),
            // Our clock a minute behind changes nothing for an event, and lets the sweep wait for longer.
            (Some("2026-11-20T09:59:00Z"), Some(FIRED), false, "2026-11-20T09:58:30Z", "go on"),
            (Some("2026-11-20T10:00:01Z"), Some(FIRED), true, "2026-11-20T09:59:00Z", hold),
            (None, Some(FIRED), false, FIRED, "go on"),
            (Some(FIRED), None, false, FIRED, "go on"),
        ] {
            let call = Trigger::Alarm { name: "a", target: &target, swept };
            let answer = unchanged_since(call, &live(changed), Some(&alarm(fired)), at(now));
            assert_eq!(described(&answer), expected, "{changed:?} {fired:?} swept {swept} at {now}");
        }
        let after = live(Some("2026-11-20T10:05:00Z"));
        for call in [Trigger::Operator { force: false }, Trigger::Imagined] {
            assert_eq!(
                described(&unchanged_since(call, &after, Some(&alarm(Some(FIRED))), at(FIRED))),
                "go on"
            );
        }
    }

    #[test]
    fn a_release_is_live_since_the_stage_tells_so_unless_a_part_is_elsewhere() {
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
    fn a_release_that_is_live_for_long_is_not_a_deployment_problem() {
        let without = StagePolicy { window: None, ..policy() };
        for (since, policy, expected) in [
            (Some("2026-11-20T09:59:00Z"), &policy(), "go on"),
            (Some("2026-11-19T10:00:00Z"), &policy(), "go on"),
            (Some("2026-11-19T09:59:59Z"), &policy(), "outside-window"),
            (Some("2026-11-20T10:01:00Z"), &policy(), "go on"),
            (Some("2025-11-19T09:59:59Z"), &without, "go on"),
            (None, &policy(), "go on"),
        ] {
            assert_eq!(
                described(&is_in_window(since.and_then(time), policy, at(FIRED))),
                expected,
                "{since:?}"
            );
        }
    }

    #[test]
    fn a_stage_is_not_put_back_too_soon_nor_too_often() {
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
            (vec![], "go on"),
            (vec![("2026-11-20T09:55:01Z", true)], "cooldown"),
            (vec![("2026-11-20T09:55:00Z", true)], "go on"),
            (vec![("2026-11-20T09:59:00Z", false)], "go on"),
            (vec![("2026-11-20T10:00:30Z", true)], "cooldown"),
            (vec![(seven, true), (eight, true)], "go on"),
            (vec![(seven, true), (eight, true), (nine, true)], "cooldown"),
            (vec![("2026-11-19T10:00:00Z", true), (eight, true), (nine, true)], "go on"),
            (vec![(seven, false), (eight, true), (nine, true)], "go on"),
        ] {
            assert_eq!(
                described(&is_not_too_soon(&rollbacks(&times), &policy(), at(FIRED))),
                expected,
                "{times:?}"
            );
        }
    }
}
