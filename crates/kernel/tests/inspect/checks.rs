//! What the inspector says of memory that is made here, against what /proc says of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use mapcount_kernel::inspect::procs::{Process, process, processes};
use mapcount_kernel::inspect::{By, Files, Holder, Inspector, Missed, Usage, View};
use mapcount_kernel::observer::Choice;
use mapcount_kernel::{Unavailable, require};
use mapcount_model::query::Answer;
use mapcount_model::verdict::Reason;

use crate::memory::{Area, Child, HUGE, PAGE, Ring, Spliced};

/// The inspector, by the way to look that is asked for.
pub(crate) fn inspector(test: &str, choice: Choice) -> Option<Inspector> {
    require::or_skip(test, Inspector::open(choice, false))
}

pub(crate) fn of(pid: u32) -> Process {
    process(pid).expect("it lives")
}

pub(crate) fn usage(inspector: &mut Inspector, pid: u32) -> Usage {
    let mut found = inspector.processes(&[of(pid)], &[]).expect("readable");
    assert_eq!(found.missed, []);
    found.used.remove(0).1
}

/// kB of a line of a file of /proc.
fn kilobytes(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).expect("readable");
    let of_line = |line: &str| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok();
    text.lines().filter_map(of_line).sum()
}

fn word(file: &File, index: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, index * 8).expect("readable");
    u64::from_le_bytes(bytes)
}

fn folio_at(inspector: &mut Inspector, pid: u32, address: u64) -> View {
    let frame = inspector.frame(&of(pid), address).expect("readable").expect("alive").expect("mapped");
    inspector.folio(frame, &[of(pid)]).expect("readable").expect("a frame")
}

/// THPs of a child that sleeps, as many as the machine gave.
fn huge(pages: usize, prepare: impl Fn(&Area)) -> (Child, u64) {
    let area = Area::huge(pages);
    let child = Child::new(|| {
        area.touch();
        prepare(&area);
    });
    (child, area.address())
}

/// THPs that a test may have: 2 GiB of them, or an eighth of the memory that is available.
fn room() -> usize {
    let available = kilobytes("/proc/meminfo", "MemAvailable:") as usize;
    (available / 8 / 2048).clamp(1, 1024)
}

/// Bytes of THPs that some page is not mapped of, by the kernel's own count (6.12 on).
fn partially_mapped() -> Option<u64> {
    let path = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon_partially_mapped";
    Some(fs::read_to_string(path).ok()?.trim().parse().expect("a number"))
}

/// Pages of a THP that are given back, by the number of the THP.
type Dropped = fn(usize) -> Box<dyn Iterator<Item = Range<usize>>>;

/// The half of each THP, or more, is given back in one way or another: the pages that each holds then.
const PATTERNS: [(&str, u64, Dropped); 4] = [
    ("the second half", 256, |_| Box::new(std::iter::once(256..512))),
    ("every second page", 256, |_| Box::new((1..512).step_by(2).map(|page| page..page + 1))),
    ("one half or the other", 256, |thp| {
        let from = thp % 2 * 256;
        Box::new(std::iter::once(from..from + 256))
    }),
    ("all but one page", 511, |_| Box::new(std::iter::once(1..512))),
];

pub(crate) fn a_half_unmapped_thp_is_named_with_the_bytes_that_it_holds(choice: Choice) {
    let Some(mut inspector) = inspector("half-unmapped", choice) else { return };
    let thps = room();
    let (whole, _) = huge(thps, |_| {});
    if !has_thp(&format!("/proc/{}/smaps", whole.pid())) {
        return;
    }
    drop(whole);
    // The first way with as much as there is room for: 2 GiB.
    for (number, pattern) in PATTERNS.iter().enumerate() {
        held_by_pattern(&mut inspector, if number == 0 { thps } else { thps.min(32) }, pattern);
    }
}

/// Whether a process has a THP; a test that needs one fails without, where it must not be skipped.
fn has_thp(smaps: &str) -> bool {
    let has = kilobytes(smaps, "AnonHugePages:") > 0;
    let told = if has { Ok(()) } else { Err(Unavailable::new("no THP was to be had", "free some memory")) };
    require::or_skip("THP", told).is_some()
}

fn held_by_pattern(inspector: &mut Inspector, thps: usize, (name, each, dropped): &(&str, u64, Dropped)) {
    let before = partially_mapped();
    let (child, address) = huge(thps, |area| {
        for thp in 0..thps {
            for pages in dropped(thp) {
                area.dontneed(thp * HUGE + pages.start * PAGE, pages.len() * PAGE);
            }
        }
        area.keep_as_it_is();
    });
    let after = partially_mapped();
    // Of the process as a whole there may be more: its heap can have THPs too.
    let all = usage(inspector, child.pid());
    assert_eq!(all.rss() * 4, kilobytes(&format!("/proc/{}/smaps_rollup", child.pid()), "Rss:"), "{name}");
    let mappings = inspector.mappings(&of(child.pid())).expect("readable").expect("alive");
    let page = address / PAGE as u64;
    let area = mappings.iter().find(|mapping| (mapping.area.start..mapping.area.end).contains(&page));
    let usage = &area.expect("mapped").usage;
    let folios = usage.partial_folios();
    assert!(folios > 0 && all.partial_folios() >= folios, "{name}: {usage:?}");
    assert_eq!(usage.held, folios * each, "{name}: of each");
    assert!(all.held >= usage.held, "{name}: {all:?}");
    for ((order, can, why), partial) in &usage.partial {
        assert_eq!((*order, *can, *why), (9, Some(true), Reason::Explained), "{name}");
        assert_eq!(partial.deferred, partial.folios, "{name}");
    }
    if let (Some(before), Some(after)) = (before, after) {
        assert!(after >= folios, "{name}: the system knows {after}, {folios} were found");
        // Where nobody else is at work they are the same ones, but for the heap's.
        let is_near = after.saturating_sub(before).abs_diff(folios) < 4;
        assert!(is_near || !crate::is_guest(), "{name}: {before}, {after}: {folios} were found");
    }
    let census = inspector.census().expect("readable").of(mapcount_kernel::inspect::Use::Anon, 9);
    assert!(census.folios_partial >= folios && census.pages_held >= usage.held, "{name}: {census:?}");
    let mapped = mappings.iter().flat_map(|mapping| &mapping.extents).find(|extent| extent.page >= page);
    let view = folio_at(inspector, child.pid(), mapped.expect("a page is left").page * PAGE as u64);
    assert!(view.stable);
    assert_eq!((view.head.order, view.mapped_pages), (9, Answer::Exact(512 - *each as u32)), "{name}");
    assert_eq!(view.split.map(|verdict| verdict.can), Some(Some(true)), "{name}");
    let mapped: u32 = view.mappers.iter().map(|mapper| mapper.extent.pages).sum();
    assert_eq!(u64::from(mapped), 512 - each, "{name}");
    assert!(view.mappers.iter().all(|mapper| mapper.extent.by == By::Pte), "{name}");
    has_counts_of_kpagecount(&view);
}

pub(crate) fn a_registered_buffer_is_one_pin_and_hinders_a_split(choice: Choice) {
    let Some(mut inspector) = inspector("registered buffer", choice) else { return };
    let area = Area::huge(1);
    area.touch();
    let Some(_ring) = require::or_skip("registered buffer", Ring::register(&area, 5 * PAGE, PAGE)) else {
        return;
    };
    if !has_thp("/proc/self/smaps") {
        return;
    }
    let view = folio_at(&mut inspector, std::process::id(), area.address());
    let references = view.references.expect("mapped");
    assert_eq!((references.pins, references.rest), (Answer::Exact(1), 0), "{references:?}");
    let split = view.split.expect("mapped");
    assert_eq!((split.can, split.why), (Some(false), Reason::Pinned));
    assert_eq!(view.migrate.expect("mapped").why, Reason::Pinned);
    assert_eq!(view.holder, Some(Holder::Pins));
    let found = inspector.unexpected().expect("readable");
    let pins = |group: &mapcount_kernel::inspect::Group| group.holder == Holder::Pins && group.order == 9;
    assert!(found.groups.iter().any(|(group, members)| pins(group) && members.lasting > 0), "{found:?}");
}

pub(crate) fn a_spliced_page_has_a_reference_that_lasts(choice: Choice) {
    let Some(mut inspector) = inspector("spliced", choice) else { return };
    let area = Area::small(4);
    area.touch();
    let _pipe = Spliced::new(&area);
    mapcount_kernel::inspect::drain_lru();
    let view = folio_at(&mut inspector, std::process::id(), area.address());
    let references = view.references.expect("mapped");
    assert_eq!((references.all, references.mappings, references.rest), (2, 1, 1), "{view:?}");
    assert_eq!(view.holder, Some(Holder::Somebody));
    assert_eq!(view.migrate.map(|verdict| (verdict.can, verdict.why)), Some((Some(false), Reason::Held)));
}

pub(crate) fn rss_pss_and_private_bytes_are_those_of_smaps(choice: Choice) {
    let Some(mut inspector) = inspector("smaps", choice) else { return };
    let areas = [Area::huge(4), Area::small(500)];
    areas.iter().for_each(Area::touch);
    // Two children share what this process has; one of them copies a part.
    let first = Child::new(|| areas[1].touch_some(100));
    let second = Child::new(|| areas[0].dontneed(3 * PAGE, 77 * PAGE));
    for child in [&first, &second] {
        let rollup = format!("/proc/{}/smaps_rollup", child.pid());
        let shares = || {
            let private = ["Private_Clean:", "Private_Dirty:"].map(|key| kilobytes(&rollup, key));
            (kilobytes(&rollup, "Pss:"), private.iter().sum::<u64>())
        };
        // What this process writes to meanwhile, the child has to itself from then on: its shares grow.
        let before = shares();
        let found = usage(&mut inspector, child.pid());
        let after = shares();
        assert_eq!(found.unstable, 0);
        assert_eq!(found.rss() * 4, kilobytes(&rollup, "Rss:"), "{found:?}");
        assert_eq!(found.anon * 4, kilobytes(&rollup, "Anonymous:"));
        let has_counts = inspector.profile().scheme.info().capabilities.page_mapcounts;
        let pss = if has_counts { found.pss_bytes() } else { found.pss_average_bytes() } / 1024;
        // Each area's is rounded down.
        assert!((before.0..=after.0 + 8).contains(&pss), "{pss} kB, smaps {before:?} {after:?}");
        if has_counts {
            assert!((before.1..=after.1).contains(&(found.unique * 4)), "{found:?} {before:?} {after:?}");
        }
        let by_pmd: u64 = found.covers().map(|(_, _, cover)| cover.pmd).sum();
        let pmd_mapped = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];
        let smaps = format!("/proc/{}/smaps", child.pid());
        assert_eq!(by_pmd * 4, pmd_mapped.iter().map(|key| kilobytes(&smaps, key)).sum::<u64>());
    }
}

pub(crate) fn page_tables_say_what_pagemap_says(choice: Choice) {
    let Some(mut inspector) = inspector("pagemap", choice) else { return };
    let (child, _) = huge(3, |area| {
        area.protect(HUGE + 7 * PAGE, PAGE);
        area.dontneed(2 * HUGE, 5 * PAGE);
    });
    // kcompactd may move a page in between, so that one of the two does not see it.
    let mut differences = Vec::new();
    for _ in 0..5 {
        let pages;
        (pages, differences) = compare_with_pagemap(&mut inspector, child.pid());
        assert!(pages > 1000, "{pages} pages were compared");
        if differences.is_empty() {
            break;
        }
    }
    assert!(differences.is_empty(), "{differences:x?}");
}

/// Pages that were compared, and those where page tables and pagemap disagree: the page, and the frame by each.
fn compare_with_pagemap(inspector: &mut Inspector, pid: u32) -> (u64, Vec<(u64, Option<u64>, u64)>) {
    let mappings = inspector.mappings(&of(pid)).expect("readable").expect("alive");
    let pagemap = File::open(format!("/proc/{pid}/pagemap")).expect("readable");
    let (mut pages, mut differences) = (0, Vec::new());
    for mapping in &mappings {
        let mut walked: BTreeMap<u64, u64> = BTreeMap::new();
        for extent in &mapping.extents {
            walked.extend((0..u64::from(extent.pages)).map(|n| (extent.page + n, extent.frame + n)));
        }
        if mapping.area.name == "[vsyscall]" || mapping.area.end - mapping.area.start > 1 << 20 {
            continue;
        }
        for page in mapping.area.start..mapping.area.end {
            let word = word(&pagemap, page);
            let present = word >> 63 == 1;
            let same = match walked.get(&page) {
                Some(frame) => present && word & ((1 << 55) - 1) == *frame,
                // Pagemap shows special entries too (vvar, the zero page), which nothing counts.
                None => !present || is_special(word),
            };
            if !same {
                differences.push((page, walked.get(&page).copied(), word));
            }
            pages += u64::from(present);
        }
    }
    (pages, differences)
}

/// Whether a frame that pagemap tells is the zero page's, or no memory's.
fn is_special(word: u64) -> bool {
    let flags = File::open("/proc/kpageflags").expect("readable");
    let mut bytes = [0; 8];
    match flags.read_exact_at(&mut bytes, (word & ((1 << 55) - 1)) * 8) {
        // KPF_NOPAGE, KPF_ZERO_PAGE, KPF_RESERVED
        Ok(()) => u64::from_le_bytes(bytes) & (1 << 20 | 1 << 24 | 1 << 32) != 0,
        Err(_) => true,
    }
}

pub(crate) fn map_counts_are_those_of_kpagecount(choice: Choice) {
    let Some(mut inspector) = inspector("kpagecount", choice) else { return };
    let area = Area::huge(1);
    area.touch();
    let _first = Child::new(|| {});
    let _second = Child::new(|| area.dontneed(10 * PAGE, 33 * PAGE));
    let view = folio_at(&mut inspector, std::process::id(), area.address());
    has_counts_of_kpagecount(&view);
}

/// The map count of each page that is known is what /proc/kpagecount says.
fn has_counts_of_kpagecount(view: &View) {
    let counts = File::open("/proc/kpagecount").expect("readable");
    let mut page = view.first;
    for (pages, count) in &view.mapcounts {
        for _ in 0..*pages {
            if let Answer::Exact(count) = count {
                assert_eq!(word(&counts, page), *count as u64, "page {}", page - view.first);
            }
            page += 1;
        }
    }
    assert_eq!(page - view.first, view.head.pages());
}

pub(crate) fn who_shares_a_folio_is_found(choice: Choice) {
    let Some(mut inspector) = inspector("others", choice) else { return };
    let area = Area::huge(2);
    area.touch();
    let child = Child::new(|| {});
    let all = processes().expect("readable");
    let others = inspector.others(&of(std::process::id()), &all).expect("readable");
    let found = others.iter().find(|other| other.process.pid == child.pid());
    if has_thp("/proc/self/smaps") {
        assert!(found.is_some_and(|other| other.pages >= 512), "{others:?}");
    }
}

pub(crate) fn the_census_counts_every_frame_and_what_is_mapped(choice: Choice) {
    let Some(mut inspector) = inspector("census", choice) else { return };
    let before = inspector.census().expect("readable");
    let area = Area::huge(16);
    area.touch();
    let after = inspector.census().expect("readable");
    let own = usage(&mut inspector, std::process::id());
    let mapped = own.cover(mapcount_kernel::inspect::Class::Anon, 9).pmd;
    let thps = after.of(mapcount_kernel::inspect::Use::Anon, 9);
    assert!(thps.pages_by_pmd + thps.pages_both >= mapped, "{thps:?}, {mapped} of them here");
    assert!(after.total(mapcount_kernel::inspect::Use::Anon).pages >= own.anon);
    assert_eq!(before.frames, after.frames);
    // Every frame is counted once, but for what changed while it was looked at.
    let counted: u64 = after.rows().map(|(_, _, count)| count.pages).sum();
    assert!(counted.abs_diff(after.frames) < after.frames / 100, "{counted} of {}", after.frames);
}

pub(crate) fn who_is_gone_is_said_and_skipped(choice: Choice) {
    let Some(mut inspector) = inspector("gone", choice) else { return };
    let gone = Process { pid: 0x3fff_ffff, parent: 1, comm: "gone".to_owned() };
    let found = inspector.processes(&[gone.clone(), of(std::process::id())], &[]).expect("readable");
    assert_eq!(found.missed, [(gone, Missed::Vanished)]);
    assert_eq!(found.used.len(), 1);
}

/// What can be known without counters: the same by /proc, by page tables and by pagemap.
pub(crate) fn every_way_to_look_says_the_same(choice: Choice) {
    let Some(mut inspector) = inspector("observers", choice) else { return };
    let Some(mut by_pagemap) = require::or_skip("observers", Inspector::open(choice, true)) else { return };
    let Some(mut files) = require::or_skip("observers", Files::open()) else { return };
    let areas = [Area::huge(3), Area::small(3000)];
    areas.iter().for_each(Area::touch);
    let child = Child::new(|| {
        areas[0].dontneed(HUGE, 100 * PAGE);
        areas[1].touch_some(20);
        // More pieces than PAGEMAP_SCAN tells at once, and no multiple of that.
        (300..3000).step_by(2).for_each(|page| areas[1].dontneed(page * PAGE, PAGE));
    });
    // What this process writes to, the child has to itself from then on: until nothing is new any more, sums change.
    let mut differences = Vec::new();
    for _ in 0..10 {
        differences = by_every_way(&mut inspector, &mut by_pagemap, &mut files, child.pid());
        if differences.is_empty() {
            return;
        }
    }
    panic!("{differences:?}");
}

/// What page tables, pagemap and /proc say differently of a process.
fn by_every_way(
    inspector: &mut Inspector,
    by_pagemap: &mut Inspector,
    files: &mut Files,
    pid: u32,
) -> Vec<(&'static str, [u64; 3])> {
    let first = usage(inspector, pid);
    let second = usage(by_pagemap, pid);
    let third = files.processes(&[of(pid)], &[]).expect("readable").used.remove(0).1;
    let each = |value: fn(&Usage) -> u64| [&first, &second, &third].map(value);
    let large = |usage: &Usage| -> u64 { usage.covers().map(|(_, _, cover)| cover.pages()).sum() };
    let mut values = vec![
        ("rss", each(Usage::rss)),
        ("anon", each(|usage| usage.anon)),
        ("shmem", each(|usage| usage.shmem)),
        ("ksm", each(|usage| usage.ksm)),
        ("large", each(large)),
    ];
    if inspector.profile().scheme.info().capabilities.page_mapcounts {
        values.push(("pss", each(|usage| usage.pss_bytes() / 4096)));
        values.push(("unique", each(|usage| usage.unique)));
        values.push(("held", each(|usage| usage.held)));
        values.push(("elsewhere", each(|usage| usage.elsewhere)));
    }
    values.retain(|(_, [first, second, third])| first != second || first != third);
    values
}
