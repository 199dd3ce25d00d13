//! Runs events in a world and prints every visible effect.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use apigw_rollback::config::Config;
use apigw_rollback::context::Context;
use apigw_rollback::handler::handle;
use apigw_rollback::model::report::Report;
use apigw_rollback::model::trigger::UNKNOWN;
use chrono::TimeDelta;
use tokio::time::Instant;

use crate::support::world::{FUNCTION, TOPIC, World};

pub(crate) const PROTECTED: &str = r#"[{"api":"a1b2c3d4e5","name":"orders-api","stage":"prod"}]"#;

/// Runs one event in a world and prints every visible effect.
pub(crate) fn run(event: &str, world: &World, settings: &[(&str, &str)]) -> String {
    run_together(&[event], world, settings)
}

/// Returns the reports of one event.
pub(crate) fn reports(event: &str, world: &World) -> Vec<Report> {
    attempt(event, world, &[], 1).unwrap()
}

/// Returns the reports of one event as the n-th run, or `None` if the run died.
pub(crate) fn attempt(
    event: &str,
    world: &World,
    settings: &[(&str, &str)],
    nth: usize,
) -> Option<Vec<Report>> {
    let config = config(settings);
    world.take_calls();
    world.act_as(&format!("run-{nth}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let run = Context {
            cloud: world,
            config: &config,
            trigger: &UNKNOWN,
            id: &format!("run-{nth}"),
            trace: None,
            function: Some(FUNCTION),
            now: world.now(),
            began,
            deadline: began + Duration::from_secs(20),
        };
        let whole_run = tokio::time::timeout(Duration::from_mins(1), handle(event, &run));
        whole_run.await.ok().map(|answer| answer.reports)
    })
}

/// The function's settings in tests, with the given overrides.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    Config::read(|name| setting(settings, name)).unwrap()
}

fn setting(settings: &[(&str, &str)], name: &str) -> Option<String> {
    let given = settings.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    given.or_else(|| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "PROTECTED_STAGES" => Some(PROTECTED.to_owned()),
        "ALARM_TOPIC_ARN" => Some(TOPIC.to_owned()),
        // The invariants compare the releases in the reports.
        "SHOW_VARIABLES" => Some("on".to_owned()),
        _ => None,
    })
}

/// Runs several events at the same time, each in its own run; the runs take turns at every call.
pub(crate) fn run_together(events: &[&str], world: &World, settings: &[(&str, &str)]) -> String {
    let config = config(settings);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut shown = String::new();
    runtime.block_on(async {
        let began = Instant::now();
        let ids: Vec<String> = (1..=events.len()).map(|nth| format!("run-{nth}")).collect();
        let runs = events.iter().zip(&ids).zip(0..).map(|((event, id), nth)| {
            let run = Context {
                cloud: world,
                config: &config,
                trigger: &UNKNOWN,
                id,
                trace: None,
                function: Some(FUNCTION),
                // No two clocks show the same millisecond.
                now: world.now() + TimeDelta::milliseconds(nth),
                began,
                deadline: began + Duration::from_secs(20),
            };
            async move { handle(event, &run).await }
        });
        for answer in futures_util::future::join_all(runs).await {
            answer.reports.iter().for_each(|report| show(&mut shown, report));
            match answer.into_response() {
                Err(error) => writeln!(shown, "lambda error: {}: {error}", error.kind).unwrap(),
                Ok(response) => {
                    if let Some(failures) = response.get("batchItemFailures") {
                        writeln!(shown, "batch item failures: {failures}").unwrap();
                    }
                }
            }
        }
    });
    for call in world.take_calls() {
        writeln!(shown, "call: {}", call.trim_end()).unwrap();
    }
    let facts = world.facts();
    for (alias, live) in facts.aliases {
        writeln!(shown, "alias: {alias} {}", live.target).unwrap();
    }
    for (mapping, live) in facts.mappings {
        writeln!(shown, "mapping: {mapping} {}", live.target).unwrap();
    }
    for (stage, live) in facts.stages {
        let canary =
            live.release.canary.map(|canary| format!(" canary {}%", canary.percent)).unwrap_or_default();
        let closed = if live.closed { " closed" } else { "" };
        let auto_deploy = if live.auto_deploy { " auto-deploy" } else { "" };
        writeln!(
            shown,
            "stage: {stage} {} {:?}{canary}{closed}{auto_deploy}",
            live.release.deployment, live.release.variables
        )
        .unwrap();
    }
    shown
}

fn show(shown: &mut String, report: &Report) {
    let outcome = serde_json::to_value(report.outcome).unwrap();
    let outcome = outcome.as_str().unwrap();
    let reason = report.code().map(|reason| format!(" ({reason})")).unwrap_or_default();
    writeln!(shown, "report: {outcome}{reason}: {}", report.message).unwrap();
    report.next.iter().for_each(|next| writeln!(shown, "  next: {next}").unwrap());
    report.warnings.iter().for_each(|warning| writeln!(shown, "  warning: {warning}").unwrap());
    if let Some(details) = &report.details {
        writeln!(shown, "{}", serde_json::to_string_pretty(&serde_json::json!(details)).unwrap()).unwrap();
    }
}

pub(crate) fn event(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("events").join(name).with_extension("json");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn snapshot(story: &str, shown: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("../snapshots");
    settings.bind(|| insta::assert_snapshot!(story.replace(' ', "_"), shown));
}
