//! Reads the protected stages: those that the settings name, and those with a record. No other module decides which
//! stages are protected.

use std::collections::BTreeSet;

use crate::cloud::Parameters;
use crate::config::Config;
use crate::context::Context;
use crate::model::cloud_error::CloudError;
use crate::model::parameter_names::ParameterNames;
use crate::model::records::{self, Candidate, Parameter, Record};
use crate::model::stage::StageRef;

/// Reads which stages are protected (`GetParametersByPath`).
///
/// # Errors
/// A failed call.
pub async fn read<C: Parameters>(context: &Context<'_, C>) -> Result<BTreeSet<StageRef>, CloudError> {
    let found = context.cloud.parameters_under(&context.config.names.stages()).await?;
    Ok(protected(context.config, &found))
}

/// Returns the stages that the settings or these parameters protect. A parked stage is never protected.
#[must_use]
pub fn protected(config: &Config, parameters: &[Parameter]) -> BTreeSet<StageRef> {
    let configured: BTreeSet<StageRef> = config.stages.iter().map(|one| one.stage.clone()).collect();
    // The settings know an API's protocol; a record that cannot be parsed does not.
    let is_configured = |stage: &StageRef| {
        configured.iter().any(|known| (&known.api, &known.stage) == (&stage.api, &stage.stage))
    };
    let recorded = parameters.iter().filter_map(|parameter| recorded(&config.names, parameter));
    let recorded: Vec<StageRef> = recorded.filter(|stage| !is_configured(stage)).collect();
    configured.into_iter().chain(recorded).filter(|stage| !stage.is_parked()).collect()
}

/// Returns the stage whose known-good record or candidate this parameter holds. If the value cannot be parsed, the
/// protocol counts as REST, the most likely one.
pub(super) fn recorded(names: &ParameterNames, parameter: &Parameter) -> Option<StageRef> {
    let (api, stage) = names.stage_of(&parameter.name)?;
    let rest = StageRef::rest(&api, &stage);
    let protocol = if parameter.name == names.known_good(&rest) {
        records::parse::<Record>(&parameter.value).map(|record| record.stage.protocol)
    } else if parameter.name == names.candidate(&rest) {
        records::parse::<Candidate>(&parameter.value).map(|candidate| candidate.protocol)
    } else {
        return None;
    };
    Some(StageRef { protocol: protocol.unwrap_or_default(), ..rest })
}
