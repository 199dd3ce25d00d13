//! The port's verbs for Parameter Store (Systems Manager).

use crate::model::cloud_error::CloudError;
use crate::model::records::Parameter;

/// How a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Only if no parameter has this name. This is the only atomic create that Parameter Store offers.
    Create,
    /// As a new version.
    Overwrite,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Parameter Store stored the value as this version.
    Version(i64),
    /// [`Write::Create`] found a parameter with this name and wrote nothing.
    Exists,
}

/// Parameter Store.
///
/// # Errors
/// Each verb fails if Parameter Store refuses the call or does not answer before the deadline.
pub trait Parameters: Sync {
    /// Reads parameters by name, each with or without `:version`, at most ten (`GetParameters`). Leaves out parameters
    /// that do not exist.
    fn parameters(&self, names: &[String])
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// Reads every parameter below a path (`GetParametersByPath`, recursive, every page).
    fn parameters_under(&self, path: &str)
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// Reads every version of a parameter, oldest first (`GetParameterHistory`, every page). Returns none if the
    /// parameter does not exist.
    fn history(&self, name: &str) -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// Writes a parameter (`PutParameter`). A name that is taken is not an error: see [`Written::Exists`].
    fn put_parameter(
        &self,
        name: &str,
        value: &str,
        write: Write,
    ) -> impl Future<Output = Result<Written, CloudError>> + Send;

    /// Deletes a parameter (`DeleteParameter`). A parameter that does not exist is not an error.
    fn delete_parameter(&self, name: &str) -> impl Future<Output = Result<(), CloudError>> + Send;
}

/// Whether this value is the first one that was written after a parameter was found (`GetParameters`). Of several writers, only one
/// is the first. The version in the answer to a write does not tell, because a write without an answer is sent again.
///
/// # Errors
/// The failed call.
pub async fn is_next<C: Parameters>(cloud: &C, found: &Parameter, value: &str) -> Result<bool, CloudError> {
    let next = format!("{}:{}", found.name, found.version + 1);
    Ok(cloud.parameters(&[next]).await?.iter().any(|next| next.value == value))
}
