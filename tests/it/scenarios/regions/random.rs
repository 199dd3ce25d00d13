//! Two and three Regions in which anything happens in any order, and messages are lost, doubled, late or out of order.

use apigw_rollback::model::alarm::State;
use proptest::prelude::*;
use serde_json::Value;

use super::{ALL, Fleet, fires, release};
use crate::support::world::API;

/// What happens in a Region, or to a message, in a random order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deploy(usize, u8),
    Fires(usize),
    Quiet(usize),
    Sweeps(usize),
    /// The n-th message of a Region reaches another one. It may be late, and may have been delivered before.
    Delivers(usize, usize, usize),
}

fn steps(regions: usize) -> impl Strategy<Value = Vec<Step>> {
    let at = 0..regions;
    let step = prop_oneof![
        2 => (at.clone(), 2..5_u8).prop_map(|(at, release)| Step::Deploy(at, release)),
        2 => at.clone().prop_map(Step::Fires),
        1 => at.clone().prop_map(Step::Quiet),
        2 => at.clone().prop_map(Step::Sweeps),
        4 => (at.clone(), 0..4_usize, at).prop_map(|(from, nth, to)| Step::Delivers(from, nth, to)),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Plays the steps. Checks after each message what must hold whatever was lost, doubled, late or out of order.
fn play(mut fleet: Fleet, steps: &[Step]) -> Result<(), TestCaseError> {
    const LABELS: [&str; 5] = ["", "v1", "v2", "v3", "v4"];
    for step in steps {
        match *step {
            Step::Deploy(at, number) => {
                fleet = fleet.at(ALL[at], release(number, LABELS[usize::from(number)]));
            }
            Step::Fires(at) => fleet = fleet.at(ALL[at], fires),
            Step::Quiet(at) => {
                fleet = fleet.at(ALL[at], |one| one.later(6).alarm_is(State::Ok).event_arrives());
            }
            Step::Sweeps(at) => fleet = fleet.at(ALL[at], |one| one.later(31).sweep()),
            Step::Delivers(from, nth, to) => {
                if from == to || fleet.forwarded(ALL[from]).len() <= nth {
                    continue;
                }
                let sent = fleet.sent();
                let (before, good) = (fleet.stage(ALL[to]), fleet.known_good(ALL[to]));
                fleet = fleet.delivers(ALL[from], nth, ALL[to]);
                let after = fleet.stage(ALL[to]);
                prop_assert!(
                    after == before || after == good,
                    "{before} -> {after}, and {good} is known-good"
                );
                prop_assert!(
                    before != good || after == good,
                    "the known-good release {good} was rolled back"
                );
                prop_assert_eq!(sent, fleet.sent(), "the message was passed on");
                let changes = fleet.facts(ALL[to]).changes.len();
                fleet = fleet.delivers(ALL[from], nth, ALL[to]);
                prop_assert_eq!(changes, fleet.facts(ALL[to]).changes.len(), "a copy changed the stage");
            }
        }
    }
    Ok(())
}

impl Fleet {
    /// Returns how many messages each Region has sent.
    fn sent(&self) -> Vec<usize> {
        self.regions.iter().map(|(name, _)| self.forwarded(name).len()).collect()
    }

    /// Returns the deployment of the known-good record.
    fn known_good(&self, region: &str) -> String {
        let name = format!("/apigw-rollback/stages/{API}/prod/known-good");
        let record: Value =
            serde_json::from_str(self.facts(region).parameters[&name].last().unwrap()).unwrap();
        record["release"]["deployment"].as_str().unwrap().to_owned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_regions_keep_their_promises_whatever_happens_to_messages(steps in steps(2)) {
        play(Fleet::of(2, "follow"), &steps)?;
    }

    #[test]
    fn three_regions_keep_their_promises_whatever_happens_to_messages(steps in steps(3)) {
        play(Fleet::of(3, "follow"), &steps)?;
    }
}
