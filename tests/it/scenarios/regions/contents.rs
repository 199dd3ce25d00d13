//! A release that is known by its deployment's description, because it has no label here.

use super::{Fleet, describe, fires, release};

/// The first message finds another release live, the second one the bad one.
#[test]
fn a_message_that_comes_again_says_which_deployment_is_held() {
    let fleet = Fleet::of(2, "hold")
        .everywhere(describe([("d1", "v1"), ("d2", "v2"), ("d3", "v2")]))
        .at("eu-west-1", release(2, "v2"))
        .at("eu-west-1", |one| fires(one).quietly())
        .delivers("eu-west-1", 0, "us-east-1")
        .at("us-east-1", |two| two.deploy(3).sweep().quietly())
        .delivers("eu-west-1", 0, "us-east-1")
        .at("us-east-1", |two| two.later(31).sweep().quietly());
    let facts = fleet.facts("us-east-1");
    let recorded = facts.records.iter().filter(|(_, _, value)| value.contains("d3")).count();
    assert_eq!(recorded, 0, "{:?}", facts.records);
    let held = facts.parameters.into_iter().find(|(name, _)| name.ends_with("/rollbacks")).unwrap().1;
    assert!(held.last().unwrap().contains(r#""here":"d3""#), "{held:?}");
}
