//! hugetlb: memory that is mapped in huge pages from a pool of its own, as a whole or not at all.
//!
//! Sources: mm/hugetlb.c and fs/hugetlbfs/inode.c, v2.6.39, v4.4, v5.10, v5.19, v6.8, v6.17; what changed between them
//! is in `crate::policy`.

mod area;
mod fault;
mod fork;
mod migrate;

pub use area::map;
pub(super) use area::{close, fits, give_up_promises, remove, unmap};
pub(super) use fault::touch;
pub(super) use fork::{copied, copy_area};
pub(super) use migrate::{may_move, move_folio};
