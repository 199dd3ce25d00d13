//! The port's verbs for what leads from the alarms to the function: the topic's subscriptions and the function's policy.

use crate::model::cloud_error::CloudError;
use crate::model::wiring::{Subscription, TopicNow};

/// The topic's subscriptions and the function's policy (SNS, Lambda).
///
/// # Errors
/// Each verb fails if AWS refuses the call or does not answer before the deadline.
pub trait Wiring: Sync {
    /// Reads a function's resource policy as JSON (`GetPolicy`). Returns `None` if it has none.
    fn function_policy(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<String>, CloudError>> + Send;

    /// Reads a topic's policy and key (`GetTopicAttributes`). Returns `None` if the topic does not exist.
    fn topic(&self, topic: &str) -> impl Future<Output = Result<Option<TopicNow>, CloudError>> + Send;

    /// Reads the subscriptions to a topic (`ListSubscriptionsByTopic`, every page). Returns `None` if the topic does
    /// not exist.
    fn subscriptions(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Option<Vec<Subscription>>, CloudError>> + Send;
}
