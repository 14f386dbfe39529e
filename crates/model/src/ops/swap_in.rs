//! Swap-in: a fault on a swap entry, and swapoff, which brings everything back.
//!
//! Sources: `do_swap_page()`, `should_try_to_free_swap()` (mm/memory.c, v5.10 to v7.2); `ksm_might_need_to_copy()`
//! (mm/ksm.c, v5.10, v6.1, v6.8); `unuse_pte()`, `try_to_unuse()` (mm/swapfile.c).

use super::fault::{self, Access};
use super::{Outcome, shmem_swap, swap_cache};
use crate::event::{Errno, Phase};
use crate::machine::frames::{Content, Mapping};
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::swap::Clusters;
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::policy::{SwapIn, SwapInFrees};
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// A fault at `at`, where a swap entry stands. A write that may not go to the page as it is finds a read-only
/// entry afterwards.
pub(super) fn fault(m: &Machine, mm: &Mm, vma: &Vma, at: u64, access: Access) -> Outcome {
    let entry = mm.table.read(at);
    let page = cached_page(m, vma, at, entry.slot())?;
    let folio = m.folio(page);
    // Whoever looks the folio up in the cache holds a reference, which becomes the first mapping's.
    m.get_refs(folio, 1);
    if copies(m, folio, page) {
        return copy(m, mm, vma, (at, page), access.writes());
    }
    let (start, pages) = batch(m, mm, vma, (at, entry), (folio, page));
    let first = mm.table.read(start);
    let how = if m.policy.anon_exclusive {
        prepare_exclusive(m, vma, folio, (first, pages.len), access.writes())
    } else {
        let writable = prepare_by_mapcount(m, vma, folio, first, access.writes());
        Prepared { exclusive: false, writable, leaves_cache: false }
    };
    if how.writable && access.writes() {
        m.swap.set_dirty(folio, true);
    }
    map(m, mm, vma, (start, folio, pages), how.exclusive, how.writable);
    if how.writable && !access.writes() {
        mm.table.set_run(start, u64::from(pages.len), mm.table.read(start).with_clean());
    }
    if how.leaves_cache {
        swap_cache::try_free(m, folio);
    }
    Ok(())
}

/// How pages are to be mapped that a fault brings back.
struct Prepared {
    /// They are marked exclusive.
    exclusive: bool,
    /// The entries allow writing.
    writable: bool,
    /// Once they are mapped their folio leaves the swap cache, if no swap entry needs it any more.
    leaves_cache: bool,
}

/// As a read fault, for a collapse, which does not wait: `false` if the page is only being read now. What is known
/// to be zeroes need not be read.
pub(super) fn for_collapse(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Result<bool, Errno> {
    let slot = mm.table.read(at).slot();
    let zeroes = m.policy.swap_knows_zeroes && m.swap.content(slot) == Content::default();
    if m.swap.page_of(slot).is_none() && !zeroes {
        cached_page(m, vma, at, slot)?;
        return Ok(false);
    }
    fault(m, mm, vma, at, Access::Read)?;
    Ok(true)
}

/// The page of the cache for a slot, which is read into a fresh one if it is not there. Neighbours that the
/// kernel reads ahead are not seen by anybody, and left out.
fn cached_page(m: &Machine, vma: &Vma, at: u64, slot: u32) -> Result<Pfn, Errno> {
    if let Some(page) = m.swap.page_of(slot) {
        return Ok(page);
    }
    let mapping = Mapping { root: vma.root, index: vma.offset_of(at) };
    let folio = m.alloc(Order::ZERO, mapping).ok_or(Errno::Enomem)?;
    m.frames.set_content(folio.head, m.swap.content(slot));
    // The reference of the allocation becomes the cache's.
    m.swap.add_read(folio, slot);
    m.lru_add(folio);
    Ok(folio.head)
}

/// Up to 6.7 only the first page of a large folio looks as if it belonged to the area.
fn copies(m: &Machine, folio: Folio, page: Pfn) -> bool {
    m.policy.swap_in == SwapIn::CopyTails && page != folio.head
}

/// Gives the process a copy of a page in the cache; the caller's reference on that page is dropped.
fn copy(m: &Machine, mm: &Mm, vma: &Vma, (at, page): (u64, Pfn), writable: bool) -> Outcome {
    let old = m.folio(page);
    let Some(new) = fault::new_folio(m, mm, vma, at, Order::ZERO) else {
        m.put_refs(old, 1);
        return Err(Errno::Enomem);
    };
    m.frames.copy_content(PageRange::one(page), new.head);
    m.swap.unuse(mm.table.read(at).slot());
    mm.table.set(at, Entry::present(new.head, writable));
    m.put_refs(old, 1);
    Ok(())
}

/// What is mapped at once: the page, or all of its folio where all swap entries stand in a row, alike.
fn batch(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    (at, entry): (u64, Entry),
    (folio, page): (Folio, Pfn),
) -> (u64, PageRange) {
    let one = (at, PageRange::one(page));
    let (before, all) = (u64::from(page.0 - folio.head.0), u64::from(folio.pages()));
    if m.policy.swap_in != SwapIn::WholeFolio || at < before {
        return one;
    }
    let start = at - before;
    let fits =
        start >= vma.start.max(mm.table.pmd_start(at)) && start + all <= vma.end.min(mm.table.pmd_end(at));
    if !fits || mm.table.run(start, all, Alike::Exactly).1 != all {
        return one;
    }
    let expected = Entry::swap(entry.slot() - before as u32, entry.is_exclusive());
    if mm.table.read(start) == expected { (start, folio.range()) } else { one }
}

/// From 5.19 on: takes the entries from their slots; says whether the pages are exclusive, whether they may be
/// written, and whether the swap cache is given up behind the mapping.
fn prepare_exclusive(
    m: &Machine,
    vma: &Vma,
    folio: Folio,
    (first, pages): (Entry, u32),
    writes: bool,
) -> Prepared {
    let frees = m.policy.swap_in_frees;
    // A batch may hold the reference that makes the page look shared.
    if writes && frees != SwapInFrees::IfExclusive && !m.is_on_lru(folio) {
        m.lru_drain();
    }
    for slot in first.slot()..first.slot() + pages {
        m.swap.unuse(slot);
    }
    // The cache's references, and the caller's: then it is likely that nobody else needs the folio.
    let cached = if m.policy.swap_in == SwapIn::WholeFolio { folio.pages() as i32 } else { 1 };
    let merged = folio.kind == Kind::Ksm;
    let alone = || !merged && m.refcount(folio) == 1 + cached;
    let anyway = m.swap.is_full() || vma.locked;
    if frees == SwapInFrees::BeforeMapping && (anyway || (writes && alone())) {
        swap_cache::try_free(m, folio);
    }
    let by_references = frees != SwapInFrees::IfExclusive && m.refcount(folio) == 1;
    let exclusive = !merged && (first.is_exclusive() || by_references);
    let leaves_cache = match frees {
        SwapInFrees::BeforeMapping => false,
        SwapInFrees::UnlessExclusive => anyway || (writes && !exclusive && alone()),
        SwapInFrees::IfExclusive => anyway || (writes && exclusive),
    };
    let writable = exclusive && (writes || m.policy.swap_in_maps_writable && vma.protection.write);
    Prepared { exclusive, writable, leaves_cache }
}

/// Up to 5.18: takes the entry from its slot; says whether the page may be written.
fn prepare_by_mapcount(m: &Machine, vma: &Vma, folio: Folio, entry: Entry, writes: bool) -> bool {
    let faulting = m.swap.uses(entry.slot());
    // A merged page is copied by the next write.
    let writable = writes && folio.kind != Kind::Ksm && swap_cache::reuse_by_mapcount(m, folio, faulting);
    m.swap.unuse(entry.slot());
    if m.swap.is_full() || vma.locked {
        swap_cache::try_free(m, folio);
    }
    writable
}

/// Maps pages of a folio on which the caller holds one reference.
fn map(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    (start, folio, pages): (u64, Folio, PageRange),
    exclusive: bool,
    write: bool,
) {
    let by = m.adding(mm, vma, folio, pages.len);
    let references = m.scheme.references_of_added(pages.len, &by);
    m.get_refs(folio, references);
    m.rmap().folio_add_anon_rmap_ptes(folio, pages, &by, exclusive);
    m.mlock_mapped(vma, pages);
    mm.table.set_run(start, u64::from(pages.len), Entry::present(pages.first, write));
    m.put_refs(folio, 1);
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
}

/// swapon of a device with so many slots.
///
/// # Errors
/// EBUSY if it is on already.
pub fn swapon(m: &Machine, slots: u32) -> Outcome {
    if m.swap.is_on() {
        return Err(Errno::Ebusy);
    }
    m.swap.turn_on(slots, Clusters { slots: 1 << m.pmd_order().0, choice: m.policy.swap_clusters });
    // What is known of the device until then goes (`set_blocksize()`, `invalidate_bdev()`, fs/block_dev.c, v5.10).
    m.lru_drain();
    Ok(())
}

/// swapoff: every swap entry gets its page back, one by one, and the cache is emptied.
///
/// # Errors
/// EINVAL if there is no device; ENOMEM when memory is full: what came back by then stays.
pub fn swapoff(m: &Machine) -> Outcome {
    if !m.swap.is_on() {
        return Err(Errno::Einval);
    }
    shmem_swap::swapoff(m)?;
    for mm in m.swap.mms().into_iter().filter_map(|id| m.mm(id)) {
        let areas = mm.vmas.borrow().all().to_vec();
        for area in &areas {
            bring_back(m, &mm, area)?;
        }
    }
    for head in m.swap.heads() {
        swap_cache::try_free(m, m.folio(head));
    }
    m.swap.turn_off();
    // With the device goes what is cached of it, the page that swapon read among it (`blkdev_put()`, fs/block_dev.c, v5.10).
    m.lru_drain();
    Ok(())
}

fn bring_back(m: &Machine, mm: &Mm, vma: &Vma) -> Outcome {
    let mut at = vma.start;
    while let Some(found) = mm.table.next_pmd(at, vma.end) {
        let stop = vma.end.min(mm.table.pmd_end(found));
        at = stop;
        if mm.table.pmd(found) != Pmd::Table {
            continue;
        }
        for page in found..stop {
            let entry = mm.table.read(page);
            if entry.is_swap() {
                bring_back_page(m, mm, vma, page, entry)?;
            }
        }
    }
    Ok(())
}

fn bring_back_page(m: &Machine, mm: &Mm, vma: &Vma, at: u64, entry: Entry) -> Outcome {
    let _guard = m.lock_table(mm, at);
    let page = cached_page(m, vma, at, entry.slot())?;
    let folio = m.folio(page);
    m.get_refs(folio, 1);
    if copies(m, folio, page) {
        m.get_refs(folio, 1);
        let outcome = copy(m, mm, vma, (at, page), false);
        swap_cache::try_free(m, folio);
        m.put_refs(folio, 1);
        return outcome;
    }
    m.swap.unuse(entry.slot());
    map(m, mm, vma, (at, folio, PageRange::one(page)), entry.is_exclusive(), false);
    // Nobody accessed it (`unuse_pte()`, mm/swapfile.c, v5.10 to v7.2).
    mm.table.set(at, mm.table.read(at).with_old_and_aged());
    swap_cache::try_free(m, folio);
    Ok(())
}
