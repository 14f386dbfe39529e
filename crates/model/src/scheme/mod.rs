//! Schemes of counting: what each generation of kernels, and each proposal, keeps in which counter.
//!
//! A scheme is a value of the object-safe trait [`Scheme`], listed in [`ALL`]. It sees counters and what
//! its caller tells it, never a page table.

mod double_map;
mod large_mapcount;
mod lazy_double_map;
mod mm_id;
mod no_page_mapcount;
mod pages_mapped;
pub(crate) mod small;
mod tail_count;
mod tail_pin;
mod vma_count;

use crate::counters::Counters;
use crate::event::Phase;
use crate::field::{Field, Scope};
use crate::invariant::Law;
use crate::query::{Answer, Query, Source, Tally};
use crate::release::ReleaseRange;
use crate::units::{Folio, Level, MmId, PageRange, Pfn};
pub(crate) use pages_mapped::ENTIRELY_MAPPED;

/// Every scheme, oldest first, proposals last. A new one is a file beside this one and a line here.
pub static ALL: &[&dyn Scheme] = &[
    &tail_count::TAIL_COUNT,
    &tail_pin::TAIL_PIN,
    &double_map::DOUBLE_MAP,
    &pages_mapped::PAGES_MAPPED,
    &large_mapcount::LARGE_MAPCOUNT,
    &mm_id::MM_ID,
    &no_page_mapcount::NO_PAGE_MAPCOUNT,
    &lazy_double_map::NAIVE,
    &lazy_double_map::CHECKED,
    &vma_count::BY_VMA,
    &vma_count::BY_ENTRY,
];

/// The scheme with this id.
pub fn by_id(id: &str) -> Option<&'static dyn Scheme> {
    ALL.iter().copied().find(|scheme| scheme.info().id == id)
}

/// What a scheme is and what it can do.
#[derive(Debug)]
pub struct Info {
    /// Its id on the command line and in scenarios.
    pub id: &'static str,
    /// The essence in a line.
    pub title: &'static str,
    /// The kernels that count so; a proposal has none.
    pub kernels: Option<ReleaseRange>,
    /// The release whose policy a run by scheme id gets.
    pub runs_as: &'static str,
    /// The fields it keeps for large folios, besides the reference count and the page's own map count.
    pub fields: &'static [Field],
    /// Where it differs in structure from today's kernel.
    pub capabilities: Capabilities,
    /// Laws that hold for it at rest.
    pub laws: &'static [Law],
    /// Laws that it breaks by design, and how: shown to the user, not a failure.
    pub breaks: &'static [(Law, &'static str)],
    /// Questions that it cannot answer, in words.
    pub cannot: &'static [&'static str],
    /// How each counter changes, as equations over page-table entries (P_i: PTEs of page i; D: PMDs; M = D + ΣP_i).
    pub equations: &'static [&'static str],
    /// Where the rules were read.
    pub sources: &'static [&'static str],
}

/// Structural differences that operations may ask about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Splitting a PMD splits the folio, for everybody (up to 4.4).
    pub pmd_split_splits_folio: bool,
    /// It has to be told how many pages of the folio the VMA maps before and after each change.
    pub needs_vma_pages: bool,
    /// It keeps a map count for each page of a large folio.
    pub page_mapcounts: bool,
    /// A VMA owns one reference on a large folio, however many entries it has.
    pub reference_per_vma: bool,
    /// Putting PTEs back beside a PMD leaves out the bias that splitting a PMD would have set.
    pub bias_is_not_restored: bool,
    /// The head's `_mapcount` counts the mappings of a hugetlb folio: kernels that keep a page type there cannot
    /// do so.
    pub hugetlb_counts_in_head: bool,
}

impl Capabilities {
    /// A kernel of today: PMD splits are local, VMAs do not matter, pages have map counts.
    pub const TODAY: Capabilities = Capabilities {
        pmd_split_splits_folio: false,
        needs_vma_pages: false,
        page_mapcounts: true,
        reference_per_vma: false,
        bias_is_not_restored: false,
        hugetlb_counts_in_head: false,
    };
}

/// Who maps or unmaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapper {
    /// The address space; at fork the child's.
    pub mm: MmId,
    /// Pages of the folio that the VMA mapped before the change. Only kept up where the scheme asks for it.
    pub vma_pages_before: u32,
    /// Pages of the folio that the VMA maps after the change. Only kept up where the scheme asks for it.
    pub vma_pages_after: u32,
}

impl Mapper {
    /// A mapper for schemes that count entries, not VMAs.
    pub const fn new(mm: MmId) -> Mapper {
        Mapper { mm, vma_pages_before: 0, vma_pages_after: 0 }
    }
}

/// What an added mapping changed in the statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mapped {
    /// Pages that count as mapped now and did not before (NR_ANON_MAPPED or NR_FILE_MAPPED).
    pub pages: u32,
    /// The folio counts as PMD-mapped now and did not before (NR_ANON_THPS and its kin).
    pub pmd: bool,
}

/// What a removed mapping changed in the statistics, and whether it left a partly mapped folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unmapped {
    /// Pages that no longer count as mapped.
    pub pages: u32,
    /// The folio no longer counts as PMD-mapped.
    pub pmd: bool,
    /// What the scheme could see of pages that lost their last mapping.
    pub lost: Lost,
}

/// Pages that lost their last mapping, as far as a scheme can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lost {
    /// None did, or the scheme cannot see it.
    #[default]
    None,
    /// Some did, others are still mapped: the folio is partially mapped.
    Some,
    /// The last mapped ones did: nothing of the folio is mapped any more.
    All,
}

impl Lost {
    /// From a number of pages that lost their last mapping and whether the folio is mapped still.
    pub const fn of(pages: u32, still_mapped: bool) -> Lost {
        match (pages, still_mapped) {
            (0, _) => Lost::None,
            (_, true) => Lost::Some,
            (_, false) => Lost::All,
        }
    }
}

/// What the asker of a query knows that no counter holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// The folio is in the swap cache.
    pub swapcache: bool,
    /// The folio is in the page cache.
    pub pagecache: bool,
    /// The page cache owns one reference for the whole folio, not one a page (hugetlb up to 6.6).
    pub pagecache_owns_one: bool,
    /// The folio has private data of its file system.
    pub private: bool,
    /// It is memory of a DAX device, which keeps a reference.
    pub device: bool,
    /// Pins are counted in a field of their own for this folio.
    pub has_pincount: bool,
    /// The kernel has FOLL_PIN (5.7 and later).
    pub pins_exist: bool,
}

impl Known {
    /// References of the page cache on the folio.
    pub fn pagecache_references(&self, folio: Folio) -> i64 {
        match (self.pagecache, self.pagecache_owns_one) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => i64::from(folio.pages()),
        }
    }
}

/// A scheme of counting.
///
/// Ranges: `pages` always lies within `folio`; at level PMD it is the whole folio. References are the
/// caller's business, except that a scheme says how many an amount of mappings owns.
pub trait Scheme: Sync {
    /// What it is.
    fn info(&self) -> &'static Info;

    /// The values of a freshly allocated folio: one reference, nothing mapped.
    fn prep_folio(&self, c: &dyn Counters, folio: Folio) {
        c.set_each(Field::Refcount, folio.range(), 0);
        c.set(Field::Refcount, folio.head, Field::Refcount.row().initial);
        c.set_each(Field::Mapcount, folio.range(), Field::Mapcount.row().initial);
        if folio.is_large() {
            for field in self.info().fields {
                if field.row().scope == Scope::LargeFolio {
                    c.set(*field, folio.head, field.row().initial);
                }
            }
        }
    }

    /// The first mapping of a fresh anonymous folio: one PMD, or each page by a PTE.
    fn add_new_anon(&self, c: &dyn Counters, folio: Folio, level: Level, by: &Mapper) -> Mapped;

    /// Adds a mapping of `pages`.
    fn add_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, by: &Mapper)
    -> Mapped;

    /// Adds a mapping copied by fork: of pages that are mapped already, so that no statistic changes.
    fn dup_rmap(&self, c: &dyn Counters, folio: Folio, pages: PageRange, level: Level, by: &Mapper);

    /// Removes a mapping of `pages`.
    fn remove_rmap(
        &self,
        c: &dyn Counters,
        folio: Folio,
        pages: PageRange,
        level: Level,
        by: &Mapper,
    ) -> Unmapped;

    /// The only mapping of a fresh private hugetlb folio. hugetlb folios are mapped as a whole and counted in
    /// nothing but what counts the whole and what counts all: no page, no slot, no statistic.
    fn hugetlb_add_new(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        for field in HUGETLB_FIELDS.into_iter().filter(|field| self.info().fields.contains(field)) {
            c.set(field, folio.head, 0);
        }
    }

    /// Adds a mapping of a hugetlb folio.
    fn hugetlb_add(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        for field in HUGETLB_FIELDS.into_iter().filter(|field| self.info().fields.contains(field)) {
            c.add(field, folio.head, 1);
        }
    }

    /// Removes a mapping of a hugetlb folio.
    fn hugetlb_remove(&self, c: &dyn Counters, folio: Folio, _by: &Mapper) {
        for field in HUGETLB_FIELDS.into_iter().filter(|field| self.info().fields.contains(field)) {
            c.add(field, folio.head, -1);
        }
    }

    /// Turns one PMD mapping of an anonymous folio into a PTE mapping of each page. Today's kernel adds
    /// the PTEs and removes the PMD; nothing gets mapped or unmapped by it.
    fn split_pmd_rmap(&self, c: &dyn Counters, folio: Folio, by: &Mapper) -> Unmapped {
        self.add_rmap(c, folio, folio.range(), Level::Pte, by);
        c.stage(Phase::PtesCounted);
        let unmapped = self.remove_rmap(c, folio, folio.range(), Level::Pmd, by);
        c.stage(Phase::PmdUncounted);
        unmapped
    }

    /// Hands the counters of a folio to its pieces before it is split. Today nothing is mapped then and
    /// there is nothing to hand over.
    fn split_folio(&self, _c: &dyn Counters, _folio: Folio) {}

    /// A VMA that maps `left + right` pages of the folio is cut between them; returns the references
    /// that this adds.
    fn split_vma(&self, _c: &dyn Counters, _folio: Folio, _left: u32, _right: u32) -> i32 {
        0
    }

    /// Two VMAs that map `left` and `right` pages of the folio become one; returns the references that
    /// this adds (a negative number takes away).
    fn merge_vmas(&self, _c: &dyn Counters, _folio: Folio, _left: u32, _right: u32) -> i32 {
        0
    }

    /// References that `entries` new page-table entries own.
    fn references_of_added(&self, entries: u32, _by: &Mapper) -> i32 {
        entries as i32
    }

    /// References that `entries` removed page-table entries owned.
    fn references_of_removed(&self, entries: u32, _by: &Mapper) -> i32 {
        entries as i32
    }

    /// Takes a reference on a page for somebody who works on it.
    fn get_page(&self, c: &dyn Counters, folio: Folio, _page: Pfn) {
        c.add(Field::Refcount, folio.head, 1);
    }

    /// Drops such a reference; returns the folio's remaining references.
    fn put_page(&self, c: &dyn Counters, folio: Folio, _page: Pfn) -> i32 {
        c.add(Field::Refcount, folio.head, -1)
    }

    /// Entries that map this page.
    fn page_mapcount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64>;

    /// Entries that map any part of the folio.
    fn folio_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64>;

    /// References that the folio's mappings own: one for each entry, unless the scheme says otherwise.
    fn mapping_references(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        self.folio_mapcount(c, folio, tally)
    }

    /// Entries that map the folio as a whole.
    fn entire_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() || !self.info().fields.contains(&Field::EntireMapcount) {
            return Answer::Unknown;
        }
        Answer::Exact(plus_one(c, Field::EntireMapcount, folio.head, "{} + 1", tally))
    }

    /// Whether any part of the folio is mapped.
    fn folio_mapped(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        tally.decide(|tally| self.folio_mapcount(c, folio, tally)).map(|count| i64::from(count > 0))
    }

    /// The greatest map count of any page; only kernels that decide reuse by it have it.
    fn trans_huge_mapcount(&self, _c: &dyn Counters, _folio: Folio, _tally: &mut Tally) -> Answer<i64> {
        Answer::Unknown
    }

    /// Whether more than one address space seems to map the folio.
    fn mapped_shared(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64>;

    /// The map count of an average page.
    fn average_page_mapcount(&self, c: &dyn Counters, folio: Folio, tally: &mut Tally) -> Answer<i64> {
        if !folio.is_large() {
            return self.page_mapcount(c, folio, folio.head, tally);
        }
        let mapcount = tally.decide(|tally| self.folio_mapcount(c, folio, tally));
        average(mapcount, self.entire_mapcount(c, folio, tally), folio, tally)
    }

    /// What /proc/kpagecount prints.
    fn kpagecount(&self, c: &dyn Counters, folio: Folio, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        self.page_mapcount(c, folio, page, tally)
    }
}

/// What counts the mappings of a hugetlb folio, in the kernel's order (`hugetlb_add_file_rmap()` and its likes,
/// include/linux/rmap.h, v6.10 on; `compound_mapcount` alone before).
const HUGETLB_FIELDS: [Field; 2] = [Field::EntireMapcount, Field::LargeMapcount];

/// `folio_average_page_mapcount()` (fs/proc/internal.h, v6.17): m mappings of which e are of the whole, over
/// N pages: e + round((m − e) / N), at least 1 while anything is mapped.
fn average(mapcount: Answer<i64>, entire: Answer<i64>, folio: Folio, tally: &mut Tally) -> Answer<i64> {
    let (Some(m), n) = (mapcount.value(), i64::from(folio.pages())) else {
        return Answer::Unknown;
    };
    let e = entire.value().unwrap_or(0);
    let by_ptes = ((m - e).max(0) + n / 2) / n;
    let share = tally.term("(entries − entries of the whole) ÷ N, rounded", by_ptes, Source::Known);
    if m > 0 && e + share == 0 {
        return Answer::Estimate(tally.term("at least 1 while anything is mapped", 1, Source::Known));
    }
    Answer::Estimate(e + share)
}

/// What kernels conclude that take the map count of the first page for that of the folio.
fn first_page_shared(mapcount: Answer<i64>, tally: &mut Tally) -> Answer<i64> {
    let Some(count) = mapcount.value() else { return Answer::Unknown };
    tally.fact("map count of the first page, more than 1?", count, Source::Known);
    Answer::Estimate(i64::from(count > 1))
}

/// Reads a counter that starts at −1 as the number that it stands for.
fn plus_one(c: &dyn Counters, field: Field, at: Pfn, text: &'static str, tally: &mut Tally) -> i64 {
    tally.term(text, i64::from(c.read(field, at)) + 1, Source::Counter(field, at))
}

/// As [`plus_one`], of a number that only decides.
fn asked(c: &dyn Counters, field: Field, at: Pfn, text: &'static str, tally: &mut Tally) -> i64 {
    tally.fact(text, i64::from(c.read(field, at)) + 1, Source::Counter(field, at))
}

/// The sum over all pages of a folio of map counts that start at −1.
fn sum_plus_ones(c: &dyn Counters, folio: Folio, text: &'static str, tally: &mut Tally) -> i64 {
    let scan = c.scan(Field::Mapcount, folio.range());
    tally.term(text, scan.sum + i64::from(folio.pages()), Source::Counters(Field::Mapcount, folio.range()))
}

/// Asks a scheme a question.
///
/// `page` is the page asked about; for questions about the folio any page of it.
pub fn ask(
    scheme: &dyn Scheme,
    c: &dyn Counters,
    query: Query,
    (folio, page): (Folio, Pfn),
    known: Known,
    tally: &mut Tally,
) -> Answer<i64> {
    match query {
        Query::PageCount => Answer::Exact(tally.term(
            "{} of the head",
            i64::from(c.read(Field::Refcount, folio.head)),
            Source::Counter(Field::Refcount, folio.head),
        )),
        Query::EntireMapcount => scheme.entire_mapcount(c, folio, tally),
        Query::PageMapcount => scheme.page_mapcount(c, folio, page, tally),
        Query::FolioMapcount => scheme.folio_mapcount(c, folio, tally),
        Query::FolioMapped => scheme.folio_mapped(c, folio, tally),
        Query::TransHugeMapcount => scheme.trans_huge_mapcount(c, folio, tally),
        Query::MaybeShared => scheme.mapped_shared(c, folio, tally),
        Query::AveragePageMapcount => scheme.average_page_mapcount(c, folio, tally),
        Query::MaybeDmaPinned => maybe_dma_pinned(c, folio, known, tally),
        Query::Kpagecount => scheme.kpagecount(c, folio, page, tally),
        Query::ExpectedRefcount => expected_refcount(scheme, c, folio, known, tally),
    }
}

/// `folio_maybe_dma_pinned()` (include/linux/mm.h, v5.10 to v7.3).
fn maybe_dma_pinned(c: &dyn Counters, folio: Folio, known: Known, tally: &mut Tally) -> Answer<i64> {
    if !known.pins_exist {
        return Answer::Unknown;
    }
    let (field, bound, text) = if known.has_pincount {
        (Field::Pincount, 1, "{}, more than 0?")
    } else {
        (Field::Refcount, PIN_BIAS, "{}, at least 1024?")
    };
    let value = tally.fact(text, i64::from(c.read(field, folio.head)), Source::Counter(field, folio.head));
    let pinned = i64::from(value >= i64::from(bound));
    // A thousand ordinary references look like a pin; a counter of pins counts nothing else.
    if known.has_pincount || pinned == 0 { Answer::Exact(pinned) } else { Answer::Estimate(pinned) }
}

/// References that a pin of a page without a pincount takes (GUP_PIN_COUNTING_BIAS, include/linux/mm.h, v5.7).
pub const PIN_BIAS: i32 = 1024;

/// `folio_expected_ref_count()` (include/linux/mm.h, v6.16), and what its older users computed.
fn expected_refcount(
    scheme: &dyn Scheme,
    c: &dyn Counters,
    folio: Folio,
    known: Known,
    tally: &mut Tally,
) -> Answer<i64> {
    let pages = i64::from(folio.pages());
    let mut cached = 0;
    if known.swapcache {
        cached += tally.term("swap cache, one a page", pages, Source::Known);
    }
    if known.pagecache {
        let text = if known.pagecache_owns_one { "page cache, one" } else { "page cache, one a page" };
        cached += tally.term(text, known.pagecache_references(folio), Source::Known);
    }
    if known.private {
        cached += tally.term("private data", 1, Source::Known);
    }
    if known.device {
        cached += tally.term("its device", 1, Source::Known);
    }
    scheme.mapping_references(c, folio, tally).map(|mapped| mapped + cached)
}
