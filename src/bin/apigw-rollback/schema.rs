//! `schema`: the JSON schema of reports, for programs that read them from a queue, a function or an event bus.

use apigw_rollback::model::report::Report;

use super::error::{CliError, Exit};
use super::output::print;

pub(crate) fn run() -> Result<Exit, CliError> {
    print(&format!("{}\n", serde_json::to_string_pretty(&Report::schema()).unwrap_or_default()))?;
    Ok(Exit::DONE)
}
