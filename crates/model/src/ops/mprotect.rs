//! mprotect.

use super::fault::{Access, touch};
use super::{Outcome, dax, mlock, split_pmd, vma};
use crate::event::Errno;
use crate::machine::files::FileKind;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Pmd};
use crate::machine::vma::{Protection, Vma};
use crate::machine::{Machine, Mm};

/// Changes what `start .. start + pages` allows (`do_mprotect_pkey()`, mm/mprotect.c). Writing is taken away
/// at once; given back, it is at the next write fault.
///
/// # Errors
/// ENOMEM if some of it is not mapped, EINVAL where a huge page would be cut; what lies in front is changed.
pub fn protect(m: &Machine, mm: &Mm, (start, pages): (u64, u64), protection: Protection) -> Outcome {
    let guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let mut at = start;
    let mut outcome = Ok(());
    let mut populated: Vec<(u64, u64)> = Vec::new();
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
            mm.vmas.borrow_mut().update(at, stop, |vma| {
                vma.protection = protection;
                if let Some(area) = vma.file.as_mut().filter(|area| !area.shared) {
                    area.accounted |= protection.write;
                }
            });
            vma::merge(m, mm, at, stop);
            change_entries(m, mm, (at, stop), protection, writes_unasked(m, &area));
            let becomes_writable = protection.write && !area.protection.write;
            if m.policy.mprotect_populates && becomes_writable && area.locked && !area.is_shared() {
                populated.push((at, stop - at));
            }
        }
        at = stop;
    }
    drop(guard);
    // The kernel does this area by area, and does not look whether it succeeded.
    for range in populated {
        let _ = touch(m, mm, range, Access::PopulateWrite);
        mlock::populated(m, mm, range);
    }
    outcome
}

/// Whether entries of an area may be writable although nobody asked to write: in shared mappings of shared memory,
/// whose file system need not know, and of devices (`vma_wants_writenotify()`, mm/mmap.c).
fn writes_unasked(m: &Machine, area: &Vma) -> bool {
    let unasked = |kind: FileKind| kind.is_shmem() || kind == FileKind::Dax;
    area.file.is_some_and(|file| file.shared && unasked(m.file(file.root).kind))
}

/// Takes the right to write from the entries of a range, or gives it where nobody has to ask.
fn change_entries(m: &Machine, mm: &Mm, (start, end): (u64, u64), protection: Protection, unasked: bool) {
    let write = protection.write && unasked;
    if protection.write && !write {
        return;
    }
    dax::change_puds(m, mm, (start, end), write);
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        if let Pmd::Leaf(entry) = mm.table.pmd(found) {
            if stop - found == mm.table.pmd_pages() {
                let _guard = m.lock_table(mm, found);
                mm.table.set_pmd(found, entry.with_write(write));
                at = stop;
                continue;
            }
            let area = mm.vmas.borrow().find(found).expect("an area was just changed here");
            split_pmd::split_pmd(m, mm, &area, found);
        }
        if mm.table.pmd(found) == Pmd::Table {
            let _guard = m.lock_table(mm, found);
            set_write(mm, (found, stop), write);
        }
        at = stop;
    }
}

/// Says which present entries of a range within one table may be written.
fn set_write(mm: &Mm, (start, end): (u64, u64), write: bool) {
    if !write {
        return mm.table.protect_run(start, end - start, false);
    }
    let mut at = start;
    while at < end {
        let (entry, len) = mm.table.run(at, end - at, Alike::IgnoringWrite);
        if entry.is_present() {
            mm.table.protect_run(at, len, true);
        }
        at += len;
    }
}
