//! The inspector on the running kernel, as root: what it says of memory that these tests make, against what /proc says.

mod memory;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mapcount_kernel::inspect::procs::{Process, cgroup, process, processes};
use mapcount_kernel::inspect::{By, Holder, Inspector, Missed, Usage, View};
use mapcount_kernel::observer::Choice;
use mapcount_kernel::{Unavailable, require};
use mapcount_model::query::Answer;
use mapcount_model::verdict::Reason;
use memory::{Area, Child, HUGE, PAGE, Ring, Spliced};

/// One test at a time: what one forks shares the memory of all.
static ALONE: Mutex<()> = Mutex::new(());

/// The inspector, with nobody else at work.
struct Alone {
    inspector: Inspector,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Inspector;

    fn deref(&self) -> &Inspector {
        &self.inspector
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Inspector {
        &mut self.inspector
    }
}

fn inspector(test: &str) -> Option<Alone> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let inspector = require::or_skip(test, Inspector::open(Choice::Auto, false))?;
    Some(Alone { inspector, _alone: alone })
}

fn of(pid: u32) -> Process {
    process(pid).expect("it lives")
}

fn usage(inspector: &mut Inspector, pid: u32) -> Usage {
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

#[test]
fn a_half_unmapped_thp_is_named_with_the_bytes_that_it_holds() {
    let Some(mut inspector) = inspector("half-unmapped") else { return };
    let path = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon_partially_mapped";
    let (whole, _) = huge(32, |_| {});
    let thps = kilobytes(&format!("/proc/{}/smaps", whole.pid()), "AnonHugePages:") / 2048;
    drop(whole);
    let Some(()) = require::or_skip(
        "half-unmapped",
        if thps > 0 { Ok(()) } else { Err(Unavailable::new("no THP was to be had", "free some memory")) },
    ) else {
        return;
    };
    let (child, address) = huge(32, |area| {
        for huge in 0..32 {
            area.dontneed(huge * HUGE + HUGE / 2, HUGE / 2);
        }
    });
    let usage = usage(&mut inspector, child.pid());
    // What is mapped still of folios of order 9 is what each of them has lost.
    let mapped = kilobytes(&format!("/proc/{}/smaps_rollup", child.pid()), "Rss:") / 4;
    assert_eq!(usage.rss(), mapped);
    let folios = usage.partial_folios();
    assert!(folios > 0, "{usage:?}");
    assert_eq!(usage.held, folios * 256, "half of each");
    for ((order, can, why), partial) in &usage.partial {
        assert_eq!((*order, *can, *why), (9, Some(true), Reason::Explained));
        assert_eq!(partial.deferred, partial.folios);
    }
    if let Ok(system) = fs::read_to_string(path) {
        let system: u64 = system.trim().parse().expect("a number");
        assert!(system >= folios, "the system knows {system}, {folios} were found");
    }
    let view = folio_at(&mut inspector, child.pid(), address);
    assert!(view.stable);
    assert_eq!((view.head.order, view.mapped_pages), (9, Answer::Exact(256)));
    assert_eq!(view.split.map(|verdict| verdict.can), Some(Some(true)));
    assert_eq!(view.mappers.len(), 1);
    assert_eq!((view.mappers[0].extent.pages, view.mappers[0].extent.by), (256, By::Pte));
}

#[test]
fn a_registered_buffer_is_one_pin_and_hinders_a_split() {
    let Some(mut inspector) = inspector("registered buffer") else { return };
    let area = Area::huge(1);
    area.touch();
    let Some(_ring) = require::or_skip("registered buffer", Ring::register(&area, 5 * PAGE, PAGE)) else {
        return;
    };
    let view = folio_at(&mut inspector, std::process::id(), area.address());
    if view.head.order == 0 {
        return eprintln!("registered buffer: skipped: no THP was to be had");
    }
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

#[test]
fn a_spliced_page_has_a_reference_that_lasts() {
    let Some(mut inspector) = inspector("spliced") else { return };
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

#[test]
fn rss_pss_and_private_bytes_are_those_of_smaps() {
    let Some(mut inspector) = inspector("smaps") else { return };
    let areas = [Area::huge(4), Area::small(500)];
    areas.iter().for_each(Area::touch);
    // Two children share what this process has; one of them copies a part.
    let first = Child::new(|| areas[1].touch_some(100));
    let second = Child::new(|| areas[0].dontneed(3 * PAGE, 77 * PAGE));
    for child in [&first, &second] {
        let rollup = format!("/proc/{}/smaps_rollup", child.pid());
        let found = usage(&mut inspector, child.pid());
        assert_eq!(found.unstable, 0);
        assert_eq!(found.rss() * 4, kilobytes(&rollup, "Rss:"), "{found:?}");
        assert_eq!(found.anon * 4, kilobytes(&rollup, "Anonymous:"));
        let pss = kilobytes(&rollup, "Pss:");
        if inspector.profile().scheme.info().capabilities.page_mapcounts {
            assert!(found.pss_bytes().abs_diff(pss * 1024) < 8192, "{} and {pss} kB", found.pss_bytes());
            let private = ["Private_Clean:", "Private_Dirty:"].map(|key| kilobytes(&rollup, key));
            assert_eq!(found.unique * 4, private.iter().sum::<u64>());
        } else {
            assert!(found.pss_average_bytes().abs_diff(pss * 1024) < 8192);
        }
        let by_pmd: u64 = found.covers().map(|(_, _, cover)| cover.pmd).sum();
        let pmd_mapped = ["AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"];
        let smaps = format!("/proc/{}/smaps", child.pid());
        assert_eq!(by_pmd * 4, pmd_mapped.iter().map(|key| kilobytes(&smaps, key)).sum::<u64>());
    }
}

#[test]
fn page_tables_say_what_pagemap_says() {
    let Some(mut inspector) = inspector("pagemap") else { return };
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

#[test]
fn map_counts_are_those_of_kpagecount() {
    let Some(mut inspector) = inspector("kpagecount") else { return };
    let area = Area::huge(1);
    area.touch();
    let _first = Child::new(|| {});
    let _second = Child::new(|| area.dontneed(10 * PAGE, 33 * PAGE));
    let view = folio_at(&mut inspector, std::process::id(), area.address());
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

#[test]
fn who_shares_a_folio_is_found() {
    let Some(mut inspector) = inspector("others") else { return };
    let area = Area::huge(2);
    area.touch();
    let child = Child::new(|| {});
    let all = processes().expect("readable");
    let others = inspector.others(&of(std::process::id()), &all).expect("readable");
    let found = others.iter().find(|other| other.process.pid == child.pid());
    let view = folio_at(&mut inspector, child.pid(), area.address());
    if view.head.order == 9 {
        assert!(found.is_some_and(|other| other.pages >= 512), "{others:?}");
    }
}

#[test]
fn the_census_counts_every_frame_and_what_is_mapped() {
    let Some(mut inspector) = inspector("census") else { return };
    let before = inspector.census().expect("readable");
    let area = Area::huge(16);
    area.touch();
    let after = inspector.census().expect("readable");
    let own = usage(&mut inspector, std::process::id());
    assert!(after.total(mapcount_kernel::inspect::Use::Anon).pages >= own.anon);
    assert_eq!(before.frames, after.frames);
    // Every frame is counted once, but for what changed while it was looked at.
    let counted: u64 = after.rows().map(|(_, _, count)| count.pages).sum();
    assert!(counted.abs_diff(after.frames) < after.frames / 100, "{counted} of {}", after.frames);
}

#[test]
fn who_is_gone_is_said_and_skipped() {
    let Some(mut inspector) = inspector("gone") else { return };
    let gone = Process { pid: 0x3fff_ffff, parent: 1, comm: "gone".to_owned() };
    let found = inspector.processes(&[gone.clone(), of(std::process::id())], &[]).expect("readable");
    assert_eq!(found.missed, [(gone, Missed::Vanished)]);
    assert_eq!(found.used.len(), 1);
}

/// A memory cgroup that is gone when it is dropped.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Group, Unavailable> {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
        let of_memory = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            words[2] == "cgroup" && words[3].split(',').any(|option| option == "memory")
                || words[2] == "cgroup2"
                    && fs::read_to_string(Path::new(words[1]).join("cgroup.controllers"))
                        .is_ok_and(|text| text.contains("memory"))
        };
        let mount = mounts.lines().find(of_memory).and_then(|line| line.split(' ').nth(1));
        let missing = |what: String| Unavailable::new(what, "mount a memory cgroup file system");
        let mount = mount.ok_or_else(|| missing("no memory cgroups".to_owned()))?;
        let folder = Path::new(mount).join(format!("mapcount-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| missing(format!("{}: {error}", folder.display())))?;
        Ok(Group(folder))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes are gone; what is charged to it is reclaimed or goes to the parent.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn what_a_cgroup_is_charged_for_is_counted() {
    let Some(mut inspector) = inspector("cgroup") else { return };
    let Some(group) = require::or_skip("cgroup", Group::new()) else { return };
    let procs =
        CString::new(group.0.join("cgroup.procs").into_os_string().into_encoded_bytes()).expect("a path");
    let area = Area::small(3000);
    let child = Child::new(|| {
        memory::enter(&procs);
        area.touch();
    });
    let found = cgroup(group.0.to_str().expect("UTF-8")).expect("there");
    assert!(found.pids.contains(&child.pid()), "{found:?}");
    let charged = inspector.charged(&found.inodes).expect("readable");
    let Some(charged) = require::or_skip(
        "cgroup",
        charged.ok_or_else(|| Unavailable::new("no /proc/kpagecgroup", "use a kernel with CONFIG_MEMCG=y")),
    ) else {
        return;
    };
    let anon = charged.total(mapcount_kernel::inspect::Use::Anon).pages;
    assert!((3000..3200).contains(&anon), "{anon} pages");
}
