//! The statistics of the whole system, without what this program itself adds to them.
//!
//! The statistics count every mapped page of the machine. The anonymous pages that processes of this program map
//! besides the scenario's are counted before and after the statistics are read, and taken off: each once, by its
//! frame, since fork left them in several processes, of which any may be the last to map one. Pages of the
//! driver's files are all touched once, so that they stay the same.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use mapcount_script::trace::System;

use crate::Unavailable;
use crate::procfs::Vmstat;

/// Bits of a word of pagemap: the page is there; it is a file's; its frame
/// (Documentation/admin-guide/mm/pagemap.rst, v6.18).
const PRESENT: u64 = 1 << 63;
const FILE: u64 = 1 << 61;
const FRAME: u64 = (1 << 55) - 1;
const PAGE: u64 = 4096;
/// From here on Linux puts programs and libraries; the scenario's windows end below.
const PROGRAMS: u64 = 1 << 46;

/// How often the statistics are read to learn whether somebody else changes them, and how far apart.
const READINGS: u32 = 6;
const APART: Duration = Duration::from_millis(15);
/// How often a reading is repeated while the driver's own memory changes.
const ATTEMPTS: u32 = 5;

/// Longest area whose pages are counted. A longer one is an area for khugepaged to look at, which nobody touches,
/// and pagemap has a word for each of its pages, mapped or not.
const LONGEST: u64 = 1 << 30;

/// Reads them.
pub(crate) struct Statistics {
    vmstat: Vmstat,
    maps: String,
    words: Vec<u8>,
    frames: Vec<u64>,
    /// The frame of the zero page, which no statistic counts.
    zero_frame: u64,
    start: System,
}

impl Statistics {
    /// Opens them, and touches what of the program's files is not mapped yet.
    pub(crate) fn new() -> Result<Statistics, Unavailable> {
        let mut statistics = Statistics {
            vmstat: Vmstat::open()?,
            maps: String::with_capacity(64 << 10),
            words: vec![0; 64 << 10],
            frames: Vec::with_capacity(16 << 10),
            zero_frame: zero_frame()?,
            start: System::default(),
        };
        statistics.touch_files();
        Ok(statistics)
    }

    /// Whether they stay as they are while nobody of this program works; if not, how far they moved.
    pub(crate) fn is_quiet(&mut self, processes: &[u32]) -> Result<(), String> {
        let mut first: Option<System> = None;
        for _ in 0..READINGS {
            let now = self.read(processes).map_err(|unavailable| unavailable.to_string())?;
            let first = first.get_or_insert_with(|| now.clone());
            let moved = first.numbers().into_iter().zip(now.numbers()).find(|(before, now)| before != now);
            if let Some(((key, Some(before)), (_, Some(now)))) = moved {
                return Err(format!("others on this machine change them: {key} moved by {}", now - before));
            }
            std::thread::sleep(APART);
        }
        Ok(())
    }

    /// From here on changes are counted.
    pub(crate) fn start(&mut self, processes: &[u32]) -> Result<(), Unavailable> {
        self.start = self.read(processes)?;
        Ok(())
    }

    /// The changes since the start.
    pub(crate) fn changes(&mut self, processes: &[u32]) -> Result<System, Unavailable> {
        let now = self.read(processes)?;
        let less = |now: Option<i64>, start: Option<i64>| Some(now? - start?);
        let start = &self.start;
        Ok(System {
            anon_mapped: less(now.anon_mapped, start.anon_mapped),
            file_mapped: less(now.file_mapped, start.file_mapped),
            anon_thps: less(now.anon_thps, start.anon_thps),
            shmem_pmdmapped: less(now.shmem_pmdmapped, start.shmem_pmdmapped),
            file_pmdmapped: less(now.file_pmdmapped, start.file_pmdmapped),
        })
    }

    fn read(&mut self, processes: &[u32]) -> Result<System, Unavailable> {
        let mut attempt = 0;
        loop {
            let before = self.own(processes)?;
            let mut system = self.vmstat.read()?;
            let own = self.own(processes)?;
            attempt += 1;
            if before == own || attempt == ATTEMPTS {
                system.anon_mapped = system.anon_mapped.map(|all| all - own);
                return Ok(system);
            }
        }
    }

    /// Anonymous pages that these processes map outside the scenario's windows, each once.
    fn own(&mut self, processes: &[u32]) -> Result<i64, Unavailable> {
        self.frames.clear();
        for pid in processes {
            // A process that is just ending maps nothing any more.
            if let Err(error) = self.add_frames(*pid)
                && error.kind() != std::io::ErrorKind::NotFound
                && error.raw_os_error() != Some(libc::ESRCH)
            {
                let what = format!("/proc/{pid}/pagemap: {error}");
                return Err(Unavailable::new(what, "mount procfs on /proc and run as root"));
            }
        }
        self.frames.sort_unstable();
        self.frames.dedup();
        Ok(self.frames.len() as i64)
    }

    fn add_frames(&mut self, pid: u32) -> std::io::Result<()> {
        self.maps.clear();
        File::open(format!("/proc/{pid}/maps"))?.read_to_string(&mut self.maps)?;
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        for (start, end) in self.maps.lines().filter_map(range).filter(|(start, end)| end - start <= LONGEST)
        {
            let mut at = start;
            while at < end {
                let bytes = (((end - at) / PAGE * 8) as usize).min(self.words.len());
                let read = pagemap.read_at(&mut self.words[..bytes], at / PAGE * 8)?;
                if read == 0 {
                    break;
                }
                for word in self.words[..read].chunks_exact(8) {
                    let word = u64::from_ne_bytes(word.try_into().expect("8 bytes"));
                    let frame = word & FRAME;
                    if word & (PRESENT | FILE) == PRESENT && frame != self.zero_frame {
                        self.frames.push(frame);
                    }
                }
                at += (read / 8) as u64 * PAGE;
            }
        }
        Ok(())
    }

    /// Reads a byte of every page of the files that this process maps.
    fn touch_files(&mut self) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let Ok(memory) = File::open("/proc/self/mem") else { return };
        for line in maps.lines().filter(|line| line.contains(" r") && line.contains('/')) {
            let Some((start, end)) = range(line) else { continue };
            for at in (start..end).step_by(PAGE as usize) {
                // Past the end of a file there is nothing to read, nor to map.
                let _ = memory.read_at(&mut self.words[..1], at);
            }
        }
    }
}

/// The frame of the page that reading an untouched anonymous page maps.
fn zero_frame() -> Result<u64, Unavailable> {
    let failed = |error: std::io::Error| {
        Unavailable::new(
            format!("cannot find the zero page: {error}"),
            "mount procfs on /proc and run as root",
        )
    };
    let (access, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, whose first byte is read while it is there.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE as usize, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(failed(std::io::Error::last_os_error()));
    }
    // SAFETY: the page is mapped for reading.
    unsafe { start.cast::<u8>().read_volatile() };
    let mut word = [0; 8];
    let read = File::open("/proc/self/pagemap")
        .and_then(|pagemap| pagemap.read_exact_at(&mut word, start.addr() as u64 / PAGE * 8));
    // SAFETY: the mapping was made above and nobody else knows it.
    unsafe { libc::munmap(start, PAGE as usize) };
    read.map_err(failed)?;
    Ok(u64::from_ne_bytes(word) & FRAME)
}

/// The addresses of a line of maps, where they are a process's own and not a window of the scenario's.
fn range(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (start >= PROGRAMS && end <= 1 << 47).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn lines_of_maps_begin_with_their_range() {
        let line = "7f000000a000-7f000000c000 r--p 00000000 fe:00 12 /lib/x";
        assert_eq!(range(line), Some((0x7f00_0000_a000, 0x7f00_0000_c000)));
        assert_eq!(range("ffffffffff600000-ffffffffff601000 --xp 0 0 0 [vsyscall]"), None);
        assert_eq!(range("10000000000-20000000000 rw-p 00000000 00:00 0"), None, "a window");
        assert_eq!(range("nonsense"), None);
    }
}
