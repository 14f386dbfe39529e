//! Splitting a PMD: one entry for a whole folio becomes an entry for each page, the folio stays.

use super::split_all;
use crate::event::Phase;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::watch::Watched;
use crate::machine::{Machine, Mm};
use crate::rmap::Rmap;
use crate::scheme::Mapper;
use crate::stats::Stat;
use crate::units::{Folio, Level, PageRange};

/// Splits the PMD that maps `at` in this address space, if one does (`__split_huge_pmd()`, mm/huge_memory.c).
/// Up to 4.4 there is no such thing: the folio is split, for everybody.
///
/// It takes the page table's lock itself, as in the kernel: who holds that lock lets go first.
pub fn split_pmd(m: &Machine, mm: &Mm, vma: &Vma, at: u64) {
    let guard = m.lock_table(mm, at);
    let Pmd::Leaf(entry) = mm.table.pmd(at) else { return };
    let start = mm.table.pmd_start(at);
    if entry.is_zero() {
        // Each PTE maps the zero page; nothing was counted and nothing is.
        return mm.table.replace_pmd_by_table(start, Entry::zero(m.zero_page().head));
    }
    let folio = m.folio(entry.page());
    m.stats.add(Stat::PmdSplits, 1);
    if entry.is_device() {
        return mm.table.clear_pmd(start);
    }
    m.unlock_for_good(folio);
    if !folio.kind.is_anon() {
        return unmap_file_pmd(m, mm, vma, start, folio);
    }
    if m.scheme.info().capabilities.pmd_split_splits_folio {
        drop(guard);
        return split_all::split_for_all(m, folio);
    }
    m.note_dirty(folio, entry);
    // The area maps all pages before and after; the entries become N instead of one.
    let pages = folio.pages();
    let adds = m.adding(mm, vma, folio, 0);
    let by = Mapper { vma_pages_before: pages, vma_pages_after: pages, ..adds };
    m.get_refs(folio, m.scheme.references_of_added(pages, &by) - m.scheme.references_of_removed(1, &by));
    m.phase(Phase::ReferencesTaken, Some(mm.id), folio.range());
    let watched = Watched { machine: m, mm: mm.id, pages: folio.range() };
    Rmap { counters: &watched, ..m.rmap() }.split_huge_pmd_rmap(folio, &by);
    mm.table.replace_pmd_by_table(start, entry);
}

/// A file folio leaves the page tables with its PMD: nothing is put in its place, faults bring its pages again.
fn unmap_file_pmd(m: &Machine, mm: &Mm, vma: &Vma, start: u64, folio: Folio) {
    let by = m.removing(mm, vma, folio, folio.pages());
    mm.table.clear_pmd(start);
    m.rmap().folio_remove_rmap_pmd(folio, &by);
    m.munlock_unmapped(vma, PageRange::one(folio.head), Level::Pmd);
    m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    m.put_refs(folio, m.scheme.references_of_removed(1, &by));
}
