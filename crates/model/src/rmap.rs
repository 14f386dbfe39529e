//! The waist between operations and schemes: the functions of the kernel's include/linux/rmap.h, by their
//! names and shapes of today, for any scheme.
//!
//! What runs a machine uses them, and so can any other memory manager: they need counters, statistics and
//! a scheme, no machine.
//!
//! ```
//! use mapcount_model::counters::{Counters, Plain};
//! use mapcount_model::field::Field;
//! use mapcount_model::profile::Profile;
//! use mapcount_model::rmap::Rmap;
//! use mapcount_model::scheme::Mapper;
//! use mapcount_model::stats::{Stat, Stats};
//! use mapcount_model::units::{Folio, Kind, MmId, Order, PageRange, Pfn};
//!
//! let kernel = Profile::resolve("6.12").unwrap();
//! let counters = Plain::new(512);
//! let stats = Stats::default();
//! let rmap = Rmap {
//!     scheme: kernel.scheme,
//!     policy: &kernel.policy,
//!     counters: &counters,
//!     stats: &stats,
//!     calls: None,
//! };
//!
//! // A THP, mapped by one process's PMD, then by another one's.
//! let thp = Folio { head: Pfn(0), order: Order(9), kind: Kind::Anon };
//! let (parent, child) = (Mapper::new(MmId(1)), Mapper::new(MmId(2)));
//! kernel.scheme.prep_folio(&counters, thp);
//! rmap.folio_add_new_anon_rmap_pmd(thp, &parent);
//! rmap.folio_try_dup_anon_rmap_pmd(thp, &child, false).unwrap();
//! assert_eq!(counters.read(Field::LargeMapcount, thp.head) + 1, 2);
//!
//! // The child splits its PMD and unmaps a page: nothing is lost, the parent maps it still.
//! rmap.split_huge_pmd_rmap(thp, &child);
//! rmap.folio_remove_rmap_ptes(thp, PageRange::one(Pfn(16)), &child);
//! assert_eq!(counters.read(Field::NrPagesMapped, thp.head), 0x80_0000 + 511);
//! assert_eq!(stats.get(Stat::AnonMapped), 512);
//! ```

pub mod calls;

use crate::counters::Counters;
use crate::field::Field;
use crate::policy::Policy;
use calls::{Call, Calls, Function};

use crate::scheme::{Lost, Mapped, Mapper, Scheme, Unmapped, small};
use crate::stats::{Stat, Stats};
use crate::units::{Folio, Kind, Level, Order, PageRange};

/// A mapping was not copied or given up because the pages may be pinned for DMA: each needs a page of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MaybePinned;

/// The functions that add and remove mappings, for one kernel.
#[derive(Clone, Copy)]
pub struct Rmap<'a> {
    /// How it counts.
    pub scheme: &'a dyn Scheme,
    /// What it does.
    pub policy: &'a Policy,
    /// The counters of all folios.
    pub counters: &'a dyn Counters,
    /// The machine's statistics.
    pub stats: &'a Stats,
    /// Where calls are recorded, if anywhere.
    pub calls: Option<&'a Calls>,
}

impl Rmap<'_> {
    /// Maps a fresh anonymous folio by one PMD and marks it exclusive (its first page stands for it).
    pub fn folio_add_new_anon_rmap_pmd(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::AddNewAnon, folio));
        let mapped = self.scheme.add_new_anon(self.counters, folio, Level::Pmd, by);
        self.count_mapped(folio, mapped);
        self.set_exclusive(PageRange::one(folio.head), true);
    }

    /// Maps a fresh anonymous folio by a PTE for each page and marks each exclusive.
    pub fn folio_add_new_anon_rmap_ptes(&self, folio: Folio, by: &Mapper) {
        self.called(Call::ptes(Function::AddNewAnon, folio.range()));
        let mapped = self.scheme.add_new_anon(self.counters, folio, Level::Pte, by);
        self.count_mapped(folio, mapped);
        self.set_exclusive(folio.range(), true);
    }

    /// Maps pages of an anonymous folio by PTEs.
    pub fn folio_add_anon_rmap_ptes(&self, folio: Folio, pages: PageRange, by: &Mapper, exclusive: bool) {
        self.called(Call::ptes(Function::AddAnon, pages));
        let mapped = self.scheme.add_rmap(self.counters, folio, pages, Level::Pte, by);
        self.count_mapped(folio, mapped);
        if exclusive {
            self.set_exclusive(pages, true);
        }
    }

    /// Maps anonymous folios of one page each, which follow each other, by a PTE each: the function above, folio
    /// by folio.
    pub fn folio_add_anon_rmap_pte_each(&self, pages: PageRange, exclusive: bool) {
        self.called(Call::each(Function::AddAnon, pages));
        let mapped = small::add_each(self.counters, pages);
        self.count_mapped(Folio { head: pages.first, order: Order::ZERO, kind: Kind::Anon }, mapped);
        if exclusive {
            self.set_exclusive(pages, true);
        }
    }

    /// Maps an anonymous folio by a PMD.
    pub fn folio_add_anon_rmap_pmd(&self, folio: Folio, by: &Mapper, exclusive: bool) {
        self.called(Call::whole(Function::AddAnon, folio));
        let mapped = self.scheme.add_rmap(self.counters, folio, folio.range(), Level::Pmd, by);
        self.count_mapped(folio, mapped);
        if exclusive {
            self.set_exclusive(PageRange::one(folio.head), true);
        }
    }

    /// Maps pages of a file folio by PTEs.
    pub fn folio_add_file_rmap_ptes(&self, folio: Folio, pages: PageRange, by: &Mapper) {
        self.called(Call::ptes(Function::AddFile, pages));
        let mapped = self.scheme.add_rmap(self.counters, folio, pages, Level::Pte, by);
        self.count_mapped(folio, mapped);
    }

    /// Maps a file folio by a PMD.
    pub fn folio_add_file_rmap_pmd(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::AddFile, folio));
        let mapped = self.scheme.add_rmap(self.counters, folio, folio.range(), Level::Pmd, by);
        self.count_mapped(folio, mapped);
        let first = mapped.pmd && mapped.pages == folio.pages();
        if first && self.policy.file_pmd_clears_double_map {
            self.clear_double_map(folio);
        }
    }

    /// Maps pages of files, each a folio of its own, by PTEs: all schemes count these alike.
    pub fn folios_add_file_rmap_pte(&self, pages: PageRange) {
        self.called(Call::each(Function::AddFile, pages));
        let first = small::add_each(self.counters, pages).pages;
        self.stats.add(Stat::FileMapped, i64::from(first));
    }

    /// Copies PTE mappings of such pages to a child at fork.
    pub fn folios_dup_file_rmap_pte(&self, pages: PageRange) {
        self.called(Call::each(Function::DupFile, pages));
        small::add_each(self.counters, pages);
    }

    /// Removes PTE mappings of such pages.
    pub fn folios_remove_file_rmap_pte(&self, pages: PageRange) {
        self.called(Call::each(Function::Remove, pages));
        let last = small::remove_each(self.counters, pages).pages;
        self.stats.add(Stat::FileMapped, -i64::from(last));
    }

    /// PG_double_map of a file folio only says that it had PTEs once, since nothing is biased by it.
    fn clear_double_map(&self, folio: Folio) {
        let kept = self.scheme.info().fields.contains(&Field::DoubleMap);
        if kept && self.counters.read(Field::DoubleMap, folio.head) != 0 {
            self.counters.set(Field::DoubleMap, folio.head, 0);
        }
    }

    /// Copies PTE mappings to a child at fork; `by` is the child. Afterwards the pages are not exclusive.
    ///
    /// # Errors
    /// [`MaybePinned`] if the parent may have pinned the pages and they were its own: nothing is changed
    /// then. A caller that gets it for a range tries again page by page.
    pub fn folio_try_dup_anon_rmap_ptes(
        &self,
        folio: Folio,
        pages: PageRange,
        by: &Mapper,
        maybe_pinned: bool,
    ) -> Result<(), MaybePinned> {
        self.called(Call::ptes(Function::DupAnon, pages));
        self.share(pages, maybe_pinned)?;
        self.scheme.dup_rmap(self.counters, folio, pages, Level::Pte, by);
        Ok(())
    }

    /// Copies a PMD mapping to a child at fork; `by` is the child. Afterwards the folio is not exclusive.
    ///
    /// # Errors
    /// [`MaybePinned`] if the parent may have pinned the folio and it was its own: nothing is changed then.
    pub fn folio_try_dup_anon_rmap_pmd(
        &self,
        folio: Folio,
        by: &Mapper,
        maybe_pinned: bool,
    ) -> Result<(), MaybePinned> {
        self.called(Call::whole(Function::DupAnon, folio));
        self.share(PageRange::one(folio.head), maybe_pinned)?;
        self.scheme.dup_rmap(self.counters, folio, folio.range(), Level::Pmd, by);
        Ok(())
    }

    /// Copies PTE mappings of a file folio to a child at fork; `by` is the child.
    pub fn folio_dup_file_rmap_ptes(&self, folio: Folio, pages: PageRange, by: &Mapper) {
        self.called(Call::ptes(Function::DupFile, pages));
        self.scheme.dup_rmap(self.counters, folio, pages, Level::Pte, by);
    }

    /// Gives up that a page is exclusive, before its PTE becomes a migration or swap entry.
    ///
    /// # Errors
    /// [`MaybePinned`] if the page may be pinned: it stays exclusive.
    pub fn folio_try_share_anon_rmap_pte(
        &self,
        page: PageRange,
        maybe_pinned: bool,
    ) -> Result<(), MaybePinned> {
        self.called(Call::each(Function::ShareAnon, page));
        self.share(page, maybe_pinned)
    }

    /// The same of a PMD-mapped folio.
    ///
    /// # Errors
    /// [`MaybePinned`] if the folio may be pinned: it stays exclusive.
    pub fn folio_try_share_anon_rmap_pmd(&self, folio: Folio, maybe_pinned: bool) -> Result<(), MaybePinned> {
        self.called(Call::whole(Function::ShareAnon, folio));
        self.share(PageRange::one(folio.head), maybe_pinned)
    }

    /// Removes PTE mappings.
    pub fn folio_remove_rmap_ptes(&self, folio: Folio, pages: PageRange, by: &Mapper) -> Lost {
        self.called(Call::ptes(Function::Remove, pages));
        let unmapped = self.scheme.remove_rmap(self.counters, folio, pages, Level::Pte, by);
        self.count_unmapped(folio, unmapped);
        unmapped.lost
    }

    /// Removes a PTE mapping of each of these pages, which are anonymous folios of one page each.
    pub fn folio_remove_rmap_pte_each(&self, pages: PageRange) {
        self.called(Call::each(Function::Remove, pages));
        let unmapped = small::remove_each(self.counters, pages);
        self.count_unmapped(Folio { head: pages.first, order: Order::ZERO, kind: Kind::Anon }, unmapped);
    }

    /// Maps a file folio by a PUD (DAX, 6.15 on). No statistic counts PUDs; the pages count as mapped.
    pub fn folio_add_file_rmap_pud(&self, folio: Folio, by: &Mapper) {
        self.called(Call { level: Level::Pud, ..Call::whole(Function::AddFile, folio) });
        let mapped = self.scheme.add_rmap(self.counters, folio, folio.range(), Level::Pud, by);
        self.count_mapped(folio, Mapped { pmd: false, ..mapped });
    }

    /// Removes a PUD mapping.
    pub fn folio_remove_rmap_pud(&self, folio: Folio, by: &Mapper) -> Lost {
        self.called(Call { level: Level::Pud, ..Call::whole(Function::Remove, folio) });
        let unmapped = self.scheme.remove_rmap(self.counters, folio, folio.range(), Level::Pud, by);
        self.count_unmapped(folio, Unmapped { pmd: false, ..unmapped });
        unmapped.lost
    }

    /// Removes a PMD mapping.
    pub fn folio_remove_rmap_pmd(&self, folio: Folio, by: &Mapper) -> Lost {
        self.called(Call::whole(Function::Remove, folio));
        let unmapped = self.scheme.remove_rmap(self.counters, folio, folio.range(), Level::Pmd, by);
        self.count_unmapped(folio, unmapped);
        unmapped.lost
    }

    /// Turns a PMD mapping of an anonymous folio into PTE mappings of all its pages; each is exclusive if
    /// the whole was.
    pub fn split_huge_pmd_rmap(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::SplitPmd, folio));
        if self.policy.anon_exclusive && self.counters.read(Field::AnonExclusive, folio.head) != 0 {
            self.set_exclusive(folio.range(), true);
        }
        let unmapped = self.scheme.split_pmd_rmap(self.counters, folio, by);
        self.count_unmapped(folio, unmapped);
    }

    // hugetlb: folios that are mapped as a whole, and counted in no statistic of these.

    /// Maps a fresh private hugetlb folio and marks it exclusive (its first page stands for it).
    pub fn hugetlb_add_new_anon_rmap(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::HugetlbAddNewAnon, folio));
        self.scheme.hugetlb_add_new(self.counters, folio, by);
        self.set_exclusive(PageRange::one(folio.head), true);
    }

    /// Maps a private hugetlb folio again that was taken out of page tables for a while.
    pub fn hugetlb_add_anon_rmap(&self, folio: Folio, by: &Mapper, exclusive: bool) {
        self.called(Call::whole(Function::HugetlbAddAnon, folio));
        self.scheme.hugetlb_add(self.counters, folio, by);
        if exclusive {
            self.set_exclusive(PageRange::one(folio.head), true);
        }
    }

    /// Maps a hugetlb folio of the page cache, at a fault or for a child at fork.
    pub fn hugetlb_add_file_rmap(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::HugetlbAddFile, folio));
        self.scheme.hugetlb_add(self.counters, folio, by);
    }

    /// Copies a mapping of a private hugetlb folio to a child at fork; `by` is the child. Afterwards the folio is
    /// not exclusive.
    ///
    /// # Errors
    /// [`MaybePinned`] if the parent may have pinned the folio and it was its own: nothing is changed then.
    pub fn hugetlb_try_dup_anon_rmap(
        &self,
        folio: Folio,
        by: &Mapper,
        maybe_pinned: bool,
    ) -> Result<(), MaybePinned> {
        self.called(Call::whole(Function::HugetlbDupAnon, folio));
        self.share(PageRange::one(folio.head), maybe_pinned)?;
        self.scheme.hugetlb_add(self.counters, folio, by);
        Ok(())
    }

    /// Gives up that a private hugetlb folio is exclusive, before its entry becomes a migration entry.
    ///
    /// # Errors
    /// [`MaybePinned`] if it may be pinned: it stays exclusive.
    pub fn hugetlb_try_share_anon_rmap(&self, folio: Folio, maybe_pinned: bool) -> Result<(), MaybePinned> {
        self.called(Call::whole(Function::HugetlbShareAnon, folio));
        self.share(PageRange::one(folio.head), maybe_pinned)
    }

    /// Removes a mapping of a hugetlb folio.
    pub fn hugetlb_remove_rmap(&self, folio: Folio, by: &Mapper) {
        self.called(Call::whole(Function::HugetlbRemove, folio));
        self.scheme.hugetlb_remove(self.counters, folio, by);
    }

    /// Sets or clears PG_anon_exclusive, where the kernel has it.
    pub fn set_exclusive(&self, pages: PageRange, exclusive: bool) {
        if self.policy.anon_exclusive {
            self.counters.set_each(Field::AnonExclusive, pages, i32::from(exclusive));
        }
    }

    /// How many of these pages are exclusive.
    pub fn exclusive(&self, pages: PageRange) -> u32 {
        if self.policy.anon_exclusive {
            self.counters.scan(Field::AnonExclusive, pages).sum as u32
        } else {
            0
        }
    }

    #[inline]
    fn called(&self, call: Call) {
        if let Some(calls) = self.calls {
            calls.add(call);
        }
    }

    fn share(&self, pages: PageRange, maybe_pinned: bool) -> Result<(), MaybePinned> {
        if maybe_pinned && (!self.policy.anon_exclusive || self.exclusive(pages) > 0) {
            return Err(MaybePinned);
        }
        self.set_exclusive(pages, false);
        Ok(())
    }

    fn count_mapped(&self, folio: Folio, mapped: Mapped) {
        self.count(folio, i64::from(mapped.pages), i64::from(mapped.pmd));
    }

    fn count_unmapped(&self, folio: Folio, unmapped: Unmapped) {
        self.count(folio, -i64::from(unmapped.pages), -i64::from(unmapped.pmd));
    }

    fn count(&self, folio: Folio, pages: i64, pmds: i64) {
        let (mapped, whole) = match folio.kind {
            Kind::Anon | Kind::Ksm => (Stat::AnonMapped, Stat::AnonThps),
            Kind::File | Kind::Device => (Stat::FileMapped, Stat::FilePmdMapped),
            Kind::Shmem => (Stat::FileMapped, Stat::ShmemPmdMapped),
            Kind::Hugetlb | Kind::Zero => return,
        };
        let only_small = mapped == Stat::AnonMapped && !self.policy.anon_mapped_counts_thps;
        if pages != 0 && !(only_small && folio.is_large()) {
            self.stats.add(mapped, pages);
        }
        if pmds != 0 {
            self.stats.add(whole, pmds);
        }
    }
}
