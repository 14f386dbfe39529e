//! The LRU batch: fresh small folios wait in it, with a reference of its own.

use super::Machine;
use crate::policy::LruFlush;
use crate::units::Folio;

impl Machine {
    /// Whether batches keep their pages until somebody drains them.
    pub fn set_lru_hold(&self, hold: bool) {
        self.lru_hold.set(hold);
    }

    /// Drains the batch before an observer looks, unless it is held.
    pub fn settle(&self) {
        if !self.lru_hold.get() {
            self.lru_drain();
        }
    }

    /// Gives a fresh folio to the LRU: small ones wait in a batch with a reference of its own.
    pub fn lru_add(&self, folio: Folio) {
        match self.policy.lru_flush {
            LruFlush::BeforeAdding => {
                if self.holders.lru_batch().len() == usize::from(self.policy.lru_batch) {
                    self.lru_drain();
                }
                self.get_refs(folio, 1);
                self.holders.lru_batch().push(folio.head);
            }
            LruFlush::AfterAdding => {
                if folio.is_large() {
                    return self.lru_drain();
                }
                self.get_refs(folio, 1);
                self.holders.lru_batch().push(folio.head);
                if self.holders.lru_batch().len() == usize::from(self.policy.lru_batch) {
                    self.lru_drain();
                }
            }
        }
    }

    /// Moves what waits to the LRU, which owns no reference.
    pub fn lru_drain(&self) {
        let batch = std::mem::take(&mut *self.holders.lru_batch());
        for page in &batch {
            self.put_page(*page);
        }
        let mut emptied = batch;
        emptied.clear();
        // Keep the room, so that the next faults need none.
        *self.holders.lru_batch() = emptied;
    }
}
