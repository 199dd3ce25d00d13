//! The states that simulation runs reach, so that a seed is kept for what it shows and not for its number.
//!
//! A state is everything that decides what the function does next, without names and times: what the stage serves, its records,
//! its alarms, the incidents, and how the last run ended.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use apigw_rollback::model::alarm::{AlarmNow, State};
use apigw_rollback::model::observed::{KnownGood, OnRecord};
use apigw_rollback::model::records::{Incident, Parameter, parse};
use apigw_rollback::model::stage::StageRef;

use super::kind::{Kind, served};
use super::life::SimulationRun;
use crate::simulation::invariants::{Seen, Signal};
use crate::support::world::Facts;

/// The states of one run or of many.
pub(crate) type States = BTreeSet<String>;

impl SimulationRun {
    /// Notes the present state, if states are counted. `ended` is the run that has just ended.
    pub(super) fn note_state(&mut self, ended: Option<&Seen>) {
        if self.states.is_none() {
            return;
        }
        let stage = self.others.stage();
        let names = self.config.names.clone();
        let region = self.config.region.clone();
        let mut reached = match self.others.kind {
            Kind::Rest => "rest",
            Kind::Aliased | Kind::Mapped => "components",
            Kind::Http | Kind::WebSocket | Kind::AutoDeploy => "v2",
        }
        .to_owned();
        self.world.look(|facts| {
            let found: Vec<Parameter> = facts
                .parameters
                .iter()
                .filter_map(|(name, values)| {
                    let value = values.last()?.clone();
                    let version = i64::try_from(values.len()).unwrap_or(i64::MAX);
                    Some(Parameter { name: name.clone(), value, version })
                })
                .collect();
            let on_record = OnRecord::from_parameters(&names, &region, &stage, &found);
            let words = [serving(facts, &stage, &on_record), recorded(facts, &on_record), incidents(&found)];
            reached.extend(words.concat().into_iter().chain(alarms(facts)).map(|word| format!(" {word}")));
        });
        reached.push_str(if self.under_way() > 0 { " another run" } else { "" });
        reached.push_str(&ended.map(said).unwrap_or_default());
        self.states.get_or_insert_default().insert(reached);
    }
}

/// What the stage serves.
fn serving(facts: &Facts, stage: &StageRef, on_record: &OnRecord) -> Vec<&'static str> {
    let Some(live) = facts.stages.get(stage) else { return vec!["no stage"] };
    let release = served(facts, stage);
    let is_good = on_record.good().is_some_and(|(_, record)| record.release.over(&release) == release);
    let words = [
        (is_good, "serves known-good"),
        (on_record.rollbacks.quarantines(&release), "serves quarantined"),
        (on_record.candidate_for(&release).is_some(), "serves candidate"),
        (release.canary.is_some(), "canary"),
        (live.auto_deploy, "auto-deploy"),
    ];
    words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect()
}

/// What is on record, and whether it is pinned.
fn recorded(facts: &Facts, on_record: &OnRecord) -> Vec<&'static str> {
    let record = match &on_record.known_good {
        KnownGood::None { .. } => "no record",
        KnownGood::Unusable { .. } => "unusable record",
        KnownGood::Found { .. } => "record",
    };
    let good = on_record.good().map(|(_, record)| record.release.deployment.as_str());
    let exists = good.is_some_and(|good| facts.deployments.iter().any(|(_, deployment)| deployment == good));
    let parked = facts.stages.iter().find(|(stage, _)| stage.is_parked());
    let pin = match parked.map(|(_, live)| Some(live.release.deployment.as_str()) == good) {
        None => "no pin",
        Some(true) => "pinned",
        Some(false) => "pinned to another",
    };
    let hold = on_record.hold.as_ref().filter(|hold| hold.until > facts.now).map(|_| "held");
    let marked = on_record.candidate.as_ref().filter(|candidate| candidate.irreversible);
    let mut words = vec![record, pin];
    words.extend((good.is_some() && !exists).then_some("its deployment is gone"));
    words.extend(hold);
    words.extend(marked.map(|_| "irreversible"));
    words.extend(on_record.unreadable.as_ref().map(|_| "unreadable"));
    words
}

/// What the incidents say.
fn incidents(found: &[Parameter]) -> Vec<&'static str> {
    let mut words = BTreeSet::new();
    for one in found.iter().filter(|one| one.name.contains("/incidents/")) {
        let Ok(incident) = parse::<Incident>(&one.value) else {
            words.insert("unreadable incident");
            continue;
        };
        words.insert(
            match (incident.undone, incident.lifted_by.is_some(), incident.recovered_at.is_some()) {
                (true, _, _) => "undone incident",
                (_, true, _) => "lifted incident",
                (_, _, true) => "closed incident",
                (false, false, false) => "open incident",
            },
        );
    }
    words.into_iter().collect()
}

/// What the alarms say.
fn alarms(facts: &Facts) -> Vec<&'static str> {
    let any = |is: fn(&AlarmNow) -> bool| facts.alarms.iter().any(is);
    let is_silent = |alarm: &AlarmNow| !alarm.actions_enabled || alarm.alarm.suppressed_by.is_some();
    let words = [
        (any(|alarm| alarm.alarm.state == State::Alarm), "in alarm"),
        (any(is_silent) || !facts.muted.is_empty(), "silenced"),
    ];
    words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect()
}

/// How a run ended.
fn said(seen: &Seen) -> String {
    let by = match &seen.signal {
        Signal::Alarm { .. } => "alarm",
        Signal::Sweep => "sweep",
        Signal::Operator => "operator",
        Signal::Sibling(_) => "sibling",
    };
    let Some(reports) = &seen.reports else { return format!(": {by} died") };
    let ends: BTreeSet<String> = reports
        .iter()
        .map(|report| format!("{:?} {}", report.outcome, report.code().unwrap_or_default()))
        .collect();
    format!(": {by} {}", ends.into_iter().collect::<Vec<_>>().join(", "))
}

/// The seeds that a soak kept, in its order. The first ones reached the most new states.
const KEPT: &str = include_str!("seeds.txt");

/// Returns the seeds that a soak kept.
pub(super) fn kept() -> Vec<u64> {
    let lines = KEPT.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(|seed| seed.parse().unwrap()).collect()
}

/// Returns so many seeds: first those that are kept, then others by their number.
pub(super) fn seeds(number: usize) -> Vec<u64> {
    let kept = kept();
    let known: HashSet<u64> = kept.iter().copied().collect();
    kept.into_iter().chain((0..).filter(|seed| !known.contains(seed))).take(number).collect()
}

/// What a soak has seen.
#[derive(Default)]
pub(super) struct Soak {
    states: States,
    kept: Vec<u64>,
    runs: usize,
    /// The seed that reached the last new state, after so many runs.
    last: Option<(u64, usize)>,
}

impl Soak {
    /// Adds the states of a seed, and keeps the seed if one of them is new.
    pub(super) fn add(&mut self, seed: u64, states: States) {
        self.runs += 1;
        let before = self.states.len();
        self.states.extend(states);
        if self.states.len() > before {
            self.kept.push(seed);
            self.last = Some((seed, self.runs));
        }
    }

    /// Says how many states there are, and when the last new one came.
    pub(super) fn described(&self) -> String {
        let last = self.last.map_or_else(
            || "none is new".to_owned(),
            |(seed, at)| format!("the last new one came with seed {seed}, {} runs ago", self.runs - at),
        );
        format!("{} runs: {} states, {} seeds kept; {last}", self.runs, self.states.len(), self.kept.len())
    }

    /// Writes the seeds that are kept, and returns the file.
    pub(super) fn store(&self) -> PathBuf {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seeds.txt");
        let head = format!(
            "# Seeds that reached a new state: {} states after {} runs. `make soak` writes this list.\n",
            self.states.len(),
            self.runs
        );
        let lines: Vec<String> = self
            .kept
            .chunks(16)
            .map(|seeds| seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        std::fs::write(&file, head + &lines.join("\n") + "\n").unwrap();
        file
    }
}
