//! Migration.

/// Hands the rows of this room on, behind those that came before.
macro_rules! migrate_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
        /// move_pages splits a THP before it looks at it.
        move_pages_splits: bool = [
            (FIRST, true, "do_move_page_to_node_array(), FOLL_SPLIT, mm/migrate.c (v2.6.39, v4.8)"),
            (at(4, 14), false, "add_page_for_migration(), mm/migrate.c (v5.10), Linux commit e8db67eb0ded (v4.14)"),
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
        }
    };
}
pub(super) use migrate_rows;
