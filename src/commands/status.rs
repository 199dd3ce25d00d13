//! The commands `status` and `history`: the live release, the known-good releases, and the effect of an alarm now.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::cloud::{Alarms, Components, Gateway, Parameters};
use crate::config::Config;
use crate::context::Context;
use crate::decide::guilt::guilt;
use crate::decide::health::{Problem, StageHealth, Unpinned, problems};
use crate::decide::leaves::resolved;
use crate::decide::testimony::{Subject, Testimony, guarding};
use crate::decide::{Decision, Trigger, decide};
use crate::model::admission::Admission;
use crate::model::alarm::AlarmNow;
use crate::model::cloud_error::CloudError;
use crate::model::observed::{KnownGood, Observed, Pin, usable};
use crate::model::policy::StagePolicy;
use crate::model::reason::Reason;
use crate::model::records::Parameter;
use crate::model::report::{Details, Outcome, Report};
use crate::model::stage::StageRef;
use crate::model::status::{
    AlarmNowStatus, AlarmStatus, CandidateStatus, HistoryEntry, KnownGoodStatus, Live, NotYetStatus,
    PinStatus, StageStatus, Version,
};
use crate::observe::{guarding_alarms, observe_for_preview};
use crate::rollback::older_version;

/// Reports the status of a stage. Writes nothing.
///
/// # Errors
/// A failed call.
pub async fn status<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Report, CloudError> {
    let config = context.config;
    let parameter = config.names.known_good(stage);
    let parked = stage.parked();
    let (observed, versions, parked, alarms) = tokio::join!(
        observe_for_preview(context, stage, None, Trigger::Imagined),
        context.cloud.history(&parameter),
        context.cloud.stage(&parked),
        context.cloud.all_alarms(),
    );
    let observed = observed?;
    let on_record = &observed.on_record;
    let policy = config.policy.under(&on_record.policy);
    let (alarm_now, message) = match alarm_now(context, &observed, &policy).await? {
        Decision::Act(plan) => {
            let message = format!("{stage}: an alarm now would roll it back: {plan}");
            (AlarmNowStatus::Act(plan), message)
        }
        Decision::Hold(reason) => {
            let message = format!("{stage}: an alarm now would change nothing: {reason}");
            (AlarmNowStatus::Hold(reason), message)
        }
    };
    let pin = Pin::from_parked_stage(parked?.as_ref(), context.config.names.prefix());
    let alarms = alarms_of(context, &observed, alarms?).await;
    let mut warnings = Vec::new();
    warnings.extend(on_record.unreadable.clone());
    warnings.extend(pin_warning(context, &observed, &policy, &pin));
    if alarms.is_empty() {
        warnings.push("no alarm names this stage, so nothing would trigger a rollback".to_owned());
    }
    let details = StageStatus {
        live: observed
            .live
            .as_ref()
            .map(|live| Live { release: live.release.clone(), updated_at: live.updated_at }),
        known_good: known_good(&on_record.known_good),
        candidate: candidate(&observed, &policy),
        not_yet: not_yet(&observed),
        hold: on_record.hold.clone().filter(|hold| hold.until > context.now),
        rollbacks: on_record.rollbacks.past.clone(),
        siblings: on_record.rollbacks.siblings.clone(),
        history: versions?.iter().rev().map(|one| version(one, stage, config)).collect(),
        pin: shown(pin),
        alarms,
        admission: observed.admission,
        shows_variables: config.show_variables,
        rollout: on_record.running().cloned(),
        alarm_now,
        configured: observed.configured,
    };
    let live = observed.live.map(|live| live.release);
    let details = Some(Details::Status(Box::new(details)));
    let report = context.report(Outcome::Status, message);
    Ok(Report { before: live.clone(), after: live, warnings, details, ..report })
}

/// Decides the effect of an alarm that fires now. As for an alarm, an older version serves if the newest cannot.
async fn alarm_now<C: Gateway + Components + Parameters + Alarms>(
    context: &Context<'_, C>,
    observed: &Observed,
    policy: &StagePolicy,
) -> Result<Decision, CloudError> {
    let mut decision = decide(Trigger::Imagined, observed, policy, context.now);
    while let Decision::Hold(Reason::KnownGoodMissing { version, .. }) = decision {
        let Some(older) = older_version(context, &observed.stage, version).await? else { break };
        let observed = observe_for_preview(context, &observed.stage, Some(older), Trigger::Imagined).await?;
        decision = decide(Trigger::Imagined, &observed, policy, context.now);
    }
    Ok(decision)
}

/// Returns what the last sweep found about the live release, if it is not known-good.
fn not_yet(observed: &Observed) -> Option<NotYetStatus> {
    let (live, sweep) = (observed.live.as_ref()?, observed.last_sweep.as_ref()?);
    let is_known_good = observed.on_record.good().is_some_and(|(_, record)| record.release == live.release);
    let is_seen = live.updated_at.is_none_or(|changed_at| changed_at <= sweep.at);
    let why = sweep.states.get(&observed.stage.to_string()).filter(|_| is_seen && !is_known_good)?;
    Some(NotYetStatus { why: why.clone(), swept_at: sweep.at })
}

fn known_good(known_good: &KnownGood) -> KnownGoodStatus {
    match known_good {
        KnownGood::Found { parameter, version, record } => {
            KnownGoodStatus::Found { parameter: parameter.clone(), version: *version, record: record.clone() }
        }
        KnownGood::None { parameter } => KnownGoodStatus::Missing {
            parameter: parameter.clone(),
            missing: "nothing is recorded yet".to_owned(),
        },
        KnownGood::Unusable { parameter, fault } => {
            KnownGoodStatus::Unusable { parameter: parameter.clone(), unusable: fault.to_string() }
        }
    }
}

fn candidate(observed: &Observed, policy: &StagePolicy) -> Option<CandidateStatus> {
    let noted = observed.on_record.candidate.as_ref()?;
    let live = observed.live.as_ref().filter(|live| live.release == noted.release);
    let candidate = live.map_or_else(
        || noted.clone(),
        |live| observed.on_record.candidate_or_new(observed.stage.protocol, live, observed.at),
    );
    Some(CandidateStatus {
        bakes_until: candidate.first_seen + policy.bake,
        candidate,
        is_live: live.is_some(),
    })
}

fn version(parameter: &Parameter, stage: &StageRef, config: &Config) -> Version {
    match usable(&parameter.value, stage, &config.region) {
        Ok(record) => Version::Usable {
            version: parameter.version,
            deployment: record.release.deployment,
            recorded_at: record.recorded_at,
            label: record.label,
            note: record.note,
            who: record.who,
        },
        Err(fault) => Version::Unusable { version: parameter.version, unusable: fault.to_string() },
    }
}

fn shown(pin: Pin) -> Option<PinStatus> {
    match pin {
        Pin::Holds { deployment, closed } => Some(PinStatus::Holds { deployment, closed }),
        Pin::None => None,
        Pin::Other(owner) => Some(PinStatus::Foreign {
            foreign: format!("another function, with its records under `{owner}`, protects the stage"),
        }),
        Pin::Foreign => Some(PinStatus::Foreign {
            foreign: "a stage with the parked stage's name exists, but the function did not create it"
                .to_owned(),
        }),
    }
}

fn pin_warning<C>(
    context: &Context<'_, C>,
    observed: &Observed,
    policy: &StagePolicy,
    pin: &Pin,
) -> Option<String> {
    let health = StageHealth {
        live: observed.live.as_ref()?,
        on_record: &observed.on_record,
        policy,
        pin_wanted: context.config.pin,
        components: None,
        deployment: None,
        pin: Some(pin),
        now: context.now,
    };
    problems(&health).into_iter().find_map(|problem| {
        let Problem::NotPinned { deployment, how } = problem else { return None };
        Some(match how {
            Unpinned::Open => "the parked stage is open to traffic: send `record` again to close it".to_owned(),
            Unpinned::Off => "pinning is off: a deploy may delete the known-good deployment".to_owned(),
            Unpinned::Other => "the pin belongs to another function, so this one leaves the stage alone".to_owned(),
            Unpinned::Foreign => {
                "the known-good deployment is not pinned: another stage has the name of its parked stage".to_owned()
            }
            Unpinned::Missing => format!(
                "the known-good deployment `{deployment}` is not pinned, so a deploy may delete it: the next sweep pins it"
            ),
        })
    })
}

/// Reads the alarms that name a stage, and those that guard it because they may be about any stage.
async fn alarms_of<C: Alarms>(
    context: &Context<'_, C>,
    observed: &Observed,
    all: Vec<AlarmNow>,
) -> Vec<AlarmStatus> {
    let ours = [context.config.alarm_topic.as_deref(), context.function];
    let known: BTreeMap<String, AlarmNow> =
        all.into_iter().map(|now| (now.alarm.name.clone(), now)).collect();
    let calls_us = |name: &str| {
        let actions = known.get(name).map(|now| now.actions.as_slice()).unwrap_or_default();
        ours.into_iter().flatten().any(|ours| actions.iter().any(|action| action.starts_with(ours)))
    };
    // An alarm that may not act is shown, too, with the reason.
    let everyone = Admission { unwired: vec![String::new()], ..Admission::default() };
    let guilt = guilt(observed, &context.config.policy.under(&observed.on_record.policy));
    let subject = Subject { admission: &everyone, ..Subject::of(observed, &guilt) };
    let resolved = known.values().map(|now| resolved(now.clone(), &known));
    let about = resolved.filter(|alarm| {
        let guarding = guarding(std::slice::from_ref(alarm), subject);
        guarding.iter().any(|one| one.target.is_some() || calls_us(&alarm.alarm.name))
    });
    let about = guarding_alarms::with_mutes(context.cloud, about.collect()).await;
    let status = guarding(&about, subject).into_iter().map(|one| {
        let alarm = &one.alarm.alarm;
        let calls_this_function = calls_us(&alarm.name);
        let refusal = observed.admission.refuses(&alarm.name, &one.alarm.actions);
        let testimony = Some(refusal.map_or(one.testimony, Testimony::Abstains));
        let reason = testimony.as_ref().and_then(|testimony| testimony.reason(&alarm.name));
        AlarmStatus {
            name: alarm.name.clone(),
            state: alarm.state,
            since: alarm.changed_at,
            actions_enabled: one.alarm.actions_enabled,
            calls_this_function,
            testimony: testimony.as_ref().map(Testimony::word),
            reason: reason.as_ref().map(Reason::code),
            why: reason.as_ref().map(ToString::to_string),
        }
    });
    status.collect()
}

/// Reports the known-good releases with the rollbacks between them, newest first. Writes nothing.
///
/// # Errors
/// A failed call.
pub async fn history<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Report, CloudError> {
    let config = context.config;
    let (parameter, rollbacks) = (config.names.known_good(stage), [config.names.rollbacks(stage)]);
    let (versions, found) =
        tokio::join!(context.cloud.history(&parameter), context.cloud.parameters(&rollbacks));
    let versions = versions?;
    let rollbacks = config.on_record(stage, &found?).rollbacks;
    let mut entries: Vec<(DateTime<Utc>, HistoryEntry)> = Vec::new();
    for one in &versions {
        let entry = version(one, stage, config);
        let at = match &entry {
            Version::Usable { recorded_at, .. } => *recorded_at,
            Version::Unusable { .. } => DateTime::default(),
        };
        entries.push((at, HistoryEntry::Version(entry)));
    }
    for entry in &rollbacks.past {
        entries.push((entry.at, HistoryEntry::Rollback { rollback: entry.clone() }));
    }
    entries.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let message =
        format!("{stage}: {} known-good releases, {} rollbacks", versions.len(), rollbacks.past.len());
    let details = Details::History(entries.into_iter().map(|(_, entry)| entry).collect());
    Ok(Report { details: Some(details), ..context.report(Outcome::Status, message) })
}
