//! A rollout: traffic moves to a canary in steps, until it is promoted or removed. No I/O.

use std::fmt;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::policy::MAX_BAKE_SECONDS;
use super::records::Stored;
use super::release::{Canary, Release};
use super::stage::LiveStage;

/// The most steps of a rollout.
pub const MAX_STEPS: usize = 20;

/// A share of the traffic, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u16);

impl Percent {
    const HUNDREDTHS: f64 = 100.0;

    /// No traffic.
    pub const NONE: Self = Self(0);

    /// Reads a share as API Gateway prints it, rounded to hundredths; `None` if it is no share.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        text.trim().parse().ok().and_then(Self::rounded)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 0 and 10,000"
    )]
    fn rounded(number: f64) -> Option<Self> {
        let hundredths = (number * Self::HUNDREDTHS).round();
        (0.0..=10_000.0).contains(&hundredths).then_some(Self(hundredths as u16))
    }
}

impl TryFrom<f64> for Percent {
    type Error = String;

    /// API Gateway rounds longer fractions.
    fn try_from(number: f64) -> Result<Self, String> {
        let rounded = Self::rounded(number);
        rounded
            .filter(|percent| (f64::from(*percent) - number).abs() < 1e-9)
            .ok_or_else(|| format!("{number} is no share from 0 to 100 with at most two decimals"))
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.0) / Percent::HUNDREDTHS
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::from(*self).fmt(f)
    }
}

/// What an operator or a policy asks of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The shares of the traffic that the canary gets, one after the other.
    pub steps: Vec<Percent>,
    /// How long each step lasts, in seconds.
    pub bake_seconds: u32,
    /// How many requests the canary must have answered in a step.
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
    /// What the stage served when the rollout began, without the canary.
    pub base: Release,
    /// The canary. Its share of the traffic is that of the step, whatever this record says.
    pub canary: Canary,
    /// What was asked for.
    pub terms: Terms,
    /// The number of the current step, counted from 0.
    pub step: usize,
    /// The share of the canary before the current step, or with which it is promoted; `None` if the step makes the canary.
    pub from: Option<Percent>,
    /// Where the rollout stands.
    pub state: RolloutState,
    /// When it reached this state.
    pub since: DateTime<Utc>,
    /// When API Gateway changed the stage for the current step. A later change is not by this rollout.
    pub changed_at: Option<DateTime<Utc>>,
    /// When API Gateway changed the stage for the first step, so that the canary's requests count from then on.
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
    /// The canary is about to get the share of the step.
    Moving,
    /// The canary has the share of the step, and must prove itself.
    Baking,
    /// Nothing moves until an operator resumes or aborts it.
    Paused {
        /// Why, as a clause.
        why: String,
        /// Who paused it; `None` if the function did.
        by: Option<String>,
    },
    /// All steps have passed, or an operator skipped the rest: the canary becomes what the stage serves.
    Promoting,
    /// An operator removes the canary.
    Aborting,
    /// The stage serves the release of the canary.
    Promoted,
    /// The canary is off, and the stage serves what it did before.
    Aborted {
        /// Why, as a clause.
        why: String,
    },
    /// The stage was rolled back, which removed the canary.
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

    /// Whether it lasts for good.
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
        if self.canary.deployment.as_ref().is_none_or(String::is_empty) || self.base.deployment.is_empty() {
            return Err("it lacks the deployment of the canary or of the base".to_owned());
        }
        // The bake time is added to it, and the sum must be a valid date.
        let plausible = (1970..=9999).contains(&self.since.year());
        let why = || format!("`since` is {}; its year must be from 1970 to 9999", self.since);
        plausible.then_some(()).ok_or_else(why)
    }
}

impl Rollout {
    /// Returns the deployment of the canary.
    #[must_use]
    pub fn deployment(&self) -> &str {
        self.canary.deployment.as_deref().unwrap_or_default()
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

    /// Returns the name of the new release for people: its label where it has one, and its deployment.
    #[must_use]
    pub fn name(&self) -> String {
        let deployment = self.deployment();
        self.label
            .as_ref()
            .map_or_else(|| format!("deployment {deployment}"), |label| format!("{label} ({deployment})"))
    }

    /// Whether a canary is this rollout's, whatever its share.
    #[must_use]
    pub fn owns(&self, canary: &Canary) -> bool {
        canary.deployment == self.canary.deployment && canary.overrides == self.canary.overrides
    }

    /// Returns what the stage serves in the current step.
    #[must_use]
    pub fn in_step(&self) -> Release {
        let canary = Canary { percent: self.share().to_string(), ..self.canary.clone() };
        Release { canary: Some(canary), ..self.base.clone() }
    }

    /// Returns what the stage serves once the canary is promoted and gone. A canary can override and add variables, but not
    /// remove any.
    #[must_use]
    pub fn promoted(&self) -> Release {
        let mut variables = self.base.variables.clone();
        variables.extend(self.canary.overrides.clone());
        Release { deployment: self.deployment().to_owned(), variables, canary: None, ..self.base.clone() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_at_most_two_decimals() {
        for (number, expected) in [
            (0.0, Some("0")),
            (5.0, Some("5")),
            (12.5, Some("12.5")),
            (0.01, Some("0.01")),
            (33.33, Some("33.33")),
            (99.99, Some("99.99")),
            (100.0, Some("100")),
            (33.333, None),
            (0.001, None),
            (-1.0, None),
            (100.01, None),
            (1e9, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            let share = Percent::try_from(number).ok().map(|percent| percent.to_string());
            assert_eq!(share.as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn a_share_is_read_as_api_gateway_prints_it() {
        for (text, expected) in [
            ("50", Some("50")),
            ("50.0", Some("50")),
            ("12.499999999999998", Some("12.5")),
            ("1e1", Some("10")),
            (" 5 ", Some("5")),
            ("", None),
            ("five", None),
            ("-0.2", None),
            ("101", None),
            ("NaN", None),
        ] {
            assert_eq!(Percent::read(text).map(|percent| percent.to_string()).as_deref(), expected, "{text}");
        }
    }

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
