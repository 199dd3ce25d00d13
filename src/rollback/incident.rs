//! Incidents: opened once when a stage was put back, closed when its alarm is OK again, lifted by a person.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cloud::{Cloud, CloudError, Write, Written};
use crate::context::Run;
use crate::model::plan::Plan;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Incident, Past, Rollbacks, SCHEMA};
use crate::model::release::{Release, StageRef};
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::OnRecord;

/// Two runs of one incident are seconds apart: duplicate deliveries, or two alarms of one bad release.
const SAME_INCIDENT: TimeDelta = TimeDelta::minutes(10);

/// Whether the stage was put back so lately that an alarm which finds nothing to do is about the same incident.
#[must_use]
pub fn is_fresh(rollbacks: &Rollbacks, now: DateTime<Utc>) -> bool {
    rollbacks.past.iter().any(|past| now.signed_duration_since(past.at) < SAME_INCIDENT)
}

/// Whether another run put the stage back right after this incident was opened.
#[must_use]
pub fn is_followed(rollbacks: &Rollbacks, incident: &Incident) -> bool {
    let after = |past: &Past| past.at.signed_duration_since(incident.at);
    rollbacks.past.iter().any(|past| after(past) >= TimeDelta::zero() && after(past) < SAME_INCIDENT)
}

/// What became of opening an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is on record, by this run.
    Ours(Box<Incident>),
    /// Another run of the same incident was first.
    Rival(Box<Incident>),
    /// It is not on record, for this reason.
    No(Box<Incident>, String),
}

/// The incident that a plan ends.
#[must_use]
pub fn of<C: Cloud>(
    run: &Run<'_, C>,
    plan: &Plan,
    since: Option<DateTime<Utc>>,
    caller: &Caller,
) -> Incident {
    Incident {
        schema: SCHEMA,
        stage: plan.stage.clone(),
        bad: plan.from.clone(),
        good: plan.to.clone(),
        version: plan.version,
        at: run.clock(),
        since,
        undone: false,
        by: caller.name.clone().unwrap_or_else(|| "operator".to_owned()),
        by_alarm: caller.is_alarm(),
        alarm_at: caller.changed_at,
        // A reason can be long; the record must fit.
        why: caller.why.as_deref().unwrap_or_default().chars().take(500).collect(),
        run: run.id.to_owned(),
        recovered_at: None,
        lifted_by: None,
    }
}

/// Opens an incident: one run only creates its record. Where there is one step only, it is opened beside it and not
/// before it, which would cost a round trip; whoever dies in between is made up for by the sweep.
pub async fn open<C: Cloud>(run: &Run<'_, C>, plan: &Plan, incident: Incident) -> Opened {
    if let Some(rival) = first_half(run, plan, &incident).await {
        return Opened::Rival(Box::new(rival));
    }
    match claim(run, &incident).await {
        Ok(None) => Opened::Ours(Box::new(incident)),
        Ok(Some(rival)) => Opened::Rival(Box::new(rival)),
        Err(why) => Opened::No(Box::new(incident), why),
    }
}

/// Creates the incident's record. `Some` is the rival that created it first.
async fn claim<C: Cloud>(run: &Run<'_, C>, incident: &Incident) -> Result<Option<Incident>, String> {
    let name = run.config.names.incident(&incident.stage, &incident.bad.fingerprint());
    let value = records::print(incident)?;
    let put = async |write| run.cloud.put_parameter(&name, &value, write).await.map_err(|e| told(&e));
    if let Written::Version(_) = put(Write::Create).await? {
        return Ok(None);
    }
    let found = run.cloud.parameters(std::slice::from_ref(&name)).await.map_err(|error| told(&error))?;
    let found = found.first().ok_or_else(|| format!("the parameter `{name}` is there and cannot be read"))?;
    let before: Incident =
        records::parse(&found.value).map_err(|why| format!("the parameter `{name}` {why}"))?;
    // The SDK sends a call again whose answer was lost, so the one that was first may be this run.
    if before == *incident {
        return Ok(None);
    }
    if is_same(incident, &before) {
        return Ok(Some(before));
    }
    // Somebody brought the release back, or a step was refused last time. SSM counts the versions, and the next
    // one is one run's alone.
    match put(Write::Overwrite).await? {
        Written::Version(version) if version == found.version + 1 => Ok(None),
        Written::Version(_) | Written::Exists => Ok(Some(before)),
    }
}

/// Two runs are at one rollback at the same time where they began so near to each other. Lambda tries an event again
/// after a minute, so who comes then goes on for a run that has died.
const AT_ONCE: TimeDelta = TimeDelta::seconds(45);

/// Whether the run that opened this incident may be on its way still.
#[must_use]
pub fn is_under_way(incident: &Incident, now: DateTime<Utc>) -> bool {
    (incident.at - now).abs() < AT_ONCE && !incident.undone
}

/// The incident of another run that is at the same rollback, where what this run found is half of that run's way:
/// it has another fingerprint than the bad release, so the two would open an incident each. What cannot be read
/// counts as none: people rather hear of it twice.
async fn first_half<C: Cloud>(run: &Run<'_, C>, plan: &Plan, ours: &Incident) -> Option<Incident> {
    if !plan.is_half_gone() {
        return None;
    }
    // The function's role may list the path above all stages only.
    let names = &run.config.names;
    let found = run.cloud.parameters_under(&names.stages()).await.ok()?;
    let ours_are = names.all_incidents(&plan.stage);
    let all = found.iter().filter(|found| found.name.starts_with(&ours_are));
    let mut all = all.filter_map(|found| records::parse::<Incident>(&found.value).ok());
    all.find(|one| {
        is_under_way(one, ours.at)
            && (&one.good, one.version) == (&ours.good, ours.version)
            && one.bad != ours.bad
            && way(one).is_on_its_way(&ours.bad)
    })
}

/// Where an incident's run goes: from the bad release to the good one, by whatever steps.
#[must_use]
pub fn way(incident: &Incident) -> Plan {
    Plan {
        stage: incident.stage.clone(),
        from: incident.bad.clone(),
        to: incident.good.clone(),
        version: incident.version,
        steps: vec![],
        flush: false,
    }
}

fn is_same(incident: &Incident, before: &Incident) -> bool {
    let close = incident.at.signed_duration_since(before.at).abs() < SAME_INCIDENT;
    // Of a release that came back, who saw it the first time only is as much too late as who saw the same as the rival.
    let as_live = match (incident.since, before.since) {
        (Some(ours), Some(theirs)) => ours <= theirs,
        _ => true,
    };
    close && as_live && !before.undone
}

/// Puts a rollback on the stage's list, by which the guards know of it.
///
/// # Errors
/// A sentence on what is not on record. The stage is back all the same.
pub async fn list<C: Cloud>(
    run: &Run<'_, C>,
    on_record: &OnRecord,
    incident: &Incident,
) -> Result<(), String> {
    if let Some(unreadable) = &on_record.unreadable {
        return Err(format!("the list of rollbacks is not up to date: {unreadable}"));
    }
    store_list(run, &incident.stage, &on_record.rollbacks.clone().with(past(incident))).await
}

/// What all reports of one rollback have in common.
#[must_use]
pub fn news(fingerprint: &str, at: DateTime<Utc>) -> String {
    format!("{fingerprint} {}", stamp(at))
}

/// An incident's entry on the list.
#[must_use]
pub fn past(incident: &Incident) -> Past {
    Past {
        at: incident.at,
        fingerprint: incident.bad.fingerprint(),
        alarm: Some(incident.by.clone()).filter(|_| incident.by_alarm),
        alarm_at: incident.alarm_at,
        recovered_at: incident.recovered_at,
        lifted: incident.lifted_by.is_some(),
    }
}

/// Since when this release was live before a run that was refused undid its steps, if that undoing can be the stage's
/// last change. What cannot be read, or is not known, counts as none: then the change is taken for somebody's.
pub async fn live_before_undoing<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    release: &Release,
    changed_at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let found = read(run, &run.config.names.incident(stage, &release.fingerprint())).await;
    let incident = found.ok().and_then(Result::ok).flatten();
    incident.filter(|one| one.undone && (changed_at - one.at).abs() < UNDOING)?.since
}

/// A refused run undoes its steps within seconds of opening its incident, by two clocks. Where it took longer, its
/// change cannot be told from somebody's, and is left to the sweep.
const UNDOING: TimeDelta = TimeDelta::seconds(60);

/// Marks an incident as one that nothing came of. Returns what went wrong.
pub async fn withdraw<C: Cloud>(run: &Run<'_, C>, incident: Incident) -> Option<String> {
    let name = run.config.names.incident(&incident.stage, &incident.bad.fingerprint());
    overwrite(run, &name, &Incident { undone: true, ..incident }).await.err()
}

/// The incidents that are not on the stage's list though the stage is back: their runs died in between, or lost
/// their entry to another run's. The list keeps the latest rollbacks only, so older ones are not missed.
pub fn unlisted<'a>(
    on_record: &'a OnRecord,
    incidents: &'a [Incident],
    live: &'a Release,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a Incident> {
    let past = &on_record.rollbacks.past;
    let oldest = past.first().filter(|_| past.len() >= Rollbacks::KEPT).map(|oldest| oldest.at);
    incidents.iter().filter(move |incident| {
        let age = now.signed_duration_since(incident.at);
        let fingerprint = incident.bad.fingerprint();
        // Of two runs of one incident the one that lost may have written last, with a time of its own.
        let near = |past: &Past| (past.at - incident.at).abs() < A_RUN;
        let is_listed = past.iter().any(|past| past.fingerprint == fingerprint && near(past));
        // Who opened it a moment ago may still be at it.
        age > A_RUN
            && age < TimeDelta::days(1)
            && oldest.is_none_or(|oldest| incident.at > oldest)
            && !is_listed
            && !incident.undone
            && incident.good == *live
    })
}

/// No run takes longer: the function's time-out is five minutes.
const A_RUN: TimeDelta = TimeDelta::minutes(6);

/// The incident of this name. The inner error says why there is one that cannot be read.
async fn read<C: Cloud>(
    run: &Run<'_, C>,
    name: &str,
) -> Result<Result<Option<Incident>, String>, CloudError> {
    let found = run.cloud.parameters(&[name.to_owned()]).await?;
    let incident = found.first().map(|found| records::parse(&found.value)).transpose();
    Ok(incident.map_err(|why| format!("the parameter `{name}` {why}")))
}

fn told(error: &CloudError) -> String {
    format!("the incident is not on record: {error}")
}

async fn store_list<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, list: &Rollbacks) -> Result<(), String> {
    // A list that was not there has no schema yet, and without one nobody could read it.
    let value = records::print(&Rollbacks { schema: SCHEMA, past: list.past.clone() })?;
    let name = run.config.names.rollbacks(stage);
    let told = |error: &CloudError| format!("the list of rollbacks is not up to date: {error}");
    run.cloud.put_parameter(&name, &value, Write::Overwrite).await.map_err(|error| told(&error)).map(|_| ())
}

/// Why this release is in quarantine on this stage; `None` where it is not. What cannot be read counts.
///
/// # Errors
/// A failed call.
pub async fn quarantine<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    fingerprint: &str,
) -> Result<Option<String>, CloudError> {
    Ok(match read(run, &run.config.names.incident(stage, fingerprint)).await? {
        Ok(incident) => incident
            .filter(|incident| incident.lifted_by.is_none() && !incident.undone)
            .map(|incident| format!("it was taken off at {} by `{}`", stamp(incident.at), incident.by)),
        Err(unreadable) => Some(unreadable),
    })
}

/// The rollbacks by alarms that are not recovered yet.
pub fn unrecovered(rollbacks: &Rollbacks) -> impl Iterator<Item = &Past> {
    rollbacks.past.iter().filter(|past| past.recovered_at.is_none() && past.alarm.is_some())
}

/// Closes the open incidents of an alarm that is OK since `at`, and tells how long it took. `None` where
/// there is nothing to close.
pub async fn recovered<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    rollbacks: &mut Rollbacks,
    alarm: &str,
    at: DateTime<Utc>,
    caller: &Caller,
) -> Option<Report> {
    let ours = |past: &Past| past.recovered_at.is_none() && past.alarm.as_deref() == Some(alarm);
    let last = rollbacks.past.iter().rev().find(|past| ours(past))?.clone();
    // CloudWatch's times may be cut to whole seconds.
    let at = at.max(last.at);
    rollbacks.past.iter_mut().filter(|past| ours(past)).for_each(|past| past.recovered_at = Some(at));
    let name = run.config.names.incident(stage, &last.fingerprint);
    let mut warnings: Vec<String> = store_list(run, stage, rollbacks).await.err().into_iter().collect();
    match read(run, &name).await {
        Ok(Ok(Some(incident))) => {
            let closed = Incident { recovered_at: Some(at), ..incident };
            warnings.extend(overwrite(run, &name, &closed).await.err());
        }
        Ok(Ok(None)) => warnings.push(format!("the parameter `{name}` does not hold the incident")),
        Ok(Err(unreadable)) => warnings.push(unreadable),
        Err(error) => warnings.push(error.to_string()),
    }
    let since = |from: Option<DateTime<Utc>>| {
        from.map_or("unknown".to_owned(), |from| {
            format!("{} s", at.signed_duration_since(from).num_seconds())
        })
    };
    let until_back = last.alarm_at.map_or("unknown".to_owned(), |fired| {
        format!(
            "{:.1} s",
            f64::from(i32::try_from((last.at - fired).num_milliseconds()).unwrap_or(i32::MAX)) / 1000.0
        )
    });
    let message = format!(
        "{stage} has recovered: `{alarm}` is OK; from alarm to rollback {until_back}, from alarm to recovery {}",
        since(last.alarm_at)
    );
    let report = run.report(caller, Outcome::Recovered, message).on(stage);
    Some(Report {
        incident: Some(name),
        warnings,
        since: Some(last.at),
        news: Some(news(&last.fingerprint, last.at)),
        ..report
    })
}

async fn overwrite<C: Cloud>(run: &Run<'_, C>, name: &str, incident: &Incident) -> Result<(), String> {
    let value = records::print(incident)?;
    run.cloud.put_parameter(name, &value, Write::Overwrite).await.map_err(|error| told(&error)).map(|_| ())
}

/// Takes a release out of quarantine. The inner error says why there is nothing to lift.
///
/// # Errors
/// A failed call.
pub async fn lift<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    on_record: &OnRecord,
    fingerprint: &str,
    who: Option<&str>,
) -> Result<Result<Incident, Reason>, CloudError> {
    let name = run.config.names.incident(stage, fingerprint);
    let incident = match (read(run, &name).await?, on_record.unreadable.clone()) {
        (Ok(Some(incident)), None) => incident,
        (Ok(None), _) => {
            return Ok(Err(Reason::Malformed(format!("the parameter `{name}` holds no incident"))));
        }
        (Err(unreadable), _) | (_, Some(unreadable)) => {
            return Ok(Err(Reason::HeldByOperator(unreadable)));
        }
    };
    let lifted = Incident { lifted_by: Some(who.unwrap_or("operator").to_owned()), ..incident };
    let mut list = on_record.rollbacks.clone();
    list.past.iter_mut().filter(|past| past.fingerprint == fingerprint).for_each(|past| past.lifted = true);
    for stored in [overwrite(run, &name, &lifted).await, store_list(run, stage, &list).await] {
        if let Err(why) = stored {
            return Ok(Err(Reason::NotRecordable(why)));
        }
    }
    Ok(Ok(lifted))
}
