//! Faults on mappings of files: what is mapped of the page cache, and what is copied from it.
//!
//! Sources: `do_read_fault()`, `do_cow_fault()`, `do_shared_fault()`, `finish_fault()`, `do_set_pmd()`,
//! `do_fault_around()` (mm/memory.c, v4.8, v5.10, v6.1, v6.12, v6.18), `alloc_set_pte()` (v4.8);
//! `filemap_map_pages()` (mm/filemap.c, v4.8, v5.10, v6.12, v6.18).

use super::fault::{self, Access};
use super::page_cache::{could_map, find_or_read};
use super::{Outcome, split_pmd};
use crate::event::{Errno, Phase};
use crate::machine::files::{File, FileKind};
use crate::machine::page_table::{Alike, Entry, Pmd};
use crate::machine::vma::{FileArea, ThpAdvice, Vma};
use crate::machine::{Machine, Mm};
use crate::policy::FileFault;
use crate::units::{Folio, Order, PageRange, Pfn};

/// A fault where nothing is mapped in an area of a file.
pub(super) fn fault(m: &Machine, mm: &Mm, vma: &Vma, area: FileArea, at: u64, access: Access) -> Outcome {
    let file = m.file(area.root);
    let _guard = m.lock_table(mm, at);
    // Made before anything else, and there even if nothing will be mapped.
    mm.table.add_upper(at);
    if access.writes() && !area.shared {
        return copy_from_cache(m, mm, vma, &file, at);
    }
    if !access.writes() && map_around(m, mm, vma, &file, at)? {
        return Ok(());
    }
    let reads = would_read(m, &file, vma.offset_of(at));
    let page = find_or_read(m, &file, vma, at)?;
    // Who waits for a disk gives up the mmap lock; the fault comes again and finds the pages.
    if reads && m.policy.read_repeats_fault && !access.writes() && map_around(m, mm, vma, &file, at)? {
        return Ok(());
    }
    if access.writes() {
        make_writable(m, &file, m.folio(page));
    }
    finish(m, mm, vma, &file, (at, page), access.writes())
}

/// Whether a fault on this page reads from a disk: it is not cached, or says that it is time to read on.
fn would_read(m: &Machine, file: &File, index: u64) -> bool {
    let marked = |page| file.cache.is_marked(m.frames.mapping(m.folio(page)).index);
    !file.kind.is_shmem() && file.cache.page(index).is_none_or(marked)
}

/// A write to a PMD of a file that does not allow it: what is mapped is taken away, and the next fault brings a
/// copy, or a writable entry (`wp_huge_pmd()`, mm/memory.c).
pub(super) fn write_pmd(m: &Machine, mm: &Mm, vma: &Vma, at: u64) {
    split_pmd::split_pmd(m, mm, vma, at);
}

/// A write through a PTE of a shared mapping that does not allow it yet: the file is told, no page is copied
/// (`wp_page_shared()`, mm/memory.c).
pub(super) fn write_shared(m: &Machine, mm: &Mm, vma: &Vma, at: u64) {
    let entry = mm.table.read(at);
    let folio = m.folio(entry.page());
    if let Some(file) = m.file_of(folio) {
        make_writable(m, &file, folio);
    }
    mm.table.set(at, entry.with_write(vma.protection.write));
}

/// What the file system does before a page of it may be written: ext4 gives it buffers, with a reference of
/// their own (`ext4_page_mkwrite()`, fs/ext4/inode.c; `folio_create_buffers()`, fs/buffer.c).
fn make_writable(m: &Machine, file: &File, folio: Folio) {
    m.set_dirty(file, folio);
    if file.kind == FileKind::Ext4 {
        m.set_private(file, folio, true);
    }
}

/// Notes that the pages of a shared mapping in `start..end`, which are mapped, were written to.
pub(super) fn wrote(m: &Machine, vma: &Vma, (start, end): (u64, u64)) {
    let Some(area) = vma.file.filter(|area| area.shared) else { return };
    let file = m.file(area.root);
    let (mut index, last) = (vma.offset_of(start), vma.offset + (end - vma.start));
    while let Some((first, folio)) = file.cache.folio_from(m, index, last) {
        m.set_dirty(&file, folio);
        index = first + u64::from(folio.pages());
    }
}

/// A write to a private mapping: the process gets a copy of the page (`do_cow_fault()`).
fn copy_from_cache(m: &Machine, mm: &Mm, vma: &Vma, file: &File, at: u64) -> Outcome {
    if mm.table.pmd(at) == Pmd::None && !mm.table.has_room(at) {
        return Err(Errno::Enomem);
    }
    fault::prepare_anon(m, mm, at);
    let page = find_or_read(m, file, vma, at)?;
    m.get_page(page);
    let new = fault::new_folio(m, mm, vma, at, Order::ZERO);
    if let Some(new) = new {
        m.frames.copy_content(PageRange::one(page), new.head);
        if mm.table.pmd(at) == Pmd::None {
            mm.table.add_table(at);
        }
        mm.table.set(at, Entry::present(new.head, vma.protection.write));
    }
    m.put_page(page);
    new.map(|_| ()).ok_or(Errno::Enomem)
}

/// Maps what the page cache has around `at`; says whether `at` itself is mapped now.
fn map_around(m: &Machine, mm: &Mm, vma: &Vma, file: &File, at: u64) -> Result<bool, Errno> {
    let around = m.policy.fault_around;
    if around <= 1 {
        return Ok(false);
    }
    let first = (at & !(around - 1)).max(vma.start).max(mm.table.pmd_start(at));
    let behind = (first + around).min(vma.end).min(mm.table.pmd_end(at));
    let end = vma.offset.saturating_add(behind - vma.start).min(file.size.get());
    let mut index = vma.offset_of(first);
    let mut mapped = false;
    while let Some((found, pages)) = file.cache.run(index, end) {
        let folio = m.folio(pages.first);
        if !folio.is_large() && file.kind.is_shmem() {
            let small = PageRange::new(pages.first, m.frames.small_file_pages(pages));
            let place = vma.start + (found - vma.offset);
            add_table(mm, at)?;
            map_small(m, mm, vma, (place, small));
            mapped |= (place..place + u64::from(small.len)).contains(&at);
            index = found + u64::from(small.len);
            continue;
        }
        let inside = pages.len.min(folio.head.0 + folio.pages() - pages.first.0);
        index = found + u64::from(inside);
        let offset = pages.first.0 - folio.head.0;
        let tails = folio.is_large() && m.policy.fault_around_skips_tails;
        if (tails && offset > 0) || file.cache.is_marked(found - u64::from(offset)) {
            continue;
        }
        let place = vma.start + (found - vma.offset);
        if mm.table.pmd(at) == Pmd::None {
            if map_pmd(m, mm, vma, file, (place, folio), false) {
                return Ok(true);
            }
            add_table(mm, at)?;
        }
        let part = PageRange::new(pages.first, if tails { 1 } else { inside });
        let (start, part) = whole_folio(m, mm, vma, file, (place, part), folio);
        map_empty(m, mm, vma, file, (start, part), folio);
        mapped |= (start..start + u64::from(part.len)).contains(&at);
        index = index.max(vma.offset_of(start) + u64::from(part.len));
    }
    Ok(mapped)
}

/// Puts a table of PTEs where nothing is.
fn add_table(mm: &Mm, at: u64) -> Outcome {
    if mm.table.pmd(at) != Pmd::None {
        return Ok(());
    }
    if !mm.table.has_room(at) {
        return Err(Errno::Enomem);
    }
    mm.table.add_table(at);
    Ok(())
}

/// Maps pages of shared memory that are folios of their own where PTEs are empty.
fn map_small(m: &Machine, mm: &Mm, vma: &Vma, (start, pages): (u64, PageRange)) {
    let write = vma.is_shared() && vma.protection.write;
    let mut done = 0;
    while done < pages.len {
        let at = start + u64::from(done);
        let (entry, len) = mm.table.run(at, u64::from(pages.len - done), Alike::IgnoringWrite);
        if entry.is_none() {
            let part = PageRange::new(pages.first.add(done), len as u32);
            m.rmap().folios_add_file_rmap_pte(part);
            m.mlock_mapped(vma, part);
            m.get_each(part);
            mm.table.set_run(at, len, Entry::present(part.first, write));
            m.phase(Phase::Mapped, Some(mm.id), part);
        }
        done += len as u32;
    }
}

/// The part of a folio that a fault around it maps: what lies in the window, or all of it.
fn whole_folio(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    file: &File,
    (place, part): (u64, PageRange),
    folio: Folio,
) -> (u64, PageRange) {
    if !m.policy.fault_around_whole_folios || !folio.is_large() {
        return (place, part);
    }
    match start_of_whole(m, mm, vma, file, (place, part.first), folio) {
        Some(start) => (start, folio.range()),
        None => (place, part),
    }
}

/// Where the first page of a folio is mapped whose `page` is at `at`, if all of it can be mapped by one table: it
/// lies within the area, and does not reach behind the end of a file on a disk.
fn start_of_whole(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    file: &File,
    (at, page): (u64, Pfn),
    folio: Folio,
) -> Option<u64> {
    let (before, pages) = (u64::from(page.0 - folio.head.0), u64::from(folio.pages()));
    let start = at.checked_sub(before)?;
    let fits = start >= vma.start.max(mm.table.pmd_start(at))
        && start + pages <= vma.end.min(mm.table.pmd_end(at))
        && reaches_no_further(m, file, folio);
    fits.then_some(start)
}

/// Whether a large folio may be mapped as a whole although pages of it may lie behind the end of its file.
fn reaches_no_further(m: &Machine, file: &File, folio: Folio) -> bool {
    let any = file.kind.is_shmem() || !m.policy.file_maps_end_with_file;
    any || m.frames.mapping(folio).index + u64::from(folio.pages()) <= file.size.get()
}

/// Maps the pages of `part` whose PTEs are empty, as far as there are any.
fn map_empty(m: &Machine, mm: &Mm, vma: &Vma, file: &File, (start, part): (u64, PageRange), folio: Folio) {
    let write = vma.is_shared() && file.kind.is_shmem() && vma.protection.write;
    let mut done = 0;
    while done < part.len {
        let at = start + u64::from(done);
        let empty = |n: &u32| mm.table.read(at + u64::from(*n)).is_none();
        let len = (0..part.len - done).take_while(empty).count() as u32;
        if len > 0 {
            let pages = PageRange::new(part.first.add(done), len);
            map_ptes(m, mm, vma, (at, pages), folio, write);
        }
        done += len.max(1);
    }
}

fn map_ptes(m: &Machine, mm: &Mm, vma: &Vma, (at, pages): (u64, PageRange), folio: Folio, write: bool) {
    let by = m.adding(mm, vma, folio, pages.len);
    m.get_refs(folio, m.scheme.references_of_added(pages.len, &by));
    m.rmap().folio_add_file_rmap_ptes(folio, pages, &by);
    m.mlock_mapped(vma, pages);
    mm.table.set_run(at, u64::from(pages.len), Entry::present(pages.first, write));
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
}

/// Maps a folio by a PMD, if it is as large and the area allows it (`do_set_pmd()`).
pub(super) fn map_pmd(
    m: &Machine,
    mm: &Mm,
    vma: &Vma,
    file: &File,
    (at, folio): (u64, Folio),
    write: bool,
) -> bool {
    let pmd = m.pmd_order();
    let kept_out = vma.advice == ThpAdvice::NoHuge && m.policy.nohuge_keeps_file_pmds_out;
    let too_far = !reaches_no_further(m, file, folio);
    if folio.order != pmd || kept_out || too_far || !could_map(vma, at, pmd) || !mm.table.has_room(at) {
        return false;
    }
    let writable = vma.is_shared() && vma.protection.write && (write || file.kind.is_shmem());
    let by = m.adding(mm, vma, folio, folio.pages());
    m.get_refs(folio, m.scheme.references_of_added(1, &by));
    m.rmap().folio_add_file_rmap_pmd(folio, &by);
    mm.table.set_pmd(mm.table.pmd_start(at), Entry::present(folio.head, writable));
    m.phase(Phase::Mapped, Some(mm.id), folio.range());
    true
}

/// Maps a page that a fault found or read: by a PMD, by all PTEs of its folio, or alone.
fn finish(m: &Machine, mm: &Mm, vma: &Vma, file: &File, (at, page): (u64, Pfn), write: bool) -> Outcome {
    let folio = m.folio(page);
    if mm.table.pmd(at) == Pmd::None {
        if map_pmd(m, mm, vma, file, (at, folio), write) {
            return Ok(());
        }
        add_table(mm, at)?;
    }
    let maps_whole = match m.policy.file_fault {
        FileFault::OnePage => false,
        FileFault::AnonShmem => file.kind == FileKind::AnonShmem,
        FileFault::Shmem => file.kind.is_shmem(),
        FileFault::WholeFolio => true,
    };
    let writable = vma.is_shared() && vma.protection.write && (write || file.kind.is_shmem());
    let start = (maps_whole && folio.is_large())
        .then(|| start_of_whole(m, mm, vma, file, (at, page), folio))
        .flatten()
        .filter(|start| (*start..start + u64::from(folio.pages())).all(|at| mm.table.read(at).is_none()));
    let (start, pages) = match start {
        Some(start) => (start, folio.range()),
        None => (at, PageRange::one(page)),
    };
    map_ptes(m, mm, vma, (start, pages), folio, writable);
    Ok(())
}
