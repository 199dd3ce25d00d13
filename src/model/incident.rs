//! The record of an incident, which always fits into a parameter. No I/O.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::records::{self, Stored, check_time};
use super::release::Release;
use super::stage::StageRef;

/// The most characters of a stage variable's value in an incident that keeps only a part of its releases.
const VALUE: usize = 60;

/// The most entries of each kind in such an incident, if all that differ are still too many.
const ENTRIES: usize = 4;

/// The record of an incident: one bad release on one stage. The run that wins the claim creates it, and no other run
/// overwrites it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The record's schema.
    pub schema: u32,
    /// The stage.
    pub stage: StageRef,
    /// The release that was rolled back.
    pub bad: KeptRelease,
    /// The known-good release that replaced it.
    pub good: KeptRelease,
    /// The version of the known-good record that was used.
    pub version: i64,
    /// When the stage was rolled back.
    pub at: DateTime<Utc>,
    /// Since when the bad release was live, according to API Gateway. If the release goes live again, this time
    /// distinguishes its incidents.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// Whether the run undid its steps because AWS refused one of them.
    #[serde(default)]
    pub undone: bool,
    /// The alarm's name, or the sender of the command.
    pub by: String,
    /// Whether an alarm was the trigger.
    #[serde(default)]
    pub by_alarm: bool,
    /// The Region of the sibling whose report was the trigger, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sibling: Option<String>,
    /// When the alarm fired.
    pub alarm_at: Option<DateTime<Utc>>,
    /// Whether the alarm accused the release by other data than API Gateway's own metrics of the stage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_source: bool,
    /// The reason given by the alarm or the operator.
    pub why: String,
    /// The run that rolled the stage back, to find its log.
    pub run: String,
    /// When the alarm returned to OK.
    #[serde(default)]
    pub recovered_at: Option<DateTime<Utc>>,
    /// The operator who took the bad release out of quarantine.
    #[serde(default)]
    pub lifted_by: Option<String>,
}

impl Stored for Incident {
    const WHAT: &'static str = "incident";

    fn check(&self) -> Result<(), String> {
        self.since.map_or(Ok(()), |at| check_time("since", at))
    }
}

/// A release as an incident keeps it: the whole one, or a part of it and the fingerprint of the whole one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRelease {
    /// What is kept.
    #[serde(flatten)]
    pub release: Release,
    /// The fingerprint of the whole release; `None` if all of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
}

impl From<Release> for KeptRelease {
    fn from(release: Release) -> Self {
        Self { release, part_of: None }
    }
}

impl KeptRelease {
    /// Returns the fingerprint of the whole release.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.part_of.clone().unwrap_or_else(|| self.release.fingerprint())
    }

    /// Whether it is this release.
    #[must_use]
    pub fn is(&self, release: &Release) -> bool {
        match &self.part_of {
            Some(fingerprint) => *fingerprint == release.fingerprint(),
            None => self.release == *release,
        }
    }

    /// Keeps a part of the whole release.
    fn part(&self, part: Release) -> Self {
        Self { release: part, part_of: Some(self.fingerprint()) }
    }
}

impl Incident {
    /// Returns the incident with as much of its releases as a parameter holds: everything, or only what differs between
    /// them, or some of that, or only their deployments. The fingerprints always stay.
    #[must_use]
    pub fn fitting(self) -> Self {
        let cuts: [fn(&Release, &Release) -> Release; 3] = [
            differing,
            |one, other| first(differing(one, other)),
            |one, _| Release { deployment: one.deployment.clone(), ..Release::default() },
        ];
        let mut fitting = self.clone();
        for cut in cuts {
            if records::print(&fitting).is_ok() {
                break;
            }
            let (bad, good) = (&self.bad.release, &self.good.release);
            fitting.bad = self.bad.part(cut(bad, good));
            fitting.good = self.good.part(cut(good, bad));
        }
        fitting
    }

    /// Whether it keeps both releases as a whole, so that a stage halfway between them can be recognized.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bad.part_of.is_none() && self.good.part_of.is_none()
    }
}

/// Returns what one release has and another one has not. Long values are cut.
fn differing(one: &Release, other: &Release) -> Release {
    let mut part = one.clone();
    part.variables.retain(|name, value| other.variables.get(name) != Some(value));
    part.aliases.retain(|alias, target| other.aliases.get(alias) != Some(target));
    part.mappings.retain(|mapping, target| other.mappings.get(mapping) != Some(target));
    let values = part.variables.values_mut();
    let overrides = part.canary.iter_mut().flat_map(|canary| canary.overrides.values_mut());
    for value in values.chain(overrides) {
        if let Some((end, _)) = value.char_indices().nth(VALUE) {
            value.truncate(end);
            value.push('…');
        }
    }
    part
}

/// Returns the first entries of each kind.
fn first(mut release: Release) -> Release {
    release.variables = release.variables.into_iter().take(ENTRIES).collect();
    release.aliases = release.aliases.into_iter().take(ENTRIES).collect();
    release.mappings = release.mappings.into_iter().take(ENTRIES).collect();
    if let Some(canary) = &mut release.canary {
        canary.overrides = std::mem::take(&mut canary.overrides).into_iter().take(ENTRIES).collect();
    }
    release
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::component::AliasTarget;
    use crate::model::records::{SCHEMA, parse, print};
    use crate::model::release::Canary;

    fn release(deployment: &str, variables: usize, value: &str, aliases: usize) -> Release {
        let target = AliasTarget { version: deployment.into(), weights: BTreeMap::new() };
        Release {
            deployment: deployment.into(),
            variables: (0..variables).map(|n| (format!("variable{n:02}"), value.to_owned())).collect(),
            aliases: (0..aliases)
                .map(|n| (format!("{}{n}:live", "f".repeat(60)).parse().unwrap(), target.clone()))
                .collect(),
            ..Release::default()
        }
    }

    fn with_canary(release: Release, value: &str) -> Release {
        let overrides = (0..9).map(|n| (format!("variable{n}"), value.to_owned())).collect();
        Release {
            canary: Some(Canary { deployment: None, percent: "10".into(), overrides, uses_cache: false }),
            ..release
        }
    }

    fn incident(bad: Release, good: Release, text: &str) -> Incident {
        Incident {
            schema: SCHEMA,
            stage: StageRef::rest("a1b2c3d4e5", "prod"),
            bad: bad.into(),
            good: good.into(),
            version: 3,
            at: DateTime::UNIX_EPOCH,
            since: None,
            undone: false,
            by: text.chars().take(255).collect(),
            by_alarm: true,
            sibling: None,
            alarm_at: None,
            other_source: false,
            why: text.to_owned(),
            run: "r".into(),
            recovered_at: None,
            lifted_by: None,
        }
    }

    #[test]
    fn an_incident_with_an_impossible_time_is_refused() {
        for (since, expected) in [("9999-12-31T23:59:59Z", true), ("+10000-01-01T00:00:00Z", false)] {
            let since = since.parse().ok();
            let printed =
                print(&Incident { since, ..incident(release("2", 0, "", 0), release("1", 0, "", 0), "x") });
            let read = parse::<Incident>(&printed.unwrap());
            assert_eq!(read.is_ok(), expected, "{read:?}");
        }
    }

    #[test]
    fn an_incident_of_any_size_fits_into_a_parameter_and_knows_its_releases() {
        let quotes = "\"".repeat(500);
        let (long, other) = ("x".repeat(480), "y".repeat(512));
        let controls = "\u{1}".repeat(512);
        for (case, bad, good, text, kept) in [
            ("small releases", release("d2", 3, "2", 1), release("d1", 3, "1", 1), "why", (3, 1)),
            (
                "variables that do not differ",
                release("d2", 14, &long, 1),
                release("d1", 14, &long, 0),
                "",
                (0, 1),
            ),
            ("long values", release("d2", 14, &long, 0), release("d1", 14, &other, 0), "", (14, 0)),
            (
                "as many variables as a stage can have",
                release("d2", 100, &long, 0),
                release("d1", 100, &other, 0),
                "",
                (4, 0),
            ),
            ("a hundred aliases", release("d2", 0, "", 100), release("d1", 0, "", 100), "", (0, 4)),
            ("a long reason", release("d2", 100, &long, 9), release("d1", 100, &other, 9), &quotes, (4, 4)),
            (
                "values that are long as JSON",
                release("d2", 100, &controls, 9),
                release("d1", 100, &other, 0),
                &controls,
                (0, 0),
            ),
        ] {
            let [bad, good] = [bad, good].map(|one| with_canary(one, text));
            let whole = incident(bad.clone(), good.clone(), text);
            let fits = whole.clone().fitting();
            let read: Incident = parse(&print(&fits).unwrap()).unwrap();
            assert_eq!(read, fits, "{case}");
            let parts = &fits.bad.release;
            assert_eq!((parts.variables.len(), parts.aliases.len()), kept, "{case}");
            assert!(read.bad.is(&bad) && read.good.is(&good), "{case}");
            assert!(!read.bad.is(&good) && !read.good.is(&bad), "{case}");
            assert_eq!((read.bad.fingerprint(), &read.by), (bad.fingerprint(), &whole.by), "{case}");
            assert_eq!(fits.is_whole(), fits == whole, "{case}");
        }
    }
}
