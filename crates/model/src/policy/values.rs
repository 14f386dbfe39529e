//! The values that policies have, where they are more than yes, no or a number.

/// Who may write to a small anonymous page in place after a write fault, instead of getting a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SmallReuse {
    /// The map count is 1.
    Mapcount,
    /// The map count and the reference count are 1.
    MapcountAndReferences,
    /// The page is marked exclusive; or nobody else holds a reference, looked at after an LRU drain.
    ExclusiveOrReferences,
}

/// The same for a page of a large folio that a PTE maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LargeReuse {
    /// There is no such page: large folios are mapped by PMDs alone.
    Never,
    /// The greatest map count of all pages of the folio is 1.
    GreatestMapcount,
    /// The folio has one reference: this page is its last mapped one.
    OnlyReference,
    /// The page is marked exclusive; or the folio has one reference.
    ExclusiveOrOnlyReference,
    /// The page is marked exclusive.
    Exclusive,
    /// The page is marked exclusive; or one address space owns all mappings and nobody else a reference.
    ExclusiveOrOwned,
}

/// The same for a PMD-mapped folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PmdReuse {
    /// The greatest map count of any page is 1.
    GreatestMapcount,
    /// The head is marked exclusive; or nobody else holds a reference.
    ExclusiveOrReferences,
}

/// What a write to a shared PMD-mapped folio does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PmdCopy {
    /// Copies the whole folio.
    WholeFolio,
    /// Splits the PMD and copies one page.
    OnePage,
}

/// What a write to the huge zero folio does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeZeroWrite {
    /// Allocates a THP.
    Thp,
    /// Splits the PMD into zero-page PTEs and gives one page.
    OnePage,
}

/// What debugfs split_huge_pages does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugfsSplit {
    /// There is no such file.
    Absent,
    /// Every THP of the machine.
    Everything,
    /// The folios mapped in a range of a process.
    Range,
}

/// What a long-term pin for writing takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// There is no io_uring to take one.
    Absent,
    /// An ordinary reference.
    Reference,
    /// FOLL_PIN; folios above this order count it in a field of their own.
    Counted {
        /// Smallest order with a pincount.
        from_order: u8,
    },
}

/// Which mappings of files io_uring cannot register as buffers, which are pinned for long and for writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinRefuses {
    /// All.
    Files,
    /// Those of files on a disk: EOPNOTSUPP, after the pages were brought in.
    Disks,
    /// Shared ones of files on a disk: EFAULT, before anything is touched.
    SharedDisks,
}

/// How the deferred split queue works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeferredQueue {
    /// None.
    Absent,
    /// Folios that were partially unmapped.
    List,
    /// As `List`, with the flag PG_partially_mapped; fresh THPs are queued as candidates too.
    Flagged,
}

/// Which PTEs of a range have to be writable before it is collapsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollapseWritable {
    /// All.
    All,
    /// One at least.
    One,
    /// None.
    None,
}

/// What MADV_FREE does where there is no swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MadvFree {
    /// There is none.
    Absent,
    /// The same as MADV_DONTNEED.
    DontNeed,
    /// Pages may be taken under memory pressure; a partly covered folio is split. Pages of a PTE-mapped
    /// folio are looked at one by one.
    LazyByPage,
    /// The same, and PTEs that cover a folio whole leave it whole.
    LazyByFolio,
}

/// How the kernel finds out that others map a folio too, before it migrates for one process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharedTest {
    /// The page's map count is not 1.
    PageMapcount,
    /// That of its folio's first page is not 1 (`folio_estimated_sharers()`, include/linux/mm.h, v6.8).
    FirstPage,
    /// That of its folio is not 1, though the process may map more than one page of it.
    FolioMapcount,
    /// What it takes for shared of a folio.
    MaybeShared,
}

/// Where ksmd finds pages that nobody may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KsmProtNone {
    /// Where it scans, and where it compares with a page that it saw before.
    Everywhere,
    /// Where it scans: who meets one of them on the way through the tree of those seen before is not compared further.
    ByScan,
    /// Nowhere.
    Nowhere,
}

/// What becomes of a place on the deferred split queue when a folio is migrated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrateQueue {
    /// It is forgotten.
    Forget,
    /// The new folio gets it as it is once the old one is unmapped, which page by page looks partially mapped.
    AsUnmapped,
}

/// Which large folios reclaim splits before it swaps them out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReclaimSplits {
    /// Those that no PMD maps.
    WithoutPmd,
    /// Those on the deferred split queue.
    Queued,
    /// Those that are flagged as partially mapped.
    PartiallyMapped,
}

/// What a fault on a swap entry maps whose page is part of a large folio in the swap cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapIn {
    /// The page if it is the folio's first, else a copy of it.
    CopyTails,
    /// The page.
    OnePage,
    /// The whole folio where its swap entries stand in a row.
    WholeFolio,
}

/// When a fault on a swap entry takes the folio out of the swap cache, where swap is not short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapInFrees {
    /// Before it is mapped for writing, if nobody else seems to hold it.
    BeforeMapping,
    /// Once it is mapped, where the fault could not give write access and nobody else seems to hold it.
    UnlessExclusive,
    /// Once it is mapped for writing.
    IfExclusive,
}

/// Which large folios of the page cache reclaim splits before it looks at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReclaimSplitsFiles {
    /// All, and folios that MADV_FREE gave up.
    All,
    /// Those of shared memory.
    Shmem,
    /// None: shared memory goes to swap whole.
    None,
}

/// What truncation does to the entry of a large folio that is swapped out and reaches across the new end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LargeSwapTruncate {
    /// It is freed with all its pages, those before the new end too.
    FreesAll,
    /// It is left alone and looked for again, for ever.
    NeverEnds,
}

/// What a fault maps of a large file folio by PTEs, where it does not map around itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileFault {
    /// The page.
    OnePage,
    /// All of the folio, if it is shared memory without a name (memfd, shared anonymous memory).
    AnonShmem,
    /// All of the folio, if it is shared memory.
    Shmem,
    /// All of the folio.
    WholeFolio,
}

/// What truncation and holes do to a large folio of which they cover a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartialTruncate {
    /// The pages are filled with zeroes, and stay.
    Zero,
    /// The folio is split to single pages.
    SplitToPages,
    /// The folio is split around the ends of the range, into pieces as large as they can be.
    SplitAround,
}

/// When a per-CPU batch of pages bound for the LRU is emptied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LruFlush {
    /// When a page filled it; a compound page waits like any other.
    WhenFull,
    /// When a page comes and the batch is full; that page stays in the empty batch.
    BeforeAdding,
    /// When a page filled it, or a compound page came.
    AfterAdding,
}

/// Where pages wait that are locked into memory, or no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MlockBatch {
    /// Nowhere: they go to the list of such pages at once.
    None,
    /// Where fresh pages wait.
    WithOthers,
    /// In a batch of their own.
    Own,
}

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

/// Which clusters are looked at for a folio, one after the other. At the end a single page goes wherever there is room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ClusterChoice {
    /// Free ones.
    #[default]
    Free,
    /// Free ones, then those of its order.
    FreeThenUsed,
    /// Those of its order, then free ones.
    UsedThenFree,
}
