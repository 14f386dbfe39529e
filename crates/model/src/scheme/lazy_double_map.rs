//! `lazy-double-map`: a proposal. `double-map` without its bias: "when PG_double_map is set one need not add
//! one to every page; one could add it when the THP at last falls apart into PTEs". Each page's count is
//! then its PTEs alone. The naive form decides first and last mapping by that count; the checked form
//! also looks at `compound_mapcount`.
//!
//! Sources: the transitions of `double-map` (mm/rmap.c, mm/huge_memory.c, v4.5) without every line that
//! touches `_mapcount` because of PG_double_map.

use super::{
    Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Source, Tally, Unmapped, first_page_shared,
    plus_one, small, sum_plus_ones,
};
use crate::counters::Counters;
use crate::event::Phase;
use crate::field::Field;
use crate::invariant::Law;
use crate::units::{Folio, Level, PageRange, Pfn};

pub(super) static NAIVE: LazyDoubleMap = LazyDoubleMap { checked: false };
pub(super) static CHECKED: LazyDoubleMap = LazyDoubleMap { checked: true };

const FIELDS: &[Field] = &[Field::EntireMapcount, Field::Pincount, Field::Deferred, Field::AnonExclusive];
const EQUATIONS: &[&str] = &["_mapcount of page i = P_i − 1; compound_mapcount = D − 1"];
const SOURCES: &[&str] = &["a proposal; derived from mm/rmap.c (v4.5) without the bias"];

static NAIVE_INFO: Info = Info {
    id: "lazy-double-map",
    title: "proposal: double-map without the bias; a page's own count decides about its last mapping",
    kernels: None,
    runs_as: "4.5",
    fields: FIELDS,
    capabilities: Capabilities::TODAY,
    laws: &[Law::I1, Law::I2, Law::Lazy, Law::I10],
    breaks: &[(
        Law::I9,
        "a page that loses its last PTE counts as unmapped though a PMD maps it, and is subtracted again with that PMD",
    )],
    cannot: &["tell from one atomic whether a page lost its last mapping"],
    equations: EQUATIONS,
    sources: SOURCES,
};

static CHECKED_INFO: Info = Info {
    id: "lazy-double-map-checked",
    title: "proposal: double-map without the bias; compound_mapcount is looked at too",
    kernels: None,
    runs_as: "4.5",
    fields: FIELDS,
    capabilities: Capabilities::TODAY,
    laws: &[Law::I1, Law::I2, Law::Lazy, Law::I9, Law::I10],
    breaks: &[],
    cannot: &["decide about a page's last mapping without a lock: two words under two page-table locks"],
    equations: EQUATIONS,
    sources: SOURCES,
};

/// `double-map` without its bias.
pub(super) struct LazyDoubleMap {
    checked: bool,
}

impl LazyDoubleMap {
    /// Whether a PMD maps the folio, if this form looks at all.
    fn sees_pmd(&self, c: &dyn Counters, folio: Folio) -> bool {
        self.checked && c.read(Field::EntireMapcount, folio.head) >= 0
    }
}

impl Scheme for LazyDoubleMap {
    fn info(&self) -> &'static Info {
        if self.checked { &CHECKED_INFO } else { &NAIVE_INFO }
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
            let first = c.add_each(Field::Mapcount, pages, 1).first;
            return Mapped { pages: if self.sees_pmd(c, folio) { 0 } else { first }, pmd: false };
        }
        if c.add(Field::EntireMapcount, folio.head, 1) != 0 {
            return Mapped::default();
        }
        Mapped { pages: if self.checked { without_ptes(c, folio) } else { folio.pages() }, pmd: true }
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
            if last == 0 || self.sees_pmd(c, folio) {
                return Unmapped::default();
            }
            let mapped = without_ptes(c, folio) < folio.pages();
            return Unmapped { pages: last, pmd: false, lost: Lost::of(last, mapped) };
        }
        if c.add(Field::EntireMapcount, folio.head, -1) != -1 {
            return Unmapped::default();
        }
        // The naive form believes, as `double-map` does without the flag, that no PTE is left.
        let lost = if self.checked { without_ptes(c, folio) } else { folio.pages() };
        Unmapped { pages: lost, pmd: true, lost: Lost::of(lost, lost < folio.pages()) }
    }

    /// Each page gets its PTE, and the PMD goes; nothing else.
    fn split_pmd_rmap(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) -> Unmapped {
        c.add_each(Field::Mapcount, folio.range(), 1);
        c.stage(Phase::PtesCounted);
        let last = c.add(Field::EntireMapcount, folio.head, -1) == -1;
        c.stage(Phase::PmdUncounted);
        Unmapped { pages: 0, pmd: last, lost: Lost::None }
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, page, tally);
        }
        let own = plus_one(c, Field::Mapcount, page, "{} + 1", tally);
        Answer::Exact(own + plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally))
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        let entire = plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
        Answer::Exact(entire + sum_plus_ones(c, folio, "Σ ({} + 1) over all pages", tally))
    }

    fn trans_huge_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        let scan = c.scan(Field::Mapcount, folio.range());
        let source = Source::Counters(Field::Mapcount, folio.range());
        let max = tally.term("greatest {} + 1 of any page", i64::from(scan.max) + 1, source);
        let entire = plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally);
        Answer::Exact(max + entire)
    }

    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        first_page_shared(self.page_mapcount(c, folio, folio.head, tally), tally)
    }
}

/// Pages that no PTE maps: the scan that the checked form pays for.
fn without_ptes(c: &dyn Counters, folio: Folio) -> u32 {
    c.scan(Field::Mapcount, folio.range()).empty
}
