//! Batches for the LRU: small folios wait in them, with a reference each, until they are full or somebody drains them.
//! There is one for what goes to the LRU, and one each for what is to change its place there.
//!
//! Sources: `__lru_cache_add()`, `lru_cache_add()`, `lru_add_drain_cpu()` (mm/swap.c, v2.6.39, v4.4, v5.10),
//! `folio_batch_add_and_move()`, `folio_deactivate()`, `folio_mark_lazyfree()` (mm/swap.c, v6.12, v7.2);
//! `mlock_folio()`, `mlock_new_folio()`, `munlock_folio()` (mm/mlock.c, v6.1, v6.12, v7.2).

use super::Machine;
use super::frames::FolioFlag;
use super::holders::{Batch, Waiting};
use super::vma::Vma;
use crate::policy::{LruFlush, MlockBatch};
use crate::query::{Query, Tally};
use crate::units::{Folio, Kind, Level, PageRange, Pfn};

impl Machine {
    /// Whether batches keep their pages until somebody drains them.
    pub fn set_lru_hold(&self, hold: bool) {
        self.lru_hold.set(hold);
    }

    /// Drains the batches before an observer looks, unless they are held.
    pub fn settle(&self) {
        if !self.lru_hold.get() {
            self.lru_drain();
        }
    }

    /// Gives a folio to the LRU, fresh or back from whoever isolated it: small ones wait in a batch with a reference of
    /// its own.
    pub fn lru_add(&self, folio: Folio) {
        let batch = match folio.kind {
            Kind::Shmem if self.policy.lru_batch_by_list => Batch::AddShmem,
            Kind::File if self.policy.lru_batch_by_list => Batch::AddFile,
            _ => Batch::Add,
        };
        if self.policy.lru_flush == LruFlush::BeforeAdding && self.is_full(batch) {
            self.drain(batch);
        }
        self.push(batch, folio, true);
        match self.policy.lru_flush {
            LruFlush::BeforeAdding => {}
            LruFlush::WhenFull if !self.is_full(batch) => {}
            LruFlush::AfterAdding if !folio.is_large() && !self.is_full(batch) => {}
            LruFlush::WhenFull | LruFlush::AfterAdding => self.drain(batch),
        }
    }

    /// The same of a folio of an area's own memory that was just made for it, which may be locked.
    pub(crate) fn lru_add_new(&self, folio: Folio, vma: &Vma) {
        if !vma.locked {
            return self.lru_add(folio);
        }
        match self.policy.mlock_batch {
            MlockBatch::None => self.holders.set_mlocked(folio.head, true),
            MlockBatch::WithOthers => {
                self.holders.set_mlocked(folio.head, true);
                self.lru_add(folio);
            }
            MlockBatch::Own => self.push_and_flush(Batch::Mlock, folio, true),
        }
    }

    /// Puts a folio back that was isolated. Up to 4.16 what is locked goes to a list of its own, without a batch.
    pub(crate) fn lru_putback(&self, folio: Folio) {
        if self.policy.mlock_batch != MlockBatch::None || !self.holders.is_mlocked(folio.head) {
            self.lru_add(folio);
        }
    }

    /// Whether a folio is on the LRU, where it can be isolated: it does not wait to get there.
    pub(crate) fn is_on_lru(&self, folio: Folio) -> bool {
        !self.holders.waits_for_lru(folio.head)
    }

    /// Gives up a folio that is on the LRU: reclaim may drop it once its batch is drained.
    pub(crate) fn lru_lazyfree(&self, folio: Folio) {
        if self.may_be_lazyfree(folio) && self.is_on_lru(folio) {
            self.push_and_flush(Batch::LazyFree, folio, false);
        }
    }

    /// Makes a folio that is on the LRU look unused. Without generations only folios in active use need that, which
    /// those of a scenario mostly are not; with them all others, but from 6.14 on those that are in the oldest one already:
    /// what MADV_FREE gave up and pages of files are there, unless they count as accessed, which ends here
    /// (`lru_gen_clear_refs()`, mm/swap.c, `lru_gen_folio_seq()`, include/linux/mm_inline.h, v7.2).
    pub(crate) fn lru_deactivate(&self, folio: Folio, vma: &Vma) {
        if !self.policy.lru_generations || vma.locked || !self.is_on_lru(folio) {
            return;
        }
        if self.policy.lru_deactivate_spares_oldest {
            let accessed = self.policy.folios_are_born_referenced && !self.holders.is_unused(folio.head);
            self.holders.set_unused(folio.head);
            let given_up = folio.kind == Kind::File || self.frames.has_flag(folio, FolioFlag::LazyFree);
            if given_up && !accessed {
                return;
            }
        }
        self.push_and_flush(Batch::Deactivate, folio, false);
    }

    /// What happens when an area that is locked maps one more folio (`mlock_vma_folio()`, mm/internal.h, v6.1, v6.12).
    /// Large folios go to the LRU at once, and with them all that waits.
    #[inline]
    pub(crate) fn mlock_mapped(&self, vma: &Vma, pages: PageRange) {
        if vma.locked && self.policy.mlock_batch == MlockBatch::Own {
            for folio in pages.iter().map(|page| self.folio(page)).filter(|folio| !folio.is_large()) {
                self.push_and_flush(Batch::Mlock, folio, false);
            }
        }
    }

    /// What happens when an area maps pages no more. From 5.18 on those of a locked area wait to be unlocked
    /// (`munlock_vma_folio()`, mm/internal.h, v6.1, v6.12); before, a page that was locked leaves the list of such pages
    /// with its last mapping (`clear_page_mlock()`, mm/mlock.c, v5.10).
    #[inline]
    pub(crate) fn munlock_unmapped(&self, vma: &Vma, pages: PageRange, level: Level) {
        if self.policy.mlock_batch != MlockBatch::Own {
            if self.holders.any_mlocked() {
                pages.iter().for_each(|page| self.clear_mlock(self.folio(page)));
            }
        } else if vma.locked {
            self.munlock_later(pages, level);
        }
    }

    fn munlock_later(&self, pages: PageRange, level: Level) {
        let folio = self.folio(pages.first);
        if !folio.is_large() {
            return pages.iter().for_each(|page| self.push_and_flush(Batch::Mlock, self.folio(page), false));
        }
        if level != Level::Pte || self.policy.munlocks_parts {
            self.drain(Batch::Mlock);
        }
    }

    fn clear_mlock(&self, folio: Folio) {
        if !self.is_mapped(folio) {
            self.unlock_for_good(folio);
        }
    }

    /// Takes a folio for unlocked, whoever locks it, and puts it back to the LRU. It is what happens, up to 5.17, to one
    /// whose PMD is split, too (`__split_huge_pmd()`, mm/huge_memory.c, v5.10).
    pub(crate) fn unlock_for_good(&self, folio: Folio) {
        if self.holders.is_mlocked(folio.head) {
            self.holders.set_mlocked(folio.head, false);
            if self.is_on_lru(folio) {
                self.lru_putback(folio);
            }
        }
    }

    /// Whether more than one entry maps a folio.
    pub(crate) fn is_mapped_again(&self, folio: Folio) -> bool {
        self.ask(Query::FolioMapcount, folio.head, &mut Tally::off()).value().is_some_and(|count| count > 1)
    }

    fn may_be_lazyfree(&self, folio: Folio) -> bool {
        folio.kind == Kind::Anon
            && !self.frames.has_flag(folio, FolioFlag::LazyFree)
            && !self.swap.holds(folio)
    }

    fn is_full(&self, batch: Batch) -> bool {
        self.holders.batch(batch).len() == usize::from(self.policy.lru_batch)
    }

    fn push(&self, batch: Batch, folio: Folio, for_lru: bool) {
        self.get_refs(folio, 1);
        self.holders.batch(batch).push(Waiting { page: folio.head, for_lru });
    }

    fn push_and_flush(&self, batch: Batch, folio: Folio, for_lru: bool) {
        self.push(batch, folio, for_lru);
        if folio.is_large() || self.is_full(batch) {
            self.drain(batch);
        }
    }

    /// Moves what waits in any batch to its place on the LRU, which owns no reference.
    pub fn lru_drain(&self) {
        Batch::ALL.iter().for_each(|batch| self.drain(*batch));
    }

    /// Drains what waits to be locked or unlocked, and nothing else.
    pub(crate) fn mlock_drain(&self) {
        self.drain(Batch::Mlock);
    }

    fn drain(&self, batch: Batch) {
        if self.holders.batch(batch).is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut *self.holders.batch(batch));
        for Waiting { page, .. } in &waiting {
            if batch == Batch::LazyFree {
                let folio = self.folio(*page);
                if self.may_be_lazyfree(folio) {
                    self.frames.set_flag(folio, FolioFlag::LazyFree, true);
                }
            }
            self.put_page(*page);
        }
        waiting.clear();
        // Keep the room, so that the next faults need none.
        *self.holders.batch(batch) = waiting;
    }

    /// Forgets what was noted of a folio that goes.
    pub(super) fn forget_noted(&self, head: Pfn) {
        if self.holders.any_noted() {
            self.holders.forget(head);
        }
    }
}
