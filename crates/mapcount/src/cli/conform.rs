//! `mapcount conform`.

use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;
use mapcount_kernel::conform::{Conform, Options, Stop, Verdict};
use mapcount_kernel::{live as kernel, signals};
use mapcount_script::ast::Scenario;

use super::input::{self, Source};
use super::record::{lines, write_whole};
use super::{Exit, live, output};
use crate::report::conform::{Format as Printed, Head, Line, Summary, Written};

/// Run scenarios on the running kernel and on its model, in lockstep, and compare every field after each step
///
/// Needs root. Settings of the kernel that this changes are restored, whatever happens.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Scenarios, or folders of them
    #[arg(value_name = "FILE", required_unless_present = "random")]
    files: Vec<String>,
    /// So many random scenarios
    #[arg(long, value_name = "N", default_value_t = 0)]
    random: u64,
    /// Steps of a random scenario
    #[arg(long, value_name = "M", default_value_t = 40)]
    steps: u32,
    /// The seed of the first random scenario; the others have those behind it
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Compare with the model of this kernel or scheme instead of the running kernel's
    #[arg(long, value_name = "K", value_parser = input::kernel_name)]
    kernel: Option<String>,
    /// Do not compare this key of the trace; may be given more than once
    #[arg(long, value_name = "KEY")]
    ignore: Vec<String>,
    /// How to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where to write minimised scenarios that differ, with their recordings
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Stop after so many scenarios that differ
    #[arg(long, value_name = "N", default_value_t = 5)]
    findings: usize,
    /// Add a number to a field of THPs in what was observed, to see it found: FIELD=N
    #[arg(long, value_name = "FIELD=N", value_parser = planted, hide = true)]
    plant: Option<(String, i64)>,
    #[command(flatten)]
    live: live::Live,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// The kernel's test protocol
    Ktap,
    /// One JSON object a scenario
    Jsonl,
}

fn planted(text: &str) -> Result<(String, i64), String> {
    let (field, number) = text.split_once('=').ok_or("expected FIELD=N")?;
    let number = number.parse().map_err(|_| "expected a number behind the =".to_owned())?;
    Ok((field.to_owned(), number))
}

pub(super) fn main(args: &Args) -> Exit {
    match run(args) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn run(args: &Args) -> Result<Exit, Exit> {
    let sources = input::scenarios(&args.files)?;
    let (driven, unwatched) = args.live.open()?;
    let profile = match &args.kernel {
        Some(name) => input::named(name),
        None => kernel::profile().map_err(|missing| live::unavailable(&missing))?,
    };
    let options =
        Options { ignore: args.ignore.clone(), exits: unwatched.is_none(), plant: args.plant.clone() };
    let conform = Conform::new(driven, profile, options);
    let printed = match args.format {
        Format::Table => Printed::Table,
        Format::Ktap => Printed::Ktap,
        Format::Jsonl => Printed::Jsonl,
    };
    let mut session = Session {
        args,
        conform,
        printed,
        summary: Summary::default(),
        count: sources.len() as u64 + args.random,
        started: Instant::now(),
        exit: Exit::Success,
    };
    let head = session.head(unwatched.as_deref());
    session.print(&printed.head(&head))?;
    for source in &sources {
        if !session.one(&source.scenario, &source.name, Some(source))? {
            return session.end();
        }
    }
    for seed in args.seed..args.seed.saturating_add(args.random) {
        let (scenario, left_out) = session.conform.random(seed, args.steps);
        session.summary.leave_out(&left_out);
        if !session.one(&scenario, &format!("seed-{seed}"), None)? {
            break;
        }
    }
    session.end()
}

/// A run.
struct Session<'a> {
    args: &'a Args,
    conform: Conform,
    printed: Printed,
    summary: Summary,
    count: u64,
    started: Instant,
    exit: Exit,
}

impl Session<'_> {
    fn head(&self, unwatched: Option<&str>) -> Head {
        let driven = self.conform.driven();
        Head {
            kernel: driven.kernel().to_owned(),
            observer: driven.observer(),
            model: self.conform.profile().name.clone(),
            scheme: self.conform.profile().scheme.info().id,
            scenarios: self.count,
            unwatched: unwatched.map(str::to_owned),
        }
    }

    /// Runs a scenario; `false` if it is to be the last.
    fn one(&mut self, scenario: &Scenario, name: &str, source: Option<&Source>) -> Result<bool, Exit> {
        self.progress(name);
        let report = self.conform.confirm(scenario, name).map_err(|trouble| self.lost(&trouble, source))?;
        if report.verdict == Verdict::Stopped(Stop::Interrupted) {
            return Ok(false);
        }
        let mut written = None;
        match &report.verdict {
            Verdict::Differs(_) => {
                self.exit = self.exit.max(Exit::Finding);
                written = self.minimised(scenario, name)?;
            }
            Verdict::ModelFails(_) => self.exit = self.exit.max(Exit::Finding),
            Verdict::Agrees | Verdict::Unsteady(_) | Verdict::Stopped(_) => {}
        }
        self.clear_progress();
        self.summary.add(&report);
        let number = self.summary.scenarios();
        let line = Line { number, name, report: &report, written: written.as_ref() };
        self.print(&self.printed.line(&line))?;
        Ok(self.summary.differing() < self.args.findings.max(1) && !signals::interrupted())
    }

    /// Writes the smallest scenario that still differs, and its recording.
    fn minimised(&mut self, scenario: &Scenario, name: &str) -> Result<Option<Written>, Exit> {
        let lost = |trouble| live::trouble(&trouble, None);
        let smallest = self.conform.minimise(scenario, name).map_err(lost)?;
        if signals::interrupted() {
            return Ok(None);
        }
        let again = self.conform.check(&smallest, name).map_err(lost)?;
        let recorded = self.conform.record(&smallest, name).map_err(lost)?;
        let lines = lines(&recorded.steps);
        let place = |ending: &str| self.args.out.join(format!("conform-{name}.{ending}"));
        let (scenario, recording) = (place("mc"), place("jsonl"));
        // A folder that cannot be made is told when a file in it cannot be written.
        let _ = std::fs::create_dir_all(&self.args.out);
        write_whole(&scenario, smallest.to_string().as_bytes())?;
        write_whole(&recording, &lines)?;
        Ok(Some(Written { scenario, recording, text: smallest.to_string(), report: again }))
    }

    fn lost(&self, trouble: &mapcount_kernel::subject::Trouble, source: Option<&Source>) -> Exit {
        self.clear_progress();
        live::trouble(trouble, source)
    }

    fn end(&mut self) -> Result<Exit, Exit> {
        self.clear_progress();
        if signals::interrupted() {
            self.exit = Exit::Interrupted;
        }
        let (retries, unsettled) = self.conform.driven().unrest();
        self.summary.unrest = (retries, unsettled);
        self.summary.planned = self.count;
        let seconds = self.started.elapsed().as_secs_f64();
        let text = self.printed.end(&self.summary, self.conform.coverage());
        self.print(&text)?;
        let rate = self.summary.steps() as f64 / seconds.max(1e-9);
        eprintln!("mapcount: {} steps in {seconds:.1} s, {rate:.0} a second", self.summary.steps());
        Ok(self.exit)
    }

    fn print(&self, text: &str) -> Result<(), Exit> {
        match output::print(text, Exit::Success) {
            Exit::Success => Ok(()),
            exit => Err(exit),
        }
    }

    fn progress(&self, name: &str) {
        if std::io::stderr().is_terminal() {
            let done = self.summary.scenarios();
            let rate = self.summary.steps() as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
            eprint!("\r\x1b[K{done} of {} done, {rate:.0} steps a second, {name} …", self.count);
            drop(std::io::stderr().flush());
        }
    }

    fn clear_progress(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}
