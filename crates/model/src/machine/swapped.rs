//! Pages of files that are swapped out: where the page cache held a folio of shared memory, it keeps the slots
//! instead. An entry for a folio that went out whole stands for all of its pages.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;

use super::Machine;
use super::files::File;
use super::frames::{Mapping, Root};
use crate::event::Phase;
use crate::units::{Folio, Order};

/// An entry of a page cache that names slots of the swap device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SwapValue {
    /// The first page of the file that it stands for, a multiple of its pages.
    pub index: u64,
    /// How many pages.
    pub order: Order,
    /// The slot of the first page; the others follow.
    pub slot: u32,
}

impl SwapValue {
    /// The page behind the last one.
    pub const fn end(&self) -> u64 {
        self.index + self.order.pages() as u64
    }

    /// The slot of a page that it stands for.
    pub const fn slot_of(&self, index: u64) -> u32 {
        self.slot + (index - self.index) as u32
    }
}

/// The entries of a file's page cache that name slots, by their first page.
#[derive(Clone, Debug, Default)]
pub struct SwapValues(RefCell<BTreeMap<u64, (Order, u32)>>);

impl SwapValues {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The entry that stands for page `index` of the file.
    pub fn get(&self, index: u64) -> Option<SwapValue> {
        let values = self.0.borrow();
        let (first, (order, slot)) = values.range(..=index).next_back()?;
        let value = SwapValue { index: *first, order: *order, slot: *slot };
        (index < value.end()).then_some(value)
    }

    /// The first entry with a page at or behind `start`, before `end`.
    pub fn next(&self, start: u64, end: u64) -> Option<SwapValue> {
        if start >= end {
            return None;
        }
        self.get(start).or_else(|| {
            let values = self.0.borrow();
            let (first, (order, slot)) = values.range(start..end).next()?;
            Some(SwapValue { index: *first, order: *order, slot: *slot })
        })
    }

    /// All of them, by index.
    pub fn all(&self) -> Vec<SwapValue> {
        let value = |(index, (order, slot)): (&u64, &(Order, u32))| SwapValue {
            index: *index,
            order: *order,
            slot: *slot,
        };
        self.0.borrow().iter().map(value).collect()
    }

    fn insert(&self, value: SwapValue) {
        self.0.borrow_mut().insert(value.index, (value.order, value.slot));
    }

    /// Forgets an entry.
    pub(crate) fn remove(&self, value: SwapValue) {
        self.0.borrow_mut().remove(&value.index);
    }

    /// Cuts an entry, so that page `index` has one of its own. The others are as small, or, `around` it, as large as
    /// the kernel's tree of them can be cut to in a step (`xas_try_split_min_order()`, lib/xarray.c, v6.15).
    pub(crate) fn split(&self, value: SwapValue, index: u64, around: bool) {
        let mut whole = value;
        while whole.order > Order::ZERO {
            let order = if around { smaller(whole.order) } else { Order::ZERO };
            self.remove(whole);
            for first in (whole.index..whole.end()).step_by(order.pages() as usize) {
                self.insert(SwapValue { index: first, order, slot: whole.slot_of(first) });
            }
            let first = index & !(u64::from(order.pages()) - 1);
            whole = SwapValue { index: first, order, slot: whole.slot_of(first) };
        }
    }

    pub(super) fn borrow(&self) -> Ref<'_, BTreeMap<u64, (Order, u32)>> {
        self.0.borrow()
    }
}

/// The order to which the kernel's tree cuts an entry at once: a node has 64 places.
const fn smaller(order: Order) -> Order {
    match order.0 % NODE {
        0 => Order(order.0 - 1),
        rest => Order(order.0 - rest),
    }
}

/// Base-2 logarithm of the places of a node (XA_CHUNK_SHIFT, include/linux/xarray.h).
const NODE: u8 = 6;

impl Machine {
    /// A folio that is in the swap cache, from `slot` on, leaves the page cache, where its slots stand from now on; each
    /// has one use (`shmem_delete_from_page_cache()`, `swap_shmem_alloc()`, v5.10; `folio_dup_swap()`, v7.2).
    pub(crate) fn swap_out_of_page_cache(&self, file: &File, folio: Folio, slot: u32) {
        let index = self.frames.mapping(folio).index;
        self.swap.use_slots(slot, folio.pages());
        file.cache.remove(folio, index);
        file.cache.swapped.insert(SwapValue { index, order: folio.order, slot });
        self.frames.set_kind(folio, folio.kind, Mapping { root: Root(0), index: 0 });
        self.put_refs(folio, folio.pages() as i32);
        self.phase(Phase::Uncached, None, folio.range());
    }

    /// A folio of the swap cache that holds page `index` of a file, and those behind it, takes the place of the slots
    /// in the page cache. They are used once less (`shmem_add_to_page_cache()`, `swap_free()`, v5.10).
    pub(crate) fn swap_into_page_cache(&self, file: &File, folio: Folio, index: u64) {
        let end = index + u64::from(folio.pages());
        while let Some(value) = file.cache.swapped.next(index, end) {
            file.cache.swapped.remove(value);
            for page in value.index..value.end() {
                self.swap.unuse(value.slot_of(page));
            }
        }
        self.frames.set_kind(folio, folio.kind, Mapping { root: file.root, index });
        file.cache.insert(folio, index);
        self.get_refs(folio, folio.pages() as i32);
        self.phase(Phase::PageCached, None, folio.range());
    }
}

#[cfg(test)]
mod tests {
    use super::{SwapValue, SwapValues};
    use crate::units::Order;

    #[test]
    fn entries_are_found_by_any_of_their_pages_and_cut() {
        let values = SwapValues::default();
        let whole = SwapValue { index: 512, order: Order(9), slot: 1024 };
        values.insert(whole);
        assert_eq!((values.get(511), values.get(1024)), (None, None));
        assert_eq!(values.get(700), Some(whole));
        assert_eq!(values.next(0, 513), Some(whole));
        assert_eq!(values.next(0, 512), None);
        values.split(whole, 700, true);
        let found = values.get(700).expect("there");
        assert_eq!((found.index, found.order, found.slot), (700, Order::ZERO, 1024 + 188));
        assert_eq!(values.get(512).map(|value| value.order), Some(Order(6)));
        let pages: u64 = values.all().iter().map(|value| value.end() - value.index).sum();
        assert_eq!((pages, values.all().len()), (512, 7 + 1 + 32));
        values.split(values.get(512).expect("there"), 512, false);
        assert_eq!(values.all().len(), 7 + 32 + 64);
    }
}
