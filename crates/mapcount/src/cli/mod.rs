//! The command line: a file for each command.

mod conform;
mod diff;
mod exit;
mod explain;
mod input;
mod inspect;
mod kernels;
mod lab;
mod layout;
mod live;
mod output;
mod record;
mod run;
mod schemes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mapcount_kernel::lab::guest;

pub use exit::Exit;

/// See every map count and reference count of Linux memory, step by step, for any kernel.
#[derive(Debug, Parser)]
#[command(name = "mapcount", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Explain(explain::Args),
    Layout(layout::Args),
    Kernels(kernels::Args),
    Schemes(schemes::Args),
    Diff(diff::Args),
    Lab(lab::Args),
    Record(record::Args),
    Conform(conform::Args),
    Inspect(inspect::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    if guest::is_here() {
        guest::main();
    }
    exit::install_panic_hook();
    let cli = Cli::parse();
    let exit = match cli.command {
        Command::Run(args) => run::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Layout(args) => layout::main(&args),
        Command::Kernels(args) => kernels::main(&args),
        Command::Schemes(args) => schemes::main(&args),
        Command::Diff(args) => diff::main(&args),
        Command::Lab(args) => lab::main(&args),
        Command::Record(args) => record::main(&args),
        Command::Conform(args) => conform::main(&args),
        Command::Inspect(args) => inspect::main(&args),
    };
    exit.into()
}
