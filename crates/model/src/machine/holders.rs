//! Who holds references besides page tables: those who asked for pages (`get`, `pin`), and per-CPU batches.
//!
//! This is truth, kept apart from the counters: each holder remembers the pages that it took.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;

use crate::units::{MmId, PageRange, Pfn};

/// How a page is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HoldKind {
    /// An ordinary reference (FOLL_GET).
    Get,
    /// FOLL_PIN.
    Pin,
}

/// Pages that a process asked for in one step.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hold {
    /// The process.
    pub mm: MmId,
    /// First page of the region that it named.
    pub start: u64,
    /// Pages of that region.
    pub pages: u64,
    /// How they are held.
    pub kind: HoldKind,
    /// The frames, in the region's order, consecutive ones together.
    pub frames: Vec<PageRange>,
}

/// What pages of a batch wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Batch {
    /// To go to the LRU.
    Add,
    /// The same, up to 3.10: pages of shared memory.
    AddShmem,
    /// The same, up to 3.10: pages of files on disks.
    AddFile,
    /// To look unused (MADV_COLD).
    Deactivate,
    /// To be taken for given up (MADV_FREE).
    LazyFree,
    /// To be taken for locked, or no more; fresh ones also for the LRU.
    Mlock,
}

impl Batch {
    /// All, in the order in which they are drained.
    pub const ALL: [Batch; 6] =
        [Batch::Add, Batch::AddShmem, Batch::AddFile, Batch::Deactivate, Batch::LazyFree, Batch::Mlock];
}

/// A page in a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Waiting {
    /// The page, on which the batch holds a reference.
    pub page: Pfn,
    /// It is not on the LRU yet.
    pub for_lru: bool,
}

/// All holders.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    holds: RefCell<Vec<Hold>>,
    batches: [RefCell<Vec<Waiting>>; Batch::ALL.len()],
    mlocked: RefCell<BTreeSet<Pfn>>,
    unused: RefCell<BTreeSet<Pfn>>,
    list: RefCell<Vec<Pfn>>,
}

impl Holders {
    /// Remembers a hold.
    pub fn add(&self, hold: Hold) {
        self.holds.borrow_mut().push(hold);
    }

    /// The newest hold of this process on this region, which is forgotten.
    pub fn take(&self, mm: MmId, start: u64, pages: u64, kind: HoldKind) -> Option<Hold> {
        let mut holds = self.holds.borrow_mut();
        let index = holds
            .iter()
            .rposition(|hold| (hold.mm, hold.start, hold.pages, hold.kind) == (mm, start, pages, kind))?;
        Some(holds.remove(index))
    }

    /// Any hold of this process, which is forgotten.
    pub fn take_any(&self, mm: MmId) -> Option<Hold> {
        let mut holds = self.holds.borrow_mut();
        let index = holds.iter().position(|hold| hold.mm == mm)?;
        Some(holds.remove(index))
    }

    /// Whether this process holds exactly this region.
    pub fn holds(&self, mm: MmId, start: u64, pages: u64, kind: HoldKind) -> bool {
        self.holds
            .borrow()
            .iter()
            .any(|hold| (hold.mm, hold.start, hold.pages, hold.kind) == (mm, start, pages, kind))
    }

    /// Calls `f` for every range held.
    pub fn each(&self, mut f: impl FnMut(HoldKind, PageRange)) {
        for hold in self.holds.borrow().iter() {
            for range in &hold.frames {
                f(hold.kind, *range);
            }
        }
    }

    /// The pages of a batch, each with a reference.
    pub fn batch(&self, batch: Batch) -> RefMut<'_, Vec<Waiting>> {
        self.batches[batch as usize].borrow_mut()
    }

    /// Whether a page waits to go to the LRU.
    pub fn waits_for_lru(&self, page: Pfn) -> bool {
        self.batches.iter().any(|batch| batch.borrow().contains(&Waiting { page, for_lru: true }))
    }

    /// Calls `f` for every page in a batch.
    pub fn each_in_batch(&self, mut f: impl FnMut(Pfn)) {
        for batch in &self.batches {
            batch.borrow().iter().for_each(|waiting| f(waiting.page));
        }
    }

    /// Notes whether a folio is locked (PG_mlocked, which is followed up to 5.17 alone).
    pub fn set_mlocked(&self, head: Pfn, mlocked: bool) {
        if mlocked {
            self.mlocked.borrow_mut().insert(head);
        } else {
            self.mlocked.borrow_mut().remove(&head);
        }
    }

    /// Whether a folio is locked.
    pub fn is_mlocked(&self, head: Pfn) -> bool {
        self.mlocked.borrow().contains(&head)
    }

    /// Notes that MADV_COLD took away that a folio counts as accessed (PG_referenced).
    pub fn set_unused(&self, head: Pfn) {
        self.unused.borrow_mut().insert(head);
    }

    /// Whether it did.
    pub fn is_unused(&self, head: Pfn) -> bool {
        self.unused.borrow().contains(&head)
    }

    /// Whether anything is noted of any folio.
    pub fn any_noted(&self) -> bool {
        self.any_mlocked() || !self.unused.borrow().is_empty()
    }

    /// Forgets what was noted of a folio.
    pub fn forget(&self, head: Pfn) {
        self.mlocked.borrow_mut().remove(&head);
        self.unused.borrow_mut().remove(&head);
    }

    /// Whether any folio is locked.
    pub fn any_mlocked(&self) -> bool {
        !self.mlocked.borrow().is_empty()
    }

    /// Folios on the list of whoever asked for a split with one, each with a reference.
    pub fn list(&self) -> std::cell::RefMut<'_, Vec<Pfn>> {
        self.list.borrow_mut()
    }

    /// Feeds the state to a hasher.
    pub fn hash_into(&self, mut state: &mut dyn std::hash::Hasher) {
        std::hash::Hash::hash(&*self.holds.borrow(), &mut state);
        for batch in &self.batches {
            std::hash::Hash::hash(&*batch.borrow(), &mut state);
        }
        std::hash::Hash::hash(&*self.mlocked.borrow(), &mut state);
        std::hash::Hash::hash(&*self.unused.borrow(), &mut state);
        std::hash::Hash::hash(&*self.list.borrow(), &mut state);
    }
}
