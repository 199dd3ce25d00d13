//! The port's wiring over the SDK.

use super::Aws;
use super::call::{found, pages};
use crate::cloud::Wiring;
use crate::model::cloud_error::CloudError;
use crate::model::wiring::{Subscription, TopicNow};

impl Wiring for Aws {
    async fn function_policy(&self, function: &str) -> Result<Option<String>, CloudError> {
        let call = self.clients.lambda.get_policy().function_name(function);
        Ok(found(self.call("GetPolicy", function, || call.clone().send()).await)?
            .and_then(|answer| answer.policy))
    }

    async fn topic(&self, topic: &str) -> Result<Option<TopicNow>, CloudError> {
        let call = self.clients.sns.get_topic_attributes().topic_arn(topic);
        let answer = found(self.call("GetTopicAttributes", topic, || call.clone().send()).await)?;
        Ok(answer.map(|answer| {
            let mut attributes = answer.attributes.unwrap_or_default();
            let mut text = |name| attributes.remove(name).filter(|text| !text.is_empty());
            TopicNow { policy: text("Policy"), key: text("KmsMasterKeyId") }
        }))
    }

    async fn subscriptions(&self, topic: &str) -> Result<Option<Vec<Subscription>>, CloudError> {
        let page = self.clients.sns.list_subscriptions_by_topic().topic_arn(topic);
        let all = pages(|next| {
            let page = page.clone().set_next_token(next);
            async move {
                let answer = self.call("ListSubscriptionsByTopic", topic, || page.clone().send()).await?;
                Ok((answer.subscriptions.unwrap_or_default(), answer.next_token))
            }
        });
        let Some(all) = found(all.await)? else { return Ok(None) };
        let all = all.into_iter().map(|one| Subscription {
            protocol: one.protocol.unwrap_or_default(),
            endpoint: one.endpoint.unwrap_or_default(),
            // An unconfirmed subscription has the text `PendingConfirmation` instead of an ARN.
            confirmed: one.subscription_arn.is_some_and(|arn| arn.starts_with("arn:")),
        });
        Ok(Some(all.collect()))
    }
}
