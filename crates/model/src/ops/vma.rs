//! Cutting areas and joining them, with what depends on their boundaries.

use super::{Outcome, dax, hugetlb, split_pmd};
use crate::event::Errno;
use crate::machine::page_table::Pmd;
use crate::machine::vma::{Joining, Vma};
use crate::machine::{Machine, Mm};
use crate::units::Folio;

/// Cuts the areas at both ends of `start..end`, so that the range consists of whole areas.
///
/// # Errors
/// EINVAL where a huge page or an entry of a device would be cut.
pub fn cut(m: &Machine, mm: &Mm, start: u64, end: u64) -> Outcome {
    cut_at(m, mm, start)?;
    cut_at(m, mm, end)
}

/// Cuts the area that holds `at` in front of it; a PMD across the boundary is split first
/// (`vma_adjust_trans_huge()`, mm/huge_memory.c, all versions).
fn cut_at(m: &Machine, mm: &Mm, at: u64) -> Outcome {
    let Some(vma) = mm.vmas.borrow().find(at).filter(|vma| vma.start < at) else { return Ok(()) };
    if !hugetlb::fits(mm, at) || !dax::fits(m, &vma, at) {
        return Err(Errno::Einval);
    }
    if at != mm.table.pmd_start(at) && matches!(mm.table.pmd(at), Pmd::Leaf(_)) {
        split_pmd::split_pmd(m, mm, &vma, at);
    }
    let across = folios_across(m, mm, &vma, at);
    mm.vmas.borrow_mut().split(at, m.next_turns());
    let (left, right) = (Vma { end: at, ..vma }, Vma { start: at, offset: vma.offset_of(at), ..vma });
    for folio in across {
        let pages = (m.pages_in_vma(mm, &left, folio), m.pages_in_vma(mm, &right, folio));
        count_references(m, folio, m.scheme.split_vma(m.counters(), folio, pages.0, pages.1));
    }
    Ok(())
}

/// Joins an area that has changed, `start..end`, with neighbours that it became like (`vma_merge()`, all versions).
/// Who changes nothing joins nothing: areas that fork copied stay apart though they are alike.
pub fn merge(m: &Machine, mm: &Mm, start: u64, end: u64) {
    let last = mm.vmas.borrow().find(end - 1).and_then(|area| area.anon);
    let joining = Joining { end, last, either_way: m.policy.faulted_area_joins_fresh };
    loop {
        let suits = |left: &Vma, right: &Vma| joining.suits(left, right);
        let Some(at) = mm.vmas.borrow().mergeable(start, end, suits) else { return };
        let (left, right) = {
            let vmas = mm.vmas.borrow();
            (vmas.find(at - 1).expect("the left one"), vmas.find(at).expect("the right one"))
        };
        let joined = Vma { end: right.end, ..left };
        for folio in folios_across(m, mm, &joined, at) {
            let pages = (m.pages_in_vma(mm, &left, folio), m.pages_in_vma(mm, &right, folio));
            count_references(m, folio, m.scheme.merge_vmas(m.counters(), folio, pages.0, pages.1));
        }
        mm.vmas.borrow_mut().merge(at, m.next_turns());
    }
}

fn count_references(m: &Machine, folio: Folio, references: i32) {
    match references {
        0 => {}
        1.. => m.get_refs(folio, references),
        _ => m.put_refs(folio, -references),
    }
}

/// The large folios that `vma` maps on both sides of `at`, for schemes that count areas.
fn folios_across(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Vec<Folio> {
    let mut folios: Vec<Folio> = Vec::new();
    if !m.scheme.info().capabilities.needs_vma_pages {
        return folios;
    }
    let reach = mm.table.pmd_pages();
    for page in at.saturating_sub(reach).max(vma.start)..at {
        let entry = mm.table.read(page);
        if !entry.is_present() || entry.is_zero() {
            continue;
        }
        let folio = m.folio(entry.page());
        if folios.contains(&folio) || !folio.is_large() {
            continue;
        }
        let right = Vma { start: at, offset: vma.offset_of(at), ..*vma };
        if m.pages_in_vma(mm, &right, folio) > 0 {
            folios.push(folio);
        }
    }
    folios
}
