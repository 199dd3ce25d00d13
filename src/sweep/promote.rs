//! Promotion: a candidate that served with quiet alarms for the bake time becomes the known-good release.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cloud::{Cloud, CloudError};
use crate::config::Terms;
use crate::context::Run;
use crate::model::alarm::{Metric, State};
use crate::model::reason::{Reason, stamp};
use crate::model::records::Candidate;
use crate::model::release::StageRef;
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::OnRecord;
use crate::observe::guarding_alarms::Guard;
use crate::sweep::record::{Recording, record};

/// A state change so close to the first sight is looked up in the alarm's history: clocks differ.
const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(60);

/// What the guarding alarms say about a candidate's time.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// A guarding alarm that was in ALARM since the candidate was first seen.
    pub fired: Option<String>,
    /// Samples of the guarding alarms' metrics since then; `None` where there is no metric to ask.
    pub samples: Option<f64>,
}

/// How a promotion ended.
pub enum Promoted {
    /// The release is known-good, or the record could not be written: the report says which.
    Reported(Box<Report>),
    /// Not yet, or not at all.
    No(Reason),
    /// Not, because this alarm was in ALARM meanwhile.
    Fired(Reason),
}

/// Promotes a candidate, if it is proven. A person may shorten the bake, not the rest.
///
/// # Errors
/// A failed call.
pub async fn promote<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    on_record: &OnRecord,
    candidate: &Candidate,
    guards: &[&Guard],
    caller: &Caller,
    by_person: bool,
) -> Result<Promoted, CloudError> {
    let terms = run.config.terms.under(&on_record.policy);
    if let Err(reason) = may_be_asked(on_record, candidate, guards, &terms, run.now, by_person) {
        return Ok(Promoted::No(reason));
    }
    let evidence = gather(run, candidate, guards, &terms).await?;
    if let Err(reason) = is_proven(&evidence, &terms) {
        return Ok(if evidence.fired.is_some() { Promoted::Fired(reason) } else { Promoted::No(reason) });
    }
    let recording = Recording {
        label: candidate.label.clone(),
        note: candidate.note.clone(),
        who: Some(caller.name.clone().unwrap_or_else(|| "sweep".to_owned())),
        irreversible: candidate.irreversible,
        expected: Some(&candidate.release),
        outcome: Outcome::Promoted,
    };
    Ok(Promoted::Reported(Box::new(record(run, stage, recording, caller).await)))
}

/// What can be told without asking CloudWatch. Pure.
fn may_be_asked(
    on_record: &OnRecord,
    candidate: &Candidate,
    guards: &[&Guard],
    terms: &Terms,
    now: DateTime<Utc>,
    by_person: bool,
) -> Result<(), Reason> {
    let no = |why: String| Err(Reason::NotProven(why));
    if on_record.rollbacks.quarantines(&candidate.release) {
        return no(format!("release {} is in quarantine", candidate.release.fingerprint()));
    }
    let ends = candidate.first_seen + terms.bake;
    if !by_person && now < ends {
        return no(format!("bakes since {} until {}", stamp(candidate.first_seen), stamp(ends)));
    }
    if terms.needs_data && guards.is_empty() {
        return no("no guarding alarm names the stage, so nothing could prove the release".to_owned());
    }
    match guards.iter().find(|guard| guard.alarm.state == State::Alarm) {
        Some(guard) => no(format!("the alarm `{}` is in ALARM", guard.alarm.name)),
        None => Ok(()),
    }
}

async fn gather<C: Cloud>(
    run: &Run<'_, C>,
    candidate: &Candidate,
    guards: &[&Guard],
    terms: &Terms,
) -> Result<Evidence, CloudError> {
    let since = candidate.first_seen;
    let mut evidence = Evidence::default();
    for guard in guards {
        let fired = match guard.quiet_since(since - CLOCK_SKEW) {
            Some(quiet) => !quiet,
            None => run.cloud.states_since(&guard.alarm.name, since).await?.contains(&State::Alarm),
        };
        if fired {
            evidence.fired = Some(guard.alarm.name.clone());
            return Ok(evidence);
        }
    }
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in guards.iter().flat_map(|guard| &guard.metrics) {
        if !metrics.contains(metric) {
            metrics.push(metric.clone());
        }
    }
    if terms.needs_data && !metrics.is_empty() {
        evidence.samples = Some(run.cloud.samples(&metrics, since, run.now).await?);
    }
    Ok(evidence)
}

/// Whether the evidence proves the release. Pure.
fn is_proven(evidence: &Evidence, terms: &Terms) -> Result<(), Reason> {
    if let Some(alarm) = &evidence.fired {
        return Err(Reason::NotProven(format!(
            "the alarm `{alarm}` was in ALARM since the release was first seen"
        )));
    }
    if terms.needs_data && evidence.samples.is_none_or(|samples| samples <= 0.0) {
        return Err(Reason::NotProven(
            "no guarding alarm's metric has had data: no traffic is no evidence".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AutoDeploy, MissingParts, Mode};
    use crate::model::alarm::{Alarm, Origin, Watches, time};
    use crate::model::records::{Past, Policy, Rollbacks, SCHEMA};
    use crate::model::release::{Protocol, Release};
    use crate::observe::KnownGood;

    const SEEN: &str = "2026-11-20T10:00:00Z";

    fn at(text: &str) -> DateTime<Utc> {
        time(text).unwrap()
    }

    fn terms(needs_data: bool) -> Terms {
        Terms {
            mode: Mode::Enforce,
            bake: TimeDelta::minutes(30),
            needs_data,
            window: None,
            cooldown: TimeDelta::zero(),
            max_rollbacks: 3,
            flush_cache: false,
            auto_deploy: AutoDeploy::Hold,
            missing_parts: MissingParts::Hold,
        }
    }

    fn guard(state: State, changed: Option<&str>) -> Guard {
        Guard {
            alarm: Alarm {
                name: "5xx".into(),
                arn: None,
                claimed: Origin::default(),
                description: None,
                state,
                changed_at: changed.and_then(time),
                why: String::new(),
                only_missing_data: false,
                suppressed_by: None,
                watches: Watches::Metrics(vec![]),
            },
            actions_enabled: true,
            window: TimeDelta::minutes(2),
            targets: vec![],
            metrics: vec![],
        }
    }

    #[test]
    fn a_candidate_is_asked_about_once_it_has_baked_with_quiet_alarms() {
        let release = Release { deployment: "d".into(), ..Release::default() };
        let candidate = Candidate {
            schema: SCHEMA,
            protocol: Protocol::Rest,
            release: release.clone(),
            first_seen: at(SEEN),
            irreversible: false,
            label: None,
            note: None,
        };
        let past = |lifted| Past {
            at: at(SEEN),
            fingerprint: release.fingerprint(),
            alarm: None,
            alarm_at: None,
            recovered_at: None,
            lifted,
        };
        let (quiet, loud) = (guard(State::Ok, None), guard(State::Alarm, None));
        let (early, late) = ("2026-11-20T10:29:59Z", "2026-11-20T10:30:00Z");
        for (what, now, guards, needs_data, by_person, past, expected) in [
            ("in time", late, vec![&quiet], true, false, vec![], "ask"),
            ("too early", early, vec![&quiet], true, false, vec![], "bakes since"),
            ("a person may be early", early, vec![&quiet], true, true, vec![], "ask"),
            ("in ALARM", late, vec![&quiet, &loud], true, false, vec![], "the alarm `5xx` is in ALARM"),
            (
                "a person is bound by that",
                late,
                vec![&loud],
                true,
                true,
                vec![],
                "the alarm `5xx` is in ALARM",
            ),
            ("no guard", late, vec![], true, false, vec![], "no guarding alarm"),
            ("no guard, and none asked for", late, vec![], false, false, vec![], "ask"),
            ("quarantined", late, vec![&quiet], true, false, vec![past(false)], "release "),
            ("lifted", late, vec![&quiet], true, false, vec![past(true)], "ask"),
            ("taken off again", late, vec![&quiet], true, false, vec![past(true), past(false)], "release "),
        ] {
            let on_record = OnRecord {
                known_good: KnownGood::None { parameter: String::new() },
                candidate: None,
                hold: None,
                policy: Policy::default(),
                rollbacks: Rollbacks { schema: SCHEMA, past },
                unreadable: None,
            };
            let answer =
                may_be_asked(&on_record, &candidate, &guards, &terms(needs_data), at(now), by_person);
            let told = answer.map_or_else(|reason| reason.to_string(), |()| "ask".to_owned());
            assert!(told.starts_with(expected), "{what}: {told}");
        }
    }

    #[test]
    fn an_alarms_state_tells_whether_its_history_must_be_asked() {
        for (state, changed, expected) in [
            (State::Ok, Some("2026-11-20T09:59:59Z"), Some(true)),
            (State::Ok, Some(SEEN), None),
            (State::Ok, Some("2026-11-20T10:20:00Z"), None),
            (State::Ok, None, None),
            (State::InsufficientData, Some("2026-11-20T09:00:00Z"), Some(true)),
            (State::InsufficientData, Some("2026-11-20T10:20:00Z"), None),
            (State::Alarm, Some("2026-11-20T09:00:00Z"), Some(false)),
        ] {
            assert_eq!(guard(state, changed).quiet_since(at(SEEN)), expected, "{state} since {changed:?}");
        }
    }

    #[test]
    fn only_quiet_alarms_with_data_are_proof() {
        let evidence = |fired: Option<&str>, samples| Evidence { fired: fired.map(str::to_owned), samples };
        for (evidence, needs_data, proven) in [
            (evidence(None, Some(1.0)), true, true),
            (evidence(None, Some(0.0)), true, false),
            (evidence(None, None), true, false),
            (evidence(None, None), false, true),
            (evidence(Some("5xx"), Some(1.0)), true, false),
            (evidence(Some("5xx"), None), false, false),
        ] {
            assert_eq!(is_proven(&evidence, &terms(needs_data)).is_ok(), proven, "{evidence:?} {needs_data}");
        }
    }
}
