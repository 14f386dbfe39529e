//! Why a range is left as it is, and what whoever asked is told.

use crate::event::Errno;
use crate::machine::Machine;
use crate::units::Pfn;

/// Why a range was not collapsed (`enum scan_result`, mm/khugepaged.c).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// There is no page table, and no table of PMDs to put one into.
    NoUpperTable,
    /// There is no page table.
    NoTable,
    /// Pages that are not there, or zero pages: more than may be filled in.
    Holes,
    /// Swap entries: more than may be read back.
    Swapped,
    /// Pages that others map too: more than may be copied.
    Shared,
    /// An entry that maps nothing, when all have to.
    NotPresent,
    /// The process may write to none of the pages, or not to all.
    ReadOnly,
    /// The process accessed too few of the pages.
    NotAccessed,
    /// A page of a large folio, where the kernel takes none or none so large.
    LargeSource,
    /// MADV_FREE gave a page up.
    LazyFree,
    /// A page in the swap cache that is not the process's own.
    SwapCached,
    /// Somebody holds a page, which may pass.
    Held(Pfn),
    /// A page is locked, which passes.
    Locked,
    /// A page is being read from swap, which passes.
    Reading,
    /// No memory for the new folio.
    NoMemory,
    /// No memory for a page that is read from swap.
    SwapIn,
    /// Nothing of the file is cached there, or nothing can be read.
    Truncated,
    /// A large folio of a file, where the kernel takes none.
    LargeFile(Pfn),
    /// A page of a file has to be written first.
    Dirty(Pfn),
    /// The area has pages of its own beside the file's.
    AnonPages,
    /// Small entries map something else than the THP that is in the page cache.
    OtherPages,
    /// No THP is in the page cache where one was.
    NoThp,
    /// The THP cannot be mapped by a PMD.
    NotMappable,
}

impl Stop {
    /// What MADV_COLLAPSE returns (`madvise_collapse_errno()`, mm/khugepaged.c, v6.1, v7.2).
    pub(super) const fn errno(self) -> Errno {
        match self {
            Stop::NoMemory => Errno::Enomem,
            Stop::Holes => Errno::Ebusy,
            Stop::Held(_) | Stop::Locked | Stop::Reading | Stop::Dirty(_) => Errno::Eagain,
            _ => Errno::Einval,
        }
    }

    /// Whether MADV_COLLAPSE goes on behind such a range (`madvise_collapse()`).
    pub(super) const fn goes_on(self, m: &Machine) -> bool {
        match self {
            Stop::NoTable => m.policy.collapse_passes_holes,
            Stop::NoUpperTable | Stop::NotPresent | Stop::ReadOnly | Stop::NotAccessed => true,
            Stop::Held(_) | Stop::Locked | Stop::Reading | Stop::LargeFile(_) | Stop::NoThp => true,
            _ => false,
        }
    }
}
