//! What a process maps, by the documented interface: /proc/PID/pagemap, and the ioctl PAGEMAP_SCAN where the kernel has it
//! (6.7 on). Both take the process's mmap lock while they walk.

use std::collections::BTreeSet;
use std::fs::File;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use super::extent::{BLOCK, By, Extent, push};
use super::maps::areas;
use super::space::Missed;
use crate::Unavailable;
use crate::procfs::Words;
use crate::vmemmap::{FRAME_BITS, PAGE, PRESENT};

/// Pages that a PMD maps.
const HUGE_PAGES: u64 = 512;

/// `struct page_region` (include/uapi/linux/fs.h, v6.7).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` (include/uapi/linux/fs.h, v6.7).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_PFNZERO: u64 = 1 << 5;
const PAGE_IS_HUGE: u64 = 1 << 6;

/// `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong =
    3 << 30 | (size_of::<Scan>() as libc::c_ulong) << 16 | (b'f' as libc::c_ulong) << 8 | 16;

/// Regions of one call.
const REGIONS: usize = 4096;

/// What is mapped in a range, in regions of one sort; `None` if the kernel does not have the ioctl.
fn scan(file: &File, start: u64, end: u64, into: &mut Vec<Region>) -> Option<()> {
    let mut regions = vec![Region::default(); REGIONS];
    let mut from = start;
    while from < end {
        let mut wanted = Scan {
            size: size_of::<Scan>() as u64,
            start: from,
            end,
            vec: regions.as_mut_ptr().addr() as u64,
            vec_len: REGIONS as u64,
            category_mask: PAGE_IS_PRESENT,
            return_mask: PAGE_IS_PRESENT | PAGE_IS_HUGE | PAGE_IS_PFNZERO,
            ..Scan::default()
        };
        // SAFETY: the argument is laid out as the ioctl wants it; `vec` points to REGIONS regions that nobody else uses
        // while the call fills them in.
        let found = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN, &raw mut wanted) };
        let found = &regions[..usize::try_from(found).ok()?.min(REGIONS)];
        into.extend_from_slice(found);
        // The kernel fills 512 regions at a time, and where it ends in between it tells the end of an earlier filling
        // (do_pagemap_scan(), fs/proc/task_mmu.c, v6.18, v7.2): what has been told once is not asked for again.
        let reached = found.last().map_or(wanted.walk_end, |last| last.end.max(wanted.walk_end));
        if reached <= from {
            break;
        }
        from = reached;
    }
    Some(())
}

/// What pagemap tells of a process.
pub(crate) struct Told {
    /// Whether it tells which pages PMDs map. Else smaps does, area by area: as soon as some of an area are, all that can
    /// be count as such.
    pub(crate) knows_pmds: bool,
}

/// Adds what a process maps to `extents`, by rising address.
pub(crate) fn walk(
    pid: u32,
    owner: u32,
    extents: &mut Vec<Extent>,
) -> Result<Result<Told, Missed>, Unavailable> {
    let mut words = match Words::open(&format!("/proc/{pid}/pagemap")) {
        Ok(words) => words,
        Err(error) => return Ok(Err(Missed::of(pid, &error))),
    };
    let areas = match areas(pid) {
        Ok(areas) if areas.is_empty() => return Ok(Err(Missed::NoMemory)),
        Ok(areas) => areas,
        Err(missed) => return Ok(Err(missed)),
    };
    let mut by_smaps: Option<BTreeSet<u64>> = None;
    let mut read = Vec::new();
    for area in areas.iter().filter(|area| area.name != "[vsyscall]") {
        let mut regions = Vec::new();
        if by_smaps.is_some()
            || scan(words.file(), area.start * PAGE, area.end * PAGE, &mut regions).is_none()
        {
            let huge = by_smaps.get_or_insert_with(|| huge_areas(pid));
            let categories = if huge.contains(&area.start) { PAGE_IS_HUGE } else { 0 };
            regions = vec![Region { start: area.start * PAGE, end: area.end * PAGE, categories }];
        }
        for region in regions.iter().filter(|region| region.categories & PAGE_IS_PFNZERO == 0) {
            let by = if region.categories & PAGE_IS_HUGE != 0 { By::Pmd } else { By::Pte };
            let (start, end) = (region.start / PAGE, region.end / PAGE);
            let mut page = start;
            while page < end {
                let count = (end - page).min(BLOCK - page % BLOCK);
                read.clear();
                words.read(page, count, &mut read)?;
                add(&read, page, owner, by, extents);
                page += count;
            }
        }
    }
    Ok(Ok(Told { knows_pmds: by_smaps.is_none() }))
}

/// The areas of which PMDs map some part, by their first pages. None if the process is gone.
fn huge_areas(pid: u32) -> BTreeSet<u64> {
    parse_smaps(&std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default())
}

fn parse_smaps(text: &str) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut area = None;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:"), Some(number))
                if number != "0" =>
            {
                found.extend(area);
            }
            // hugetlb
            (Some("VmFlags:"), first) if first.into_iter().chain(words).any(|flag| flag == "ht") => {
                found.extend(area);
            }
            (Some(range), Some(_)) if !range.ends_with(':') => {
                let start = range.split_once('-').map(|(start, _)| u64::from_str_radix(start, 16));
                area = start.and_then(Result::ok).map(|address| address / PAGE);
            }
            _ => {}
        }
    }
    found
}

/// Adds pages by their words. By PMDs are those that stand in rows of 512, in memory and in the address space alike, where
/// `by` allows that.
fn add(words: &[u64], first: u64, owner: u32, by: By, extents: &mut Vec<Extent>) {
    let frame_of = |word: u64| Some(word & FRAME_BITS).filter(|frame| word & PRESENT != 0 && *frame != 0);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let page = first + at as u64;
        let Some(frame) = frame_of(*word) else {
            at += 1;
            continue;
        };
        let is_aligned = by == By::Pmd && page.is_multiple_of(HUGE_PAGES) && frame.is_multiple_of(HUGE_PAGES);
        let row = words.get(at..at + HUGE_PAGES as usize).filter(|_| is_aligned);
        let is_huge = row
            .is_some_and(|row| row.iter().zip(frame..).all(|(word, frame)| frame_of(*word) == Some(frame)));
        let (pages, by) = if is_huge { (HUGE_PAGES as u32, By::Pmd) } else { (1, By::Pte) };
        push(extents, Extent { page, frame, pages, owner, by });
        at += pages as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::{By, Extent, PAGEMAP_SCAN, PRESENT, add, parse_smaps};

    #[test]
    fn the_request_is_the_documented_one() {
        assert_eq!(PAGEMAP_SCAN, 0xc060_6610);
    }

    #[test]
    fn words_become_extents() {
        let mut extents: Vec<Extent> = Vec::new();
        let words = [PRESENT | 10, PRESENT | 11, 12, PRESENT | 40];
        add(&words, 100, 3, By::Pte, &mut extents);
        let huge: Vec<u64> = (0..1024).map(|n| PRESENT | (512 + n)).collect();
        add(&huge, 1024, 3, By::Pmd, &mut extents);
        let found: Vec<_> = extents.iter().map(|e| (e.page, e.frame, e.pages)).collect();
        assert_eq!(found, [(100, 10, 2), (103, 40, 1), (1024, 512, 512), (1536, 1024, 512)]);
        extents.clear();
        add(&huge[1..], 1025, 3, By::Pmd, &mut extents);
        let found: Vec<_> = extents.iter().map(|e| (e.page, e.pages, e.by)).collect();
        assert_eq!(found, [(1025, 511, By::Pte), (1536, 512, By::Pmd)]);
    }

    #[test]
    fn areas_with_pmds_are_told_by_smaps() {
        let text = "1000-3000 rw-p 00000000 00:00 0 \nRss:  8 kB\nAnonHugePages:         0 kB\nVmFlags: rd wr\n\
            200000-400000 rw-p 00000000 00:00 0 [heap]\nAnonHugePages:      2048 kB\nVmFlags: rd wr\n\
            600000-800000 rw-s 00000000 00:0f 7 /x\nFilePmdMapped:         0 kB\nVmFlags: rd wr sh ht\n";
        assert_eq!(parse_smaps(text).into_iter().collect::<Vec<_>>(), [0x200, 0x600]);
        assert!(parse_smaps("x\nAnonHugePages: 4 kB\n").is_empty());
    }
}
