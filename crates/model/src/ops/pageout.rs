//! MADV_PAGEOUT: anonymous memory is swapped out, or dropped where MADV_FREE gave it up, and so are pages of files that
//! the area maps; MADV_COLD, which only makes them look unused.
//!
//! Who advises may write every file, as the superuser does: else the kernel leaves pages of files alone.
//!
//! Sources: `madvise_cold_or_pageout_pte_range()` (mm/madvise.c, v5.10, v6.1, v6.8, v6.11);
//! `shrink_page_list()`, later `shrink_folio_list()` (mm/vmscan.c, v5.10 to v7.2); `try_to_unmap_one()` (mm/rmap.c);
//! `swap_writepage()` (mm/page_io.c, v6.12).

use super::rmap_walk::{self, Place};
use super::split::{self, Request};
use super::{Outcome, dax, lazyfree, reclaim, split_pmd, swap_cache};
use crate::event::{Errno, Phase, Refusal, Why};
use crate::field::Field;
use crate::machine::frames::FolioFlag;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::{Machine, Mm};
use crate::policy::{ReclaimSplits, ReclaimSplitsFiles, SharedTest};
use crate::query::{Answer, Query, Tally};
use crate::units::{Folio, Kind, Level, PageRange, Pfn};

/// What is done with folios that others do not map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Advice {
    /// They are reclaimed.
    Pageout,
    /// They are put where reclaim looks first.
    Cold,
}

/// MADV_PAGEOUT of `start .. start + pages`. Folios that others map too are left alone.
///
/// # Errors
/// EINVAL before 5.4 and at an area that is locked or of huge pages; ENOMEM if some of the range is not mapped,
/// the rest is done.
pub fn madvise(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    advise(m, mm, range, Advice::Pageout)
}

/// MADV_COLD of `start .. start + pages`: folios that it covers in part are split all the same.
///
/// # Errors
/// As [`madvise`].
pub fn cold(m: &Machine, mm: &Mm, range: (u64, u64)) -> Outcome {
    advise(m, mm, range, Advice::Cold)
}

fn advise(m: &Machine, mm: &Mm, (start, pages): (u64, u64), advice: Advice) -> Outcome {
    if !m.policy.madv_pageout {
        return Err(Errno::Einval);
    }
    let end = start + pages;
    let covered = mm.vmas.borrow().covers(start, end);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    for area in &areas {
        if area.locked || area.hugetlb.is_some() {
            return Err(Errno::Einval);
        }
        m.lru_drain();
        let stop = end.min(area.end);
        let mut at = start.max(area.start);
        if m.device_of(area).is_some() {
            // Pages of devices are passed over; but who looks below a PUD splits it (`walk_pud_range()`, mm/pagewalk.c).
            dax::zap_puds(m, mm, area, (at, stop));
            m.flush_gathered();
            continue;
        }
        while let Some(found) = mm.table.next_pmd(at, stop) {
            let next = stop.min(mm.table.pmd_end(found));
            // What a reclaim splits changes what the next folio is, so that they are found by page.
            let found = candidates(m, mm, (found, next), advice);
            match advice {
                Advice::Pageout => reclaim_list(m, &found),
                Advice::Cold => {
                    found.iter().for_each(|page| m.lru_deactivate(m.folio(*page), area));
                }
            }
            at = next;
        }
    }
    if covered { Ok(()) } else { Err(Errno::Enomem) }
}

/// The folios of `start..end`, within one PMD, that are to be reclaimed; those that it covers in part are split
/// first.
fn candidates(m: &Machine, mm: &Mm, (start, end): (u64, u64), advice: Advice) -> Vec<Pfn> {
    let ages = advice == Advice::Cold || m.policy.pageout_ages;
    if let Pmd::Leaf(entry) = mm.table.pmd(start) {
        if entry.is_zero() {
            return Vec::new();
        }
        let folio = m.folio(entry.page());
        if is_shared(m, folio.head) {
            m.refuse(Refusal { folio, why: Why::Shared });
            return Vec::new();
        }
        if end - start == mm.table.pmd_pages() {
            if ages {
                let _guard = m.lock_table(mm, start);
                mm.table.set_pmd(start, entry.with_old_and_aged());
            }
            return vec![folio.head];
        }
        if !split::split_held(m, folio, Request::PAGES) {
            return Vec::new();
        }
    }
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        let (entry, len) = m.batch(&mm.table, at, end - at, Alike::IgnoringWrite);
        if !entry.is_present() || entry.is_zero() {
            at += len;
            continue;
        }
        let folio = m.folio(entry.page());
        let whole = m.policy.pageout_whole_folios && len == u64::from(folio.pages());
        if folio.is_large() && !whole {
            let shared = is_shared(m, entry.page());
            if shared {
                m.refuse(Refusal { folio, why: Why::Shared });
            }
            if shared || !split::split_held(m, folio, Request::PAGES) {
                if !m.policy.pageout_whole_folios {
                    // These kernels give up on the page table at the first folio that they cannot split.
                    break;
                }
                at += len;
            }
            continue;
        }
        let step = if folio.is_large() { len } else { 1 };
        if mapped_once(m, folio) {
            if ages {
                let _guard = m.lock_table(mm, at);
                mm.table.age_run(at, step, false);
            }
            found.push(folio.head);
        } else {
            m.refuse(Refusal { folio, why: Why::Shared });
        }
        at += step;
    }
    found
}

fn is_shared(m: &Machine, page: Pfn) -> bool {
    looks_shared(m, m.policy.pageout_shared_test, page)
}

/// Whether an advice leaves the folio of a page alone, because others seem to map it too.
pub(super) fn looks_shared(m: &Machine, test: SharedTest, page: Pfn) -> bool {
    let ask = |query, page| m.ask(query, page, &mut Tally::off()).value();
    match test {
        SharedTest::PageMapcount => ask(Query::PageMapcount, page) != Some(1),
        SharedTest::FirstPage => ask(Query::PageMapcount, m.folio(page).head) != Some(1),
        SharedTest::FolioMapcount => ask(Query::FolioMapcount, page) != Some(1),
        SharedTest::MaybeShared => ask(Query::MaybeShared, page) == Some(1),
    }
}

/// Whether the folio, all of whose pages the process maps, has no mapping besides.
fn mapped_once(m: &Machine, folio: Folio) -> bool {
    match m.ask(Query::FolioMapcount, folio.head, &mut Tally::off()) {
        Answer::Exact(count) => count == i64::from(folio.pages()),
        _ => m.ask(Query::MaybeShared, folio.head, &mut Tally::off()).value() == Some(0),
    }
}

/// Reclaims folios; those that stay go back to the LRU behind the last one.
fn reclaim_list(m: &Machine, pages: &[Pfn]) {
    let mut kept = Vec::new();
    for page in pages {
        if let Some(folio) = m.frames.folio(*page).filter(|folio| folio.head == *page) {
            m.get_refs(folio, 1);
            reclaim_isolated(m, folio, &mut kept);
        }
    }
    for page in kept {
        let folio = m.folio(page);
        m.lru_putback(folio);
        m.put_refs(folio, 1);
    }
}

/// Reclaims a folio that was isolated, with the reference that this took; it is dropped, or goes with what is `kept`.
fn reclaim_isolated(m: &Machine, folio: Folio, kept: &mut Vec<Pfn>) {
    let listed = m.holders.list().len();
    match reclaim_one(m, folio) {
        Ok(Next::Done) => m.put_refs(folio, 1),
        Ok(Next::Kept) => kept.push(folio.head),
        Ok(Next::Written) => {
            if write_or_free(m, folio) {
                kept.push(folio.head);
            } else {
                m.put_refs(folio, 1);
            }
        }
        Ok(Next::Pieces) => {
            let mut pieces = m.holders.list().split_off(listed);
            if m.policy.reclaim_takes_last_piece_first {
                pieces.reverse();
            }
            reclaim_isolated(m, m.folio(folio.head), kept);
            for piece in pieces {
                reclaim_isolated(m, m.folio(piece), kept);
            }
        }
        Err(why) => {
            m.refuse(Refusal { folio, why });
            kept.push(folio.head);
        }
    }
}

/// What became of a folio.
pub(super) enum Next {
    /// It is done with.
    Done,
    /// It is in the swap cache and nobody maps it: it has to be written.
    Written,
    /// It is in the swap cache and nobody maps it, but somebody holds it.
    Kept,
    /// It was split, and its pieces, which are on the list, have their turn.
    Pieces,
}

fn reclaim_one(m: &Machine, folio: Folio) -> Result<Next, Why> {
    let places = rmap_walk::places(m, folio);
    let locks = |place: &Place| place.vma.locked && m.pages_in_vma(&place.mm, &place.vma, folio) > 0;
    if places.iter().any(locks) {
        return Err(Why::Locked);
    }
    if m.policy.pageout_ages && is_accessed(folio, &places) {
        return Err(Why::Accessed);
    }
    match folio.kind {
        Kind::File | Kind::Shmem => reclaim::evict(m, folio, &places),
        _ => swap_out(m, folio, &places),
    }
}

/// Whether somebody accessed a folio through an entry that was not aged (`page_referenced()`, mm/rmap.c, v5.10,
/// v6.1). Where the advice does not age entries nobody looks at them.
fn is_accessed(folio: Folio, places: &[Place]) -> bool {
    places.iter().any(|place| {
        let table = &place.mm.table;
        let mut at = place.start;
        while at < place.end {
            let (entry, next) = match table.pmd(at) {
                Pmd::Leaf(entry) => (entry, table.pmd_end(at)),
                _ => (table.read(at), at + 1),
            };
            let maps = entry.is_present() && !entry.is_zero() && folio.range().contains(entry.page());
            if maps && !entry.is_old() {
                return true;
            }
            at = next;
        }
        false
    })
}

fn swap_out(m: &Machine, folio: Folio, places: &[Place]) -> Result<Next, Why> {
    if m.frames.has_flag(folio, FolioFlag::LazyFree) {
        if folio.is_large() && m.policy.reclaim_splits_files == ReclaimSplitsFiles::All {
            return split::split(m, folio, Request::LISTED).map(|()| Next::Pieces);
        }
        return lazyfree::drop_folio(m, folio, places).map(|()| Next::Done);
    }
    if !m.swap.holds(folio) {
        let pinned = m.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1);
        let (refcount, expected) = (i64::from(m.refcount(folio)), m.expected_refcount(folio) + 1);
        if (pinned && m.policy.reclaim_refuses_pinned) || (folio.is_large() && refcount != expected) {
            return Err(Why::Held { refcount, expected });
        }
        if folio.is_large() && splits_first(m, folio) {
            return split::split(m, folio, Request::LISTED).map(|()| Next::Pieces);
        }
        if !m.swap.add(folio) {
            if !folio.is_large() {
                return Err(Why::NoSwap);
            }
            return split::split(m, folio, Request::LISTED).map(|()| Next::Pieces);
        }
        m.get_refs(folio, folio.pages() as i32);
        m.phase(Phase::SwapCached, None, folio.range());
    }
    let _folio = m.lock(Lock::Folio(folio.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(folio).root));
    for place in places {
        unmap(m, folio, place);
    }
    let unheld = m.refcount(folio) == 1 + folio.pages() as i32;
    Ok(if unheld { Next::Written } else { Next::Kept })
}

/// Whether reclaim splits a large folio rather than to swap it whole.
fn splits_first(m: &Machine, folio: Folio) -> bool {
    match m.policy.reclaim_splits {
        ReclaimSplits::WithoutPmd => {
            m.ask(Query::EntireMapcount, folio.head, &mut Tally::off()).value() == Some(0)
        }
        ReclaimSplits::Queued => m.has_flag(Field::Deferred, folio),
        ReclaimSplits::PartiallyMapped => m.has_flag(Field::PartiallyMapped, folio),
    }
}

/// Turns every entry of one area into a swap entry, page by page; a PMD is split before.
fn unmap(m: &Machine, folio: Folio, place: &Place) {
    let mm = &place.mm;
    let pinned = m.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1);
    let mut removed = false;
    for at in place.start..place.end {
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            if !entry.is_present() || entry.is_zero() || entry.page() != folio.head {
                continue;
            }
            split_pmd::split_pmd(m, mm, &place.vma, at);
        }
        let _guard = m.lock_table(mm, at);
        let entry = mm.table.read(at);
        if !entry.is_present() || entry.is_zero() || !folio.range().contains(entry.page()) {
            continue;
        }
        let page = PageRange::one(entry.page());
        let exclusive = m.rmap().exclusive(page) > 0;
        if exclusive && m.rmap().folio_try_share_anon_rmap_pte(page, pinned).is_err() {
            // It was pinned when it was in the cache already: reclaim gives up on this area.
            break;
        }
        removed = true;
        if m.policy.swap_in_maps_writable && entry.is_writable() && !entry.is_clean() {
            // It may have been written without a fault since it came back.
            m.swap.set_dirty(folio, true);
        }
        let slot = m.swap.slot_of(folio, page.first).expect("it was put into the cache");
        m.swap.use_slots(slot, 1);
        let by = m.removing(mm, &place.vma, folio, 1);
        mm.table.set(at, Entry::swap(slot, exclusive));
        m.swap.enter(mm.id);
        let lost = m.rmap().folio_remove_rmap_ptes(folio, page, &by);
        m.after_removal(folio, Level::Pte, lost);
        m.munlock_unmapped(&place.vma, page, Level::Pte);
        m.put_refs(folio, m.scheme.references_of_removed(1, &by));
    }
    if removed {
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
    }
}

/// Writes a folio that only the cache and reclaim hold. While the device writes it stays in the cache; what need
/// not be written leaves it at once and is freed. Says whether it is written.
fn write_or_free(m: &Machine, folio: Folio) -> bool {
    let zeroes = m.frames.zero_filled(folio) == folio.pages();
    let written = m.swap.is_dirty(folio) && !(zeroes && m.policy.swap_knows_zeroes);
    if written {
        m.swap.set_dirty(folio, false);
    } else {
        swap_cache::remove(m, folio);
    }
    written
}
