//! What mm does: a file for each thing, written once for all kernels over the waist of `crate::rmap`.
//! An operation may ask the policy or a scheme's capabilities, never which scheme it is.

pub mod collapse;
pub mod cow;
pub mod dax;
pub mod exit;
pub mod fault;
mod file_fault;
pub mod fork;
pub mod hold;
pub mod hugetlb;
pub mod ksm;
mod lazyfree;
pub mod madvise;
pub mod migrate;
mod migration_entry;
pub mod mlock;
pub mod mmap;
pub mod mprotect;
pub mod mremap;
pub mod munmap;
mod page_cache;
pub mod pageout;
mod reclaim;
pub mod rmap_walk;
mod shmem_swap;
pub mod shrink;
pub mod split;
pub mod split_all;
pub mod split_pmd;
pub(crate) mod swap_cache;
pub mod swap_in;
pub mod truncate;
pub mod vma;
pub mod zap;

use crate::event::Errno;

/// What a system call returns.
pub type Outcome = Result<(), Errno>;
