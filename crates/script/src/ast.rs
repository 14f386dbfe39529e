//! What a scenario says, as data. `Display` prints it in canonical form.
//!
//! Names carry the place where they stand, so that whoever runs a scenario can point at them. Two
//! names, and two regions, are equal if they say the same, wherever they stand.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use mapcount_model::release::{Release, ReleaseRange};

use crate::diagnostic::Span;

pub mod fields;
mod print;
mod word;

pub(crate) use word::words;
pub use word::{
    Advice, Comparison, Errno, FileKind, Hold, Huge, MthpMode, Protection, ShmemMthpMode, Thp, ThpMode, Word,
};

/// The largest page number that a scenario may name, plus one: bytes behind it do not fit 64 bits.
pub const MAX_PAGES: u64 = 1 << 52;

/// A scenario: what its directives say, and its steps and expectations in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// The line for people.
    pub title: Option<String>,
    /// The order of a PMD-sized folio, 1 to 9.
    pub pmd_order: u8,
    /// Where the scenario applies; everywhere if `None`.
    pub kernels: Option<KernelSet>,
    /// How many NUMA nodes there are, at least one.
    pub nodes: u32,
    /// Steps and expectations, in the order of the file.
    pub items: Vec<Item>,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario { title: None, pmd_order: 9, kernels: None, nodes: 1, items: Vec::new() }
    }
}

/// A statement that is not a directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// Something that somebody does.
    Step(Step),
    /// Something that holds at this point.
    Expect(Expect),
}

/// Something that a process or the kernel does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where the statement stands, without its outcome.
    pub span: Span,
    /// The statement without its outcome and its comment, runs of blanks collapsed: `op` in the trace.
    pub text: Box<str>,
    /// What is done.
    pub action: Action,
    /// How it ends.
    pub outcome: Outcome,
    /// Where the outcome stands; empty, behind the statement, if it was left out.
    pub outcome_span: Span,
}

/// What a step does, and who does it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A process makes a system call or touches memory.
    Process {
        /// The process.
        name: Name,
        /// What it does.
        verb: ProcessVerb,
    },
    /// The kernel, or its administrator, does something.
    Kernel(KernelVerb),
}

/// How a step is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With success.
    Ok,
    /// With this error.
    Errno(Errno),
    /// In whatever way.
    Any,
}

/// The name of a process, a mapping, a file or a field, and where it stands.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name. Names of one scenario that are equal share their text.
    pub text: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

impl Name {
    /// A name that stands nowhere.
    pub fn new(text: &str) -> Name {
        Name { text: text.into(), span: Span::NOWHERE }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.text == other.text
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Pages of a mapping.
#[derive(Clone, Debug)]
pub struct Region {
    /// Whose mapping; `None` where the step's own process is meant.
    pub process: Option<Name>,
    /// The mapping.
    pub mapping: Name,
    /// Which of its pages.
    pub pages: Pages,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for Region {
    fn eq(&self, other: &Region) -> bool {
        self.process == other.process && self.mapping == other.mapping && self.pages == other.pages
    }
}

impl Eq for Region {}

/// Which pages of a mapping. Never empty, never past [`MAX_PAGES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// `x`: all of them.
    All,
    /// `x[3]`: this one.
    One(u64),
    /// `x[0..16]`, or `x[16..]` up to the mapping's end.
    Range {
        /// The first page.
        start: u64,
        /// The page behind the last one; the mapping's end if `None`.
        end: Option<u64>,
    },
}

impl Pages {
    /// The pages of a mapping of `len` pages. May reach past its end, or be empty if all of it does.
    pub fn of(self, len: u64) -> Range<u64> {
        match self {
            Pages::All => 0..len,
            Pages::One(page) => page..page + 1,
            Pages::Range { start, end } => start..end.unwrap_or(len),
        }
    }
}

/// A size as it was written: what a PMD's worth is depends on the scenario's `pmd_order`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// `4K`, `2M`, `1G`.
    Bytes(u64),
    /// `16p`.
    Pages(u64),
    /// `pmd`, `2pmd`.
    Pmds(u64),
}

impl Size {
    /// How many base pages. `None` if it is zero, not a multiple of 4 KiB, or its bytes do not fit 64 bits.
    pub fn pages(self, pmd_order: u8) -> Option<u64> {
        self.pages_or_zero(pmd_order).filter(|&pages| pages > 0)
    }

    /// As [`Size::pages`], for the one place where nothing is a size too: a file truncated to zero.
    pub fn pages_or_zero(self, pmd_order: u8) -> Option<u64> {
        let pages = match self {
            Size::Bytes(bytes) => (bytes % 4096 == 0).then_some(bytes / 4096)?,
            Size::Pages(pages) => pages,
            Size::Pmds(pmds) => pmds.checked_mul(1u64.checked_shl(u32::from(pmd_order))?)?,
        };
        (pages < MAX_PAGES).then_some(pages)
    }
}

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
        /// The `huge=` mount option; never with ext4.
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
    },
    /// move_pages(2).
    Migrate {
        /// The pages.
        region: Region,
        /// The node they are to move to.
        node: u32,
        /// MPOL_MF_MOVE_ALL: pages that other processes map as well.
        all: bool,
    },
    /// khugepaged scans these pages.
    Khugepaged(Region),
    /// ksmd makes this many full passes.
    Ksm(u32),
    /// swapon(2) or swapoff(2).
    Swap(bool),
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

/// Something that holds at a point of the scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// Where the statement stands.
    pub span: Span,
    /// The statement without its comment, runs of blanks collapsed.
    pub text: Box<str>,
    /// Where it applies; everywhere if `None`.
    pub kernels: Option<KernelSet>,
    /// What is looked at.
    pub path: Path,
    /// How it is compared.
    pub op: Comparison,
    /// What it is compared with.
    pub value: Value,
    /// Where the value stands.
    pub value_span: Span,
}

/// What an expectation looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Path {
    /// `A.x[5].FIELD`: a page, or the folio that it belongs to.
    Page {
        /// The process.
        process: Name,
        /// Its mapping.
        mapping: Name,
        /// The page of the mapping.
        page: u64,
        /// One of [`fields::page`].
        field: FieldName,
    },
    /// `A.x.FIELD`: what smaps says of a mapping.
    Mapping {
        /// The process.
        process: Name,
        /// Its mapping.
        mapping: Name,
        /// One of [`fields::SMAPS`].
        field: FieldName,
    },
    /// `A.FIELD`: what smaps says of all mappings together.
    Process {
        /// The process.
        process: Name,
        /// One of [`fields::SMAPS`].
        field: FieldName,
    },
    /// `system.FIELD`.
    System {
        /// One of [`fields::SYSTEM`].
        field: FieldName,
    },
}

impl Path {
    /// The field.
    pub fn field(&self) -> &FieldName {
        match self {
            Path::Page { field, .. }
            | Path::Mapping { field, .. }
            | Path::Process { field, .. }
            | Path::System { field } => field,
        }
    }

    /// Where it stands, without the field's index.
    pub fn span(&self) -> Span {
        let field = self.field().name.span;
        match self {
            Path::Page { process, .. } | Path::Mapping { process, .. } | Path::Process { process, .. } => {
                process.span.to(field)
            }
            Path::System { .. } => field,
        }
    }
}

/// The name of a field, with an index where the field is a list: `mm_ids[1]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldName {
    /// The name.
    pub name: Name,
    /// Which element. Present for lists, and only for them.
    pub index: Option<u32>,
}

/// What a field is compared with, or a tunable set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
    /// `null`: nobody, in `mm_ids`.
    Null,
    /// A word: a process in `mm_ids`, a kind of folio.
    Text(Name),
}

/// Kernels: those that any of the alternatives holds. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelSet {
    /// The alternatives, in the order of the file.
    pub alternatives: Vec<KernelAlternative>,
}

impl KernelSet {
    /// Whether the kernel `release`, built with `kconfig` and counting by `scheme`, is in the set.
    pub fn contains(&self, release: Release, kconfig: Option<&str>, scheme: &str) -> bool {
        self.alternatives.iter().any(|alternative| match alternative {
            KernelAlternative::Releases(range) => range.contains(release),
            KernelAlternative::Kconfig { series, kconfig: wanted } => {
                series.series() == release.series() && kconfig == Some(wanted.as_str())
            }
            KernelAlternative::Scheme(id) => id.as_str() == scheme,
        })
    }
}

/// One of the alternatives of a [`KernelSet`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KernelAlternative {
    /// `5.10`, `4.5..6.1`, `6.15..`, `..4.4`: series, both ends included.
    Releases(ReleaseRange),
    /// `7.2-no-page-mapcount`: a series built with an option that changes how it counts.
    Kconfig {
        /// The series.
        series: Release,
        /// The option.
        kconfig: Name,
    },
    /// `double-map`: every kernel that counts by this scheme.
    Scheme(Name),
}
