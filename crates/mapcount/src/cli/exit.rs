//! Exit codes, and what a bug in mapcount itself prints.

use std::io::ErrorKind;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Exit {
    /// All is as stated.
    Success,
    /// An expectation, a law or a recording does not hold, or a step is not modelled.
    Finding,
    /// The command line is wrong.
    Usage,
    /// A scenario or a recording does not parse or makes no sense.
    Malformed,
    /// A file cannot be read, or something else outside is missing.
    Unavailable,
    /// A bug in mapcount itself.
    Bug,
    /// Ctrl-C, or another signal that ends programs; what was changed is restored.
    Interrupted,
}

impl Exit {
    /// The code that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Finding => 1,
            Exit::Usage => 2,
            Exit::Malformed => 65,
            Exit::Unavailable => 69,
            Exit::Bug => 70,
            Exit::Interrupted => 130,
        }
    }

    /// The end that a code stands for; mapcount ends with no other code than these unless it has a bug.
    pub(super) fn of_code(code: u8) -> Exit {
        let known = [
            Exit::Success,
            Exit::Finding,
            Exit::Usage,
            Exit::Malformed,
            Exit::Unavailable,
            Exit::Interrupted,
        ];
        known.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Bug)
    }

    /// How a failed write to stdout ends the program: a closed pipe is success.
    pub fn of_write(error: &std::io::Error) -> Exit {
        if error.kind() == ErrorKind::BrokenPipe {
            return Exit::Success;
        }
        eprintln!("mapcount: cannot write the output: {error}");
        Exit::Unavailable
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Makes a panic say what to report and exit with 70.
pub(super) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let arguments: Vec<String> = std::env::args().collect();
        eprintln!("mapcount: a bug in mapcount itself: {panic}");
        eprintln!("version: {}", env!("CARGO_PKG_VERSION"));
        eprintln!("to replay: {}", arguments.join(" "));
        eprintln!("please report it with the scenario");
        std::process::exit(70);
    }));
}
