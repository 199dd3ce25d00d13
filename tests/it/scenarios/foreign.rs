//! Components and APIs of others, which whoever may write the records of a stage can name: none of them is moved.

use apigw_rollback::model::component::MappingTarget;
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records::print;

use super::check_with;
use super::components::{WHOLE, alias, bad_everywhere, check_record, policy};
use crate::support::world::{record, release};

#[test]
fn a_policy_and_a_record_reach_no_component_of_others() {
    check_record("a policy that lists a foreign alias is refused", |facts| {
        let alias = "theirs:live".parse().unwrap();
        policy(facts, PolicyOverrides { aliases: Some(vec![alias]), ..PolicyOverrides::default() });
    });
    check_with(
        "a foreign alias in the policy holds the stage",
        "sns-alarm",
        |facts| {
            bad_everywhere(facts);
            let alias = "theirs:live".parse().unwrap();
            policy(facts, PolicyOverrides { aliases: Some(vec![alias]), ..PolicyOverrides::default() });
        },
        &[("PROTECTED_STAGES", WHOLE)],
        |world| world,
    );
    check_with(
        "a recorded mapping to a foreign API holds the stage",
        "sns-alarm",
        |facts| {
            bad_everywhere(facts);
            let mut forged = release("d1", &[]);
            let target = MappingTarget { api: "evil123456".into(), stage: "prod".into() };
            forged.mappings = [("api.example.com/orders".parse().unwrap(), target)].into();
            facts.known_good(&print(&record(forged)).unwrap());
        },
        &[("PROTECTED_STAGES", WHOLE)],
        |world| world,
    );
}

#[test]
fn an_alias_of_another_region_is_refused() {
    check_with(
        "an alias of another region is refused",
        "command-record",
        |facts| {
            bad_everywhere(facts);
            facts.parameters.clear();
        },
        &[
            (
                "PROTECTED_STAGES",
                r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod",
                    "aliases":["arn:aws:lambda:us-east-1:123456789012:function:orders:live"]}]"#,
            ),
            ("PIN", "off"),
        ],
        |world| world,
    );
    check_with(
        "a record with an alias of another region",
        "sns-alarm",
        |facts| {
            let mut recorded = release("d1", &[]);
            let alias_there = "arn:aws:lambda:us-east-1:123456789012:function:orders:live".parse().unwrap();
            recorded.aliases = [(alias_there, alias("1"))].into();
            facts.known_good(&print(&record(recorded)).unwrap());
        },
        &[],
        |world| world,
    );
}
