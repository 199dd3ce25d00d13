//! What a change rests on, and how long that counts as fresh. API Gateway has no compare-and-swap, so each change of a
//! stage or a mapping follows a look that is at most half a second old.

use std::time::Duration;

use backon::BackoffBuilder;
use tokio::time::Instant;

use super::tries::{BETWEEN_CHANGES, tries};
use crate::model::cloud_error::{CloudError, Failure};
use crate::model::stage::LiveStage;

/// A change that rests on an older look is preceded by another one.
pub const FRESH: Duration = Duration::from_millis(500);

/// How long a change is throttled before the run must read everything again, not only what it changes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a change rests on.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a, T> {
    /// What was seen.
    pub what: &'a T,
    /// When the call that read it was sent, or answered if it was itself a change.
    pub at: Instant,
}

/// A stage as it was read, and when.
#[derive(Clone, Debug)]
pub struct Look {
    /// The stage; `None` if the API or the stage does not exist.
    pub live: Option<LiveStage>,
    /// When the call was sent.
    pub at: Instant,
}

/// Where the calls of a change wait for their turns.
pub trait Queue: Sync {
    /// The place at the front.
    type Place;

    /// Waits until this change is the next one to get a turn, and keeps that place.
    fn first(&self) -> impl Future<Output = Result<Self::Place, CloudError>> + Send;

    /// Waits for a turn.
    fn turn(&self) -> impl Future<Output = Result<(), CloudError>> + Send;
}

/// Sends a change of something that was seen `at` that time. If that is too long ago when the change's turn comes, looks
/// first whether it `is_same`, and otherwise returns the error `changed`. Only a throttled change is sent again, because it
/// had no effect.
///
/// # Errors
/// [`Failure::Conflict`] if the subject has changed, cannot be read, or AWS throttles for too long; otherwise AWS's error.
pub async fn send_while_fresh<Q, T, L, S>(
    queue: &Q,
    mut at: Instant,
    changed: CloudError,
    is_same: impl Fn() -> L,
    send: impl Fn() -> S,
) -> Result<T, CloudError>
where
    Q: Queue,
    L: Future<Output = Result<bool, CloudError>>,
    S: Future<Output = Result<T, CloudError>>,
{
    let patient_until = Instant::now() + PATIENCE;
    let (mut between_looks, mut between_changes) = (tries("GetStage").waits.build(), BETWEEN_CHANGES.build());
    loop {
        let place = queue.first().await?;
        queue.turn().await?;
        let mut same = Ok(true);
        if at.elapsed() > FRESH {
            same = is_same().await;
            if same.is_ok() {
                // A look that took long is not repeated: the next one may take as long.
                at = Instant::now();
                queue.turn().await?;
            }
        }
        drop(place);
        let (error, wait) = match same {
            Ok(false) => return Err(changed),
            Ok(true) => match send().await {
                Err(error) if error.is_throttled() => (error, between_changes.next()),
                answer => return answer,
            },
            Err(error) => (error, between_looks.next()),
        };
        let wait = wait.unwrap_or_default();
        if !error.is_throttled() || Instant::now() + wait >= patient_until {
            return Err(CloudError { failure: Failure::Conflict, ..error });
        }
        tokio::time::sleep(wait).await;
    }
}
