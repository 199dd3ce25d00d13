//! Whether a live release can be recorded as known-good. Pure.

use crate::model::observed::{KnownGood, Observed};
use crate::model::reason::Reason;
use crate::model::release::Release;
use crate::model::stage::{Deployment, LiveStage};

/// What only recording asks for.
#[derive(Clone, Debug)]
pub struct Known {
    /// The live deployment, where there is one.
    pub deployment: Option<Deployment>,
    /// Why the release is in quarantine.
    pub quarantine: Option<String>,
    /// The mappings that point at no stage of this kind of API.
    pub stray_mappings: Vec<String>,
}

/// Whether the live release can be a known-good one; tells all that is wrong with it. Pure.
///
/// # Errors
/// The [`Reason`] why not.
pub fn recordable<'a>(
    observed: &'a Observed,
    known: Known,
    expected: Option<&Release>,
) -> Result<(&'a LiveStage, Deployment), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotRecordable(format!(
            "{stage} is a parked stage: record the stage it is parked for"
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
    let mut wrong: Vec<String> = Vec::new();
    if let Some(canary) = &live.release.canary {
        wrong.push(format!(
            "{stage} has a canary with {} % of the traffic: promote or remove it first",
            canary.percent
        ));
    }
    if let Some(why) = known.quarantine {
        wrong.push(format!(
            "{stage} serves a release in quarantine: {why}; if it is good after all, send a `lift` command with the \
             incident `{}` first",
            live.release.fingerprint()
        ));
    }
    let pointed_at =
        |what: &str| format!("{stage} points at deployment `{}`, {what}", live.release.deployment);
    match &known.deployment {
        None => wrong.push(pointed_at("which API Gateway does not find")),
        Some(Deployment { undeployed: Some(status), .. }) => {
            wrong.push(pointed_at(&format!("which has the status {status}")));
        }
        Some(_) => {}
    }
    let missing = observed.components.missing.iter().filter(|missing| !missing.recorded);
    wrong.extend(missing.map(ToString::to_string).chain(known.stray_mappings));
    for (alias, target) in live.release.aliases.iter().filter(|(_, target)| !target.weights.is_empty()) {
        wrong.push(format!("the alias `{alias}` shares its traffic: version {target}"));
    }
    let moving = observed.components.moving.iter();
    wrong.extend(moving.map(|alias| format!("a running CodeDeploy deployment moves the alias `{alias}`")));
    let Some(deployment) = known.deployment.filter(|_| wrong.is_empty()) else {
        return Err(Reason::NotRecordable(wrong.join("; ")));
    };
    if let KnownGood::Unusable { parameter, why } = &observed.on_record.known_good {
        return Err(Reason::NoKnownGood { parameter: parameter.clone(), why: why.clone() });
    }
    Ok((live, deployment))
}
