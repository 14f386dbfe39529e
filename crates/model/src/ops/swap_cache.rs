//! Leaving the swap cache: who drops it, and when it may be dropped.
//!
//! Sources: `try_to_free_swap()`, `reuse_swap_page()`, `free_swap_and_cache()`, `__try_to_reclaim_swap()`
//! (mm/swapfile.c, v5.4 to v5.18); `folio_free_swap()` (v6.1 to v7.2); `free_swap_cache()` (mm/swap_state.c).

use super::rmap_walk;
use crate::machine::frames::FolioFlag;
use crate::machine::{Machine, Quirk};
use crate::query::{Query, Tally};
use crate::units::Folio;

/// Takes a folio out of the swap cache, with the cache's references.
pub(super) fn remove(m: &Machine, folio: Folio) {
    m.swap.remove(folio, |page| m.frames.content(page));
    // Meanwhile nobody queued it; who looks only at the queue does not find it any more.
    if folio.is_large() && (1..i64::from(folio.pages())).contains(&rmap_walk::count_entries(m, folio)) {
        m.note(Quirk::SwapCacheUnqueued, folio);
    }
    m.put_refs(folio, folio.pages() as i32);
}

/// Drops the swap cache's references if no swap entry needs the folio any more; says whether it did. The
/// caller holds a reference.
pub(super) fn try_free(m: &Machine, folio: Folio) -> bool {
    let free = m.swap.holds(folio) && !m.swap.is_swapped(folio);
    if free {
        remove(m, folio);
        // Nothing else has what it holds any more.
        m.frames.set_flag(folio, FolioFlag::Dirty, true);
    }
    free
}

/// What everybody does who drops the reference of a mapping that is gone: an unmapped folio need not stay
/// in the cache.
pub(crate) fn free_unmapped(m: &Machine, folio: Folio) {
    if m.swap.holds(folio) && !m.is_mapped(folio) {
        try_free(m, folio);
    }
}

/// A swap entry is gone. With the last one the slot is free, unless the cache holds it; the cache is dropped
/// where no page table maps the folio, or when swap is short.
pub(super) fn unuse(m: &Machine, slot: u32) {
    if m.swap.unuse(slot) > 0 {
        return;
    }
    let Some(page) = m.swap.page_of(slot) else { return };
    let folio = m.folio(page);
    if !m.is_mapped(folio) || m.swap.is_full() {
        try_free(m, folio);
    }
}

/// Up to 5.18: whether the folio may be written in place, of which each page has one mapping or swap entry at
/// most. Then it leaves the cache, but for a large one with pages that are still swapped; `faulting` is how
/// many swap entries are about to go away.
pub(super) fn reuse_by_mapcount(m: &Machine, folio: Folio, faulting: u32) -> bool {
    let uses = |page| m.swap.slot_of(folio, page).map_or(0, |slot| m.swap.uses(slot));
    let mapped = |page| m.ask(Query::PageMapcount, page, &mut Tally::off()).value().unwrap_or(0);
    let greatest = folio.range().iter().map(|page| mapped(page) + i64::from(uses(page))).max().unwrap_or(0);
    let swapped: u32 = folio.range().iter().map(uses).sum();
    if greatest == 1 && m.swap.holds(folio) && (!folio.is_large() || swapped == faulting) {
        remove(m, folio);
    }
    greatest <= 1
}
