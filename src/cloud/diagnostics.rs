//! The port's verbs that only the doctor needs: reads of the function, its role and its topic. None of them writes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::model::alarm::Metric;
use crate::model::cloud_error::CloudError;

/// The function as Lambda describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionNow {
    /// Its ARN, without a version or an alias.
    pub arn: String,
    /// The ARN of its execution role.
    pub role: String,
    /// `Active`, `Inactive`, `Pending` or `Failed`, if Lambda says so.
    pub state: Option<String>,
    /// Why it is in this state, if Lambda says so.
    pub why: Option<String>,
    /// Its environment variables, which are the settings.
    pub variables: BTreeMap<String, String>,
    /// Why Lambda hides the variables, if it does.
    pub hidden: Option<String>,
    /// The log group that its settings name; Lambda's default if they name none.
    pub log_group: Option<String>,
    /// The ARN of its dead-letter target, if any.
    pub dead_letter: Option<String>,
}

impl FunctionNow {
    /// Returns its name, the last part of its ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or_default()
    }
}

/// One schedule of EventBridge Scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// When it runs, such as `rate(5 minutes)`.
    pub expression: String,
    /// The event that it sends, such as `{"command":"sweep"}`; empty if it names none.
    pub input: String,
}

/// The class of a log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogClass {
    /// `STANDARD`, the only one in which CloudWatch extracts metrics. Also a group for which CloudWatch Logs names none,
    /// because this is the default.
    Standard,
    /// Another one, such as `INFREQUENT_ACCESS`.
    Other(String),
}

impl LogClass {
    /// Parses CloudWatch's spelling.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("STANDARD") => Self::Standard,
            Some(other) => Self::Other(other.to_owned()),
        }
    }
}

/// A call that the function's role must be allowed to make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredPermission {
    /// The action in IAM's spelling, such as `apigateway:PATCH`.
    pub action: &'static str,
    /// The ARN of the resource; `*` if the action has no resource in IAM.
    pub resource: String,
}

/// The doctor's own reads.
///
/// # Errors
/// Each verb fails if AWS refuses the call or does not answer before the deadline.
pub trait Diagnostics: Sync {
    /// Reads a function (`GetFunctionConfiguration`). Returns `None` if it does not exist.
    fn function(&self, name: &str) -> impl Future<Output = Result<Option<FunctionNow>, CloudError>> + Send;

    /// Reads a function's reserved concurrency, if any, in concurrent executions (`GetFunctionConcurrency`).
    fn reserved_concurrency(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<i32>, CloudError>> + Send;

    /// Reads the ARN to which Lambda sends an event that failed on every retry (`GetFunctionEventInvokeConfig`). Returns
    /// `None` if none is configured.
    fn on_failure(&self, function: &str) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// Counts the messages in a queue, also those that a reader holds (`GetQueueUrl`, `GetQueueAttributes`). SQS counts
    /// approximately. Returns `None` if the queue does not exist.
    fn messages(&self, queue: &str) -> impl Future<Output = Result<Option<u64>, CloudError>> + Send;

    /// Reads the class of the log group of exactly this name (`DescribeLogGroups`, every page). Returns `None` if the group
    /// does not exist.
    fn log_class(&self, name: &str) -> impl Future<Output = Result<Option<LogClass>, CloudError>> + Send;

    /// Reads the ARN of the role with which REST and WebSocket APIs of this account and Region write logs (`GetAccount` of
    /// API Gateway). Returns `None` if none is set.
    fn gateway_log_role(&self) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// Reads the schedules whose target is this function, or a version or an alias of it (`ListSchedules`, every page;
    /// `GetSchedule`). EventBridge Scheduler finds no schedule by its target, so this lists all of them.
    fn schedules(&self, function: &str) -> impl Future<Output = Result<Vec<Schedule>, CloudError>> + Send;

    /// Adds up a metric from `since` until `until` (`GetMetricData`, statistic `Sum`, every page). Returns `None` if it has
    /// no data.
    fn sum(
        &self,
        metric: &Metric,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Future<Output = Result<Option<f64>, CloudError>> + Send;

    /// Returns whether an event bus exists (`DescribeEventBus`). `PutEvents` to a bus that does not exist succeeds.
    fn has_event_bus(&self, bus: &str) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// Returns the calls that a role is not allowed to make (`SimulatePrincipalPolicy`). Makes none of them.
    fn refused(
        &self,
        role: &str,
        required_permissions: &[RequiredPermission],
    ) -> impl Future<Output = Result<Vec<RequiredPermission>, CloudError>> + Send;
}
