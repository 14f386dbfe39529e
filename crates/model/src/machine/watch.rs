//! Counters that show themselves between the writes of one change, where somebody watches phases.

use super::Machine;
use crate::counters::{Counters, Crossed, Scan};
use crate::event::Phase;
use crate::field::Field;
use crate::units::{MmId, PageRange, Pfn};

/// A machine's counters; a stage of a change becomes a phase of `pages`.
pub(crate) struct Watched<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) mm: MmId,
    pub(crate) pages: PageRange,
}

impl Counters for Watched<'_> {
    fn read(&self, field: Field, at: Pfn) -> i32 {
        self.machine.counters().read(field, at)
    }

    fn add(&self, field: Field, at: Pfn, delta: i32) -> i32 {
        self.machine.counters().add(field, at, delta)
    }

    fn set(&self, field: Field, at: Pfn, value: i32) {
        self.machine.counters().set(field, at, value);
    }

    fn add_each(&self, field: Field, pages: PageRange, delta: i32) -> Crossed {
        self.machine.counters().add_each(field, pages, delta)
    }

    fn set_each(&self, field: Field, pages: PageRange, value: i32) {
        self.machine.counters().set_each(field, pages, value);
    }

    fn scan(&self, field: Field, pages: PageRange) -> Scan {
        self.machine.counters().scan(field, pages)
    }

    fn stage(&self, stage: Phase) {
        self.machine.phase(stage, Some(self.mm), self.pages);
    }

    fn lock(&self, head: Pfn) {
        self.machine.counters().lock(head);
    }

    fn unlock(&self, head: Pfn) {
        self.machine.counters().unlock(head);
    }
}
