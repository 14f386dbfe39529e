//! The same work on the kernel of this machine, by real system calls.

use std::fs;
use std::ptr;
use std::time::{Duration, Instant};

use crate::table::{Nanos, Peer};
use crate::work::{FOLIOS, PAGES};

const PAGE: usize = 4096;
const THP: usize = 512 * PAGE;
const SIZE: usize = PAGES as usize * PAGE;

/// Pages that a child writes after fork; fewer than all, to need less memory.
const WRITTEN: usize = 1 << 14;

/// What one run of the whole protocol measures, in the order of [`measure`].
#[derive(Default)]
struct Runs {
    touch: Vec<Duration>,
    fork_pmd: Vec<Duration>,
    exit_pmd: Vec<Duration>,
    split: Vec<Duration>,
    fork_pte: Vec<Duration>,
    exit_pte: Vec<Duration>,
    write: Vec<Duration>,
    unmap_pte: Vec<Duration>,
    unmap_pmd: Vec<Duration>,
    touch_small: Vec<Duration>,
    fork_small: Vec<Duration>,
    exit_small: Vec<Duration>,
    unmap_small: Vec<Duration>,
}

/// Linux's medians, by work.
pub(crate) struct Linux {
    pub(crate) touch: Peer,
    pub(crate) fork_pmd: Peer,
    pub(crate) exit_pmd: Peer,
    pub(crate) split: Peer,
    pub(crate) fork_pte: Peer,
    pub(crate) exit_pte: Peer,
    pub(crate) write: Peer,
    pub(crate) unmap_pte: Peer,
    pub(crate) unmap_pmd: Peer,
    pub(crate) touch_small: Peer,
    pub(crate) fork_small: Peer,
    pub(crate) exit_small: Peer,
    pub(crate) unmap_small: Peer,
}

/// Figures of a virtual machine with Linux 6.18, for where there are no THPs.
const PUBLISHED: Linux = Linux {
    touch: Peer::Published(90_900.0),
    fork_pmd: Peer::Published(930.0),
    exit_pmd: Peer::Published(600.0),
    split: Peer::Published(18_800.0),
    fork_pte: Peer::Published(40.6),
    exit_pte: Peer::Published(8.1),
    write: Peer::Published(705.0),
    unmap_pte: Peer::Published(21.0),
    unmap_pmd: Peer::Published(5_150.0),
    touch_small: Peer::Published(1211.0),
    fork_small: Peer::Published(80.5),
    exit_small: Peer::Published(65.1),
    unmap_small: Peer::Published(265.0),
};

/// Measures `samples` times; the published figures where this machine has no THPs to give.
pub(crate) fn measure(samples: usize) -> Linux {
    let mut runs = Runs::default();
    for _ in 0..samples {
        if let Err(why) = once(&mut runs) {
            println!("Linux was not measured here ({why}): figures in parentheses are published ones.\n");
            return PUBLISHED;
        }
    }
    let folios = u64::from(FOLIOS);
    let pages = u64::from(PAGES);
    let peer = |runs, units| Peer::Measured(Nanos::of(runs, units));
    Linux {
        touch: peer(runs.touch, folios),
        fork_pmd: peer(runs.fork_pmd, folios),
        exit_pmd: peer(runs.exit_pmd, folios),
        split: peer(runs.split, folios),
        fork_pte: peer(runs.fork_pte, pages),
        exit_pte: peer(runs.exit_pte, pages),
        write: peer(runs.write, WRITTEN as u64),
        unmap_pte: peer(runs.unmap_pte, pages),
        unmap_pmd: peer(runs.unmap_pmd, folios),
        touch_small: peer(runs.touch_small, pages),
        fork_small: peer(runs.fork_small, pages),
        exit_small: peer(runs.exit_small, pages),
        unmap_small: peer(runs.unmap_small, pages),
    }
}

fn once(runs: &mut Runs) -> Result<(), String> {
    let region = Region::new(libc::MADV_HUGEPAGE)?;
    runs.touch.push(time(|| region.touch()));
    let huge = region.huge_bytes();
    if huge < SIZE {
        return Err(format!("{} MiB of 1024 MiB are THPs", huge >> 20));
    }
    let (forked, exited, _) = fork(|| ())?;
    runs.fork_pmd.push(forked);
    runs.exit_pmd.push(exited);
    // Writing again takes the write protection away that fork left; it is not measured.
    region.touch();
    runs.split.push(time(|| region.split_pmds()));
    let (forked, exited, _) = fork(|| ())?;
    runs.fork_pte.push(forked);
    runs.exit_pte.push(exited);
    let (_, _, wrote) = fork(|| region.write(WRITTEN))?;
    runs.write.push(wrote);
    runs.unmap_pte.push(time(|| drop(region)));
    let region = Region::new(libc::MADV_HUGEPAGE)?;
    region.touch();
    runs.unmap_pmd.push(time(|| drop(region)));
    small(runs)
}

/// The same of base pages.
fn small(runs: &mut Runs) -> Result<(), String> {
    let region = Region::new(libc::MADV_NOHUGEPAGE)?;
    runs.touch_small.push(time(|| region.write(PAGES as usize)));
    let (forked, exited, _) = fork(|| ())?;
    runs.fork_small.push(forked);
    runs.exit_small.push(exited);
    runs.unmap_small.push(time(|| drop(region)));
    Ok(())
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// 1 GiB of anonymous memory at a multiple of 2 MiB.
struct Region {
    start: *mut u8,
    mapped: *mut libc::c_void,
}

impl Region {
    fn new(advice: libc::c_int) -> Result<Region, String> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh mapping wherever the kernel likes; nothing else can point into it.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), SIZE + THP, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err("no memory".to_owned());
        }
        let offset = mapped.cast::<u8>().align_offset(THP);
        // SAFETY: the mapping has a THP more than is used, so that the aligned start lies within it.
        let start = unsafe { mapped.cast::<u8>().add(offset) };
        let region = Region { start, mapped };
        // SAFETY: within the mapping; the advice changes no content.
        let advised = unsafe { libc::madvise(start.cast(), SIZE, advice) };
        if advised != 0 {
            return Err("the kernel has no THPs".to_owned());
        }
        Ok(region)
    }

    /// Writes a byte to each THP.
    fn touch(&self) {
        for offset in (0..SIZE).step_by(THP) {
            // SAFETY: within the mapping, which is writable whenever this is called.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }

    /// Writes a byte to each of the first `pages` pages.
    fn write(&self, pages: usize) {
        for offset in (0..pages * PAGE).step_by(PAGE) {
            // SAFETY: within the mapping, which is writable whenever this is called.
            unsafe { self.start.add(offset).write_volatile(2) };
        }
    }

    /// Splits every PMD: takes the right to write from one page, and gives it back.
    fn split_pmds(&self) {
        for offset in (0..SIZE).step_by(THP) {
            // SAFETY: a page within the mapping, which nobody uses between the two calls.
            unsafe {
                let page = self.start.add(offset + THP / 2).cast();
                libc::mprotect(page, PAGE, libc::PROT_READ);
                libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE);
            }
        }
    }

    /// Bytes that PMDs map, of this whole process.
    fn huge_bytes(&self) -> usize {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
        kilobytes.unwrap_or(0) << 10
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, and nothing points into it any more.
        unsafe { libc::munmap(self.mapped, SIZE + THP) };
    }
}

/// Forks a child that does `work`; how long fork took the parent, the child's exit, and the work.
fn fork(work: impl FnOnce()) -> Result<(Duration, Duration, Duration), String> {
    let (mut ready, mut go) = ([0; 2], [0; 2]);
    // SAFETY: both arrays have room for two descriptors.
    if unsafe { libc::pipe(ready.as_mut_ptr()) | libc::pipe(go.as_mut_ptr()) } != 0 {
        return Err("no pipe".to_owned());
    }
    let start = Instant::now();
    // SAFETY: this process has one thread here, and the child calls nothing but read, write, the clock and _exit.
    let child = unsafe { libc::fork() };
    let forked = start.elapsed();
    if child == 0 {
        let took = (time(work).as_nanos() as u64).to_ne_bytes();
        let mut byte = 0u8;
        // SAFETY: the buffers live here; the child ends without running anything of the parent's.
        unsafe {
            libc::write(ready[1], took.as_ptr().cast(), took.len());
            libc::close(go[1]);
            libc::read(go[0], ptr::from_mut(&mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    let mut took = [0u8; 8];
    let mut status = 0;
    let mut exited = Duration::ZERO;
    if child > 0 {
        // SAFETY: the buffers live here, the descriptors are open, the child is this process's.
        unsafe {
            libc::read(ready[0], took.as_mut_ptr().cast(), took.len());
            let start = Instant::now();
            libc::close(go[1]);
            libc::waitpid(child, &raw mut status, 0);
            exited = start.elapsed();
            libc::close(go[0]);
        }
    }
    // SAFETY: these are open and nobody uses them any more.
    unsafe {
        libc::close(ready[0]);
        libc::close(ready[1]);
    }
    if child < 0 {
        Err("no fork".to_owned())
    } else {
        Ok((forked, exited, Duration::from_nanos(u64::from_ne_bytes(took))))
    }
}
