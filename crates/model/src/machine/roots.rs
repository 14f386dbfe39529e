//! Reverse mapping's roots: for each the address spaces that have an area of it, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::frames::Root;
use super::{Machine, Mm};
use crate::units::MmId;

/// Roots to make before the first look for unused ones.
const FIRST_SWEEP: usize = 256;

/// All roots. Root 0 belongs to nobody.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    members: RefCell<Vec<Vec<MmId>>>,
    free: RefCell<Vec<Root>>,
    /// With so many roots those are looked for that nobody uses any more.
    sweep_at: Cell<usize>,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots {
            members: RefCell::new(vec![Vec::new()]),
            free: RefCell::default(),
            sweep_at: Cell::new(FIRST_SWEEP),
        }
    }
}

impl Roots {
    fn len(&self) -> usize {
        self.members.borrow().len()
    }

    fn add(&self, first: Option<MmId>) -> Root {
        let mut members = self.members.borrow_mut();
        if let Some(root) = self.free.borrow_mut().pop() {
            members[root.0 as usize].extend(first);
            return root;
        }
        members.push(first.into_iter().collect());
        Root(members.len() as u32 - 1)
    }

    fn leave(&self, root: Root, mm: MmId) {
        self.members.borrow_mut()[root.0 as usize].retain(|member| *member != mm);
    }

    /// Calls `f` with the members of a root.
    pub(super) fn with<T>(&self, root: Root, f: impl FnOnce(&[MmId]) -> T) -> T {
        f(&self.members.borrow()[root.0 as usize])
    }

    /// Frees the roots without members that are not `used` either.
    fn sweep(&self, mut used: Vec<bool>) {
        used[0] = true;
        for (used, members) in used.iter_mut().zip(self.members.borrow().iter()) {
            *used |= !members.is_empty();
        }
        let unused = (0u32..).zip(&used).filter(|(_, used)| !**used).map(|(root, _)| Root(root));
        let free: Vec<Root> = unused.collect();
        self.sweep_at.set(FIRST_SWEEP.max(2 * (used.len() - free.len())));
        *self.free.borrow_mut() = free;
    }
}

impl Machine {
    /// A new root for anonymous folios of `mm`.
    pub fn add_root(&self, mm: MmId) -> Root {
        self.new_root(Some(mm))
    }

    /// A new root for the folios of a file, which nobody maps yet.
    pub(super) fn add_file_root(&self) -> Root {
        self.new_root(None)
    }

    fn new_root(&self, first: Option<MmId>) -> Root {
        if self.roots.free.borrow().is_empty() && self.roots.len() >= self.roots.sweep_at.get() {
            self.roots.sweep(self.used_roots());
        }
        self.roots.add(first)
    }

    /// The roots that files, folios or merged pages belong to: some outlive the last area that could map them.
    fn used_roots(&self) -> Vec<bool> {
        let mut used = vec![false; self.roots.len()];
        for folio in self.frames.folios() {
            used[self.frames.mapping(folio).root.0 as usize] = true;
        }
        self.ksm.each_mapping(|mapping| used[mapping.root.0 as usize] = true);
        self.files.each(|file| used[file.root.0 as usize] = true);
        used
    }

    /// Lets `mm` map folios of `root` too.
    pub fn join_root(&self, root: Root, mm: MmId) {
        let members = &mut self.roots.members.borrow_mut()[root.0 as usize];
        if !members.contains(&mm) {
            members.push(mm);
        }
    }

    /// Takes `mm` from a root of which it has no area any more.
    pub fn leave_root(&self, root: Root, mm: MmId) {
        self.roots.leave(root, mm);
    }

    /// Calls `f` with every address space that may map folios of `root`, in the order in which they joined. Who
    /// may map them does not change meanwhile.
    pub fn each_member(&self, root: Root, mut f: impl FnMut(&Rc<Mm>)) {
        let mms = self.mms.borrow();
        self.roots.with(root, |members| {
            members.iter().filter_map(|id| mms[id.0 as usize].as_ref()).for_each(&mut f);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::vma::{Protection, ThpAdvice};
    use super::super::{Machine, Mode};
    use crate::ops::fault::{self, Access};
    use crate::ops::{hold, mmap, munmap};
    use crate::profile::Profile;

    #[test]
    fn roots_that_nobody_uses_are_made_again() {
        let m = Machine::new(&Profile::newest(), Config::new(3), Mode::Checked);
        let mm = m.add_mm();
        let map = || mmap::map(&m, &mm, (8, 8), Protection::READ_WRITE, ThpAdvice::Huge);
        map();
        fault::touch(&m, &mm, (8, 8), Access::Write).expect("room");
        hold::get(&m, &mm, (8, 1)).expect("mapped");
        let held = m.folio(mm.table.read(8).page());
        munmap::unmap(&m, &mm, (8, 8)).expect("nothing huge is cut");
        let root = m.frames.mapping(held).root;
        for _ in 0..2000 {
            map();
            assert_ne!(mm.vmas.borrow().all()[0].root, root, "a folio that somebody holds belongs to it");
            munmap::unmap(&m, &mm, (8, 8)).expect("nothing huge is cut");
        }
        assert!(m.roots.len() <= super::FIRST_SWEEP, "{} roots", m.roots.len());
        assert!(hold::put(&m, &mm, (8, 1)));
    }
}
