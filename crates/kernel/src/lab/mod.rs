//! The lab: boots kernels in QEMU and runs this very program in them.
//!
//! A guest gets an initramfs with the program, its libraries and the files that its command names. Its first
//! process, which is this program too, runs the command and sends what it writes over the second serial port;
//! the first one is the console's. It asks no more of a kernel than initramfs, 8250 serial ports, procfs, sysfs
//! and tmpfs.

mod boot;
mod cpio;
pub mod debian;
mod elf;
mod frame;
pub mod guest;
mod image;
mod initramfs;
mod inputs;
mod job;
mod qemu;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::Unavailable;
pub use boot::{Event, Outcome, Report};
use boot::{Limits, Start, boot};
pub use frame::Ended;
pub use image::Image;
pub use job::Job;
pub use qemu::Accelerator;
use qemu::Qemu;

/// How guests are run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Memory of a guest, in MiB.
    pub memory: u64,
    /// How long a guest may run.
    pub timeout: Duration,
    /// Who executes guests; the best that this machine has where none is given.
    pub accelerator: Option<Accelerator>,
    /// More words for the kernel's command line.
    pub append: String,
    /// Most guests at a time; as many as memory allows where none is given.
    pub jobs: Option<usize>,
}

/// How long a guest may say nothing: guests say every second that they are alive, and one that boots takes a
/// few seconds, or many where several boot side by side on few processors.
const SILENCE: Duration = Duration::from_secs(120);
/// Memory that QEMU takes beside its guest's, in MiB.
const BESIDE: u64 = 256;

/// Runs `job`, whose command gets `stdin`, on each of `images`, several at a time. `tell` hears what guests say,
/// with the image's index; the events of one guest come in order, and the last one is [`Event::Over`]. Guests
/// are ended when `is_stopped` says so.
///
/// # Errors
/// Where QEMU is missing, a file cannot be read, or memory is too little for one guest.
pub fn run(
    images: &[Image],
    (job, stdin): (&Job, Option<Vec<u8>>),
    options: &Options,
    is_stopped: &(dyn Fn() -> bool + Sync),
    tell: &mut dyn FnMut(usize, Event),
) -> Result<(), Unavailable> {
    let qemu = Qemu::find(options.memory, &options.append)?;
    let jobs = at_a_time(images.len(), options)?;
    let folder = Folder::new()?;
    let initramfs = folder.0.join("initramfs");
    fs::write(&initramfs, initramfs::initramfs(job, stdin)?).map_err(|error| {
        Unavailable::new(
            format!("{} cannot be written: {error}", initramfs.display()),
            "make room, or set TMPDIR",
        )
    })?;
    let lab = Lab { qemu, options, initramfs: &initramfs, folder: &folder.0, is_stopped };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, lab) = (sender.clone(), &next, &lab);
            // A guest's QEMU dies with the thread that started it, so the thread stays with it to its end.
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(image) = images.get(index) else { return };
                    lab.run_guest(index, image, &sender);
                }
            });
        }
        drop(sender);
        for (index, event) in receiver {
            tell(index, event);
        }
    });
    Ok(())
}

/// How many of `count` guests run side by side.
fn at_a_time(count: usize, options: &Options) -> Result<usize, Unavailable> {
    let one = options.memory + BESIDE;
    let available = available_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    // Where it is not known, one guest is tried.
    let fitting = usize::try_from(available.unwrap_or(one) / one).unwrap_or(usize::MAX);
    if fitting == 0 {
        let what = format!("{} MiB of memory are available, and a guest takes {one}", available.unwrap_or(0));
        return Err(Unavailable::new(what, "end other programs, or give guests less with --memory"));
    }
    // Guests have two processors each; with many more than there are, all of them wait.
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = options.jobs.unwrap_or((2 * processors).max(4));
    Ok(count.min(fitting).min(most))
}

/// What /proc/meminfo says is available, in MiB.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

/// The folder of a run; it is removed when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, Unavailable> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mapcount-lab-{}-{number}", std::process::id()));
        let made = fs::create_dir_all(&path);
        made.map_err(|error| Unavailable::new(format!("{}: {error}", path.display()), "set TMPDIR"))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What all guests of a run have in common.
struct Lab<'a> {
    qemu: Qemu,
    options: &'a Options,
    initramfs: &'a Path,
    folder: &'a Path,
    is_stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Lab<'_> {
    fn run_guest(&self, index: usize, image: &Image, sender: &Sender<(usize, Event)>) {
        // The receiver lives until all senders are dropped.
        let mut tell = |event| drop(sender.send((index, event)));
        let accelerator = self.options.accelerator.unwrap_or_else(Accelerator::best);
        let mut report = self.boot(index, image, accelerator, &mut tell);
        let may_change = self.options.accelerator.is_none() && accelerator == Accelerator::Kvm;
        if may_change && report.booted.is_none() && matches!(report.outcome, Outcome::Lost { .. }) {
            tell(Event::Note("did not boot with KVM; software emulation is tried".to_owned()));
            report = self.boot(index, image, Accelerator::Tcg, &mut tell);
        }
        tell(Event::Over(report));
    }

    fn boot(
        &self,
        index: usize,
        image: &Image,
        accelerator: Accelerator,
        tell: &mut dyn FnMut(Event),
    ) -> Report {
        let start = Start {
            qemu: &self.qemu,
            accelerator,
            kernel: &image.path,
            initramfs: self.initramfs,
            folder: self.folder.join(format!("{index}-{}", accelerator.word())),
            limits: Limits { whole: self.options.timeout, silence: SILENCE },
        };
        boot(&start, self.is_stopped, tell)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Options, at_a_time, available_memory};

    fn options(memory: u64, jobs: Option<usize>) -> Options {
        let timeout = Duration::from_secs(1);
        Options { memory, timeout, accelerator: None, append: String::new(), jobs }
    }

    #[test]
    fn memory_decides_how_many_run_side_by_side() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2097152 kB\n"), Some(2048));
        assert_eq!(available_memory("MemTotal: 9 kB\n"), None);
        let refused = at_a_time(1, &options(1 << 40, None)).expect_err("too much").to_string();
        assert!(refused.contains("--memory"), "{refused}");
        assert_eq!(at_a_time(3, &options(1, Some(2))), Ok(2));
        assert_eq!(at_a_time(1, &options(1, None)), Ok(1));
    }
}
