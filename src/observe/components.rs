//! The parts of a release beside its stage, as they are now, and whether they could be put back.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::try_join_all;

use crate::cloud::{Cloud, CloudError, LiveAlias, LiveMapping};
use crate::config::Config;
use crate::model::component::{AliasRef, Listed, MappingRef, MappingTarget};
use crate::model::release::{Release, StageRef};

/// What is known of the recorded deployment before anything is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeploymentNow {
    /// It was not asked for: the one call that sets it would be refused whole.
    #[default]
    NotAsked,
    /// A stage can serve it.
    There,
    /// It does not exist.
    Gone,
    /// It exists with this status, in which no stage can serve it.
    Undeployed(String),
}

/// The parts as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsNow {
    /// The listed aliases that exist.
    pub aliases: BTreeMap<AliasRef, LiveAlias>,
    /// The listed mappings that exist.
    pub mappings: BTreeMap<MappingRef, LiveMapping>,
    /// What does not exist.
    pub missing: Vec<Missing>,
    /// The listed aliases that a running CodeDeploy deployment moves.
    pub moving: Vec<AliasRef>,
    /// The recorded deployment.
    pub deployment: DeploymentNow,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// An alias.
    Alias(AliasRef),
    /// A mapping.
    Mapping(MappingRef),
}

/// A part that does not exist, or could not be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub part: Part,
    /// What is missing.
    pub why: String,
    /// Whether only what is recorded is gone, which does not keep the live release from being recorded.
    pub recorded: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Alias(alias) => write!(f, "the alias `{alias}` {}", self.why),
            Part::Mapping(mapping) => write!(f, "the mapping `{mapping}` {}", self.why),
        }
    }
}

impl PartsNow {
    /// Fills in what of a release is not in its stage.
    pub fn complete(&self, release: &mut Release) {
        let aliases = self.aliases.iter().map(|(alias, live)| (alias.clone(), live.target.clone()));
        let mappings = self.mappings.iter().map(|(mapping, live)| (mapping.clone(), live.target.clone()));
        (release.aliases, release.mappings) = (aliases.collect(), mappings.collect());
    }

    /// What is missing, in words.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.missing.iter().map(ToString::to_string).collect()
    }

    fn lacks(&mut self, part: Part, why: &str) {
        self.missing.push(Missing { part, why: why.to_owned(), recorded: false });
    }

    fn lost(&mut self, part: Part, why: String) {
        self.missing.push(Missing { part, why, recorded: true });
    }
}

/// Reads the listed parts, and whether the recorded ones could be put back: what they are to point at exists.
/// All at once.
///
/// # Errors
/// The first call that failed; "does not exist" is no failure.
pub async fn parts<C: Cloud>(
    cloud: &C,
    config: &Config,
    stage: &StageRef,
    listed: &Listed,
    recorded: Option<&Release>,
) -> Result<PartsNow, CloudError> {
    let none = Release::default();
    let recorded = recorded.unwrap_or(&none);
    let mut now = PartsNow::default();
    // A call to another region's function would be answered by ours, or refused with a riddle.
    let foreign = |alias: &&AliasRef| alias.region().is_some_and(|region| region != config.region);
    for alias in listed.aliases.iter().filter(foreign) {
        now.lacks(Part::Alias(alias.clone()), &format!("is not of region `{}`", config.region));
    }
    let aliases = listed.aliases.iter().filter(|alias| !foreign(alias)).map(|alias| async move {
        let version = recorded.aliases.get(alias).map(|target| target.version.as_str());
        let (live, lost) = tokio::try_join!(cloud.alias(alias), lost_version(cloud, alias, version))?;
        Ok::<_, CloudError>((alias, live, lost))
    });
    let mappings = listed.mappings.iter().map(|mapping| async move {
        let target = recorded.mappings.get(mapping);
        let live = cloud.mapping(stage.protocol, mapping);
        let (live, lost) = tokio::try_join!(live, lost_stage(cloud, stage, target))?;
        Ok::<_, CloudError>((mapping, live, lost))
    });
    let (aliases, mappings) = tokio::try_join!(try_join_all(aliases), try_join_all(mappings))?;
    for (alias, live, lost) in aliases {
        let part = Part::Alias(alias.clone());
        match (live, lost) {
            (None, _) => now.lacks(part, "does not exist"),
            (Some(live), lost) => {
                now.aliases.insert(alias.clone(), live);
                if let Some(version) = lost {
                    now.lost(part, format!("is to point at version {version}, which does not exist"));
                }
            }
        }
    }
    for (mapping, live, lost) in mappings {
        let part = Part::Mapping(mapping.clone());
        match (live, lost) {
            (None, _) => now.lacks(part, "does not exist"),
            (Some(live), lost) => {
                now.mappings.insert(mapping.clone(), live);
                if let Some(why) = lost {
                    now.lost(part, format!("is to point at {why}"));
                }
            }
        }
    }
    Ok(now)
}

/// Why a mapping cannot be recorded as it is: a stage of another kind of API, or none, is no way back.
///
/// # Errors
/// A failed call.
pub async fn strayed<C: Cloud>(
    cloud: &C,
    stage: &StageRef,
    parts: &PartsNow,
) -> Result<Vec<String>, CloudError> {
    let strayed = parts.mappings.iter().map(|(mapping, live)| async move {
        let lost = lost_stage(cloud, stage, Some(&live.target)).await?;
        Ok(lost.map(|why| format!("the mapping `{mapping}` points at {why}")))
    });
    Ok(try_join_all(strayed).await?.into_iter().flatten().collect())
}

/// What is wrong with the target of a mapping, if anything.
async fn lost_stage<C: Cloud>(
    cloud: &C,
    stage: &StageRef,
    target: Option<&MappingTarget>,
) -> Result<Option<String>, CloudError> {
    let Some(target) = target else { return Ok(None) };
    let to = StageRef::new(stage.protocol, &target.api, &target.stage);
    let is_there = to == *stage || (!target.stage.is_empty() && cloud.stage(&to).await?.is_some());
    Ok((!is_there).then(|| format!("`{target}`, which is no stage of a {} API", stage.protocol)))
}

/// The version, if the alias's function does not have it.
async fn lost_version<'a, C: Cloud>(
    cloud: &C,
    alias: &AliasRef,
    version: Option<&'a str>,
) -> Result<Option<&'a str>, CloudError> {
    match version {
        Some(version) if !cloud.has_version(alias, version).await? => Ok(Some(version)),
        Some(_) | None => Ok(None),
    }
}

/// The listed aliases that a running CodeDeploy deployment moves.
pub(super) async fn moving<C: Cloud>(cloud: &C, listed: &Listed) -> Result<Vec<AliasRef>, CloudError> {
    if listed.aliases.is_empty() {
        return Ok(vec![]);
    }
    let moving = cloud.moving_aliases().await?;
    let is_moving = |alias: &&AliasRef| {
        moving.iter().any(|(function, name)| function == alias.name() && *name == alias.alias)
    };
    Ok(listed.aliases.iter().filter(is_moving).cloned().collect())
}

/// What is known of the recorded deployment, where it is asked for.
pub(super) async fn deployment<C: Cloud>(
    cloud: &C,
    stage: &StageRef,
    recorded: Option<&Release>,
) -> Result<DeploymentNow, CloudError> {
    let Some(recorded) = recorded else { return Ok(DeploymentNow::NotAsked) };
    Ok(match cloud.deployment(stage, &recorded.deployment).await? {
        None => DeploymentNow::Gone,
        Some(found) => found.undeployed.map_or(DeploymentNow::There, DeploymentNow::Undeployed),
    })
}
