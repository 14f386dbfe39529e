//! What is true: who maps and who holds each page, counted from page tables and holders, never from
//! counters.

use std::collections::BTreeMap;

use crate::field::Field;
use crate::machine::Machine;
use crate::machine::holders::HoldKind;
use crate::machine::page_table::{Alike, Pmd};
use crate::query::Query;
use crate::scheme::PIN_BIAS;
use crate::units::{Folio, Kind, MmId, PageRange, Pfn};

/// Counts for every frame. Kept between steps, so that looking again allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pages: Vec<PageTruth>,
    folios: Vec<FolioTruth>,
    /// Swap entries of page tables and page caches that name each slot.
    slots: Vec<u32>,
}

/// What is true of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageTruth {
    /// P_i: PTEs that map it.
    pub ptes: u32,
    /// References that somebody asked for on this very page.
    pub held: u32,
}

/// What is true of a folio; kept at its first page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FolioTruth {
    /// D: PMDs and PUDs that map it.
    pub pmds: u32,
    /// Of these, PUDs.
    pub puds: u32,
    /// ΣP_i.
    pub ptes: u64,
    /// References of those who asked for pages, and of batches and lists.
    pub held: i64,
    /// References of the swap cache or the page cache, one for each page, and of private data.
    pub cached: i64,
    /// FOLL_PINs.
    pub pins: u64,
    /// Areas that map any page.
    pub vmas: u32,
    /// Areas that map some pages but not all.
    pub partial_vmas: u32,
    /// Address spaces that map any page.
    pub mms: u32,
    /// Entries of the address spaces in slot 0 and slot 1.
    pub slot_entries: [u64; 2],
    last_mm: u32,
}

impl FolioTruth {
    /// M: entries that map any part of it.
    pub const fn entries(&self) -> u64 {
        self.pmds as u64 + self.ptes
    }
}

impl Truth {
    /// Looks at a machine.
    pub fn of(m: &Machine) -> Truth {
        let mut truth = Truth::default();
        truth.collect(m);
        truth
    }

    /// What is true of a page.
    pub fn page(&self, page: Pfn) -> PageTruth {
        self.pages[page.index()]
    }

    /// What is true of a folio.
    pub fn folio(&self, folio: Folio) -> &FolioTruth {
        &self.folios[folio.head.index()]
    }

    /// Pages of a folio that some entry maps.
    pub fn mapped_pages(&self, folio: Folio) -> u32 {
        if self.folio(folio).pmds > 0 {
            return folio.pages();
        }
        if self.folio(folio).ptes == 0 {
            return 0;
        }
        self.pages[folio.range().indexes()].iter().filter(|page| page.ptes > 0).count() as u32
    }

    /// Pages of a folio that have a PTE.
    pub fn pages_with_ptes(&self, folio: Folio) -> u32 {
        if self.folio(folio).ptes == 0 {
            return 0;
        }
        self.pages[folio.range().indexes()].iter().filter(|page| page.ptes > 0).count() as u32
    }

    /// Swap entries that name a slot.
    pub fn swap_entries(&self, slot: u32) -> u32 {
        self.slots.get(slot as usize).copied().unwrap_or(0)
    }

    /// The answer to a query that the page tables give; `None` where it is not about them. `page` is a page of
    /// `folio`.
    pub fn answer(&self, m: &Machine, query: Query, folio: Folio, page: Pfn) -> Option<i64> {
        if folio.kind == Kind::Zero {
            return None;
        }
        let truth = self.folio(folio);
        let of_page = |page| i64::from(self.page(page).ptes) + i64::from(truth.pmds);
        Some(match query {
            Query::EntireMapcount => i64::from(truth.pmds),
            Query::PageMapcount | Query::Kpagecount => of_page(page),
            Query::FolioMapcount => truth.entries() as i64,
            Query::FolioMapped => i64::from(truth.entries() > 0),
            Query::TransHugeMapcount => folio.range().iter().map(of_page).max().unwrap_or(0),
            Query::MaybeShared => i64::from(truth.mms > 1),
            Query::MaybeDmaPinned => i64::from(truth.pins > 0),
            Query::ExpectedRefcount => {
                let known = m.known(folio);
                let swap = i64::from(known.swapcache) * i64::from(folio.pages());
                let by_vma = m.scheme.info().capabilities.reference_per_vma && folio.is_large();
                let mappings = if by_vma { i64::from(truth.vmas) } else { truth.entries() as i64 };
                let owned = i64::from(known.private) + i64::from(known.device);
                mappings + swap + known.pagecache_references(folio) + owned
            }
            Query::PageCount | Query::AveragePageMapcount => return None,
        })
    }

    /// The PTEs that map each of these pages, if it is the same number for all.
    pub fn ptes_of_each(&self, pages: PageRange) -> Option<u32> {
        let (first, others) = self.pages[pages.indexes()].split_first()?;
        others.iter().all(|page| page.ptes == first.ptes).then_some(first.ptes)
    }

    /// Looks at a machine again.
    pub fn collect(&mut self, m: &Machine) {
        let frames = m.frames.len() as usize;
        self.pages.clear();
        self.pages.resize(frames, PageTruth::default());
        self.folios.clear();
        self.folios.resize(frames, FolioTruth::default());
        self.collect_caches(m);
        let slots = m.scheme.info().fields.contains(&Field::MmId0);
        let vmas = m.scheme.info().capabilities.needs_vma_pages;
        m.each_mm(|mm| {
            mm.table.each_pud(|_, entry| {
                if entry.is_counted() {
                    let folio = m.folio(entry.page());
                    self.folios[folio.head.index()].pmds += 1;
                    self.folios[folio.head.index()].puds += 1;
                    self.seen_by(m, folio, mm.id, 1, slots);
                }
            });
            let mut at = 0;
            while let Some(found) = mm.table.next_pmd(at, u64::MAX) {
                let end = mm.table.pmd_end(found);
                match mm.table.pmd(found) {
                    Pmd::Leaf(entry) if entry.is_counted() => {
                        let folio = m.folio(entry.page());
                        self.folios[folio.head.index()].pmds += 1;
                        self.seen_by(m, folio, mm.id, 1, slots);
                    }
                    Pmd::Table => {
                        let mut pte = mm.table.pmd_start(found);
                        while pte < end {
                            let (entry, len) = mm.table.run(pte, end - pte, Alike::IgnoringWrite);
                            if entry.is_counted() {
                                self.add_ptes(m, PageRange::new(entry.page(), len as u32), mm.id, slots);
                            }
                            if entry.is_swap() {
                                let first = entry.slot() as usize;
                                for entries in &mut self.slots[first..first + len as usize] {
                                    *entries += 1;
                                }
                            }
                            pte += len;
                        }
                    }
                    _ => {}
                }
                at = end;
            }
            if vmas {
                self.count_vmas(m, mm);
            }
        });
        self.count_holders(m);
    }

    /// What the swap cache and the page caches hold, and the slots that they name.
    fn collect_caches(&mut self, m: &Machine) {
        self.slots.clear();
        self.slots.resize(m.swap.len() as usize, 0);
        for head in m.swap.heads() {
            self.folios[head.index()].cached = i64::from(m.folio(head).pages());
        }
        for head in m.hugetlb.cached() {
            let folio = m.folio(head);
            self.folios[head.index()].cached = m.known(folio).pagecache_references(folio);
        }
        m.files.each(|file| {
            if let Some(device) = file.device {
                for_each_folio(m, device.frames, |folio, _| self.folios[folio.head.index()].cached = 1);
            }
            file.cache.each(m, |index, folio| {
                let private = i64::from(file.cache.state(index).private);
                self.folios[folio.head.index()].cached = i64::from(folio.pages()) + private;
            });
            for value in file.cache.swapped.all() {
                let first = value.slot as usize;
                for entries in &mut self.slots[first..first + value.order.pages() as usize] {
                    *entries += 1;
                }
            }
        });
    }

    fn add_ptes(&mut self, m: &Machine, range: PageRange, mm: MmId, slots: bool) {
        for page in &mut self.pages[range.indexes()] {
            page.ptes += 1;
        }
        for_each_folio(m, range, |folio, count| {
            self.folios[folio.head.index()].ptes += u64::from(count);
            self.seen_by(m, folio, mm, u64::from(count), slots);
        });
    }

    fn seen_by(&mut self, m: &Machine, folio: Folio, mm: MmId, entries: u64, slots: bool) {
        let seen = &mut self.folios[folio.head.index()];
        // Address spaces are walked one after the other.
        if seen.last_mm != mm.0 {
            seen.last_mm = mm.0;
            seen.mms += 1;
        }
        if slots && folio.is_large() {
            for (slot, field) in [Field::MmId0, Field::MmId1].into_iter().enumerate() {
                if m.counters().read(field, folio.head) == mm.0 as i32 {
                    seen.slot_entries[slot] += entries;
                }
            }
        }
    }

    /// Counts areas for each large folio that they map, from the entries alone.
    fn count_vmas(&mut self, m: &Machine, mm: &crate::machine::Mm) {
        let vmas = mm.vmas.borrow();
        for vma in vmas.all() {
            let mut pages: BTreeMap<Pfn, u32> = BTreeMap::new();
            mm.table.each_pud(|at, entry| {
                if vma.contains(at) && entry.is_counted() {
                    let folio = m.folio(entry.page());
                    *pages.entry(folio.head).or_default() += folio.pages();
                }
            });
            let mut at = vma.start;
            while let Some(found) = mm.table.next_pmd(at, vma.end) {
                let end = vma.end.min(mm.table.pmd_end(found));
                at = found;
                while at < end {
                    let (entry, len) = match mm.table.pmd(at) {
                        Pmd::Leaf(_) => (mm.table.read(at), end - at),
                        _ => mm.table.run(at, end - at, Alike::IgnoringWrite),
                    };
                    if entry.is_counted() {
                        for_each_folio(m, PageRange::new(entry.page(), len as u32), |folio, count| {
                            if folio.is_large() {
                                *pages.entry(folio.head).or_default() += count;
                            }
                        });
                    }
                    at += len;
                }
            }
            for (head, count) in pages {
                let seen = &mut self.folios[head.index()];
                seen.vmas += 1;
                seen.partial_vmas += u32::from(count < m.folio(head).pages());
            }
        }
    }

    fn count_holders(&mut self, m: &Machine) {
        m.holders.each(|kind, range| {
            for page in range.iter() {
                let folio = m.folio(page);
                let seen = &mut self.folios[folio.head.index()];
                let known = m.known(folio);
                match kind {
                    HoldKind::Get => {
                        self.pages[m.counted_page(folio, page).index()].held += 1;
                        seen.held += 1;
                    }
                    HoldKind::Pin if !known.pins_exist => seen.held += 1,
                    HoldKind::Pin => {
                        seen.pins += 1;
                        seen.held += if known.has_pincount { 1 } else { i64::from(PIN_BIAS) };
                    }
                }
            }
        });
        let mut hold = |page| self.folios[m.folio(page).head.index()].held += 1;
        m.holders.each_in_batch(&mut hold);
        m.holders.list().iter().copied().for_each(hold);
    }
}

/// Calls `f` for each folio in a range of used frames, and how many frames of the range are its.
fn for_each_folio(m: &Machine, range: PageRange, mut f: impl FnMut(Folio, u32)) {
    let (mut first, end) = (range.first, range.first.0 + range.len);
    while first.0 < end {
        let folio = m.folio(first);
        let stop = end.min(folio.head.0 + folio.pages());
        f(folio, stop - first.0);
        first = Pfn(stop);
    }
}
