//! The life of a rollout: its state, and the moves of several runs, an operator, others and time.
//!
//! A run reads the stage and the record one after the other, in either order, so another run can act in between. Then it
//! decides as the function does and carries out one move.

use apigw_rollback::decide::check_step;
use apigw_rollback::decide::rollout::Move as Decided;
use apigw_rollback::decide::rollout_order::Order;

use crate::rollout_world as world;

/// A share of the traffic, in percent.
pub type Share = u8;

/// The shares of the steps.
pub const STEPS: [Share; 2] = [10, 50];

/// A share that somebody else sets.
const FOREIGN: Share = 60;

/// How long ago the record was written: just now, some minutes ago, or longer than a step bakes.
pub const JUST_NOW: u8 = 0;
pub const BAKED: u8 = 2;

/// After so many calm rounds the rollout must have come to rest. A round is a few minutes and a run.
const PATIENCE: usize = 12;

/// What the stage itself serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Serves {
    Base,
    New,
    Other,
}

/// The stage, with the share of its canary, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stage {
    pub serves: Serves,
    pub canary: Option<Share>,
}

/// The state of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Is {
    Moving,
    Baking,
    Paused,
    Promoting,
    Aborting,
    Promoted,
    Aborted,
    RolledBack,
    Overtaken,
}

impl Is {
    fn has_ended(self) -> bool {
        matches!(self, Self::Promoted | Self::Aborted | Self::RolledBack | Self::Overtaken)
    }

    fn is_news(self) -> bool {
        self == Self::Paused || self.has_ended()
    }

    /// Whether it follows from what somebody else did, so that a run looks twice.
    fn is_by_others(self) -> bool {
        matches!(self, Self::Paused | Self::Aborted | Self::Overtaken)
    }
}

/// The record of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Noted {
    pub version: u8,
    pub is: Is,
    pub step: u8,
    pub from: Option<Share>,
    /// Its first step is done.
    pub has_begun: bool,
    /// An operator skipped the steps after this one.
    pub is_cut: bool,
    pub age: u8,
}

/// What a run read of the stage and its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    pub stage: Stage,
    /// The canary answered enough requests in this step, and any at all.
    pub answered: bool,
    pub ever: bool,
    pub was_rolled_back: bool,
}

/// An order, in a form that can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ordered {
    Pause,
    Resume,
    Promote,
    Abort,
}

impl Ordered {
    fn order(self) -> Order {
        match self {
            Self::Pause => Order::Pause(None),
            Self::Resume => Order::Resume,
            Self::Promote => Order::Promote,
            Self::Abort => Order::Abort,
        }
    }
}

/// A run of the schedule, or of an operator who gives an order first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    pub seen: Option<Seen>,
    /// The record, and whether an operator held the stage.
    pub noted: Option<(Noted, bool)>,
    pub order: Option<Ordered>,
    /// What it takes for certain only after a second look.
    pub doubts: Option<(u8, Is)>,
    /// It has sent a step.
    pub stepped: bool,
    /// It has recorded news, or found some that people may not know, and tells them at its end.
    pub tells: bool,
}

/// What must never happen, if it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Traffic grew without a step that passed, and without an order.
    pub unearned: bool,
    /// A change did not pass the check.
    pub unchecked: bool,
    /// Somebody who did nothing is named as the cause.
    pub slandered: bool,
}

/// A move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Minutes pass, in which the canary answers requests or not. No run lasts as long.
    Tick {
        served: bool,
    },
    /// The schedule starts a run.
    Start,
    /// An operator gives an order.
    Give(Ordered),
    ReadStage(usize),
    ReadRecord(usize),
    /// A run decides, and carries out one move.
    Act(usize),
    Die(usize),
    /// Somebody deploys, removes the canary, or sets its share.
    Deploy,
    RemoveCanary,
    SetShare,
    Hold(bool),
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Rolling {
    pub stage: Stage,
    pub record: Noted,
    pub is_bad: bool,
    pub answered: bool,
    pub ever: bool,
    pub was_rolled_back: bool,
    pub held: bool,
    pub told: bool,
    pub runs: Vec<Run>,
    /// The share that the new release has earned, or was given by an order.
    pub earned: Share,
    pub orders: u8,
    pub others: u8,
    pub crashes: u8,
    pub faults: Faults,
}

impl Rolling {
    /// A rollout that has just been recorded: of a release that is on no stage yet, or of a canary with its first share.
    pub fn new(is_bad: bool, is_adopted: bool) -> Self {
        let (canary, from) = if is_adopted { (Some(STEPS[0]), Some(STEPS[0])) } else { (None, None) };
        Self {
            stage: Stage { serves: Serves::Base, canary },
            record: Noted {
                version: 1,
                is: Is::Moving,
                step: 0,
                from,
                has_begun: false,
                is_cut: false,
                age: JUST_NOW,
            },
            is_bad,
            answered: false,
            ever: false,
            was_rolled_back: false,
            held: false,
            told: true,
            runs: vec![],
            earned: STEPS[0],
            orders: 0,
            others: 0,
            crashes: 0,
            faults: Faults::default(),
        }
    }

    /// Returns the moves that are possible: so many runs at a time, and so many orders, acts of others and crashes in all.
    pub fn moves(&self, runs: usize, orders: u8, others: u8, crashes: u8) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.runs.is_empty() {
            moves.push(Move::Tick { served: false });
            moves.extend(self.has_traffic().then_some(Move::Tick { served: true }));
        }
        if self.runs.len() < runs {
            moves.push(Move::Start);
            if self.orders < orders {
                let all = [Ordered::Pause, Ordered::Resume, Ordered::Promote, Ordered::Abort];
                moves.extend(all.map(Move::Give));
            }
        }
        for (nth, run) in self.runs.iter().enumerate() {
            moves.extend(run.seen.is_none().then_some(Move::ReadStage(nth)));
            moves.extend(run.noted.is_none().then_some(Move::ReadRecord(nth)));
            moves.extend((run.seen.is_some() && run.noted.is_some()).then_some(Move::Act(nth)));
            moves.extend((self.crashes < crashes).then_some(Move::Die(nth)));
        }
        if self.others < others {
            // API Gateway refuses a deployment to a stage with a canary.
            moves.push(if self.stage.canary.is_none() { Move::Deploy } else { Move::RemoveCanary });
            moves.extend(self.has_traffic().then_some(Move::SetShare));
            moves.extend((!self.held).then_some(Move::Hold(true)));
        }
        moves.extend(self.held.then_some(Move::Hold(false)));
        moves
    }

    fn has_traffic(&self) -> bool {
        self.stage.canary.is_some_and(|share| share > 0)
    }

    /// Makes a move.
    pub fn make(&mut self, action: Move) {
        match action {
            Move::Tick { served } => {
                self.record.age = (self.record.age + 1).min(BAKED);
                let answers = served && self.has_traffic();
                (self.answered, self.ever) = (self.answered || answers, self.ever || answers);
            }
            Move::Start => self.start(None),
            Move::Give(order) => {
                self.orders += 1;
                self.start(Some(order));
            }
            Move::ReadStage(nth) => {
                let Self { stage, answered, ever, was_rolled_back, .. } = *self;
                self.runs[nth].seen = Some(Seen { stage, answered, ever, was_rolled_back });
            }
            Move::ReadRecord(nth) => self.runs[nth].noted = Some((self.record, self.held)),
            Move::Act(nth) => {
                let run = self.runs.remove(nth);
                self.act(run);
            }
            Move::Die(nth) => {
                self.crashes += 1;
                self.runs.remove(nth);
            }
            Move::Deploy => self.change_by_others(Stage { serves: Serves::Other, canary: None }),
            Move::RemoveCanary => self.change_by_others(Stage { canary: None, ..self.stage }),
            Move::SetShare => self.change_by_others(Stage { canary: Some(FOREIGN), ..self.stage }),
            Move::Hold(held) => {
                self.others += u8::from(held);
                self.held = held;
            }
        }
        // Two runs that are alike are the same state in either order.
        self.runs.sort();
    }

    /// Starts a run. It tells people of what they may not know yet, because an earlier run died.
    fn start(&mut self, order: Option<Ordered>) {
        let tells = order.is_none() && !self.told;
        self.runs.push(Run { order, tells, ..Run::default() });
    }

    fn change_by_others(&mut self, stage: Stage) {
        self.others += 1;
        self.change(stage);
    }

    fn change(&mut self, stage: Stage) {
        self.stage = stage;
        if !self.has_traffic() {
            (self.answered, self.ever) = (false, false);
        }
    }

    fn ends(&mut self, run: Run) {
        self.told |= run.tells;
    }

    fn looks_again(&mut self, run: Run) {
        self.runs.push(Run { seen: None, noted: None, ..run });
    }

    fn act(&mut self, mut run: Run) {
        let (Some(seen), Some((noted, held))) = (run.seen, run.noted) else { return };
        if let Some(order) = run.order {
            match world::ordered(noted, seen, &order.order()) {
                Some(next) => {
                    if self.record_if_same(noted, next, &mut run) {
                        run.order = None;
                        self.earned = if order == Ordered::Promote { 100 } else { self.earned };
                    }
                    self.looks_again(run);
                }
                None => self.ends(run),
            }
            return;
        }
        match world::decided(self.is_bad, seen, noted, held, run.stepped) {
            Decided::Record(next) => {
                let next = world::noted(&next, noted);
                let doubts = Some((noted.version, next.is)).filter(|(_, is)| is.is_by_others());
                let is_new = doubts.is_some() && run.doubts != doubts;
                run.doubts = Some((noted.version, next.is));
                if !is_new {
                    self.record_step(seen, noted, next, &mut run);
                }
                self.looks_again(run);
            }
            Decided::Change(change) => {
                run.stepped |= noted.is == Is::Moving;
                let rollout = world::rollout(noted);
                self.faults.unchecked |= check_step(&change, &rollout, &world::release(seen.stage)).is_err();
                // The port compares the stage with what was read, right before the change.
                if self.stage == seen.stage {
                    let changed = world::changed(self.stage, &change);
                    let share = if changed.serves == Serves::New { 100 } else { changed.canary.unwrap_or(0) };
                    self.faults.unearned |= share > self.earned && share > self.stage.canary.unwrap_or(0);
                    self.change(changed);
                }
                self.looks_again(run);
            }
            Decided::RollBack if self.stage.canary.is_some() => {
                self.change(Stage { canary: None, ..self.stage });
                self.was_rolled_back = true;
                self.looks_again(run);
            }
            Decided::Wait(_) | Decided::RollBack => self.ends(run),
            Decided::Shift(_) => self.faults.unchecked = true,
        }
    }

    /// Records what a run decided, and checks that a step which passes was earned.
    fn record_step(&mut self, seen: Seen, noted: Noted, next: Noted, run: &mut Run) {
        let passes = noted.is == Is::Baking && matches!(next.is, Is::Moving | Is::Promoting);
        let is_proven = seen.answered && noted.age == BAKED && !self.is_bad;
        if !self.record_if_same(noted, next, run) {
            return;
        }
        if passes {
            self.faults.unearned |= !is_proven;
            self.earned = if next.is == Is::Promoting { 100 } else { STEPS[usize::from(next.step)] };
        }
        let is_ordered = (noted.is, next.is) == (Is::Aborting, Is::Aborted);
        self.faults.slandered |= next.is.is_by_others() && !is_ordered && self.others + self.crashes == 0;
    }

    /// Writes a record over the version that was read. Whoever wrote first wins.
    fn record_if_same(&mut self, read: Noted, next: Noted, run: &mut Run) -> bool {
        let is_same = self.record.version == read.version;
        if is_same {
            self.record = Noted { version: read.version + 1, ..next };
            if next.age == JUST_NOW {
                self.answered = false;
            }
            if next.is.is_news() {
                self.told = false;
                run.tells = true;
            }
        }
        is_same
    }

    /// Whether nobody but people must act, and they know. Only a run that died, or somebody else, leaves a canary behind; the sweep
    /// tells people of it.
    fn is_at_rest(&self) -> bool {
        let is_told_canary = self.others + self.crashes > 0 && world::is_left_over(self.record, self.stage);
        let has_ended = self.record.is.has_ended() && (self.stage.canary.is_none() || is_told_canary);
        self.told && (has_ended || self.record.is == Is::Paused)
    }

    /// Whether the schedule alone brings the rollout to rest: runs go on, requests come, a hold ends.
    pub fn comes_to_rest(&self) -> bool {
        let mut life = self.clone();
        life.held = false;
        for _ in 0..PATIENCE {
            while let Some(run) = life.runs.first() {
                let next = match (run.seen, run.noted) {
                    (None, _) => Move::ReadStage(0),
                    (_, None) => Move::ReadRecord(0),
                    _ => Move::Act(0),
                };
                life.make(next);
            }
            if life.is_at_rest() {
                return true;
            }
            life.make(Move::Tick { served: true });
            life.make(Move::Start);
        }
        false
    }

    /// Whether it is in this state, and people know.
    pub fn ends_as(&self, is: Is) -> bool {
        self.record.is == is && self.told
    }

    /// Whether a release that fails was promoted although nobody ordered it.
    pub fn promoted_a_bad_one(&self) -> bool {
        self.is_bad && self.stage.serves == Serves::New && self.orders == 0
    }
}
