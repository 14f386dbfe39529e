//! Batches for the LRU: small folios wait in them, with a reference each. Fresh ones wait in one, those that MADV_FREE
//! gave up in another one.

use super::Machine;
use super::frames::FolioFlag;
use crate::policy::LruFlush;
use crate::units::{Folio, Kind};

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
                    self.drain_fresh();
                }
                self.get_refs(folio, 1);
                self.holders.lru_batch().push(folio.head);
            }
            LruFlush::AfterAdding => {
                if folio.is_large() {
                    return self.drain_fresh();
                }
                self.get_refs(folio, 1);
                self.holders.lru_batch().push(folio.head);
                if self.holders.lru_batch().len() == usize::from(self.policy.lru_batch) {
                    self.drain_fresh();
                }
            }
        }
    }

    /// Gives up a folio that is on the LRU: reclaim may drop it once its batch is drained (`mark_page_lazyfree()`,
    /// `folio_mark_lazyfree()`, mm/swap.c, v5.10, v6.12, v7.2).
    pub(crate) fn lru_lazyfree(&self, folio: Folio) {
        if !self.may_be_lazyfree(folio) {
            return;
        }
        self.get_refs(folio, 1);
        self.holders.lazyfree_batch().push(folio.head);
        if folio.is_large() || self.holders.lazyfree_batch().len() == usize::from(self.policy.lru_batch) {
            self.drain_lazyfree();
        }
    }

    fn may_be_lazyfree(&self, folio: Folio) -> bool {
        folio.kind == Kind::Anon
            && !self.frames.has_flag(folio, FolioFlag::LazyFree)
            && !self.swap.holds(folio)
    }

    fn drain_lazyfree(&self) {
        let batch = std::mem::take(&mut *self.holders.lazyfree_batch());
        for page in batch {
            let folio = self.folio(page);
            if self.may_be_lazyfree(folio) {
                self.frames.set_flag(folio, FolioFlag::LazyFree, true);
            }
            self.put_page(page);
        }
    }

    /// Moves what waits in any batch to the LRU, which owns no reference.
    pub fn lru_drain(&self) {
        self.drain_fresh();
        self.drain_lazyfree();
    }

    fn drain_fresh(&self) {
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
