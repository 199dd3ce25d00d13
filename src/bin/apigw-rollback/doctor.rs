//! `doctor`: reads the whole chain, prints the findings, and exits with the worst level.

use apigw_rollback::doctor::{self, Finding, Level, worst};
use apigw_rollback::model::stage::StageRef;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::actions::{StageName, stage};
use super::error::{CliError, Exit};
use super::output::{print, print_long};
use super::session::{Connection, Format, Session, now};
use super::views;

#[derive(Debug, Args)]
#[command(after_help = "\
The doctor changes nothing. It asks IAM to simulate the permissions of the function's role.
The exit code is 0 if all is well and 5 with warnings. It is 9 if a check could not be made,
and 6 with faults.

Examples:
  apigw-rollback doctor
  apigw-rollback doctor orders-api/prod --quiet
  apigw-rollback doctor --format json | jq -r '.findings[] | select(.level != \"ok\") | .message'")]
pub(crate) struct Doctor {
    /// Check only this stage and the function; API is an id or a name
    #[arg(value_name = "API/STAGE", value_parser = stage)]
    stage: Option<StageName>,
    /// Print only problems: warnings, faults, and checks that could not be made
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the doctor. A program that asked for JSON gets findings even if the settings are invalid.
pub(crate) async fn run(args: &Doctor) -> Result<Exit, CliError> {
    let examined = examine(args).await;
    let prevented = examined.as_ref().err().and_then(CliError::as_finding);
    if let (Some(finding), Format::Json) = (prevented, args.connection.format) {
        print_json(now(), finding.level, &[finding])?;
    }
    examined
}

fn print_json(at: DateTime<Utc>, worst: Level, findings: &[Finding]) -> Result<(), CliError> {
    print(&format!("{}\n", json!({"schema": 1, "at": at, "worst": worst, "findings": findings})))
}

async fn examine(args: &Doctor) -> Result<Exit, CliError> {
    let session = Session::connect(&args.connection).await?;
    let cloud = session.cloud();
    let run = session.run(&cloud);
    let facts = Box::pin(doctor::read(&run, &session.clinic(), session.name())).await;
    let is_asked =
        |about: &StageRef| args.stage.as_ref().is_none_or(|asked| asked.is(about, session.config()));
    if let Some(stage) = args.stage.as_ref().filter(|_| !facts.stages.iter().any(|one| is_asked(&one.stage)))
    {
        return Err(CliError::Stage(format!(
            "{stage} is not protected: run `apigw-rollback status` to list the protected stages"
        )));
    }
    let mut findings = doctor::examine(session.config(), &facts);
    findings.retain(|finding| finding.stage.as_ref().is_none_or(is_asked));
    let shown: Vec<Finding> =
        findings.iter().filter(|one| !args.quiet || one.level != Level::Ok).cloned().collect();
    let worst = worst(&findings);
    if args.connection.format == Format::Json {
        print_json(run.now, worst, &shown)?;
    } else {
        print_long(&views::lists::findings(&shown), args.connection.pager())?;
    }
    Ok(Exit::for_level(worst))
}
