//! mlock and munlock: what they do to areas and which faults they cause. They leave no reference but in batches for the LRU.

use super::fault::{Access, touch};
use super::{Outcome, rmap_walk, vma};
use crate::event::Errno;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::policy::MlockBatch;
use crate::units::{Folio, Kind};

/// Locks `start .. start + pages` and makes every page present, writable areas ready for writing
/// (`do_mlock()`, `populate_vma_page_range()`, mm/mlock.c and mm/gup.c).
///
/// # Errors
/// ENOMEM if some of it is not mapped or may not be touched; EAGAIN when memory is full
/// (`__mlock_posix_error_return()`, mm/mlock.c).
pub fn lock(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    if m.policy.mlock_drains {
        m.lru_drain();
    }
    set_locked(m, mm, range, true)?;
    let end = range.0 + range.1;
    let mut at = range.0;
    while at < end {
        let area = mm.vmas.borrow().find(at).ok_or(Errno::Enomem)?;
        let stop = end.min(area.end);
        // A shared mapping has no copies to make.
        let copies = area.protection.write && !area.is_shared();
        let access = if copies { Access::PopulateWrite } else { Access::Read };
        let touched = touch(m, mm, (at, stop - at), access);
        populated(m, mm, (at, stop - at));
        touched.map_err(|errno| match errno {
            Errno::Enomem => Errno::Eagain,
            _ => Errno::Enomem,
        })?;
        at = stop;
    }
    Ok(())
}

/// What is done about the batches where a part of a locked area was made present. From 5.18 on they are drained at the
/// end (`populate_vma_page_range()`, mm/gup.c, v6.1). Before, it is for each page that they are drained, and one that was
/// not locked yet is taken from the LRU and put back (`follow_page_pte()`, v5.10), so that the last one waits in a batch.
pub(super) fn populated(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) {
    if m.policy.populate_drains {
        return m.lru_drain();
    }
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, start + pages) {
        at = (start + pages).min(mm.table.pmd_end(found));
        if let Pmd::Leaf(entry) = mm.table.pmd(found) {
            mlock_thp(m, entry);
            continue;
        }
        for page in found..at {
            let Some(folio) = mapped(m, mm, page).filter(|folio| !folio.is_large()) else { continue };
            m.lru_drain();
            if !m.holders.is_mlocked(folio.head) {
                m.holders.set_mlocked(folio.head, true);
                m.lru_putback(folio);
            }
        }
    }
}

/// A THP that only this process maps, and by a PMD (`follow_trans_huge_pmd()`, mm/huge_memory.c, v5.10).
fn mlock_thp(m: &Machine, entry: Entry) {
    if !entry.is_present() || entry.is_zero() || entry.is_device() {
        return;
    }
    let folio = m.folio(entry.page());
    let once = !folio.kind.is_anon() || !m.is_mapped_again(folio);
    if folio.kind != Kind::Hugetlb && once && !m.holders.is_mlocked(folio.head) {
        m.holders.set_mlocked(folio.head, true);
        m.lru_putback(folio);
    }
}

/// The folio that is mapped at `at`, unless it is the zero page.
fn mapped(m: &Machine, mm: &Mm, at: u64) -> Option<Folio> {
    let entry = mm.table.read(at);
    let ordinary = entry.is_present() && !entry.is_zero() && !entry.is_device();
    ordinary.then(|| m.folio(entry.page())).filter(|folio| folio.kind != Kind::Hugetlb)
}

/// Unlocks `start .. start + pages`.
///
/// # Errors
/// ENOMEM if some of it is not mapped.
pub fn unlock(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    set_locked(m, mm, range, false)
}

fn set_locked(m: &Machine, mm: &Mm, (start, pages): (u64, u64), locked: bool) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let mut at = start;
    let mut outcome = Ok(());
    while at < end {
        let Some(area) = mm.vmas.borrow().find(at) else {
            outcome = Err(Errno::Enomem);
            break;
        };
        let stop = end.min(area.end);
        // Huge pages and devices are never swapped: their areas are left as they are.
        let swaps = area.hugetlb.is_none() && m.device_of(&area).is_none();
        if area.locked != locked && swaps {
            vma::cut(m, mm, at, stop)?;
            mm.vmas.borrow_mut().update(at, stop, |vma| vma.locked = locked);
            vma::merge(m, mm, at, stop);
            if m.policy.mlock_batch == MlockBatch::Own {
                // `mlock_vma_pages_range()`, mm/mlock.c, v6.1.
                m.lru_drain();
            } else if !locked {
                unlock_pages(m, mm, (at, stop));
            }
        }
        at = stop;
    }
    outcome
}

/// Takes the pages of a locked area, up to 5.17, for unlocked (`munlock_vma_pages_range()`, mm/mlock.c, v2.6.39, v5.10).
pub(super) fn unlock_pages(m: &Machine, mm: &Mm, (start, end): (u64, u64)) {
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        at = end.min(mm.table.pmd_end(found));
        if let Pmd::Leaf(_) = mm.table.pmd(found) {
            if let Some(folio) = mapped(m, mm, found) {
                unlock_isolated(m, mm, folio);
            }
            continue;
        }
        let mut page = found;
        while page < at {
            let most = if m.policy.munlock_by_batches { u64::from(m.policy.lru_batch) } else { 1 };
            let small = |at| mapped(m, mm, at).filter(|folio| !folio.is_large());
            let batch: Vec<Folio> = (page..at.min(page + most)).map_while(small).collect();
            unlock_batch(m, mm, &batch);
            if batch.is_empty()
                && let Some(folio) = mapped(m, mm, page)
            {
                unlock_isolated(m, mm, folio);
            }
            page += batch.len().max(1) as u64;
        }
    }
}

/// Takes pages for unlocked that follow each other. Those that were not locked or are not on the LRU are let go of first,
/// which drains the batches; of the others those that more than one entry maps wait in a batch again.
fn unlock_batch(m: &Machine, mm: &Mm, batch: &[Folio]) {
    if !m.policy.munlock_by_batches {
        return batch.iter().for_each(|folio| unlock_isolated(m, mm, *folio));
    }
    let mut isolated = Vec::new();
    for folio in batch {
        let locked = m.holders.is_mlocked(folio.head);
        m.holders.set_mlocked(folio.head, false);
        if locked && m.is_on_lru(*folio) {
            isolated.push(*folio);
        }
    }
    if isolated.len() < batch.len() {
        m.lru_drain();
    }
    for folio in isolated.into_iter().filter(|folio| m.is_mapped_again(*folio)) {
        lock_for_others(m, mm, folio);
        m.lru_putback(folio);
    }
}

/// Takes a folio for unlocked, if it was locked, and puts it back to the LRU by a batch (`munlock_vma_page()`).
fn unlock_isolated(m: &Machine, mm: &Mm, folio: Folio) {
    if !m.holders.is_mlocked(folio.head) {
        return;
    }
    m.holders.set_mlocked(folio.head, false);
    if m.is_on_lru(folio) {
        if m.is_mapped_again(folio) {
            lock_for_others(m, mm, folio);
        }
        m.lru_putback(folio);
    }
}

/// A page that a locked area of another process maps stays locked (`try_to_munlock()`, mm/rmap.c, v5.10).
fn lock_for_others(m: &Machine, mm: &Mm, folio: Folio) {
    let locks = |place: &rmap_walk::Place| place.mm.id != mm.id && place.vma.locked;
    if rmap_walk::places(m, folio).iter().any(locks) {
        m.holders.set_mlocked(folio.head, true);
    }
}

/// A page that a locked area gave up for a copy is nobody's to lock there any more, up to 5.17, even if another process
/// locks it (`wp_page_copy()`, mm/memory.c, v5.10).
pub(super) fn unlock_copied(m: &Machine, mm: &Mm, old: Folio) {
    if m.policy.mlock_batch != MlockBatch::Own && !old.is_large() {
        unlock_isolated(m, mm, old);
    }
}

/// What is done, up to 5.17, with the pages of a locked area that is to be unmapped (`do_munmap()`, `exit_mmap()`,
/// mm/mmap.c, v5.10).
pub(super) fn unlock_unmapped(m: &Machine, mm: &Mm, area: &Vma) {
    if m.policy.mlock_batch != MlockBatch::Own {
        unlock_pages(m, mm, (area.start, area.end));
    }
}
