//! The commands that read or change a stage. Each builds the JSON command that the function accepts.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use apigw_rollback::cloud::Gateway;
use apigw_rollback::commands::execute;
use apigw_rollback::config::Config;
use apigw_rollback::model::report::{Details, Outcome, Report};
use apigw_rollback::model::stage::StageRef;
use apigw_rollback::model::target::{ApiRef, Target};
use apigw_rollback::model::trigger::{TriggerKind, Verb};
use apigw_rollback::notify::notify;
use apigw_rollback::observe::resolve::{NamedBy, resolve};
use apigw_rollback::observe::{incidents, protected_stages};
use apigw_rollback::regions::name_bad;
use apigw_rollback::signal::target::is_stage_name;
use apigw_rollback::signal::{self, Command, Signal};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::advice::{Asked, for_operator};
use super::error::{CliError, Exit};
use super::output::{print, print_long};
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
    /// Returns the same stage by the name of its API, if the settings have it: ids differ by Region.
    pub(crate) fn by_name(&self, config: &Config) -> Self {
        let entry = config.stages.iter().find(|one| self.is(&one.stage, config));
        let api = entry.map_or_else(|| self.api.clone(), |one| one.api_name.clone());
        Self { api, name: self.name.clone() }
    }

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
    /// Your name, for the records [default: $USER, or the user or role of your credentials]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
}

/// A command for one stage, as the JSON that the function accepts.
#[derive(Clone, Debug)]
pub(crate) struct CommandJson {
    fields: Map<String, Value>,
    stage: Option<StageName>,
    what: String,
}

impl CommandJson {
    pub(crate) fn new(verb: &str, stage: &StageName) -> Self {
        let mut fields = Map::new();
        fields.insert("command".to_owned(), json!(verb));
        fields.insert("stage".to_owned(), json!({"api": stage.api, "name": stage.name}));
        Self { fields, stage: Some(stage.clone()), what: format!("{verb} {stage}") }
    }

    /// The command without a stage: the sweep.
    pub(crate) fn sweep() -> Self {
        let fields = [("command".to_owned(), json!("sweep"))].into_iter().collect();
        Self { fields, stage: None, what: "sweep".to_owned() }
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
    pub(crate) fn command(&self) -> Result<Command, CliError> {
        let event = signal::read(&Value::Object(self.fields.clone()).to_string());
        match event.deliveries.into_iter().next().map(|delivery| delivery.signal) {
            Some(Signal::Command(command)) => Ok(*command),
            Some(Signal::Unreadable(reason) | Signal::RefusedReport { reason, .. }) => {
                Err(CliError::Usage(reason.to_string()))
            }
            Some(Signal::Alarm(_) | Signal::Sibling(_)) | None => {
                Err(CliError::Usage(format!("`{}` is not a command", self.what)))
            }
        }
    }
}

/// Runs a command that only reads.
pub(crate) async fn read(connection: &Connection, request: &CommandJson) -> Result<Exit, CliError> {
    let command = request.command()?;
    let session = Session::open(connection).await?;
    let (reports, _) = tokio::join!(send(&session, &command), session.caller());
    described(&session, &reports, connection, false).await
}

/// Prints the history of a stage: the newest entries, as many as the operator wants.
pub(crate) async fn history(
    connection: &Connection,
    stage: &StageName,
    most: Option<usize>,
) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let mut reports = send(&session, &CommandJson::new("history", stage).command()?).await;
    for report in &mut reports {
        if let (Some(Details::History(entries)), Some(most)) = (&mut report.details, most) {
            entries.truncate(most);
        }
    }
    described(&session, &reports, connection, false).await
}

/// Runs a command that writes, after the operator has confirmed it.
pub(crate) async fn write(
    connection: &Connection,
    confirm: &Confirm,
    request: CommandJson,
) -> Result<Exit, CliError> {
    let who = confirm.who.clone().or_else(|| variable("USER")).or_else(|| variable("USERNAME"));
    let request = request.with("who", who.clone());
    request.command()?;
    confirm.is_possible(&request.what)?;
    let session = Session::open(connection).await?;
    let request = match who {
        Some(_) => request,
        // Records say who wrote them.
        None => request.with("who", session.caller().await.map(|caller| caller.name.clone())),
    };
    let command = request.command()?;
    if let Some(exit) = preview(&session, connection, confirm, &request).await? {
        return Ok(exit);
    }
    if !confirm.is_given(&request.what)? {
        return Err(CliError::Declined("nothing was changed".to_owned()));
    }
    let reports = carry_out(&session, &command, PATIENCE).await;
    described(&session, &reports, connection, false).await
}

/// The time limit of one command, and that of a sweep, which checks one stage after the other.
const PATIENCE: Duration = Duration::from_mins(1);
const SWEEP_PATIENCE: Duration = Duration::from_mins(10);

/// Runs the sweep as the function does on its schedule.
pub(crate) async fn sweep(connection: &Connection, confirm: &Confirm) -> Result<Exit, CliError> {
    if connection.is_local() {
        return Err(CliError::Usage(
            "`sweep` needs the deployed function, because alarms that invoke it directly also count: leave --local out"
                .to_owned(),
        ));
    }
    let request = CommandJson::sweep();
    confirm.is_possible(&request.what)?;
    let session = Session::open(connection).await?;
    if !confirm.yes {
        let ((reports, _), place) = {
            let (reports, place) = tokio::join!(status(&session, None), session.place());
            (reports?, place)
        };
        let what =
            "A sweep may record, pin and roll back releases of these stages, as the scheduled one does.";
        let _ = write!(anstream::stderr(), "{place}\n{}{what}\n", views::reports(&reports));
    }
    if !confirm.is_given(&request.what)? {
        return Err(CliError::Declined("nothing was changed".to_owned()));
    }
    let reports = carry_out(&session, &request.command()?, SWEEP_PATIENCE).await;
    described(&session, &reports, connection, true).await
}

/// Carries out a command, and notifies the people who are notified of what the function does.
async fn carry_out(session: &Session, command: &Command, patience: Duration) -> Vec<Report> {
    let cloud = session.cloud_for(patience);
    let run = session.run_for(&cloud, patience);
    let mut reports = Box::pin(execute(&run, command)).await;
    for report in &mut reports {
        name_bad(&run, report).await;
    }
    notify(&run, &mut reports).await;
    adapted(session, command, reports).await
}

impl Confirm {
    /// A confirmation for a command whose records name no operator.
    pub(crate) fn only(yes: bool) -> Self {
        Self { yes, who: None }
    }

    /// Fails before any call if the operator can neither be asked nor has confirmed.
    pub(crate) fn is_possible(&self, what: &str) -> Result<(), CliError> {
        let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.yes || may_ask {
            return Ok(());
        }
        Err(CliError::Usage(format!(
            "`{what}` needs confirmation, and there is no terminal to ask on: give --yes to confirm"
        )))
    }

    /// Asks the operator, unless `--yes` was given.
    pub(crate) fn is_given(&self, what: &str) -> Result<bool, CliError> {
        if self.yes {
            return Ok(true);
        }
        let mut line = String::new();
        let _ = write!(anstream::stderr(), "\n{what}? [y/N] ").and_then(|()| std::io::stderr().flush());
        std::io::stdin().read_line(&mut line).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Shows the plan of a rollback, or the stage's status. Returns an exit code if there is nothing to confirm.
async fn preview(
    session: &Session,
    connection: &Connection,
    confirm: &Confirm,
    request: &CommandJson,
) -> Result<Option<Exit>, CliError> {
    let word = request.fields.get("command").and_then(Value::as_str);
    if confirm.yes {
        // A hold is written without a look at the stage, so that a misspelt stage would be held. In an emergency, it does
        // not depend on other calls.
        let stage = request.stage.as_ref().filter(|_| word == Some("hold"));
        return match stage {
            Some(stage) => match existing(session, stage).await {
                Err(missing @ CliError::Stage(_)) => Err(missing),
                Ok(_) | Err(_) => Ok(None),
            },
            None => Ok(None),
        };
    }
    let first = if word == Some("rollback") { request.verb("plan") } else { request.bare("status") };
    let command = first.command()?;
    let (reports, place) = tokio::join!(send(session, &command), session.place());
    let continues = reports.iter().all(|one| matches!(one.outcome, Outcome::WouldRollBack | Outcome::Status));
    if !continues {
        return described(session, &reports, connection, false).await.map(Some);
    }
    // Standard output carries only the result of the command.
    let _ = writeln!(anstream::stderr(), "{place}");
    for report in &reports {
        let _ = write!(anstream::stderr(), "{}", views::before_asking(report));
    }
    Ok(None)
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
        return described(&session, &found, connection, false).await;
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
        print(&format!("{}\n", json!({"stage": stage, "incidents": all})))?;
    } else {
        print_long(&views::lists::incidents(&all, now()), connection.pager())?;
    }
    Ok(Exit::DONE)
}

fn are_statuses(reports: &[Report]) -> bool {
    reports.iter().all(|report| report.outcome == Outcome::Status)
}

/// Finds the stage that the operator means, and checks that it exists (`GetStage`).
pub(crate) async fn existing(session: &Session, name: &StageName) -> Result<StageRef, CliError> {
    let (api, cloud) = (ApiRef::parse(&name.api), session.cloud());
    let target = Target { api, stage: name.name.clone(), canary: false, protocol: None };
    let failed = |error| CliError::of(&error, &session.config().region);
    let found = resolve(&cloud, session.config(), &target, NamedBy::Operator).await.map_err(failed)?;
    let stage = found.map_err(|reason| CliError::Stage(reason.to_string()))?;
    if cloud.stage(&stage).await.map_err(failed)?.is_none() {
        let stages = stages_of(session, &stage).await.map(|stages| format!(": {stages}"));
        let stages = stages.unwrap_or_default();
        return Err(CliError::Stage(format!("API Gateway has no stage {stage}{stages}")));
    }
    Ok(stage)
}

/// Says which stages the API of a misspelt stage has (`GetStages`).
async fn stages_of(session: &Session, misspelt: &StageRef) -> Option<String> {
    let stages = session.cloud().stages(misspelt.protocol, &misspelt.api).await.ok()?;
    let stages = stages.into_iter().map(|(stage, _)| stage).filter(|stage| !stage.is_parked());
    let mut names: Vec<String> = stages.map(|stage| stage.stage).collect();
    names.sort();
    let is_misspelt = !names.is_empty() && !names.contains(&misspelt.stage);
    is_misspelt.then(|| format!("the stages of API `{}` are {}", misspelt.api, names.join(", ")))
}

pub(crate) async fn send(session: &Session, command: &Command) -> Vec<Report> {
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let reports = Box::pin(execute(&run, command)).await;
    adapted(session, command, reports).await
}

/// Adapts the advice of the reports to the operator.
async fn adapted(session: &Session, command: &Command, reports: Vec<Report>) -> Vec<Report> {
    let mut adapted = Vec::new();
    for report in reports {
        let is_status = report.signal.kind == TriggerKind::Command(Verb::Status);
        let is_missing = is_status && report.outcome == Outcome::Status && report.before.is_none();
        let no_stage = is_missing || matches!(report.code(), Some("no-stage" | "not-protected"));
        let stages = match report.stage.as_ref().filter(|_| no_stage) {
            Some(stage) => stages_of(session, stage).await,
            None => None,
        };
        adapted.push(for_operator(report, &Asked { command, is_missing, stages }));
    }
    adapted
}

/// Renders the reports. A status and a plan begin with the account and the Region.
pub(crate) async fn shown(session: &Session, reports: &[Report], format: Format, as_list: bool) -> String {
    let is_about_now =
        |report: &Report| matches!(report.signal.kind, TriggerKind::Command(Verb::Status | Verb::Plan));
    match (format, reports) {
        (Format::Text, _) if reports.is_empty() || reports.iter().any(is_about_now) => {
            format!("{}\n{}", session.place().await, views::reports(reports))
        }
        (Format::Text, _) => views::reports(reports),
        (Format::Json, [one]) if !as_list => format!("{}\n", json!(one)),
        (Format::Json, _) => format!("{}\n", json!({"reports": reports})),
    }
}

/// Prints the reports and returns their exit code.
pub(crate) async fn described(
    session: &Session,
    reports: &[Report],
    connection: &Connection,
    as_list: bool,
) -> Result<Exit, CliError> {
    let text = shown(session, reports, connection.format, as_list).await;
    print_long(&text, connection.pager() && connection.format == Format::Text)?;
    Ok(Exit::of(reports))
}
