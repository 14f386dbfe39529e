//! The deferred split queue: folios that a shrinker may split, oldest first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::units::Pfn;

/// The queue, by the first pages of its folios.
#[derive(Clone, Debug, Default)]
pub(super) struct DeferredQueue {
    order: RefCell<BTreeMap<u64, Pfn>>,
    places: RefCell<BTreeMap<Pfn, u64>>,
    next: Cell<u64>,
}

impl DeferredQueue {
    /// Puts a folio at the end, if it is not queued.
    pub(super) fn push(&self, head: Pfn) {
        if self.places.borrow().contains_key(&head) {
            return;
        }
        let place = self.next.get();
        self.next.set(place + 1);
        self.order.borrow_mut().insert(place, head);
        self.places.borrow_mut().insert(head, place);
    }

    /// Takes a folio out; says whether it was queued.
    pub(super) fn remove(&self, head: Pfn) -> bool {
        let place = self.places.borrow_mut().remove(&head);
        if let Some(place) = place {
            self.order.borrow_mut().remove(&place);
        }
        place.is_some()
    }

    /// Whether a folio is queued.
    pub(super) fn contains(&self, head: Pfn) -> bool {
        self.places.borrow().contains_key(&head)
    }

    /// The queued folios, oldest first.
    pub(super) fn heads(&self) -> Vec<Pfn> {
        self.order.borrow().values().copied().collect()
    }

    /// Feeds the state to a hasher.
    pub(super) fn hash_into(&self, mut state: &mut dyn std::hash::Hasher) {
        for head in self.order.borrow().values() {
            std::hash::Hash::hash(head, &mut state);
        }
    }
}
