//! Keeping khugepaged busy with nothing.
//!
//! khugepaged sleeps as long as it is told between two scans, but it scans at once when it starts, which it does
//! each time that transparent huge pages are switched off and on again, and when there is something to scan
//! after there was nothing (`khugepaged()`, `khugepaged_wait_work()`, `start_stop_khugepaged()`,
//! mm/khugepaged.c, v6.18). Such a scan ends with the first range that it looked at, if it is to look at one
//! page: with an area that has many ranges and nearly no pages, and that is registered before the scenario's, that
//! range is one of these.

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
        // SAFETY: a fresh mapping where the kernel likes it, of which the last byte is written; advice about it.
        unsafe {
            let all = libc::PROT_READ | libc::PROT_WRITE;
            let start = libc::mmap(std::ptr::null_mut(), BYTES, all, flags, -1, 0);
            if start == libc::MAP_FAILED {
                let error = std::io::Error::last_os_error();
                let what = format!("cannot reserve a TiB of addresses: {error}");
                return Err(Unavailable::new(what, "raise the limit of address space (ulimit -v)"));
            }
            libc::madvise(start, BYTES, libc::MADV_DONTFORK);
            // An area without an anon_vma is passed over (`__thp_vma_allowable_orders()`, mm/huge_memory.c, v6.18):
            // it gets one with a page, in the last of its ranges, while huge pages are not asked for.
            start.cast::<u8>().add(BYTES - 1).write_volatile(1);
            libc::madvise(start, BYTES, libc::MADV_HUGEPAGE);
            Ok(Idle { start })
        }
    }
}

impl Idle {
    /// Has khugepaged pass over the area, or look at it again.
    pub(super) fn hide(&self, hidden: bool) {
        let advice = if hidden { libc::MADV_NOHUGEPAGE } else { libc::MADV_HUGEPAGE };
        // SAFETY: advice about this object's own mapping.
        unsafe { libc::madvise(self.start, BYTES, advice) };
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // SAFETY: the mapping is this object's own.
        unsafe { libc::munmap(self.start, BYTES) };
    }
}
