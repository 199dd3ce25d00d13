//! Checks one stage: its records, its known-good release, its alarms. Pure.

use super::Finding;
use super::facts::{Readings, StageReadings, Watcher, by_stage};
use crate::config::Config;
use crate::decide::guilt::guilt;
use crate::decide::health::{KnownGoodRelease, Problem, StageHealth, Unpinned, problems};
use crate::decide::names::{bearers, fault};
use crate::decide::testimony::{Subject, Testimony, testimony};
use crate::decide::watch::{AlarmFault, Fault, Watched, Way, watch};
use crate::decide::wiring::{self, Ends};
use crate::decide::{Decision, Trigger, counts_as_held, decide};
use crate::model::observed::{DeploymentNow, FOREIGN_PIN, Observed};
use crate::model::policy::{AutoDeploy, MissingComponents, Mode, StagePolicy};
use crate::model::reason::{Reason, stamp};
use crate::model::records::{self, Incident, LastSweep, Record};
use crate::model::stage::{LiveStage, StageRef};

pub(super) fn examine(config: &Config, facts: &Readings, stage: &StageReadings) -> Vec<Finding> {
    let observed = match &stage.observed {
        Err(error) => return vec![Finding::unknown("stage", error)],
        Ok(observed) => observed,
    };
    let policy = config.policy.under(&observed.on_record.policy);
    let Some(live) = &observed.live else {
        return vec![missing(config, &stage.stage)];
    };
    let deployment = stage.deployment.as_ref().ok();
    let deployment = deployment.map(|found| DeploymentNow::from_answer(found.as_ref()));
    let health = StageHealth {
        live,
        on_record: &observed.on_record,
        policy: &policy,
        pin_wanted: config.pin,
        components: Some(&observed.components),
        deployment: deployment.as_ref(),
        pin: stage.pin.as_ref().ok(),
        now: facts.now,
    };
    let problems = problems(&health);
    let mut findings = vec![is_changeable(&problems, observed, live)];
    findings.extend(is_readable(&problems));
    findings.push(known_good(&problems, stage, observed));
    if let Some((_, record)) = observed.on_record.good() {
        findings.push(deployment_exists(&problems, stage, live, record));
        findings.push(is_pinned(&problems, facts, stage, live, record));
        findings.extend(drift(stage, record));
    }
    findings.extend(components(&problems, observed));
    findings.extend(is_free(&problems, config, observed, &policy));
    findings.extend(alarms(facts, stage, observed, config));
    findings.push(Finding::ok("may act", observed.admission.to_string()));
    findings.extend(name(facts, &stage.stage, observed, config));
    findings.extend(verdict(facts, observed, &policy));
    findings
}

/// Reports that API Gateway does not have the stage, and where its name comes from.
fn missing(config: &Config, stage: &StageRef) -> Finding {
    if config.entry(stage).is_some() {
        return from_reason("stage", &Reason::StageMissing(stage.to_string()));
    }
    let what = format!("the stage {stage} has records, but API Gateway does not have it");
    let next = format!(
        "if it was renamed, record it under its new name: apigw-rollback record {}/NEW-NAME; if it was deleted for good, \
         delete its records",
        stage.api
    );
    Finding::fault("stage", what, next)
}

/// Creates a fault from a reason, with the reason's message and advice.
fn from_reason(check: &'static str, reason: &Reason) -> Finding {
    Finding::fault(check, reason.to_string(), reason.advice())
}

fn is_changeable(problems: &[Problem], observed: &Observed, live: &LiveStage) -> Finding {
    let stage = observed.stage.to_string();
    if problems.contains(&Problem::Managed) {
        return from_reason("stage", &Reason::ManagedStage(stage));
    }
    if problems.contains(&Problem::AutoDeploy(AutoDeploy::Hold)) {
        return from_reason("stage", &Reason::AutoDeploy(stage));
    }
    if problems.contains(&Problem::AutoDeploy(AutoDeploy::SwitchOff)) {
        return Finding::warning(
            "stage",
            "AutoDeploy is on: a rollback switches it off",
            "switch it off now, so that a rollback has only the release to change",
        );
    }
    if let Some(canary) = &live.release.canary {
        let deployment = canary.deployment.as_deref().unwrap_or("unknown");
        return Finding::warning(
            "stage",
            format!(
                "it has a canary (deployment `{deployment}`, {} % of the traffic), so API Gateway refuses every other deployment \
                 to it, as a plain `sam deploy` makes one",
                canary.percent
            ),
            "promote the canary or remove it; `apigw-rollback rollout status` shows whether a rollout does so",
        );
    }
    Finding::ok("stage", format!("it serves {}", live.release))
}

fn is_readable(problems: &[Problem]) -> Option<Finding> {
    problems.iter().find_map(|problem| {
        let Problem::Unreadable(unreadable) = problem else { return None };
        let next = Reason::HeldByOperator(String::new()).advice();
        Some(Finding::fault("records", counts_as_held(unreadable), next))
    })
}

fn known_good(problems: &[Problem], stage: &StageReadings, observed: &Observed) -> Finding {
    let record = format!("apigw-rollback record {}/{}", stage.stage.api, stage.stage.stage);
    if problems.contains(&Problem::NoKnownGood) {
        return Finding::fault(
            "known-good",
            "no release is recorded, so there is nothing to roll back to",
            format!("wait until the live release has baked, or record it: {record}"),
        );
    }
    for problem in problems {
        if let Problem::UnusableKnownGood { parameter, fault } = problem {
            let (parameter, fault) = (parameter.clone(), fault.clone());
            return from_reason("known-good", &Reason::KnownGoodUnusable { parameter, fault });
        }
        if let Problem::Quarantined(KnownGoodRelease { release, version }) = problem {
            let fingerprint = release.fingerprint();
            return Finding::fault(
                "known-good",
                format!(
                    "known-good version {version} is release {fingerprint}, which was rolled back and is in quarantine"
                ),
                "record a good release, or lift the quarantine: see `apigw-rollback incidents`",
            );
        }
    }
    let described = observed.on_record.good().map(|(version, record)| {
        format!("version {version}, {}, recorded at {}", record.release, stamp(record.recorded_at))
    });
    Finding::ok("known-good", described.unwrap_or_default())
}

fn deployment_exists(
    problems: &[Problem],
    stage: &StageReadings,
    live: &LiveStage,
    record: &Record,
) -> Finding {
    let name = &record.release.deployment;
    let next =
        "record a release whose deployment exists; until then, a rollback tries older versions of the record";
    if let Err(error) = &stage.deployment {
        return Finding::unknown("deployment", error);
    }
    for problem in problems {
        if let Problem::DeploymentGone(_) = problem {
            let what = format!("the known-good deployment `{name}` no longer exists");
            return Finding::fault("deployment", what, next);
        }
        if let Problem::Undeployed(_, status) = problem {
            let what = format!("the known-good deployment `{name}` has the status {status}");
            return Finding::fault("deployment", what, next);
        }
    }
    let is_live = live.release.deployment == *name;
    Finding::ok("deployment", format!("`{name}` exists{}", if is_live { " and is live" } else { "" }))
}

fn is_pinned(
    problems: &[Problem],
    facts: &Readings,
    stage: &StageReadings,
    live: &LiveStage,
    record: &Record,
) -> Finding {
    let wanted = &record.release.deployment;
    if let Err(error) = &stage.pin {
        return Finding::unknown("pin", error);
    }
    let parked = stage.stage.parked().stage;
    // To record another release would make it known-good without a proof.
    let next = if live.release.deployment == *wanted {
        "wait for the next sweep, or record the live release again"
    } else {
        "wait for the next sweep: it moves the pin; do not record the live release, which is not the known-good one"
    };
    let how = problems
        .iter()
        .find_map(|problem| if let Problem::NotPinned { how, .. } = problem { Some(*how) } else { None });
    match how {
        None => Finding::ok("pin", format!("`{parked}` keeps deployment `{wanted}` from being deleted")),
        Some(Unpinned::Open) => {
            Finding::warning("pin", format!("the parked stage `{parked}` is open to traffic"), next)
        }
        Some(Unpinned::Off) => Finding::warning(
            "pin",
            "pinning is off: a deploy may delete the known-good deployment",
            "set PIN to on, or keep deployments by other means",
        ),
        Some(Unpinned::Foreign) => Finding::warning(
            "pin",
            format!("`{parked}` was not created by the function, so the known-good deployment is not pinned"),
            FOREIGN_PIN,
        ),
        Some(Unpinned::Other) => Finding::warning(
            "pin",
            "another function protects this stage too, so this one leaves it alone",
            format!(
                "remove the stage from one of the two; if there is only this one, delete the stage `{parked}`"
            ),
        ),
        Some(Unpinned::Missing) => {
            let met = met_by_sweep(facts, &stage.stage).map(|met| format!("; the last sweep: {met}"));
            let what = format!(
                "the known-good deployment `{wanted}` is not pinned, so a deploy may delete it{}",
                met.unwrap_or_default()
            );
            Finding::warning("pin", what, next)
        }
    }
}

/// Returns what the last sweep met when it moved the stage's pin, if that failed.
fn met_by_sweep(facts: &Readings, stage: &StageRef) -> Option<String> {
    let last = facts.sweeps.as_ref().ok()?.last()?;
    let last: LastSweep = records::parse(&last.value).ok()?;
    last.states.get(&stage.to_string()).filter(|state| state.contains("not pinned")).cloned()
}

/// Warns that the stack may still describe the bad release: until another release is promoted, the next deploy may
/// bring the bad one back.
fn drift(stage: &StageReadings, record: &Record) -> Option<Finding> {
    let incidents = match &stage.incidents {
        Err(error) => return Some(Finding::unknown("drift", error)),
        Ok(incidents) => incidents,
    };
    let newest: &Incident =
        incidents.iter().filter_map(|on_file| on_file.incident.as_ref().ok()).find(|one| !one.undone)?;
    let moved_on = record.recorded_at > newest.at && !newest.good.is(&record.release);
    if moved_on || newest.lifted_by.is_some() {
        return None;
    }
    Some(Finding::warning(
        "drift",
        format!(
            "the stage was rolled back at {}, and no other release has become known-good since: the stack still \
             describes deployment `{}`, and its next deploy brings that release back",
            stamp(newest.at),
            newest.bad.release.deployment
        ),
        "fix or revert the change in the stack's source before the next deploy",
    ))
}

fn components(problems: &[Problem], observed: &Observed) -> Vec<Finding> {
    let mut findings = Vec::new();
    for problem in problems {
        if let Problem::ComponentsMissing(missing, policy) = problem {
            let reason = from_reason("parts", &Reason::PartMissing(missing.clone()));
            findings.push(match policy {
                MissingComponents::Hold => reason,
                MissingComponents::Skip => Finding::warning("parts", reason.message, reason.next),
            });
        }
        if let Problem::ComponentsOverridden(overridden) = problem {
            findings.push(from_reason("parts", &Reason::PartShadowed(overridden.clone())));
        }
        if let Problem::ComponentsMoving(moving) = problem {
            let moving = moving.iter().map(|alias| format!("`{alias}`")).collect();
            let reason = Reason::CodeDeployRunning(moving);
            findings.push(Finding::warning("parts", reason.to_string(), reason.advice()));
        }
    }
    let (aliases, mappings) = (observed.components.aliases.len(), observed.components.mappings.len());
    if observed.components.missing.is_empty() && aliases + mappings > 0 {
        let all = Finding::ok("parts", format!("{aliases} aliases and {mappings} mappings exist"));
        findings.insert(0, all);
    }
    findings
}

/// Finds the settings of an operator that keep alarms from acting on the stage.
fn is_free(problems: &[Problem], config: &Config, observed: &Observed, policy: &StagePolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stage = &observed.stage;
    for problem in problems {
        if let Problem::Held(hold) = problem {
            let by = hold.by.as_ref().map_or_else(|| "an operator".to_owned(), |by| format!("`{by}`"));
            let why = hold.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            findings.push(Finding::warning(
                "hold",
                format!("{by} holds the stage until {}{why}", stamp(hold.until)),
                format!("when the work is done: apigw-rollback release-hold {}/{}", stage.api, stage.stage),
            ));
        }
    }
    if policy.mode == Mode::Observe && config.policy.mode == Mode::Enforce {
        findings.push(Finding::warning(
            "mode",
            "the stage's policy lets the function only report (observe)",
            "set `mode` in the stage's policy to enforce",
        ));
    }
    findings
}

fn alarms(facts: &Readings, stage: &StageReadings, observed: &Observed, config: &Config) -> Vec<Finding> {
    // If the alarms cannot be read, the function's checks report it once.
    let Ok(watchers) = &facts.watchers else { return vec![] };
    let guilt = guilt(observed, &config.policy.under(&observed.on_record.policy));
    let subject = Subject::of(observed, &guilt);
    let guards = facts.guards();
    let topic = config.alarm_topic.as_deref();
    let ends = facts.arn.as_deref().map(|function| Ends { topic, function });
    let of_way = ends.map(|ends| wiring::faults(ends, &facts.wiring, &guards)).unwrap_or_default();
    let way = ends.map(|ends| Way { ends, now: &facts.wiring, faults: &of_way });
    let live = observed.live.as_ref().map(|live| &live.release);
    let serves_known_good = live.is_some_and(|live| observed.on_record.is_known_good(live));
    let found = watch(&Watched { subject, guards: &guards, way, serves_known_good });
    let mut findings = Vec::new();
    if let Some(causes) = found.unwatched {
        let next = format!(
            "let at least one alarm on the stage's errors name the stage and notify {}, and have its actions enabled",
            topic.unwrap_or("the function")
        );
        findings.push(Finding::fault("alarms", Reason::Unwatched(causes).to_string(), next));
    }
    for one in &found.faults {
        findings.push(Finding::warning("alarms", one.to_string(), one.advice(topic)));
    }
    let ours = by_stage(watchers, &stage.stage);
    findings.extend(ours.iter().filter_map(|watcher| speaks(watcher, subject, &found.faults)));
    let unread =
        ours.iter().filter_map(|watcher| facts.wiring.samples.get(&watcher.guard.alarm.name)?.as_ref().err());
    findings.extend(unread.map(|error| Finding::unknown("alarms", error)));
    findings.extend(facts.wiring.alarms.as_ref().err().map(|error| Finding::unknown("alarms", error)));
    if findings.is_empty() {
        let names: Vec<String> =
            ours.iter().map(|watcher| format!("`{}`", watcher.guard.alarm.name)).collect();
        let what = if names.is_empty() {
            // Those that UNWIRED_ALARM_PREFIXES lets act.
            "only alarms that a rule or a queue delivers watch the stage, and the doctor cannot check that delivery"
                .to_owned()
        } else {
            format!("{} would call the function and have data", names.join(", "))
        };
        findings.push(Finding::ok("alarms", what));
    }
    findings
}

/// Reports what an alarm says about the live release, unless another finding already says it.
fn speaks(watcher: &Watcher, subject: Subject<'_>, faults: &[AlarmFault]) -> Option<Finding> {
    let name = &watcher.guard.alarm.name;
    let is_told = |one: &AlarmFault| {
        let covers = matches!(one.fault, Fault::NotAllowed(_) | Fault::ActionsDisabled | Fault::InAlarm(_));
        one.alarm == *name && covers
    };
    if faults.iter().any(is_told) {
        return None;
    }
    let testimony = testimony(&watcher.guard, subject);
    match testimony.reason(name) {
        None if testimony == Testimony::Accuses => Some(Finding::warning(
            "alarms",
            format!("the alarm `{name}` accuses the live release"),
            "`status` shows what an alarm does now",
        )),
        // The checks of the function report an alarm that cannot be resolved, once for all stages.
        Some(reason) if watcher.guard.unresolved.is_empty() => {
            let what = format!("the alarm `{name}` accuses nobody ({}): {reason}", reason.code());
            Some(Finding::warning("alarms", what, reason.advice()))
        }
        None | Some(_) => None,
    }
}

/// Compares the names by which alarms know the API with those of all REST APIs.
fn name(facts: &Readings, stage: &StageRef, observed: &Observed, config: &Config) -> Option<Finding> {
    if stage.protocol.is_v2() {
        return None;
    }
    let apis = match &facts.apis {
        Ok(apis) => apis,
        Err(error) => return Some(Finding::unknown("name", error)),
    };
    let recorded = observed.on_record.good().map(|(_, record)| record);
    let known = [(stage, config.api_names(stage, recorded))];
    let why = fault(&known[0], &bearers(&known, apis), apis)?;
    Some(Finding::fault("name", &why, Reason::AmbiguousTarget(why.clone()).advice()))
}

/// Returns the effect of an alarm that fires now, unless another finding already covers it.
fn verdict(facts: &Readings, observed: &Observed, policy: &StagePolicy) -> Option<Finding> {
    match decide(Trigger::Imagined, observed, policy, facts.now) {
        Decision::Act(plan) => {
            Some(Finding::ok("verdict", format!("an alarm now would roll it back: {plan}")))
        }
        Decision::Hold(reason @ Reason::AlreadyKnownGood { .. }) => {
            Some(Finding::ok("verdict", format!("an alarm now would change nothing: {reason}")))
        }
        Decision::Hold(reason) => {
            let is_found_only_here = matches!(
                reason,
                Reason::Cooldown(_)
                    | Reason::OutsideWindow { .. }
                    | Reason::IrreversibleRelease { .. }
                    | Reason::ChangedAfterAlarm { .. }
                    | Reason::NotProtected(_)
            );
            is_found_only_here.then(|| {
                let what = format!("an alarm now would change nothing ({}): {reason}", reason.code());
                Finding::warning("verdict", what, reason.advice())
            })
        }
    }
}
