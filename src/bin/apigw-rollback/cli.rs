//! The grammar of the command line, with its help texts.

use apigw_rollback::model::reason::stamp;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Parser, Subcommand};

use super::actions::{self, CommandJson, Confirm, StageName, length, stage, time};
use super::error::{CliError, EXIT_CODES, Exit};
use super::policy::PolicyCommand;
use super::rollout::RolloutCommand;
use super::session::{Connection, Session, now};
use super::{access_log, completion, doctor, explain, links, logs, policy, regions, rollout, schema, watch};

/// Rolls API Gateway stages back to their last known-good release.
///
/// It uses the same rules and settings as the function, and your own AWS credentials, profile and Region.
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
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// A readable name of the release
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// A note for the changelog
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Mark the release irreversible, as after a data migration: alarms will not roll it back
    #[arg(long)]
    irreversible: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Roll back to this version of the known-good record instead of the newest
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Roll back even if the live release is marked irreversible
    #[arg(long)]
    force: bool,
    /// The reason, for the records
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct HoldUntil {
    /// The end of the hold (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// The duration of the hold, such as 90m, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = length)]
    r#for: Option<TimeDelta>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Show the live release, the known-good release, and the effect of an alarm right now
    #[command(after_help = "\
Without a stage, it prints one line for each protected stage.

Examples:
  apigw-rollback status
  apigw-rollback status orders-api/prod
  apigw-rollback status orders-api/prod --regions
  apigw-rollback status --format json | jq -r '.reports[].details.live.release.deployment'")]
    Status {
        /// The stage; API is an id or a name
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: Option<StageName>,
        /// Ask the functions of the other Regions, too (the stack's parameter Siblings)
        #[arg(long)]
        regions: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show what `rollback` would do, without any change
    #[command(after_help = "\
The exit code is 0 if the stage would be rolled back, and 3 if it would not.

Examples:
  apigw-rollback plan orders-api/prod
  apigw-rollback plan a1b2c3d4e5/prod --to 3")]
    Plan {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        args: RollbackArgs,
    },
    /// Roll a stage back to its known-good release
    #[command(after_help = "\
An operator's rollback ignores alarms, holds and preconditions.
The stage is read again after you confirm, so a change in the meantime is noticed.

Examples:
  apigw-rollback rollback orders-api/prod --why \"checkout fails\"
  apigw-rollback rollback orders-api/prod --to 3 --yes")]
    Rollback {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        args: RollbackArgs,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Record the live release as known-good, and pin its deployment
    #[command(after_help = "\
Example:
  apigw-rollback record orders-api/prod --label v1.4.2 --note \"new checkout\" --yes")]
    Record {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        release: ReleaseArgs,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Record the live release if its alarms are quiet and had data, without the bake time
    #[command(after_help = "\
Example:
  apigw-rollback promote orders-api/prod --yes")]
    Promote {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Set the label and note of the live release, and whether it is reversible
    #[command(after_help = "\
Example:
  apigw-rollback announce orders-api/prod --label v2.0.0 --irreversible --yes")]
    Announce {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        release: ReleaseArgs,
        /// Mark the release reversible again
        #[arg(long, conflicts_with = "irreversible")]
        reversible: bool,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Show the known-good releases over time, and the rollbacks between them
    #[command(after_help = "\
Examples:
  apigw-rollback history orders-api/prod
  apigw-rollback history orders-api/prod -n 5")]
    History {
        #[command(flatten)]
        one: OneStage,
        /// Show only this many entries, the newest
        #[arg(short = 'n', long = "number", value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
        number: Option<u16>,
    },
    /// List a stage's incidents, newest first
    #[command(after_help = "\
Pass the first column to `lift`.

Example:
  apigw-rollback incidents orders-api/prod")]
    Incidents(OneStage),
    /// Move traffic to a new release in steps, and promote it or remove it
    #[command(
        subcommand,
        after_help = "\
Each step is judged by the requests of the new release; a bad one is removed at once.

Examples:
  apigw-rollback rollout start orders-api/prod --deployment x1y2z3 --steps 5,25,50 --bake 10m --min-requests 500
  apigw-rollback rollout wait orders-api/prod"
    )]
    Rollout(RolloutCommand),
    /// Pause automatic rollbacks and promotions of a stage
    #[command(after_help = "\
Examples:
  apigw-rollback hold orders-api/prod --for 2h --why \"load test\"
  apigw-rollback hold orders-api/prod --until 2026-11-20T18:00:00Z --why migration --yes")]
    Hold {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        until: HoldUntil,
        /// The reason, for other operators
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// End a hold
    #[command(after_help = "\
Example:
  apigw-rollback release-hold orders-api/prod --yes")]
    ReleaseHold {
        #[command(flatten)]
        one: OneStage,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Lift the quarantine of a release that was rolled back
    #[command(after_help = "\
Example:
  apigw-rollback lift orders-api/prod 2f6b7efdf195 --why \"the backend was the cause\"")]
    Lift {
        #[command(flatten)]
        one: OneStage,
        /// The incident, from the first column of `incidents`
        #[arg(value_name = "INCIDENT")]
        incident: String,
        /// The reason, for the records
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Explain how the function would judge event files, without any call to AWS
    Explain(explain::Args),
    /// Check whether a rollback would work right now, from the alarms to the stage
    Doctor(doctor::Doctor),
    /// Show the status repeatedly, until Ctrl-C
    #[command(after_help = "\
Examples:
  apigw-rollback watch
  apigw-rollback watch orders-api/prod --every 5s")]
    Watch {
        /// The stage [default: all protected stages]
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: Option<StageName>,
        /// The interval, such as 10s or 1m; at least 2s
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = watch::interval)]
        every: TimeDelta,
        #[command(flatten)]
        connection: Connection,
    },
    /// Check every protected stage now, as the function does on its schedule
    #[command(after_help = "\
The sweep records proven releases, pins them, and rolls back releases that their alarms accuse.

Example:
  apigw-rollback sweep --yes")]
    Sweep {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print the reports in the function's log, one line each
    Logs(logs::Logs),
    /// Print links to the AWS console: the stage, its alarms, the log, the function and the dashboard
    #[command(after_help = "\
Example:
  apigw-rollback open orders-api/prod")]
    Open {
        /// The stage [default: all protected stages]
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: Option<StageName>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show or replace a stage's own policy
    #[command(
        subcommand,
        after_help = "\
Examples:
  apigw-rollback policy get orders-api/prod
  apigw-rollback policy set orders-api/prod policy.json"
    )]
    Policy(PolicyCommand),
    /// Print an access-log format from which CloudWatch extracts high-resolution metrics
    #[command(after_help = "\
Set the line as the format of the stage's access log. An alarm with a period of 10 seconds on the
metrics then fires sooner than one on API Gateway's own metrics, which come once a minute.

Examples:
  apigw-rollback access-log rest
  apigw-rollback access-log http > access-log.json")]
    AccessLog {
        /// The protocol of the API
        #[arg(value_name = "PROTOCOL")]
        protocol: access_log::Kind,
    },
    /// Print the JSON schema of the reports
    #[command(after_help = "\
Example:
  apigw-rollback schema > report.schema.json")]
    Schema,
    /// Print the completion script for a shell
    #[command(after_help = "\
Examples:
  apigw-rollback completions bash > ~/.local/share/bash-completion/completions/apigw-rollback
  apigw-rollback completions zsh > ~/.zfunc/_apigw-rollback
  apigw-rollback completions fish > ~/.config/fish/completions/apigw-rollback.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the stages that a completion script offers
    #[command(hide = true)]
    CompleteStages {
        /// The words of the unfinished command line
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

impl CliCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::Explain(args) => explain::run(&args),
            Self::AccessLog { protocol } => access_log::run(protocol),
            Self::Schema => schema::run(),
            Self::Completions { shell } => completion::script(shell),
            Self::CompleteStages { words } => Ok(completion::stages(&words).await),
            Self::Status { stage, regions: true, connection } => {
                regions::status(&connection, stage.as_ref()).await
            }
            Self::Status { stage, regions: false, connection } => {
                let session = Session::open(&connection).await?;
                let (read, _) = tokio::join!(actions::status(&session, stage.as_ref()), session.caller());
                let (reports, is_list) = read?;
                actions::described(&session, &reports, &connection, is_list).await
            }
            Self::Sweep { connection, confirm } => actions::sweep(&connection, &confirm).await,
            Self::Logs(args) => logs::run(&args).await,
            Self::Open { stage, connection } => links::run(&connection, stage.as_ref()).await,
            Self::Policy(command) => policy::run(command).await,
            Self::Rollout(command) => rollout::run(command).await,
            Self::Watch { stage, every, connection } => {
                watch::watch(&connection, stage.as_ref(), every).await
            }
            Self::Doctor(args) => doctor::run(&args).await,
            Self::History { one, number } => {
                actions::history(&one.connection, &one.stage, number.map(usize::from)).await
            }
            Self::Incidents(one) => actions::incidents(&one.connection, &one.stage).await,
            Self::Plan { one, args } => actions::read(&one.connection, &args.of("plan", &one.stage)).await,
            Self::Rollback { one, args, confirm } => {
                actions::write(&one.connection, &confirm, args.of("rollback", &one.stage)).await
            }
            Self::Record { one, release, confirm } => {
                actions::write(&one.connection, &confirm, release.of("record", &one.stage, false)).await
            }
            Self::Announce { one, release, reversible, confirm } => {
                actions::write(&one.connection, &confirm, release.of("announce", &one.stage, reversible))
                    .await
            }
            Self::Promote { one, confirm } => {
                actions::write(&one.connection, &confirm, CommandJson::new("promote", &one.stage)).await
            }
            Self::ReleaseHold { one, confirm } => {
                actions::write(&one.connection, &confirm, CommandJson::new("release-hold", &one.stage)).await
            }
            Self::Hold { one, until, why, confirm } => {
                let until = until.until.or_else(|| until.r#for.map(|length| now() + length)).map(stamp);
                let request =
                    CommandJson::new("hold", &one.stage).with("until", until).with("reason", Some(why));
                actions::write(&one.connection, &confirm, request).await
            }
            Self::Lift { one, incident, why, confirm } => {
                let request =
                    CommandJson::new("lift", &one.stage).with("incident", Some(incident)).with("reason", why);
                actions::write(&one.connection, &confirm, request).await
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
        let request = CommandJson::new(command, stage).with("label", self.label).with("note", self.note);
        request.with("reversible", reversible)
    }
}
