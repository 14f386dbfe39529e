//! fork of areas of huge pages (`copy_hugetlb_page_range()`, mm/hugetlb.c).

use super::fault;
use crate::event::Errno;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::{HugetlbArea, Vma};
use crate::machine::{Machine, Mm};
use crate::units::Folio;

/// Gives the child what it gets at once of the parent's area; `own` is the child's. Pages of a private mapping are
/// shared, copy-on-write, but for those that the parent pinned, of which it gets a copy.
///
/// # Errors
/// ENOMEM where there is no memory for a page table, or the pool has no page for a copy.
pub(in crate::ops) fn copy_area(
    m: &Machine,
    parent: &Mm,
    child: &Mm,
    area: &Vma,
    own: &Vma,
) -> Result<(), Errno> {
    let shared = area.hugetlb.is_some_and(|area| area.shared);
    if shared && !m.policy.hugetlb_fork_copies_shared {
        return Ok(());
    }
    let mut at = area.start;
    while let Some(found) = parent.table.next_pmd(at, area.end) {
        at = parent.table.pmd_end(found);
        let Pmd::Leaf(entry) = parent.table.pmd(found) else { continue };
        let _guard = m.lock_table(parent, found);
        if !child.table.has_room(found) {
            return Err(Errno::Enomem);
        }
        let folio = m.folio(entry.page());
        if shared {
            share(m, child, own, (found, entry), folio);
        } else {
            copy_private(m, parent, child, own, (found, entry), folio)?;
        }
    }
    Ok(())
}

fn share(m: &Machine, child: &Mm, own: &Vma, (at, entry): (u64, Entry), folio: Folio) {
    let by = m.adding(child, own, folio, folio.pages());
    m.get_refs(folio, m.scheme.references_of_added(1, &by));
    m.rmap().hugetlb_add_file_rmap(folio, &by);
    child.table.set_pmd(at, entry);
}

fn copy_private(
    m: &Machine,
    parent: &Mm,
    child: &Mm,
    own: &Vma,
    (at, entry): (u64, Entry),
    folio: Folio,
) -> Result<(), Errno> {
    let by = m.adding(child, own, folio, folio.pages());
    let references = m.scheme.references_of_added(1, &by);
    let pinned = m.policy.hugetlb_fork_copies_pinned && m.maybe_pinned(parent, folio);
    m.get_refs(folio, references);
    if m.rmap().hugetlb_try_dup_anon_rmap(folio, &by, pinned).is_ok() {
        parent.table.set_pmd(at, entry.with_write(false));
        child.table.set_pmd(at, entry.with_write(false));
        return Ok(());
    }
    let copy = fault::take(m, own, at, true);
    if let Some(new) = copy {
        m.frames.copy_content(folio.range(), new.head);
        fault::map_new(m, child, own, (at, new), true);
    }
    m.put_refs(folio, references);
    copy.map(|_| ()).ok_or(Errno::Enomem)
}

/// What a child's copy of an area starts with: nothing is promised to it, and nothing was taken from it
/// (`reset_vma_resv_huge_pages()`, mm/hugetlb.c).
pub(in crate::ops) fn copied(area: HugetlbArea) -> HugetlbArea {
    HugetlbArea { owner: false, robbed: false, ..area }
}
