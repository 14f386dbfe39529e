//! `pages-mapped`: one word counts the pages that have PTEs and, in bit 23, whether a PMD maps the whole;
//! it replaces PG_double_map, and anonymous and file folios are counted alike.
//!
//! Sources: mm/rmap.c (`page_add_anon_rmap()`, `page_remove_rmap()`, v6.2 and v6.3; `__folio_add_rmap()`,
//! `__folio_remove_rmap()`, v6.8); Linux commit 4b51634cd16a ("mm,thp,rmap: subpages_mapcount COMPOUND_MAPPED if
//! PMD-mapped", v6.2), Linux commit 6287b7dae809 ("mm,thp,rmap: fix races between updates of
//! subpages_mapcount", v6.2).

use super::{
    Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Source, Tally, Unmapped, asked,
    first_page_shared, plus_one, small, sum_plus_ones,
};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Kind, Level, PageRange, Pfn};

/// K: the bit of `_nr_pages_mapped` that stands for the whole (COMPOUND_MAPPED in 6.2, ENTIRELY_MAPPED later).
pub(crate) const ENTIRELY_MAPPED: i32 = 0x80_0000;

pub(super) static PAGES_MAPPED: PagesMapped = PagesMapped;

static INFO: Info = Info {
    id: "pages-mapped",
    title: "_nr_pages_mapped: how many pages have PTEs, plus 0x800000 while a PMD maps the folio",
    kernels: Some(ReleaseRange { from: Some(Release::new(6, 2, 0)), to: Some(Release::new(6, 9, 0)) }),
    runs_as: "6.9",
    fields: &[
        Field::EntireMapcount,
        Field::NrPagesMapped,
        Field::Pincount,
        Field::Deferred,
        Field::AnonExclusive,
    ],
    capabilities: Capabilities::TODAY,
    laws: &[Law::I1, Law::I2, Law::I5, Law::I9, Law::I10, Law::I11],
    breaks: &[],
    cannot: &["tell the folio's mappings without reading every page's counter, once it has PTEs"],
    equations: &[
        "_mapcount of page i = P_i − 1",
        "_entire_mapcount = D − 1",
        "_nr_pages_mapped = number of pages with P_i > 0, + 0x800000 if D > 0",
    ],
    sources: &["mm/rmap.c, include/linux/mm.h (v6.2, v6.3, v6.8, v6.9)"],
};

/// The scheme of 6.2 to 6.9.
pub(super) struct PagesMapped;

impl Scheme for PagesMapped {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, _by: &Mapper) -> Mapped {
        add_new(c, folio, level)
    }

    fn add_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        _by: &Mapper,
    ) -> Mapped {
        add(c, folio, pages, level)
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, _by: &Mapper) {
        dup(c, folio, pages, level);
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        _by: &Mapper,
    ) -> Unmapped {
        remove(c, folio, pages, level)
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        page_mapcount(c, folio, page, tally)
    }

    /// `folio_total_mapcount()` and its callers: without PTEs the pages need not be read.
    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        let entire = plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
        if folio.kind == Kind::Hugetlb {
            return Answer::Exact(entire);
        }
        let with_ptes = i64::from(c.read(Field::NrPagesMapped, folio.head) & (ENTIRELY_MAPPED - 1));
        let source = Source::Counter(Field::NrPagesMapped, folio.head);
        if tally.fact("{} & 0x7fffff: pages with PTEs, any?", with_ptes, source) == 0 {
            return Answer::Exact(entire);
        }
        Answer::Exact(entire + sum_plus_ones(c, folio, "Σ ({} + 1) over all pages", tally))
    }

    /// `folio_mapped()`: two words, however large the folio is (hugetlb does not keep the first).
    fn folio_mapped(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            let count = asked(c, Field::Mapcount, folio.head, "{} + 1, any?", tally);
            return Answer::Exact(i64::from(count > 0));
        }
        let word = i64::from(c.read(Field::NrPagesMapped, folio.head));
        let source = Source::Counter(Field::NrPagesMapped, folio.head);
        if tally.fact("{}, more than 0?", word, source) > 0 {
            return Answer::Exact(1);
        }
        let entire = asked(c, Field::EntireMapcount, folio.head, "{} + 1, any?", tally);
        Answer::Exact(i64::from(entire > 0))
    }

    /// `folio_estimated_sharers()`: the first page's count stands for the folio.
    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        first_page_shared(self.page_mapcount(c, folio, folio.head, tally), tally)
    }
}

pub(super) fn add_new(c: &dyn Counters, folio: Folio, level: Level) -> Mapped {
    if !folio.is_large() {
        return small::add_new(c, folio.head);
    }
    if level == Level::Pte {
        c.set_each(Field::Mapcount, folio.range(), 0);
        c.set(Field::NrPagesMapped, folio.head, folio.pages() as i32);
        return Mapped { pages: folio.pages(), pmd: false };
    }
    c.set(Field::EntireMapcount, folio.head, 0);
    c.set(Field::NrPagesMapped, folio.head, ENTIRELY_MAPPED);
    Mapped { pages: folio.pages(), pmd: true }
}

pub(super) fn add(c: &dyn Counters, folio: Folio, pages: PageRange, level: Level) -> Mapped {
    if !folio.is_large() {
        return small::add(c, pages.first);
    }
    if level == Level::Pte {
        let first = c.add_each(Field::Mapcount, pages, 1).first as i32;
        let pages = if first > 0 && c.add(Field::NrPagesMapped, folio.head, first) < ENTIRELY_MAPPED {
            first as u32
        } else {
            0
        };
        return Mapped { pages, pmd: false };
    }
    if c.add(Field::EntireMapcount, folio.head, 1) != 0 {
        return Mapped::default();
    }
    let word = c.add(Field::NrPagesMapped, folio.head, ENTIRELY_MAPPED);
    if word >= 2 * ENTIRELY_MAPPED {
        // Somebody else was faster with the same folio; he counts.
        return Mapped::default();
    }
    Mapped { pages: without_ptes(folio, word), pmd: level == Level::Pmd }
}

pub(super) fn dup(c: &dyn Counters, folio: Folio, pages: PageRange, level: Level) {
    if level == Level::Pte {
        c.add_each(Field::Mapcount, pages, 1);
    } else {
        c.add(Field::EntireMapcount, folio.head, 1);
    }
}

pub(super) fn remove(c: &dyn Counters, folio: Folio, pages: PageRange, level: Level) -> Unmapped {
    if !folio.is_large() {
        return small::remove(c, pages.first);
    }
    if level == Level::Pte {
        let last = c.add_each(Field::Mapcount, pages, -1).last as i32;
        if last == 0 {
            return Unmapped::default();
        }
        let word = c.add(Field::NrPagesMapped, folio.head, -last);
        let lost = if word < ENTIRELY_MAPPED { last as u32 } else { 0 };
        return Unmapped { pages: lost, pmd: false, lost: Lost::of(lost, word != 0) };
    }
    if c.add(Field::EntireMapcount, folio.head, -1) != -1 {
        return Unmapped::default();
    }
    let word = c.add(Field::NrPagesMapped, folio.head, -ENTIRELY_MAPPED);
    if word >= ENTIRELY_MAPPED {
        return Unmapped::default();
    }
    let lost = without_ptes(folio, word);
    Unmapped { pages: lost, pmd: level == Level::Pmd, lost: Lost::of(lost, lost < folio.pages()) }
}

/// Pages without a PTE: those that a PMD alone maps.
fn without_ptes(folio: Folio, word: i32) -> u32 {
    (folio.pages() as i32 - (word & (ENTIRELY_MAPPED - 1))).max(0) as u32
}

pub(super) fn page_mapcount(c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
    if !folio.is_large() {
        return small::mapcount(c, page, tally);
    }
    let own = if folio.kind == Kind::Hugetlb {
        0 // the head's word holds the page type
    } else {
        plus_one(c, Field::Mapcount, page, "{} + 1", tally)
    };
    Answer::Exact(own + plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally))
}
