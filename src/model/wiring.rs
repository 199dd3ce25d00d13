//! What leads from the alarms to the function, as AWS describes it.

use std::collections::BTreeMap;

use super::alarm::AlarmNow;
use super::cloud_error::Fetched;

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

/// A topic as SNS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicNow {
    /// Its policy as JSON, if it has one.
    pub policy: Option<String>,
    /// The id, ARN or alias of the KMS key that encrypts it, if any.
    pub key: Option<String>,
}

/// The alarm topic, the function's policy and the alarms at one moment. Each fact may have failed to be read.
#[derive(Clone, Debug)]
pub struct WiringNow {
    /// The alarm topic; `None` if there is no such topic.
    pub topic: Fetched<Option<TopicNow>>,
    /// The alarm topic's subscriptions; `None` if there is no such topic.
    pub subscriptions: Fetched<Option<Vec<Subscription>>>,
    /// The function's resource-based policy as JSON; `None` if it has none.
    pub policy: Fetched<Option<String>>,
    /// Every alarm of the account and Region.
    pub alarms: Fetched<Vec<AlarmNow>>,
    /// The number of samples of each guarding alarm's metrics in the last 24 hours, by the alarm's name. Alarms that have no
    /// metric to read are left out.
    pub samples: BTreeMap<String, Fetched<f64>>,
}
