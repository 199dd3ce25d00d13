//! The plan of a rollback: which steps, in which order.

use super::fixture::{good, policy, record};
use super::tests::{Edit, NOW, at, live, missing, observed, only_components_differ, other_protocol};
use super::*;
use crate::model::observed::MissingComponent;

fn planned(edit: Edit) -> Plan {
    let (mut observed, mut policy) = (observed(), policy());
    edit(&mut observed, &mut policy);
    match decide(Trigger::Imagined, &observed, &policy, at(NOW)) {
        Decision::Act(plan) => *plan,
        Decision::Hold(reason) => panic!("{reason}"),
    }
}

#[test]
fn a_plan_changes_only_the_differences_and_in_order() {
    let (expected, _) = good();
    assert_eq!(planned(|_, _| ()), expected);
    assert_eq!(planned(|o, _| only_components_differ(o)).steps.len(), 2);
    let only_stage = planned(|o, _| {
        let good = record(o).release.clone();
        (live(o).release.aliases, live(o).release.mappings) = (good.aliases.clone(), good.mappings.clone());
        for (alias, target) in good.aliases {
            o.components.aliases.get_mut(&alias).unwrap().target = target;
        }
        for (mapping, target) in good.mappings {
            o.components.mappings.get_mut(&mapping).unwrap().target = target;
        }
    });
    assert!(matches!(only_stage.steps.as_slice(), [Step::Stage { .. }]));
}

#[test]
fn a_missing_component_may_stay_as_it_is() {
    let plan = planned(|o, t| {
        missing(o);
        let component = Component::Mapping("api.example.com".parse().unwrap());
        o.components.missing.push(MissingComponent { component, why: "x".into(), recorded: true });
        t.missing_components = MissingComponents::Skip;
    });
    assert_eq!((&plan.to.aliases, &plan.to.mappings), (&plan.from.aliases, &plan.from.mappings));
    assert!(matches!(plan.steps.as_slice(), [Step::Stage { .. }]));
}

#[test]
fn a_policy_lets_a_rollback_stop_autodeploy_and_flush_the_cache() {
    let on = |o: &mut Observed, t: &mut StagePolicy| {
        live(o).auto_deploy = true;
        (t.auto_deploy, t.flush_cache) = (AutoDeploy::SwitchOff, true);
    };
    let rest = planned(on);
    assert!(rest.stops_auto_deploy() && rest.flush);
    let http = planned(|o, t| {
        other_protocol(o, crate::model::protocol::Protocol::Http);
        (live(o).auto_deploy, t.auto_deploy, t.flush_cache) = (true, AutoDeploy::SwitchOff, true);
    });
    assert!(http.stops_auto_deploy() && !http.flush);
    assert!(!planned(|_, _| ()).flush);
    // AutoDeploy does not block a change that keeps the deployment.
    let variables = planned(|o, _| {
        live(o).release.deployment = "d1".into();
        live(o).auto_deploy = true;
    });
    assert!(!variables.stops_auto_deploy() && variables.change().is_some());
}
