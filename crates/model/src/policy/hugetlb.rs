//! hugetlb.

/// Hands the rows of this room on, behind those that came before.
macro_rules! hugetlb_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// The page type of hugetlb that the head's `_mapcount` holds, as stored.
        hugetlb_type: Option<i32> = [
            (FIRST, None, "PageHuge(), mm/hugetlb.c (v5.10, v6.8)"),
            (at(6, 9), Some(!0x0000_0800), "PG_hugetlb, include/linux/page-flags.h, Linux commit d99e3140a4d3 (\"mm: turn folio_test_hugetlb into a PageType\", v6.9)"),
            (at(6, 11), Some(!0x0400_0000), "PG_hugetlb, include/linux/page-flags.h (v6.11; start unverified)"),
            (at(6, 12), Some(-0x0c00_0000), "PGTY_hugetlb, include/linux/page-flags.h (v6.12, v7.3)"),
        ],
        /// References on tails of hugetlb pages are counted there as those on tails of THPs are.
        hugetlb_counts_tails: bool = [
            (FIRST, true, "get_page(), put_compound_page(), mm/swap.c (v2.6.39)"),
            (at(3, 12), false, "compound_tail_refcounted(), include/linux/mm.h (v4.4), Linux commit 7cb2ef56e6a8 (v3.12; release unverified)"),
        ],
        /// The page cache owns a reference for each page of a hugetlb folio; before, one.
        hugetlb_cached_by_page: bool = [
            (FIRST, false, "__add_to_page_cache_locked(), mm/filemap.c (v5.10), __filemap_add_folio() (v6.3)"),
            (at(6, 7), true, "__filemap_add_folio(), mm/filemap.c (v6.8), Linux commit a08c7193e4f1 (\"mm/filemap: remove hugetlb special casing in filemap.c\", v6.7; release unverified)"),
        ],
        /// fork copies entries of shared hugetlb mappings; later they are left to faults.
        hugetlb_fork_copies_shared: bool = [
            (FIRST, true, "copy_page_range(), mm/memory.c (v2.6.39, v5.19)"),
            (at(6, 0), false, "vma_needs_copy(), mm/memory.c, Linux commit bcd51a3c679d (\"hugetlb: lazy page table copies in fork()\", v6.0; release unverified)"),
        ],
        /// fork gives the child a copy of a hugetlb page that the parent pinned, instead of sharing it.
        hugetlb_fork_copies_pinned: bool = [
            (FIRST, false, "copy_hugetlb_page_range(), mm/hugetlb.c (v5.10)"),
            (at(5, 12), true, "copy_hugetlb_page_range(), mm/hugetlb.c, Linux commit 4eae4efa2c29 (\"hugetlb: do early cow when page pinned on src mm\", v5.12)"),
        ],
        /// mremap moves hugetlb mappings.
        hugetlb_mremap: bool = [
            (FIRST, false, "vma_to_resize(), mm/mremap.c (v2.6.39, v5.10)"),
            (at(5, 16), true, "Linux commit 550a7d60bd5e (\"mm, hugepages: add mremap() support for hugepage backed vma\", v5.16; release unverified)"),
        ],
        /// What MADV_DONTNEED does to hugetlb pages.
        hugetlb_dontneed: HugetlbDontNeed = [
            (FIRST, HugetlbDontNeed::Refuse, "madvise_dontneed(), mm/madvise.c (v2.6.39), can_madv_lru_vma() (v5.10)"),
            (at(5, 18), HugetlbDontNeed::Touched, "madvise_dontneed_free_valid_vma(), mm/madvise.c (v5.19), Linux commit 90e7e7f5ef3f (v5.18; release unverified)"),
            (at(6, 1), HugetlbDontNeed::Covered, "Linux commit 8ebe0a5eaaeb (\"mm,madvise,hugetlb: fix unexpected data loss with MADV_DONTNEED on hugetlbfs\", v6.1; release unverified)"),
        ],
        /// When a page that its first process unmaps is promised to it again.
        hugetlb_restore: HugetlbRestore = [
            (FIRST, HugetlbRestore::Never, "__unmap_hugepage_range(), mm/hugetlb.c (v5.10, v6.1)"),
            (at(6, 9), HugetlbRestore::AtOnce, "__unmap_hugepage_range() (v6.12), Linux commit df7a6d1f6405 (\"mm/hugetlb: restore the reservation if needed\", v6.9; release unverified)"),
            (at(7, 2), HugetlbRestore::WithLastMapping, "__unmap_hugepage_range(), mm/hugetlb.c (v7.2, v7.3; start unverified)"),
        ],
        /// MADV_HUGEPAGE and MADV_NOHUGEPAGE refuse hugetlb areas; later they note the advice, which has no effect.
        hugetlb_refuses_thp_advice: bool = [
            (FIRST, true, "hugepage_madvise(), VM_NO_THP, mm/huge_memory.c (v2.6.39, v4.4)"),
            (at(4, 8), false, "hugepage_madvise(), mm/khugepaged.c (v4.8, v5.10; start unverified)"),
        ],
        /// Whether move_pages moves hugetlb pages.
        hugetlb_migrate: HugetlbMigrate = [
            (FIRST, HugetlbMigrate::Never, "vma_migratable(), include/linux/mempolicy.h (v2.6.39)"),
            (at(3, 12), HugetlbMigrate::ToPool, "unmap_and_move_huge_page(), alloc_huge_page_node() (v4.4; start unverified)"),
            (at(4, 16), HugetlbMigrate::ToAny, "alloc_huge_page_nodemask(), mm/hugetlb.c (v5.10), Linux commit ab5ac90aecf5 (v4.16; release unverified)"),
        ],
        /// MADV_REMOVE takes huge pages out of a shared mapping.
        hugetlb_punches: bool = [
            (FIRST, false, "madvise_remove(), mm/madvise.c (v2.6.39)"),
            (at(4, 3), true, "Linux commit 70c3547e36f5 (\"hugetlbfs: add hugetlbfs_fallocate()\", v4.3; release unverified), hugetlbfs_punch_hole(), fs/hugetlbfs/inode.c (v6.12)"),
        ],
        /// move_pages moves a hugetlb page for the sake of any of its pages; before, of its first only.
        hugetlb_moves_by_tail: bool = [
            (FIRST, false, "add_page_for_migration(), mm/migrate.c (v5.10, v6.1)"),
            (at(6, 9), true, "__add_folio_for_migration(), mm/migrate.c (v6.12; start unverified)"),
        ],
        }
    };
}
pub(super) use hugetlb_rows;
