//! Swap of shared memory: a folio that nobody maps moves from the page cache to the swap cache and back. In the
//! page cache its slots stand for it meanwhile; no page table knows of them.
//!
//! Sources: `shmem_writepage()` (mm/shmem.c, v5.10, v6.1, v6.12), `shmem_writeout()` (v7.2); `shmem_swapin_page()`
//! (v5.10), `shmem_swapin_folio()`, `shmem_split_large_entry()` (v6.12, v7.2); `shmem_free_swap()` (v6.1, v6.12, v7.2);
//! `shmem_unuse()` (v5.10, v7.2).

use super::Outcome;
use super::pageout::Next;
use super::split::{self, Request};
use super::swap_cache;
use crate::event::{Errno, Phase, Why};
use crate::machine::Machine;
use crate::machine::files::File;
use crate::machine::frames::{Mapping, Root};
use crate::machine::swapped::SwapValue;
use crate::policy::LargeSwapTruncate;
use crate::units::{Folio, Order, Pfn};

/// Writes a dirty folio that only the page cache and reclaim hold to swap.
///
/// # Errors
/// Why it stays in the page cache.
pub(super) fn swap_out(m: &Machine, file: &File, folio: Folio) -> Result<Next, Why> {
    if !m.swap.is_on() {
        return Err(Why::NoSwap);
    }
    let index = m.frames.mapping(folio).index;
    let crosses_end = (index + 1..index + u64::from(folio.pages())).contains(&file.size.get());
    if crosses_end || !m.swap.add(folio) {
        if !folio.is_large() {
            return Err(Why::NoSwap);
        }
        return split::split(m, folio, Request::LISTED).map(|()| Next::Pieces);
    }
    m.get_refs(folio, folio.pages() as i32);
    m.phase(Phase::SwapCached, None, folio.range());
    let slot = m.swap.slot_of(folio, folio.head).expect("it was put into the cache");
    m.swap_out_of_page_cache(file, folio, slot);
    Ok(Next::Written)
}

/// Brings page `index` of a file back from swap, with its folio where that is in the swap cache; `None` if the page is
/// not swapped out. The folio leaves the swap cache.
///
/// # Errors
/// ENOMEM when memory is full.
pub(super) fn swap_in(m: &Machine, file: &File, index: u64) -> Result<Option<Pfn>, Errno> {
    let Some(value) = file.cache.swapped.get(index) else { return Ok(None) };
    let slot = value.slot_of(index);
    let page = match m.swap.page_of(slot) {
        Some(page) => page,
        None => read(m, file, slot).ok_or(Errno::Enomem)?,
    };
    let folio = m.folio(page);
    if value.order > folio.order {
        file.cache.swapped.split(value, index, m.policy.shmem_splits_entries_around);
    }
    m.get_refs(folio, 1);
    m.swap_into_page_cache(file, folio, index - u64::from(page.0 - folio.head.0));
    swap_cache::remove(m, folio);
    m.set_dirty(file, folio);
    m.put_refs(folio, 1);
    Ok(Some(page))
}

/// Reads a slot into a fresh page of the swap cache; `None` when memory is full. Neighbours that the kernel reads
/// ahead are not seen by anybody, and left out.
fn read(m: &Machine, file: &File, slot: u32) -> Option<Pfn> {
    let nowhere = Mapping { root: Root(0), index: 0 };
    let folio = m.alloc_kind(Order::ZERO, file.kind.folios(), Some(nowhere))?;
    m.frames.set_content(folio.head, m.swap.content(slot));
    // The reference of the allocation becomes the cache's.
    m.swap.add_read(folio, slot);
    m.lru_add(folio);
    Some(folio.head)
}

/// Forgets what pages `start..end` of a file have in swap. Entries that stand for pages outside as well stay, but for
/// kernels that free them with all their pages.
pub(super) fn free_range(m: &Machine, file: &File, (start, end): (u64, u64), last_round: bool) {
    let mut at = start;
    while let Some(value) = file.cache.swapped.next(at, end) {
        at = value.end();
        let inside = value.index >= start && value.end() <= end;
        if inside || (last_round && m.policy.truncate_of_swapped == LargeSwapTruncate::FreesAll) {
            free(m, file, value);
        }
    }
}

fn free(m: &Machine, file: &File, value: SwapValue) {
    file.cache.swapped.remove(value);
    for index in value.index..value.end() {
        swap_cache::unuse(m, value.slot_of(index));
    }
}

/// Whether the kernel loops for ever when a file is made so short: from the first page behind the new end on it
/// looks for what is left, and finds the entry of a folio that reaches across the end, which it does not free.
pub(super) fn truncation_never_ends(m: &Machine, file: &File, size: u64) -> bool {
    let across = || file.cache.swapped.get(size).is_some_and(|value| value.index < size);
    m.policy.truncate_of_swapped == LargeSwapTruncate::NeverEnds && size < file.size.get() && across()
}

/// swapoff brings everything back that is in page caches, before it looks at page tables.
///
/// # Errors
/// ENOMEM when memory is full: what came back by then stays.
pub(super) fn swapoff(m: &Machine) -> Outcome {
    for file in m.files.all() {
        while let Some(value) = file.cache.swapped.next(0, u64::MAX) {
            swap_in(m, &file, value.index)?;
        }
    }
    Ok(())
}
