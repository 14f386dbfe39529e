//! A disk to swap to.
//!
//! It has to be a block device that writes behind the kernel's back: with one that is done at once, as zram is,
//! pages leave the swap cache again before anybody can look.

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use super::files::{scratch_file, write_at};
use super::{Options, Trouble};
use crate::Unavailable;
use crate::settings::{Settings, Undo};

/// Bytes of the file to swap to.
const SIZE: u64 = 512 << 20;
const PAGE: usize = 4096;

/// LOOP_CTL_GET_FREE, LOOP_SET_FD and LOOP_CLR_FD (linux/loop.h).
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_SET_FD: libc::Ioctl = 0x4c00;
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;

/// The swap of the subject.
pub(super) struct Swap {
    options: Options,
    /// The device, once it is ready to be used, and the open loop device where it is one.
    device: Option<(PathBuf, Option<File>)>,
    on: bool,
    /// A swapoff that goes on.
    leaving: Option<JoinHandle<io::Result<()>>>,
}

impl Swap {
    pub(super) const fn new(options: Options) -> Swap {
        Swap { options, device: None, on: false, leaving: None }
    }

    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Why there can be none with room for so many pages, if that is known beforehand.
    pub(super) fn lacks(&self, room: Option<u64>) -> Option<&'static str> {
        if !Path::new("/proc/swaps").exists() {
            return Some("this kernel has no swap");
        }
        let loops = Path::new("/dev/loop-control").exists();
        if self.options.swap.is_none() && !loops {
            return Some("there is no device to swap to: name one in MAPCOUNT_SWAP, or have loop devices");
        }
        room.is_some_and(|room| room >= self.pages()).then_some("the device to swap to is smaller")
    }

    /// Pages of the device, with that of the header.
    fn pages(&self) -> u64 {
        let bytes = self.options.swap.as_ref().map_or(Ok(SIZE), |device| size_of_device(device));
        bytes.unwrap_or(0) / PAGE as u64
    }

    /// swapon(2) with room for so many pages, or as many as the device has; it is made ready the first time.
    pub(super) fn on(&mut self, room: Option<u64>, settings: &mut Settings) -> io::Result<()> {
        if self.device.is_none() {
            self.device = Some(self.prepare(settings)?);
        }
        let Some((device, _)) = &self.device else { return Ok(()) };
        let pages = room.map_or_else(|| self.pages(), |room| room + 1);
        // Each time, as whoever prepares a device does: that the device is closed again drains the batches for the LRU.
        let file = OpenOptions::new().write(true).open(device)?;
        write_at(&file, &header(pages), 0)?;
        file.sync_all()?;
        let path = CString::new(device.as_os_str().as_bytes())?;
        settings.undo(&Undo::SwapOff(device))?;
        // SAFETY: the path ends with a 0.
        if unsafe { libc::swapon(path.as_ptr(), 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        self.on = true;
        Ok(())
    }

    /// swapoff(2), if it is on.
    pub(super) fn off(&mut self) -> Result<io::Result<()>, Trouble> {
        let Some(path) = self.path()? else { return Ok(Ok(())) };
        let done = swapoff(&path);
        self.on = done.is_err();
        Ok(done)
    }

    /// The same, while others go on: most of it is waiting until no CPU can know the device any more. What depends on
    /// whether there is swap has to wait for [`Swap::gone`].
    pub(super) fn leave(&mut self) -> Result<(), Trouble> {
        let Some(path) = self.path()? else { return Ok(()) };
        self.on = false;
        self.leaving = Some(std::thread::spawn(move || swapoff(&path)));
        Ok(())
    }

    /// Waits for the end of [`Swap::leave`].
    pub(super) fn gone(&mut self) -> Result<(), Trouble> {
        let Some(leaving) = self.leaving.take() else { return Ok(()) };
        let failed = |what: &dyn std::fmt::Display| Trouble::Lost(format!("swapoff: {what}"));
        match leaving.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(_) => Err(failed(&"its thread ended")),
        }
    }

    /// The device while it is on.
    fn path(&self) -> Result<Option<CString>, Trouble> {
        let Some((device, _)) = self.device.as_ref().filter(|_| self.on) else { return Ok(None) };
        let path = CString::new(device.as_os_str().as_bytes())
            .map_err(|_| Unavailable::new("a device whose name has a 0", "name another one"))?;
        Ok(Some(path))
    }

    /// What was sent to the disk is written some time later, and until then a folio has one more reference.
    pub(super) fn wait_for_writes(&self) {
        let written = || {
            // CPUs count for themselves first; this adds up what they have (4.6 on).
            let is_exact = fs::write("/proc/sys/vm/stat_refresh", "1").is_ok();
            let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
            (is_exact, text.lines().any(|line| line.trim_end() == "nr_writeback 0"))
        };
        for round in 0..100 {
            let (is_exact, written) = written();
            if written && (is_exact || round > 0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(if is_exact {
                (1 << round.min(4)).min(20)
            } else {
                20
            }));
        }
    }

    fn prepare(&self, settings: &mut Settings) -> io::Result<(PathBuf, Option<File>)> {
        if let Some(device) = &self.options.swap {
            return Ok((device.clone(), None));
        }
        let backing = scratch_file(&self.options.scratch)?;
        backing.set_len(SIZE)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        // SAFETY: these operations take a number or a descriptor that is open.
        unsafe {
            let number = libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE);
            if number < 0 {
                return Err(io::Error::last_os_error());
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            settings.undo(&Undo::DetachLoop(&path))?;
            if libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, backing.as_raw_fd()) < 0 {
                return Err(io::Error::last_os_error());
            }
            // Large folios go out whole to a disk without a head to move only.
            let rotational = format!("/sys/block/loop{number}/queue/rotational");
            if fs::exists(&rotational)? {
                settings.set(rotational, "0")?;
            }
            Ok((path, Some(device)))
        }
    }
}

fn swapoff(path: &CStr) -> io::Result<()> {
    // SAFETY: the path ends with a 0.
    if unsafe { libc::swapoff(path.as_ptr()) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Drop for Swap {
    fn drop(&mut self) {
        drop(self.gone());
        if let Ok(Ok(())) = self.off()
            && let Some((_, Some(device))) = &self.device
        {
            // SAFETY: the operation takes no argument; the device is one that this object attached a file to.
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) };
        }
    }
}

fn size_of_device(device: &Path) -> io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    File::open(device)?.seek(SeekFrom::End(0))
}

/// The first page of a swap area: a version, the last page, and a signature at its end
/// (`union swap_header`, include/linux/swap.h).
fn header(pages: u64) -> [u8; PAGE] {
    let mut header = [0; PAGE];
    let last = u32::try_from(pages.saturating_sub(1)).unwrap_or(u32::MAX - 1);
    header[1024..1028].copy_from_slice(&1u32.to_ne_bytes());
    header[1028..1032].copy_from_slice(&last.to_ne_bytes());
    header[PAGE - 10..].copy_from_slice(b"SWAPSPACE2");
    header
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn a_swap_area_is_signed() {
        let header = header(1024);
        assert_eq!(&header[4086..], b"SWAPSPACE2");
        assert_eq!(header[1024..1032], [1, 0, 0, 0, 255, 3, 0, 0]);
    }
}
