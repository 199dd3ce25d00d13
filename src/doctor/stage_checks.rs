//! What the doctor finds of one stage: its records, its way back, its alarms. Pure.

use super::Finding;
use super::facts::{Facts, SAMPLED, StageFacts, Watcher, by_stage};
use crate::cloud::{Deployment, LiveStage};
use crate::config::{AutoDeploy, Config, MissingParts, Mode, Terms};
use crate::decide::{Call, Decision, decide};
use crate::model::alarm::State;
use crate::model::reason::{Reason, stamp};
use crate::model::records::{Incident, Record};
use crate::observe::{KnownGood, Observed};
use crate::signal::target;
use crate::sweep::pin::Pin;

pub(super) fn examine(config: &Config, facts: &Facts, stage: &StageFacts) -> Vec<Finding> {
    let observed = match &stage.observed {
        Err(error) => return vec![Finding::unknown("stage", error)],
        Ok(observed) => observed,
    };
    let terms = config.terms.under(&observed.on_record.policy);
    let Some(live) = &observed.live else {
        let what = format!("API Gateway has no such stage as {}", stage.stage);
        let next = "correct PROTECTED_STAGES; records of a stage that is gone for good can be deleted";
        return vec![Finding::fault("stage", what, next)];
    };
    let mut findings = vec![is_changeable(observed, live, &terms)];
    findings.extend(is_readable(observed));
    findings.push(known_good(stage, observed));
    if let Some((_, record)) = observed.on_record.good() {
        findings.push(deployment(stage, observed, record));
        findings.push(pin(config, stage, record));
        findings.extend(drift(stage, record));
    }
    findings.extend(parts(observed, &terms));
    findings.extend(is_free(config, facts, observed, &terms));
    findings.extend(alarms(facts, stage, observed, config));
    findings.extend(verdict(facts, observed, &terms));
    findings
}

/// A finding from a reason of the engine, in its words.
fn of_reason(check: &'static str, reason: &Reason) -> Finding {
    Finding::fault(check, reason.to_string(), reason.advice())
}

fn is_changeable(observed: &Observed, live: &LiveStage, terms: &Terms) -> Finding {
    let stage = observed.stage.to_string();
    if live.managed {
        return of_reason("stage", &Reason::ManagedStage(stage));
    }
    match (live.auto_deploy, terms.auto_deploy) {
        (true, AutoDeploy::Hold) => of_reason("stage", &Reason::AutoDeploy(stage)),
        (true, AutoDeploy::SwitchOff) => Finding::warning(
            "stage",
            "AutoDeploy is on: a rollback switches it off",
            "switch it off yourself, so that a rollback has nothing more to change than the release",
        ),
        (false, _) => Finding::ok("stage", format!("it serves {}", live.release)),
    }
}

fn is_readable(observed: &Observed) -> Option<Finding> {
    let unreadable = observed.on_record.unreadable.as_ref()?;
    let next = Reason::HeldByOperator(String::new()).advice();
    Some(Finding::fault("records", format!("{unreadable}, so the stage counts as held"), next))
}

fn known_good(stage: &StageFacts, observed: &Observed) -> Finding {
    let record = format!("apigw-rollback record {}/{}", stage.stage.api, stage.stage.stage);
    match &observed.on_record.known_good {
        KnownGood::None { .. } => Finding::fault(
            "known-good",
            "no release is recorded, so there is nothing to go back to",
            format!("wait until the live release has baked, or record it: {record}"),
        ),
        KnownGood::Unusable { parameter, why } => Finding::fault(
            "known-good",
            format!("the parameter `{parameter}` {why}"),
            format!("delete the parameter, then record a good release: {record}"),
        ),
        KnownGood::Found { record, version, .. }
            if observed.on_record.rollbacks.quarantines(&record.release) =>
        {
            let fingerprint = record.release.fingerprint();
            Finding::fault(
                "known-good",
                format!(
                    "known-good version {version} is release {fingerprint}, which was taken off and is in quarantine"
                ),
                "record a good release, or lift the quarantine: see `apigw-rollback incidents`",
            )
        }
        KnownGood::Found { record, version, .. } => Finding::ok(
            "known-good",
            format!("version {version}, {}, recorded at {}", record.release, stamp(record.recorded_at)),
        ),
    }
}

fn deployment(stage: &StageFacts, observed: &Observed, record: &Record) -> Finding {
    let name = &record.release.deployment;
    let next =
        "record a release whose deployment is there; until then older versions of the record are tried";
    match &stage.deployment {
        Err(error) => Finding::unknown("deployment", error),
        Ok(None) => Finding::fault(
            "deployment",
            format!("the known-good deployment `{name}` does not exist any more"),
            next,
        ),
        Ok(Some(Deployment { undeployed: Some(status), .. })) => Finding::fault(
            "deployment",
            format!("the known-good deployment `{name}` has the status {status}"),
            next,
        ),
        Ok(Some(_)) => {
            let live = observed.live.as_ref().is_some_and(|live| live.release.deployment == *name);
            Finding::ok("deployment", format!("`{name}` is there{}", if live { ", and live" } else { "" }))
        }
    }
}

fn pin(config: &Config, stage: &StageFacts, record: &Record) -> Finding {
    let wanted = &record.release.deployment;
    let pinned = match &stage.pin {
        Err(error) => return Finding::unknown("pin", error),
        Ok(pinned) => pinned,
    };
    let parked = stage.stage.parked().stage;
    let next = "wait for the next sweep, or record the live release once more";
    match pinned {
        Pin::Holds { deployment, closed: true } if deployment == wanted => {
            Finding::ok("pin", format!("`{parked}` keeps deployment `{wanted}` from being deleted"))
        }
        Pin::Holds { deployment, closed: false } if deployment == wanted => {
            Finding::warning("pin", format!("the parked stage `{parked}` is open to traffic"), next)
        }
        _ if !config.pin => Finding::warning(
            "pin",
            "pinning is off: a deploy may delete the known-good deployment",
            "set PIN to on, or keep deployments by other means",
        ),
        Pin::Foreign => Finding::warning(
            "pin",
            format!("`{parked}` is somebody else's stage, so the known-good deployment is not pinned"),
            Reason::NotPinned(String::new()).advice(),
        ),
        Pin::Holds { .. } | Pin::None => {
            let what =
                format!("the known-good deployment `{wanted}` is not pinned, so a deploy may delete it");
            Finding::warning("pin", what, next)
        }
    }
}

/// What the stack still describes. The release that was taken off last comes back with the next deploy, until a
/// deploy of another one was promoted.
fn drift(stage: &StageFacts, record: &Record) -> Option<Finding> {
    let incidents = match &stage.incidents {
        Err(error) => return Some(Finding::unknown("drift", error)),
        Ok(incidents) => incidents,
    };
    let newest: &Incident =
        incidents.iter().filter_map(|on_file| on_file.incident.as_ref().ok()).find(|one| !one.undone)?;
    let moved_on = record.recorded_at > newest.at && record.release != newest.good;
    if moved_on || newest.lifted_by.is_some() {
        return None;
    }
    Some(Finding::warning(
        "drift",
        format!(
            "the stage was put back at {}, and no other release has become known-good since: the stack still \
             describes deployment `{}`, and its next deploy brings that back",
            stamp(newest.at),
            newest.bad.deployment
        ),
        "fix or revert the change in the stack's source before the next deploy",
    ))
}

fn parts(observed: &Observed, terms: &Terms) -> Vec<Finding> {
    let mut findings = Vec::new();
    let parts = &observed.parts;
    if !parts.missing.is_empty() {
        let reason = of_reason("parts", &Reason::PartMissing(parts.told()));
        findings.push(match terms.missing_parts {
            MissingParts::Hold => reason,
            MissingParts::Skip => Finding::warning("parts", reason.message, reason.next),
        });
    } else if !parts.aliases.is_empty() || !parts.mappings.is_empty() {
        let (aliases, mappings) = (parts.aliases.len(), parts.mappings.len());
        findings.push(Finding::ok("parts", format!("{aliases} aliases and {mappings} mappings are there")));
    }
    if !parts.moving.is_empty() {
        let moving = parts.moving.iter().map(|alias| format!("`{alias}`")).collect();
        let reason = Reason::CodeDeployRunning(moving);
        findings.push(Finding::warning("parts", reason.to_string(), reason.advice()));
    }
    findings
}

/// What a person has set so that alarms leave the stage alone.
fn is_free(config: &Config, facts: &Facts, observed: &Observed, terms: &Terms) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stage = &observed.stage;
    if let Some(hold) = observed.on_record.hold.as_ref().filter(|hold| hold.until > facts.now) {
        let by = hold.by.as_deref().unwrap_or("somebody");
        let why = hold.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        findings.push(Finding::warning(
            "hold",
            format!("`{by}` holds it until {}{why}", stamp(hold.until)),
            format!("when the work is done: apigw-rollback release-hold {}/{}", stage.api, stage.stage),
        ));
    }
    if terms.mode == Mode::Observe && config.terms.mode == Mode::Enforce {
        findings.push(Finding::warning(
            "mode",
            "its policy lets the function only report (observe)",
            "set `mode` in the stage's policy to enforce",
        ));
    }
    findings
}

fn alarms(facts: &Facts, stage: &StageFacts, observed: &Observed, config: &Config) -> Vec<Finding> {
    // That they could not be read is told once, of the function.
    let Ok(watchers) = &facts.watchers else { return vec![] };
    let ours = by_stage(watchers, &stage.stage);
    if ours.is_empty() {
        return vec![unwatched(facts, stage, observed, config)];
    }
    let mut findings: Vec<Finding> = ours.iter().flat_map(|watcher| of_watcher(watcher)).collect();
    if ours.iter().all(|watcher| !watcher.guard.actions_enabled) {
        let next = "aws cloudwatch enable-alarm-actions --alarm-names ...";
        findings.push(Finding::fault("alarms", "the actions of all of its alarms are disabled", next));
    }
    if findings.is_empty() {
        let names: Vec<String> =
            ours.iter().map(|watcher| format!("`{}`", watcher.guard.alarm.name)).collect();
        let what = format!("{} would call the function, and have data", names.join(", "));
        findings.push(Finding::ok("alarms", what));
    }
    findings
}

fn of_watcher(watcher: &Watcher) -> Vec<Finding> {
    let alarm = &watcher.guard.alarm;
    let name = &alarm.name;
    let mut findings = Vec::new();
    if !watcher.guard.actions_enabled {
        let reason = Reason::AlarmActionsDisabled { alarm: name.clone() };
        findings.push(Finding::warning("alarms", reason.to_string(), reason.advice()));
    }
    let no_data = "see that its dimensions are spelt as the metric's are, and that the stage has traffic";
    match (&watcher.samples, alarm.state) {
        (Some(Err(error)), _) => findings.push(Finding::unknown("alarms", error)),
        (Some(Ok(samples)), _) if *samples <= 0.0 => {
            let hours = SAMPLED.num_hours();
            let what = format!("the metrics of the alarm `{name}` had no data in the last {hours} hours");
            findings.push(Finding::warning("alarms", what, no_data));
        }
        (_, State::InsufficientData) => {
            findings.push(Finding::warning(
                "alarms",
                format!("the alarm `{name}` has insufficient data"),
                no_data,
            ));
        }
        (Some(Ok(_)) | None, State::Ok | State::Alarm) => {}
    }
    findings
}

/// No alarm would call; maybe there are some that only lack the action.
fn unwatched(facts: &Facts, stage: &StageFacts, observed: &Observed, config: &Config) -> Finding {
    let configured = config.entry(&stage.stage).map(|entry| entry.api_name.as_str());
    let recorded = observed.on_record.good().and_then(|(_, record)| record.api_name.as_deref());
    let is_ours = |api: &str| api == stage.stage.api || configured == Some(api) || recorded == Some(api);
    let names_it = |alarm: &&crate::cloud::AlarmNow| {
        let targets = target::of(&alarm.alarm).unwrap_or_default();
        targets.iter().any(|target| target.stage == stage.stage.stage && is_ours(target.api.text()))
    };
    let idle: Vec<String> = facts
        .alarms
        .iter()
        .flatten()
        .filter(names_it)
        .map(|alarm| format!("`{}`", alarm.alarm.name))
        .collect();
    let topic = config.topic.as_deref().unwrap_or("the function");
    if idle.is_empty() {
        return Finding::fault(
            "alarms",
            "no alarm names it, so nothing would ever call",
            format!("make an alarm on its errors with {topic} as its alarm action"),
        );
    }
    Finding::fault(
        "alarms",
        format!("{} name it, and none of them calls the function", idle.join(", ")),
        format!("add {topic} to their alarm actions"),
    )
}

/// What an alarm that fired now would lead to, where that is not told by another finding already.
fn verdict(facts: &Facts, observed: &Observed, terms: &Terms) -> Option<Finding> {
    match decide(Call::Imagined, observed, terms, facts.now) {
        Decision::Act(plan) => {
            Some(Finding::ok("verdict", format!("an alarm now would put it back: {plan}")))
        }
        Decision::Hold(reason @ Reason::AlreadyKnownGood { .. }) => {
            Some(Finding::ok("verdict", format!("an alarm now would change nothing: {reason}")))
        }
        Decision::Hold(reason) => {
            let told_only_here = [
                "cooldown",
                "outside-window",
                "irreversible-release",
                "changed-after-alarm",
                "not-protected",
            ];
            told_only_here.contains(&reason.code()).then(|| {
                let what = format!("an alarm now would change nothing ({}): {reason}", reason.code());
                Finding::warning("verdict", what, reason.advice())
            })
        }
    }
}
