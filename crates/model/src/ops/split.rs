//! Splitting a folio, 4.5 and later: take it out of all page tables, freeze its references, cut it, put the
//! pieces back. Refused while anybody holds a reference that mappings and caches do not explain.
//!
//! Sources: `split_huge_page_to_list()` (mm/huge_memory.c, v4.5, v4.8, v6.8), `split_huge_page_to_list_to_order()`
//! (v6.11), `__folio_split()` (v6.17, v7.3); `remove_migration_pte()` (mm/migrate.c).

use super::rmap_walk::{self, Place};
use super::split_pmd;
use crate::event::{Errno, Phase, Refusal, Why};
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::policy::DebugfsSplit;
use crate::stats::Stat;
use crate::units::{Folio, Kind, Order, PageRange, Pfn};

/// How a folio is to be split.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The order of the pieces; of a non-uniform split that of the piece around the page.
    pub order: Order,
    /// The page of the folio around which to split (its index); the other pieces stay as large as they can.
    /// Kernels before 6.15 do not look at it.
    pub at: Option<u64>,
    /// The caller collects the pieces behind the first on a list, which holds a reference on each.
    pub list: bool,
}

impl Request {
    /// To single pages.
    pub const PAGES: Request = Request { order: Order::ZERO, at: None, list: false };
}

/// Splits what debugfs would: the folios mapped at `start .. start + pages`, or everything.
///
/// # Errors
/// ENOENT before 4.5, which has no such file. A folio that cannot be split is left and reported as refused.
pub fn debugfs(m: &Machine, mm: &crate::machine::Mm, range: (u64, u64), request: Request) -> super::Outcome {
    match m.policy.debugfs_split {
        DebugfsSplit::Absent => return Err(Errno::Enoent),
        DebugfsSplit::Everything => {
            let large = |folio: &Folio| folio.is_large() && folio.kind != Kind::Zero;
            let folios: Vec<Folio> = m.frames.folios().filter(large).collect();
            for folio in folios {
                split_held(m, folio, Request::PAGES);
            }
        }
        DebugfsSplit::Range => {
            let end = range.0 + range.1;
            let mut at = range.0;
            while let Some(found) = mm.table.next_pmd(at, end) {
                let entry = mm.table.read(found);
                if entry.is_present() && !entry.is_zero() {
                    let folio = m.folio(entry.page());
                    if folio.is_large() && request.order < folio.order {
                        split_held(m, folio, request);
                    }
                }
                at = found + 1;
            }
        }
    }
    Ok(())
}

/// Splits a folio with a reference of the caller's own.
fn split_held(m: &Machine, folio: Folio, request: Request) -> bool {
    m.get_refs(folio, 1);
    m.phase(Phase::CallerHolds, None, folio.range());
    let outcome = split(m, folio, request);
    if let Err(why) = outcome {
        m.refuse(Refusal { folio, why });
    }
    let kept = m.folio(folio.head);
    m.put_refs(kept, 1);
    m.phase(Phase::CallerPut, None, folio.range());
    outcome.is_ok()
}

/// Splits a folio on which the caller holds exactly one reference; afterwards it is the first piece's.
///
/// # Errors
/// Why it was left as it was.
pub fn split(m: &Machine, folio: Folio, request: Request) -> Result<(), Why> {
    if request.order == Order(1) {
        return Err(Why::NoSuchOrder { order: 1 });
    }
    if request.order > Order::ZERO && !m.policy.split_anon_to_order {
        return Err(Why::OnlyToPages);
    }
    let _folio = m.lock(Lock::Folio(folio.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(folio).root));
    let (references, expected) = (i64::from(m.refcount(folio)), m.expected_refcount(folio) + 1);
    if references != expected {
        return Err(Why::Held { refcount: references, expected });
    }
    let places = rmap_walk::places(m, folio);
    for place in &places {
        unmap(m, folio, place);
    }
    m.unqueue(folio);
    m.counters().set(Field::Refcount, folio.head, 0);
    m.phase(Phase::Frozen, None, folio.range());
    let pieces = pieces(m, folio, request);
    m.rmap().set_exclusive(folio.range(), false);
    m.frames.split(folio, &pieces);
    for piece in &pieces {
        m.scheme.prep_folio(m.counters(), *piece);
    }
    m.stats.add(Stat::FolioSplits, 1);
    m.phase(Phase::Unfrozen, None, folio.range());
    if request.list {
        for piece in &pieces[1..] {
            m.get_refs(*piece, 1);
            m.holders.list().push(piece.head);
        }
        m.phase(Phase::Listed, None, folio.range());
    }
    for place in &places {
        remap(m, folio, place);
    }
    for piece in &pieces[1..] {
        m.put_refs(*piece, 1);
    }
    m.phase(Phase::FinalPut, None, folio.range());
    Ok(())
}

/// Drops the references of the lists that splits were asked for.
pub fn put_back(m: &Machine) {
    let list = std::mem::take(&mut *m.holders.list());
    for page in list {
        m.put_page(page);
    }
}

/// The pieces, in order of address. Around a page: the piece that holds it is halved again and again;
/// anonymous folios cannot have order 1, so that order 2 falls apart at once.
fn pieces(m: &Machine, folio: Folio, request: Request) -> Vec<Folio> {
    let piece = |head: Pfn, order: u8| Folio { head, order: Order(order), kind: folio.kind };
    let target = request.at.filter(|at| m.policy.split_nonuniform && *at < u64::from(folio.pages()));
    let Some(at) = target else {
        let step = request.order.pages();
        let heads = (0..folio.pages()).step_by(step as usize);
        return heads.map(|offset| piece(folio.head.add(offset), request.order.0)).collect();
    };
    let page = folio.head.add(at as u32);
    let (mut before, mut behind) = (Vec::new(), Vec::new());
    let mut rest = piece(folio.head, folio.order.0);
    while rest.order > request.order {
        let order = if rest.order.0 == 2 { 0 } else { rest.order.0 - 1 };
        let step = 1u32 << order;
        let heads = (0..rest.pages()).step_by(step as usize).map(|offset| rest.head.add(offset));
        let mut halves: Vec<Folio> = heads.map(|head| piece(head, order)).collect();
        let index = halves.iter().position(|half| half.range().contains(page)).expect("they cover it");
        let mut right = halves.split_off(index + 1);
        rest = halves.pop().expect("the one that holds the page");
        before.append(&mut halves);
        right.append(&mut behind);
        behind = right;
    }
    before.push(rest);
    before.append(&mut behind);
    before
}

/// Turns every entry of one area into a migration entry, which counts nowhere but remembers whether the
/// page was exclusive.
fn unmap(m: &Machine, folio: Folio, place: &Place) {
    let (mm, vma) = (&place.mm, &place.vma);
    let mut at = place.start;
    let mut removed = false;
    while at < place.end {
        if let Pmd::Leaf(entry) = mm.table.pmd(at) {
            let end = mm.table.pmd_end(at);
            if entry.page() == folio.head && !entry.is_zero() {
                removed = true;
                if m.policy.split_unmaps_by_pte {
                    split_pmd::split_pmd(m, mm, vma, at);
                    continue;
                }
                unmap_pmd(m, folio, place, at, entry);
            }
            at = end;
            continue;
        }
        let (entry, len) = mm.table.run(at, place.end - at, Alike::Exactly);
        let len = len.max(1);
        if !entry.is_present() || entry.is_zero() || !folio.range().contains(entry.page()) {
            at += len;
            continue;
        }
        removed = true;
        let inside = folio.head.0 + folio.pages() - entry.page().0;
        let exclusive = m.counters().read(Field::AnonExclusive, entry.page()) != 0 && m.policy.anon_exclusive;
        let alike = alike_exclusive(m, PageRange::new(entry.page(), (len as u32).min(inside)), exclusive);
        let pages = PageRange::new(entry.page(), alike);
        let by = m.removing(mm, vma, folio, pages.len);
        m.rmap().set_exclusive(pages, false);
        mm.table.set_run(at, u64::from(pages.len), entry.to_migration(exclusive));
        m.rmap().folio_remove_rmap_ptes(folio, pages, &by);
        m.put_refs(folio, m.scheme.references_of_removed(pages.len, &by));
        at += u64::from(pages.len);
    }
    if removed {
        m.phase(Phase::Unmapped, Some(mm.id), folio.range());
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

/// From 6.2 on a PMD is taken away in one go: each page gets a migration entry, the whole leaves the counters.
fn unmap_pmd(m: &Machine, folio: Folio, place: &Place, at: u64, entry: Entry) {
    let (mm, vma) = (&place.mm, &place.vma);
    let exclusive = m.rmap().exclusive(PageRange::one(folio.head)) > 0;
    let by = m.removing(mm, vma, folio, folio.pages());
    m.stats.add(Stat::PmdSplits, 1);
    m.rmap().set_exclusive(PageRange::one(folio.head), false);
    mm.table.replace_pmd_by_table(mm.table.pmd_start(at), entry.to_migration(exclusive));
    m.rmap().folio_remove_rmap_pmd(folio, &by);
    m.put_refs(folio, m.scheme.references_of_removed(1, &by));
}

/// Maps the pieces again where migration entries of one area stand for them. A piece of one page that
/// holds only zeroes is replaced by the zero page (6.12 on), unless the area is locked.
fn remap(m: &Machine, folio: Folio, place: &Place) {
    let (mm, vma) = (&place.mm, &place.vma);
    let mut at = place.start;
    let mut restored = false;
    while at < place.end {
        let (entry, len) = mm.table.run(at, place.end - at, Alike::Exactly);
        let len = len.max(1);
        if !entry.is_migration() || !folio.range().contains(entry.page()) {
            at += len;
            continue;
        }
        restored = true;
        let piece = m.folio(entry.page());
        let inside = piece.head.0 + piece.pages() - entry.page().0;
        let pages = PageRange::new(entry.page(), (len as u32).min(inside));
        let drops_zeroes = m.policy.split_drops_zero_pages && !piece.is_large() && !vma.locked;
        if drops_zeroes && m.frames.is_zero_filled(piece.head) {
            mm.table.set(at, Entry::zero(m.zero_page().head));
            at += 1;
            continue;
        }
        let by = m.adding(mm, vma, piece, pages.len);
        m.get_refs(piece, m.scheme.references_of_added(pages.len, &by));
        m.rmap().folio_add_anon_rmap_ptes(piece, pages, &by, entry.is_exclusive());
        mm.table.set_run(at, u64::from(pages.len), entry.from_migration());
        at += u64::from(pages.len);
    }
    if restored {
        m.phase(Phase::Remapped, Some(mm.id), folio.range());
    }
}
