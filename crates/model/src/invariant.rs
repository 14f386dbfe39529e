//! The laws of counting, by name: what has to hold between counters and truth whenever nobody is in the
//! middle of an operation.

use crate::field::Field;
use crate::machine::Machine;
use crate::stats::Stat;
use crate::truth::Truth;
use crate::units::{Folio, Kind, PageRange, Pfn};

macro_rules! laws {
    ($($(#[doc = $doc:literal])+ $variant:ident { $name:literal }),+ $(,)?) => {
        /// A law.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Law { $($(#[doc = $doc])+ $variant),+ }

        impl Law {
            /// Every law.
            pub const ALL: &'static [Law] = &[$(Law::$variant),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Law::$variant => $name),+ }
            }

            /// What it says.
            pub const fn meaning(self) -> &'static str {
                match self { $(Law::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

laws! {
    /// refcount = entries that map it + references of caches + references that somebody asked for
    /// (a pin of a small page counts 1024).
    I1 { "I1" },
    /// Tail pages have no references of their own.
    I2 { "I2" },
    /// Anonymous, double-map: _mapcount of page i = P_i − 1 + DM, compound_mapcount = D − 1, DM implies D ≥ 1.
    I3 { "I3" },
    /// File, double-map: _mapcount of page i = P_i + D − 1, compound_mapcount = D − 1.
    I4 { "I4" },
    /// _mapcount of page i = P_i − 1; _nr_pages_mapped = pages with P_i > 0, + 0x800000 if D > 0.
    I5 { "I5" },
    /// _large_mapcount = D + ΣP_i − 1.
    I6 { "I6" },
    /// Mapped and not "maybe shared" implies exactly one address space.
    I7 { "I7" },
    /// An empty slot counts −1; two slots name two address spaces; a slot counts no more than its address
    /// space maps; an unmapped folio has empty slots and is not shared.
    I8 { "I8" },
    /// NR_ANON_MAPPED = pages of anonymous folios that any entry maps; NR_FILE_MAPPED the same of files' folios.
    I9 { "I9" },
    /// NR_ANON_THPS = anonymous folios that a PMD maps; NR_SHMEM_PMDMAPPED and NR_FILE_PMDMAPPED the same of files' folios.
    I10 { "I10" },
    /// An exclusive page is mapped by one entry at most.
    I11 { "I11" },
    /// Partially mapped implies anonymous, order above 1, and queued.
    I12 { "I12" },
    /// A THP of 2011: _mapcount of the head = D − 1; of a tail what the scheme keeps there.
    HeadMapcount { "head-mapcount" },
    /// double-map without bias: _mapcount of page i = P_i − 1, compound_mapcount = D − 1.
    Lazy { "lazy-mapcount" },
    /// Counting areas: _mapcount of the head = areas that map any page − 1; partial_mapcount = those that map
    /// some but not all.
    Vma { "vma-mapcount" },
    /// A hugetlb folio: what counts the whole = D − 1, what counts all = D − 1; its pages, slots and
    /// _nr_pages_mapped count nothing (the head's _mapcount may hold a page type).
    Hugetlb { "hugetlb-mapcount" },
    /// Pages of the hugetlb pool = free ones + used ones; its promises = what areas may still take.
    HugetlbPool { "hugetlb-pool" },
    /// The use count of a swap slot = swap entries that name it; a folio in the swap cache has a slot for each page.
    Swap { "swap-count" },
}

/// A law that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// The folio, unless it is about the machine.
    pub folio: Option<Folio>,
    /// The page.
    pub page: Option<Pfn>,
    /// The counter that is wrong, where it is one.
    pub field: Option<Field>,
    /// What is wrong: a counter's name, or a statistic's.
    pub what: &'static str,
    /// The value that the truth demands.
    pub expected: i64,
    /// The value found.
    pub found: i64,
}

/// Checks the laws that the machine's scheme knows, against the truth; adds what does not hold.
pub fn check(m: &Machine, truth: &Truth, violations: &mut Vec<Violation>) {
    let info = m.scheme.info();
    let mut checker = Checker { m, truth, violations };
    let laws = info.laws.iter().copied().chain(info.breaks.iter().map(|(law, _)| *law));
    let laws: LawSet = laws.collect();
    let mut totals = Totals::default();
    for folio in m.frames.folios() {
        if folio.kind == Kind::Zero {
            continue;
        }
        checker.check_folio(folio, laws);
        totals.add(m, truth, folio);
    }
    checker.check_slots_of_swap();
    checker.check_hugetlb_pool();
    for (law, stat, expected) in totals.expected() {
        let found = m.stats.get(stat);
        if laws.has(law) && found != expected {
            let what = stat.key();
            checker.violations.push(Violation {
                law,
                folio: None,
                page: None,
                field: None,
                what,
                expected,
                found,
            });
        }
    }
}

/// What the statistics have to say.
#[derive(Default)]
struct Totals {
    anon: i64,
    anon_thps: i64,
    file: i64,
    shmem_pmds: i64,
    file_pmds: i64,
}

impl Totals {
    fn add(&mut self, m: &Machine, truth: &Truth, folio: Folio) {
        let (mapped, whole) = match folio.kind {
            Kind::Anon | Kind::Ksm => (&mut self.anon, &mut self.anon_thps),
            Kind::Shmem => (&mut self.file, &mut self.shmem_pmds),
            Kind::File | Kind::Device => (&mut self.file, &mut self.file_pmds),
            Kind::Hugetlb | Kind::Zero => return,
        };
        let only_small = folio.kind.is_anon() && !m.policy.anon_mapped_counts_thps;
        if !(only_small && folio.is_large()) {
            *mapped += i64::from(truth.mapped_pages(folio));
        }
        // No statistic counts PUDs.
        *whole += i64::from(truth.folio(folio).pmds > truth.folio(folio).puds);
    }

    const fn expected(&self) -> [(Law, Stat, i64); 5] {
        [
            (Law::I9, Stat::AnonMapped, self.anon),
            (Law::I10, Stat::AnonThps, self.anon_thps),
            (Law::I9, Stat::FileMapped, self.file),
            (Law::I10, Stat::ShmemPmdMapped, self.shmem_pmds),
            (Law::I10, Stat::FilePmdMapped, self.file_pmds),
        ]
    }
}

#[derive(Clone, Copy)]
struct LawSet(u32);

impl LawSet {
    const fn has(self, law: Law) -> bool {
        self.0 & 1 << law as u32 != 0
    }
}

impl FromIterator<Law> for LawSet {
    fn from_iter<T: IntoIterator<Item = Law>>(laws: T) -> LawSet {
        LawSet(laws.into_iter().fold(0, |set, law| set | 1 << law as u32))
    }
}

struct Checker<'a> {
    m: &'a Machine,
    truth: &'a Truth,
    violations: &'a mut Vec<Violation>,
}

impl Checker<'_> {
    fn check_folio(&mut self, folio: Folio, laws: LawSet) {
        let truth = *self.truth.folio(folio);
        let references = if self.m.scheme.info().capabilities.reference_per_vma && folio.is_large() {
            i64::from(truth.vmas)
        } else {
            truth.entries() as i64
        };
        self.compare(Law::I1, folio, Field::Refcount, folio.head, references + truth.held + truth.cached);
        if !folio.is_large() {
            self.compare(
                Law::I1,
                folio,
                Field::Mapcount,
                folio.head,
                i64::from(self.truth.page(folio.head).ptes) - 1,
            );
            self.check_exclusive(folio, laws);
            return;
        }
        if laws.has(Law::I2) {
            self.compare_each(Law::I2, folio, Field::Refcount, tails(folio), |_| 0);
        }
        if laws.has(Law::HeadMapcount) {
            self.check_head_mapcount(folio, laws);
        }
        if folio.kind == Kind::Hugetlb {
            return self.check_hugetlb(folio, laws);
        }
        if laws.has(Law::I3) && folio.kind.is_anon() {
            self.check_double_map(folio);
        }
        if laws.has(Law::I4) && !folio.kind.is_anon() {
            let pmds = i64::from(truth.pmds);
            self.compare_each(Law::I4, folio, Field::Mapcount, folio.range(), |ptes| ptes + pmds - 1);
            self.compare(Law::I4, folio, Field::EntireMapcount, folio.head, pmds - 1);
        }
        if laws.has(Law::I5) || laws.has(Law::Lazy) {
            let law = if laws.has(Law::I5) { Law::I5 } else { Law::Lazy };
            self.compare_each(law, folio, Field::Mapcount, folio.range(), |ptes| ptes - 1);
            self.compare(law, folio, Field::EntireMapcount, folio.head, i64::from(truth.pmds) - 1);
        }
        if laws.has(Law::I5) {
            let whole = if truth.pmds > 0 { 0x80_0000 } else { 0 };
            let expected = i64::from(self.truth.pages_with_ptes(folio)) + whole;
            self.compare(Law::I5, folio, Field::NrPagesMapped, folio.head, expected);
        }
        if laws.has(Law::I6) {
            self.compare(Law::I6, folio, Field::LargeMapcount, folio.head, truth.entries() as i64 - 1);
        }
        if laws.has(Law::I7) {
            self.check_slots(folio);
        }
        if laws.has(Law::Vma) {
            self.compare(Law::Vma, folio, Field::Mapcount, folio.head, i64::from(truth.vmas) - 1);
            self.compare(Law::Vma, folio, Field::PartialMapcount, folio.head, i64::from(truth.partial_vmas));
        }
        self.check_exclusive(folio, laws);
        self.check_queue(folio, laws);
    }

    fn check_hugetlb(&mut self, folio: Folio, laws: LawSet) {
        let truth = *self.truth.folio(folio);
        let info = self.m.scheme.info();
        let whole = i64::from(truth.pmds) - 1;
        if truth.ptes > 0 {
            self.push(Law::Hugetlb, folio, None, Field::Mapcount, 0, truth.ptes as i64);
        }
        for field in info.fields.iter().copied() {
            let expected = match field {
                Field::EntireMapcount | Field::LargeMapcount => whole,
                Field::NrPagesMapped | Field::MmId0 | Field::MmId1 | Field::MaybeShared => 0,
                Field::MmIdMapcount0 | Field::MmIdMapcount1 => -1,
                Field::DoubleMap | Field::PartialMapcount => 0,
                _ => continue,
            };
            self.compare(Law::Hugetlb, folio, field, folio.head, expected);
        }
        if laws.has(Law::Vma) {
            self.compare(Law::Vma, folio, Field::Mapcount, folio.head, i64::from(truth.vmas) - 1);
        }
        if !info.capabilities.hugetlb_counts_in_head {
            let word = self.m.hugetlb_type().unwrap_or(-1);
            self.compare(Law::Hugetlb, folio, Field::Mapcount, folio.head, i64::from(word));
            self.compare_each(Law::Hugetlb, folio, Field::Mapcount, tails(folio), |_| -1);
        }
        self.check_exclusive(folio, laws);
    }

    fn check_hugetlb_pool(&mut self) {
        let hugetlb = &self.m.hugetlb;
        let (counts, free) = (hugetlb.counts(), hugetlb.free_pages());
        let pages = free + hugetlb.used_pages();
        for (what, expected, found) in [
            ("the pages of the hugetlb pool", i64::from(pages), i64::from(counts.pages)),
            ("the promised pages of the hugetlb pool", hugetlb.promised(), counts.reserved),
        ] {
            if expected != found {
                let law = Law::HugetlbPool;
                let violation =
                    Violation { law, folio: None, page: None, field: None, what, expected, found };
                self.violations.push(violation);
            }
        }
    }

    fn check_slots_of_swap(&mut self) {
        let wrong = |what, expected: u32, found: u32| Violation {
            law: Law::Swap,
            folio: None,
            page: None,
            field: None,
            what,
            expected: i64::from(expected),
            found: i64::from(found),
        };
        let swap = &self.m.swap;
        for slot in 0..swap.len() {
            let (entries, uses) = (self.truth.swap_entries(slot), swap.uses(slot));
            if entries != uses {
                self.violations.push(wrong("the use count of a swap slot", entries, uses));
            }
        }
        for folio in swap.heads().into_iter().map(|head| self.m.folio(head)) {
            let placed =
                |page: &Pfn| swap.slot_of(folio, *page).is_some_and(|slot| swap.page_of(slot) == Some(*page));
            let found = folio.range().iter().filter(placed).count() as u32;
            if found != folio.pages() {
                self.violations.push(wrong("the slots of a folio in the swap cache", folio.pages(), found));
            }
        }
    }

    fn check_head_mapcount(&mut self, folio: Folio, laws: LawSet) {
        let pmds = i64::from(self.truth.folio(folio).pmds);
        self.compare(Law::HeadMapcount, folio, Field::Mapcount, folio.head, pmds - 1);
        // Tails that may not have references count their holders in the map count, the others in the references.
        let field = if laws.has(Law::I2) { Field::Mapcount } else { Field::Refcount };
        let empty = if laws.has(Law::I2) { -1 } else { 0 };
        for page in tails(folio).iter() {
            let expected = i64::from(self.truth.page(page).held) + empty;
            self.compare(Law::HeadMapcount, folio, field, page, expected);
        }
    }

    fn check_double_map(&mut self, folio: Folio) {
        let pmds = i64::from(self.truth.folio(folio).pmds);
        let bias = i64::from(self.m.counters().read(Field::DoubleMap, folio.head));
        self.compare_each(Law::I3, folio, Field::Mapcount, folio.range(), |ptes| ptes - 1 + bias);
        self.compare(Law::I3, folio, Field::EntireMapcount, folio.head, pmds - 1);
        if pmds == 0 {
            self.compare(Law::I3, folio, Field::DoubleMap, folio.head, 0);
        }
    }

    fn check_slots(&mut self, folio: Folio) {
        let truth = *self.truth.folio(folio);
        let read = |field| i64::from(self.m.counters().read(field, folio.head));
        let (shared, mapped) = (read(Field::MaybeShared), truth.entries() > 0);
        let ids = [read(Field::MmId0), read(Field::MmId1)];
        let counts = [read(Field::MmIdMapcount0), read(Field::MmIdMapcount1)];
        if mapped && shared == 0 && truth.mms != 1 {
            self.push(Law::I7, folio, None, Field::MaybeShared, 1, 0);
        }
        if !mapped && shared != 0 {
            self.push(Law::I8, folio, None, Field::MaybeShared, 0, shared);
        }
        if ids[0] != 0 && ids[0] == ids[1] {
            self.push(Law::I8, folio, None, Field::MmId1, 0, ids[1]);
        }
        for (slot, (id, count)) in
            [(Field::MmId0, Field::MmIdMapcount0), (Field::MmId1, Field::MmIdMapcount1)]
                .into_iter()
                .enumerate()
        {
            if (ids[slot] == 0) != (counts[slot] == -1) {
                self.push(Law::I8, folio, None, id, ids[slot], counts[slot]);
            }
            let most = truth.slot_entries[slot] as i64 - 1;
            if ids[slot] != 0 && counts[slot] > most {
                self.push(Law::I8, folio, None, count, most, counts[slot]);
            }
        }
    }

    fn check_exclusive(&mut self, folio: Folio, laws: LawSet) {
        if !laws.has(Law::I11) || !self.m.policy.anon_exclusive {
            return;
        }
        if self.m.rmap().exclusive(folio.range()) == 0 {
            return;
        }
        let truth = *self.truth.folio(folio);
        for page in folio.range().iter() {
            if self.m.counters().read(Field::AnonExclusive, page) == 0 {
                continue;
            }
            let entries = i64::from(self.truth.page(page).ptes) + i64::from(truth.pmds);
            let others = page == folio.head && truth.pmds > 0 && truth.ptes > 0;
            if entries > 1 || others {
                self.push(Law::I11, folio, Some(page), Field::AnonExclusive, 0, 1);
            }
        }
    }

    fn check_queue(&mut self, folio: Folio, laws: LawSet) {
        if !laws.has(Law::I12) || self.m.counters().read(Field::PartiallyMapped, folio.head) == 0 {
            return;
        }
        let queued = self.m.counters().read(Field::Deferred, folio.head) != 0;
        if folio.kind != Kind::Anon || folio.order.0 < 2 || !queued {
            self.push(Law::I12, folio, None, Field::PartiallyMapped, 0, 1);
        }
    }

    #[inline]
    fn compare(&mut self, law: Law, folio: Folio, field: Field, page: Pfn, expected: i64) {
        let found = i64::from(self.m.counters().read(field, page));
        if found != expected {
            self.push(law, folio, Some(page), field, expected, found);
        }
    }

    fn compare_each(
        &mut self,
        law: Law,
        folio: Folio,
        field: Field,
        pages: PageRange,
        expected: impl Fn(i64) -> i64,
    ) {
        // Where the same is expected of all, a look at their sum is mostly enough.
        if let Some(ptes) = self.truth.ptes_of_each(pages) {
            let (expected, scan) = (expected(i64::from(ptes)), self.m.counters().scan(field, pages));
            if i64::from(scan.max) == expected && scan.sum == expected * i64::from(pages.len) {
                return;
            }
        }
        for page in pages.iter() {
            let expected = expected(i64::from(self.truth.page(page).ptes));
            self.compare(law, folio, field, page, expected);
        }
    }

    fn push(&mut self, law: Law, folio: Folio, page: Option<Pfn>, field: Field, expected: i64, found: i64) {
        let what = field.key();
        self.violations.push(Violation {
            law,
            folio: Some(folio),
            page,
            field: Some(field),
            what,
            expected,
            found,
        });
    }
}

fn tails(folio: Folio) -> PageRange {
    PageRange::new(folio.head.add(1), folio.pages() - 1)
}
