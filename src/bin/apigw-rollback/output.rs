//! Output: results on standard output, through a pager if they are longer than the screen. A failed write is an error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

use apigw_rollback::model::plain;
use futures_util::FutureExt;

use super::error::CliError;
use super::session::variable;

/// The default pager. It leaves a short text on the screen, keeps colours, and does not clear the screen at its end.
const PAGER: &str = "less -FRX";

/// Prints to standard output, in colour if it is a terminal. What others named does not act on the terminal.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = anstream::stdout();
    let text = plain::terminal(text);
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints a text like [`print`], through the pager if it is longer than the screen.
pub(crate) fn print_long(text: &str, pager: bool) -> Result<(), CliError> {
    let screen = crossterm::terminal::size().map(|(_, rows)| usize::from(rows)).unwrap_or_default();
    let is_long = screen > 0 && text.lines().count() >= screen;
    if !pager || !is_long || !std::io::stdout().is_terminal() || !page(&plain::terminal(text)) {
        return print(text);
    }
    Ok(())
}

/// Turns a failed write into an error. A reader such as `head` that closes the pipe ends the tool quietly.
pub(crate) fn written(result: std::io::Result<()>) -> Result<(), CliError> {
    result.map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            CliError::ReaderGone
        } else {
            CliError::Output(format!("the output cannot be written: {error}"))
        }
    })
}

/// Shows a text in the pager. Returns whether there is one, and a terminal that it can use.
fn page(text: &str) -> bool {
    if variable("TERM").is_none_or(|terminal| terminal == "dumb") {
        return false;
    }
    #[expect(clippy::disallowed_methods, reason = "an empty value disables the pager")]
    let pager = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
    if pager.trim().is_empty() || pager.trim() == "cat" {
        return false;
    }
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    // Without these options, `less` would show the escape codes of colours.
    if variable("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    // Ctrl-C is for the pager: from now on, it does not end the tool, which would leave the terminal to both.
    let _ = Box::pin(tokio::signal::ctrl_c()).now_or_never();
    let Ok(mut child) = command.spawn() else { return false };
    // A reader who leaves the pager early closes the pipe.
    let is_read = child.stdin.take().is_some_and(|mut pipe| match pipe.write_all(text.as_bytes()) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::BrokenPipe,
    });
    // The shell ends with 127 if it cannot find the pager.
    let ended = child.wait();
    is_read && ended.is_ok_and(|status| status.code() != Some(127))
}
