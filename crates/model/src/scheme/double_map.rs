//! `double-map`: 2016. The whole is counted in `compound_mapcount`, PTEs in each page's `_mapcount`; while
//! both kinds map an anonymous folio, PG_double_map is set and every page's count is one too high, so
//! that one atomic still tells when a page loses its last mapping. File folios count each PMD in every page.
//!
//! Sources: mm/rmap.c (`do_page_add_anon_rmap()`, `page_remove_anon_compound_rmap()`, `page_add_file_rmap()`,
//! `page_remove_file_rmap()`), `__split_huge_pmd_locked()` (mm/huge_memory.c), `total_mapcount()`, v4.5, v4.9,
//! v5.10, v6.1; Linux commit 53f9263baba6 ("mm: rework mapcount accounting to enable 4k mapping of THPs",
//! v4.5), Linux commit dd78fedde4b9 ("rmap: support file thp", v4.8).

use super::{
    Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Source, Tally, Unmapped, asked,
    first_page_shared, plus_one, small, sum_plus_ones,
};
use crate::counters::Counters;
use crate::event::Phase;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Kind, Level, PageRange, Pfn};

pub(super) static DOUBLE_MAP: DoubleMap = DoubleMap;

static INFO: Info = Info {
    id: "double-map",
    title: "compound_mapcount beside _mapcount; PG_double_map adds one to every page while PMDs and PTEs coexist",
    kernels: Some(ReleaseRange { from: Some(Release::new(4, 5, 0)), to: Some(Release::new(6, 1, 0)) }),
    runs_as: "6.1",
    fields: &[
        Field::EntireMapcount,
        Field::Pincount,
        Field::DoubleMap,
        Field::Deferred,
        Field::AnonExclusive,
    ],
    capabilities: Capabilities { bias_is_not_restored: true, ..Capabilities::TODAY },
    laws: &[Law::I1, Law::I2, Law::I3, Law::I4, Law::I9, Law::I10, Law::I11],
    breaks: &[],
    cannot: &["tell the folio's mappings without reading every page's counter"],
    equations: &[
        "anon: _mapcount of page i = P_i − 1 + DM; compound_mapcount = D − 1; DM implies D ≥ 1",
        "file: _mapcount of page i = P_i + D − 1; compound_mapcount = D − 1",
    ],
    sources: &["mm/rmap.c, mm/huge_memory.c, include/linux/mm.h (v4.5, v4.9, v5.10, v6.1)"],
};

/// The scheme of 4.5 to 6.1.
pub(super) struct DoubleMap;

/// File folios that PMDs map are counted in every page; hugetlb and anonymous ones are not.
fn counts_pmd_in_pages(folio: Folio) -> bool {
    matches!(folio.kind, Kind::File | Kind::Shmem | Kind::Device)
}

impl Scheme for DoubleMap {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, _by: &Mapper) -> Mapped {
        if !folio.is_large() {
            return small::add_new(c, folio.head);
        }
        if level == Level::Pte {
            c.set_each(Field::Mapcount, folio.range(), 0);
            return Mapped { pages: folio.pages(), pmd: false };
        }
        c.set(Field::EntireMapcount, folio.head, 0);
        Mapped { pages: folio.pages(), pmd: true }
    }

    fn add_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        _by: &Mapper,
    ) -> Mapped {
        if !folio.is_large() {
            return small::add(c, pages.first);
        }
        if level == Level::Pte {
            if counts_pmd_in_pages(folio) {
                c.set(Field::DoubleMap, folio.head, 1);
            }
            return Mapped { pages: c.add_each(Field::Mapcount, pages, 1).first, pmd: false };
        }
        let in_pages =
            counts_pmd_in_pages(folio).then(|| c.add_each(Field::Mapcount, folio.range(), 1).first);
        let first = c.add(Field::EntireMapcount, folio.head, 1) == 0;
        Mapped { pages: in_pages.unwrap_or(if first { folio.pages() } else { 0 }), pmd: first }
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, _by: &Mapper) {
        if level == Level::Pte {
            c.add_each(Field::Mapcount, pages, 1);
        } else {
            c.add(Field::EntireMapcount, folio.head, 1);
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
        if !folio.is_large() {
            return small::remove(c, pages.first);
        }
        if level == Level::Pte {
            let last = c.add_each(Field::Mapcount, pages, -1).last;
            let mapped = last > 0 && any_page_mapped(c, folio);
            return Unmapped { pages: last, pmd: false, lost: Lost::of(last, mapped) };
        }
        let in_pages =
            counts_pmd_in_pages(folio).then(|| c.add_each(Field::Mapcount, folio.range(), -1).last);
        let last = c.add(Field::EntireMapcount, folio.head, -1) == -1;
        let lost = match in_pages {
            Some(lost) => lost,
            None if last => drop_bias(c, folio).unwrap_or(folio.pages()),
            None => 0,
        };
        Unmapped { pages: lost, pmd: last, lost: Lost::of(lost, lost < folio.pages()) }
    }

    /// `__split_huge_pmd_locked()`: each page gets its PTE; the first split beside other PMDs sets
    /// PG_double_map and adds the bias, the last PMD to go takes it back. No statistic of mapped pages moves.
    fn split_pmd_rmap(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) -> Unmapped {
        c.add_each(Field::Mapcount, folio.range(), 1);
        c.stage(Phase::PtesCounted);
        let others = c.read(Field::EntireMapcount, folio.head) + 1 > 1;
        if others && c.read(Field::DoubleMap, folio.head) == 0 {
            c.set(Field::DoubleMap, folio.head, 1);
            c.add_each(Field::Mapcount, folio.range(), 1);
            c.stage(Phase::BiasAdded);
        }
        let last = c.add(Field::EntireMapcount, folio.head, -1) == -1;
        c.stage(Phase::PmdUncounted);
        if last && drop_bias(c, folio).is_some() {
            c.stage(Phase::BiasDropped);
        }
        Unmapped { pages: 0, pmd: last, lost: Lost::None }
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, page, tally);
        }
        let mut count = plus_one(c, Field::Mapcount, page, "{} + 1", tally);
        if !counts_pmd_in_pages(folio) {
            count += plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
            count -= bias(c, folio, "− 1 if {}", 1, tally);
        }
        Answer::Exact(count)
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        let entire = plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
        if folio.kind == Kind::Hugetlb {
            return Answer::Exact(entire);
        }
        let pages = sum_plus_ones(c, folio, "Σ ({} + 1) over all pages", tally);
        let n = i64::from(folio.pages());
        let twice = if counts_pmd_in_pages(folio) {
            let source = Source::Counter(Field::EntireMapcount, folio.head);
            -tally.term("− N × ({} + 1): pages of files count PMDs too", -n * entire, source)
        } else {
            bias(c, folio, "− N if {}", n, tally)
        };
        Answer::Exact(entire + pages - twice)
    }

    /// `page_mapped()`: the whole, or any page (of hugetlb the whole alone).
    fn folio_mapped(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            let count = asked(c, Field::Mapcount, folio.head, "{} + 1, any?", tally);
            return Answer::Exact(i64::from(count > 0));
        }
        if asked(c, Field::EntireMapcount, folio.head, "{} + 1, any?", tally) > 0 {
            return Answer::Exact(1);
        }
        if folio.kind == Kind::Hugetlb {
            return Answer::Exact(0);
        }
        let mapped = folio.pages() - c.scan(Field::Mapcount, folio.range()).empty;
        let source = Source::Counters(Field::Mapcount, folio.range());
        let pages = tally.fact("pages with {} ≥ 0, any?", i64::from(mapped), source);
        Answer::Exact(i64::from(pages > 0))
    }

    /// `page_trans_huge_mapcount()`: the greatest page's count decides, so that one busy page is enough.
    /// Only anonymous folios are asked; the pages of others would count each PMD twice.
    fn trans_huge_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        if counts_pmd_in_pages(folio) {
            return Answer::Unknown;
        }
        let scan = c.scan(Field::Mapcount, folio.range());
        let source = Source::Counters(Field::Mapcount, folio.range());
        let max = tally.term("greatest {} + 1 of any page", i64::from(scan.max) + 1, source);
        let entire = plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
        Answer::Exact(max + entire - bias(c, folio, "− 1 if {}", 1, tally))
    }

    /// The kernel looked at one page's count: the first page's stands for the folio
    /// (`folio_estimated_sharers()`, v6.8, and its callers' `page_mapcount(head)` before).
    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        first_page_shared(self.page_mapcount(c, folio, folio.head, tally), tally)
    }
}

/// Takes PG_double_map and its bias away; says how many pages lost their last mapping by that, `None` if
/// the flag was not set.
fn drop_bias(c: &dyn Counters, folio: Folio) -> Option<u32> {
    if c.read(Field::DoubleMap, folio.head) == 0 {
        return None;
    }
    c.set(Field::DoubleMap, folio.head, 0);
    Some(c.add_each(Field::Mapcount, folio.range(), -1).last)
}

fn bias(c: &dyn Counters, folio: Folio, text: &'static str, size: i64, tally: &mut Tally) -> i64 {
    let bias = size * i64::from(c.read(Field::DoubleMap, folio.head));
    -tally.term(text, -bias, Source::Counter(Field::DoubleMap, folio.head))
}

fn any_page_mapped(c: &dyn Counters, folio: Folio) -> bool {
    c.read(Field::EntireMapcount, folio.head) >= 0
        || c.scan(Field::Mapcount, folio.range()).empty < folio.pages()
}
