//! The bytes of BTF: read from a file, or the running kernel's own.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr;

/// Bytes that do not change.
pub(super) enum Blob {
    /// Read.
    Read(Vec<u8>),
    /// Mapped from the kernel, without a copy.
    Mapped(Mapped),
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Blob::Read(bytes) => bytes,
            Blob::Mapped(mapped) => mapped.bytes(),
        }
    }
}

/// A mapping of the kernel's own BTF.
pub(super) struct Mapped {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    /// Maps the file under /sys in which the running kernel shows its BTF, which can be mapped from 6.16 on
    /// (`btf_sysfs_vmlinux_mmap()`, kernel/bpf/sysfs_btf.c).
    pub(super) fn live(file: &File) -> io::Result<Mapped> {
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapped { start, length }) }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is read-only, lives as long as `self`, and shows a part of the kernel's image that it
        // never writes to nor frees.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `live`, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.start, self.length) };
    }
}
