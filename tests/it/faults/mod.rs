//! Injects every fault into every call of every kind of run, alone and in pairs. Afterwards nothing fails, Lambda
//! repeats the event, and the sweep runs twice; the outcome must be the same as without faults.

mod found;
pub(crate) mod garbage;
mod healed;
mod huge;
pub(crate) mod properties;
pub(crate) mod rollouts;

use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::parameter_names::ParameterNames;
use apigw_rollback::model::protocol::Protocol;
use apigw_rollback::model::records::{Candidate, print};
use apigw_rollback::model::stage::StageRef;
use chrono::TimeDelta;

use crate::scenarios::components::{WHOLE, bad_everywhere};
use crate::simulation::invariants::{Seen, Signal, hold};
use crate::simulation::regions::Heard;
use crate::support::harness::{attempt, config, event};
use crate::support::world::{Facts, Fault, World, conflict, denied, error, lost, prod};
use healed::{healed, reported};

/// A kind of run, with its event and its world.
struct Kind {
    name: &'static str,
    event: String,
    signal: Signal,
    facts: Facts,
    settings: Vec<(&'static str, &'static str)>,
    stage: StageRef,
}

const SWEEP: &str = r#"{"command":"sweep"}"#;
/// The label in the sibling's report.
const LABEL: &str = "v1.4.2";
const SIBLING: (&str, &str) = ("SIBLINGS", "us-east-1");
const NOTIFY: (&str, &str) = ("NOTIFICATION_TOPIC_ARN", "arn:aws:sns:eu-west-1:123456789012:people");

fn kinds() -> Vec<Kind> {
    let kind =
        |name, event: &str, signal, twist: fn(&mut Facts), settings: &[(&'static str, &'static str)]| {
            let mut facts = Facts::bad_release();
            twist(&mut facts);
            let settings = settings
                .iter()
                .copied()
                .chain([NOTIFY, ("COOLDOWN_SECONDS", "0"), ("MAX_ALARM_AGE_SECONDS", "0")])
                .collect();
            Kind { name, event: event.to_owned(), signal, facts, settings, stage: prod() }
        };
    let alarm = || Signal::Alarm { name: "orders-prod-5xx".to_owned(), fired: None, ours: true };
    let whole = [("PROTECTED_STAGES", WHOLE), ("PIN", "off")];
    vec![
        kind("an alarm", &event("sns-alarm"), alarm(), |_| {}, &[]),
        kind("an alarm on a whole release", &event("sns-alarm"), alarm(), bad_everywhere, &whole),
        kind("a sweep that finds an alarm", SWEEP, Signal::Sweep, |_| {}, &[]),
        kind("an operator's rollback", &event("command-rollback"), Signal::Operator, |_| {}, &[]),
        kind(
            "a sibling's report",
            &event("eventbridge-sibling"),
            Signal::Sibling(Heard {
                message: "the message".to_owned(),
                deployment: Some("d2".to_owned()),
                label: Some(LABEL.to_owned()),
                is_named: true,
            }),
            heard_and_followed,
            &[SIBLING],
        ),
    ]
}

/// The live release has the label that a sibling found bad, and the stage follows siblings.
fn heard_and_followed(facts: &mut Facts) {
    let names = ParameterNames::under("/apigw-rollback");
    let live = facts.stage().release.clone();
    let seen = Candidate::new(Protocol::Rest, &live, facts.now - TimeDelta::minutes(6));
    let labelled = Candidate { label: Some(LABEL.to_owned()), ..seen };
    facts.parameters.insert(names.candidate(&prod()), vec![print(&labelled).unwrap()]);
    let policy = r#"{"schema":1,"siblings":"follow"}"#.to_owned();
    facts.parameters.insert(names.policy(&prod()), vec![policy]);
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        Fault::Before(conflict()),
        Fault::Before(denied()),
        Fault::Before(throttled()),
        Fault::After(lost()),
        Fault::DieBefore,
        Fault::DieAfter,
        Fault::Stale,
        Fault::Twice,
    ]
}

fn throttled() -> CloudError {
    error(Failure::Other, "ThrottlingException", "Rate exceeded")
}

/// Checks one case: the run with its injected faults, then the following runs without faults.
fn check(kind: &Kind, injected: &[(usize, Fault)]) -> Result<(), String> {
    let world = World::new(kind.facts.clone());
    world.inject(injected);
    let mut runs = vec![];
    let mut run = |event: &str, signal: &Signal| {
        let began = world.now();
        let reports = attempt(event, &world, &kind.settings, runs.len() + 1);
        runs.push(Seen { id: world.run_id(), signal: signal.clone(), began, reports });
        hold(&kind.facts, &world.facts(), &runs, &config(&kind.settings))
    };
    run(&kind.event, &kind.signal)?;
    world.inject(&[]);
    // Lambda repeats a run that failed or died; SNS may repeat any event.
    let after = |minutes| world.change(|facts| facts.now += TimeDelta::minutes(minutes));
    after(1);
    run(&kind.event, &kind.signal)?;
    for _ in 0..2 {
        after(3);
        run(SWEEP, &Signal::Sweep)?;
    }
    let is_a_death = |fault: &Fault| matches!(fault, Fault::DieBefore | Fault::DieAfter);
    let died = injected.iter().any(|(_, fault)| is_a_death(fault));
    // A run that fails to write its incident and then dies leaves no trace except the changed stage.
    let may_leave_no_trace = died && injected.len() > 1;
    healed(&world.facts(), &runs, &kind.stage, !may_leave_no_trace)?;
    if reported(&runs) == 0 && !died {
        return Err("no run reported the rollback".to_owned());
    }
    let before = world.facts();
    attempt(&kind.event, &world, &kind.settings, 5);
    let after = world.facts();
    if (&before.stages, &before.aliases, &before.mappings, &before.notifications)
        != (&after.stages, &after.aliases, &after.mappings, &after.notifications)
    {
        return Err("the repeated event changes something".to_owned());
    }
    Ok(())
}

/// Counts the calls that the run makes without faults.
fn calls(kind: &Kind) -> usize {
    let world = World::new(kind.facts.clone());
    attempt(&kind.event, &world, &kind.settings, 1);
    world.take_calls().len()
}

fn check_all(cases: impl Iterator<Item = Vec<(usize, Fault)>>, kind: &Kind) -> usize {
    let mut number = 0;
    let mut broken = Vec::new();
    for injected in cases {
        number += 1;
        if let Err(why) = check(kind, &injected) {
            broken.push(format!("{injected:?}: {why}"));
        }
    }
    assert!(
        broken.is_empty(),
        "{}: {} of {number} cases fail; the first are\n{}",
        kind.name,
        broken.len(),
        broken.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    );
    number
}

#[test]
fn the_function_recovers_from_every_single_fault() {
    for kind in kinds() {
        // A fault may cause additional calls.
        let calls = calls(&kind) + 4;
        let cases = (1..=calls).flat_map(|call| faults().into_iter().map(move |fault| vec![(call, fault)]));
        println!("{}: {} single faults", kind.name, check_all(cases, &kind));
    }
}

fn pairs(kind: &Kind) -> impl Iterator<Item = Vec<(usize, Fault)>> {
    let calls = calls(kind) + 4;
    let pairs = (1..calls).flat_map(move |one| (one + 1..=calls).map(move |other| (one, other)));
    pairs.flat_map(|(one, other)| {
        faults().into_iter().flat_map(move |first| {
            faults().into_iter().map(move |second| vec![(one, first.clone()), (other, second)])
        })
    })
}

#[test]
fn the_function_recovers_from_every_pair_of_faults_of_an_alarm() {
    let kind = kinds().remove(0);
    println!("{}: {} pairs of faults", kind.name, check_all(pairs(&kind), &kind));
}

#[test]
#[ignore = "takes minutes: `make soak`"]
fn the_function_recovers_from_every_pair_of_faults() {
    for kind in kinds() {
        println!("{}: {} pairs of faults", kind.name, check_all(pairs(&kind), &kind));
    }
}
