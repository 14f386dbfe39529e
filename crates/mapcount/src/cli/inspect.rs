//! `mapcount inspect`.

mod chosen;
mod clock;
mod reduced;
mod save;
mod target;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mapcount_kernel::inspect::procs::{self, Process};
use mapcount_kernel::inspect::{Files, Inspector, Missed};
use mapcount_kernel::observer::Choice;
use mapcount_kernel::{Unavailable, signals};

use super::{Exit, output};
use crate::report::inspect::{
    Depth, Format, Options, Report, Seen, census, charged, folio, mappings, others, processes, unexpected,
    write,
};
use crate::report::layout::Style;
use crate::view;
use chosen::{chosen, no_process};
use target::{Place, frame, orders, place};

/// Inspect the running system: who maps its folios, who holds them, what they waste, why they cannot be split.
///
/// Without a choice of processes: memory by kind and order, and the processes that hold most.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, group(clap::ArgGroup::new("processes").args(["pid", "comm", "cgroup"]).multiple(true)))]
pub(super) struct Args {
    /// These processes.
    #[arg(long, value_name = "PID", num_args = 1.., value_delimiter = ',', help_heading = PROCESSES)]
    pid: Vec<u32>,
    /// The processes whose program has this name, as /proc/PID/comm shows it.
    #[arg(long, value_name = "NAME", help_heading = PROCESSES)]
    comm: Vec<String>,
    /// The processes of this cgroup and of those below it, and what is charged to them: a folder, or a path as
    /// /proc/PID/cgroup shows it.
    #[arg(long, value_name = "PATH", help_heading = PROCESSES)]
    cgroup: Option<String>,
    /// The children of these processes too, and theirs.
    #[arg(long, requires = "processes", help_heading = PROCESSES)]
    children: bool,
    /// Every mapping of the processes.
    #[arg(long, requires = "processes", help_heading = PROCESSES)]
    mappings: bool,
    /// Blocks of this size, in which PTEs map one folio, aligned in memory and in the address space (64K, 2M …).
    #[arg(long, value_name = "SIZE", value_parser = orders, requires = "processes", help_heading = PROCESSES)]
    cont: Vec<u8>,
    /// Memory by kind and order alone.
    #[arg(long, conflicts_with_all = ["processes", "addr", "pfn", "unexpected", "top"], help_heading = MACHINE)]
    census: bool,
    /// Folios with references that mappings and caches do not explain, in groups, before and after a drain of the
    /// per-CPU batches.
    #[arg(long, conflicts_with_all = ["processes", "top"], help_heading = MACHINE)]
    unexpected: bool,
    /// The folio that a process maps at an address, with everything about it.
    #[arg(long, value_name = "PID:ADDRESS", value_parser = place, conflicts_with_all = ["processes", "pfn", "unexpected", "top"], help_heading = MACHINE)]
    addr: Option<Place>,
    /// The folio of a page frame, with everything about it.
    #[arg(long, value_name = "N", value_parser = frame, conflicts_with_all = ["processes", "unexpected", "top"], help_heading = MACHINE)]
    pfn: Option<u64>,
    /// Walk through processes, mappings and folios in this terminal; with --watch it looks again by itself.
    #[arg(long, conflicts_with_all = ["processes", "addr", "pfn", "unexpected", "census", "top", "format", "output"], help_heading = MACHINE)]
    tui: bool,
    /// How to read the kernel: by a BPF program, /proc/kcore, or files of /proc that show less [default: what shows most
    /// of those that are there].
    #[arg(long, value_name = "OBSERVER", value_parser = observer, default_value = "auto", hide_default_value = true)]
    observer: Choice,
    /// Find out what processes map by /proc/PID/pagemap instead of their page tables; it takes the lock of the process.
    #[arg(long)]
    pagemap: bool,
    /// Show so many processes or mappings at most: those that hold most, then the largest [default: 10 where no processes
    /// are chosen, else all].
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Look again every so many seconds, until interrupted.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// How to write the report.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write the report to a file, which is there whole or as it was before.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const PROCESSES: &str = "What processes use";
const MACHINE: &str = "The machine, or one folio";

const EXAMPLES: &str = "\
Examples:
  mapcount inspect                            where memory is, and who holds folios that nobody maps
  mapcount inspect --pid 4242 --children      Rss, Pss, held bytes, why folios cannot be split
  mapcount inspect --pid 4242 --mappings --top 20
  mapcount inspect --addr 4242:7f0012345000   one folio: references, pins, verdicts, words
  mapcount inspect --unexpected               references that nobody is known for
  mapcount inspect --cgroup system.slice --watch 10 --format jsonl
  mapcount inspect --census --format openmetrics --output mapcount.prom";

pub(super) fn main(args: &Args) -> Exit {
    if args.format == Format::Openmetrics && (args.addr.is_some() || args.pfn.is_some()) {
        let what = "one folio is no metric: --addr and --pfn need another --format\n";
        clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, what).exit();
    }
    let mut source = match open(args) {
        Ok(source) => source,
        Err(missing) => return unavailable(&missing),
    };
    if args.tui {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return unavailable(&Unavailable::new(
                "--tui needs a terminal, which input or output is not",
                "leave it out, or start it in a terminal",
            ));
        }
        return terminal(source, args);
    }
    if args.watch.is_some() || args.output.is_some() {
        signals::catch();
    }
    loop {
        let ended = match report(&mut source, args) {
            Ok(report) => deliver(&report, args),
            Err(missing) => Some(unavailable(&missing)),
        };
        if let Some(exit) = ended {
            return exit;
        }
        if let Some(seconds) = args.watch {
            wait(Duration::from_secs(seconds));
        }
        if signals::interrupted() {
            return Exit::Interrupted;
        }
        if args.watch.is_none() {
            return Exit::Success;
        }
    }
}

/// Waits until it is time to look again, or the user has had enough.
fn wait(time: Duration) {
    let start = Instant::now();
    while !signals::interrupted() && start.elapsed() < time {
        std::thread::sleep((time - start.elapsed().min(time)).min(Duration::from_millis(100)));
    }
}

fn terminal(source: Source, args: &Args) -> Exit {
    let missing = match source {
        Source::Kernel(mut inspector) => {
            return match view::run(&mut *inspector, args.watch.map(Duration::from_secs)) {
                Ok(()) => Exit::Success,
                Err(error) => {
                    eprintln!("mapcount: the terminal: {error}");
                    Exit::Unavailable
                }
            };
        }
        Source::Files(_, missing) => missing,
        Source::Own(missing) => Some(missing),
    };
    let why = missing.map_or(String::new(), |missing| format!(" ({})", missing.what));
    unavailable(&Unavailable::new(
        format!("--tui needs the words of struct page{why}"),
        "run as root, with --observer bpf or kcore",
    ))
}

/// What reports are made from.
enum Source {
    /// `struct page`s.
    Kernel(Box<Inspector>),
    /// kpageflags, kpagecount and pagemap; and why not `struct page`s.
    Files(Box<Files>, Option<Unavailable>),
    /// smaps of one's own processes; and why not more.
    Own(Unavailable),
}

/// Opens what was asked for, or the best that there is.
fn open(args: &Args) -> Result<Source, Unavailable> {
    if args.observer == Choice::Proc {
        return Ok(Source::Files(Box::new(Files::open()?), None));
    }
    match (Inspector::open(args.observer, args.pagemap), args.observer) {
        (Ok(inspector), _) => Ok(Source::Kernel(Box::new(inspector))),
        (Err(missing), Choice::Auto) => match Files::open() {
            Ok(files) => Ok(Source::Files(Box::new(files), Some(missing))),
            Err(_) => Ok(Source::Own(missing)),
        },
        (Err(missing), _) => Err(missing),
    }
}

fn observer(name: &str) -> Result<Choice, String> {
    Choice::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = Choice::ALL.iter().map(|(name, _)| *name).collect();
        format!("observers are {}", names.join(", "))
    })
}

fn unavailable(missing: &Unavailable) -> Exit {
    eprintln!("mapcount: {missing}");
    Exit::Unavailable
}

/// Writes a report; how to end if there is no way to write another one.
fn deliver(report: &Report, args: &Args) -> Option<Exit> {
    let Some(path) = &args.output else {
        return output::print_more(&write(report, args.format, Style::Color));
    };
    let written = save::whole(path, &write(report, args.format, Style::Plain));
    written.err().map(|error| {
        eprintln!("mapcount: {}: {error}", path.display());
        Exit::Unavailable
    })
}

/// Processes shown where none were asked for.
const FEW: usize = 10;

fn report(source: &mut Source, args: &Args) -> Result<Report, Unavailable> {
    let mut report = match source {
        Source::Kernel(inspector) => by_structs(inspector, args),
        Source::Files(files, missing) => reduced::by_files(files, missing.as_ref(), args),
        Source::Own(missing) => reduced::own_processes(missing, args),
    }?;
    // Prometheus keeps the time itself; one report by itself is the same for the same system.
    if args.watch.is_some() && args.format != Format::Openmetrics {
        report.about.insert(0, ("time", clock::now()));
    }
    Ok(report)
}

/// Whether processes were chosen.
fn chooses(args: &Args) -> bool {
    !args.pid.is_empty() || !args.comm.is_empty() || args.cgroup.is_some()
}

fn by_structs(inspector: &mut Inspector, args: &Args) -> Result<Report, Unavailable> {
    let profile = inspector.profile().clone();
    let mut report = Report {
        about: vec![
            ("kernel", profile.name.clone()),
            ("scheme", profile.scheme.info().id.to_owned()),
            ("source", inspector.source().to_owned()),
        ],
        ..Report::default()
    };
    let page_mapcounts = profile.scheme.info().capabilities.page_mapcounts;
    let options = Options { top: args.top, sum: false, page_mapcounts, depth: Depth::Structs };
    if args.unexpected {
        unexpected(&mut report, &inspector.unexpected()?);
    } else if args.addr.is_some() || args.pfn.is_some() {
        one_folio(inspector, args, &mut report)?;
    } else if chooses(args) {
        chosen_ones(inspector, args, options, &mut report)?;
    } else {
        census(&mut report, &inspector.census()?, Depth::Structs);
        if !args.census {
            let found = inspector.processes(&procs::processes()?, &args.cont)?;
            let options = Options { top: Some(args.top.unwrap_or(FEW)), ..options };
            processes(&mut report, &Seen { found: &found, details: false }, options);
        }
    }
    Ok(report)
}

/// What the chosen processes use, and what is charged to their cgroup.
fn chosen_ones(
    inspector: &mut Inspector,
    args: &Args,
    options: Options,
    report: &mut Report,
) -> Result<(), Unavailable> {
    let chosen = chosen(args)?;
    let found = inspector.processes(&chosen.processes, &args.cont)?;
    // Of a cgroup without processes there is to tell what is charged to it.
    if chosen.group.is_none() {
        chosen.check(&found)?;
    }
    let options = Options { sum: chosen.has_sum(&found), ..options };
    processes(report, &Seen { found: &found, details: true }, options);
    report.notes.extend(chosen.note(&found.missed));
    if let [(process, usage)] = &found.used[..]
        && usage.elsewhere > 0
    {
        others(report, process, &inspector.others(process, &chosen.all)?);
    }
    if args.mappings {
        for (process, _) in &found.used {
            // One that is gone by now has no mappings to show.
            if let Ok(found) = inspector.mappings(process)? {
                mappings(report, process, &found, options);
            }
        }
    }
    if let Some(group) = &chosen.group {
        match inspector.charged(&group.inodes)? {
            _ if !group.has_memory => report.notes.push(format!(
                "What is charged to {} is not known: the memory controller is not at work there (no memory.stat), so that a \
                 cgroup above it, or of another hierarchy, is charged.",
                group.path.display()
            )),
            Some(census) => charged(report, &group.path.display().to_string(), &census),
            None => report.notes.push(
                "What is charged to the cgroup is not known: this kernel has no /proc/kpagecgroup."
                    .to_owned(),
            ),
        }
    }
    Ok(())
}

fn target(pid: u32) -> Result<Process, Unavailable> {
    procs::process(pid).ok_or_else(|| Unavailable::new(no_process(pid), "name a process that is running"))
}

fn one_folio(inspector: &mut Inspector, args: &Args, report: &mut Report) -> Result<(), Unavailable> {
    let frame = match (&args.addr, args.pfn) {
        (Some(place), _) => match inspector.frame(&target(place.pid)?, place.address)? {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                return Err(Unavailable::new(
                    format!("process {} maps nothing at {:#x}", place.pid, place.address),
                    "name an address that it has touched; --pid P --mappings lists its mappings",
                ));
            }
            Err(Missed::Denied) => {
                return Err(Unavailable::new(
                    format!("process {} may not be read", place.pid),
                    "run as root (CAP_SYS_PTRACE)",
                ));
            }
            Err(Missed::Vanished | Missed::NoMemory) => {
                return Err(Unavailable::new(
                    format!("process {} is gone, or has no memory any more", place.pid),
                    "name a process that is running",
                ));
            }
        },
        (None, frame) => frame.unwrap_or_default(),
    };
    let all = procs::processes()?;
    let view = inspector.folio(frame, &all)?.ok_or_else(|| {
        Unavailable::new(format!("there is no frame {frame:#x}"), "name a frame of this machine's memory")
    })?;
    folio(report, &view, inspector.profile().release);
    Ok(())
}
