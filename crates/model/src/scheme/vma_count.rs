//! `vma-count`: a proposal. The folio's map count is the number of VMAs that map any page of it; nothing
//! else is counted. References are taken for each VMA (`vma-count`) or for each entry as today
//! (`vma-count-by-entry`).
//!
//! Sources: "folio mapcount" (linux-mm, December 2021), from which the transitions were derived; it has no
//! implementation. Its caller has to say how many pages the VMA maps before and after each change.

use super::{
    Answer, Capabilities, Info, Lost, Mapped, Mapper, Scheme, Tally, Unmapped, asked, plus_one, small,
};
use crate::counters::Counters;
use crate::field::Field;
use crate::invariant::Law;
use crate::units::{Folio, Level, PageRange, Pfn};

pub(super) static BY_VMA: VmaCount = VmaCount { references: References::PerVma };
pub(super) static BY_ENTRY: VmaCount = VmaCount { references: References::PerEntry };

const FIELDS: &[Field] =
    &[Field::PartialMapcount, Field::Pincount, Field::Deferred, Field::PartiallyMapped, Field::AnonExclusive];
const BY_ENTRY_CAPABILITIES: Capabilities = Capabilities {
    pmd_split_splits_folio: false,
    needs_vma_pages: true,
    page_mapcounts: false,
    reference_per_vma: false,
    bias_is_not_restored: false,
    hugetlb_counts_in_head: true,
};
const BY_VMA_CAPABILITIES: Capabilities = Capabilities { reference_per_vma: true, ..BY_ENTRY_CAPABILITIES };
const BREAKS: &[(Law, &str)] = &[
    (Law::I9, "pages are counted as mapped while any VMA maps any page of the folio"),
    (Law::I10, "nothing tells a PMD mapping from PTE mappings, so the statistic of THPs stays 0"),
];
const EQUATIONS: &[&str] = &[
    "_mapcount of the head = VMAs that map any page − 1",
    "partial_mapcount = VMAs that map some pages but not all",
];
const CANNOT: &[&str] = &[
    "tell a page's map count: only that it lies between 0 and the folio's",
    "tell that a page lost its last mapping, and so that a folio is partially mapped",
    "tell a process with two VMAs from two processes",
];
const SOURCES: &[&str] = &["\"folio mapcount\", Matthew Wilcox, linux-mm, 2021-12"];

static BY_VMA_INFO: Info = Info {
    id: "vma-count",
    title: "proposal: the map count is the number of VMAs; one reference for each VMA",
    kernels: None,
    runs_as: "7.3",
    fields: FIELDS,
    capabilities: BY_VMA_CAPABILITIES,
    laws: &[Law::I1, Law::I2, Law::Vma, Law::I11],
    breaks: BREAKS,
    cannot: CANNOT,
    equations: EQUATIONS,
    sources: SOURCES,
};

static BY_ENTRY_INFO: Info = Info {
    id: "vma-count-by-entry",
    title: "proposal: the map count is the number of VMAs; one reference for each page-table entry",
    kernels: None,
    runs_as: "7.3",
    fields: FIELDS,
    capabilities: BY_ENTRY_CAPABILITIES,
    laws: &[Law::I1, Law::I2, Law::Vma, Law::I11],
    breaks: BREAKS,
    cannot: &[
        CANNOT[0],
        CANNOT[1],
        CANNOT[2],
        "tell the expected references: split and migration have to walk the page tables",
    ],
    equations: EQUATIONS,
    sources: SOURCES,
};

/// What owns a reference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum References {
    /// A VMA, however many entries it has (variant R1).
    PerVma,
    /// Each page-table entry, as today (variant R2).
    PerEntry,
}

/// Counting VMAs.
pub(super) struct VmaCount {
    references: References,
}

impl VmaCount {
    /// Moves a VMA from mapping `before` pages to mapping `after`; says whether the folio was or is
    /// unmapped.
    fn recount(&self, c: &dyn Counters, folio: Folio, before: u32, after: u32) -> (bool, bool) {
        let partial = |pages: u32| i32::from(pages > 0 && pages < folio.pages());
        let change = partial(after) - partial(before);
        if change != 0 && folio.is_large() {
            c.add(Field::PartialMapcount, folio.head, change);
        }
        match (before, after) {
            (0, 1..) => (c.add(Field::Mapcount, folio.head, 1) == 0, false),
            (1.., 0) => (false, c.add(Field::Mapcount, folio.head, -1) == -1),
            _ => (false, false),
        }
    }
}

impl Scheme for VmaCount {
    fn info(&self) -> &'static Info {
        match self.references {
            References::PerVma => &BY_VMA_INFO,
            References::PerEntry => &BY_ENTRY_INFO,
        }
    }

    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, _level: Level, by: &Mapper) -> Mapped {
        if !folio.is_large() {
            return small::add_new(c, folio.head);
        }
        self.recount(c, folio, 0, by.vma_pages_after);
        Mapped { pages: folio.pages(), pmd: false }
    }

    fn add_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, _l: Level, by: &Mapper) -> Mapped {
        if !folio.is_large() {
            return small::add(c, pages.first);
        }
        let (first, _) = self.recount(c, folio, by.vma_pages_before, by.vma_pages_after);
        Mapped { pages: if first { folio.pages() } else { 0 }, pmd: false }
    }

    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, by: &Mapper) {
        if folio.is_large() {
            self.add_rmap(c, folio, pages, level, by);
        } else {
            small::dup(c, pages.first);
        }
    }

    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        _l: Level,
        by: &Mapper,
    ) -> Unmapped {
        if !folio.is_large() {
            return small::remove(c, pages.first);
        }
        let (_, last) = self.recount(c, folio, by.vma_pages_before, by.vma_pages_after);
        let pages = if last { folio.pages() } else { 0 };
        Unmapped { pages, pmd: false, lost: if last { Lost::All } else { Lost::None } }
    }

    /// A natural fit: an area maps a hugetlb folio whole or not at all.
    fn hugetlb_add_new(&self, c: &dyn Counters, folio: Folio, by: &Mapper) {
        self.hugetlb_add(c, folio, by);
    }

    fn hugetlb_add(&self, c: &dyn Counters, folio: Folio, by: &Mapper) {
        self.recount(c, folio, by.vma_pages_before, by.vma_pages_after);
    }

    fn hugetlb_remove(&self, c: &dyn Counters, folio: Folio, by: &Mapper) {
        self.recount(c, folio, by.vma_pages_before, by.vma_pages_after);
    }

    /// The VMA maps all pages before and after: nothing changes.
    fn split_pmd_rmap(&self, _c: &dyn Counters, _folio: Folio, _by: &Mapper) -> Unmapped {
        Unmapped::default()
    }

    fn split_vma(&self, c: &dyn Counters, folio: Folio, left: u32, right: u32) -> i32 {
        if left == 0 || right == 0 {
            return 0;
        }
        self.recount(c, folio, left + right, left);
        self.recount(c, folio, 0, right);
        self.references_of_vmas(1)
    }

    fn merge_vmas(&self, c: &dyn Counters, folio: Folio, left: u32, right: u32) -> i32 {
        if left == 0 || right == 0 {
            return 0;
        }
        self.recount(c, folio, right, 0);
        self.recount(c, folio, left, left + right);
        self.references_of_vmas(-1)
    }

    fn references_of_added(&self, entries: u32, by: &Mapper) -> i32 {
        match self.references {
            References::PerVma => i32::from(by.vma_pages_before == 0),
            References::PerEntry => entries as i32,
        }
    }

    fn references_of_removed(&self, entries: u32, by: &Mapper) -> i32 {
        match self.references {
            References::PerVma => i32::from(by.vma_pages_after == 0),
            References::PerEntry => entries as i32,
        }
    }

    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, page, tally);
        }
        let vmas = plus_one(c, Field::Mapcount, folio.head, "VMAs: {} of the head + 1", tally);
        let partial = i64::from(c.read(Field::PartialMapcount, folio.head));
        let source = super::Source::Counter(Field::PartialMapcount, folio.head);
        match tally.fact("VMAs that map a part only: {}, any?", partial, source) {
            0 => Answer::Exact(vmas),
            _ => Answer::Estimate(vmas),
        }
    }

    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        // Exact as a number of VMAs, which is not the number of entries that other schemes tell.
        Answer::Estimate(plus_one(c, Field::Mapcount, folio.head, "VMAs: {} of the head + 1", tally))
    }

    fn folio_mapped(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        let vmas = asked(c, Field::Mapcount, folio.head, "{} of the head + 1, any?", tally);
        Answer::Exact(i64::from(vmas > 0))
    }

    /// The best guess is that each VMA maps each page.
    fn average_page_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        self.page_mapcount(c, folio, folio.head, tally)
    }

    fn mapping_references(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return small::mapcount(c, folio.head, tally);
        }
        match self.references {
            References::PerVma => match self.folio_mapcount(c, folio, tally).value() {
                Some(vmas) => Answer::Exact(vmas),
                None => Answer::Unknown,
            },
            References::PerEntry => Answer::Unknown,
        }
    }

    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        small::shared(c, folio.head, tally)
    }
}

impl VmaCount {
    fn references_of_vmas(&self, vmas: i32) -> i32 {
        match self.references {
            References::PerVma => vmas,
            References::PerEntry => 0,
        }
    }
}
