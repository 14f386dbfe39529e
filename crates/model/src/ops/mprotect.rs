//! mprotect.

use super::{Outcome, split_pmd, vma};
use crate::event::Errno;
use crate::machine::lock::Lock;
use crate::machine::page_table::Pmd;
use crate::machine::vma::Protection;
use crate::machine::{Machine, Mm};

/// Changes what `start .. start + pages` allows (`do_mprotect_pkey()`, mm/mprotect.c). Writing is taken away
/// at once; given back, it is at the next write fault.
///
/// # Errors
/// ENOMEM if some of it is not mapped, EINVAL where a huge page would be cut; what lies in front is changed.
pub fn protect(m: &Machine, mm: &Mm, (start, pages): (u64, u64), protection: Protection) -> Outcome {
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
        if area.protection != protection {
            outcome = vma::cut(m, mm, at, stop);
            if outcome.is_err() {
                break;
            }
            mm.vmas.borrow_mut().update(at, stop, |vma| vma.protection = protection);
            change_entries(m, mm, (at, stop), protection);
        }
        at = stop;
    }
    vma::merge(m, mm, start, end);
    outcome
}

fn change_entries(m: &Machine, mm: &Mm, (start, end): (u64, u64), protection: Protection) {
    if protection.write {
        return;
    }
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        if let Pmd::Leaf(entry) = mm.table.pmd(found) {
            if stop - found == mm.table.pmd_pages() {
                let _guard = m.lock_table(mm, found);
                mm.table.set_pmd(found, entry.with_write(false));
                at = stop;
                continue;
            }
            let area = mm.vmas.borrow().find(found).expect("an area was just changed here");
            split_pmd::split_pmd(m, mm, &area, found);
        }
        let _guard = m.lock_table(mm, found);
        mm.table.protect_run(found, stop - found, false);
        at = stop;
    }
}
