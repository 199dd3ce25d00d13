//! The network between a run and the world: direct, with a fault model that delays and breaks calls, or with a gate
//! that lets calls through one by one.

use std::fmt::{Debug, Display, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::Instant;

use super::Fault;

/// The network that the calls of one run pass through.
pub(crate) enum Network {
    /// No network: each call only yields to the other runs.
    Direct,
    /// A fault model.
    FaultModel(Arc<dyn FaultModel>),
    /// A gate where the calls of one run wait under the run's number.
    Gate(Arc<Gate>, usize),
}

/// A fault model: it sets a call's delays and its fault, if any.
pub(crate) trait FaultModel: Send + Sync {
    /// Waits for a call's turn in the process's pace, if it has one.
    fn turn<'a>(&'a self, _operation: &'static str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }
    /// Waits until a change is the next one to get its turn, and keeps that place.
    fn first<'a>(&'a self) -> Pin<Box<dyn Future<Output = Option<OwnedMutexGuard<()>>> + Send + 'a>> {
        Box::pin(std::future::ready(None))
    }
    /// Whether the read of a stage would go out at once.
    fn is_free(&self) -> bool {
        true
    }
    /// Draws one call's transit. A call that is sent `once` is not repeated if AWS throttles it.
    fn transit<'a>(
        &'a self,
        operation: &'static str,
        once: bool,
    ) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>>;
    /// Returns the world's time.
    fn now(&self) -> DateTime<Utc>;
}

/// One call's delays in both directions, and its fault, if any.
#[derive(Debug, Default)]
pub(crate) struct Transit {
    pub(crate) outbound: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) inbound: Duration,
}

pub(super) async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Network {
    pub(super) async fn turn(&self, operation: &'static str) {
        if let Self::FaultModel(model) = self {
            model.turn(operation).await;
        }
    }

    pub(super) async fn first(&self) -> Option<OwnedMutexGuard<()>> {
        match self {
            Self::FaultModel(model) => model.first().await,
            Self::Direct | Self::Gate(..) => None,
        }
    }

    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::FaultModel(model) => model.is_free(),
            Self::Direct | Self::Gate(..) => true,
        }
    }

    pub(super) async fn outbound(
        &self,
        operation: &'static str,
        subject: &impl Display,
        once: bool,
    ) -> Transit {
        match self {
            Self::Direct => tokio::task::yield_now().await,
            Self::FaultModel(model) => {
                let transit = model.transit(operation, once).await;
                wait(transit.outbound).await;
                return transit;
            }
            Self::Gate(gate, run) => gate.pass(*run, format!("{operation} {subject}")).await,
        }
        Transit::default()
    }

    pub(super) fn inbound(&self, answer: &impl Debug) {
        if let Self::Gate(gate, _) = self
            && gate.listens.load(Ordering::Relaxed)
        {
            *gate.answer.lock().unwrap() = Some(hash(answer));
        }
    }

    pub(super) fn clock(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::FaultModel(model) => Some(model.now()),
            Self::Direct | Self::Gate(..) => None,
        }
    }
}

/// A clock that follows the test's paused time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) began: Instant,
    pub(crate) at: DateTime<Utc>,
}

impl Clock {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.at + TimeDelta::from_std(self.began.elapsed()).unwrap()
    }
}

/// The calls that wait for their turn, each with its operation and subject.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Vec<(usize, String, oneshot::Sender<()>)>>,
    /// Whether the gate keeps the answers.
    listens: AtomicBool,
    /// The last call's answer, as a hash.
    answer: Mutex<Option<u64>>,
}

impl Gate {
    pub(crate) async fn pass(&self, run: usize, call: String) {
        let (open, opened) = oneshot::channel();
        self.waiting.lock().unwrap().push((run, call, open));
        opened.await.ok();
    }

    /// Returns the waiting calls in a fixed order.
    pub(crate) fn waiting(&self) -> Vec<(usize, String)> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|(_, _, open)| !open.is_closed());
        waiting.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        waiting.iter().map(|(run, call, _)| (*run, call.clone())).collect()
    }

    /// Lets the n-th waiting call through.
    pub(crate) fn open(&self, nth: usize) {
        let (_, _, open) = self.waiting.lock().unwrap().remove(nth);
        open.send(()).ok();
    }

    /// Keeps the answers from now on.
    pub(crate) fn listen(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// Takes the last call's answer.
    pub(crate) fn take_answer(&self) -> Option<u64> {
        self.answer.lock().unwrap().take()
    }
}

/// Hashes a value by its debug output.
pub(crate) fn hash(of: &impl Debug) -> u64 {
    struct Text(DefaultHasher);
    impl Write for Text {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut text = Text(DefaultHasher::new());
    write!(text, "{of:?}").unwrap();
    0xff_u8.hash(&mut text.0);
    text.0.finish()
}
