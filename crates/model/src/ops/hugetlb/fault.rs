//! Faults on huge pages.

use crate::event::{Errno, Phase};
use crate::machine::frames::Mapping;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::{HugetlbArea, Vma};
use crate::machine::{Machine, Mm};
use crate::ops::fault::{self, Access};
use crate::ops::{Outcome, rmap_walk};
use crate::query::{Query, Tally};
use crate::units::{Folio, PageRange};

/// Touches `start..end` of an area of huge pages, which allows it.
///
/// # Errors
/// EFAULT (SIGBUS) where the pool has no page, ENOMEM where there is no memory for a page table.
pub(in crate::ops) fn touch(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    (start, end): (u64, u64),
    access: Access,
) -> Outcome {
    let mut at = start;
    while at < end {
        match mm.table.pmd(at) {
            Pmd::Leaf(entry) if access.writes() && !entry.is_writable() => {
                let _guard = m.lock_table(mm, at);
                write(m, mm, vma, at)?;
            }
            Pmd::Leaf(_) => {
                let next = end.min(mm.table.pmd_end(at));
                fault::wrote(m, mm, vma, (at, next), access);
                at = next;
            }
            Pmd::None | Pmd::Table => {
                let _guard = m.lock_table(mm, at);
                no_page(m, mm, vma, at, access)?;
            }
        }
    }
    Ok(())
}

/// Where nothing is mapped yet (`hugetlb_no_page()`, mm/hugetlb.c). There is no zero page of this size: a read
/// takes a page too.
fn no_page(m: &Machine, mm: &Mm, vma: &Vma, at: u64, access: Access) -> Outcome {
    let area = area_of(vma);
    let start = mm.table.pmd_start(at);
    if area.robbed {
        return Err(Errno::Efault);
    }
    if !mm.table.has_room(start) {
        return Err(Errno::Enomem);
    }
    if area.shared {
        return map_shared(m, mm, vma, start);
    }
    fault::prepare_anon(m, mm, at);
    let folio = take(m, vma, start, false).ok_or(Errno::Efault)?;
    map_new(m, mm, vma, (start, folio), false);
    // A write goes on at once, without another fault.
    if access.writes() { write(m, mm, vma, start) } else { Ok(()) }
}

/// Maps a page of a shared mapping's cache, which gets one if it has none.
fn map_shared(m: &Machine, mm: &Mm, vma: &Vma, start: u64) -> Outcome {
    let index = vma.offset_of(start);
    let folio = match m.hugetlb.find(vma.root, index) {
        Some(head) => {
            let folio = m.folio(head);
            m.get_refs(folio, 1);
            folio
        }
        None => {
            let folio = take(m, vma, start, false).ok_or(Errno::Efault)?;
            m.cache_hugetlb(folio, vma.root, index);
            folio
        }
    };
    // The reference of the allocation, or of who looked the page up, becomes the mapping's.
    let by = m.adding(mm, vma, folio, folio.pages());
    m.rmap().hugetlb_add_file_rmap(folio, &by);
    mm.table.set_pmd(start, Entry::present(folio.head, vma.protection.write));
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
    Ok(())
}

/// Maps a fresh page of a private mapping.
pub(super) fn map_new(m: &Machine, mm: &Mm, vma: &Vma, (start, folio): (u64, Folio), write: bool) {
    let by = m.adding(mm, vma, folio, folio.pages());
    m.rmap().hugetlb_add_new_anon_rmap(folio, &by);
    mm.table.set_pmd(start, Entry::present(folio.head, write && vma.protection.write));
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
}

/// A page for `start` of an area: one that it was promised, or one that nobody was promised, which with `spare` is
/// the only kind (`alloc_huge_page()`, mm/hugetlb.c).
pub(super) fn take(m: &Machine, vma: &Vma, start: u64, spare: bool) -> Option<Folio> {
    let area = area_of(vma);
    let mapping = Mapping { root: vma.root, index: vma.offset_of(start) };
    let entitled = area.shared || area.owner;
    let promised = entitled && !spare && m.hugetlb.is_promised(mapping.root, mapping.index);
    let folio = m.take_hugetlb(mapping, !area.shared, promised)?;
    if promised && area.owner {
        m.hugetlb.redeem(mapping.root, mapping.index);
    }
    Some(folio)
}

fn area_of(vma: &Vma) -> HugetlbArea {
    vma.hugetlb.expect("an area of huge pages")
}

/// A write where a read-only entry stands (`hugetlb_cow()`, later `hugetlb_wp()`, mm/hugetlb.c): a page of a private
/// mapping is taken if nobody else maps it, however many references there are, else copied.
fn write(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Outcome {
    let start = mm.table.pmd_start(at);
    let entry = mm.table.read(start);
    let (area, old) = (area_of(vma), m.folio(entry.page()));
    if area.shared {
        mm.table.set_pmd(start, entry.with_write(true));
        return Ok(());
    }
    if mapped_once(m, old) {
        return reuse(m, mm, start, old);
    }
    m.get_refs(old, 1);
    m.phase(Phase::OldPageHeld, Some(mm.id), old.range());
    let Some(new) = take(m, vma, start, area.owner) else {
        m.put_refs(old, 1);
        if !area.owner {
            return Err(Errno::Efault);
        }
        // Who was promised pages gets this one: its copies in children lose it.
        rob_others(m, mm, vma, old);
        return if mapped_once(m, old) { reuse(m, mm, start, old) } else { Err(Errno::Efault) };
    };
    m.frames.copy_content(old.range(), new.head);
    let by = m.removing(mm, vma, old, old.pages());
    mm.table.clear_pmd(start);
    m.rmap().hugetlb_remove_rmap(old, &by);
    m.phase(Phase::OldUnmapped, Some(mm.id), old.range());
    map_new(m, mm, vma, (start, new), true);
    m.put_refs(old, m.scheme.references_of_removed(1, &by));
    m.put_refs(old, 1);
    Ok(())
}

fn mapped_once(m: &Machine, folio: Folio) -> bool {
    m.ask(Query::FolioMapcount, folio.head, &mut Tally::off()).value() == Some(1)
}

fn reuse(m: &Machine, mm: &Mm, start: u64, folio: Folio) -> Outcome {
    m.rmap().set_exclusive(PageRange::one(folio.head), true);
    mm.table.set_pmd(start, mm.table.read(start).with_write(true));
    Ok(())
}

/// Unmaps a page from all areas that were promised none (`unmap_ref_private()`, mm/hugetlb.c). They must not find a
/// page of zeroes in its place later.
fn rob_others(m: &Machine, mm: &Mm, vma: &Vma, folio: Folio) {
    for place in rmap_walk::places(m, folio) {
        let own = place.mm.id == mm.id && place.vma.start == vma.start;
        let maps = matches!(place.mm.table.pmd(place.start), Pmd::Leaf(entry) if entry.page() == folio.head);
        if own || !maps || place.vma.hugetlb.is_some_and(|area| area.owner) {
            continue;
        }
        super::unmap(m, &place.mm, &place.vma, (place.start, place.end));
        m.flush_gathered();
        place.mm.vmas.borrow_mut().update(place.vma.start, place.vma.end, |other| {
            other.hugetlb = other.hugetlb.map(|area| HugetlbArea { robbed: true, ..area });
        });
        m.phase(Phase::Unmapped, Some(place.mm.id), folio.range());
    }
}
