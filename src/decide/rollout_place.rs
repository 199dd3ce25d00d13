//! Where a stage is on the way of its rollout. Pure.

use std::collections::BTreeSet;

use crate::model::percent::Percent;
use crate::model::release::{Canary, Release};
use crate::model::rollout::{At, Rollout};

/// What the stage serves, compared with a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The base alone.
    Base,
    /// The base, and the new release with this share.
    Share(Percent),
    /// The aliases are at different places: a run has moved some of them, or somebody else has.
    Between(BTreeSet<At>),
    /// The promoted release, and the canary without traffic.
    HalfPromoted,
    /// The promoted release.
    Promoted,
    /// Something else, and the new release still gets traffic.
    Changed(String),
    /// Something else, without the new release.
    Other(String),
}

impl Place {
    /// Whether the new release is on the stage, so that it may get traffic.
    #[must_use]
    pub fn has_traffic(&self) -> bool {
        !matches!(self, Self::Base | Self::Other(_))
    }
}

/// Compares what a stage serves with its rollout.
#[must_use]
pub fn place(rollout: &Rollout, live: &Release) -> Place {
    if rollout.canary.is_some() { of_canary(rollout, live) } else { of_versions(rollout, live) }
}

/// Says that the new release of a rollout that has ended is on the stage: a step that began late, or somebody, put it there.
#[must_use]
pub fn left_over(rollout: &Rollout, live: &Release) -> Option<String> {
    let is_on_stage = match place(rollout, live) {
        Place::Share(_) | Place::Between(_) | Place::HalfPromoted | Place::Changed(_) => true,
        Place::Base | Place::Promoted | Place::Other(_) => false,
    };
    (is_on_stage && rollout.state.has_ended()).then(|| {
        format!(
            "the rollout to {} has ended ({}), but {} is on the stage: remove it, or start a rollout",
            rollout.name(),
            rollout.state.word(),
            rollout.part()
        )
    })
}

/// Whether the stage itself serves what it does in this release.
fn serves(live: &Release, release: &Release) -> bool {
    (&live.deployment, &live.variables) == (&release.deployment, &release.variables)
}

fn of_canary(rollout: &Rollout, live: &Release) -> Place {
    let (at_base, at_promoted) = (serves(live, &rollout.base), serves(live, &rollout.promoted()));
    let Some(canary) = &live.canary else {
        return match (at_base, at_promoted) {
            (true, _) => Place::Base,
            (false, true) => Place::Promoted,
            (false, false) => {
                Place::Other(format!("the stage serves deployment `{}`, without the canary", live.deployment))
            }
        };
    };
    if !rollout.owns(canary) {
        return Place::Other(another(canary));
    }
    match (at_base, at_promoted, Percent::read(&canary.percent)) {
        (true, _, Some(share)) => Place::Share(share),
        (true, _, None) => Place::Changed(format!("the canary gets `{}` % of the traffic", canary.percent)),
        (false, true, _) => Place::HalfPromoted,
        (false, false, _) => Place::Changed(format!(
            "the stage now serves deployment `{}` with other variables",
            live.deployment
        )),
    }
}

fn another(canary: &Canary) -> String {
    let deployment = canary.deployment.as_deref().unwrap_or("that API Gateway does not name");
    format!("the stage has another canary, with deployment `{deployment}` or other variables")
}

/// The stage stays as it is, and all aliases move together.
fn of_versions(rollout: &Rollout, live: &Release) -> Place {
    let (mut places, mut changed) = (BTreeSet::new(), None);
    for alias in rollout.versions.keys() {
        let target = live.aliases.get(alias);
        if let Some(at) = target.and_then(|target| rollout.at(alias, target)) {
            places.insert(at);
        } else {
            let now = target.map_or("is gone".to_owned(), |target| format!("points at {target}"));
            changed = Some(format!("the alias `{alias}` {now}"));
        }
    }
    if !serves(live, &rollout.base) || live.canary.is_some() {
        changed = Some(match &live.canary {
            Some(canary) => another(canary),
            None => format!("the stage serves deployment `{}` or other variables", live.deployment),
        });
    }
    let has_traffic = places.iter().any(|at| *at != At::Share(Percent::NONE));
    match (changed, places.first().filter(|_| places.len() == 1)) {
        (Some(why), _) if has_traffic => Place::Changed(why),
        (Some(why), _) => Place::Other(why),
        (None, Some(At::Share(Percent::NONE))) => Place::Base,
        (None, Some(At::Share(share))) => Place::Share(*share),
        (None, Some(At::Promoted)) => Place::Promoted,
        (None, None) => Place::Between(places),
    }
}
