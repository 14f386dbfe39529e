//! Collapse of the page cache: what is cached of a PMD's worth of a file becomes one folio, for all who map it.
//!
//! Sources: `khugepaged_scan_shmem()`, `collapse_shmem()` (mm/khugepaged.c, v4.8); `khugepaged_scan_file()`,
//! `collapse_file()` (v5.10); `hpage_collapse_scan_file()`, `collapse_file()` (v6.1, v6.12); `collapse_scan_file()`,
//! `collapse_single_pmd()` (v7.2); `hugepage_vma_check()` (v4.8, v5.10, v6.1), `__thp_vma_allowable_orders()` (v6.12, v7.2).

use super::stop::Stop;
use super::{Target, Who, node, remap};
use crate::event::Phase;
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::config::{ShmemMode, ThpMode};
use crate::machine::files::{File, FileKind};
use crate::machine::vma::{ThpAdvice, Vma};
use crate::ops::page_cache::{allows, read_for_collapse, takes_large, within_size};
use crate::ops::{shmem_swap, truncate, zap};
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// Whether MADV_COLLAPSE may be asked for an area of a file: some PMD could map a part of it, and the file may have
/// large folios, whatever sysfs says of the daemon.
pub(super) fn may_be_asked(m: &Machine, area: &Vma) -> bool {
    let Some(file) = area.file.map(|area| m.file(area.root)) else { return false };
    if !is_aligned(m, area) {
        return false;
    }
    if !file.kind.is_shmem() {
        return m.policy.collapse_takes_disks && takes_large(m, &file);
    }
    let by_size = file.kind == FileKind::AnonShmem && m.policy.shmem_mthp;
    if !by_size || m.policy.collapse_overrides_shmem_sizes {
        return true;
    }
    let allows = |size: Order| match m.config.borrow().shmem_sizes[usize::from(size.0)] {
        // The setting of all sizes is overridden.
        ShmemMode::Inherit | ShmemMode::Always => true,
        ShmemMode::Advise => area.advice == ThpAdvice::Huge,
        ShmemMode::WithinSize => within_size(&file, area.offset, size, m.policy.shmem_sizes_round_index),
        ShmemMode::Never => false,
    };
    sizes(m).any(allows)
}

/// The sizes of which one has to be allowed for a range to become a folio of a PMD's size.
fn sizes(m: &Machine) -> impl Iterator<Item = Order> {
    let pmd = m.pmd_order();
    let least = if m.policy.collapse_takes_any_shmem_size { m.policy.shmem_mthp_smallest } else { pmd.0 };
    (least.min(pmd.0)..=pmd.0).map(Order)
}

/// Whether khugepaged looks at an area of a file.
pub(super) fn may_be_scanned(m: &Machine, area: &Vma) -> bool {
    let Some(file) = area.file.map(|area| m.file(area.root)) else { return false };
    let thp = m.config.borrow().thp;
    let advised = match thp {
        ThpMode::Always => area.advice != ThpAdvice::NoHuge,
        _ => thp != ThpMode::Never && area.advice == ThpAdvice::Huge,
    };
    if !runs(m) || !is_aligned(m, area) {
        return false;
    }
    if file.kind.is_shmem() {
        let asked = advised || !m.policy.khugepaged_shmem_needs_advice;
        return asked && sizes(m).any(|size| allows(m, &file, area, area.offset, size));
    }
    advised && m.policy.collapse_takes_disks && takes_large(m, &file)
}

/// Whether there is a khugepaged: while no anonymous memory could have a THP there is none
/// (`khugepaged_enabled()`, include/linux/khugepaged.h, v5.10; `hugepage_pmd_enabled()`, mm/khugepaged.c, v6.12).
fn runs(m: &Machine) -> bool {
    let config = m.config.borrow();
    let pmd = config.sizes[usize::from(config.pmd_order)];
    let own = m.policy.mthp && matches!(pmd, ThpMode::Always | ThpMode::Madvise);
    let inherited = !m.policy.mthp || pmd == ThpMode::Inherit;
    let shmem = config.shmem_sizes[usize::from(config.pmd_order)];
    let by_shmem = m.policy.khugepaged_runs_for_shmem
        && matches!(shmem, ShmemMode::Always | ShmemMode::WithinSize | ShmemMode::Advise);
    own || by_shmem || (inherited && config.thp != ThpMode::Never)
}

/// Whether pages of the file and addresses agree modulo a PMD.
fn is_aligned(m: &Machine, area: &Vma) -> bool {
    area.start.wrapping_sub(area.offset) & (u64::from(m.pmd_order().pages()) - 1) == 0
}

/// Collapses a PMD's worth of a file. Who asked for it by MADV_COLLAPSE gets the PMD too.
pub(super) fn collapse(m: &Machine, target: Target<'_>, file: &File, who: Who) -> Result<(), Stop> {
    let index = target.area.offset_of(target.at);
    let mut found = attempt(m, target, file, index, who);
    if who == Who::Madvise && matches!(found, Err(Stop::Dirty(_))) {
        truncate::write_back(m, file, (index, index + u64::from(target.order.pages())));
        found = attempt(m, target, file, index, who);
    }
    found
}

fn attempt(m: &Machine, target: Target<'_>, file: &File, index: u64, who: Who) -> Result<(), Stop> {
    let install = who == Who::Madvise;
    match scan(m, target.order, file, index, who)? {
        Some(_) => remap::pte_mapped(m, target, install),
        None => {
            let mapped = assemble(m, target, file, index, who);
            if install && mapped.is_ok() && !m.policy.collapse_retracts_target {
                return remap::pte_mapped(m, target, install);
            }
            mapped
        }
    }
}

/// Looks whether what is cached may become one folio; the folio that is one already.
fn scan(m: &Machine, order: Order, file: &File, start: u64, who: Who) -> Result<Option<Folio>, Stop> {
    let pages = u64::from(order.pages());
    let (mut at, end) = (start, start + pages);
    let mut present = 0;
    while let Some((first, range)) = file.cache.run(at, end) {
        let small = m.frames.small_file_pages(range);
        if small > 0 {
            let range = PageRange::new(range.first, small);
            check_references(m, range)?;
            present += u64::from(small);
            at = first + u64::from(small);
            continue;
        }
        let folio = m.folio(range.first);
        if folio.order == order {
            let remaps = m.policy.collapse_remaps_file_thps;
            return if remaps { Ok(Some(folio)) } else { Err(Stop::LargeFile(folio.head)) };
        }
        if !m.policy.collapse_takes_large_files {
            return Err(Stop::LargeFile(folio.head));
        }
        check_references(m, PageRange::one(folio.head))?;
        present += u64::from(folio.pages());
        at = first + u64::from(folio.pages());
    }
    if who == Who::Madvise {
        return Ok(None);
    }
    let (fills, reads) = (m.config.borrow().max_ptes_none, m.config.borrow().max_ptes_swap);
    if swapped_pages(file, (start, end)) > u64::from(reads) {
        return Err(Stop::Swapped);
    }
    if present + u64::from(fills) < pages { Err(Stop::Holes) } else { Ok(None) }
}

/// How many pages of a range are swapped out.
fn swapped_pages(file: &File, (start, end): (u64, u64)) -> u64 {
    let (mut at, mut pages) = (start, 0);
    while let Some(value) = file.cache.swapped.next(at, end) {
        pages += value.end().min(end) - value.index.max(at);
        at = value.end();
    }
    pages
}

/// Nobody but those who map them and the page cache may hold these folios, of which the first pages are given.
fn check_references(m: &Machine, heads: PageRange) -> Result<(), Stop> {
    // Mostly each page is mapped as often as the others, or not at all: then two looks at all counters are enough.
    let references = m.counters().scan(Field::Refcount, heads);
    let mappings = m.counters().scan(Field::Mapcount, heads);
    let (len, folio) = (i64::from(heads.len), m.folio(heads.first));
    let plain = !folio.is_large() && folio.kind == Kind::Shmem;
    let alike =
        i64::from(references.max) * len == references.sum && i64::from(mappings.max) * len == mappings.sum;
    if plain && alike && references.max == mappings.max + 2 {
        return Ok(());
    }
    let held = |page: &Pfn| {
        let folio = m.folio(*page);
        i64::from(m.refcount(folio)) != m.expected_refcount(folio)
    };
    heads.iter().find(held).map_or(Ok(()), |page| Err(Stop::Held(page)))
}

/// Takes the folios out of all page tables and puts one in their place, holes filled with zeroes.
fn assemble(m: &Machine, target: Target<'_>, file: &File, index: u64, who: Who) -> Result<(), Stop> {
    let new = m.alloc_for_file(file, target.order).ok_or(Stop::NoMemory)?;
    node::place_file(m, file, index, new);
    let frozen = m.policy.collapse_freezes_new_folio;
    if frozen {
        m.counters().set(Field::Refcount, new.head, 0);
        m.phase(Phase::Frozen, None, new.range());
    }
    let mut old = Vec::new();
    if let Err(stop) = take(m, file, (index, index + u64::from(new.pages())), &mut old) {
        put_back(m, &old);
        m.counters().set(Field::Refcount, new.head, 1);
        m.put_refs(new, 1);
        return Err(stop);
    }
    for pages in &old {
        let at = m.frames.mapping(m.folio(pages.first)).index - index;
        m.frames.copy_content(*pages, new.head.add(at as u32));
    }
    m.replace_in_range(file, new, index);
    if frozen {
        free(m, &old);
        let mapped = remap::retract(m, target, file, new, who);
        m.counters().set(Field::Refcount, new.head, new.pages() as i32);
        m.phase(Phase::PageCached, None, new.range());
        m.lru_add(new);
        return mapped;
    }
    if m.policy.collapse_freezes_old_folios {
        free(m, &old);
    }
    // With the reference of the allocation these are the page cache's.
    m.get_refs(new, new.pages() as i32 - 1);
    m.lru_add(new);
    m.phase(Phase::PageCached, None, new.range());
    let mapped = remap::retract(m, target, file, new, who);
    if !m.policy.collapse_freezes_old_folios {
        free(m, &old);
    }
    mapped
}

/// Takes everything that is cached of a range from the LRU and out of the page tables. `old` gets what was taken.
fn take(m: &Machine, file: &File, (start, end): (u64, u64), old: &mut Vec<PageRange>) -> Result<(), Stop> {
    if file.kind.is_shmem() && file.cache.is_hole(start, end) {
        return Err(Stop::Truncated);
    }
    let mut at = start;
    while at < end {
        let mut found = file.cache.run(at, end);
        let cached = found.map_or(end, |(first, _)| first);
        if let Some(value) = file.cache.swapped.next(at, cached) {
            shmem_swap::swap_in(m, file, value.index.max(at)).map_err(|_| Stop::SwapIn)?;
            // So that it can be isolated.
            m.lru_drain();
            continue;
        }
        if !file.kind.is_shmem() && found.is_none_or(|(first, _)| first > at) {
            read_for_collapse(m, file, (at, end));
            m.lru_drain();
            found = file.cache.run(at, end).filter(|(first, _)| *first == at);
            if found.is_none() {
                return Err(Stop::Truncated);
            }
        }
        let Some((first, range)) = found else { return Ok(()) };
        let small = m.frames.small_file_pages(range);
        let pages = if small > 0 { PageRange::new(range.first, small) } else { m.folio(range.first).range() };
        at = first + u64::from(pages.len);
        take_alike(m, file, (first, pages), old)?;
    }
    Ok(())
}

/// The same of pages in a row, which are one folio or one each.
fn take_alike(
    m: &Machine,
    file: &File,
    (index, pages): (u64, PageRange),
    old: &mut Vec<PageRange>,
) -> Result<(), Stop> {
    if !file.kind.is_shmem() {
        let dirty = |folio: &Folio| file.cache.state(m.frames.mapping(*folio).index).dirty;
        if let Some(folio) = folios(m, pages).find(dirty) {
            return Err(Stop::Dirty(folio.head));
        }
    }
    // One reference is the lookup's, one the isolation's.
    folios(m, pages).for_each(|folio| m.get_refs(folio, 2));
    m.phase(Phase::Isolated, None, pages);
    if file.kind == FileKind::Ext4 || file.kind == FileKind::Xfs {
        folios(m, pages).for_each(|folio| m.set_private(file, folio, false));
    }
    unmap(m, file, (index, pages));
    let held = |folio: &Folio| i64::from(m.refcount(*folio)) != m.expected_refcount(*folio) + 2;
    let refused = folios(m, pages).find(held);
    old.push(pages);
    if let Some(folio) = refused {
        return Err(Stop::Held(folio.head));
    }
    if m.policy.collapse_freezes_old_folios {
        m.counters().set_each(Field::Refcount, pages, 0);
        m.phase(Phase::Frozen, None, pages);
    }
    Ok(())
}

/// The folios of pages in a row that begin with one.
fn folios(m: &Machine, pages: PageRange) -> impl Iterator<Item = Folio> + '_ {
    let mut next = 0;
    std::iter::from_fn(move || {
        let folio = (next < pages.len).then(|| m.folio(pages.first.add(next)))?;
        next += folio.pages();
        Some(folio)
    })
}

/// Takes pages of a file out of the page tables of all who map them; copies of them in private mappings stay.
fn unmap(m: &Machine, file: &File, (index, pages): (u64, PageRange)) {
    let end = index + u64::from(pages.len);
    m.each_member(file.root, |mm| {
        let areas = mm.vmas.borrow().all().to_vec();
        let mut removed = false;
        for vma in areas.iter().filter(|vma| vma.file.is_some_and(|area| area.root == file.root)) {
            let (first, last) = (index.max(vma.offset), end.min(vma.offset + (vma.end - vma.start)));
            if first < last {
                let range = (vma.start + (first - vma.offset), vma.start + (last - vma.offset));
                zap::zap_file_pages(m, mm, vma, range);
                m.flush_gathered();
                removed = true;
            }
        }
        if removed {
            m.phase(Phase::Unmapped, Some(mm.id), pages);
        }
    });
}

/// Drops the references on folios that something else stands for now.
fn free(m: &Machine, old: &[PageRange]) {
    for pages in old {
        if m.policy.collapse_freezes_old_folios {
            m.counters().set_each(Field::Refcount, *pages, 1);
            folios(m, *pages).for_each(|folio| m.put_refs(folio, 1));
        } else {
            folios(m, *pages).for_each(|folio| m.put_refs(folio, 2 + folio.pages() as i32));
        }
    }
}

/// Leaves folios to the page cache again; nobody maps them any more. The last of them was not frozen.
fn put_back(m: &Machine, old: &[PageRange]) {
    for pages in old {
        for folio in folios(m, *pages) {
            if m.refcount(folio) == 0 {
                m.counters().set(Field::Refcount, folio.head, 1);
            } else {
                m.put_refs(folio, 2);
            }
        }
    }
}
