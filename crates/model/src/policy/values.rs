//! Values of policies about huge pages of the pool and pins.

/// Whether a registered io_uring buffer keeps one pin for several pages of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinMerge {
    /// Each page keeps its pin.
    Never,
    /// If all pages of the buffer are one folio's.
    OneFolio,
    /// If the buffer consists of folios of one size, of which only the first and the last are covered in part.
    EqualFolios,
}

/// What MADV_DONTNEED does to hugetlb pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugetlbDontNeed {
    /// Refuses them.
    Refuse,
    /// Unmaps every page that the range touches; it has to begin with one.
    Touched,
    /// Unmaps every page that lies in the range; it has to begin with one.
    Covered,
}

/// When a hugetlb page that its first process unmaps is promised to it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugetlbRestore {
    /// Never: another page may be had only if one is left.
    Never,
    /// At once, though copies in children may map it still.
    AtOnce,
    /// If nobody else maps it.
    WithLastMapping,
}

/// Whether move_pages moves hugetlb pages, and to what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugetlbMigrate {
    /// It does not.
    Never,
    /// To a free page of the pool.
    ToPool,
    /// To a free page of the pool, else to a fresh one.
    ToAny,
}
