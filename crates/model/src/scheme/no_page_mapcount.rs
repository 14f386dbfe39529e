//! `no-page-mapcount`: kernels built with CONFIG_NO_PAGE_MAPCOUNT. Pages of a large folio have no map
//! counts; what needed them works with the folio's count, its slots and an average.
//!
//! Sources: mm/rmap.c (`__folio_add_rmap()`, `__folio_remove_rmap()`), fs/proc/internal.h
//! (`folio_average_page_mapcount()`), v6.17, v7.2, v7.3.

use super::large_mapcount::{entries, mapcount};
use super::mm_id::{add_entries, set_entries, shared, sub_entries};
use super::{Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Tally, Unmapped, plus_one, small};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Level, PageRange, Pfn};

pub(super) static NO_PAGE_MAPCOUNT: NoPageMapcount = NoPageMapcount;

static INFO: Info = Info {
    id: "no-page-mapcount",
    title: "CONFIG_NO_PAGE_MAPCOUNT: slots and _large_mapcount, no counts for the pages of large folios",
    kernels: Some(ReleaseRange { from: Some(Release::new(6, 15, 0)), to: None }),
    runs_as: "7.3-no-page-mapcount",
    fields: &[
        Field::EntireMapcount,
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
    capabilities: Capabilities {
        pmd_split_splits_folio: false,
        needs_vma_pages: false,
        page_mapcounts: false,
        reference_per_vma: false,
        bias_is_not_restored: false,
        hugetlb_counts_in_head: false,
    },
    laws: &[Law::I1, Law::I2, Law::I6, Law::I7, Law::I8, Law::I10, Law::I11],
    breaks: &[(
        Law::I9,
        "the statistics count all pages of a folio as mapped while any of them is, so that partly mapped folios are over-counted",
    )],
    cannot: &[
        "tell a page's map count: an average stands for it",
        "see that some pages lost their last mapping while the average is one or more",
    ],
    equations: &[
        "_entire_mapcount = D − 1; _large_mapcount = D + ΣP_i − 1",
        "_mapcount of each page of a large folio = −1",
        "a folio adds N to the mapped pages while D + ΣP_i > 0",
    ],
    sources: &["mm/rmap.c, fs/proc/internal.h (v6.17, v7.2, v7.3)"],
};

/// The scheme of CONFIG_NO_PAGE_MAPCOUNT.
pub(super) struct NoPageMapcount;

impl Scheme for NoPageMapcount {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, by: &Mapper) -> Mapped {
        if !folio.is_large() {
            return small::add_new(c, folio.head);
        }
        if level != Level::Pte {
            c.set(Field::EntireMapcount, folio.head, 0);
        }
        set_entries(c, folio, entries(folio.range(), level), by.mm);
        Mapped { pages: folio.pages(), pmd: level != Level::Pte }
    }

    fn add_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        by: &Mapper,
    ) -> Mapped {
        if !folio.is_large() {
            return small::add(c, pages.first);
        }
        let first_whole = level != Level::Pte && c.add(Field::EntireMapcount, folio.head, 1) == 0;
        let count = entries(pages, level);
        let first = add_entries(c, folio, count, by.mm) == count;
        Mapped { pages: if first { folio.pages() } else { 0 }, pmd: first_whole && level == Level::Pmd }
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, by: &Mapper) {
        if !folio.is_large() {
            return small::dup(c, pages.first);
        }
        if level != Level::Pte {
            c.add(Field::EntireMapcount, folio.head, 1);
        }
        add_entries(c, folio, entries(pages, level), by.mm);
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        by: &Mapper,
    ) -> Unmapped {
        if !folio.is_large() {
            return small::remove(c, pages.first);
        }
        let left = sub_entries(c, folio, entries(pages, level), by.mm);
        let last_whole = level != Level::Pte && c.add(Field::EntireMapcount, folio.head, -1) == -1;
        let whole = c.read(Field::EntireMapcount, folio.head) >= 0;
        // Fewer entries than pages: some page must be without one. With as many, nobody knows.
        let partial = left > 0 && left < folio.pages() as i32 && !whole;
        let lost = match (left, partial) {
            (0, _) => Lost::All,
            (_, true) if level == Level::Pte || last_whole => Lost::Some,
            _ => Lost::None,
        };
        Unmapped {
            pages: if left == 0 { folio.pages() } else { 0 },
            pmd: last_whole && level == Level::Pmd,
            lost,
        }
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if folio.is_large() { Answer::Unknown } else { small::mapcount(c, page, tally) }
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        mapcount(c, folio, tally)
    }

    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        shared(c, folio, tally)
    }

    fn kpagecount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if folio.is_large() {
            self.average_page_mapcount(c, folio, tally)
        } else {
            Answer::Exact(plus_one(c, Field::Mapcount, page, "{} + 1", tally))
        }
    }
}
