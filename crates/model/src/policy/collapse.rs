//! Collapse: khugepaged and MADV_COLLAPSE.

/// Hands the rows of this room on, behind those that came before.
macro_rules! collapse_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// MADV_COLLAPSE exists.
        madv_collapse: bool = [
            (FIRST, false, "madvise_behavior_valid(), mm/madvise.c (v5.19)"),
            (at(6, 1), true, "madvise_collapse(), mm/khugepaged.c (v6.1)"),
        ],
        /// The new folio is on the node that has most of the pages; before, on that of the first one.
        collapse_finds_node: bool = [
            (FIRST, false, "khugepaged_scan_pmd(), mm/huge_memory.c (v2.6.39)"),
            (at(3, 13), true, "khugepaged_find_target_node(), mm/huge_memory.c (v4.4), Linux commit 9f1b868a13ac (\"mm: thp: khugepaged: add policy for finding target node\", v3.13; release unverified)"),
        ],
        /// Which PTEs have to be writable before a range is collapsed.
        collapse_writable: CollapseWritable = [
            (FIRST, CollapseWritable::All, "__collapse_huge_page_isolate(), mm/huge_memory.c (v2.6.39)"),
            (at(4, 0), CollapseWritable::One, "khugepaged_scan_pmd(), mm/huge_memory.c (v4.0.5, v4.4), Linux commit 10359213d05a (not in v3.19; v4.0)"),
            (at(6, 18), CollapseWritable::None, "hpage_collapse_scan_pmd(), mm/khugepaged.c (v6.18)"),
        ],
        /// Pages that other processes map too may be collapsed.
        collapse_takes_shared: bool = [
            (FIRST, false, "khugepaged_scan_pmd() (v2.6.39, v4.8)"),
            (at(5, 8), true, "is_refcount_suitable(), mm/khugepaged.c (v5.10)"),
        ],
        /// PTE-mapped pages of large folios may be collapsed.
        collapse_takes_large: bool = [
            (FIRST, false, "khugepaged_scan_pmd() (v2.6.39, v4.8)"),
            (at(5, 8), true, "khugepaged_scan_pmd(), mm/khugepaged.c (v5.10)"),
        ],
        /// Whether a page is shared is asked of its folio; before, of its own map count.
        collapse_asks_folio: bool = [
            (FIRST, false, "page_mapcount(), khugepaged_scan_pmd() (v5.10, v6.8)"),
            (at(6, 10), true, "folio_likely_mapped_shared(), hpage_collapse_scan_pmd() (v6.12)"),
        ],
        /// Zero pages that a process mapped count as holes; before, no range with one was collapsed.
        collapse_takes_zero_pages: bool = [
            (FIRST, false, "khugepaged_scan_pmd(), mm/huge_memory.c (v2.6.39)"),
            (at(4, 1), true, "Linux commit ca0984caa823 (\"mm: incorporate zero pages into transparent huge pages\", v4.1; release unverified)"),
        ],
        /// khugepaged collapses ranges with swap entries too, as many as `max_ptes_swap` says.
        khugepaged_swaps_in: bool = [
            (FIRST, false, "khugepaged_scan_pmd(), mm/huge_memory.c (v4.7)"),
            (at(4, 8), true, "khugepaged_scan_pmd(), mm/khugepaged.c (v4.8)"),
        ],
        /// A page that is mapped read-only and is in the swap cache has to be the process's own, and leaves the cache.
        collapse_takes_from_swap_cache: bool = [
            (FIRST, true, "__collapse_huge_page_isolate(), mm/khugepaged.c (v5.10)"),
            (at(5, 18), false, "__collapse_huge_page_isolate(), mm/khugepaged.c (v6.1; start unverified)"),
        ],
        /// The large folios that were copied leave the swap cache.
        collapse_frees_large_swap_cache: bool = [
            (FIRST, false, "__collapse_huge_page_copy(), mm/khugepaged.c (v5.10)"),
            (at(6, 1), true, "__collapse_huge_page_copy(), mm/khugepaged.c (v6.1; start unverified)"),
        ],
        /// PTEs in a row that map one large folio are taken away at once.
        collapse_unmaps_batches: bool = [
            (FIRST, false, "__collapse_huge_page_copy_succeeded(), mm/khugepaged.c (v6.12)"),
            (at(6, 17), true, "__collapse_huge_page_copy_succeeded(), mm/khugepaged.c (v7.2; start from recordings)"),
        ],
        /// A collapse gives up at the first page that has to be read from swap; before, it read the others too.
        collapse_waits_for_no_read: bool = [
            (FIRST, false, "__collapse_huge_page_swapin(), mm/khugepaged.c (v5.10)"),
            (at(6, 0), true, "__collapse_huge_page_swapin(), mm/khugepaged.c (v6.1; start unverified)"),
        ],
        /// khugepaged leaves ranges alone with pages that MADV_FREE gave up.
        collapse_skips_lazyfree: bool = [
            (FIRST, false, "hpage_collapse_scan_pmd(), mm/khugepaged.c (v6.12)"),
            (at(7, 1), true, "collapse_scan_pmd(), mm/khugepaged.c (v7.2; start unverified)"),
        ],
        /// MADV_COLLAPSE goes on behind a PMD without a page table.
        collapse_passes_holes: bool = [
            (FIRST, false, "madvise_collapse(), mm/khugepaged.c (v6.12)"),
            (at(7, 0), true, "madvise_collapse(), mm/khugepaged.c (v7.2; start unverified)"),
        ],
        /// MADV_COLLAPSE of a range within a PMD succeeds and does nothing.
        collapse_of_nothing_succeeds: bool = [
            (FIRST, false, "madvise_collapse(), mm/khugepaged.c (v6.12)"),
            (at(7, 2), true, "madvise_collapse(), mm/khugepaged.c (v7.2; start unverified)"),
        ],
        /// khugepaged makes folios smaller than a PMD too, where their sizes are enabled.
        khugepaged_mthp: bool = [
            (FIRST, false, "collapse_huge_page(), mm/khugepaged.c (v7.1)"),
            (at(7, 2), true, "collapse_huge_page(), mm/khugepaged.c (v7.2)"),
        ],
        /// khugepaged scans shared memory only where MADV_HUGEPAGE asked for it or THPs are for all; later `huge=` is enough.
        khugepaged_shmem_needs_advice: bool = [
            (FIRST, true, "hugepage_vma_check(), mm/khugepaged.c (v4.8)"),
            (at(5, 10), false, "\"mm,thp,shmem: make khugepaged obey tmpfs mount flags\" (ChangeLog-5.10.20; Debian's 5.10 has it)"),
            (at(5, 11), true, "hugepage_vma_check(), mm/khugepaged.c (unverified)"),
            (at(5, 12), false, "Linux commit cd89fb065099 (v5.12)"),
        ],
        /// An area of shared anonymous memory is taken for collapse if it may have large folios of any size, not of a PMD's.
        collapse_takes_any_shmem_size: bool = [
            (FIRST, false, "hugepage_vma_check(), mm/khugepaged.c (v5.10, v6.1)"),
            (at(6, 11), true, "__thp_vma_allowable_orders(), mm/huge_memory.c (v6.12.107; 6.12.117 as it ran)"),
            (at(6, 14), false, "__thp_vma_allowable_orders(), mm/huge_memory.c (v7.2; 6.17.13 as it ran; start unverified)"),
        ],
        /// khugepaged runs, too, if only huge pages of shared memory are enabled.
        khugepaged_runs_for_shmem: bool = [
            (FIRST, false, "hugepage_pmd_enabled(), mm/khugepaged.c (v6.12)"),
            (at(6, 13), true, "hugepage_enabled(), shmem_hpage_pmd_enabled() (v7.2; start unverified)"),
        ],
        /// Pages of files on disks are collapsed, if their file system has large folios. Before, this took CONFIG_READ_ONLY_THP_FOR_FS
        /// and a file that nobody has opened for writing, which those of scenarios are.
        collapse_takes_disks: bool = [
            (FIRST, false, "file_thp_enabled(), include/linux/huge_mm.h (v6.1, v6.12)"),
            (at(7, 2), true, "file_thp_enabled(), mm/huge_memory.c (v7.2; start unverified)"),
        ],
        /// MADV_COLLAPSE of shared memory does not mind `hugepages-<size>/shmem_enabled`.
        collapse_overrides_shmem_sizes: bool = [
            (FIRST, false, "shmem_allowable_huge_orders(), mm/shmem.c (v6.11, v6.12.107)"),
            (Release::new(6, 12, 113), true, "\"mm: shmem: ignore sysfs configs for shmem forced collapse\" (ChangeLog-6.12.113)"),
            (at(6, 13), false, "shmem_allowable_huge_orders(), mm/shmem.c (6.18.44 as it ran)"),
            (Release::new(7, 2, 10), true, "the same change (ChangeLog-7.2.10), shmem_allowable_huge_orders() (v7.2.13, v7.3)"),
        ],
        /// Large folios of files that are smaller than a PMD are collapsed, too.
        collapse_takes_large_files: bool = [
            (FIRST, false, "collapse_file(), mm/khugepaged.c (v5.10, v6.1)"),
            (at(6, 12), true, "collapse_file(), mm/khugepaged.c (v6.12)"),
        ],
        /// Entries that map a THP of a file page by page give way to a PMD.
        collapse_remaps_file_thps: bool = [
            (FIRST, false, "khugepaged_scan_file(), mm/khugepaged.c (v5.10)"),
            (at(6, 1), true, "hpage_collapse_scan_file(), mm/khugepaged.c (v6.1)"),
        ],
        /// They leave the counters in batches.
        collapse_unmaps_file_batches: bool = [
            (FIRST, false, "collapse_pte_mapped_thp(), mm/khugepaged.c (v6.1, v6.12)"),
            (at(6, 17), true, "try_collapse_pte_mapped_thp(), mm/khugepaged.c (v7.2; start unverified, as that of collapse_unmaps_batches)"),
        ],
        /// MADV_COLLAPSE of a file frees the page table of the caller alone, and notes those of others for khugepaged.
        collapse_retracts_target: bool = [
            (FIRST, false, "retract_page_tables(), mm/khugepaged.c (v5.10)"),
            (at(6, 1), true, "retract_page_tables(), mm/khugepaged.c (v6.1)"),
            (at(6, 6), false, "retract_page_tables(), mm/khugepaged.c (v6.12), \"mm/khugepaged: delete khugepaged_collapse_pte_mapped_thps()\" (v6.6)"),
        ],
        /// It maps a THP of a file where there is no table of PMDs yet.
        collapse_makes_upper_tables: bool = [
            (FIRST, false, "set_huge_pmd(), mm/khugepaged.c (v6.1, v6.12)"),
            (at(6, 18), true, "set_huge_pmd(), mm/khugepaged.c (v7.2; 6.18.44 as it ran; start unverified)"),
        ],
        /// Nobody can take a reference on pages of a file while they are copied: those are frozen.
        collapse_freezes_old_folios: bool = [
            (FIRST, true, "collapse_shmem(), mm/khugepaged.c (v4.8), collapse_file() (v5.10, v6.1)"),
            (at(6, 4), false, "collapse_file(), mm/khugepaged.c (v6.12; start unverified)"),
        ],
        /// Nor on the folio that takes their place.
        collapse_freezes_new_folio: bool = [
            (FIRST, true, "collapse_shmem(), mm/khugepaged.c (v4.8)"),
            (at(4, 20), false, "Linux commit 87c460a0bded (\"mm/khugepaged: collapse_shmem() without freezing new_page\", v4.20)"),
        ],
        }
    };
}
pub(super) use collapse_rows;
