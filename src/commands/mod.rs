//! What commands do: dispatches each, and does the small ones itself.

pub mod status;

use serde_json::json;

use crate::cloud::{Cloud, CloudError, Write};
use crate::commands::status::{history, status};
use crate::context::Run;
use crate::decide::Call;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Candidate, Hold, SCHEMA};
use crate::model::release::StageRef;
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::guarding_alarms;
use crate::observe::resolve;
use crate::observe::{self, Observed, OnRecord};
use crate::rollback::incident;
use crate::rollback::{Ask, rollback};
use crate::signal::target::{ApiRef, Target};
use crate::signal::{Command, Verb};
use crate::sweep::promote::{Promoted, promote};
use crate::sweep::reconcile::{api_names, fresh, note};
use crate::sweep::record::{Recording, record};
use crate::sweep::sweep;

/// Carries a command out.
pub async fn operate<C: Cloud>(run: &Run<'_, C>, command: &Command) -> Vec<Report> {
    let caller = Caller {
        kind: command.verb.word().to_owned(),
        name: command.who.clone(),
        why: command.reason.clone(),
        ..Caller::default()
    };
    let Some(stage) = &command.stage else { return sweep(run, &caller).await };
    let target =
        Target { api: ApiRef::parse(&stage.api), stage: stage.name.clone(), canary: false, protocol: None };
    let report = match resolve::resolve(run.cloud, run.config, &target).await {
        Ok(Ok(stage)) => on_stage(run, &stage, command, &caller).await,
        Ok(Err(reason)) => run.no(&caller, &reason),
        Err(error) => run.failed(&caller, &error),
    };
    vec![report]
}

async fn on_stage<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    command: &Command,
    caller: &Caller,
) -> Report {
    let call = Call::Operator { force: command.force.unwrap_or(false) };
    let ask = |dry| Ask { call, version: command.to, dry };
    let told = match command.verb {
        Verb::Record => return record(run, stage, recording(command), caller).await,
        Verb::Rollback => return rollback(run, stage, ask(false), caller).await,
        Verb::Plan => return rollback(run, stage, ask(true), caller).await,
        Verb::Status => status(run, stage, caller).await,
        Verb::History => history(run, stage, caller).await,
        Verb::Promote => promote_now(run, stage, caller).await,
        Verb::Announce => announce(run, stage, command, caller).await,
        Verb::Hold => hold(run, stage, command, caller).await,
        Verb::ReleaseHold => release_hold(run, stage, caller).await,
        Verb::Lift => lift(run, stage, command, caller).await,
        Verb::Sweep => Ok(run.no(caller, &Reason::Malformed("`sweep` takes no stage".to_owned()))),
    };
    told.unwrap_or_else(|error| run.failed(caller, &error)).on(stage)
}

fn recording(command: &Command) -> Recording<'static> {
    Recording {
        label: command.label.clone(),
        note: command.note.clone(),
        who: command.who.clone(),
        irreversible: command.reversible == Some(false),
        expected: None,
        outcome: Outcome::Recorded,
    }
}

/// What is on record, and the live release where there is a stage.
async fn look<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Result<(Observed, Candidate), Report>, CloudError> {
    let observed = observe::observe(run.cloud, run.config, stage, None, None).await?;
    let Some(live) = &observed.live else {
        let reason =
            Reason::NoStage(format!("API Gateway has no stage `{}` on API `{}`", stage.stage, stage.api));
        return Ok(Err(run.no(caller, &reason)));
    };
    let known = observed.on_record.candidate_for(&live.release).cloned();
    let known = known.map(|candidate| candidate.unchanged_since(live.updated_at));
    let candidate = known.unwrap_or_else(|| fresh(run, stage, &live.release));
    Ok(Ok((observed, candidate)))
}

async fn promote_now<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let (observed, candidate) = match look(run, stage, caller).await? {
        Ok(found) => found,
        Err(report) => return Ok(report),
    };
    let guards = guarding_alarms::read(run).await?;
    let names = api_names(run, stage, &observed.on_record);
    let guarding: Vec<_> = guards.iter().filter(|guard| guard.target(stage, &names).is_some()).collect();
    match promote(run, stage, &observed.on_record, &candidate, &guarding, caller, true).await? {
        Promoted::Reported(report) => Ok(*report),
        Promoted::No(reason) | Promoted::Fired(reason) => Ok(run.no(caller, &reason)),
    }
}

async fn announce<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    command: &Command,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let (observed, candidate) = match look(run, stage, caller).await? {
        Ok(found) => found,
        Err(report) => return Ok(report),
    };
    // What cannot be read may be a newer function's, and is not written over.
    if let Some(unreadable) = observed.on_record.unreadable {
        return Ok(run.no(caller, &Reason::HeldByOperator(unreadable)));
    }
    let announced = Candidate {
        irreversible: command.reversible.map_or(candidate.irreversible, |reversible| !reversible),
        label: command.label.clone().or(candidate.label),
        note: command.note.clone().or(candidate.note),
        ..candidate
    };
    if let Err(why) = records::print(&announced) {
        return Ok(run.no(caller, &Reason::NotRecordable(why)));
    }
    note(run, stage, &announced).await?;
    let message = format!(
        "{stage}: the live release (deployment `{}`) is announced as {}; it bakes since {}",
        announced.release.deployment,
        if announced.irreversible { "not reversible: alarms will not take it off" } else { "reversible" },
        stamp(announced.first_seen)
    );
    Ok(run.report(caller, Outcome::Done, message))
}

async fn hold<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    command: &Command,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let until = command.until.unwrap_or(run.now);
    if until <= run.now {
        let why = format!("`until` is {}, which is over; now it is {}", stamp(until), stamp(run.now));
        return Ok(run.no(caller, &Reason::Malformed(why)));
    }
    let hold = Hold { schema: SCHEMA, until, by: command.who.clone(), why: command.reason.clone() };
    write_hold(run, stage, &hold).await?;
    let message = format!("{stage} is held until {}: alarms and the sweep leave it alone", stamp(until));
    Ok(run.report(caller, Outcome::Done, message))
}

async fn release_hold<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let found = run.cloud.parameters(&[run.config.names.hold(stage)]).await?;
    let message = match OnRecord::of(run.config, stage, &found).hold {
        Some(hold) if hold.until > run.now => {
            write_hold(run, stage, &Hold { until: run.now, ..hold }).await?;
            format!("{stage} is not held any more")
        }
        // A hold that cannot be read holds the stage, so it must be possible to end it.
        None if !found.is_empty() => {
            let ended = Hold { schema: SCHEMA, until: run.now, by: caller.name.clone(), why: None };
            write_hold(run, stage, &ended).await?;
            format!("{stage} is not held any more; its hold could not be read")
        }
        Some(_) | None => format!("{stage} was not held"),
    };
    Ok(run.report(caller, Outcome::Done, message))
}

async fn write_hold<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, hold: &Hold) -> Result<(), CloudError> {
    // One that is too long after all is refused by Parameter Store, and that is told.
    let value = records::print(hold).unwrap_or_else(|_| json!(hold).to_string());
    run.cloud.put_parameter(&run.config.names.hold(stage), &value, Write::Overwrite).await.map(|_| ())
}

async fn lift<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    command: &Command,
    caller: &Caller,
) -> Result<Report, CloudError> {
    let fingerprint = command.incident.as_deref().unwrap_or_default();
    if fingerprint.is_empty() || !fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why = "`incident` is a release's fingerprint: twelve hexadecimal digits".to_owned();
        return Ok(run.no(caller, &Reason::Malformed(why)));
    }
    let found = run.cloud.parameters(&[run.config.names.rollbacks(stage)]).await?;
    let on_record = OnRecord::of(run.config, stage, &found);
    match incident::lift(run, stage, &on_record, fingerprint, command.who.as_deref()).await? {
        Ok(lifted) => {
            let message = format!(
                "{stage}: release {fingerprint} (deployment `{}`) is out of quarantine: it may be promoted again",
                lifted.bad.deployment
            );
            Ok(run.report(caller, Outcome::Done, message))
        }
        Err(reason) => Ok(run.no(caller, &reason)),
    }
}
