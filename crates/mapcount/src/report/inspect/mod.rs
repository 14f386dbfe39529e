//! Reports on a running system's memory, as sheets that every format is written from.

mod folio;
mod formats;
mod machine;
mod processes;
mod sheet;

pub use folio::folio;
pub use formats::{Format, write};
pub use machine::{Depth, census, charged, unexpected};
pub use processes::{Options, Seen, mappings, others, processes, skipped, unprivileged};
pub use sheet::{Cell, Column, Report, Sheet, Unit};
