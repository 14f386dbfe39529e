//! mmap: anonymous private mappings.

use crate::machine::vma::{Protection, ThpAdvice, Vma};
use crate::machine::{Machine, Mm};

/// Maps `pages` pages of private anonymous memory at `start`, where nothing is mapped.
pub fn map(m: &Machine, mm: &Mm, (start, pages): (u64, u64), protection: Protection, advice: ThpAdvice) {
    let root = m.add_root(mm.id);
    let vma = Vma {
        start,
        end: start + pages,
        offset: start,
        protection,
        advice,
        locked: false,
        mergeable: false,
        root,
        anon: None,
        hugetlb: None,
    };
    mm.vmas.borrow_mut().insert(vma);
}
