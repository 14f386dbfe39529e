//! munmap.

use super::{Outcome, hugetlb, mlock, truncate, vma, zap};
use crate::machine::lock::Lock;
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};

/// Unmaps `start .. start + pages`; holes do not matter (`do_munmap()`, mm/mmap.c).
///
/// # Errors
/// EINVAL where a huge page would be cut: then nothing is unmapped.
pub fn unmap(m: &Machine, mm: &Mm, (start, pages): (u64, u64)) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    unmap_locked(m, mm, start, start + pages)
}

/// The same under the mmap lock.
pub(super) fn unmap_locked(m: &Machine, mm: &Mm, start: u64, end: u64) -> Outcome {
    vma::cut(m, mm, start, end)?;
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    if areas.is_empty() {
        return Ok(());
    }
    for area in areas.iter().filter(|area| area.locked) {
        mlock::unlock_unmapped(m, mm, area);
    }
    zap::prepare(m);
    for area in &areas {
        zap::zap(m, mm, area, (area.start, area.end));
    }
    mm.vmas.borrow_mut().remove(start, end);
    for root in areas.iter().flat_map(Vma::roots) {
        if mm.vmas.borrow().all().iter().flat_map(Vma::roots).all(|other| other != root) {
            m.leave_root(root, mm.id);
        }
    }
    free_tables(mm, start, end);
    m.flush_gathered();
    hugetlb::close(m, &areas);
    for file in areas.iter().filter_map(|area| area.file) {
        truncate::release(m, file.root);
    }
    Ok(())
}

/// Frees the page tables that no area needs any more (`free_pgtables()`, mm/memory.c).
fn free_tables(mm: &Mm, start: u64, end: u64) {
    let mut at = mm.table.pmd_start(start);
    while let Some(found) = mm.table.next_pmd(at, end) {
        let (first, behind) = (mm.table.pmd_start(found), mm.table.pmd_end(found));
        if mm.vmas.borrow().overlapping(first, behind).is_empty() {
            mm.table.clear_pmd(found);
        }
        at = behind;
    }
    mm.table.free_upper(start, end, |first, behind| !mm.vmas.borrow().overlapping(first, behind).is_empty());
}
