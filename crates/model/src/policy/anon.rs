//! Anonymous memory: faults, the huge zero folio, copies on write, fork, entries that move.

/// Hands the rows of this room on, behind those that came before.
macro_rules! anon_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// THPs are part of the statistic of mapped anonymous pages.
        anon_mapped_counts_thps: bool = [
            (FIRST, false, "page_add_new_anon_rmap(), mm/rmap.c (v2.6.39)"),
            (at(3, 12), true, "page_add_new_anon_rmap(), mm/rmap.c (v3.13), Linux commit 3cd14fcd3f12 (posted 2013-07-15, after v3.11-rc1)"),
        ],
        /// A read fault may map the huge zero folio.
        huge_zero: bool = [
            (FIRST, false, "do_huge_pmd_anonymous_page(), mm/huge_memory.c (v2.6.39)"),
            (at(3, 8), true, "do_huge_pmd_anonymous_page(), mm/huge_memory.c (v3.13)"),
        ],
        /// What a write to the huge zero folio does.
        huge_zero_write: HugeZeroWrite = [
            (FIRST, HugeZeroWrite::Thp, "do_huge_pmd_wp_page(), mm/huge_memory.c (v4.5)"),
            (at(5, 8), HugeZeroWrite::OnePage, "do_huge_pmd_wp_page(), mm/huge_memory.c (v5.10, v6.12)"),
            (at(6, 13), HugeZeroWrite::Thp, "do_huge_zero_wp_pmd(), mm/huge_memory.c (v6.13)"),
        ],
        /// A write to the huge zero folio takes a THP only where the area and the system let it have one.
        huge_zero_write_asks: bool = [
            (FIRST, true, "do_huge_pmd_wp_page(), mm/huge_memory.c (v4.5, v5.7)"),
            (at(6, 13), false, "do_huge_zero_wp_pmd(), mm/huge_memory.c (v6.13, v7.2)"),
        ],
        /// Anonymous memory can be mapped by folios between a page and a PMD (mTHP).
        mthp: bool = [
            (FIRST, false, "no such sizes"),
            (at(6, 8), true, "alloc_anon_folio(), mm/memory.c (v6.8)"),
        ],
        /// Write faults on small pages: when the page is reused.
        small_reuse: SmallReuse = [
            (FIRST, SmallReuse::Mapcount, "do_wp_page(), reuse_swap_page() (v2.6.39, v4.5)"),
            (at(5, 9), SmallReuse::MapcountAndReferences, "do_wp_page(), mm/memory.c (v5.10)"),
            (at(5, 19), SmallReuse::ExclusiveOrReferences, "do_wp_page(), mm/memory.c (v5.19)"),
        ],
        /// Write faults on PTE-mapped pages of large folios: when the page is reused.
        large_reuse: LargeReuse = [
            (FIRST, LargeReuse::Never, "no PTE maps a part of a THP (v2.6.39)"),
            (at(4, 5), LargeReuse::GreatestMapcount, "reuse_swap_page(), mm/swapfile.c (v4.5)"),
            (at(5, 9), LargeReuse::OnlyReference, "do_wp_page(), mm/memory.c (v5.10)"),
            (at(5, 19), LargeReuse::ExclusiveOrOnlyReference, "do_wp_page(), mm/memory.c (v5.19, v6.8)"),
            (at(6, 9), LargeReuse::Exclusive, "wp_can_reuse_anon_folio(), mm/memory.c (v6.9, v6.12)"),
            (at(6, 15), LargeReuse::ExclusiveOrOwned, "wp_can_reuse_anon_folio(), mm/memory.c (v6.17)"),
        ],
        /// Write faults on PMD-mapped folios: when the folio is reused.
        pmd_reuse: PmdReuse = [
            (FIRST, PmdReuse::GreatestMapcount, "do_huge_pmd_wp_page(), mm/huge_memory.c (v2.6.39, v5.10)"),
            (at(5, 19), PmdReuse::ExclusiveOrReferences, "do_huge_pmd_wp_page(), mm/huge_memory.c (v5.19)"),
        ],
        /// Write faults on shared PMD-mapped folios: what is copied.
        pmd_copy: PmdCopy = [
            (FIRST, PmdCopy::WholeFolio, "do_huge_pmd_wp_page(), mm/huge_memory.c (v2.6.39, v4.9)"),
            (at(5, 8), PmdCopy::OnePage, "Linux commit 3917c80280c9 (\"thp: change CoW semantics for anon-THP\", v5.8)"),
        ],
        /// With more references than this a write fault does not drain the batch that may hold one of them.
        reuse_drains_up_to: i32 = [
            (FIRST, 3, "wp_can_reuse_anon_folio(), mm/memory.c (v6.19, v7.2)"),
            (at(7, 3), 2, "wp_can_reuse_anon_folio(), mm/memory.c (v7.3)"),
        ],
        /// Pages are marked exclusive (PG_anon_exclusive).
        anon_exclusive: bool = [
            (FIRST, false, "no such flag"),
            (at(5, 19), true, "include/linux/page-flags.h (v5.19)"),
        ],
        /// fork copies pages that the parent pinned, instead of sharing them.
        fork_copies_pinned: bool = [
            (FIRST, false, "copy_one_pte(), mm/memory.c (v4.9)"),
            (at(5, 9), true, "copy_present_page(), mm/memory.c (v5.10)"),
        ],
        /// PMD-aligned mremap moves PMDs; before, it split them.
        mremap_moves_pmds: bool = [
            (FIRST, false, "move_page_tables(), get_old_pmd(), mm/mremap.c (v2.6.39, v3.1)"),
            (at(3, 2), true, "move_huge_pmd(), mm/huge_memory.c (v4.4), Linux commit 37a1c49a91ad (posted 2011-08-06, not in v3.1)"),
        ],
        /// mremap refuses a source that begins in a hole before it unmaps the target.
        mremap_looks_first: bool = [
            (FIRST, false, "mremap_to(), vma_to_resize(), mm/mremap.c (v4.4)"),
            (at(5, 16), true, "mremap(), mm/mremap.c (Linux commit 550a7d60bd5e, \"mm, hugepages: add mremap() support for hugepage backed vma\", v5.16)"),
        ],
        /// mremap moves several areas at once, with the holes between them.
        mremap_moves_areas: bool = [
            (FIRST, false, "vma_to_resize(), mm/mremap.c (v6.14)"),
            (at(6, 17), true, "remap_move(), mm/mremap.c (v7.0), Linux commit d23cb648e365 (\"mm/mremap: permit mremap() move of multiple VMAs\", v6.17)"),
        ],
        /// An area with memory of its own that has changed joins a neighbour that has none yet.
        faulted_area_joins_fresh: bool = [
            (FIRST, false, "is_mergeable_anon_vma(), mm/mmap.c (v5.10), mm/vma.c (v6.12)"),
            (at(6, 16), true, "is_mergeable_anon_vma(), mm/vma.c (v7.2), Linux commit 879bca0a2c4f (v6.16; release unverified)"),
        ],
        /// MADV_DONTNEED frees page tables that it empties.
        dontneed_frees_tables: bool = [
            (FIRST, false, "zap_pte_range(), mm/memory.c (v6.13)"),
            (at(6, 14), true, "zap_pte_range(), mm/memory.c, CONFIG_PT_RECLAIM (v6.14)"),
        ],
        /// mprotect makes a locked private area present, ready for writing, where it may be written from now on.
        mprotect_populates: bool = [
            (FIRST, false, "mprotect_fixup(), mm/mprotect.c (v4.1)"),
            (at(4, 2), true, "mprotect_fixup(), mm/mprotect.c, Linux commit 36f881883c57 (v4.2)"),
        ],
        /// mlock and MADV_POPULATE empty the CPU's LRU batches behind each area that they made present.
        populate_drains: bool = [
            (FIRST, false, "populate_vma_page_range(), mm/gup.c (v5.10)"),
            (at(5, 18), true, "populate_vma_page_range(), faultin_page_range(), mm/gup.c (v6.18; start unverified)"),
        ],
        /// MADV_POPULATE empties them also where an area does not allow it, or there is none.
        populate_refusal_drains: bool = [
            (FIRST, false, "faultin_vma_page_range(), mm/gup.c (v6.1)"),
            (at(6, 9), true, "faultin_page_range(), mm/gup.c (v6.12), Linux commit 631426ba1d45 (v6.9)"),
        ],
        /// MADV_POPULATE says EFAULT behind the end of a file; before, ENOMEM.
        populate_says_efault: bool = [
            (FIRST, false, "madvise_populate(), mm/madvise.c (v6.8)"),
            (at(6, 1), true, "madvise_populate(), mm/madvise.c (v6.1.192; a backport, start unverified)"),
            (at(6, 2), false, "madvise_populate(), mm/madvise.c (v6.8)"),
            (at(6, 9), true, "madvise_populate(), mm/madvise.c, Linux commit 631426ba1d45 (v6.9)"),
        ],
        /// MADV_POPULATE goes on behind a hole, as other advice does.
        populate_passes_holes: bool = [
            (FIRST, true, "madvise_walk_vmas(), mm/madvise.c (v6.1.190; 6.1.0-56 as it ran)"),
            (at(6, 9), false, "madvise_populate(), mm/madvise.c (v6.12), Linux commit 631426ba1d45 (v6.9)"),
        ],
        /// MADV_POPULATE_READ and MADV_POPULATE_WRITE exist.
        madv_populate: bool = [
            (FIRST, false, "include/uapi/asm-generic/mman-common.h (v5.13)"),
            (at(5, 14), true, "madvise_populate(), mm/madvise.c (v5.14)"),
        ],
        }
    };
}
pub(super) use anon_rows;
