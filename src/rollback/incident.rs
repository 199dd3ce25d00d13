//! Writes incidents: lists a rollback, closes an incident after an OK, withdraws one whose rollback was undone, and
//! lifts a quarantine.

use chrono::{DateTime, Utc};

use crate::cloud::{Parameters, Write};
use crate::context::Context;
use crate::decide::guilt::guilt;
use crate::decide::incidents::{Closing, entry_of, quarantines};
use crate::decide::testimony::{Subject, shows_hurt_users};
use crate::model::cloud_error::CloudError;
use crate::model::observed::{Observed, OnRecord};
use crate::model::parameter_names::ParameterNames;
use crate::model::plan::Plan;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Incident, Rollbacks, SCHEMA};
use crate::model::report::{ForPeople, Outcome, Report};
use crate::model::sibling::SiblingIncident;
use crate::model::stage::StageRef;

/// Creates the incident that a plan ends. The bad release has been live `since`.
#[must_use]
pub fn new<C>(
    context: &Context<'_, C>,
    plan: &Plan,
    observed: &Observed,
    since: Option<DateTime<Utc>>,
) -> Incident {
    let trigger = context.trigger;
    let guilt = guilt(observed, &context.config.policy.under(&observed.on_record.policy));
    let shows_hurt_users = |alarm| shows_hurt_users(alarm, Subject::of(observed, &guilt));
    Incident {
        schema: SCHEMA,
        stage: plan.stage.clone(),
        bad: plan.from.clone().into(),
        good: plan.to.clone().into(),
        version: plan.version,
        at: observed.at,
        since,
        undone: false,
        by: trigger.name.clone().unwrap_or_else(|| "operator".to_owned()),
        by_alarm: trigger.is_alarm(),
        sibling: trigger.region().map(str::to_owned),
        alarm_at: trigger.changed_at,
        // What another Region says must not use up what protects the users of this one.
        other_source: trigger.is_sibling()
            || observed.alarm.as_ref().is_some_and(|alarm| !shows_hurt_users(alarm)),
        // A reason can be long, but the record must fit into a parameter.
        why: trigger.why.as_deref().unwrap_or_default().chars().take(500).collect(),
        run: context.id.to_owned(),
        recovered_at: None,
        lifted_by: None,
    }
    .fitting()
}

/// Returns the key that all reports of one rollback share, so that people are notified of it once.
#[must_use]
pub fn notification_key(fingerprint: &str, at: DateTime<Utc>) -> String {
    format!("{fingerprint} {}", stamp(at))
}

/// Adds a rollback to the stage's list, which the preconditions read (`PutParameter`).
///
/// # Errors
/// A sentence that says what was not recorded. The stage is rolled back nevertheless.
pub async fn list<C: Parameters>(
    context: &Context<'_, C>,
    on_record: &OnRecord,
    incident: &Incident,
) -> Result<(), String> {
    if let Some(unreadable) = &on_record.unreadable {
        return Err(format!("the list of rollbacks is not up to date: {unreadable}"));
    }
    store_list(context, &incident.stage, &on_record.rollbacks.clone().with(entry_of(incident))).await
}

/// Adds an incident of a sibling to the stage's list, or completes it there (`PutParameter`).
///
/// # Errors
/// A sentence that says what was not recorded.
pub async fn list_of_sibling<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    on_record: &OnRecord,
    incident: &SiblingIncident,
) -> Result<(), String> {
    if let Some(unreadable) = &on_record.unreadable {
        return Err(format!("the incident of the other Region is not on record: {unreadable}"));
    }
    store_list(context, stage, &on_record.rollbacks.clone().with_sibling(incident.clone())).await
}

/// Lets a stage go on that the incidents of siblings hold up (`PutParameter`). Returns those incidents.
///
/// # Errors
/// A sentence that says what was not recorded.
pub async fn clear_siblings<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    on_record: &OnRecord,
) -> Result<Vec<SiblingIncident>, String> {
    let mut list = on_record.rollbacks.clone();
    let open = list.siblings.iter_mut().filter(|one| !one.cleared);
    let cleared: Vec<SiblingIncident> = open
        .map(|one| {
            one.cleared = true;
            one.clone()
        })
        .collect();
    if !cleared.is_empty() {
        store_list(context, stage, &list).await?;
    }
    Ok(cleared)
}

/// Whether exactly this incident is on record (`GetParameters`). If that cannot be read, it counts as not: the sweep finds
/// it later.
pub async fn is_on_record<C: Parameters>(context: &Context<'_, C>, incident: &Incident) -> bool {
    let found = read(context, &name_of(&context.config.names, incident)).await;
    matches!(found, Ok(Ok(Some(found))) if found == *incident)
}

/// Marks an incident as undone: its rollback had no effect (`PutParameter`). Returns a warning if the write failed.
pub async fn withdraw<C: Parameters>(context: &Context<'_, C>, incident: Incident) -> Option<String> {
    let name = name_of(&context.config.names, &incident);
    overwrite(context, &name, &Incident { undone: true, ..incident }).await.err()
}

/// Closes the incident that the OK of an alarm ends, and reports the time to recovery (`PutParameter`).
pub async fn close<C: Parameters>(context: &Context<'_, C>, stage: &StageRef, closing: &Closing) -> Report {
    let Closing { alarm, at, entry, rollbacks } = closing;
    let name = context.config.names.incident(stage, &entry.fingerprint);
    let mut warnings: Vec<String> = store_list(context, stage, rollbacks).await.err().into_iter().collect();
    match read(context, &name).await {
        Ok(Ok(Some(incident))) => {
            let closed = Incident { recovered_at: Some(*at), ..incident };
            warnings.extend(overwrite(context, &name, &closed).await.err());
        }
        Ok(Ok(None)) => warnings.push(format!("the parameter `{name}` does not contain the incident")),
        Ok(Err(unreadable)) => warnings.push(unreadable),
        Err(error) => warnings.push(error.to_string()),
    }
    let until_back = entry.alarm_at.map_or("unknown".to_owned(), |fired| {
        // The clocks of the function and of CloudWatch differ by some seconds.
        let millis = i32::try_from((entry.at - fired).num_milliseconds().max(0)).unwrap_or(i32::MAX);
        format!("{:.1} s", f64::from(millis) / 1000.0)
    });
    let until_ok = entry
        .alarm_at
        .map_or("unknown".to_owned(), |fired| format!("{} s", at.signed_duration_since(fired).num_seconds()));
    let message = format!(
        "{stage} has recovered: `{alarm}` is OK; from alarm to rollback {until_back}, from alarm to recovery {until_ok}"
    );
    Report {
        incident: Some(name),
        warnings,
        since: Some(entry.at),
        notification_key: Some(notification_key(&entry.fingerprint, entry.at)),
        people: ForPeople {
            alarm: Some(alarm.clone()),
            rolled_back_at: Some(entry.at),
            ..ForPeople::default()
        },
        ..context.report(Outcome::Recovered, message).on(stage)
    }
}

/// Returns why a release is in quarantine on this stage; `None` if it is not. Its incident or the list of rollbacks says
/// so: one of them may not have been written. An unreadable incident counts as a quarantine.
///
/// # Errors
/// A failed `GetParameters`.
pub async fn quarantine<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    rollbacks: &Rollbacks,
    fingerprint: &str,
) -> Result<Option<String>, CloudError> {
    let told = |at, by: &str| format!("it was rolled back at {} by `{by}`", stamp(at));
    let by_incident = match read(context, &context.config.names.incident(stage, fingerprint)).await? {
        Ok(incident) => incident.filter(quarantines).map(|incident| told(incident.at, &incident.by)),
        Err(unreadable) => Some(unreadable),
    };
    let by_list = || {
        let entry = rollbacks.quarantine(fingerprint)?;
        Some(told(entry.at, entry.alarm.as_deref().unwrap_or("operator")))
    };
    Ok(by_incident.or_else(by_list))
}

/// Lifts the quarantine of a release (`PutParameter`). Returns its incident, unless only the list of rollbacks has it. The
/// inner error says why it cannot be lifted.
///
/// # Errors
/// A failed `GetParameters`.
pub async fn lift<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    on_record: &OnRecord,
    fingerprint: &str,
    who: Option<&str>,
) -> Result<Result<Option<Incident>, Reason>, CloudError> {
    let name = context.config.names.incident(stage, fingerprint);
    let incident = match (read(context, &name).await?, on_record.unreadable.clone()) {
        (Ok(incident), None)
            if incident.is_some() || on_record.rollbacks.quarantine(fingerprint).is_some() =>
        {
            incident
        }
        (Ok(_), None) => {
            return Ok(Err(Reason::Malformed(format!("the parameter `{name}` contains no incident"))));
        }
        (Err(unreadable), _) | (_, Some(unreadable)) => {
            return Ok(Err(Reason::HeldByOperator(unreadable)));
        }
    };
    let lifted_by = Some(who.unwrap_or("operator").to_owned());
    let lifted = incident.map(|incident| Incident { lifted_by, ..incident });
    let mut list = on_record.rollbacks.clone();
    let ours = list.past.iter_mut().filter(|entry| entry.fingerprint == fingerprint);
    ours.for_each(|entry| entry.lifted = true);
    if let Some(incident) = &lifted
        && let Err(why) = overwrite(context, &name, incident).await
    {
        return Ok(Err(Reason::NotRecordable(why)));
    }
    if let Err(why) = store_list(context, stage, &list).await {
        return Ok(Err(Reason::NotRecordable(why)));
    }
    Ok(Ok(lifted))
}

/// Reads the incident of this name (`GetParameters`). The inner error says why the parameter is unreadable.
pub(super) async fn read<C: Parameters>(
    context: &Context<'_, C>,
    name: &str,
) -> Result<Result<Option<Incident>, String>, CloudError> {
    let found = context.cloud.parameters(&[name.to_owned()]).await?;
    let incident = found.first().map(|found| records::parse(&found.value)).transpose();
    Ok(incident.map_err(|why| format!("the parameter `{name}` {why}")))
}

pub(super) fn not_on_record(error: &CloudError) -> String {
    format!("the incident was not recorded: {error}")
}

fn name_of(names: &ParameterNames, incident: &Incident) -> String {
    names.incident(&incident.stage, &incident.bad.fingerprint())
}

async fn store_list<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    list: &Rollbacks,
) -> Result<(), String> {
    // A new list has no schema yet, and no reader accepts a list without one.
    let value = records::print(&Rollbacks { schema: SCHEMA, ..list.clone() })?;
    let name = context.config.names.rollbacks(stage);
    let put = context.cloud.put_parameter(&name, &value, Write::Overwrite).await;
    put.map(|_| ()).map_err(|error| format!("the list of rollbacks is not up to date: {error}"))
}

async fn overwrite<C: Parameters>(
    context: &Context<'_, C>,
    name: &str,
    incident: &Incident,
) -> Result<(), String> {
    let value = records::print(incident)?;
    let put = context.cloud.put_parameter(name, &value, Write::Overwrite).await;
    put.map(|_| ()).map_err(|error| not_on_record(&error))
}
