//! What a process, a mapping or a group of processes uses: its extents joined with the counters of their folios.

use std::collections::BTreeMap;

use mapcount_model::field::Field;
use mapcount_model::query::{Answer, Query};
use mapcount_model::units::Pfn;
use mapcount_model::verdict::{Reason, Subject, Verdict};

use super::census::ORDERS;
use super::extent::{By, Extent};
use super::marks::{Head, Use};
use crate::vmemmap::PAGE;

/// Fractions of a byte that Pss is summed up in, as the kernel does (PSS_SHIFT, fs/proc/task_mmu.c).
const PSS_SHIFT: u32 = 12;

/// Pages of folios of one order, by how they are mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cover {
    /// By entries for the whole (or for 2 MiB of it).
    pub pmd: u64,
    /// By PTEs, whole, at an address that is a multiple of its size.
    pub aligned: u64,
    /// By PTEs, whole, at another address.
    pub unaligned: u64,
    /// By PTEs, in part or in pieces.
    pub partial: u64,
}

impl Cover {
    /// All pages.
    pub const fn pages(&self) -> u64 {
        self.pmd + self.aligned + self.unaligned + self.partial
    }
}

/// Partially mapped folios that share order, verdict and reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Partial {
    /// How many.
    pub folios: u64,
    /// Pages of them that nobody maps.
    pub held: u64,
    /// How many are on a deferred split queue: the kernel means to split them when memory is short.
    pub deferred: u64,
}

/// Anonymous memory, or that of files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Anonymous, KSM's pages among it.
    Anon,
    /// Files and shmem.
    File,
}

impl Class {
    /// Both.
    pub const ALL: [Class; 2] = [Class::Anon, Class::File];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Anon => "anon",
            Class::File => "file",
        }
    }
}

/// What is mapped, in base pages unless it says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Anonymous pages.
    pub anon: u64,
    /// Pages of files.
    pub file: u64,
    /// Pages of shmem.
    pub shmem: u64,
    /// hugetlb pages, which Rss does not count.
    pub hugetlb: u64,
    /// Pages of the kernel that it lets processes map (the vdso).
    pub other: u64,
    /// Pages that KSM merged, which are among `anon`.
    pub ksm: u64,
    /// Pss by the map count of each page, in bytes × 4096; 0 where pages have none.
    pss: u64,
    /// Pss by the average map count of each folio, in bytes × 4096.
    pss_average: u64,
    /// Pages that no other entry maps; 0 where pages have no map counts.
    pub unique: u64,
    /// Pages of folios that the kernel does not take for shared.
    pub unique_estimated: u64,
    /// Pages of the same folios that nobody maps, of anonymous memory outside of the swap cache.
    pub held: u64,
    /// Whether some of `held` is an estimate, as this kernel does not count the mapped pages of large folios.
    pub held_estimated: bool,
    /// Pages of the same anonymous folios that others map and this does not.
    pub elsewhere: u64,
    /// Folios with `held` pages, by order and verdict on splitting them.
    pub partial: BTreeMap<(u8, Option<bool>, Reason), Partial>,
    /// Large folios by class and order.
    covers: Vec<[Cover; ORDERS]>,
    /// Aligned blocks of the orders asked for that one folio maps through: pages, by order and class.
    pub blocks: BTreeMap<(u8, Class), u64>,
    /// Folios with pins that are counted.
    pub pinned: u64,
    /// Pages of those.
    pub pinned_pages: u64,
    /// Folios whose counters contradicted each other, or the page tables, each time that they were read: counted in Rss
    /// alone.
    pub unstable: u64,
}

impl Usage {
    /// Pages that are mapped and count as resident.
    pub const fn rss(&self) -> u64 {
        self.anon + self.file + self.shmem + self.other
    }

    /// Pss in bytes by the map count of each page.
    pub const fn pss_bytes(&self) -> u64 {
        self.pss >> PSS_SHIFT
    }

    /// Pss in bytes by the average map count of each folio.
    pub const fn pss_average_bytes(&self) -> u64 {
        self.pss_average >> PSS_SHIFT
    }

    /// Large folios of a class and order.
    pub fn cover(&self, class: Class, order: u8) -> Cover {
        self.covers
            .get(class as usize)
            .map_or(Cover::default(), |orders| orders[usize::from(order).min(ORDERS - 1)])
    }

    /// The classes and orders of large folios that are there.
    pub fn covers(&self) -> impl Iterator<Item = (Class, u8, Cover)> {
        let all = Class::ALL.into_iter().flat_map(|class| (1..ORDERS as u8).map(move |order| (class, order)));
        all.map(|(class, order)| (class, order, self.cover(class, order))).filter(|row| row.2.pages() > 0)
    }

    /// Partially mapped folios, whatever the verdict.
    pub fn partial_folios(&self) -> u64 {
        self.partial.values().map(|partial| partial.folios).sum()
    }

    /// Adds what another process uses. Folios that both map partially are held once, and counted twice here.
    pub fn add(&mut self, other: &Usage) {
        self.anon += other.anon;
        self.file += other.file;
        self.shmem += other.shmem;
        self.hugetlb += other.hugetlb;
        self.other += other.other;
        self.ksm += other.ksm;
        self.pss += other.pss;
        self.pss_average += other.pss_average;
        self.unique += other.unique;
        self.unique_estimated += other.unique_estimated;
        self.held += other.held;
        self.held_estimated |= other.held_estimated;
        self.elsewhere += other.elsewhere;
        self.pinned += other.pinned;
        self.pinned_pages += other.pinned_pages;
        self.unstable += other.unstable;
        for (key, partial) in &other.partial {
            let sum = self.partial.entry(*key).or_default();
            sum.folios += partial.folios;
            sum.held += partial.held;
            sum.deferred += partial.deferred;
        }
        for (key, pages) in &other.blocks {
            *self.blocks.entry(*key).or_default() += pages;
        }
        for (class, order, cover) in other.covers() {
            let sum = self.cover_mut(class, order);
            sum.pmd += cover.pmd;
            sum.aligned += cover.aligned;
            sum.unaligned += cover.unaligned;
            sum.partial += cover.partial;
        }
    }

    fn cover_mut(&mut self, class: Class, order: u8) -> &mut Cover {
        if self.covers.is_empty() {
            self.covers = vec![[Cover::default(); ORDERS]; Class::ALL.len()];
        }
        &mut self.covers[class as usize][usize::from(order).min(ORDERS - 1)]
    }

    /// Counts pages as resident, whatever else is known of them.
    fn resident(&mut self, used: Use, pages: u64) {
        match used {
            Use::Anon => self.anon += pages,
            Use::Ksm => {
                self.anon += pages;
                self.ksm += pages;
            }
            Use::File => self.file += pages,
            Use::Shmem => self.shmem += pages,
            Use::Hugetlb => self.hugetlb += pages,
            _ => self.other += pages,
        }
    }

    /// Pages of one map count; Pss by pages and by average alike where it is the same.
    #[inline]
    fn share(&mut self, pages: u64, mapcount: i64, average: i64) {
        self.pss += pages * ((PAGE << PSS_SHIFT) / mapcount.max(1) as u64);
        self.pss_average += pages * ((PAGE << PSS_SHIFT) / average.max(1) as u64);
    }

    /// A single page that `entries` entries of this owner map.
    #[inline]
    pub(super) fn add_small(&mut self, used: Use, entries: u64, mapcount: i64) -> bool {
        if mapcount < entries as i64 {
            return false;
        }
        self.resident(used, entries);
        if used != Use::Hugetlb {
            self.share(entries, mapcount, mapcount);
            self.unique += if mapcount < 2 { entries } else { 0 };
            self.unique_estimated += if mapcount < 2 { entries } else { 0 };
        }
        true
    }

    /// Single anonymous pages that one entry of this owner maps and nothing else holds.
    #[inline]
    pub(super) fn add_own(&mut self, pages: u64) {
        self.anon += pages;
        self.share(pages, 1, 1);
        self.unique += pages;
        self.unique_estimated += pages;
    }

    /// Pages that no counters are kept of.
    pub(super) fn add_uncounted(&mut self, used: Use, pages: u64) {
        self.resident(used, pages);
        self.share(pages, 1, 1);
        self.unique += pages;
        self.unique_estimated += pages;
    }

    /// A folio that does not hold still.
    pub(super) fn add_unstable(&mut self, used: Use, segments: &[Extent]) {
        self.resident(used, segments.iter().map(|segment| u64::from(segment.pages)).sum());
        self.unstable += 1;
    }

    /// A large folio with the parts of it that this owner maps, by rising frame; `first` is the frame of its first page.
    /// Whether it fits together: what does not is not counted.
    pub(super) fn add_large(
        &mut self,
        subject: &Subject<'_>,
        head: &Head,
        first: u64,
        segments: &[Extent],
        orders: &[u8],
    ) -> bool {
        let pages: u64 = segments.iter().map(|segment| u64::from(segment.pages)).sum();
        // Nothing more is said of these, and pagemap does not tell how many entries map one.
        if head.used == Use::Hugetlb {
            self.resident(head.used, pages);
            return true;
        }
        let at = subject.folio.head;
        let own: u64 = segments.iter().map(entries).sum();
        let seen = subject.ask(Query::FolioMapcount, at).value();
        if !subject.is_consistent() || seen.is_some_and(|entries| entries < own as i64) {
            return false;
        }
        self.resident(head.used, pages);
        self.add_shares(subject, first, segments, pages, seen);
        let class = if subject.folio.kind.is_anon() { Class::Anon } else { Class::File };
        for segment in segments {
            self.add_mapped(class, head, segment, orders);
        }
        if head.used == Use::Anon {
            self.add_held(subject, head, segments);
        }
        let pins = subject.references().and_then(|references| references.pins.value());
        if pins.is_some_and(|pins| pins > 0) {
            self.pinned += 1;
            self.pinned_pages += head.pages();
        }
        true
    }

    fn add_shares(
        &mut self,
        subject: &Subject<'_>,
        first: u64,
        segments: &[Extent],
        pages: u64,
        entries: Option<i64>,
    ) {
        let at = subject.folio.head;
        let average = subject.ask(Query::AveragePageMapcount, at).value().unwrap_or(1);
        let shared = subject.ask(Query::MaybeShared, at).value() == Some(1);
        self.unique_estimated += if shared { 0 } else { pages };
        if !subject.scheme.info().capabilities.page_mapcounts {
            self.pss_average += pages * ((PAGE << PSS_SHIFT) / average.max(1) as u64);
            return;
        }
        let whole = subject.ask(Query::EntireMapcount, at).value().unwrap_or(0);
        let each = match entries {
            Some(entries) if entries == whole => Some(whole),
            Some(entries)
                if whole == 0
                    && entries == i64::from(subject.folio.pages())
                    && subject.mapped_pages() == Answer::Exact(subject.folio.pages()) =>
            {
                Some(1)
            }
            _ => None,
        };
        if let Some(each) = each {
            self.share(pages, each, average);
            self.unique += if each < 2 { pages } else { 0 };
            return;
        }
        for segment in segments {
            for frame in segment.frame..segment.end() {
                let page = Pfn(at.0 + (frame - first) as u32);
                let each = subject.ask(Query::PageMapcount, page).value().unwrap_or(1);
                self.share(1, each, average);
                self.unique += u64::from(each < 2);
            }
        }
    }

    /// How a part of a large folio is mapped.
    pub(super) fn add_mapped(&mut self, class: Class, head: &Head, segment: &Extent, orders: &[u8]) {
        for order in orders {
            *self.blocks.entry((*order, class)).or_default() += blocks(segment, *order, head.order);
        }
        let pages = u64::from(segment.pages);
        let whole = pages == head.pages();
        let cover = self.cover_mut(class, head.order);
        match segment.by {
            By::Pmd | By::Pud => cover.pmd += pages,
            By::Pte if !whole => cover.partial += pages,
            By::Pte if segment.page & (pages - 1) == 0 => cover.aligned += pages,
            By::Pte => cover.unaligned += pages,
        }
    }

    /// Pages of a folio that nobody maps, and those that others map.
    fn add_held(&mut self, subject: &Subject<'_>, head: &Head, segments: &[Extent]) {
        let own = distinct(segments);
        let mapped = subject.mapped_pages();
        // Without counts of pages an owner's own ones are the least that is mapped, and all if nobody shares it.
        let mapped = match mapped {
            Answer::Exact(pages) => u64::from(pages),
            _ if subject.ask(Query::MaybeShared, subject.folio.head) == Answer::Exact(0) => own,
            Answer::Estimate(pages) => {
                self.held_estimated = true;
                u64::from(pages).max(own)
            }
            Answer::Unknown => {
                self.held_estimated = true;
                own
            }
        };
        let Verdict { can, why } = subject.can_split();
        let deferred = subject.counters.read(Field::Deferred, subject.folio.head) != 0;
        self.add_partial(head, (mapped, segments), (can, why), deferred);
    }

    /// An anonymous large folio of which so many pages are mapped, with a verdict on splitting it.
    pub(super) fn add_partial(
        &mut self,
        head: &Head,
        (mapped, segments): (u64, &[Extent]),
        (can, why): (Option<bool>, Reason),
        deferred: bool,
    ) {
        self.elsewhere += mapped.saturating_sub(distinct(segments));
        let held = head.pages().saturating_sub(mapped);
        // Pages that are swapped out come back from the folio while it is in the swap cache: they are in use.
        if held == 0 || head.state.swapcache {
            return;
        }
        self.held += held;
        let partial = self.partial.entry((head.order, can, why)).or_default();
        partial.folios += 1;
        partial.held += held;
        partial.deferred += u64::from(deferred);
    }

    /// Pages with a map count each, and no average.
    pub(super) fn add_counted(&mut self, used: Use, counts: &[u64]) {
        self.resident(used, counts.len() as u64);
        if used == Use::Hugetlb {
            return;
        }
        for count in counts {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.share(1, count, count);
            self.unique += u64::from(count < 2);
        }
    }
}

/// How many entries an extent is.
pub(super) const fn entries(extent: &Extent) -> u64 {
    match extent.by {
        By::Pte => extent.pages as u64,
        By::Pmd => extent.pages.div_ceil(512) as u64,
        By::Pud => extent.pages.div_ceil(512 * 512) as u64,
    }
}

/// How many frames some extents cover, which stand by rising frame.
fn distinct(segments: &[Extent]) -> u64 {
    let (mut pages, mut behind) = (0, 0);
    for segment in segments {
        let start = segment.frame.max(behind);
        pages += segment.end().saturating_sub(start);
        behind = behind.max(segment.end());
    }
    pages
}

/// Pages in blocks of an order that start at a multiple of their size in memory and in the address space alike, all
/// of one folio and mapped by PTEs.
fn blocks(segment: &Extent, order: u8, folio: u8) -> u64 {
    let size = 1u64 << order;
    if segment.by != By::Pte || order > folio || (segment.page ^ segment.frame) & (size - 1) != 0 {
        return 0;
    }
    let first = segment.frame.next_multiple_of(size);
    let last = segment.end() & !(size - 1);
    last.saturating_sub(first)
}

#[cfg(test)]
mod tests {
    use super::{By, Extent, blocks, distinct};

    fn extent(page: u64, frame: u64, pages: u32) -> Extent {
        Extent { page, frame, pages, owner: 0, by: By::Pte }
    }

    #[test]
    fn frames_are_counted_once() {
        assert_eq!(distinct(&[extent(0, 10, 4), extent(50, 12, 4), extent(90, 20, 1)]), 7);
        assert_eq!(distinct(&[]), 0);
    }

    #[test]
    fn blocks_are_aligned_on_both_sides() {
        assert_eq!(blocks(&extent(16, 32, 16), 4, 9), 16);
        assert_eq!(blocks(&extent(17, 33, 31), 4, 9), 16);
        assert_eq!(blocks(&extent(17, 32, 32), 4, 9), 0);
        assert_eq!(blocks(&extent(16, 32, 16), 4, 3), 0, "no folio is that large");
    }
}
