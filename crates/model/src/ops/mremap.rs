//! mremap with MREMAP_FIXED: moves a mapping; entries move, counters do not.

use super::{Outcome, hugetlb, ksm, munmap, split_pmd, vma};
use crate::event::Errno;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};

/// Moves `pages` pages from `from` to `to`; what is mapped there is unmapped first (`mremap_to()`,
/// `move_page_tables()`, mm/mremap.c). PMDs move as a whole where both sides are aligned (3.2 on) and split
/// elsewhere.
///
/// # Errors
/// EINVAL if both ranges overlap. EFAULT if the source does not begin in an area, or leaves it (in kernels that
/// cannot move several): unless the kernel looks first, the target is unmapped by then. ENOMEM if there is no
/// memory for page tables (the kernel moves back what it moved by then), or for pages in place of merged ones.
/// Huge pages move from 5.16 on, if source and target begin with one, as many as the length touches; else EINVAL.
pub fn remap(m: &Machine, mm: &Mm, from: u64, to: u64, pages: u64) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let huge = mm.vmas.borrow().find(from).is_some_and(|area| area.hugetlb.is_some());
    let pages = if huge && m.policy.hugetlb_mremap { whole_huge_pages(mm, from, to, pages)? } else { pages };
    let end = from + pages;
    let areas = mm.vmas.borrow().overlapping(from, end).to_vec();
    let begins = areas.first().is_some_and(|area| area.start <= from);
    // `mremap()`, mm/mremap.c, v6.12; `check_mremap_params()` comes before it looks, v7.2.
    if m.policy.mremap_looks_first && !m.policy.mremap_moves_areas && !begins {
        return Err(Errno::Efault);
    }
    if from < to + pages && to < end {
        return Err(Errno::Einval);
    }
    if m.policy.mremap_moves_areas {
        if !begins {
            return Err(Errno::Efault);
        }
        // Holes between the areas stay as wide as they are, and what is mapped at their target stays.
        for area in &areas {
            let (first, behind) = (area.start.max(from), area.end.min(end));
            let (target, mut pages) = (to + (first - from), behind - first);
            if area.hugetlb.is_some() {
                pages = whole_huge_pages(mm, first, target, pages)?;
            }
            move_area(m, mm, first, target, pages)?;
        }
        return Ok(());
    }
    munmap::unmap_locked(m, mm, to, to + pages)?;
    if huge && !m.policy.hugetlb_mremap {
        return Err(Errno::Einval);
    }
    if !begins || areas[0].end < end {
        return Err(Errno::Efault);
    }
    move_area(m, mm, from, to, pages)
}

/// The length of a range of huge pages that is to be moved, rounded up (`mremap()`, mm/mremap.c, v5.16).
fn whole_huge_pages(mm: &Mm, from: u64, to: u64, pages: u64) -> Result<u64, Errno> {
    let step = mm.table.pmd_pages();
    if (from | to) & (step - 1) != 0 {
        return Err(Errno::Einval);
    }
    Ok(pages.next_multiple_of(step))
}

/// Moves a part of one area.
fn move_area(m: &Machine, mm: &Mm, from: u64, to: u64, pages: u64) -> Outcome {
    munmap::unmap_locked(m, mm, to, to + pages)?;
    let area = mm.vmas.borrow().find(from).ok_or(Errno::Efault)?;
    if area.mergeable {
        // Merged pages do not move: ksmd would look for them at the old place.
        ksm::unshare(m, mm, &area, (from, from + pages))?;
    }
    if !has_room(mm, from, to, pages) {
        return Err(Errno::Enomem);
    }
    // An area without memory of its own yet is as if it had been mapped at its new place (`copy_vma()`, mm/mmap.c
    // and mm/vma.c, v2.6.39 to v7.2), so that it becomes one with its neighbours there.
    let unused = area.anon.is_none() && area.file.is_none() && area.hugetlb.is_none();
    let offset = if unused { to } else { area.offset_of(from) };
    let new = Vma { start: to, end: to + pages, offset, turns: m.next_turns(), ..area };
    split_across(m, mm, &area, from, pages);
    if area.hugetlb.is_some() {
        hugetlb::give_up_promises(mm, &area);
    }
    vma::cut(m, mm, from, from + pages)?;
    mm.vmas.borrow_mut().insert(new);
    move_entries(m, mm, from, to, pages);
    munmap::unmap_locked(m, mm, from, from + pages)?;
    vma::merge(m, mm, to, to + pages);
    Ok(())
}

/// Whether there is memory for the page tables that the entries need at their new place.
fn has_room(mm: &Mm, from: u64, to: u64, pages: u64) -> bool {
    let end = from + pages;
    let mut at = from;
    let targets = std::iter::from_fn(|| {
        let found = mm.table.next_pmd(at, end)?;
        at = end.min(mm.table.pmd_end(found));
        Some([to + (found - from), to + (at - 1 - from)])
    });
    mm.table.has_room_for(targets.flatten())
}

/// Splits the PMDs that cannot move as a whole.
fn split_across(m: &Machine, mm: &Mm, area: &Vma, from: u64, pages: u64) {
    let mut at = from;
    let end = from + pages;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let whole = found == mm.table.pmd_start(found) && mm.table.pmd_end(found) <= end;
        if matches!(mm.table.pmd(found), Pmd::Leaf(_)) && !(whole && m.policy.mremap_moves_pmds) {
            split_pmd::split_pmd(m, mm, area, found);
        }
        at = mm.table.pmd_end(found);
    }
}

fn move_entries(m: &Machine, mm: &Mm, from: u64, to: u64, pages: u64) {
    let aligned = (from ^ to) & (mm.table.pmd_pages() - 1) == 0;
    let end = from + pages;
    let mut at = from;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        let target = to + (found - from);
        if let Pmd::Leaf(_) = mm.table.pmd(found) {
            if aligned && mm.table.pmd(target) == Pmd::None {
                let _guards = (m.lock_table(mm, found), m.lock_table(mm, target));
                mm.table.move_pmd(found, target);
                at = stop;
                continue;
            }
            let area = mm.vmas.borrow().find(found).expect("the source is mapped");
            split_pmd::split_pmd(m, mm, &area, found);
        }
        move_ptes(m, mm, (found, stop), target);
        at = stop;
    }
}

fn move_ptes(m: &Machine, mm: &Mm, (start, end): (u64, u64), target: u64) {
    let mut at = start;
    while at < end {
        let to = target + (at - start);
        let room = (end - at).min(mm.table.pmd_end(to) - to);
        let (entry, len) = mm.table.run(at, room, Alike::Exactly);
        if !entry.is_none() {
            // Within one table its lock is taken once.
            let same = mm.table.pmd_start(at) == mm.table.pmd_start(to);
            let _from = m.lock_table(mm, at);
            let _to = (!same).then(|| m.lock_table(mm, to));
            if mm.table.pmd(to) == Pmd::None {
                mm.table.add_table(to);
            }
            mm.table.set_run(at, len, Entry::NONE);
            mm.table.set_run(to, len, entry);
        }
        at += len;
    }
}
