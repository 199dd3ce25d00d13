//! The real program against a small AWS: what an operator sees, and what is written.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::aws::{Aws, Facts};
use super::{KEYS, ran};

/// Runs the tool against this AWS, with this text on standard input, and returns the exit code and all output.
fn with(aws: &Aws, args: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"));
    command.args(args).env_clear().envs(KEYS).env("AWS_ENDPOINT_URL", &aws.endpoint);
    command.env("AWS_CONFIG_FILE", "/nowhere").env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that fails early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!("exit {}\n{}{}", status.code().unwrap(), text(stdout), text(stderr))
}

fn on(facts: Facts, args: &[&str]) -> String {
    with(&Aws::new(facts), args, "")
}

const RECORD: &str = r#"{"schema":1,"stage":{"protocol":"rest","api":"a1b2c3d4e5","stage":"prod"},
    "region":"eu-west-1","release":{"deployment":"d1"},"recorded_at":"2026-11-02T08:00:00Z","pinned":false}"#;
const KNOWN_GOOD: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/known-good";
const POLICY: &str = "/apigw-rollback/stages/a1b2c3d4e5/prod/policy";
const SWEEP: &str = "/apigw-rollback/sweep";

/// The stage `prod` without components, with a known-good release.
fn recorded() -> Facts {
    let mut facts = Facts::default();
    let stages = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;
    facts.variables.insert("PROTECTED_STAGES", stages.to_owned());
    facts.parameters.insert(KNOWN_GOOD.to_owned(), vec![RECORD.to_owned()]);
    facts
}

/// Checks that the output of a command begins with the exit code and has each of these texts.
fn check(shown: &str, exit: u8, texts: &[&str]) {
    assert!(shown.starts_with(&format!("exit {exit}\n")), "{shown}");
    for text in texts {
        assert!(shown.contains(text), "no `{text}` in {shown}");
    }
}

#[test]
fn a_status_and_a_plan_show_the_account_and_the_region() {
    let place = "exit 0\naccount 210987654321, eu-west-1\n";
    for args in [&["status"][..], &["status", "orders-api/prod"], &["plan", "orders-api/prod"]] {
        check(&on(recorded(), args), 0, &[place]);
    }
    // The function's ARN names its account.
    let unknown = Facts { knows_caller: false, ..recorded() };
    check(&on(unknown, &["status"]), 0, &["account 123456789012, eu-west-1\n"]);
    let json = on(recorded(), &["plan", "orders-api/prod", "--format", "json"]);
    assert!(serde_json::from_str::<Value>(json.split_once('\n').unwrap().1).is_ok(), "{json}");
}

#[test]
fn a_preview_does_not_promise_a_deployment_that_is_gone() {
    let gone = || Facts { deployments: vec!["d2"], ..recorded() };
    check(&on(recorded(), &["plan", "orders-api/prod"]), 0, &["would be rolled back"]);
    check(&on(gone(), &["plan", "orders-api/prod"]), 3, &["known-good-missing", "no longer exists"]);
    check(&on(gone(), &["status", "orders-api/prod"]), 0, &["would change nothing (known-good-missing)"]);
}

#[test]
fn the_status_says_why_a_release_waits() {
    let mut facts = recorded();
    let sweep = json!({"schema": 1, "at": "2026-11-20T10:00:00Z", "run": "r", "stages": 1,
        "states": {"rest/a1b2c3d4e5/prod": "the bake time ends at 10:30"}});
    facts.parameters.insert(SWEEP.to_owned(), vec![sweep.to_string()]);
    let candidate =
        json!({"schema": 1, "release": {"deployment": "d1"}, "first_seen": "2026-11-01T08:00:00Z"});
    let name = "/apigw-rollback/stages/a1b2c3d4e5/prod/candidate".to_owned();
    facts.parameters.insert(name, vec![candidate.to_string()]);
    let shown = on(facts, &["status", "orders-api/prod"]);
    let expected = "not known-good yet  the bake time ends at 10:30 (sweep at 2026-11-20T10:00:00Z";
    check(&shown, 0, &[expected]);
    let candidate = shown.lines().find(|line| line.starts_with("candidate")).unwrap();
    assert_eq!(candidate.split_whitespace().collect::<Vec<_>>(), ["candidate", "none"]);
}

#[test]
fn an_error_advises_by_its_cause() {
    for (args, exit, texts) in [
        (
            vec!["status", "orders-api/typo"],
            3,
            vec!["has no stage", "the stages of API `a1b2c3d4e5` are prod, test"],
        ),
        (vec!["plan", "orders-api/typo"], 3, vec!["correct the name of the stage", "are prod, test"]),
        (vec!["status", "nothing/prod"], 3, vec!["list the protected stages"]),
        (
            vec!["hold", "a1b2c3d4e5/typo", "--for", "2h", "--why", "x", "--yes"],
            3,
            vec!["has no stage", "are prod, test"],
        ),
        (
            vec!["hold", "orders-api/prod", "--until", "2020-01-01T00:00:00Z", "--why", "x", "--yes"],
            3,
            vec!["in the past", "give a later time with --until"],
        ),
        (
            vec!["lift", "orders-api/prod", "abc123abc123", "--yes"],
            3,
            vec!["list the incidents: apigw-rollback incidents a1b2c3d4e5/prod"],
        ),
        (
            vec!["plan", "orders-api/prod", "--to", "99"],
            3,
            vec!["list the versions: apigw-rollback history a1b2c3d4e5/prod"],
        ),
    ] {
        let shown = on(recorded(), &args);
        check(&shown, exit, &texts);
        for wrong in ["apigw-rollback record", "events/", "Stage and ApiName"] {
            assert!(!shown.contains(wrong), "{args:?}: {shown}");
        }
    }
}

#[test]
fn a_record_names_the_caller_if_nothing_else_is_known() {
    for (knows_caller, who, expected) in [
        (true, None, json!("assumed-role/Admin/jane")),
        (true, Some("me"), json!("me")),
        (false, None, Value::Null),
    ] {
        let aws = Aws::new(Facts { knows_caller, ..recorded() });
        let mut args = vec!["hold", "orders-api/prod", "--for", "2h", "--why", "x", "--yes"];
        args.extend(who.iter().flat_map(|who| ["--who", who]));
        check(&with(&aws, &args, ""), 0, &["is held until"]);
        let hold = aws.look(|facts| facts.parameters["/apigw-rollback/stages/a1b2c3d4e5/prod/hold"].clone());
        assert_eq!(serde_json::from_str::<Value>(&hold[0]).unwrap()["by"], expected);
    }
}

#[test]
fn a_hold_in_an_emergency_needs_no_other_call() {
    // The settings name a stage that API Gateway does not have.
    let facts = Facts { stages: [].into(), deployments: vec![], ..Facts::default() };
    let held = ["hold", "orders-api/prod", "--for", "2h", "--why", "x", "--yes", "--who", "me"];
    check(&on(facts, &held), 3, &["API Gateway has no stage rest/a1b2c3d4e5/prod"]);
    let aws = Aws::new(Facts { fails_gateway: true, ..Facts::default() });
    check(&with(&aws, &held, ""), 0, &["is held until"]);
}

#[test]
fn a_policy_is_checked_before_it_is_stored() {
    let valid = r#"{"schema":1,"mode":"observe","aliases":["orders:live"]}"#;
    let set = ["policy", "set", "orders-api/prod", "-", "--yes"];
    for (text, exit, expected) in [
        (valid, 0, "is stored"),
        ("{", 2, "- contains no policy"),
        (r#"{"schema":1,"mod":"observe"}"#, 2, "unknown field `mod`"),
        (r#"{"schema":1,"bake_seconds":700000}"#, 2, "it must be a number from 0 to 604800"),
        (r#"{"schema":1,"aliases":["theirs:live"]}"#, 2, "lists the alias `theirs:live`, which PROTECTED"),
    ] {
        let aws = Aws::new(Facts::default());
        check(&with(&aws, &set, text), exit, &[expected]);
        let stored = aws.look(|facts| facts.parameters.get(POLICY).cloned());
        let stored =
            stored.map(|mut versions| serde_json::from_str::<Value>(&versions.pop().unwrap()).unwrap());
        assert_eq!(stored, (exit == 0).then(|| serde_json::from_str(valid).unwrap()), "{text}");
    }
    let mut facts = Facts::default();
    facts.parameters.insert(POLICY.to_owned(), vec![r#"{"schema":1,"mode":"enforce"}"#.to_owned()]);
    let aws = Aws::new(facts);
    check(&with(&aws, &["policy", "get", "orders-api/prod"], ""), 0, &["\"mode\": \"enforce\""]);
    let difference = ["account 210987654321", "- \"mode\": \"enforce\"", "+ \"mode\": \"observe\""];
    check(&with(&aws, &set, valid), 0, &difference);
    check(&with(&aws, &set, valid), 0, &["has this policy already"]);
    assert_eq!(aws.look(|facts| facts.parameters[POLICY].len()), 2);
    check(
        &on(Facts::default(), &["policy", "get", "orders-api/prod"]),
        0,
        &["\"schema\": 1", "no policy of"],
    );
    check(&on(Facts::default(), &["policy", "get", "orders-api/typo"]), 3, &["are prod, test"]);
    let unconfirmed = on(Facts::default(), &["policy", "set", "orders-api/prod", "/nowhere"]);
    check(&unconfirmed, 2, &["/nowhere cannot be read"]);
}

#[test]
fn the_log_has_one_line_for_each_report() {
    let line = json!({"message": "report", "outcome": "held", "reason": "cooldown", "what": "too soon\u{1b}[2J",
        "report": "{\"outcome\":\"held\"}"});
    let second = json!({"message": "report", "outcome": "swept", "what": "checked 1 stage"}).to_string();
    let log = vec![line.to_string(), "not JSON".to_owned(), second];
    let facts = || Facts { log: log.clone(), ..Facts::default() };
    check(
        &on(facts(), &["logs"]),
        0,
        &[
            "2026-11-20T10:06:00Z held (cooldown): too soon [2J\n2026-11-20T10:06:00Z swept: checked 1 stage\n",
        ],
    );
    check(&on(facts(), &["logs", "--format", "json"]), 0, &["{\"outcome\":\"held\"}\n"]);
    check(&ran(&["logs", "--local"], &KEYS), 2, &["needs the deployed function"]);
}

#[test]
fn the_links_lead_to_the_console_of_the_region() {
    let shown = on(recorded(), &["open", "orders-api/prod"]);
    let base = "https://eu-west-1.console.aws.amazon.com";
    for path in [
        "/apigateway/main/apis/a1b2c3d4e5/stages?api=a1b2c3d4e5&region=eu-west-1",
        "/cloudwatch/home?region=eu-west-1#logsV2:log-groups/log-group/$252Fteam$252Frollbacks",
        "/lambda/home?region=eu-west-1#/functions/apigw-rollback?tab=monitoring",
    ] {
        check(&shown, 0, &[&format!("{base}{path}\n")]);
    }
}

#[test]
fn the_links_lead_to_the_console_of_the_partition() {
    for (partition, region, base) in [
        ("aws", "eu-west-1", "https://eu-west-1.console.aws.amazon.com/"),
        ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
        ("aws-us-gov", "us-gov-west-1", "https://console.amazonaws-us-gov.com/"),
    ] {
        let function = format!("arn:{partition}:lambda:{region}:123456789012:function:apigw-rollback");
        let shown = on(Facts { function, ..recorded() }, &["open"]);
        check(&shown, 0, &[&format!("{base}cloudwatch/home?region={region}#home:dashboards/ApiGateway\n")]);
    }
}

#[test]
fn a_policy_that_changes_before_it_is_replaced_is_kept() {
    let mut facts = Facts { meddles: true, ..Facts::default() };
    facts.parameters.insert(POLICY.to_owned(), vec![r#"{"schema":1}"#.to_owned()]);
    let aws = Aws::new(facts);
    let set = ["policy", "set", "orders-api/prod", "-", "--yes"];
    check(&with(&aws, &set, r#"{"schema":1,"mode":"observe"}"#), 3, &["changed after it was read"]);
    assert!(!aws.look(|facts| facts.parameters[POLICY].concat()).contains("observe"));
}

#[test]
fn a_sweep_of_an_operator_is_that_of_the_function() {
    let aws = Aws::new(recorded());
    let shown = with(&aws, &["sweep", "--yes", "--format", "json"], "");
    // No alarm watches the stage in this world.
    let expected =
        ["\"outcome\":\"swept\"", "\"stage\":\"rest/a1b2c3d4e5/prod\"", "\"reason\":\"unwatched\""];
    check(&shown, 5, &expected);
    let swept = aws.look(|facts| facts.parameters[SWEEP].clone());
    assert!(swept[0].contains("a new release was found"), "{swept:?}");
    check(&on(recorded(), &["sweep"]), 2, &["needs confirmation"]);
    check(&ran(&["sweep", "--local", "--yes"], &KEYS), 2, &["needs the deployed function"]);
}

#[test]
fn a_completion_offers_stages_and_is_silent_about_errors() {
    let args = ["complete-stages", "--", "apigw-rollback", "status", "--region", "eu-west-1", ""];
    assert_eq!(on(Facts::default(), &args), "exit 0\norders-api/prod\n");
    assert_eq!(ran(&["complete-stages"], &[]), "exit 0\n");
    for shell in ["bash", "fish", "zsh"] {
        check(&ran(&["completions", shell], &[]), 0, &["apigw-rollback complete-stages -- "]);
    }
}

/// Loads the script in bash and returns what it offers for the last of these words.
fn completed(aws: &Aws, words: &str, last: usize) -> Vec<String> {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_apigw-rollback")).parent().unwrap();
    let run = format!(
        "source <(apigw-rollback completions bash); COMP_WORDS=({words}); COMP_CWORD={last}; \
         _apigw__rollback_with_stages apigw-rollback \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &run]).env_clear().envs(KEYS).env("AWS_ENDPOINT_URL", &aws.endpoint);
    let output = command.env("PATH", format!("{}:/usr/bin:/bin", folder.display())).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.is_empty(), "{words}: {error}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_options_and_stages() {
    let aws = Aws::new(Facts::default());
    for (words, last, expected) in [
        ("apigw-rollback stat", 1, vec!["status"]),
        ("apigw-rollback status ''", 2, vec!["orders-api/prod"]),
        ("apigw-rollback status ord", 2, vec!["orders-api/prod"]),
        ("apigw-rollback status other", 2, vec![""]),
        ("apigw-rollback status --prof", 2, vec!["--profile"]),
        ("apigw-rollback policy s", 2, vec!["set"]),
        ("apigw-rollback policy set ''", 3, vec!["orders-api/prod"]),
    ] {
        let offered = completed(&aws, words, last);
        assert_eq!(offered.first().map(String::as_str), expected.first().copied(), "{words}: {offered:?}");
        assert!(offered.len() == 1 || last == 3, "{words}: {offered:?}");
    }
}

#[test]
fn a_failed_write_is_an_error_and_a_closed_pipe_ends_the_tool() {
    let tool = |args: &[&str], out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"));
        command.args(args).env_clear().stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let event = concat!(env!("CARGO_MANIFEST_DIR"), "/events/sns-alarm.json");
    for args in [&["schema"][..], &["--help"], &["--version"], &["completions", "bash"], &["explain", event]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, error) = tool(args, full.into());
        assert_eq!(code, Some(1), "{args:?}: {error}");
        assert!(error.starts_with("error: the output cannot be written: "), "{args:?}: {error}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(tool(args, writer.into()), (Some(141), String::new()), "{args:?}");
    }
}

#[test]
fn a_watch_ends_with_its_reader() {
    let aws = Aws::new(recorded());
    let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"));
    command.args(["watch", "orders-api/prod"]).env_clear().envs(KEYS).env("AWS_ENDPOINT_URL", &aws.endpoint);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdin(Stdio::null()).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(141));
}

/// The function of `orders-api` in two other Regions, of which one does not have it.
fn in_three_regions() -> Facts {
    let mut facts = recorded();
    facts.variables.insert("SIBLINGS", "us-east-1,ap-south-1".to_owned());
    let heard = json!({"schema": 1, "past": [], "siblings": [{
        "bad": {"region": "sa-east-1", "function": "apigw-rollback", "id": "i", "label": "v2", "contents": null},
        "deed": "rolled-back", "at": "2026-11-20T10:00:00Z",
    }]});
    let list = "/apigw-rollback/stages/a1b2c3d4e5/prod/rollbacks".to_owned();
    facts.parameters.insert(list, vec![heard.to_string()]);
    facts.without = vec!["ap-south-1"];
    facts
}

#[test]
fn the_status_over_all_regions_shows_each_and_hides_none_that_fails() {
    for stage in [&["orders-api/prod"][..], &["a1b2c3d4e5/prod"], &[]] {
        let shown = on(in_three_regions(), &[&["status", "--regions"], stage].concat());
        check(
            &shown,
            1,
            &["REGION", "ap-south-1", "there is no function `apigw-rollback` in the Region `ap-south-1`"],
        );
        for region in ["eu-west-1", "us-east-1"] {
            let row = shown.lines().find(|line| line.starts_with(region)).unwrap();
            for text in [
                "rest/a1b2c3d4e5/prod",
                "d2",
                "no: d1 is (version 1)",
                "Region sa-east-1 rolled the release `v2` back",
            ] {
                assert!(row.contains(text), "no `{text}` in {row}");
            }
            assert!(row.contains("prod  d2"), "the failure of another Region widens a column: {row}");
        }
    }
    let shown = on(in_three_regions(), &["status", "--regions", "--format", "json"]);
    let json: Value = serde_json::from_str(shown.split_once('\n').unwrap().1).unwrap();
    let regions = json["regions"].as_array().unwrap();
    let named: Vec<&str> = regions.iter().map(|one| one["region"].as_str().unwrap()).collect();
    assert_eq!(named, ["eu-west-1", "us-east-1", "ap-south-1"]);
    assert!(regions[0]["reports"][0]["details"]["siblings"].is_array() && regions[2]["error"].is_string());
    let all = Facts { without: vec![], ..in_three_regions() };
    check(&on(all, &["status", "--regions"]), 0, &["ap-south-1"]);
    check(&on(recorded(), &["status", "--regions"]), 2, &["has no siblings", "Siblings"]);
}

#[test]
fn the_status_of_a_stage_names_the_incidents_of_other_regions() {
    let shown = on(in_three_regions(), &["status", "orders-api/prod"]);
    check(
        &shown,
        0,
        &["other Regions", "Region sa-east-1 rolled the release `v2` back at 2026-11-20T10:00:00Z"],
    );
}
