//! Areas of huge pages: mmap, unmapping, and what becomes of promised pages when an area goes.

use crate::event::Errno;
use crate::machine::page_table::Pmd;
use crate::machine::vma::{HugetlbArea, Protection, ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::ops::{Outcome, rmap_walk};
use crate::policy::HugetlbRestore;
use crate::units::Folio;

/// Maps huge pages at `start`, where nothing is mapped; a length that is no multiple of their size is rounded up.
/// The pool has to have a page for each that is not promised yet (`hugetlb_reserve_pages()`, mm/hugetlb.c).
///
/// # Errors
/// ENOMEM if it has not.
pub fn map(
    m: &Machine,
    mm: &Mm,
    (start, pages): (u64, u64),
    protection: Protection,
    shared: bool,
) -> Outcome {
    let step = mm.table.pmd_pages();
    let end = start + pages.next_multiple_of(step);
    let root = m.add_root(mm.id);
    let indexes: Vec<u64> = (start..end).step_by(step as usize).collect();
    if !m.hugetlb.promise(root, shared, &indexes) {
        m.leave_root(root, mm.id);
        return Err(Errno::Enomem);
    }
    mm.vmas.borrow_mut().insert(Vma {
        start,
        end,
        offset: start,
        protection,
        advice: ThpAdvice::None,
        locked: false,
        mergeable: false,
        root,
        file: None,
        anon: None,
        hugetlb: Some(HugetlbArea { shared, owner: !shared, robbed: false }),
        turns: m.next_turns(),
    });
    Ok(())
}

/// Whether the areas can be cut at `at`: one of huge pages only between two of them (`hugetlb_vm_op_split()`,
/// mm/hugetlb.c; `split_vma()`, mm/mmap.c before 4.15).
pub(in crate::ops) fn fits(mm: &Mm, at: u64) -> bool {
    let across = mm.vmas.borrow().find(at).is_some_and(|vma| vma.hugetlb.is_some() && vma.start < at);
    !across || at == mm.table.pmd_start(at)
}

/// Unmaps `start..end` of an area, a multiple of its pages (`__unmap_hugepage_range()`, mm/hugetlb.c).
pub(in crate::ops) fn unmap(m: &Machine, mm: &Mm, vma: &Vma, (start, end): (u64, u64)) {
    let owner = vma.hugetlb.is_some_and(|area| area.owner);
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        at = mm.table.pmd_end(found);
        let Pmd::Leaf(entry) = mm.table.pmd(found) else { continue };
        let _guard = m.lock_table(mm, found);
        let folio = m.folio(entry.page());
        let by = m.removing(mm, vma, folio, folio.pages());
        mm.table.clear_pmd(found);
        m.rmap().hugetlb_remove_rmap(folio, &by);
        if owner && is_promised_again(m, folio) {
            m.hugetlb.restore(folio, vma.root, vma.offset_of(mm.table.pmd_start(found)));
        }
        m.gather(folio, m.scheme.references_of_removed(1, &by));
    }
}

fn is_promised_again(m: &Machine, folio: Folio) -> bool {
    match m.policy.hugetlb_restore {
        HugetlbRestore::Never => false,
        HugetlbRestore::AtOnce => true,
        HugetlbRestore::WithLastMapping => !m.is_mapped(folio),
    }
}

/// MADV_REMOVE of `from..to` of an area: the whole huge pages in it leave all page tables and the page cache
/// (`hugetlbfs_punch_hole()`, `remove_inode_hugepages()`, fs/hugetlbfs/inode.c, v4.3 to v6.12).
///
/// # Errors
/// EINVAL before 4.3; EACCES unless the area is shared and, up to 6.6, writable.
pub(in crate::ops) fn remove(m: &Machine, mm: &Mm, vma: &Vma, (from, to): (u64, u64)) -> Outcome {
    if !m.policy.hugetlb_punches {
        return Err(Errno::Einval);
    }
    let writable = vma.protection.write || m.policy.remove_takes_read_only;
    if !vma.hugetlb.is_some_and(|area| area.shared) || !writable {
        return Err(Errno::Eacces);
    }
    let step = mm.table.pmd_pages();
    let (first, behind) = (from.next_multiple_of(step), mm.table.pmd_start(to));
    for start in (first..behind).step_by(step as usize) {
        let index = vma.offset_of(start);
        let Some(folio) = m.hugetlb.find(vma.root, index).map(|head| m.folio(head)) else { continue };
        for place in rmap_walk::places(m, folio) {
            unmap(m, &place.mm, &place.vma, (place.start, place.end));
        }
        m.flush_gathered();
        m.uncache_hugetlb(folio, vma.root, index);
    }
    Ok(())
}

/// What these areas, which are gone, were promised is given back; with the last area of a shared mapping its page
/// cache goes (`hugetlb_vm_op_close()`, mm/hugetlb.c; `hugetlbfs_evict_inode()`, fs/hugetlbfs/inode.c).
pub(in crate::ops) fn close(m: &Machine, areas: &[Vma]) {
    let huge = || areas.iter().filter(|vma| vma.hugetlb.is_some());
    for vma in huge().filter(|vma| vma.hugetlb.is_some_and(|area| area.owner)) {
        m.unpromise_hugetlb(vma.root, vma.offset..vma.offset_of(vma.end));
    }
    for vma in huge() {
        let mut mapped = false;
        m.each_member(vma.root, |_| mapped = true);
        if !mapped {
            m.forget_hugetlb(vma.root);
        }
    }
}

/// An area is about to be moved, or a part of it: the promises go with the part, and what stays behind has none
/// (`clear_vma_resv_huge_pages()`, mm/hugetlb.c, v5.16).
pub(in crate::ops) fn give_up_promises(mm: &Mm, vma: &Vma) {
    mm.vmas.borrow_mut().update(vma.start, vma.end, |old| {
        old.hugetlb = old.hugetlb.map(|area| HugetlbArea { owner: false, robbed: false, ..area });
    });
}
