//! The units in which everything else is said: pages, folios, levels, address spaces.

use std::ops::Range;

/// A page frame number: the index of a base page in physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pfn(pub u32);

impl Pfn {
    /// The index of this frame, for arrays.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The frame `n` pages behind this one.
    #[inline]
    pub const fn add(self, n: u32) -> Pfn {
        Pfn(self.0 + n)
    }
}

/// The base-2 logarithm of a folio's number of base pages: order 9 is 512 pages, 2 MiB of 4 KiB pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Order(pub u8);

impl Order {
    /// A single base page.
    pub const ZERO: Order = Order(0);

    /// Number of base pages of a folio of this order.
    #[inline]
    pub const fn pages(self) -> u32 {
        1 << self.0
    }
}

/// Page-table level of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Entries that map one base page each.
    Pte,
    /// One entry that maps a whole PMD-sized folio.
    Pmd,
    /// One entry that maps a whole PUD-sized folio (DAX only).
    Pud,
}

/// The identity of an address space (`mm_struct`) as `_mm_ids` stores it: 0 is nobody
/// (`MM_ID_DUMMY`), real ones start at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MmId(pub u32);

impl MmId {
    /// No address space: the id in an empty slot.
    pub const NONE: MmId = MmId(0);
}

/// Consecutive base pages, `first .. first + len`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRange {
    /// The first frame.
    pub first: Pfn,
    /// How many frames; at least one wherever a range is passed to a scheme.
    pub len: u32,
}

impl PageRange {
    /// The pages `first .. first + len`.
    #[inline]
    pub const fn new(first: Pfn, len: u32) -> PageRange {
        PageRange { first, len }
    }

    /// A single page.
    #[inline]
    pub const fn one(page: Pfn) -> PageRange {
        PageRange { first: page, len: 1 }
    }

    /// As indexes into an array over all frames.
    #[inline]
    pub const fn indexes(self) -> Range<usize> {
        self.first.index()..self.first.index() + self.len as usize
    }

    /// The pages one by one.
    pub fn iter(self) -> impl Iterator<Item = Pfn> {
        (self.first.0..self.first.0 + self.len).map(Pfn)
    }

    /// Whether `page` is one of these.
    #[inline]
    pub const fn contains(self, page: Pfn) -> bool {
        page.0 >= self.first.0 && page.0 < self.first.0 + self.len
    }
}

/// What a folio holds; it decides which statistic counts it and which formulas apply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Anonymous memory.
    Anon,
    /// The page cache of a file on a disk.
    File,
    /// tmpfs, memfd, shared anonymous memory.
    Shmem,
    /// hugetlb: always mapped as a whole.
    Hugetlb,
    /// A page that KSM merged.
    Ksm,
    /// The shared zero page or the huge zero folio: mapped, never counted.
    Zero,
    /// Memory of a DAX device: nobody allocates or frees it, and the device keeps a reference on each folio.
    Device,
}

impl Kind {
    /// The name in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Anon => "anon",
            Kind::File => "file",
            Kind::Shmem => "shmem",
            Kind::Hugetlb => "hugetlb",
            Kind::Ksm => "ksm",
            Kind::Zero => "zero",
            Kind::Device => "device",
        }
    }

    /// Anonymous for the rmap: PageAnon is set on KSM pages too.
    #[inline]
    pub const fn is_anon(self) -> bool {
        matches!(self, Kind::Anon | Kind::Ksm)
    }
}

/// A folio as the counting schemes see it: where it starts, how large it is, what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Folio {
    /// The first page.
    pub head: Pfn,
    /// The base-2 logarithm of its size.
    pub order: Order,
    /// What it holds.
    pub kind: Kind,
}

impl Folio {
    /// Number of base pages, N in the formulas.
    #[inline]
    pub const fn pages(self) -> u32 {
        self.order.pages()
    }

    /// Whether it has tail pages, and with them the counters of large folios.
    #[inline]
    pub const fn is_large(self) -> bool {
        self.order.0 > 0
    }

    /// All its pages.
    #[inline]
    pub const fn range(self) -> PageRange {
        PageRange { first: self.head, len: self.order.pages() }
    }
}
