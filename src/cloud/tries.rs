//! How often each call is sent, and how long each attempt may take; `seen` says when a change is sent. The SDK sends a call
//! once. `docs/architecture.md` has the table.

use std::time::Duration;

use backon::ExponentialBuilder;

/// The time-out of a call's first attempt. Each attempt without an answer doubles it: a slow service is not a dead one.
const FIRST_TIME_OUT: Duration = Duration::from_secs(3);
const LONGEST_TIME_OUT: Duration = Duration::from_secs(24);

const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(1.5)
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_millis(2_500))
    .without_max_times()
    .with_jitter();

/// The waits between the attempts of a throttled change, as long as the look before it is fresh. Whoever has just looked
/// goes first, or the looks of many runs would use up the quota.
pub const BETWEEN_CHANGES: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(1.1)
    .with_min_delay(Duration::from_millis(8))
    .with_max_delay(Duration::from_millis(16))
    .without_max_times()
    .with_jitter();

/// What a call does, as far as repeating it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changes what users are served. A second one could overwrite a deploy that came after the first, so only
    /// [`send_while_fresh`](super::send_while_fresh) repeats it.
    Change,
    /// It sends a message. Each repetition may be a copy.
    Message,
    /// It writes a record, a parked stage or a cache. Repeating it does no harm.
    Record,
    /// It changes nothing.
    Read,
}

/// How a call is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Tries {
    /// After this many attempts without an answer, or with a server error, the call fails; `None` if only the deadline
    /// limits them.
    pub unanswered: Option<u32>,
    /// Whether a throttled attempt is repeated, until the deadline.
    pub throttled: bool,
    /// The waits between the attempts.
    pub waits: ExponentialBuilder,
}

/// Returns the kind of an operation.
#[must_use]
pub fn kind(operation: &str) -> Kind {
    match operation {
        "UpdateAlias" | "UpdateApiMapping" | "UpdateBasePathMapping" | "UpdateStage" => Kind::Change,
        "Publish" | "PutEvents" => Kind::Message,
        "CreateStage"
        | "DeleteParameter"
        | "FlushStageAuthorizersCache"
        | "FlushStageCache"
        | "PutParameter" => Kind::Record,
        _ => Kind::Read,
    }
}

/// Returns how an operation is repeated.
#[must_use]
pub fn tries(operation: &str) -> Tries {
    let (unanswered, throttled) = match kind(operation) {
        Kind::Change => (Some(1), false),
        Kind::Message => (Some(2), true),
        Kind::Record => (Some(5), true),
        Kind::Read => (None, true),
    };
    Tries { unanswered, throttled, waits: WAITS }
}

/// Returns the time-out of the next attempt after some attempts without an answer.
#[must_use]
pub fn time_out(unanswered: u32) -> Duration {
    FIRST_TIME_OUT.saturating_mul(2_u32.saturating_pow(unanswered)).min(LONGEST_TIME_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_after_one_without_an_answer_may_take_twice_as_long() {
        let seconds: Vec<u64> = (0..5).chain([u32::MAX]).map(|nth| time_out(nth).as_secs()).collect();
        assert_eq!(seconds, [3, 6, 12, 24, 24, 24]);
    }
}
