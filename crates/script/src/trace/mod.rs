//! The trace: what a step left behind, as the model says it and as a real kernel printed it. Both are
//! these types, so that they can be compared field by field.
//!
//! Nearly everything is optional: a recording has what could be read of that kernel, and a field that
//! a kernel does not have is absent, which is neither null nor 0.

mod folio;
mod frames;
mod map;
mod plain;
mod read;
mod rle;
mod write;

use std::collections::BTreeMap;

use serde::Serialize;

pub use folio::{Cell, FieldValue, FolioRow, Shape, push_folio, shape};
pub use frames::Frames;
pub(crate) use plain::plain;

pub use map::{MapRun, Present, SWAP, push_map};
pub use read::{Ignored, Recording, TraceError, read};
pub use rle::Rle;
pub use write::write_line;

/// The version of the format, the trace's `v`.
pub const VERSION: u64 = 1;

/// The mappings of a process, by name.
pub type Mappings = BTreeMap<String, Mapping>;

/// One step: a line of a trace.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Step {
    /// The version of the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v: Option<u64>,
    /// The kernel that was modelled or recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The id of the scheme of counting; recordings have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The scenario's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The number of the step, from 0.
    pub step: u64,
    /// The statement, without its outcome.
    pub op: String,
    /// `ok` or the name of an errno.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The live processes, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<BTreeMap<String, Mappings>>,
    /// The folios that some process maps, in the order of their frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folios: Option<Vec<FolioRow>>,
    /// The folios that the step left as they were, and why. Only the model can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Vec<Refused>>,
    /// The statistics of the whole system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<System>,
}

/// A mapping of a process: its areas, what is present in them, and what smaps says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mapping {
    /// The areas: first page, pages, permissions as in `/proc/PID/maps`.
    pub vmas: Option<Vec<(u64, u64, String)>>,
    /// What is present, in the order of the pages.
    pub map: Option<Vec<MapRun>>,
    /// `Rss`.
    pub rss_kb: Option<u64>,
    /// `Pss`.
    pub pss_kb: Option<u64>,
    /// `Shared_Clean` and `Shared_Dirty`.
    pub shared_kb: Option<u64>,
    /// `Private_Clean` and `Private_Dirty`.
    pub private_kb: Option<u64>,
    /// `AnonHugePages`.
    pub anon_huge_kb: Option<u64>,
    /// `ShmemPmdMapped`.
    pub shmem_pmd_kb: Option<u64>,
    /// `FilePmdMapped`.
    pub file_pmd_kb: Option<u64>,
}

/// A folio that an operation refused to touch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Refused {
    /// The folio's first frame.
    pub id: u64,
    /// The reason, for people.
    pub why: String,
}

/// Statistics of the whole system, as changes since the first step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct System {
    /// Mapped anonymous memory, in base pages.
    pub anon_mapped: Option<i64>,
    /// Mapped memory of files, in base pages.
    pub file_mapped: Option<i64>,
    /// Anonymous folios mapped by a PMD, in PMD-sized folios.
    pub anon_thps: Option<i64>,
    /// Shmem mapped by PMDs, in PMD-sized folios.
    pub shmem_pmdmapped: Option<i64>,
    /// Files mapped by PMDs, in PMD-sized folios.
    pub file_pmdmapped: Option<i64>,
}

/// Gives a type its numbers by key, so that writer, reader and diff have one list of them.
macro_rules! numbers {
    ($type:ident, $number:ty, [$($key:ident),+ $(,)?]) => {
        impl $type {
            /// The numbers with their keys, in the order of the trace.
            pub fn numbers(&self) -> [(&'static str, Option<$number>); [$(stringify!($key)),+].len()] {
                [$((stringify!($key), self.$key)),+]
            }

            fn number_mut(&mut self, key: &str) -> Option<&mut Option<$number>> {
                $(if key == stringify!($key) {
                    return Some(&mut self.$key);
                })+
                None
            }
        }
    };
}

numbers!(Mapping, u64, [rss_kb, pss_kb, shared_kb, private_kb, anon_huge_kb, shmem_pmd_kb, file_pmd_kb]);
numbers!(System, i64, [anon_mapped, file_mapped, anon_thps, shmem_pmdmapped, file_pmdmapped]);
