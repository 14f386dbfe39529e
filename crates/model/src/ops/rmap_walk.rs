//! From a folio to all who map it: through its root to address spaces and their areas, not by searching
//! page tables. For a page that KSM merged through the roots of the addresses that ksmd merged; where a child
//! inherited such a mapping from a process that is gone, ksmd has to come by first.

use std::rc::Rc;

use crate::machine::page_table::Alike;
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

/// The areas that may map a folio, address spaces in the order in which they came to share it.
pub fn places(m: &Machine, folio: Folio) -> Vec<Place> {
    let mappings = match folio.kind {
        Kind::Ksm => m.ksm.mappings(folio.head),
        _ => vec![m.frames.mapping(folio)],
    };
    let mut places = Vec::new();
    for mapping in mappings {
        for id in m.members(mapping.root) {
            let Some(mm) = m.mm(id) else { continue };
            let vmas = mm.vmas.borrow();
            for vma in vmas.all() {
                if let Some((start, end)) = m.place_of(vma, mapping, folio.pages()) {
                    places.push(Place { mm: Rc::clone(&mm), vma: *vma, start, end });
                }
            }
        }
    }
    places
}

/// Entries that map any part of a folio.
pub fn count_entries(m: &Machine, folio: Folio) -> i64 {
    let entries = |place: &Place| {
        let (mm, mut at, mut entries) = (&place.mm, place.start, 0);
        while at < place.end {
            let entry = mm.table.read(at);
            let maps = entry.is_present() && !entry.is_zero() && folio.range().contains(entry.page());
            if matches!(mm.table.pmd(at), crate::machine::page_table::Pmd::Leaf(_)) {
                entries += i64::from(maps);
                at = mm.table.pmd_end(at);
                continue;
            }
            let len = m.batch(&mm.table, at, place.end - at, Alike::IgnoringWrite).1.max(1);
            if maps {
                let inside = u64::from(folio.head.0 + folio.pages() - entry.page().0);
                entries += len.min(inside) as i64;
                at += len.min(inside);
            } else {
                at += len;
            }
        }
        entries
    };
    places(m, folio).iter().map(entries).sum()
}
