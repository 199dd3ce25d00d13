//! `status --regions`: one release over all Regions. A Region that does not answer is shown as such.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use apigw_rollback::model::report::{Details, Report};
use apigw_rollback::model::status::StageStatus;
use comfy_table::{Cell, Table};
use serde_json::{Value, json};

use super::actions::{self, StageName};
use super::error::{CliError, Exit};
use super::output::{print, print_long};
use super::session::{Connection, Format, Session};
use super::style::{Tone, cell, drawn, painted, table};

/// How long one Region may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one Region answers.
struct Answer {
    region: String,
    found: Result<Vec<Report>, CliError>,
}

/// Shows the status of a stage, or of all stages, in this Region and in those of its siblings.
pub(crate) async fn status(connection: &Connection, stage: Option<&StageName>) -> Result<Exit, CliError> {
    let home = Session::open(connection).await?;
    let config = home.config();
    if config.siblings.is_empty() {
        return Err(CliError::Usage(format!(
            "the function `{}` has no siblings: give its stack the parameter Siblings, or leave --regions out",
            home.function_name()
        )));
    }
    // Ids differ by Region, and names do not.
    let stage = stage.map(|stage| stage.by_name(config));
    let others = config.siblings.iter().map(|region| async {
        let asked = async {
            let session = Session::connect(&connection.in_region(region)).await?;
            Ok(actions::status(&session, stage.as_ref()).await?.0)
        };
        let late = || CliError::Failed(format!("no answer within {} s", PATIENCE.as_secs()));
        let found = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()));
        Answer { region: region.clone(), found }
    });
    let ours = async {
        let found = actions::status(&home, stage.as_ref()).await.map(|(reports, _)| reports);
        Answer { region: config.region.clone(), found }
    };
    let (ours, others) = tokio::join!(ours, futures_util::future::join_all(others));
    let answers: Vec<Answer> = std::iter::once(ours).chain(others).collect();
    match connection.format {
        Format::Text => print_long(&shown(&answers), connection.pager())?,
        Format::Json => {
            let regions: Vec<Value> = answers.iter().map(as_json).collect();
            print(&format!("{}\n", json!({"regions": regions})))?;
        }
    }
    Ok(exit(&answers))
}

fn as_json(answer: &Answer) -> Value {
    match &answer.found {
        Ok(reports) => json!({"region": answer.region, "reports": reports}),
        Err(error) => json!({"region": answer.region, "error": error.to_string()}),
    }
}

/// Returns the exit code: a Region that does not answer is a failure.
fn exit(answers: &[Answer]) -> Exit {
    let codes = answers.iter().map(|answer| match &answer.found {
        Ok(reports) => Exit::of(reports),
        Err(_) => Exit::FAILED,
    });
    codes.max_by_key(|code| (*code == Exit::FAILED, *code)).unwrap_or(Exit::DONE)
}

fn shown(answers: &[Answer]) -> String {
    let mut rows = table(&["REGION", "STAGE", "LIVE", "RELEASE", "KNOWN-GOOD", "HEARD FROM OTHER REGIONS"]);
    // Below the table: their length would widen a column for all.
    let mut failures = String::new();
    let mut fails = |rows: &mut Table, region: &str, why: &dyn Display| {
        rows.add_row([cell(region, Some(Tone::Bad)), cell("not known", Some(Tone::Bad))]);
        writeln!(failures, "{}", painted(&format!("{region}: {why}"), Tone::Bad)).unwrap_or_default();
    };
    for Answer { region, found } in answers {
        match found {
            Ok(reports) if reports.is_empty() => {
                rows.add_row([cell(region, None), cell("no stage is protected", Some(Tone::Careful))]);
            }
            Ok(reports) => {
                for report in reports {
                    match &report.details {
                        Some(Details::Status(status)) => _ = rows.add_row(row(region, report, status)),
                        _ => fails(&mut rows, region, &report.message),
                    }
                }
            }
            Err(error) => fails(&mut rows, region, error),
        }
    }
    format!("{}\n{failures}", drawn(rows))
}

fn row(region: &str, report: &Report, status: &StageStatus) -> Vec<Cell> {
    let stage = report.stage.as_ref().map(ToString::to_string).unwrap_or_default();
    let live = status.live.as_ref().map(|live| live.release.deployment.clone());
    let (proven, tone) = proven(status);
    vec![
        cell(region, None),
        cell(stage, None),
        cell(live.unwrap_or_else(|| "no such stage".to_owned()), None),
        cell(label(status).unwrap_or("-"), None),
        cell(proven, Some(tone)),
        cell(heard(status), Some(Tone::Careful)),
    ]
}

/// Returns the label of the live release.
fn label(status: &StageStatus) -> Option<&str> {
    let live = &status.live.as_ref()?.release;
    let good = status.known_good.record().map(|(_, record)| record);
    let candidate = || status.candidate.as_ref().filter(|candidate| candidate.is_live);
    let good = good.filter(|record| record.release.over(live) == *live);
    good.map_or_else(|| candidate()?.candidate.label.as_deref(), |record| record.label.as_deref())
}

/// Says whether the live release is the known-good one.
fn proven(status: &StageStatus) -> (String, Tone) {
    let live = status.live.as_ref().map(|live| &live.release);
    match (live, status.known_good.record()) {
        (Some(live), Some((version, record))) if record.release.over(live) == *live => {
            (format!("yes, version {version}"), Tone::Good)
        }
        (Some(live), Some(_)) if live.canary.is_some() => ("no: it has a canary".to_owned(), Tone::Careful),
        (_, Some((version, record))) => {
            let name = record.label.as_deref().unwrap_or(&record.release.deployment);
            (format!("no: {name} is (version {version})"), Tone::Careful)
        }
        (_, None) => ("no: there is none".to_owned(), Tone::Bad),
    }
}

fn heard(status: &StageStatus) -> String {
    let last = status.siblings.last().map(ToString::to_string);
    last.unwrap_or_else(|| "-".to_owned())
}
