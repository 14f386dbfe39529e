//! The process that every worker comes from: a fork of this program, taken while it is small, with no more
//! than one thread, and that dies with it. Workers are its children and die with it in turn.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::raw::install_fault_handler;
use super::shared::{PATH, Reply, Request, SLOTS, Shared, bytes, words};
use super::worker::spawn;
use crate::thp;

/// Seconds after which a worker that does not answer counts as hung.
const PATIENCE: libc::time_t = 60;

/// The driver's side.
pub(super) struct Zygote {
    pid: libc::pid_t,
    shared: *mut Shared,
    /// The driver's end of the zygote's own channel, then of each slot's.
    own: OwnedFd,
    slots: Vec<OwnedFd>,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) enum Silent {
    /// The process is gone.
    Gone,
    /// It did not answer in time.
    Hung,
    /// The channel broke.
    Broken(io::Error),
}

impl Zygote {
    /// Forks the zygote.
    ///
    /// # Errors
    /// Where there is no memory, no descriptor or no process left.
    pub(super) fn start() -> io::Result<Zygote> {
        let (own, theirs) = channel()?;
        let mut slots = Vec::with_capacity(SLOTS);
        let mut workers = Vec::with_capacity(SLOTS);
        for _ in 0..SLOTS {
            let (ours, worker) = channel()?;
            slots.push(ours);
            workers.push(worker);
        }
        let shared = Shared::map()?;
        for (slot, worker) in workers.iter().enumerate() {
            // SAFETY: the region is fresh and known to nobody else; `slot` is in bounds.
            unsafe { (*shared).slots[slot].channel = worker.as_raw_fd() };
        }
        // SAFETY: getpid has no conditions.
        let parent = unsafe { libc::getpid() };
        let keep: Vec<RawFd> = workers.iter().chain([&theirs]).map(AsRawFd::as_raw_fd).collect();
        // SAFETY: the child runs only `live`, which calls nothing that another thread of this program could
        // have left locked, and never returns.
        match unsafe { libc::fork() } {
            -1 => {
                let error = io::Error::last_os_error();
                // SAFETY: no child has it.
                unsafe { Shared::unmap(shared) };
                Err(error)
            }
            // SAFETY: this is the child; the region and the descriptors are its own copies.
            0 => unsafe { live(shared, theirs.as_raw_fd(), &keep, parent) },
            pid => {
                thp::forbid(true);
                Ok(Zygote { pid, shared, own, slots })
            }
        }
    }

    /// The process id, for who counts what the subject itself takes.
    pub(super) const fn pid(&self) -> libc::pid_t {
        self.pid
    }

    /// The shared region.
    pub(super) const fn shared(&self) -> *mut Shared {
        self.shared
    }

    /// Says which file the next mapping is of.
    pub(super) fn set_path(&self, path: &str) {
        let mut bytes = [0; PATH];
        let length = path.len().min(PATH - 1);
        bytes[..length].copy_from_slice(&path.as_bytes()[..length]);
        // SAFETY: the region is mapped, and no worker is at work while the driver is.
        unsafe { (*self.shared).path = bytes };
    }

    /// Makes a worker in a slot that has none; returns its process id.
    pub(super) fn spawn(&self, slot: usize) -> Result<libc::pid_t, Silent> {
        let [pid, _] = ask(&self.own, &[slot as u64, 0, 0, 0, 0, 0, 0])?;
        if pid < 0 {
            return Err(Silent::Broken(io::Error::from_raw_os_error(-pid as i32)));
        }
        self.ready(slot)?;
        Ok(pid as libc::pid_t)
    }

    /// Waits until the new worker of a slot is ready.
    pub(super) fn ready(&self, slot: usize) -> Result<(), Silent> {
        receive(&self.slots[slot]).map(|_| ())
    }

    /// Sends a request to the worker of a slot and waits for the answer.
    pub(super) fn ask(&self, slot: usize, request: &Request) -> Result<Reply, Silent> {
        ask(&self.slots[slot], request)
    }

    /// Sends a request that has no answer.
    pub(super) fn tell(&self, slot: usize, request: &Request) -> Result<(), Silent> {
        send(&self.slots[slot], request)
    }

    /// Throws away what a worker that died left unread.
    pub(super) fn clear(&self, slot: usize) {
        let mut buffer = [0u8; 64];
        for fd in [self.slots[slot].as_raw_fd()] {
            // SAFETY: `buffer` is good for writing so many bytes.
            while unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) } > 0
            {
            }
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // SAFETY: the zygote is a child of this process that was not waited for, so that the number is its.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            while libc::waitpid(self.pid, std::ptr::null_mut(), 0) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
            Shared::unmap(self.shared);
        }
    }
}

/// Two ends; the first one does not wait for ever.
fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` is good for writing two descriptors, which are fresh and owned by nobody else.
    let (ours, theirs) = unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    };
    let patience = libc::timeval { tv_sec: PATIENCE, tv_usec: 0 };
    // SAFETY: the option takes a timeval, which `patience` is.
    let set = unsafe {
        libc::setsockopt(
            ours.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const patience).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok((ours, theirs)) }
}

fn ask(channel: &OwnedFd, request: &Request) -> Result<Reply, Silent> {
    send(channel, request)?;
    receive(channel)
}

fn send(channel: &OwnedFd, request: &Request) -> Result<(), Silent> {
    let message: [u8; 56] = bytes(request);
    loop {
        // SAFETY: `message` is good for reading so many bytes.
        let sent = unsafe {
            libc::send(channel.as_raw_fd(), message.as_ptr().cast(), message.len(), libc::MSG_NOSIGNAL)
        };
        if sent == message.len() as isize {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => return Err(Silent::Gone),
            _ => return Err(Silent::Broken(error)),
        }
    }
}

/// An answer. A signal does not end the wait: the step that is under way comes to its end.
fn receive(channel: &OwnedFd) -> Result<Reply, Silent> {
    let mut message = [0u8; 16];
    loop {
        // SAFETY: `message` is good for writing so many bytes.
        let got = unsafe { libc::recv(channel.as_raw_fd(), message.as_mut_ptr().cast(), message.len(), 0) };
        if got == message.len() as isize {
            let words: [u64; 2] = words(&message);
            return Ok(words.map(u64::cast_signed));
        }
        if got >= 0 {
            return Err(Silent::Gone);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Err(Silent::Hung),
            _ => return Err(Silent::Broken(error)),
        }
    }
}

/// The zygote's own life.
///
/// # Safety
/// To be called in a fresh fork with one thread; `channel` and `keep` are descriptors of it.
unsafe fn live(shared: *mut Shared, channel: RawFd, keep: &[RawFd], parent: libc::pid_t) -> ! {
    // SAFETY: the calls concern this process alone, which has one thread.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != parent {
            libc::_exit(0);
        }
        // The driver has forbidden it, if this is not its first zygote.
        thp::forbid(false);
        // A terminal's Ctrl-C is for the driver: it ends the step and then its children.
        libc::setpgid(0, 0);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        close_others(keep);
        (*shared).zygote = libc::getpid();
        touch_all(shared);
        install_fault_handler();
        leave_rseq();
        let mut message = [0u8; 56];
        loop {
            let got = libc::recv(channel, message.as_mut_ptr().cast(), message.len(), 0);
            if got != message.len() as isize {
                libc::_exit(0);
            }
            let [slot, ..] = words::<7>(&message);
            let reply = [spawn(shared, slot as usize % SLOTS, SLOTS).cast_unsigned(), 0];
            let reply: [u8; 16] = bytes(&reply);
            libc::send(channel, reply.as_ptr().cast(), reply.len(), libc::MSG_NOSIGNAL);
        }
    }
}

/// Closes every descriptor but these, and lets the standard ones lead nowhere.
unsafe fn close_others(keep: &[RawFd]) {
    const LISTED: usize = 4096;
    let mut kept = [false; LISTED];
    for &fd in keep {
        if let Some(kept) = kept.get_mut(fd as usize) {
            *kept = true;
        }
    }
    // SAFETY: descriptors of a process that is a fork of its own; none of them is used again here.
    unsafe {
        let nowhere = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            if nowhere >= 0 {
                libc::dup2(nowhere, fd);
            }
        }
        for fd in (3..LISTED).filter(|fd| !kept[*fd]) {
            libc::close(fd as RawFd);
        }
    }
}

/// Touches the whole region, so that no worker is the first to map a page of it.
unsafe fn touch_all(shared: *mut Shared) {
    let start = shared.cast::<u8>();
    for offset in (0..size_of::<Shared>()).step_by(4096) {
        // SAFETY: within the region; writing what is there changes nothing.
        unsafe {
            let byte = start.add(offset);
            byte.write_volatile(byte.read_volatile());
        }
    }
}

/// Ends this thread's restartable sequences: the kernel would write to their place, which every fork would
/// have to copy.
unsafe fn leave_rseq() {
    const UNREGISTER: libc::c_long = 1;
    const SIGNATURE: libc::c_long = 0x5305_3053;
    const SIZES: [libc::c_long; 3] = [32, 28, 40];
    // SAFETY: the name is that of glibc's variable, an offset from the thread pointer; where the C library
    // has none, nothing was registered.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        if offset.is_null() {
            return;
        }
        let thread: usize;
        std::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly));
        let place = thread.wrapping_add_signed(*offset);
        for size in SIZES {
            if libc::syscall(libc::SYS_rseq, place, size, UNREGISTER, SIGNATURE) == 0 {
                return;
            }
        }
    }
}
