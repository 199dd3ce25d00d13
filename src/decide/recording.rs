//! Decides whether a live release can be recorded as known-good. Pure.

use super::guilt::guilt;
use crate::model::observed::{KnownGood, Observed};
use crate::model::policy::StagePolicy;
use crate::model::reason::Reason;
use crate::model::release::Release;
use crate::model::stage::{Deployment, LiveStage};

/// The facts that only recording needs.
#[derive(Clone, Debug)]
pub struct Known {
    /// The live deployment, if API Gateway has it.
    pub deployment: Option<Deployment>,
    /// Why the release is in quarantine.
    pub quarantine: Option<String>,
    /// Problems with components: mappings that point to no stage of this kind of API, and a component of others.
    pub stray_components: Vec<String>,
}

/// Checks whether the live release can be known-good. The reason lists every problem.
///
/// # Errors
/// The [`Reason`] for which it cannot be recorded.
pub fn recordable<'a>(
    observed: &'a Observed,
    known: Known,
    expected: Option<&Release>,
    policy: &StagePolicy,
) -> Result<(&'a LiveStage, Deployment), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotRecordable(format!(
            "{stage} is a parked stage: record the stage that it is parked for"
        )));
    }
    let Some(live) = &observed.live else {
        return Err(Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            stage.stage, stage.api
        )));
    };
    if expected.is_some_and(|expected| *expected != live.release) {
        return Err(Reason::NotProven(
            "the stage was changed before the release could be recorded".to_owned(),
        ));
    }
    // A fast alarm that fired does not prevent a promotion, so what its test would say must be known.
    if let (Some(_), Some(Err(error))) = (expected, &observed.traffic) {
        return Err(Reason::NotProven(format!("its requests could not be counted: {error}")));
    }
    let guilt = guilt(observed, policy);
    if let Some(finding) = guilt.conviction().filter(|_| expected.is_some()) {
        return Err(Reason::NotProven(format!("its requests convict it: {finding}")));
    }
    let mut problems: Vec<String> = Vec::new();
    if let Some(canary) = &live.release.canary {
        problems.push(format!(
            "{stage} has a canary with {} % of the traffic: promote or remove it first",
            canary.percent
        ));
    }
    if let Some(why) = known.quarantine {
        problems.push(format!(
            "{stage} serves a release in quarantine: {why}; if it is good after all, send a `lift` command with the \
             incident `{}` first",
            live.release.fingerprint()
        ));
    }
    let describe = |what: &str| format!("{stage} points to deployment `{}`, {what}", live.release.deployment);
    match &known.deployment {
        None => problems.push(describe("which API Gateway cannot find")),
        Some(Deployment { undeployed: Some(status), .. }) => {
            problems.push(describe(&format!("which has the status {status}")));
        }
        Some(_) => {}
    }
    let missing = observed.components.missing.iter().filter(|missing| !missing.recorded);
    problems.extend(missing.map(ToString::to_string).chain(known.stray_components));
    for (alias, target) in live.release.aliases.iter().filter(|(_, target)| !target.weights.is_empty()) {
        problems.push(format!("the alias `{alias}` splits its traffic: version {target}"));
    }
    let moving = observed.components.moving.iter();
    problems.extend(moving.map(|alias| format!("a running CodeDeploy deployment moves the alias `{alias}`")));
    let Some(deployment) = known.deployment.filter(|_| problems.is_empty()) else {
        return Err(Reason::NotRecordable(problems.join("; ")));
    };
    if let KnownGood::Unusable { parameter, fault } = &observed.on_record.known_good {
        return Err(Reason::KnownGoodUnusable { parameter: parameter.clone(), fault: fault.clone() });
    }
    Ok((live, deployment))
}
