//! Reclaim of folios that MADV_FREE gave up: they are dropped if nobody wrote to them since and nobody else holds
//! them; the next read finds zeroes.
//!
//! Sources: `try_to_unmap_one()` (mm/rmap.c, v5.10, v6.12, v7.2); `discard_anon_folio_locked()` (mm/huge_memory.c,
//! v6.12).

use super::rmap_walk::Place;
use super::split_pmd;
use crate::event::{Phase, Why};
use crate::machine::Machine;
use crate::machine::frames::FolioFlag;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::units::{Folio, Level, PageRange};

/// Drops a folio from all areas that may map it. The caller isolated it and holds a reference.
///
/// # Errors
/// Why it is still mapped, at least by the entry that was found written or held.
pub(super) fn drop_folio(m: &Machine, folio: Folio, places: &[Place]) -> Result<(), Why> {
    let _folio = m.lock(Lock::Folio(folio.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(folio).root));
    for place in places {
        let dropped = drop_from(m, folio, place);
        if let Err(why) = dropped {
            // What was written is swapped out the next time; so is, in most kernels, what somebody holds.
            if why == Why::Written || !m.policy.lazyfree_outlives_holders {
                m.frames.set_flag(folio, FolioFlag::LazyFree, false);
            }
            return Err(why);
        }
    }
    Ok(())
}

fn drop_from(m: &Machine, folio: Folio, place: &Place) -> Result<(), Why> {
    let mm = &place.mm;
    let mut dropped = false;
    for at in place.start..place.end {
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            if !entry.is_present() || entry.is_zero() || entry.page() != folio.head {
                continue;
            }
            if m.policy.lazyfree_drops_pmd {
                match may_drop(m, folio, entry) {
                    Ok(()) => {
                        drop_pmd(m, folio, place, at);
                        dropped = true;
                        continue;
                    }
                    Err(why) if m.policy.lazyfree_keeps_pmd => return Err(why),
                    Err(_) => {}
                }
            }
            split_pmd::split_pmd(m, mm, &place.vma, at);
        }
        let _guard = m.lock_table(mm, at);
        let entry = mm.table.read(at);
        if !entry.is_present() || entry.is_zero() || !folio.range().contains(entry.page()) {
            continue;
        }
        m.note_dirty(folio, entry);
        may_drop(m, folio, entry)?;
        let by = m.removing(mm, &place.vma, folio, 1);
        mm.table.set(at, Entry::NONE);
        let lost = m.rmap().folio_remove_rmap_ptes(folio, PageRange::one(entry.page()), &by);
        m.after_removal(folio, Level::Pte, lost);
        m.munlock_unmapped(&place.vma, PageRange::one(entry.page()), Level::Pte);
        m.put_refs(folio, m.scheme.references_of_removed(1, &by));
        dropped = true;
    }
    if dropped {
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    }
    Ok(())
}

fn drop_pmd(m: &Machine, folio: Folio, place: &Place, at: u64) {
    let mm = &place.mm;
    let _guard = m.lock_table(mm, at);
    let by = m.removing(mm, &place.vma, folio, folio.pages());
    mm.table.clear_pmd(at);
    let lost = m.rmap().folio_remove_rmap_pmd(folio, &by);
    m.after_removal(folio, Level::Pmd, lost);
    m.munlock_unmapped(&place.vma, PageRange::one(folio.head), Level::Pmd);
    m.put_refs(folio, m.scheme.references_of_removed(1, &by));
}

/// Whether one of a folio's entries may go: nobody wrote, and all references are the mappings' and reclaim's.
fn may_drop(m: &Machine, folio: Folio, entry: Entry) -> Result<(), Why> {
    if !entry.is_clean() || m.frames.has_flag(folio, FolioFlag::Dirty) {
        return Err(Why::Written);
    }
    let expected = 1 + m.expected_refcount(folio);
    let refcount = i64::from(m.refcount(folio));
    if refcount == expected { Ok(()) } else { Err(Why::Held { refcount, expected }) }
}
