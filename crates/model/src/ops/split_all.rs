//! Splitting a THP as up to 4.4: for all processes at once, and it never fails.

use super::rmap_walk;
use crate::event::Phase;
use crate::machine::Machine;
use crate::machine::lock::Lock;
use crate::machine::page_table::Pmd;
use crate::rmap::Rmap;
use crate::stats::Stat;
use crate::units::{Folio, Order, Pfn};

/// Makes every PMD of the folio a table of PTEs and every page a folio of its own
/// (`split_huge_page()`, mm/huge_memory.c, v2.6.39 to v4.4). References on tails stay where they are.
pub fn split_for_all(m: &Machine, folio: Folio) {
    let _anon = m.lock(Lock::Anon(m.frames.mapping(folio).root));
    // The splitter holds the head, so that it cannot go away.
    m.get_refs(folio, 1);
    m.phase(Phase::CallerHolds, None, folio.range());
    m.scheme.split_folio(m.counters(), folio);
    m.phase(Phase::TailsCounted, None, folio.range());
    for place in rmap_walk::places(m, folio) {
        let _guard = m.lock_table(&place.mm, place.start);
        let maps = |entry: Pmd| matches!(entry, Pmd::Leaf(entry) if entry.page() == folio.head);
        if maps(place.mm.table.pmd(place.start)) {
            let entry = place.mm.table.read(place.mm.table.pmd_start(place.start));
            place.mm.table.replace_pmd_by_table(place.start, entry);
        }
    }
    count_pages(&m.rmap(), folio);
    m.stats.add(Stat::FolioSplits, 1);
    let pieces: Vec<Folio> =
        folio.range().iter().map(|head| Folio { head, order: Order::ZERO, ..folio }).collect();
    m.frames.split(folio, &pieces);
    for piece in &pieces[1..] {
        m.put_refs(*piece, 1);
    }
    m.phase(Phase::FinalPut, None, folio.range());
    m.put_refs(pieces[0], 1);
    m.phase(Phase::CallerPut, None, folio.range());
    debug_assert!(m.frames.folio(Pfn(folio.head.0)).is_none_or(|piece| !piece.is_large()));
}

/// The THP leaves its statistic; its pages join theirs, where THPs were not counted there before.
fn count_pages(rmap: &Rmap<'_>, folio: Folio) {
    rmap.stats.add(Stat::AnonThps, -1);
    if !rmap.policy.anon_mapped_counts_thps {
        rmap.stats.add(Stat::AnonMapped, i64::from(folio.pages()));
    }
}
