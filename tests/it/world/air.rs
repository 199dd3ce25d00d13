//! What lies between a run and the world: nothing, weather that delays and breaks calls, or a gate that lets them
//! through one by one.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Fault;

/// What the calls of one run go through.
pub(crate) enum Air {
    /// Nothing: each call only lets others go first.
    Still,
    /// Weather.
    Sky(Arc<dyn Sky>),
    /// A gate, at which the calls of one run wait under its number.
    Gate(Arc<Gate>, usize),
}

/// Weather: how long a call is on its way, and what becomes of it.
pub(crate) trait Sky: Send + Sync {
    /// One call's way.
    fn way<'a>(&'a self, operation: &'static str) -> Pin<Box<dyn Future<Output = Way> + Send + 'a>>;
    /// The time of the world.
    fn now(&self) -> DateTime<Utc>;
}

/// One call's way.
#[derive(Debug, Default)]
pub(crate) struct Way {
    pub(crate) there: Duration,
    pub(crate) fault: Option<Fault>,
    pub(crate) back: Duration,
}

pub(super) async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Air {
    pub(super) async fn way_there(&self, operation: &'static str) -> Way {
        match self {
            Self::Still => tokio::task::yield_now().await,
            Self::Sky(sky) => {
                let way = sky.way(operation).await;
                wait(way.there).await;
                return way;
            }
            Self::Gate(gate, run) => gate.pass(*run, operation).await,
        }
        Way::default()
    }

    pub(super) fn clock(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Sky(sky) => Some(sky.now()),
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

/// Calls that wait for their turn.
#[derive(Default)]
pub(crate) struct Gate {
    waiting: Mutex<Vec<(usize, &'static str, oneshot::Sender<()>)>>,
}

impl Gate {
    pub(crate) async fn pass(&self, run: usize, operation: &'static str) {
        let (open, opened) = oneshot::channel();
        self.waiting.lock().unwrap().push((run, operation, open));
        opened.await.ok();
    }

    /// Who waits, in a fixed order.
    pub(crate) fn waiting(&self) -> Vec<(usize, &'static str)> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|(_, _, open)| !open.is_closed());
        waiting.sort_by_key(|(run, operation, _)| (*run, *operation));
        waiting.iter().map(|(run, operation, _)| (*run, *operation)).collect()
    }

    /// Lets the n-th of them through.
    pub(crate) fn open(&self, nth: usize) {
        let (_, _, open) = self.waiting.lock().unwrap().remove(nth);
        open.send(()).ok();
    }
}
