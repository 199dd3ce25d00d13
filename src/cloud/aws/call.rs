//! One call to AWS: its place in the pace, its deadline, its result, and its repetition if AWS throttles it.

use std::error::Error as StdError;

use aws_sdk_ssm::config::http::HttpResponse;
use aws_sdk_ssm::config::interceptors::InterceptorContext;
use aws_sdk_ssm::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::retries::classifiers::{RetryClassifierPriority, RetryReason};
use aws_smithy_types::retry::ErrorKind;
use backon::BackoffBuilder;
use tokio::time::Instant;

use super::Aws;
use crate::cloud::pace::{self, Retries};
use crate::model::cloud_error::{CloudError, Failure};

impl Aws {
    /// Makes a call and names it in its error. Repeats a throttled call until the deadline, because hundreds of stages
    /// can share the same few requests per second; the error is then AWS's last one. A change that AWS throttles for
    /// too long ends as a conflict, because another caller may have changed the stage by then.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: &'static str,
        subject: &str,
        send: impl Fn() -> F,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let Retries { waits, patience } = pace::again(operation);
        let mut waits = waits.build();
        let patient_until = patience.map(|patience| Instant::now() + patience);
        let mut last_throttle = None;
        for attempt in 1.. {
            match (self.attempt(operation, subject, Box::pin(send())).await, last_throttle.take()) {
                (Err(error), _) if is_throttled(&error, attempt) => last_throttle = Some(error),
                (Err(late), Some(error)) if late.code == DEADLINE => return Err(error),
                (answer, _) => return answer,
            }
            let wait = waits.next().unwrap_or_default();
            if Instant::now() + wait >= self.deadline {
                break;
            }
            if patient_until.is_some_and(|until| Instant::now() + wait >= until) {
                return last_throttle.map_or_else(
                    || Err(late(operation, subject)),
                    |error| Err(CloudError { failure: Failure::Conflict, ..error }),
                );
            }
            tokio::time::sleep(wait).await;
            self.clients.meter.again();
        }
        Err(last_throttle.unwrap_or_else(|| late(operation, subject)))
    }

    /// Returns the port with a deadline that leaves the run a tenth of its remaining time.
    pub(super) fn leaving_a_tenth(&self) -> Self {
        let now = Instant::now();
        Self { deadline: now + self.deadline.duration_since(now).mul_f64(0.9), ..self.clone() }
    }

    /// Makes one attempt at a call. The deadline covers both the wait for its turn and the attempt.
    pub(super) async fn attempt<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let turn = tokio::time::timeout_at(self.deadline, self.clients.pace.turn(operation)).await;
        let answer = match turn {
            Ok(()) => tokio::time::timeout_at(self.deadline, call).await,
            Err(late) => Err(late),
        };
        answer.map_or_else(
            |_| Err(late(operation, subject)),
            |answer| answer.map_err(|error| failed(operation, subject, &error)),
        )
    }
}

/// Reads all pages of a list. `page` takes a page's token and returns its items and the token of the next page.
pub(super) async fn pages<T, F>(page: impl Fn(Option<String>) -> F) -> Result<Vec<T>, CloudError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), CloudError>>,
{
    let (mut all, mut next) = (Vec::new(), None);
    loop {
        let (items, following) = page(next.clone()).await?;
        all.extend(items);
        let following = following.filter(|token| !token.is_empty());
        // A token that returns itself would never end.
        if following.is_none() || following == next {
            return Ok(all);
        }
        next = following;
    }
}

/// Turns the error "does not exist" into `None`.
pub(super) fn found<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.failure == Failure::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether AWS throttled a call. API Gateway's `LimitExceededException` can also mean a full quota, which does not free
/// up with time. So it counts as throttling only for the first four attempts.
fn is_throttled(error: &CloudError, attempt: u32) -> bool {
    const CODES: [&str; 8] = [
        "HTTP 429",
        "TooManyRequestsException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestLimitExceeded",
        "RequestThrottled",
        // Parameter Store, for rival writes of one parameter.
        "TooManyUpdates",
    ];
    CODES.contains(&error.code.as_str()) || (error.code == "LimitExceededException" && attempt < 5)
}

/// Keeps the SDK from retrying throttled calls: it would give up before the deadline and ignore the pace. The SDK's
/// other retries stay as they are.
#[derive(Debug)]
pub(super) struct NoThrottleRetry;

impl ClassifyRetry for NoThrottleRetry {
    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        RetryAction::NoActionIndicated
    }

    fn classify_retry_v2(&self, _: &InterceptorContext, before: &RetryAction) -> RetryAction {
        let throttled = matches!(
            before,
            RetryAction::RetryIndicated(RetryReason::RetryableError { kind: ErrorKind::ThrottlingError, .. })
        );
        if throttled { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "NoThrottleRetry"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// The codes with which an endpoint says that it does not know an operation.
const NO_SUCH_OPERATION: [&str; 3] = ["UnknownOperationException", "UnknownOperation", "InvalidAction"];

/// An answer of AWS that this version does not understand.
pub(super) fn not_understood(operation: &'static str, subject: &str, message: String) -> CloudError {
    CloudError {
        failure: Failure::Other,
        operation,
        subject: subject.to_owned(),
        code: "NotUnderstood".to_owned(),
        message,
    }
}

const DEADLINE: &str = "Deadline";

fn late(operation: &'static str, subject: &str) -> CloudError {
    CloudError {
        failure: Failure::NoAnswer,
        operation,
        subject: subject.to_owned(),
        code: DEADLINE.to_owned(),
        message: "no answer before the function's own deadline".to_owned(),
    }
}

fn failed<E>(operation: &'static str, subject: &str, error: &SdkError<E, HttpResponse>) -> CloudError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let failure = match (error.as_service_error(), status) {
        (None, _) => Failure::NoAnswer,
        (Some(_), Some(501)) => Failure::NoSuchOperation,
        _ if code.as_deref().is_some_and(|code| NO_SUCH_OPERATION.contains(&code)) => {
            Failure::NoSuchOperation
        }
        (Some(_), Some(404)) => Failure::Missing,
        (Some(_), Some(409 | 412)) => Failure::Conflict,
        (Some(_), Some(400)) if code.as_deref() == Some("BadRequestException") => Failure::Refused,
        (Some(_), _) => Failure::Other,
    };
    CloudError {
        failure,
        operation,
        subject: subject.to_owned(),
        code: code.unwrap_or_else(|| status.map_or("NoAnswer".to_owned(), |status| format!("HTTP {status}"))),
        message: error.message().map_or_else(|| causes(error), str::to_owned),
    }
}

/// Writes an error and its causes in one line. The SDK's own text is only "service error" or "dispatch failure".
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}
