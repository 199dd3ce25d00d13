//! Parameter Store.

use crate::model::cloud_error::CloudError;
use crate::model::records::Parameter;

/// How a parameter is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Only if there is none of the name: the one atomic create that SSM has.
    Create,
    /// As a new version.
    Overwrite,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored, as this version.
    Version(i64),
    /// [`Write::Create`] found the name taken; nothing was written.
    Exists,
}

/// Parameter Store.
pub trait Parameters: Sync {
    /// `GetParameters`, at most ten names, each with `:version` or without; missing ones are left out.
    fn parameters(&self, names: &[String])
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `GetParametersByPath`, recursive, every page.
    fn parameters_under(&self, path: &str)
    -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `GetParameterHistory`, every page, oldest first; empty where there is no such parameter.
    fn history(&self, name: &str) -> impl Future<Output = Result<Vec<Parameter>, CloudError>> + Send;

    /// `PutParameter`.
    fn put_parameter(
        &self,
        name: &str,
        value: &str,
        write: Write,
    ) -> impl Future<Output = Result<Written, CloudError>> + Send;

    /// `DeleteParameter`; one that is not there is no error.
    fn delete_parameter(&self, name: &str) -> impl Future<Output = Result<(), CloudError>> + Send;
}
