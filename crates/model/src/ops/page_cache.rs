//! Filling the page cache: what a fault on a file finds there, and what it puts there.
//!
//! Sources: `shmem_getpage_gfp()` (mm/shmem.c, v4.8, v5.10), `shmem_get_folio_gfp()`, `shmem_suitable_orders()`,
//! `shmem_allowable_huge_orders()` (v6.11, v6.12, v7.2); `filemap_fault()`, `do_sync_mmap_readahead()`,
//! `do_async_mmap_readahead()` (mm/filemap.c, v5.10, v6.12); `page_cache_ra_order()` (mm/readahead.c, v5.18, v6.12, v6.16).

use super::shmem_swap;
use crate::event::Errno;
use crate::machine::Machine;
use crate::machine::config::ShmemMode;
use crate::machine::files::{File, FileKind, ReadAhead, ShmemHuge};
use crate::machine::vma::{ThpAdvice, Vma};
use crate::units::{Folio, Order, Pfn};

/// Pages that are read at once: 128 KiB (VM_READAHEAD_PAGES, include/linux/mm.h).
const READ_AROUND: u64 = 32;

/// Places of a node of the page cache's tree (XA_CHUNK_SIZE, include/linux/xarray.h).
const TREE_NODE: u64 = 64;

/// The page that holds what `at` in `vma` maps; it is allocated or read where it is not cached.
///
/// # Errors
/// EFAULT behind the end of the file, ENOMEM when memory is full.
pub(super) fn find_or_read(m: &Machine, file: &File, vma: &Vma, at: u64) -> Result<Pfn, Errno> {
    let index = vma.offset_of(at);
    if index >= file.size.get() {
        return Err(Errno::Efault);
    }
    if let Some(page) = file.cache.page(index) {
        if !file.kind.is_shmem() {
            read_on(m, file, page, index);
        }
        return Ok(page);
    }
    if !file.kind.is_shmem() {
        return read_around(m, file, vma, index);
    }
    match shmem_swap::swap_in(m, file, index)? {
        Some(page) => Ok(page),
        None => allocate(m, file, vma, at),
    }
}

/// Allocates shared memory for a page: the largest folio that is allowed, fits the area where it has to, and meets
/// nothing in the cache; at last a single page.
fn allocate(m: &Machine, file: &File, vma: &Vma, at: u64) -> Result<Pfn, Errno> {
    let index = vma.offset_of(at);
    let pmd = m.pmd_order();
    let fits_area = match file.kind {
        FileKind::AnonShmem => m.policy.shmem_mthp,
        _ => m.policy.tmpfs_huge_fits_area,
    };
    for order in (1..=pmd.0).rev().map(Order) {
        let pages = u64::from(order.pages());
        let first = index & !(pages - 1);
        if allows(m, file, vma, index, order)
            && (!fits_area || could_map(vma, at, order))
            && file.cache.is_hole(first, first + pages)
            && let Some(folio) = m.add_to_page_cache(file, first, order)
        {
            let end = first + pages - u64::from(m.policy.shrinker_overlooks_last_page);
            if (order == pmd || m.policy.shrinker_knows_sizes) && file.size.get() < end {
                file.on_shrinklist.set(true);
            }
            // The reference of the allocation is the lookup's, which the caller's mapping takes.
            m.put_refs(folio, 1);
            return Ok(folio.head.add((index - first) as u32));
        }
    }
    let folio = m.add_to_page_cache(file, index, Order::ZERO).ok_or(Errno::Enomem)?;
    m.put_refs(folio, 1);
    Ok(folio.head)
}

/// Whether `vma` could map the part of the file around `at` by naturally aligned entries of `order`
/// (`thp_vma_suitable_order()`, include/linux/huge_mm.h).
pub(super) fn could_map(vma: &Vma, at: u64, order: Order) -> bool {
    let pages = u64::from(order.pages());
    let start = at & !(pages - 1);
    vma.start.wrapping_sub(vma.offset) & (pages - 1) == 0 && start >= vma.start && start + pages <= vma.end
}

/// Whether page `index` of a file of shared memory may be in a folio of `order`.
pub(super) fn allows(m: &Machine, file: &File, vma: &Vma, index: u64, order: Order) -> bool {
    if vma.advice == ThpAdvice::NoHuge || !m.policy.shmem_huge {
        return false;
    }
    let is_pmd = order == m.pmd_order();
    if file.kind != FileKind::AnonShmem || !m.policy.shmem_mthp {
        return (is_pmd || m.policy.tmpfs_huge_any_order) && as_mounted(m, file, vma, index, order);
    }
    let config = m.config.borrow();
    match config.shmem_sizes[usize::from(order.0)] {
        ShmemMode::Always => true,
        ShmemMode::Advise => vma.advice == ThpAdvice::Huge,
        ShmemMode::WithinSize => within_size(file, index, order, m.policy.shmem_sizes_round_index),
        // What a file was given as its own option is `shmem_enabled` of all sizes, which a PMD's follows here.
        ShmemMode::Inherit => mounted_sizes(m).any(|size| as_mounted(m, file, vma, index, size)),
        ShmemMode::Never => false,
    }
}

/// Whether a file reaches to the end of the folio that holds page `index`; some kernels take the page's index for
/// that of the folio's end, if the page is the first.
pub(super) fn within_size(file: &File, index: u64, order: Order, rounds_index: bool) -> bool {
    let end = if rounds_index { index } else { index + 1 };
    file.size.get() >= end.next_multiple_of(u64::from(order.pages()))
}

/// Whether the `huge=` option asks for a folio of `order` (`shmem_is_huge()`, mm/shmem.c, v6.1;
/// `shmem_huge_global_enabled()`, v7.2).
fn as_mounted(m: &Machine, file: &File, vma: &Vma, index: u64, order: Order) -> bool {
    let advised = vma.advice == ThpAdvice::Huge;
    match file.huge {
        ShmemHuge::Always => true,
        ShmemHuge::Never => false,
        ShmemHuge::Advise => advised,
        ShmemHuge::WithinSize => {
            let rounds = m.policy.shmem_within_size_rounds_index;
            let fits = |order: Order| {
                let long_enough = !rounds || file.size.get() >= u64::from(order.pages());
                long_enough && within_size(file, index, order, rounds)
            };
            // Advice is asked only where not even the smallest folio would be within the file.
            fits(order) || (advised && !mounted_sizes(m).any(fits))
        }
    }
}

/// The sizes that a `huge=` option is for.
fn mounted_sizes(m: &Machine) -> impl Iterator<Item = Order> {
    let pmd = m.pmd_order().0;
    let least = if m.policy.tmpfs_huge_any_order { 1 } else { pmd };
    (least.min(pmd)..=pmd).map(Order)
}

/// Whether a file on a disk may have large folios.
pub(super) fn takes_large(m: &Machine, file: &File) -> bool {
    match file.kind {
        FileKind::Ext4 => m.policy.ext4_large,
        FileKind::Xfs => m.policy.xfs_large,
        FileKind::Tmpfs | FileKind::AnonShmem | FileKind::Dax => false,
    }
}

/// Reads what surrounds a page that is not cached; where MADV_HUGEPAGE asks for it, two huge pages.
fn read_around(m: &Machine, file: &File, vma: &Vma, index: u64) -> Result<Pfn, Errno> {
    let pmd = m.pmd_order();
    let window = if vma.advice == ThpAdvice::Huge && takes_large(m, file) {
        let pages = u64::from(pmd.pages());
        let start = index & !(pages - 1);
        Window { start, pages: 2 * pages, ahead: pages, order: pmd.0 }
    } else {
        let start = index.saturating_sub(READ_AROUND / 2);
        let order = if takes_large(m, file) { m.policy.read_around_order } else { 0 };
        Window { start, pages: READ_AROUND, ahead: READ_AROUND / 4, order }
    };
    read(m, file, &window);
    match file.cache.page(index) {
        Some(page) => Ok(page),
        // Reading ahead gives up where memory is short; the page itself has to be had.
        None => {
            let folio = m.add_to_page_cache(file, index, Order::ZERO).ok_or(Errno::Enomem)?;
            m.put_refs(folio, 1);
            Ok(folio.head)
        }
    }
}

/// Reads on if the folio of this page, `index` of the file, says that it is time to, with larger folios each time. The
/// mark may not be of the last read: reclaim uses the same bit for what is to be written first, and the page may not be
/// the folio's first. Then what is missing behind it is read.
fn read_on(m: &Machine, file: &File, page: Pfn, index: u64) {
    let folio = m.folio(page);
    if !file.cache.unmark(m.frames.mapping(folio).index) {
        return;
    }
    let last = file.ahead.get();
    let expected = last.mark & !(u64::from(folio.pages()) - 1);
    let restarts = index == 0 && m.policy.readahead_restarts_at_0;
    let goes_on = index == expected || (m.policy.readahead_restarts_at_0 && index == last.next);
    let (start, last_order) = if restarts {
        (0, folio.order.0)
    } else if goes_on {
        (last.next, last.order)
    } else {
        let Some(start) = first_missing(m, file, index + 1).filter(|start| start - index <= READ_AROUND)
        else {
            return;
        };
        (start, if m.policy.read_around_order == 0 { last.order } else { folio.order.0 })
    };
    let most = READ_AROUND.ilog2() as u8;
    let order = if takes_large(m, file) { (last_order + 2).min(most.max(last_order)) } else { 0 };
    let mut pages = READ_AROUND;
    if m.policy.readahead_ends_aligned {
        let end = (start + pages) & !((1 << order.min(most)) - 1);
        pages = if end > start { end - start } else { pages };
    }
    let ahead = if restarts { pages / 2 } else { pages };
    read(m, file, &Window { start, pages, ahead, order });
}

/// The first page from `index` on that is not cached, if one of the next ones is not (`page_cache_next_miss()`,
/// mm/filemap.c). Where the first one is within a large folio the kernel looks at that folio's first page in its stead,
/// and so on behind it, up to the end of a node of its tree.
fn first_missing(m: &Machine, file: &File, index: u64) -> Option<u64> {
    let within = |page| index - m.frames.mapping(m.folio(page)).index;
    let late = file.cache.page(index).map_or(0, within);
    let node = (index - late) / TREE_NODE;
    let looked_at = |place: u64| if (place - late) / TREE_NODE == node { place - late } else { place };
    (index..index + READ_AROUND).find(|place| file.cache.page(looked_at(*place)).is_none())
}

/// Reads what a collapse finds missing of `start..end`. What it reads it copies at once, so that the sizes of the
/// folios do not matter.
pub(super) fn read_for_collapse(m: &Machine, file: &File, (start, end): (u64, u64)) {
    let ahead = file.ahead.get();
    read(m, file, &Window { start, pages: end - start, ahead: 0, order: 0 });
    file.ahead.set(ahead);
}

/// What is to be read.
struct Window {
    start: u64,
    pages: u64,
    /// How many pages before its end the page is that is marked.
    ahead: u64,
    order: u8,
}

impl Window {
    const fn end(&self) -> u64 {
        self.start + self.pages
    }
}

/// Reads what is not cached of a window. Where the file takes large folios they are of the order asked for where they
/// are aligned and do not reach behind the end of the file, smaller ones elsewhere; behind the first cached page that
/// one meets, and where the file takes none, it is single pages.
fn read(m: &Machine, file: &File, window: &Window) {
    let (next, mark) = (window.end(), window.end() - window.ahead);
    file.ahead.set(ReadAhead { next, mark, order: window.order });
    if !takes_large(m, file) {
        return read_pages(m, file, (window.start, window.pages), window.ahead);
    }
    let ends_in_window = file.size.get() <= window.end();
    let mark = Some(mark).filter(|_| !(ends_in_window && m.policy.readahead_marks_no_end));
    let Some(met) = read_large(m, file, window, mark) else { return };
    let pages = if m.policy.read_around_order == 0 { window.end() - met } else { window.pages };
    read_pages(m, file, (met, pages), window.ahead);
}

/// Reads folios (`page_cache_ra_order()`); where they end if one would meet a cached page.
fn read_large(m: &Machine, file: &File, window: &Window, mark: Option<u64>) -> Option<u64> {
    let end = window.end().min(file.size.get());
    let largest = window.order.min(m.pmd_order().0);
    let mut index = window.start;
    while index < end {
        let mut order = if index == 0 { largest } else { largest.min(index.trailing_zeros() as u8) };
        while order > 0 && index + (1 << order) > end {
            order -= 1;
        }
        if file.cache.run(index, index + (1 << order)).is_some() {
            return Some(index);
        }
        let folio = add_read(m, file, index, Order(order))?;
        let behind = index + u64::from(folio.pages());
        if mark.is_some_and(|mark| (index..behind).contains(&mark)) {
            file.cache.mark(index);
        }
        index = behind;
    }
    None
}

/// Reads single pages where none is cached (`do_page_cache_ra()`, `page_cache_ra_unbounded()`).
fn read_pages(m: &Machine, file: &File, (start, pages): (u64, u64), ahead: u64) {
    let left = file.size.get().saturating_sub(start);
    let counted = if m.policy.readahead_clips_first { pages.min(left) } else { pages };
    let mark = counted.checked_sub(ahead).map(|before| start + before);
    for index in start..start + pages.min(left) {
        if file.cache.page(index).is_some() {
            continue;
        }
        if add_read(m, file, index, Order::ZERO).is_none() {
            return;
        }
        if mark == Some(index) {
            file.cache.mark(index);
        }
    }
}

/// Puts a folio that is read into the cache; `None` when memory is full.
fn add_read(m: &Machine, file: &File, index: u64, order: Order) -> Option<Folio> {
    let folio = m.add_to_page_cache(file, index, order)?;
    m.put_refs(folio, 1);
    if file.kind == FileKind::Xfs && folio.is_large() {
        m.set_private(file, folio, true);
    }
    Some(folio)
}
