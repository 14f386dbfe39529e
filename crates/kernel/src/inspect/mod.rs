//! A running system's memory, looked at through its `struct page`s: every folio of the machine, who maps it, who holds
//! it, what it wastes.
//!
//! Start at [`Inspector`]. Nothing here takes a lock of the processes that it looks at: `struct page`s and page tables are
//! read from the kernel's memory while they change, what does not fit together is read again, and what never does is
//! counted as unstable.

mod blocks;
pub mod census;
mod drain;
pub mod extent;
mod files;
pub mod folio;
mod frames;
mod inspector;
mod join;
pub mod maps;
mod marks;
mod own;
mod pagemap;
mod pieces;
pub mod procs;
mod space;
mod sweep;
pub mod tables;
pub mod unexpected;
pub mod usage;
mod zones;

pub use census::{Census, Count};
pub use drain::drain_lru;
pub use extent::{By, Extent};
pub use files::Files;
pub use folio::{Mapper, View};
pub use inspector::{Inspector, Mapping, Other, Processes};
pub use marks::{Head, Use};
pub use own::{Own, own};
pub use pieces::{Look, Piece};
pub use space::Missed;
pub use unexpected::{Group, Holder, Members, Unexpected};
pub use usage::{Class, Cover, Partial, Usage};
pub use zones::{Zone, zones};
