//! The port's outbox over the SDK: SNS, EventBridge, and the invocation of functions.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_lambda::types::InvocationType;
use aws_smithy_types::Blob;
use serde_json::json;

use super::Aws;
use crate::cloud::Notification;
use crate::cloud::Outbox;
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::sibling::SOURCE;

impl Outbox for Aws {
    async fn publish(&self, topic: &str, notification: &Notification) -> Result<(), CloudError> {
        // SNS selects the text by the subscription's protocol. Chat applications subscribe by HTTPS.
        let Notification { subject, text, chat, report } = notification;
        let texts = json!({
            "default": text, "email": text, "https": chat,
            "email-json": report, "http": report, "lambda": report, "sqs": report,
        });
        let call = self
            .clients
            .sns
            .publish()
            .topic_arn(topic)
            .subject(subject)
            .message_structure("json")
            .message(texts.to_string());
        self.call("Publish", topic, || call.clone().send()).await.map(|_| ())
    }

    async fn put_event(&self, bus: &str, kind: &str, detail: &str) -> Result<(), CloudError> {
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(kind)
            .detail(detail)
            .event_bus_name(bus)
            .build();
        let call = self.clients.eventbridge.put_events().entries(entry);
        let answer = self.call("PutEvents", bus, || call.clone().send()).await?;
        // EventBridge answers 200 even if it refuses the event.
        let refused = answer.entries().iter().find_map(|one| Some((one.error_code()?, one.error_message())));
        match refused {
            Some((code, message)) => {
                Err(refusal("PutEvents", bus, code, message.unwrap_or_default().to_owned()))
            }
            None => Ok(()),
        }
    }

    async fn invoke(&self, function: &str, payload: &str, wait: bool) -> Result<(), CloudError> {
        let kind = if wait { InvocationType::RequestResponse } else { InvocationType::Event };
        let call = self.clients.lambda.invoke();
        let call = call.function_name(function).invocation_type(kind).payload(Blob::new(payload));
        // A slow function must not be invoked twice; the caller decides how long to wait for it.
        let answer = self.once("Invoke", function, Box::pin(call.send())).await?;
        let Some(code) = answer.function_error() else { return Ok(()) };
        let described = answer.payload().map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned());
        // A function's error payload can be long.
        let described: String = described.unwrap_or_default().chars().take(300).collect();
        Err(refusal("Invoke", function, code, described))
    }
}

fn refusal(operation: &'static str, subject: &str, code: &str, message: String) -> CloudError {
    CloudError {
        failure: Failure::Other,
        operation,
        subject: subject.to_owned(),
        code: code.to_owned(),
        message,
    }
}
