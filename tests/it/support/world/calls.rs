//! The twin's calls: their way through the network, and their faults.

use std::sync::atomic::Ordering;

use apigw_rollback::cloud::{Queue, send_while_fresh};
use apigw_rollback::model::cloud_error::CloudError;
use tokio::time::Instant;

use super::{Facts, Fault, Network, STALE_FOR, Transit, World, network};

/// The turns of one change.
struct Turns<'a> {
    network: &'a Network,
    operation: &'static str,
}

impl Queue for Turns<'_> {
    type Place = Option<tokio::sync::OwnedMutexGuard<()>>;

    async fn first(&self) -> Result<Self::Place, CloudError> {
        Ok(self.network.first().await)
    }

    async fn turn(&self) -> Result<(), CloudError> {
        self.network.turn(self.operation).await;
        Ok(())
    }
}

impl World {
    /// Yields to the other runs, as a call over a network does, then takes effect at once.
    pub(super) async fn call<T: std::fmt::Debug>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        effect: impl FnOnce(&mut Facts) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        self.network.turn(operation).await;
        self.call_in_turn(operation, subject, false, effect).await
    }

    /// Makes a change as the adapter does: if it rests on something that was seen too long ago, `reads` it again first.
    pub(super) async fn call_while<T: std::fmt::Debug>(
        &self,
        (operation, subject): (&'static str, &str),
        seen_at: Instant,
        reads: &'static str,
        is_same: impl Fn(&Facts) -> bool,
        effect: impl Fn(&mut Facts) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let queue = Turns { network: &self.network, operation };
        let changed = CloudError::changed_meanwhile(operation, subject);
        let look = || self.call_in_turn(reads, subject, true, |facts| Ok(is_same(facts)));
        let send = || self.call_in_turn(operation, subject, true, &effect);
        send_while_fresh(&queue, seen_at, changed, look, send).await
    }

    pub(super) async fn call_in_turn<T: std::fmt::Debug>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        once: bool,
        effect: impl FnOnce(&mut Facts) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let Transit { fault, inbound, .. } = self.network.outbound(operation, &subject, once).await;
        self.began.lock().unwrap().push((operation, Instant::now()));
        let answer = self.call_now(operation, subject, fault, effect);
        self.network.inbound(&answer);
        network::wait(inbound).await;
        match answer {
            Some(answer) => answer,
            // A dead run gets no answer; the harness drops it.
            None => std::future::pending().await,
        }
    }

    fn call_now<T>(
        &self,
        operation: &'static str,
        subject: impl std::fmt::Display,
        met: Option<Fault>,
        effect: impl FnOnce(&mut Facts) -> Result<T, CloudError>,
    ) -> Option<Result<T, CloudError>> {
        if self.dead.load(Ordering::Relaxed) {
            return None;
        }
        let subject = subject.to_string();
        let mut faults = self.faults_of(operation, &subject);
        faults.extend(met);
        let dies = |fault: &Fault| matches!(fault, Fault::DieBefore | Fault::DieAfter);
        self.dead.store(faults.iter().any(dies), Ordering::Relaxed);
        let mut facts = self.facts.lock().unwrap();
        facts.caller = self.run_id();
        if let Some(now) = self.network.clock() {
            facts.now = now;
        }
        let looks = ["GetStage", "UpdateStage"].contains(&operation);
        let (looker, at) = ((facts.caller.clone(), subject), facts.now);
        for fault in &faults {
            match fault {
                Fault::World(change) => change(&mut facts),
                Fault::Before(error) => {
                    facts.note_refused(&looker);
                    return Some(Err(CloudError { operation, ..error.clone() }));
                }
                Fault::BeforeAbout(text, error) if looker.1.contains(text) => {
                    return Some(Err(CloudError { operation, ..error.clone() }));
                }
                Fault::DieBefore => return None,
                Fault::Stale if operation.starts_with("Get") || operation == "DescribeAlarms" => {
                    let mut past = self.past.lock().unwrap().clone();
                    if facts.now - past.now < STALE_FOR {
                        facts.looks.extend(looks.then_some((looker.clone(), at)));
                        return Some(effect(&mut past));
                    }
                }
                Fault::Twice => facts.twice = true,
                Fault::BeforeAbout(..) | Fault::After(_) | Fault::DieAfter | Fault::Stale => {}
            }
        }
        let mut answer = Some(effect(&mut facts));
        facts.looks.extend(looks.then_some((looker.clone(), at)));
        facts.twice = false;
        for fault in faults {
            match fault {
                Fault::After(error) => {
                    facts.note_refused(&looker);
                    answer = Some(Err(CloudError { operation, ..error }));
                }
                Fault::DieAfter => answer = None,
                Fault::World(_)
                | Fault::Before(_)
                | Fault::BeforeAbout(..)
                | Fault::DieBefore
                | Fault::Stale
                | Fault::Twice => {}
            }
        }
        answer
    }

    fn faults_of(&self, operation: &'static str, subject: impl std::fmt::Display) -> Vec<Fault> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(format!("{operation} {subject}"));
        let nth = calls.iter().filter(|call| call.split(' ').next() == Some(operation)).count();
        let number = calls.len();
        drop(calls);
        let faults = self.faults.lock().unwrap();
        let ours = faults.iter().filter(|(o, n, _)| *o == operation && (*n == nth || *n == 0));
        let injected = self.injected.lock().unwrap();
        let injected = injected.iter().filter(|(n, _)| *n == number);
        ours.map(|(_, _, fault)| fault.clone()).chain(injected.map(|(_, fault)| fault.clone())).collect()
    }
}
