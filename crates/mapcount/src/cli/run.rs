//! `mapcount run`.

mod findings;

use std::fmt;
use std::io::{self, BufWriter, Write};

use anstream::{AutoStream, ColorChoice};
use clap::error::ErrorKind;
use clap::{CommandFactory, ValueEnum};
use mapcount_model::profile::{Profile, RELEASES};
use mapcount_model::scheme;
use mapcount_script::run::{self, Next, Runner, observe};
use mapcount_script::trace::write_line;

use super::input::{self, Source};
use super::{Cli, Exit};
use crate::report::layout::Style;
use crate::report::side_by_side::{self, Ending};
use findings::Findings;

/// Run scenarios on the model of a kernel, and show what each step changed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Scenarios; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// A kernel: a release (6.12, 5.10.190, 7.2-no-page-mapcount) or a scheme's id; several are shown side by side [default: the newest]
    #[arg(long, short, value_name = "K", value_parser = kernel)]
    kernel: Vec<Kernel>,
    /// A scheme of counting, by its id
    #[arg(long, short, value_name = "S", value_parser = scheme)]
    scheme: Vec<Kernel>,
    /// Every modelled kernel and every proposal, side by side
    #[arg(long, conflicts_with_all = ["kernel", "scheme"])]
    all: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show values as they are stored, under the kernel's names, rather than numbers of mappings
    #[arg(long)]
    raw: bool,
    /// Show the phases of each operation, with the counters between them
    #[arg(long)]
    phases: bool,
    /// Do not begin with what the names mean
    #[arg(long)]
    no_legend: bool,
    /// Do not check the laws of counting after each step
    #[arg(long)]
    no_laws: bool,
    /// Colour
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    color: Color,
}

/// How to print a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// A trace: one JSON object a step
    Jsonl,
}

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A kernel of the command line.
#[derive(Clone)]
struct Kernel(Profile);

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

fn kernel(name: &str) -> Result<Kernel, String> {
    input::kernel(name).map(Kernel)
}

fn scheme(id: &str) -> Result<Kernel, String> {
    if scheme::by_id(id).is_some() {
        return kernel(id);
    }
    let ids: Vec<&str> = scheme::ALL.iter().map(|scheme| scheme.info().id).collect();
    Err(format!("there is no such scheme; there are {}", ids.join(", ")))
}

pub(super) fn main(args: &Args) -> Exit {
    if args.format == Format::Jsonl && (args.raw || args.phases) {
        let option = if args.raw { "--raw" } else { "--phases" };
        let why = "a trace has raw values after each step, and nothing else";
        let message = format!("{option} cannot be used with --format jsonl: {why}");
        let mut cli = Cli::command();
        cli.build();
        let run = cli.find_subcommand_mut("run").expect("this command");
        run.error(ErrorKind::ArgumentConflict, message).exit();
    }
    let profiles = profiles(args);
    let choice = match args.color {
        Color::Auto => AutoStream::choice(&io::stdout()),
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    let style = if choice == ColorChoice::Never { Style::Plain } else { Style::Color };
    let errors_in_color = match args.color {
        Color::Auto => input::stderr_has_color(),
        other => other == Color::Always,
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut worst = Exit::Success;
    for (index, path) in args.files.iter().enumerate() {
        let source = match input::scenario(path) {
            Ok(source) => source,
            Err(exit) => {
                worst = worst.max(exit);
                continue;
            }
        };
        let ran = match args.format {
            Format::Table => table(args, (&source, index), &profiles, style, &mut out),
            Format::Jsonl => jsonl(args, &source, &profiles, &mut out),
        };
        // What was printed stands before what is wrong with it.
        let exit = ran
            .and_then(|endings| out.flush().map(|()| endings))
            .map(|endings| Findings::new(&source, &profiles, endings, args.laws()).report(errors_in_color));
        match exit {
            Ok(exit) => worst = worst.max(exit),
            Err(error) => return worst.max(Exit::of_write(&error)),
        }
    }
    worst
}

impl Args {
    fn laws(&self) -> bool {
        !self.no_laws
    }
}

/// The kernels to run on, each once.
fn profiles(args: &Args) -> Vec<Profile> {
    if args.all {
        return side_by_side::every_kernel();
    }
    let mut profiles: Vec<Profile> = Vec::new();
    for Kernel(profile) in args.kernel.iter().chain(&args.scheme) {
        if profiles.iter().all(|known| known.name != profile.name) {
            profiles.push(profile.clone());
        }
    }
    if profiles.is_empty() {
        let newest = RELEASES[RELEASES.len() - 1].to_string();
        profiles.push(Profile::resolve(&newest).expect("modelled"));
    }
    profiles
}

fn table(
    args: &Args,
    (source, index): (&Source, usize),
    profiles: &[Profile],
    style: Style,
    out: &mut dyn Write,
) -> io::Result<Vec<Ending>> {
    let legend = index == 0 && !args.no_legend;
    let options =
        side_by_side::Options { raw: args.raw, phases: args.phases, laws: args.laws(), legend, style };
    if index > 0 {
        out.write_all(b"\n\n")?;
    }
    side_by_side::run(&source.scenario, &source.name, profiles, options, out)
}

/// The trace of each kernel, one after the other.
fn jsonl(args: &Args, source: &Source, profiles: &[Profile], out: &mut dyn Write) -> io::Result<Vec<Ending>> {
    let options = run::Options { laws: args.laws(), ..run::Options::default() };
    let mut endings = Vec::new();
    for profile in profiles {
        let mut ending = Ending::default();
        match Runner::new(&source.scenario, profile, options) {
            Err(finding) => ending.keep(*finding),
            Ok(None) => {
                ending.skipped = true;
                let kernels = source.scenario.kernels.as_ref().map(ToString::to_string).unwrap_or_default();
                eprintln!(
                    "mapcount: {} is skipped on {}: it is for kernels {kernels}",
                    source.path, profile.name
                );
            }
            Ok(Some(mut runner)) => trace(&mut runner, &source.name, &mut ending, out)?,
        }
        endings.push(ending);
    }
    Ok(endings)
}

/// Runs to the end, or to the first finding of a step.
fn trace(runner: &mut Runner<'_>, name: &str, ending: &mut Ending, out: &mut dyn Write) -> io::Result<()> {
    while let Some(next) = runner.advance() {
        match next {
            Next::Step(report, result) => {
                if result.as_ref().err().is_none_or(|finding| finding.kind.leaves_a_state()) {
                    write_line(&observe(runner, &report, name), &mut *out)?;
                }
                if let Err(finding) = result {
                    ending.keep(*finding);
                    break;
                }
            }
            Next::Expect(Ok(())) => {}
            Next::Expect(Err(finding)) => ending.keep(*finding),
        }
    }
    Ok(())
}
