//! The command-line tool: the same rules and settings as the function, with the operator's own credentials.
// The futures of a run, down to the SDK's own, are nested more deeply than the compiler allows by default.
#![recursion_limit = "256"]

mod access_log;
mod actions;
mod advice;
mod cli;
mod completion;
mod doctor;
mod error;
mod explain;
mod links;
mod logs;
mod output;
mod policy;
mod regions;
mod rollout;
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
    let exit = parsed().unwrap_or_else(|error| {
        if !matches!(error, CliError::ReaderGone) {
            let label = style::painted("error: ", style::Tone::Bad);
            let label = if matches!(error, CliError::Declined(_)) { "" } else { &label };
            let _ = writeln!(anstream::stderr(), "{label}{error}");
        }
        error.exit()
    });
    ExitCode::from(exit.0)
}

/// Parses the command line and runs its command, or prints a help text.
fn parsed() -> Result<Exit, CliError> {
    match Tool::try_parse() {
        Ok(tool) => run(tool),
        Err(shown) => {
            let exit = if shown.use_stderr() { Exit::USAGE } else { Exit::DONE };
            output::written(shown.print().and_then(|()| std::io::stdout().flush()))?;
            Ok(exit)
        }
    }
}

fn run(tool: Tool) -> Result<Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Failed(error.to_string()))?;
    runtime.block_on(tool.command.run())
}
