//! Files and shared memory: faults, huge pages, reading ahead, truncation.

/// Hands the rows of this room on, behind those that came before.
macro_rules! file_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// Pages around a read fault that are mapped with it, where the page cache has them; 1 where only the page is.
        fault_around: u64 = [
            (FIRST, 1, "__do_fault(), mm/memory.c (v2.6.39)"),
            (at(3, 15), 16, "do_fault_around(), mm/memory.c (v4.4); Linux commit 8c6e50b0290c (v3.15; release unverified)"),
        ],
        /// A read fault that has to read from a disk comes again, and maps around itself then.
        read_repeats_fault: bool = [
            (FIRST, false, "filemap_fault(), mm/filemap.c (v4.8)"),
            (at(5, 1), true, "filemap_fault(), do_sync_mmap_readahead(), mm/filemap.c (v5.10), Linux commit 6b4c9f446981 (v5.1; release unverified)"),
        ],
        /// Of a large folio a fault maps only the first page around itself.
        fault_around_skips_tails: bool = [
            (FIRST, true, "filemap_map_pages(), mm/filemap.c (v4.8): the mapping of a tail is not that of the file"),
            (at(5, 2), false, "filemap_map_pages(), mm/filemap.c (v5.10; start unverified)"),
        ],
        /// Of a large folio a fault maps all pages around itself, also those outside its window.
        fault_around_whole_folios: bool = [
            (FIRST, false, "filemap_map_folio_range(), mm/filemap.c (v6.12)"),
            (at(6, 18), true, "filemap_map_folio_range(), mm/filemap.c, Linux commit 357b92761d94 (v6.18)"),
        ],
        /// What other faults map of a large file folio by PTEs.
        file_fault: FileFault = [
            (FIRST, FileFault::OnePage, "alloc_set_pte(), finish_fault(), mm/memory.c (v4.8, v6.8)"),
            (at(6, 11), FileFault::AnonShmem, "finish_fault(), mm/memory.c, Linux commit 43e027e41423 (v6.11)"),
            (at(6, 17), FileFault::Shmem, "finish_fault(), mm/memory.c (v6.17; start unverified)"),
            (at(6, 18), FileFault::WholeFolio, "finish_fault(), mm/memory.c, Linux commit 19773df031bc (v6.18)"),
        ],
        /// MADV_NOHUGEPAGE keeps PMDs of file folios out of an area, too.
        nohuge_keeps_file_pmds_out: bool = [
            (FIRST, false, "do_set_pmd(), mm/memory.c (v4.8, v6.11)"),
            (at(6, 12), true, "do_set_pmd(), mm/memory.c (v6.12; start unverified)"),
        ],
        /// A PMD that is mapped to a file folio whose pages had PTEs clears PG_double_map, if no page has one.
        file_pmd_clears_double_map: bool = [
            (FIRST, false, "page_add_file_rmap(), mm/rmap.c (v4.8, v5.10)"),
            (at(5, 18), true, "page_add_file_rmap(), mm/rmap.c, Linux commit bd55b0c2d64e (v5.18)"),
        ],
        /// Shared memory can be in huge pages (`huge=`, `shmem_enabled`).
        shmem_huge: bool = [
            (FIRST, false, "shmem_getpage_gfp(), mm/shmem.c (v4.7)"),
            (at(4, 8), true, "shmem_getpage_gfp(), mm/shmem.c (v4.8)"),
        ],
        /// `huge=within_size` asks whether the file reaches behind the page, not whether it reaches behind the huge page:
        /// the first page of one is taken for its end.
        shmem_within_size_rounds_index: bool = [
            (FIRST, true, "shmem_getpage_gfp(), mm/shmem.c (v4.8, v5.10)"),
            (at(5, 17), false, "shmem_is_huge(), mm/shmem.c (v6.1; start unverified)"),
        ],
        /// Shared memory can be in folios between a page and a PMD (`hugepages-<size>/shmem_enabled`).
        shmem_mthp: bool = [
            (FIRST, false, "shmem_alloc_and_add_folio(), mm/shmem.c (v6.9)"),
            (at(6, 11), true, "shmem_allowable_huge_orders(), mm/shmem.c (v6.11)"),
        ],
        /// A file of shared memory that was made shorter is looked at by the shrinker.
        truncate_notes_for_shrinker: bool = [
            (FIRST, true, "shmem_setattr(), mm/shmem.c (v4.8, v5.10)"),
            (at(5, 15), false, "shmem_setattr(), mm/shmem.c (v6.1; start unverified)"),
        ],
        /// So is one for which a huge page was allocated that reaches behind its end by more than a page; by any page.
        shrinker_overlooks_last_page: bool = [
            (FIRST, true, "shmem_getpage_gfp(), mm/shmem.c (v5.10), shmem_get_folio_gfp() (v6.1)"),
            (at(6, 12), false, "shmem_get_folio_gfp(), mm/shmem.c (v6.12; start unverified)"),
        ],
        /// So is one whose large folio is smaller.
        shrinker_knows_sizes: bool = [
            (FIRST, false, "shmem_get_folio_gfp(), mm/shmem.c (v6.1)"),
            (at(6, 12), true, "shmem_get_folio_gfp(), mm/shmem.c (v6.12; start unverified)"),
        ],
        /// The smallest order of these that sysfs knows.
        shmem_mthp_smallest: u8 = [
            (FIRST, 2, "thpsize_create(), mm/huge_memory.c (v6.11)"),
            (at(6, 12), 1, "thpsize_create(), mm/huge_memory.c (v6.12; start unverified)"),
        ],
        /// Huge pages of a tmpfs file are allocated only for areas that could map them by a PMD.
        tmpfs_huge_fits_area: bool = [
            (FIRST, false, "shmem_alloc_and_add_folio(), mm/shmem.c (v6.11)"),
            (at(6, 12), true, "shmem_suitable_orders(), mm/shmem.c (v6.12)"),
        ],
        /// `huge=` of a tmpfs mount is for folios of every size: where a huge page meets cached pages, smaller ones are tried.
        tmpfs_huge_any_order: bool = [
            (FIRST, false, "shmem_huge_global_enabled(), mm/shmem.c (v6.12)"),
            (at(6, 19), true, "shmem_huge_global_enabled(), mm/shmem.c (v7.2; start unverified: 6.18.44 still does not)"),
        ],
        /// The same mistake of the sizes' `within_size`.
        shmem_sizes_round_index: bool = [
            (FIRST, true, "shmem_allowable_huge_orders(), mm/shmem.c (v6.11)"),
            (Release::new(6, 12, 9), false, "shmem_allowable_huge_orders(), mm/shmem.c (v6.12.107; a backport, start unverified)"),
        ],
        /// XFS uses large folios.
        xfs_large: bool = [
            (FIRST, false, "xfs_setup_inode(), fs/xfs/xfs_iops.c (v5.17)"),
            (at(5, 18), true, "mapping_set_large_folios(), xfs_setup_inode(), fs/xfs/xfs_iops.c (v5.18)"),
        ],
        /// ext4 uses large folios.
        ext4_large: bool = [
            (FIRST, false, "ext4_iget(), fs/ext4/inode.c (v6.15)"),
            (at(6, 16), true, "ext4_set_inode_mapping_order(), fs/ext4/inode.c (v6.16)"),
        ],
        /// The order of the folios that a fault on a page that is not cached reads around it, where the file takes large ones.
        read_around_order: u8 = [
            (FIRST, 2, "page_cache_ra_order(), mm/readahead.c (v5.18, v6.12)"),
            (at(6, 16), 0, "page_cache_ra_order(), mm/readahead.c (v6.16; start unverified)"),
        ],
        /// A marked page at the start of a file starts reading ahead anew; one behind the last read goes on with it.
        readahead_restarts_at_0: bool = [
            (FIRST, true, "ondemand_readahead(), mm/readahead.c (v5.10, v6.1)"),
            (at(6, 11), false, "page_cache_async_ra(), mm/readahead.c (v6.12; start unverified)"),
        ],
        /// Of a window that reaches behind the end of the file the part within it counts for where the mark is.
        readahead_clips_first: bool = [
            (FIRST, false, "__do_page_cache_readahead(), mm/readahead.c (v4.9)"),
            (at(5, 7), true, "__do_page_cache_readahead(), do_page_cache_ra(), mm/readahead.c (v5.10, v7.2; start unverified)"),
        ],
        /// Large folios that are read up to the end of the file get no mark.
        readahead_marks_no_end: bool = [
            (FIRST, false, "page_cache_ra_order(), mm/readahead.c (v6.1, v6.12)"),
            (at(6, 19), true, "page_cache_ra_order(), mm/readahead.c (v7.2; start unverified)"),
        ],
        /// What is read ahead ends at a multiple of the folios' size.
        readahead_ends_aligned: bool = [
            (FIRST, false, "page_cache_async_ra(), mm/readahead.c (v6.12)"),
            (at(6, 16), true, "page_cache_async_ra(), mm/readahead.c (v7.2; start unverified)"),
        ],
        /// What truncation and holes do to a large folio that they cover in part.
        partial_truncate: PartialTruncate = [
            (FIRST, PartialTruncate::Zero, "shmem_undo_range(), mm/shmem.c (v4.8)"),
            (at(5, 7), PartialTruncate::SplitToPages, "shmem_punch_compound(), mm/shmem.c (v5.10), Linux commit 71725ed10c40 (v5.7; release unverified)"),
            (at(6, 15), PartialTruncate::SplitAround, "truncate_inode_partial_folio(), mm/truncate.c (v6.17)"),
        ],
        /// A folio on a disk that truncation could not split is unmapped.
        truncate_unmaps_unsplit: bool = [
            (FIRST, false, "truncate_inode_partial_folio(), mm/truncate.c (v6.17)"),
            (Release::new(6, 12, 59), true, "try_folio_split_or_unmap(), mm/truncate.c (v6.12.107; a backport, start unverified)"),
            (at(6, 13), false, "truncate_inode_partial_folio(), mm/truncate.c (v6.17)"),
            (at(6, 18), true, "try_folio_split_or_unmap(), mm/truncate.c (v6.18)"),
        ],
        /// No entry maps what lies behind the end of a file on a disk, not even as part of a large folio.
        file_maps_end_with_file: bool = [
            (FIRST, false, "finish_fault(), mm/memory.c (v6.12)"),
            (Release::new(6, 12, 59), true, "finish_fault(), filemap_map_pages() (v6.12.107; a backport, start unverified)"),
            (at(6, 13), false, "finish_fault(), mm/memory.c (v6.17; unverified)"),
            (at(6, 18), true, "finish_fault(), filemap_map_pages() (v6.18)"),
        ],
        /// MADV_REMOVE takes a shared mapping that may not be written now, but could be.
        remove_takes_read_only: bool = [
            (FIRST, false, "madvise_remove(), mm/madvise.c (v5.10.223)"),
            (Release::new(5, 10, 224), true, "Debian's 5.10.0-46 as it ran (a backport, start unverified)"),
            (at(5, 11), false, "madvise_remove(), mm/madvise.c (v6.6)"),
            (at(6, 1), true, "madvise_remove(), mm/madvise.c (v6.1.190; a backport, start unverified)"),
            (at(6, 2), false, "madvise_remove(), mm/madvise.c (v6.6)"),
            (at(6, 7), true, "madvise_remove(), mm/madvise.c, Linux commit e8e17ee90eaf (v6.7)"),
        ],
        }
    };
}
pub(super) use file_rows;
