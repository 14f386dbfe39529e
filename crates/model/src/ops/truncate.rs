//! Taking pages out of files: truncate(2), holes, MADV_REMOVE. What maps them is unmapped, the page cache gives up
//! its references; who holds a page otherwise keeps one that belongs to no file.
//!
//! Sources: `shmem_setattr()`, `shmem_fallocate()`, `shmem_undo_range()` (mm/shmem.c, v4.8, v5.10, v6.1, v7.2),
//! `truncate_inode_pages_range()`, `truncate_inode_partial_folio()` (mm/truncate.c, v6.1, v6.17, v6.18);
//! `unmap_mapping_range()` (mm/memory.c).

use super::split::{self, Request};
use super::{rmap_walk, shmem_swap, zap};
use crate::machine::Machine;
use crate::machine::files::{File, FileKind};
use crate::machine::frames::Root;
use crate::machine::lock::Lock;
use crate::machine::page_table::{Alike, Pmd};
use crate::machine::vma::Vma;
use crate::policy::PartialTruncate;
use crate::units::{Folio, PageRange};

/// Behind every page of a file.
const END: u64 = u64::MAX;

/// Makes a file `size` pages long. Behind its new end copies of its pages in private mappings go, too.
pub fn truncate(m: &Machine, file: Root, size: u64) {
    let file = m.file(file);
    let shorter = size < file.size.get();
    file.size.set(size);
    if shorter {
        unmap_range(m, &file, (size, END), Copies::Unmap);
        remove_range(m, &file, (size, END));
        if file.kind.is_shmem() && m.policy.shmem_huge && m.policy.truncate_notes_for_shrinker {
            file.on_shrinklist.set(true);
        }
    }
}

/// Makes a hole of the pages `start..end` of a file, which stays as long as it is. Copies of its pages stay. XFS writes
/// what is dirty there first (`xfs_flush_unmap_range()`, fs/xfs/xfs_bmap_util.c, v7.2), so that it can be cut.
pub fn punch(m: &Machine, file: Root, (start, end): (u64, u64)) {
    let file = m.file(file);
    if file.kind == FileKind::Xfs {
        write_back(m, &file, (start, end));
    }
    unmap_range(m, &file, (start, end), Copies::Keep);
    remove_range(m, &file, (start, end));
}

/// Writes what is dirty of pages `start..end` of a file to its disk. From then on a write through any entry has to ask
/// the file system again (`folio_mkclean()`, mm/rmap.c).
pub(super) fn write_back(m: &Machine, file: &File, (start, end): (u64, u64)) {
    let mut at = start;
    while let Some((index, folio)) = file.cache.folio_from(m, at, end) {
        at = index + u64::from(folio.pages());
        if !file.cache.state(index).dirty {
            continue;
        }
        m.set_clean(file, folio);
        for place in rmap_walk::places(m, folio).iter().filter(|place| place.vma.is_shared()) {
            protect(m, folio, place);
        }
    }
}

/// Takes the leave to write from the entries that map a folio at a place.
fn protect(m: &Machine, folio: Folio, place: &rmap_walk::Place) {
    let (table, mut at) = (&place.mm.table, place.start);
    while at < place.end {
        let entry = table.read(at);
        let maps = entry.is_present() && folio.range().contains(entry.page());
        if let Pmd::Leaf(entry) = table.pmd(at) {
            if maps {
                table.set_pmd(table.pmd_start(at), entry.with_write(false));
            }
            at = table.pmd_end(at);
            continue;
        }
        let len = m.batch(table, at, place.end - at, Alike::IgnoringWrite).1.max(1);
        if maps {
            table.protect_run(at, len, false);
        }
        at += len;
    }
}

/// Forgets a file without a name that no area maps any more, with what is cached of it.
pub(super) fn release(m: &Machine, file: Root) {
    let Some(file) = m.files.get(file).filter(|file| file.unnamed) else { return };
    let maps = |vma: &Vma| vma.file.is_some_and(|area| area.root == file.root);
    let mut mapped = false;
    m.each_member(file.root, |mm| mapped |= mm.vmas.borrow().all().iter().any(maps));
    if !mapped {
        remove_range(m, &file, (0, END));
        m.files.remove(file.root);
    }
}

/// What becomes of copies of a file's pages in private mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copies {
    Keep,
    Unmap,
}

/// Unmaps pages of a file from everybody.
fn unmap_range(m: &Machine, file: &File, (start, end): (u64, u64), copies: Copies) {
    let _file = m.lock(Lock::Anon(file.root));
    m.each_member(file.root, |mm| {
        let areas = mm.vmas.borrow().all().to_vec();
        for vma in areas.iter().filter(|vma| vma.file.is_some_and(|area| area.root == file.root)) {
            let first = start.max(vma.offset);
            let last = end.min(vma.offset + (vma.end - vma.start));
            if first >= last {
                continue;
            }
            zap::prepare(m);
            let range = (vma.start + (first - vma.offset), vma.start + (last - vma.offset));
            match copies {
                Copies::Unmap => zap::zap(m, mm, vma, range),
                Copies::Keep => zap::zap_file_pages(m, mm, vma, range),
            }
            m.flush_gathered();
        }
    });
}

/// Takes pages out of the cache; large folios that reach out of the range are cut first, if they can be.
fn remove_range(m: &Machine, file: &File, range: (u64, u64)) {
    let (start, end) = range;
    let finds_any = file.cache.folio_from(m, start, end).is_some();
    remove_whole(m, file, range);
    if finds_any {
        // Whoever lets go of a batch of what was found drains those for the LRU first (`__pagevec_release()`,
        // `__folio_batch_release()`, mm/swap.c, v2.6.39 to v7.2).
        m.lru_drain();
    }
    shmem_swap::free_range(m, file, range, false);
    bring_back(m, file, start);
    let at_start = file.cache.folio_from(m, start, start + 1);
    let mut cut_end = true;
    if let Some((index, folio)) = at_start {
        let done = cut(m, file, (index, folio), range);
        let reaches_end = index + u64::from(folio.pages()) >= end;
        cut_end = done || !reaches_end;
        if !reaches_end {
            bring_back(m, file, end - 1);
        }
    } else {
        bring_back(m, file, end - 1);
    }
    if let Some((index, folio)) = file.cache.folio_from(m, end - 1, end).filter(|_| cut_end) {
        cut(m, file, (index, folio), range);
    }
    remove_whole(m, file, range);
    shmem_swap::free_range(m, file, range, true);
}

/// Brings a page back from swap whose folio reaches out of the range, so that it can be cut; not behind the end of the
/// file (`shmem_get_partial_folio()`, mm/shmem.c, v6.1 to v7.2). Without memory it stays where it is.
fn bring_back(m: &Machine, file: &File, index: u64) {
    if index < file.size.get() {
        let _ = shmem_swap::swap_in(m, file, index);
    }
}

/// Whether the kernel never comes back from making a file so short: part of a large folio that is swapped out lies
/// behind the new end (6.12.107, 6.18.44 and 7.2.13 as they ran).
pub fn never_ends(m: &Machine, file: Root, size: u64) -> bool {
    shmem_swap::truncation_never_ends(m, &m.file(file), size)
}

/// Removes the folios that lie within the range.
fn remove_whole(m: &Machine, file: &File, (start, end): (u64, u64)) {
    let mut at = start;
    while let Some((index, folio)) = file.cache.folio_from(m, at, end) {
        at = index + u64::from(folio.pages());
        if index >= start && at <= end {
            remove(m, file, folio);
        }
    }
}

/// Removes a folio, which is unmapped first if anybody maps it still.
fn remove(m: &Machine, file: &File, folio: Folio) {
    unmap(m, folio);
    m.remove_from_page_cache(file, folio);
}

/// Unmaps a file folio from everybody who maps it.
fn unmap(m: &Machine, folio: Folio) {
    for place in rmap_walk::places(m, folio) {
        zap::zap_file_pages(m, &place.mm, &place.vma, (place.start, place.end));
    }
    m.flush_gathered();
}

/// Clears the pages of a folio that lie in the range, and cuts it where the range begins and ends; `false` if it
/// stays as it is.
fn cut(m: &Machine, file: &File, (index, folio): (u64, Folio), (start, end): (u64, u64)) -> bool {
    let behind = index + u64::from(folio.pages());
    let (first, last) = (start.max(index), end.min(behind));
    if (first, last) == (index, behind) {
        return true;
    }
    let page = |at: u64| folio.head.add((at - index) as u32);
    m.frames.fill(PageRange::new(page(first), (last - first) as u32), 0);
    if file.kind.is_shmem() {
        m.set_dirty(file, folio);
    }
    let done = match m.policy.partial_truncate {
        PartialTruncate::Zero => return false,
        PartialTruncate::SplitToPages => split::split_held(m, folio, Request::PAGES),
        PartialTruncate::SplitAround => {
            let done = split::split_held(m, folio, Request { at: Some(first - index), ..Request::PAGES });
            let rest = m.frames.folio(page(last.min(behind - 1)));
            if let Some(piece) = rest.filter(|piece| done && last < behind && piece.is_large()) {
                let at = u64::from(page(last).0 - piece.head.0);
                split::split_held(m, piece, Request { at: Some(at), ..Request::PAGES });
            }
            done
        }
    };
    if done || file.kind.is_shmem() {
        return done;
    }
    if m.policy.truncate_unmaps_unsplit {
        unmap(m, folio);
    }
    // What a disk has can be read again: the whole folio goes.
    let clean = !file.cache.state(index).dirty;
    if clean {
        remove(m, file, folio);
    }
    clean
}
