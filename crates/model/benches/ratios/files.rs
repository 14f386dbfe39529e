//! Page cache: faults, fork and unmapping of 1 GiB of a file, on the model and by real system calls on a memfd.

use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mapcount_model::machine::config::Config;
use mapcount_model::machine::files::{FileKind, ShmemHuge};
use mapcount_model::machine::vma::{Protection, ThpAdvice};
use mapcount_model::machine::{Machine, Mm, Mode};
use mapcount_model::ops::fault::{self, Access};
use mapcount_model::ops::rmap_walk;
use mapcount_model::ops::{fork, mmap, munmap};
use mapcount_model::profile::Profile;

use crate::table::{self, Goal, Nanos, Peer};
use crate::work::{FOLIOS, PAGES};

const START: u64 = 1 << 18;
const PAGE: usize = 4096;
const THP: usize = 512 * PAGE;
const SIZE: usize = PAGES as usize * PAGE;

/// The model has to take no more than a fifth of Linux's time.
const GOAL: Goal = Goal::TimesFaster(5.0);

/// Processes that map the folio of the reverse walk.
const MAPPERS: u32 = 1000;

/// The table of files.
pub(crate) fn ratios(samples: usize, linux_samples: usize) {
    println!("1 GiB of page cache on the model of Linux 6.18, beside a memfd on this machine.\n");
    table::head();
    for (small, name) in [(true, "4K pages"), (false, "THPs")] {
        let linux = linux(small, linux_samples);
        let peer = |pick: fn(&Took) -> Duration, units| match &linux {
            Ok(runs) => Peer::Measured(Nanos::of(runs.iter().map(pick).collect(), units)),
            Err(_) => Peer::None,
        };
        let units = u64::from(if small { PAGES } else { FOLIOS });
        let unit = if small { "a page" } else { "a folio" };
        let measure = |make: fn(bool) -> State, work: fn(&mut State)| {
            Nanos::measure(samples, units, || make(small), work)
        };
        let row = |what: &str, ours, pick| {
            table::row(&format!("{what} of {name} of a file: {unit}"), ours, peer(pick, units), GOAL);
        };
        row("read faults", measure(cached, read), |took| took.fault);
        row("fork, private,", measure(copied, do_fork), |took| took.fork);
        row("munmap", measure(faulted, unmap), |took| took.unmap);
        if let Err(why) = &linux {
            println!("Linux was not measured for {name}: {why}.");
        }
    }
    let walk = Nanos::measure(samples, u64::from(MAPPERS), shared_by_many, walk);
    table::row("reverse walk of a file's folio: a mapping", walk, Peer::None, Goal::AtMost(50.0));
    println!();
}

struct State {
    m: Machine,
    mm: Rc<Mm>,
}

fn machine() -> Machine {
    Machine::new(&Profile::resolve("6.18").expect("modelled"), Config::new(9), Mode::Fast)
}

/// A file whose pages are all in the page cache, and a mapping of it that maps none of them.
fn made(small: bool, shared: bool) -> State {
    let m = machine();
    let huge = if small { ShmemHuge::Never } else { ShmemHuge::Always };
    let file = m.add_file(FileKind::Tmpfs, huge, u64::from(PAGES), false);
    let range = (START, u64::from(PAGES));
    let map = |mm: &Mm, shared| {
        let part = mmap::Part { file, offset: 0, shared };
        mmap::map_file(&m, mm, range, part, Protection::READ_WRITE, ThpAdvice::None);
    };
    let filler = m.add_mm();
    map(&filler, true);
    fault::touch(&m, &filler, range, Access::Write).expect("room");
    munmap::unmap(&m, &filler, range).expect("nothing huge is cut");
    let mm = m.add_mm();
    map(&mm, shared);
    State { m, mm }
}

fn cached(small: bool) -> State {
    made(small, true)
}

fn faulted(small: bool) -> State {
    let mut state = cached(small);
    read(&mut state);
    state
}

/// A private mapping that has a page of its own, so that fork copies its entries.
fn copied(small: bool) -> State {
    let mut state = made(small, false);
    fault::touch(&state.m, &state.mm, (START, 1), Access::Write).expect("room");
    read(&mut state);
    state
}

fn read(state: &mut State) {
    fault::touch(&state.m, &state.mm, (START, u64::from(PAGES)), Access::Read).expect("room");
}

fn do_fork(state: &mut State) {
    fork::fork(&state.m, &state.mm).expect("room");
}

fn unmap(state: &mut State) {
    munmap::unmap(&state.m, &state.mm, (START, u64::from(PAGES))).expect("nothing huge is cut");
}

/// A page of a file that a thousand processes map.
fn shared_by_many() -> State {
    let m = machine();
    let file = m.add_file(FileKind::Tmpfs, ShmemHuge::Never, 16, false);
    let part = mmap::Part { file, offset: 0, shared: true };
    let mm = m.add_mm();
    mmap::map_file(&m, &mm, (START, 16), part, Protection::READ_WRITE, ThpAdvice::None);
    for _ in 1..MAPPERS {
        let child = fork::fork(&m, &mm).expect("room");
        fault::touch(&m, &child, (START, 1), Access::Read).expect("room");
    }
    fault::touch(&m, &mm, (START, 1), Access::Read).expect("room");
    State { m, mm }
}

fn walk(state: &mut State) {
    let folio = state.m.folio(state.mm.table.read(START).page());
    assert_eq!(rmap_walk::count_entries(&state.m, folio), i64::from(MAPPERS));
}

/// What one run took on Linux.
struct Took {
    fault: Duration,
    fork: Duration,
    unmap: Duration,
}

fn linux(small: bool, samples: usize) -> Result<Vec<Took>, String> {
    let file = Memfd::new(small)?;
    (0..samples).map(|_| once(&file, small)).collect()
}

fn once(file: &Memfd, small: bool) -> Result<Took, String> {
    let mapping = file.map(libc::MAP_SHARED)?;
    let fault = time(|| mapping.read());
    if !small && mapping.pmd_bytes() < SIZE {
        return Err("its THPs are not mapped by PMDs".to_owned());
    }
    let unmap = time(|| drop(mapping));
    let mapping = file.map(libc::MAP_PRIVATE)?;
    mapping.write_first();
    mapping.read();
    let fork = fork_time()?;
    Ok(Took { fault, fork, unmap })
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// How long fork takes the parent; the child ends at once.
fn fork_time() -> Result<Duration, String> {
    let start = Instant::now();
    // SAFETY: this process has one thread here, and the child calls nothing but _exit.
    let child = unsafe { libc::fork() };
    let took = start.elapsed();
    if child == 0 {
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(0) };
    }
    if child < 0 {
        return Err("no fork".to_owned());
    }
    let mut status = 0;
    // SAFETY: the child is this process's, and the status has room.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    Ok(took)
}

/// 1 GiB in a memfd, all of it in the page cache.
struct Memfd(libc::c_int);

impl Memfd {
    fn new(small: bool) -> Result<Memfd, String> {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"ratios".as_ptr(), 0) };
        if fd < 0 {
            return Err("no memfd".to_owned());
        }
        let file = Memfd(fd);
        // SAFETY: the descriptor is open and this process's.
        if unsafe { libc::ftruncate(fd, SIZE as libc::off_t) } != 0 {
            return Err("no room in the memfd".to_owned());
        }
        let mapping = file.map(libc::MAP_SHARED)?;
        for offset in (0..SIZE).step_by(PAGE) {
            // SAFETY: within the mapping, which is writable.
            unsafe { mapping.start.add(offset).write_volatile(1) };
        }
        // SAFETY: within the mapping; collapsing keeps what it holds.
        if !small && unsafe { libc::madvise(mapping.start.cast(), SIZE, MADV_COLLAPSE) } != 0 {
            return Err("its pages could not be collapsed".to_owned());
        }
        Ok(file)
    }

    /// Maps all of it at a multiple of 2 MiB.
    fn map(&self, flags: libc::c_int) -> Result<Mapping, String> {
        let (none, both) = (libc::PROT_NONE, libc::PROT_READ | libc::PROT_WRITE);
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping wherever the kernel likes; nothing else can point into it.
        let around = unsafe { libc::mmap(ptr::null_mut(), SIZE + THP, none, anonymous, -1, 0) };
        if around == libc::MAP_FAILED {
            return Err("no address space".to_owned());
        }
        let offset = around.cast::<u8>().align_offset(THP);
        // SAFETY: what was just mapped has a THP more than is used, so that the aligned start lies within it, and what
        // is replaced there nobody uses.
        let mapped = unsafe {
            let start = around.cast::<u8>().add(offset).cast();
            libc::mmap(start, SIZE, both, flags | libc::MAP_FIXED, self.0, 0)
        };
        if mapped == libc::MAP_FAILED {
            return Err("the memfd cannot be mapped".to_owned());
        }
        Ok(Mapping { start: mapped.cast(), around })
    }
}

/// MADV_COLLAPSE (include/uapi/asm-generic/mman-common.h, v6.1).
const MADV_COLLAPSE: libc::c_int = 25;

impl Drop for Memfd {
    fn drop(&mut self) {
        // SAFETY: open, this process's, and used no more.
        unsafe { libc::close(self.0) };
    }
}

/// A mapping of the memfd.
struct Mapping {
    start: *mut u8,
    around: *mut libc::c_void,
}

impl Mapping {
    fn read(&self) {
        for offset in (0..SIZE).step_by(PAGE) {
            // SAFETY: within the mapping, which is readable, of a file that is as long.
            unsafe { self.start.add(offset).read_volatile() };
        }
    }

    fn write_first(&self) {
        // SAFETY: within the mapping, which is writable.
        unsafe { self.start.write_volatile(2) };
    }

    /// Bytes of shared memory that PMDs map, of this whole process.
    fn pmd_bytes(&self) -> usize {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("ShmemPmdMapped:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
        kilobytes.unwrap_or(0) << 10
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped, and nothing points into it any more.
        unsafe { libc::munmap(self.around, SIZE + THP) };
    }
}
