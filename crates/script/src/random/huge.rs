//! Huge pages in random scenarios: the pool is always large enough for the next mapping, and for what a fork has to
//! copy, but it may be made too small for everything else.

use super::choose::{Chooser, MAPPINGS};
use super::world::{Huge, Page};
use crate::ast::{Action, Backing, KernelVerb, Name, Outcome, ProcessVerb, Size};

/// What is known of the pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Pages that it was asked to have.
    pages: u64,
    /// Pages that may be used or promised by now, at most; it only grows.
    taken: u64,
    /// Some huge page was pinned: fork may have to copy it.
    pinned: bool,
}

impl Chooser {
    /// A mapping of huge pages; where the pool may be too small for it, the pool first.
    pub(super) fn huge_mmap(&mut self, name: &'static str) -> Option<(Action, Outcome)> {
        let mapping = self.prng.pick(&MAPPINGS);
        if !self.processes[name].is_free(mapping) {
            return None;
        }
        let pmd = 1u64 << self.pmd_order();
        let huge = 1 + self.prng.below((self.most_pages / pmd).clamp(1, 3));
        if let Some(step) = self.make_room(huge)? {
            return Some(step);
        }
        self.pool.taken += huge;
        let short = self.prng.chance(1, 6);
        let size = if short { Size::Pages(huge * pmd - self.prng.below(pmd)) } else { Size::Pmds(huge) };
        let shared = self.prng.chance(1, 2);
        let read_only = self.prng.chance(1, 12);
        let kind = if read_only { Page::ReadOnly } else { Page::ReadWrite };
        let world = self.world(name);
        world.map(mapping, huge * pmd, kind);
        world.huge.insert(mapping.to_owned(), Huge { pages: huge, shared });
        let verb = ProcessVerb::Mmap {
            name: Name::new(mapping),
            size,
            backing: Backing::Hugetlb,
            shared,
            advice: None,
            read_only,
        };
        Some((Action::Process { name: Name::new(name), verb }, Outcome::Ok))
    }

    /// The step that makes the pool large enough for so many more pages, if it may be too small; `None` if it would
    /// become too large.
    fn make_room(&mut self, pages: u64) -> Option<Option<(Action, Outcome)>> {
        let wanted = self.pool.taken + pages;
        if self.pool.pages >= wanted {
            return Some(None);
        }
        let most = if self.pmd_order() == 9 { 24 } else { 100 };
        if wanted > most {
            return None;
        }
        self.pool.pages = wanted + self.prng.below(3);
        let verb = KernelVerb::Hugetlb(self.pool.pages as u32);
        Some(Some((Action::Kernel(verb), Outcome::Any)))
    }

    /// The pool becomes smaller, or as large as it has to be, or larger.
    pub(super) fn resize_pool(&mut self) -> KernelVerb {
        let taken = self.pool.taken;
        self.pool.pages = self.prng.pick(&[0, 0, taken / 2, taken, taken + 2]);
        KernelVerb::Hugetlb(self.pool.pages as u32)
    }

    /// Before a fork: the step that makes room for copies of huge pages that may be pinned, if one is needed; `None`
    /// if there cannot be room.
    pub(super) fn room_for_fork(&mut self, name: &str) -> Option<Option<(Action, Outcome)>> {
        let pages = self.processes[name].private_huge();
        if pages > 0 && self.pool.pinned { self.make_room(pages) } else { Some(None) }
    }

    /// A fork was done: the child may get a page of its own for each private one.
    pub(super) fn forked_huge(&mut self, child: &str) {
        let pages = self.processes[child].private_huge();
        self.pool.taken += pages;
        self.world(child).forget_huge(|huge| !huge.shared);
    }

    /// Huge pages are held: unmapped they are not free yet.
    pub(super) fn held_huge(&mut self, name: &str, mapping: &str, is_pin: bool) {
        if let Some(huge) = self.processes[name].huge.get(mapping) {
            self.pool.taken += huge.pages;
            self.pool.pinned |= is_pin;
        }
    }

    /// Whether there were huge pages at any time.
    pub(super) const fn has_huge(&self) -> bool {
        self.pool.taken > 0
    }

    /// Pages of a shared mapping may be gone, and nothing is promised in their place, to whoever maps them.
    pub(super) fn removed_huge(&mut self, name: &str, mapping: &str) {
        if self.processes[name].huge.contains_key(mapping) {
            self.processes.values_mut().for_each(|process| process.forget_huge(|huge| huge.shared));
        }
    }

    /// Huge pages were moved, and may have left others behind to which nothing is promised.
    pub(super) fn moved_huge(&mut self, name: &str, from: &str) {
        if let Some(huge) = self.processes[name].huge.get(from) {
            self.pool.taken += huge.pages;
        }
    }
}
