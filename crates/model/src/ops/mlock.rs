//! mlock and munlock: what they do to areas and which faults they cause. They leave no reference.

use super::fault::{Access, touch};
use super::{Outcome, vma};
use crate::event::Errno;
use crate::machine::lock::Lock;
use crate::machine::{Machine, Mm};

/// Locks `start .. start + pages` and makes every page present, writable areas ready for writing
/// (`do_mlock()`, `populate_vma_page_range()`, mm/mlock.c and mm/gup.c).
///
/// # Errors
/// ENOMEM if some of it is not mapped or may not be touched; EAGAIN when memory is full
/// (`__mlock_posix_error_return()`, mm/mlock.c).
pub fn lock(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    let outcome = set_locked(m, mm, range, true);
    m.lru_drain();
    outcome?;
    let end = range.0 + range.1;
    let mut at = range.0;
    while at < end {
        let area = mm.vmas.borrow().find(at).ok_or(Errno::Enomem)?;
        let stop = end.min(area.end);
        // A shared mapping has no copies to make.
        let copies = area.protection.write && !area.is_shared();
        let access = if copies { Access::PopulateWrite } else { Access::Read };
        let touched = touch(m, mm, (at, stop - at), access);
        // Up to 5.17 for each page that is to be locked (`follow_page_pte()`, mm/gup.c, v5.10), then at the end
        // (`populate_vma_page_range()`, v6.1).
        m.lru_drain();
        touched.map_err(|errno| match errno {
            Errno::Enomem => Errno::Eagain,
            _ => Errno::Enomem,
        })?;
        at = stop;
    }
    Ok(())
}

/// Unlocks `start .. start + pages`.
///
/// # Errors
/// ENOMEM if some of it is not mapped.
pub fn unlock(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    set_locked(m, mm, range, false)
}

fn set_locked(m: &Machine, mm: &Mm, (start, pages): (u64, u64), locked: bool) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let mut at = start;
    let mut outcome = Ok(());
    while at < end {
        let Some(area) = mm.vmas.borrow().find(at) else {
            outcome = Err(Errno::Enomem);
            break;
        };
        let stop = end.min(area.end);
        // Huge pages and devices are never swapped: their areas are left as they are.
        let swaps = area.hugetlb.is_none() && m.device_of(&area).is_none();
        if area.locked != locked && swaps {
            vma::cut(m, mm, at, stop)?;
            mm.vmas.borrow_mut().update(at, stop, |vma| vma.locked = locked);
            vma::merge(m, mm, at, stop);
            if m.policy.populate_drains {
                // `mlock_vma_pages_range()`, mm/mlock.c, v6.18.
                m.lru_drain();
            }
        }
        at = stop;
    }
    outcome
}
