//! `watch`: repeats `status` until Ctrl-C.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use apigw_rollback::model::reason::stamp;
use chrono::TimeDelta;

use super::actions::{StageName, described, print, status};
use super::error::{CliError, Exit};
use super::session::{Connection, Format, Session, now};

/// The escape codes that clear the screen and move to its top.
const FRESH: &str = "\u{1b}[2J\u{1b}[H";

pub(crate) async fn watch(
    connection: &Connection,
    stage: Option<&StageName>,
    every: TimeDelta,
) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let every = every.to_std().unwrap_or_default().max(Duration::from_secs(2));
    loop {
        let looked = async {
            let (reports, is_list) = status(&session, stage).await?;
            if connection.format == Format::Text && std::io::stdout().is_terminal() {
                let _ = write!(anstream::stdout(), "{FRESH}");
            }
            described(&reports, connection.format, is_list);
            if connection.format == Format::Text {
                print(&format!("{}; refreshes in {} s, Ctrl-C stops\n", stamp(now()), every.as_secs()));
            }
            Ok(())
        };
        tokio::select! {
            looked = looked => looked?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::DONE),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::DONE),
        }
    }
}
