//! The port's verbs for APIs, and for stages, their deployments and caches (`apigateway`, `apigatewayv2`).

use std::collections::BTreeMap;

use super::{Look, Seen};
use crate::model::cloud_error::CloudError;
use crate::model::plan::StageChange;
use crate::model::protocol::Protocol;
use crate::model::release::Release;
use crate::model::stage::{Api, Deployment, LiveStage, StageRef};

/// A cache of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// The cache of responses.
    Answers,
    /// The cache of authorizers' decisions.
    Authorizers,
}

/// APIs, and stages with their deployments and caches (`apigateway`, `apigatewayv2`).
///
/// # Errors
/// Each verb fails if API Gateway refuses the call or does not answer before the deadline.
pub trait Gateway: Sync {
    /// Reads a stage (`GetStage`), for a change that may follow.
    fn look(&self, stage: &StageRef) -> impl Future<Output = Result<Look, CloudError>> + Send;

    /// Reads a stage (`GetStage`), unless requests of other runs make it or the alarm's read wait; then returns `None`. A
    /// stage that is read long before the alarm has to be read again.
    fn look_at_once(&self, stage: &StageRef)
    -> impl Future<Output = Result<Option<Look>, CloudError>> + Send;

    /// Reads a stage (`GetStage`). Returns `None` if the API or the stage does not exist.
    fn stage(&self, stage: &StageRef) -> impl Future<Output = Result<Option<LiveStage>, CloudError>> + Send {
        async { Ok(self.look(stage).await?.live) }
    }

    /// Reads every stage of an API (`GetStages`, every page). Returns none if the API does not exist.
    fn stages(
        &self,
        protocol: Protocol,
        api: &str,
    ) -> impl Future<Output = Result<Vec<(StageRef, LiveStage)>, CloudError>> + Send;

    /// Makes the whole change in one call, which is sent once (`UpdateStage`). If the stage was seen too long ago, looks
    /// at it again first (`GetStage`). Returns the stage after the call.
    ///
    /// # Errors
    /// [`Conflict`](crate::model::cloud_error::Failure::Conflict) if the stage does not serve what was seen any more, if
    /// another change of the API is in progress (409), or if AWS throttles the call;
    /// [`Refused`](crate::model::cloud_error::Failure::Refused) if API Gateway does not accept the change (400).
    fn change_stage(
        &self,
        stage: &StageRef,
        change: &StageChange,
        seen: Seen<'_, Release>,
    ) -> impl Future<Output = Result<LiveStage, CloudError>> + Send;

    /// Creates a stage with these tags on an existing deployment (`CreateStage`).
    ///
    /// # Errors
    /// [`Conflict`](crate::model::cloud_error::Failure::Conflict) if the stage exists (409).
    fn create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
        tags: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Reads a deployment of the stage's API (`GetDeployment`). Returns `None` if it does not exist.
    fn deployment(
        &self,
        stage: &StageRef,
        deployment: &str,
    ) -> impl Future<Output = Result<Option<Deployment>, CloudError>> + Send;

    /// Reads a REST API (`GetRestApi`). Returns `None` if it does not exist.
    fn rest_api(&self, id: &str) -> impl Future<Output = Result<Option<Api>, CloudError>> + Send;

    /// Reads an HTTP or WebSocket API (`GetApi`). Returns `None` if it does not exist.
    fn v2_api(&self, id: &str) -> impl Future<Output = Result<Option<Api>, CloudError>> + Send;

    /// Reads every REST API of the account and Region (`GetRestApis`, every page).
    fn rest_apis(&self) -> impl Future<Output = Result<Vec<Api>, CloudError>> + Send;

    /// Reads every HTTP and WebSocket API of the account and Region (`GetApis`, every page).
    fn v2_apis(&self) -> impl Future<Output = Result<Vec<Api>, CloudError>> + Send;

    /// Reads whether any authorizer of a REST API caches its decisions (`GetAuthorizers`).
    fn caches_decisions(&self, api: &str) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// Empties a cache of a REST stage (`FlushStageCache` or `FlushStageAuthorizersCache`).
    fn flush(&self, stage: &StageRef, cache: Cache) -> impl Future<Output = Result<(), CloudError>> + Send;
}
