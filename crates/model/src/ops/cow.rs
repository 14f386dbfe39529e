//! Write faults on pages that may be shared: reuse the page, or copy it.

use super::{Outcome, fault, file_fault, mlock, split_pmd, swap_cache};
use crate::event::{Errno, Phase};
use crate::machine::frames::Mapping;
use crate::machine::page_table::{Entry, Pmd};
use crate::machine::vma::Vma;
use crate::machine::{Machine, Mm};
use crate::policy::{HugeZeroWrite, LargeReuse, PmdCopy, PmdReuse, SmallReuse};
use crate::query::{Query, Tally};
use crate::units::{Folio, Kind, Level, Order, PageRange, Pfn};

/// A write to a page that a read-only PTE maps (`do_wp_page()`, mm/memory.c).
pub(super) fn write_pte(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Outcome {
    let entry = mm.table.read(at);
    if entry.is_zero() {
        fault::prepare_anon(m, mm, at);
        let new = fault::new_folio(m, mm, vma, at, Order::ZERO).ok_or(Errno::Enomem)?;
        mm.table.set(at, Entry::present(new.head, true));
        return Ok(());
    }
    if vma.is_shared() {
        file_fault::write_shared(m, mm, vma, at);
        return Ok(());
    }
    let page = entry.page();
    let folio = m.folio(page);
    let reuse = match folio.kind {
        Kind::File | Kind::Shmem => {
            fault::prepare_anon(m, mm, at);
            false
        }
        Kind::Ksm => m.policy.ksm_reuse && m.refcount(folio) == 1,
        _ if folio.is_large() => can_reuse_large(m, folio, page),
        _ => can_reuse_small(m, folio),
    };
    if reuse && folio.kind == Kind::Ksm {
        m.ksm.remove(page);
        m.frames.set_kind(folio, Kind::Anon, Mapping { root: vma.root, index: vma.offset_of(at) });
    }
    if reuse {
        m.rmap().set_exclusive(PageRange::one(page), true);
        m.swap.set_dirty(folio, true);
        mm.table.set(at, entry.with_write(vma.protection.write).touched(true));
        return Ok(());
    }
    copy_page(m, mm, vma, at)
}

/// Gives the process a page of its own in place of one that KSM merged (`break_ksm()`, mm/ksm.c).
pub(super) fn unshare_pte(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Outcome {
    let _guard = m.lock_table(mm, at);
    write_pte(m, mm, vma, at)?;
    if m.policy.ksm_unshares {
        mm.table.set(at, mm.table.read(at).with_write(false));
    }
    Ok(())
}

fn can_reuse_small(m: &Machine, folio: Folio) -> bool {
    let references = m.refcount(folio);
    let mapped_once =
        || m.ask(Query::FolioMapcount, folio.head, &mut Tally::off()).value().is_some_and(|count| count <= 1);
    match m.policy.small_reuse {
        SmallReuse::Mapcount if m.swap.holds(folio) => swap_cache::reuse_by_mapcount(m, folio, 0),
        SmallReuse::Mapcount => mapped_once(),
        SmallReuse::MapcountAndReferences => references == 1 && mapped_once(),
        SmallReuse::ExclusiveOrReferences => {
            m.rmap().exclusive(folio.range()) > 0 || only_reference_after_drain(m, folio)
        }
    }
}

/// Whether the mapping's is the only reference; a batch that may hold another one is drained first,
/// unless there are so many that it cannot help; then the swap cache is asked to go.
fn only_reference_after_drain(m: &Machine, folio: Folio) -> bool {
    let cached = i32::from(m.swap.holds(folio));
    if m.refcount(folio) > m.policy.reuse_drains_up_to.max(2 + cached) {
        return false;
    }
    if !m.is_on_lru(folio) {
        m.lru_drain();
    }
    if m.refcount(folio) == 1 + cached {
        swap_cache::try_free(m, folio);
    }
    m.refcount(folio) == 1
}

fn can_reuse_large(m: &Machine, folio: Folio, page: Pfn) -> bool {
    let exclusive = || m.rmap().exclusive(PageRange::one(page)) > 0;
    match m.policy.large_reuse {
        LargeReuse::Never => false,
        LargeReuse::GreatestMapcount if m.swap.holds(folio) => swap_cache::reuse_by_mapcount(m, folio, 0),
        LargeReuse::GreatestMapcount => greatest_mapcount_is_one(m, folio),
        LargeReuse::OnlyReference => m.refcount(folio) == 1,
        LargeReuse::ExclusiveOrOnlyReference => exclusive() || m.refcount(folio) == 1,
        LargeReuse::Exclusive => exclusive(),
        LargeReuse::ExclusiveOrOwned => exclusive() || is_owned(m, folio),
    }
}

fn greatest_mapcount_is_one(m: &Machine, folio: Folio) -> bool {
    m.ask(Query::TransHugeMapcount, folio.head, &mut Tally::off()).value().is_some_and(|count| count <= 1)
}

/// Whether one address space owns every mapping and nobody a reference besides
/// (`__wp_can_reuse_large_anon_folio()`, mm/memory.c, v6.17). Where entries are counted, a single entry is
/// left to the copy, which frees the folio.
fn is_owned(m: &Machine, folio: Folio) -> bool {
    let shared = m.ask(Query::MaybeShared, folio.head, &mut Tally::off()).value();
    let counts_vmas = m.scheme.info().capabilities.needs_vma_pages;
    let cached = if m.swap.holds(folio) { i64::from(folio.pages()) } else { 0 };
    let explained = m.ask(Query::ExpectedRefcount, folio.head, &mut Tally::off()).value();
    let Some(mappings) = explained.map(|references| references - cached) else { return false };
    if shared != Some(0) || (!counts_vmas && mappings < 2) {
        return false;
    }
    swap_cache::try_free(m, folio);
    mappings == i64::from(m.refcount(folio))
}

/// Gives the process a copy of the page at `at` (`wp_page_copy()`, mm/memory.c): the copy is mapped before the
/// old page is unmapped, so that for a moment both count.
fn copy_page(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Outcome {
    let page = mm.table.read(at).page();
    let old = m.folio(page);
    m.get_page(page);
    m.phase(Phase::OldPageHeld, Some(mm.id), old.range());
    let by = m.removing(mm, vma, old, 1);
    let Some(new) = fault::new_folio(m, mm, vma, at, Order::ZERO) else {
        m.put_page(page);
        return Err(Errno::Enomem);
    };
    m.frames.copy_content(PageRange::one(page), new.head);
    mm.table.set(at, Entry::present(new.head, vma.protection.write));
    m.phase(Phase::CopyMapped, Some(mm.id), old.range());
    let lost = m.rmap().folio_remove_rmap_ptes(old, PageRange::one(page), &by);
    m.after_removal(old, Level::Pte, lost);
    m.munlock_unmapped(vma, PageRange::one(page), Level::Pte);
    if vma.locked {
        mlock::unlock_copied(m, mm, old);
    }
    m.phase(Phase::OldUnmapped, Some(mm.id), old.range());
    m.put_refs(old, m.scheme.references_of_removed(1, &by));
    if m.policy.copy_frees_swap_cache {
        swap_cache::free_unmapped(m, old);
    }
    m.put_page(page);
    Ok(())
}

/// A write to a folio that a read-only PMD maps (`do_huge_pmd_wp_page()`, mm/huge_memory.c).
pub(super) fn write_pmd(m: &Machine, mm: &Mm, vma: &Vma, at: u64) -> Outcome {
    let start = mm.table.pmd_start(at);
    let Pmd::Leaf(entry) = mm.table.pmd(at) else { unreachable!("asked for a PMD entry") };
    if entry.is_zero() {
        return write_huge_zero(m, mm, vma, start);
    }
    let folio = m.folio(entry.page());
    if can_reuse_pmd(m, folio) {
        let _guard = m.lock_table(mm, start);
        m.rmap().set_exclusive(PageRange::one(folio.head), true);
        m.swap.set_dirty(folio, true);
        mm.table.set_pmd(start, entry.with_write(true).touched(true));
        return Ok(());
    }
    match m.policy.pmd_copy {
        PmdCopy::OnePage => {
            split_pmd::split_pmd(m, mm, vma, start);
            Ok(())
        }
        PmdCopy::WholeFolio => copy_folio(m, mm, vma, start, folio),
    }
}

fn can_reuse_pmd(m: &Machine, folio: Folio) -> bool {
    match m.policy.pmd_reuse {
        PmdReuse::GreatestMapcount if m.swap.holds(folio) => swap_cache::reuse_by_mapcount(m, folio, 0),
        PmdReuse::GreatestMapcount => greatest_mapcount_is_one(m, folio),
        PmdReuse::ExclusiveOrReferences if m.rmap().exclusive(PageRange::one(folio.head)) > 0 => true,
        PmdReuse::ExclusiveOrReferences => {
            let cached = if m.swap.holds(folio) { folio.pages() as i32 } else { 0 };
            if m.refcount(folio) == 1 + cached {
                swap_cache::try_free(m, folio);
            }
            m.refcount(folio) == 1
        }
    }
}

/// Copies a whole THP; to single pages where no THP may be used or none is to be had.
fn copy_folio(m: &Machine, mm: &Mm, vma: &Vma, start: u64, old: Folio) -> Outcome {
    let by = m.removing(mm, vma, old, old.pages());
    m.get_page(old.head);
    let guard = m.lock_table(mm, start);
    let thp = fault::allows(m, vma, m.pmd_order()).then(|| fault::new_thp(m, mm, vma, start)).flatten();
    if let Some(new) = thp {
        m.frames.copy_content(old.range(), new.head);
    } else if copy_to_pages(m, mm, vma, start, old).is_err() {
        // No memory for all pages: then for the one that is written, at least.
        drop(guard);
        split_pmd::split_pmd(m, mm, vma, start);
        m.put_page(old.head);
        return Ok(());
    }
    let lost = m.rmap().folio_remove_rmap_pmd(old, &by);
    m.after_removal(old, Level::Pmd, lost);
    m.munlock_unmapped(vma, PageRange::one(old.head), Level::Pmd);
    m.put_refs(old, m.scheme.references_of_removed(1, &by));
    m.put_page(old.head);
    Ok(())
}

fn copy_to_pages(m: &Machine, mm: &Mm, vma: &Vma, start: u64, old: Folio) -> Outcome {
    let entry = mm.table.read(start);
    mm.table.replace_pmd_by_table(start, Entry::NONE);
    for (i, page) in (0u64..).zip(old.range().iter()) {
        let Some(new) = fault::new_folio(m, mm, vma, start + i, Order::ZERO) else {
            // Not enough memory for all: take the copies back and leave the folio mapped.
            for at in start..start + i {
                let copy = m.folio(mm.table.clear(at).page());
                let by = m.removing(mm, vma, copy, 1);
                m.rmap().folio_remove_rmap_ptes(copy, copy.range(), &by);
                m.put_refs(copy, 1);
            }
            mm.table.set_pmd(start, entry);
            return Err(Errno::Enomem);
        };
        m.frames.copy_content(PageRange::one(page), new.head);
        mm.table.set(start + i, Entry::present(new.head, true));
    }
    Ok(())
}

fn write_huge_zero(m: &Machine, mm: &Mm, vma: &Vma, start: u64) -> Outcome {
    let may_have = || !m.policy.huge_zero_write_asks || fault::allows(m, vma, m.pmd_order());
    if m.policy.huge_zero_write == HugeZeroWrite::Thp && may_have() {
        // It takes the zero folio's place.
        let _guard = m.lock_table(mm, start);
        if let Some(folio) = fault::new_thp(m, mm, vma, start) {
            if m.policy.queue_huge_zero_replacement {
                m.queue_candidate(folio);
            }
            return Ok(());
        }
    }
    split_pmd::split_pmd(m, mm, vma, start);
    Ok(())
}
