//! Holders of references: LRU batches and pins.

/// Hands the rows of this room on, behind those that came before.
macro_rules! references_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// Pages that a per-CPU batch holds before they go to the LRU.
        lru_batch: u8 = [
            (FIRST, 14, "PAGEVEC_SIZE, include/linux/pagevec.h (v2.6.39, v4.9)"),
            (at(4, 16), 15, "PAGEVEC_SIZE, include/linux/pagevec.h (v5.10), posted 2017-12-05 (\"Get 7% more pages in a pagevec\") for v4.16"),
            (at(6, 9), 31, "PAGEVEC_SIZE, include/linux/pagevec.h (v6.9)"),
        ],
        /// When the batch is emptied.
        lru_flush: LruFlush = [
            (FIRST, LruFlush::BeforeAdding, "____lru_cache_add(), mm/swap.c (v2.6.39)"),
            (at(4, 7), LruFlush::AfterAdding, "__lru_cache_add(), mm/swap.c (v4.9), Linux commit 8f182270dfec (v4.7; in the stable series 4.1 from v4.1.28)"),
        ],
        /// Unmapping drains the LRU batches first.
        unmap_drains: bool = [
            (FIRST, true, "unmap_region(), zap_page_range_single(), exit_mmap() (v5.10, v6.12)"),
            (at(6, 14), false, "the same functions, mm/vma.c, mm/memory.c, mm/mmap.c (v7.2; 6.18.44 as it ran; start unverified)"),
        ],
        /// Folios that a fault made count as accessed (PG_referenced) until an advice takes that away; khugepaged looks at it
        /// beside the accessed bits of entries, which a child has to set anew.
        folios_are_born_referenced: bool = [
            (FIRST, false, "folio_add_lru(), mm/swap.c (v6.12)"),
            (at(7, 2), true, "folio_add_lru(), mm/swap.c (v7.2; start unverified: 6.18 does not)"),
        ],
        /// What a long-term pin takes.
        pin: Pin = [
            (FIRST, Pin::Absent, "no io_uring"),
            (at(5, 1), Pin::Reference, "io_sqe_buffer_register(), fs/io_uring.c (v5.1)"),
            (at(5, 7), Pin::Counted { from_order: 2 }, "hpage_pincount_available(), include/linux/mm.h (v5.10)"),
            (at(5, 18), Pin::Counted { from_order: 1 }, "folio_maybe_dma_pinned(), include/linux/mm.h (v6.1), Linux commit 5232c63f46fd (v5.18)"),
        ],
        /// Whether a registered buffer keeps one pin for several pages of a folio.
        pin_merge: PinMerge = [
            (FIRST, PinMerge::Never, "io_sqe_buffer_register(), io_uring/rsrc.c (v6.1)"),
            (at(6, 3), PinMerge::OneFolio, "Linux commit 57bebf807e2a (\"io_uring/rsrc: optimise registered huge pages\", v6.3; not read)"),
            (at(6, 12), PinMerge::EqualFolios, "io_try_coalesce_buffer(), io_uring/rsrc.c (v6.12, v7.2), Linux commit a8edbb424b13 (start unverified)"),
        ],
        /// Which mappings of files cannot be pinned for long and for writing.
        pin_refuses: PinRefuses = [
            (FIRST, PinRefuses::Files, "io_sqe_buffer_register(), fs/io_uring.c (v5.1)"),
            (at(5, 10), PinRefuses::Disks, "io_pin_pages(), io_uring/io_uring.c (v5.10.223, v6.1; start unverified)"),
            (at(6, 5), PinRefuses::SharedDisks, "check_vma_flags(), writable_file_mapping_allowed(), mm/gup.c (v6.5; start unverified)"),
        ],
        }
    };
}
pub(super) use references_rows;
