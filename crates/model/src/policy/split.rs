//! Splits, and the queue of those that wait.

/// Hands the rows of this room on, behind those that came before.
macro_rules! split_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// How partially mapped folios are remembered for a later split.
        deferred_queue: DeferredQueue = [
            (FIRST, DeferredQueue::Absent, "no such queue"),
            (at(4, 5), DeferredQueue::List, "deferred_split_huge_page(), mm/huge_memory.c (v4.5)"),
            (at(6, 12), DeferredQueue::Flagged, "deferred_split_folio(), mm/huge_memory.c (v6.12)"),
        ],
        /// A folio is queued even when the PTEs removed were its last mappings.
        queue_fully_unmapped_by_pte: bool = [
            (FIRST, true, "page_remove_rmap(), mm/rmap.c (v4.5, v6.9)"),
            (at(6, 10), false, "__folio_remove_rmap(), mm/rmap.c (v6.10)"),
        ],
        /// A folio is queued even when the PMD removed was its last mapping.
        queue_fully_unmapped_by_pmd: bool = [
            (FIRST, true, "page_remove_anon_compound_rmap(), mm/rmap.c (v4.5, v4.9)"),
            (at(5, 5), false, "page_remove_anon_compound_rmap(), mm/rmap.c (v5.10), Linux commit f1fe80d4ae33 (not in v5.4; v5.5)"),
        ],
        /// A THP that replaces the huge zero folio is queued as a candidate.
        queue_huge_zero_replacement: bool = [
            (FIRST, false, "do_huge_zero_wp_pmd(), mm/huge_memory.c (v6.13, v6.17)"),
            (at(6, 18), true, "do_huge_zero_wp_pmd(), mm/huge_memory.c (v6.19)"),
        ],
        /// The events thp_split_page and thp_deferred_split_page count folios of any size; else PMD-sized ones.
        events_count_any_size: bool = [
            (FIRST, false, "there is one size only (v4.9)"),
            (at(6, 8), true, "split_huge_page_to_list(), deferred_split_folio(), mm/huge_memory.c (v6.8, v6.9)"),
            (at(6, 10), false, "split_huge_page_to_list_to_order(), mm/huge_memory.c (v6.11)"),
        ],
        /// What debugfs split_huge_pages does.
        debugfs_split: DebugfsSplit = [
            (FIRST, DebugfsSplit::Absent, "no such file (v4.4)"),
            (at(4, 5), DebugfsSplit::Everything, "split_huge_pages_set(), mm/huge_memory.c (v4.5, v5.10)"),
            (at(5, 13), DebugfsSplit::Range, "split_huge_pages_pid(), mm/huge_memory.c (Linux commit fa6c02315f74, posted 2021-03 for v5.13; v5.19)"),
        ],
        /// debugfs split_huge_pages knows of orders; before, it splits to single pages whatever else is written.
        debugfs_takes_order: bool = [
            (FIRST, false, "split_huge_pages_write(), mm/huge_memory.c (v6.1)"),
            (at(6, 9), true, "split_huge_pages_write(), mm/huge_memory.c (v6.9; start unverified)"),
        ],
        /// To take a PMD-mapped anonymous folio away for a split, its PMD becomes counted PTEs first.
        split_unmaps_by_pte: bool = [
            (FIRST, true, "freeze_page(), __split_huge_pmd_locked(), mm/huge_memory.c (v4.5, v6.1)"),
            (at(6, 2), false, "__split_huge_pmd_locked(), mm/huge_memory.c (v6.2)"),
        ],
        /// Anonymous folios can be split to an order above 0.
        split_anon_to_order: bool = [
            (FIRST, false, "split_huge_page_to_list(), mm/huge_memory.c (v6.8); without effect in v6.9"),
            (at(6, 10), true, "split_huge_page_to_list_to_order(), mm/huge_memory.c (v6.11)"),
        ],
        /// File folios can be split to an order above 0.
        split_file_to_order: bool = [
            (FIRST, false, "split_huge_page_to_list(), mm/huge_memory.c (v6.8)"),
            (at(6, 9), true, "split_huge_page_to_list_to_order(), mm/huge_memory.c (v6.9)"),
        ],
        /// So can folios of shared memory.
        split_shmem_to_order: bool = [
            (FIRST, false, "split_huge_page_to_list_to_order(), mm/huge_memory.c (v6.9, v6.13)"),
            (at(6, 14), true, "split_huge_page_to_list_to_order(), mm/huge_memory.c (v6.14; start unverified)"),
        ],
        /// A folio can be split around one page, leaving large pieces.
        split_nonuniform: bool = [
            (FIRST, false, "split_huge_pages_write(), mm/huge_memory.c (v6.14)"),
            (at(6, 15), true, "folio_split(), mm/huge_memory.c (v6.17)"),
        ],
        /// After a split pages that hold only zeroes are replaced by the shared zero page.
        split_drops_zero_pages: bool = [
            (FIRST, false, "remove_migration_pte(), mm/migrate.c (v6.11)"),
            (at(6, 12), true, "try_to_map_unused_to_zeropage(), mm/migrate.c (v6.12)"),
        ],
        }
    };
}
pub(super) use split_rows;
