//! Reclaim of folios in the page cache: they are unmapped, and what is clean and held by nobody else is dropped.
//! Shared memory that was written goes to swap; what a disk has not got yet stays, for others to write.
//!
//! Sources: `shrink_page_list()` (mm/vmscan.c, v5.10), `shrink_folio_list()`, `pageout()`, `__remove_mapping()` (v6.1,
//! v6.12, v7.2).

use super::pageout::Next;
use super::rmap_walk::Place;
use super::split::{self, Request};
use super::{migration_entry, shmem_swap};
use crate::event::{Phase, Why};
use crate::machine::Machine;
use crate::machine::files::File;
use crate::machine::lock::Lock;
use crate::policy::ReclaimSplitsFiles;
use crate::units::Folio;

/// Takes a folio away from everybody who maps it.
fn unmap(m: &Machine, folio: Folio, file: &File, places: &[Place]) {
    let _folio = m.lock(Lock::Folio(folio.head));
    let _file = m.lock(Lock::Anon(file.root));
    for place in places {
        migration_entry::unmap_file(m, folio, place);
    }
}

/// Reclaims a folio of the page cache, which the caller isolated and holds.
///
/// # Errors
/// Why it is still in the page cache; it may have been unmapped nevertheless.
pub(super) fn evict(m: &Machine, folio: Folio, places: &[Place]) -> Result<Next, Why> {
    let Some(file) = m.file_of(folio) else { return Err(Why::Truncated) };
    let splits = match m.policy.reclaim_splits_files {
        ReclaimSplitsFiles::All => true,
        ReclaimSplitsFiles::Shmem => file.kind.is_shmem(),
        ReclaimSplitsFiles::None => false,
    };
    if folio.is_large() && splits {
        return split::split(m, folio, Request::LISTED).map(|()| Next::Pieces);
    }
    unmap(m, folio, &file, places);
    let index = m.frames.mapping(folio).index;
    let dirty = file.cache.state(index).dirty;
    if !file.kind.is_shmem() {
        if dirty {
            // To be reclaimed as soon as it is written: the bit of that mark is also the one that says to read on.
            file.cache.mark(index);
            return Err(Why::Dirty);
        }
        m.set_private(&file, folio, false);
    }
    let (refcount, expected) = (i64::from(m.refcount(folio)), 1 + i64::from(folio.pages()));
    if refcount != expected {
        return Err(Why::Held { refcount, expected });
    }
    if dirty {
        return shmem_swap::swap_out(m, &file, folio);
    }
    m.remove_from_page_cache(&file, folio);
    m.phase(Phase::Uncached, None, folio.range());
    Ok(Next::Done)
}
