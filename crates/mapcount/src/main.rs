//! The `mapcount` program: see `mapcount --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mapcount::cli::main()
}
