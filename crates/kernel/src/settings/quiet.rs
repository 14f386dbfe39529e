//! The state that a scenario starts from, as files and values: nothing works on memory but the scenario.

use std::fs;
use std::path::{Path, PathBuf};

const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// Files and their values, in the order in which they are to be set.
const SETTINGS: &[(&str, &str)] = &[
    // Nobody scans: khugepaged and ksmd only when a step says so.
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "1"),
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "4000000000"),
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "4000000000"),
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none", "511"),
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_shared", "256"),
    ("/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_swap", "64"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"),
    ("/sys/kernel/mm/transparent_hugepage/defrag", "madvise"),
    ("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never"),
    ("/sys/kernel/mm/transparent_hugepage/use_zero_page", "1"),
    ("/sys/kernel/mm/transparent_hugepage/shrink_underused", "1"),
    ("/sys/kernel/mm/ksm/run", "0"),
    ("/sys/kernel/mm/ksm/advisor_mode", "none"),
    ("/sys/kernel/mm/ksm/smart_scan", "0"),
    ("/sys/kernel/mm/ksm/use_zero_pages", "0"),
    ("/sys/kernel/mm/ksm/max_page_sharing", "256"),
    ("/sys/kernel/mm/ksm/pages_to_scan", "1000000"),
    // By the clock, a search would take the fullest of pages with the same content instead of the first with room.
    ("/sys/kernel/mm/ksm/stable_node_chains_prune_millisecs", "2147483647"),
    // Huge pages come from the scenario alone.
    ("/proc/sys/vm/nr_hugepages", "0"),
    ("/proc/sys/vm/nr_overcommit_hugepages", "0"),
    // Nobody moves pages.
    ("/proc/sys/vm/compaction_proactiveness", "0"),
    ("/proc/sys/kernel/numa_balancing", "0"),
    ("/sys/module/damon_stat/parameters/enabled", "N"),
    // What is swapped goes to the disk, and nothing is read ahead.
    ("/sys/module/zswap/parameters/enabled", "N"),
    ("/proc/sys/vm/page-cluster", "0"),
];

/// What to set on this machine; files that this kernel does not have are among them.
pub(super) fn settings() -> impl Iterator<Item = (PathBuf, &'static str)> {
    let fixed = SETTINGS.iter().map(|(path, value)| (PathBuf::from(path), *value));
    fixed.chain(sizes())
}

/// The settings of single sizes: that of a PMD as the general one says, all others off.
fn sizes() -> impl Iterator<Item = (PathBuf, &'static str)> {
    let pmd = fs::read_to_string(Path::new(THP).join("hpage_pmd_size"))
        .ok()
        .and_then(|bytes| bytes.trim().parse::<u64>().ok())
        .unwrap_or(2 << 20);
    let own = format!("hugepages-{}kB", pmd >> 10);
    let mut folders: Vec<_> = fs::read_dir(THP).into_iter().flatten().filter_map(Result::ok).collect();
    folders.retain(|folder| folder.file_name().to_string_lossy().starts_with("hugepages-"));
    folders.sort_by_key(fs::DirEntry::file_name);
    folders.into_iter().flat_map(move |folder| {
        let value = if folder.file_name().to_string_lossy() == own { "inherit" } else { "never" };
        ["enabled", "shmem_enabled"].map(|file| (folder.path().join(file), value))
    })
}
