//! The incidents of one stage, as they are on record.

use crate::cloud::Parameters;
use crate::context::Context;
use crate::model::cloud_error::CloudError;
use crate::model::records::{self, Incident};
use crate::model::stage::StageRef;

/// An incident, and where it is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFile {
    /// The parameter.
    pub parameter: String,
    /// The incident, or why it cannot be read: a sentence's end for "the parameter X ...".
    pub incident: Result<Incident, String>,
}

/// Reads the incidents of a stage (`GetParametersByPath`), newest first. Those that cannot be read come before them.
///
/// # Errors
/// A failed call.
pub async fn read<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
) -> Result<Vec<OnFile>, CloudError> {
    let names = &context.config.names;
    let path = names.all_incidents(stage);
    let found = context.cloud.parameters_under(path.trim_end_matches('/')).await?;
    let incident = |value: &str| records::parse::<Incident>(value);
    let mut all: Vec<OnFile> =
        found.into_iter().map(|one| OnFile { incident: incident(&one.value), parameter: one.name }).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.incident.as_ref().map(|incident| incident.at).ok()));
    // Without a time they would come last, where nobody sees them.
    all.sort_by_key(|one| one.incident.is_ok());
    Ok(all)
}
