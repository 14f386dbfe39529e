//! What is true: who maps and who holds each page, counted from page tables and holders, never from
//! counters.

use crate::field::Field;
use crate::machine::Machine;
use crate::machine::holders::HoldKind;
use crate::machine::page_table::{Alike, Pmd};
use crate::scheme::PIN_BIAS;
use crate::units::{Folio, MmId, PageRange, Pfn};

/// Counts for every frame. Kept between steps, so that looking again allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pages: Vec<PageTruth>,
    folios: Vec<FolioTruth>,
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
    /// D: PMDs that map it.
    pub pmds: u32,
    /// ΣP_i.
    pub ptes: u64,
    /// References of those who asked for pages, and of batches and lists.
    pub held: i64,
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
        let slots = m.scheme.info().fields.contains(&Field::MmId0);
        let vmas = m.scheme.info().capabilities.needs_vma_pages;
        m.each_mm(|mm| {
            let mut at = 0;
            while let Some(found) = mm.table.next_pmd(at, u64::MAX) {
                let end = mm.table.pmd_end(found);
                match mm.table.pmd(found) {
                    Pmd::Leaf(entry) if entry.is_present() && !entry.is_zero() => {
                        let folio = m.folio(entry.page());
                        self.folios[folio.head.index()].pmds += 1;
                        self.seen_by(m, folio, mm.id, 1, slots);
                    }
                    Pmd::Table => {
                        let mut pte = mm.table.pmd_start(found);
                        while pte < end {
                            let (entry, len) = mm.table.run(pte, end - pte, Alike::IgnoringWrite);
                            if entry.is_present() && !entry.is_zero() {
                                self.add_ptes(m, PageRange::new(entry.page(), len as u32), mm.id, slots);
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

    fn add_ptes(&mut self, m: &Machine, range: PageRange, mm: MmId, slots: bool) {
        for page in &mut self.pages[range.indexes()] {
            page.ptes += 1;
        }
        let (mut first, end) = (range.first, range.first.0 + range.len);
        while first.0 < end {
            let folio = m.folio(first);
            let stop = end.min(folio.head.0 + folio.pages());
            let count = u64::from(stop - first.0);
            self.folios[folio.head.index()].ptes += count;
            self.seen_by(m, folio, mm, count, slots);
            first = Pfn(stop);
        }
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

    fn count_vmas(&mut self, m: &Machine, mm: &crate::machine::Mm) {
        let vmas = mm.vmas.borrow();
        for vma in vmas.all() {
            let mut last = None;
            let mut folios: Vec<Folio> = Vec::new();
            let mut at = vma.start;
            while let Some(found) = mm.table.next_pmd(at, vma.end) {
                let end = vma.end.min(mm.table.pmd_end(found));
                for page in found..end {
                    let entry = mm.table.read(page);
                    if !entry.is_present() || entry.is_zero() {
                        continue;
                    }
                    let folio = m.folio(entry.page());
                    if last != Some(folio) && !folios.contains(&folio) {
                        folios.push(folio);
                    }
                    last = Some(folio);
                }
                at = end;
            }
            for folio in folios {
                let pages = m.pages_in_vma(mm, vma, folio);
                let seen = &mut self.folios[folio.head.index()];
                seen.vmas += 1;
                seen.partial_vmas += u32::from(pages < folio.pages());
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
                        self.pages[page.index()].held += 1;
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
        for page in m.holders.lru_batch().iter().chain(m.holders.list().iter()) {
            self.folios[m.folio(*page).head.index()].held += 1;
        }
    }
}
