//! The decision, enumerated: every combination of facts, against a table that is written from the documents.
//!
//! `make enumerate` runs all of them; the test here runs the small spaces, and a cut through the large ones. docs/proof.md
//! says what the abstraction leaves out.

pub(crate) mod alarms;
pub(crate) mod budget;
pub(crate) mod facts;
pub(crate) mod marks;
pub(crate) mod order;
pub(crate) mod plans;
pub(crate) mod table;
pub(crate) mod times;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::thread;

use apigw_rollback::decide::{Decision, check, decide};
use apigw_rollback::model::plan::Plan;

use facts::Facts;
use table::ACTS;
#[cfg(test)]
use table::Truth;
use world::Case;

/// The number of cases by their outcome.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// How many wrong cases are described.
const SHOWN: usize = 5;

/// What came out of a space.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The cases by their outcome.
    pub(crate) counts: Counts,
    /// The number of wrong cases.
    pub(crate) wrong: u64,
    /// Some of them, described.
    pub(crate) shown: Vec<String>,
}

/// A space of facts with its table.
pub(crate) struct Space {
    /// Its name.
    pub(crate) name: &'static str,
    /// The number of its cases.
    pub(crate) number: u64,
    judge: fn(u64) -> Result<&'static str, String>,
}

impl<A: Facts, B: Facts> Facts for (A, B) {
    const NUMBER: u64 = A::NUMBER * B::NUMBER;

    fn nth(nth: u64) -> Self {
        (A::nth(nth % A::NUMBER), B::nth(nth / A::NUMBER))
    }
}

/// Returns all spaces.
pub(crate) fn spaces() -> Vec<Space> {
    vec![
        Space {
            name: "the order of the reasons, an alarm asks",
            number: <(order::Guards, order::ByAlarm)>::NUMBER,
            judge: |nth| judged(Facts::nth(nth), order::by_alarm, |_, _| Ok(())),
        },
        Space {
            name: "the order of the reasons, no alarm asks",
            number: <(order::Guards, order::WithoutAlarm)>::NUMBER,
            judge: |nth| judged(Facts::nth(nth), order::without_alarm, |_, _| Ok(())),
        },
        Space {
            name: "times",
            number: times::Times::NUMBER,
            judge: |nth| judged(Facts::nth(nth), times::case, |_, _| Ok(())),
        },
        Space {
            name: "plans",
            number: plans::Plans::NUMBER,
            judge: |nth| judged(Facts::nth(nth), plans::case, plans::Plans::expects),
        },
        Space {
            name: "alarms",
            number: alarms::Alarms::NUMBER,
            judge: |nth| judged(Facts::nth(nth), alarms::case, |_, _| Ok(())),
        },
        Space {
            name: "marks",
            number: marks::Marks::NUMBER,
            judge: |nth| judged(Facts::nth(nth), marks::case, |_, _| Ok(())),
        },
        Space {
            name: "budget",
            number: budget::Budget::NUMBER,
            judge: |nth| judged(Facts::nth(nth), budget::case, |_, _| Ok(())),
        },
    ]
}

/// Returns the outcome of a case; describes it if the engine, the table and the check of the plan do not agree.
fn judged<F: Facts + Debug>(
    facts: F,
    case: fn(F) -> Case,
    expects: fn(F, &Plan) -> Result<(), String>,
) -> Result<&'static str, String> {
    let Case { observed, policy, now, truth } = case(facts);
    let expected = truth.outcome();
    let found = match decide(world::trigger(truth.by, &observed), &observed, &policy, now) {
        Decision::Hold(reason) => reason.code(),
        Decision::Act(plan) => {
            let sound = check(&plan, &observed).and_then(|()| expects(facts, &plan));
            sound.map_err(|why| format!("{why}: {facts:?}"))?;
            ACTS
        }
    };
    if found == expected {
        return Ok(found);
    }
    Err(format!("the engine says `{found}`, the table `{expected}`: {facts:?}"))
}

impl Space {
    /// Judges every case whose number is a multiple of `step`, on all processors.
    pub(crate) fn enumerate(&self, step: u64) -> Outcomes {
        let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let parts: Vec<Outcomes> = thread::scope(|scope| {
            let part = |worker: u64| scope.spawn(move || self.part(worker * step, workers * step));
            let started: Vec<_> = (0..workers).map(part).collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut all = Outcomes::default();
        for part in parts {
            all.wrong += part.wrong;
            all.shown.extend(part.shown);
            for (outcome, number) in part.counts {
                *all.counts.entry(outcome).or_default() += number;
            }
        }
        all.shown.truncate(SHOWN);
        all
    }

    fn part(&self, from: u64, step: u64) -> Outcomes {
        let mut outcomes = Outcomes::default();
        let mut nth = from;
        while nth < self.number {
            match (self.judge)(nth) {
                Ok(outcome) => *outcomes.counts.entry(outcome).or_default() += 1,
                Err(why) => {
                    outcomes.wrong += 1;
                    if outcomes.shown.len() < SHOWN {
                        outcomes.shown.push(format!("case {nth}: {why}"));
                    }
                }
            }
            nth += step;
        }
        outcomes
    }
}

/// How many cases of a space the test judges: every so many-th. The step shares no factor with the number of the values of
/// any fact, so that no fact keeps its value.
#[cfg(test)]
fn step(number: u64) -> u64 {
    const JUDGED: u64 = 30_000;
    let shares_none = |step: &u64| [2, 3, 5, 7].into_iter().all(|factor| !step.is_multiple_of(factor));
    let least = (number / JUDGED).max(1);
    // One of any ten numbers is such a number.
    (least..least + 10).find(shares_none).unwrap()
}

#[cfg(test)]
#[test]
fn the_decision_is_that_of_the_table_in_every_combination_of_facts() {
    for space in spaces() {
        let step = step(space.number);
        let outcomes = space.enumerate(step);
        assert_eq!(outcomes.wrong, 0, "{}: {:#?}", space.name, outcomes.shown);
        let judged: u64 = outcomes.counts.values().sum();
        assert_eq!(judged, space.number.div_ceil(step), "{}", space.name);
        assert!(
            outcomes.counts.get(ACTS).is_some_and(|acts| *acts > 0),
            "{}: {:?}",
            space.name,
            outcomes.counts
        );
    }
}

#[cfg(test)]
#[test]
fn the_requests_of_the_cases_lead_to_the_verdicts_that_they_stand_for() {
    use apigw_rollback::decide::guilt::guilt;
    use apigw_rollback::model::traffic::Measure;
    use facts::Values;
    use table::Verdict;
    for live in [world::whole("2"), world::whole("1"), world::with_components("2")] {
        for verdict in Verdict::ALL {
            let mut case = world::serving(live.clone(), world::whole("1"));
            case.observed.traffic = world::requests(*verdict).map(Ok);
            let found = guilt(&case.observed, &case.policy);
            let is = (found.conviction().is_some(), found.acquittal(Measure::Failed).is_some());
            let expected = (*verdict == Verdict::Convicted, *verdict == Verdict::Acquitted);
            assert_eq!(is, expected, "{verdict:?} {live:?}");
        }
    }
}

/// The page has the order of the decision. What an event alone shows is found before, so those reasons come first there, and those of rollouts come last.
#[cfg(test)]
#[test]
fn the_page_of_reasons_has_the_order_of_the_table() {
    let page = include_str!("../../../docs/reasons.md");
    let place = |code: &str| page.find(&format!("\n| `{code}` |"));
    let all = Truth {
        alarm_says: Some("alarm-unknown"),
        changed_after: Some("changed-after-alarm"),
        ..Truth::FREE
    };
    let elsewhere = ["ambiguous-target", "no-stage", "alarm-unreadable", "rollout-waits"];
    let codes: Vec<&str> =
        all.rules().iter().map(|(_, code)| *code).filter(|code| !elsewhere.contains(code)).collect();
    assert!(codes.len() == 20 && codes.iter().all(|code| place(code).is_some()), "{codes:?}");
    assert!(codes.is_sorted_by_key(|code| place(code)), "docs/reasons.md has another order than {codes:?}");
}
