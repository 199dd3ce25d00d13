//! `logs`: the reports in the function's log, one line each.

use std::collections::BTreeMap;
use std::time::Duration;

use apigw_rollback::cloud::aws::LogEvent;
use apigw_rollback::model::plain;
use chrono::{DateTime, TimeDelta};
use clap::Args;
use serde_json::Value;

use super::actions::length;
use super::error::{CliError, Exit};
use super::output::print;
use super::session::{Connection, Format, Session, now};
use super::style::{Tone, painted, second};

/// The interval at which `--follow` reads the log.
const EVERY: Duration = Duration::from_secs(2);

/// How far `--follow` looks back each time: CloudWatch Logs may show an event some seconds late.
const LATE: TimeDelta = TimeDelta::seconds(30);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  apigw-rollback logs --since 1d
  apigw-rollback logs --follow
  apigw-rollback logs --format json | jq -r 'select(.outcome == \"held\") | .message'")]
pub(crate) struct Logs {
    /// Continue with new reports, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How far to look back, such as 30m, 1h or 2d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = length)]
    since: TimeDelta,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: &Logs) -> Result<Exit, CliError> {
    if args.connection.is_local() {
        return Err(CliError::Usage("`logs` needs the deployed function: leave --local out".to_owned()));
    }
    let session = Session::open(&args.connection).await?;
    let group = session.log_group();
    let mut since = (now() - args.since).timestamp_millis();
    // The events that were printed, with their times.
    let mut printed: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let began = now();
        tokio::select! {
            read = pages(&session, &group, since, args.connection.format, &mut printed) => read?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::DONE),
        }
        if !args.follow {
            return Ok(Exit::DONE);
        }
        since = since.max((began - LATE).timestamp_millis());
        printed.retain(|_, at| *at >= since);
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::DONE),
        }
    }
}

/// Prints every page of reports since a time, except those that were printed before.
async fn pages(
    session: &Session,
    group: &str,
    since: i64,
    format: Format,
    printed: &mut BTreeMap<String, i64>,
) -> Result<(), CliError> {
    let mut next = None;
    loop {
        let page = session.operator().reports(group, since, next).await;
        let (events, following) = page.map_err(|error| match error.code.as_str() {
            "ResourceNotFoundException" => CliError::Function(format!(
                "there is no log group `{group}`: the function has not run yet, or logs elsewhere"
            )),
            _ => CliError::of(&error, &session.config().region),
        })?;
        let mut text = String::new();
        for event in events {
            if printed.insert(event.id.clone(), event.at).is_none() {
                text.extend(line(&event, format).map(|line| line + "\n"));
            }
        }
        print(&text)?;
        match following {
            Some(token) => next = Some(token),
            None => return Ok(()),
        }
    }
}

/// Renders a report of the log as one line; `None` for any other line.
fn line(event: &LogEvent, format: Format) -> Option<String> {
    let logged: Value = serde_json::from_str(&event.text).ok()?;
    let field = |name: &str| logged.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("message") != "report" {
        return None;
    }
    if format == Format::Json {
        return Some(field("report").to_owned());
    }
    let at = DateTime::from_timestamp_millis(event.at).map(second).unwrap_or_default();
    let outcome = match field("reason") {
        "" => field("outcome").to_owned(),
        reason => format!("{} ({reason})", field("outcome")),
    };
    let tone = match field("outcome") {
        "failed" | "needs-human" => Tone::Bad,
        "held" | "rejected" | "attention" => Tone::Careful,
        "ignored" | "swept" => Tone::Quiet,
        _ => Tone::Good,
    };
    Some(format!("{at} {}: {}", painted(&plain::line(&outcome), tone), plain::line(field("what"))))
}
