//! What lies between a run and the world: nothing, weather that delays and breaks calls, or a gate that lets them
//! through one by one.

use std::fmt::{Debug, Display, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Fault;

/// What the calls of one run go through.
pub(crate) enum Network {
    /// Nothing: each call only lets others go first.
    Still,
    /// Weather.
    FaultModel(Arc<dyn FaultModel>),
    /// A gate, at which the calls of one run wait under its number.
    Gate(Arc<Gate>, usize),
}

/// Weather: how long a call is on its way, and what becomes of it.
pub(crate) trait FaultModel: Send + Sync {
    /// One call's way.
    fn way<'a>(&'a self, operation: &'static str) -> Pin<Box<dyn Future<Output = Transit> + Send + 'a>>;
    /// The time of the world.
    fn now(&self) -> DateTime<Utc>;
}

/// One call's way.
#[derive(Debug, Default)]
pub(crate) struct Transit {
    pub(crate) there: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) back: Duration,
}

pub(super) async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Network {
    pub(super) async fn outbound(&self, operation: &'static str, subject: &impl Display) -> Transit {
        match self {
            Self::Still => tokio::task::yield_now().await,
            Self::FaultModel(weather) => {
                let way = weather.way(operation).await;
                wait(way.there).await;
                return way;
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
            Self::FaultModel(weather) => Some(weather.now()),
            Self::Still | Self::Gate(..) => None,
        }
    }
}

/// A clock that runs with the paused time of the test.
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

/// Calls that wait for their turn, each as its operation and what it is about.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Vec<(usize, String, oneshot::Sender<()>)>>,
    /// Whether anybody wants to know the answers.
    listens: AtomicBool,
    /// What the last call was answered, as a hash.
    answer: Mutex<Option<u64>>,
}

impl Gate {
    pub(crate) async fn pass(&self, run: usize, call: String) {
        let (open, opened) = oneshot::channel();
        self.waiting.lock().unwrap().push((run, call, open));
        opened.await.ok();
    }

    /// Who waits, in a fixed order.
    pub(crate) fn waiting(&self) -> Vec<(usize, String)> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|(_, _, open)| !open.is_closed());
        waiting.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        waiting.iter().map(|(run, call, _)| (*run, call.clone())).collect()
    }

    /// Lets the n-th of them through.
    pub(crate) fn open(&self, nth: usize) {
        let (_, _, open) = self.waiting.lock().unwrap().remove(nth);
        open.send(()).ok();
    }

    /// From now on answers are remembered.
    pub(crate) fn listen(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// What the last call was answered, once.
    pub(crate) fn take_answer(&self) -> Option<u64> {
        self.answer.lock().unwrap().take()
    }
}

/// A value's hash, by all that can be seen of it.
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
