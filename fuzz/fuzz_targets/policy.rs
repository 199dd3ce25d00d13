//! Reads any text as a stage's policy and as each setting. The parser must refuse it with a reason, or keep the limits.

#![no_main]

use apigw_rollback_fuzz::config::{Config, VARIABLES};
use apigw_rollback_fuzz::model::policy::PolicyOverrides;
use apigw_rollback_fuzz::model::records::{parse, print};
use apigw_rollback_fuzz::model::stage::StageRef;
use chrono::TimeDelta;
use libfuzzer_sys::fuzz_target;

fn keeps_to_limits(config: &Config, policy: &PolicyOverrides) {
    let policy = config.policy.under(policy);
    let within = |time: TimeDelta, days: i64| (TimeDelta::zero()..=TimeDelta::days(days)).contains(&time);
    assert!(within(policy.bake, 7) && within(policy.cooldown, 1) && policy.max_rollbacks <= 20);
    assert!(policy.window.is_none_or(|window| within(window, 365) && !window.is_zero()));
}

fuzz_target!(|text: &str| {
    let region = |name: &str| (name == "AWS_REGION").then(|| "eu-west-1".to_owned());
    let plain = Config::read(region).unwrap();
    match parse::<PolicyOverrides>(text) {
        Ok(policy) => {
            keeps_to_limits(&plain, &policy);
            let listed = plain.listed(&StageRef::rest("a", "p"), &policy);
            assert!(listed.aliases.len() <= 100 && listed.mappings.len() <= 100);
            if let Ok(text) = print(&policy) {
                assert_eq!(parse::<PolicyOverrides>(&text), Ok(policy));
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    for variable in VARIABLES {
        match Config::read(|name| if name == variable { Some(text.to_owned()) } else { region(name) }) {
            Ok(config) => keeps_to_limits(&config, &PolicyOverrides::default()),
            Err(wrong) => assert!(wrong.to_string().contains(variable), "{wrong}"),
        }
    }
});
