//! The swap device and the swap cache: which slots are used, and which folios are in the cache.
//!
//! The device writes behind the kernel's back, as disks do: a folio that was written stays in the cache until
//! somebody drops it. Which page a slot holds is known here, apart from all counters.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::frames::Content;
use crate::policy::ClusterChoice;
use crate::units::{Folio, MmId, PageRange, Pfn};

/// What is known of a slot. A free one has no uses and no page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Slot {
    /// Swap entries that name it.
    uses: u32,
    /// The page of the swap cache that stands for it.
    page: Option<Pfn>,
    /// What was written to it, where no page of the cache stands for it.
    content: Content,
}

impl Slot {
    fn is_free(&self) -> bool {
        self.uses == 0 && self.page.is_none()
    }
}

/// A folio in the swap cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Cached {
    /// The slot of its first page; the others follow.
    first: u32,
    /// The slots do not hold what the folio holds.
    dirty: bool,
}

/// How slots are given out: a cluster holds folios of one order, which another one may take once it is free as a whole.
/// That of the device's header never is, nor is one that reaches beyond its end (`cluster_alloc_swap_entry()`,
/// `setup_clusters()`, mm/swapfile.c, v6.12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Clusters {
    /// Slots of a cluster: as many as a PMD maps pages.
    pub slots: u32,
    /// Where a folio goes if the cluster is full to which the last one of its order went.
    pub choice: ClusterChoice,
}

/// The swap of a machine.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    on: Cell<bool>,
    size: Cell<u32>,
    /// Slots in use.
    used: Cell<u32>,
    clusters: Cell<Clusters>,
    /// For each order the slot behind the one that a folio of it was given last, within a cluster; 0 if there is none.
    next: Cell<[u32; 10]>,
    /// Of each cluster the order of the folios that it was last taken for.
    taken_for: RefCell<Vec<u8>>,
    slots: RefCell<Vec<Slot>>,
    mms: RefCell<Vec<MmId>>,
    cache: RefCell<BTreeMap<Pfn, Cached>>,
}

impl Swap {
    /// Whether there is a device.
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Adds the device, with `size` slots.
    pub fn turn_on(&self, size: u32, clusters: Clusters) {
        self.on.set(true);
        self.size.set(size);
        self.clusters.set(clusters);
    }

    /// Takes the device away; nothing may be left on it.
    pub fn turn_off(&self) {
        debug_assert!(self.used.get() == 0, "slots are used");
        self.on.set(false);
        self.size.set(0);
        self.next.set([0; 10]);
        self.taken_for.borrow_mut().clear();
        self.mms.borrow_mut().clear();
        self.slots.borrow_mut().clear();
    }

    /// More than half of the slots are used: then the kernel does not keep what it can read again
    /// (`vm_swap_full()`, include/linux/swap.h).
    pub fn is_full(&self) -> bool {
        let size = u64::from(self.size.get());
        (size - u64::from(self.used.get())) * 2 < size
    }

    /// Puts a folio into the cache, on fresh slots next to each other; `false` if there are none.
    pub fn add(&self, folio: Folio) -> bool {
        let Some(first) = self.find_free(folio.pages()) else { return false };
        self.used.set(self.used.get() + folio.pages());
        self.cache.borrow_mut().insert(folio.head, Cached { first, dirty: true });
        self.set_pages(folio, first);
        true
    }

    /// Puts a folio that was read from a used slot into the cache.
    pub fn add_read(&self, folio: Folio, slot: u32) {
        self.cache.borrow_mut().insert(folio.head, Cached { first: slot, dirty: false });
        self.set_pages(folio, slot);
    }

    fn set_pages(&self, folio: Folio, first: u32) {
        let mut slots = self.slots.borrow_mut();
        for (slot, page) in slots[first as usize..].iter_mut().zip(folio.range().iter()) {
            slot.page = Some(page);
        }
    }

    /// The first of `count` slots for a folio of so many pages. Slot 0 is that of the device's header.
    fn find_free(&self, count: u32) -> Option<u32> {
        if !self.is_on() {
            return None;
        }
        let order = count.trailing_zeros() as usize;
        let found = self.free_in_clusters(order, count).or_else(|| {
            // A single page goes wherever there is room.
            (count == 1).then(|| self.free_between(1, self.behind(), 1)).flatten()
        })?;
        let mut next = self.next.get();
        if let Some(next) = next.get_mut(order) {
            // Behind the end of a cluster another one begins.
            *next = if (found + count).is_multiple_of(self.clusters.get().slots) { 0 } else { found + count };
        }
        self.next.set(next);
        let mut slots = self.slots.borrow_mut();
        let end = (found + count) as usize;
        if slots.len() < end {
            slots.resize(end, Slot::default());
        }
        Some(found)
    }

    /// Free slots in the cluster where the last folio of this order went, else where the kernel looks then.
    fn free_in_clusters(&self, order: usize, count: u32) -> Option<u32> {
        let clusters = self.clusters.get();
        if count > clusters.slots {
            return None;
        }
        let next = self.next.get().get(order).copied().filter(|next| *next != 0);
        let last = next.and_then(|next| {
            let end = (next / clusters.slots + 1) * clusters.slots;
            self.free_between(next, end.min(self.behind()), count)
        });
        let free = || self.in_free_cluster(order);
        let used = || self.in_used_cluster(order, count);
        match clusters.choice {
            ClusterChoice::Free => last.or_else(free),
            ClusterChoice::FreeThenUsed => last.or_else(free).or_else(used),
            ClusterChoice::UsedThenFree => last.or_else(used).or_else(free),
        }
    }

    /// The start of a cluster that is free as a whole, which is for folios of this order from now on.
    fn in_free_cluster(&self, order: usize) -> Option<u32> {
        let slots = self.clusters.get().slots;
        let whole = self.behind() / slots;
        let found = (1..whole).find(|cluster| self.is_free(*cluster))?;
        let mut taken_for = self.taken_for.borrow_mut();
        if taken_for.len() <= found as usize {
            taken_for.resize(found as usize + 1, 0);
        }
        taken_for[found as usize] = order as u8;
        Some(found * slots)
    }

    /// Free slots in a cluster that holds folios of this order. Those that can never be free are for single pages.
    fn in_used_cluster(&self, order: usize, count: u32) -> Option<u32> {
        let slots = self.clusters.get().slots;
        let whole = self.behind() / slots;
        let taken_for = self.taken_for.borrow();
        let is_for = |cluster: &u32| match *cluster {
            0 => order == 0,
            cluster if cluster >= whole => order == 0,
            cluster => taken_for.get(cluster as usize) == Some(&(order as u8)) && !self.is_free(cluster),
        };
        (0..=whole).filter(is_for).find_map(|cluster| {
            let (from, end) = ((cluster * slots).max(1), ((cluster + 1) * slots).min(self.behind()));
            self.free_between(from, end, count)
        })
    }

    fn is_free(&self, cluster: u32) -> bool {
        let slots = self.clusters.get().slots;
        self.free_between(cluster * slots, (cluster + 1) * slots, slots).is_some()
    }

    /// The number behind the last slot.
    fn behind(&self) -> u32 {
        self.size.get().saturating_add(1)
    }

    /// The first of `count` free slots in `from..end`, at a multiple of `count`.
    fn free_between(&self, from: u32, end: u32, count: u32) -> Option<u32> {
        let slots = self.slots.borrow();
        let is_free = |slot: u32| slots.get(slot as usize).is_none_or(Slot::is_free);
        let mut firsts = (from.next_multiple_of(count)..end).step_by(count as usize);
        firsts.find(|first| *first + count <= end && (*first..*first + count).all(is_free))
    }

    /// An address space has its first swap entry: swapoff looks at it before all that came earlier
    /// (`try_to_unmap_one()`, mm/rmap.c).
    pub fn enter(&self, mm: MmId) {
        let mut mms = self.mms.borrow_mut();
        if !mms.contains(&mm) {
            mms.insert(0, mm);
        }
    }

    /// fork gave a child its first swap entry: swapoff looks at it behind its parent (`copy_nonpresent_pte()`, mm/memory.c).
    pub fn enter_behind(&self, parent: MmId, child: MmId) {
        let mut mms = self.mms.borrow_mut();
        if !mms.contains(&child) {
            let index = mms.iter().position(|mm| *mm == parent).map_or(0, |index| index + 1);
            mms.insert(index, child);
        }
    }

    /// Forgets an address space.
    pub fn leave(&self, mm: MmId) {
        self.mms.borrow_mut().retain(|other| *other != mm);
    }

    /// The address spaces that have had swap entries, in the order in which swapoff looks at them
    /// (`try_to_unuse()`, mm/swapfile.c, v5.10, v7.2).
    pub fn mms(&self) -> Vec<MmId> {
        self.mms.borrow().clone()
    }

    /// Takes a folio out of the cache. Slots that no entry names are free then; `content` says what each page
    /// holds, for when it is read again.
    pub fn remove(&self, folio: Folio, content: impl Fn(Pfn) -> Content) {
        let Some(cached) = self.cache.borrow_mut().remove(&folio.head) else { return };
        let mut slots = self.slots.borrow_mut();
        for (slot, page) in slots[cached.first as usize..].iter_mut().zip(folio.range().iter()) {
            slot.page = None;
            slot.content = if slot.uses > 0 { content(page) } else { Content::default() };
            self.used.set(self.used.get() - u32::from(slot.uses == 0));
        }
    }

    /// Whether a folio is in the cache.
    #[inline]
    pub fn holds(&self, folio: Folio) -> bool {
        let cache = self.cache.borrow();
        !cache.is_empty() && cache.contains_key(&folio.head)
    }

    /// The folios in the cache, by their first pages.
    pub fn heads(&self) -> Vec<Pfn> {
        self.cache.borrow().keys().copied().collect()
    }

    /// The slot of a page of a folio in the cache.
    pub fn slot_of(&self, folio: Folio, page: Pfn) -> Option<u32> {
        let cached = self.cache.borrow().get(&folio.head).copied();
        cached.map(|cached| cached.first + (page.0 - folio.head.0))
    }

    /// Whether the slots of a folio in the cache hold something else than it does.
    pub fn is_dirty(&self, folio: Folio) -> bool {
        self.cache.borrow().get(&folio.head).is_some_and(|cached| cached.dirty)
    }

    /// Says whether they do; of a folio that is not in the cache nothing is noted.
    pub fn set_dirty(&self, folio: Folio, dirty: bool) {
        if let Some(cached) = self.cache.borrow_mut().get_mut(&folio.head) {
            cached.dirty = dirty;
        }
    }

    /// The page of the cache that stands for a slot.
    pub fn page_of(&self, slot: u32) -> Option<Pfn> {
        self.slots.borrow()[slot as usize].page
    }

    /// What a slot holds whose page is not in the cache.
    pub fn content(&self, slot: u32) -> Content {
        self.slots.borrow()[slot as usize].content
    }

    /// Whether any slot is used.
    pub fn is_used(&self) -> bool {
        self.used.get() > 0
    }

    /// Swap entries that name a slot.
    pub fn uses(&self, slot: u32) -> u32 {
        self.slots.borrow().get(slot as usize).map_or(0, |slot| slot.uses)
    }

    /// Slots up to the last one that was ever used.
    pub fn len(&self) -> u32 {
        self.slots.borrow().len() as u32
    }

    /// Whether no slot was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more swap entry names each of `count` slots.
    pub fn use_slots(&self, first: u32, count: u32) {
        for slot in &mut self.slots.borrow_mut()[PageRange::new(Pfn(first), count).indexes()] {
            slot.uses += 1;
        }
    }

    /// One entry less names the slot; how many are left. Without any and without a page it is free.
    pub fn unuse(&self, slot: u32) -> u32 {
        let slot = &mut self.slots.borrow_mut()[slot as usize];
        slot.uses -= 1;
        if slot.is_free() {
            self.used.set(self.used.get() - 1);
        }
        slot.uses
    }

    /// Whether any swap entry names a page of a folio in the cache (`folio_swapped()`, mm/swapfile.c).
    pub fn is_swapped(&self, folio: Folio) -> bool {
        let Some(first) = self.slot_of(folio, folio.head) else { return false };
        (first..first + folio.pages()).any(|slot| self.uses(slot) > 0)
    }

    /// A folio in the cache was cut into pieces: each keeps its slots.
    pub fn split(&self, folio: Folio, pieces: &[Folio]) {
        let mut cache = self.cache.borrow_mut();
        let Some(cached) = cache.remove(&folio.head) else { return };
        for piece in pieces {
            let first = cached.first + (piece.head.0 - folio.head.0);
            cache.insert(piece.head, Cached { first, ..cached });
        }
    }

    /// Another folio takes the place of one in the cache.
    pub fn replace(&self, old: Folio, new: Folio) {
        let Some(cached) = self.cache.borrow_mut().remove(&old.head) else { return };
        self.cache.borrow_mut().insert(new.head, cached);
        self.set_pages(new, cached.first);
    }

    /// Feeds the state to a hasher.
    pub fn hash_into(&self, mut state: &mut dyn Hasher) {
        (self.on.get(), self.size.get(), self.used.get(), self.next.get()).hash(&mut state);
        self.taken_for.borrow().hash(&mut state);
        self.mms.borrow().hash(&mut state);
        for (number, slot) in self.slots.borrow().iter().enumerate().filter(|(_, slot)| !slot.is_free()) {
            (number, slot).hash(&mut state);
        }
        self.cache.borrow().hash(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::{ClusterChoice, Clusters, Content, Swap};
    use crate::units::{Folio, Kind, MmId, Order, Pfn};

    #[test]
    fn slots_are_free_without_entries_and_cache() {
        let swap = Swap::default();
        let folio = |head, order| Folio { head: Pfn(head), order: Order(order), kind: Kind::Anon };
        assert!(!swap.add(folio(0, 0)), "no device");
        swap.turn_on(6, Clusters { slots: 2, choice: ClusterChoice::FreeThenUsed });
        assert!(swap.add(folio(8, 0)) && swap.add(folio(4, 1)));
        assert_eq!(swap.slot_of(folio(4, 1), Pfn(5)), Some(5));
        assert!(!swap.is_full() && !swap.add(folio(0, 2)));
        swap.use_slots(4, 2);
        let content = Content { first: 7, rest: 0 };
        swap.remove(folio(4, 1), |_| content);
        assert_eq!((swap.page_of(5), swap.content(5)), (None, content));
        assert_eq!((swap.unuse(4), swap.unuse(5)), (0, 0));
        assert!(swap.add(folio(4, 1)) && swap.slot_of(folio(4, 1), Pfn(4)) == Some(4));
    }

    #[test]
    fn a_large_folio_needs_a_cluster_that_is_free_or_of_its_order() {
        let folio = |head, order| Folio { head: Pfn(head), order: Order(order), kind: Kind::Anon };
        for choice in [ClusterChoice::Free, ClusterChoice::FreeThenUsed] {
            let swap = Swap::default();
            // The header's, two that can be free, and one that the device has a half of.
            swap.turn_on(13, Clusters { slots: 4, choice });
            let slot = |folio| swap.add(folio).then(|| swap.slot_of(folio, folio.head)).flatten();
            assert_eq!(slot(folio(0, 1)), Some(4));
            assert_eq!(slot(folio(8, 0)), Some(8), "a single page takes a free cluster too");
            assert_eq!(slot(folio(4, 2)), None);
            assert_eq!(slot(folio(2, 1)), Some(6));
            swap.remove(folio(0, 1), |_| Content::default());
            let any = choice == ClusterChoice::FreeThenUsed;
            assert_eq!(slot(folio(6, 1)), any.then_some(4));
            let singles: Vec<u32> = (9..19).map_while(|head| slot(folio(head, 0))).collect();
            let expected: &[u32] =
                if any { &[9, 10, 11, 1, 2, 3, 12, 13] } else { &[9, 10, 11, 1, 2, 3, 4, 5, 12, 13] };
            assert_eq!(singles, expected, "behind each other, then wherever there is room");
        }
    }

    #[test]
    fn later_kernels_keep_free_clusters() {
        let folio = |head, order| Folio { head: Pfn(head), order: Order(order), kind: Kind::Anon };
        let swap = Swap::default();
        swap.turn_on(13, Clusters { slots: 4, choice: ClusterChoice::UsedThenFree });
        let slot = |folio| swap.add(folio).then(|| swap.slot_of(folio, folio.head)).flatten();
        let singles: Vec<u32> = (0..5).map_while(|head| slot(folio(head, 0))).collect();
        assert_eq!(singles, [1, 2, 3, 12, 13]);
        assert_eq!(slot(folio(8, 2)), Some(4));
        assert_eq!(slot(folio(12, 1)), Some(8));
        assert_eq!(slot(folio(6, 0)), Some(10), "from a cluster of another order, when nothing else is left");
    }

    #[test]
    fn swapoff_looks_at_children_behind_their_parents() {
        let swap = Swap::default();
        swap.enter(MmId(1));
        swap.enter(MmId(2));
        swap.enter_behind(MmId(2), MmId(3));
        swap.enter_behind(MmId(2), MmId(4));
        swap.enter_behind(MmId(1), MmId(2));
        swap.leave(MmId(3));
        assert_eq!(swap.mms(), [MmId(2), MmId(4), MmId(1)]);
    }
}
