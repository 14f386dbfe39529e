//! What /proc/pid/smaps says of an area: resident, proportional, shared and private memory.

use crate::field::Field;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::query::{Query, Tally};
use crate::units::{Folio, Kind, PageRange};

/// Bytes of a base page.
pub const PAGE_BYTES: u64 = 4096;

/// Fractions of a byte that the proportional size is kept in: 2^12 (PSS_SHIFT, fs/proc/task_mmu.c).
const PSS_SHIFT: u32 = 12;

/// The numbers of an area, in bytes; smaps prints kB, rounded down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Smaps {
    /// Rss: memory that is mapped, without zero pages.
    pub rss: u64,
    /// Pss, in 1/4096 of a byte: each page divided by its map count.
    pub pss_shifted: u64,
    /// Shared_Clean and Shared_Dirty.
    pub shared: u64,
    /// Private_Clean and Private_Dirty.
    pub private: u64,
    /// AnonHugePages: anonymous memory that PMDs map.
    pub anon_huge: u64,
    /// ShmemPmdMapped.
    pub shmem_pmd: u64,
    /// FilePmdMapped.
    pub file_pmd: u64,
}

impl Smaps {
    /// Pss in kB, as it is printed.
    pub const fn pss_kb(&self) -> u64 {
        (self.pss_shifted >> PSS_SHIFT) >> 10
    }

    fn add(&mut self, pages: u64, mapcount: i64, private: bool) {
        let bytes = pages * PAGE_BYTES;
        self.rss += bytes;
        // The kernel divides page by page, so that the remainder is lost for each.
        let divisor = if mapcount >= 2 { mapcount as u64 } else { 1 };
        self.pss_shifted += pages * ((PAGE_BYTES << PSS_SHIFT) / divisor);
        if private {
            self.private += bytes;
        } else {
            self.shared += bytes;
        }
    }
}

/// The numbers of an area (`smap_gather_stats()`, `smaps_account()`, fs/proc/task_mmu.c). PUDs are in none of them:
/// who looks below one splits it, which takes it away (`walk_pud_range()`, mm/pagewalk.c).
pub fn smaps(m: &Machine, mm: &Mm, vma: &Vma) -> Smaps {
    let mut smaps = Smaps::default();
    // Huge pages have lines of their own (Shared_Hugetlb, Private_Hugetlb) and are in none of these.
    if vma.hugetlb.is_some() {
        return smaps;
    }
    let mut at = vma.start;
    while let Some(found) = mm.table.next_pmd(at, vma.end) {
        let stop = vma.end.min(mm.table.pmd_end(found));
        match mm.table.pmd(found) {
            Pmd::Leaf(entry) if entry.is_device() && !m.policy.smaps_sees_device_pmds => {}
            Pmd::Leaf(entry)
                if !entry.is_zero()
                    && (vma.protection.read
                        || vma.protection.write
                        || !m.policy.smaps_skips_protnone_pmds) =>
            {
                let folio = m.folio(entry.page());
                let huge = match folio.kind {
                    Kind::Shmem => Some(&mut smaps.shmem_pmd),
                    Kind::File => Some(&mut smaps.file_pmd),
                    Kind::Device => None,
                    _ => Some(&mut smaps.anon_huge),
                };
                if let Some(huge) = huge {
                    *huge += u64::from(folio.pages()) * PAGE_BYTES;
                }
                account(m, &mut smaps, folio, folio.range(), true);
            }
            Pmd::Table => account_table(m, mm, &mut smaps, found, stop),
            Pmd::Leaf(_) | Pmd::None => {}
        }
        at = stop;
    }
    smaps
}

fn account_table(m: &Machine, mm: &Mm, smaps: &mut Smaps, start: u64, end: u64) {
    let mut at = start;
    while at < end {
        let (entry, len): (Entry, u64) = m.batch(&mm.table, at, end - at, Alike::IgnoringWrite);
        if !entry.is_counted() {
            at += len;
            continue;
        }
        let folio = m.folio(entry.page());
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        let pages = PageRange::new(entry.page(), (len as u32).min(inside));
        account(m, smaps, folio, pages, false);
        at += u64::from(pages.len);
    }
}

fn account(m: &Machine, smaps: &mut Smaps, folio: Folio, pages: PageRange, whole: bool) {
    // One reference can only be this mapping's.
    if m.refcount(folio) == 1 {
        return smaps.add(u64::from(pages.len), 1, true);
    }
    let capabilities = m.scheme.info().capabilities;
    let ask = |query, page| m.ask(query, page, &mut Tally::off()).value().unwrap_or(1);
    if whole && capabilities.pmd_split_splits_folio {
        let mapcount = ask(Query::FolioMapcount, folio.head);
        return smaps.add(u64::from(pages.len), mapcount, mapcount < 2);
    }
    let by_page = capabilities.page_mapcounts || capabilities.pmd_split_splits_folio || !folio.is_large();
    if !by_page {
        let private = ask(Query::MaybeShared, folio.head) == 0;
        return smaps.add(u64::from(pages.len), ask(Query::Kpagecount, folio.head), private);
    }
    // Pages whose own count is the same have the same answer: the rest of the formula is the folio's.
    let own = |page| m.counters().read(Field::Mapcount, page);
    let mut first = pages.first;
    let end = pages.first.add(pages.len);
    while first < end {
        let raw = own(first);
        let mut next = first.add(1);
        while next < end && own(next) == raw {
            next = next.add(1);
        }
        let mapcount = ask(Query::PageMapcount, first);
        smaps.add(u64::from(next.0 - first.0), mapcount, mapcount < 2);
        first = next;
    }
}
