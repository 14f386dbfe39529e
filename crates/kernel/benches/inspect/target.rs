//! Processes to look at.

use std::io;
use std::process::Child;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;
const MIB: usize = 1 << 20;

/// How a target maps its memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// THPs, and folios of 64 KiB where the kernel has those.
    Mixed,
    /// Single pages, touched in no order.
    Scattered,
}

/// A child process, gone when this is dropped.
pub(crate) struct Target(libc::pid_t);

fn map(bytes: usize) -> Option<*mut u8> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes + HUGE, access, flags, -1, 0) };
    (start != libc::MAP_FAILED).then(|| start.cast::<u8>().map_addr(|address| address.next_multiple_of(HUGE)))
}

fn advise(start: *mut u8, bytes: usize, advice: libc::c_int) {
    // SAFETY: the range lies in a mapping made by `map`; advice changes no content.
    unsafe { libc::madvise(start.cast(), bytes, advice) };
}

fn touch(start: *mut u8, page: usize) {
    // SAFETY: the page lies in a writable mapping that nobody else knows.
    unsafe { start.add(page * PAGE).write_volatile(1) };
}

fn fill(shape: Shape, mib: usize) -> Option<()> {
    let bytes = mib * MIB;
    if shape == Shape::Scattered {
        let start = map(bytes)?;
        advise(start, bytes, libc::MADV_NOHUGEPAGE);
        let pages = bytes / PAGE;
        // A step that shares no factor with the number of pages leads to each of them once.
        let step = 1_000_003;
        (0..pages).for_each(|n| touch(start, (n * step) % pages));
        return Some(());
    }
    let half = bytes / 2 / HUGE * HUGE;
    let start = map(half)?;
    advise(start, half, libc::MADV_HUGEPAGE);
    (0..half / PAGE).for_each(|page| touch(start, page));
    // Every other MiB may have large folios: too little room for a PMD.
    let start = map(2 * half)?;
    for mib in (0..2 * half / MIB).step_by(2) {
        // SAFETY: the offset lies in the mapping.
        let part = unsafe { start.add(mib * MIB) };
        advise(part, MIB, libc::MADV_HUGEPAGE);
        (0..MIB / PAGE).for_each(|page| touch(part, page));
    }
    Some(())
}

/// The setting for folios of 64 KiB, as it was before.
struct Sizes(Option<String>);

const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";

impl Sizes {
    fn allow() -> Sizes {
        let before = std::fs::read_to_string(SETTING).ok();
        let word =
            before.as_ref().and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()));
        // Without the setting all pages are small, which the printed smaps show.
        let _ = std::fs::write(SETTING, "madvise");
        Sizes(word)
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        if let Some(word) = &self.0 {
            let _ = std::fs::write(SETTING, word);
        }
    }
}

/// A child that does `work` after telling that `first` is done; `None` if that failed.
fn child(first: impl FnOnce() -> Option<()>, work: impl FnOnce()) -> Option<Target> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both ends.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: this process has one thread, so that the child may do what it likes.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let done = first().is_some();
        // SAFETY: the descriptor is the child's; the child never returns.
        unsafe {
            if done {
                libc::write(ends[1], b"!".as_ptr().cast(), 1);
                work();
            }
            libc::_exit(1);
        }
    }
    let mut byte = 0u8;
    // SAFETY: both descriptors are ours, and `byte` has room for what is read.
    let ready = unsafe {
        libc::close(ends[1]);
        let read = libc::read(ends[0], (&raw mut byte).cast(), 1);
        libc::close(ends[0]);
        read == 1
    };
    let target = (pid > 0).then_some(Target(pid));
    target.filter(|_| ready)
}

impl Target {
    /// A process that has so many MiB and sleeps.
    pub(crate) fn new(shape: Shape, mib: usize) -> Option<Target> {
        let _sizes = Sizes::allow();
        let sleep = || loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        };
        child(|| fill(shape, mib), sleep)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> libc::pid_t {
        self.0
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: the process is our child and was not waited for yet.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// A child that maps and unmaps in a loop and counts how often.
pub(crate) struct Victim {
    process: Target,
    count: &'static AtomicU64,
}

impl Victim {
    pub(crate) fn new(mib: usize) -> Option<Victim> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let shared = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, flags, -1, 0) };
        if shared == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the page is zeroed, aligned, never unmapped, and used as this counter alone, by atomics.
        let count: &'static AtomicU64 = unsafe { &*shared.cast::<AtomicU64>() };
        let loops = || {
            pin_to_cpu(1);
            loop {
                // SAFETY: maps memory that nobody uses and unmaps it.
                unsafe {
                    let access = libc::PROT_READ | libc::PROT_WRITE;
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    let start = libc::mmap(ptr::null_mut(), 65536, access, flags, -1, 0);
                    libc::munmap(start, 65536);
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let process = child(|| fill(Shape::Scattered, mib), loops)?;
        Some(Victim { process, count })
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.process.pid()
    }

    /// Loops a second while `reader` runs again and again, for three seconds.
    pub(crate) fn speed(&self, mut reader: impl FnMut()) -> f64 {
        let (start, before) = (Instant::now(), self.count.load(Ordering::Relaxed));
        while start.elapsed() < Duration::from_secs(3) {
            reader();
        }
        let loops = self.count.load(Ordering::Relaxed) - before;
        loops as f64 / start.elapsed().as_secs_f64()
    }
}

/// Keeps this process, and those it starts, on one CPU, where there are two.
pub(crate) fn pin_to_cpu(cpu: usize) {
    // SAFETY: the set is plain bits, zeroed and then given one; the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Waits for a child; its status, and the most memory that it had, in KiB.
pub(crate) fn wait(child: &Child) -> (libc::c_int, i64) {
    let mut status = 0;
    // SAFETY: both places are large enough and zeroed; the child is ours and nobody else waits for it.
    let (usage, waited) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let waited = libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage);
        (usage, waited)
    };
    assert!(waited > 0, "{}", io::Error::last_os_error());
    (status, usage.ru_maxrss)
}
