//! Reclaim and swap.

/// Hands the rows of this room on, behind those that came before.
macro_rules! reclaim_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// What MADV_FREE does without swap.
        madv_free: MadvFree = [
            (FIRST, MadvFree::Absent, "madvise_behavior_valid(), mm/madvise.c (v4.4)"),
            (at(4, 5), MadvFree::DontNeed, "madvise_vma(), mm/madvise.c (v4.5, v4.8)"),
            (at(4, 12), MadvFree::LazyByPage, "madvise_free_huge_pmd(), madvise_free_pte_range() (v5.10), Linux commit 93e06c7a6453 (v4.12)"),
            (at(6, 10), MadvFree::LazyByFolio, "madvise_free_pte_range(), mm/madvise.c (v6.11)"),
        ],
        /// How MADV_FREE finds out that others map a folio too that a PMD maps.
        free_pmd_shared_test: SharedTest = [
            (FIRST, SharedTest::FolioMapcount, "madvise_free_huge_pmd(), mm/huge_memory.c (v5.10, v6.1)"),
            (at(6, 5), SharedTest::FirstPage, "Linux commit 20b18aada185 (\"madvise:madvise_free_huge_pmd(): don't use mapcount() against large folio for sharing check\", v6.5)"),
            (at(6, 9), SharedTest::MaybeShared, "madvise_free_huge_pmd() (Linux commit ebb34f78d72c, v6.9; v6.12)"),
        ],
        /// The same of a large folio that PTEs map.
        free_pte_shared_test: SharedTest = [
            (FIRST, SharedTest::PageMapcount, "madvise_free_pte_range(), mm/madvise.c (v5.10)"),
            (at(6, 1), SharedTest::FirstPage, "madvise_free_pte_range(), mm/madvise.c (v6.1.190; the backport of Linux commit 0e0e9bd5f7b9 in the stable series, start unverified)"),
            (at(6, 2), SharedTest::PageMapcount, "madvise_free_pte_range(), mm/madvise.c (v5.10)"),
            (at(6, 3), SharedTest::FolioMapcount, "Linux commit 98b211d6415f (\"madvise: convert madvise_free_pte_range() to use a folio\", v6.3)"),
            (at(6, 5), SharedTest::FirstPage, "Linux commit 0e0e9bd5f7b9 (\"madvise:madvise_free_pte_range(): don't use mapcount() against large folio for sharing check\", v6.5)"),
            (at(6, 9), SharedTest::MaybeShared, "madvise_free_pte_range() (Linux commit ebb34f78d72c, v6.9; v6.12)"),
        ],
        /// MADV_PAGEOUT exists.
        madv_pageout: bool = [
            (FIRST, false, "include/uapi/asm-generic/mman-common.h (v5.3)"),
            (at(5, 4), true, "Linux commit 1a4e58cce84e (\"mm: introduce MADV_PAGEOUT\", v5.4)"),
        ],
        /// How MADV_PAGEOUT finds out that others map a large folio too.
        pageout_shared_test: SharedTest = [
            (FIRST, SharedTest::PageMapcount, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (v5.10, v6.1)"),
            (at(6, 3), SharedTest::FolioMapcount, "Linux commit 07e8c82b5eff (\"madvise: convert madvise_cold_or_pageout_pte_range() to use folios\", v6.3)"),
            (at(6, 5), SharedTest::FirstPage, "Linux commit 2f406263e3e9 (\"don't use mapcount() against large folio for sharing check\", v6.5)"),
            (at(6, 9), SharedTest::MaybeShared, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (Linux commit ebb34f78d72c, v6.9; v6.11)"),
        ],
        /// A read fault on a swapped page that is exclusive allows writing too, where the area does.
        swap_in_maps_writable: bool = [
            (FIRST, false, "do_swap_page(), mm/memory.c (v6.1)"),
            (at(6, 11), true, "do_swap_page(), mm/memory.c (v6.12), \"mm: set pte writable while pte_soft_dirty() is true in do_swap_page()\""),
        ],
        /// Which clusters of swap slots are taken.
        swap_clusters: ClusterChoice = [
            (FIRST, ClusterChoice::Free, "scan_swap_map_try_ssd_cluster(), mm/swapfile.c (v6.1)"),
            (at(6, 12), ClusterChoice::FreeThenUsed, "cluster_alloc_swap_entry(), mm/swapfile.c (v6.12)"),
            (at(6, 18), ClusterChoice::UsedThenFree, "cluster_alloc_swap_entry(), mm/swapfile.c (v7.2); \"mm, swap: prefer nonfull over free clusters\""),
        ],
        /// MADV_PAGEOUT leaves PTE-mapped folios whole that it covers.
        pageout_whole_folios: bool = [
            (FIRST, false, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (v5.10, v6.8)"),
            (at(6, 10), true, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (Linux commit 3931b871c493, v6.10)"),
        ],
        /// MADV_PAGEOUT takes the accessed bits away first, so that they are off where it fails.
        pageout_ages: bool = [
            (FIRST, true, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (v5.10, v6.1)"),
            (at(6, 9), false, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (v6.12; start unverified)"),
        ],
        /// A PMD-mapped folio that MADV_FREE gave up is dropped whole; before, its PMD was split first.
        lazyfree_drops_pmd: bool = [
            (FIRST, false, "try_to_unmap_one(), mm/rmap.c (v6.1)"),
            (at(6, 11), true, "unmap_huge_pmd_locked(), mm/huge_memory.c (v6.12), Linux commit 735ecdfaf4e8 (posted 2024-06-22, after v6.10-rc4)"),
            (Release::new(6, 12, 117), false, "\"mm/rmap: don't discard lazyfree THPs at PMD level\" (ChangeLog-6.12.117)"),
            (at(6, 13), true, "unmap_huge_pmd_locked(), mm/huge_memory.c (6.16.12, 6.17.13, 6.18.15 as they ran)"),
            (Release::new(6, 18, 44), false, "6.18.44 as it ran (6.18.15 does it still; start of the backport unverified)"),
            (at(6, 19), true, "unmap_huge_pmd_locked(), mm/huge_memory.c (v7.2.13, v7.3)"),
        ],
        /// Where it cannot be dropped whole its PMD stays; before, the PMD was split and each page looked at.
        lazyfree_keeps_pmd: bool = [
            (FIRST, false, "try_to_unmap_one(), mm/rmap.c (v6.12)"),
            (at(6, 15), true, "try_to_unmap_one(), mm/rmap.c (v7.2), \"mm: avoid splitting pmd for lazyfree pmd-mapped THP in try_to_unmap\" (posted 2025-02-14, after v6.14-rc2)"),
        ],
        /// A folio that MADV_FREE gave up stays so when it is not dropped because somebody holds it.
        lazyfree_outlives_holders: bool = [
            (FIRST, false, "try_to_unmap_one(), mm/rmap.c (v5.10.223, v6.12)"),
            (at(6, 15), true, "try_to_unmap_one(), mm/rmap.c (v7.2), \"mm: set folio swapbacked iff folios are dirty in try_to_unmap_one\" (posted 2025-02-14, after v6.14-rc2)"),
        ],
        /// Pages that may be pinned are not put into the swap cache.
        reclaim_refuses_pinned: bool = [
            (FIRST, false, "shrink_page_list(), mm/vmscan.c (v5.10.0)"),
            (at(5, 10), true, "shrink_page_list(), mm/vmscan.c (v5.10.223), Linux commit feb889fb40fa (v5.11, v5.10.9; v5.10 itself lacks it)"),
        ],
        /// Which large folios reclaim splits before it swaps them out.
        reclaim_splits: ReclaimSplits = [
            (FIRST, ReclaimSplits::WithoutPmd, "shrink_page_list(), shrink_folio_list(), mm/vmscan.c (v5.10, v6.8)"),
            (at(6, 10), ReclaimSplits::Queued, "shrink_folio_list(), mm/vmscan.c (Linux commit 5ed890ce5147, 2024-04-08, v6.10)"),
            (at(6, 12), ReclaimSplits::PartiallyMapped, "shrink_folio_list(), mm/vmscan.c (v6.12), Linux commit 8422acdc97ed (v6.12)"),
        ],
        /// A folio of zeroes is not written to swap but noted there, so that it leaves the swap cache at once.
        swap_knows_zeroes: bool = [
            (FIRST, false, "swap_writepage(), mm/page_io.c (v6.11)"),
            (at(6, 12), true, "swap_writepage(), swap_zeromap_folio_set(), mm/page_io.c (Linux commit 0ca0c24e3211, v6.12)"),
        ],
        /// What a fault on a swap entry maps of a large folio in the swap cache.
        swap_in: SwapIn = [
            (FIRST, SwapIn::CopyTails, "ksm_might_need_to_copy(), mm/ksm.c (v5.10, v6.1)"),
            (at(6, 8), SwapIn::OnePage, "ksm_might_need_to_copy(), mm/ksm.c (v6.8), Linux commit 96db66d9c8f3 (2023-12-11, before v6.7)"),
            (at(6, 11), SwapIn::WholeFolio, "do_swap_page(), mm/memory.c (v6.11)"),
        ],
        /// When a fault on a swap entry takes the folio out of the swap cache.
        swap_in_frees: SwapInFrees = [
            (FIRST, SwapInFrees::BeforeMapping, "do_swap_page(), should_try_to_free_swap(), mm/memory.c (v6.1, v6.12)"),
            (at(7, 0), SwapInFrees::UnlessExclusive, "do_swap_page(), mm/memory.c (v7.2.13), Linux commit 4b34f1d82c65 (posted 2025-12-20, after v6.18; release unverified)"),
            (at(7, 3), SwapInFrees::IfExclusive, "do_swap_page(), should_try_to_free_swap(), mm/memory.c (v7.3-rc7)"),
        ],
        /// Which large folios that do not go to swap as anonymous memory does reclaim splits before it looks at them.
        reclaim_splits_files: ReclaimSplitsFiles = [
            (FIRST, ReclaimSplitsFiles::All, "shrink_page_list(), mm/vmscan.c (v5.10)"),
            (at(5, 19), ReclaimSplitsFiles::Shmem, "shrink_folio_list(), mm/vmscan.c (v6.1), Linux commit 820c4e2e6f51 (v5.19; release unverified)"),
            (at(6, 12), ReclaimSplitsFiles::None, "shrink_folio_list(), shmem_writepage() (v6.12), Linux commit 809bc86517cc (v6.12)"),
        ],
        /// Of a folio that reclaim splits the last piece has its turn behind the first, then the one before it; earlier
        /// kernels go from the first to the last.
        reclaim_takes_last_piece_first: bool = [
            (FIRST, false, "__split_huge_page(), lru_add_page_tail(), mm/huge_memory.c (v5.10, v6.12)"),
            (at(6, 15), true, "__folio_split(), lru_add_split_folio(), mm/huge_memory.c (v7.2.13; v6.15 unverified)"),
        ],
        /// What truncation does to the entry of a large folio that is swapped out and reaches across the new end.
        truncate_of_swapped: LargeSwapTruncate = [
            (FIRST, LargeSwapTruncate::FreesAll, "shmem_free_swap(), mm/shmem.c (v6.12; before, no large folio is swapped out)"),
            (Release::new(6, 12, 69), LargeSwapTruncate::NeverEnds, "shmem_undo_range(), shmem_free_swap(), mm/shmem.c (v6.12.107); 6.12.117 as it ran (a backport of Linux commit 8a1968bd997f, start unverified)"),
            (at(6, 13), LargeSwapTruncate::FreesAll, "shmem_free_swap(), mm/shmem.c (v6.12, v6.17)"),
            (Release::new(6, 18, 9), LargeSwapTruncate::NeverEnds, "6.18.44 as it ran (a backport, start unverified)"),
            (at(6, 19), LargeSwapTruncate::NeverEnds, "shmem_undo_range(), mm/shmem.c (v7.2.13), Linux commit 8a1968bd997f (v6.19; release unverified)"),
        ],
        /// A large entry of a page cache that names slots is cut around the page that comes back; before, to single pages.
        shmem_splits_entries_around: bool = [
            (FIRST, false, "shmem_split_large_entry(), mm/shmem.c (v6.12.107)"),
            (at(6, 15), true, "shmem_split_large_entry(), xas_try_split() (v7.2.13; v6.15 unverified)"),
        ],
        /// A write fault that copies a page drops the old one from the swap cache if nothing maps it any more.
        copy_frees_swap_cache: bool = [
            (FIRST, false, "wp_page_copy(), mm/memory.c (v5.10)"),
            (at(5, 14), true, "wp_page_copy(), mm/memory.c (v5.14), Linux commit f4c4a3f48480 (posted 2021-06-01, after v5.13-rc4)"),
        ],
        }
    };
}
pub(super) use reclaim_rows;
