//! What AWS may answer to the open questions of `docs/limits.md`: with either answer, the function is safe.
//!
//! `answers/` has both answers of each question, assumed. If `AWS_RECORDINGS` has what `make record-aws` recorded, that answer
//! is played, too. So a recording that contradicts the code fails here.

use std::path::{Path, PathBuf};

use apigw_rollback::model::cloud_error::{CloudError, Failure};
use apigw_rollback::model::policy::{AutoDeploy, PolicyOverrides};
use apigw_rollback::model::records::print;
use serde_json::Value;

use crate::scenarios::canary;
use crate::scenarios::components::{HTTP, http, policy_of, web};
use crate::support::harness::{event, run};
use crate::support::world::{Facts, Fault, World, denied, error, record, release};

/// Returns the answers to a question, each with its origin.
fn answers(file: &str) -> Vec<(String, Value)> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios/answers");
    let recorded = std::env::var_os("AWS_RECORDINGS").map(PathBuf::from);
    let folders = [Some(ours.join("yes")), Some(ours.join("no")), recorded];
    let found = folders.into_iter().flatten().map(|folder| folder.join(file)).filter(|path| path.exists());
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.display().to_string(), serde_json::from_str(&text).unwrap())
    };
    let answers: Vec<(String, Value)> = found.map(read).collect();
    assert!(answers.len() >= 2, "{file} has {} answers", answers.len());
    answers
}

/// Returns the error of an answer that refuses the call.
fn refusal(answer: &Value) -> Option<CloudError> {
    let refused = answer.get("error")?;
    let failure = match refused["status"].as_u64() {
        Some(400) => Failure::Refused,
        Some(404) => Failure::Missing,
        Some(409) => Failure::Conflict,
        _ => Failure::Other,
    };
    Some(error(failure, refused["code"].as_str().unwrap(), refused["message"].as_str().unwrap_or_default()))
}

/// Plays a rollback of which the first call gets this answer, and returns the number of changes of the stage.
fn changes(
    origin: &str,
    answer: &Value,
    event_name: &str,
    mut facts: Facts,
    settings: &[(&str, &str)],
) -> usize {
    let refused = refusal(answer);
    facts.refuses_combined_change = refused.is_some();
    let world = match refused {
        Some(refused) => World::new(facts).fault("UpdateStage", 1, Fault::Before(refused)),
        None => World::new(facts),
    };
    let shown = run(&event(event_name), &world, settings);
    assert!(shown.contains("report: rolled-back"), "{origin}\n{shown}");
    let facts = world.facts();
    let live = facts.stages.values().next().unwrap();
    assert_eq!(live.release.deployment, "d1", "{origin}\n{shown}");
    assert!(live.release.canary.is_none() && !live.auto_deploy, "{origin}\n{shown}");
    shown.matches("call: UpdateStage").count()
}

#[test]
fn a_canary_and_a_deployment_change_in_one_call_or_in_two() {
    for (origin, answer) in answers("apigateway/UpdateStage-canary-and-deployment-in-one-call.json") {
        let mut facts = Facts::bad_release();
        facts.stage().release.canary = Some(canary("50"));
        let calls = changes(&origin, &answer, "sns-alarm", facts, &[]);
        assert_eq!(calls, if answer.get("error").is_some() { 3 } else { 1 }, "{origin}");
    }
}

#[test]
fn autodeploy_goes_off_and_a_deployment_changes_in_one_call_or_in_two() {
    for (origin, answer) in answers("apigatewayv2/UpdateStage-autodeploy-off-and-deployment-in-one-call.json")
    {
        let mut facts = Facts::bad_release();
        http(&mut facts);
        let auto_deploy = Some(AutoDeploy::SwitchOff);
        policy_of(&web(), &mut facts, PolicyOverrides { auto_deploy, ..PolicyOverrides::default() });
        facts.stages.values_mut().next().unwrap().auto_deploy = true;
        let settings = [("PROTECTED_STAGES", HTTP)];
        let calls = changes(&origin, &answer, "sns-alarm-http-api", facts, &settings);
        assert_eq!(calls, if answer.get("error").is_some() { 3 } else { 1 }, "{origin}");
    }
}

/// The function may not be allowed to read deployments. Whatever API Gateway says then, nothing is reported as done.
#[test]
fn a_deployment_that_does_not_exist_is_never_reported_as_live() {
    for (origin, answer) in answers("apigateway/UpdateStage-unknown-deployment.json") {
        let refused =
            refusal(&answer).unwrap_or_else(|| panic!("{origin}: an unknown deployment is accepted"));
        for may_read in [true, false] {
            let mut facts = Facts::bad_release();
            facts.deployments.retain(|(_, deployment)| deployment != "d1");
            let mut world = World::new(facts).fault("UpdateStage", 0, Fault::Before(refused.clone()));
            if !may_read {
                world = (1..5)
                    .fold(world, |world, nth| world.fault("GetDeployment", nth, Fault::Before(denied())));
            }
            let shown = run(&event("sns-alarm"), &world, &[]);
            assert!(!shown.contains("report: rolled-back"), "{origin}\n{shown}");
            assert_eq!(world.facts().stage().release.deployment, "d2", "{origin}\n{shown}");
            if may_read {
                assert!(shown.contains("known-good-missing"), "{origin}\n{shown}");
                assert_eq!(shown.matches("call: UpdateStage").count(), 1, "{origin}\n{shown}");
            }
        }
    }
}

#[test]
fn an_older_release_takes_the_place_of_one_whose_deployment_does_not_exist() {
    for (origin, answer) in answers("apigateway/UpdateStage-unknown-deployment.json") {
        let mut facts = Facts::bad_release();
        let newer = print(&record(release("d3", &[]))).unwrap();
        facts.parameters.values_mut().next().unwrap().push(newer);
        facts.deployments.retain(|(_, deployment)| deployment != "d3");
        let world = World::new(facts).fault("UpdateStage", 1, Fault::Before(refusal(&answer).unwrap()));
        let shown = run(&event("sns-alarm"), &world, &[]);
        assert!(shown.contains("report: rolled-back"), "{origin}\n{shown}");
        assert_eq!(world.facts().stage().release.deployment, "d1", "{origin}\n{shown}");
        let changes = shown.lines().filter(|line| *line == "call: UpdateStage rest/a1b2c3d4e5/prod").count();
        assert_eq!(changes, 2, "{origin}\n{shown}");
    }
}

/// Something else than the deployment was missing for a moment.
#[test]
fn an_answer_that_misses_what_is_there_is_followed_by_another_look() {
    let missing = error(Failure::Missing, "NotFoundException", "Invalid stage identifier specified");
    let world = World::new(Facts::bad_release()).fault("UpdateStage", 1, Fault::Before(missing));
    let shown = run(&event("sns-alarm"), &world, &[]);
    assert!(shown.contains("report: rolled-back"), "{shown}");
}
