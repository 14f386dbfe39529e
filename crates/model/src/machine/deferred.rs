//! The deferred split queue: folios that a shrinker may split, oldest first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::lock::Lock;
use super::{Machine, Quirk};
use crate::field::Field;
use crate::policy::DeferredQueue as DeferredPolicy;
use crate::scheme::Lost;
use crate::stats::Stat;
use crate::units::{Folio, Kind, Level, Pfn};

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

impl Machine {
    /// Queues a folio that a removed mapping left partially mapped, as this kernel does.
    pub fn after_removal(&self, folio: Folio, level: Level, lost: Lost) {
        let queue = match (lost, level) {
            (Lost::None, _) => false,
            (Lost::Some, _) => true,
            (Lost::All, Level::Pte) => self.policy.queue_fully_unmapped_by_pte,
            (Lost::All, _) => self.policy.queue_fully_unmapped_by_pmd,
        };
        if queue && folio.kind == Kind::Anon {
            self.queue(folio, true);
        }
    }

    /// Queues a folio: because it is partially mapped, or as a candidate that may be underused.
    /// Folios of two pages have no room for the list; reclaim unmaps folios of the swap cache itself.
    pub fn queue(&self, folio: Folio, partially_mapped: bool) {
        if folio.order.0 < 2 || self.policy.deferred_queue == DeferredPolicy::Absent {
            return;
        }
        if self.swap.holds(folio) {
            if partially_mapped {
                self.note(Quirk::SwapCacheUnqueued, folio);
            }
            return;
        }
        let _guard = self.lock(Lock::Deferred);
        let flagged = self.policy.deferred_queue == DeferredPolicy::Flagged;
        let news = if flagged && partially_mapped {
            let before = self.counters.read(Field::PartiallyMapped, folio.head);
            self.counters.set(Field::PartiallyMapped, folio.head, 1);
            before == 0
        } else {
            partially_mapped && !self.deferred.contains(folio.head)
        };
        if news {
            self.count_event(Stat::DeferredSplits, folio);
        }
        self.deferred.push(folio.head);
        self.counters.set(Field::Deferred, folio.head, 1);
    }

    /// Queues a fresh THP as a candidate, where the kernel does.
    pub fn queue_candidate(&self, folio: Folio) {
        if self.policy.deferred_queue == DeferredPolicy::Flagged && self.config.borrow().shrink_underused {
            self.queue(folio, false);
        }
    }

    /// Takes a folio off the queue; says whether it was there.
    pub fn unqueue(&self, folio: Folio) -> bool {
        if folio.order.0 < 2 || !self.deferred.remove(folio.head) {
            return false;
        }
        self.counters.set(Field::Deferred, folio.head, 0);
        self.counters.set(Field::PartiallyMapped, folio.head, 0);
        true
    }

    /// The queued folios, oldest first.
    pub fn queued(&self) -> Vec<Pfn> {
        self.deferred.heads()
    }
}
