//! `watch`: repeats `status` until Ctrl-C.

use std::io::{IsTerminal, Write};

use apigw_rollback::model::reason::stamp;
use chrono::TimeDelta;

use super::actions::{StageName, length, shown, status};
use super::error::{CliError, Exit};
use super::output::{print, written};
use super::session::{Connection, Format, Session, now};

/// The escape codes that clear the screen and move to its top.
const FRESH: &str = "\u{1b}[2J\u{1b}[H";

/// The shortest interval in seconds: each status reads API Gateway, whose quota is shared by the whole account.
const SHORTEST: i64 = 2;

/// Parses the interval.
pub(crate) fn interval(text: &str) -> Result<TimeDelta, String> {
    let interval = length(text)?;
    if interval < TimeDelta::seconds(SHORTEST) {
        return Err(format!(
            "the shortest interval is {SHORTEST}s, because the whole account shares API Gateway's quota"
        ));
    }
    Ok(interval)
}

pub(crate) async fn watch(
    connection: &Connection,
    stage: Option<&StageName>,
    every: TimeDelta,
) -> Result<Exit, CliError> {
    let session = Session::open(connection).await?;
    let every = every.to_std().unwrap_or_default();
    loop {
        let looked = async {
            let (reports, is_list) = status(&session, stage).await?;
            let text = shown(&session, &reports, connection.format, is_list).await;
            if connection.format == Format::Text && std::io::stdout().is_terminal() {
                written(write!(anstream::stdout(), "{FRESH}"))?;
            }
            print(&text)?;
            if connection.format == Format::Text {
                print(&format!("{}; refreshes in {} s, Ctrl-C stops\n", stamp(now()), every.as_secs()))?;
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
