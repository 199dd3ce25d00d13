//! What leaves the function: messages to people, events for programs, the calls of the hook.

use crate::model::cloud_error::CloudError;

/// One piece of news, in the words of each who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// One line of printable ASCII, at most 100 characters: an e-mail's subject.
    pub subject: String,
    /// For people: e-mail, and whatever has no text of its own.
    pub text: String,
    /// For chat, in the schema of Amazon Q Developer in chat applications: what HTTPS subscriptions get.
    pub chat: String,
    /// For programs, the report as JSON: what queues and functions get.
    pub report: String,
}

/// What leaves the function: messages to people, events for programs, the calls of the hook.
pub trait Outbox: Sync {
    /// `Publish`: tells people. The texts go out by the subscription's protocol.
    fn publish(
        &self,
        topic: &str,
        notice: &Notification,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

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
}
