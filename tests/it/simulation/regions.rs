//! Lives of one API in two Regions, each with its own traffic, alarms, operators, faults and function. What one function reports
//! about a bad release reaches the other one as EventBridge delivers it: late, twice, in another order, or never.

use std::collections::BTreeMap;

use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::policy::{PolicyOverrides, Siblings};
use apigw_rollback::model::records::{Candidate, Record, parse};
use apigw_rollback::model::release::Release;
use apigw_rollback::model::report::{Outcome, Report};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;
use serde_json::{Value, json};

use super::invariants::{BLUR, Case, Seen, Signal, hold};
use super::life::{AgendaItem, Event, SimulationRun, on_its_own_clock};
use super::others::{ExternalAction, Others, quality};
use super::{number, rest};
use crate::support::harness::event;
use crate::support::world::{Change, Facts};

const NAMES: [&str; 2] = ["eu-west-1", "us-east-1"];
const SETTINGS: [[(&str, &str); 3]; 2] = [
    [("AWS_REGION", NAMES[0]), ("SIBLINGS", NAMES[1]), ("EVENT_BUS", "default")],
    [("AWS_REGION", NAMES[1]), ("SIBLINGS", NAMES[0]), ("EVENT_BUS", "default")],
];

/// How many lives `make test` plays.
const SEEDS: u64 = 400;

/// The longest time that a report is on its way.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(15);

/// A report about another Region's incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The message. All its copies have the same name.
    pub(crate) message: String,
    /// The deployment that was rolled back there. The same release has the same one here.
    pub(crate) deployment: Option<String>,
    /// The label of the release.
    pub(crate) label: Option<String>,
    /// Whether the report names a bad release at all.
    pub(crate) is_named: bool,
}

/// One API in two Regions.
struct Fleet {
    regions: [SimulationRun; 2],
    before: [Facts; 2],
    rng: Rng,
    /// How many events of each Region were looked at.
    taken: [usize; 2],
    /// Whether somebody wrote a rule that forwards every report.
    forwards_all: bool,
}

impl Fleet {
    fn new(seed: u64, with_story: bool) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5e67_1045);
        let all = ["tell", "hold", "follow", "follow", "follow"];
        let policies = [(); 2].map(|()| *rng.choice(&all).unwrap());
        let is_described = rng.usize(..4) > 0;
        // Some releases are bad in one Region only.
        let bad_where: Vec<_> = (0..8).map(|_| (quality(&mut rng), rng.usize(..4))).collect();
        let in_region = |at: usize| {
            let of = |(quality, only): &(Option<TimeDelta>, usize)| quality.filter(|_| *only != 1 - at);
            bad_where.iter().map(of).collect::<Vec<_>>()
        };
        let lags = [TimeDelta::zero(), TimeDelta::seconds(rng.i64(0..240))];
        let regions = [0, 1].map(|at| {
            SimulationRun::changed(seed, with_story, |own, others, facts| {
                // Both Regions have the same releases; everything else differs.
                *own = Rng::with_seed(own.u64(..).wrapping_add(at as u64));
                others.in_region(in_region(at), lags[at]);
                others.settings.extend(SETTINGS[at]);
                set_up(facts, others, NAMES[at], policies[at]);
                if is_described {
                    facts.descriptions = (1..9).map(described).collect();
                }
            })
        });
        let before = [0, 1].map(|at: usize| regions[at].world.facts());
        Self { regions, before, forwards_all: rng.usize(..8) == 0, rng, taken: [0, 0] }
    }

    async fn run_to_end(&mut self) {
        while !self.regions.iter().all(SimulationRun::is_over) {
            let [one, other] = &mut self.regions;
            tokio::select! {
                biased;
                () = one.go_on(), if !one.is_over() => {}
                () = other.go_on(), if !other.is_over() => {}
            }
            self.forward(0, 1);
            self.forward(1, 0);
        }
        for region in &self.regions {
            region.world.change(|facts| facts.now = region.clock.now());
        }
    }

    /// Sends new reports of one Region to the other one, as the rule of its stack does.
    fn forward(&mut self, from: usize, to: usize) {
        let reports = self.regions[from].world.look(|facts| facts.events[self.taken[from]..].to_vec());
        for report in reports {
            self.taken[from] += 1;
            let detail: Value = serde_json::from_str(&report).unwrap();
            let is_forwarded =
                ["rolled-back", "rollout-aborted"].map(Value::from).contains(&detail["outcome"])
                    && detail["bad"]["region"] == NAMES[from];
            if !is_forwarded && !self.forwards_all {
                continue;
            }
            let heard = Heard {
                message: format!("{} {}", NAMES[from], self.taken[from]),
                deployment: rolled_back(&self.regions[from]),
                label: detail["bad"]["label"].as_str().map(str::to_owned),
                is_named: !detail["bad"].is_null(),
            };
            let mut message: Value = serde_json::from_str(&event("eventbridge-sibling")).unwrap();
            (message["region"], message["detail"]) = (json!(NAMES[from]), detail);
            let arriving = Event { text: message.to_string(), signal: Signal::Sibling(heard) };
            let (fate, brought_back) = (self.fate(), self.brought_back());
            let region = &mut self.regions[to];
            let now = region.now();
            for delay in fate {
                region.at(now + delay, AgendaItem::Event(arriving.clone(), 1));
            }
            if let Some(delay) = brought_back {
                region.at(now + delay, AgendaItem::Other(ExternalAction::Edit));
            }
        }
    }

    /// Draws after which times a message and its copies arrive, if it is not lost.
    fn fate(&mut self) -> Vec<TimeDelta> {
        let soon = |rng: &mut Rng| TimeDelta::milliseconds(rng.i64(100..5_000));
        let late = |rng: &mut Rng| TimeDelta::seconds(rng.i64(5..ON_ITS_WAY.num_seconds()));
        let rng = &mut self.rng;
        match rng.usize(..10) {
            0 => vec![],
            1 => vec![soon(rng), soon(rng)],
            2..5 => vec![soon(rng), late(rng)],
            5 => vec![late(rng)],
            _ => vec![soon(rng)],
        }
    }

    /// Draws when an operator edits the stage because of a message: half of these edits bring back what was rolled back.
    fn brought_back(&mut self) -> Option<TimeDelta> {
        let after = TimeDelta::seconds(self.rng.i64(20..ON_ITS_WAY.num_seconds() / 3));
        (self.rng.usize(..2) == 0).then_some(after)
    }

    /// Checks everything that must hold at the end, in both Regions.
    fn check(&self) -> Result<(), String> {
        for (at, region) in self.regions.iter().enumerate() {
            let after = region.world.facts();
            let checked = hold(&self.before[at], &after, &region.seen, &region.config)
                .and_then(|()| rest::is_at_rest(region, &after))
                .and_then(|()| is_not_passed_on(region, &after))
                .and_then(|()| are_matched(region, &after))
                .and_then(|()| are_held(region, &after))
                .and_then(|()| are_followed(region, &after));
            checked.map_err(|why| format!("{}: {why}", NAMES[at]))?;
        }
        Ok(())
    }
}

fn described(number: usize) -> (String, String) {
    (format!("d{number}"), format!("deployment of release {number}"))
}

/// Moves a world to a Region, and gives its stage a policy for the incidents of the other one.
fn set_up(facts: &mut Facts, others: &Others, region: &str, siblings: &str) {
    let moved = |text: &mut String| *text = text.replace(NAMES[0], region);
    facts.alarms.iter_mut().filter_map(|now| now.alarm.arn.as_mut()).for_each(moved);
    facts.parameters.values_mut().flatten().for_each(moved);
    region.clone_into(&mut facts.region);
    let name = ParameterNames::under("/apigw-rollback").policy(&others.stage());
    let own = facts.parameters.get(&name).and_then(|versions| versions.last());
    let mut policy: Value = own.map_or(json!({"schema": 1}), |text| serde_json::from_str(text).unwrap());
    policy["siblings"] = json!(siblings);
    facts.parameters.insert(name, vec![policy.to_string()]);
}

/// Returns the deployment that a Region's function rolled back last.
fn rolled_back(region: &SimulationRun) -> Option<String> {
    let stage = region.others.stage();
    region.world.look(|facts| {
        let ours = |one: &&Change| one.stage == stage && one.from != one.to && one.by != "others";
        let Change { from, to, .. } = facts.changes.iter().rfind(ours)?;
        let canary = from.canary.as_ref().and_then(|canary| canary.deployment.clone());
        if from.deployment == to.deployment { canary } else { Some(from.deployment.clone()) }
    })
}

fn serves(release: &Release, deployment: &str) -> bool {
    let canary = release.canary.as_ref().and_then(|canary| canary.deployment.as_deref());
    release.deployment == deployment || canary == Some(deployment)
}

/// Checks that a run may change its stage because of another Region's incident.
pub(super) fn may_follow(case: &Case<'_>, heard: &Heard) -> Result<(), String> {
    let rule = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
    let Change { from, to, at, .. } = case.change;
    rule(case.policy().siblings == Siblings::Follow, "the policy follows no other Region")?;
    rule(heard.is_named, "another Region caused the other Region's rollback")?;
    let names = ParameterNames::under("/apigw-rollback");
    let candidates = case.after.writes.iter().filter(|write| write.name == names.candidate(case.stage()));
    let mut candidates = candidates.filter_map(|write| parse::<Candidate>(&write.value).ok());
    let is_labelled = heard.label.is_some()
        && candidates.any(|one| one.label == heard.label && one.release.in_stage() == *from);
    let is_the_one = heard.deployment.as_ref().is_some_and(|deployment| serves(from, deployment));
    rule(is_the_one || is_labelled, "the other Region rolled another release back")?;
    let known = case.after.written(&names.known_good(case.stage()), case.since());
    let known = known.and_then(|write| parse::<Record>(&write.value).ok());
    let known = known.or_else(|| case.before.recorded(case.stage()).pop());
    rule(known.is_none_or(|known| known.release.in_stage() != *from), "the release is known-good")?;
    let same = |by: &str| {
        let mut runs = case.runs.iter().filter(|run| run.id == by);
        runs.any(|run| matches!(&run.signal, Signal::Sibling(other) if other.message == heard.message))
    };
    let mut earlier = case.on_stage().filter(|one| one.from != one.to && one.at < *at);
    let is_undone = |one: &Change| (&one.to, &one.from) == (from, to);
    let twice = earlier.any(|one| same(&one.by) && one.by != case.change.by && !is_undone(one));
    rule(!twice, "the message led to a rollback before")
}

/// Checks that the messages do not go in a circle: what a sibling caused names no bad release.
fn is_not_passed_on(region: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let is_caused = |detail: &Value| {
        let mut runs = region.seen.iter().filter(|run| detail["run"] == run.id.as_str());
        runs.any(|run| matches!(run.signal, Signal::Sibling(_)))
    };
    for event in &facts.events {
        let detail: Value = serde_json::from_str(event).unwrap();
        if is_caused(&detail) && !detail["bad"].is_null() {
            return Err(format!("a message was passed on: {event}"));
        }
    }
    Ok(())
}

/// The runs that a message of the other Region began, with their one report.
fn hearings(region: &SimulationRun) -> impl Iterator<Item = (&Seen, &Heard, &Report)> {
    region.seen.iter().filter_map(|run| match (&run.signal, run.reports.as_deref()) {
        (Signal::Sibling(heard), Some([report])) => Some((run, heard, report)),
        _ => None,
    })
}

/// Checks that a run recognizes the bad release if the stage serves it all the time and both Regions know its label.
fn are_matched(region: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let stage = region.others.stage();
    let names = ParameterNames::under("/apigw-rollback");
    for (run, heard, report) in hearings(region) {
        let (from, to) = (run.began - BLUR, run.began + BLUR);
        let on_stage = facts.changes.iter().filter(|one| one.stage == stage);
        let was = on_stage.clone().rfind(|one| one.at < from).map(|one| &one.to);
        let is_still = !on_stage.clone().any(|one| from <= one.at && one.at <= to);
        // An operator may give the release another label meanwhile.
        let has_label = [from, to].into_iter().all(|at| {
            let candidate = facts.written(&names.candidate(&stage), at);
            let candidate = candidate.and_then(|write| parse::<Candidate>(&write.value).ok());
            candidate.is_some_and(|one| {
                Some(&one.release.in_stage()) == was && one.label.is_some() && one.label == heard.label
            })
        });
        let denied = ["sibling-elsewhere", "sibling-unmatched"].map(Some).contains(&report.code());
        if denied && is_still && has_label {
            return Err(format!("{} does not recognize the release: {}", run.id, report.message));
        }
        if !heard.is_named && report.outcome != Outcome::Rejected {
            return Err(format!("{} takes what names no bad release: {}", run.id, report.message));
        }
    }
    Ok(())
}

/// Checks that no sweep promotes a release that another Region's incident holds up.
fn are_held(region: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let during = |from: DateTime<Utc>, to: DateTime<Utc>| {
        let orders = region.seen.iter().filter(|run| run.signal == Signal::Operator);
        orders.filter(|run| from <= run.began + BLUR && run.began <= to).count()
    };
    for (run, heard, report) in hearings(region) {
        let may_promote = report.message.contains("its policy `siblings` is `tell`");
        let Some(bad) = heard.deployment.as_ref().filter(|_| report.code() == Some("sibling-incident"))
        else {
            continue;
        };
        let live = report.before.as_ref().is_some_and(|before| before.deployment == *bad);
        for (at, by, value) in &facts.records {
            let by_sweep = region.seen.iter().any(|one| one.id == *by && one.signal == Signal::Sweep);
            let is_later = *at > run.began + BLUR * 2 && during(run.began, *at) == 0;
            let is_it = parse::<Record>(value).is_ok_and(|record| record.release.deployment == *bad);
            if live && !may_promote && by_sweep && is_later && is_it {
                return Err(format!("{by} recorded at {at} what {} held: {}", run.id, report.message));
            }
        }
    }
    Ok(())
}

/// Checks that a stage whose policy follows does more than hold the release, unless it heard of it before or its own requests
/// acquit the release.
fn are_followed(region: &SimulationRun, facts: &Facts) -> Result<(), String> {
    let own = facts.parameters.get(&ParameterNames::under("/apigw-rollback").policy(&region.others.stage()));
    let own = own.and_then(|versions| parse::<PolicyOverrides>(versions.last()?).ok()).unwrap_or_default();
    if region.config.policy.under(&own).siblings != Siblings::Follow {
        return Ok(());
    }
    for (run, heard, report) in hearings(region) {
        let is_known = region.seen.iter().any(|other| {
            let Signal::Sibling(one) = &other.signal else { return false };
            other.id != run.id && other.began <= run.began + BLUR && one.deployment == heard.deployment
        });
        let only_holds = report.code() == Some("sibling-incident") && !report.message.contains("acquit");
        if only_holds && !is_known {
            return Err(format!("{} does not follow: {}", run.id, report.message));
        }
    }
    Ok(())
}

/// Plays one life; returns what the messages led to.
fn play(seed: u64) -> Result<Vec<String>, String> {
    on_its_own_clock(async {
        let mut fleet = Fleet::new(seed, number("SEED").is_some());
        fleet.run_to_end().await;
        for (name, region) in NAMES.iter().zip(&fleet.regions) {
            region.story.iter().flatten().for_each(|line| println!("{name} {line}"));
        }
        fleet.check().map_err(|why| format!("seed {seed}: {why}"))?;
        let all = fleet.regions.iter().flat_map(hearings);
        let end = |report: &Report| match report.code() {
            Some(code) => code.to_owned(),
            None => report.outcome.word().to_owned(),
        };
        Ok(all.map(|(_, _, report)| end(report)).collect())
    })
}

/// Plays these lives, and checks that messages led to everything that they can lead to.
fn play_all(seeds: std::ops::Range<u64>) {
    let mut ends = BTreeMap::<String, usize>::new();
    for seed in seeds.clone() {
        match play(seed) {
            Ok(all) => all.into_iter().for_each(|end| *ends.entry(end).or_default() += 1),
            Err(why) => panic!("{why}"),
        }
    }
    println!("{} lives in two Regions: {ends:?}", seeds.end - seeds.start);
    let all = [
        "rolled-back",
        "sibling-incident",
        "sibling-known-good",
        "sibling-elsewhere",
        "sibling-unmatched",
        "not-a-sibling",
    ];
    assert!(seeds.end - seeds.start < 100 || all.iter().all(|end| ends.contains_key(*end)), "{ends:?}");
}

#[test]
fn two_regions_keep_every_promise_whatever_happens() {
    play_all(number("SEED").map_or(0..SEEDS, |seed| seed..seed + 1));
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn many_lives_in_two_regions_keep_every_promise() {
    play_all(SEEDS..SEEDS + 10_000);
}
