//! `tail-count`: transparent huge pages of 2011. A THP is mapped by PMDs everywhere or split for
//! everybody; whoever holds a tail page is counted in that tail's `_count` and in the head's.
//!
//! Sources: `get_page()`, `put_compound_page()` (mm/swap.c), `__split_huge_page_refcount()`
//! (mm/huge_memory.c), v2.6.39; Linux commit 918070634448 ("thp: alter compound get_page/put_page",
//! v2.6.38), Linux commit 71e3aac0724f ("thp: transparent hugepage core", v2.6.38).

use super::{Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Tally, Unmapped, plus_one, small};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::release::{Release, ReleaseRange};
use crate::units::{Folio, Level, PageRange, Pfn};

/// Where a reference on a tail page is counted besides the head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TailReferences {
    /// In the tail's own `_count`.
    InCount,
    /// In the tail's `_mapcount`, so that its `_count` stays 0 and a speculative reference never succeeds.
    InMapcount,
}

/// The all-or-nothing THP, of which there were two variants.
pub(super) struct AllOrNothing {
    pub(super) tails: TailReferences,
    pub(super) info: Info,
}

pub(super) static TAIL_COUNT: AllOrNothing = AllOrNothing {
    tails: TailReferences::InCount,
    info: Info {
        id: "tail-count",
        title: "a THP is mapped by PMDs only; references on tails in the tail's _count and the head's",
        kernels: Some(ReleaseRange { from: Some(Release::new(2, 6, 38)), to: Some(Release::new(3, 1, 0)) }),
        runs_as: "2.6.38",
        fields: &[],
        capabilities: Capabilities {
            pmd_split_splits_folio: true,
            needs_vma_pages: false,
            page_mapcounts: false,
            reference_per_vma: false,
            bias_is_not_restored: false,
            hugetlb_counts_in_head: true,
        },
        laws: &[Law::I1, Law::HeadMapcount, Law::I9, Law::I10],
        breaks: &[],
        cannot: &[
            "map a part of a THP by PTEs: any such need splits the page for all processes",
            "tell a page's map count for a tail of an unsplit THP: page_mapcount() of it is 0",
        ],
        equations: &[
            "head _mapcount = D − 1",
            "tail _count = references on that tail",
            "head _count = D + all references",
        ],
        sources: &["mm/huge_memory.c, mm/swap.c, include/linux/mm.h (v2.6.39)"],
    },
};

impl AllOrNothing {
    /// References on tail `page` of an unsplit THP.
    fn tail_field(&self) -> Field {
        match self.tails {
            TailReferences::InCount => Field::Refcount,
            TailReferences::InMapcount => Field::Mapcount,
        }
    }
}

impl Scheme for AllOrNothing {
    fn info(&self) -> &'static Info {
        // Both values are statics; a reference into one lives as long as the program.
        match self.tails {
            TailReferences::InCount => &TAIL_COUNT.info,
            TailReferences::InMapcount => &super::tail_pin::TAIL_PIN.info,
        }
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, _level: Level, _by: &Mapper) -> Mapped {
        c.set(Field::Mapcount, folio.head, 0);
        Mapped { pages: folio.pages(), pmd: folio.is_large() }
    }

    fn add_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, _l: Level, _by: &Mapper) -> Mapped {
        if !folio.is_large() {
            return small::add(c, pages.first);
        }
        let first = c.add(Field::Mapcount, folio.head, 1) == 0;
        Mapped { pages: if first { folio.pages() } else { 0 }, pmd: first }
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, _pages: PageRange, _level: Level, _by: &Mapper) {
        c.add(Field::Mapcount, folio.head, 1);
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        _level: Level,
        _by: &Mapper,
    ) -> Unmapped {
        if !folio.is_large() {
            return small::remove(c, pages.first);
        }
        let last = c.add(Field::Mapcount, folio.head, -1) == -1;
        let pages = if last { folio.pages() } else { 0 };
        Unmapped { pages, pmd: last, lost: Lost::of(pages, false) }
    }

    /// `hugepage_add_new_anon_rmap()`, `page_dup_rmap()` and `page_remove_rmap()` count hugetlb as THPs are
    /// counted, in the head's `_mapcount` (mm/rmap.c, v2.6.39, v4.4).
    fn hugetlb_add_new(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        c.set(Field::Mapcount, folio.head, 0);
    }

    fn hugetlb_add(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        c.add(Field::Mapcount, folio.head, 1);
    }

    fn hugetlb_remove(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        c.add(Field::Mapcount, folio.head, -1);
    }

    /// `__split_huge_page_refcount()`: every tail inherits the head's map count and gets a reference for
    /// each mapping, for each holder, and one that the splitter drops afterwards. In 2.6.39 the head
    /// loses a tail's references as the loop passes it, in 4.4 all at once behind the loop.
    fn split_folio(&self, c: &dyn Counters, folio: Folio) {
        if !folio.is_large() {
            return;
        }
        let head_mapcount = c.read(Field::Mapcount, folio.head);
        let mut held = 0;
        for tail in PageRange::new(folio.head.add(1), folio.pages() - 1).iter() {
            match self.tails {
                TailReferences::InCount => {
                    let references = c.read(Field::Refcount, tail);
                    c.add(Field::Refcount, folio.head, -references);
                    c.add(Field::Refcount, tail, head_mapcount + 1 + 1);
                }
                TailReferences::InMapcount => {
                    let references = c.read(Field::Mapcount, tail) + 1;
                    held += references;
                    c.add(Field::Refcount, tail, head_mapcount + 1 + references + 1);
                }
            }
            c.set(Field::Mapcount, tail, head_mapcount);
        }
        if held != 0 {
            c.add(Field::Refcount, folio.head, -held);
        }
    }

    /// Tail first, then head, as GUP-fast does it (`get_huge_page_tail()`, arch/x86/mm/gup.c, v2.6.39 and v4.4).
    fn get_page(&self, c: &dyn Counters, folio: Folio, page: Pfn) {
        if page != folio.head {
            c.add(self.tail_field(), page, 1);
        }
        c.add(Field::Refcount, folio.head, 1);
    }

    /// `put_compound_page()`: for a tail the head is held for a moment, so that it cannot go away.
    fn put_page(&self, c: &dyn Counters, folio: Folio, page: Pfn) -> i32 {
        if page != folio.head {
            c.add(Field::Refcount, folio.head, 1);
            c.add(Field::Refcount, folio.head, -1);
            c.add(self.tail_field(), page, -1);
        }
        c.add(Field::Refcount, folio.head, -1)
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if page == folio.head {
            return Answer::Exact(plus_one(c, Field::Mapcount, page, "{} + 1", tally));
        }
        let text = match self.tails {
            TailReferences::InCount => "{} + 1: of a tail always 0, the head counts the mappings",
            TailReferences::InMapcount => "{} + 1: of a tail its references, the head counts the mappings",
        };
        Answer::Estimate(plus_one(c, Field::Mapcount, page, text, tally))
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        let text = if folio.is_large() { "{} of the head + 1" } else { "{} + 1" };
        Answer::Exact(plus_one(c, Field::Mapcount, folio.head, text, tally))
    }

    fn trans_huge_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        self.folio_mapcount(c, folio, tally)
    }

    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        small::shared(c, folio.head, tally)
    }

    fn average_page_mapcount(&self, _c: &dyn Counters, _folio: Folio, _tally: &mut Tally) -> Answer<i64> {
        Answer::Unknown
    }
}
