//! `large-mapcount`: as `pages-mapped`, plus `_large_mapcount`, which counts all entries that map any part
//! of the folio, so that the folio's map count is one read.
//!
//! Sources: mm/rmap.c (`__folio_add_rmap()`, `__folio_remove_rmap()`), include/linux/mm.h
//! (`folio_likely_mapped_shared()`), v6.10 to v6.14; Linux commit 05c5323b2a34 ("mm: track mapcount of large folios in
//! single value", v6.10).

use super::{
    Answer, Capabilities, Info, Mapped, Mapper, Scheme, Source, Tally, Unmapped, asked, pages_mapped,
    plus_one, small,
};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Kind, Level, PageRange, Pfn};

pub(super) static LARGE_MAPCOUNT: LargeMapcount = LargeMapcount;

static INFO: Info = Info {
    id: "large-mapcount",
    title: "_large_mapcount counts every entry of a large folio, beside _nr_pages_mapped",
    kernels: Some(ReleaseRange { from: Some(Release::new(6, 10, 0)), to: Some(Release::new(6, 14, 0)) }),
    runs_as: "6.14",
    fields: &[
        Field::EntireMapcount,
        Field::NrPagesMapped,
        Field::LargeMapcount,
        Field::Pincount,
        Field::Deferred,
        Field::PartiallyMapped,
        Field::AnonExclusive,
    ],
    capabilities: Capabilities::TODAY,
    laws: &[Law::I1, Law::I2, Law::I5, Law::I6, Law::I9, Law::I10, Law::I11, Law::I12],
    breaks: &[],
    cannot: &["tell whether one address space or several map a folio by PTEs: it can err both ways"],
    equations: &[
        "_mapcount of page i = P_i − 1; _entire_mapcount = D − 1",
        "_nr_pages_mapped = number of pages with P_i > 0, + 0x800000 if D > 0",
        "_large_mapcount = D + ΣP_i − 1",
    ],
    sources: &["mm/rmap.c, include/linux/rmap.h, include/linux/mm.h (v6.10, v6.11, v6.12, v6.14)"],
};

/// The scheme of 6.10 to 6.14.
pub(super) struct LargeMapcount;

impl Scheme for LargeMapcount {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, _by: &Mapper) -> Mapped {
        let mapped = pages_mapped::add_new(c, folio, level);
        if folio.is_large() {
            c.set(Field::LargeMapcount, folio.head, entries(folio.range(), level) - 1);
        }
        mapped
    }

    fn add_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        _by: &Mapper,
    ) -> Mapped {
        let mapped = pages_mapped::add(c, folio, pages, level);
        if folio.is_large() {
            c.add(Field::LargeMapcount, folio.head, entries(pages, level));
        }
        mapped
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, _by: &Mapper) {
        pages_mapped::dup(c, folio, pages, level);
        if folio.is_large() {
            c.add(Field::LargeMapcount, folio.head, entries(pages, level));
        }
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        _by: &Mapper,
    ) -> Unmapped {
        if folio.is_large() {
            c.add(Field::LargeMapcount, folio.head, -entries(pages, level));
        }
        pages_mapped::remove(c, folio, pages, level)
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        pages_mapped::page_mapcount(c, folio, page, tally)
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        mapcount(c, folio, tally)
    }

    /// `folio_likely_mapped_shared()`: a whole mapping beside another, or more entries than pages, means
    /// shared; else the first page decides.
    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() || folio.kind == Kind::Hugetlb {
            return shared_by_mapcount(c, folio, tally);
        }
        let all = asked(c, Field::LargeMapcount, folio.head, "{} + 1, more than 1?", tally);
        if all <= 1 {
            return Answer::Exact(0);
        }
        let entire = asked(c, Field::EntireMapcount, folio.head, "{} + 1, any?", tally);
        if entire > 0 {
            return Answer::Estimate(1);
        }
        if tally.fact("more entries than pages?", all, Source::Known) > i64::from(folio.pages()) {
            return Answer::Estimate(1);
        }
        let source = Source::Counter(Field::Mapcount, folio.head);
        let raw = i64::from(c.read(Field::Mapcount, folio.head));
        Answer::Estimate(i64::from(tally.fact("{} of the first page, more than 0?", raw, source) > 0))
    }
}

/// Entries that a mapping of `pages` at `level` consists of.
pub(super) fn entries(pages: PageRange, level: Level) -> i32 {
    if level == Level::Pte { pages.len as i32 } else { 1 }
}

/// What small and hugetlb folios are asked: is there more than one entry?
pub(super) fn shared_by_mapcount(c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
    let field = if folio.is_large() { Field::LargeMapcount } else { Field::Mapcount };
    small::more_than_one(asked(c, field, folio.head, "{} + 1, more than 1?", tally))
}

/// `folio_mapcount()` (v6.10 on).
pub(super) fn mapcount(c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
    if !folio.is_large() {
        return small::mapcount(c, folio.head, tally);
    }
    Answer::Exact(plus_one(c, Field::LargeMapcount, folio.head, "{} + 1", tally))
}
