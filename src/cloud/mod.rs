//! The one port: every call to AWS, in our own words. `cloud/aws.rs` is the real one; the tests have an
//! in-memory twin. A verb does one thing and decides nothing.

pub mod aws;
pub mod diagnostics;
pub mod pace;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::alarm::{Alarm, Metric, State};
use crate::model::component::{AliasRef, AliasTarget, MappingRef, MappingTarget};
use crate::model::release::{Canary, Protocol, Release, StageRef};

/// A stage as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that API Gateway tells by itself")]
pub struct LiveStage {
    /// What it serves; as the port tells it, only what is in the stage itself.
    pub release: Release,
    /// When anything of the stage was last changed, by anybody.
    pub updated_at: Option<DateTime<Utc>>,
    /// Its description.
    pub description: String,
    /// Whether it lets no request through (throttling rate 0 for every method), as parked stages do.
    pub closed: bool,
    /// Whether it has a cache that is on. REST only.
    pub cache: bool,
    /// Whether API Gateway deploys every change to it by itself, and so takes no deployment from anybody.
    /// HTTP and WebSocket only.
    pub auto_deploy: bool,
    /// Whether API Gateway manages it (quick create), so that nobody can change it. HTTP only.
    pub managed: bool,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// When it was made.
    pub created: Option<DateTime<Utc>>,
    /// Its status where it is not deployed (`PENDING`, `FAILED`), so that no stage can serve it. HTTP and
    /// WebSocket only.
    pub undeployed: Option<String>,
}

/// A Lambda alias as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveAlias {
    /// What it points at.
    pub target: AliasTarget,
    /// Its revision: a change that names another one is refused.
    pub revision: String,
}

/// A mapping of a custom domain as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveMapping {
    /// What it points at.
    pub target: MappingTarget,
    /// Its id; API mappings only.
    pub id: Option<String>,
}

/// A cache of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Of answers.
    Answers,
    /// Of what authorizers decided.
    Authorizers,
}

/// An API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its kind.
    pub protocol: Protocol,
    /// Its id.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
}

/// One change of one stage, sent as one `UpdateStage`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageChange {
    /// Take the canary off. Sent first: API Gateway refuses another deployment while a canary is on.
    pub remove_canary: bool,
    /// Put this canary on. Sent last; only for undoing.
    pub put_canary: Option<Canary>,
    /// Switch AutoDeploy off: while it is on, API Gateway refuses every deployment.
    pub stop_auto_deploy: bool,
    /// Point the stage at this deployment.
    pub deployment: Option<String>,
    /// Stage variables to add or replace. For HTTP and WebSocket all of them, where any differs: whether the
    /// rest would stay is not documented.
    pub set: BTreeMap<String, String>,
    /// Stage variables to remove.
    pub remove: Vec<String>,
    /// Let no request through: throttling rate and burst 0 for every method. For parked stages.
    pub close: bool,
}

/// A parameter of SSM Parameter Store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, without a version.
    pub name: String,
    /// Its value.
    pub value: String,
    /// This value's version, counted from 1.
    pub version: i64,
}

/// How a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Only if there is none of the name: the one atomic create that SSM has.
    Create,
    /// As a new version.
    Overwrite,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored, as this version.
    Version(i64),
    /// [`Write::Create`] found the name taken; nothing was written.
    Exists,
}

/// One piece of news, in the words of each who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One line of printable ASCII, at most 100 characters: an e-mail's subject.
    pub subject: String,
    /// For people: e-mail, and whatever has no text of its own.
    pub text: String,
    /// For chat, in the schema of Amazon Q Developer in chat applications: what HTTPS subscriptions get.
    pub chat: String,
    /// For programs, the report as JSON: what queues and functions get.
    pub report: String,
}

/// How much was asked of AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls.
    pub calls: u64,
    /// Times a call was sent again.
    pub retries: u64,
}

/// An alarm as CloudWatch has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNow {
    /// The alarm.
    pub alarm: Alarm,
    /// Whether its actions run at all.
    pub actions_enabled: bool,
    /// The ARNs it notifies or invokes when it goes to ALARM.
    pub actions: Vec<String>,
    /// How far back one evaluation looks: period times evaluation periods. Zero for composite alarms.
    pub window: TimeDelta,
}

/// The calls. Each returns a [`CloudError`] where AWS says no or does not answer in time.
pub trait Cloud: Sync {
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

    /// `GetAuthorizers`: whether any authorizer of the stage's API keeps its decisions for some time.
    fn caches_decisions(&self, api: &str) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// `FlushStageCache` or `FlushStageAuthorizersCache`.
    fn flush(&self, stage: &StageRef, cache: Cache) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// `GetParameters`, at most ten names, each with `:version` or without; missing ones are left out.
    fn parameters(&self, names: &[String])
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `GetParametersByPath`, recursive, every page.
    fn parameters_under(&self, path: &str)
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `GetParameterHistory`, every page, oldest first; empty where there is no such parameter.
    fn history(&self, name: &str) -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `PutParameter`.
    fn put_parameter(
        &self,
        name: &str,
        value: &str,
        write: Write,
    ) -> impl Future<Output = Result<Written, CloudError>> + Send;

    /// `DescribeAlarms` by name, metric and composite alarms alike; unknown ones are left out.
    fn alarms(&self, names: &[String]) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarms`, every alarm of the account and region one of whose actions begins with this ARN.
    fn alarms_acting(&self, action: &str) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarms`, every alarm of the account and region.
    fn all_alarms(&self) -> impl Future<Output = Result<Vec<AlarmNow>, CloudError>> + Send;

    /// `DescribeAlarmHistory`: every state that an alarm left or reached since then.
    fn states_since(
        &self,
        alarm: &str,
        since: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<State>, CloudError>> + Send;

    /// `Publish`: tells people. The texts go out by the subscription's protocol.
    fn publish(&self, topic: &str, notice: &Notice) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// `PutEvents` with one event; `detail` is its JSON text.
    fn put_event(
        &self,
        bus: &str,
        kind: &str,
        detail: &str,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// `Invoke` with this JSON text. Waited for, a function that fails is an error; not waited for, it is called
    /// asynchronously.
    fn invoke(
        &self,
        function: &str,
        payload: &str,
        wait: bool,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// `DeleteParameter`; one that is not there is no error.
    fn delete_parameter(&self, name: &str) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// What this run has asked of AWS so far.
    fn spent(&self) -> Spent;

    /// `GetMetricData`: how many samples these metrics had in that time, all together.
    fn samples(
        &self,
        metrics: &[Metric],
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<f64, CloudError>> + Send;
}

/// What kind of failure a call met, as far as the engine acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 409, or 412 for an alias: somebody else changes the same thing. The SDK does not retry it.
    Conflict,
    /// 400: API Gateway does not accept the request as it is.
    Refused,
    /// 404: it does not exist.
    Missing,
    /// No answer: time-out, or the connection broke. The call may have had its effect.
    NoAnswer,
    /// Anything else AWS says, throttling and its own faults after all retries included.
    Other,
}

/// A failed call: which, on what, and AWS's own code and message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CloudError {
    /// The kind.
    pub failure: Failure,
    /// The operation, in AWS's spelling.
    pub operation: &'static str,
    /// What it was done on.
    pub subject: String,
    /// AWS's error code, or ours for what never reached AWS.
    pub code: String,
    /// AWS's message.
    pub message: String,
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failure: _, operation, subject, code, message } = self;
        write!(f, "{operation} on `{subject}` failed: {code}: {message}")
    }
}

impl CloudError {
    /// Whether AWS says that we may not, or not with these credentials.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        // Which of them API Gateway's management calls use is not documented.
        let denials = [
            "AccessDeniedException",
            "AccessDenied",
            "UnauthorizedException",
            "ForbiddenException",
            "HTTP 403",
        ];
        denials.contains(&self.code.as_str())
    }

    /// What a person can do about it; empty where the message says it all.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self.code.as_str() {
            _ if self.is_denial() => {
                "let the function's role do this call: the template's policies list what it needs"
            }
            "TooManyRequestsException" | "ThrottlingException" | "LimitExceededException" | "Throttling" => {
                "the account's request quota is used up by others: wait, or send the command again"
            }
            "ExpiredTokenException" | "UnrecognizedClientException" => "renew the credentials",
            _ => "",
        }
    }
}
