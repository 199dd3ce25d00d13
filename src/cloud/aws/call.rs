//! One call to AWS: its place in the pace, its deadline, its result, and its repetition.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_ssm::config::http::HttpResponse;
use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};
use backon::BackoffBuilder;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Aws;
use crate::cloud::tries::{Tries, time_out, tries};
use crate::cloud::{Queue, send_while_fresh};
use crate::model::cloud_error::{CloudError, Failure};

/// The turns of one change.
struct Turns<'a> {
    aws: &'a Aws,
    operation: &'static str,
    subject: &'a str,
}

impl Queue for Turns<'_> {
    type Place = OwnedMutexGuard<()>;

    async fn first(&self) -> Result<Self::Place, CloudError> {
        let first = tokio::time::timeout_at(self.aws.deadline(), self.aws.clients.pace.first()).await;
        first.map_err(|_| late(self.operation, self.subject))
    }

    async fn turn(&self) -> Result<(), CloudError> {
        self.aws.turn(self.operation, self.subject).await
    }
}

/// A failed attempt.
struct Failed {
    error: CloudError,
    again: Again,
}

/// Whether an attempt may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// AWS refused it because of too many requests.
    Throttled,
    /// It got no answer or a server error, and may have taken effect.
    Unanswered,
}

impl Aws {
    /// Makes a call and names it in its error. Repeats it as [`tries`] says; the error is then that of the last attempt.
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
        self.call_with(tries(operation), operation, subject, send).await
    }

    /// Makes a call like [`Aws::call`], repeated in another way.
    pub(super) async fn call_with<T, E, F>(
        &self,
        Tries { unanswered: most, throttled: repeats, waits }: Tries,
        operation: &'static str,
        subject: &str,
        send: impl Fn() -> F,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let (mut waits, mut throttled, mut unanswered, mut last) = (waits.build(), 0, 0, None);
        loop {
            let turn = self.turn(operation, subject).await;
            let limit = time_out(unanswered);
            let failed = match turn {
                Ok(()) => match self.answer(operation, subject, Some(limit), Box::pin(send())).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                },
                Err(late) => Failed { error: late, again: Again::No },
            };
            let is_last = match failed.again {
                Again::No => true,
                Again::Throttled => {
                    throttled += 1;
                    !repeats || is_full(&failed.error, throttled)
                }
                Again::Unanswered => {
                    unanswered += 1;
                    most.is_some_and(|most| unanswered >= most)
                }
            };
            if is_last {
                let is_late = failed.error.code == DEADLINE;
                let told = last.filter(|last: &CloudError| is_late && last.code != NO_ANSWER);
                return Err(told.unwrap_or(failed.error));
            }
            let wait = waits.next().unwrap_or_default();
            if Instant::now() + wait >= self.deadline() {
                return Err(failed.error);
            }
            last = Some(failed.error);
            tokio::time::sleep(wait).await;
            self.clients.meter.again();
        }
    }

    /// Sends a change (see [`send_while_fresh`]).
    pub(super) async fn change<T, E, L, S>(
        &self,
        operation: &'static str,
        subject: &str,
        seen_at: Instant,
        is_same: impl Fn() -> L,
        send: impl Fn() -> S,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        L: Future<Output = Result<bool, CloudError>>,
        S: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let queue = Turns { aws: self, operation, subject };
        let changed = CloudError::changed_meanwhile(operation, subject);
        let is_repeated = AtomicBool::new(false);
        let send = || {
            if is_repeated.swap(true, Ordering::Relaxed) {
                self.clients.meter.again();
            }
            self.in_turn(operation, subject, send())
        };
        send_while_fresh(&queue, seen_at, changed, is_same, send).await
    }

    /// Sends a call once, with no other time-out than the deadline.
    pub(super) async fn once<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        self.turn(operation, subject).await?;
        self.answer(operation, subject, None, send).await.map_err(|failed| failed.error)
    }

    /// Sends a call once, in a turn that the caller has waited for.
    pub(super) async fn in_turn<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let answer = self.answer(operation, subject, Some(time_out(0)), Box::pin(send)).await;
        answer.map_err(|failed| failed.error)
    }

    /// Waits for the call's turn in the pace.
    async fn turn(&self, operation: &'static str, subject: &str) -> Result<(), CloudError> {
        let turn = tokio::time::timeout_at(self.deadline(), self.clients.pace.turn(operation)).await;
        turn.map_err(|_| late(operation, subject))
    }

    /// Makes one attempt, which ends at the deadline or after `limit`.
    async fn answer<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        limit: Option<Duration>,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, Failed>
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let deadline = self.deadline();
        let until = limit.map_or(deadline, |limit| deadline.min(Instant::now() + limit));
        match tokio::time::timeout_at(until, send).await {
            Ok(answer) => answer.map_err(|error| failed(operation, subject, &error)),
            Err(_) if until == deadline => Err(Failed { error: late(operation, subject), again: Again::No }),
            Err(_) => {
                let message = format!("no answer within {} s", limit.unwrap_or_default().as_secs());
                let error = CloudError { code: NO_ANSWER.to_owned(), message, ..late(operation, subject) };
                Err(Failed { error, again: Again::Unanswered })
            }
        }
    }

    /// Returns the port with a deadline that leaves the run a tenth of its remaining time; among the notifications, half.
    pub(super) fn leaving_time(&self) -> Self {
        let now = Instant::now();
        let part = |until: Instant, part| now + until.saturating_duration_since(now).mul_f64(part);
        Self { deadline: part(self.deadline, 0.9), end: part(self.end, 0.5), ..self.clone() }
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

/// Whether a throttled call will not succeed later: API Gateway's `LimitExceededException` can also mean a full quota, which
/// does not free up with time. So it counts as throttling only for the first four attempts.
fn is_full(error: &CloudError, attempts: u32) -> bool {
    error.code == "LimitExceededException" && attempts >= 5
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
const NO_ANSWER: &str = "NoAnswer";

fn late(operation: &'static str, subject: &str) -> CloudError {
    CloudError {
        failure: Failure::NoAnswer,
        operation,
        subject: subject.to_owned(),
        code: DEADLINE.to_owned(),
        message: "no answer in the time that was left".to_owned(),
    }
}

fn failed<E>(operation: &'static str, subject: &str, error: &SdkError<E, HttpResponse>) -> Failed
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let code = code.unwrap_or_else(|| status.map_or(NO_ANSWER.to_owned(), |status| format!("HTTP {status}")));
    // Without credentials nothing is sent.
    let is_sent = if let SdkError::DispatchFailure(failure) = error {
        failure.is_io() || failure.is_timeout()
    } else {
        !matches!(error, SdkError::ConstructionFailure(_))
    };
    let message = error.message().map_or_else(|| causes(error), str::to_owned);
    let described =
        CloudError { failure: Failure::Other, operation, subject: subject.to_owned(), code, message };
    let (failure, again) = match (error.as_service_error(), status) {
        _ if described.is_throttled() => (Failure::Other, Again::Throttled),
        (None, _) if is_sent => (Failure::NoAnswer, Again::Unanswered),
        (None, _) => (Failure::NoAnswer, Again::No),
        (Some(_), Some(501)) => (Failure::NoSuchOperation, Again::No),
        _ if NO_SUCH_OPERATION.contains(&described.code.as_str()) => (Failure::NoSuchOperation, Again::No),
        (Some(_), Some(500..)) => (Failure::NoAnswer, Again::Unanswered),
        (Some(_), Some(404)) => (Failure::Missing, Again::No),
        (Some(_), Some(409 | 412)) => (Failure::Conflict, Again::No),
        (Some(_), Some(400)) if described.code == "BadRequestException" => (Failure::Refused, Again::No),
        (Some(_), _) => (Failure::Other, Again::No),
    };
    Failed { error: CloudError { failure, ..described }, again }
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
