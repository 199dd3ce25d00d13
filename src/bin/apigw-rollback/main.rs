//! The command-line tool.

mod explain;
mod schema;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Puts API Gateway stages back on their last-known-good release.
#[derive(Debug, Parser)]
#[command(version)]
struct Tool {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say what the function would make of event files, without asking AWS
    Explain(explain::Args),
    /// Print the JSON schema of reports
    Schema,
}

fn main() -> ExitCode {
    match Tool::parse().verb {
        Verb::Explain(args) => explain::run(&args),
        Verb::Schema => schema::run(),
    }
}
