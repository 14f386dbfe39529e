//! `/proc/PID/smaps`: the areas and what the kernel sums up of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::observer::Window;
use crate::vmemmap::PAGE;

/// The areas of a window, and the sums of their numbers in KiB.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Areas {
    /// First page, counted from the window's start; pages; permissions.
    pub(crate) list: Vec<(u64, u64, String)>,
    /// `Rss`.
    pub(crate) rss: u64,
    /// `Pss`.
    pub(crate) pss: u64,
    /// `Shared_Clean` and `Shared_Dirty`.
    pub(crate) shared: u64,
    /// `Private_Clean` and `Private_Dirty`.
    pub(crate) private: u64,
    /// `AnonHugePages`.
    pub(crate) anon_huge: u64,
    /// `ShmemPmdMapped`, which came with 4.8.
    pub(crate) shmem_pmd: Option<u64>,
    /// `FilePmdMapped`, which came with 5.4.
    pub(crate) file_pmd: Option<u64>,
}

/// Bytes that one read asks for. The kernel hands out about a page, and no more than it has put together.
const PIECE: usize = 16 << 10;

/// Reads the areas in each of `windows`, in the order of their addresses, and no further than the last of them:
/// each area costs the kernel a walk of its page tables. `None` if there is not a single area.
pub(crate) fn read_areas(
    smaps: &File,
    windows: &[Window],
    text: &mut Vec<u8>,
) -> io::Result<Option<Vec<Areas>>> {
    let mut reader =
        Reader { windows, found: vec![Areas::default(); windows.len()], current: None, areas: 0 };
    // Where the next line starts in `text`.
    let mut at = 0;
    let mut filled = 0;
    loop {
        if text.len() < filled + PIECE {
            text.resize(filled + PIECE, 0);
        }
        let read = match smaps.read_at(&mut text[filled..], filled as u64) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => 0,
            Err(error) => return Err(error),
        };
        filled += read;
        while let Some(length) = text[at..filled].iter().position(|byte| *byte == b'\n') {
            let is_enough = !reader.line(&text[at..at + length]);
            at += length + 1;
            if is_enough {
                return Ok(Some(reader.found));
            }
        }
        if read == 0 {
            return Ok((reader.areas > 0).then_some(reader.found));
        }
    }
}

/// An area, and whether khugepaged looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Eligible {
    /// Its first byte.
    pub(crate) start: u64,
    /// The first byte behind it.
    pub(crate) end: u64,
    /// `THPeligible`, which came with 5.0; before, whether MADV_HUGEPAGE asked for huge pages.
    pub(crate) eligible: bool,
    /// MADV_HUGEPAGE asked for huge pages.
    pub(crate) advised: bool,
    /// It has pages of the hugetlb pool.
    pub(crate) hugetlb: bool,
}

/// The areas of a process in any of `windows`.
pub(crate) fn eligible(pid: u32, windows: &[Window]) -> io::Result<Vec<Eligible>> {
    let text = std::fs::read(format!("/proc/{pid}/smaps"))?;
    let mut areas: Vec<Eligible> = Vec::new();
    let mut told = None;
    for line in text.split(|byte| *byte == b'\n') {
        if let Some((start, end, _)) =
            header(line).filter(|_| !line.first().is_some_and(u8::is_ascii_uppercase))
        {
            areas.push(Eligible { start, end, eligible: false, advised: false, hugetlb: false });
            told = None;
        } else if let (Some(rest), Some(area)) = (line.strip_prefix(b"THPeligible:"), areas.last_mut()) {
            area.eligible = rest.trim_ascii() == b"1";
            told = Some(area.eligible);
        } else if let (Some(flags), Some(area)) = (line.strip_prefix(b"VmFlags:"), areas.last_mut()) {
            let has = |name: &[u8]| flags.split(|byte| *byte == b' ').any(|flag| flag == name);
            (area.advised, area.hugetlb) = (has(b"hg"), has(b"ht"));
            area.eligible = told.unwrap_or(area.advised);
        }
    }
    let inside = |area: &Eligible| {
        windows
            .iter()
            .any(|window| window.start <= area.start && area.start < window.start + window.room * PAGE)
    };
    areas.retain(inside);
    Ok(areas)
}

struct Reader<'a> {
    windows: &'a [Window],
    found: Vec<Areas>,
    current: Option<usize>,
    areas: usize,
}

impl Reader<'_> {
    /// Takes in a line; false if it and all that follow are beyond the last window.
    fn line(&mut self, line: &[u8]) -> bool {
        // Names of numbers begin with a capital letter, addresses are written with small ones.
        if line.first().is_some_and(u8::is_ascii_uppercase) {
            if let Some(current) = self.current {
                number(&mut self.found[current], line);
            }
            return true;
        }
        let Some((start, end, permissions)) = header(line) else { return true };
        self.areas += 1;
        let last = self.windows.last().map_or(0, |window| window.start + window.room * PAGE);
        if start >= last {
            self.current = None;
            return false;
        }
        let inside = |window: &Window| window.start <= start && start < window.start + window.room * PAGE;
        self.current = self.windows.iter().position(inside);
        if let Some(current) = self.current {
            let first = (start - self.windows[current].start) / PAGE;
            let permissions = String::from_utf8_lossy(permissions).into_owned();
            self.found[current].list.push((first, (end - start) / PAGE, permissions));
        }
        true
    }
}

/// `100000000000-100000200000 rw-p …`.
fn header(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (start, rest) = hex(line)?;
    let (end, rest) = hex(rest.strip_prefix(b"-")?)?;
    let permissions = rest.strip_prefix(b" ")?.get(..4)?;
    (start < end).then_some((start, end, permissions))
}

fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 {
        return None;
    }
    let digit = |value: u64, byte: &u8| value << 4 | u64::from((*byte as char).to_digit(16).unwrap_or(0));
    Some((text[..digits].iter().fold(0, digit), &text[digits..]))
}

/// `Rss:                2048 kB`.
fn number(areas: &mut Areas, line: &[u8]) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
    let place = match &line[..colon] {
        b"Rss" => &mut areas.rss,
        b"Pss" => &mut areas.pss,
        b"Shared_Clean" | b"Shared_Dirty" => &mut areas.shared,
        b"Private_Clean" | b"Private_Dirty" => &mut areas.private,
        b"AnonHugePages" => &mut areas.anon_huge,
        b"ShmemPmdMapped" => areas.shmem_pmd.get_or_insert(0),
        b"FilePmdMapped" => areas.file_pmd.get_or_insert(0),
        _ => return,
    };
    let digits =
        line[colon + 1..].iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let value =
        digits.fold(0_u64, |value, byte| value.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
    *place = place.saturating_add(value);
}

#[cfg(test)]
mod tests {
    use super::{Areas, Reader};
    use crate::observer::Window;

    const TEXT: &str = "\
0ffff0000000-0ffff0001000 r--p 00000000 00:00 0
Rss:                   4 kB
100000000000-100000004000 rw-p 00000000 00:00 0
Size:                 16 kB
Rss:                  12 kB
Pss:                   7 kB
Pss_Dirty:             7 kB
Shared_Clean:          4 kB
Shared_Dirty:          4 kB
Private_Clean:         0 kB
Private_Dirty:         4 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
THPeligible:           1
VmFlags: rd wr mr mw me ac sd
100000004000-100000008000 r--p 00000000 00:00 0
Rss:                   8 kB
Pss:                   8 kB
Private_Dirty:         8 kB
ShmemPmdMapped:        2 kB
7ffff7d00000-7ffff7d22000 r--p 00000000 fe:00 1234                       /usr/lib/libc.so.6
Rss:                 136 kB
";

    #[test]
    fn areas_are_sorted_into_windows_and_summed_up() {
        let window = |start| Window { start, pages: 8, room: 1 << 18 };
        let windows = [window(0x1000_0000_0000), window(0x1000_4000_0000)];
        let mut reader =
            Reader { windows: &windows, found: vec![Areas::default(); 2], current: None, areas: 0 };
        let taken: Vec<bool> = TEXT.lines().map(|line| reader.line(line.as_bytes())).collect();
        assert_eq!(taken.iter().filter(|more| !**more).count(), 1, "stops at the library");
        let found = &reader.found[0];
        assert_eq!(found.list, [(0, 4, "rw-p".to_owned()), (4, 4, "r--p".to_owned())]);
        assert_eq!((found.rss, found.pss, found.shared, found.private), (20, 15, 8, 12));
        assert_eq!((found.anon_huge, found.shmem_pmd, found.file_pmd), (0, Some(2), None));
        assert_eq!(reader.found[1], Areas::default());
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        let mut reader = Reader { windows: &[], found: Vec::new(), current: None, areas: 0 };
        for line in ["", "Rss", "zz-10 rw-p", "10-5 rw-p", "123456789abcdef01-2 rw-p", "10-20 rw", "-", "10-"]
        {
            assert!(reader.line(line.as_bytes()), "{line}");
        }
        assert_eq!(reader.areas, 0);
        assert!(!reader.line(b"10-20 rw-p"), "there is no window");
    }
}
