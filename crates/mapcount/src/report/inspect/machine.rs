//! Sheets about the whole machine: the census, what a cgroup is charged for, references that nobody is known for.

use mapcount_kernel::inspect::{Census, Count, Unexpected};

use super::sheet::{Cell, Column, Report, Sheet, Unit};

macro_rules! columns {
    ($name:ident: $($key:literal $unit:ident $help:literal),+ $(,)?) => {
        const $name: &[Column] = &[$(Column { key: $key, unit: Unit::$unit, help: $help }),+];
    };
}
pub(super) use columns;

columns! { CENSUS:
    "kind" Label "What the folios are used for.",
    "order" Label "Base-2 logarithm of the pages of a folio.",
    "folios" Count "Folios.",
    "memory" Bytes "Bytes of these folios.",
    "by_pmd" Bytes "Bytes of folios that are mapped as a whole and not by PTEs.",
    "by_pte" Bytes "Bytes of folios that PTEs alone map, every page of them.",
    "by_both" Bytes "Bytes of folios that are mapped as a whole and by PTEs too.",
    "partial" Bytes "Bytes of folios of which some pages are mapped and some are not.",
    "partial_folios" Count "Folios of which some pages are mapped and some are not.",
    "unmapped_in_partial" Bytes "Bytes of partially mapped folios that nobody maps.",
    "unmapped" Bytes "Bytes of folios that nobody maps.",
    "deferred" Count "Folios on a deferred split queue.",
    "flagged_partial" Count "Folios that the kernel has flagged as partially mapped.",
    "exclusive" Count "Mapped folios that the kernel takes for one address space's.",
    "maybe_shared" Count "Mapped folios that the kernel takes for shared.",
    "pinned" Count "Folios with FOLL_PIN pins.",
    "unexplained" Count "Folios with references that mappings, caches and pins do not explain.",
    "swapcache" Count "Folios in the swap cache.",
    "mlocked" Count "Folios that are mlocked.",
}

columns! { NODES:
    "node" Label "The NUMA node.",
    "kind" Label "What the folios are used for.",
    "folios" Count "Folios.",
    "memory" Bytes "Bytes of these folios.",
    "partial_folios" Count "Folios of which some pages are mapped and some are not.",
    "unmapped_in_partial" Bytes "Bytes of partially mapped folios that nobody maps.",
    "pinned" Count "Folios with FOLL_PIN pins.",
}

columns! { READING:
    "frames" Count "Frames whose struct page was read.",
    "holes" Count "Frames that have none.",
    "read_again" Count "Folios that were read again because their counters contradicted each other.",
    "unstable" Count "Folios whose counters contradicted each other each time: counted by kind and order alone.",
}

columns! { UNEXPECTED:
    "holder" Label "Who may hold them.",
    "kind" Label "What the folios are used for.",
    "order" Label "Base-2 logarithm of the pages of a folio.",
    "unexplained" Label "References that mappings and caches do not explain, of each folio.",
    "folios" Count "Folios at the first look.",
    "lasting" Count "Folios that had the same references still when the LRU's batches had been drained.",
    "memory" Bytes "Bytes of these folios.",
    "example" Text "The frame of one of them.",
    "meaning" Text "What it can be.",
}

/// What a report was made from, and so what can be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// The words of `struct page`.
    Structs,
    /// kpageflags and kpagecount alone: no references, pins, queues, nor which entries map.
    Files,
}

fn row(count: &Count, depth: Depth) -> Vec<Cell> {
    let estimated = count.pages_estimated > 0;
    let by_structs = |cell: Cell| if depth == Depth::Structs { cell } else { Cell::Unknown };
    vec![
        count.folios.into(),
        Cell::pages(count.pages),
        by_structs(Cell::pages(count.pages_by_pmd)),
        by_structs(Cell::pages(count.pages_by_pte).estimated(estimated)),
        by_structs(Cell::pages(count.pages_both)),
        Cell::pages(count.pages_partial).estimated(estimated),
        Cell::from(count.folios_partial).estimated(estimated),
        Cell::pages(count.pages_held).estimated(estimated),
        Cell::pages(count.pages_unmapped),
        by_structs(count.deferred.into()),
        by_structs(count.flagged_partial.into()),
        by_structs(count.exclusive.into()),
        by_structs(count.maybe_shared.into()),
        by_structs(count.pinned.into()),
        by_structs(count.unexplained.into()),
        count.swapcache.into(),
        count.mlocked.into(),
    ]
}

fn by_kind_and_order(census: &Census, depth: Depth, key: &'static str, title: String) -> Sheet {
    let mut sheet = Sheet::new(key, title, CENSUS);
    for (used, order, count) in census.rows() {
        let mut cells = vec![used.name().into(), order.to_string().into()];
        cells.extend(row(&count, depth));
        sheet.push(cells);
    }
    sheet
}

/// The census of a machine.
pub fn census(report: &mut Report, census: &Census, depth: Depth) {
    report.sheets.push(by_kind_and_order(census, depth, "census", "Memory by kind and order".to_owned()));
    let mut nodes = Sheet::new("node", "Memory by NUMA node", NODES);
    for (node, used, count) in census.nodes() {
        nodes.push(vec![
            node.to_string().into(),
            used.name().into(),
            count.folios.into(),
            Cell::pages(count.pages),
            count.folios_partial.into(),
            Cell::pages(count.pages_held),
            if depth == Depth::Structs { count.pinned.into() } else { Cell::Unknown },
        ]);
    }
    report.sheets.push(nodes);
    let mut reading = Sheet::new("reading", "How it was read", READING);
    reading.push(vec![
        census.frames.into(),
        census.holes.into(),
        census.read_again.into(),
        census.unstable.into(),
    ]);
    report.sheets.push(reading);
}

/// What is charged to a cgroup.
pub fn charged(report: &mut Report, name: &str, census: &Census) {
    report.sheets.push(by_kind_and_order(
        census,
        Depth::Structs,
        "charged",
        format!("Charged to {name} and below"),
    ));
}

/// References that nobody is known for.
pub fn unexpected(report: &mut Report, found: &Unexpected) {
    let mut sheet =
        Sheet::new("unexpected", "References that mappings and caches do not explain", UNEXPECTED);
    for (group, members) in &found.groups {
        sheet.push(vec![
            group.holder.name().into(),
            group.used.name().into(),
            group.order.to_string().into(),
            group.unexplained.to_string().into(),
            members.folios.into(),
            members.lasting.into(),
            Cell::pages(members.folios << group.order),
            format!("{:#x}", members.example).into(),
            group.holder.text().into(),
        ]);
    }
    report.sheets.push(sheet);
    report.notes.push(format!("{} folios were looked at.", found.folios));
    if !found.drained {
        report.notes.push(
            "The LRU's batches could not be drained between the two looks: `lasting` may count those too."
                .to_owned(),
        );
    }
    if found.beyond > 0 {
        report.notes.push(format!("{} more folios are in no group: they were too many.", found.beyond));
    }
}
