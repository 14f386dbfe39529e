//! Whether a process gets THPs: this program's own would stand in the statistics that scenarios are judged by.

/// Lets this process, and those that it starts, have no THPs, or have them again (PR_SET_THP_DISABLE, 3.15 and later;
/// an older kernel refuses, and nothing changes).
pub(crate) fn forbid(forbidden: bool) {
    // SAFETY: the call takes numbers, and concerns this process alone.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(forbidden), 0, 0, 0);
    }
}

/// Does something that needs THPs of this process's own, even where they are forbidden.
pub(crate) fn with_thps<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: as above.
    let forbidden = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) } > 0;
    if !forbidden {
        return work();
    }
    forbid(false);
    let done = work();
    forbid(true);
    done
}
