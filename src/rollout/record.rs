//! Writes the record of a rollout. Parameter Store has no compare-and-swap, but it counts the versions of a parameter.

use crate::cloud::{Parameters, Write, Written};
use crate::context::Context;
use crate::model::cloud_error::CloudError;
use crate::model::records;
use crate::model::rollout::Rollout;
use crate::model::stage::StageRef;

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replaced {
    /// It follows the version that was read.
    Ours,
    /// Somebody else wrote first, and their record stands.
    Theirs,
    /// It does not fit into a parameter: a sentence.
    TooLong(String),
}

/// Writes a record over the version that was read, 0 if there was none (`PutParameter`). If somebody else wrote in between, as
/// the number of the new version shows, puts theirs back (`GetParameters`, `PutParameter`): whoever wrote first wins.
///
/// # Errors
/// A failed call.
pub(super) async fn replace<C: Parameters>(
    context: &Context<'_, C>,
    stage: &StageRef,
    version: i64,
    rollout: &Rollout,
) -> Result<Replaced, CloudError> {
    let name = context.config.names.rollout(stage);
    let value = match records::print(rollout) {
        Ok(value) => value,
        Err(why) => return Ok(Replaced::TooLong(why)),
    };
    let write = if version == 0 { Write::Create } else { Write::Overwrite };
    let written = match context.cloud.put_parameter(&name, &value, write).await? {
        Written::Version(written) if written <= version + 1 => return Ok(Replaced::Ours),
        Written::Version(written) => written,
        // Our own call may have been sent twice.
        Written::Exists => {
            let now = context.cloud.parameters(std::slice::from_ref(&name)).await?;
            let is_ours = now.iter().any(|one| one.value == value);
            return Ok(if is_ours { Replaced::Ours } else { Replaced::Theirs });
        }
    };
    let before = format!("{name}:{}", written - 1);
    let theirs = context.cloud.parameters(&[before]).await?;
    match theirs.first() {
        Some(theirs) if theirs.value != value => {
            context.cloud.put_parameter(&name, &theirs.value, Write::Overwrite).await?;
            Ok(Replaced::Theirs)
        }
        // Our own call was sent twice.
        Some(_) | None => Ok(Replaced::Ours),
    }
}
