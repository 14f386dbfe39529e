//! move_pages(2): moving folios to another NUMA node.
//!
//! Sources: `do_pages_move()`, `add_folio_for_migration()`, `migrate_pages_batch()`, `migrate_folio_unmap()`,
//! `migrate_folio_move()` (mm/migrate.c, v5.10 to v7.3); `do_move_page_to_node_array()` (v2.6.39, v4.8).

use super::migration_entry::{self, Pmds, Unmap};
use super::pageout::looks_shared;
use super::split::{self, Request};
use super::{Outcome, hugetlb, rmap_walk, split_pmd};
use crate::event::{Errno, Refusal, Why};
use crate::field::Field;
use crate::machine::lock::Lock;
use crate::machine::page_table::Pmd;
use crate::machine::{Machine, Mm, Quirk};
use crate::policy::{DeferredQueue, MigrateQueue};
use crate::units::{Folio, Kind, PageRange};

/// Where to, and which pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// The node.
    pub node: u8,
    /// Move folios that other address spaces map too (MPOL_MF_MOVE_ALL).
    pub all: bool,
}

/// Moves the folios mapped at `start .. start + pages` to another node. A folio that cannot be moved is left and
/// reported as refused; the system call returns success all the same.
///
/// # Errors
/// ENODEV if there is no such node.
pub fn move_pages(m: &Machine, mm: &Mm, (start, pages): (u64, u64), to: Target) -> Outcome {
    if u32::from(to.node) >= m.config.borrow().nodes {
        return Err(Errno::Enodev);
    }
    m.lru_drain();
    let mut list: Vec<Folio> = Vec::new();
    for at in start..start + pages {
        if let Some(folio) = candidate(m, mm, at, to)
            && !list.contains(&folio)
        {
            list.push(folio);
        } else if m.policy.move_pages_by_lists && !move_list(m, &mut list, to.node) {
            return Ok(());
        }
    }
    move_list(m, &mut list, to.node);
    Ok(())
}

/// Moves the folios of a list, which is empty then; false if any was left.
fn move_list(m: &Machine, list: &mut Vec<Folio>, node: u8) -> bool {
    list.retain(|folio| !migrate(m, *folio, node));
    let all = list.is_empty();
    // Huge pages of the pool are not on the LRU.
    let left = list.drain(..).filter(|folio| folio.kind != Kind::Hugetlb);
    if !m.policy.move_pages_without_batches {
        left.for_each(|folio| m.lru_add(folio));
    }
    all
}

/// The folio mapped at `at`, if it is to be moved. Up to 4.13 a THP is split first, wherever it is.
fn candidate(m: &Machine, mm: &Mm, at: u64, to: Target) -> Option<Folio> {
    let vma = mm.vmas.borrow().find(at)?;
    let present = |at| Some(mm.table.read(at)).filter(|entry| entry.is_present() && !entry.is_zero());
    let mut folio = m.folio(present(at)?.page());
    // `vma_migratable()`, include/linux/mempolicy.h.
    if folio.kind == Kind::Device {
        return None;
    }
    if folio.kind == Kind::Hugetlb && !hugetlb::may_move(m, folio, present(at)?.page()) {
        return None;
    }
    if folio.kind != Kind::Hugetlb && m.policy.move_pages_splits && folio.is_large() {
        if m.scheme.info().capabilities.pmd_split_splits_folio {
            split_pmd::split_pmd(m, mm, &vma, at);
        } else if !split::split_held(m, folio, Request::PAGES) {
            return None;
        }
        folio = m.folio(present(at)?.page());
    }
    if m.frames.node(folio) == to.node || (folio.kind == Kind::Ksm && !m.policy.ksm_migrates) {
        return None;
    }
    let page = mm.table.read(at).page();
    if looks_shared(m, m.policy.migrate_shared_test, page) && !to.all {
        m.refuse(Refusal { folio, why: Why::Shared });
        return None;
    }
    Some(folio)
}

/// Moves a folio, or says why not. One that is partially mapped is split instead, and its pieces are moved. False if it
/// goes back to the LRU where it was.
fn migrate(m: &Machine, folio: Folio, node: u8) -> bool {
    if folio.kind == Kind::Hugetlb {
        return hugetlb::move_folio(m, folio, node);
    }
    // Kernels without the flag queue only what is partially mapped.
    let mark = match m.policy.deferred_queue {
        DeferredQueue::Flagged => Field::PartiallyMapped,
        DeferredQueue::List | DeferredQueue::Absent => Field::Deferred,
    };
    let partial = m.has_flag(mark, folio);
    if m.policy.migrate_splits_partial && partial && split::split_held(m, folio, Request::PAGES) {
        for page in folio.range().iter() {
            if let Some(piece) = m.frames.folio(page) {
                move_folio(m, piece, node);
            }
        }
        return true;
    }
    move_folio(m, folio, node)
}

/// Moves a folio, if nobody else holds it; false if it stays.
fn move_folio(m: &Machine, old: Folio, node: u8) -> bool {
    let Some(new) = m.alloc_like(old) else {
        m.refuse(Refusal { folio: old, why: Why::NoMemory });
        return false;
    };
    let _folio = m.lock(Lock::Folio(old.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(old).root));
    // Whoever moves it has isolated it from the LRU, which takes a reference.
    m.get_refs(old, 1);
    let places = rmap_walk::places(m, old);
    let how = Unmap { pmds: Pmds::Keep, page_by_page: true };
    for place in &places {
        migration_entry::unmap(m, old, place, how);
    }
    // Nothing may be left but the references of the caller and of the caches.
    let cached = m.cache_references(old);
    let (references, explained) = (i64::from(m.refcount(old)), m.expected_refcount(old));
    let expected = i64::from(1 + cached);
    let moved = references == expected && explained == i64::from(cached);
    if moved {
        let queued = m.has_flag(Field::Deferred, old);
        let partial = m.has_flag(Field::PartiallyMapped, old);
        m.unqueue(old);
        m.frames.copy_content(old.range(), new.head);
        m.frames.set_node(new, node);
        m.frames.copy_flags(old, new);
        copy_exclusive_head(m, old, new);
        m.move_quirks(old, new);
        if old.kind == Kind::Ksm {
            m.frames.set_kind(new, Kind::Ksm, m.frames.mapping(old));
            m.ksm.moved(old.head, new.head);
        }
        if let Some(file) = m.file_of(old) {
            m.replace_in_page_cache(&file, old, new);
        } else {
            m.swap.replace(old, new);
            m.get_refs(new, cached);
            m.put_refs(old, cached);
        }
        match m.policy.migrate_queue {
            MigrateQueue::AsUnmapped if queued => m.queue(new, partial),
            MigrateQueue::Forget if queued => m.note(Quirk::QueueForgotten, new),
            _ => {}
        }
    } else {
        m.refuse(Refusal { folio: old, why: Why::Held { refcount: references, expected } });
    }
    let to = if moved { new } else { old };
    for place in &places {
        migration_entry::remap(m, old, place, to.head, None);
    }
    note_lost_bias(m, to);
    if moved && !m.policy.move_pages_without_batches {
        m.lru_add(new);
    }
    m.put_refs(old, 1);
    m.put_refs(new, 1);
    moved
}

/// That a page is exclusive moves in its migration entry. The bit of a first page that nobody maps any more has none,
/// and goes with the other flags of the folio, whose name it shares (`folio_migrate_flags()`, mm/migrate.c, v6.1 to
/// v7.2: PG_anon_exclusive is PG_mappedtodisk). Those of other pages stay behind.
fn copy_exclusive_head(m: &Machine, old: Folio, new: Folio) {
    if old.kind.is_anon() && m.rmap().exclusive(PageRange::one(old.head)) != 0 {
        m.rmap().set_exclusive(PageRange::one(new.head), true);
    }
}

/// Mappings are put back one by one, which a scheme that biases its pages for PMDs and PTEs together does
/// not do again: pages are counted twice from then on.
fn note_lost_bias(m: &Machine, folio: Folio) {
    let both = |folio: Folio| {
        let places = rmap_walk::places(m, folio);
        let whole =
            places.iter().filter(|place| matches!(place.mm.table.pmd(place.start), Pmd::Leaf(_))).count();
        whole > 0 && rmap_walk::count_entries(m, folio) > whole as i64
    };
    if m.scheme.info().capabilities.bias_is_not_restored
        && folio.kind.is_anon()
        && folio.is_large()
        && both(folio)
    {
        m.note(Quirk::LostBias, folio);
    }
}
