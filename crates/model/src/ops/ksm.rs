//! KSM: ksmd merges pages of equal content, MADV_UNMERGEABLE and writes break them apart.
//!
//! Sources: `cmp_and_merge_page()`, `try_to_merge_one_page()`, `write_protect_page()`, `replace_page()`,
//! `unstable_tree_search_insert()`, `scan_get_next_rmap_item()`, `ksm_madvise()` (mm/ksm.c, v2.6.39 to v6.8). The zero page is not merged with
//! (`use_zero_pages` is off) and no page is skipped (`smart_scan` is off).

use super::split::{self, Request};
use super::{Outcome, cow, split_pmd, swap_cache, vma};
use crate::event::{Errno, Phase};
use crate::machine::frames::{FolioFlag, Mapping};
use crate::machine::ksm_tree::{Search, UnstableTree};
use crate::machine::lock::Lock;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::{Protection, Vma};
use crate::machine::{Machine, Mm};
use crate::policy::KsmProtNone;
use crate::query::{Query, Tally};
use crate::units::{Folio, Kind, Level, MmId, PageRange, Pfn};

/// MADV_MERGEABLE and MADV_UNMERGEABLE.
///
/// # Errors
/// EAGAIN when memory is full while pages are broken apart; ENOMEM if some of the range is not mapped, the
/// rest is done.
pub fn advise(m: &Machine, mm: &Mm, (start, pages): (u64, u64), mergeable: bool) -> Outcome {
    let _guard = m.lock(Lock::Mmap(mm.id));
    let end = start + pages;
    let covered = mm.vmas.borrow().covers(start, end);
    let areas = mm.vmas.borrow().overlapping(start, end).to_vec();
    let mut outcome = if covered { Ok(()) } else { Err(Errno::Enomem) };
    // Neither huge pages are merged nor what a shared mapping maps; the advice is ignored.
    let affected = |area: &&Vma| area.mergeable != mergeable && area.hugetlb.is_none() && !area.is_shared();
    for area in areas.iter().filter(affected) {
        let (from, to) = (start.max(area.start), end.min(area.end));
        if mergeable {
            m.ksm.enter(mm.id);
        } else if unshare(m, mm, area, (from, to)).is_err() {
            outcome = Err(Errno::Eagain);
            break;
        }
        vma::cut(m, mm, from, to)?;
        mm.vmas.borrow_mut().update(from, to, |vma| vma.mergeable = mergeable);
        vma::merge(m, mm, from, to);
    }
    outcome
}

/// Gives an area pages of its own in place of merged ones.
///
/// # Errors
/// ENOMEM when memory is full; what was broken apart stays so.
pub(super) fn unshare(m: &Machine, mm: &Mm, area: &Vma, (start, end): (u64, u64)) -> Outcome {
    let mut at = start;
    while let Some(found) = mm.table.next_pmd(at, end) {
        let stop = end.min(mm.table.pmd_end(found));
        if mm.table.pmd(found) == Pmd::Table {
            for page in found..stop {
                if mapped(mm, page).is_some_and(|page| m.folio(page).kind == Kind::Ksm) {
                    cow::unshare_pte(m, mm, area, page)?;
                }
            }
        }
        at = stop;
    }
    Ok(())
}

/// The page that is mapped at `at`, unless it is a zero page.
fn mapped(mm: &Mm, at: u64) -> Option<Pfn> {
    let entry = mm.table.read(at);
    (entry.is_present() && !entry.is_zero()).then(|| entry.page())
}

/// An address that ksmd looks at.
#[derive(Clone, Copy)]
struct Spot<'a> {
    mm: &'a Mm,
    area: &'a Vma,
    at: u64,
}

impl Spot<'_> {
    const fn key(&self) -> (MmId, u64) {
        (self.mm.id, self.at)
    }

    const fn mapping(&self) -> Mapping {
        Mapping { root: self.area.root, index: self.area.offset_of(self.at) }
    }
}

/// ksmd scans everything so many times.
pub fn scan(m: &Machine, passes: u32) {
    for _ in 0..passes {
        if m.ksm.mms().is_empty() {
            return;
        }
        m.lru_drain();
        let mut candidates = UnstableTree::new();
        for id in m.ksm.mms() {
            if let Some(mm) = m.mm(id) {
                scan_mm(m, &mm, &mut candidates);
            }
        }
    }
}

/// Looks at every anonymous page of an address space where ksmd may; forgets the other addresses.
fn scan_mm(m: &Machine, mm: &Mm, candidates: &mut UnstableTree) {
    let areas: Vec<Vma> = mm.vmas.borrow().all().iter().copied().filter(|area| area.mergeable).collect();
    if areas.is_empty() {
        return m.ksm.leave(mm.id);
    }
    let mut known = 0;
    for area in areas.iter().filter(|area| area.anon.is_some()) {
        let mut from = area.start;
        while let Some(found) = mm.table.next_pmd(from, area.end) {
            let stop = area.end.min(mm.table.pmd_end(found));
            let hidden = m.policy.ksm_protnone == KsmProtNone::Nowhere && area.protection == Protection::NONE;
            for at in found..stop {
                if let Some(page) = mapped(mm, at).filter(|_| !hidden) {
                    m.ksm.forget(mm.id, known, at);
                    known = at + 1;
                    look_at(m, Spot { mm, area, at }, page, candidates);
                }
            }
            from = stop;
        }
    }
    m.ksm.forget(mm.id, known, u64::MAX);
}

/// Merges a page into one that was merged before; else, if it did not change since the last pass, with another
/// one that did not.
fn look_at(m: &Machine, spot: Spot<'_>, page: Pfn, candidates: &mut UnstableTree) {
    let content = m.frames.content(page);
    let own = m.ksm.is_stable(page);
    if own && m.ksm.shared_at(spot.key()) == Some(page) {
        return;
    }
    if m.policy.ksm_skips_changed && !own {
        m.ksm.unlink(spot.key());
        if !m.ksm.is_unchanged(spot.key(), content) {
            return;
        }
    }
    // A merged page that fork brought here joins as it is, whatever the limit.
    let stable = if own { Some(page) } else { m.ksm.find(content, m.policy.ksm_max_sharing) };
    m.ksm.unlink(spot.key());
    if let Some(stable) = stable {
        if merge(m, spot, Some(stable)) {
            m.ksm.link(spot.key(), stable, spot.mapping());
        }
        return;
    }
    if !m.policy.ksm_skips_changed && !m.ksm.is_unchanged(spot.key(), content) {
        return;
    }
    let compare = |other| {
        // fork shares it already, or it is gone: a split may have left the zero page in its place.
        let other = candidate(m, other).filter(|other| *other != page)?;
        Some(content.cmp(&m.frames.content(other)))
    };
    if let Search::Found(other) = candidates.search_insert(spot.key(), compare)
        && merge_two(m, spot, page, other)
    {
        candidates.remove(other);
    }
}

/// The page at an address that was seen earlier in this pass, if it may still be merged (`get_mergeable_page()`).
fn candidate(m: &Machine, (mm, at): (MmId, u64)) -> Option<Pfn> {
    let mm = m.mm(mm)?;
    let area = mm.vmas.borrow().find(at).filter(|area| area.mergeable && area.anon.is_some())?;
    if m.policy.ksm_protnone != KsmProtNone::Everywhere && area.protection == Protection::NONE {
        return None;
    }
    mapped(&mm, at).filter(|page| m.folio(*page).kind.is_anon())
}

/// Makes of a page and one seen earlier in this pass one merged page: this one, which the other gives way to.
fn merge_two(m: &Machine, spot: Spot<'_>, page: Pfn, (other_mm, other_at): (MmId, u64)) -> bool {
    let Some(mm) = m.mm(other_mm) else { return false };
    let area = mm.vmas.borrow().find(other_at).filter(|area| area.mergeable && area.anon.is_some());
    let (Some(area), Some(other_page)) = (area, mapped(&mm, other_at)) else { return false };
    let other = Spot { mm: &mm, area: &area, at: other_at };
    let folio = m.folio(page);
    if folio == m.folio(other_page) && !m.scheme.info().capabilities.pmd_split_splits_folio {
        // ksmd holds both pages, one too many for a split. With one of them put it can be split, for later.
        if m.policy.ksm_splits_thp {
            split_folio(m, spot, folio);
        }
        return false;
    }
    if !merge(m, spot, None) {
        return false;
    }
    if merge(m, other, Some(page)) {
        m.ksm.add(page, m.frames.content(page));
        m.ksm.link(other.key(), page, other.mapping());
        m.ksm.link(spot.key(), page, spot.mapping());
        return true;
    }
    // A merged page for one address is of no use. ksmd holds it, so that it is copied and not taken. Without
    // memory for the copy it stays as it is.
    m.get_page(page);
    let _ = cow::unshare_pte(m, spot.mm, spot.area, spot.at);
    m.put_page(page);
    false
}

/// Puts `into` in the place of the page at an address, or makes that page a merged one. Refused where somebody
/// holds the page.
fn merge(m: &Machine, spot: Spot<'_>, into: Option<Pfn>) -> bool {
    let Some(page) = mapped(spot.mm, spot.at) else { return false };
    if into == Some(page) {
        return true;
    }
    let folio = m.folio(page);
    if folio.is_large() && !split_folio(m, spot, folio) {
        return false;
    }
    // A split may leave the zero page in its place.
    if mapped(spot.mm, spot.at) != Some(page) || m.folio(page).kind != Kind::Anon {
        return false;
    }
    let folio = m.folio(page);
    m.get_page(page);
    let _guard = m.lock_table(spot.mm, spot.at);
    let done = protect(m, spot, folio);
    if done {
        match into {
            Some(into) => replace(m, spot, folio, m.folio(into)),
            None => {
                m.frames.set_kind(folio, Kind::Ksm, m.frames.mapping(folio));
                // MADV_FREE may have given it up; it is not dropped now.
                m.frames.set_flag(folio, FolioFlag::Dirty, true);
            }
        }
    }
    m.put_page(page);
    done
}

/// Takes away write access; `false` if anybody but ksmd holds the page.
fn protect(m: &Machine, spot: Spot<'_>, folio: Folio) -> bool {
    let table = &spot.mm.table;
    if i64::from(m.refcount(folio)) != m.expected_refcount(folio) + 1 {
        return false;
    }
    let looks_pinned = || m.ask(Query::MaybeDmaPinned, folio.head, &mut Tally::off()).value() == Some(1);
    let pinned = m.policy.anon_exclusive && looks_pinned();
    if m.rmap().folio_try_share_anon_rmap_pte(folio.range(), pinned).is_err() {
        return false;
    }
    table.set(spot.at, table.read(spot.at).with_write(false));
    true
}

/// Maps the merged page in the place of an ordinary one.
fn replace(m: &Machine, spot: Spot<'_>, old: Folio, merged: Folio) {
    let Spot { mm, area, at } = spot;
    let adds = m.adding(mm, area, merged, 1);
    let removes = m.removing(mm, area, old, 1);
    m.get_refs(merged, m.scheme.references_of_added(1, &adds));
    m.rmap().folio_add_anon_rmap_ptes(merged, PageRange::one(merged.head), &adds, false);
    m.mlock_mapped(area, PageRange::one(merged.head));
    mm.table.set(at, Entry::present(merged.head, false));
    m.phase(Phase::Mapped, Some(mm.id), merged.range());
    let lost = m.rmap().folio_remove_rmap_ptes(old, old.range(), &removes);
    m.after_removal(old, Level::Pte, lost);
    m.munlock_unmapped(area, old.range(), Level::Pte);
    swap_cache::free_unmapped(m, old);
    m.put_refs(old, m.scheme.references_of_removed(1, &removes));
    m.phase(Phase::OldUnmapped, Some(mm.id), old.range());
}

/// Splits the folio at an address into single pages; `false` if it is held. Nobody asked for it, so that a
/// refusal is not reported.
fn split_folio(m: &Machine, spot: Spot<'_>, folio: Folio) -> bool {
    if m.scheme.info().capabilities.pmd_split_splits_folio {
        split_pmd::split_pmd(m, spot.mm, spot.area, spot.at);
        return true;
    }
    m.get_refs(folio, 1);
    m.phase(Phase::CallerHolds, None, folio.range());
    let done = split::split(m, folio, Request::PAGES).is_ok();
    m.put_refs(m.folio(folio.head), 1);
    m.phase(Phase::CallerPut, None, folio.range());
    done
}
