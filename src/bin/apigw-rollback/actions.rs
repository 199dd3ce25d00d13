//! The commands that read or change a stage. Each builds the JSON command that the function accepts.

use std::fmt;
use std::io::{IsTerminal, Write};

use apigw_rollback::commands::execute;
use apigw_rollback::config::Config;
use apigw_rollback::model::plain;
use apigw_rollback::model::reason::Reason;
use apigw_rollback::model::report::{Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::trigger::{TriggerKind, Verb};
use apigw_rollback::notify::notify;
use apigw_rollback::observe::{incidents, protected_stages};
use apigw_rollback::signal::target::is_stage_name;
use apigw_rollback::signal::{self, Command, Signal};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::error::{CliError, Exit, YOURS, is_denied};
use super::session::{Connection, Format, Session, now, variable};
use super::views;

/// The number of stages that are read concurrently. API Gateway's quota is shared by the whole account.
const STAGES_AT_ONCE: usize = 4;

/// A stage as the operator writes it: `API/STAGE`.
#[derive(Clone, Debug)]
pub(crate) struct StageName {
    api: String,
    name: String,
}

impl StageName {
    /// Returns whether this name refers to `stage`.
    pub(crate) fn is(&self, stage: &StageRef, config: &Config) -> bool {
        let named = config.entry(stage).is_some_and(|entry| entry.api_name == self.api);
        self.name == stage.stage && (self.api == stage.api || named)
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api, self.name)
    }
}

/// Parses `API/STAGE`. An API name may contain a slash; a stage name may not.
pub(crate) fn stage(text: &str) -> Result<StageName, String> {
    let split = text.rsplit_once('/').filter(|(api, name)| !api.trim().is_empty() && is_stage_name(name));
    let (api, name) =
        split.ok_or("write the stage as API/STAGE, such as a1b2c3d4e5/prod or orders-api/prod")?;
    Ok(StageName { api: api.trim().to_owned(), name: name.to_owned() })
}

/// Parses an RFC 3339 time such as 2026-11-20T18:00:00Z.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    apigw_rollback::model::alarm::time(text)
        .ok_or_else(|| "give a time such as 2026-11-20T18:00:00Z".to_owned())
}

/// Parses a duration such as 90m, 2h or 1d.
pub(crate) fn length(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "give a duration such as 45s, 90m, 2h or 1d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: i64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let length = number.checked_mul(seconds).filter(|_| number > 0).and_then(TimeDelta::try_seconds);
    // A hold of more than a year is a typing error.
    length.filter(|length| *length <= TimeDelta::days(366)).ok_or_else(wrong)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Confirm {
    /// Skip the confirmation prompt
    #[arg(short, long)]
    yes: bool,
    /// Your name, for the records [default: $USER]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

/// A command for one stage, as the JSON that the function accepts.
#[derive(Clone, Debug)]
pub(crate) struct CommandJson {
    fields: Map<String, Value>,
    what: String,
}

impl CommandJson {
    pub(crate) fn new(verb: &str, stage: &StageName) -> Self {
        let mut fields = Map::new();
        fields.insert("command".to_owned(), json!(verb));
        fields.insert("stage".to_owned(), json!({"api": stage.api, "name": stage.name}));
        Self { fields, what: format!("{verb} {stage}") }
    }

    /// Adds a field if it has a value.
    pub(crate) fn with<T: Into<Value>>(mut self, field: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.fields.insert(field.to_owned(), value.into());
        }
        self
    }

    fn verb(&self, verb: &str) -> Self {
        let mut request = self.clone();
        request.fields.insert("command".to_owned(), json!(verb));
        request
    }

    /// Returns the command `verb` for the same stage, without any other field.
    fn bare(&self, verb: &str) -> Self {
        let mut request = self.verb(verb);
        request.fields.retain(|field, _| field == "command" || field == "stage");
        request
    }

    /// Parses the command as the function does, so that both reject the same input.
    fn command(&self) -> Result<Command, CliError> {
        let event = signal::read(&Value::Object(self.fields.clone()).to_string());
        match event.deliveries.into_iter().next().map(|delivery| delivery.signal) {
            Some(Signal::Command(command)) => Ok(command),
            Some(Signal::Unreadable(reason)) => Err(CliError::Usage(reason.to_string())),
            Some(Signal::Alarm(_)) | None => {
                Err(CliError::Usage(format!("`{}` is not a command", self.what)))
            }
        }
    }
}

/// Runs a command that only reads.
pub(crate) async fn read(connection: &Connection, request: &CommandJson) -> Result<Exit, CliError> {
    let command = request.command()?;
    let session = Session::open(connection).await?;
    let reports = send(&session, &command).await;
    Ok(described(&reports, connection.format, false))
}

/// Runs a command that writes, after the operator has confirmed it.
pub(crate) async fn write(
    connection: &Connection,
    confirm: &Confirm,
    request: CommandJson,
) -> Result<Exit, CliError> {
    let who = confirm.who.clone().or_else(|| variable("USER")).or_else(|| variable("USERNAME"));
    let request = request.with("who", who);
    let command = request.command()?;
    let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !confirm.yes && !may_ask {
        return Err(CliError::Usage(format!(
            "`{}` needs confirmation, and there is no terminal to ask on: give --yes to confirm",
            request.what
        )));
    }
    let session = Session::open(connection).await?;
    if !confirm.yes {
        if let Some(exit) = preview(&session, connection, &request).await? {
            return Ok(exit);
        }
        if !is_agreed(&request)? {
            return Err(CliError::Declined("nothing was changed".to_owned()));
        }
    }
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let mut reports = Box::pin(execute(&run, &command)).await;
    // The people who are notified of automatic rollbacks are notified of an operator's as well.
    notify(&run, &mut reports).await;
    let reports: Vec<Report> = reports.into_iter().map(for_operator).collect();
    Ok(described(&reports, connection.format, false))
}

/// Shows the plan of a rollback, or the stage's status. Returns an exit code if there is nothing to confirm.
async fn preview(
    session: &Session,
    connection: &Connection,
    request: &CommandJson,
) -> Result<Option<Exit>, CliError> {
    let is_rollback = request.fields.get("command") == Some(&json!("rollback"));
    let first = if is_rollback { request.verb("plan") } else { request.bare("status") };
    let reports = send(session, &first.command()?).await;
    let continues = reports.iter().all(|one| matches!(one.outcome, Outcome::WouldRollBack | Outcome::Status));
    if !continues {
        return Ok(Some(described(&reports, connection.format, false)));
    }
    // Standard output carries only the result of the command.
    for report in &reports {
        let _ = write!(anstream::stderr(), "{}", views::before_asking(report));
    }
    Ok(None)
}

fn is_agreed(request: &CommandJson) -> Result<bool, CliError> {
    let mut line = String::new();
    let _ = write!(anstream::stderr(), "\n{}? [y/N] ", request.what).and_then(|()| std::io::stderr().flush());
    std::io::stdin().read_line(&mut line).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Reads the status of one stage, or of all protected stages. The flag says whether the result is a list.
pub(crate) async fn status(
    session: &Session,
    stage: Option<&StageName>,
) -> Result<(Vec<Report>, bool), CliError> {
    if let Some(stage) = stage {
        return Ok((send(session, &CommandJson::new("status", stage).command()?).await, false));
    }
    let cloud = session.cloud();
    let listed = protected_stages::read(&session.run(&cloud)).await;
    let listed = match listed {
        // Without permission to list the records, the stages in the settings can still be read.
        Err(error) if error.is_denial() && !session.config().stages.is_empty() => {
            let _ = writeln!(
                anstream::stderr(),
                "the recorded stages cannot be listed, so only the configured stages are shown: {error}"
            );
            session.config().stages.iter().map(|one| one.stage.clone()).collect()
        }
        listed => listed.map_err(|error| CliError::of(&error, &session.config().region))?,
    };
    let mut commands = Vec::new();
    for one in listed {
        let name = StageName { api: one.api, name: one.stage };
        commands.push(CommandJson::new("status", &name).command()?);
    }
    let sent = commands.iter().map(|command| send(session, command));
    let reports: Vec<Vec<Report>> = futures_util::stream::iter(sent).buffered(STAGES_AT_ONCE).collect().await;
    Ok((reports.into_iter().flatten().collect(), true))
}

/// Prints the incidents of a stage.
pub(crate) async fn incidents(connection: &Connection, stage: &StageName) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    // The report has the API's id, which the operator may have given as a name.
    let found = send(&session, &CommandJson::new("history", stage).command()?).await;
    let Some(stage) = found.first().and_then(|report| report.stage.as_ref()).filter(|_| are_statuses(&found))
    else {
        return Ok(described(&found, connection.format, false));
    };
    let cloud = session.cloud();
    let all = incidents::read(&session.run(&cloud), stage).await;
    let all = all.map_err(|error| CliError::of(&error, &session.config().region))?;
    if connection.format == Format::Json {
        let all: Vec<Value> = all
            .iter()
            .map(|one| match &one.incident {
                Ok(incident) => json!({"parameter": one.parameter, "incident": incident}),
                Err(why) => json!({"parameter": one.parameter, "unreadable": why}),
            })
            .collect();
        print(&format!("{}\n", json!({"stage": stage, "incidents": all})));
    } else {
        print(&super::views::lists::incidents(&all, now()));
    }
    Ok(Exit::DONE)
}

fn are_statuses(reports: &[Report]) -> bool {
    reports.iter().all(|report| report.outcome == Outcome::Status)
}

async fn send(session: &Session, command: &Command) -> Vec<Report> {
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let reports = Box::pin(execute(&run, command)).await;
    reports.into_iter().map(for_operator).collect()
}

/// Adapts the advice of a report to the operator, whose own credentials made the calls. Rejects the status of a
/// stage that does not exist.
fn for_operator(report: Report) -> Report {
    if is_denied(&report) {
        return Report { next: vec![YOURS.to_owned()], ..report };
    }
    let is_missing = report.signal.kind == TriggerKind::Command(Verb::Status)
        && report.outcome == Outcome::Status
        && report.before.is_none();
    if is_missing {
        let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
        return Report {
            outcome: Outcome::Rejected,
            message: format!("API Gateway has no stage {stage}"),
            reason: Some(Reason::NoStage(stage)),
            next: vec![PROTECTED.to_owned()],
            details: None,
            warnings: vec![],
            ..report
        };
    }
    // The report's advice is about alarms, but here an operator named the stage.
    let next = match &report.reason {
        Some(Reason::NoStage(_)) => PROTECTED,
        Some(Reason::AmbiguousTarget(_)) => "give the API's id instead of its name",
        _ => return report,
    };
    Report { next: vec![next.to_owned()], ..report }
}

const PROTECTED: &str = "list the protected stages: apigw-rollback status";

/// Prints the reports and returns their exit code.
pub(crate) fn described(reports: &[Report], format: Format, as_list: bool) -> Exit {
    match (format, reports) {
        (Format::Text, _) => print(&views::reports(reports)),
        (Format::Json, [one]) if !as_list => print(&format!("{}\n", json!(one))),
        (Format::Json, _) => print(&format!("{}\n", json!({"reports": reports}))),
    }
    Exit::of(reports)
}

/// Prints to standard output, in colour if it is a terminal. What others named does not act on the terminal.
pub(crate) fn print(text: &str) {
    // A reader such as `head` may close the pipe early, which is not an error.
    let _ = write!(anstream::stdout(), "{}", plain::terminal(text));
}
