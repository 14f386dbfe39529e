//! Reports from what /proc shows, where `struct page`s cannot be read, and what those lack.

use mapcount_kernel::Unavailable;
use mapcount_kernel::inspect::procs::{self, Process};
use mapcount_kernel::inspect::{Files, Missed, Own, own};
use mapcount_kernel::live;

use super::chosen::chosen;
use super::{Args, FEW, chooses};
use crate::report::inspect::{Depth, Options, Report, Seen, census, processes, skipped, unprivileged};

/// What is not known of a cgroup without the words of `struct page`.
const CHARGED: &str = "What is charged to the cgroup is not known: that takes the words of struct page.";

fn kernel() -> String {
    live::release().unwrap_or_else(|_| "unknown".to_owned())
}

/// What only `struct page`s tell.
fn needs_structs(args: &Args, missing: Option<&Unavailable>) -> Result<(), Unavailable> {
    let asked = [
        (args.unexpected, "--unexpected"),
        (args.addr.is_some(), "--addr"),
        (args.pfn.is_some(), "--pfn"),
        (args.mappings, "--mappings"),
    ];
    match asked.iter().find(|(is, _)| *is) {
        Some((_, option)) => Err(Unavailable::new(
            format!("{option} needs the words of struct page{}", because(missing)),
            "run as root, with --observer bpf or kcore",
        )),
        None => Ok(()),
    }
}

fn because(missing: Option<&Unavailable>) -> String {
    missing.map_or(String::new(), |missing| format!(" ({})", missing.what))
}

/// By kpageflags, kpagecount and pagemap.
pub(super) fn by_files(
    files: &mut Files,
    missing: Option<&Unavailable>,
    args: &Args,
) -> Result<Report, Unavailable> {
    needs_structs(args, missing)?;
    let mut report = Report {
        about: vec![("kernel", kernel()), ("source", "kpageflags, kpagecount and pagemap".to_owned())],
        ..Report::default()
    };
    report.notes.push(format!(
        "References, pins, verdicts, queues and shared folios are not known: /proc does not show struct page{}. \
         Free pages outside of the allocator's lists count as the kernel's.",
        because(missing)
    ));
    let options = Options { top: args.top, sum: false, page_mapcounts: true, depth: Depth::Files };
    if chooses(args) {
        let chosen = chosen(args)?;
        let found = files.processes(&chosen.processes, &args.cont)?;
        chosen.check(&found)?;
        let options = Options { sum: chosen.has_sum(&found), ..options };
        processes(&mut report, &Seen { found: &found, details: true }, options);
        report.notes.extend(chosen.note(&found.missed));
        report.notes.extend(chosen.group.map(|_| CHARGED.to_owned()));
    } else {
        census(&mut report, &files.census()?, Depth::Files);
        if !args.census {
            let found = files.processes(&procs::processes()?, &args.cont)?;
            let options = Options { top: Some(args.top.unwrap_or(FEW)), ..options };
            processes(&mut report, &Seen { found: &found, details: false }, options);
        }
    }
    if !files.knows_pmds {
        report.notes.push(
            "Which pages PMDs map is guessed from smaps: this kernel has no PAGEMAP_SCAN (6.7). Where some of a mapping \
             are, all that can be count as such."
                .to_owned(),
        );
    }
    Ok(report)
}

/// By smaps of one's own processes.
pub(super) fn own_processes(missing: &Unavailable, args: &Args) -> Result<Report, Unavailable> {
    needs_structs(args, Some(missing))?;
    if args.census {
        return Err(Unavailable::new(
            format!("a census needs more than smaps: {}", missing.what),
            "run as root",
        ));
    }
    let chosen = chosen(args)?;
    let wanted = if chooses(args) { &chosen.processes } else { &chosen.all };
    let mut found: Vec<(Process, Own)> = Vec::new();
    let mut missed: Vec<(Process, Missed)> = Vec::new();
    for process in wanted {
        match own(process) {
            Ok(own) => found.push((process.clone(), own)),
            Err(why) => missed.push((process.clone(), why)),
        }
    }
    if found.is_empty() {
        return Err(chosen.nothing(&missed));
    }
    let mut report = Report {
        about: vec![("kernel", kernel()), ("source", "smaps of processes that may be read".to_owned())],
        ..Report::default()
    };
    unprivileged(&mut report, &found, args.top);
    skipped(&mut report, &missed, 0);
    report.notes.extend(chosen.note(&missed));
    report.notes.extend(chosen.group.map(|_| CHARGED.to_owned()));
    report.notes.push(format!(
        "Root would see more: every folio of the machine, what partially mapped ones hold, references, pins and verdicts ({}).",
        missing.what
    ));
    Ok(report)
}
