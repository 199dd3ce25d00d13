//! The command line: what can be written, with examples.

use apigw_rollback::model::reason::stamp;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, CommandFactory, Parser, Subcommand};

use super::actions::{self, CommandJson, Confirm, StageName, length, stage, time};
use super::error::{CliError, EXIT_CODES, Exit};
use super::session::{Connection, Session, now};
use super::{doctor, explain, schema, watch};

/// Puts API Gateway stages back on their last-known-good release.
///
/// The same engine and settings as the function, with your own credentials, profile and region.
#[derive(Debug, Parser)]
#[command(name = "apigw-rollback", version, after_help = EXIT_CODES)]
pub(crate) struct Tool {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Args)]
pub(crate) struct OneStage {
    /// The stage; API is an id or a name
    #[arg(value_name = "API/STAGE", value_parser = stage)]
    stage: StageName,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The release's name for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// A note for the changelog
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// It cannot be left by going back, as after a data migration: no alarm takes it off
    #[arg(long)]
    irreversible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// To this version of the record instead of the newest
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Also from a release that is marked as not reversible
    #[arg(long)]
    force: bool,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct HoldUntil {
    /// Until this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// For so long, such as 90m, 2h or 1d
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    r#for: Option<TimeDelta>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Say what is live, what is known-good, and what an alarm would do right now
    #[command(after_help = "\
Without a stage all protected ones are told, a line each.

Examples:
  apigw-rollback status
  apigw-rollback status orders-api/prod
  apigw-rollback status --format json | jq -r '.reports[].details.live.release.deployment'")]
    Status {
        /// The stage; API is an id or a name
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: Option<StageName>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Say what `rollback` would do; write nothing
    #[command(after_help = "\
The exit code is 0 where the stage would be put back, 3 where there is nothing to do.

Examples:
  apigw-rollback plan orders-api/prod
  apigw-rollback plan a1b2c3d4e5/prod --to 3")]
    Plan {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        way: RollbackArgs,
    },
    /// Put a stage back on its known-good release
    #[command(after_help = "\
The alarm is not asked, and neither a hold nor the guards bind a person.
The stage is read again when you have said yes: what changed meanwhile is seen.

Examples:
  apigw-rollback rollback orders-api/prod --why \"checkout fails\"
  apigw-rollback rollback orders-api/prod --to 3 --yes")]
    Rollback {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        way: RollbackArgs,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Store the live release as known-good, and pin its deployment
    #[command(after_help = "\
Example:
  apigw-rollback record orders-api/prod --label v1.4.2 --note \"new checkout\" --yes")]
    Record {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        release: ReleaseArgs,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Record the live release if its alarms are quiet and had data, without waiting for the bake time
    #[command(after_help = "\
Example:
  apigw-rollback promote orders-api/prod --yes")]
    Promote {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Mark the live release: its label and note, and whether it is reversible
    #[command(after_help = "\
Example:
  apigw-rollback announce orders-api/prod --label v2.0.0 --irreversible --yes")]
    Announce {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        release: ReleaseArgs,
        /// It can be left by going back after all
        #[arg(long, conflicts_with = "irreversible")]
        reversible: bool,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Say what was known-good when, with the rollbacks in between
    #[command(after_help = "\
Example:
  apigw-rollback history orders-api/prod")]
    History(OneStage),
    /// List a stage's incidents, newest first
    #[command(after_help = "\
The first column is what `lift` takes.

Example:
  apigw-rollback incidents orders-api/prod")]
    Incidents(OneStage),
    /// Keep alarms and the sweep off a stage, for a time
    #[command(after_help = "\
Examples:
  apigw-rollback hold orders-api/prod --for 2h --why \"load test\"
  apigw-rollback hold orders-api/prod --until 2026-11-20T18:00:00Z --why migration --yes")]
    Hold {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        until: HoldUntil,
        /// Why, for whoever finds the stage held
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        sure: Confirm,
    },
    /// End a hold
    #[command(after_help = "\
Example:
  apigw-rollback release-hold orders-api/prod --yes")]
    ReleaseHold {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Take a release that was rolled back from out of quarantine
    #[command(after_help = "\
Example:
  apigw-rollback lift orders-api/prod 2f6b7efdf195 --why \"the backend was the cause\"")]
    Lift {
        #[command(flatten)]
        one: OneStage,
        /// The incident, as `incidents` lists it
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// Why, for the records
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        sure: Confirm,
    },
    /// Say what the function would make of event files, without asking AWS
    Explain(explain::Args),
    /// Check the whole chain: would a rollback work right now?
    Doctor(doctor::Doctor),
    /// Show the status again and again, until Ctrl-C
    #[command(after_help = "\
Examples:
  apigw-rollback watch
  apigw-rollback watch orders-api/prod --every 5s")]
    Watch {
        /// The stage; without it all protected ones
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: Option<StageName>,
        /// How often, such as 10s or 1m; at least 2s
        #[arg(long, value_name = "LENGTH", default_value = "10s", value_parser = length)]
        every: TimeDelta,
        #[command(flatten)]
        connection: Connection,
    },
    /// Print the JSON schema of reports
    #[command(after_help = "\
Example:
  apigw-rollback schema > report.schema.json")]
    Schema,
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  apigw-rollback completions bash > ~/.local/share/bash-completion/completions/apigw-rollback
  apigw-rollback completions zsh > ~/.zfunc/_apigw-rollback
  apigw-rollback completions fish > ~/.config/fish/completions/apigw-rollback.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl CliCommand {
    /// Carries it out.
    pub(crate) async fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::Explain(args) => Ok(explain::run(&args)),
            Self::Schema => Ok(schema::run()),
            Self::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Tool::command(), "apigw-rollback", &mut text);
                actions::print(&String::from_utf8_lossy(&text));
                Ok(Exit::DONE)
            }
            Self::Status { stage, connection } => {
                let session = Session::open(&connection).await?;
                let (reports, is_list) = actions::status(&session, stage.as_ref()).await?;
                Ok(actions::described(&reports, connection.format, is_list))
            }
            Self::Watch { stage, every, connection } => {
                watch::watch(&connection, stage.as_ref(), every).await
            }
            Self::Doctor(args) => doctor::run(&args).await,
            Self::History(one) => {
                actions::read(&one.connection, &CommandJson::new("history", &one.stage)).await
            }
            Self::Incidents(one) => actions::incidents(&one.connection, &one.stage).await,
            Self::Plan { one, way } => actions::read(&one.connection, &way.of("plan", &one.stage)).await,
            Self::Rollback { one, way, sure } => {
                actions::write(&one.connection, &sure, way.of("rollback", &one.stage)).await
            }
            Self::Record { one, release, sure } => {
                actions::write(&one.connection, &sure, release.of("record", &one.stage, false)).await
            }
            Self::Announce { one, release, reversible, sure } => {
                actions::write(&one.connection, &sure, release.of("announce", &one.stage, reversible)).await
            }
            Self::Promote { one, sure } => {
                actions::write(&one.connection, &sure, CommandJson::new("promote", &one.stage)).await
            }
            Self::ReleaseHold { one, sure } => {
                actions::write(&one.connection, &sure, CommandJson::new("release-hold", &one.stage)).await
            }
            Self::Hold { one, until, why, sure } => {
                let until = until.until.or_else(|| until.r#for.map(|length| now() + length)).map(stamp);
                let order =
                    CommandJson::new("hold", &one.stage).with("until", until).with("reason", Some(why));
                actions::write(&one.connection, &sure, order).await
            }
            Self::Lift { one, incident, why, sure } => {
                let order =
                    CommandJson::new("lift", &one.stage).with("incident", Some(incident)).with("reason", why);
                actions::write(&one.connection, &sure, order).await
            }
        }
    }
}

impl RollbackArgs {
    fn of(self, command: &str, stage: &StageName) -> CommandJson {
        let force = self.force.then_some(true);
        CommandJson::new(command, stage).with("to", self.to).with("force", force).with("reason", self.why)
    }
}

impl ReleaseArgs {
    fn of(self, command: &str, stage: &StageName, reversible: bool) -> CommandJson {
        let reversible = if self.irreversible { Some(false) } else { reversible.then_some(true) };
        let order = CommandJson::new(command, stage).with("label", self.label).with("note", self.note);
        order.with("reversible", reversible)
    }
}
