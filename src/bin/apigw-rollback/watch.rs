//! `watch`: the status again and again, until Ctrl-C.

use std::io::IsTerminal;
use std::time::Duration;

use apigw_rollback::model::reason::stamp;
use chrono::TimeDelta;

use super::actions::{StageName, print, status, told};
use super::error::{Exit, Trouble};
use super::session::{Format, Place, Session, now};

/// From the top of an empty screen.
const FRESH: &str = "\u{1b}[2J\u{1b}[H";

pub(crate) async fn watch(
    place: &Place,
    stage: Option<&StageName>,
    every: TimeDelta,
) -> Result<Exit, Trouble> {
    let session = Session::open(place).await?;
    let every = every.to_std().unwrap_or_default().max(Duration::from_secs(2));
    loop {
        let looked = async {
            let (reports, is_list) = status(&session, stage).await?;
            if place.format == Format::Text && std::io::stdout().is_terminal() {
                print(FRESH);
            }
            told(&reports, place.format, is_list);
            if place.format == Format::Text {
                print(&format!("{}; again in {} s, Ctrl-C ends\n", stamp(now()), every.as_secs()));
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
