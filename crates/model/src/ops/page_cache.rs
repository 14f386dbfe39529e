//! Filling the page cache: what a fault on a file finds there, and what it puts there.
//!
//! Sources: `shmem_getpage_gfp()` (mm/shmem.c, v4.8, v5.10), `shmem_get_folio_gfp()`, `shmem_suitable_orders()`,
//! `shmem_allowable_huge_orders()` (v6.11, v6.12, v7.2); `filemap_fault()`, `do_sync_mmap_readahead()`,
//! `do_async_mmap_readahead()` (mm/filemap.c, v5.10, v6.12); `page_cache_ra_order()` (mm/readahead.c, v5.18, v6.12, v6.16).

use crate::event::Errno;
use crate::machine::Machine;
use crate::machine::config::ShmemMode;
use crate::machine::files::{File, FileKind, ReadAhead, ShmemHuge};
use crate::machine::vma::{ThpAdvice, Vma};
use crate::units::{Order, Pfn};

/// Pages that are read at once: 128 KiB (VM_READAHEAD_PAGES, include/linux/mm.h).
const READ_AROUND: u64 = 32;

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
            read_on(m, file, page);
        }
        return Ok(page);
    }
    if file.kind.is_shmem() { allocate(m, file, vma, at) } else { read_around(m, file, vma, index) }
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
            && file.cache.run(first, first + pages).is_none()
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
        ShmemMode::Inherit => as_mounted(m, file, vma, index, m.pmd_order()),
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
            let long_enough = !rounds || file.size.get() >= u64::from(order.pages());
            (long_enough && within_size(file, index, order, rounds)) || advised
        }
    }
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
        Window { start, pages: 2 * pages, mark: start + pages, order: pmd.0 }
    } else {
        let start = index.saturating_sub(READ_AROUND / 2);
        let order = if takes_large(m, file) { m.policy.read_around_order } else { 0 };
        Window { start, pages: READ_AROUND, mark: start + READ_AROUND * 3 / 4, order }
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

/// Reads on if the folio of this page says that it is time to, with larger folios each time.
fn read_on(m: &Machine, file: &File, page: Pfn) {
    let folio = m.folio(page);
    if !file.cache.unmark(m.frames.mapping(folio).index) {
        return;
    }
    let ahead = file.ahead.get();
    let most = READ_AROUND.ilog2() as u8;
    let order = if takes_large(m, file) { (ahead.order + 2).min(most.max(ahead.order)) } else { 0 };
    read(m, file, &Window { start: ahead.next, pages: READ_AROUND, mark: ahead.next, order });
}

/// Reads what a collapse finds missing of `start..end`. What it reads it copies at once, so that the sizes of the
/// folios do not matter.
pub(super) fn read_for_collapse(m: &Machine, file: &File, (start, end): (u64, u64)) {
    let ahead = file.ahead.get();
    read(m, file, &Window { start, pages: end - start, mark: u64::MAX, order: 0 });
    file.ahead.set(ahead);
}

/// What is to be read.
struct Window {
    start: u64,
    pages: u64,
    /// The page that is marked.
    mark: u64,
    order: u8,
}

/// Reads what is not cached of a window: folios of the order asked for where they are aligned and do not reach
/// behind the end of the file, smaller ones elsewhere.
fn read(m: &Machine, file: &File, window: &Window) {
    let end = (window.start + window.pages).min(file.size.get());
    let largest = window.order.min(m.pmd_order().0);
    let mut index = window.start;
    while index < end {
        let mut order = if index == 0 { largest } else { largest.min(index.trailing_zeros() as u8) };
        while order > 0 && index + (1 << order) > end {
            order -= 1;
        }
        // A folio that meets a cached page ends the read; single pages go on behind it.
        if file.cache.run(index, index + (1 << order)).is_some() {
            if order > 0 {
                break;
            }
            index += 1;
            continue;
        }
        let Some(folio) = m.add_to_page_cache(file, index, Order(order)) else { break };
        m.put_refs(folio, 1);
        if file.kind == FileKind::Xfs && folio.is_large() {
            m.set_private(file, folio, true);
        }
        let pages = u64::from(folio.pages());
        if (index..index + pages).contains(&window.mark) {
            file.cache.mark(index);
        }
        index += pages;
    }
    file.ahead.set(ReadAhead { next: window.start + window.pages, order: window.order });
}
