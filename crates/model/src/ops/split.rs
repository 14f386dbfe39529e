//! Splitting a folio, 4.5 and later: take it out of all page tables, freeze its references, cut it, put the
//! pieces back. Refused while anybody holds a reference that mappings and caches do not explain.
//!
//! Sources: `split_huge_page_to_list()` (mm/huge_memory.c, v4.5, v4.8, v6.8), `split_huge_page_to_list_to_order()`
//! (v6.11), `__folio_split()` (v6.17, v7.3); `remove_migration_pte()` (mm/migrate.c).

use super::migration_entry::{self, Pmds, Unmap};
use super::{rmap_walk, swap_cache};
use crate::event::{Errno, Phase, Refusal, Why};
use crate::field::Field;
use crate::machine::Machine;
use crate::machine::files::File;
use crate::machine::lock::Lock;
use crate::policy::{DebugfsSplit, LruFlush};
use crate::scheme::small;
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
    /// The same, with a list for the pieces behind the first.
    pub const LISTED: Request = Request { list: true, ..Request::PAGES };
}

/// Splits what debugfs would: the folios mapped at `start .. start + pages`, or everything.
///
/// # Errors
/// ENOENT before 4.5, which has no such file. A folio that cannot be split is left and reported as refused.
pub fn debugfs(m: &Machine, mm: &crate::machine::Mm, range: (u64, u64), request: Request) -> super::Outcome {
    match m.policy.debugfs_split {
        DebugfsSplit::Absent => return Err(Errno::Enoent),
        DebugfsSplit::Everything => {
            let large = |folio: &Folio| folio.is_large() && !matches!(folio.kind, Kind::Zero | Kind::Device);
            let folios: Vec<Folio> = m.frames.folios().filter(large).collect();
            for folio in folios {
                if folio.kind == Kind::Hugetlb {
                    if m.refcount(folio) > 0 {
                        m.refuse(Refusal { folio, why: Why::Hugetlb });
                    }
                    continue;
                }
                split_held(m, folio, Request { list: request.list, ..Request::PAGES });
            }
        }
        DebugfsSplit::Range => {
            let request = if m.policy.debugfs_takes_order {
                request
            } else {
                Request { list: request.list, ..Request::PAGES }
            };
            // A hole in the range ends it (`split_huge_pages_pid()`, mm/huge_memory.c, v6.1 to v7.2).
            let end = (range.0 + range.1).min(mm.vmas.borrow().covered_to(range.0));
            let mut at = range.0;
            while let Some(found) = mm.table.next_pmd(at, end) {
                let entry = mm.table.read(found);
                if entry.is_present() && !entry.is_zero() {
                    let folio = m.folio(entry.page());
                    if folio.kind == Kind::Hugetlb {
                        m.refuse(Refusal { folio, why: Why::Hugetlb });
                        at = mm.table.pmd_end(found);
                        continue;
                    }
                    // Areas of devices are passed over (`vma_not_suitable_for_thp_split()`).
                    let splits = folio.is_large() && folio.kind != Kind::Device;
                    if splits && request.order < folio.order {
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
pub(super) fn split_held(m: &Machine, folio: Folio, request: Request) -> bool {
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
    let file = m.file_of(folio);
    check_order(m, folio, file.as_deref(), request)?;
    if let Some(file) = &file {
        release_private(m, file, folio)?;
    }
    let cached = m.swap.holds(folio);
    if cached && (request.order > Order::ZERO || (request.at.is_some() && m.policy.split_nonuniform)) {
        return Err(Why::SwapCached);
    }
    if cached && rmap_walk::count_entries(m, folio) == 0 {
        return Err(Why::Unmapped);
    }
    let _folio = m.lock(Lock::Folio(folio.head));
    let _anon = m.lock(Lock::Anon(m.frames.mapping(folio).root));
    let (references, expected) = (i64::from(m.refcount(folio)), m.expected_refcount(folio) + 1);
    if references != expected {
        return Err(Why::Held { refcount: references, expected });
    }
    let places = rmap_walk::places(m, folio);
    let how = Unmap { pmds: Pmds::Split, page_by_page: true };
    let waits = m.holders.is_mlocked(folio.head) && m.policy.lru_flush != LruFlush::AfterAdding;
    for place in &places {
        if file.is_some() {
            migration_entry::unmap_file(m, folio, place);
        } else {
            migration_entry::unmap(m, folio, place, how);
        }
    }
    if waits {
        // Unlocked, it waits for the LRU, with a reference (`split_huge_page_to_list()`, mm/huge_memory.c, v4.5).
        m.lru_drain();
    }
    m.unqueue(folio);
    m.counters().set(Field::Refcount, folio.head, 0);
    m.phase(Phase::Frozen, None, folio.range());
    let pieces = pieces(m, folio, request);
    forget_exclusive(m, folio, &pieces);
    m.frames.split(folio, &pieces);
    prepare(m, folio, &pieces);
    if cached {
        m.swap.split(folio, &pieces);
        pieces.iter().for_each(|piece| m.get_refs(*piece, piece.pages() as i32));
    }
    if let Some(file) = &file {
        split_cached(m, file, &pieces);
    }
    m.count_event(Stat::FolioSplits, folio);
    m.phase(Phase::Unfrozen, None, folio.range());
    if request.list {
        for piece in &pieces[1..] {
            m.get_refs(*piece, 1);
            m.holders.list().push(piece.head);
        }
        m.phase(Phase::Listed, None, folio.range());
    }
    // Pages of files come back by faults.
    for (index, place) in places.iter().enumerate().filter(|_| file.is_none()) {
        let before = m.policy.split_drops_zero_pages.then_some(&places[..index]);
        migration_entry::remap(m, folio, place, folio.head, before);
    }
    put_pieces(m, &pieces[1..], cached);
    m.phase(Phase::FinalPut, None, folio.range());
    Ok(())
}

/// Whether a mapped page is exclusive stands in its migration entry by now. What is left are the bits of pages that
/// nobody maps: the new heads lose them, with the other flags of a page; the other pages keep them
/// (`__split_huge_page_tail()`, mm/huge_memory.c, v6.1, v6.12; `__split_folio_to_order()`, v7.2).
fn forget_exclusive(m: &Machine, folio: Folio, pieces: &[Folio]) {
    if pieces.len() as u32 == folio.pages() {
        let heads = PageRange::new(folio.head.add(1), folio.pages() - 1);
        return m.rmap().set_exclusive(heads, false);
    }
    for piece in &pieces[1..] {
        m.rmap().set_exclusive(PageRange::one(piece.head), false);
    }
}

/// Gives the pieces the values of fresh folios.
fn prepare(m: &Machine, folio: Folio, pieces: &[Folio]) {
    if pieces.len() as u32 == folio.pages() {
        return small::prep_each(m.counters(), folio.range());
    }
    for piece in pieces {
        m.scheme.prep_folio(m.counters(), *piece);
    }
}

/// Drops the splitter's references. Mostly every piece is mapped again: then nothing is freed, and pages in a row
/// are done at once.
fn put_pieces(m: &Machine, pieces: &[Folio], cached: bool) {
    let stays = |piece: &Folio| !cached && m.refcount(*piece) > 1;
    let mut rest = pieces;
    while let Some(first) = rest.first() {
        let row = rest.iter().take_while(|piece| !piece.is_large() && stays(piece)).count();
        if row > 0 {
            m.counters().add_each(Field::Refcount, PageRange::new(first.head, row as u32), -1);
            rest = &rest[row..];
            continue;
        }
        swap_cache::free_unmapped(m, *first);
        m.put_refs(*first, 1);
        rest = &rest[1..];
    }
}

/// Which orders a folio may be split to.
fn check_order(m: &Machine, folio: Folio, file: Option<&File>, request: Request) -> Result<(), Why> {
    let to_order = match file {
        None if folio.kind.is_anon() => m.policy.split_anon_to_order,
        None => return Err(Why::Truncated),
        Some(file) if file.kind.is_shmem() => m.policy.split_shmem_to_order,
        Some(_) => m.policy.split_file_to_order,
    };
    if request.order == Order(1) && folio.kind.is_anon() {
        return Err(Why::NoSuchOrder { order: 1 });
    }
    if request.order > Order::ZERO && !to_order { Err(Why::OnlyToPages) } else { Ok(()) }
}

/// The file system takes back what it keeps with a folio, unless there is something to write
/// (`filemap_release_folio()`, mm/filemap.c).
fn release_private(m: &Machine, file: &File, folio: Folio) -> Result<(), Why> {
    let state = file.cache.state(m.frames.mapping(folio).index);
    if state.private && state.dirty {
        return Err(Why::Dirty);
    }
    m.set_private(file, folio, false);
    Ok(())
}

/// Each piece of a file folio gets the references of the cache; pieces behind the end of the file leave it, but
/// for the first.
fn split_cached(m: &Machine, file: &File, pieces: &[Folio]) {
    m.split_in_page_cache(file, pieces);
    pieces.iter().for_each(|piece| m.get_refs(*piece, piece.pages() as i32));
    for piece in &pieces[1..] {
        if m.frames.mapping(*piece).index >= file.size.get() {
            m.remove_from_page_cache(file, *piece);
        }
    }
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
        let order = if rest.order.0 == 2 && folio.kind.is_anon() { 0 } else { rest.order.0 - 1 };
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
