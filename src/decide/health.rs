//! Finds the problems that prevent a rollback of a stage, for the sweep, `status` and `doctor` alike. Pure.

use chrono::{DateTime, Utc};

use crate::model::component::AliasRef;
use crate::model::observed::{DeploymentNow, KnownGood, LiveComponents, OnRecord, Pin};
use crate::model::policy::{AutoDeploy, MissingComponents, StagePolicy};
use crate::model::record_fault::RecordFault;
use crate::model::records::Hold;
use crate::model::release::Release;
use crate::model::stage::LiveStage;

/// The facts about a stage. A fact that was not read causes no problem.
#[derive(Clone, Copy, Debug)]
pub struct StageHealth<'a> {
    /// The stage as it is now.
    pub live: &'a LiveStage,
    /// Its records in Parameter Store.
    pub on_record: &'a OnRecord,
    /// Its policy.
    pub policy: &'a StagePolicy,
    /// Whether the settings ask for a pin.
    pub pin_wanted: bool,
    /// The components of its release.
    pub components: Option<&'a LiveComponents>,
    /// The known-good deployment.
    pub deployment: Option<&'a DeploymentNow>,
    /// The pin.
    pub pin: Option<&'a Pin>,
    /// The current time.
    pub now: DateTime<Utc>,
}

/// A problem that prevents a rollback, or may prevent the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// API Gateway manages the stage (quick create).
    Managed,
    /// AutoDeploy is on. The policy says whether a rollback may switch it off.
    AutoDeploy(AutoDeploy),
    /// A parameter cannot be read. The text is a sentence.
    Unreadable(String),
    /// No release is recorded.
    NoKnownGood,
    /// The known-good record is unusable.
    UnusableKnownGood {
        /// Its parameter.
        parameter: String,
        /// Why.
        fault: RecordFault,
    },
    /// The known-good release was itself rolled back and is in quarantine.
    Quarantined(KnownGoodRelease),
    /// The known-good deployment does not exist.
    DeploymentGone(KnownGoodRelease),
    /// The known-good deployment has this status, so no stage can serve it.
    Undeployed(KnownGoodRelease, String),
    /// The known-good deployment is not pinned correctly.
    NotPinned {
        /// The deployment.
        deployment: String,
        /// The fault.
        how: Unpinned,
    },
    /// These components do not exist. The policy says whether a rollback continues without them.
    ComponentsMissing(Vec<String>, MissingComponents),
    /// Routing rules override these mappings.
    ComponentsOverridden(Vec<String>),
    /// A running CodeDeploy deployment moves these aliases.
    ComponentsMoving(Vec<AliasRef>),
    /// An operator holds the stage.
    Held(Hold),
}

/// The known-good release and the version of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGoodRelease {
    /// The release.
    pub release: Release,
    /// The version of its record.
    pub version: i64,
}

/// The fault of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// The parked stage holds the deployment, but is open to traffic.
    Open,
    /// The settings switch pinning off.
    Off,
    /// A stage with the parked stage's name exists, but the function did not create it.
    Foreign,
    /// Another function protects the stage.
    Other,
    /// No parked stage holds the deployment.
    Missing,
}

/// Returns every problem of a stage.
#[must_use]
pub fn problems(stage: &StageHealth<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(stage.on_record.unreadable.clone().map(Problem::Unreadable));
    problems.extend(known_good_problems(stage));
    problems.extend(not_pinned(stage));
    problems.extend(unchangeable(stage));
    if let Some(components) = stage.components {
        if !components.missing.is_empty() {
            problems
                .push(Problem::ComponentsMissing(components.described(), stage.policy.missing_components));
        }
        if !components.overridden.is_empty() {
            problems.push(Problem::ComponentsOverridden(components.overridden_described()));
        }
        if !components.moving.is_empty() {
            problems.push(Problem::ComponentsMoving(components.moving.clone()));
        }
    }
    let hold = stage.on_record.hold.clone().filter(|hold| hold.until > stage.now);
    problems.extend(hold.map(Problem::Held));
    problems
}

fn unchangeable(stage: &StageHealth<'_>) -> Option<Problem> {
    if stage.live.managed {
        return Some(Problem::Managed);
    }
    stage.live.auto_deploy.then_some(Problem::AutoDeploy(stage.policy.auto_deploy))
}

fn known_good_problems(stage: &StageHealth<'_>) -> Vec<Problem> {
    let (version, record) = match &stage.on_record.known_good {
        KnownGood::None { .. } => return vec![Problem::NoKnownGood],
        KnownGood::Unusable { parameter, fault } => {
            return vec![Problem::UnusableKnownGood { parameter: parameter.clone(), fault: fault.clone() }];
        }
        KnownGood::Found { version, record, .. } => (*version, record),
    };
    let good = KnownGoodRelease { release: record.release.clone(), version };
    let is_bad = stage.on_record.rollbacks.quarantines(&record.release);
    let quarantined = is_bad.then(|| Problem::Quarantined(good.clone()));
    let deployment = match stage.deployment {
        None | Some(DeploymentNow::NotAsked | DeploymentNow::There) => None,
        Some(DeploymentNow::Gone) => Some(Problem::DeploymentGone(good)),
        Some(DeploymentNow::Undeployed(status)) => Some(Problem::Undeployed(good, status.clone())),
    };
    quarantined.into_iter().chain(deployment).collect()
}

fn not_pinned(stage: &StageHealth<'_>) -> Option<Problem> {
    let (_, record) = stage.on_record.good()?;
    let wanted = &record.release.deployment;
    let how = match stage.pin? {
        Pin::Holds { deployment, closed: true } if deployment == wanted => return None,
        Pin::Holds { deployment, closed: false } if deployment == wanted => Unpinned::Open,
        Pin::Other(_) => Unpinned::Other,
        Pin::Holds { .. } | Pin::None | Pin::Foreign if !stage.pin_wanted => Unpinned::Off,
        Pin::Foreign => Unpinned::Foreign,
        Pin::Holds { .. } | Pin::None => Unpinned::Missing,
    };
    Some(Problem::NotPinned { deployment: wanted.clone(), how })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixture::{good, policy};
    use crate::model::alarm::time;
    use crate::model::observed::{Component, Observed};
    use crate::model::records::SCHEMA;

    /// The problems of a stage that serves release 2, whose known-good release 1 exists.
    fn found(observed: &Observed, pin: Option<&Pin>, pin_wanted: bool) -> Vec<Problem> {
        problems(&StageHealth {
            live: observed.live.as_ref().unwrap(),
            on_record: &observed.on_record,
            policy: &policy(),
            pin_wanted,
            components: Some(&observed.components),
            deployment: Some(&DeploymentNow::There),
            pin,
            now: observed.at,
        })
    }

    #[test]
    fn only_a_closed_pin_of_the_known_good_deployment_is_no_problem() {
        let holds = |deployment: &str, closed| Pin::Holds { deployment: deployment.into(), closed };
        for (case, pin, wanted, expected) in [
            ("it was not read", None, true, None),
            ("it holds the deployment", Some(holds("d1", true)), true, None),
            ("it holds the deployment, and is not wanted", Some(holds("d1", true)), false, None),
            ("it is open", Some(holds("d1", false)), true, Some(Unpinned::Open)),
            ("it is open and not wanted", Some(holds("d1", false)), false, Some(Unpinned::Open)),
            ("it holds another deployment", Some(holds("d2", true)), true, Some(Unpinned::Missing)),
            ("it holds another one, and is open", Some(holds("d2", false)), true, Some(Unpinned::Missing)),
            ("it holds another one, and is not wanted", Some(holds("d2", true)), false, Some(Unpinned::Off)),
            ("there is none", Some(Pin::None), true, Some(Unpinned::Missing)),
            ("there is none, and none is wanted", Some(Pin::None), false, Some(Unpinned::Off)),
            ("a stage of somebody else", Some(Pin::Foreign), true, Some(Unpinned::Foreign)),
            (
                "a stage of somebody else, and no pin is wanted",
                Some(Pin::Foreign),
                false,
                Some(Unpinned::Off),
            ),
            ("another function's", Some(Pin::Other("/p".into())), true, Some(Unpinned::Other)),
            (
                "another function's, and none is wanted",
                Some(Pin::Other("/p".into())),
                false,
                Some(Unpinned::Other),
            ),
        ] {
            let (_, observed) = good();
            let problem = |how| Problem::NotPinned { deployment: "d1".into(), how };
            let expected: Vec<Problem> = expected.map(problem).into_iter().collect();
            assert_eq!(found(&observed, pin.as_ref(), wanted), expected, "{case}");
        }
    }

    #[test]
    fn a_hold_is_a_problem_until_the_second_in_which_it_ends() {
        for (until, is_held) in
            [("2026-11-20T10:05:59Z", false), ("2026-11-20T10:06:00Z", false), ("2026-11-20T10:06:01Z", true)]
        {
            let (_, mut observed) = good();
            let hold = Hold { schema: SCHEMA, until: time(until).unwrap(), by: None, why: None };
            observed.on_record.hold = Some(hold.clone());
            let expected = if is_held { vec![Problem::Held(hold)] } else { vec![] };
            assert_eq!(found(&observed, None, true), expected, "{until}");
        }
    }

    #[test]
    fn components_that_are_missing_or_overridden_or_moving_are_a_problem_each() {
        type Edit = fn(&mut LiveComponents);
        let missing = || {
            let described = vec!["the alias `orders:live` does not exist".to_owned()];
            Problem::ComponentsMissing(described, MissingComponents::Hold)
        };
        let overridden =
            || Problem::ComponentsOverridden(vec!["the mapping `api.example.com` has a rule".to_owned()]);
        let moving = || Problem::ComponentsMoving(vec!["web:live".parse().unwrap()]);
        let lacks: Edit = |of| of.lacks(Component::Alias("orders:live".parse().unwrap()), "does not exist");
        let overrides: Edit =
            |of| of.overridden = [("api.example.com".parse().unwrap(), "has a rule".to_owned())].into();
        let moves: Edit = |of| of.moving = vec!["web:live".parse().unwrap()];
        for (case, edits, expected) in [
            ("nothing is wrong", vec![], vec![]),
            ("an alias is missing", vec![lacks], vec![missing()]),
            ("a rule overrides a mapping", vec![overrides], vec![overridden()]),
            ("CodeDeploy moves an alias", vec![moves], vec![moving()]),
            ("all of it", vec![lacks, overrides, moves], vec![missing(), overridden(), moving()]),
        ] {
            let (_, mut observed) = good();
            for edit in edits {
                edit(&mut observed.components);
            }
            assert_eq!(found(&observed, None, true), expected, "{case}");
        }
    }
}
