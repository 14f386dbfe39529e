//! DAX: the memory of a device is mapped itself, by PTEs, PMDs or PUDs, whichever its alignment is. Kernels up to 6.14
//! count no mapping of it; from 6.15 on each owns a reference and is counted as that of a file is. The device keeps a
//! reference of its own on each folio, so that none is ever freed.
//!
//! Sources: `check_vma()`, `dev_dax_huge_fault()`, `dev_dax_may_split()` (drivers/dax/device.c, v5.10, v6.15),
//! `vmf_insert_folio_pud()`, `insert_pud()`, `zap_huge_pud()`, `__split_huge_pud_locked()`, `change_huge_pud()`
//! (mm/huge_memory.c, v5.10, v6.12, v7.2).

use super::Outcome;
use super::fault::{self, Access};
use crate::event::{Errno, Phase};
use crate::machine::files::Device;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::{FileArea, Protection, ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::units::{Order, PageRange};

/// How a device is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The device's alignment: the order of what one entry maps.
    pub align: Order,
    /// MAP_SHARED; devices allow nothing else.
    pub shared: bool,
    /// What the mapping allows.
    pub protection: Protection,
    /// MADV_NOHUGEPAGE; huge pages are asked for by the device itself.
    pub no_huge: bool,
}

/// Maps the whole of a new device of `pages` pages at `start`, where nothing is mapped.
///
/// # Errors
/// EINVAL for a private mapping, and for one that is no multiple of the device's alignment.
pub fn map(m: &Machine, mm: &Mm, (start, pages): (u64, u64), request: Request) -> Outcome {
    let Request { align, shared, protection, no_huge } = request;
    let end = start + pages;
    if !shared || !is_aligned(start, align) || !is_aligned(end, align) {
        return Err(Errno::Einval);
    }
    // Lossless: who makes a scenario's devices has bounded their size.
    let root = m.add_device(pages as u32, align);
    m.join_root(root, mm.id);
    mm.vmas.borrow_mut().insert(Vma {
        start,
        end,
        offset: 0,
        protection,
        advice: if no_huge { ThpAdvice::NoHuge } else { ThpAdvice::Huge },
        locked: false,
        mergeable: false,
        root,
        file: Some(FileArea { root, shared, accounted: false }),
        anon: None,
        hugetlb: None,
        turns: m.next_turns(),
    });
    Ok(())
}

const fn is_aligned(at: u64, align: Order) -> bool {
    at.is_multiple_of(align.pages() as u64)
}

/// Whether an area can be cut at `at`: one of a device only where an entry ends.
pub(super) fn fits(m: &Machine, vma: &Vma, at: u64) -> bool {
    m.device_of(vma).is_none_or(|device| is_aligned(at, device.align))
}

/// Touches `at..stop` of an area of a device.
pub(super) fn touch(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    device: Device,
    (mut at, stop): (u64, u64),
    access: Access,
) -> Outcome {
    let step = u64::from(device.align.pages());
    while at < stop {
        let start = at - at % step;
        if mm.table.read(at).is_none() {
            fault(m, mm, vma, device, start)?;
        }
        let next = stop.min(start + step);
        fault::wrote(m, mm, vma, (at, next), access);
        at = next;
    }
    Ok(())
}

/// A fault where nothing is mapped: the device's memory is, by one entry that allows what the area allows.
fn fault(m: &Machine, mm: &Mm, vma: &Vma, device: Device, start: u64) -> Outcome {
    if device.align > Order::ZERO && vma.advice == ThpAdvice::NoHuge {
        // What is left is a fault on one page, which such a device refuses.
        return Err(Errno::Efault);
    }
    let is_pud = device.align == m.pud_order();
    let at = if is_pud { start & !(mm.table.pud_pages() - 1) } else { mm.table.pmd_start(start) };
    let _guard = m.lock(Lock::PageTable(mm.id, at));
    if !is_pud && !mm.table.has_room(start) {
        return Err(Errno::Enomem);
    }
    // Lossless: the device is as large as the area.
    let page = device.frames.first.add(vma.offset_of(start) as u32);
    let folio = m.folio(page);
    if m.policy.dax_counts {
        let by = m.adding(mm, vma, folio, folio.pages());
        m.get_refs(folio, m.scheme.references_of_added(1, &by));
        if is_pud {
            m.rmap().folio_add_file_rmap_pud(folio, &by);
        } else if device.align > Order::ZERO {
            m.rmap().folio_add_file_rmap_pmd(folio, &by);
        } else {
            m.rmap().folio_add_file_rmap_ptes(folio, folio.range(), &by);
        }
    }
    let write = vma.protection.write;
    let entry = if m.policy.dax_counts { Entry::present(page, write) } else { Entry::device(page, write) };
    if is_pud {
        mm.table.set_pud(start, entry);
    } else if device.align > Order::ZERO {
        mm.table.set_pmd(start, entry);
    } else {
        if mm.table.pmd(start) == Pmd::None {
            mm.table.add_table(start);
        }
        mm.table.set(start, entry);
    }
    m.phase(Phase::Mapped, Some(mm.id), PageRange::new(page, device.align.pages()));
    Ok(())
}

/// Unmaps the PUDs that lie in a range of an area. One that reaches out of it is split first, which leaves nothing of
/// it either: faults bring it again.
pub(super) fn zap_puds(m: &Machine, mm: &Mm, vma: &Vma, (start, end): (u64, u64)) {
    while let Some((at, entry)) = mm.table.next_pud(start, end) {
        let _guard = m.lock(Lock::PageTable(mm.id, at));
        if !entry.is_counted() {
            mm.table.clear_pud(at);
        } else {
            let folio = m.folio(entry.page());
            let by = m.removing(mm, vma, folio, folio.pages());
            mm.table.clear_pud(at);
            m.rmap().folio_remove_rmap_pud(folio, &by);
            m.gather(folio, m.scheme.references_of_removed(1, &by));
        }
    }
}

/// mprotect of PUDs. Up to 6.11 they are taken for damaged entries and cleared (`pud_none_or_clear_bad()`).
pub(super) fn change_puds(m: &Machine, mm: &Mm, (start, end): (u64, u64), write: bool) {
    let mut from = start;
    while let Some((at, entry)) = mm.table.next_pud(from, end) {
        let _guard = m.lock(Lock::PageTable(mm.id, at));
        if m.policy.mprotect_knows_puds {
            mm.table.set_pud(at, entry.with_write(write));
        } else {
            mm.table.clear_pud(at);
        }
        from = at + mm.table.pud_pages();
    }
}
