//! Reads the recorded incidents of one stage.

use crate::cloud::Parameters;
use crate::context::Context;
use crate::model::cloud_error::CloudError;
use crate::model::records::{self, Incident};
use crate::model::stage::StageRef;

/// A parameter that holds an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFile {
    /// The parameter's name.
    pub parameter: String,
    /// The incident, or why it cannot be read, as the end of a sentence that begins "the parameter X".
    pub incident: Result<Incident, String>,
}

/// Reads the incidents of a stage (`GetParametersByPath`): first those that cannot be parsed, then the newest first.
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
    let incident = |value: &str| records::parse::<Incident>(value).map_err(|fault| fault.to_string());
    let mut all: Vec<OnFile> =
        found.into_iter().map(|one| OnFile { incident: incident(&one.value), parameter: one.name }).collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.incident.as_ref().map(|incident| incident.at).ok()));
    // Incidents that cannot be parsed have no time. They come first, where an operator sees them.
    all.sort_by_key(|one| one.incident.is_ok());
    Ok(all)
}
