//! The `status` command: what is live, what is known-good, and what an alarm would do right now.

use serde_json::{Value, json};

use crate::cloud::{AlarmNow, Cloud, CloudError, Parameter};
use crate::config::Config;
use crate::decide::{Call, Decision, decide};
use crate::observe::{KnownGood, Observed, observe, usable};
use crate::pin::{self, Pin};
use crate::release::StageRef;
use crate::report::{Caller, Outcome, Report};
use crate::rollback::Run;
use crate::target::{self, ApiRef};

/// Tells the status of a stage. Writes nothing.
pub async fn status<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, caller: &Caller) -> Report {
    match try_status(run, stage, caller).await {
        Ok(report) => report.on(stage),
        Err(error) => run.failed(caller, &error).on(stage),
    }
}

async fn try_status<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let parameter = run.config.names.known_good(stage);
    let parked = stage.parked();
    let (observed, history, parked, alarms) = tokio::join!(
        observe(run.cloud, run.config, stage, None, None),
        run.cloud.history(&parameter),
        run.cloud.stage(&parked),
        run.cloud.all_alarms(),
    );
    let observed = observed?;
    let (now, message) = match decide(Call::Imagined, &observed, run.config.mode) {
        Decision::Act(plan) => {
            let message = format!(
                "{stage} serves deployment `{}`; an alarm now would put it back on `{}` (known-good version {})",
                plan.from.deployment, plan.to.deployment, plan.version
            );
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
    warnings.extend(pin_warning(run.config, &observed, &pin));
    let guarding = guarding(&alarms?, &observed, run.config);
    if guarding.is_empty() {
        warnings.push("no alarm names this stage, so nothing would ever call".to_owned());
    }
    let details = json!({
        "live": observed.live.as_ref().map(|live| json!({"release": live.release, "updated_at": live.updated_at})),
        "known_good": known_good(&observed.known_good),
        "history": history?.iter().rev().map(|one| version(one, stage, run.config)).collect::<Vec<_>>(),
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

fn pin_warning(config: &Config, observed: &Observed, pin: &Pin) -> Option<String> {
    let KnownGood::Found { record, .. } = &observed.known_good else { return None };
    let wanted = &record.release.deployment;
    match pin {
        Pin::Holds { deployment, closed: true } if deployment == wanted => None,
        Pin::Holds { deployment, closed: false } if deployment == wanted => {
            Some("the parked stage is open to traffic: send `record` again to close it".to_owned())
        }
        _ if !config.pin => Some("pinning is off: a deploy may delete the known-good deployment".to_owned()),
        Pin::Holds { .. } | Pin::None | Pin::Foreign => Some(format!(
            "the known-good deployment `{wanted}` is not pinned, so a deploy may delete it: send `record` again"
        )),
    }
}

/// The alarms that name this stage, by the same code that reads an alarm's message.
fn guarding(alarms: &[AlarmNow], observed: &Observed, config: &Config) -> Vec<Value> {
    let stage = &observed.stage;
    let recorded = match &observed.known_good {
        KnownGood::Found { record, .. } => record.api_name.clone(),
        KnownGood::None { .. } | KnownGood::Unusable { .. } => None,
    };
    let names: Vec<String> =
        config.entry(stage).map(|one| one.api_name.clone()).into_iter().chain(recorded).collect();
    let is_ours = |api: &ApiRef| api.text() == stage.api || names.iter().any(|name| name == api.text());
    let names_it = |now: &&AlarmNow| {
        target::of(&now.alarm)
            .is_ok_and(|targets| targets.iter().any(|t| t.stage == stage.stage && is_ours(&t.api)))
    };
    let shown = alarms.iter().filter(names_it).map(|now| {
        json!({
            "name": now.alarm.name,
            "state": now.alarm.state,
            "since": now.alarm.changed_at,
            "actions_enabled": now.actions_enabled,
        })
    });
    shown.collect()
}
