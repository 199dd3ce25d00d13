//! The port's verbs that only the doctor needs: reads of the function, its role and its topic. None of them writes.

use std::collections::BTreeMap;

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
    /// The log group, if Lambda says so.
    pub log_group: Option<String>,
}

/// One subscription to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The protocol: `lambda`, `email`, `https` and so on.
    pub protocol: String,
    /// The endpoint: a function's ARN, an email address, a URL.
    pub endpoint: String,
    /// Whether the subscriber has confirmed the subscription.
    pub confirmed: bool,
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

    /// Reads a function's resource policy as JSON (`GetPolicy`). Returns `None` if it has none.
    fn function_policy(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// Reads the subscriptions to a topic (`ListSubscriptionsByTopic`, every page). Returns `None` if the topic does
    /// not exist.
    fn subscriptions(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Option<Vec<Subscription>>, CloudError>> + Send;

    /// Returns whether an event bus exists (`DescribeEventBus`). `PutEvents` to a bus that does not exist succeeds.
    fn has_event_bus(&self, bus: &str) -> impl Future<Output = Result<bool, CloudError>> + Send;

    /// Returns the calls that a role is not allowed to make (`SimulatePrincipalPolicy`). Makes none of them.
    fn refused(
        &self,
        role: &str,
        required_permissions: &[RequiredPermission],
    ) -> impl Future<Output = Result<Vec<RequiredPermission>, CloudError>> + Send;
}
