//! What MADV_PAGEOUT and MADV_COLD do to pages that MADV_FREE gave up or KSM merged, and how that looks to others.

use mapcount_model::profile::Profile;
use mapcount_script::parse::parse;
use mapcount_script::run::{Options, Runner};

/// Runs a scenario on all kernels that it is for; every step and every expectation has to hold.
fn holds(source: &str) {
    let scenario = parse(source.as_bytes()).unwrap_or_else(|errors| panic!("{source}: {errors}"));
    let mut ran = 0;
    for profile in Profile::all().into_iter().chain(Profile::all_schemes()) {
        let runner = Runner::new(&scenario, &profile, Options::default()).expect("no names in it");
        let Some(mut runner) = runner else { continue };
        let findings = runner.run(|_, _| {});
        assert!(findings.is_empty(), "{}: {findings:#?}\n{source}", profile.name);
        ran += 1;
    }
    assert!(ran > 5, "{source}");
}

#[test]
fn what_was_given_up_is_dropped_unless_it_was_written_since() {
    holds(
        "kernels 5.4..\nA: mmap x 16p nothp\nA: write x[0..4]\nkernel: swap on\nA: madvise x[0..4] free\nA: write x[1]\n\
         A: madvise x pageout\nexpect A.rss_kb == 4\nexpect A.x[1].kind == anon\nA: read x[0]\nexpect A.x[0].kind == zero\n\
         A: madvise x[1] pageout\nexpect A.rss_kb == 0\nA: read x[1]\nexpect A.x[1].kind == anon\n",
    );
}

#[test]
fn what_was_given_up_stays_while_somebody_holds_it() {
    holds(
        "kernels 5.4..\nA: mmap x 16p nothp\nA: write x[0..2]\nA: madvise x[0..2] free\nA: get x[0]\nA: madvise x pageout\n\
         expect A.rss_kb == 4\nexpect A.x[0].refcount == 2\nA: put x[0]\nA: madvise x pageout\n\
         expect[..6.14] A.rss_kb == 4\nexpect[6.15..] A.rss_kb == 0\n",
    );
}

#[test]
fn a_whole_thp_that_was_given_up_is_dropped_whole() {
    holds(
        "kernels 6.11..\npmd_order 4\nA: mmap x pmd thp\nA: write x\nA: madvise x free\nA: madvise x pageout\n\
         expect A.rss_kb == 0\nexpect system.thp_split_pmd == 0\n",
    );
}

#[test]
fn merged_pages_are_swapped_when_one_entry_is_left() {
    holds(
        "kernels 5.4..\nkernel: swap on\nA: mmap x 4p nothp\nA: fill x[0..2] 65\nA: madvise x mergeable\nkernel: ksm 2\n\
         A: madvise x pageout\nexpect A.x[0].kind == ksm\nexpect A.x[0].refcount == 2\nA: write x[1]\n\
         A: madvise x[0] pageout\nexpect A.rss_kb == 4\nA: read x[0]\nexpect A.x[0].kind == ksm\n\
         expect A.x[0].refcount == 2\nexpect A.x[0].mapcount_raw == 0\nA: write x[0]\nexpect A.x[0].kind == anon\n\
         expect A.x[0].refcount == 1\n",
    );
}

#[test]
fn what_is_in_the_swap_cache_is_merged_and_leaves_it() {
    holds(
        "kernels 5.4..\nkernel: swap on\nA: mmap x 4p nothp\nA: fill x[0..2] 65\nA: madvise x pageout\nA: read x[0..2]\n\
         expect A.x[0].refcount == 2\nA: madvise x mergeable\nkernel: ksm 2\nexpect A.x[0].kind == ksm\n\
         expect A.x[1].mapcount_raw == 1\nexpect system.anon_mapped == 1\n",
    );
}

#[test]
fn cold_pages_are_not_accessed_and_folios_that_it_cuts_are_split() {
    holds(
        "kernels 5.8..\npmd_order 4\nA: mmap x pmd thp\nA: write x\nA: madvise x[0..8] cold\nexpect A.x[0].order == 0\n\
         A: madvise x cold\nkernel: khugepaged A.x\nexpect A.x[0].order == 0\nA: read x[0]\nkernel: khugepaged A.x\n\
         expect A.x[0].order == 4\n",
    );
}

#[test]
fn swap_that_is_full_leaves_the_rest_in_memory() {
    holds(
        "kernels 5.4..\nkernel: swap on 16K\nkernel: swap on => EBUSY\nA: mmap x 8p nothp\nA: write x\n\
         A: madvise x pageout\nexpect A.rss_kb == 16\nA: munmap x[0..2]\nA: madvise x[2..8] pageout\nexpect A.rss_kb == 8\n\
         A: read x[2..8]\nexpect A.rss_kb == 24\nkernel: swap off\nexpect A.x[2].refcount == 1\nkernel: swap off => EINVAL\n",
    );
}

#[test]
fn a_thp_that_does_not_fit_is_split_and_swapped_as_far_as_it_goes() {
    holds(
        "kernels 5.4..\npmd_order 4\nkernel: swap on 8p\nA: mmap x pmd thp\nA: write x\nA: madvise x pageout\n\
         expect A.rss_kb == 32\nexpect A.x[8].order == 0\nexpect system.thp_split_page == 1\n",
    );
}

#[test]
fn what_is_missing_is_an_outcome() {
    holds(
        "A: mmap x 2p\nA: write x\nkernel: migrate A.x to 1 => ENODEV\nkernel: khugepaged A.x\nA: munmap x\n\
         kernel: khugepaged A.x\nkernel: migrate A.x to 0\nA: madvise x dontneed => ENOMEM\nexpect system.anon_mapped == 0\n",
    );
}

#[test]
fn a_collapse_does_not_wait_for_the_disk() {
    // Reclaim drops a clean folio from the swap cache, so that its page has to be read.
    holds(
        "kernels 6.18..\npmd_order 2\nkernel: swap on\nA: mmap x pmd nothp\nA: write x\nA: madvise x hugepage\n\
         A: madvise x[0] pageout\nA: read x[0]\nA: madvise x[0] pageout\nA: madvise x collapse => EAGAIN\n\
         A: madvise x collapse\nexpect A.x[0].order == 2\nexpect A.rss_kb == 16\n",
    );
}
