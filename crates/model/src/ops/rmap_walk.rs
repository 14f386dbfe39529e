//! From a folio to all who map it: through its root to address spaces and their areas, not by searching
//! page tables. For a page that KSM merged through the roots of the addresses that ksmd merged; where a child
//! inherited such a mapping from a process that is gone, ksmd has to come by first.

use std::rc::Rc;

use crate::machine::frames::Mapping;
use crate::machine::page_table::{Alike, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::units::{Folio, Kind};

/// An area that may map a folio.
pub struct Place {
    /// The address space.
    pub mm: Rc<Mm>,
    /// The area.
    pub vma: Vma,
    /// Where the folio's first page that fits the area would be.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
}

/// The areas that may map a folio, in the order in which reverse mapping finds them: by the offset at which they begin,
/// then by their turn.
pub fn places(m: &Machine, folio: Folio) -> Vec<Place> {
    let mut places = Vec::new();
    each_place(m, folio, |mm, vma, (start, end)| {
        places.push(Place { mm: Rc::clone(mm), vma: *vma, start, end });
    });
    match folio.kind {
        // Where a merged page is mapped is noted address by address.
        Kind::Ksm => {}
        Kind::Anon | Kind::Zero => places.sort_by_key(|place| (place.vma.offset, place.vma.turns.anon)),
        Kind::File | Kind::Shmem | Kind::Device => {
            places.sort_by_key(|place| (place.vma.offset, place.vma.turns.file));
        }
        Kind::Hugetlb => places.sort_by_key(|place| (place.vma.offset, place.vma.turns.anon)),
    }
    places
}

/// Calls `f` with each of these places: an address space, an area, the pages where the folio's would be.
fn each_place(m: &Machine, folio: Folio, mut f: impl FnMut(&Rc<Mm>, &Vma, (u64, u64))) {
    let mut look = |mapping: Mapping| {
        m.each_member(mapping.root, |mm| {
            for vma in mm.vmas.borrow().all() {
                if let Some(range) = m.place_of(vma, mapping, folio.pages()) {
                    f(mm, vma, range);
                }
            }
        });
    };
    match folio.kind {
        Kind::Ksm => m.ksm.mappings(folio.head).into_iter().for_each(look),
        _ => look(m.frames.mapping(folio)),
    }
}

/// Entries that map any part of a folio.
pub fn count_entries(m: &Machine, folio: Folio) -> i64 {
    let mut entries = 0;
    each_place(m, folio, |mm, _, range| entries += entries_of(m, mm, folio, range));
    entries
}

/// The entries of one place.
fn entries_of(m: &Machine, mm: &Mm, folio: Folio, (start, end): (u64, u64)) -> i64 {
    let (mut at, mut entries) = (start, 0);
    while at < end {
        let entry = mm.table.read(at);
        let maps = entry.is_counted() && folio.range().contains(entry.page());
        if let Some((start, _)) = mm.table.next_pud(at, at + 1) {
            entries += i64::from(maps);
            at = start + mm.table.pud_pages();
            continue;
        }
        if matches!(mm.table.pmd(at), Pmd::Leaf(_)) {
            entries += i64::from(maps);
            at = mm.table.pmd_end(at);
            continue;
        }
        let len = m.batch(&mm.table, at, end - at, Alike::IgnoringWrite).1.max(1);
        if maps {
            let inside = u64::from(folio.head.0 + folio.pages() - entry.page().0);
            entries += len.min(inside) as i64;
            at += len.min(inside);
        } else {
            at += len;
        }
    }
    entries
}
