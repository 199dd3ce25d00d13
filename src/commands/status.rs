//! The `status` command: what is live, what is known-good, and what an alarm would do right now.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cloud::{AlarmNow, Cloud, CloudError, Parameter};
use crate::config::Config;
use crate::context::Run;
use crate::decide::{Call, Decision, decide};
use crate::model::release::StageRef;
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::{KnownGood, OnRecord, observe, usable};
use crate::signal::target::{self, ApiRef};
use crate::sweep::pin::{self, Pin};
use crate::sweep::reconcile::api_names;

/// Tells the status of a stage. Writes nothing.
///
/// # Errors
/// A failed call.
pub async fn status<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let parameter = run.config.names.known_good(stage);
    let parked = stage.parked();
    let (observed, versions, parked, alarms) = tokio::join!(
        observe(run.cloud, run.config, stage, None, None),
        run.cloud.history(&parameter),
        run.cloud.stage(&parked),
        run.cloud.all_alarms(),
    );
    let observed = observed?;
    let on_record = &observed.on_record;
    let terms = run.config.terms.under(&on_record.policy);
    let (now, message) = match decide(Call::Imagined, &observed, &terms, run.now) {
        Decision::Act(plan) => {
            let message = format!("{stage}: an alarm now would put it back: {plan}");
            (json!({"verdict": "act", "plan": plan}), message)
        }
        Decision::Hold(reason) => {
            let message = format!("{stage}: an alarm now would change nothing: {reason}");
            (
                json!({"verdict": reason.kind().word(), "reason": reason.code(), "why": reason.to_string()}),
                message,
            )
        }
    };
    let pin = pin::read(parked?);
    let mut warnings = Vec::new();
    warnings.extend(on_record.unreadable.clone());
    warnings.extend(pin_warning(run.config, on_record, &pin));
    let guarding = guarding(run, &alarms?, stage, on_record);
    if guarding.is_empty() {
        warnings.push("no alarm names this stage, so nothing would ever call".to_owned());
    }
    let details = json!({
        "live": observed.live.as_ref().map(|live| json!({"release": live.release, "updated_at": live.updated_at})),
        "known_good": known_good(&on_record.known_good),
        "candidate": on_record.candidate.as_ref().map(|noted| {
            let live = observed.live.as_ref().filter(|live| live.release == noted.release);
            let candidate = noted.clone().unchanged_since(live.and_then(|live| live.updated_at));
            json!({
                "bakes_until": candidate.first_seen + terms.bake,
                "candidate": candidate,
                "is_live": live.is_some(),
            })
        }),
        "hold": on_record.hold.as_ref().filter(|hold| hold.until > run.now),
        "rollbacks": on_record.rollbacks.past,
        "history": versions?.iter().rev().map(|one| version(one, stage, run.config)).collect::<Vec<_>>(),
        "pin": shown(&pin),
        "alarms": guarding,
        "alarm_now": now,
        "configured": observed.configured,
    });
    let live = observed.live.map(|live| live.release);
    let report = run.report(caller, Outcome::Status, message);
    Ok(Report { before: live.clone(), after: live, warnings, details: Some(details), ..report })
}

fn known_good(known_good: &KnownGood) -> Value {
    match known_good {
        KnownGood::Found { parameter, version, record } => {
            json!({"parameter": parameter, "version": version, "record": record})
        }
        KnownGood::None { parameter } => {
            json!({"parameter": parameter, "missing": "nothing is recorded yet"})
        }
        KnownGood::Unusable { parameter, why } => json!({"parameter": parameter, "unusable": why}),
    }
}

fn version(parameter: &Parameter, stage: &StageRef, config: &Config) -> Value {
    match usable(&parameter.value, stage, &config.region) {
        Ok(record) => json!({
            "version": parameter.version,
            "deployment": record.release.deployment,
            "recorded_at": record.recorded_at,
            "label": record.label,
            "note": record.note,
            "who": record.who,
        }),
        Err(why) => json!({"version": parameter.version, "unusable": why}),
    }
}

fn shown(pin: &Pin) -> Value {
    match pin {
        Pin::Holds { deployment, closed } => json!({"deployment": deployment, "closed": closed}),
        Pin::None => Value::Null,
        Pin::Foreign => json!({"foreign": "a stage of the parked stage's name exists and is not ours"}),
    }
}

fn pin_warning(config: &Config, on_record: &OnRecord, pin: &Pin) -> Option<String> {
    let (_, record) = on_record.good()?;
    let wanted = &record.release.deployment;
    match pin {
        Pin::Holds { deployment, closed: true } if deployment == wanted => None,
        Pin::Holds { deployment, closed: false } if deployment == wanted => {
            Some("the parked stage is open to traffic: send `record` again to close it".to_owned())
        }
        _ if !config.pin => Some("pinning is off: a deploy may delete the known-good deployment".to_owned()),
        Pin::Holds { .. } | Pin::None | Pin::Foreign => Some(format!(
            "the known-good deployment `{wanted}` is not pinned, so a deploy may delete it: the next sweep pins it"
        )),
    }
}

/// The alarms that name this stage, by the same code that reads an alarm's message.
fn guarding<C: Cloud>(
    run: &Run<'_, C>,
    alarms: &[AlarmNow],
    stage: &StageRef,
    on_record: &OnRecord,
) -> Vec<Value> {
    let names = api_names(run, stage, on_record);
    let is_ours = |api: &ApiRef| api.text() == stage.api || names.iter().any(|name| name == api.text());
    let names_it = |now: &&AlarmNow| {
        target::of(&now.alarm)
            .is_ok_and(|targets| targets.iter().any(|t| t.stage == stage.stage && is_ours(&t.api)))
    };
    let calls_us = |now: &AlarmNow| {
        let ours = [run.config.topic.as_deref(), run.function];
        ours.into_iter().flatten().any(|ours| now.actions.iter().any(|action| action.starts_with(ours)))
    };
    let shown = alarms.iter().filter(names_it).map(|now| {
        json!({
            "name": now.alarm.name,
            "state": now.alarm.state,
            "since": now.alarm.changed_at,
            "actions_enabled": now.actions_enabled,
            "calls_this_function": calls_us(now),
        })
    });
    shown.collect()
}

/// Tells what was known-good when, with the rollbacks in between: the changelog. Writes nothing.
///
/// # Errors
/// A failed call.
pub async fn history<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let (parameter, rollbacks) = (run.config.names.known_good(stage), [run.config.names.rollbacks(stage)]);
    let (versions, found) = tokio::join!(run.cloud.history(&parameter), run.cloud.parameters(&rollbacks));
    let (versions, rollbacks) = (versions?, OnRecord::of(run.config, stage, &found?).rollbacks);
    let mut entries: Vec<(DateTime<Utc>, Value)> = Vec::new();
    for one in &versions {
        let at = usable(&one.value, stage, &run.config.region).map(|record| record.recorded_at);
        entries.push((at.unwrap_or_default(), version(one, stage, run.config)));
    }
    for past in &rollbacks.past {
        entries.push((past.at, json!({"rollback": past})));
    }
    entries.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let message =
        format!("{stage}: {} known-good releases, {} rollbacks", versions.len(), rollbacks.past.len());
    let details: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
    let report = run.report(caller, Outcome::Status, message);
    Ok(Report { details: Some(json!(details)), ..report })
}
