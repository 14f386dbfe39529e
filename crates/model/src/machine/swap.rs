//! The swap device and the swap cache: which slots are used, and which folios are in the cache.
//!
//! The device writes behind the kernel's back, as disks do: a folio that was written stays in the cache until
//! somebody drops it. Which page a slot holds is known here, apart from all counters.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::frames::Content;
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

/// Slots from a multiple of a PMD's pages on, as many as those (`struct swap_cluster_info`, include/linux/swap.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Cluster {
    /// Slots in use.
    used: u32,
    /// The pages of each folio that it is for, as long as any slot is used.
    pages: u32,
}

/// The swap of a machine.
#[derive(Clone, Debug, Default)]
pub struct Swap {
    on: Cell<bool>,
    size: Cell<u32>,
    /// Slots in use.
    used: Cell<u32>,
    slots: RefCell<Vec<Slot>>,
    cache: RefCell<BTreeMap<Pfn, Cached>>,
    cluster_pages: Cell<u32>,
    clusters: RefCell<Vec<Cluster>>,
    /// The cluster that single pages go to.
    current: Cell<Option<usize>>,
    mms: RefCell<Vec<MmId>>,
}

impl Swap {
    /// Whether there is a device.
    pub fn is_on(&self) -> bool {
        self.on.get()
    }

    /// Adds the device, with `size` slots, in clusters of so many.
    pub fn turn_on(&self, size: u32, cluster_pages: u32) {
        self.on.set(true);
        self.size.set(size);
        self.cluster_pages.set(cluster_pages);
        let clusters = size / cluster_pages + 1;
        self.clusters.borrow_mut().resize(clusters as usize, Cluster::default());
        self.current.set(None);
    }

    /// Takes the device away; nothing may be left on it.
    pub fn turn_off(&self) {
        debug_assert!(self.used.get() == 0, "slots are used");
        self.on.set(false);
        self.size.set(0);
        self.slots.borrow_mut().clear();
        self.clusters.borrow_mut().clear();
        self.mms.borrow_mut().clear();
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
        self.clusters.borrow_mut()[(first / self.cluster_pages.get()) as usize].used += folio.pages();
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

    /// The first of `count` free slots for a folio of so many pages. A cluster is for folios of one size; single pages
    /// go to one after the other, and anywhere once no cluster is free (`cluster_alloc_swap_entry()`, mm/swapfile.c,
    /// v6.12; `scan_swap_map_try_ssd_cluster()`, v5.10).
    fn find_free(&self, count: u32) -> Option<u32> {
        if !self.is_on() {
            return None;
        }
        let clusters = self.clusters.borrow();
        let pages = self.cluster_pages.get();
        // Slot 0 is that of the device's header, and behind the last one there is nothing: these clusters are never free.
        let whole = 1..((self.size.get() + 1) / pages) as usize;
        let is_free = |index: usize| whole.contains(&index) && clusters[index].used == 0;
        let is_for = |index: usize| {
            let wanted = if whole.contains(&index) { clusters[index].pages } else { 1 };
            !is_free(index) && wanted == count
        };
        let room = |index: usize| self.room_in(index, count);
        let all = 0..clusters.len();
        let current = || self.current.get().filter(|index| is_for(*index)).and_then(room);
        let taken = || all.clone().filter(|index| is_for(*index)).find_map(room);
        let free = all.clone().find(|index| is_free(*index));
        let found = match free {
            _ if count > 1 => taken().or_else(|| room(free?)),
            Some(free) => current().or_else(|| room(free)),
            None => taken().or_else(|| all.clone().find_map(room)),
        }?;
        drop(clusters);
        let index = (found / pages) as usize;
        let cluster = &mut self.clusters.borrow_mut()[index];
        if cluster.used == 0 {
            cluster.pages = count;
        }
        if count == 1 {
            self.current.set(Some(index));
        }
        let mut slots = self.slots.borrow_mut();
        let end = (found + count) as usize;
        if slots.len() < end {
            slots.resize(end, Slot::default());
        }
        Some(found)
    }

    /// The first of `count` free slots in a cluster, at a multiple of that.
    fn room_in(&self, cluster: usize, count: u32) -> Option<u32> {
        let pages = self.cluster_pages.get();
        let first = cluster as u32 * pages;
        let end = (first + pages).min(self.size.get() + 1);
        if self.clusters.borrow()[cluster].used == pages {
            return None;
        }
        let slots = self.slots.borrow();
        let is_free = |slot: u32| slot > 0 && slots.get(slot as usize).is_none_or(Slot::is_free);
        let fits = |at: &u32| *at + count <= end && (*at..*at + count).all(is_free);
        (first..end).step_by(count as usize).find(fits)
    }

    /// A slot is in use no more.
    fn release(&self, slot: u32) {
        self.used.set(self.used.get() - 1);
        self.clusters.borrow_mut()[(slot / self.cluster_pages.get()) as usize].used -= 1;
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
        let numbers = cached.first..;
        for ((number, slot), page) in
            numbers.zip(&mut slots[cached.first as usize..]).zip(folio.range().iter())
        {
            slot.page = None;
            slot.content = if slot.uses > 0 { content(page) } else { Content::default() };
            if slot.uses == 0 {
                self.release(number);
            }
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
        let known = &mut self.slots.borrow_mut()[slot as usize];
        known.uses -= 1;
        if known.is_free() {
            self.release(slot);
        }
        known.uses
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
        (self.on.get(), self.size.get(), self.used.get()).hash(&mut state);
        for (number, slot) in self.slots.borrow().iter().enumerate().filter(|(_, slot)| !slot.is_free()) {
            (number, slot).hash(&mut state);
        }
        self.cache.borrow().hash(&mut state);
        let clusters = self.clusters.borrow();
        for (number, cluster) in clusters.iter().enumerate().filter(|(_, cluster)| cluster.used > 0) {
            (number, cluster).hash(&mut state);
        }
        self.current.get().hash(&mut state);
        self.mms.borrow().hash(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Swap};
    use crate::units::{Folio, Kind, MmId, Order, Pfn};

    #[test]
    fn slots_are_free_without_entries_and_cache() {
        let swap = Swap::default();
        let folio = |head, order| Folio { head: Pfn(head), order: Order(order), kind: Kind::Anon };
        assert!(!swap.add(folio(0, 0)), "no device");
        swap.turn_on(21, 8);
        assert!(swap.add(folio(4, 1)));
        assert_eq!(swap.slot_of(folio(4, 1), Pfn(5)), Some(9));
        assert!(!swap.add(folio(12, 2)), "the cluster that the header leaves whole is for pairs");
        assert!(swap.add(folio(8, 0)) && swap.slot_of(folio(8, 0), Pfn(8)) == Some(1));
        assert!(!swap.is_full());
        swap.use_slots(8, 2);
        let content = Content { first: 7, rest: 0 };
        swap.remove(folio(4, 1), |_| content);
        assert_eq!((swap.page_of(9), swap.content(9)), (None, content));
        assert_eq!((swap.unuse(8), swap.unuse(9)), (0, 0));
        assert!(swap.add(folio(12, 2)) && swap.slot_of(folio(12, 2), Pfn(12)) == Some(8));
        assert!((20..29).all(|page| swap.add(folio(page, 0))));
        assert_eq!(swap.slot_of(folio(28, 0), Pfn(28)), Some(18), "single pages leave the cluster alone");
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
