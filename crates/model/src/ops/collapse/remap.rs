//! A THP that took the place of small pages in the page cache: page tables that are empty now go, so that faults map
//! it by a PMD; entries that map it page by page give way to one PMD.
//!
//! Sources: `retract_page_tables()`, `collapse_pte_mapped_thp()`, `khugepaged_collapse_pte_mapped_thps()`
//! (mm/khugepaged.c, v5.10, v6.1); `collapse_pte_mapped_thp()`, `set_huge_pmd()` (v6.12), `try_collapse_pte_mapped_thp()`
//! (v7.2).

use super::stop::Stop;
use super::{Target, Who, orders};
use crate::event::Phase;
use crate::machine::files::File;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::ops::file_fault::map_pmd;
use crate::ops::page_cache::could_map;
use crate::units::{Folio, Level, PageRange};

/// Addresses that khugepaged remembers of an address space (MAX_PTE_MAPPED_THP).
const MOST_NOTED: usize = 8;

/// Frees the page tables of all who could map `folio` by a PMD and have no pages of their own in the area. Up to 6.5
/// MADV_COLLAPSE frees that of the caller alone, and maps the folio there; the others are noted for khugepaged.
pub(super) fn retract(
    m: &Machine,
    target: Target<'_>,
    file: &File,
    folio: Folio,
    who: Who,
) -> Result<(), Stop> {
    let index = m.frames.mapping(folio).index;
    let only_target = m.policy.collapse_retracts_target && who == Who::Madvise;
    let mut outcome = if only_target { Err(Stop::NotMappable) } else { Ok(()) };
    m.each_member(file.root, |mm| {
        let areas = mm.vmas.borrow().all().to_vec();
        for vma in areas.iter().filter(|vma| vma.file.is_some_and(|area| area.root == file.root)) {
            let Some(at) = place(vma, index) else { continue };
            let is_target = (mm.id, at) == (target.mm.id, target.at);
            let stop = keeps_table(mm, vma, at, folio);
            if stop.is_none() && only_target && !is_target {
                note(m, mm, at);
                continue;
            }
            if stop.is_none() {
                let _guard = m.lock_table(mm, at);
                mm.table.clear_pmd(at);
            }
            if only_target && is_target {
                outcome = match stop {
                    Some(stop) => Err(stop),
                    None => install(m, Target { mm, area: vma, at, ..target }, file, folio),
                };
            }
        }
    });
    outcome
}

/// Where an area maps page `index` of its file.
fn place(vma: &Vma, index: u64) -> Option<u64> {
    let mapped = (vma.offset..vma.offset + (vma.end - vma.start)).contains(&index);
    mapped.then(|| vma.start + (index - vma.offset))
}

/// Why the page table at `at` cannot go, if so.
fn keeps_table(mm: &Mm, vma: &Vma, at: u64, folio: Folio) -> Option<Stop> {
    if vma.anon.is_some() {
        return Some(Stop::AnonPages);
    }
    if !could_map(vma, at, folio.order) || at != mm.table.pmd_start(at) {
        return Some(Stop::NotMappable);
    }
    match mm.table.pmd(at) {
        Pmd::Table => None,
        Pmd::None if !mm.table.has_upper(at) => Some(Stop::NoUpperTable),
        Pmd::None => Some(Stop::NoTable),
        Pmd::Leaf(_) => Some(Stop::NotMappable),
    }
}

/// Lets khugepaged look at `at` when it comes by, if it looks at this address space at all.
fn note(m: &Machine, mm: &Mm, at: u64) {
    let scanned = mm.vmas.borrow().all().iter().any(|area| orders(m, area) != 0);
    let mut noted = mm.noted_pmds.borrow_mut();
    if scanned && noted.len() < MOST_NOTED {
        noted.push(at);
    }
}

/// khugepaged looks at what was noted of an address space. It comes by all others on its way, and out of those it is
/// kept here: what was noted of them it forgets (`khugepaged_collapse_pte_mapped_thps()`, v6.1).
pub(super) fn noted(m: &Machine, scanned: &Mm) {
    for mm in m.mms() {
        for at in mm.noted_pmds.take() {
            let area = mm.vmas.borrow().find(at).filter(|area| area.file.is_some() && mm.id == scanned.id);
            let Some(area) = area else { continue };
            // What it cannot do it leaves.
            let _ = pte_mapped(m, Target { mm: &mm, area: &area, at, order: m.pmd_order() }, false);
        }
    }
}

/// Takes the entries away that map a THP of the page cache page by page, and their table; `maps` puts a PMD there.
pub(super) fn pte_mapped(m: &Machine, target: Target<'_>, maps: bool) -> Result<(), Stop> {
    let Target { mm, area, at, order } = target;
    if matches!(mm.table.pmd(at), Pmd::Leaf(_)) {
        return Ok(());
    }
    if !could_map(area, at, order) {
        return Err(Stop::NotMappable);
    }
    let file = area.file.map(|area| m.file(area.root)).ok_or(Stop::NotMappable)?;
    let folio = file.cache.page(area.offset_of(at)).map(|page| m.folio(page)).ok_or(Stop::NoThp)?;
    if folio.order != order {
        return Err(Stop::LargeFile(folio.head));
    }
    m.get_refs(folio, 1);
    let outcome = remove_table(m, target, folio)
        .and_then(|()| if maps { install(m, target, &file, folio) } else { Ok(()) });
    m.put_refs(folio, 1);
    outcome
}

/// Takes the entries and their table away, if they map nothing but this folio.
fn remove_table(m: &Machine, target: Target<'_>, folio: Folio) -> Result<(), Stop> {
    let Target { mm, area, at, .. } = target;
    match mm.table.pmd(at) {
        Pmd::Table => {}
        Pmd::None if !mm.table.has_upper(at) && !m.policy.collapse_makes_upper_tables => {
            return Err(Stop::NoUpperTable);
        }
        _ => return Ok(()),
    }
    let _guard = m.lock_table(mm, at);
    let runs = entries(mm, target);
    for (place, pages, present) in &runs {
        if !present {
            return Err(Stop::NotPresent);
        }
        if pages.first != folio.head.add((place - at) as u32) {
            return Err(Stop::OtherPages);
        }
    }
    let mut references = 0;
    for (_, pages, _) in &runs {
        let step = if m.policy.collapse_unmaps_file_batches { pages.len } else { 1 };
        for done in (0..pages.len).step_by(step as usize) {
            let part = PageRange::new(pages.first.add(done), step);
            let by = m.removing(mm, area, folio, step);
            mm.table.set_run(at + u64::from(part.first.0 - folio.head.0), u64::from(step), Entry::NONE);
            m.rmap().folio_remove_rmap_ptes(folio, part, &by);
            m.munlock_unmapped(area, part, Level::Pte);
            references += m.scheme.references_of_removed(step, &by);
        }
    }
    if references > 0 {
        m.put_refs(folio, references);
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    }
    mm.table.clear_pmd(at);
    Ok(())
}

/// The entries of a table that are not empty, in runs: where, for which pages, and whether they map them.
fn entries(mm: &Mm, target: Target<'_>) -> Vec<(u64, PageRange, bool)> {
    let mut runs = Vec::new();
    let mut at = target.at;
    while at < target.end() {
        let (entry, len) = mm.table.run(at, target.end() - at, Alike::IgnoringWrite);
        if !entry.is_none() {
            runs.push((at, PageRange::new(entry.page(), len as u32), entry.is_present()));
        }
        at += len;
    }
    runs
}

fn install(m: &Machine, target: Target<'_>, file: &File, folio: Folio) -> Result<(), Stop> {
    let Target { mm, area, at, .. } = target;
    if map_pmd(m, mm, area, file, (at, folio), false) { Ok(()) } else { Err(Stop::NotMappable) }
}
