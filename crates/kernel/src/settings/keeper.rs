//! The process that undoes what a run changed.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes of the log of what to undo.
const LOG: usize = 1 << 20;
/// Longest record: a write to a pipe of at most so many bytes is whole or not at all.
const RECORD: usize = 4096;

/// How something is undone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Undo<'a> {
    /// This value is written to this file.
    Write(&'a Path, &'a str),
    /// swapoff(2) of this device or file.
    SwapOff(&'a Path),
    /// The loop device loses its file.
    DetachLoop(&'a Path),
    /// An empty folder is removed.
    RemoveFolder(&'a Path),
}

impl Undo<'_> {
    /// The record: a letter, the lengths of path and value, both of them, each with a 0 behind it.
    fn record(&self) -> io::Result<Vec<u8>> {
        let (letter, path, value) = match self {
            Undo::Write(path, value) => (b'W', *path, *value),
            Undo::SwapOff(path) => (b'S', *path, ""),
            Undo::DetachLoop(path) => (b'L', *path, ""),
            Undo::RemoveFolder(path) => (b'D', *path, ""),
        };
        let path = CString::new(path.as_os_str().as_bytes())?;
        let value = CString::new(OsStr::new(value).as_bytes())?;
        let mut record = vec![letter];
        for part in [&path, &value] {
            let length = u16::try_from(part.as_bytes_with_nul().len()).unwrap_or(u16::MAX);
            record.extend(length.to_ne_bytes());
        }
        record.extend(path.as_bytes_with_nul());
        record.extend(value.as_bytes_with_nul());
        if record.len() > RECORD {
            return Err(io::Error::other("a path that is too long to be remembered"));
        }
        Ok(record)
    }
}

/// The driver's side: dropping it has everything undone, and waits for that.
pub(super) struct Keeper {
    pid: libc::pid_t,
    pipe: Option<File>,
}

impl Keeper {
    /// Its process id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// Forks the keeper, which keeps `lock` until it is done.
    ///
    /// # Errors
    /// Those of pipe(2), mmap(2) and fork(2).
    pub(super) fn start(lock: &File) -> io::Result<Keeper> {
        let mut fds = [0; 2];
        let all = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: `fds` is good for writing two descriptors, which are fresh; a fresh mapping where the kernel
        // likes it; the child runs only `keep`, which needs nothing that another thread could have left
        // locked, and never returns.
        unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
                return Err(io::Error::last_os_error());
            }
            let (read, write) = (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]));
            let log = libc::mmap(std::ptr::null_mut(), LOG, all, flags, -1, 0);
            if log == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let pid = libc::fork();
            if pid == 0 {
                keep(read.as_raw_fd(), lock.as_raw_fd(), log.cast());
            }
            let failed = io::Error::last_os_error();
            libc::munmap(log, LOG);
            if pid < 0 { Err(failed) } else { Ok(Keeper { pid, pipe: Some(File::from(write)) }) }
        }
    }

    /// Has this undone in the end, before everything that was remembered so far. It is safe with the keeper
    /// once this returns.
    pub(super) fn remember(&mut self, undo: &Undo<'_>) -> io::Result<()> {
        let record = undo.record()?;
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(&record),
            None => Err(io::Error::other("the keeper is done")),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.pipe = None;
        // SAFETY: the keeper is a child of this process that nobody waited for.
        unsafe {
            while libc::waitpid(self.pid, std::ptr::null_mut(), 0) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
    }
}

/// The keeper's own life: collects records until the pipe closes, and undoes them.
///
/// # Safety
/// To be called in a fresh fork; `log` is good for [`LOG`] bytes.
unsafe fn keep(pipe: RawFd, lock: RawFd, log: *mut u8) -> ! {
    // SAFETY: calls that concern this process alone, which has one thread and its own copies of everything.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_IGN);
        }
        for fd in (0..4096).filter(|fd| ![2, pipe, lock].contains(fd)) {
            libc::close(fd);
        }
        let log = std::slice::from_raw_parts_mut(log, LOG);
        let mut length = 0;
        loop {
            let room = log.len() - length;
            let got = libc::read(pipe, log[length..].as_mut_ptr().cast(), room);
            match got {
                1.. => length += got as usize,
                0 => break,
                _ if *libc::__errno_location() == libc::EINTR => {}
                _ => break,
            }
        }
        libc::_exit(i32::from(!undo_all(&log[..length])));
    }
}

/// A record of the log: its letter, its path, its value, both with a 0 behind them.
struct Record<'l> {
    letter: u8,
    path: &'l [u8],
    value: &'l [u8],
}

/// The first record of a log, and what is behind it.
fn split(log: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (&letter, rest) = log.split_first()?;
    let (lengths, rest) = rest.split_at_checked(4)?;
    let length = |at: usize| usize::from(u16::from_ne_bytes([lengths[at], lengths[at + 1]]));
    let (path, rest) = rest.split_at_checked(length(0))?;
    let (value, rest) = rest.split_at_checked(length(2))?;
    (path.last() == Some(&0) && value.last() == Some(&0)).then_some((Record { letter, path, value }, rest))
}

/// Undoes a log, newest first; `false` if something could not be undone.
fn undo_all(log: &[u8]) -> bool {
    let mut offsets = [0u32; 8192];
    let mut count = 0;
    let mut rest = log;
    while let Some((_, behind)) = split(rest) {
        if let Some(offset) = offsets.get_mut(count) {
            *offset = (log.len() - rest.len()) as u32;
            count += 1;
        }
        rest = behind;
    }
    let mut all = true;
    for &offset in offsets[..count].iter().rev() {
        if let Some((record, _)) = split(&log[offset as usize..]) {
            all &= undo(&record);
        }
    }
    all
}

/// Undoes one record. Says on stderr what could not be undone.
fn undo(record: &Record<'_>) -> bool {
    let path = record.path.as_ptr().cast();
    // SAFETY: path and value end with a 0; the descriptors are opened here.
    let done = unsafe {
        match record.letter {
            b'W' => write_value(path, record.value),
            b'S' => libc::swapoff(path) == 0 || *libc::__errno_location() == libc::EINVAL,
            b'L' => {
                let fd = libc::open(path, libc::O_RDONLY | libc::O_CLOEXEC);
                // ENXIO: it has none any more, as it lets go of it by itself once nobody uses it.
                fd >= 0 && (libc::ioctl(fd, LOOP_CLR_FD) == 0 || *libc::__errno_location() == libc::ENXIO)
            }
            b'D' => libc::rmdir(path) == 0 || *libc::__errno_location() == libc::ENOENT,
            _ => true,
        }
    };
    if !done {
        say(&[
            b"mapcount: cannot restore ",
            &record.path[..record.path.len() - 1],
            b" ",
            &record.value[..record.value.len() - 1],
            b"\n",
        ]);
    }
    done
}

/// LOOP_CLR_FD (linux/loop.h).
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;

/// # Safety
/// `path` ends with a 0, and so does `value`.
unsafe fn write_value(path: *const libc::c_char, value: &[u8]) -> bool {
    // SAFETY: the caller's promise; the descriptor is opened here.
    unsafe {
        let fd = libc::open(path, libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let length = value.len() - 1;
        let written = libc::write(fd, value.as_ptr().cast(), length) == length as isize;
        libc::close(fd);
        written
    }
}

fn say(parts: &[&[u8]]) {
    for part in parts {
        // SAFETY: `part` is good for reading so many bytes.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Undo, split};

    #[test]
    fn records_stand_behind_each_other() {
        let mut log = Undo::Write(Path::new("/a"), "one").record().expect("short");
        log.extend(Undo::SwapOff(Path::new("/dev/b")).record().expect("short"));
        let (first, rest) = split(&log).expect("a record");
        assert_eq!((first.letter, first.path, first.value), (b'W', &b"/a\0"[..], &b"one\0"[..]));
        let (second, rest) = split(rest).expect("a record");
        assert_eq!((second.letter, second.path, second.value), (b'S', &b"/dev/b\0"[..], &b"\0"[..]));
        assert!(rest.is_empty());
        for cut in 0..log.len() / 2 {
            assert!(split(&log[..cut]).is_none_or(|(record, _)| record.letter == b'W'));
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let long = "x".repeat(5000);
        assert!(Undo::RemoveFolder(Path::new(&long)).record().is_err());
    }
}
