//! `rollout`: starts a rollout, follows it, and gives it orders.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use apigw_rollback::model::component::AliasRef;
use apigw_rollback::model::percent::Percent;
use apigw_rollback::model::reason::stamp;
use apigw_rollback::model::report::{Details, Outcome, Report};
use apigw_rollback::model::rollout::RolloutState;
use apigw_rollback::model::status::RolloutStatus;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde_json::json;

use super::actions::{self, CommandJson, Confirm, StageName, length};
use super::cli::OneStage;
use super::error::{CliError, Exit};
use super::session::{Connection, Format, Session, now};
use super::watch;

#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// The shares of the traffic that the new release gets, in percent, such as 5,25,50
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',', value_parser = percent, requires_all = ["bake", "min_requests"])]
    steps: Option<Vec<Percent>>,
    /// How long each step lasts, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = length, requires = "steps")]
    bake: Option<TimeDelta>,
    /// How many requests the new release must answer in each step
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), requires = "steps")]
    min_requests: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Start a rollout of a deployment, of versions of aliases, or of what your pipeline has given some traffic
    #[command(after_help = "\
Without --steps, the steps of the stage's policy apply (`rollout` in the policy).

Examples:
  apigw-rollback rollout start orders-api/prod --deployment x1y2z3 --steps 5,25,50 --bake 10m --min-requests 500 --yes
  apigw-rollback rollout start orders-web/prod --alias orders:live=8 --steps 5,25,50 --bake 10m --min-requests 500 --yes
  apigw-rollback rollout start orders-api/prod --label v1.5.0 --yes")]
    Start {
        #[command(flatten)]
        one: OneStage,
        /// The deployment [default: that of the canary on the stage]
        #[arg(long, value_name = "ID", conflicts_with = "alias")]
        deployment: Option<String>,
        /// The aliases that move together, each with its new version, such as orders:live=8,web:live=3
        #[arg(long, value_name = "ALIAS=VERSION,...", value_delimiter = ',', value_parser = alias)]
        alias: Vec<(String, String)>,
        #[command(flatten)]
        terms: Terms,
        /// A readable name of the release
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// A note for the changelog
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Show where the last rollout of a stage stands
    #[command(after_help = "\
Example:
  apigw-rollback rollout status orders-api/prod")]
    Status(OneStage),
    /// Wait for the end of a rollout, for pipelines
    #[command(after_help = "\
The exit code is 0 if the new release was promoted, 10 if the rollout ended without it, and 11 if it is
paused or not over in time.

Example:
  apigw-rollback rollout wait orders-api/prod --timeout 2h")]
    Wait {
        #[command(flatten)]
        one: OneStage,
        /// How long to wait at most, such as 90m
        #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = length)]
        timeout: TimeDelta,
        /// The time between two looks; at least 2s
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = watch::interval)]
        every: TimeDelta,
    },
    /// Let a rollout move no traffic until it is resumed
    #[command(after_help = "\
Example:
  apigw-rollback rollout pause orders-api/prod --why \"checking the logs\" --yes")]
    Pause {
        #[command(flatten)]
        one: OneStage,
        /// The reason, for other operators
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Let a paused rollout go on; the bake time of its step begins again
    #[command(after_help = "\
Example:
  apigw-rollback rollout resume orders-api/prod --yes")]
    Resume {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Skip the remaining steps: the new release gets all traffic, and its bake time begins
    #[command(after_help = "\
Example:
  apigw-rollback rollout promote orders-api/prod --yes")]
    Promote {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Remove the new release; the stage serves what it served before
    #[command(after_help = "\
Example:
  apigw-rollback rollout abort orders-api/prod --yes")]
    Abort {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        confirm: Confirm,
    },
}

fn alias(text: &str) -> Result<(String, String), String> {
    let (alias, version) =
        text.rsplit_once('=').ok_or("write the alias and its new version: orders:live=8")?;
    let alias: AliasRef = alias.parse()?;
    Ok((alias.to_string(), version.to_owned()))
}

fn percent(text: &str) -> Result<Percent, String> {
    let number: f64 = text.trim().parse().map_err(|_| format!("`{text}` is no number"))?;
    Percent::try_from(number)
}

pub(crate) async fn run(command: RolloutCommand) -> Result<Exit, CliError> {
    let order = |verb: &str, one: &OneStage| CommandJson::new(verb, &one.stage);
    match command {
        RolloutCommand::Start { one, deployment, alias, terms, label, note, confirm } => {
            let aliases: BTreeMap<String, String> = alias.iter().cloned().collect();
            if aliases.len() < alias.len() {
                return Err(CliError::Usage(
                    "an alias is given twice: give it once, with its new version".to_owned(),
                ));
            }
            let steps = terms.steps.map(|steps| json!(steps));
            let request = order("rollout-start", &one)
                .with("deployment", deployment)
                .with("aliases", (!aliases.is_empty()).then(|| json!(aliases)))
                .with("steps", steps)
                .with("bake_seconds", terms.bake.map(|bake| bake.num_seconds()))
                .with("min_requests", terms.min_requests)
                .with("label", label)
                .with("note", note);
            actions::write(&one.connection, &confirm, request).await
        }
        RolloutCommand::Status(one) => actions::read(&one.connection, &order("rollout-status", &one)).await,
        RolloutCommand::Wait { one, timeout, every } => {
            wait(&one.connection, &one.stage, timeout, every.to_std().unwrap_or_default()).await
        }
        RolloutCommand::Pause { one, why, confirm } => {
            let request = order("rollout-pause", &one).with("reason", why);
            actions::write(&one.connection, &confirm, request).await
        }
        RolloutCommand::Resume { one, confirm } => {
            actions::write(&one.connection, &confirm, order("rollout-resume", &one)).await
        }
        RolloutCommand::Promote { one, confirm } => {
            actions::write(&one.connection, &confirm, order("rollout-promote", &one)).await
        }
        RolloutCommand::Abort { one, confirm } => {
            actions::write(&one.connection, &confirm, order("rollout-abort", &one)).await
        }
    }
}

/// How often in a row a look may fail, because of a throttled call, say.
const FAILED_LOOKS: usize = 5;

/// Looks at the rollout until it has ended, is paused, or the time is over. Tells each change on standard error.
async fn wait(
    connection: &Connection,
    stage: &StageName,
    timeout: TimeDelta,
    every: Duration,
) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let command = CommandJson::new("rollout-status", stage).command()?;
    let until = now() + timeout;
    let (mut told, mut failed) = (String::new(), 0);
    loop {
        let reports = tokio::select! {
            reports = actions::send(&session, &command) => reports,
            _ = tokio::signal::ctrl_c() => return Err(CliError::Declined("the rollout goes on without this".to_owned())),
        };
        let status = status_of(&reports);
        failed = if reports.iter().any(|one| one.outcome == Outcome::Failed) { failed + 1 } else { 0 };
        let is_broken = failed == 0 && status.is_none();
        if is_broken || failed > FAILED_LOOKS {
            return actions::described(&session, &reports, connection, false).await;
        }
        if let Some(status) = status {
            let ends = ended(&status.rollout.state);
            let line = progress(status);
            if connection.format == Format::Text && line != told {
                let _ = writeln!(anstream::stderr(), "{} {line}", stamp(now()));
                told = line;
            }
            if let Some(exit) = ends {
                actions::described(&session, &reports, connection, false).await?;
                return Ok(exit);
            }
        }
        if now() + TimeDelta::from_std(every).unwrap_or_default() > until {
            actions::described(&session, &reports, connection, false).await?;
            let _ = writeln!(anstream::stderr(), "the rollout is not over in time, and goes on");
            return Ok(Exit::ROLLOUT_OPEN);
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = tokio::signal::ctrl_c() => return Err(CliError::Declined("the rollout goes on without this".to_owned())),
        }
    }
}

fn status_of(reports: &[Report]) -> Option<&RolloutStatus> {
    reports.iter().find_map(|report| match &report.details {
        Some(Details::Rollout(status)) => Some(&**status),
        Some(Details::Status(_) | Details::History(_) | Details::Sweep(_)) | None => None,
    })
}

fn progress(status: &RolloutStatus) -> String {
    let RolloutStatus { rollout, requests } = status;
    let requests =
        requests.map(|requests| format!(", {requests} of {} requests", rollout.terms.min_requests));
    format!(
        "{}: step {} of {}, {} % of the traffic{}",
        rollout.state.word(),
        rollout.step + 1,
        rollout.terms.steps.len(),
        rollout.share(),
        requests.unwrap_or_default()
    )
}

/// Returns the exit code of a rollout that nothing more is to be waited for.
fn ended(state: &RolloutState) -> Option<Exit> {
    match state {
        RolloutState::Promoted => Some(Exit::DONE),
        RolloutState::Aborted { .. } | RolloutState::RolledBack { .. } | RolloutState::Overtaken { .. } => {
            Some(Exit::ROLLOUT_ENDED)
        }
        RolloutState::Paused { .. } => Some(Exit::ROLLOUT_OPEN),
        RolloutState::Moving | RolloutState::Baking | RolloutState::Promoting | RolloutState::Aborting => {
            None
        }
    }
}
