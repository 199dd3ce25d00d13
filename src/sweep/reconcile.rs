//! What the sweep does for one stage: notes a new release, promotes a proven one, takes a bad one off that no
//! event did, keeps the way back open, and sees whether a rollback helped.

use std::collections::BTreeMap;

use crate::cloud::{Cloud, CloudError, LiveStage, Write};
use crate::config::AutoDeploy;
use crate::context::Run;
use crate::decide::Call;
use crate::model::alarm::State;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Candidate, Incident, Record, SCHEMA};
use crate::model::release::{Release, StageRef};
use crate::model::report::{Caller, Outcome, Report};
use crate::observe::guarding_alarms::Guard;
use crate::observe::{OnRecord, parts};
use crate::rollback::incident;
use crate::rollback::{Ask, rollback};
use crate::sweep::pin::{self, Pin};
use crate::sweep::promote::{Promoted, promote};

/// What the sweep has read about one stage.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The stage.
    pub stage: &'a StageRef,
    /// What Parameter Store has about it.
    pub on_record: &'a OnRecord,
    /// Every stage of the protected APIs.
    pub stages: &'a BTreeMap<StageRef, LiveStage>,
    /// Every guarding alarm.
    pub guards: &'a [Guard],
    /// The stage's incidents.
    pub incidents: &'a [Incident],
}

/// What came of looking after a stage.
#[derive(Clone, Debug, Default)]
pub struct Tended {
    /// What was done, or must be looked at.
    pub reports: Vec<Report>,
    /// In a few words, how the stage stands.
    pub state: String,
}

/// Looks after one stage.
pub async fn tend<C: Cloud>(run: &Run<'_, C>, facts: &Facts<'_>, caller: &Caller) -> Tended {
    let mut tended = Tended::default();
    let Some(live) = facts.stages.get(facts.stage) else {
        let reason =
            Reason::NoStage(format!("{} is protected, and API Gateway has no such stage", facts.stage));
        // Records outlive their stage; only one that the settings name is missed.
        let missed = run.config.entry(facts.stage).map(|_| attention(run, facts, caller, &reason));
        return Tended { reports: missed.into_iter().collect(), state: reason.to_string() };
    };
    if let Some(unreadable) = &facts.on_record.unreadable {
        let reason = Reason::HeldByOperator(format!("{unreadable}, so the stage counts as held"));
        tended.reports.push(attention(run, facts, caller, &reason));
    }
    tended.reports.extend(see_recovery(run, facts, caller).await);
    // The way back first: what the release's judgement moves must not be moved again by what was read before.
    match keep_way_back(run, facts, caller).await {
        Ok(reports) => tended.reports.extend(reports),
        Err(error) => tended.reports.push(run.failed(caller, &error).on(facts.stage)),
    }
    let seen = match complete(run, facts, live.clone(), caller, &mut tended).await {
        Ok(live) => {
            tended.reports.extend(see_incidents(run, facts, &live).await);
            see_release(run, facts, &live, caller, &mut tended).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = seen {
        tended.state = error.to_string();
        tended.reports.push(run.failed(caller, &error).on(facts.stage));
    }
    tended
}

/// The live stage with the parts of its release that are elsewhere; tells of those that do not exist, and of
/// what would keep API Gateway from taking the known-good release back.
async fn complete<C: Cloud>(
    run: &Run<'_, C>,
    facts: &Facts<'_>,
    mut live: LiveStage,
    caller: &Caller,
    tended: &mut Tended,
) -> Result<LiveStage, CloudError> {
    let policy = &facts.on_record.policy;
    let terms = run.config.terms.under(policy);
    let stage = facts.stage.to_string();
    if live.managed {
        tended.reports.push(attention(run, facts, caller, &Reason::ManagedStage(stage)));
    } else if live.auto_deploy && terms.auto_deploy == AutoDeploy::Hold {
        tended.reports.push(attention(run, facts, caller, &Reason::AutoDeploy(stage)));
    }
    let listed = run.config.listed(facts.stage, policy);
    if !listed.is_empty() {
        let recorded = facts.on_record.good().map(|(_, record)| &record.release);
        let parts = parts(run.cloud, run.config, facts.stage, &listed, recorded).await?;
        if !parts.missing.is_empty() {
            tended.reports.push(attention(run, facts, caller, &Reason::PartMissing(parts.told())));
        }
        parts.complete(&mut live.release);
    }
    Ok(live)
}

impl<'a> Facts<'a> {
    /// Whether an alarm that names the stage is in ALARM.
    #[must_use]
    pub fn is_alarmed<C: Cloud>(&self, run: &Run<'_, C>) -> bool {
        self.guarding(run).iter().any(|guard| guard.alarm.state == State::Alarm)
    }

    fn guarding<C: Cloud>(&self, run: &Run<'_, C>) -> Vec<&'a Guard> {
        let names = api_names(run, self.stage, self.on_record);
        self.guards.iter().filter(|guard| guard.target(self.stage, &names).is_some()).collect()
    }
}

/// The names by which an alarm may call a stage's API.
#[must_use]
pub fn api_names<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, on_record: &OnRecord) -> Vec<String> {
    let configured = run.config.entry(stage).map(|entry| entry.api_name.clone());
    let recorded = on_record.good().and_then(|(_, record)| record.api_name.clone());
    configured.into_iter().chain(recorded).collect()
}

fn attention<C: Cloud>(run: &Run<'_, C>, facts: &Facts<'_>, caller: &Caller, reason: &Reason) -> Report {
    Report { outcome: Outcome::Attention, ..run.no(caller, reason).on(facts.stage) }
}

/// Closes the incidents whose alarm is OK, and tells of those whose alarm stays.
async fn see_recovery<C: Cloud>(run: &Run<'_, C>, facts: &Facts<'_>, caller: &Caller) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut rollbacks = facts.on_record.rollbacks.clone();
    for guard in facts.guards {
        let alarm = guard.alarm.name.as_str();
        let open = incident::unrecovered(&rollbacks).filter(|past| past.alarm.as_deref() == Some(alarm));
        let Some(last) = open.last().map(|past| past.at) else { continue };
        if guard.alarm.state == State::Ok {
            let at = guard.alarm.changed_at.unwrap_or(run.now);
            reports.extend(incident::recovered(run, facts.stage, &mut rollbacks, alarm, at, caller).await);
        } else if guard.alarm.state == State::Alarm && run.now - last > run.config.not_recovered {
            let reason = Reason::NotRecovered { alarm: alarm.to_owned(), rolled_back_at: last };
            reports.push(attention(run, facts, caller, &reason));
        }
    }
    reports
}

/// Tells of the rollbacks whose runs died before they could, and puts them on the list.
async fn see_incidents<C: Cloud>(run: &Run<'_, C>, facts: &Facts<'_>, live: &LiveStage) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut on_record = facts.on_record.clone();
    for incident in incident::unlisted(facts.on_record, facts.incidents, &live.release, run.now) {
        let warnings = incident::list(run, &on_record, incident).await.err().into_iter().collect();
        // Whoever went on from half-way has told of it, under the name of what it found.
        let is_told = incident::is_followed(&on_record.rollbacks, incident);
        on_record.rollbacks = on_record.rollbacks.with(incident::past(incident));
        if is_told {
            continue;
        }
        let by = Caller {
            kind: "sweep".to_owned(),
            name: Some(incident.by.clone()),
            changed_at: incident.alarm_at,
            why: Some(incident.why.clone()),
            ..Caller::default()
        };
        let message = format!(
            "{} is back on {} (known-good version {}): run {} put it back at {}, and could not say so",
            facts.stage,
            incident.good,
            incident.version,
            incident.run,
            stamp(incident.at)
        );
        let report = run.report(&by, Outcome::RolledBack, message).on(facts.stage);
        reports.push(Report {
            before: Some(incident.bad.clone()),
            after: Some(incident.good.clone()),
            version: Some(incident.version),
            incident: Some(run.config.names.incident(facts.stage, &incident.bad.fingerprint())),
            since: incident.since,
            news: Some(incident::news(&incident.bad.fingerprint(), incident.at)),
            warnings,
            ..report
        });
    }
    reports
}

/// Sees that the known-good deployment is there and pinned, before it is needed.
async fn keep_way_back<C: Cloud>(
    run: &Run<'_, C>,
    facts: &Facts<'_>,
    caller: &Caller,
) -> Result<Vec<Report>, CloudError> {
    let Some((version, record)) = facts.on_record.good() else { return Ok(vec![]) };
    let deployment = &record.release.deployment;
    if let Some(why) = lost(run, facts, record).await? {
        let parameter = run.config.names.known_good(facts.stage);
        let reason = Reason::KnownGoodMissing { deployment: deployment.clone(), parameter, version, why };
        return Ok(vec![attention(run, facts, caller, &reason)]);
    }
    let pin = pin::read(facts.stages.get(&facts.stage.parked()).cloned());
    let holds = pin == Pin::Holds { deployment: deployment.clone(), closed: true };
    if holds || !run.config.pin {
        return Ok(vec![]);
    }
    match pin::move_to(run.cloud, facts.stage, deployment).await {
        Ok(()) => Ok(vec![]),
        Err(why) => Ok(vec![attention(run, facts, caller, &Reason::NotPinned(why))]),
    }
}

/// Why the known-good release could not be gone back to. A REST deployment that a stage points at exists: API
/// Gateway does not delete it. Whether that holds for HTTP and WebSocket is not documented, so they are asked.
async fn lost<C: Cloud>(
    run: &Run<'_, C>,
    facts: &Facts<'_>,
    record: &Record,
) -> Result<Option<String>, CloudError> {
    if facts.on_record.rollbacks.quarantines(&record.release) {
        return Ok(Some("is in quarantine: it was taken off before".to_owned()));
    }
    let deployment = &record.release.deployment;
    let in_use = facts
        .stages
        .iter()
        .any(|(stage, live)| stage.api == facts.stage.api && live.release.deployment == *deployment);
    if in_use && !facts.stage.protocol.is_v2() {
        return Ok(None);
    }
    Ok(match run.cloud.deployment(facts.stage, deployment).await? {
        Some(found) => found.undeployed.map(|status| format!("has the status {status}")),
        None => Some("does not exist any more".to_owned()),
    })
}

/// Judges the live release: known-good, bad, new, or on its way to be proven.
async fn see_release<C: Cloud>(
    run: &Run<'_, C>,
    facts: &Facts<'_>,
    live: &LiveStage,
    caller: &Caller,
    tended: &mut Tended,
) -> Result<(), CloudError> {
    let on_record = facts.on_record;
    if on_record.good().is_some_and(|(_, record)| record.release == live.release) {
        "serves its known-good release".clone_into(&mut tended.state);
        return Ok(());
    }
    let candidate = match on_record.candidate_for(&live.release) {
        Some(candidate) => candidate.clone().unchanged_since(live.updated_at),
        None => fresh(run, facts.stage, &live.release),
    };
    // One that does not fit a parameter could never be recorded.
    if let Err(why) = records::print(&candidate) {
        tended.state.clone_from(&why);
        tended.reports.push(attention(run, facts, caller, &Reason::NotRecordable(why)));
        return Ok(());
    }
    let is_new = on_record.candidate_for(&live.release).is_none() && on_record.unreadable.is_none();
    if is_new {
        "a new release was noted".clone_into(&mut tended.state);
        note(run, facts.stage, &candidate).await?;
    }
    let guards = facts.guarding(run);
    // An alarm whose actions are off must not hide one that may act.
    let alarmed = guards.iter().filter(|guard| guard.alarm.state == State::Alarm);
    if let Some(guard) = alarmed.min_by_key(|guard| !guard.actions_enabled) {
        let report = take_off(run, facts, guard, caller).await;
        tended.state.clone_from(&report.message);
        tended.reports.extend(worth_telling(report));
        return Ok(());
    }
    if crate::decide::is_not_held(on_record, run.now).is_err() {
        "is held".clone_into(&mut tended.state);
        return Ok(());
    }
    if is_new {
        return Ok(());
    }
    match promote(run, facts.stage, on_record, &candidate, &guards, caller, false).await? {
        Promoted::Reported(report) => {
            tended.state.clone_from(&report.message);
            tended.reports.extend(worth_telling(*report));
        }
        Promoted::Fired(_) if on_record.good().is_none() => {
            // There is nothing to go back to, so the release stays, and has another chance to prove itself.
            note(run, facts.stage, &Candidate { first_seen: run.now, ..candidate }).await?;
            "an alarm fired meanwhile, and there is no way back: bakes anew".clone_into(&mut tended.state);
        }
        Promoted::Fired(reason) | Promoted::No(reason) => tended.state = reason.to_string(),
    }
    Ok(())
}

/// The rollback that an event should have brought, under the same decision table.
async fn take_off<C: Cloud>(run: &Run<'_, C>, facts: &Facts<'_>, guard: &Guard, caller: &Caller) -> Report {
    let names = api_names(run, facts.stage, facts.on_record);
    let Some(target) = guard.target(facts.stage, &names) else {
        return run.no(caller, &Reason::NoStage(format!("{} names no stage", guard.alarm.name)));
    };
    let call = Call::Alarm { name: &guard.alarm.name, target, swept: true };
    let by = Caller { kind: "sweep".to_owned(), ..Caller::alarm(&guard.alarm) };
    rollback(run, facts.stage, Ask { call, version: None, dry: false }, &by).await
}

/// A bad release that stays for a reason that will not pass by itself must be looked at; what passes by
/// itself is only part of the sweep's own report.
fn worth_telling(report: Report) -> Option<Report> {
    const STAYS: [&str; 5] =
        ["no-known-good", "known-good-missing", "cooldown", "irreversible-release", "outside-window"];
    if report.reason.is_some_and(|reason| STAYS.contains(&reason)) {
        return Some(Report { outcome: Outcome::Attention, ..report });
    }
    let passes = matches!(report.outcome, Outcome::Held | Outcome::Rejected | Outcome::Ignored);
    Some(report).filter(|_| !passes)
}

/// A release that is seen for the first time.
#[must_use]
pub fn fresh<C: Cloud>(run: &Run<'_, C>, stage: &StageRef, release: &Release) -> Candidate {
    Candidate {
        schema: SCHEMA,
        protocol: stage.protocol,
        release: release.clone(),
        first_seen: run.now,
        irreversible: false,
        label: None,
        note: None,
    }
}

/// Writes the stage's candidate.
///
/// # Errors
/// A failed call. A candidate that does not fit a parameter is not written, and so never promoted.
pub async fn note<C: Cloud>(
    run: &Run<'_, C>,
    stage: &StageRef,
    candidate: &Candidate,
) -> Result<(), CloudError> {
    if let Ok(value) = records::print(candidate) {
        run.cloud.put_parameter(&run.config.names.candidate(stage), &value, Write::Overwrite).await?;
    }
    Ok(())
}
