//! The end of a process.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::shared::{HOLDS, Holder, Op, Shared, request};
use super::worker::UNREGISTER_BUFFERS;
use super::{Live, Subject, Trouble};

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A descriptor for a process, which shows when it ends; `None` on kernels before 5.3.
pub(super) fn pidfd(pid: libc::pid_t) -> Option<OwnedFd> {
    // SAFETY: the call takes numbers; what it returns is a fresh descriptor.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

impl Subject {
    /// Has a process exit, and waits until its memory is gone and what its files held is dropped.
    pub(super) fn exit_process(&mut self, name: &str) -> Result<(), Trouble> {
        let Some(process) = self.live.remove(name) else { return Ok(()) };
        // Rings let go of their pages some time after their file was closed. Who holds them a little longer
        // can tell them to do so, once the memory is gone: the order is that of exit(2).
        let (rings, all) = rings(&process, self.zygote.shared());
        let told = self.zygote.tell(process.slot, &request(Op::Exit, [0; 6]));
        if told.is_err() || !gone(&process, PATIENCE) {
            // SAFETY: the process was a worker of this subject; its number cannot have been reused while
            // nobody has seen it end.
            unsafe { libc::kill(process.pid, libc::SIGKILL) };
            if !gone(&process, PATIENCE) {
                return Err(Trouble::Lost(format!("{name}: exit: the process does not end")));
            }
        }
        self.zygote.clear(process.slot);
        for ring in &rings {
            // SAFETY: the operation takes no argument.
            unsafe {
                libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), UNREGISTER_BUFFERS, 0usize, 0);
            }
        }
        if !all {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// Copies of the rings of a process that have buffers, and whether these are all.
fn rings(process: &Live, shared: *mut Shared) -> (Vec<OwnedFd>, bool) {
    let mut rings = Vec::new();
    let mut all = true;
    if process.held.iter().all(|held| !held.is_pin) {
        return (rings, all);
    }
    for index in 0..HOLDS {
        // SAFETY: the worker waits for a request, so that nobody else uses its slot.
        let hold = unsafe { (*shared).slots[process.slot].holds[index] };
        if hold.holder != Holder::Ring {
            continue;
        }
        let copy = process.pidfd.as_ref().and_then(|pidfd| {
            // SAFETY: the call takes numbers; what it returns is a fresh descriptor.
            unsafe {
                let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), hold.fds[0], 0);
                (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
            }
        });
        all &= copy.is_some();
        rings.extend(copy);
    }
    (rings, all)
}

/// Waits for the end of a process.
fn gone(process: &Live, patience: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < patience {
        match &process.pidfd {
            Some(pidfd) => {
                let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one element, good for reading and writing.
                if unsafe { libc::poll(&raw mut poll, 1, 1000) } == 1 {
                    return true;
                }
            }
            None => {
                // SAFETY: signal 0 only asks whether the process is there.
                if unsafe { libc::kill(process.pid, 0) } < 0
                    && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
                {
                    return true;
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
    false
}
