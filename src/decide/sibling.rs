//! What the incident of a sibling, the function in another Region, means for a stage. Pure.

use std::collections::BTreeMap;

use super::rollout_place;
use crate::model::component::{AliasRef, AliasTarget};
use crate::model::observed::OnRecord;
use crate::model::policy::{Siblings, StagePolicy};
use crate::model::release::Release;
use crate::model::rollout::Rollout;
use crate::model::sibling::{BadRelease, SiblingIncident};

/// The fingerprints of the contents of a stage's deployments; `None` if there is no such deployment, if it has no description,
/// or if it was not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Of the live deployment.
    pub live: Option<String>,
    /// Of the canary's deployment.
    pub canary: Option<String>,
    /// Of the known-good deployment.
    pub known_good: Option<String>,
}

/// Where a stage serves the release that a sibling found bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the live release.
    Live,
    /// It is what a rollout, or somebody else, gives a part of the traffic.
    Canary,
    /// It is the known-good release of this stage.
    KnownGood,
    /// The stage serves another release.
    Elsewhere,
    /// Nothing says so.
    Unknown,
}

/// Compares the release that a sibling found bad with those of a stage: by the labels where both have one, otherwise by
/// contents. In doubt it is the known-good release.
#[must_use]
pub fn place(bad: &BadRelease, live: &Release, on_record: &OnRecord, contents: &Contents) -> Place {
    let is = |label: Option<&str>, theirs: &Option<String>| match (bad.label.as_deref(), label) {
        (Some(bad), Some(label)) => Some(bad == label),
        _ => bad.contents.as_ref().zip(theirs.as_ref()).map(|(bad, theirs)| bad == theirs),
    };
    let good = on_record.good().map(|(_, record)| record);
    if good.is_some_and(|good| is(good.label.as_deref(), &contents.known_good) == Some(true)) {
        return Place::KnownGood;
    }
    if is_known_elsewhere(bad, live, on_record) {
        return Place::Elsewhere;
    }
    let rolled = rolled_out(on_record, live);
    let label = rolled.and_then(|rollout| rollout.label.as_deref());
    let is_in_steps = live.canary.is_some() || rolled.is_some();
    let as_canary = is_in_steps.then(|| is(label, &contents.canary));
    let as_live = is(on_record.label(live), &contents.live);
    match (as_canary, as_live) {
        (Some(Some(true)), _) => Place::Canary,
        (_, Some(true)) => Place::Live,
        (Some(None), _) | (_, None) => Place::Unknown,
        (None | Some(Some(false)), Some(false)) => Place::Elsewhere,
    }
}

/// Whether the bad release is known here as another one than those that are live: as the last candidate, or as the deployment
/// that an earlier message about the incident was about.
fn is_known_elsewhere(bad: &BadRelease, live: &Release, on_record: &OnRecord) -> bool {
    let canary = live.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
    let is_live = |deployment: &str| live.deployment == deployment || canary == Some(deployment);
    let candidate = on_record.candidate.as_ref().filter(|one| bad.label.is_some() && one.label == bad.label);
    let heard =
        on_record.rollbacks.siblings.iter().find(|one| one.is(bad)).and_then(|one| one.here.as_deref());
    candidate.is_some_and(|one| !is_live(&one.release.deployment)) || heard.is_some_and(|here| !is_live(here))
}

/// Returns the running rollout whose new release the stage serves, as its canary or by the weights of its aliases.
fn rolled_out<'a>(on_record: &'a OnRecord, live: &Release) -> Option<&'a Rollout> {
    on_record.running().filter(|rollout| rollout_place::place(rollout, live).has_traffic())
}

/// Returns the label of the new release of a rollout that is live, if it has one.
#[must_use]
pub fn rollout_label<'a>(on_record: &'a OnRecord, live: &Release) -> Option<&'a str> {
    rolled_out(on_record, live)?.label.as_deref()
}

/// Whether the stage still serves the release in which a sibling's bad release was found. A step of a rollout, which changes
/// only shares of the traffic, does not matter.
#[must_use]
pub fn still_serves(live: &Release, found: &Release) -> bool {
    let canary = |release: &Release| release.canary.as_ref().map(|canary| canary.deployment.clone());
    let versions = |release: &Release| -> Vec<(AliasRef, String, Vec<String>)> {
        let of = |target: &AliasTarget| target.weights.keys().cloned().collect();
        let all = release.aliases.iter();
        all.map(|(alias, target)| (alias.clone(), target.version.clone(), of(target))).collect()
    };
    let rest = |release: &Release| Release { canary: None, aliases: BTreeMap::new(), ..release.clone() };
    canary(live) == canary(found) && versions(live) == versions(found) && rest(live) == rest(found)
}

/// Returns the incident of a sibling that keeps a release from being promoted, if one does.
#[must_use]
pub fn against<'a>(
    on_record: &'a OnRecord,
    policy: &StagePolicy,
    label: Option<&str>,
    deployment: Option<&str>,
) -> Option<&'a SiblingIncident> {
    let holds = |one: &&SiblingIncident| !one.cleared && one.is_about(label, deployment);
    on_record.rollbacks.siblings.iter().find(holds).filter(|_| policy.siblings != Siblings::Tell)
}

/// Returns why a rollout moves no traffic, as a clause, if the incident of a sibling is about its release.
#[must_use]
pub fn against_rollout(on_record: &OnRecord, policy: &StagePolicy, rollout: &Rollout) -> Option<String> {
    let incident = against(on_record, policy, rollout.label.as_deref(), rollout.deployment())?;
    Some(until_cleared(incident))
}

/// Says what an incident holds up, and how that ends, as a clause.
#[must_use]
pub fn until_cleared(incident: &SiblingIncident) -> String {
    format!("{incident}; `release-hold` lets the stage go on")
}
