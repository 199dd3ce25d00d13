//! The settings: what is read, and what is refused.

use super::*;

fn read(settings: &[(&str, &str)]) -> Result<Config, String> {
    let get = |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    Config::read(get).map_err(|error| error.to_string())
}

#[test]
fn only_the_region_is_required() {
    let config = read(&[("AWS_REGION", "eu-west-1"), ("PROTECTED_STAGES", " ")]).unwrap();
    assert_eq!(config.max_age, Some(TimeDelta::seconds(900)));
    assert_eq!((config.policy.mode, config.pin), (Mode::Enforce, true));
    assert_eq!((config.policy.bake, config.policy.needs_data), (TimeDelta::minutes(30), true));
    assert_eq!(config.names, ParameterNames::under("/apigw-rollback"));
    assert_eq!(config.stages, []);
}

#[test]
fn every_setting_is_read() {
    let config = read(&[
        ("AWS_REGION", "eu-west-1"),
        (
            "PROTECTED_STAGES",
            r#"[{"api":"a1","name":"orders","stage":"prod"},
                {"api":"b2","name":"web","stage":"$default","protocol":"http","aliases":["orders:live"],
                 "mappings":["api.example.com/web"]}]"#,
        ),
        ("PARAMETER_PREFIX", "/team/rollback"),
        ("MAX_ALARM_AGE_SECONDS", "0"),
        ("MODE", "observe"),
        ("PIN", "off"),
        ("TAGS", "team=orders, Cost Center=4/2=x,Empty="),
        ("ROLLBACK_WINDOW_SECONDS", "0"),
        ("ALARM_PREFIXES", " orders-, web- "),
        ("UNWIRED_ALARM_PREFIXES", "queue-"),
        ("SHOW_VARIABLES", "on"),
    ])
    .unwrap();
    assert_eq!(config.max_age, None);
    assert_eq!((config.policy.mode, config.pin), (Mode::Observe, false));
    assert_eq!(config.policy.window, None);
    let tags: Vec<_> = config.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("Cost Center", "4/2=x"), ("Empty", ""), ("team", "orders")]);
    assert_eq!(config.names, ParameterNames::under("/team/rollback"));
    assert_eq!(config.alarm_prefixes, ["orders-", "web-"]);
    assert_eq!(config.unwired_alarm_prefixes, ["queue-"]);
    assert!(config.show_variables);
    let orders = ApiRef::Name("orders".into());
    assert_eq!(config.named(&orders, "prod").collect::<Vec<_>>(), [&config.stages[0]]);
    assert_eq!(config.named(&orders, "test").count(), 0);
    let web = StageRef::new(Protocol::Http, "b2", "$default");
    let listed = config.listed(&web, &PolicyOverrides::default());
    assert_eq!(listed.aliases, ["orders:live".parse().unwrap()]);
    assert_eq!(listed.mappings, ["api.example.com/web".parse().unwrap()]);
    let policy = PolicyOverrides { aliases: Some(vec![]), ..PolicyOverrides::default() };
    let listed = config.listed(&web, &policy);
    assert_eq!((listed.aliases.len(), listed.mappings.len()), (0, 1));
}

#[test]
fn a_policy_can_narrow_the_components_of_a_stage_and_not_widen_them() {
    let stages = r#"[{"api":"a1","name":"orders","stage":"prod","aliases":["orders:live"],"mappings":["a.example.com"]}]"#;
    let config = read(&[("AWS_REGION", "eu-west-1"), ("PROTECTED_STAGES", stages)]).unwrap();
    let (listed, recorded) = (StageRef::rest("a1", "prod"), StageRef::rest("b2", "prod"));
    for (stage, policy, left, held) in [
        (&listed, r#""schema":1"#, (1, 1), ""),
        (&listed, r#""schema":1,"aliases":["orders:live"]"#, (1, 1), ""),
        (&listed, r#""schema":1,"aliases":[],"mappings":[]"#, (0, 0), ""),
        (&listed, r#""schema":1,"aliases":["orders:live","theirs:live"]"#, (1, 1), "the alias `theirs:live`"),
        (&listed, r#""schema":1,"mappings":["b.example.com"]"#, (1, 0), "the mapping `b.example.com`"),
        (&recorded, r#""schema":1,"aliases":["orders:live"]"#, (0, 0), "the alias `orders:live`"),
        (&recorded, r#""schema":1,"aliases":[]"#, (0, 0), ""),
    ] {
        let name = config.names.policy(stage);
        let found = [Parameter { name, value: format!("{{{policy}}}"), version: 1 }];
        let on_record = config.on_record(stage, &found);
        let now = config.listed(stage, &on_record.policy);
        assert_eq!((now.aliases.len(), now.mappings.len()), left, "{policy}");
        let why = on_record.unreadable.unwrap_or_default();
        assert!(why.contains(held) && why.is_empty() == held.is_empty(), "{policy}: {why}");
    }
    let may_map_to = |api| config.may_map_to(api, &recorded);
    assert_eq!((may_map_to("a1"), may_map_to("b2"), may_map_to("c3")), (true, true, false));
}

#[test]
fn one_message_names_all_invalid_variables() {
    let error = read(&[
        ("PROTECTED_STAGES", "prod"),
        ("PARAMETER_PREFIX", "/aws/x"),
        ("MAX_ALARM_AGE_SECONDS", "soon"),
        ("MODE", "on"),
        ("PIN", "yes"),
        ("TAGS", "Team"),
        ("INCIDENTS_KEPT_DAYS", "9999"),
        ("ALARM_PREFIXES", "orders-,"),
        ("UNWIRED_ALARM_PREFIXES", ","),
        ("SHOW_VARIABLES", "yes"),
        ("BAKE_SECONDS", "-1"),
        ("BAKE_NEEDS_DATA", "maybe"),
        ("ROLLBACK_WINDOW_SECONDS", "1d"),
        ("COOLDOWN_SECONDS", "99999999"),
        ("MAX_ROLLBACKS_A_DAY", "many"),
        ("NOT_RECOVERED_SECONDS", "-0.5"),
        ("FLUSH_CACHE", "yes"),
        ("NOTIFICATION_TOPIC_ARN", "people"),
        ("EVENT_BUS", "my bus"),
        ("SIBLINGS", "eu-west-1,Ireland"),
        ("HOOK_FUNCTION", "my hook"),
        ("HOOK_SECONDS", "60"),
        ("ERROR_RATE_TOLERATED", "5"),
        ("LATENCY_TOLERATED_MS", "300001"),
        ("CONVICT_ALPHA", "NaN"),
        ("DECIDE_SECONDS", "121"),
    ])
    .unwrap_err();
    for name in VARIABLES.iter().filter(|name| **name != "ALARM_TOPIC_ARN") {
        assert!(error.contains(name), "{name} is not named: {error}");
    }
}

#[test]
fn tags_follow_the_rules_of_api_gateway() {
    let read =
        |tags: &str| read(&[("AWS_REGION", "eu-west-1"), ("TAGS", tags)]).map(|config| config.tags.len());
    let many = |count: usize| (0..count).map(|nth| format!("k{nth}=v")).collect::<Vec<_>>().join(",");
    let long = |key: usize, value: usize| format!("{}={}", "k".repeat(key), "v".repeat(value));
    for (tags, count) in
        [("", 0), ("a=", 1), ("a=b=c", 1), ("Straße=ä", 1), (&many(50), 50), (&long(128, 256), 1)]
    {
        assert_eq!(read(tags), Ok(count), "{tags}");
    }
    for tags in
        ["a", "=b", "a=b,", "a=b,a=c", "aws:x=y", "AWS:x=y", "a=b;c", &many(51), &long(129, 0), &long(1, 257)]
    {
        let error = read(tags).unwrap_err();
        assert!(
            error.contains("TAGS is `") && error.contains("team=orders,cost-center=42"),
            "{tags}: {error}"
        );
    }
}

#[test]
fn a_topic_that_is_only_compared_is_ignored_with_a_warning_if_it_is_no_arn() {
    let config = |topic| read(&[("AWS_REGION", "eu-west-1"), ("ALARM_TOPIC_ARN", topic)]).unwrap();
    let (arn, id) = (config("arn:aws:sns:eu-west-1:1:a"), config("AlarmTopic"));
    assert_eq!((arn.alarm_topic.as_deref(), arn.warnings.len()), (Some("arn:aws:sns:eu-west-1:1:a"), 0));
    assert_eq!((id.alarm_topic, id.warnings.len()), (None, 1));
    assert!(id.warnings[0].starts_with("ALARM_TOPIC_ARN is `AlarmTopic`"), "{:?}", id.warnings);
}

#[test]
fn a_policy_overrides_only_the_settings_that_it_names() {
    let base = read(&[("AWS_REGION", "eu-west-1")]).unwrap().policy;
    assert_eq!(base.under(&PolicyOverrides::default()), base);
    let overrides = PolicyOverrides {
        mode: Some(Mode::Observe),
        bake_seconds: Some(60),
        rollback_window_seconds: Some(0),
        ..PolicyOverrides::default()
    };
    let expected =
        StagePolicy { mode: Mode::Observe, bake: TimeDelta::seconds(60), window: None, ..base.clone() };
    assert_eq!(base.under(&overrides), expected);
}

#[test]
fn a_prefix_is_a_path_that_parameter_store_accepts() {
    for (prefix, good) in [
        ("/apigw-rollback", true),
        ("/a/b_c.d-e", true),
        ("apigw-rollback", false),
        ("/", false),
        ("/a//b", false),
        ("/ssm-x", false),
        ("/a b", false),
    ] {
        assert_eq!(is_prefix(prefix), good, "{prefix}");
    }
}

/// The template's type Number lets fractions through, and cannot have a pattern.
#[test]
fn every_number_that_the_template_allows_is_read() {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml")).unwrap();
    let parameter = |name: &str| {
        let (_, rest) = template.split_once(&format!("\n  {name}:\n    Type: Number\n"))?;
        rest.split_once("Description:").map(|(bounds, _)| bounds)
    };
    let settings = template.lines().filter_map(|line| line.trim().split_once(": !Ref "));
    let numbers = settings.filter(|(setting, _)| VARIABLES.contains(setting));
    let numbers: Vec<_> = numbers.filter_map(|(setting, name)| Some((setting, parameter(name)?))).collect();
    assert_eq!(numbers.len(), 11, "{numbers:?}");
    for (setting, block) in numbers {
        let bound = |word: &str| {
            let bound = block.lines().find_map(|line| line.trim().strip_prefix(word));
            bound.unwrap_or_else(|| panic!("{setting} has no {word}")).parse::<f64>().unwrap()
        };
        let (least, most) = (bound("MinValue: "), bound("MaxValue: "));
        for value in [least, least + 0.25, most - 0.25, most] {
            let read = read(&[("AWS_REGION", "eu-west-1"), (setting, &value.to_string())]);
            assert!(read.is_ok(), "{setting}={value}: {read:?}");
        }
    }
}
