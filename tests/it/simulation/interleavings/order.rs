//! Partial-order reduction: decides which waiting calls must be tried in every order.
//!
//! Two calls commute if neither writes what the other reads or writes. A call that commutes with all remaining calls of
//! the others is played first, and alone (a persistent set of size one, after Godefroid). In any other order, the call
//! can be swapped forward until it is first, and the end is the same down to the last report. Every run ends, so no
//! call is postponed forever. If no call commutes, all are tried.
//!
//! The table `STEPS` says what a run can still do at each step. Each state checks the waiting calls against the table,
//! and a call that does not fit fails the test.
//!
//! Time passes only while no run is in progress. The exact start of a run has no effect, so the runs before that start
//! immediately, and the others as soon as time has passed.

use super::play::{Local, Other, Scene};
use crate::simulation::invariants::Signal;

const STAGE: u16 = 1;
const ALARMS: u16 = 2;
/// Known-good release, candidate, hold and policy.
const RECORDS: u16 = 4;
const ROLLBACKS: u16 = 8;
const INCIDENTS: u16 = 16;
/// The marks of sent notifications.
const SENT_MARKS: u16 = 32;
const SWEPT: u16 = 64;
/// The notifications: their order does not matter, so publishing counts as a read.
const TOPIC: u16 = 128;
/// The record of a rollout.
const ROLLOUT: u16 = 256;

/// The parts of the world that a call reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Touch {
    reads: u16,
    writes: u16,
}

const fn read(what: u16) -> Touch {
    Touch { reads: what, writes: 0 }
}

const fn write(what: u16) -> Touch {
    Touch { reads: what, writes: what }
}

/// Everything that a sweep may do.
pub(super) const SWEEP: Touch = Touch {
    reads: STAGE | ALARMS | RECORDS | ROLLBACKS | INCIDENTS | SENT_MARKS | SWEPT | TOPIC | ROLLOUT,
    writes: STAGE | RECORDS | ROLLBACKS | INCIDENTS | SENT_MARKS | SWEPT | ROLLOUT,
};

/// Everything that a run may do that moves a rollout, if nothing accuses the new release.
pub(super) const MOVE_OF_A_ROLLOUT: Touch = Touch { reads: SWEEP.reads, writes: STAGE | ROLLOUT };

/// The steps of an alarm's run; a run never returns to an earlier one.
const STEPS: [Touch; 6] = [
    read(STAGE | ALARMS | RECORDS | ROLLBACKS | SWEPT | ROLLOUT),
    write(STAGE),
    write(INCIDENTS),
    // A run that finds nothing left to do looks who did it.
    read(RECORDS | ROLLBACKS | INCIDENTS | ROLLOUT),
    write(ROLLBACKS),
    Touch { reads: SENT_MARKS | TOPIC, writes: SENT_MARKS },
];

impl Touch {
    fn of(call: &str) -> Self {
        let (operation, subject) = call.split_once(' ').unwrap_or((call, ""));
        let below = |name: &str| match name {
            "/apigw-rollback/stages" => RECORDS | ROLLBACKS | INCIDENTS | ROLLOUT,
            "/apigw-rollback/told" => SENT_MARKS,
            "/apigw-rollback/sweep" => SWEPT,
            _ if name.starts_with("/apigw-rollback/told/") => SENT_MARKS,
            _ if name.contains("/incidents/") => INCIDENTS,
            _ if name.ends_with("/rollbacks") => ROLLBACKS,
            _ if name.ends_with("/rollout") => ROLLOUT,
            _ => RECORDS,
        };
        let parameters = subject.split(' ').map(below).fold(0, |all, one| all | one);
        match operation {
            // Nobody changes the datapoints, the names of APIs or the wiring of alarms here.
            "begin"
            | "GetMetricData"
            | "GetRestApis"
            | "GetApis"
            | "GetPolicy"
            | "GetTopicAttributes"
            | "ListSubscriptionsByTopic" => read(0),
            "GetStage" | "GetStages" | "GetDeployment" => read(STAGE),
            "UpdateStage" => write(STAGE),
            "DescribeAlarms" | "DescribeAlarmHistory" | "ListAlarmMuteRules" => read(ALARMS),
            "GetParameters" | "GetParametersByPath" | "GetParameterHistory" => read(parameters),
            "CreateParameter" | "PutParameter" | "DeleteParameter" => write(parameters),
            "Publish" => read(TOPIC),
            _ => panic!("`{call}` is unknown: add what it reads and writes"),
        }
    }

    fn and(self, other: Self) -> Self {
        Self { reads: self.reads | other.reads, writes: self.writes | other.writes }
    }

    fn commutes(self, other: Self) -> bool {
        self.writes & (other.reads | other.writes) == 0 && other.writes & self.reads == 0
    }

    fn is_within(self, other: Self) -> bool {
        self.and(other) == other
    }

    /// Returns the step of an alarm's run that the call belongs to.
    fn step(self) -> usize {
        let found = STEPS.iter().position(|step| self.is_within(*step));
        found.unwrap_or_else(|| panic!("no step of an alarm's run touches {self:?}"))
    }
}

/// A state in which the next call must be chosen.
pub(super) struct Moment<'a> {
    pub(super) scene: &'a Scene,
    /// The waiting calls, each with its run.
    pub(super) waiting: &'a [(usize, String)],
    pub(super) locals: &'a [Local],
    /// The actions that others have not taken yet, and how many of them are possible now.
    pub(super) others: &'a [Other],
    pub(super) open: usize,
}

impl Moment<'_> {
    /// Returns every choice: the waiting calls, then the possible actions of others. A read of metrics, which nobody changes
    /// here, has the same answer at any time; so it comes first, and alone.
    pub(super) fn all(&self) -> Vec<usize> {
        let fixed = self.waiting.iter().position(|(_, call)| call.starts_with("GetMetricData"));
        fixed.map_or_else(|| self.every(), |nth| vec![nth])
    }

    fn every(&self) -> Vec<usize> {
        (0..self.waiting.len() + self.open).collect()
    }

    /// Returns a sufficient subset of the choices.
    pub(super) fn sufficient(&self) -> Vec<usize> {
        let may_go = |nth: &usize| self.waiting.get(*nth).is_none_or(|(run, _)| self.may_begin(*run));
        // Before time passes, no run may begin after the first call, so that call does not commute with a beginning.
        let begins = |nth: &usize| self.waiting[*nth].1 == "begin" && may_go(nth);
        let is_beginning = self.time_passes() && (0..self.waiting.len()).any(|nth| begins(&nth));
        let calls = (0..self.waiting.len()).filter(|nth| !is_beginning && may_go(nth));
        let alone = calls.into_iter().find(|nth| self.goes_first(*nth));
        // A read of metrics is a first call, too.
        let others = || if is_beginning { self.every() } else { self.all() };
        alone.map_or_else(|| others().into_iter().filter(may_go).collect(), |nth| vec![nth])
    }

    fn time_passes(&self) -> bool {
        self.others.iter().any(|other| matches!(other, Other::Wait))
    }

    fn has_begun(&self, run: usize) -> bool {
        !self.waiting.contains(&(run, "begin".to_owned()))
    }

    /// Returns whether a run has begun or may begin now: the runs that begin before time passes do so before the first
    /// call, in the order of their numbers.
    fn may_begin(&self, run: usize) -> bool {
        let nothing_yet = || self.locals.iter().all(|local| local.answers.is_empty() && local.over.is_none());
        let in_order = || (run..self.locals.len()).all(|later| !self.has_begun(later));
        self.has_begun(run) || !self.time_passes() || (nothing_yet() && in_order())
    }

    /// Returns whether this call commutes with everything that others can do before it.
    fn goes_first(&self, nth: usize) -> bool {
        let (ours, call) = &self.waiting[nth];
        if call == "begin" {
            return !self.time_passes();
        }
        let touch = Touch::of(call);
        let action = self.others.iter().any(|other| matches!(other, Other::ExternalAction(_)));
        let active = (0..self.locals.len()).filter(|run| run != ours && self.locals[*run].over.is_none());
        // A run that may not begin before time passes comes after this call's run has ended.
        let mut active = active.filter(|run| self.may_begin(*run));
        (!action || touch.commutes(write(STAGE))) && active.all(|run| touch.commutes(self.ahead(run)))
    }

    /// Returns the first step that an alarm's run may still take.
    fn step(&self, run: usize) -> usize {
        let calls = self.waiting.iter().filter(|(whose, call)| *whose == run && call != "begin");
        calls.map(|(_, call)| Touch::of(call).step()).min().unwrap_or(0)
    }

    /// Returns everything that a run may still read and write.
    fn ahead(&self, run: usize) -> Touch {
        if self.scene.events[run].1 == Signal::Sweep {
            return self.scene.unordered;
        }
        STEPS[self.step(run)..].iter().fold(read(0), |all, step| all.and(*step))
    }

    /// Notes the step of each run. Fails if a run returns to an earlier step or makes two concurrent calls that do not
    /// commute.
    pub(super) fn hold_to_table(&self, floors: &mut [usize]) {
        for (run, floor) in floors.iter_mut().enumerate() {
            let calls: Vec<_> = self.waiting.iter().filter(|(whose, _)| *whose == run).collect();
            for (nth, (_, one)) in calls.iter().enumerate() {
                let mut others = calls[..nth].iter().map(|(_, other)| other);
                let apart = others.all(|other| Touch::of(one).commutes(Touch::of(other)));
                assert!(apart, "run {run} makes concurrent calls that do not commute: {calls:?}");
            }
            if calls.is_empty() || !self.has_begun(run) {
                continue;
            }
            if self.scene.events[run].1 == Signal::Sweep {
                let may = |(_, call): &&(usize, String)| Touch::of(call).is_within(self.scene.unordered);
                assert!(calls.iter().all(may), "run {run} may not do this: {calls:?}");
            } else {
                let now = self.step(run);
                assert!(now >= *floor, "run {run} returns to an earlier step: {calls:?}");
                *floor = now;
            }
        }
    }
}
