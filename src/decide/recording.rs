//! Decides whether a live release can be recorded as known-good. Pure.

use chrono::{DateTime, Utc};

use super::guilt::guilt;
use super::is_not_held;
use crate::model::observed::{KnownGood, Observed};
use crate::model::policy::StagePolicy;
use crate::model::reason::Reason;
use crate::model::records::Candidate;
use crate::model::release::Release;
use crate::model::stage::{Deployment, LiveStage};

/// The facts that only recording needs.
#[derive(Clone, Debug)]
pub struct Known {
    /// The live deployment, if API Gateway has it.
    pub deployment: Option<Deployment>,
    /// Why the release is in quarantine.
    pub quarantine: Option<String>,
    /// Problems with components: mappings that point to no stage of this kind of API, and a component of others.
    pub stray_components: Vec<String>,
}

/// Checks whether the live release can be known-good. The reason lists every problem.
///
/// # Errors
/// The [`Reason`] for which it cannot be recorded.
pub fn recordable<'a>(
    observed: &'a Observed,
    known: Known,
    expected: Option<&Release>,
    policy: &StagePolicy,
) -> Result<(&'a LiveStage, Deployment), Reason> {
    let stage = &observed.stage;
    if stage.is_parked() {
        return Err(Reason::NotRecordable(format!(
            "{stage} is a parked stage: record the stage that it is parked for"
        )));
    }
    let Some(live) = &observed.live else {
        return Err(Reason::NoStage(format!(
            "API Gateway has no stage `{}` on API `{}`",
            stage.stage, stage.api
        )));
    };
    if expected.is_some_and(|expected| *expected != live.release) {
        return Err(Reason::NotProven(
            "the stage was changed before the release could be recorded".to_owned(),
        ));
    }
    // A fast alarm that fired does not prevent a promotion, so what its test would say must be known.
    if let (Some(_), Some(Err(error))) = (expected, &observed.traffic) {
        return Err(Reason::NotProven(format!("its requests could not be counted: {error}")));
    }
    let guilt = guilt(observed, policy);
    if let Some(finding) = guilt.conviction().filter(|_| expected.is_some()) {
        return Err(Reason::NotProven(format!("its requests convict it: {finding}")));
    }
    let mut problems: Vec<String> = Vec::new();
    if let Some(canary) = &live.release.canary {
        problems.push(format!(
            "{stage} has a canary with {} % of the traffic: promote or remove it first",
            canary.percent
        ));
    }
    if let Some(why) = known.quarantine {
        problems.push(format!(
            "{stage} serves a release in quarantine: {why}; if it is good after all, send a `lift` command with the \
             incident `{}` first",
            live.release.fingerprint()
        ));
    }
    let describe = |what: &str| format!("{stage} points to deployment `{}`, {what}", live.release.deployment);
    match &known.deployment {
        None => problems.push(describe("which API Gateway cannot find")),
        Some(Deployment { undeployed: Some(status), .. }) => {
            problems.push(describe(&format!("which has the status {status}")));
        }
        Some(_) => {}
    }
    let missing = observed.components.missing.iter().filter(|missing| !missing.recorded);
    problems.extend(missing.map(ToString::to_string).chain(known.stray_components));
    for (alias, target) in live.release.aliases.iter().filter(|(_, target)| !target.weights.is_empty()) {
        problems.push(format!("the alias `{alias}` splits its traffic: version {target}"));
    }
    let moving = observed.components.moving.iter();
    problems.extend(moving.map(|alias| format!("a running CodeDeploy deployment moves the alias `{alias}`")));
    let Some(deployment) = known.deployment.filter(|_| problems.is_empty()) else {
        return Err(Reason::NotRecordable(problems.join("; ")));
    };
    if let KnownGood::Unusable { parameter, fault } = &observed.on_record.known_good {
        return Err(Reason::KnownGoodUnusable { parameter: parameter.clone(), fault: fault.clone() });
    }
    Ok((live, deployment))
}

/// Checks that a promotion still rests on what it was decided on: a pipeline may have announced the release meanwhile, and an
/// operator may have held the stage or recorded the release. An operator's own promotion does not mind the last two.
///
/// # Errors
/// The [`Reason`] for which the promotion is left to the next sweep.
pub fn is_still_due(
    observed: &Observed,
    expected: &Candidate,
    now: DateTime<Utc>,
    by_operator: bool,
) -> Result<(), Reason> {
    let (on_record, Some(live)) = (&observed.on_record, &observed.live) else { return Ok(()) };
    let changed = |what: &str| Err(Reason::NotProven(format!("{what} before it could be promoted")));
    if on_record.candidate_or_new(observed.stage.protocol, live, now) != *expected {
        return changed("the release was announced anew");
    }
    if by_operator {
        return Ok(());
    }
    is_not_held(on_record, now)?;
    if on_record.good().is_some_and(|(_, record)| record.release == live.release) {
        return changed("the release was recorded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::decide::fixture::{good, policy, release};
    use crate::model::component::{AliasRef, AliasTarget};
    use crate::model::observed::Component;
    use crate::model::record_fault::RecordFault;
    use crate::model::records::{Hold, SCHEMA};

    fn answer(observed: &Observed, known: Known, expected: Option<&Release>) -> String {
        match recordable(observed, known, expected, &policy()) {
            Ok((live, _)) => format!("records {}", live.release.deployment),
            Err(Reason::NotRecordable(why) | Reason::NotProven(why)) => why,
            Err(reason) => reason.code().to_owned(),
        }
    }

    fn known() -> Known {
        let deployment = Deployment { created: None, undeployed: None, description: String::new() };
        Known { deployment: Some(deployment), quarantine: None, stray_components: vec![] }
    }

    fn orders() -> AliasRef {
        "orders:live".parse().unwrap()
    }

    #[test]
    fn only_the_release_that_was_expected_is_recorded() {
        let other = Release { variables: [].into(), ..release("2") };
        for (case, expected, answered) in [
            ("none in particular", None, "records d2"),
            ("the live release", Some(release("2")), "records d2"),
            (
                "another release",
                Some(release("3")),
                "the stage was changed before the release could be recorded",
            ),
            ("other variables", Some(other), "the stage was changed before the release could be recorded"),
        ] {
            let (_, observed) = good();
            assert_eq!(answer(&observed, known(), expected.as_ref()), answered, "{case}");
        }
    }

    #[test]
    fn a_release_is_recorded_only_if_it_is_whole_and_a_stage_can_serve_it() {
        type Edit = fn(&mut Observed, &mut Known);
        let rows: [(&str, Edit, &str); 11] = [
            ("nothing is wrong", |_, _| (), "records d2"),
            (
                "an alias is missing",
                |observed, _| observed.components.lacks(Component::Alias(orders()), "does not exist"),
                "the alias `orders:live` does not exist",
            ),
            (
                "only the recorded version of an alias is missing",
                |observed, _| observed.components.lost(Component::Alias(orders()), "has no version 1".into()),
                "records d2",
            ),
            (
                "an alias splits its traffic",
                |observed, _| {
                    let aliases = &mut observed.live.as_mut().unwrap().release.aliases;
                    let weights = [("3".to_owned(), "0.1".to_owned())].into();
                    aliases.insert(orders(), AliasTarget { version: "2".into(), weights });
                },
                "the alias `orders:live` splits its traffic: version 2 (and 3 by 0.1)",
            ),
            (
                "CodeDeploy moves an alias",
                |observed, _| observed.components.moving.push(orders()),
                "a running CodeDeploy deployment moves the alias `orders:live`",
            ),
            (
                "API Gateway has no such deployment",
                |_, known| known.deployment = None,
                "rest/a/prod points to deployment `d2`, which API Gateway cannot find",
            ),
            (
                "no stage can serve the deployment",
                |_, known| known.deployment.as_mut().unwrap().undeployed = Some("FAILED".into()),
                "rest/a/prod points to deployment `d2`, which has the status FAILED",
            ),
            (
                "a mapping leads elsewhere",
                |_, known| known.stray_components.push("the mapping is stray".into()),
                "the mapping is stray",
            ),
            (
                "two problems",
                |observed, known| {
                    observed.components.lacks(Component::Alias(orders()), "does not exist");
                    known.stray_components.push("the mapping is stray".into());
                },
                "the alias `orders:live` does not exist; the mapping is stray",
            ),
            ("there is no stage", |observed, _| observed.live = None, "no-stage"),
            (
                "the record before it cannot be read",
                |observed, _| {
                    let fault = RecordFault::Damaged("is no record".into());
                    observed.on_record.known_good = KnownGood::Unusable { parameter: "p".into(), fault };
                },
                "no-known-good",
            ),
        ];
        for (case, edit, answered) in rows {
            let ((_, mut observed), mut known) = (good(), known());
            edit(&mut observed, &mut known);
            assert_eq!(answer(&observed, known, None), answered, "{case}");
        }
    }

    #[test]
    fn a_promotion_is_left_to_the_next_sweep_if_somebody_wrote_about_it_meanwhile() {
        type Edit = fn(&mut Observed);
        let rows: [(&str, Edit, [bool; 2]); 4] = [
            ("nobody wrote", |_| (), [true, true]),
            (
                "it is announced",
                |observed| observed.on_record.candidate.as_mut().unwrap().irreversible = true,
                [false, false],
            ),
            (
                "the stage is held",
                |observed| {
                    let until = observed.at + TimeDelta::hours(1);
                    observed.on_record.hold = Some(Hold { schema: SCHEMA, until, by: None, why: None });
                },
                [false, true],
            ),
            (
                "it is recorded",
                |observed| {
                    let live = observed.live.as_ref().unwrap().release.clone();
                    let KnownGood::Found { record, .. } = &mut observed.on_record.known_good else {
                        panic!()
                    };
                    record.release = live;
                },
                [false, true],
            ),
        ];
        for (case, edit, due) in rows {
            let (_, mut observed) = good();
            let (live, now) = (observed.live.clone().unwrap(), observed.at);
            let candidate = observed.on_record.candidate_or_new(observed.stage.protocol, &live, now);
            observed.on_record.candidate = Some(candidate.clone());
            edit(&mut observed);
            let found = [false, true]
                .map(|by_operator| is_still_due(&observed, &candidate, now, by_operator).is_ok());
            assert_eq!(found, due, "{case}");
        }
    }
}
