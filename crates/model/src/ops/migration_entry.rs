//! Taking a folio out of page tables for a while, and putting it (or what became of it) back: what folio
//! split and migration have in common. Meanwhile migration entries stand for the mappings, which count nowhere
//! but remember whether their page was exclusive.
//!
//! Sources: `try_to_migrate_one()` (mm/rmap.c, v5.13 to v7.3), `try_to_unmap_one()` before; `remove_migration_pte()`
//! (mm/migrate.c); `try_to_map_unused_to_zeropage()` (mm/migrate.c, v6.12).

use super::rmap_walk::Place;
use super::split_pmd;
use crate::event::Phase;
use crate::field::Field;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::policy::MlockBatch;
use crate::query::{Query, Tally};
use crate::stats::Stat;
use crate::units::{Folio, Level, PageRange, Pfn};

/// What becomes of a PMD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pmds {
    /// A table of migration entries, one a page.
    Split,
    /// One migration entry.
    Keep,
}

/// How mappings are taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unmap {
    /// What becomes of a PMD.
    pub(super) pmds: Pmds,
    /// PTEs leave the counters one by one, so that a folio looks partially mapped on the way.
    pub(super) page_by_page: bool,
}

/// Turns every entry of one area into a migration entry. Entries of exclusive pages that may be pinned stay.
pub(super) fn unmap(m: &Machine, folio: Folio, place: &Place, how: Unmap) {
    let mm = &place.mm;
    let pinned = m.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1);
    let mut at = place.start;
    let mut removed = false;
    while at < place.end {
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            let end = mm.table.pmd_end(at);
            if entry.page() == folio.head && entry.is_present() && !entry.is_zero() {
                removed = true;
                if how.pmds == Pmds::Split && m.policy.split_unmaps_by_pte {
                    split_pmd::split_pmd(m, mm, &place.vma, at);
                    continue;
                }
                unmap_pmd(m, folio, place, (at, entry), how.pmds, pinned);
            }
            at = end;
            continue;
        }
        let most = if how.page_by_page { 1 } else { place.end - at };
        let (entry, len) = m.batch(&mm.table, at, most, Alike::Exactly);
        let len = len.max(1);
        if !entry.is_present() || entry.is_zero() || !folio.range().contains(entry.page()) {
            at += len;
            continue;
        }
        removed = true;
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        at += unmap_ptes(m, folio, place, (at, entry), (len as u32).min(inside), pinned);
    }
    if removed {
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    }
}

/// Takes every mapping of a file folio away in one area, and leaves nothing: faults bring its pages again
/// (`try_to_unmap_one()`, mm/rmap.c).
pub(super) fn unmap_file(m: &Machine, folio: Folio, place: &Place) {
    let mm = &place.mm;
    let mut at = place.start;
    let mut removed = false;
    while at < place.end {
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            let end = mm.table.pmd_end(at);
            if entry.is_present() && folio.range().contains(entry.page()) {
                removed = true;
                split_pmd::split_pmd(m, mm, &place.vma, at);
            }
            at = end;
            continue;
        }
        let _guard = m.lock_table(mm, at);
        let (entry, len) = m.batch(&mm.table, at, place.end - at, Alike::IgnoringWrite);
        let len = len.max(1);
        if entry.is_present() && !entry.is_zero() && folio.range().contains(entry.page()) {
            removed = true;
            let pages = PageRange::new(entry.page(), len as u32);
            let by = m.removing(mm, &place.vma, folio, pages.len);
            mm.table.set_run(at, len, Entry::NONE);
            m.rmap().folio_remove_rmap_ptes(folio, pages, &by);
            unlock(m, &place.vma, pages, Level::Pte);
            m.put_refs(folio, m.scheme.references_of_removed(pages.len, &by));
        }
        at += len;
    }
    if removed {
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    }
}

/// Takes up to `most` PTEs away that are alike in being exclusive; says how many were looked at.
fn unmap_ptes(
    m: &Machine,
    folio: Folio,
    place: &Place,
    (at, entry): (u64, Entry),
    most: u32,
    pinned: bool,
) -> u64 {
    let mm = &place.mm;
    let _guard = m.lock_table(mm, at);
    let exclusive = m.policy.anon_exclusive && m.counters().read(Field::AnonExclusive, entry.page()) != 0;
    let alike = alike_exclusive(m, PageRange::new(entry.page(), most), exclusive);
    let pages = PageRange::new(entry.page(), alike);
    if exclusive && m.rmap().folio_try_share_anon_rmap_pte(pages, pinned).is_err() {
        return u64::from(alike);
    }
    m.note_dirty(folio, entry);
    let by = m.removing(mm, &place.vma, folio, pages.len);
    mm.table.set_run(at, u64::from(pages.len), entry.to_migration(exclusive));
    let lost = m.rmap().folio_remove_rmap_ptes(folio, pages, &by);
    m.after_removal(folio, Level::Pte, lost);
    unlock(m, &place.vma, pages, Level::Pte);
    m.put_refs(folio, m.scheme.references_of_removed(pages.len, &by));
    u64::from(alike)
}

/// What a locked area does with pages that leave it for a while: what waits to be unlocked is drained at once
/// (`try_to_migrate_one()`, mm/rmap.c, v6.1). Up to 5.17 a page that migrates is not on the LRU, so that it only looks
/// unlocked (`clear_page_mlock()`, mm/mlock.c, v5.10).
fn unlock(m: &Machine, vma: &Vma, pages: PageRange, level: Level) {
    let folio = m.folio(pages.first);
    if m.policy.mlock_batch != MlockBatch::Own && !folio.is_large() {
        return m.holders.set_mlocked(folio.head, false);
    }
    m.munlock_unmapped(vma, pages, level);
    if vma.locked {
        m.mlock_drain();
    }
}

/// What it does with small pages that come back (`remove_migration_pte()`, mm/migrate.c, v5.10, v6.1). Up to 5.17 the pieces
/// of a folio that was split are taken from the LRU and put back.
fn relock(m: &Machine, vma: &Vma, was_split: bool, pages: PageRange) {
    if !vma.locked || m.policy.mlock_batch == MlockBatch::Own {
        return;
    }
    for folio in pages.iter().map(|page| m.folio(page)).filter(|folio| !folio.is_large()) {
        let locked = m.holders.is_mlocked(folio.head);
        m.holders.set_mlocked(folio.head, true);
        if was_split && !locked && m.is_on_lru(folio) {
            m.lru_putback(folio);
        }
    }
}

/// How many of these pages, from the first on, are marked as it is.
fn alike_exclusive(m: &Machine, pages: PageRange, exclusive: bool) -> u32 {
    if !m.policy.anon_exclusive {
        return pages.len;
    }
    let same = |page: &Pfn| (m.counters().read(Field::AnonExclusive, *page) != 0) == exclusive;
    pages.iter().take_while(same).count() as u32
}

/// A PMD is taken away in one go: the whole leaves the counters.
fn unmap_pmd(m: &Machine, folio: Folio, place: &Place, (at, entry): (u64, Entry), pmds: Pmds, pinned: bool) {
    let (mm, vma) = (&place.mm, &place.vma);
    let _guard = m.lock_table(mm, at);
    let head = PageRange::one(folio.head);
    let exclusive = m.rmap().exclusive(head) > 0;
    if exclusive && m.rmap().folio_try_share_anon_rmap_pmd(folio, pinned).is_err() {
        return;
    }
    m.note_dirty(folio, entry);
    let by = m.removing(mm, vma, folio, folio.pages());
    let start = mm.table.pmd_start(at);
    match pmds {
        Pmds::Split => {
            m.stats.add(Stat::PmdSplits, 1);
            mm.table.replace_pmd_by_table(start, entry.to_migration(exclusive));
        }
        Pmds::Keep => mm.table.set_pmd(start, entry.to_migration(exclusive)),
    }
    let lost = m.rmap().folio_remove_rmap_pmd(folio, &by);
    m.after_removal(folio, Level::Pmd, lost);
    unlock(m, vma, head, Level::Pmd);
    m.put_refs(folio, m.scheme.references_of_removed(1, &by));
}

/// Maps what stands in the place of `folio` now, from page `to` on, where migration entries of one area wait
/// for it. With `zeroes` a single page that holds only zeroes gives way to the zero page, unless the area is locked or
/// the page is: by one of the places in `zeroes`, where it was mapped again before.
pub(super) fn remap(m: &Machine, folio: Folio, place: &Place, to: Pfn, zeroes: Option<&[Place]>) {
    let (mm, vma) = (&place.mm, &place.vma);
    let target = |page: Pfn| Pfn(to.0 + (page.0 - folio.head.0));
    let mut at = place.start;
    let mut restored = false;
    let drops_zeroes = zeroes.is_some();
    let is_locked = |page| zeroes.is_some_and(|places| places.iter().any(|place| locks(m, place, page)));
    while at < place.end {
        let _guard = m.lock_table(mm, at);
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            if entry.is_migration() && entry.page() == folio.head {
                restored = true;
                let new = m.folio(to);
                let by = m.adding(mm, vma, new, new.pages());
                m.get_refs(new, m.scheme.references_of_added(1, &by));
                if new.kind.is_anon() {
                    m.rmap().folio_add_anon_rmap_pmd(new, &by, entry.is_exclusive());
                } else {
                    m.rmap().folio_add_file_rmap_pmd(new, &by);
                }
                mm.table.set_pmd(mm.table.pmd_start(at), present(m, entry, to));
            }
            at = mm.table.pmd_end(at);
            continue;
        }
        let (entry, len) = m.batch(&mm.table, at, place.end - at, Alike::Exactly);
        let len = len.max(1);
        if !entry.is_migration() || !folio.range().contains(entry.page()) {
            at += len;
            continue;
        }
        restored = true;
        let row = remap_small(m, mm, vma, (at, place.end), (entry, target(entry.page())), drops_zeroes);
        if row > 0 {
            relock(m, vma, folio.is_large(), PageRange::new(target(entry.page()), row as u32));
            at += row;
            continue;
        }
        let piece = m.folio(target(entry.page()));
        let may_drop = drops_zeroes && !piece.is_large() && !vma.locked;
        if may_drop && m.frames.is_zero_filled(piece.head) && !is_locked(piece.head) {
            mm.table.set(at, Entry::zero(m.zero_page().head));
            at += 1;
            continue;
        }
        let first = target(entry.page());
        let inside = piece.head.0 + piece.pages() - first.0;
        let pages = PageRange::new(first, (len as u32).min(inside));
        let by = m.adding(mm, vma, piece, pages.len);
        m.get_refs(piece, m.scheme.references_of_added(pages.len, &by));
        if piece.kind.is_anon() {
            m.rmap().folio_add_anon_rmap_ptes(piece, pages, &by, entry.is_exclusive());
        } else {
            m.rmap().folio_add_file_rmap_ptes(piece, pages, &by);
        }
        relock(m, vma, folio.is_large(), pages);
        mm.table.set_run(at, u64::from(pages.len), present(m, entry, first));
        at += u64::from(pages.len);
    }
    if restored {
        m.phase(Phase::Remapped, Some(mm.id), PageRange::new(to, folio.pages()));
    }
}

/// Whether a locked area maps a page, which is marked by that.
fn locks(m: &Machine, place: &Place, page: Pfn) -> bool {
    let index = m.frames.mapping(m.folio(page)).index;
    let at = (place.vma.start + index).wrapping_sub(place.vma.offset);
    if !place.vma.locked || !place.vma.contains(at) {
        return false;
    }
    let entry = place.mm.table.read(at);
    entry.is_present() && !entry.is_zero() && entry.page() == page
}

/// The entry that a migration entry becomes. Up to 6.0 it forgets that the page was accessed.
fn present(m: &Machine, entry: Entry, page: Pfn) -> Entry {
    let present = entry.from_migration(page);
    if m.policy.migration_keeps_accessed { present } else { present.with_old() }
}

/// Maps folios of one page each that follow each other, where as many migration entries wait for them from `at`
/// on; says how many that were. Their counters are apart from each other, so that all can be done at once.
fn remap_small(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    (at, end): (u64, u64),
    (entry, first): (Entry, Pfn),
    drops_zeroes: bool,
) -> u64 {
    let most = mm.table.run(at, end - at, Alike::Exactly).1;
    let pages = PageRange::new(first, m.frames.small_run(first, most as u32, drops_zeroes && !vma.locked));
    if pages.len > 0 {
        m.counters().add_each(Field::Refcount, pages, 1);
        m.rmap().folio_add_anon_rmap_pte_each(pages, entry.is_exclusive());
        mm.table.set_run(at, u64::from(pages.len), present(m, entry, first));
    }
    u64::from(pages.len)
}
