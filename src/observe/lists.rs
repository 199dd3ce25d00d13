//! Lists for people: the stages that are protected, and the incidents of one. Nothing is written.

use std::collections::BTreeSet;

use crate::cloud::{Cloud, CloudError};
use crate::context::Run;
use crate::model::records::{self, Incident, Names};
use crate::model::release::StageRef;
use crate::sweep::recorded;

/// The stages that the sweep looks after: those that the settings name, and those with a record
/// (`GetParametersByPath`).
///
/// # Errors
/// A failed call.
pub async fn protected<C: Cloud>(run: &Run<'_, C>) -> Result<Vec<StageRef>, CloudError> {
    let names = &run.config.names;
    let found = run.cloud.parameters_under(&names.stages()).await?;
    let configured: BTreeSet<StageRef> = run.config.stages.iter().map(|one| one.stage.clone()).collect();
    // The settings know the kind of an API; a record that cannot be read does not.
    let is_new = |stage: &StageRef| {
        !configured.iter().any(|known| (&known.api, &known.stage) == (&stage.api, &stage.stage))
    };
    let on_record: BTreeSet<StageRef> =
        found.iter().filter_map(|one| recorded(names, one)).filter(is_new).collect();
    Ok(configured.into_iter().chain(on_record).filter(|stage| !stage.is_parked()).collect())
}

/// An incident, and where it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFile {
    /// The parameter.
    pub parameter: String,
    /// The incident, or why it cannot be read: a sentence's end for "the parameter X ...".
    pub incident: Result<Incident, String>,
}

/// The incidents of a stage (`GetParametersByPath`), newest first; what cannot be read comes before them.
///
/// # Errors
/// A failed call.
pub async fn incidents<C: Cloud>(run: &Run<'_, C>, stage: &StageRef) -> Result<Vec<OnFile>, CloudError> {
    let found = run.cloud.parameters_under(&path(&run.config.names, stage)).await?;
    let read = |value: &str| records::parse::<Incident>(value);
    let mut all: Vec<OnFile> =
        found.into_iter().map(|one| OnFile { incident: read(&one.value), parameter: one.name }).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.incident.as_ref().map(|incident| incident.at).ok()));
    // Without a time they sort last, where nobody would see them.
    all.sort_by_key(|one| one.incident.is_ok());
    Ok(all)
}

/// The path above a stage's incidents.
fn path(names: &Names, stage: &StageRef) -> String {
    names.all_incidents(stage).trim_end_matches('/').to_owned()
}
