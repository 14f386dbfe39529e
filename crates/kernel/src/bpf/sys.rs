//! The system calls: bpf(2) through libc's syscall(), mmap.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// BPF_PROG_TYPE_SYSCALL.
pub(super) const SYSCALL_PROGRAM: u32 = 31;
/// BPF_PROG_TYPE_RAW_TRACEPOINT.
pub(super) const RAW_TRACEPOINT_PROGRAM: u32 = 17;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;

const MAP_TYPE_ARRAY: u32 = 2;
/// BPF_F_MMAPABLE, 5.5 on.
const MMAPABLE: u32 = 1 << 10;
/// BPF_F_SLEEPABLE, which programs of type SYSCALL must have.
const SLEEPABLE: u32 = 1 << 4;

/// The licence that the program is loaded under; the helpers that it calls are for GPL-compatible ones alone.
const LICENCE: &std::ffi::CStr = c"Dual MIT/GPL";

/// A file of the kernel's, closed on drop and by exec.
pub(super) struct Fd(OwnedFd);

impl Fd {
    pub(super) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// The first members of `union bpf_attr` for BPF_MAP_CREATE.
#[repr(C)]
#[derive(Default)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// The first members of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The first members of `union bpf_attr` for BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
struct RunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
}

/// bpf(2).
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is exclusively borrowed, is laid out as the kernel's union (`repr(C)`) and its true size is
    // given; the kernel reads members behind it as zeroes. Addresses in it are of what the callers keep alive
    // over the call, with their lengths.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> Fd {
    // SAFETY: the kernel has just made this file for us and nobody else knows its number. Files of bpf(2) are
    // closed by exec.
    Fd(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// An array map with one value of `bytes`, which can be mapped.
pub(super) fn create_map(bytes: usize) -> io::Result<Fd> {
    let mut attr = MapAttr {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: bytes as u32,
        max_entries: 1,
        map_flags: MMAPABLE,
    };
    bpf(MAP_CREATE, &mut attr).map(owned)
}

/// Loads a program.
pub(super) fn load(kind: u32, code: &[u64]) -> io::Result<Fd> {
    let mut attr = LoadAttr {
        prog_type: kind,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr().addr() as u64,
        license: LICENCE.as_ptr().addr() as u64,
        prog_flags: if kind == SYSCALL_PROGRAM { SLEEPABLE } else { 0 },
        ..LoadAttr::default()
    };
    bpf(PROG_LOAD, &mut attr).map(owned)
}

/// Runs a program once, on this CPU and in this process.
pub(super) fn run(program: &Fd) -> io::Result<()> {
    let mut attr = RunAttr { prog_fd: program.raw() as u32, ..RunAttr::default() };
    loop {
        match bpf(PROG_TEST_RUN, &mut attr) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Lets this process lock as much memory as it likes.
pub(super) fn lift_memlock() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit. A refusal changes nothing; the caller finds out by trying again.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

/// The value of a map, mapped into this process.
pub(super) struct Shared {
    start: *mut u64,
    bytes: usize,
}

// SAFETY: the range is this value's alone, and no thread has more to do with it than another.
unsafe impl Send for Shared {}

impl Shared {
    pub(super) fn map(map: &Fd, bytes: usize) -> io::Result<Shared> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, map.raw(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping made above. Processes that are forked from this one have no use for it.
        unsafe { libc::madvise(start, bytes, libc::MADV_DONTFORK) };
        Ok(Shared { start: start.cast(), bytes })
    }

    /// The words of the value.
    pub(super) fn words(&self) -> &[u64] {
        // SAFETY: the mapping is live as long as `self`, aligned to pages and initialised by the kernel. It is
        // written only by our own program, which runs only inside `run()`, called by who holds `Bpf` exclusively;
        // no borrow of these words lives over that call.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes / 8) }
    }

    /// The words of the value, to write.
    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`; `self` is exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes / 8) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and nothing borrows it any more.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}
