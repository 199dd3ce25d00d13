//! The command-line tool: the same rules and settings as the function, with the operator's own credentials.

mod actions;
mod cli;
mod doctor;
mod error;
mod explain;
mod schema;
mod session;
mod style;
mod views;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::Tool;
use error::{CliError, Exit};

fn main() -> ExitCode {
    let exit = run(Tool::parse()).unwrap_or_else(|error| {
        let label = style::painted("error: ", style::Tone::Bad);
        let label = if matches!(error, CliError::Declined(_)) { "" } else { &label };
        let _ = writeln!(anstream::stderr(), "{label}{error}");
        error.exit()
    });
    ExitCode::from(exit.0)
}

fn run(tool: Tool) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Failed(error.to_string()))?;
    runtime.block_on(tool.command.run())
}
