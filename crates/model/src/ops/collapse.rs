//! Collapse: many pages become one THP, on request (MADV_COLLAPSE) or because khugepaged finds them; from 7.2 on
//! khugepaged makes smaller folios too.
//!
//! Sources: `hpage_collapse_scan_pmd()`, `madvise_collapse()` (mm/khugepaged.c, v6.1 to v7.2), `mthp_collapse()` (v7.2);
//! `khugepaged_scan_pmd()` (mm/huge_memory.c, v2.6.39; mm/khugepaged.c, v4.8, v5.10).

mod assemble;
mod file;
mod node;
mod remap;
mod scan;
mod stop;

use super::{Outcome, fault};
use crate::event::{Errno, Refusal, Why};
use crate::machine::page_table::Pmd;
use crate::machine::vma::{ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::units::Order;
use scan::{Limits, Run, runs};
use stop::Stop;

/// Who collapses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    /// A process that asked for it: sysfs and the daemon's limits do not matter.
    Madvise,
    /// The daemon.
    Khugepaged,
}

/// A range of pages of an area, within one PMD.
#[derive(Clone, Copy)]
struct Target<'a> {
    mm: &'a Mm,
    area: &'a Vma,
    at: u64,
    order: Order,
}

impl Target<'_> {
    const fn end(&self) -> u64 {
        self.at + self.order.pages() as u64
    }
}

/// MADV_COLLAPSE of `start .. start + pages`: every PMD's worth that lies within it and its areas.
///
/// # Errors
/// EINVAL before 6.1 and where an area or its pages are not suitable, EAGAIN where somebody holds a page or it is
/// being read, ENOMEM if there is no memory, or if some of the range is not mapped; of several PMDs the last. The
/// first area with an error is the last one that is looked at.
pub fn madvise(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    if !m.policy.madv_collapse {
        return Err(Errno::Einval);
    }
    let end = start + pages;
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in &areas {
        madvise_area(m, mm, area, (start.max(area.start), end.min(area.end)))?;
    }
    if mm.vmas.borrow().covers(start, end) { Ok(()) } else { Err(Errno::Enomem) }
}

fn madvise_area(m: &Machine, mm: &Mm, area: &Vma, (start, end): (u64, u64)) -> Outcome {
    let may = if area.file.is_some() { file::may_be_asked(m, area) } else { area.anon.is_some() };
    let suits = may && area.advice != ThpAdvice::NoHuge && area.hugetlb.is_none();
    if !suits || whole_pmds(mm, area.start, area.end).next().is_none() {
        return Err(Errno::Einval);
    }
    if whole_pmds(mm, start, end).next().is_none() {
        // Up to the change a range that no PMD boundary cuts counts as a failure: its length is negative.
        let touches = start.next_multiple_of(mm.table.pmd_pages()) <= end;
        return if touches || m.policy.collapse_of_nothing_succeeds { Ok(()) } else { Err(Errno::Einval) };
    }
    m.lru_drain();
    let mut outcome = Ok(());
    for at in whole_pmds(mm, start, end) {
        let target = Target { mm, area, at, order: m.pmd_order() };
        if let Err(stop) = collapse(m, target, Who::Madvise, 1 << target.order.0) {
            refuse(m, stop);
            outcome = Err(stop.errno());
            if !stop.goes_on(m) {
                break;
            }
        }
    }
    outcome
}

/// khugepaged scans `start .. start + pages`: what it may collapse by sysfs, by advice and by its limits, it does.
pub fn khugepaged(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) {
    let end = start + pages;
    m.lru_drain();
    remap::noted(m, mm);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in areas.iter().filter(|area| area.anon.is_some() || area.file.is_some()) {
        let orders = orders(m, area);
        if orders == 0 {
            continue;
        }
        for at in whole_pmds(mm, start.max(area.start), end.min(area.end)) {
            let target = Target { mm, area, at, order: m.pmd_order() };
            if let Err(stop) = collapse(m, target, Who::Khugepaged, orders) {
                refuse(m, stop);
            }
        }
    }
}

/// Reports the folio for whose sake a range was left as it was, if it was for one.
fn refuse(m: &Machine, stop: Stop) {
    match stop {
        Stop::Held(page) => {
            let folio = m.folio(page);
            let (refcount, expected) = (i64::from(m.refcount(folio)), m.expected_refcount(folio));
            m.refuse(Refusal { folio, why: Why::Held { refcount, expected } });
        }
        Stop::Dirty(page) => m.refuse(Refusal { folio: m.folio(page), why: Why::Dirty }),
        Stop::LargeFile(page) => m.refuse(Refusal { folio: m.folio(page), why: Why::Large }),
        _ => {}
    }
}

/// The orders of folios that khugepaged may make in an area, a bit for each.
fn orders(m: &Machine, area: &Vma) -> u16 {
    let pmd = m.pmd_order().0;
    if area.file.is_some() {
        return if file::may_be_scanned(m, area) { 1 << pmd } else { 0 };
    }
    let first = if m.policy.khugepaged_mthp { 0 } else { pmd };
    (first..=pmd).filter(|order| fault::allows(m, area, Order(*order))).fold(0, |all, order| all | 1 << order)
}

/// The PMDs that lie within `start..end`.
fn whole_pmds(mm: &Mm, start: u64, end: u64) -> impl Iterator<Item = u64> {
    let step = mm.table.pmd_pages();
    let first = start.next_multiple_of(step);
    (first..end).step_by(step as usize).filter(move |at| at + step <= end)
}

/// Collapses a PMD's worth, to folios of one of these orders.
fn collapse(m: &Machine, target: Target<'_>, who: Who, orders: u16) -> Result<(), Stop> {
    if let Some(area) = target.area.file {
        return file::collapse(m, target, &m.file(area.root), who);
    }
    match target.mm.table.pmd(target.at) {
        // It is mapped by a PMD already; so is the huge zero folio.
        Pmd::Leaf(_) => return Ok(()),
        Pmd::None if !target.mm.table.has_upper(target.at) => return Err(Stop::NoUpperTable),
        Pmd::None => return Err(Stop::NoTable),
        Pmd::Table => {}
    }
    let only_pmd = orders == 1 << target.order.0;
    let mut limits = Limits::of(m, who, target.order);
    if !only_pmd {
        // Then each candidate is looked at by itself.
        limits.holes = target.order.pages() - 1;
    }
    let found = scan::inspect(m, target, &limits, who, scan::Stage::Scan)?;
    if only_pmd {
        return assemble::assemble(m, target, who, found.swapped);
    }
    collapse_parts(m, target, orders, found.swapped)
}

/// Walks through a PMD's worth: at each place the largest order that is enabled and has enough pages is tried
/// first (`mthp_collapse()`, mm/khugepaged.c, v7.2).
fn collapse_parts(m: &Machine, whole: Target<'_>, orders: u16, swapped: u32) -> Result<(), Stop> {
    let (mut at, mut order) = (whole.at, whole.order.0);
    let (mut collapsed, mut last) = (false, Stop::Holes);
    while at < whole.end() {
        let target = Target { at, order: Order(order), ..whole };
        let tried = orders & 1 << order != 0 && has_enough(m, target, swapped);
        let result = tried.then(|| assemble::assemble(m, target, Who::Khugepaged, swapped));
        collapsed |= result == Some(Ok(()));
        let smaller = match result {
            None => true,
            Some(Ok(()) | Err(Stop::LargeSource)) => false,
            Some(Err(stop @ (Stop::NoTable | Stop::SwapIn | Stop::SwapCached))) => {
                last = stop;
                break;
            }
            Some(Err(stop)) => {
                last = stop;
                true
            }
        };
        if smaller && order > 2 && orders & ((1 << order) - 1) != 0 {
            order -= 1;
            continue;
        }
        at = target.end();
        order = ((at - whole.at).trailing_zeros() as u8).min(whole.order.0);
    }
    if collapsed { Ok(()) } else { Err(last) }
}

/// Whether so many pages are mapped that the rest may be filled in; of a PMD's worth swap entries count too.
fn has_enough(m: &Machine, target: Target<'_>, swapped: u32) -> bool {
    let limits = Limits::of(m, Who::Khugepaged, target.order);
    let mapped = runs(m, target).map(|(_, run)| match run {
        Run::Small(pages, _) | Run::Part(_, pages, _) => pages.len,
        Run::Holes(_) | Run::Zero(_) | Run::Swapped(_) => 0,
    });
    let counted = if target.order == m.pmd_order() { swapped } else { 0 };
    mapped.sum::<u32>() + counted + limits.holes >= target.order.pages()
}
