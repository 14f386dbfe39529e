//! What kernels do, as data: a row for each behaviour that changed, with the release that changed it
//! and the source. Operations branch on these values, never on a scheme's identity.

mod values;

use std::fmt::Debug;

use crate::release::Release;
pub use values::{
    CollapseWritable, DebugfsSplit, DeferredQueue, FileFault, HugeZeroWrite, HugetlbDontNeed, HugetlbMigrate,
    HugetlbRestore, LargeReuse, LargeSwapTruncate, LazyFreeCount, LruFlush, MadvFree, MigrateQueue,
    MlockBatch, PartialTruncate, Pin, PinMerge, PinRefuses, PmdCopy, PmdReuse, ReclaimSplits,
    ReclaimSplitsFiles, SharedTest, SmallReuse, SwapIn, SwapInFrees,
};

/// A row of the table: a value that holds from a release on.
#[derive(Clone, Copy, Debug)]
pub struct Since<T: 'static> {
    /// The first release.
    pub release: Release,
    /// The value.
    pub value: T,
    /// Where it was read.
    pub source: &'static str,
}

/// A row as text, for `mapcount kernels`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The policy's name.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Its value.
    pub value: String,
    /// Since which release it holds.
    pub since: Release,
    /// Where it was read.
    pub source: &'static str,
}

const fn at(major: u16, minor: u16) -> Release {
    Release::new(major, minor, 0)
}

const FIRST: Release = Release::new(2, 6, 38);

macro_rules! policies {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = [$(($release:expr, $value:expr, $source:literal)),+ $(,)?]),+ $(,)?) => {
        /// What one kernel does.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Policy { $($(#[doc = $doc])+ pub $name: $type),+ }

        mod table {
            use super::{
                CollapseWritable, DebugfsSplit, DeferredQueue, FIRST, FileFault, HugeZeroWrite, HugetlbDontNeed, HugetlbMigrate,
                HugetlbRestore, LargeReuse, LargeSwapTruncate, LazyFreeCount, LruFlush, MadvFree, MigrateQueue, MlockBatch, PartialTruncate,
                Pin, PinMerge, PinRefuses, PmdCopy, PmdReuse, ReclaimSplits, ReclaimSplitsFiles, Release, SharedTest, Since,
                SmallReuse, SwapIn, SwapInFrees, at,
            };
            $(
                #[allow(non_upper_case_globals)]
                pub(super) static $name: &[Since<$type>] = &[$(Since { release: $release, value: $value, source: $source }),+];
            )+
        }

        impl Policy {
            /// The policy of a release: for each row the newest entry that is not newer than it.
            pub fn of(release: Release) -> Policy {
                Policy { $($name: newest(table::$name, release).value),+ }
            }

            /// The rows that hold for a release, as text.
            pub fn rows(release: Release) -> Vec<Row> {
                vec![$({
                    let row = newest(table::$name, release);
                    Row { name: stringify!($name), meaning: concat!($($doc),+), value: format!("{:?}", row.value), since: row.release, source: row.source }
                }),+]
            }

            /// Every release at which some row changes, oldest first.
            pub fn changes() -> Vec<Release> {
                let mut releases = vec![$($($release),+),+];
                releases.sort_unstable();
                releases.dedup();
                releases
            }
        }
    };
}

fn newest<T>(rows: &'static [Since<T>], release: Release) -> &'static Since<T> {
    rows.iter().rev().find(|row| row.release <= release).unwrap_or(&rows[0])
}

policies! {
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
    /// fork copies pages that the parent pinned, instead of sharing them.
    fork_copies_pinned: bool = [
        (FIRST, false, "copy_one_pte(), mm/memory.c (v4.9)"),
        (at(5, 9), true, "copy_present_page(), mm/memory.c (v5.10)"),
    ],
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
    /// PMD-aligned mremap moves PMDs; before, it split them.
    mremap_moves_pmds: bool = [
        (FIRST, false, "move_page_tables(), get_old_pmd(), mm/mremap.c (v2.6.39, v3.1)"),
        (at(3, 2), true, "move_huge_pmd(), mm/huge_memory.c (v4.4), Linux commit 37a1c49a91ad (posted 2011-08-06, not in v3.1)"),
    ],
    /// move_pages splits a THP before it looks at it.
    move_pages_splits: bool = [
        (FIRST, true, "do_move_page_to_node_array(), FOLL_SPLIT, mm/migrate.c (v2.6.39, v4.8)"),
        (at(4, 14), false, "add_page_for_migration(), mm/migrate.c (v5.10), Linux commit e8db67eb0ded (v4.14)"),
    ],
    /// How move_pages finds out that others map a page too.
    migrate_shared_test: SharedTest = [
        (FIRST, SharedTest::PageMapcount, "add_page_for_migration(), mm/migrate.c (v5.10, v6.8)"),
        (at(6, 9), SharedTest::MaybeShared, "add_folio_for_migration(), mm/migrate.c (v6.9, v7.3)"),
    ],
    /// Migration splits folios that are partially mapped instead of moving them.
    migrate_splits_partial: bool = [
        (FIRST, false, "migrate_pages_batch(), mm/migrate.c (v6.9)"),
        (at(6, 10), true, "migrate_pages_batch(), mm/migrate.c (v6.11)"),
    ],
    /// What becomes of a migrated folio's place on the deferred split queue.
    migrate_queue: MigrateQueue = [
        (FIRST, MigrateQueue::Forget, "__folio_migrate_mapping(), mm/migrate.c (v5.10, v6.11)"),
        (Release::new(6, 12, 86), MigrateQueue::AsUnmapped, "migrate_folio_move(), mm/migrate.c (v6.12.107); the backport of Linux commit 8a8ca142a488 is in v6.12.86"),
        (at(6, 13), MigrateQueue::Forget, "__folio_migrate_mapping(), mm/migrate.c (v6.13, v6.17)"),
        (at(7, 0), MigrateQueue::AsUnmapped, "migrate_folio_move(), mm/migrate.c (v7.2), Linux commit 8a8ca142a488 (v7.1; v7.0.13 has it too)"),
    ],
    /// An entry that stood for a page while it was moved or split remembers whether it was accessed.
    migration_keeps_accessed: bool = [
        (FIRST, false, "remove_migration_pte(), mm/migrate.c (v2.6.39, v5.10)"),
        (at(6, 1), true, "remove_migration_pte(), mm/migrate.c (v6.1), Linux commit 2e3468778dbe"),
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
    /// MADV_DONTNEED frees page tables that it empties.
    dontneed_frees_tables: bool = [
        (FIRST, false, "zap_pte_range(), mm/memory.c (v6.13)"),
        (at(6, 14), true, "zap_pte_range(), mm/memory.c, CONFIG_PT_RECLAIM (v6.14)"),
    ],
    /// Anonymous memory can be mapped by folios between a page and a PMD (mTHP).
    mthp: bool = [
        (FIRST, false, "no such sizes"),
        (at(6, 8), true, "alloc_anon_folio(), mm/memory.c (v6.8)"),
    ],
    /// MADV_COLLAPSE exists.
    madv_collapse: bool = [
        (FIRST, false, "madvise_behavior_valid(), mm/madvise.c (v5.19)"),
        (at(6, 1), true, "madvise_collapse(), mm/khugepaged.c (v6.1)"),
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
    /// Folios that a fault made count as accessed (PG_referenced) until an advice takes that away; khugepaged looks at it
    /// beside the accessed bits of entries, which a child has to set anew.
    folios_are_born_referenced: bool = [
        (FIRST, false, "folio_add_lru(), mm/swap.c (v6.12)"),
        (at(7, 2), true, "folio_add_lru(), mm/swap.c (v7.2; start unverified: 6.18 does not)"),
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
    /// What MADV_FREE does without swap.
    madv_free: MadvFree = [
        (FIRST, MadvFree::Absent, "madvise_behavior_valid(), mm/madvise.c (v4.4)"),
        (at(4, 5), MadvFree::DontNeed, "madvise_vma(), mm/madvise.c (v4.5, v4.8)"),
        (at(4, 12), MadvFree::LazyByPage, "madvise_free_huge_pmd(), madvise_free_pte_range() (v5.10), Linux commit 93e06c7a6453 (v4.12)"),
        (at(6, 10), MadvFree::LazyByFolio, "madvise_free_pte_range(), mm/madvise.c (v6.11)"),
    ],
    /// Addresses that ksmd lets share one page.
    ksm_max_sharing: Option<u32> = [
        (FIRST, None, "stable_tree_append(), mm/ksm.c (v4.3)"),
        (at(4, 13), Some(256), "stable_tree_search(), mm/ksm.c, Linux commit 2c653d0ee2ae (v4.13)"),
    ],
    /// ksmd splits a THP when two of its own pages are alike, instead of giving up.
    ksm_splits_thp: bool = [
        (FIRST, false, "cmp_and_merge_page(), mm/ksm.c (v4.5)"),
        (at(4, 17), true, "cmp_and_merge_page(), mm/ksm.c, Linux commit 77da2ba0648a (v4.17)"),
    ],
    /// A write to a merged page that nobody else maps takes it, instead of a copy.
    ksm_reuse: bool = [
        (FIRST, false, "do_wp_page(), mm/memory.c (v4.9)"),
        (at(5, 1), true, "reuse_ksm_page(), do_wp_page(), Linux commit 52d1e606ee73 (2019-03-05, two days after v5.0)"),
        (at(5, 9), false, "do_wp_page(), mm/memory.c (v5.10), Linux commit 09854ba94c6a (v5.9)"),
    ],
    /// To break up a merged page ksmd asks for a copy (FAULT_FLAG_UNSHARE), not for write access.
    ksm_unshares: bool = [
        (FIRST, false, "break_ksm(), mm/ksm.c (v6.1)"),
        (at(6, 2), true, "break_ksm(), mm/ksm.c (v6.2)"),
    ],
    /// move_pages moves merged pages.
    ksm_migrates: bool = [
        (FIRST, false, "do_move_page_to_node_array(), mm/migrate.c (v2.6.39)"),
        (at(3, 9), true, "do_move_page_to_node_array(), mm/migrate.c (v4.8), posted 2013-01-25 (\"ksm: enable KSM page migration\") for v3.9"),
    ],
    /// MADV_PAGEOUT exists.
    madv_pageout: bool = [
        (FIRST, false, "include/uapi/asm-generic/mman-common.h (v5.3)"),
        (at(5, 4), true, "Linux commit 1a4e58cce84e (\"mm: introduce MADV_PAGEOUT\", v5.4)"),
    ],
    /// How MADV_PAGEOUT finds out that others map a large folio too.
    pageout_shared_test: SharedTest = [
        (FIRST, SharedTest::PageMapcount, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (v5.10, v6.8)"),
        (at(6, 9), SharedTest::MaybeShared, "madvise_cold_or_pageout_pte_range(), mm/madvise.c (Linux commit ebb34f78d72c, v6.9; v6.11)"),
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
    /// Which entries have to explain the references on a folio that MADV_FREE gave up.
    lazyfree_counts: LazyFreeCount = [
        (FIRST, LazyFreeCount::FirstPage, "try_to_unmap_one(), mm/rmap.c (v5.10.223, v6.1)"),
        (at(6, 10), LazyFreeCount::Folio, "try_to_unmap_one(), mm/rmap.c (v6.12; start unverified)"),
    ],
    /// A PMD-mapped folio that MADV_FREE gave up is dropped whole; before, its PMD was split first.
    lazyfree_drops_pmd: bool = [
        (FIRST, false, "try_to_unmap_one(), mm/rmap.c (v6.1)"),
        (at(6, 11), true, "unmap_huge_pmd_locked(), mm/huge_memory.c (v6.12), Linux commit 735ecdfaf4e8 (v6.11; release unverified)"),
    ],
    /// A folio that MADV_FREE gave up stays so when it is not dropped because somebody holds it.
    lazyfree_outlives_holders: bool = [
        (FIRST, false, "try_to_unmap_one(), mm/rmap.c (v5.10.223, v6.12)"),
        (at(6, 14), true, "try_to_unmap_one(), mm/rmap.c (v7.2; start unverified)"),
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
    /// Which large folios of the page cache reclaim splits before it looks at them.
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
    /// An area with memory of its own that has changed joins a neighbour that has none yet.
    faulted_area_joins_fresh: bool = [
        (FIRST, false, "is_mergeable_anon_vma(), mm/mmap.c (v5.10), mm/vma.c (v6.12)"),
        (at(6, 16), true, "is_mergeable_anon_vma(), mm/vma.c (v7.2), Linux commit 879bca0a2c4f (v6.16; release unverified)"),
    ],
    /// move_pages moves what it has when it comes to a page that it cannot take, and ends if some of that stays.
    move_pages_by_lists: bool = [
        (FIRST, false, "do_pages_move(), do_move_page_to_node_array(), mm/migrate.c (v2.6.39, v4.8)"),
        (at(4, 17), true, "do_pages_move(), mm/migrate.c (v5.10, v7.2), Linux commit a49bd4d71637 (v4.17; release unverified)"),
    ],
    /// move_pages goes without LRU batches; before, what it looked at waits in one.
    move_pages_without_batches: bool = [
        (FIRST, false, "migrate_prep(), putback_lru_page(), mm/migrate.c, mm/vmscan.c (v5.10)"),
        (at(5, 13), true, "lru_cache_disable(), mm/swap.c (v6.1), Linux commit d479960e44f2 (v5.13; release unverified)"),
    ],
    /// Unmapping drains the LRU batches first.
    unmap_drains: bool = [
        (FIRST, true, "unmap_region(), zap_page_range_single(), exit_mmap() (v5.10, v6.12)"),
        (at(6, 14), false, "the same functions, mm/vma.c, mm/memory.c, mm/mmap.c (v7.2; 6.18.44 as it ran; start unverified)"),
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
    /// Which mappings of files cannot be pinned for long and for writing.
    pin_refuses: PinRefuses = [
        (FIRST, PinRefuses::Files, "io_sqe_buffer_register(), fs/io_uring.c (v5.1)"),
        (at(5, 10), PinRefuses::Disks, "io_pin_pages(), io_uring/io_uring.c (v5.10.223, v6.1; start unverified)"),
        (at(6, 5), PinRefuses::SharedDisks, "check_vma_flags(), writable_file_mapping_allowed(), mm/gup.c (v6.5; start unverified)"),
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
    /// mprotect makes a locked private area present, ready for writing, where it may be written from now on.
    mprotect_populates: bool = [
        (FIRST, false, "mprotect_fixup(), mm/mprotect.c (v4.1)"),
        (at(4, 2), true, "mprotect_fixup(), mm/mprotect.c, Linux commit 36f881883c57 (v4.2)"),
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
    /// MADV_POPULATE says EFAULT behind the end of a file; before, ENOMEM.
    populate_says_efault: bool = [
        (FIRST, false, "madvise_populate(), mm/madvise.c (v6.8)"),
        (at(6, 1), true, "madvise_populate(), mm/madvise.c (v6.1.192; a backport, start unverified)"),
        (at(6, 2), false, "madvise_populate(), mm/madvise.c (v6.8)"),
        (at(6, 9), true, "madvise_populate(), mm/madvise.c, Linux commit 631426ba1d45 (v6.9)"),
    ],
    /// debugfs split_huge_pages knows of orders; before, it splits to single pages whatever else is written.
    debugfs_takes_order: bool = [
        (FIRST, false, "split_huge_pages_write(), mm/huge_memory.c (v6.1)"),
        (at(6, 9), true, "split_huge_pages_write(), mm/huge_memory.c (v6.9; start unverified)"),
    ],
    /// smaps leaves out PMDs that nobody may use (PROT_NONE).
    smaps_skips_protnone_pmds: bool = [
        (FIRST, false, "smaps_pmd_entry(), follow_trans_huge_pmd() (v5.10)"),
        (at(6, 1), true, "the same functions, gup_can_follow_protnone() (v6.1)"),
        (at(6, 6), false, "smaps_pmd_entry(), fs/proc/task_mmu.c (v6.12; start unverified)"),
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
    /// Mappings of DAX devices are mixed maps (VM_MIXEDMAP), which fork copies.
    dax_is_mixed_map: bool = [
        (FIRST, true, "dax_mmap(), drivers/dax/device.c (v4.18; not modelled)"),
        (at(4, 19), false, "dax_mmap(), drivers/dax/device.c (v5.10), Linux commit e1fb4a086495 (\"dax: remove VM_MIXEDMAP for fsdax and device dax\", v4.19)"),
    ],
    /// Memory of DAX devices is in folios as large as the device's alignment; before, each page was one.
    dax_compound: bool = [
        (FIRST, false, "dev_dax_probe(), drivers/dax/device.c (v5.10)"),
        (at(5, 17), true, "dev_dax_probe(), vmemmap_shift, Linux commit 14606001efb4 (\"device-dax: compound devmap support\", v5.17)"),
    ],
    /// Mappings of DAX devices own references and are counted as those of files are.
    dax_counts: bool = [
        (FIRST, false, "vmf_insert_mixed(), vmf_insert_pfn_pmd(), vmf_insert_pfn_pud() (v5.10, v6.12)"),
        (at(6, 15), true, "vmf_insert_folio_pmd(), vmf_insert_folio_pud(), mm/huge_memory.c (v7.2); \"device/dax: properly refcount device dax pages when mapping\" (v6.15)"),
    ],
    /// mprotect changes PUDs; before, it took them for damaged and cleared them.
    mprotect_knows_puds: bool = [
        (FIRST, false, "change_pud_range(), pud_none_or_clear_bad(), mm/mprotect.c (v5.10, v6.1)"),
        (at(6, 12), true, "change_pud_range(), mm/mprotect.c, change_huge_pud() (v6.12)"),
    ],
    /// smaps sees PMDs of devices though nobody counts them.
    smaps_sees_device_pmds: bool = [
        (FIRST, true, "smaps_pmd_entry(), follow_trans_huge_pmd() (v5.10, v6.1)"),
        (at(6, 6), false, "smaps_pmd_entry(), vm_normal_page_pmd() (v6.12; start unverified)"),
    ],
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

#[cfg(test)]
mod tests {
    use super::{LargeReuse, LruFlush, Policy};
    use crate::release::Release;

    #[test]
    fn the_newest_row_that_is_not_newer_holds() {
        let old = Policy::of(Release::new(2, 6, 39));
        assert_eq!((old.lru_batch, old.lru_flush), (14, LruFlush::WhenFull));
        assert_eq!(Policy::of(Release::new(6, 8, 0)).large_reuse, LargeReuse::ExclusiveOrOnlyReference);
        assert_eq!(Policy::of(Release::new(6, 9, 0)).large_reuse, LargeReuse::Exclusive);
        assert_eq!(Policy::of(Release::new(7, 3, 0)).large_reuse, LargeReuse::ExclusiveOrOwned);
    }

    #[test]
    fn rows_are_in_order_and_say_where_they_come_from() {
        for release in Policy::changes() {
            for row in Policy::rows(release) {
                assert!(row.since <= release, "{}", row.name);
                assert!(!row.source.is_empty() && !row.meaning.is_empty(), "{}", row.name);
            }
        }
    }
}
