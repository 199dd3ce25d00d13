//! The command-line tool: the same engine and settings as the function, with a person's own credentials.

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
use error::{Exit, Trouble};

fn main() -> ExitCode {
    let exit = run(Tool::parse()).unwrap_or_else(|trouble| {
        let error = style::painted("error: ", style::Tone::Bad);
        let error = if matches!(trouble, Trouble::Declined(_)) { "" } else { &error };
        let _ = writeln!(anstream::stderr(), "{error}{trouble}");
        trouble.exit()
    });
    ExitCode::from(exit.0)
}

fn run(tool: Tool) -> Result<Exit, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::Failed(error.to_string()))?;
    runtime.block_on(tool.verb.run())
}
