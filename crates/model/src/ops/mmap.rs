//! mmap: anonymous private mappings, and mappings of files; shared anonymous memory is a file without a name.

use crate::machine::files::{FileKind, ShmemHuge};
use crate::machine::frames::Root;
use crate::machine::vma::{FileArea, Protection, ThpAdvice, Vma};
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
        file: None,
        anon: None,
        hugetlb: None,
    };
    mm.vmas.borrow_mut().insert(vma);
}

/// What is mapped of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The file.
    pub file: Root,
    /// Its page that the mapping begins with.
    pub offset: u64,
    /// Writes go to the file.
    pub shared: bool,
}

/// Maps `pages` pages of a file at `start`, where nothing is mapped. They may reach behind its end.
pub fn map_file(
    m: &Machine,
    mm: &Mm,
    (start, pages): (u64, u64),
    part: Part,
    protection: Protection,
    advice: ThpAdvice,
) {
    m.join_root(part.file, mm.id);
    let root = if part.shared { part.file } else { m.add_root(mm.id) };
    let vma = Vma {
        start,
        end: start + pages,
        offset: part.offset,
        protection,
        advice,
        locked: false,
        mergeable: false,
        root,
        file: Some(FileArea { root: part.file, shared: part.shared }),
        anon: None,
        hugetlb: None,
    };
    mm.vmas.borrow_mut().insert(vma);
}

/// Maps `pages` pages of shared anonymous memory at `start`, where nothing is mapped (`shmem_zero_setup()`,
/// mm/shmem.c).
pub fn map_shared(
    m: &Machine,
    mm: &Mm,
    (start, pages): (u64, u64),
    protection: Protection,
    advice: ThpAdvice,
) {
    let file = m.add_file(FileKind::AnonShmem, ShmemHuge::Never, pages, true);
    let part = Part { file, offset: 0, shared: true };
    map_file(m, mm, (start, pages), part, protection, advice);
}
