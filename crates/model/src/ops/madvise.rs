//! madvise.

use super::fault::{Access, touch};
use super::pageout::looks_shared;
use super::{Outcome, hugetlb, split, swap_cache, truncate, vma, zap};
use crate::event::Errno;
use crate::machine::frames::FolioFlag;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::ThpAdvice;
use crate::machine::{Machine, Mm};
use crate::policy::{HugetlbDontNeed, MadvFree, SharedTest};
use crate::query::{Query, Tally};
use crate::units::{Folio, Pfn};

/// MADV_DONTNEED: unmaps the pages, the area stays (`madvise_dontneed_single_vma()`, mm/madvise.c).
///
/// # Errors
/// EINVAL at an area that is locked, or of huge pages where the kernel refuses them or the range begins within one;
/// ENOMEM if some of the range is not mapped, the rest is done.
pub fn dontneed(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    let covered = mm.vmas.borrow().covers(start, end);
    for area in &areas {
        if area.locked {
            return Err(Errno::Einval);
        }
        zap::prepare(m);
        let (from, to) = (start.max(area.start), end.min(area.end));
        let to = if area.hugetlb.is_some() { end_of_hugetlb(m, mm, (from, to))? } else { to };
        zap::zap(m, mm, area, (from, to));
        m.flush_gathered();
        if m.policy.dontneed_frees_tables {
            free_emptied_tables(mm, from, to);
        }
    }
    if covered { Ok(()) } else { Err(Errno::Enomem) }
}

/// Where MADV_DONTNEED of huge pages ends (`madvise_dontneed_free_valid_vma()`, mm/madvise.c, v5.18 on).
fn end_of_hugetlb(m: &Machine, mm: &Mm, (from, to): (u64, u64)) -> Result<u64, Errno> {
    let pages = mm.table.pmd_pages();
    match m.policy.hugetlb_dontneed {
        HugetlbDontNeed::Refuse => Err(Errno::Einval),
        _ if from != mm.table.pmd_start(from) => Err(Errno::Einval),
        HugetlbDontNeed::Touched => Ok(to.next_multiple_of(pages)),
        HugetlbDontNeed::Covered => Ok(mm.table.pmd_start(to)),
    }
}

fn free_emptied_tables(mm: &Mm, start: u64, end: u64) {
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let (first, behind) = (mm.table.pmd_start(found), mm.table.pmd_end(found));
        if first >= start && behind <= end && mm.table.is_empty_table(found) {
            mm.table.clear_pmd(found);
        }
        at = behind;
    }
}

/// MADV_FREE: the kernel may take the pages when memory is short, unless they are written before
/// (`madvise_free_single_vma()`, mm/madvise.c). Folios that the range covers in part are split, unless others map
/// them too.
///
/// # Errors
/// EINVAL before 4.5 and at an area that is locked, of a file or of huge pages; ENOMEM if some of the range is not
/// mapped, the rest is done.
pub fn free(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    match m.policy.madv_free {
        MadvFree::Absent => return Err(Errno::Einval),
        MadvFree::DontNeed if !m.swap.is_on() => return dontneed(m, mm, (start, pages)),
        MadvFree::DontNeed | MadvFree::LazyByPage | MadvFree::LazyByFolio => {}
    }
    let end = start + pages;
    let covered = mm.vmas.borrow().covers(start, end);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in &areas {
        if area.locked || area.file.is_some() || area.hugetlb.is_some() {
            return Err(Errno::Einval);
        }
        m.lru_drain();
        let stop = end.min(area.end);
        let mut at = start.max(area.start);
        while let Some(found) = mm.table.next_pmd(at, stop) {
            let next = stop.min(mm.table.pmd_end(found));
            free_in_pmd(m, mm, (found, next));
            at = next;
        }
    }
    if covered { Ok(()) } else { Err(Errno::Enomem) }
}

/// Gives up the pages of `start..end`, within one PMD.
fn free_in_pmd(m: &Machine, mm: &Mm, (start, end): (u64, u64)) {
    if matches!(mm.table.pmd(start), Pmd::Leaf(_)) && !free_pmd(m, mm, (start, end)) {
        return;
    }
    let mut at = start;
    while at < end {
        let (entry, len) = m.batch(&mm.table, at, end - at, Alike::IgnoringWrite);
        if entry.is_swap() {
            let _guard = m.lock_table(mm, at);
            mm.table.set_run(at, len, Entry::NONE);
            for slot in entry.slot()..entry.slot() + len as u32 {
                swap_cache::unuse(m, slot);
            }
        }
        if !entry.is_present() || entry.is_zero() {
            at += len;
            continue;
        }
        let folio = m.folio(entry.page());
        let inside = u64::from(folio.head.0 + folio.pages() - entry.page().0).min(len);
        let whole = m.policy.madv_free == MadvFree::LazyByFolio && inside == u64::from(folio.pages());
        if folio.is_large() && !whole {
            // These pieces have their turn now.
            if split_unless_shared(m, m.policy.free_pte_shared_test, entry.page()) {
                continue;
            }
            if m.policy.madv_free != MadvFree::LazyByFolio {
                // These kernels give up on the page table at the first folio that they cannot split.
                return;
            }
        } else {
            free_folio(m, mm, folio, (at, inside));
        }
        at += inside;
    }
}

/// Gives up a PMD-mapped folio that the range covers; one that it covers in part is split. Says whether a table
/// stands there now, whose entries have their turn.
fn free_pmd(m: &Machine, mm: &Mm, (start, end): (u64, u64)) -> bool {
    let Pmd::Leaf(entry) = mm.table.pmd(start) else { return true };
    if entry.is_zero() {
        return false;
    }
    let folio = m.folio(entry.page());
    if end - start < mm.table.pmd_pages() {
        return split_unless_shared(m, m.policy.free_pmd_shared_test, folio.head);
    }
    if looks_shared(m, m.policy.free_pmd_shared_test, folio.head) {
        return false;
    }
    let _guard = m.lock_table(mm, start);
    m.frames.set_flag(folio, FolioFlag::Dirty, false);
    mm.table.set_pmd(start, entry.with_old_and_clean());
    mark_lazyfree(m, folio);
    false
}

/// Gives up a folio that `pages` entries from `at` on map, all of its pages. One that is in the swap cache or was
/// written through an entry that is gone stays if others map it.
fn free_folio(m: &Machine, mm: &Mm, folio: Folio, (at, pages): (u64, u64)) {
    let _guard = m.lock_table(mm, at);
    if m.swap.holds(folio) || m.frames.has_flag(folio, FolioFlag::Dirty) {
        if is_shared_by_mapcount(m, folio) || (m.swap.holds(folio) && !swap_cache::try_free(m, folio)) {
            return;
        }
        m.frames.set_flag(folio, FolioFlag::Dirty, false);
    }
    mm.table.age_run(at, pages, true);
    mark_lazyfree(m, folio);
}

/// `folio_mark_lazyfree()`, mm/swap.c. Kernels in which MADV_FREE only ages pages have no such mark.
fn mark_lazyfree(m: &Machine, folio: Folio) {
    if m.policy.madv_free != MadvFree::DontNeed {
        m.lru_lazyfree(folio);
    }
}

/// Whether entries besides those of the process, which maps the folio whole, map it.
fn is_shared_by_mapcount(m: &Machine, folio: Folio) -> bool {
    let entries = m.ask(Query::FolioMapcount, folio.head, &mut Tally::off()).value();
    entries.is_none_or(|entries| entries > i64::from(folio.pages()))
}

fn split_unless_shared(m: &Machine, test: SharedTest, page: Pfn) -> bool {
    !looks_shared(m, test, page) && split::split_held(m, m.folio(page), split::Request::PAGES)
}

/// MADV_HUGEPAGE and MADV_NOHUGEPAGE.
///
/// # Errors
/// ENOMEM if some of the range is not mapped; the rest is done. EINVAL where a huge page would be cut, and up to 4.7
/// at any area of huge pages.
pub fn advise_thp(m: &Machine, mm: &Mm, (start, pages): (u64, u64), advice: ThpAdvice) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let covered = mm.vmas.borrow().covers(start, end);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in areas.iter().filter(|area| area.advice != advice) {
        let (from, to) = (start.max(area.start), end.min(area.end));
        if area.hugetlb.is_some() && m.policy.hugetlb_refuses_thp_advice {
            return Err(Errno::Einval);
        }
        vma::cut(m, mm, from, to)?;
        mm.vmas.borrow_mut().update(from, to, |vma| vma.advice = advice);
        vma::merge(m, mm, from, to);
    }
    if covered { Ok(()) } else { Err(Errno::Enomem) }
}

/// MADV_POPULATE_READ and MADV_POPULATE_WRITE.
///
/// # Errors
/// EINVAL before 5.14 and where the area does not allow it; ENOMEM if some of the range is not mapped; EFAULT behind
/// the end of a file and where the pool has no page left (ENOMEM before 6.9).
pub fn populate(m: &Machine, mm: &Mm, (start, pages): (u64, u64), write: bool) -> Outcome {
    if !m.policy.madv_populate {
        return Err(Errno::Einval);
    }
    let end = start + pages;
    let mut at = start;
    let mut outcome = Ok(());
    while at < end {
        let Some(area) = mm.vmas.borrow().find(at) else {
            if m.policy.populate_refusal_drains {
                m.lru_drain();
            }
            outcome = Err(Errno::Enomem);
            let next = mm.vmas.borrow().overlapping(at, end).first().map(|area| area.start);
            let Some(next) = next.filter(|_| m.policy.populate_passes_holes) else { break };
            at = next;
            continue;
        };
        let stop = end.min(area.end);
        let allowed = if write { area.protection.write } else { area.protection.read };
        if !allowed {
            if m.policy.populate_refusal_drains {
                m.lru_drain();
            }
            return Err(Errno::Einval);
        }
        let access = if write { Access::PopulateWrite } else { Access::Read };
        let touched = touch(m, mm, (at, stop - at), access);
        if m.policy.populate_drains {
            m.lru_drain();
        }
        // What is left to fail with EFAULT lies behind the end of a file, or there is no huge page.
        touched.map_err(|errno| match errno {
            Errno::Efault if !m.policy.populate_says_efault => Errno::Enomem,
            other => other,
        })?;
        at = stop;
    }
    outcome
}

/// MADV_REMOVE: makes holes in the files that are mapped (`madvise_remove()`, mm/madvise.c).
///
/// # Errors
/// EINVAL at an area that is locked or maps no file; ENODEV at one of a device; EACCES at one that is private, and up to 6.6 at one that is
/// read-only; ENOMEM if some of the range is not mapped. What comes before stays done.
pub fn remove(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    let end = start + pages;
    let covered = mm.vmas.borrow().covers(start, end);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in &areas {
        if area.hugetlb.is_some() {
            hugetlb::remove(m, mm, area, (start.max(area.start), end.min(area.end)))?;
            continue;
        }
        let file = area.file.filter(|_| !area.locked).ok_or(Errno::Einval)?;
        if m.device_of(area).is_some() {
            // fallocate(2) is for regular files.
            return Err(Errno::Enodev);
        }
        if !file.shared || !(area.protection.write || m.policy.remove_takes_read_only) {
            return Err(Errno::Eacces);
        }
        let (from, to) = (start.max(area.start), end.min(area.end));
        truncate::punch(m, file.root, (area.offset_of(from), area.offset_of(to - 1) + 1));
    }
    if covered { Ok(()) } else { Err(Errno::Enomem) }
}
