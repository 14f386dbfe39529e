//! Memory of a known shape, and processes that share it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use mapcount_kernel::Unavailable;

/// Bytes of a base page.
pub(crate) const PAGE: usize = 4096;
/// Bytes of a THP.
pub(crate) const HUGE: usize = 2 << 20;

/// Anonymous memory of this process.
pub(crate) struct Area {
    mapped: (*mut libc::c_void, usize),
    start: *mut u8,
    bytes: usize,
}

impl Area {
    /// Room for THPs.
    pub(crate) fn huge(count: usize) -> Area {
        Area::new(count * HUGE, libc::MADV_HUGEPAGE)
    }

    /// Small pages.
    pub(crate) fn small(count: usize) -> Area {
        Area::new(count * PAGE, libc::MADV_NOHUGEPAGE)
    }

    fn new(bytes: usize, advice: libc::c_int) -> Area {
        let room = bytes + 2 * HUGE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let mapped = unsafe {
            libc::mmap(ptr::null_mut(), room, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(mapped, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let start = mapped.cast::<u8>().map_addr(|address| address.next_multiple_of(HUGE));
        // SAFETY: the range lies in the mapping made above.
        unsafe { libc::madvise(start.cast(), bytes, advice) };
        Area { mapped: (mapped, room), start, bytes }
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// Writes to every page.
    pub(crate) fn touch(&self) {
        self.touch_some(self.bytes / PAGE);
    }

    /// Writes to the first pages.
    pub(crate) fn touch_some(&self, pages: usize) {
        for page in 0..pages {
            // SAFETY: the page lies in the mapping, which is writable and nobody else's.
            unsafe { self.start.add(page * PAGE).write_volatile(1) };
        }
    }

    /// MADV_DONTNEED of a part.
    pub(crate) fn dontneed(&self, from: usize, bytes: usize) {
        // SAFETY: the part lies in the mapping, and nothing keeps references into it.
        let done = unsafe { libc::madvise(self.start.add(from).cast(), bytes, libc::MADV_DONTNEED) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    /// Makes a part read-only.
    pub(crate) fn protect(&self, from: usize, bytes: usize) {
        // SAFETY: the part lies in the mapping; nobody writes to it afterwards.
        let done = unsafe { libc::mprotect(self.start.add(from).cast(), bytes, libc::PROT_READ) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    /// Moves a part into another area, in the place of what is there.
    pub(crate) fn move_to(&self, from: usize, bytes: usize, other: &Area, at: usize) {
        let (old, new) = (self.part(from, bytes).iov_base, other.part(at, bytes).iov_base);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: both parts lie in mappings that nothing keeps references into.
        let moved = unsafe { libc::mremap(old, bytes, bytes, flags, new) };
        assert_eq!(moved, new, "{}", io::Error::last_os_error());
    }

    fn part(&self, from: usize, bytes: usize) -> libc::iovec {
        assert!(from + bytes <= self.bytes);
        // SAFETY: the offset lies in the mapping.
        libc::iovec { iov_base: unsafe { self.start.add(from) }.cast(), iov_len: bytes }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and nothing refers to it any more.
        unsafe { libc::munmap(self.mapped.0, self.mapped.1) };
    }
}

/// A child process that sleeps until it is dropped.
pub(crate) struct Child(libc::pid_t);

impl Child {
    /// A copy of this process that has done `first`, which must not allocate: other threads may hold the allocator.
    pub(crate) fn new(first: impl FnOnce()) -> Child {
        let mut ends = [0; 2];
        // SAFETY: the array has room for both ends.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: the child calls only `first`, which does not allocate, and system calls.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid == 0 {
            first();
            // SAFETY: both descriptors are the child's; it never returns to Rust's code.
            unsafe {
                libc::write(ends[1], b"!".as_ptr().cast(), 1);
                loop {
                    libc::pause();
                }
            }
        }
        let mut byte = 0u8;
        // SAFETY: `byte` has room for what is read; both descriptors are ours and used nowhere else.
        unsafe {
            libc::close(ends[1]);
            assert_eq!(libc::read(ends[0], (&raw mut byte).cast(), 1), 1, "the child did not get ready");
            libc::close(ends[0]);
        }
        Child(pid)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.cast_unsigned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the process is our child and was not waited for yet.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}

/// Puts this process into a cgroup by writing its id to the file of that name; does not allocate.
pub(crate) fn enter(procs: &CStr) {
    // SAFETY: the path ends with a zero byte; "0" stands for the process that writes it.
    unsafe {
        let file = libc::open(procs.as_ptr(), libc::O_WRONLY);
        libc::write(file, b"0".as_ptr().cast(), 1);
        libc::close(file);
    }
}

/// A file system of memory cgroups, mounted until this is dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts that of a version in a folder of its own.
    pub(crate) fn cgroups(version: u32) -> io::Result<Mount> {
        let path = std::env::temp_dir().join(format!("mapcount-cgroup{version}"));
        std::fs::create_dir_all(&path)?;
        let place = CString::new(path.as_os_str().as_bytes())?;
        let (kind, options) = if version == 1 { (c"cgroup", c"memory") } else { (c"cgroup2", c"") };
        // SAFETY: all texts end with a zero byte and outlive the call.
        let done =
            unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
        if done == 0 { Ok(Mount(path)) } else { Err(io::Error::last_os_error()) }
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Ok(place) = CString::new(self.0.as_os_str().as_bytes()) {
            // SAFETY: the text ends with a zero byte and outlives the call.
            unsafe { libc::umount(place.as_ptr()) };
        }
    }
}

/// An io_uring with a registered buffer, which pins its pages.
pub(crate) struct Ring(libc::c_int);

impl Ring {
    /// Registers a part of an area.
    pub(crate) fn register(area: &Area, from: usize, bytes: usize) -> Result<Ring, Unavailable> {
        let failed = |what: &str| {
            Unavailable::new(format!("{what}: {}", io::Error::last_os_error()), "use a kernel with io_uring")
        };
        let mut params = [0u8; 120];
        // SAFETY: `params` is as large as struct io_uring_params and zeroed, as the call wants it.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
        if ring < 0 {
            return Err(failed("io_uring_setup"));
        }
        let ring = Ring(ring as libc::c_int);
        let buffer = area.part(from, bytes);
        // SAFETY: operation 0 registers buffers; `buffer` describes one that lives longer than the ring.
        let done = unsafe { libc::syscall(libc::SYS_io_uring_register, ring.0, 0, &raw const buffer, 1) };
        if done < 0 { Err(failed("io_uring_register")) } else { Ok(ring) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and used nowhere else.
        unsafe { libc::close(self.0) };
    }
}

/// A pipe that holds a reference on the first page of an area.
pub(crate) struct Spliced([libc::c_int; 2]);

impl Spliced {
    /// Puts the page into a pipe.
    pub(crate) fn new(area: &Area) -> Spliced {
        let mut ends = [0; 2];
        let piece = area.part(0, PAGE);
        // SAFETY: the array has room for both ends; `piece` describes memory that lives longer than the pipe.
        let done = unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            libc::vmsplice(ends[1], &raw const piece, 1, 0)
        };
        assert_eq!(done, PAGE as isize, "{}", io::Error::last_os_error());
        Spliced(ends)
    }
}

impl Drop for Spliced {
    fn drop(&mut self) {
        for end in self.0 {
            // SAFETY: the descriptor is ours and used nowhere else.
            unsafe { libc::close(end) };
        }
    }
}
