//! Reads the components of a release, and whether a rollback could restore the recorded ones.

use futures_util::future::try_join_all;

use crate::cloud::{Components, Gateway};
use crate::config::Config;
use crate::model::cloud_error::CloudError;
use crate::model::component::{AliasRef, ListedComponents, MappingTarget};
use crate::model::observed::{Component, DeploymentNow, LiveComponents};
use crate::model::release::Release;
use crate::model::stage::StageRef;

/// Reads the listed components at the same time (`GetAlias`, `GetBasePathMapping` or `GetApiMappings`, `GetDomainName`).
/// Also reads whether the targets of the recorded ones still exist (`GetFunctionConfiguration`, `GetStage`).
///
/// # Errors
/// The first call that failed. A component that does not exist is not an error.
pub async fn components<C: Gateway + Components>(
    cloud: &C,
    config: &Config,
    stage: &StageRef,
    listed: &ListedComponents,
    recorded: Option<&Release>,
) -> Result<LiveComponents, CloudError> {
    let none = Release::default();
    let recorded = recorded.unwrap_or(&none);
    let mut now = LiveComponents::default();
    // Lambda would answer with this Region's function of the same name, or refuse the call with an unclear message.
    let foreign = |alias: &&AliasRef| alias.region().is_some_and(|region| region != config.region);
    for alias in listed.aliases.iter().filter(foreign) {
        now.lacks(Component::Alias(alias.clone()), &format!("is not in Region `{}`", config.region));
    }
    let aliases = listed.aliases.iter().filter(|alias| !foreign(alias)).map(|alias| async move {
        let version = recorded.aliases.get(alias).map(|target| target.version.as_str());
        let (live, lost) = tokio::try_join!(cloud.alias(alias), lost_version(cloud, alias, version))?;
        Ok::<_, CloudError>((alias, live, lost))
    });
    let mappings = listed.mappings.iter().map(|mapping| async move {
        let target = recorded.mappings.get(mapping);
        let live = cloud.mapping(stage.protocol, mapping);
        let routing = cloud.routing(stage.protocol, mapping);
        let (live, routing, lost) =
            tokio::try_join!(live, routing, lost_stage(cloud, config, stage, target))?;
        Ok::<_, CloudError>((mapping, live, routing, lost))
    });
    let (aliases, mappings) = tokio::try_join!(try_join_all(aliases), try_join_all(mappings))?;
    for (alias, live, lost) in aliases {
        let component = Component::Alias(alias.clone());
        match (live, lost) {
            (None, _) => now.lacks(component, "does not exist"),
            (Some(live), lost) => {
                now.aliases.insert(alias.clone(), live);
                if let Some(version) = lost {
                    now.lost(component, format!("must point to version {version}, which does not exist"));
                }
            }
        }
    }
    for (mapping, live, routing, lost) in mappings {
        now.overridden.extend(routing.overrides(mapping).map(|why| (mapping.clone(), why)));
        let component = Component::Mapping(mapping.clone());
        match (live, lost) {
            (None, _) => now.lacks(component, "does not exist"),
            (Some(live), lost) => {
                now.mappings.insert(mapping.clone(), live);
                if let Some(why) = lost {
                    now.lost(component, format!("must point to {why}"));
                }
            }
        }
    }
    Ok(now)
}

/// Returns a reason for each mapping that cannot be recorded as it is now (`GetStage`). Its target is not a stage of an
/// API of this protocol, so a rollback could not restore it.
///
/// # Errors
/// A failed call.
pub async fn stray_mappings<C: Gateway + Components>(
    cloud: &C,
    config: &Config,
    stage: &StageRef,
    components: &LiveComponents,
) -> Result<Vec<String>, CloudError> {
    let stray_mappings = components.mappings.iter().map(|(mapping, live)| async move {
        let lost = lost_stage(cloud, config, stage, Some(&live.target)).await?;
        Ok(lost.map(|why| format!("the mapping `{mapping}` points to {why}")))
    });
    Ok(try_join_all(stray_mappings).await?.into_iter().flatten().collect())
}

/// Reads whether the target of a mapping exists, and returns the problem if it does not (`GetStage`). A record can name any
/// API, but a domain's requests go only to APIs of the settings.
async fn lost_stage<C: Gateway + Components>(
    cloud: &C,
    config: &Config,
    stage: &StageRef,
    target: Option<&MappingTarget>,
) -> Result<Option<String>, CloudError> {
    let Some(target) = target else { return Ok(None) };
    if !config.may_map_to(&target.api, stage) {
        return Ok(Some(format!("`{target}`, whose API is not in PROTECTED_STAGES")));
    }
    let to = StageRef::new(stage.protocol, &target.api, &target.stage);
    let is_there = to == *stage || (!target.stage.is_empty() && cloud.stage(&to).await?.is_some());
    Ok((!is_there).then(|| format!("`{target}`, which is not a stage of a {} API", stage.protocol)))
}

/// Returns the version if the alias's function does not have it (`GetFunctionConfiguration`).
async fn lost_version<'a, C: Gateway + Components>(
    cloud: &C,
    alias: &AliasRef,
    version: Option<&'a str>,
) -> Result<Option<&'a str>, CloudError> {
    match version {
        Some(version) if !cloud.has_version(alias, version).await? => Ok(Some(version)),
        Some(_) | None => Ok(None),
    }
}

/// Reads which listed aliases a running CodeDeploy deployment moves (`ListDeployments` and its details).
pub(super) async fn moving_aliases<C: Gateway + Components>(
    cloud: &C,
    listed: &ListedComponents,
) -> Result<Vec<AliasRef>, CloudError> {
    if listed.aliases.is_empty() {
        return Ok(vec![]);
    }
    let moving = cloud.moving_aliases().await?;
    let is_moving = |alias: &&AliasRef| {
        moving.iter().any(|(function, name)| function == alias.name() && *name == alias.alias)
    };
    Ok(listed.aliases.iter().filter(is_moving).cloned().collect())
}

/// Reads the recorded deployment, if there is one to read (`GetDeployment`).
pub(super) async fn recorded_deployment<C: Gateway + Components>(
    cloud: &C,
    stage: &StageRef,
    recorded: Option<&Release>,
) -> Result<DeploymentNow, CloudError> {
    let Some(recorded) = recorded else { return Ok(DeploymentNow::NotAsked) };
    Ok(DeploymentNow::from_answer(cloud.deployment(stage, &recorded.deployment).await?.as_ref()))
}
