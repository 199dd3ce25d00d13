//! Which of the calls that wait must be tried in every order, and which need not.
//!
//! Two calls commute where neither writes what the other touches. A call that commutes with all that anybody else can
//! still do goes first, and alone (a persistent set of one, as Godefroid has it): whatever the others do before it in
//! some other order, the call can be swapped with one after the other of them until it is first, and the end is the
//! same to the last report. It cannot be put off for ever, because every run ends. Where there is no such call, all
//! are tried.
//!
//! What somebody can still do is read from how far they are, by the table `STEPS`. The table is not trusted: each
//! run's calls are held against it at every state, and one that does not fit fails the test.
//!
//! Runs begin before time passes or after it, and time passes only while none is under way. When exactly a run begins
//! is seen by nobody, so those that begin before do so at once, and the others as soon as time has passed.

use super::play::{Local, Other, Scene};
use crate::simulation::invariants::Signal;

const STAGE: u8 = 1;
const ALARMS: u8 = 2;
/// Known-good release, candidate, hold and policy.
const RECORDS: u8 = 4;
const ROLLBACKS: u8 = 8;
const INCIDENTS: u8 = 16;
/// The marks that people were told something.
const TOLD: u8 = 32;
const SWEPT: u8 = 64;
/// What people are told: in which order it comes is seen by nobody, so telling is no writing.
const TOPIC: u8 = 128;

/// What a call reads and writes of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Touch {
    reads: u8,
    writes: u8,
}

const fn read(what: u8) -> Touch {
    Touch { reads: what, writes: 0 }
}

const fn write(what: u8) -> Touch {
    Touch { reads: what, writes: what }
}

/// What an alarm's run does, step by step; it never goes back to an earlier one.
const STEPS: [Touch; 5] = [
    read(STAGE | ALARMS | RECORDS | ROLLBACKS),
    write(STAGE),
    write(INCIDENTS),
    write(ROLLBACKS),
    Touch { reads: TOLD | TOPIC, writes: TOLD },
];

impl Touch {
    fn of(call: &str) -> Self {
        let (operation, subject) = call.split_once(' ').unwrap_or((call, ""));
        let below = |name: &str| match name {
            "/apigw-rollback/stages" => RECORDS | ROLLBACKS | INCIDENTS,
            "/apigw-rollback/told" => TOLD,
            "/apigw-rollback/sweep" => SWEPT,
            _ if name.starts_with("/apigw-rollback/told/") => TOLD,
            _ if name.contains("/incidents/") => INCIDENTS,
            _ if name.ends_with("/rollbacks") => ROLLBACKS,
            _ => RECORDS,
        };
        let parameters = subject.split(' ').map(below).fold(0, |all, one| all | one);
        match operation {
            "begin" => read(0),
            "GetStage" | "GetStages" | "GetDeployment" => read(STAGE),
            "UpdateStage" => write(STAGE),
            "DescribeAlarms" | "DescribeAlarmHistory" | "GetMetricData" => read(ALARMS),
            "GetParameters" | "GetParametersByPath" | "GetParameterHistory" => read(parameters),
            "CreateParameter" | "PutParameter" | "DeleteParameter" => write(parameters),
            "Publish" => read(TOPIC),
            _ => panic!("what `{call}` reads and writes is not known here"),
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

    /// The step that a call of an alarm's run belongs to.
    fn step(self) -> usize {
        let found = STEPS.iter().position(|step| self.is_within(*step));
        found.unwrap_or_else(|| panic!("no step of an alarm's run touches {self:?}"))
    }
}

/// A moment at which somebody's turn must be chosen.
pub(super) struct Moment<'a> {
    pub(super) scene: &'a Scene,
    /// The calls that wait, and whose they are.
    pub(super) waiting: &'a [(usize, String)],
    pub(super) locals: &'a [Local],
    /// What others have not done yet, and what of it they could do now.
    pub(super) others: &'a [Other],
    pub(super) open: usize,
}

impl Moment<'_> {
    /// Every choice there is: the calls that wait, then what others could do.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.waiting.len() + self.open).collect()
    }

    /// The choices that are enough.
    pub(super) fn enough(&self) -> Vec<usize> {
        let may_go = |nth: &usize| self.waiting.get(*nth).is_none_or(|(run, _)| self.may_begin(*run));
        // The first call is the end of all beginnings before time passes, so until then it commutes with none of them.
        let begins = |nth: &usize| self.waiting[*nth].1 == "begin" && may_go(nth);
        let is_beginning = self.time_passes() && (0..self.waiting.len()).any(|nth| begins(&nth));
        let calls = (0..self.waiting.len()).filter(|nth| !is_beginning && may_go(nth));
        let alone = calls.into_iter().find(|nth| self.goes_first(*nth));
        alone.map_or_else(|| self.all().into_iter().filter(may_go).collect(), |nth| vec![nth])
    }

    fn time_passes(&self) -> bool {
        self.others.iter().any(|other| matches!(other, Other::Wait))
    }

    fn has_begun(&self, run: usize) -> bool {
        !self.waiting.contains(&(run, "begin".to_owned()))
    }

    /// Whether a run is under way, or begins at this moment at the latest: those that begin before time passes do so
    /// before any call is made, in the order of their numbers.
    fn may_begin(&self, run: usize) -> bool {
        let nothing_yet = || self.locals.iter().all(|local| local.heard.is_empty() && local.over.is_none());
        let in_order = || (run..self.locals.len()).all(|later| !self.has_begun(later));
        self.has_begun(run) || !self.time_passes() || (nothing_yet() && in_order())
    }

    /// Whether this call commutes with all that others can do before it.
    fn goes_first(&self, nth: usize) -> bool {
        let (ours, call) = &self.waiting[nth];
        if call == "begin" {
            return !self.time_passes();
        }
        let touch = Touch::of(call);
        let deed = self.others.iter().any(|other| matches!(other, Other::ExternalAction(_)));
        let rivals = (0..self.locals.len()).filter(|run| run != ours && self.locals[*run].over.is_none());
        // Who has not begun, and may not before time passes, comes after this call's run has ended.
        let mut rivals = rivals.filter(|run| self.may_begin(*run));
        (!deed || touch.commutes(write(STAGE))) && rivals.all(|run| touch.commutes(self.ahead(run)))
    }

    /// The first step of an alarm's run that it may still do.
    fn step(&self, run: usize) -> usize {
        let calls = self.waiting.iter().filter(|(whose, call)| *whose == run && call != "begin");
        calls.map(|(_, call)| Touch::of(call).step()).min().unwrap_or(0)
    }

    /// All that a run may still do.
    fn ahead(&self, run: usize) -> Touch {
        if self.scene.events[run].1 == Signal::Sweep {
            return write(STAGE | RECORDS | ROLLBACKS | INCIDENTS | TOLD | SWEPT).and(read(ALARMS | TOPIC));
        }
        STEPS[self.step(run)..].iter().fold(read(0), |all, step| all.and(*step))
    }

    /// Notes how far each run is, and fails where one went back to an earlier step, or does two things at once of
    /// which the order could matter.
    pub(super) fn hold_to_table(&self, floors: &mut [usize]) {
        for (run, floor) in floors.iter_mut().enumerate() {
            let calls: Vec<_> = self.waiting.iter().filter(|(whose, _)| *whose == run).collect();
            for (nth, (_, one)) in calls.iter().enumerate() {
                let mut others = calls[..nth].iter().map(|(_, other)| other);
                let apart = others.all(|other| Touch::of(one).commutes(Touch::of(other)));
                assert!(apart, "run {run} does at once what depends on each other: {calls:?}");
            }
            if self.scene.events[run].1 != Signal::Sweep && !calls.is_empty() && self.has_begun(run) {
                let now = self.step(run);
                assert!(now >= *floor, "run {run} goes back to an earlier step: {calls:?}");
                *floor = now;
            }
        }
    }
}
