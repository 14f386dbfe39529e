//! What processes and the kernel do.

use crate::ast::{
    Advice, Beyond, DaxAlign, FileKind, Hold, Huge, MthpMode, Name, Protection, Region, ShmemMthpMode, Size,
    Thp, ThpMode, Userfault, Value,
};

/// What a mapping maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Anonymous memory.
    Anon,
    /// A file.
    File {
        /// The file.
        file: Name,
        /// The file's page that the mapping begins with.
        from_page: u64,
    },
    /// Anonymous hugetlb pages.
    Hugetlb,
    /// The memory of a DAX device of its own.
    Dax(DaxAlign),
}

/// What a process does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProcessVerb {
    /// mmap(2), aligned to a PMD.
    Mmap {
        /// What the mapping is called from now on.
        name: Name,
        /// How large it is.
        size: Size,
        /// What it maps.
        backing: Backing,
        /// MAP_SHARED rather than MAP_PRIVATE.
        shared: bool,
        /// madvise(2) of all of it, at once.
        advice: Option<Thp>,
        /// Not writable.
        read_only: bool,
    },
    /// Keep an address range free that `mremap` can move into.
    Reserve {
        /// What the range is called.
        name: Name,
        /// How large it is.
        size: Size,
    },
    /// Read from every page.
    Read(Region),
    /// Write to every page.
    Write(Region),
    /// Write this byte throughout.
    Fill(Region, u8),
    /// munmap(2).
    Munmap(Region),
    /// mprotect(2).
    Mprotect(Region, Protection),
    /// mlock(2).
    Mlock(Region),
    /// munlock(2).
    Munlock(Region),
    /// mremap(2) with MREMAP_FIXED.
    Mremap {
        /// What is moved.
        from: Region,
        /// Into which reserved range or mapping.
        to: Name,
        /// To which page of it.
        page: u64,
    },
    /// madvise(2).
    Madvise(Region, Advice),
    /// fork(2); the child has this name.
    Fork(Name),
    /// exit(2).
    Exit,
    /// Take a FOLL_GET reference on each page.
    Get(Region),
    /// Drop what the `Get` of the same process and region took.
    Put(Region),
    /// Take a long-term FOLL_PIN reference on each page.
    Pin(Region),
    /// Drop what the `Pin` of the same process and region took.
    Unpin(Region),
    /// Split the PMDs that map these pages, and nothing else.
    SplitPmd(Region),
    /// A handler of userfaultfd(2) fills these pages; not modelled.
    Userfault(Region, Userfault),
}

/// What the kernel or its administrator does. Regions name their process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelVerb {
    /// Make a file.
    File {
        /// What it is called.
        name: Name,
        /// How large it is.
        size: Size,
        /// Where it lives.
        kind: FileKind,
        /// The `huge=` mount option; never with a file on a disk.
        huge: Option<Huge>,
    },
    /// truncate(2).
    Truncate {
        /// The file.
        file: Name,
        /// Its new size, which may be zero: see [`Size::pages_or_zero`].
        size: Size,
    },
    /// fallocate(2) with FALLOC_FL_PUNCH_HOLE.
    Punch {
        /// The file.
        file: Name,
        /// The first page.
        start: u64,
        /// The page behind the last one.
        end: u64,
    },
    /// Write 1, 2 or 3 to `/proc/sys/vm/drop_caches`.
    DropCaches(u8),
    /// Split every folio mapped in the region.
    Split {
        /// The region.
        region: Region,
        /// To folios of this order; 0 if left out.
        order: Option<u8>,
        /// Not uniformly, but around this page of the folio.
        at: Option<u64>,
        /// The caller collects the pieces behind the first on a list that holds a reference on each.
        list: bool,
    },
    /// Drop the references of the lists that splits were asked for.
    PutBack,
    /// move_pages(2).
    Migrate {
        /// The pages.
        region: Region,
        /// The node they are to move to.
        node: u32,
        /// MPOL_MF_MOVE_ALL: pages that other processes map as well.
        all: bool,
    },
    /// Something that the model does not have.
    Beyond(Region, Beyond),
    /// khugepaged scans these pages.
    Khugepaged(Region),
    /// ksmd makes this many full passes.
    Ksm(u32),
    /// swapon(2) of a device of this size, or as large as memory.
    SwapOn(Option<Size>),
    /// swapoff(2).
    SwapOff,
    /// The number of hugetlb pages in the pool.
    Hugetlb(u32),
    /// `transparent_hugepage/enabled`.
    Thp(ThpMode),
    /// `transparent_hugepage/hugepages-<size>/enabled`. The size is a power of two.
    Mthp(Size, MthpMode),
    /// `transparent_hugepage/hugepages-<size>/shmem_enabled`. The size is a power of two.
    ShmemMthp(Size, ShmemMthpMode),
    /// Another tunable.
    Tune {
        /// Which.
        key: Name,
        /// What it is set to.
        value: Value,
    },
    /// When the per-CPU LRU batches are drained.
    Lru(Hold),
}
