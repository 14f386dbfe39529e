//! Writing the answer to stdout.

use std::io::Write as _;

use super::Exit;

/// Prints `text`, whose colours are taken out where stdout is no terminal or `NO_COLOR` says so, and ends with
/// `exit` unless that fails.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    // Whoever closed the pipe has seen what they wanted; a finding stays one.
    print_more(text).map_or(exit, |failed| failed.max(exit))
}

/// The same where more is to follow; how to end if stdout takes no more.
pub(super) fn print_more(text: &str) -> Option<Exit> {
    let mut out = anstream::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.err().map(|error| Exit::of_write(&error))
}
