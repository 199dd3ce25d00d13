//! A release and its fingerprint. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};

/// Everything that decides what a stage serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Release {
    /// The deployment's id.
    pub deployment: String,
    /// The stage variables.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The canary, if the stage has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The Lambda aliases that belong to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<AliasRef, AliasTarget>,
    /// The mappings of custom domains that belong to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<MappingRef, MappingTarget>,
}

/// A canary on a REST stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Canary {
    /// The canary's deployment; API Gateway may omit it.
    pub deployment: Option<String>,
    /// The share of the traffic it gets, in percent, as API Gateway prints it.
    pub percent: String,
    /// The stage variables that the canary overrides.
    #[serde(default)]
    pub overrides: BTreeMap<String, String>,
    /// Whether the canary uses the stage's cache.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uses_cache: bool,
}

impl Release {
    /// Returns the release without its components: the values of the stage itself.
    #[must_use]
    pub fn in_stage(&self) -> Self {
        Self { aliases: BTreeMap::new(), mappings: BTreeMap::new(), ..self.clone() }
    }

    /// Returns what a stage that serves `live` will serve after a rollback to this recorded release. Components that
    /// the record does not name stay as they are, and components that are not live are left out.
    #[must_use]
    pub fn over(&self, live: &Self) -> Self {
        let mut restored = self.clone();
        restored.aliases = live.aliases.clone();
        restored.mappings = live.mappings.clone();
        let aliases = self.aliases.iter().filter(|(alias, _)| live.aliases.contains_key(*alias));
        restored.aliases.extend(aliases.map(|(alias, target)| (alias.clone(), target.clone())));
        let mappings = self.mappings.iter().filter(|(mapping, _)| live.mappings.contains_key(*mapping));
        restored.mappings.extend(mappings.map(|(mapping, target)| (mapping.clone(), target.clone())));
        restored
    }

    /// Returns a short stable name: the first 12 hexadecimal digits of SHA-256 over everything in the release.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // Each text is preceded by its length, so that different releases never produce the same bytes.
        let mut hash = Sha256::new();
        let mut put = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        put(&self.deployment);
        put(&self.variables.len().to_string());
        self.variables.iter().for_each(|(name, value)| {
            put(name);
            put(value);
        });
        if let Some(canary) = &self.canary {
            put(canary.deployment.as_deref().unwrap_or_default());
            put(&canary.percent);
            canary.overrides.iter().for_each(|(name, value)| {
                put(name);
                put(value);
            });
        }
        for (alias, target) in &self.aliases {
            put(&format!("alias {alias}"));
            put(&target.to_string());
        }
        for (mapping, target) in &self.mappings {
            put(&format!("mapping {mapping}"));
            put(&target.to_string());
        }
        hash.finalize().iter().take(6).fold(String::new(), |print, byte| print + &format!("{byte:02x}"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deployment `{}`", self.deployment)?;
        self.aliases.iter().try_for_each(|(alias, target)| write!(f, " with `{alias}` at {target}"))?;
        self.mappings.iter().try_for_each(|(mapping, target)| write!(f, " with `{mapping}` at {target}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(deployment: &str, variables: &[(&str, &str)]) -> Release {
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Release { deployment: deployment.into(), variables, ..Release::default() }
    }

    fn with(aliases: &[(&str, &str)], mappings: &[(&str, &str)]) -> Release {
        let target = |version: &str| AliasTarget { version: version.into(), weights: BTreeMap::new() };
        let to = |stage: &str| MappingTarget { api: "a".into(), stage: stage.into() };
        Release {
            aliases: aliases.iter().map(|(a, v)| (a.parse().unwrap(), target(v))).collect(),
            mappings: mappings.iter().map(|(m, stage)| (m.parse().unwrap(), to(stage))).collect(),
            ..release("d1", &[])
        }
    }

    #[test]
    fn components_that_a_record_does_not_name_stay_as_they_are() {
        let recorded = with(&[("orders:live", "1"), ("gone:live", "1")], &[]);
        let live = with(&[("orders:live", "2"), ("new:live", "7")], &[("api.example.com", "green")]);
        let back = with(&[("orders:live", "1"), ("new:live", "7")], &[("api.example.com", "green")]);
        assert_eq!(recorded.over(&live), back);
        assert_eq!(recorded.over(&back), back);
    }

    #[test]
    fn a_fingerprint_is_stable_and_depends_on_every_field() {
        assert_eq!(release("d1", &[("release", "1")]).fingerprint(), "2f6b7efdf195");
        let canary = Canary {
            deployment: Some("d2".into()),
            percent: "10".into(),
            overrides: BTreeMap::new(),
            uses_cache: false,
        };
        let all = [
            release("d1", &[]),
            release("d2", &[]),
            release("d1", &[("a", "b")]),
            release("d1", &[("ab", "")]),
            release("d1", &[("a", "b"), ("c", "d")]),
            Release { canary: Some(canary.clone()), ..release("d1", &[]) },
            Release { canary: Some(Canary { percent: "20".into(), ..canary }), ..release("d1", &[]) },
            with(&[("orders:live", "1")], &[]),
            with(&[("orders:live", "2")], &[]),
            with(&[("orders:live", "1")], &[("api.example.com", "blue")]),
            with(&[], &[("api.example.com", "blue")]),
            with(&[], &[("api.example.com", "green")]),
        ];
        let mut prints: Vec<String> = all.iter().map(Release::fingerprint).collect();
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), all.len());
    }
}
