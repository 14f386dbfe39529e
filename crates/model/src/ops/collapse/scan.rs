//! Looking at the pages that are to become one folio.
//!
//! Sources: `hpage_collapse_scan_pmd()`, `__collapse_huge_page_isolate()` (mm/khugepaged.c, v5.10, v6.12, v7.2).

use std::collections::BTreeSet;

use super::{Stop, Target, Who};
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::frames::FolioFlag;
use crate::machine::page_table::{Alike, Entry};
use crate::ops::swap_cache;
use crate::policy::CollapseWritable;
use crate::query::{Query, Tally};
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// Entries in a row that are of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Run {
    /// Empty ones.
    Holes(u32),
    /// For the shared zero page.
    Zero(u32),
    /// For what is swapped out, or moved.
    Swapped(u32),
    /// For pages in a row that are anonymous folios of their own, none in the swap cache.
    Small(PageRange, Entry),
    /// For pages of one folio.
    Part(Folio, PageRange, Entry),
}

impl Run {
    /// How many.
    pub(super) const fn len(self) -> u32 {
        match self {
            Run::Holes(len) | Run::Zero(len) | Run::Swapped(len) => len,
            Run::Small(pages, _) | Run::Part(_, pages, _) => pages.len,
        }
    }

    /// The pages that they map.
    pub(super) const fn pages(self) -> Option<PageRange> {
        match self {
            Run::Small(pages, _) | Run::Part(_, pages, _) => Some(pages),
            _ => None,
        }
    }
}

/// The entries of a range, as runs with the places where they begin.
pub(super) fn runs<'a>(m: &'a Machine, target: Target<'a>) -> impl Iterator<Item = (u64, Run)> + 'a {
    let mut at = target.at;
    std::iter::from_fn(move || {
        if at >= target.end() {
            return None;
        }
        let from = at;
        let run = run_at(m, target, at);
        at += u64::from(run.len());
        Some((from, run))
    })
}

fn run_at(m: &Machine, target: Target<'_>, at: u64) -> Run {
    let (entry, len) = target.mm.table.run(at, target.end() - at, Alike::IgnoringWrite);
    let len = len as u32;
    if entry.is_none() {
        return Run::Holes(len);
    }
    if !entry.is_present() {
        return Run::Swapped(len);
    }
    if entry.is_zero() {
        return Run::Zero(len);
    }
    let small = if m.swap.is_used() { 0 } else { m.frames.small_run(entry.page(), len, false) };
    if small > 0 {
        return Run::Small(PageRange::new(entry.page(), small), entry);
    }
    let folio = m.folio(entry.page());
    let inside = folio.head.0 + folio.pages() - entry.page().0;
    Run::Part(folio, PageRange::new(entry.page(), len.min(inside)), entry)
}

/// How much of what is not an ordinary page of the process's own a collapse takes.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) holes: u32,
    pub(super) swapped: u32,
    pub(super) shared: u32,
}

impl Limits {
    /// khugepaged's are those of sysfs; folios smaller than a PMD it makes of pages that are all there, or of as
    /// few as one, and of nothing shared or swapped.
    pub(super) fn of(m: &Machine, who: Who, order: Order) -> Limits {
        let config = m.config.borrow();
        if who == Who::Madvise {
            let all = order.pages();
            return Limits { holes: all, swapped: all, shared: all };
        }
        if order == config.pmd() {
            let (holes, swapped) = (config.max_ptes_none, config.max_ptes_swap);
            return Limits { holes, swapped, shared: config.max_ptes_shared };
        }
        let most = config.max_ptes_none == config.pmd().pages() - 1;
        Limits { holes: if most { order.pages() - 1 } else { 0 }, swapped: 0, shared: 0 }
    }
}

/// How far a collapse is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It looks whether it is worth the while.
    Scan,
    /// All pages have to be there now.
    Isolate,
}

/// What was found.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    /// Swap entries.
    pub(super) swapped: u32,
    holes: u32,
    shared: u32,
    writable: u32,
    accessed: u32,
    mapped: u32,
}

/// Looks whether the pages of a range may become one folio.
pub(super) fn inspect(
    m: &Machine,
    target: Target<'_>,
    limits: &Limits,
    who: Who,
    stage: Stage,
) -> Result<Found, Stop> {
    let mut found = Found::default();
    let mut locked = BTreeSet::new();
    for (at, run) in runs(m, target) {
        match run {
            Run::Holes(len) => found.holes += len,
            Run::Zero(len) if m.policy.collapse_takes_zero_pages => found.holes += len,
            Run::Zero(_) => return Err(Stop::NotPresent),
            Run::Swapped(_) if stage == Stage::Isolate => return Err(Stop::NotPresent),
            Run::Swapped(len) => found.swapped += len,
            Run::Small(pages, _) | Run::Part(_, pages, _) => {
                let bits = target.mm.table.bits_of_run(at, u64::from(pages.len));
                found.mapped += pages.len;
                found.writable += bits.writable;
                let idle = if m.policy.folios_are_born_referenced { bits.aged } else { bits.old };
                found.accessed += pages.len - idle;
                let skips = who == Who::Khugepaged && m.policy.collapse_skips_lazyfree && bits.clean > 0;
                if skips && m.frames.has_flag(m.folio(pages.first), FolioFlag::LazyFree) {
                    return Err(Stop::LazyFree);
                }
                inspect_pages(m, target, run, limits, &mut found)?;
                if let (Stage::Isolate, Run::Part(folio, ..)) = (stage, run) {
                    check_swap_cache(m, folio, bits.writable < pages.len)?;
                    lock_ksm(folio, &mut locked)?;
                }
            }
        }
        if found.holes > limits.holes {
            return Err(Stop::Holes);
        }
        if found.swapped > limits.swapped {
            return Err(Stop::Swapped);
        }
    }
    worthwhile(m, target, who, found)
}

/// Checks what is mapped: by whom else, and whether anybody holds it.
fn inspect_pages(
    m: &Machine,
    target: Target<'_>,
    run: Run,
    limits: &Limits,
    found: &mut Found,
) -> Result<(), Stop> {
    let Some(pages) = run.pages() else { return Ok(()) };
    // Mostly every page has one mapping and its reference: then two looks at all counters are enough.
    if let Run::Small(..) = run {
        let references = m.counters().scan(Field::Refcount, pages);
        let mappings = m.counters().scan(Field::Mapcount, pages);
        if references.sum == i64::from(pages.len) && references.max == 1 && mappings.max == 0 {
            return Ok(());
        }
    }
    for page in pages.iter() {
        let folio = m.folio(page);
        if folio.is_large() && !m.policy.collapse_takes_large {
            return Err(Stop::LargeSource);
        }
        found.shared += u32::from(is_shared(m, page));
        if found.shared > limits.shared {
            return Err(Stop::Shared);
        }
        if target.order < m.pmd_order() && folio.order >= target.order {
            return Err(Stop::LargeSource);
        }
        let expected = if m.policy.collapse_takes_shared {
            m.expected_refcount(folio)
        } else {
            1 + i64::from(m.swap.holds(folio))
        };
        if i64::from(m.refcount(folio)) != expected {
            return Err(Stop::Held(page));
        }
    }
    Ok(())
}

fn is_shared(m: &Machine, page: Pfn) -> bool {
    let ask = |query| m.ask(query, page, &mut Tally::off()).value().unwrap_or(0);
    if m.policy.collapse_asks_folio { ask(Query::MaybeShared) == 1 } else { ask(Query::PageMapcount) > 1 }
}

/// Up to 5.17 a page in the swap cache that is mapped read-only has to leave the cache.
fn check_swap_cache(m: &Machine, folio: Folio, read_only: bool) -> Result<(), Stop> {
    let looks = m.policy.collapse_takes_from_swap_cache && read_only && m.swap.holds(folio);
    if looks && (folio.kind == Kind::Ksm || !swap_cache::reuse_by_mapcount(m, folio, 0)) {
        return Err(Stop::SwapCached);
    }
    Ok(())
}

/// Each page is locked when it is taken: one that KSM has made of several is met a second time, and cannot be.
fn lock_ksm(folio: Folio, locked: &mut BTreeSet<Pfn>) -> Result<(), Stop> {
    if folio.kind == Kind::Ksm && !locked.insert(folio.head) { Err(Stop::Locked) } else { Ok(()) }
}

/// Whether the process uses enough of what was found.
fn worthwhile(m: &Machine, target: Target<'_>, who: Who, found: Found) -> Result<Found, Stop> {
    let refused = match m.policy.collapse_writable {
        CollapseWritable::All => found.writable < found.mapped,
        CollapseWritable::One => found.writable == 0,
        CollapseWritable::None => false,
    };
    if refused {
        return Err(Stop::ReadOnly);
    }
    let idle = found.accessed == 0 || (found.swapped > 0 && found.accessed < target.order.pages() / 2);
    if who == Who::Khugepaged && idle { Err(Stop::NotAccessed) } else { Ok(found) }
}
