//! What happened inside an operation, as data: its phases, with the counters between them.

use crate::field::Field;
use crate::units::{Folio, PageRange};

/// A stage of a composite operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// A folio was allocated: one reference, nothing mapped.
    Allocated,
    /// References for the mappings to come were taken.
    ReferencesTaken,
    /// The mapping was added to the counters and to the page tables.
    Mapped,
    /// The caller of a split holds its reference.
    CallerHolds,
    /// One address space's mappings of the folio were removed.
    Unmapped,
    /// The references were frozen: nobody can take one now.
    Frozen,
    /// The folio was cut; each piece has the values of a fresh folio.
    Split,
    /// Each piece has the references that the splitter and caches own.
    Unfrozen,
    /// Pieces behind the first were put on the caller's list, with a reference each.
    Listed,
    /// One address space's mappings were put back.
    Remapped,
    /// The splitter's references on the pieces were dropped, but for the piece that the caller keeps.
    FinalPut,
    /// The caller's reference was dropped.
    CallerPut,
    /// 2011: the tails got the head's map count and their references, and one each for the splitter.
    TailsCounted,
    /// A PMD is split: each page's PTE is counted, the PMD is still.
    PtesCounted,
    /// A PMD is split while others stay: every page's map count is one higher from now on (PG_double_map).
    BiasAdded,
    /// A PMD is split: it is not counted any more.
    PmdUncounted,
    /// The last PMD is gone: the extra map count of every page went with it.
    BiasDropped,
    /// A write fault took a reference on the old page while it copies.
    OldPageHeld,
    /// The copy is mapped in the counters, the old page still too.
    CopyMapped,
    /// The old page's mapping was removed from the counters.
    OldUnmapped,
    /// References of removed mappings were dropped, after the TLB flush.
    ReferencesDropped,
    /// A collapse took the old pages from the LRU, with a reference on each.
    Isolated,
    /// The folio was put into the swap cache, which owns a reference for each page.
    SwapCached,
    /// The folio took the place of others in the page cache, which owns a reference for each page.
    PageCached,
    /// The folio left the page cache, which drops its reference on each page.
    Uncached,
}

impl Phase {
    /// What the phase did, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Allocated => "allocated",
            Phase::ReferencesTaken => "references taken",
            Phase::Mapped => "mapped",
            Phase::CallerHolds => "caller's reference",
            Phase::Unmapped => "unmapped",
            Phase::Frozen => "frozen",
            Phase::Split => "split",
            Phase::Unfrozen => "unfrozen",
            Phase::Listed => "put on the caller's list",
            Phase::Remapped => "remapped",
            Phase::FinalPut => "final put",
            Phase::CallerPut => "caller's put",
            Phase::TailsCounted => "tails counted",
            Phase::PtesCounted => "PTEs counted",
            Phase::BiasAdded => "bias added",
            Phase::PmdUncounted => "PMD uncounted",
            Phase::BiasDropped => "bias dropped",
            Phase::OldPageHeld => "old page held",
            Phase::CopyMapped => "copy mapped",
            Phase::OldUnmapped => "old page unmapped",
            Phase::ReferencesDropped => "references dropped",
            Phase::Isolated => "isolated from the LRU",
            Phase::SwapCached => "put into the swap cache",
            Phase::PageCached => "put into the page cache",
            Phase::Uncached => "taken out of the page cache",
        }
    }
}

/// A phase that was passed, with the state of the pages that it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The phase.
    pub phase: Phase,
    /// The address space whose mappings it is about, as its number, where it is about one.
    pub mm: Option<crate::units::MmId>,
    /// The folios within the pages that the operation works on, neighbours that print alike as one.
    pub folios: Vec<FolioImage>,
}

/// The raw counters of a folio at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolioImage {
    /// The first folio.
    pub folio: Folio,
    /// How many neighbours of the same size hold the same values.
    pub count: u32,
    /// For each field: the values, as runs of pages.
    pub fields: Vec<(Field, Vec<(PageRange, i32)>)>,
}

impl FolioImage {
    /// Whether `other` is a neighbour that prints alike.
    pub fn is_alike(&self, other: &FolioImage) -> bool {
        let relative = |image: &FolioImage, (field, runs): &(Field, Vec<(PageRange, i32)>)| {
            let runs = runs.iter().map(|(run, value)| (run.first.0 - image.folio.head.0, run.len, *value));
            (*field, runs.collect::<Vec<_>>())
        };
        (self.folio.order, self.folio.kind) == (other.folio.order, other.folio.kind)
            && self
                .fields
                .iter()
                .map(|row| relative(self, row))
                .eq(other.fields.iter().map(|row| relative(other, row)))
    }
}

/// Why a folio was left as it was: the outcome of a split, migration or collapse that the kernel refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The folio.
    pub folio: Folio,
    /// Why.
    pub why: Why,
}

/// The reason of a [`Refusal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Somebody holds references that mappings and caches do not explain.
    Held {
        /// The references found.
        refcount: i64,
        /// The references expected, the caller's included.
        expected: i64,
    },
    /// Anonymous folios cannot have this order (1).
    NoSuchOrder {
        /// The order asked for.
        order: u8,
    },
    /// The kernel splits anonymous folios to single pages only.
    OnlyToPages,
    /// Other address spaces map it too, or seem to, and the caller did not ask to move such folios.
    Shared,
    /// There is no memory for the new folio.
    NoMemory,
    /// There is no room in the swap device.
    NoSwap,
    /// An area that is locked (VM_LOCKED) maps it.
    Locked,
    /// It was written since MADV_FREE gave it up.
    Written,
    /// Somebody else accessed it of late.
    Accessed,
    /// Nothing maps it, so that it cannot be split.
    Unmapped,
    /// Folios in the swap cache are split to single pages only.
    SwapCached,
    /// It is a huge page of the pool, which is never split.
    Hugetlb,
    /// It belongs to no file any more.
    Truncated,
    /// The file system has something to write that it keeps with the folio.
    Dirty,
    /// It is large, and the kernel makes huge pages of files from single pages only.
    Large,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Held { refcount, expected } => write!(f, "refcount {refcount}, expected {expected}"),
            Why::NoSuchOrder { order } => write!(f, "anonymous folios cannot have order {order}"),
            Why::Shared => f.write_str("mapped by others too"),
            Why::NoMemory => f.write_str("no memory for the new folio"),
            Why::NoSwap => f.write_str("no room in swap"),
            Why::Locked => f.write_str("locked in memory"),
            Why::Accessed => f.write_str("accessed by others of late"),
            Why::Written => f.write_str("written since MADV_FREE"),
            Why::Unmapped => f.write_str("not mapped"),
            Why::Truncated => f.write_str("truncated: it belongs to no file any more"),
            Why::Dirty => f.write_str("not written to the disk yet"),
            Why::Large => f.write_str("a large folio, and only single pages are collapsed"),
            Why::SwapCached => f.write_str("in the swap cache, split to order 0 only"),
            Why::Hugetlb => f.write_str("hugetlb pages are never split"),
            Why::OnlyToPages => f.write_str("this kernel splits anonymous folios to order 0 only"),
        }
    }
}

/// An error number that a system call returns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Errno {
    /// No such file or directory.
    Enoent,
    /// Cannot allocate memory; also: part of the range is not mapped.
    Enomem,
    /// Bad address: no mapping there, or not allowed. A touch from user space would be SIGSEGV or SIGBUS.
    Efault,
    /// Device or resource busy.
    Ebusy,
    /// Invalid argument.
    Einval,
    /// Function not implemented.
    Enosys,
    /// Try again.
    Eagain,
    /// No such device, or no such NUMA node.
    Enodev,
    /// Permission denied.
    Eacces,
    /// Operation not supported.
    Eopnotsupp,
}

impl Errno {
    /// The name, `EINVAL`.
    pub const fn name(self) -> &'static str {
        match self {
            Errno::Enoent => "ENOENT",
            Errno::Enomem => "ENOMEM",
            Errno::Efault => "EFAULT",
            Errno::Ebusy => "EBUSY",
            Errno::Einval => "EINVAL",
            Errno::Enosys => "ENOSYS",
            Errno::Eagain => "EAGAIN",
            Errno::Enodev => "ENODEV",
            Errno::Eacces => "EACCES",
            Errno::Eopnotsupp => "EOPNOTSUPP",
        }
    }
}
