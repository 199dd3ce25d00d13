//! The command-line tool: the real program without AWS, and its tables for reports of the in-memory world.

mod aws;
mod explain;
mod operator;
#[path = "../../../src/bin/apigw-rollback/style.rs"]
mod style;
mod tls;
#[path = "../../../src/bin/apigw-rollback/views/mod.rs"]
mod views;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use apigw_rollback::model::access_log;
use apigw_rollback::model::protocol::Protocol;
use serde_json::json;

use crate::support::harness::snapshot;

const VERBS: [&str; 23] = [
    "status",
    "plan",
    "rollback",
    "record",
    "promote",
    "announce",
    "history",
    "incidents",
    "hold",
    "release-hold",
    "lift",
    "explain",
    "access-log",
    "schema",
    "doctor",
    "watch",
    "sweep",
    "logs",
    "open",
    "policy",
    "rollout",
    "completions",
    "",
];

/// Runs the tool without AWS: the endpoint is a closed port, and there are no credentials unless `env` sets them.
fn tool(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apigw-rollback"));
    command.args(args).env_clear().stdin(Stdio::null());
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/nowhere").env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere");
    command.envs(env.iter().copied()).output().unwrap()
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "eu-west-1")];

/// Returns the exit code and all output.
fn ran(args: &[&str], env: &[(&str, &str)]) -> String {
    let Output { status, stdout, stderr } = tool(args, env);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    format!("exit {}\n{}{}", status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn every_command_has_a_help_text_with_an_example() {
    for verb in VERBS {
        let help = if verb.is_empty() { vec!["--help"] } else { vec![verb, "--help"] };
        let shown = ran(&help, &[]);
        assert!(shown.starts_with("exit 0\n"), "{verb}: {shown}");
        assert!(verb.is_empty() || shown.contains("Example"), "{verb} has no example");
        assert!(!shown.contains('\u{1b}'), "{verb}: colours without a terminal");
        if ["", "rollback", "hold", "doctor", "access-log"].contains(&verb) {
            snapshot(format!("help {verb}").trim_end(), &shown);
        }
    }
}

#[test]
fn bad_input_is_reported_in_one_sentence_and_by_the_exit_code() {
    let no_region = &KEYS[..2];
    let long = "x".repeat(501);
    let misspelt = [&KEYS[..], &[("AWS_PROFILE", "theirs")]].concat();
    for (args, env, exit, expected) in [
        (vec!["status"], &[][..], 2, "error: no Region is set: give --region or set AWS_REGION"),
        (
            vec!["status", "--region", "eu-west-1"],
            &[][..],
            7,
            "error: no credentials were found: set AWS_PROFILE",
        ),
        (vec!["status"], no_region, 2, "error: no Region is set"),
        (vec!["status"], &KEYS, 1, "error: AWS does not answer in the Region `eu-west-1`: check the name"),
        (vec!["status", "--profile", "misspelt"], &KEYS, 7, "the profile `misspelt` does not exist"),
        (vec!["status", "--profile", "misspelt"], &[][..], 7, "the profile `misspelt` does not exist"),
        (vec!["status"], &misspelt, 7, "the profile `theirs` does not exist: correct AWS_PROFILE"),
        (vec!["watch", "--every", "1s"], &KEYS, 2, "the shortest interval is 2s"),
        (vec!["history", "a/prod", "-n", "0"], &KEYS, 2, "invalid value '0'"),
        (vec!["doctor"], &KEYS, 1, "error: AWS does not answer in the Region `eu-west-1`"),
        (vec!["status", "prod"], &KEYS, 2, "write the stage as API/STAGE, such as a1b2c3d4e5/prod"),
        (vec!["status", "a/b c"], &KEYS, 2, "write the stage as API/STAGE"),
        (
            vec!["rollback", "orders-api/prod"],
            &KEYS,
            2,
            "`rollback orders-api/prod` needs confirmation, and there is no terminal",
        ),
        (vec!["rollback", "orders-api/prod", "--to", "0"], &KEYS, 2, "invalid value '0'"),
        (vec!["hold", "a/prod", "--why", "x"], &KEYS, 2, "<--until <TIME>|--for <DURATION>>"),
        (vec!["hold", "a/prod", "--why", "x", "--for", "2w"], &KEYS, 2, "such as 45s, 90m, 2h or 1d"),
        (vec!["hold", "a/prod", "--why", "x", "--for", "ü"], &KEYS, 2, "such as 45s, 90m, 2h or 1d"),
        (vec!["hold", "a/prod", "--why", "x", "--until", "soon"], &KEYS, 2, "give a time such as"),
        (vec!["hold", "a/prod", "--why", &long, "--for", "2h", "-y"], &KEYS, 2, "at most 500 bytes"),
        (vec!["record", "a/prod", "--irreversible", "extra"], &KEYS, 2, "unexpected argument 'extra'"),
        (vec!["status", "--local", "--function", "x"], &KEYS, 2, "cannot be used with"),
        (vec!["frobnicate"], &KEYS, 2, "unrecognized subcommand"),
        (vec![], &KEYS, 2, "Usage: apigw-rollback <COMMAND>"),
    ] {
        let shown = ran(&args, env);
        assert!(
            shown.starts_with(&format!("exit {exit}\n")) && shown.contains(expected),
            "{args:?}: {shown}"
        );
        for word in ["service error", "panicked", "backtrace"] {
            assert!(!shown.contains(word), "{args:?}: {shown}");
        }
        if !args.is_empty() && shown.contains("error: ") && !shown.contains("--help") {
            assert_eq!(shown.trim_end().lines().count(), 2, "{args:?}: {shown}");
        }
    }
}

#[test]
fn a_profile_wins_over_the_keys_in_the_environment() {
    let file = std::env::temp_dir().join(format!("profiles-{}", std::process::id()));
    fs::write(&file, "[theirs]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 8_192];
        let length = stream.read(&mut request).unwrap();
        let body = r#"{"message":"denied"}"#;
        let head =
            "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: AccessDeniedException\r\nconnection: close\r\n";
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let file_name = file.to_str().unwrap();
    let env = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", file_name)];
    let shown = ran(&["status", "--profile", "theirs"], &[&KEYS[..], &env].concat());
    let request = server.join().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(request.contains("Credential=AKIDPROFILE/"), "{request}\n{shown}");
}

#[test]
fn a_local_command_reads_the_settings_from_the_environment() {
    let bad = [&KEYS[..], &[("MODE", "on"), ("PIN", "yes")]].concat();
    let shown = ran(&["status", "--local"], &bad);
    assert!(
        shown.starts_with("exit 2\n") && shown.contains("MODE is `on`") && shown.contains("PIN is `yes`"),
        "{shown}"
    );
}

#[test]
fn a_program_gets_bad_settings_as_json() {
    let bad = [&KEYS[..], &[("MODE", "on"), ("PIN", "yes")]].concat();
    let none: [(&str, &str); 1] = [("AWS_REGION", "eu-west-1")];
    for (verb, env, exit, level, check, expected) in [
        ("doctor", &bad[..], 2, "fault", "settings", "MODE is `on`"),
        ("doctor", &none, 7, "not-checked", "function", "no credentials were found"),
        ("status", &bad, 2, "", "", "MODE is `on`"),
        ("watch", &none, 7, "", "", "no credentials were found"),
    ] {
        let Output { status, stdout, stderr } = tool(&[verb, "--local", "--format", "json"], env);
        let shown: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        let message = if verb == "doctor" {
            assert_eq!((&shown["worst"], &shown["findings"][0]["level"]), (&json!(level), &json!(level)));
            assert_eq!(shown["findings"][0]["check"], check);
            &shown["findings"][0]["message"]
        } else {
            assert_eq!(shown["exit"], exit);
            &shown["error"]
        };
        assert!(message.as_str().unwrap().contains(expected), "{verb}: {shown}");
        assert_eq!(status.code(), Some(exit), "{verb}");
        assert!(String::from_utf8_lossy(&stderr).starts_with("error: "), "{verb}");
    }
}

#[test]
fn the_document_lists_every_command_exit_code_and_check() {
    let document = include_str!("../../../docs/command-line.md");
    for verb in VERBS.iter().filter(|verb| !verb.is_empty()) {
        assert!(document.contains(&format!("apigw-rollback {verb}")), "{verb}");
    }
    let help = ran(&["--help"], &[]);
    for code in help.split("Exit codes:\n").nth(1).unwrap().lines() {
        let (code, meaning) = code.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {meaning} |").replace("doctor:", "`doctor`:");
        assert!(document.contains(&row), "{row}");
    }
    for source in [
        include_str!("../../../src/doctor/function_checks.rs"),
        include_str!("../../../src/doctor/role_checks.rs"),
        include_str!("../../../src/doctor/stage_checks.rs"),
        include_str!("../../../src/doctor/upkeep_checks.rs"),
    ] {
        let spaced = source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
        for start in ["Finding::ok(\"", "Finding::warning(\"", "Finding::fault(\"", "of_reason(\""] {
            for check in spaced.split(start).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(document.contains(&format!("| `{check}` |")), "{check}");
            }
        }
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let shown = ran(&["completions", shell], &[]);
        assert!(shown.starts_with("exit 0\n") && shown.contains("release-hold"), "{shell}");
    }
}

#[test]
fn access_log_prints_the_format_and_needs_no_aws() {
    for (kind, protocol) in
        [("rest", Protocol::Rest), ("http", Protocol::Http), ("websocket", Protocol::WebSocket)]
    {
        let expected = format!("exit 0\n{}\n", access_log::format(protocol));
        assert_eq!(ran(&["access-log", kind], &[]), expected);
    }
    assert!(ran(&["access-log", "soap"], &[]).starts_with("exit 2\n"));
}

#[test]
fn explain_needs_no_aws() {
    let events = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let (alarm, missing) = (format!("{events}/sns-alarm.json"), format!("{events}/nothing.json"));
    let shown = ran(&["explain", "--now", "2026-11-20T10:06:00Z", &alarm], &[]);
    assert!(shown.starts_with("exit 0\n") && shown.contains(": act\n"), "{shown}");
    let shown = ran(&["explain", "--format", "json", "--now", "2026-11-20T10:06:00Z", &alarm], &[]);
    assert!(shown.contains(r#""verdict":"act""#), "{shown}");
    let shown = ran(&["explain", &missing], &[]);
    assert!(shown.starts_with("exit 1\n") && shown.contains("cannot be read"), "{shown}");
}

mod tables {
    use std::time::Duration;

    use apigw_rollback::context::Context;
    use apigw_rollback::handler::handle;
    use apigw_rollback::model::alarm::State;
    use apigw_rollback::model::report::Report;
    use apigw_rollback::model::trigger::UNKNOWN;
    use apigw_rollback::observe::incidents::{self, OnFile};
    use tokio::time::Instant;

    use super::views::{self, lists};
    use crate::scenarios::doctor::{config, found, healthy};
    use crate::support::harness::{event, snapshot};
    use crate::support::world::{FUNCTION, Facts, World, prod};

    /// Calls a function with the context of a run in this world.
    fn with<T>(world: &World, call: impl AsyncFnOnce(&Context<'_, World>) -> T) -> T {
        let config = config(&[]);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let began = Instant::now();
            let run = Context {
                cloud: world,
                config: &config,
                trigger: &UNKNOWN,
                id: "run",
                trace: None,
                function: Some(FUNCTION),
                now: world.facts().now,
                began,
                deadline: began + Duration::from_secs(20),
            };
            call(&run).await
        })
    }

    fn reports(name: &str, world: &World) -> Vec<Report> {
        with(world, async |run| handle(&event(name), run).await.reports)
    }

    /// Returns the text of the commands' reports without colours.
    fn shown(world: &World, commands: &[&str]) -> String {
        let all: Vec<Report> = commands.iter().flat_map(|name| reports(name, world)).collect();
        anstream::adapter::strip_str(&views::reports(&all)).to_string()
    }

    #[test]
    fn reports_are_shown_as_tables() {
        let world = World::new(Facts::bad_release());
        snapshot("table status", &shown(&world, &["command-status"]));
        snapshot("table status of two", &shown(&world, &["command-status", "command-status"]));
        snapshot("table plan", &shown(&world, &["command-plan"]));
        snapshot("table rollback", &shown(&world, &["command-rollback"]));
        snapshot("table rollback again", &shown(&world, &["command-rollback"]));
        snapshot("table history", &shown(&world, &["command-history"]));
        let listed = with(&world, async |run| incidents::read(run, &prod()).await.unwrap());
        let shown_list = |list: &[OnFile]| {
            anstream::adapter::strip_str(&lists::incidents(list, world.facts().now)).to_string()
        };
        snapshot("table incidents", &shown_list(&listed));
        assert_eq!(shown_list(&[]), "no incidents are recorded\n");
        let (facts, _) = healthy();
        snapshot("table status of a healthy stage", &shown(&World::new(facts), &["command-status"]));
        let mut nothing = Facts::bad_release();
        nothing.parameters.clear();
        nothing.alarms.clear();
        snapshot("table status without a record", &shown(&World::new(nothing), &["command-status"]));
        assert_eq!(views::reports(&[]), "no stage is protected\n");
    }

    #[test]
    fn reports_are_coloured() {
        let world = World::new(Facts::bad_release());
        let all = reports("command-rollback", &world);
        assert!(views::reports(&all).starts_with("\u{1b}[32mrolled-back\u{1b}[0m: "));
    }

    #[test]
    fn findings_are_shown_as_a_table() {
        let (mut facts, mut surroundings) = healthy();
        facts.alarms[0].alarm.state = State::InsufficientData;
        surroundings.concurrency = Some(0);
        let findings = found(&World::new(facts), &surroundings, &[]);
        let shown = lists::findings(&findings);
        snapshot("table doctor", &anstream::adapter::strip_str(&shown).to_string());
    }
}
