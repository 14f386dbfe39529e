//! What /proc says of processes and pages.

pub(crate) mod smaps;
mod vmstat;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::Unavailable;
use crate::observer::Window;
use crate::vmemmap::{FRAME_BITS, PAGE};

pub(crate) use smaps::{Areas, read_areas};
pub(crate) use vmstat::Vmstat;

/// The words of `/proc/kpageflags`, bit by bit (include/uapi/linux/kernel-page-flags.h, v7.2); bits keep their
/// numbers for ever.
pub(crate) mod kpf {
    /// An anonymous page.
    pub(crate) const ANON: u64 = 1 << 12;
    /// In the swap cache, together with [`SWAPBACKED`].
    pub(crate) const SWAPCACHE: u64 = 1 << 13;
    /// Anonymous or shmem.
    pub(crate) const SWAPBACKED: u64 = 1 << 14;
    /// The head of a compound page.
    pub(crate) const HEAD: u64 = 1 << 15;
    /// A tail of a compound page.
    pub(crate) const TAIL: u64 = 1 << 16;
    /// A hugetlb page.
    pub(crate) const HUGE: u64 = 1 << 17;
    /// Merged by KSM.
    pub(crate) const KSM: u64 = 1 << 21;
    /// The zero page or the huge zero folio (4.0 on).
    pub(crate) const ZERO: u64 = 1 << 24;
}

/// The flags, the flags of every page in the system.
pub(crate) const KPAGEFLAGS: &str = "/proc/kpageflags";
/// The map counts of every page in the system.
pub(crate) const KPAGECOUNT: &str = "/proc/kpagecount";

/// A file of /proc with a word for each frame or page.
pub(crate) struct Words {
    file: File,
    path: String,
    bytes: Vec<u8>,
}

impl Words {
    /// Opens `path`.
    pub(crate) fn open(path: &str) -> io::Result<Words> {
        Ok(Words { file: File::open(path)?, path: path.to_owned(), bytes: Vec::new() })
    }

    /// Opens `path`, which is there for root on kernels that were configured so.
    pub(crate) fn need(path: &str) -> Result<Words, Unavailable> {
        Words::open(path).map_err(|error| unreadable(path, &error))
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Appends `count` words from word `first` on to `into`; what the file does not reach to is 0.
    pub(crate) fn read(&mut self, first: u64, count: u64, into: &mut Vec<u64>) -> Result<(), Unavailable> {
        let mut done = 0;
        while done < count {
            let part = (count - done).min(1 << 16);
            self.bytes.resize(part as usize * 8, 0);
            let mut filled = 0;
            while filled < self.bytes.len() {
                match self.file.read_at(&mut self.bytes[filled..], (first + done) * 8 + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The process is gone; its file is empty.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => break,
                    Err(error) => return Err(unreadable(&self.path, &error)),
                }
            }
            self.bytes[filled..].fill(0);
            into.extend(
                self.bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))),
            );
            done += part;
        }
        Ok(())
    }
}

/// The flags of /proc/kpageflags that mean what they are to mean: from 6.10 to 6.13 every anonymous page is shown as one of
/// KSM's (`stable_page_flags()`, fs/proc/page.c, v6.12), which a page of this process that was never merged shows.
pub(crate) fn true_flags() -> u64 {
    let page = std::hint::black_box(vec![1u8; 2 * PAGE as usize]);
    let number = page.as_ptr().addr() as u64 / PAGE + 1;
    let word = |path: &str, index: u64| {
        let mut words = Vec::new();
        Words::open(path).ok()?.read(index, 1, &mut words).ok()?;
        words.first().copied()
    };
    let frame = word("/proc/self/pagemap", number).map(|word| word & FRAME_BITS);
    let flags = frame.and_then(|frame| word(KPAGEFLAGS, frame)).unwrap_or(0);
    drop(page);
    !(flags & kpf::KSM)
}

pub(crate) fn unreadable(path: &str, error: &io::Error) -> Unavailable {
    let remedy = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "run as root (CAP_SYS_ADMIN)",
        Some(libc::ENOENT) => "use a kernel with CONFIG_PROC_PAGE_MONITOR=y and mount procfs on /proc",
        _ => "see whether the kernel's log says more",
    };
    Unavailable::new(format!("{path}: {error}"), remedy)
}

/// The open files of a process that is looked at.
pub(crate) struct Process {
    /// Its process id.
    pub(crate) pid: u32,
    smaps: File,
    /// A word for each page of its addresses.
    pub(crate) pagemap: Words,
    /// The number of its address space, where the kernel gives them numbers and it could be read.
    pub(crate) mm_id: Option<u32>,
}

impl Process {
    /// Opens the files of `pid`; `None` if there is no such process.
    pub(crate) fn open(pid: u32) -> Result<Option<Process>, Unavailable> {
        let gone = |error: &io::Error| {
            matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
                && std::fs::metadata(format!("/proc/{pid}")).is_err()
        };
        let path = format!("/proc/{pid}/smaps");
        let smaps = match File::open(&path) {
            Ok(file) => file,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let path = format!("/proc/{pid}/pagemap");
        match Words::open(&path) {
            Ok(pagemap) => Ok(Some(Process { pid, smaps, pagemap, mm_id: None })),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// The areas in each of `windows`, which are in the order of their addresses, and what smaps says of them
    /// together. `None` if the process has no memory any more.
    pub(crate) fn areas(
        &self,
        windows: &[Window],
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Vec<Areas>>, Unavailable> {
        read_areas(&self.smaps, windows, buffer)
            .map_err(|error| unreadable(&format!("/proc/{}/smaps", self.pid), &error))
    }

    /// Appends the words of pagemap for the pages of `window` to `into`.
    pub(crate) fn pages(&mut self, window: &Window, into: &mut Vec<u64>) -> Result<(), Unavailable> {
        self.pagemap.read(window.start / PAGE, window.pages, into)
    }
}
