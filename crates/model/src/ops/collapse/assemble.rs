//! Making one folio of many pages: swap entries are read back, the pages are isolated, copied and unmapped, the
//! new folio is mapped.
//!
//! Sources: `collapse_huge_page()`, `__collapse_huge_page_swapin()`, `__collapse_huge_page_copy()` (mm/khugepaged.c,
//! v5.10, v6.12, v7.2); `map_anon_folio_pte_nopf()` (mm/memory.c, v7.2).

use super::scan::{self, Limits, Run, Stage, runs};
use super::{Stop, Target, Who, node};
use crate::event::Phase;
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::frames::Mapping;
use crate::machine::lock::Lock;
use crate::machine::page_table::Entry;
use crate::ops::{swap_cache, swap_in};
use crate::units::{Folio, Level, PageRange, Pfn};

/// Makes one folio of a range; `swapped` entries of its PMD were seen to be swapped out.
pub(super) fn assemble(m: &Machine, target: Target<'_>, who: Who, swapped: u32) -> Result<(), Stop> {
    let Target { area, at, order, .. } = target;
    let mapping = Mapping { root: area.root, index: area.offset_of(at) };
    let new = m.alloc(order, mapping).ok_or(Stop::NoMemory)?;
    node::place(m, target, new);
    let outcome = fill(m, target, who, swapped, new);
    if outcome.is_err() {
        m.put_refs(new, 1);
    }
    outcome
}

fn fill(m: &Machine, target: Target<'_>, who: Who, swapped: u32, new: Folio) -> Result<(), Stop> {
    if swapped > 0 {
        read_back(m, target)?;
    }
    let _anon = m.lock(Lock::Anon(target.area.root));
    let _guard = m.lock_table(target.mm, target.at);
    scan::inspect(m, target, &Limits::of(m, who, target.order), who, Stage::Isolate)?;
    let large = isolate(m, target);
    for (at, run) in runs(m, target) {
        take(m, target, (at, run), new.head.add((at - target.at) as u32));
    }
    for folio in large {
        if m.policy.collapse_frees_large_swap_cache {
            swap_cache::free_unmapped(m, folio);
        }
        m.put_refs(folio, 1);
    }
    install(m, target, new);
    Ok(())
}

/// Reads every swap entry of the range back, as a read would. Of a range smaller than a PMD none.
fn read_back(m: &Machine, target: Target<'_>) -> Result<(), Stop> {
    let mut reading = false;
    for at in target.at..target.end() {
        if !target.mm.table.read(at).is_swap() {
            continue;
        }
        if target.order < m.pmd_order() {
            return Err(Stop::Swapped);
        }
        let _guard = m.lock_table(target.mm, at);
        match swap_in::for_collapse(m, target.mm, target.area, at) {
            Ok(true) => {}
            Ok(false) if m.policy.collapse_waits_for_no_read => return Err(Stop::Reading),
            Ok(false) => reading = true,
            Err(_) => return Err(Stop::SwapIn),
        }
    }
    m.lru_drain();
    // Older kernels read what is left, and find the entries as they were.
    if reading { Err(Stop::NotPresent) } else { Ok(()) }
}

/// Takes the folios from the LRU, with a reference on each; returns the large ones, each once.
fn isolate(m: &Machine, target: Target<'_>) -> Vec<Folio> {
    let mut large: Vec<Folio> = Vec::new();
    for (_, run) in runs(m, target) {
        match run {
            Run::Small(pages, _) => m.counters().add_each(Field::Refcount, pages, 1),
            Run::Part(folio, ..) if folio.is_large() && large.contains(&folio) => continue,
            Run::Part(folio, ..) => {
                m.get_refs(folio, 1);
                if folio.is_large() {
                    large.push(folio);
                }
                continue;
            }
            Run::Holes(_) | Run::Zero(_) | Run::Swapped(_) => continue,
        };
    }
    for (_, run) in runs(m, target) {
        if let Some(pages) = run.pages() {
            m.phase(Phase::Isolated, Some(target.mm.id), pages);
        }
    }
    large
}

/// Copies the pages of a run to the new folio and takes their mappings away.
fn take(m: &Machine, target: Target<'_>, (at, run): (u64, Run), to: Pfn) {
    let mm = target.mm;
    if let Some(pages) = run.pages() {
        m.frames.copy_content(pages, to);
    }
    match run {
        Run::Holes(_) | Run::Swapped(_) => {}
        Run::Zero(len) => mm.table.set_run(at, u64::from(len), Entry::NONE),
        Run::Small(pages, _) => {
            // They go back to the LRU before they are unmapped, and from there what the new folio does not bring along.
            m.counters().add_each(Field::Refcount, pages, -1);
            if target.area.locked {
                pages.iter().for_each(|page| m.lru_putback(m.folio(page)));
            }
            mm.table.set_run(at, u64::from(pages.len), Entry::NONE);
            m.rmap().folio_remove_rmap_pte_each(pages);
            m.munlock_unmapped(target.area, pages, Level::Pte);
            m.phase(Phase::Unmapped, Some(mm.id), pages);
            m.put_each(pages);
        }
        Run::Part(folio, pages, _) => {
            let step = if m.policy.collapse_unmaps_batches { pages.len } else { 1 };
            for done in (0..pages.len).step_by(step as usize) {
                let part = PageRange::new(pages.first.add(done), step);
                take_part(m, target, (at + u64::from(done), folio, part));
            }
        }
    }
}

fn take_part(m: &Machine, target: Target<'_>, (at, folio, pages): (u64, Folio, PageRange)) {
    let Target { mm, area, .. } = target;
    if !folio.is_large() {
        m.put_refs(folio, 1);
        if area.locked {
            m.lru_putback(folio);
        }
    }
    let by = m.removing(mm, area, folio, pages.len);
    mm.table.set_run(at, u64::from(pages.len), Entry::NONE);
    let lost = m.rmap().folio_remove_rmap_ptes(folio, pages, &by);
    m.after_removal(folio, Level::Pte, lost);
    m.munlock_unmapped(area, pages, Level::Pte);
    m.phase(Phase::Unmapped, Some(mm.id), pages);
    if !folio.is_large() {
        // A large one is locked until the end, so that it cannot leave the cache yet.
        swap_cache::free_unmapped(m, folio);
    }
    m.put_refs(folio, m.scheme.references_of_removed(pages.len, &by));
}

/// Maps the new folio: by a PMD, or where it is smaller by PTEs.
fn install(m: &Machine, target: Target<'_>, new: Folio) {
    let Target { mm, area, at, order } = target;
    let by = m.adding(mm, area, new, new.pages());
    let entry = Entry::present(new.head, area.protection.write);
    if order == m.pmd_order() {
        mm.table.clear_pmd(at);
        m.rmap().folio_add_new_anon_rmap_pmd(new, &by);
        m.lru_add_new(new, area);
        mm.table.set_pmd(at, entry);
        m.queue_candidate(new);
    } else {
        m.get_refs(new, m.scheme.references_of_added(new.pages(), &by) - 1);
        m.phase(Phase::ReferencesTaken, Some(mm.id), new.range());
        m.rmap().folio_add_new_anon_rmap_ptes(new, &by);
        m.lru_add_new(new, area);
        mm.table.set_run(at, u64::from(new.pages()), entry);
    }
    m.phase(Phase::Mapped, Some(mm.id), new.range());
}
