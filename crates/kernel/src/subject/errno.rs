//! Names of errors.

/// The name of an error number, as errno(3) has it.
pub(super) fn name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::ENOSYS => "ENOSYS",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::EINPROGRESS => "EINPROGRESS",
        libc::EHWPOISON => "EHWPOISON",
        _ => "another error",
    }
}

/// The name of what a call returned.
pub(super) fn outcome(result: i64) -> &'static str {
    if result < 0 { name(i32::try_from(-result).unwrap_or(0)) } else { "ok" }
}

/// The name of what an operation on a file came to.
pub(super) fn of(result: &std::io::Result<()>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(error) => name(error.raw_os_error().unwrap_or(0)),
    }
}
