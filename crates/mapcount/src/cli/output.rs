//! Writing the answer to stdout.

use std::io::Write as _;

use super::Exit;

/// Prints `text`, whose colours are taken out where stdout is no terminal or `NO_COLOR` says so, and ends with
/// `exit` unless that fails.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => exit,
        // Whoever closed the pipe has seen what they wanted; a finding stays one.
        Err(error) => Exit::of_write(&error).max(exit),
    }
}
