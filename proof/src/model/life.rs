//! The life of a stage: its state, and the moves of the function and of others.

use crate::world;

/// A release, by its number.
pub type Number = u8;

/// Times are counted in ticks of five minutes, up to this: whatever is older is the same.
pub const OLD: u8 = 4;

/// How long until a stage at rest must have been reached, in ticks, once the others are calm.
const PATIENCE: usize = 12;

/// A rollback that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rollback {
    /// The bad release.
    pub bad: Number,
    /// The release that replaced it.
    pub good: Number,
    /// How long ago.
    pub age: u8,
    /// It is in the list of rollbacks, so that its release is in quarantine.
    pub listed: bool,
}

/// A run of the function that has decided, and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Run {
    /// It will set the stage to the record, if the stage still serves this release.
    Planned { seen: Number, good: Number },
    /// It has changed the stage, and its incident is written.
    Changed,
}

/// What must never happen, if it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Faults {
    pub set_to_another: bool,
    pub wronged: bool,
    pub recorded_bad: bool,
    pub unchecked: bool,
    pub touched_held: bool,
}

/// A move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Five minutes pass, and CloudWatch evaluates the alarm.
    Tick,
    /// Somebody deploys a new release, good or bad.
    Deploy { bad: bool },
    /// The deployer deletes a deployment that no stage serves.
    Delete(Number),
    /// An operator holds the stage, or releases it.
    Hold(bool),
    /// The alarm's event is lost.
    Lose,
    /// The alarm's event starts a run, which decides.
    Event,
    /// The run goes on: it changes the stage, or lists the rollback and tells people.
    Go,
    /// The run dies.
    Die,
    /// The sweep carries out so many of its actions, and then dies unless these are all.
    Sweep(u8),
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Life {
    /// The release that the stage serves, and since when.
    pub live: Number,
    pub changed: u8,
    /// The releases that fail, and the deployments that exist, as bits.
    pub bad: u16,
    pub exist: u16,
    /// How many releases there were.
    pub deployed: u8,
    /// The recorded release.
    pub record: Option<Number>,
    /// The candidate, and when it was first seen.
    pub candidate: Option<(Number, u8)>,
    /// The release whose deployment the parked stage keeps.
    pub pin: Option<Number>,
    /// Whether the alarm is in ALARM, and when it last fired.
    pub alarm: bool,
    pub fired: Option<u8>,
    /// The alarm's event is on its way.
    pub event: bool,
    pub rollbacks: Vec<Rollback>,
    pub run: Option<Run>,
    pub held: bool,
    /// People know why the stage is left as it is; a change makes that old.
    pub told: bool,
    /// How many crashes, lost events and holds there were.
    pub crashes: u8,
    pub lost: u8,
    pub holds: u8,
    /// The stage was promoted to a release that the function recorded.
    pub promoted: bool,
    pub faults: Faults,
}

impl Life {
    /// A stage that serves release 1.
    pub fn new(is_recorded: bool) -> Self {
        Self {
            live: 1,
            changed: OLD,
            bad: 0,
            exist: 1 << 1,
            deployed: 1,
            record: is_recorded.then_some(1),
            candidate: None,
            pin: is_recorded.then_some(1),
            alarm: false,
            fired: None,
            event: false,
            rollbacks: vec![],
            run: None,
            held: false,
            told: false,
            crashes: 0,
            lost: 0,
            holds: 0,
            promoted: false,
            faults: Faults::default(),
        }
    }

    pub fn exists(&self, number: Number) -> bool {
        self.exist >> number & 1 == 1
    }

    pub fn is_bad(&self, number: Number) -> bool {
        self.bad >> number & 1 == 1
    }

    /// Returns the moves that are possible, so many of each in all.
    pub fn moves(&self, deploys: u8, crashes: u8, lost: u8, holds: u8) -> Vec<Move> {
        let mut moves = vec![Move::Tick];
        if self.deployed <= deploys {
            moves.extend([Move::Deploy { bad: true }, Move::Deploy { bad: false }]);
        }
        let is_kept = |number: Number| number == self.live || self.pin == Some(number);
        moves.extend((1..=self.deployed).filter(|one| self.exists(*one) && !is_kept(*one)).map(Move::Delete));
        if self.held || self.holds < holds {
            moves.push(Move::Hold(!self.held));
        }
        if self.event {
            moves.extend((self.lost < lost).then_some(Move::Lose));
            moves.extend(self.run.is_none().then_some(Move::Event));
        }
        let dies = self.crashes < crashes;
        if self.run.is_some() {
            moves.push(Move::Go);
            moves.extend(dies.then_some(Move::Die));
        } else {
            let actions = world::number_of_actions(self);
            moves.push(Move::Sweep(actions));
            moves.extend((0..actions).filter(|_| dies).map(Move::Sweep));
        }
        moves
    }

    /// Makes a move.
    pub fn make(&mut self, action: Move) {
        match action {
            Move::Tick => self.tick(),
            Move::Deploy { bad } => {
                self.deployed += 1;
                self.bad |= u16::from(bad) << self.deployed;
                self.exist |= 1 << self.deployed;
                self.change_to(self.deployed);
            }
            Move::Delete(number) => self.exist &= !(1 << number),
            Move::Hold(held) => {
                self.holds += u8::from(held);
                self.held = held;
            }
            Move::Lose => {
                self.lost += 1;
                self.event = false;
            }
            Move::Event => {
                self.event = false;
                world::judge(self);
            }
            Move::Go => self.go_on(),
            Move::Die => {
                self.crashes += 1;
                self.run = None;
            }
            Move::Sweep(number) => {
                let all = world::number_of_actions(self);
                self.crashes += u8::from(number < all);
                world::sweep(self, number);
            }
        }
    }

    fn change_to(&mut self, number: Number) {
        (self.live, self.changed, self.told) = (number, 0, false);
    }

    fn tick(&mut self) {
        let older = |age: &mut u8| *age = (*age + 1).min(OLD);
        older(&mut self.changed);
        self.fired.iter_mut().for_each(older);
        self.candidate.iter_mut().for_each(|(_, seen)| older(seen));
        self.rollbacks.iter_mut().for_each(|one| older(&mut one.age));
        let fails = self.is_bad(self.live);
        if fails && !self.alarm {
            (self.fired, self.event) = (Some(0), true);
        }
        self.alarm = fails;
        // An event that has not arrived by now is too old.
        self.event &= fails;
    }

    /// The run changes the stage, or ends.
    fn go_on(&mut self) {
        match self.run.take() {
            None => {}
            Some(Run::Planned { seen, good }) => {
                // API Gateway refuses a deployment that does not exist, and the port compares its last look.
                if self.live != seen {
                    world::judge(self);
                    return;
                }
                if !self.exists(good) {
                    self.told = true;
                    return;
                }
                self.faults.set_to_another |= self.record != Some(good);
                self.faults.wronged |= !self.is_bad(seen);
                self.change_to(good);
                self.rollbacks.push(Rollback { bad: seen, good, age: 0, listed: false });
                self.run = Some(Run::Changed);
            }
            Some(Run::Changed) => {
                if let Some(last) = self.rollbacks.last_mut() {
                    last.listed = true;
                }
                self.told = true;
            }
        }
    }

    /// Whether nobody but people must act: the stage serves its record; or it is left as it is, for a reason that lasts until
    /// somebody acts, and people know. A release that does not fail must be recorded in the end, unless an operator holds it.
    fn is_at_rest(&self) -> bool {
        let serves_it = self.record == Some(self.live);
        let is_left = self.is_bad(self.live) && self.told && world::is_left_for_good(self);
        self.run.is_none() && (serves_it || self.held || is_left)
    }

    /// Whether the function alone brings the stage to rest and keeps it there: runs go on, events arrive, the sweep comes.
    pub fn comes_to_rest(&self) -> bool {
        let mut life = self.clone();
        let mut rests = 0;
        for _ in 0..PATIENCE {
            while life.run.is_some() {
                life.go_on();
            }
            if life.event {
                life.make(Move::Event);
                continue;
            }
            world::sweep(&mut life, u8::MAX);
            while life.run.is_some() {
                life.go_on();
            }
            rests = if life.is_at_rest() { rests + 1 } else { 0 };
            // A release that is at rest for longer than a bake stays so.
            if rests > 3 {
                return true;
            }
            life.tick();
        }
        false
    }

    pub fn was_rolled_back(&self) -> bool {
        self.rollbacks.iter().any(|one| one.listed)
    }

    pub fn was_promoted(&self) -> bool {
        self.promoted && self.record.is_some_and(|record| record > 1)
    }

    pub fn is_untold(&self) -> bool {
        self.run.is_none() && self.rollbacks.iter().any(|one| !one.listed)
    }

    pub fn is_told_hold(&self) -> bool {
        self.told && !self.held && self.record != Some(self.live)
    }
}
