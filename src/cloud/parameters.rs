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
