//! The kernel's locks, as operations take them. In a plain run a guard only asserts that nobody holds the
//! lock already; a checker of races may let another operation run where one is taken.

use std::cell::RefCell;

use crate::machine::frames::Root;
use crate::units::{MmId, Pfn};

/// A lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lock {
    /// The mmap lock of an address space.
    Mmap(MmId),
    /// The lock of the page table that holds the PMD or PTE of a page.
    PageTable(MmId, u64),
    /// The folio lock.
    Folio(Pfn),
    /// The lock of all address spaces that share anonymous folios.
    Anon(Root),
    /// The lock of the deferred split queue.
    Deferred,
}

/// The locks that are held.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    /// Few at a time, the one taken last behind.
    held: RefCell<Vec<Lock>>,
    checked: bool,
}

impl Locks {
    /// Locks whose use is checked; unchecked ones cost nothing.
    pub fn new(checked: bool) -> Locks {
        Locks { held: RefCell::default(), checked }
    }

    /// Takes a lock until the guard is dropped.
    ///
    /// # Panics
    /// If it is held already: in a run of one operation after the other that is a bug of an operation.
    #[inline]
    pub fn take(&self, lock: Lock) -> Guard<'_> {
        if self.checked {
            let mut held = self.held.borrow_mut();
            assert!(!held.contains(&lock), "{lock:?} is taken twice");
            held.push(lock);
            return Guard { locks: Some((self, lock)) };
        }
        Guard { locks: None }
    }
}

/// Holds a lock.
#[must_use]
pub struct Guard<'a> {
    locks: Option<(&'a Locks, Lock)>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((locks, lock)) = self.locks {
            let mut held = locks.held.borrow_mut();
            let index = held.iter().rposition(|other| *other == lock).expect("held until now");
            held.swap_remove(index);
        }
    }
}
