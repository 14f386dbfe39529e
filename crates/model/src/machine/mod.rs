//! The machine: memory, address spaces with their page tables, and what the kernel keeps beside them.
//!
//! Operations (`crate::ops`) take `&Machine`. What the kernel shares between CPUs they touch in three ways
//! only: counters, page-table entries, locks.

pub mod config;
mod deferred;
pub mod files;
pub mod frames;
mod free_blocks;
pub mod holders;
pub mod hugetlb;
mod identity;
mod ksm;
pub(crate) mod ksm_tree;
pub mod lock;
mod lru;
pub mod page_table;
mod report;
mod roots;
pub mod swap;
pub mod swapped;
pub mod vma;
pub(crate) mod watch;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::counters::{CounterMemory, Counters, Plain, Recording};
use crate::event::{Event, Phase, Refusal};
use crate::field::{Field, Scope};
use crate::policy::{DeferredQueue as DeferredPolicy, Pin, Policy};
use crate::profile::Profile;
use crate::query::{Answer, Query, Tally};
use crate::rmap::Rmap;
use crate::rmap::calls::Calls;
use crate::scheme::{self, Known, Mapper, Scheme};
use crate::stats::{Stat, Stats};
use crate::units::{Folio, Kind, MmId, Order, PageRange, Pfn};
use config::Config;
use deferred::DeferredQueue;
use files::Files;
use frames::{FolioFlag, Frames, Mapping};
use holders::Holders;
use hugetlb::Hugetlb;
use ksm::Ksm;
use lock::{Guard, Lock, Locks};
use page_table::{Alike, Budget, Entry, PageTable};
use roots::Roots;
use swap::Swap;
use vma::{Vma, Vmas};

/// An address space.
#[derive(Clone)]
pub struct Mm {
    /// Its identity in `_mm_ids`.
    pub id: MmId,
    /// Its areas.
    pub vmas: RefCell<Vmas>,
    /// Its page tables.
    pub table: PageTable,
    /// It pinned a page once (MMF_HAS_PINNED): only then does fork look for pins.
    pub has_pinned: Cell<bool>,
    /// PMDs that khugepaged was asked to look at: small entries may map a THP of a file there.
    pub noted_pmds: RefCell<Vec<u64>>,
}

/// A folio was freed while a counter still said that something of it is mapped or pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFree {
    /// The folio.
    pub folio: Folio,
    /// The counter.
    pub field: Field,
    /// The page that it belongs to.
    pub page: Pfn,
    /// Its raw value.
    pub value: i32,
}

/// Something that this kernel is known to get wrong, and did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Quirk {
    /// Migration put PTEs back beside a PMD without the bias of `double-map`: NR_ANON_MAPPED counts the pages
    /// twice (4.14 to 6.1).
    LostBias,
    /// Migration forgot that a folio was on the deferred split queue (up to 6.11, 6.13 to 6.19).
    QueueForgotten,
    /// A folio became partially mapped while it was in the swap cache, where none is queued for a split.
    SwapCacheUnqueued,
}

impl Quirk {
    /// All.
    pub const ALL: [Quirk; 3] = [Quirk::LostBias, Quirk::QueueForgotten, Quirk::SwapCacheUnqueued];
}

/// Which known mistakes happened, and to which pages that are in use.
#[derive(Clone, Debug, Default)]
struct Quirks {
    happened: [bool; Quirk::ALL.len()],
    pages: BTreeSet<(Pfn, Quirk)>,
}

/// A machine that runs one kernel.
pub struct Machine {
    /// How its kernel counts.
    pub scheme: &'static dyn Scheme,
    /// What its kernel does.
    pub policy: Policy,
    /// Its settings.
    pub config: RefCell<Config>,
    /// Its memory.
    pub frames: Frames,
    /// Its statistics.
    pub stats: Stats,
    /// Who holds references besides page tables.
    pub holders: Holders,
    /// What ksmd remembers.
    pub ksm: Ksm,
    /// Its swap device and swap cache.
    pub swap: Swap,
    /// The calls of its rmap functions, where somebody asked for a record.
    pub calls: Calls,
    /// Its huge pages.
    pub hugetlb: Hugetlb,
    /// Its files and their page cache.
    pub files: Files,
    counters: Box<dyn CounterMemory>,
    mms: RefCell<Vec<Option<Rc<Mm>>>>,
    roots: Roots,
    anon_vmas: Cell<u32>,
    /// The last turn of an area.
    turns: Cell<u64>,
    deferred: DeferredQueue,
    locks: Locks,
    lru_hold: Cell<bool>,
    zero_page: Cell<Option<Folio>>,
    huge_zero: Cell<Option<Folio>>,
    gather: RefCell<Vec<(Folio, i32)>>,
    gather_each: RefCell<Vec<PageRange>>,
    tables: Budget,
    checked: bool,
    watched: Cell<bool>,
    events: RefCell<Vec<Event>>,
    refusals: RefCell<Vec<Refusal>>,
    bad_frees: RefCell<Vec<BadFree>>,
    quirks: RefCell<Quirks>,
}

/// How a machine keeps its counters, and whether it checks itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Plain counters, no checks: as fast as it goes.
    Fast,
    /// Plain counters; locks and freed folios are checked.
    Checked,
    /// As `Checked`, and every write to a counter is remembered.
    Recorded,
}

impl Machine {
    /// A machine that runs `profile`'s kernel.
    pub fn new(profile: &Profile, config: Config, mode: Mode) -> Machine {
        let counters: Box<dyn CounterMemory> = match mode {
            Mode::Fast | Mode::Checked => Box::new(Plain::default()),
            Mode::Recorded => Box::new(Recording::default()),
        };
        let checked = mode != Mode::Fast;
        let frames = config.frames;
        Machine {
            scheme: profile.scheme,
            policy: profile.policy,
            frames: Frames::new(frames, config.pmd()),
            config: RefCell::new(config),
            stats: Stats::default(),
            holders: Holders::default(),
            ksm: Ksm::default(),
            swap: Swap::default(),
            calls: Calls::default(),
            hugetlb: Hugetlb::default(),
            files: Files::default(),
            counters,
            // Ids start at 1.
            mms: RefCell::new(vec![None]),
            roots: Roots::default(),
            anon_vmas: Cell::new(0),
            turns: Cell::new(0),
            deferred: DeferredQueue::default(),
            locks: Locks::new(checked),
            lru_hold: Cell::new(false),
            zero_page: Cell::new(None),
            huge_zero: Cell::new(None),
            gather: RefCell::default(),
            gather_each: RefCell::default(),
            tables: Budget::new(config::table_entries(frames)),
            checked,
            watched: Cell::new(false),
            events: RefCell::default(),
            refusals: RefCell::default(),
            bad_frees: RefCell::default(),
            quirks: RefCell::default(),
        }
    }

    /// Its counters.
    #[inline]
    pub fn counters(&self) -> &dyn Counters {
        &*self.counters
    }

    /// Its counters with their log, where they keep one.
    pub fn counter_memory(&self) -> &dyn CounterMemory {
        &*self.counters
    }

    /// The rmap functions on its counters and statistics.
    #[inline]
    pub fn rmap(&self) -> Rmap<'_> {
        Rmap {
            scheme: self.scheme,
            policy: &self.policy,
            counters: &*self.counters,
            stats: &self.stats,
            calls: Some(&self.calls),
        }
    }

    /// Takes a lock.
    #[inline]
    pub fn lock(&self, lock: Lock) -> Guard<'_> {
        self.locks.take(lock)
    }

    /// Takes the lock of the page table that maps the page at `at`.
    #[inline]
    pub fn lock_table(&self, mm: &Mm, at: u64) -> Guard<'_> {
        self.lock(Lock::PageTable(mm.id, mm.table.pmd_start(at)))
    }

    /// Base-2 logarithm of the pages that a PMD maps.
    pub fn pmd_order(&self) -> Order {
        self.config.borrow().pmd()
    }

    /// Base-2 logarithm of the pages that a PUD maps.
    pub fn pud_order(&self) -> Order {
        self.config.borrow().pud()
    }

    // Address spaces.

    /// A new, empty address space with the lowest free id.
    pub fn add_mm(&self) -> Rc<Mm> {
        let mut mms = self.mms.borrow_mut();
        let free = mms.iter().skip(1).position(Option::is_none).map_or(mms.len(), |index| index + 1);
        if free == mms.len() {
            mms.push(None);
        }
        let mm = Rc::new(Mm {
            id: MmId(free as u32),
            vmas: RefCell::default(),
            table: PageTable::new(self.pmd_order().0, self.tables.clone()),
            has_pinned: Cell::new(false),
            noted_pmds: RefCell::default(),
        });
        mms[free] = Some(Rc::clone(&mm));
        mm
    }

    /// The address space with this id.
    pub fn mm(&self, id: MmId) -> Option<Rc<Mm>> {
        self.mms.borrow().get(id.0 as usize).cloned().flatten()
    }

    /// All address spaces, by id.
    pub fn mms(&self) -> Vec<Rc<Mm>> {
        self.mms.borrow().iter().flatten().cloned().collect()
    }

    /// Calls `f` with every address space, by id.
    pub fn each_mm(&self, mut f: impl FnMut(&Mm)) {
        for mm in self.mms.borrow().iter().flatten() {
            f(mm);
        }
    }

    /// Forgets an address space that maps nothing any more.
    pub fn remove_mm(&self, id: MmId) {
        self.ksm.leave(id);
        self.swap.leave(id);
        let mm = self.mms.borrow_mut()[id.0 as usize].take();
        for area in mm.iter().flat_map(|mm| mm.vmas.borrow().all().to_vec()) {
            area.roots().for_each(|root| self.leave_root(root, id));
        }
    }

    /// The number of a new anon_vma.
    pub fn add_anon_vma(&self) -> u32 {
        self.anon_vmas.set(self.anon_vmas.get() + 1);
        self.anon_vmas.get()
    }

    // Folios and their references.

    /// A fresh folio with one reference; `None` when memory is full.
    pub fn alloc(&self, order: Order, mapping: Mapping) -> Option<Folio> {
        self.alloc_kind(order, Kind::Anon, Some(mapping))
    }

    /// A fresh folio that may take the place of another one; one for a file belongs to none yet.
    pub(crate) fn alloc_like(&self, old: Folio) -> Option<Folio> {
        match old.kind {
            Kind::File | Kind::Shmem => self.alloc_kind(old.order, old.kind, None),
            _ => self.alloc(old.order, self.frames.mapping(old)),
        }
    }

    pub(crate) fn alloc_kind(&self, order: Order, kind: Kind, mapping: Option<Mapping>) -> Option<Folio> {
        let folio = self.frames.alloc(order, kind, mapping)?;
        self.counters.grow(self.frames.len());
        self.scheme.prep_folio(&*self.counters, folio);
        self.phase(Phase::Allocated, None, folio.range());
        Some(folio)
    }

    /// The shared zero page.
    pub fn zero_page(&self) -> Folio {
        self.zero_page.get().unwrap_or_else(|| {
            let zero = self.alloc_kind(Order::ZERO, Kind::Zero, None);
            self.zero_page.set(zero);
            zero.expect("it is part of the kernel, and there even when memory is full")
        })
    }

    /// The huge zero folio; `None` when memory is full.
    pub fn huge_zero(&self) -> Option<Folio> {
        if self.huge_zero.get().is_none() {
            self.huge_zero.set(self.alloc_kind(self.pmd_order(), Kind::Zero, None));
        }
        self.huge_zero.get()
    }

    /// The folio that a used frame belongs to.
    ///
    /// # Panics
    /// If the frame is free: an entry or a holder pointed to freed memory.
    #[inline]
    pub fn folio(&self, page: Pfn) -> Folio {
        self.frames.folio(page).unwrap_or_else(|| panic!("frame {} is used but free", page.0))
    }

    /// Adds references.
    #[inline]
    pub fn get_refs(&self, folio: Folio, count: i32) {
        if count != 0 {
            self.counters.add(Field::Refcount, folio.head, count);
        }
    }

    /// Drops references and frees the folio with the last one.
    #[inline]
    pub fn put_refs(&self, folio: Folio, count: i32) {
        if count != 0 && self.counters.add(Field::Refcount, folio.head, -count) == 0 {
            self.free(folio);
        }
    }

    /// Takes a reference on a page for somebody who works on it.
    pub fn get_page(&self, page: Pfn) {
        let folio = self.folio(page);
        self.scheme.get_page(&*self.counters, folio, self.counted_page(folio, page));
    }

    /// Drops such a reference.
    pub fn put_page(&self, page: Pfn) {
        let folio = self.folio(page);
        if self.scheme.put_page(&*self.counters, folio, self.counted_page(folio, page)) == 0 {
            self.free(folio);
        }
    }

    /// Drops a reference on each of these pages, which are folios of one page each.
    pub fn put_each(&self, pages: PageRange) {
        self.counters.add_each(Field::Refcount, pages, -1);
        let left = self.counters.scan(Field::Refcount, pages);
        let page = |head| Folio { head, order: Order::ZERO, kind: Kind::Anon };
        let remembered = !self.quirks.borrow().pages.is_empty() || self.holders.any_noted();
        if self.checked || left.max > 0 || remembered {
            let unused = |head: &Pfn| self.counters.read(Field::Refcount, *head) == 0;
            return pages.iter().filter(unused).for_each(|head| self.free(page(head)));
        }
        if self.policy.anon_exclusive {
            self.counters.set_each(Field::AnonExclusive, pages, 0);
        }
        self.frames.free_small(pages);
    }

    fn free(&self, folio: Folio) {
        if self.checked {
            self.check_freed(folio);
        }
        self.unqueue(folio);
        self.forget_quirks(folio);
        self.forget_noted(folio.head);
        if !folio.is_large() {
            self.ksm.remove(folio.head);
        }
        if self.policy.anon_exclusive {
            self.counters.set_each(Field::AnonExclusive, folio.range(), 0);
        }
        if folio.kind == Kind::Hugetlb {
            return self.free_hugetlb(folio);
        }
        self.frames.free(folio);
    }

    /// The kernel asserts at free that a folio's counters have their initial values again
    /// (`free_tail_page_prepare()`, mm/page_alloc.c, v7.3).
    fn check_freed(&self, folio: Folio) {
        let bad = |field: Field, page: Pfn| {
            let value = self.counters.read(field, page);
            if value != field.row().initial {
                self.bad_frees.borrow_mut().push(BadFree { folio, field, page, value });
            }
        };
        let typed = self.hugetlb_type().filter(|_| folio.kind == Kind::Hugetlb);
        let has_type = typed == Some(self.counters.read(Field::Mapcount, folio.head));
        if self.counters.scan(Field::Mapcount, folio.range()).empty + u32::from(has_type) < folio.pages() {
            for page in folio.range().iter() {
                bad(Field::Mapcount, page);
            }
        }
        if folio.is_large() {
            for field in self.scheme.info().fields {
                let queue = matches!(field, Field::Deferred | Field::PartiallyMapped);
                // Of a file folio it only says that it had PTEs once: `free_pages_prepare()` clears it (v4.9, v5.10).
                let left = *field == Field::DoubleMap && !folio.kind.is_anon();
                if field.row().scope == Scope::LargeFolio && !queue && !left {
                    bad(*field, folio.head);
                }
            }
        }
    }

    /// The folios that were freed with counters that were not empty, since this was asked last.
    pub fn take_bad_frees(&self) -> Vec<BadFree> {
        self.bad_frees.take()
    }

    /// What is known of a folio besides its counters.
    pub fn known(&self, folio: Folio) -> Known {
        let (pins_exist, has_pincount) = match self.policy.pin {
            Pin::Absent | Pin::Reference => (false, false),
            Pin::Counted { from_order } => (true, folio.is_large() && folio.order.0 >= from_order),
        };
        let pagecache = self.in_page_cache(folio);
        let pagecache_owns_one =
            folio.kind == Kind::Hugetlb && pagecache && !self.policy.hugetlb_cached_by_page;
        let private = folio.kind == Kind::File
            && self
                .file_of(folio)
                .is_some_and(|file| file.cache.state(self.frames.mapping(folio).index).private);
        let swapcache = self.swap.holds(folio);
        let device = folio.kind == Kind::Device;
        Known { has_pincount, pins_exist, swapcache, pagecache, pagecache_owns_one, private, device }
    }

    /// Asks the scheme a question about a page or its folio.
    pub fn ask(&self, query: Query, page: Pfn, tally: &mut Tally) -> Answer<i64> {
        let folio = self.folio(page);
        if folio.kind == Kind::Zero && query != Query::PageCount {
            // Entries for the zero page are special: nothing counts them.
            return Answer::Exact(0);
        }
        scheme::ask(self.scheme, &*self.counters, query, (folio, page), self.known(folio), tally)
    }

    /// Whether a folio looks pinned, to an address space that pinned something once.
    pub fn maybe_pinned(&self, mm: &Mm, folio: Folio) -> bool {
        mm.has_pinned.get()
            && self.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1)
    }

    /// Whether it is mapped, as the kernel sees it.
    pub fn is_mapped(&self, folio: Folio) -> bool {
        self.ask(Query::FolioMapped, folio.head, &mut Tally::off()).value() == Some(1)
    }

    /// Its raw reference count.
    pub fn refcount(&self, folio: Folio) -> i32 {
        self.counters.read(Field::Refcount, folio.head)
    }

    /// References that mappings and caches explain. A scheme that cannot tell makes the kernel walk the
    /// page tables of all who may map the folio.
    pub fn expected_refcount(&self, folio: Folio) -> i64 {
        match self.ask(Query::ExpectedRefcount, folio.head, &mut Tally::off()).value() {
            Some(expected) => expected,
            None => {
                let cached = i64::from(self.cache_references(folio));
                crate::ops::rmap_walk::count_entries(self, folio) + cached
            }
        }
    }

    // Who maps, for schemes that count VMAs.

    /// The mapper for `count` more pages of `folio` in `vma`; asked before the entries are set.
    #[inline]
    pub fn adding(&self, mm: &Mm, vma: &Vma, folio: Folio, count: u32) -> Mapper {
        if !self.scheme.info().capabilities.needs_vma_pages {
            return Mapper::new(mm.id);
        }
        // A merged page is found by no index; a single page's mappings each count for themselves.
        let before = if folio.kind == Kind::Ksm { 0 } else { self.pages_in_vma(mm, vma, folio) };
        Mapper { mm: mm.id, vma_pages_before: before, vma_pages_after: before + count }
    }

    /// The mapper for `count` fewer pages of `folio` in `vma`; asked before the entries are cleared.
    #[inline]
    pub fn removing(&self, mm: &Mm, vma: &Vma, folio: Folio, count: u32) -> Mapper {
        if !self.scheme.info().capabilities.needs_vma_pages {
            return Mapper::new(mm.id);
        }
        let before = if folio.kind == Kind::Ksm { count } else { self.pages_in_vma(mm, vma, folio) };
        Mapper { mm: mm.id, vma_pages_before: before, vma_pages_after: before - count }
    }

    /// How many pages of a folio a VMA maps. They can only be where the folio's index says.
    pub fn pages_in_vma(&self, mm: &Mm, vma: &Vma, folio: Folio) -> u32 {
        let Some((mut at, end)) = self.place_in_vma(vma, folio) else { return 0 };
        let mut pages = 0;
        while at < end {
            let entry = mm.table.read(at);
            let len = match mm.table.pmd(at) {
                page_table::Pmd::Leaf(_) => (end - at).min(mm.table.pmd_end(at) - at),
                _ => self.batch(&mm.table, at, end - at, Alike::IgnoringWrite).1,
            };
            if entry.is_counted() && folio.range().contains(entry.page()) {
                // A run of consecutive frames may leave the folio.
                let inside = folio.head.0 + folio.pages() - entry.page().0;
                pages += (len as u32).min(inside);
            }
            at += len.max(1);
        }
        pages
    }

    /// Where in `vma` a folio's pages can be mapped: first page, and first page behind.
    pub fn place_in_vma(&self, vma: &Vma, folio: Folio) -> Option<(u64, u64)> {
        self.place_of(vma, self.frames.mapping(folio), folio.pages())
    }

    /// The same for so many pages that belong to `mapping`.
    pub fn place_of(&self, vma: &Vma, mapping: Mapping, pages: u32) -> Option<(u64, u64)> {
        let first = mapping.index.max(vma.offset);
        let last = (mapping.index + u64::from(pages)).min(vma.offset + (vma.end - vma.start));
        let of_file = vma.file.is_some_and(|file| file.root == mapping.root);
        ((mapping.root == vma.root || of_file) && first < last)
            .then(|| (vma.start + (first - vma.offset), vma.start + (last - vma.offset)))
    }

    /// As [`PageTable::run`], and the run ends where the folio ends that it maps or stands for
    /// (`folio_pte_batch()`, mm/internal.h, v6.8). Behind the end nothing is read: a folio of one page costs one entry.
    #[inline]
    pub fn batch(&self, table: &PageTable, at: u64, max: u64, alike: Alike) -> (Entry, u64) {
        let entry = table.read(at);
        let of_folio = (entry.is_present() && !entry.is_zero()) || entry.is_migration();
        if !of_folio {
            return table.run(at, max, alike);
        }
        let folio = self.folio(entry.page());
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        table.run(at, max.min(u64::from(inside)), alike)
    }

    // Events, gathered references, flags.

    /// Counts an event about a folio, if this kernel counts folios of its size.
    pub fn count_event(&self, event: Stat, folio: Folio) {
        if folio.order == self.pmd_order() || self.policy.events_count_any_size {
            self.stats.add(event, 1);
        }
    }

    /// References to drop once the TLB is flushed.
    pub fn gather(&self, folio: Folio, count: i32) {
        self.gather.borrow_mut().push((folio, count));
    }

    /// The same for pages of files that are folios of their own, one reference each.
    pub fn gather_each(&self, pages: PageRange) {
        self.gather_each.borrow_mut().push(pages);
    }

    fn flush_gathered_pages(&self) {
        let mut gathered = self.gather_each.take();
        for pages in &gathered {
            self.counters.add_each(Field::Refcount, *pages, -1);
            for page in pages.iter().filter(|page| self.counters.read(Field::Refcount, *page) == 0) {
                self.free(self.folio(page));
            }
        }
        gathered.clear();
        *self.gather_each.borrow_mut() = gathered;
    }

    /// Adds a reference to pages that are folios of their own.
    pub fn get_each(&self, pages: PageRange) {
        self.counters.add_each(Field::Refcount, pages, 1);
    }

    /// Drops the gathered references; up to 6.13 the LRU batches are drained before
    /// (`free_pages_and_swap_cache()`, mm/swap_state.c, v2.6.39, v5.10, v6.12).
    pub fn flush_gathered(&self) {
        let any = !self.gather.borrow().is_empty() || !self.gather_each.borrow().is_empty();
        if any && self.policy.unmap_drains {
            self.lru_drain();
        }
        self.flush_gathered_pages();
        let mut gathered = self.gather.take();
        for (folio, count) in &gathered {
            crate::ops::swap_cache::free_unmapped(self, *folio);
            self.put_refs(*folio, *count);
        }
        gathered.clear();
        *self.gather.borrow_mut() = gathered;
    }

    /// Notes in a folio that it was written through an entry that goes away.
    pub fn note_dirty(&self, folio: Folio, entry: Entry) {
        if !entry.is_clean() {
            self.frames.set_flag(folio, FolioFlag::Dirty, true);
        }
    }

    /// Whether a flag of a large folio is set.
    pub fn has_flag(&self, field: Field, folio: Folio) -> bool {
        folio.is_large() && self.counters.read(field, folio.head) != 0
    }

    /// Whether the kernel keeps this field for this folio. The zero folio's queue words are never set up, those of
    /// hugetlb folios hold other things, and marks of exclusive pages are for anonymous memory.
    pub fn has_field(&self, folio: Folio, field: Field) -> bool {
        let large = match field.row().scope {
            Scope::Page => true,
            Scope::LargeFolio => folio.is_large(),
        };
        let known_to_scheme =
            matches!(field, Field::Refcount | Field::Mapcount) || self.scheme.info().fields.contains(&field);
        let kept = match field {
            Field::Pincount => self.known(folio).has_pincount,
            Field::Deferred => {
                let queued = !matches!(folio.kind, Kind::Zero | Kind::Hugetlb);
                self.policy.deferred_queue != DeferredPolicy::Absent && queued
            }
            Field::PartiallyMapped => {
                self.policy.deferred_queue == DeferredPolicy::Flagged && folio.kind != Kind::Zero
            }
            Field::AnonExclusive => {
                let anon = folio.kind.is_anon() || self.hugetlb.is_anon(folio);
                self.policy.anon_exclusive && anon
            }
            _ => true,
        };
        large && known_to_scheme && kept
    }

    /// Bytes held for memory, counters and page tables.
    pub fn bytes(&self) -> usize {
        let mut bytes = self.counters.bytes() + self.frames.bytes();
        self.each_mm(|mm| bytes += mm.table.bytes());
        bytes
    }
}

impl Clone for Machine {
    fn clone(&self) -> Machine {
        let tables = self.tables.copy();
        let own = |mm: &Mm| {
            let mut mm = mm.clone();
            mm.table.set_budget(tables.clone());
            Rc::new(mm)
        };
        let mms = self.mms.borrow().iter().map(|mm| mm.as_deref().map(own)).collect();
        Machine {
            scheme: self.scheme,
            policy: self.policy,
            config: self.config.clone(),
            frames: self.frames.clone(),
            stats: self.stats.clone(),
            holders: self.holders.clone(),
            ksm: self.ksm.clone(),
            swap: self.swap.clone(),
            calls: self.calls.clone(),
            hugetlb: self.hugetlb.clone(),
            files: self.files.copy(),
            counters: self.counters.boxed_clone(),
            mms: RefCell::new(mms),
            roots: self.roots.clone(),
            anon_vmas: self.anon_vmas.clone(),
            turns: self.turns.clone(),
            deferred: self.deferred.clone(),
            locks: self.locks.clone(),
            lru_hold: self.lru_hold.clone(),
            zero_page: self.zero_page.clone(),
            huge_zero: self.huge_zero.clone(),
            gather: self.gather.clone(),
            gather_each: self.gather_each.clone(),
            tables,
            checked: self.checked,
            watched: self.watched.clone(),
            events: self.events.clone(),
            refusals: self.refusals.clone(),
            bad_frees: self.bad_frees.clone(),
            quirks: self.quirks.clone(),
        }
    }
}
