//! The doctor's own reads, beside those of the one port: what is around the function and not in front of it.
//! `cloud/aws/clinic.rs` is the real one; the tests have an in-memory twin. None of them writes.

use std::collections::BTreeMap;

use crate::model::cloud_error::CloudError;

/// The function as Lambda has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionNow {
    /// Its ARN, without a version or an alias.
    pub arn: String,
    /// The ARN of the role that it runs with.
    pub role: String,
    /// `Active`, `Inactive`, `Pending` or `Failed`, where Lambda tells.
    pub state: Option<String>,
    /// Why it is in this state, where Lambda tells.
    pub why: Option<String>,
    /// Its environment variables: the settings.
    pub variables: BTreeMap<String, String>,
    /// Why Lambda does not show them, where it does not.
    pub hidden: Option<String>,
}

/// One subscription to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `lambda`, `email`, `https` and so on.
    pub protocol: String,
    /// The function's ARN, the address.
    pub endpoint: String,
    /// Whether who is behind the address has said yes.
    pub confirmed: bool,
}

/// A call that the function's role must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredPermission {
    /// The action in IAM's spelling, such as `apigateway:PATCH`.
    pub action: &'static str,
    /// The ARN that it is done on; `*` where IAM knows none.
    pub resource: String,
}

/// The reads. Each returns a [`CloudError`] where AWS says no or does not answer in time.
pub trait Diagnostics: Sync {
    /// `GetFunctionConfiguration`; `None` where there is no such function.
    fn function(&self, name: &str) -> impl Future<Output = Result<Option<FunctionNow>, CloudError>> + Send;

    /// `GetFunctionConcurrency`: the reserved concurrency, where there is one.
    fn reserved_concurrency(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<i32>, CloudError>> + Send;

    /// `GetPolicy`: the JSON text of who may call the function; `None` where nobody was ever allowed to.
    fn function_policy(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// `ListSubscriptionsByTopic`, every page; `None` where there is no such topic.
    fn subscriptions(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Option<Vec<Subscription>>, CloudError>> + Send;

    /// `SimulatePrincipalPolicy`: which of these calls a role is not allowed to do. Nothing is called.
    fn refused(
        &self,
        role: &str,
        required_permissions: &[RequiredPermission],
    ) -> impl Future<Output = Result<Vec<RequiredPermission>, CloudError>> + Send;
}
