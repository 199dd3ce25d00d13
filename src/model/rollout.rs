//! A rollout: traffic moves to a new release in steps, until it is promoted or removed. The new release is a canary of the
//! stage, or versions of functions that get traffic by the weights of their aliases. No I/O.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::component::{AliasRef, AliasTarget};
use super::percent::Percent;
use super::policy::MAX_BAKE_SECONDS;
use super::records::{Stored, check_time};
use super::release::{Canary, Release};
use super::stage::LiveStage;

/// The most steps of a rollout.
pub const MAX_STEPS: usize = 20;

/// What an operator or a policy asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The shares of the traffic that the new release gets, one after the other.
    pub steps: Vec<Percent>,
    /// How long each step lasts, in seconds.
    pub bake_seconds: u32,
    /// How many requests the new release must have answered in a step.
    pub min_requests: u64,
}

impl Terms {
    /// Checks the limits.
    ///
    /// # Errors
    /// A sentence about the first invalid value.
    pub fn check(&self) -> Result<(), String> {
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Err(format!("a rollout has 1 to {MAX_STEPS} steps, not {}", self.steps.len()));
        }
        if self.steps.first() == Some(&Percent::NONE) || !self.steps.is_sorted_by(|one, next| one < next) {
            let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
            return Err(format!(
                "the steps are {}: each must be above the one before it, the first above 0",
                steps.join(", ")
            ));
        }
        if self.bake_seconds > MAX_BAKE_SECONDS {
            return Err(format!(
                "`bake_seconds` is {}; it must be a number from 0 to {MAX_BAKE_SECONDS}",
                self.bake_seconds
            ));
        }
        if self.min_requests == 0 {
            return Err("`min_requests` is 0: a release that answers no request proves nothing".to_owned());
        }
        Ok(())
    }
}

/// The record of a stage's rollout. It stays when the rollout has ended, until the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The record's schema.
    pub schema: u32,
    /// The run that started it.
    pub id: String,
    /// What the stage served when the rollout began, without the new release. Its aliases are those of `versions`.
    pub base: Release,
    /// The canary, if the new release is one. Its share of the traffic is that of the step, whatever this record says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The new version of each alias that moves; empty if a canary does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<AliasRef, String>,
    /// What was asked for.
    pub terms: Terms,
    /// The number of the current step, counted from 0.
    pub step: usize,
    /// The share of the new release before the current step, or with which it is promoted; `None` if the step is the first that
    /// gives it traffic.
    pub from: Option<Percent>,
    /// Where the rollout stands.
    pub state: RolloutState,
    /// When it reached this state.
    pub since: DateTime<Utc>,
    /// When API Gateway changed the stage for the current step. A later change is not by this rollout.
    pub changed_at: Option<DateTime<Utc>>,
    /// When API Gateway changed the stage for the first step, so that the canary's requests count from then on. For versions,
    /// when the function saw that the first step was done.
    pub live_since: Option<DateTime<Utc>>,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Who started it.
    pub who: Option<String>,
    /// The label of the new release.
    pub label: Option<String>,
    /// The note for the changelog.
    pub note: Option<String>,
    /// Whether people were certainly told of its state.
    #[serde(default)]
    pub told: bool,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum RolloutState {
    /// The new release is about to get the share of the step.
    Moving,
    /// The new release has the share of the step, and must prove itself.
    Baking,
    /// Nothing moves until an operator resumes or aborts it.
    Paused {
        /// Why, as a clause.
        why: String,
        /// Who paused it; `None` if the function did.
        by: Option<String>,
    },
    /// All steps have passed, or an operator skipped the rest: the new release becomes what the stage serves.
    Promoting,
    /// An operator removes the new release.
    Aborting,
    /// The stage serves the new release.
    Promoted,
    /// The new release gets no traffic, and the stage serves what it did before.
    Aborted {
        /// Why, as a clause.
        why: String,
    },
    /// The stage was rolled back, which removed the new release.
    RolledBack {
        /// By whom and when, as a clause.
        why: String,
        /// When.
        at: DateTime<Utc>,
        /// The fingerprint of what was rolled back: the last part of the incident's name.
        fingerprint: String,
    },
    /// Somebody else changed what the stage serves.
    Overtaken {
        /// What happened, as a clause.
        why: String,
    },
}

impl RolloutState {
    /// Returns the word for it in reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Baking => "baking",
            Self::Paused { .. } => "paused",
            Self::Promoting => "promoting",
            Self::Aborting => "aborting",
            Self::Promoted => "promoted",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled-back",
            Self::Overtaken { .. } => "overtaken",
        }
    }

    /// Whether people are told of it.
    #[must_use]
    pub fn is_news(&self) -> bool {
        matches!(self, Self::Paused { .. }) || self.has_ended()
    }

    /// Whether it lasts for good, unless a step came after an abort.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(
            self,
            Self::Promoted | Self::Aborted { .. } | Self::RolledBack { .. } | Self::Overtaken { .. }
        )
    }
}

impl Stored for Rollout {
    const WHAT: &'static str = "rollout";

    fn check(&self) -> Result<(), String> {
        self.terms.check()?;
        if self.step >= self.terms.steps.len() {
            return Err(format!("`step` is {}, and it has {} steps", self.step, self.terms.steps.len()));
        }
        let is_canary = self
            .canary
            .as_ref()
            .is_some_and(|canary| canary.deployment.as_ref().is_some_and(|id| !id.is_empty()));
        if is_canary != self.versions.is_empty() || self.base.deployment.is_empty() {
            return Err(
                "it has neither the deployment of a canary nor versions, or both, or it lacks the base"
                    .to_owned(),
            );
        }
        if let Some(alias) = self.versions.keys().find(|alias| !self.base.aliases.contains_key(*alias)) {
            return Err(format!("it lacks the version of the alias `{alias}` in the base"));
        }
        self.live_since.map_or(Ok(()), |at| check_time("live_since", at))?;
        check_time("since", self.since)
    }
}

impl Rollout {
    /// Returns the deployment of the canary; `None` if versions get the traffic.
    #[must_use]
    pub fn deployment(&self) -> Option<&str> {
        self.canary.as_ref()?.deployment.as_deref()
    }

    /// Returns what gets the traffic, as people call it.
    #[must_use]
    pub fn part(&self) -> &'static str {
        if self.canary.is_some() { "the canary" } else { "the new version" }
    }

    /// Whether its first step was never done, so that the new release never got traffic.
    #[must_use]
    pub fn has_not_begun(&self) -> bool {
        self.from.is_none() && self.live_since.is_none()
    }

    /// Returns the share of the current step.
    #[must_use]
    pub fn share(&self) -> Percent {
        self.terms.steps.get(self.step).copied().unwrap_or(Percent::NONE)
    }

    /// Whether the current step is the last one.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.step + 1 >= self.terms.steps.len()
    }

    /// Returns when the current step may pass at the earliest.
    #[must_use]
    pub fn bakes_until(&self) -> DateTime<Utc> {
        self.since + TimeDelta::seconds(self.terms.bake_seconds.into())
    }

    /// Returns the new release without its label: the deployment of the canary, or the versions of the aliases.
    #[must_use]
    pub fn what(&self) -> String {
        match self.deployment() {
            Some(deployment) => format!("deployment {deployment}"),
            None => versions(self.versions.iter()),
        }
    }

    /// Returns the name of the new release for people: its label where it has one, and what it is.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.label, self.deployment()) {
            (None, _) => self.what(),
            (Some(label), Some(deployment)) => format!("{label} ({deployment})"),
            (Some(label), None) => format!("{label} ({})", self.what()),
        }
    }

    /// Returns what the new release is compared with: the deployment or the versions of the base.
    #[must_use]
    pub fn compared_with(&self) -> String {
        let before = |alias: &AliasRef| self.base.aliases.get(alias).map(|target| &target.version);
        match self.canary {
            Some(_) => self.base.deployment.clone(),
            None => versions(self.versions.keys().filter_map(|alias| Some((alias, before(alias)?)))),
        }
    }

    /// Whether a canary is this rollout's, whatever its share.
    #[must_use]
    pub fn owns(&self, canary: &Canary) -> bool {
        let ours = self.canary.as_ref();
        ours.is_some_and(|ours| canary.deployment == ours.deployment && canary.overrides == ours.overrides)
    }

    /// Returns where one of its aliases is; `None` if somebody else has pointed it elsewhere.
    #[must_use]
    pub fn at(&self, alias: &AliasRef, target: &AliasTarget) -> Option<At> {
        let (version, base) = (self.versions.get(alias)?, self.base.aliases.get(alias)?);
        if target.version == *version {
            return target.weights.is_empty().then_some(At::Promoted);
        }
        let mut weights = target.weights.iter();
        let share = match (weights.next(), weights.next()) {
            (None, _) => Some(Percent::NONE),
            (Some((other, weight)), None) if other == version => Percent::of_weight(weight),
            (Some(_), _) => None,
        };
        share.filter(|_| target.version == base.version).map(At::Share)
    }

    /// Returns what the stage serves in the current step.
    #[must_use]
    pub fn in_step(&self) -> Release {
        let share = self.share();
        let canary = self.canary.clone().map(|canary| Canary { percent: share.to_string(), ..canary });
        let mut release = Release { canary, ..self.base.clone() };
        for (alias, version) in &self.versions {
            if let Some(target) = release.aliases.get_mut(alias) {
                target.weights = [(version.clone(), share.weight())].into();
            }
        }
        release
    }

    /// Returns what the stage serves once the new release is promoted, and its canary gone. A canary can override and add
    /// variables, but not remove any.
    #[must_use]
    pub fn promoted(&self) -> Release {
        let mut release = self.base.clone();
        if let Some(canary) = &self.canary {
            release.deployment = canary.deployment.clone().unwrap_or_default();
            release.variables.extend(canary.overrides.clone());
        }
        let target = |version: &String| AliasTarget { version: version.clone(), weights: BTreeMap::new() };
        release.aliases.extend(self.versions.iter().map(|(alias, version)| (alias.clone(), target(version))));
        release
    }

    /// Returns since when the canary is live, if the stage's last change was a step of this rollout: it changed the canary's
    /// share, and nothing that could be a fix.
    #[must_use]
    pub fn live_since(&self, live: &LiveStage) -> Option<DateTime<Utc>> {
        let is_ours = live.release.canary.as_ref().is_some_and(|canary| self.owns(canary));
        let is_by_step = self.changed_at.is_some() && self.changed_at == live.updated_at;
        self.live_since.filter(|_| is_ours && is_by_step && !self.state.has_ended())
    }
}

/// Where an alias of a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// At the version of the base; the new version has this share.
    Share(Percent),
    /// At the new version alone.
    Promoted,
}

/// A change of an alias by a rollout, if the alias still has this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The alias.
    pub alias: AliasRef,
    /// Its target before.
    pub from: AliasTarget,
    /// Its target after.
    pub to: AliasTarget,
    /// The revision that it must still have.
    pub revision: String,
}

/// Returns what the weights of these aliases give traffic to, and how much: the new version of each alias that has weights.
/// `None` if no alias has weights, or they are not those of one rollout.
#[must_use]
pub fn weighted(aliases: &BTreeMap<AliasRef, AliasTarget>) -> Option<(BTreeMap<AliasRef, String>, Percent)> {
    let of = |target: &AliasTarget| match target.weights.iter().collect::<Vec<_>>().as_slice() {
        [(version, weight)] => Some(((*version).clone(), Percent::of_weight(weight)?)),
        _ => None,
    };
    let with = aliases.iter().filter(|(_, target)| !target.weights.is_empty());
    let found: Vec<_> =
        with.map(|(alias, target)| Some((alias.clone(), of(target)?))).collect::<Option<_>>()?;
    let (_, (_, share)) = found.first()?;
    let is_same = found.iter().all(|(_, (_, other))| other == share);
    let share = *share;
    is_same.then(|| (found.into_iter().map(|(alias, (version, _))| (alias, version)).collect(), share))
}

fn versions<'a>(of: impl Iterator<Item = (&'a AliasRef, &'a String)>) -> String {
    let all: Vec<String> = of.map(|(alias, version)| format!("version {version} of `{alias}`")).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_of_a_rollout_are_limited() {
        let of = |steps: &[f64], bake_seconds, min_requests| {
            let steps = steps.iter().map(|step| Percent::try_from(*step).unwrap()).collect();
            Terms { steps, bake_seconds, min_requests }
                .check()
                .map_or_else(|why| why, |()| "valid".to_owned())
        };
        let many: Vec<f64> = (1..=21).map(f64::from).collect();
        for (terms, expected) in [
            (of(&[5.0, 25.0, 50.0], 600, 100), "valid"),
            (of(&[100.0], 0, 1), "valid"),
            (of(&many[..20], 604_800, 1), "valid"),
            (of(&[], 600, 100), "a rollout has 1 to 20 steps, not 0"),
            (of(&many, 600, 100), "a rollout has 1 to 20 steps, not 21"),
            (
                of(&[0.0, 5.0], 600, 100),
                "the steps are 0, 5: each must be above the one before it, the first above 0",
            ),
            (
                of(&[25.0, 5.0], 600, 100),
                "the steps are 25, 5: each must be above the one before it, the first above 0",
            ),
            (
                of(&[5.0, 5.0], 600, 100),
                "the steps are 5, 5: each must be above the one before it, the first above 0",
            ),
            (of(&[5.0], 604_801, 100), "`bake_seconds` is 604801; it must be a number from 0 to 604800"),
            (of(&[5.0], 600, 0), "`min_requests` is 0: a release that answers no request proves nothing"),
        ] {
            assert_eq!(terms, expected);
        }
    }
}
