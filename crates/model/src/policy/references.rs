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
            (FIRST, LruFlush::WhenFull, "__lru_cache_add(), mm/swap.c (v2.6.39, v3.4)"),
            (at(3, 8), LruFlush::BeforeAdding, "__lru_cache_add(), mm/swap.c (v3.10, v4.4); posted 2012-10 for v3.8 (\"mm/swap: check pagevec space before adding\"; release unverified)"),
            (at(4, 7), LruFlush::AfterAdding, "__lru_cache_add(), mm/swap.c (v4.9), Linux commit 8f182270dfec (v4.7; in the stable series 4.1 from v4.1.28)"),
        ],
        /// There is a batch for each list of the LRU: own memory, shared memory and files wait apart.
        lru_batch_by_list: bool = [
            (FIRST, true, "__lru_cache_add(), lru_add_pvecs, mm/swap.c (v2.6.39, v3.10)"),
            (at(3, 11), false, "__lru_cache_add(), mm/swap.c, Linux commit 13f7f78981e4 (v3.11)"),
        ],
        /// The LRU has generations: MADV_COLD moves what is not in active use, too.
        lru_generations: bool = [
            (FIRST, false, "deactivate_page(), mm/swap.c (v5.10); CONFIG_LRU_GEN_ENABLED is off in Debian's v6.1"),
            (at(6, 12), true, "folio_deactivate(), mm/swap.c (v6.12, v7.2) with CONFIG_LRU_GEN_ENABLED as in Debian's kernels"),
        ],
        /// What is in the oldest generation already is not moved there.
        lru_deactivate_spares_oldest: bool = [
            (FIRST, false, "folio_deactivate(), mm/swap.c (v6.12)"),
            (at(6, 14), true, "folio_deactivate(), lru_gen_clear_refs(), mm/swap.c (v7.2; start unverified)"),
        ],
        /// Where pages wait that are locked or unlocked.
        mlock_batch: MlockBatch = [
            (FIRST, MlockBatch::None, "add_page_to_unevictable_list(), putback_lru_page() (v2.6.39, v4.4)"),
            (at(4, 17), MlockBatch::WithOthers, "putback_lru_page(), lru_cache_add_inactive_or_unevictable() (v5.10), Linux commit 9c4e6b1a7027 (v4.17; release unverified)"),
            (at(5, 18), MlockBatch::Own, "mlock_folio(), mlock_new_folio(), munlock_folio(), mm/mlock.c (v6.1, v7.2), Linux commit 2fbb0c10d1e8 (v5.18; release unverified)"),
        ],
        /// mlock drains all batches when it begins.
        mlock_drains: bool = [
            (FIRST, true, "mlock(), mm/mlock.c (v2.6.39, v4.8)"),
            (at(4, 15), false, "do_mlock(), mm/mlock.c (v5.10), Linux commit 72b03fcd5d51 (v4.15; release unverified)"),
        ],
        /// munlock puts pages that nobody else maps back to the LRU without a batch.
        munlock_by_batches: bool = [
            (FIRST, false, "munlock_vma_pages_range(), mm/mlock.c (v2.6.39)"),
            (at(3, 12), true, "__munlock_pagevec(), mm/mlock.c (v4.4, v5.10; start unverified)"),
        ],
        /// A large folio is looked at when a locked area unmaps a part of it.
        munlocks_parts: bool = [
            (FIRST, false, "munlock_vma_page(), mm/internal.h (v6.1)"),
            (at(6, 7), true, "munlock_vma_folio(), mm/internal.h (v6.12; start unverified)"),
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
