//! Stages, their deployments and caches, and APIs (`apigateway`, `apigatewayv2`).

use crate::model::cloud_error::CloudError;
use crate::model::plan::StageChange;
use crate::model::protocol::Protocol;
use crate::model::stage::{Api, Deployment, LiveStage, StageRef};

/// A cache of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Of answers.
    Answers,
    /// Of what authorizers decided.
    Authorizers,
}

/// Stages, their deployments and caches, and APIs (`apigateway`, `apigatewayv2`).
pub trait Gateway: Sync {
    /// `GetStage`; `None` where the API or the stage does not exist.
    fn stage(&self, stage: &StageRef) -> impl Future<Output = Result<Option<LiveStage>, CloudError>> + Send;

    /// `GetStages`: every stage of an API, every page; empty where there is no such API.
    fn stages(
        &self,
        protocol: Protocol,
        api: &str,
    ) -> impl Future<Output = Result<Vec<(StageRef, LiveStage)>, CloudError>> + Send;

    /// `UpdateStage`, one call for the whole change; the answer is the stage as it is then.
    fn change_stage(
        &self,
        stage: &StageRef,
        change: &StageChange,
    ) -> impl Future<Output = Result<LiveStage, CloudError>> + Send;

    /// `CreateStage` on an existing deployment.
    fn create_stage(
        &self,
        stage: &StageRef,
        deployment: &str,
        description: &str,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// `GetDeployment` on the stage's API; `None` where it does not exist.
    fn deployment(
        &self,
        stage: &StageRef,
        deployment: &str,
    ) -> impl Future<Output = Result<Option<Deployment>, CloudError>> + Send;

    /// `GetRestApi`; `None` where there is none of this id.
    fn rest_api(&self, id: &str) -> impl Future<Output = Result<Option<Api>, CloudError>> + Send;

    /// `GetApi`: an HTTP or WebSocket API; `None` where there is none of this id.
    fn v2_api(&self, id: &str) -> impl Future<Output = Result<Option<Api>, CloudError>> + Send;

    /// `GetRestApis`, every page.
    fn rest_apis(&self) -> impl Future<Output = Result<Vec<Api>, CloudError>> + Send;

    /// `GetApis`, every page.
    fn v2_apis(&self) -> impl Future<Output = Result<Vec<Api>, CloudError>> + Send;

    /// `GetAuthorizers`: whether any authorizer of the stage's API keeps its decisions for some time.
    fn caches_decisions(&self, api: &str) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// `FlushStageCache` or `FlushStageAuthorizersCache`.
    fn flush(&self, stage: &StageRef, cache: Cache) -> impl Future<Output = Result<(), CloudError>> + Send;
}
