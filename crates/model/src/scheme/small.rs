//! Folios of one page, which every kernel counts alike (generation G0).
//!
//! `_mapcount` = PTEs that map the page − 1. Sources: `page_add_anon_rmap()`, `page_remove_rmap()`
//! (mm/rmap.c, v2.6.39) to `__folio_add_rmap()`, `__folio_remove_rmap()` (v7.3).

use super::{Answer, Lost, Mapped, Tally, Unmapped, asked, plus_one};
use crate::counters::Counters;
use crate::field::Field;
use crate::units::{PageRange, Pfn};

/// The values of freshly made folios of one page each: one reference, nothing mapped.
pub(crate) fn prep_each(c: &dyn Counters, pages: PageRange) {
    c.set_each(Field::Refcount, pages, Field::Refcount.row().initial);
    c.set_each(Field::Mapcount, pages, Field::Mapcount.row().initial);
}

/// As [`add`], of a page each of so many folios.
pub(crate) fn add_each(c: &dyn Counters, pages: PageRange) -> Mapped {
    Mapped { pages: c.add_each(Field::Mapcount, pages, 1).first, pmd: false }
}

pub(super) fn add_new(c: &dyn Counters, page: Pfn) -> Mapped {
    c.set(Field::Mapcount, page, 0);
    Mapped { pages: 1, pmd: false }
}

pub(super) fn add(c: &dyn Counters, page: Pfn) -> Mapped {
    Mapped { pages: u32::from(c.add(Field::Mapcount, page, 1) == 0), pmd: false }
}

pub(super) fn dup(c: &dyn Counters, page: Pfn) {
    c.add(Field::Mapcount, page, 1);
}

pub(super) fn remove(c: &dyn Counters, page: Pfn) -> Unmapped {
    let last = c.add(Field::Mapcount, page, -1) == -1;
    Unmapped { pages: u32::from(last), pmd: false, lost: Lost::of(u32::from(last), false) }
}

/// As [`remove`], of a page each of so many folios; nobody queues them for a split.
pub(crate) fn remove_each(c: &dyn Counters, pages: PageRange) -> Unmapped {
    let last = c.add_each(Field::Mapcount, pages, -1).last;
    Unmapped { pages: last, pmd: false, lost: Lost::None }
}

pub(super) fn mapcount(c: &dyn Counters, page: Pfn, tally: &mut Tally) -> Answer<i64> {
    Answer::Exact(plus_one(c, Field::Mapcount, page, "{} + 1", tally))
}

/// Shared, for a small folio, means more than one entry: one is one address space's, of two nobody knows.
pub(super) fn shared(c: &dyn Counters, page: Pfn, tally: &mut Tally) -> Answer<i64> {
    more_than_one(asked(c, Field::Mapcount, page, "{} + 1, more than 1?", tally))
}

/// The answer of kernels that take several entries for several address spaces.
pub(super) fn more_than_one(entries: i64) -> Answer<i64> {
    if entries > 1 { Answer::Estimate(1) } else { Answer::Exact(0) }
}
