//! Keeping khugepaged busy with nothing.
//!
//! khugepaged sleeps as long as it is told between two scans, but it scans at once when it starts, which it does
//! each time that transparent huge pages are switched off and on again, and when there is something to scan
//! after there was nothing (`khugepaged()`, `khugepaged_wait_work()`, `start_stop_khugepaged()`,
//! mm/khugepaged.c, v6.18). Such a scan ends with the first range that it looked at, if it is to look at one
//! page: with an area that has many ranges and no pages, and that is registered before the scenario's, that range
//! is one of these.

use crate::Unavailable;

/// Bytes of the area: so many ranges that they are never all looked at.
const BYTES: usize = 1 << 40;

/// An area for khugepaged to look at.
pub(super) struct Idle {
    start: *mut libc::c_void,
}

impl Idle {
    /// To be called with transparent huge pages enabled for those who ask.
    ///
    /// # Errors
    /// If there is no address space for it.
    pub(super) fn start() -> Result<Idle, Unavailable> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping where the kernel likes it, which nobody touches; advice about it.
        unsafe {
            let all = libc::PROT_READ | libc::PROT_WRITE;
            let start = libc::mmap(std::ptr::null_mut(), BYTES, all, flags, -1, 0);
            if start == libc::MAP_FAILED {
                let error = std::io::Error::last_os_error();
                let what = format!("cannot reserve a TiB of addresses: {error}");
                return Err(Unavailable::new(what, "raise the limit of address space (ulimit -v)"));
            }
            libc::madvise(start, BYTES, libc::MADV_DONTFORK);
            libc::madvise(start, BYTES, libc::MADV_HUGEPAGE);
            Ok(Idle { start })
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own.
        unsafe { libc::munmap(self.start, BYTES) };
    }
}
