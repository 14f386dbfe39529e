//! The closed sets of words: a row for each word, from which parser, printer and suggestions follow.

/// One of a closed set of words.
pub trait Word: Copy + Eq + 'static {
    /// All of them, in the order in which the language's description has them.
    const ALL: &'static [Self];

    /// How it is written.
    fn word(self) -> &'static str;

    /// The one that is written like this.
    fn from_word(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|word| word.word() == text)
    }
}

macro_rules! words {
    ($($(#[$outer:meta])* $visible:vis enum $name:ident {
        $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)?
    })+) => {$(
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        $visible enum $name { $($(#[$inner])* $variant),+ }

        impl $crate::ast::Word for $name {
            const ALL: &'static [$name] = &[$($name::$variant),+];

            fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::ast::Word::word(*self))
            }
        }
    )+};
}
pub(crate) use words;

words! {
    /// What a new mapping is told about transparent huge pages.
    pub enum Thp {
        /// MADV_HUGEPAGE.
        Huge = "thp",
        /// MADV_NOHUGEPAGE.
        NoHuge = "nothp",
    }

    /// What mprotect(2) allows.
    pub enum Protection {
        /// Reading.
        Ro = "ro",
        /// Reading and writing.
        Rw = "rw",
        /// Nothing.
        None = "none",
    }

    /// What madvise(2) is told.
    pub enum Advice {
        /// MADV_DONTNEED.
        DontNeed = "dontneed",
        /// MADV_FREE.
        Free = "free",
        /// MADV_PAGEOUT.
        Pageout = "pageout",
        /// MADV_COLD.
        Cold = "cold",
        /// MADV_COLLAPSE.
        Collapse = "collapse",
        /// MADV_HUGEPAGE.
        Hugepage = "hugepage",
        /// MADV_NOHUGEPAGE.
        NoHugepage = "nohugepage",
        /// MADV_MERGEABLE.
        Mergeable = "mergeable",
        /// MADV_UNMERGEABLE.
        Unmergeable = "unmergeable",
        /// MADV_POPULATE_READ.
        PopulateRead = "populate_read",
        /// MADV_POPULATE_WRITE.
        PopulateWrite = "populate_write",
        /// MADV_REMOVE.
        Remove = "remove",
    }

    /// Where a file lives.
    pub enum FileKind {
        /// On a tmpfs mount of its own.
        Tmpfs = "tmpfs",
        /// On the kernel's internal shmem mount: memfd_create(2).
        Memfd = "memfd",
        /// On a disk, with ext4: large folios from 6.16 on.
        Ext4 = "ext4",
        /// On a disk, with XFS: large folios from 5.18 on.
        Xfs = "xfs",
        /// On a file system that maps the memory of a device itself (`dax=always`); not modelled.
        FsDax = "fsdax",
    }

    /// What a handler of userfaultfd(2) does.
    pub enum Userfault {
        /// UFFDIO_COPY.
        Copy = "copy",
        /// UFFDIO_ZEROPAGE.
        ZeroPage = "zeropage",
        /// UFFDIO_MOVE.
        Move = "move",
    }

    /// What a kernel does that the model does not have.
    pub enum Beyond {
        /// Migration to the memory of a device that the CPU cannot reach (HMM).
        Device = "device",
        /// Memory failure.
        Poison = "poison",
        /// A uprobe at the first page.
        Uprobe = "uprobe",
    }

    /// The alignment of a DAX device: what one entry of its mappings maps.
    pub enum DaxAlign {
        /// A page.
        Pte = "pte",
        /// What a PMD maps.
        Pmd = "pmd",
        /// What a PUD maps: 512 PMDs.
        Pud = "pud",
    }

    /// The `huge=` option of a tmpfs mount.
    pub enum Huge {
        /// Huge pages wherever possible.
        Always = "always",
        /// None.
        Never = "never",
        /// Only where they do not reach past the end of the file.
        WithinSize = "within_size",
        /// Only where madvise(2) asks for them.
        Advise = "advise",
    }

    /// `transparent_hugepage/enabled`.
    pub enum ThpMode {
        /// Everywhere.
        Always = "always",
        /// Where madvise(2) asks for them.
        Madvise = "madvise",
        /// Nowhere.
        Never = "never",
    }

    /// `hugepages-<size>/enabled`.
    pub enum MthpMode {
        /// Everywhere.
        Always = "always",
        /// Where madvise(2) asks for them.
        Madvise = "madvise",
        /// As `transparent_hugepage/enabled` says.
        Inherit = "inherit",
        /// Nowhere.
        Never = "never",
    }

    /// `hugepages-<size>/shmem_enabled`.
    pub enum ShmemMthpMode {
        /// Everywhere.
        Always = "always",
        /// As `transparent_hugepage/shmem_enabled` says.
        Inherit = "inherit",
        /// Only where they do not reach past the end of the file.
        WithinSize = "within_size",
        /// Where madvise(2) asks for them.
        Advise = "advise",
        /// Nowhere.
        Never = "never",
    }

    /// When the per-CPU LRU batches are drained.
    pub enum Hold {
        /// No longer before each observation.
        Hold = "hold",
        /// Before each observation.
        Auto = "auto",
        /// Once, now.
        Drain = "drain",
    }

    /// How an expectation compares.
    pub enum Comparison {
        /// Equal.
        Eq = "==",
        /// Not equal.
        Ne = "!=",
        /// At most.
        Le = "<=",
        /// Less.
        Lt = "<",
        /// At least.
        Ge = ">=",
        /// More.
        Gt = ">",
    }

    /// An error number.
    #[allow(missing_docs, reason = "errno(3) describes them")]
    pub enum Errno {
        EPERM = "EPERM",
        ENOENT = "ENOENT",
        ESRCH = "ESRCH",
        EINTR = "EINTR",
        EIO = "EIO",
        ENXIO = "ENXIO",
        E2BIG = "E2BIG",
        EBADF = "EBADF",
        EAGAIN = "EAGAIN",
        ENOMEM = "ENOMEM",
        EACCES = "EACCES",
        EFAULT = "EFAULT",
        EBUSY = "EBUSY",
        EEXIST = "EEXIST",
        ENODEV = "ENODEV",
        EINVAL = "EINVAL",
        ENOSPC = "ENOSPC",
        ERANGE = "ERANGE",
        ENOSYS = "ENOSYS",
        EOPNOTSUPP = "EOPNOTSUPP",
        EINPROGRESS = "EINPROGRESS",
    }
}

impl Comparison {
    /// Whether it asks for more than being equal or not: only numbers can be compared so.
    pub const fn is_ordered(self) -> bool {
        !matches!(self, Comparison::Eq | Comparison::Ne)
    }

    /// Whether `left OP right` holds.
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Eq => left == right,
            Comparison::Ne => left != right,
            Comparison::Le => left <= right,
            Comparison::Lt => left < right,
            Comparison::Ge => left >= right,
            Comparison::Gt => left > right,
        }
    }
}
