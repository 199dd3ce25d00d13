//! Judges whether the guarding alarms prove a release. Pure.

use chrono::{DateTime, Utc};

use super::sibling;
use super::testimony::{Guarding, Testimony, went_live};
use crate::model::alarm::State;
use crate::model::guarding_alarm::GuardingAlarm;
use crate::model::observed::OnRecord;
use crate::model::policy::StagePolicy;
use crate::model::reason::{Reason, stamp};
use crate::model::records::Candidate;
use crate::model::stage::LiveStage;

/// The evidence of the guarding alarms since the candidate was first seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// A guarding alarm that was in ALARM at some time since then.
    pub fired: Option<String>,
    /// Since when the alarms are not in ALARM any more that were so when the release went live; `None` if none was.
    pub clear_since: Option<DateTime<Utc>>,
    /// The number of samples of API Gateway's own metrics of the stage since then; `None` if there is no metric to read.
    pub samples: Option<f64>,
}

/// What an alarm did in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It was not in ALARM.
    Quiet,
    /// It was in ALARM when the time began, and left that state for good.
    Ended,
    /// It fired.
    Fired,
}

impl Course {
    /// Judges the states that the alarm left or entered in that time, in its order: an alarm that was in ALARM before leaves
    /// it first.
    #[must_use]
    pub fn of(states: &[State]) -> Self {
        match states.iter().rposition(|state| *state == State::Alarm) {
            None => Self::Quiet,
            Some(0) => Self::Ended,
            Some(_) => Self::Fired,
        }
    }
}

/// Returns a time at which the candidate cannot have been live yet, if that is known: an alarm that fired before it does not speak
/// about the candidate. Another release was live until the stage's last change or its last rollback.
#[must_use]
pub fn not_live_before(
    on_record: &OnRecord,
    live: &LiveStage,
    candidate: &Candidate,
) -> Option<DateTime<Utc>> {
    let rolled_back_at = on_record.rollbacks.past.last().map(|past| past.at);
    let times = went_live(on_record, live).or(rolled_back_at);
    times.filter(|at| *at <= candidate.first_seen)
}

/// Checks whether a promotion is due, without reading anything from CloudWatch.
///
/// # Errors
/// [`Reason::NotProven`].
pub fn is_due(
    on_record: &OnRecord,
    candidate: &Candidate,
    guarding: &[Guarding<'_>],
    policy: &StagePolicy,
    now: DateTime<Utc>,
    by_operator: bool,
) -> Result<(), Reason> {
    let not_proven = |why: String| Err(Reason::NotProven(why));
    if on_record.rollbacks.quarantines(&candidate.release) {
        return not_proven(format!("release {} is in quarantine", candidate.release.fingerprint()));
    }
    let deployment = Some(candidate.release.deployment.as_str());
    if let Some(incident) = sibling::against(on_record, policy, candidate.label.as_deref(), deployment) {
        return not_proven(sibling::until_cleared(incident));
    }
    let ends = candidate.first_seen + policy.bake;
    if !by_operator && now < ends {
        return not_proven(format!(
            "the bake time runs from {} until {}",
            stamp(candidate.first_seen),
            stamp(ends)
        ));
    }
    if policy.needs_data && guarding.iter().all(|one| one.target.is_none()) {
        return not_proven("no guarding alarm names the stage, so nothing can prove the release".to_owned());
    }
    for Guarding { alarm: GuardingAlarm { alarm, .. }, testimony, .. } in guarding {
        match testimony {
            Testimony::Quiet => {}
            Testimony::Unreadable(why) => {
                return not_proven(format!("the alarm `{}` cannot be resolved: {why}", alarm.name));
            }
            // Even an alarm that accuses nobody is no proof while it is in ALARM.
            Testimony::Accuses | Testimony::Abstains(_) => {
                return not_proven(format!("the alarm `{}` is in ALARM", alarm.name));
            }
        }
    }
    Ok(())
}

/// Checks whether the evidence proves the release.
///
/// # Errors
/// [`Reason::NotProven`].
pub fn is_proven(evidence: &Evidence, policy: &StagePolicy) -> Result<(), Reason> {
    if let Some(alarm) = &evidence.fired {
        return Err(Reason::NotProven(format!(
            "the alarm `{alarm}` was in ALARM after the release was first seen"
        )));
    }
    if policy.needs_data && evidence.samples.is_none_or(|samples| samples <= 0.0) {
        return Err(Reason::NotProven(
            "API Gateway's own metrics of the stage had no data, or their name can mean another API: without traffic there is no \
             evidence"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::decide::fixture;
    use crate::model::alarm::{Alarm, Muted, time};
    use crate::model::observed::KnownGood;
    use crate::model::policy::PolicyOverrides;
    use crate::model::protocol::Protocol;
    use crate::model::records::{RollbackEntry, Rollbacks, SCHEMA};
    use crate::model::release::Release;
    use crate::model::target::{ApiRef, Target};

    const SEEN: &str = "2026-11-20T10:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        time(text).unwrap()
    }

    fn policy(needs_data: bool) -> StagePolicy {
        StagePolicy { needs_data, ..fixture::policy() }
    }

    fn guarding_alarm(state: State, changed: Option<&str>) -> GuardingAlarm {
        GuardingAlarm {
            alarm: Alarm { changed_at: changed.and_then(time), ..Alarm::new("5xx", state) },
            actions_enabled: true,
            actions: vec![],
            ok_actions: vec![],
            muted: Muted::No,
            window: TimeDelta::minutes(2),
            speaks_by_leaves: false,
            targets: vec![],
            leaves: vec![],
            unresolved: vec![],
        }
    }

    fn candidate() -> Candidate {
        Candidate {
            schema: SCHEMA,
            protocol: Protocol::Rest,
            release: Release { deployment: "d".into(), ..Release::default() },
            first_seen: at(SEEN),
            gone: false,
            irreversible: false,
            label: None,
            note: None,
        }
    }

    fn past(candidate: &Candidate, lifted: bool) -> RollbackEntry {
        RollbackEntry {
            at: at(SEEN),
            fingerprint: candidate.release.fingerprint(),
            alarm: None,
            alarm_at: None,
            other_source: false,
            recovered_at: None,
            lifted,
        }
    }

    fn on_record(past: Vec<RollbackEntry>) -> OnRecord {
        OnRecord {
            known_good: KnownGood::None { parameter: String::new() },
            candidate: None,
            hold: None,
            policy: PolicyOverrides::default(),
            rollbacks: Rollbacks { schema: SCHEMA, past, ..Rollbacks::default() },
            rollout: Ok(None),
            unreadable: None,
        }
    }

    #[test]
    fn a_candidate_is_due_after_its_bake_time_with_quiet_alarms() {
        let candidate = candidate();
        let past = |lifted| past(&candidate, lifted);
        let target =
            Target { api: ApiRef::Id("a".into()), stage: "prod".into(), canary: false, protocol: None };
        let alarms = (guarding_alarm(State::Ok, None), guarding_alarm(State::Alarm, None));
        let guarding = |alarm, testimony| Guarding {
            alarm,
            target: Some(&target),
            testimony,
            about: vec![],
            metrics: vec![],
        };
        let quiet = guarding(&alarms.0, Testimony::Quiet);
        let firing = guarding(&alarms.1, Testimony::Accuses);
        let silenced = guarding(&alarms.1, Testimony::Abstains(Reason::NoDatapoints));
        let unreadable =
            guarding(&alarms.0, Testimony::Unreadable("the alarm `x` cannot be found".to_owned()));
        let (early, late) = ("2026-11-20T10:29:59Z", "2026-11-20T10:30:00Z");
        for (case, now, guarding, needs_data, by_operator, past, expected) in [
            ("baked", late, vec![&quiet], true, false, vec![], "due"),
            ("too early", early, vec![&quiet], true, false, vec![], "the bake time"),
            ("an operator may promote early", early, vec![&quiet], true, true, vec![], "due"),
            ("in ALARM", late, vec![&quiet, &firing], true, false, vec![], "the alarm `5xx` is in ALARM"),
            (
                "an alarm also stops an operator",
                late,
                vec![&firing],
                true,
                true,
                vec![],
                "the alarm `5xx` is in ALARM",
            ),
            (
                "an alarm that accuses nobody",
                late,
                vec![&silenced],
                true,
                false,
                vec![],
                "the alarm `5xx` is in ALARM",
            ),
            (
                "an alarm that cannot be resolved",
                late,
                vec![&quiet, &unreadable],
                false,
                true,
                vec![],
                "the alarm `5xx` cannot be resolved: the alarm `x` cannot be found",
            ),
            ("no guarding alarm", late, vec![], true, false, vec![], "no guarding alarm"),
            ("no guarding alarm, and none is needed", late, vec![], false, false, vec![], "due"),
            ("quarantined", late, vec![&quiet], true, false, vec![past(false)], "release "),
            ("lifted", late, vec![&quiet], true, false, vec![past(true)], "due"),
            ("rolled back again", late, vec![&quiet], true, false, vec![past(true), past(false)], "release "),
        ] {
            let on_record = on_record(past);
            let guarding: Vec<Guarding<'_>> = guarding.into_iter().cloned().collect();
            let answer = is_due(&on_record, &candidate, &guarding, &policy(needs_data), at(now), by_operator);
            let described = answer.map_or_else(|reason| reason.to_string(), |()| "due".to_owned());
            assert!(described.starts_with(expected), "{case}: {described}");
        }
    }

    #[test]
    fn an_alarms_state_shows_whether_its_history_must_be_read() {
        for (state, changed, expected) in [
            (State::Ok, Some("2026-11-20T09:59:59Z"), Some(true)),
            (State::Ok, Some(SEEN), None),
            (State::Ok, Some("2026-11-20T10:20:00Z"), None),
            (State::Ok, None, None),
            (State::InsufficientData, Some("2026-11-20T09:00:00Z"), Some(true)),
            (State::InsufficientData, Some("2026-11-20T10:20:00Z"), None),
            (State::Alarm, Some("2026-11-20T09:00:00Z"), Some(false)),
        ] {
            assert_eq!(
                guarding_alarm(state, changed).alarm.quiet_since(at(SEEN)),
                expected,
                "{state} since {changed:?}"
            );
        }
    }

    #[test]
    fn an_alarm_that_only_left_the_state_alarm_fired_before() {
        use State::{Alarm, InsufficientData, Ok};
        for (states, expected) in [
            (&[][..], Course::Quiet),
            (&[Ok, InsufficientData], Course::Quiet),
            (&[Alarm, Ok], Course::Ended),
            (&[Alarm, InsufficientData, InsufficientData, Ok], Course::Ended),
            (&[Alarm, Ok, Ok, Alarm], Course::Fired),
            (&[Alarm, Ok, Ok, Alarm, Alarm, Ok], Course::Fired),
            (&[Ok, Alarm, Alarm, Ok], Course::Fired),
            // CloudWatch need not say which state it left.
            (&[Ok, Alarm], Course::Fired),
        ] {
            assert_eq!(Course::of(states), expected, "{states:?}");
        }
    }

    #[test]
    fn only_quiet_alarms_with_data_prove_a_release() {
        let evidence = |fired: Option<&str>, samples| Evidence {
            fired: fired.map(str::to_owned),
            samples,
            ..Evidence::default()
        };
        for (evidence, needs_data, proven) in [
            (evidence(None, Some(1.0)), true, true),
            (evidence(None, Some(0.0)), true, false),
            (evidence(None, None), true, false),
            (evidence(None, None), false, true),
            (evidence(Some("5xx"), Some(1.0)), true, false),
            (evidence(Some("5xx"), None), false, false),
        ] {
            assert_eq!(
                is_proven(&evidence, &policy(needs_data)).is_ok(),
                proven,
                "{evidence:?} {needs_data}"
            );
        }
    }
}
