//! `policy`: shows a stage's policy, or replaces it after the checks that the function makes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use apigw_rollback::cloud::{Parameters, Write as Put, Written};
use apigw_rollback::model::policy::PolicyOverrides;
use apigw_rollback::model::records::{self, Parameter};
use apigw_rollback::model::stage::StageRef;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::actions::{Confirm, StageName, existing, stage};
use super::error::{CliError, Exit};
use super::output::print;
use super::session::{Connection, Session};
use super::style::{Tone, painted};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print a stage's policy as JSON
    #[command(after_help = "\
Example:
  apigw-rollback policy get orders-api/prod > policy.json")]
    Get {
        /// The stage; API is an id or a name
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: StageName,
        #[command(flatten)]
        connection: Connection,
    },
    /// Check a policy as the function does, and store it
    #[command(after_help = "\
Example:
  apigw-rollback policy set orders-api/prod policy.json --yes")]
    Set {
        /// The stage; API is an id or a name
        #[arg(value_name = "API/STAGE", value_parser = stage)]
        stage: StageName,
        /// The file with the policy; `-` reads standard input, and then --yes is needed
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Skip the confirmation prompt
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

pub(crate) async fn run(command: PolicyCommand) -> Result<Exit, CliError> {
    match command {
        PolicyCommand::Get { stage, connection } => get(&connection, &stage).await,
        PolicyCommand::Set { stage, file, yes, connection } => {
            set(&connection, &stage, &file, &Confirm::only(yes)).await
        }
    }
}

async fn get(connection: &Connection, name: &StageName) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let stage = existing(&session, name).await?;
    let Some(found) = stored(&session, &stage).await? else {
        let _ =
            writeln!(anstream::stderr(), "{stage} has no policy of its own: the function's settings apply");
        print(&format!("{}\n", pretty(&json!({"schema": records::SCHEMA}))))?;
        return Ok(Exit::DONE);
    };
    match serde_json::from_str(&found.value) {
        Ok(value) => print(&format!("{}\n", pretty(&value)))?,
        Err(_) => print(&format!("{}\n", found.value))?,
    }
    match valid(&session, &stage, &found.value) {
        Ok(()) => Ok(Exit::DONE),
        Err(why) => Err(CliError::Stage(format!(
            "the parameter `{}` {why}, so automation for {stage} pauses: correct it with `policy set`",
            found.name
        ))),
    }
}

async fn set(
    connection: &Connection,
    name: &StageName,
    file: &Path,
    confirm: &Confirm,
) -> Result<Exit, CliError> {
    let text =
        read(file).map_err(|error| CliError::Usage(format!("{} cannot be read: {error}", file.display())))?;
    let invalid = |why: String| CliError::Usage(format!("{} {why}", file.display()));
    // A misspelt policy is refused before any call.
    records::parse::<PolicyOverrides>(&text).map_err(|fault| invalid(fault.to_string()))?;
    let what = format!("policy set {name}");
    confirm.is_possible(&what)?;
    let session = Session::open(connection).await?;
    let stage = existing(&session, name).await?;
    valid(&session, &stage, &text).map_err(invalid)?;
    let new: Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    let found = stored(&session, &stage).await?;
    let old = found.as_ref().map_or(Value::Null, |found| {
        serde_json::from_str(&found.value).unwrap_or_else(|_| json!({"unreadable": found.value}))
    });
    if old == new {
        print(&format!("{stage} has this policy already\n"))?;
        return Ok(Exit::DONE);
    }
    let _ = write!(anstream::stderr(), "{}\n{stage}\n{}", session.place().await, difference(&old, &new));
    if !confirm.is_given(&what)? {
        return Err(CliError::Declined("nothing was changed".to_owned()));
    }
    store(&session, &stage, found.as_ref().map(|found| found.version), &new).await?;
    print(&format!("the policy of {stage} is stored; the next run obeys it\n"))?;
    Ok(Exit::DONE)
}

/// Writes the policy, unless it changed since it was shown (`PutParameter`).
async fn store(
    session: &Session,
    stage: &StageRef,
    seen: Option<i64>,
    policy: &Value,
) -> Result<(), CliError> {
    let changed = || {
        CliError::Stage(format!(
            "the policy of {stage} changed after it was read, so it was not replaced: run the command again"
        ))
    };
    if stored(session, stage).await?.map(|found| found.version) != seen {
        return Err(changed());
    }
    // Parameter Store refuses `{{`, its reference syntax.
    let value = policy.to_string().replace("{{", r"{\u007b");
    let put = if seen.is_some() { Put::Overwrite } else { Put::Create };
    let written = session.cloud().put_parameter(&session.config().names.policy(stage), &value, put).await;
    match written.map_err(|error| CliError::of(&error, &session.config().region))? {
        Written::Exists => Err(changed()),
        Written::Version(version) if seen.is_some_and(|seen| version != seen + 1) => {
            Err(CliError::Failed(format!(
                "the policy of {stage} is stored as version {version}, but another change came between: compare it with \
                 `policy get`"
            )))
        }
        Written::Version(_) => Ok(()),
    }
}

/// Reads the stored policy of a stage (`GetParameters`).
async fn stored(session: &Session, stage: &StageRef) -> Result<Option<Parameter>, CliError> {
    let found = session.cloud().parameters(&[session.config().names.policy(stage)]).await;
    let found = found.map_err(|error| CliError::of(&error, &session.config().region))?;
    Ok(found.into_iter().next())
}

/// Checks a policy as the function does. The error is the end of a sentence that begins with its file or parameter.
fn valid(session: &Session, stage: &StageRef, text: &str) -> Result<(), String> {
    let policy = records::parse::<PolicyOverrides>(text).map_err(|fault| fault.to_string())?;
    match session.config().foreign_component(stage, &policy) {
        Some(component) => {
            Err(format!("lists {component}, which PROTECTED_STAGES does not list for this stage"))
        }
        None => Ok(()),
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// Renders the fields that differ, each with its old and its new value.
fn difference(old: &Value, new: &Value) -> String {
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    let mut lines = String::new();
    for field in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.get(field), new.get(field));
        if before == after {
            continue;
        }
        let mut line = |sign: char, value: Option<&Value>, tone| {
            if let Some(value) = value {
                let _ = writeln!(lines, "{}", painted(&format!("  {sign} \"{field}\": {value}"), tone));
            }
        };
        line('-', before, Tone::Bad);
        line('+', after, Tone::Good);
    }
    lines
}
