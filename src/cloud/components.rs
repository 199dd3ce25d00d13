//! The port's verbs for the components of a release: Lambda aliases and the mappings of custom domains.

use super::Seen;
use crate::model::cloud_error::CloudError;
use crate::model::component::{AliasRef, AliasTarget, LiveAlias, LiveMapping, MappingRef, MappingTarget};
use crate::model::protocol::Protocol;
use crate::model::routing::Routing;

/// Lambda aliases and the mappings of custom domains.
///
/// # Errors
/// Each verb fails if AWS refuses the call or does not answer before the deadline.
pub trait Components: Sync {
    /// Reads an alias (`GetAlias`). Returns `None` if the function or the alias does not exist.
    fn alias(&self, alias: &AliasRef) -> impl Future<Output = Result<Option<LiveAlias>, CloudError>> + Send;

    /// Points an alias to another version if it still has this revision, in one call that is sent once (`UpdateAlias`).
    /// Returns the alias after the call.
    ///
    /// # Errors
    /// [`Conflict`](crate::model::cloud_error::Failure::Conflict) if the alias has another revision by now (412), or if
    /// AWS throttles the call.
    fn move_alias(
        &self,
        alias: &AliasRef,
        to: &AliasTarget,
        revision: &str,
    ) -> impl Future<Output = Result<LiveAlias, CloudError>> + Send;

    /// Reads whether the alias's function has this version (`GetFunctionConfiguration`).
    fn has_version(
        &self,
        alias: &AliasRef,
        version: &str,
    ) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// Reads which aliases running CodeDeploy deployments move, each as its function's name and its own
    /// (`ListDeployments`, `BatchGetDeployments`; for Lambda also `ListDeploymentTargets`,
    /// `BatchGetDeploymentTargets`).
    fn moving_aliases(&self) -> impl Future<Output = Result<Vec<(String, String)>, CloudError>> + Send;

    /// Reads a mapping (`GetBasePathMapping`; `GetApiMappings` if it is not a base path mapping, see
    /// [`MappingRef::is_base_path`]). Returns `None` if the domain or the mapping does not exist.
    fn mapping(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> impl Future<Output = Result<Option<LiveMapping>, CloudError>> + Send;

    /// Reads how a mapping's custom domain routes its requests (`GetDomainName`, and `ListRoutingRules` if it has rules,
    /// every page). A domain that does not exist has no rules.
    fn routing(
        &self,
        protocol: Protocol,
        mapping: &MappingRef,
    ) -> impl Future<Output = Result<Routing, CloudError>> + Send;

    /// Points a mapping to another stage, in one call that is sent once (`UpdateBasePathMapping`; `UpdateApiMapping` if it
    /// has an id). If the mapping was seen too long ago, reads it again first. Returns its target after the call.
    ///
    /// # Errors
    /// [`Conflict`](crate::model::cloud_error::Failure::Conflict) if the mapping does not point where it was seen to any
    /// more, or if AWS throttles the call.
    fn move_mapping(
        &self,
        mapping: &MappingRef,
        id: Option<&str>,
        to: &MappingTarget,
        seen: Seen<'_, MappingTarget>,
    ) -> impl Future<Output = Result<MappingTarget, CloudError>> + Send;
}
