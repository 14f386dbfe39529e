//! fork: a child shares its parent's anonymous memory, copy-on-write.

use std::rc::Rc;

use super::{exit, fault, hugetlb, split_pmd};
use crate::event::Errno;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::{AnonVma, Vma};
use crate::machine::{Machine, Mm};
use crate::scheme::Mapper;
use crate::units::{Folio, Order, PageRange, Pfn};

/// Makes a child of `parent` (`dup_mmap()`, kernel/fork.c; `copy_page_range()`, mm/memory.c).
///
/// # Errors
/// ENOMEM when memory is full: then there is no child.
pub fn fork(m: &Machine, parent: &Mm) -> Result<Rc<Mm>, Errno> {
    let child = m.add_mm();
    let _guard = m.lock(Lock::Mmap(parent.id));
    if m.ksm.scans(parent.id) {
        m.ksm.enter(child.id);
    }
    let areas = parent.vmas.borrow().all().to_vec();
    for area in &areas {
        // An area without an anon_vma has nothing that faults would not bring again: it is not looked at.
        let anon = area.anon.map(|_| AnonVma { id: m.add_anon_vma(), inherited: true });
        let turns = m.turns_of_copy(parent, area);
        let own = Vma { locked: false, anon, hugetlb: area.hugetlb.map(hugetlb::copied), turns, ..*area };
        child.vmas.borrow_mut().insert(own);
        m.join_root(own.root, child.id);
        if let Some(file) = own.file {
            m.join_root(file.root, child.id);
        }
        let copied = match (area.hugetlb, anon) {
            (Some(_), _) => hugetlb::copy_area(m, parent, &child, area, &own),
            (None, Some(_)) => copy_area(m, parent, &child, area, &own),
            (None, None) => Ok(()),
        };
        if let Err(errno) = copied {
            exit::exit(m, &child);
            return Err(errno);
        }
    }
    Ok(child)
}

fn copy_area(m: &Machine, parent: &Mm, child: &Mm, area: &Vma, own: &Vma) -> Result<(), Errno> {
    child.table.copy_upper(&parent.table, area.start, area.end);
    let mut at = area.start;
    while let Some(found) = parent.table.next_pmd(at, area.end) {
        let stop = area.end.min(parent.table.pmd_end(found));
        if !child.table.has_room(found) {
            return Err(Errno::Enomem);
        }
        if let Pmd::Leaf(entry) = parent.table.pmd(found) {
            if entry.is_zero() {
                child.table.set_pmd(found, entry);
            } else if !m.folio(entry.page()).kind.is_anon() {
                // The child's faults will bring it (`copy_huge_pmd()`, mm/huge_memory.c).
            } else if !copy_pmd(m, parent, child, own, found, entry) {
                // Somebody may have pinned it: split the parent's PMD and look at each page.
                split_pmd::split_pmd(m, parent, area, found);
            }
        }
        if parent.table.pmd(found) == Pmd::Table {
            let _guard = m.lock_table(parent, found);
            if child.table.pmd(found) == Pmd::None {
                child.table.add_table(found);
            }
            copy_ptes(m, parent, child, own, (found, stop))?;
        }
        at = stop;
    }
    Ok(())
}

fn looks_pinned(m: &Machine, parent: &Mm, folio: Folio) -> bool {
    m.policy.fork_copies_pinned && m.maybe_pinned(parent, folio)
}

/// Shares a PMD-mapped folio; `false` if it may be pinned.
fn copy_pmd(m: &Machine, parent: &Mm, child: &Mm, own: &Vma, at: u64, entry: Entry) -> bool {
    let _guard = m.lock_table(parent, at);
    if entry.is_zero() {
        child.table.set_pmd(at, entry);
        return true;
    }
    let folio = m.folio(entry.page());
    let by = m.adding(child, own, folio, folio.pages());
    let references = m.scheme.references_of_added(1, &by);
    let pinned = looks_pinned(m, parent, folio);
    m.get_refs(folio, references);
    if m.rmap().folio_try_dup_anon_rmap_pmd(folio, &by, pinned).is_err() {
        m.put_refs(folio, references);
        return false;
    }
    parent.table.set_pmd(at, entry.with_write(false));
    child.table.set_pmd(at, entry.with_write(false).with_old());
    true
}

fn copy_ptes(m: &Machine, parent: &Mm, child: &Mm, own: &Vma, (start, end): (u64, u64)) -> Result<(), Errno> {
    let mut at = start;
    while at < end {
        let (entry, len) = m.batch(&parent.table, at, end - at, Alike::IgnoringWrite);
        if entry.is_zero() {
            child.table.set_run(at, len, entry);
        }
        if entry.is_swap() {
            share_swapped(m, parent, child, (at, len), entry);
        }
        if !entry.is_present() || entry.is_zero() {
            at += len;
            continue;
        }
        let folio = m.folio(entry.page());
        if !folio.is_large() && !folio.kind.is_anon() {
            at += share_file_pages(m, parent, child, (at, end - at));
            continue;
        }
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        let pages = PageRange::new(entry.page(), (len as u32).min(inside));
        let pinned = looks_pinned(m, parent, folio);
        if !share(m, parent, child, own, (at, folio, pages), pinned) {
            for (i, page) in (0u64..).zip(pages.iter()) {
                if !share(m, parent, child, own, (at + i, folio, PageRange::one(page)), pinned) {
                    copy_pinned(m, child, own, at + i, page)?;
                }
            }
        }
        at += u64::from(pages.len);
    }
    Ok(())
}

/// Shares pages that are swapped out: afterwards they are nobody's alone (`copy_nonpresent_pte()`, mm/memory.c).
fn share_swapped(m: &Machine, parent: &Mm, child: &Mm, (at, len): (u64, u64), entry: Entry) {
    let shared = entry.without_exclusive();
    m.swap.use_slots(entry.slot(), len as u32);
    m.swap.enter_behind(parent.id, child.id);
    parent.table.set_run(at, len, shared);
    child.table.set_run(at, len, shared);
}

/// Shares pages of files that are folios of their own, as many as stand in a row; says how many.
fn share_file_pages(m: &Machine, parent: &Mm, child: &Mm, (at, most): (u64, u64)) -> u64 {
    let (entry, len) = parent.table.run(at, most, Alike::IgnoringWrite);
    let small = m.frames.small_file_pages(PageRange::new(entry.page(), len as u32));
    let pages = PageRange::new(entry.page(), small);
    m.get_each(pages);
    m.rmap().folios_dup_file_rmap_pte(pages);
    parent.table.protect_run(at, u64::from(small), false);
    child.table.set_run(at, u64::from(small), Entry::present(pages.first, false));
    u64::from(small)
}

/// Shares consecutive pages of a folio; `false`, and nothing changed, if the parent may have pinned them.
fn share(
    m: &Machine,
    parent: &Mm,
    child: &Mm,
    own: &Vma,
    (at, folio, pages): (u64, Folio, PageRange),
    pinned: bool,
) -> bool {
    let by: Mapper = m.adding(child, own, folio, pages.len);
    let references = m.scheme.references_of_added(pages.len, &by);
    m.get_refs(folio, references);
    if !folio.kind.is_anon() {
        m.rmap().folio_dup_file_rmap_ptes(folio, pages, &by);
    } else if m.rmap().folio_try_dup_anon_rmap_ptes(folio, pages, &by, pinned).is_err() {
        m.put_refs(folio, references);
        return false;
    }
    parent.table.protect_run(at, u64::from(pages.len), false);
    let entry = parent.table.read(at).with_old();
    child.table.set_run(at, u64::from(pages.len), entry);
    true
}

/// Gives the child a copy of a page that the parent pinned (`copy_present_page()`, mm/memory.c, v5.10).
fn copy_pinned(m: &Machine, child: &Mm, own: &Vma, at: u64, page: Pfn) -> Result<(), Errno> {
    let new = fault::new_folio(m, child, own, at, Order::ZERO).ok_or(Errno::Enomem)?;
    m.frames.copy_content(PageRange::one(page), new.head);
    child.table.set(at, Entry::present(new.head, own.protection.write));
    Ok(())
}
