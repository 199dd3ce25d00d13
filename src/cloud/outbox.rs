//! The port's verbs for what the function sends: notifications, events, and calls of the hook.

use crate::model::cloud_error::CloudError;

/// One notification, as one text for each kind of reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The subject of an email: one line of printable ASCII, at most 100 characters.
    pub subject: String,
    /// The text for email, and for every protocol without a text of its own.
    pub text: String,
    /// The text for chat, which HTTPS subscriptions get: JSON in the schema of Amazon Q Developer in chat applications.
    pub chat: String,
    /// The report as JSON, which queues and functions get.
    pub report: String,
}

/// What the function sends: notifications, events, and calls of the hook.
///
/// # Errors
/// Each verb fails if AWS refuses the call or does not answer before the deadline.
pub trait Outbox: Sync {
    /// Publishes a notification to an SNS topic (`Publish`). The subscription's protocol selects the text.
    fn publish(
        &self,
        topic: &str,
        notification: &Notification,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Sends one event to an EventBridge bus (`PutEvents`); `kind` is its detail type, `detail` its JSON.
    ///
    /// # Errors
    /// Also if EventBridge accepts the call and refuses the event.
    fn put_event(
        &self,
        bus: &str,
        kind: &str,
        detail: &str,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Invokes a function with a JSON payload (`Invoke`), asynchronously unless `wait` is set.
    ///
    /// # Errors
    /// Also if the function fails while the run waits for it.
    fn invoke(
        &self,
        function: &str,
        payload: &str,
        wait: bool,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;
}
