//! Sheets about processes: what they use, how it is mapped, what partially mapped folios hold.

use mapcount_kernel::inspect::procs::Process;
use mapcount_kernel::inspect::{Mapping, Missed, Other, Own, Processes, Usage};

use super::machine::{Depth, columns};
use super::sheet::{Cell, Column, Report, Sheet, Unit};

columns! { PROCESSES:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "rss" Bytes "Bytes that it maps, without hugetlb.",
    "pss" Bytes "Its share of them by the map count of each page, as kernels with page map counts report it.",
    "pss_average" Bytes "Its share by the average map count of each folio, as kernels without page map counts report it.",
    "pss_error" Bytes "How much the average is above the share by pages.",
    "uss" Bytes "Bytes of pages that one entry maps, this process's.",
    "uss_folio" Bytes "Bytes of folios that the kernel does not take for shared.",
    "uss_error" Bytes "How much the kernel's answer for folios is above that for pages.",
    "anon" Bytes "Anonymous bytes.",
    "file" Bytes "Bytes of files.",
    "shmem" Bytes "Bytes of shmem.",
    "ksm" Bytes "Anonymous bytes that KSM merged.",
    "hugetlb" Bytes "Bytes of hugetlb, which Rss does not count.",
    "held" Bytes "Held but not mapped: bytes of its partially mapped anonymous folios that nobody maps.",
    "elsewhere" Bytes "Bytes of its anonymous folios that others map and it does not.",
    "partial_folios" Count "Folios with held bytes.",
    "pinned_folios" Count "Large folios with FOLL_PIN pins.",
    "pinned" Bytes "Bytes of those folios.",
    "unstable" Count "Folios that did not hold still: in Rss alone.",
}

columns! { COVERAGE:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "class" Label "Anonymous memory, or that of files and shmem.",
    "order" Label "Base-2 logarithm of the pages of a folio.",
    "folio" Bytes "Bytes of one folio.",
    "by_pmd" Bytes "Bytes that entries for the whole map.",
    "pte_aligned" Bytes "Bytes of folios that PTEs map whole, at a multiple of their size.",
    "pte_unaligned" Bytes "Bytes of folios that PTEs map whole, at another address.",
    "pte_partial" Bytes "Bytes that PTEs map of folios that they do not map whole.",
}

columns! { BLOCKS:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "class" Label "Anonymous memory, or that of files and shmem.",
    "size" Label "Bytes of a block.",
    "contiguous" Bytes "Bytes in blocks that PTEs map, aligned in memory and in the address space, each of one folio.",
}

columns! { PARTIAL:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "order" Label "Base-2 logarithm of the pages of a folio.",
    "can_split" Label "Whether a split would succeed now.",
    "reason" Label "Why.",
    "folios" Count "Partially mapped folios.",
    "held" Bytes "Bytes of them that nobody maps.",
    "deferred" Count "Those that are queued for a split when memory is short.",
    "meaning" Text "The verdict in words.",
}

columns! { OTHERS:
    "pid" Label "A process that maps the same anonymous folios.",
    "comm" Label "The name of its program.",
    "maps" Bytes "Bytes of them that it maps.",
}

columns! { MISSED:
    "reason" Label "Why processes were not looked at.",
    "processes" Count "How many.",
}

columns! { MAPPINGS:
    "address" Label "Where it starts.",
    "access" Label "What is allowed, as /proc shows it.",
    "name" Label "The file, or what it is for.",
    "size" Bytes "Its size.",
    "rss" Bytes "Bytes that are mapped.",
    "pss" Bytes "The process's share by the map count of each page.",
    "uss" Bytes "Bytes of pages that one entry maps.",
    "anon" Bytes "Anonymous bytes.",
    "held" Bytes "Bytes of its partially mapped anonymous folios that nobody maps.",
    "partial_folios" Count "Folios with held bytes.",
    "pinned_folios" Count "Large folios with FOLL_PIN pins.",
}

columns! { SMAPS:
    "pid" Label "The process.",
    "comm" Label "The name of its program.",
    "rss" Bytes "Bytes that it maps.",
    "pss" Bytes "Its share, as the kernel computes it.",
    "uss" Bytes "Private bytes, as the kernel computes them.",
    "anon" Bytes "Anonymous bytes.",
    "anon_by_pmd" Bytes "Anonymous bytes that PMDs map.",
    "swap" Bytes "Bytes in swap.",
}

/// What to show of processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// So many processes at most, those that hold most first, then those with the largest Rss.
    pub top: Option<usize>,
    /// Add up all of them in one more row.
    pub sum: bool,
    /// Pages have map counts of their own in this kernel.
    pub page_mapcounts: bool,
    /// What it was made from.
    pub depth: Depth,
}

fn difference(left: u64, right: u64) -> Cell {
    Cell::Number(i64::try_from(i128::from(left) - i128::from(right)).unwrap_or(i64::MAX))
}

fn row(pid: Cell, comm: &str, usage: &Usage, options: Options) -> Vec<Cell> {
    let by_structs = |cell: Cell| if options.depth == Depth::Structs { cell } else { Cell::Unknown };
    let exact = |cell: Cell| if options.page_mapcounts { cell } else { Cell::Unknown };
    let both = |cell: Cell| by_structs(exact(cell));
    vec![
        pid,
        comm.into(),
        Cell::pages(usage.rss()),
        exact(Cell::number(usage.pss_bytes())),
        by_structs(Cell::number(usage.pss_average_bytes()).estimated(true)),
        both(difference(usage.pss_average_bytes(), usage.pss_bytes())),
        exact(Cell::pages(usage.unique)),
        by_structs(Cell::pages(usage.unique_estimated).estimated(true)),
        both(difference(usage.unique_estimated * 4096, usage.unique * 4096)),
        Cell::pages(usage.anon),
        Cell::pages(usage.file),
        Cell::pages(usage.shmem),
        Cell::pages(usage.ksm),
        Cell::pages(usage.hugetlb),
        Cell::pages(usage.held).estimated(usage.held_estimated),
        Cell::pages(usage.elsewhere).estimated(usage.held_estimated),
        usage.partial_folios().into(),
        by_structs(usage.pinned.into()),
        by_structs(Cell::pages(usage.pinned_pages)),
        usage.unstable.into(),
    ]
}

/// Which processes, and whether they are shown one by one.
pub struct Seen<'a> {
    /// What they use.
    pub found: &'a Processes,
    /// Show coverage, blocks and partially mapped folios of each.
    pub details: bool,
}

/// What processes use.
pub fn processes(report: &mut Report, seen: &Seen<'_>, options: Options) {
    let found = seen.found;
    let mut shown: Vec<&(Process, Usage)> = found.used.iter().collect();
    shown.sort_by_key(|(process, usage)| {
        (std::cmp::Reverse(usage.held), std::cmp::Reverse(usage.rss()), process.pid)
    });
    shown.truncate(options.top.unwrap_or(usize::MAX));
    let mut sheet = Sheet::new("process", "Processes", PROCESSES);
    for (process, usage) in &shown {
        sheet.push(row(process.pid.to_string().into(), &process.comm, usage, options));
    }
    report.sheets.push(sheet);
    if options.sum {
        let mut sum = Usage::default();
        found.used.iter().for_each(|(_, usage)| sum.add(usage));
        let mut sheet = Sheet::new("together", "All of them together", PROCESSES);
        sheet.push(row("all".into(), "", &sum, options));
        report.sheets.push(sheet);
        if sum.held > 0 && found.used.len() > 1 {
            report.notes.push(
                "Folios that several of these map partially are held once; the sum counts them for each."
                    .to_owned(),
            );
        }
    }
    if seen.details {
        details(report, &shown);
    }
    skipped(report, &found.missed, found.same.len());
    if found.walked.unstable > 0 {
        report.notes.push(format!(
            "{} parts of page tables (128 MiB of addresses each) changed each time that they were read and are left out.",
            found.walked.unstable
        ));
    }
}

fn details(report: &mut Report, shown: &[&(Process, Usage)]) {
    let mut partial =
        Sheet::new("partial", "Partially mapped anonymous folios, by verdict on a split", PARTIAL);
    let mut coverage = Sheet::new("coverage", "Large folios, by how they are mapped", COVERAGE);
    let mut blocks = Sheet::new("block", "Contiguous blocks", BLOCKS);
    for (process, usage) in shown {
        let name = || [Cell::from(process.pid.to_string()), Cell::from(process.comm.as_str())];
        for ((order, can, why), found) in &usage.partial {
            let mut cells = name().to_vec();
            let can = can.map_or("unknown", |can| if can { "yes" } else { "no" });
            cells.extend([
                order.to_string().into(),
                can.into(),
                why.key().into(),
                found.folios.into(),
                Cell::pages(found.held).estimated(usage.held_estimated),
                found.deferred.into(),
                verdict_in_words(can, why.text()).into(),
            ]);
            partial.push(cells);
        }
        for (class, order, cover) in usage.covers() {
            let mut cells = name().to_vec();
            cells.extend([
                class.name().into(),
                order.to_string().into(),
                Cell::pages(1 << order),
                Cell::pages(cover.pmd),
                Cell::pages(cover.aligned),
                Cell::pages(cover.unaligned),
                Cell::pages(cover.partial),
            ]);
            coverage.push(cells);
        }
        for ((order, class), pages) in &usage.blocks {
            let mut cells = name().to_vec();
            cells.extend([class.name().into(), (4096u64 << order).to_string().into(), Cell::pages(*pages)]);
            blocks.push(cells);
        }
    }
    report.sheets.extend([partial, coverage, blocks]);
}

fn verdict_in_words(can: &str, why: &str) -> String {
    match can {
        "yes" => format!("can be split: {why}"),
        "no" => format!("cannot be split: {why}"),
        _ => why.to_owned(),
    }
}

/// Processes that were not looked at, and those that share their memory with one that was.
pub fn skipped(report: &mut Report, missed: &[(Process, Missed)], same: usize) {
    let reasons =
        [(Missed::Vanished, "vanished"), (Missed::Denied, "denied"), (Missed::NoMemory, "no-memory")];
    let mut sheet = Sheet::new("skipped", "Processes that were not looked at", MISSED);
    for (reason, name) in reasons {
        let count = missed.iter().filter(|(_, why)| *why == reason).count();
        if count > 0 {
            sheet.push(vec![name.into(), Cell::number(count as u64)]);
        }
    }
    if same > 0 {
        sheet.push(vec!["same-memory".into(), Cell::number(same as u64)]);
    }
    report.sheets.push(sheet);
}

/// Who maps the same anonymous folios.
pub fn others(report: &mut Report, process: &Process, others: &[Other]) {
    let title = format!("Others that map anonymous large folios of {} ({})", process.pid, process.comm);
    let mut sheet = Sheet::new("other", title, OTHERS);
    for other in others {
        sheet.push(vec![
            other.process.pid.to_string().into(),
            other.process.comm.as_str().into(),
            Cell::pages(other.pages),
        ]);
    }
    report.sheets.push(sheet);
}

/// The mappings of a process.
pub fn mappings(report: &mut Report, process: &Process, mappings: &[Mapping], options: Options) {
    let title = format!("Mappings of {} ({})", process.pid, process.comm);
    let mut sheet = Sheet::new("mapping", title, MAPPINGS);
    for Mapping { area, usage, .. } in mappings {
        let exact = |cell: Cell| if options.page_mapcounts { cell } else { Cell::Unknown };
        sheet.push(vec![
            format!("{:#x}", area.start * 4096).into(),
            area.access.as_str().into(),
            area.name.as_str().into(),
            Cell::pages(area.end - area.start),
            Cell::pages(usage.rss()),
            exact(Cell::number(usage.pss_bytes())),
            exact(Cell::pages(usage.unique)),
            Cell::pages(usage.anon),
            Cell::pages(usage.held).estimated(usage.held_estimated),
            usage.partial_folios().into(),
            usage.pinned.into(),
        ]);
    }
    if let Some(top) = options.top {
        sheet.top("rss", top);
    }
    report.sheets.push(sheet);
}

/// What /proc tells a user of his own processes.
pub fn unprivileged(report: &mut Report, found: &[(Process, Own)], top: Option<usize>) {
    let mut sheet = Sheet::new("own", "Processes", SMAPS);
    for (process, own) in found {
        let mut cells = vec![process.pid.to_string().into(), process.comm.as_str().into()];
        cells.extend([own.rss, own.pss, own.uss, own.anon, own.anon_by_pmd, own.swap].map(Cell::number));
        sheet.push(cells);
    }
    sheet.top("rss", top.unwrap_or(usize::MAX));
    report.sheets.push(sheet);
}
