//! `access-log`: the access-log format from which CloudWatch extracts high-resolution metrics.

use apigw_rollback::model::access_log::format;
use apigw_rollback::model::protocol::Protocol;
use clap::ValueEnum;

use super::error::{CliError, Exit};
use super::output::print;

/// The protocols as the command line names them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A REST API: Status and Latency of the stage, and of each deployment
    Rest,
    /// An HTTP API: Status and Latency of the stage
    Http,
    /// A WebSocket API: Status of the stage
    Websocket,
}

pub(crate) fn run(kind: Kind) -> Result<Exit, CliError> {
    let protocol = match kind {
        Kind::Rest => Protocol::Rest,
        Kind::Http => Protocol::Http,
        Kind::Websocket => Protocol::WebSocket,
    };
    print(&format!("{}\n", format(protocol)))?;
    Ok(Exit::DONE)
}
