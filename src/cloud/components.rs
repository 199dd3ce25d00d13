//! Lambda aliases and the mappings of custom domains.

use crate::model::cloud_error::CloudError;
use crate::model::component::{AliasRef, AliasTarget, LiveAlias, LiveMapping, MappingRef, MappingTarget};
use crate::model::protocol::Protocol;

/// Lambda aliases and the mappings of custom domains.
pub trait Components: Sync {
    /// `GetAlias`; `None` where the function or the alias does not exist.
    fn alias(&self, alias: &AliasRef) -> impl Future<Output = Result<Option<LiveAlias>, CloudError>> + Send;

    /// `UpdateAlias`, refused where the alias has another revision by now; the answer is the alias then.
    fn move_alias(
        &self,
        alias: &AliasRef,
        to: &AliasTarget,
        revision: &str,
    ) -> impl Future<Output = Result<LiveAlias, CloudError>> + Send;

    /// `GetFunctionConfiguration`: whether the alias's function has this version.
    fn has_version(
        &self,
        alias: &AliasRef,
        version: &str,
    ) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// The functions' names and aliases that running CodeDeploy deployments move: `ListDeployments` and
    /// `BatchGetDeployments`, then `ListDeploymentTargets` and `BatchGetDeploymentTargets` for those of Lambda.
    fn moving_aliases(&self) -> impl Future<Output = Result<Vec<(String, String)>, CloudError>> + Send;

    /// `GetBasePathMapping`, or `GetApiMappings` where [`MappingRef::is_base_path`] says no; `None` where the
    /// domain or the mapping does not exist.
    fn mapping(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> impl Future<Output = Result<Option<LiveMapping>, CloudError>> + Send;

    /// `UpdateBasePathMapping`, or `UpdateApiMapping` for one with an id; the answer is what it points at then.
    fn move_mapping(
        &self,
        mapping: &MappingRef,
        id: Option<&str>,
        to: &MappingTarget,
    ) -> impl Future<Output = Result<MappingTarget, CloudError>> + Send;
}
