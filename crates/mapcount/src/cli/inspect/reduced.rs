//! Reports from what /proc shows, where `struct page`s cannot be read, and what those lack.

use mapcount_kernel::Unavailable;
use mapcount_kernel::inspect::procs::{self, Process};
use mapcount_kernel::inspect::{Files, Own, own};
use mapcount_kernel::live;

use super::{Args, FEW, check_found, chooses, wanted};
use crate::report::inspect::{Depth, Options, Report, Seen, census, processes, unprivileged};

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
        let (_, group, chosen) = wanted(args)?;
        let found = files.processes(&chosen, &args.cont)?;
        check_found(&found, false)?;
        let options = Options { sum: found.used.len() > 1 || group.is_some(), ..options };
        processes(&mut report, &Seen { found: &found, details: true }, options);
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
    let chosen = if chooses(args) { wanted(args)?.2 } else { procs::processes()? };
    let found: Vec<(Process, Own)> =
        chosen.into_iter().filter_map(|process| own(&process).ok().map(|own| (process, own))).collect();
    if found.is_empty() {
        return Err(Unavailable::new(
            format!("none of these processes can be read: {}", missing.what),
            "name a process of your own that is running, or run as root",
        ));
    }
    let mut report = Report {
        about: vec![("kernel", kernel()), ("source", "smaps of processes that may be read".to_owned())],
        ..Report::default()
    };
    unprivileged(&mut report, &found, args.top);
    report.notes.push(format!(
        "Root would see more: every folio of the machine, what partially mapped ones hold, references, pins and verdicts ({}).",
        missing.what
    ));
    Ok(report)
}
