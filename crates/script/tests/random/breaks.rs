//! Schemes that break a law do it where it was foretold; states that are the same are known as the same.

use std::hash::{DefaultHasher, Hasher};

use mapcount_model::profile::Profile;
use mapcount_model::stats::Stat;
use mapcount_script::parse::parse;
use mapcount_script::run::{Next, Options, Runner};

/// NR_ANON_MAPPED after each step, and the state's hash at the end.
fn run(text: &str, kernel: &str) -> (Vec<i64>, u64) {
    let scenario = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"));
    let profile = Profile::resolve(kernel).expect("a kernel");
    let mut runner = Runner::new(&scenario, &profile, Options::default()).expect("runs").expect("applies");
    let mut mapped = Vec::new();
    while let Some(next) = runner.advance() {
        if let Next::Step(report, result) = next {
            result.unwrap_or_else(|finding| panic!("{kernel}, step {}: {finding:?}", report.index));
            mapped.push(runner.machine.stats.get(Stat::AnonMapped));
        }
    }
    let mut hasher = DefaultHasher::new();
    runner.machine.hash_into(&mut hasher);
    (mapped, hasher.finish())
}

/// Two processes share a THP and give it up piece by piece.
const SHARED: &str = "pmd_order 5\nA: mmap x pmd thp\nA: write x\nA: fork B\nA: madvise x[4] dontneed\n\
    B: madvise x[4] dontneed\nA: munmap x[0..16]\nB: munmap x\nA: munmap x\n";

#[test]
fn counting_late_without_looking_loses_pages_that_another_process_maps() {
    // The first step that unmaps a page for one process only: it is taken for the page's last mapping. When the
    // other process's PMD goes, all pages are taken off once more.
    let (naive, _) = run(SHARED, "lazy-double-map");
    assert_eq!(naive[2..4], [32, 31]);
    assert!(naive.last().is_some_and(|last| *last < 0), "{naive:?}");
    for kernel in ["lazy-double-map-checked", "4.5", "6.1", "6.9", "6.14", "7.3"] {
        assert_eq!(run(SHARED, kernel).0, [0, 32, 32, 32, 31, 31, 16, 0], "{kernel}");
    }
}

#[test]
fn without_page_map_counts_folios_count_as_a_whole() {
    for kernel in ["7.3-no-page-mapcount", "vma-count", "vma-count-by-entry"] {
        assert_eq!(run(SHARED, kernel).0, [0, 32, 32, 32, 32, 32, 32, 0], "{kernel}");
    }
}

#[test]
fn the_same_state_by_another_way_hashes_alike() {
    let way = "pmd_order 3\nA: mmap x 2pmd thp\nA: write x\nA: fork B\nB: write x[3]\nA: exit\nB: munmap x\nB: fork A\n\
        B: exit\nkernel: lru drain\n";
    let last = "A: mmap y 2pmd thp\nA: write y[0..3]\nA: mprotect y[1] ro\nA: fork B\n";
    for kernel in ["4.4", "5.10", "6.12", "7.3", "vma-count"] {
        // The detour leaves windows behind: the same addresses need the same names before.
        let straight = format!("pmd_order 3\nA: mmap x 2pmd thp\nA: munmap x\n{last}");
        let (_, detour) = run(&format!("{way}{last}"), kernel);
        assert_eq!(detour, run(&straight, kernel).1, "{kernel}");
        assert_ne!(detour, run(&format!("{straight}B: write y[0]\n"), kernel).1, "{kernel}");
        assert_ne!(detour, run(&format!("{straight}kernel: lru hold\n"), kernel).1, "{kernel}");
    }
}
