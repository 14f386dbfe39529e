//! Page faults: a process touches memory, or the kernel does for it.

use super::{Outcome, cow, dax, file_fault, hugetlb, swap_in};
use crate::event::{Errno, Phase};
use crate::machine::config::ThpMode;
use crate::machine::frames::{Mapping, Root};
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::{ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::units::{Folio, Order, PageRange};

/// How memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It is read.
    Read,
    /// A byte that is not 0 is written to the start of each page; address spaces that live at the same time
    /// write different ones.
    Write,
    /// This byte is written throughout.
    Fill(u8),
    /// It is made ready for writing, as mlock, pins and MADV_POPULATE_WRITE do; its content stays.
    PopulateWrite,
}

impl Access {
    pub(super) const fn writes(self) -> bool {
        !matches!(self, Access::Read)
    }
}

/// Touches every page of `start .. start + pages`.
///
/// # Errors
/// EFAULT at the first page that no area holds or that may not be touched so, or for which the pool of huge pages
/// has none: what came before stays done. ENOMEM when memory is full.
pub fn touch(m: &Machine, mm: &Mm, (start, pages): (u64, u64), access: Access) -> Outcome {
    let end = start + pages;
    let mut at = start;
    while at < end {
        let vma = mm.vmas.borrow().find(at).ok_or(Errno::Efault)?;
        let allowed = if access.writes() { vma.protection.write } else { vma.protection.read };
        if !allowed {
            return Err(Errno::Efault);
        }
        let stop = end.min(vma.end);
        if vma.hugetlb.is_some() {
            hugetlb::touch(m, mm, &vma, (at, stop), access)?;
            at = stop;
        } else if let Some(device) = m.device_of(&vma) {
            dax::touch(m, mm, &vma, device, (at, stop), access)?;
            at = stop;
        }
        while at < stop {
            at = touch_once(m, mm, &vma, (at, stop), access)?;
        }
    }
    Ok(())
}

/// Handles what stands at `at`; returns where to go on, which is `at` itself after a fault.
fn touch_once(m: &Machine, mm: &Mm, vma: &Vma, (at, stop): (u64, u64), access: Access) -> Result<u64, Errno> {
    match mm.table.pmd(at) {
        Pmd::Leaf(entry) if access.writes() && !entry.is_writable() && vma.file.is_some() => {
            file_fault::write_pmd(m, mm, vma, at);
            Ok(at)
        }
        Pmd::Leaf(entry) if access.writes() && !entry.is_writable() => {
            cow::write_pmd(m, mm, vma, at)?;
            Ok(at)
        }
        Pmd::Leaf(entry) => {
            let next = stop.min(mm.table.pmd_end(at));
            if entry != entry.touched(access.writes()) {
                mm.table.set_pmd(at, entry.touched(access.writes()));
            }
            wrote(m, mm, vma, (at, next), access);
            Ok(next)
        }
        Pmd::None if let Some(area) = vma.file => {
            file_fault::fault(m, mm, vma, area, at, access)?;
            Ok(at)
        }
        Pmd::None => {
            fault_pmd(m, mm, vma, at, access)?;
            Ok(at)
        }
        Pmd::Table => {
            let entry = mm.table.read(at);
            if let (true, Some(area)) = (entry.is_none(), vma.file) {
                file_fault::fault(m, mm, vma, area, at, access)?;
                return Ok(at);
            }
            if entry.is_none() {
                let _guard = m.lock_table(mm, at);
                fault_pte(m, mm, vma, at, access)?;
                return Ok(at);
            }
            if entry.is_swap() {
                let _guard = m.lock_table(mm, at);
                swap_in::fault(m, mm, vma, at, access)?;
                return Ok(at);
            }
            if access.writes() && !entry.is_writable() {
                let _guard = m.lock_table(mm, at);
                cow::write_pte(m, mm, vma, at)?;
                return Ok(at);
            }
            let len = mm.table.run(at, stop - at, Alike::Exactly).1;
            let next = at + len;
            // The CPU notes the access in the entries.
            if entry != entry.touched(access.writes()) {
                mm.table.set_run(at, len, entry.touched(access.writes()));
            }
            wrote(m, mm, vma, (at, next), access);
            Ok(next)
        }
    }
}

/// Notes what a write left in the pages of `start..end`, which are mapped consecutively.
pub(super) fn wrote(m: &Machine, mm: &Mm, vma: &Vma, (start, end): (u64, u64), access: Access) {
    if access.writes() {
        file_fault::wrote(m, vma, (start, end));
    }
    let pages = || PageRange::new(mm.table.read(start).page(), (end - start) as u32);
    match access {
        // Ids start at 1.
        Access::Write => m.frames.write(pages(), ((mm.id.0 - 1) % 255 + 1) as u8),
        Access::Fill(byte) => m.frames.fill(pages(), byte),
        Access::Read | Access::PopulateWrite => {}
    }
}

/// A fault where no page table is: a THP if it is allowed and fits, else an empty table.
fn fault_pmd(m: &Machine, mm: &Mm, vma: &Vma, at: u64, access: Access) -> Outcome {
    let (start, end) = (mm.table.pmd_start(at), mm.table.pmd_end(at));
    let pmd = m.pmd_order();
    let _guard = m.lock(Lock::PageTable(mm.id, start));
    if !mm.table.has_room(start) {
        return Err(Errno::Enomem);
    }
    if start >= vma.start && end <= vma.end && allows(m, vma, pmd) {
        prepare_anon(m, mm, at);
        if !access.writes() && m.policy.huge_zero {
            if let Some(zero) = m.huge_zero() {
                mm.table.set_pmd(start, Entry::zero(zero.head));
                return Ok(());
            }
        } else if let Some(folio) = new_thp(m, mm, vma, start) {
            m.queue_candidate(folio);
            return Ok(());
        }
    }
    mm.table.add_table(start);
    Ok(())
}

/// Sees to it that the area of `at` has an anon_vma before it gets memory of its own; a fault that only maps the
/// zero page by a PTE does without, so that fork has nothing to copy of it.
pub(super) fn prepare_anon(m: &Machine, mm: &Mm, at: u64) {
    mm.vmas.borrow_mut().prepare_anon(at, || m.add_anon_vma());
}

/// The root of an area's own memory. The first fault may have given the area a neighbour's, since it was looked up.
fn root_of(mm: &Mm, vma: &Vma, at: u64) -> Root {
    match vma.anon {
        Some(_) => vma.root,
        None => mm.vmas.borrow().find(at).map_or(vma.root, |area| area.root),
    }
}

/// Allocates a THP and maps it at `start`, where nothing stands; `None` when memory is full.
pub(super) fn new_thp(m: &Machine, mm: &Mm, vma: &Vma, start: u64) -> Option<Folio> {
    let mapping = Mapping { root: root_of(mm, vma, start), index: vma.offset_of(start) };
    let folio = m.alloc(m.pmd_order(), mapping)?;
    m.rmap().folio_add_new_anon_rmap_pmd(folio, &m.adding(mm, vma, folio, folio.pages()));
    m.lru_add_new(folio, vma);
    mm.table.set_pmd(start, Entry::present(folio.head, vma.protection.write));
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
    Some(folio)
}

/// A fault on an empty PTE: the zero page for a read, for a write the largest folio that is allowed, fits and
/// meets only empty PTEs (`alloc_anon_folio()`, mm/memory.c, v6.8), at last a single page.
fn fault_pte(m: &Machine, mm: &Mm, vma: &Vma, at: u64, access: Access) -> Outcome {
    if !access.writes() {
        mm.table.set(at, Entry::zero(m.zero_page().head));
        return Ok(());
    }
    prepare_anon(m, mm, at);
    for order in (1..m.pmd_order().0).rev().map(Order) {
        let pages = u64::from(order.pages());
        let start = at & !(pages - 1);
        let fits = start >= vma.start && start + pages <= vma.end;
        if fits
            && allows(m, vma, order)
            && mm.table.run(start, pages, Alike::Exactly) == (Entry::NONE, pages)
            && let Some(folio) = new_folio(m, mm, vma, start, order)
        {
            set_new(mm, vma, folio, start);
            return Ok(());
        }
    }
    let folio = new_folio(m, mm, vma, at, Order::ZERO).ok_or(Errno::Enomem)?;
    set_new(mm, vma, folio, at);
    Ok(())
}

fn set_new(mm: &Mm, vma: &Vma, folio: Folio, start: u64) {
    mm.table.set_run(start, u64::from(folio.pages()), Entry::present(folio.head, vma.protection.write));
}

/// Allocates a folio for `start` and counts it as mapped there by PTEs, which the caller sets.
pub(super) fn new_folio(m: &Machine, mm: &Mm, vma: &Vma, start: u64, order: Order) -> Option<Folio> {
    let mapping = Mapping { root: root_of(mm, vma, start), index: vma.offset_of(start) };
    let folio = m.alloc(order, mapping)?;
    let by = m.adding(mm, vma, folio, folio.pages());
    // The reference of the allocation becomes the first mapping's.
    m.get_refs(folio, m.scheme.references_of_added(folio.pages(), &by) - 1);
    if folio.is_large() {
        m.phase(Phase::ReferencesTaken, Some(mm.id), folio.range());
    }
    m.rmap().folio_add_new_anon_rmap_ptes(folio, &by);
    m.lru_add_new(folio, vma);
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
    Some(folio)
}

/// Whether faults in `vma` may use folios of `order` (`thp_vma_allowable_orders()`, mm/huge_memory.c,
/// v6.8; `transparent_hugepage_enabled()` before). Anonymous folios have order 2 at least, unless a PMD is smaller.
pub fn allows(m: &Machine, vma: &Vma, order: Order) -> bool {
    let config = m.config.borrow();
    let is_pmd = order == config.pmd();
    if vma.hugetlb.is_some() {
        return false;
    }
    if vma.advice == ThpAdvice::NoHuge || (!is_pmd && (!m.policy.mthp || order.0 < 2)) {
        return false;
    }
    let mode = match config.sizes[usize::from(order.0)] {
        _ if !m.policy.mthp => config.thp,
        ThpMode::Inherit => config.thp,
        own => own,
    };
    match mode {
        ThpMode::Always => true,
        ThpMode::Madvise => vma.advice == ThpAdvice::Huge,
        ThpMode::Never | ThpMode::Inherit => false,
    }
}
