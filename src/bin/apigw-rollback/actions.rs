//! The commands that read or change a stage: each becomes the same command that the function takes.

use std::fmt;
use std::io::{IsTerminal, Write};

use apigw_rollback::commands::execute;
use apigw_rollback::config::Config;
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

/// Stages whose status is asked for at the same time: API Gateway's quota is the whole account's.
const STAGES_AT_ONCE: usize = 4;

/// A stage as it is written: `API/STAGE`.
#[derive(Clone, Debug)]
pub(crate) struct StageName {
    api: String,
    name: String,
}

impl StageName {
    /// Whether this stage is meant.
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

/// Reads `API/STAGE`; an API's name may hold a slash, a stage's may not.
pub(crate) fn stage(text: &str) -> Result<StageName, String> {
    let split = text.rsplit_once('/').filter(|(api, name)| !api.trim().is_empty() && is_stage_name(name));
    let (api, name) =
        split.ok_or("a stage is written API/STAGE, such as a1b2c3d4e5/prod or orders-api/prod")?;
    Ok(StageName { api: api.trim().to_owned(), name: name.to_owned() })
}

/// Reads a time such as 2026-11-20T18:00:00Z.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    apigw_rollback::model::alarm::time(text)
        .ok_or_else(|| "give a time such as 2026-11-20T18:00:00Z".to_owned())
}

/// Reads a length of time such as 90m, 2h or 1d.
pub(crate) fn length(text: &str) -> Result<TimeDelta, String> {
    let wrong = || "give a length of time such as 45s, 90m, 2h or 1d".to_owned();
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
    // A year is longer than anybody means.
    length.filter(|length| *length <= TimeDelta::days(366)).ok_or_else(wrong)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Confirm {
    /// Do not ask before writing
    #[arg(short, long)]
    yes: bool,
    /// Who asks, for the records [default: $USER]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

/// A command for one stage, ready to be sent.
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

    /// The same with a field, where it is given.
    pub(crate) fn with<T: Into<Value>>(mut self, field: &str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self.fields.insert(field.to_owned(), value.into());
        }
        self
    }

    fn verb(&self, verb: &str) -> Self {
        let mut order = self.clone();
        order.fields.insert("command".to_owned(), json!(verb));
        order
    }

    /// The same stage and nothing else.
    fn bare(&self, verb: &str) -> Self {
        let mut order = self.verb(verb);
        order.fields.retain(|field, _| field == "command" || field == "stage");
        order
    }

    /// Reads it as the function would, so that both refuse the same.
    fn command(&self) -> Result<Command, CliError> {
        let event = signal::read(&Value::Object(self.fields.clone()).to_string());
        match event.deliveries.into_iter().next().map(|delivery| delivery.signal) {
            Some(Signal::Command(command)) => Ok(command),
            Some(Signal::Unreadable(reason)) => Err(CliError::Usage(reason.to_string())),
            Some(Signal::Alarm(_)) | None => Err(CliError::Usage(format!("`{}` is no command", self.what))),
        }
    }
}

/// A command that only reads.
pub(crate) async fn read(connection: &Connection, order: &CommandJson) -> Result<Exit, CliError> {
    let command = order.command()?;
    let session = Session::open(connection).await?;
    let reports = send(&session, &command).await;
    Ok(described(&reports, connection.format, false))
}

/// A command that writes: it is shown and asked about first.
pub(crate) async fn write(
    connection: &Connection,
    sure: &Confirm,
    order: CommandJson,
) -> Result<Exit, CliError> {
    let who = sure.who.clone().or_else(|| variable("USER")).or_else(|| variable("USERNAME"));
    let order = order.with("who", who);
    let command = order.command()?;
    let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !sure.yes && !may_ask {
        return Err(CliError::Usage(format!(
            "`{}` writes, and there is no terminal to ask on: give --yes to do it without asking",
            order.what
        )));
    }
    let session = Session::open(connection).await?;
    if !sure.yes {
        if let Some(over) = preview(&session, connection, &order).await? {
            return Ok(over);
        }
        if !is_agreed(&order)? {
            return Err(CliError::Declined("nothing was done".to_owned()));
        }
    }
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let mut reports = Box::pin(execute(&run, &command)).await;
    // Whoever is told of the function's rollbacks hears of a person's as well.
    notify(&run, &mut reports).await;
    let reports: Vec<Report> = reports.into_iter().map(for_a_person).collect();
    Ok(described(&reports, connection.format, false))
}

/// Shows what would be done, or where the stage stands. Some exit code where there is nothing to ask about.
async fn preview(
    session: &Session,
    connection: &Connection,
    order: &CommandJson,
) -> Result<Option<Exit>, CliError> {
    let is_rollback = order.fields.get("command") == Some(&json!("rollback"));
    let first = if is_rollback { order.verb("plan") } else { order.bare("status") };
    let reports = send(session, &first.command()?).await;
    let goes_on = reports.iter().all(|one| matches!(one.outcome, Outcome::WouldRollBack | Outcome::Status));
    if !goes_on {
        return Ok(Some(described(&reports, connection.format, false)));
    }
    // Standard output is for what was done.
    for report in &reports {
        let _ = write!(anstream::stderr(), "{}", views::before_asking(report));
    }
    Ok(None)
}

fn is_agreed(order: &CommandJson) -> Result<bool, CliError> {
    let mut line = String::new();
    let _ = write!(anstream::stderr(), "\n{}? [y/N] ", order.what).and_then(|()| std::io::stderr().flush());
    std::io::stdin().read_line(&mut line).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The status of one stage, or of all that are protected.
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
        // Who may not list the records may still look at the stages that the settings name.
        Err(error) if error.is_denial() && !session.config().stages.is_empty() => {
            let _ = writeln!(anstream::stderr(), "only the configured stages are shown: {error}");
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

/// The incidents of a stage.
pub(crate) async fn incidents(connection: &Connection, stage: &StageName) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    // Its status tells which stage it is: an API may be given by its name.
    let found = send(&session, &CommandJson::new("history", stage).command()?).await;
    let Some(stage) = found.first().and_then(|report| report.stage.as_ref()).filter(|_| is_told(&found))
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

fn is_told(reports: &[Report]) -> bool {
    reports.iter().all(|report| report.outcome == Outcome::Status)
}

async fn send(session: &Session, command: &Command) -> Vec<Report> {
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let reports = Box::pin(execute(&run, command)).await;
    reports.into_iter().map(for_a_person).collect()
}

/// The engine speaks to the function's owner; here it is the person's own credentials that were refused. And a
/// stage that does not exist has no status.
fn for_a_person(report: Report) -> Report {
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
            message: format!("API Gateway has no such stage as {stage}"),
            reason: Some(Reason::NoStage(stage)),
            next: vec![PROTECTED.to_owned()],
            details: None,
            warnings: vec![],
            ..report
        };
    }
    // The engine's advice is on alarms; here a person has named the stage.
    let next = match &report.reason {
        Some(Reason::NoStage(_)) => PROTECTED,
        Some(Reason::AmbiguousTarget(_)) => "give the API's id in the place of its name",
        _ => return report,
    };
    Report { next: vec![next.to_owned()], ..report }
}

const PROTECTED: &str = "see which stages are protected: apigw-rollback status";

/// Prints the reports, and gives the exit code that they mean.
pub(crate) fn described(reports: &[Report], format: Format, as_list: bool) -> Exit {
    match (format, reports) {
        (Format::Text, _) => print(&views::reports(reports)),
        (Format::Json, [one]) if !as_list => print(&format!("{}\n", json!(one))),
        (Format::Json, _) => print(&format!("{}\n", json!({"reports": reports}))),
    }
    Exit::of(reports)
}

/// Prints to standard output, in colours where somebody sees them.
pub(crate) fn print(text: &str) {
    // A reader that has seen enough, such as `head`, closes the pipe: that is no fault.
    let _ = write!(anstream::stdout(), "{text}");
}
