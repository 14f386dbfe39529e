//! Who holds references besides page tables: those who asked for pages (`get`, `pin`), and per-CPU batches.
//!
//! This is truth, kept apart from the counters: each holder remembers the pages that it took.

use std::cell::RefCell;

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

/// All holders.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    holds: RefCell<Vec<Hold>>,
    lru_batch: RefCell<Vec<Pfn>>,
    lazyfree_batch: RefCell<Vec<Pfn>>,
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

    /// Pages waiting for the LRU, each with a reference.
    pub fn lru_batch(&self) -> std::cell::RefMut<'_, Vec<Pfn>> {
        self.lru_batch.borrow_mut()
    }

    /// Pages that MADV_FREE gave up and that wait to be taken for such, each with a reference.
    pub fn lazyfree_batch(&self) -> std::cell::RefMut<'_, Vec<Pfn>> {
        self.lazyfree_batch.borrow_mut()
    }

    /// Calls `f` for every page in a batch.
    pub fn each_in_batch(&self, f: impl FnMut(Pfn)) {
        self.lru_batch.borrow().iter().chain(self.lazyfree_batch.borrow().iter()).copied().for_each(f);
    }

    /// Folios on the list of whoever asked for a split with one, each with a reference.
    pub fn list(&self) -> std::cell::RefMut<'_, Vec<Pfn>> {
        self.list.borrow_mut()
    }

    /// Feeds the state to a hasher.
    pub fn hash_into(&self, mut state: &mut dyn std::hash::Hasher) {
        std::hash::Hash::hash(&*self.holds.borrow(), &mut state);
        std::hash::Hash::hash(&*self.lru_batch.borrow(), &mut state);
        std::hash::Hash::hash(&*self.lazyfree_batch.borrow(), &mut state);
        std::hash::Hash::hash(&*self.list.borrow(), &mut state);
    }
}
