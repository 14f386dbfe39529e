//! Collapse: many pages become one THP, on request (MADV_COLLAPSE) or because khugepaged finds them.
//!
//! Sources: `hpage_collapse_scan_pmd()`, `collapse_huge_page()`, `__collapse_huge_page_copy()`, `madvise_collapse()`
//! (mm/khugepaged.c, v6.1 to v7.3); `khugepaged_scan_pmd()` (mm/huge_memory.c, v2.6.39; mm/khugepaged.c, v4.8, v5.10).

use super::{Outcome, fault};
use crate::event::{Errno, Phase, Refusal, Why};
use crate::machine::frames::Mapping;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::{ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::policy::CollapseWritable;
use crate::query::{Query, Tally};
use crate::units::{Folio, Level, PageRange, Pfn};

/// Why a range was not collapsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    /// The area or its state does not allow it; MADV_COLLAPSE returns EINVAL.
    NotSuitable,
    /// Somebody holds a page, which may pass; EAGAIN.
    Held(Pfn),
    /// No memory for the THP.
    NoMemory,
}

/// Who collapses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    /// A process that asked for it: sysfs and the daemon's limits do not matter.
    Madvise,
    /// The daemon.
    Khugepaged,
}

/// MADV_COLLAPSE of `start .. start + pages`: every PMD's worth that lies within it and its areas.
///
/// # Errors
/// EINVAL before 6.1 and where an area or its pages are not suitable, EAGAIN where somebody holds a page, ENOMEM
/// if some of the range is not mapped or there is no memory; of several the last.
pub fn madvise(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    if !m.policy.madv_collapse {
        return Err(Errno::Einval);
    }
    let end = start + pages;
    let mut outcome = Ok(());
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in &areas {
        if area.advice == ThpAdvice::NoHuge || area.hugetlb.is_some() {
            return Err(Errno::Einval);
        }
        for at in whole_pmds(mm, start.max(area.start), end.min(area.end)) {
            if let Err(stop) = collapse(m, mm, area, at, Who::Madvise) {
                outcome = Err(match stop {
                    Stop::NotSuitable => Errno::Einval,
                    Stop::Held(_) => Errno::Eagain,
                    Stop::NoMemory => Errno::Enomem,
                });
            }
        }
    }
    if mm.vmas.borrow().covers(start, end) { outcome } else { Err(Errno::Enomem) }
}

/// khugepaged scans `start .. start + pages`: what it may collapse by sysfs, by advice and by its limits, it does.
pub fn khugepaged(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) {
    let end = start + pages;
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in areas.iter().filter(|area| fault::allows(m, area, m.pmd_order())) {
        for at in whole_pmds(mm, start.max(area.start), end.min(area.end)) {
            if let Err(Stop::Held(page)) = collapse(m, mm, area, at, Who::Khugepaged) {
                let folio = m.folio(page);
                let (refcount, expected) = (i64::from(m.refcount(folio)), m.expected_refcount(folio));
                m.refuse(Refusal { folio, why: Why::Held { refcount, expected } });
            }
        }
    }
}

/// Whether a range that is to be collapsed has swap entries, or pages in the swap cache: what the kernel does
/// then is not modelled.
pub fn meets_swap(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> bool {
    let meets = |at| {
        let entry = mm.table.read(at);
        let cached = entry.is_present() && !entry.is_zero() && m.swap.holds(m.folio(entry.page()));
        entry.is_swap() || cached
    };
    m.swap.is_on() && (start..start + pages).any(meets)
}

/// The PMDs that lie within `start..end`.
fn whole_pmds(mm: &Mm, start: u64, end: u64) -> impl Iterator<Item = u64> {
    let step = mm.table.pmd_pages();
    let first = start.next_multiple_of(step);
    (first..end).step_by(step as usize).filter(move |at| at + step <= end)
}

fn collapse(m: &Machine, mm: &Mm, area: &Vma, at: u64, who: Who) -> Result<(), Stop> {
    match mm.table.pmd(at) {
        Pmd::Leaf(entry) if !entry.is_zero() => return Ok(()),
        // The daemon and madvise leave a huge zero page and an empty range alone.
        Pmd::Leaf(_) | Pmd::None => return Err(Stop::NotSuitable),
        Pmd::Table => {}
    }
    m.lru_drain();
    scan(m, mm, at, who)?;
    let mapping = Mapping { root: area.root, index: area.offset_of(at) };
    let new = m.alloc(m.pmd_order(), mapping).ok_or(Stop::NoMemory)?;
    let _anon = m.lock(Lock::Anon(area.root));
    let _guard = m.lock_table(mm, at);
    for (i, page) in (0u64..).zip(new.range().iter()) {
        take_source(m, mm, area, at + i, page);
    }
    mm.table.clear_pmd(at);
    m.rmap().folio_add_new_anon_rmap_pmd(new, &m.adding(mm, area, new, new.pages()));
    m.lru_add(new);
    mm.table.set_pmd(at, Entry::present(new.head, area.protection.write));
    m.queue_candidate(new);
    m.phase(Phase::Mapped, Some(mm.id), new.range());
    Ok(())
}

/// Whether the pages that a PMD's worth consists of may become one.
fn scan(m: &Machine, mm: &Mm, at: u64, who: Who) -> Result<(), Stop> {
    let (mut none, mut shared, mut writable, mut read_only) = (0, 0, false, false);
    for page in at..mm.table.pmd_end(at) {
        let entry = mm.table.read(page);
        if !entry.is_present() || entry.is_zero() {
            none += 1;
            continue;
        }
        writable |= entry.is_writable();
        read_only |= !entry.is_writable();
        let folio = m.folio(entry.page());
        if folio.is_large() && !m.policy.collapse_takes_large {
            return Err(Stop::NotSuitable);
        }
        let query = if m.policy.collapse_asks_folio { Query::MaybeShared } else { Query::PageMapcount };
        let answer = m.ask(query, entry.page(), &mut Tally::off()).value().unwrap_or(0);
        let is_shared = if m.policy.collapse_asks_folio { answer == 1 } else { answer > 1 };
        shared += u32::from(is_shared);
        let expected = if m.policy.collapse_takes_shared { m.expected_refcount(folio) } else { 1 };
        if i64::from(m.refcount(folio)) != expected {
            return Err(Stop::Held(entry.page()));
        }
    }
    let refused = match m.policy.collapse_writable {
        CollapseWritable::All => read_only,
        CollapseWritable::One => !writable,
        CollapseWritable::None => false,
    };
    let pages = mm.table.pmd_pages() as u32;
    let limits = who == Who::Khugepaged
        && (none > m.config.borrow().max_ptes_none || shared > m.config.borrow().max_ptes_shared);
    if refused || limits || none == pages {
        return Err(Stop::NotSuitable);
    }
    Ok(())
}

/// Copies one page into the new folio and takes its mapping away; a hole becomes zeroes.
fn take_source(m: &Machine, mm: &Mm, area: &Vma, at: u64, to: Pfn) {
    let entry = mm.table.read(at);
    if !entry.is_present() || entry.is_zero() {
        return;
    }
    let page = PageRange::one(entry.page());
    let old: Folio = m.folio(entry.page());
    m.frames.copy_content(page, to);
    let by = m.removing(mm, area, old, 1);
    mm.table.clear(at);
    let lost = m.rmap().folio_remove_rmap_ptes(old, page, &by);
    m.after_removal(old, Level::Pte, lost);
    m.put_refs(old, m.scheme.references_of_removed(1, &by));
}
