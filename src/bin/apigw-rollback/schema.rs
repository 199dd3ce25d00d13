//! `schema`: the JSON schema of reports, for whoever reads them from a queue, a function or an event bus.

use std::io::Write;
use std::process::ExitCode;

use apigw_rollback::report::Report;

pub(crate) fn run() -> ExitCode {
    let schema = serde_json::to_string_pretty(&Report::schema()).unwrap_or_default();
    match writeln!(std::io::stdout(), "{schema}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
