//! Merging of equal pages.

/// Hands the rows of this room on, behind those that came before.
macro_rules! ksm_rows {
    ({ $next:ident $($rest:ident)* } $($rows:tt)*) => {
        $next! { { $($rest)* } $($rows)*
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
        /// ksmd leaves a page alone that changed since the last pass; before, it looked first whether a merged page is like it.
        ksm_skips_changed: bool = [
            (FIRST, false, "cmp_and_merge_page(), mm/ksm.c (v2.6.39, v5.10, v6.1)"),
            (at(6, 11), true, "cmp_and_merge_page(), mm/ksm.c (v6.12, v7.2), Linux commit d58a361b0350 (v6.11)"),
        ],
        /// A write to a merged page that nobody else maps takes it, instead of a copy.
        ksm_reuse: bool = [
            (FIRST, false, "do_wp_page(), mm/memory.c (v4.9)"),
            (at(5, 1), true, "reuse_ksm_page(), do_wp_page(), Linux commit 52d1e606ee73 (2019-03-05, two days after v5.0)"),
            (at(5, 9), false, "do_wp_page(), mm/memory.c (v5.10), Linux commit 09854ba94c6a (v5.9)"),
        ],
        /// Where ksmd finds pages that nobody may use (PROT_NONE).
        ksm_protnone: KsmProtNone = [
            (FIRST, KsmProtNone::Everywhere, "follow_page_pte(), mm/gup.c (v5.10)"),
            (at(6, 1), KsmProtNone::ByScan, "gup_can_follow_protnone(), get_mergeable_page(), scan_get_next_rmap_item() (v6.1.190; the walk that finds them is a backport, start unverified)"),
            (at(6, 2), KsmProtNone::Nowhere, "gup_can_follow_protnone(), scan_get_next_rmap_item() (v6.2)"),
            (at(6, 6), KsmProtNone::Everywhere, "gup_can_follow_protnone(), include/linux/mm.h (v6.12; start as that of smaps_skips_protnone_pmds)"),
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
        }
    };
}
pub(super) use ksm_rows;
