//! The records: what is read, and what is refused.

use super::*;
use crate::model::policy::PolicyOverrides;

#[test]
fn an_invalid_value_is_refused_with_its_reason() {
    for (text, expected) in [
        ("", "contains no name index: EOF"),
        ("release 7", "contains no name index: expected value"),
        ("{}", "contains no name index: missing field `schema`"),
        (r#"{"schema":2,"apis":[]}"#, "contains name index schema 2, but this version reads schema 1"),
        (r#"{"schema":0,"apis":[]}"#, "contains no valid name index: its schema is 0"),
        (r#"{"schema":1}"#, "contains no valid name index: missing field `apis`"),
    ] {
        let error = parse::<NameIndex>(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    assert_eq!(parse::<NameIndex>(r#"{"schema":1,"apis":["a"],"more":1}"#).unwrap().apis, ["a"]);
    let long = format!(r#"{{"schema":1,"apis":["{}"]}}"#, "a".repeat(9000));
    assert_eq!(
        parse::<NameIndex>(&long).unwrap_err().to_string(),
        "has 9024 bytes, but a name index has at most 8192"
    );
}

#[test]
fn a_policy_has_the_limits_of_the_settings() {
    let aliases = |number: usize| format!(r#""aliases":[{}]"#, vec![r#""a:b""#; number].join(","));
    let mappings = |number: usize| format!(r#""mappings":[{}]"#, vec![r#""a.b""#; number].join(","));
    for (settings, expected) in [
        (r#""bake_seconds":604800"#.to_owned(), "valid"),
        (
            r#""bake_seconds":604801"#.to_owned(),
            "`bake_seconds` is 604801; it must be a number from 0 to 604800",
        ),
        (r#""rollback_window_seconds":31536000"#.to_owned(), "valid"),
        (
            r#""rollback_window_seconds":31536001"#.to_owned(),
            "`rollback_window_seconds` is 31536001; it must be a number from 0 to 31536000",
        ),
        (r#""cooldown_seconds":86400"#.to_owned(), "valid"),
        (
            r#""cooldown_seconds":86401"#.to_owned(),
            "`cooldown_seconds` is 86401; it must be a number from 0 to 86400",
        ),
        (r#""max_rollbacks_a_day":20"#.to_owned(), "valid"),
        (
            r#""max_rollbacks_a_day":21"#.to_owned(),
            "`max_rollbacks_a_day` is 21; it must be a number from 0 to 20",
        ),
        (aliases(100), "valid"),
        (aliases(101), "`aliases` lists more than 100 entries"),
        (mappings(100), "valid"),
        (mappings(101), "`mappings` lists more than 100 entries"),
    ] {
        let read = parse::<PolicyOverrides>(&format!(r#"{{"schema":1,{settings}}}"#));
        let described = read.map_or_else(|why| why.to_string(), |_| "valid".to_owned());
        let described = described.strip_prefix("contains no valid policy: ").unwrap_or(&described);
        assert_eq!(described, expected);
    }
}

#[test]
fn a_record_with_an_impossible_time_is_refused() {
    for (at, expected) in [
        ("2026-11-20T10:00:00Z", true),
        ("1970-01-01T00:00:00Z", true),
        ("9999-12-31T23:59:59Z", true),
        ("1969-12-31T23:59:59Z", false),
        ("+10000-01-01T00:00:00Z", false),
    ] {
        let candidate = format!(r#"{{"schema":1,"release":{{"deployment":"d"}},"first_seen":"{at}"}}"#);
        let sweep = format!(r#"{{"schema":1,"run":"r","stages":1,"at":"{at}"}}"#);
        for (name, read) in [
            ("first_seen", parse::<Candidate>(&candidate).map(drop)),
            ("at", parse::<LastSweep>(&sweep).map(drop)),
        ] {
            assert_eq!(read.is_ok(), expected, "{read:?}");
            assert!(read.err().is_none_or(|why| why.to_string().contains(&format!("`{name}` is"))));
        }
    }
}

#[test]
fn the_states_of_a_sweep_are_left_out_until_the_record_fits() {
    let at = DateTime::from_timestamp(1_795_168_800, 0).unwrap();
    for (states, length, good, kept) in [
        (0_usize, 100, 0_usize, (0, 0)),
        (20, 100, 20, (20, 20)),
        (100, 100, 0, (34, 0)),
        (1, 5_000, 10, (0, 10)),
        (100, 100, 20, (31, 20)),
        (100, 100, 500, (16, 136)),
        (0, 100, 500, (0, 267)),
    ] {
        let state = |nth: usize| (format!("rest/a/{nth:03}"), "x".repeat(length));
        let known_good = (0..good).map(|nth| format!("rest/b/{nth:05}")).collect();
        let states = (0..states).map(state).collect();
        let sweep = LastSweep { schema: SCHEMA, at, run: "run".into(), stages: 7, states, known_good };
        let text = sweep.print().unwrap();
        assert!(text.len() <= 4_096, "{length}");
        let read = parse::<LastSweep>(&text).unwrap();
        assert_eq!((read.states.len(), read.known_good.len()), kept, "{length} {good}");
    }
    // A sweep without states has the record that older versions wrote.
    let old = r#"{"schema":1,"at":"2026-11-20T10:00:00Z","run":"run","stages":7}"#;
    assert_eq!(parse::<LastSweep>(old).unwrap().print().unwrap(), old);
}

#[test]
fn a_value_that_parameter_store_would_refuse_is_not_sent() {
    let index = |api: String| NameIndex { schema: SCHEMA, apis: vec![api] };
    let braces = index("{{{{x}}".into());
    let text = print(&braces).unwrap();
    assert_eq!(text, r#"{"schema":1,"apis":["{\u007b{\u007bx}}"]}"#);
    assert_eq!(parse::<NameIndex>(&text).unwrap(), braces);
    assert!(print(&index("x".repeat(9000))).unwrap_err().contains("a parameter holds at most 8192"));
}
