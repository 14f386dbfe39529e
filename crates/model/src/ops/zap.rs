//! Removing the entries of a range: what munmap, MADV_DONTNEED and exit have in common.

use super::{dax, hugetlb, split_pmd, swap_cache};
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::units::{Level, PageRange};

/// What is done before entries are removed: up to 6.13 the LRU batches are emptied.
pub(super) fn prepare(m: &Machine) {
    if m.policy.unmap_drains {
        m.lru_drain();
    }
}

/// Unmaps `start..end` of an area (`unmap_page_range()`, mm/memory.c). Mappings leave the counters at once,
/// their references are gathered until the caller flushes.
pub(super) fn zap(m: &Machine, mm: &Mm, vma: &Vma, range: (u64, u64)) {
    if vma.hugetlb.is_some() {
        return hugetlb::unmap(m, mm, vma, range);
    }
    zap_range(m, mm, vma, range, false);
}

/// The same for the pages of a file alone: copies of them stay (`should_zap_cows()`, mm/memory.c).
pub(super) fn zap_file_pages(m: &Machine, mm: &Mm, vma: &Vma, range: (u64, u64)) {
    zap_range(m, mm, vma, range, true);
}

fn zap_range(m: &Machine, mm: &Mm, vma: &Vma, (start, end): (u64, u64), keeps_copies: bool) {
    dax::zap_puds(m, mm, vma, (start, end));
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        if let Pmd::Leaf(entry) = mm.table.pmd(found) {
            if stop - found == mm.table.pmd_pages() {
                let _guard = m.lock_table(mm, found);
                zap_pmd(m, mm, vma, found, entry);
                at = stop;
                continue;
            }
            split_pmd::split_pmd(m, mm, vma, found);
        }
        let _guard = m.lock_table(mm, found);
        zap_ptes(m, mm, vma, (found, stop), keeps_copies);
        at = stop;
    }
}

fn zap_pmd(m: &Machine, mm: &Mm, vma: &Vma, at: u64, entry: Entry) {
    if entry.is_zero() || entry.is_device() {
        return mm.table.clear_pmd(at);
    }
    let folio = m.folio(entry.page());
    let by = m.removing(mm, vma, folio, folio.pages());
    mm.table.clear_pmd(at);
    let lost = m.rmap().folio_remove_rmap_pmd(folio, &by);
    m.after_removal(folio, Level::Pmd, lost);
    m.munlock_unmapped(vma, PageRange::one(folio.head), Level::Pmd);
    m.gather(folio, m.scheme.references_of_removed(1, &by));
}

fn zap_ptes(m: &Machine, mm: &Mm, vma: &Vma, (start, end): (u64, u64), keeps_copies: bool) {
    let mut at = start;
    while at < end {
        let (entry, len) = m.batch(&mm.table, at, end - at, Alike::IgnoringWrite);
        let is_file = |entry: Entry| entry.is_present() && !m.folio(entry.page()).kind.is_anon();
        if keeps_copies && !is_file(entry) {
            at += len;
            continue;
        }
        if !entry.is_counted() {
            if !entry.is_none() {
                mm.table.set_run(at, len, Entry::NONE);
            }
            if entry.is_swap() {
                for slot in entry.slot()..entry.slot() + len as u32 {
                    swap_cache::unuse(m, slot);
                }
            }
            at += len;
            continue;
        }
        let folio = m.folio(entry.page());
        if !folio.is_large() && !folio.kind.is_anon() {
            at += zap_file_run(m, mm, vma, (at, end - at));
            continue;
        }
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        let pages = PageRange::new(entry.page(), (len as u32).min(inside));
        let by = m.removing(mm, vma, folio, pages.len);
        mm.table.set_run(at, u64::from(pages.len), Entry::NONE);
        let lost = m.rmap().folio_remove_rmap_ptes(folio, pages, &by);
        m.after_removal(folio, Level::Pte, lost);
        m.munlock_unmapped(vma, pages, Level::Pte);
        m.gather(folio, m.scheme.references_of_removed(pages.len, &by));
        at += u64::from(pages.len);
    }
}

/// Unmaps pages of files that are folios of their own, as many as stand in a row; says how many.
fn zap_file_run(m: &Machine, mm: &Mm, vma: &Vma, (at, most): (u64, u64)) -> u64 {
    let (entry, len) = mm.table.run(at, most, Alike::IgnoringWrite);
    let small = m.frames.small_file_pages(PageRange::new(entry.page(), len as u32));
    let pages = PageRange::new(entry.page(), small);
    mm.table.set_run(at, u64::from(small), Entry::NONE);
    m.rmap().folios_remove_file_rmap_pte(pages);
    m.munlock_unmapped(vma, pages, Level::Pte);
    m.gather_each(pages);
    u64::from(small)
}
