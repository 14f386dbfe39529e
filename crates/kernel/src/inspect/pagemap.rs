//! What a process maps, by the documented interface: /proc/PID/pagemap, and the ioctl PAGEMAP_SCAN where the kernel has it
//! (6.7 on). Both take the process's mmap lock while they walk.

use std::fs::File;
use std::mem::size_of;
use std::os::fd::AsRawFd;

use super::extent::{BLOCK, By, Extent, push};
use super::maps::areas;
use super::space::Missed;
use crate::Unavailable;
use crate::procfs::Words;
use crate::vmemmap::{FRAME_BITS, PAGE, PRESENT};

/// Bit 56 of a word of pagemap is of no use here; bit 61 says that the page is a file's or shared anonymous
/// (Documentation/admin-guide/mm/pagemap.rst).
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
        let found = usize::try_from(found).ok()?;
        into.extend_from_slice(&regions[..found.min(REGIONS)]);
        if wanted.walk_end <= from {
            break;
        }
        from = wanted.walk_end;
    }
    Some(())
}

/// What pagemap tells of a process.
pub(crate) struct Told {
    /// Whether it tells which pages PMDs map; else all count as mapped by PTEs.
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
    let mut knows_pmds = true;
    let mut read = Vec::new();
    for area in areas.iter().filter(|area| area.name != "[vsyscall]") {
        let mut regions = Vec::new();
        if !knows_pmds || scan(words.file(), area.start * PAGE, area.end * PAGE, &mut regions).is_none() {
            knows_pmds = false;
            regions = vec![Region { start: area.start * PAGE, end: area.end * PAGE, categories: 0 }];
        }
        for region in regions.iter().filter(|region| region.categories & PAGE_IS_PFNZERO == 0) {
            let by = if region.categories & PAGE_IS_HUGE != 0 { By::Pmd } else { By::Pte };
            let (start, end) = (region.start / PAGE, region.end / PAGE);
            let mut page = start;
            while page < end {
                let count = (end - page).min(BLOCK);
                read.clear();
                words.read(page, count, &mut read)?;
                add(&read, page, owner, by, extents);
                page += count;
            }
        }
    }
    Ok(Ok(Told { knows_pmds }))
}

fn add(words: &[u64], first: u64, owner: u32, by: By, extents: &mut Vec<Extent>) {
    for (page, word) in (first..).zip(words) {
        let frame = word & FRAME_BITS;
        if word & PRESENT == 0 || frame == 0 {
            continue;
        }
        match (by, extents.last_mut()) {
            // A PMD's pages come one by one; its extent is all of them.
            (By::Pmd, Some(last))
                if last.by == By::Pmd
                    && last.owner == owner
                    && last.end() == frame
                    && last.page + u64::from(last.pages) == page
                    && u64::from(last.pages) < HUGE_PAGES =>
            {
                last.pages += 1;
            }
            _ => push(extents, Extent { page, frame, pages: 1, owner, by }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{By, Extent, PAGEMAP_SCAN, PRESENT, add};

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
    }
}
