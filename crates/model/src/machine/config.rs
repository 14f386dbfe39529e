//! What a machine is configured with: its size, and the settings that sysfs has.

use crate::units::Order;

/// A mode of transparent huge pages, for all sizes or for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ThpMode {
    /// Everywhere.
    Always,
    /// Where MADV_HUGEPAGE asks for it.
    Madvise,
    /// Nowhere.
    Never,
    /// As the setting for all sizes says.
    Inherit,
}

/// Where a size of folios is used in shared memory without a name (`hugepages-<size>/shmem_enabled`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShmemMode {
    /// Everywhere.
    Always,
    /// As `shmem_enabled` of all sizes says, which stays `never` here.
    Inherit,
    /// Where the file reaches to the end of the folio.
    WithinSize,
    /// Where MADV_HUGEPAGE asks for it.
    Advise,
    /// Nowhere.
    Never,
}

/// The settings of a machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Base-2 logarithm of the pages that a PMD maps, 1 to 9.
    pub pmd_order: u8,
    /// Frames of memory.
    pub frames: u32,
    /// NUMA nodes.
    pub nodes: u32,
    /// `enabled` of transparent huge pages.
    pub thp: ThpMode,
    /// `enabled` of each size.
    pub sizes: [ThpMode; 10],
    /// `shmem_enabled` of each size.
    pub shmem_sizes: [ShmemMode; 10],
    /// khugepaged's `max_ptes_none`: a THP with more zero-filled pages than this is underused.
    pub max_ptes_none: u32,
    /// khugepaged's `max_ptes_swap`: it collapses no range with more swap entries than this.
    pub max_ptes_swap: u32,
    /// khugepaged's `max_ptes_shared`: it collapses no range with more shared pages than this.
    pub max_ptes_shared: u32,
    /// The shrinker splits underused THPs (`shrink_underused`, 6.12 on).
    pub shrink_underused: bool,
}

/// Base-2 logarithm of the PMDs that a PUD maps, or that the table which it points to holds.
pub(super) const PUD_OVER_PMD: u8 = 9;

/// Memory of a machine where nothing else is said: 4 GiB.
pub const DEFAULT_FRAMES: u32 = 1 << 20;

/// Entries of page tables that a machine with so much memory has room for: a sixteenth of the memory, and
/// enough for some processes on the smallest machine.
pub(super) fn table_entries(frames: u32) -> i64 {
    const ENTRIES_OF_A_FRAME: i64 = 512;
    (i64::from(frames) * ENTRIES_OF_A_FRAME / 16).max(1 << 16)
}

impl Config {
    /// The settings that a scenario starts from.
    pub fn new(pmd_order: u8) -> Config {
        let mut sizes = [ThpMode::Never; 10];
        sizes[usize::from(pmd_order)] = ThpMode::Inherit;
        let mut shmem_sizes = [ShmemMode::Never; 10];
        shmem_sizes[usize::from(pmd_order)] = ShmemMode::Inherit;
        Config {
            pmd_order,
            frames: DEFAULT_FRAMES,
            nodes: 1,
            thp: ThpMode::Madvise,
            sizes,
            shmem_sizes,
            max_ptes_none: (1 << pmd_order) - 1,
            max_ptes_swap: (1 << pmd_order) / 8,
            max_ptes_shared: (1 << pmd_order) / 2,
            shrink_underused: true,
        }
    }

    /// The order of a PMD-mapped folio.
    pub const fn pmd(&self) -> Order {
        Order(self.pmd_order)
    }

    /// The order of what a PUD maps: 512 PMDs, however small those are.
    pub const fn pud(&self) -> Order {
        Order(self.pmd_order + PUD_OVER_PMD)
    }
}
