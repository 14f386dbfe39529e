//! What has to hold in every state besides the laws: what a scheme answers for sure is true, what it
//! estimates is bounded, and what is partially mapped is queued.

use mapcount_model::field::Field;
use mapcount_model::machine::{Machine, Quirk};
use mapcount_model::policy::DeferredQueue;
use mapcount_model::query::{Answer, Query, Tally};
use mapcount_model::scheme::Capabilities;
use mapcount_model::stats::Stat;
use mapcount_model::truth::Truth;
use mapcount_model::units::{Folio, Kind, Pfn};

/// Checks a state; says how many folios are partially mapped. `cut`: folios were split into large pieces, and a
/// piece of which no more was mapped before is not queued for it.
pub(crate) fn hold(m: &Machine, cut: bool) -> Result<u64, String> {
    let truth = Truth::of(m);
    let mut partial = 0;
    let (mut whole_folios, mut mapped_pages) = (0, 0);
    for folio in m.frames.folios().filter(|folio| folio.kind != Kind::Zero) {
        let mapped = truth.mapped_pages(folio);
        let is_anon = folio.kind.is_anon();
        if mapped > 0 && is_anon {
            whole_folios += i64::from(folio.pages());
            mapped_pages += i64::from(mapped);
        }
        answers(m, &truth, folio)?;
        if mapped > 0 && mapped < folio.pages() && is_anon {
            partial += 1;
            if !cut || folio.order == m.pmd_order() {
                is_queued(m, folio)?;
            }
        }
    }
    statistics(m, whole_folios, mapped_pages)?;
    Ok(partial)
}

fn ask(m: &Machine, query: Query, page: Pfn) -> Answer<i64> {
    m.ask(query, page, &mut Tally::off())
}

/// Compares an answer that is sure with the truth.
fn sure(m: &Machine, query: Query, (folio, page): (Folio, Pfn), truth: i64) -> Result<(), String> {
    match ask(m, query, page) {
        Answer::Exact(answer) if answer != truth => {
            Err(format!("{query} of page {} of {folio:?} is {answer} for sure, and {truth} in truth", page.0))
        }
        _ => Ok(()),
    }
}

fn answers(m: &Machine, truth: &Truth, folio: Folio) -> Result<(), String> {
    let seen = *truth.folio(folio);
    let all = seen.entries() as i64;
    let head = (folio, folio.head);
    sure(m, Query::EntireMapcount, head, i64::from(seen.pmds))?;
    sure(m, Query::FolioMapcount, head, all)?;
    sure(m, Query::FolioMapped, head, i64::from(all > 0))?;
    sure(m, Query::MaybeShared, head, i64::from(seen.mms > 1))?;
    sure(m, Query::PageCount, head, i64::from(m.refcount(folio)))?;
    let references = if m.scheme.info().capabilities.reference_per_vma && folio.is_large() {
        i64::from(seen.vmas)
    } else {
        all
    };
    let references = references + seen.cached;
    sure(m, Query::ExpectedRefcount, head, references)?;
    if m.expected_refcount(folio) != references {
        return Err(format!("{folio:?} explains {} references", m.expected_refcount(folio)));
    }
    let mut greatest = 0;
    for page in folio.range().iter() {
        let count = i64::from(truth.page(page).ptes) + i64::from(seen.pmds);
        greatest = greatest.max(count);
        sure(m, Query::PageMapcount, (folio, page), count)?;
        sure(m, Query::Kpagecount, (folio, page), count)?;
    }
    sure(m, Query::TransHugeMapcount, head, greatest)?;
    if ask(m, Query::MaybeDmaPinned, folio.head).value() == Some(0) && seen.pins > 0 {
        return Err(format!("{folio:?} does not look pinned, but is"));
    }
    let slots = m.scheme.info().fields.contains(&Field::MmId0);
    if slots && ask(m, Query::MaybeShared, folio.head).value() == Some(0) && seen.mms > 1 {
        return Err(format!("{folio:?} looks like one process's, but {} map it", seen.mms));
    }
    Ok(())
}

/// A folio of which some pages are mapped is on the queue, if the scheme can see that.
fn is_queued(m: &Machine, folio: Folio) -> Result<(), String> {
    let sees =
        Capabilities { bias_is_not_restored: false, ..m.scheme.info().capabilities } == Capabilities::TODAY;
    // Without its bias the folio looks as if its last PMD had been all of it.
    let forgets = [Quirk::QueueForgotten, Quirk::SwapCacheUnqueued, Quirk::LostBias]
        .iter()
        .any(|quirk| m.has_quirk_on(*quirk, folio));
    if folio.order.0 < 2 || !sees || forgets || m.known(folio).swapcache {
        return Ok(());
    }
    let queued = m.counters().read(Field::Deferred, folio.head) != 0;
    let flagged = m.counters().read(Field::PartiallyMapped, folio.head) != 0;
    match m.policy.deferred_queue {
        DeferredQueue::Absent => Ok(()),
        DeferredQueue::List if queued => Ok(()),
        DeferredQueue::Flagged if queued && flagged => Ok(()),
        _ => Err(format!("{folio:?} is partially mapped and not queued")),
    }
}

/// Bounded properties of schemes that break a law of the statistics.
fn statistics(m: &Machine, whole_folios: i64, mapped_pages: i64) -> Result<(), String> {
    let (mapped, thps) = (m.stats.get(Stat::AnonMapped), m.stats.get(Stat::AnonThps));
    let info = m.scheme.info();
    if !info.capabilities.page_mapcounts
        && !info.capabilities.pmd_split_splits_folio
        && mapped != whole_folios
    {
        return Err(format!("anon_mapped is {mapped}, Σ N·[M>0] is {whole_folios}"));
    }
    if info.capabilities.needs_vma_pages && thps != 0 {
        return Err(format!("anon_thps is {thps}, and nobody can count them"));
    }
    // Counting a page as unmapped too early only makes the statistic too small, never too large.
    if info.id == "lazy-double-map" && mapped > mapped_pages {
        return Err(format!("anon_mapped is {mapped}, more than the {mapped_pages} mapped pages"));
    }
    Ok(())
}
