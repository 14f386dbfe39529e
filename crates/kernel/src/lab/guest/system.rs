//! What only the first process of a system does: mounting, waiting for orphans, ending it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::ptr;
use std::time::Duration;

/// Mounts what the kernel has of procfs, sysfs, devtmpfs, tmpfs and debugfs. What it has not is not needed by
/// the guest itself; who needs it will say so.
pub(super) fn mount_all() {
    mount(c"proc", c"/proc");
    mount(c"sysfs", c"/sys");
    if !mount(c"devtmpfs", c"/dev") {
        make_devices();
    }
    // Where it is there already, and where it cannot be made: mounting tells.
    drop(fs::create_dir("/dev/shm"));
    mount(c"tmpfs", c"/dev/shm");
    mount(c"debugfs", c"/sys/kernel/debug");
}

/// Whether the file system `kind` is mounted on `place` now.
fn mount(kind: &CStr, place: &CStr) -> bool {
    // SAFETY: all three texts end with a zero byte and live throughout the call; no data is passed.
    unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, ptr::null()) == 0 }
}

/// Device files where the kernel does not make them: the usual ones, and the disks.
fn make_devices() {
    let known = [("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("kmsg", 1, 11)];
    for (name, major, minor) in known {
        make_device(name, libc::S_IFCHR, major, minor);
    }
    let Ok(disks) = fs::read_dir("/sys/class/block") else { return };
    for disk in disks.filter_map(Result::ok) {
        let numbers = fs::read_to_string(disk.path().join("dev")).unwrap_or_default();
        let numbers =
            numbers.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        if let (Some((major, minor)), Some(name)) = (numbers, disk.file_name().to_str()) {
            make_device(name, libc::S_IFBLK, major, minor);
        }
    }
}

fn make_device(name: &str, kind: libc::mode_t, major: u32, minor: u32) {
    let Ok(path) = CString::new(format!("/dev/{name}")) else { return };
    // SAFETY: the path ends with a zero byte and lives throughout the call.
    unsafe { libc::mknod(path.as_ptr(), kind | 0o600, libc::makedev(major, minor)) };
}

/// The disk that is there to be swapped to, where the kernel has a driver for it.
pub(super) fn disk() -> Option<&'static str> {
    const DISK: &str = "/dev/nvme0n1";
    fs::exists(DISK).ok()?.then_some(DISK)
}

/// The kernel's release.
pub(super) fn release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// What the kernel says about itself: bit 7 an oops, bit 9 a warning
/// (Documentation/admin-guide/tainted-kernels.rst).
pub(super) fn tainted() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// A child that has ended: its process id, exit code, signal.
pub(super) fn reap() -> Option<(u32, Option<u8>, Option<u8>)> {
    let mut status = 0;
    // SAFETY: `status` is a place for the status that lives throughout the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let pid = u32::try_from(pid).ok().filter(|&pid| pid != 0)?;
    let byte = |value: i32| u8::try_from(value).ok();
    let code = if libc::WIFEXITED(status) { byte(libc::WEXITSTATUS(status)) } else { None };
    let signal = if libc::WIFSIGNALED(status) { byte(libc::WTERMSIG(status)) } else { None };
    Some((pid, code, signal))
}

/// Kills every process but this one.
pub(super) fn kill_all() {
    // SAFETY: takes no memory. -1 means every process but the first, which is the caller.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// Which of two descriptors, -1 for none, can be read or have ended, after waiting for one as long as `patience`.
pub(super) fn wait_readable(descriptors: [i32; 2], patience: Duration) -> io::Result<[bool; 2]> {
    let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let milliseconds = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the array has two elements and lives throughout the call.
    let done = unsafe { libc::poll(polled.as_mut_ptr(), 2, milliseconds) };
    if done < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
        return Err(io::Error::last_os_error());
    }
    Ok(polled.map(|entry| done > 0 && entry.revents != 0))
}

/// Ends the guest: QEMU takes a restart for the end.
pub(super) fn restart() -> ! {
    // SAFETY: takes no memory; only the first process of a guest gets here.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    loop {
        std::thread::park();
    }
}
