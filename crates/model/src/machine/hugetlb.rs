//! hugetlb: the pool of huge pages, what of it is promised to areas, and the page caches of shared mappings.
//!
//! A page of the pool is a folio for as long as it belongs to the pool; while nobody uses it, it has no reference.
//! Which pages of an area were promised is kept by the root that the area shares with its copies: of a private
//! mapping what its first process may still fault in, of a shared one all that may be in its cache.
//!
//! Sources: `set_max_huge_pages()`, `hugetlb_acct_memory()`, `dequeue_huge_page_vma()`, `free_huge_page()`,
//! `hugetlb_reserve_pages()`, `hugetlb_unreserve_pages()`, `hugetlb_vm_op_close()` (mm/hugetlb.c, v2.6.39, v5.10 to
//! v6.17); nothing may be allocated beyond the pool (`nr_overcommit_hugepages` is 0).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::Machine;
use super::frames::{Mapping, Root};
use crate::event::Phase;
use crate::field::Field;
use crate::units::{Folio, Kind, Pfn};

/// The huge pages of a machine.
#[derive(Clone, Debug, Default)]
pub struct Hugetlb {
    pool: RefCell<Pool>,
    objects: RefCell<BTreeMap<Root, Object>>,
    used: RefCell<BTreeMap<Pfn, Use>>,
}

/// The pool's free pages and its numbers.
#[derive(Clone, Hash, Debug, Default)]
struct Pool {
    /// Node and first frame of each; pages of low nodes are taken first.
    free: BTreeSet<(u8, Pfn)>,
    counts: PoolCounts,
    /// The node that the next new page comes from.
    next_node: u8,
}

/// The numbers of the pool, in huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PoolCounts {
    /// HugePages_Total.
    pub pages: u32,
    /// HugePages_Surp: pages that leave the pool when they are freed.
    pub surplus: u32,
    /// HugePages_Rsvd: free pages that are promised.
    pub reserved: i64,
    /// Promises that nobody can redeem or give back any more.
    pub lost: i64,
}

/// What areas that share a root have in common.
#[derive(Clone, Hash, Debug)]
struct Object {
    shared: bool,
    /// Offsets of huge pages that are promised; those of a shared mapping stay while a page is in the cache.
    promised: BTreeSet<u64>,
    /// The page cache: offset and first frame.
    cache: BTreeMap<u64, Pfn>,
}

/// What is known of a page that somebody uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Use {
    anon: bool,
    /// Its place in a page cache.
    cached: Option<(Root, u64)>,
    /// Freed, it is promised again (HPageRestoreReserve).
    restores: bool,
    /// Freed, it does not go to the pool (HPageTemporary).
    temporary: bool,
}

impl Hugetlb {
    /// The pool's numbers.
    pub fn counts(&self) -> PoolCounts {
        self.pool.borrow().counts
    }

    /// Free pages of the pool.
    pub fn free_pages(&self) -> u32 {
        self.pool.borrow().free.len() as u32
    }

    /// Pages that somebody uses.
    pub fn used_pages(&self) -> u32 {
        self.used.borrow().len() as u32
    }

    /// Promises that areas and pages account for: what [`PoolCounts::reserved`] has to be.
    pub fn promised(&self) -> i64 {
        let open = |object: &Object| {
            let redeemed = if object.shared { object.cache.len() } else { 0 };
            object.promised.len() as i64 - redeemed as i64
        };
        let open: i64 = self.objects.borrow().values().map(open).sum();
        let restoring = self.used.borrow().values().filter(|of| of.restores).count() as i64;
        open - restoring + self.counts().lost
    }

    /// Whether a used page belongs to private mappings.
    pub fn is_anon(&self, folio: Folio) -> bool {
        self.used.borrow().get(&folio.head).is_some_and(|of| of.anon)
    }

    /// Whether a page is in the page cache of a shared mapping.
    pub fn is_cached(&self, folio: Folio) -> bool {
        self.used.borrow().get(&folio.head).is_some_and(|of| of.cached.is_some())
    }

    /// The first frames of the pages in page caches.
    pub fn cached(&self) -> Vec<Pfn> {
        let used = self.used.borrow();
        used.iter().filter(|(_, of)| of.cached.is_some()).map(|(head, _)| *head).collect()
    }

    /// The page at an offset of a shared mapping.
    pub fn find(&self, root: Root, index: u64) -> Option<Pfn> {
        self.objects.borrow().get(&root)?.cache.get(&index).copied()
    }

    /// Promises the pages at these offsets to a new mapping; `false`, and nothing is changed, if there are not
    /// enough.
    pub fn promise(&self, root: Root, shared: bool, indexes: &[u64]) -> bool {
        let mut pool = self.pool.borrow_mut();
        let wanted = pool.counts.reserved + indexes.len() as i64;
        if wanted > pool.free.len() as i64 {
            return false;
        }
        pool.counts.reserved = wanted;
        let promised = indexes.iter().copied().collect();
        self.objects.borrow_mut().insert(root, Object { shared, promised, cache: BTreeMap::new() });
        true
    }

    /// Whether the page at an offset is promised.
    pub fn is_promised(&self, root: Root, index: u64) -> bool {
        self.objects.borrow().get(&root).is_some_and(|object| object.promised.contains(&index))
    }

    /// A private mapping got the page at an offset, which was promised to it.
    pub fn redeem(&self, root: Root, index: u64) {
        if let Some(object) = self.objects.borrow_mut().get_mut(&root) {
            object.promised.remove(&index);
        }
    }

    /// A page is unmapped by the process that it was promised to: freed, it is promised again
    /// (`__unmap_hugepage_range()`, mm/hugetlb.c, v6.9).
    pub fn restore(&self, folio: Folio, root: Root, index: u64) {
        let surplus = self.counts().surplus;
        let mut used = self.used.borrow_mut();
        let Some(of) = used.get_mut(&folio.head).filter(|of| of.anon && !of.restores && surplus == 0) else {
            return;
        };
        if let Some(object) = self.objects.borrow_mut().get_mut(&root) {
            of.restores = true;
            object.promised.insert(index);
        }
    }

    /// Feeds the state to a hasher; `number` says what a root is called.
    pub(super) fn hash_into(&self, mut state: &mut dyn Hasher, mut number: impl FnMut(Root) -> u32) {
        self.pool.borrow().hash(&mut state);
        let objects = self.objects.borrow();
        let mut numbered: Vec<(u32, &Object)> =
            objects.iter().map(|(root, object)| (number(*root), object)).collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.hash(&mut state);
        for (head, of) in self.used.borrow().iter() {
            let cached = of.cached.map(|(root, index)| (number(root), index));
            (head, of.anon, cached, of.restores, of.temporary).hash(&mut state);
        }
    }
}

impl Machine {
    /// Sets the number of pages of the pool. Pages that are used or promised stay, as surplus; where memory is
    /// full the pool stays smaller (`set_max_huge_pages()`, mm/hugetlb.c).
    pub fn set_hugetlb_pool(&self, count: u32) {
        let persistent = || {
            let counts = self.hugetlb.counts();
            counts.pages - counts.surplus
        };
        while self.hugetlb.counts().surplus > 0 && count > persistent() {
            self.hugetlb.pool.borrow_mut().counts.surplus -= 1;
        }
        while count > persistent() {
            let Some(folio) = self.new_hugetlb_page() else { break };
            self.hugetlb.pool.borrow_mut().free.insert((self.frames.node(folio), folio.head));
        }
        let counts = self.hugetlb.counts();
        let needed = counts.reserved + i64::from(counts.pages) - i64::from(self.hugetlb.free_pages());
        while i64::from(persistent()) > needed.max(i64::from(count)) {
            let Some((_, head)) = self.hugetlb.pool.borrow_mut().free.pop_last() else { break };
            self.drop_hugetlb_page(self.folio(head));
        }
        while count < persistent() {
            self.hugetlb.pool.borrow_mut().counts.surplus += 1;
        }
    }

    /// A page that joins the pool: without a reference, its type in the head's `_mapcount` where the kernel keeps
    /// one.
    fn new_hugetlb_page(&self) -> Option<Folio> {
        let folio = self.frames.alloc(self.pmd_order(), Kind::Hugetlb, None)?;
        self.counters.grow(self.frames.len());
        self.scheme.prep_folio(&*self.counters, folio);
        self.counters.set(Field::Refcount, folio.head, 0);
        if let Some(word) = self.hugetlb_type() {
            self.counters.set(Field::Mapcount, folio.head, word);
        }
        let nodes = self.config.borrow().nodes.max(1) as u8;
        let mut pool = self.hugetlb.pool.borrow_mut();
        pool.counts.pages += 1;
        self.frames.set_node(folio, pool.next_node);
        pool.next_node = (pool.next_node + 1) % nodes;
        Some(folio)
    }

    /// A page leaves the pool, and is ordinary memory again.
    fn drop_hugetlb_page(&self, folio: Folio) {
        self.hugetlb.pool.borrow_mut().counts.pages -= 1;
        self.counters.set(Field::Mapcount, folio.head, Field::Mapcount.row().initial);
        self.frames.free(folio);
    }

    /// The type that the head's `_mapcount` of a hugetlb folio holds, if any: with a scheme that counts there it
    /// cannot.
    pub fn hugetlb_type(&self) -> Option<i32> {
        self.policy.hugetlb_type.filter(|_| !self.scheme.info().capabilities.hugetlb_counts_in_head)
    }

    /// A page of the pool for a place in a mapping, with one reference, filled with zeroes: one that was promised,
    /// or one that nobody was promised. `None` if there is none.
    pub fn take_hugetlb(&self, mapping: Mapping, anon: bool, promised: bool) -> Option<Folio> {
        let head = {
            let mut pool = self.hugetlb.pool.borrow_mut();
            if !promised && pool.free.len() as i64 == pool.counts.reserved {
                return None;
            }
            let (_, head) = pool.free.pop_first()?;
            pool.counts.reserved -= i64::from(promised);
            head
        };
        Some(self.use_hugetlb(self.folio(head), mapping, anon, false))
    }

    /// A page on a node to move a used one to: a free one of the pool, or with `fresh` memory that is no part of
    /// it yet (`alloc_huge_page_nodemask()`, mm/hugetlb.c, v5.10).
    pub fn take_hugetlb_on(&self, node: u8, old: Folio, fresh: bool) -> Option<Folio> {
        let (mapping, anon) = (self.frames.mapping(old), self.hugetlb.is_anon(old));
        let free = {
            let mut pool = self.hugetlb.pool.borrow_mut();
            let found = pool.free.iter().find(|(of, _)| *of == node).copied();
            found
                .filter(|_| pool.free.len() as i64 > pool.counts.reserved)
                .filter(|page| pool.free.remove(page))
        };
        if let Some((_, head)) = free {
            return Some(self.use_hugetlb(self.folio(head), mapping, anon, false));
        }
        let folio = if fresh { self.new_hugetlb_page() } else { None }?;
        self.frames.set_node(folio, node);
        Some(self.use_hugetlb(folio, mapping, anon, true))
    }

    fn use_hugetlb(&self, folio: Folio, mapping: Mapping, anon: bool, temporary: bool) -> Folio {
        self.counters.set(Field::Refcount, folio.head, 1);
        self.frames.set_kind(folio, Kind::Hugetlb, mapping);
        let of = Use { anon, cached: None, restores: false, temporary };
        self.hugetlb.used.borrow_mut().insert(folio.head, of);
        self.phase(Phase::Allocated, None, folio.range());
        folio
    }

    /// A page was moved: the new one is in the pool from now on where the old one was.
    pub fn moved_hugetlb(&self, old: Folio, new: Folio) {
        let mut used = self.hugetlb.used.borrow_mut();
        let (Some(was), Some(is)) = (used.get(&old.head).copied(), used.get(&new.head).copied()) else {
            return;
        };
        used.insert(new.head, Use { temporary: was.temporary, cached: was.cached, ..is });
        used.insert(old.head, Use { temporary: is.temporary, cached: None, ..was });
        if let Some((root, index)) = was.cached
            && let Some(object) = self.hugetlb.objects.borrow_mut().get_mut(&root)
        {
            object.cache.insert(index, new.head);
        }
    }

    /// Puts a fresh page into the cache of a shared mapping, which owns references on it.
    pub fn cache_hugetlb(&self, folio: Folio, root: Root, index: u64) {
        if let Some(object) = self.hugetlb.objects.borrow_mut().get_mut(&root) {
            object.cache.insert(index, folio.head);
            // Where a hole was, the page itself makes up for the promise that went with it.
            object.promised.insert(index);
        }
        if let Some(of) = self.hugetlb.used.borrow_mut().get_mut(&folio.head) {
            of.cached = Some((root, index));
        }
        self.get_refs(folio, self.known(folio).pagecache_references(folio) as i32);
    }

    /// Takes a page that nobody maps out of the cache of a shared mapping; what was promised there goes with it.
    pub fn uncache_hugetlb(&self, folio: Folio, root: Root, index: u64) {
        let references = self.known(folio).pagecache_references(folio);
        if let Some(object) = self.hugetlb.objects.borrow_mut().get_mut(&root) {
            object.cache.remove(&index);
            object.promised.remove(&index);
        }
        if let Some(of) = self.hugetlb.used.borrow_mut().get_mut(&folio.head) {
            of.cached = None;
        }
        self.put_refs(folio, references as i32);
    }

    /// The process that pages of a private mapping were promised to gave up these offsets.
    pub fn unpromise_hugetlb(&self, root: Root, indexes: Range<u64>) {
        let mut given = 0;
        if let Some(object) = self.hugetlb.objects.borrow_mut().get_mut(&root) {
            let before = object.promised.len();
            object.promised.retain(|index| !indexes.contains(index));
            given = before - object.promised.len();
        }
        self.return_promises(given as i64);
    }

    /// So many promises are given back; free pages that are surplus leave the pool with them
    /// (`return_unused_surplus_pages()`, mm/hugetlb.c).
    fn return_promises(&self, given: i64) {
        let surplus = i64::from(self.hugetlb.counts().surplus);
        for _ in 0..given.min(surplus) {
            let Some((_, head)) = self.hugetlb.pool.borrow_mut().free.pop_last() else { break };
            self.hugetlb.pool.borrow_mut().counts.surplus -= 1;
            self.drop_hugetlb_page(self.folio(head));
        }
        self.hugetlb.pool.borrow_mut().counts.reserved -= given;
    }

    /// The last area of a root is gone: a shared mapping's cache is emptied, and what was promised to it is given
    /// back.
    pub fn forget_hugetlb(&self, root: Root) {
        let Some(object) = self.hugetlb.objects.borrow_mut().remove(&root) else { return };
        let freed = object.cache.len();
        for head in object.cache.values() {
            let folio = self.folio(*head);
            let references = self.known(folio).pagecache_references(folio);
            if let Some(of) = self.hugetlb.used.borrow_mut().get_mut(head) {
                of.cached = None;
            }
            self.put_refs(folio, references as i32);
        }
        let open = object.promised.len() as i64 - freed as i64;
        if object.shared {
            self.return_promises(open);
        } else {
            self.hugetlb.pool.borrow_mut().counts.lost += open;
        }
    }

    /// The last reference on a page is gone: it goes back to the pool, or leaves it.
    pub(super) fn free_hugetlb(&self, folio: Folio) {
        let of = self.hugetlb.used.borrow_mut().remove(&folio.head);
        let of = of.expect("it was taken from the pool");
        self.frames.fill(folio.range(), 0);
        self.frames.set_kind(folio, Kind::Hugetlb, Mapping { root: Root(0), index: 0 });
        let surplus = {
            let mut pool = self.hugetlb.pool.borrow_mut();
            pool.counts.reserved += i64::from(of.restores);
            let surplus = !of.temporary && pool.counts.surplus > 0;
            pool.counts.surplus -= u32::from(surplus);
            surplus
        };
        if of.temporary || surplus {
            return self.drop_hugetlb_page(folio);
        }
        self.hugetlb.pool.borrow_mut().free.insert((self.frames.node(folio), folio.head));
    }

    /// The page on which a reference of somebody who works on `page` is counted: of hugetlb the head, where
    /// kernels do not count them on tails as they do for THPs.
    pub(crate) fn counted_page(&self, folio: Folio, page: Pfn) -> Pfn {
        let whole = folio.kind == Kind::Hugetlb && !self.policy.hugetlb_counts_tails;
        if whole { folio.head } else { page }
    }
}
