//! `mm-id`: as `large-mapcount`, plus two slots that name address spaces and count their entries, so that
//! "does only one process map this?" can be answered without an error on the dangerous side.
//!
//! Sources: include/linux/rmap.h (`folio_add_return_large_mapcount()`, `folio_sub_return_large_mapcount()`,
//! `folio_set_large_mapcount()`), mm/rmap.c, v6.17, v6.19, v7.1, v7.3; Linux commit 6af8cb80d3a9 ("mm/rmap: basic
//! MM owner tracking for large folios (!hugetlb)", v6.15).

use super::large_mapcount::{entries, mapcount, shared_by_mapcount};
use super::{
    Answer, Capabilities, Info, Mapped, Mapper, Scheme, Source, Tally, Unmapped, asked, pages_mapped,
};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Kind, Level, MmId, PageRange, Pfn};

pub(super) static MM_ID: MmIdSlots = MmIdSlots;

static INFO: Info = Info {
    id: "mm-id",
    title: "two slots beside _large_mapcount name the address spaces that map the folio",
    kernels: Some(ReleaseRange { from: Some(Release::new(6, 15, 0)), to: None }),
    runs_as: "7.3",
    fields: &[
        Field::EntireMapcount,
        Field::NrPagesMapped,
        Field::LargeMapcount,
        Field::Pincount,
        Field::MmId0,
        Field::MmId1,
        Field::MmIdMapcount0,
        Field::MmIdMapcount1,
        Field::MaybeShared,
        Field::Deferred,
        Field::PartiallyMapped,
        Field::AnonExclusive,
    ],
    capabilities: Capabilities::TODAY,
    laws: &[Law::I1, Law::I2, Law::I5, Law::I6, Law::I7, Law::I8, Law::I9, Law::I10, Law::I11, Law::I12],
    breaks: &[],
    cannot: &["tell that a folio is exclusive again when its only mapper never got a slot, or lost it early"],
    equations: &[
        "_mapcount of page i = P_i − 1; _entire_mapcount = D − 1",
        "_nr_pages_mapped = number of pages with P_i > 0, + 0x800000 if D > 0",
        "_large_mapcount = D + ΣP_i − 1",
        "a slot's count ≤ entries of that address space − 1; not shared implies one address space",
    ],
    sources: &["include/linux/rmap.h, include/linux/mm.h, mm/rmap.c (v6.17, v6.19, v7.1, v7.3)"],
};

/// The scheme of 6.15 and later.
pub(super) struct MmIdSlots;

impl Scheme for MmIdSlots {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, by: &Mapper) -> Mapped {
        let mapped = pages_mapped::add_new(c, folio, level);
        if folio.is_large() {
            set_entries(c, folio, entries(folio.range(), level), by.mm);
        }
        mapped
    }

    fn add_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        by: &Mapper,
    ) -> Mapped {
        let mapped = pages_mapped::add(c, folio, pages, level);
        if folio.is_large() {
            add_entries(c, folio, entries(pages, level), by.mm);
        }
        mapped
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, by: &Mapper) {
        pages_mapped::dup(c, folio, pages, level);
        if folio.is_large() {
            add_entries(c, folio, entries(pages, level), by.mm);
        }
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        by: &Mapper,
    ) -> Unmapped {
        if folio.is_large() {
            sub_entries(c, folio, entries(pages, level), by.mm);
        }
        pages_mapped::remove(c, folio, pages, level)
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        pages_mapped::page_mapcount(c, folio, page, tally)
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        mapcount(c, folio, tally)
    }

    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        shared(c, folio, tally)
    }
}

/// A slot: the field of its address space and the field of its count.
type Slot = (Field, Field);

const SLOTS: [Slot; 2] = [(Field::MmId0, Field::MmIdMapcount0), (Field::MmId1, Field::MmIdMapcount1)];

/// The first mapping of a fresh folio: its mapper takes slot 0.
pub(super) fn set_entries(c: &dyn Counters, folio: Folio, count: i32, mm: MmId) {
    c.set(Field::LargeMapcount, folio.head, count - 1);
    c.set(Field::MmIdMapcount0, folio.head, count - 1);
    c.set(Field::MmId0, folio.head, mm.0 as i32);
}

/// Adds entries of `mm`; returns how many map the folio now.
///
/// An address space without a slot takes a free one, and its count there starts with these entries, even
/// if it mapped pages before without one. With both slots taken it stays unknown, and "maybe shared" is set
/// already.
pub(super) fn add_entries(c: &dyn Counters, folio: Folio, count: i32, mm: MmId) -> i32 {
    let head = folio.head;
    c.lock(head);
    let all = c.add(Field::LargeMapcount, head, count);
    let owner = |slot: Slot| c.read(slot.0, head);
    let [slot0, slot1] = SLOTS;
    if owner(slot0) == mm.0 as i32 {
        c.add(slot0.1, head, count);
    } else if owner(slot1) == mm.0 as i32 {
        c.add(slot1.1, head, count);
    } else if owner(slot0) == MmId::NONE.0 as i32 {
        take(c, folio, slot0, mm, count);
        if all != count - 1 {
            c.set(Field::MaybeShared, head, 1);
        }
    } else if owner(slot1) == MmId::NONE.0 as i32 {
        take(c, folio, slot1, mm, count);
        c.set(Field::MaybeShared, head, 1);
    }
    c.unlock(head);
    all + 1
}

fn take(c: &dyn Counters, folio: Folio, slot: Slot, mm: MmId, count: i32) {
    c.set(slot.0, folio.head, mm.0 as i32);
    c.set(slot.1, folio.head, count - 1);
}

/// Removes entries of `mm`; returns how many map the folio still.
///
/// "Maybe shared" is looked at again only when the slot of `mm` becomes free or `mm` had none: then it is
/// cleared if one slot accounts for every entry that is left (or none is left).
pub(super) fn sub_entries(c: &dyn Counters, folio: Folio, count: i32, mm: MmId) -> i32 {
    let head = folio.head;
    c.lock(head);
    let all = c.add(Field::LargeMapcount, head, -count);
    let own = SLOTS.into_iter().find(|slot| c.read(slot.0, head) == mm.0 as i32);
    let still_owned = own.is_some_and(|slot| c.add(slot.1, head, -count) >= 0);
    if !still_owned {
        if let Some(slot) = own {
            // More may have gone than the slot counted: entries from before it was taken.
            c.set(slot.1, head, -1);
            c.set(slot.0, head, MmId::NONE.0 as i32);
        }
        if SLOTS.iter().any(|slot| c.read(slot.1, head) == all) {
            c.set(Field::MaybeShared, head, 0);
        }
    }
    c.unlock(head);
    all + 1
}

/// `folio_maybe_mapped_shared()` (include/linux/mm.h, v6.15). Not shared is sure, shared is not.
pub(super) fn shared(c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
    if !folio.is_large() || folio.kind == Kind::Hugetlb {
        return shared_by_mapcount(c, folio, tally);
    }
    if asked(c, Field::LargeMapcount, folio.head, "{} + 1, more than 1?", tally) <= 1 {
        return Answer::Exact(0);
    }
    let source = Source::Counter(Field::MaybeShared, folio.head);
    match tally.fact("{} of _mm_ids, set?", i64::from(c.read(Field::MaybeShared, folio.head)), source) {
        0 => Answer::Exact(0),
        _ => Answer::Estimate(1),
    }
}
