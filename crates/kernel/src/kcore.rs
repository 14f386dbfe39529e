//! Kernel memory through /proc/kcore.

mod elf;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::Unavailable;
use crate::btf::Btf;
use crate::fields::Fields;
use crate::memory::{Memory, Span, word};
use crate::unavailable::locked_down;
use crate::vmemmap::PAGE;
use elf::Segment;

const PATH: &str = "/proc/kcore";

/// More than any kernel's table of segments and notes.
const MOST_HEAD_BYTES: u64 = 16 << 20;

/// There is one.
const MOST_NOTES: usize = 4;

/// Tasks that are looked at to find our own.
const MOST_TASKS: usize = 1 << 20;

/// The file, and what its head says.
pub(crate) struct Kcore {
    file: File,
    segments: Vec<Segment>,
    vmcoreinfo: String,
    /// The `task_struct` of this process, if it was found.
    task: Option<u64>,
    bytes: Vec<u8>,
    words: Vec<u64>,
}

impl Kcore {
    /// Opens it.
    pub(crate) fn open(btf: &Btf) -> Result<Kcore, Unavailable> {
        let mut kcore = Kcore::of(File::open(PATH).map_err(|error| refused(&error))?)?;
        kcore.task = kcore.find_task(btf)?;
        Ok(kcore)
    }

    /// What the head of `file` says.
    fn of(file: File) -> Result<Kcore, Unavailable> {
        let head = read_at(&file, 0, elf::HEAD_BYTES as u64).map_err(|error| refused(&error))?;
        let no_core =
            || Unavailable::new(format!("{PATH} is no ELF core file of 64 bits"), "use --observer bpf");
        let end = elf::table_end(&head).filter(|end| *end <= MOST_HEAD_BYTES).ok_or_else(no_core)?;
        let table = read_at(&file, 0, end.max(elf::HEAD_BYTES as u64)).map_err(|error| refused(&error))?;
        let head = elf::parse(&table).ok_or_else(no_core)?;
        let mut vmcoreinfo = String::new();
        for (offset, bytes) in head.notes.iter().take(MOST_NOTES) {
            let notes =
                read_at(&file, *offset, (*bytes).min(MOST_HEAD_BYTES)).map_err(|error| refused(&error))?;
            vmcoreinfo.push_str(elf::vmcoreinfo(&notes).unwrap_or(""));
        }
        Ok(Kcore {
            file,
            segments: head.segments,
            vmcoreinfo,
            task: None,
            bytes: Vec::new(),
            words: Vec::new(),
        })
    }

    /// Where the array of all `struct page`s may start, the likeliest first.
    pub(crate) fn bases(&mut self, fields: &Fields) -> Vec<u64> {
        let mut bases = Vec::new();
        bases.extend(self.by_sections());
        let symbol = symbol("vmemmap_base").and_then(|address| word(self, address).ok().flatten());
        bases.extend(symbol);
        bases.extend(self.by_segments(fields));
        bases
    }

    /// What the first section of memory says: with SPARSEMEM_VMEMMAP its `section_mem_map` is the array's start,
    /// with flags in the lowest bits (sparse_encode_mem_map(), mm/sparse.c, v5.10, v7.2).
    fn by_sections(&mut self) -> Option<u64> {
        const FLAGS: u64 = 0xff;
        let number = |key: &str| elf::entry(&self.vmcoreinfo, key);
        let roots = number("SYMBOL(mem_section)")?;
        let offset = number("OFFSET(mem_section.section_mem_map)").unwrap_or(0);
        // An array of pointers to blocks of sections (SPARSEMEM_EXTREME), or since 4.15 a pointer to that array.
        let mut address = roots;
        for _ in 0..3 {
            let next = word(self, address).ok()??;
            let map = word(self, next.wrapping_add(offset)).ok()??;
            // Present, and an address rather than a pointer's lower half.
            if map & 1 != 0 && map & !FLAGS > u64::MAX / 2 {
                return Some(map & !FLAGS);
            }
            address = next;
        }
        None
    }

    /// Ranges of memory say where they are physically, and for each there is a range of `struct page`s.
    fn by_segments(&self, fields: &Fields) -> Vec<u64> {
        let mut bases = Vec::new();
        for memory in self.segments.iter().filter_map(|segment| segment.physical) {
            let pages = (memory / PAGE).wrapping_mul(fields.page_bytes());
            let rounded = pages / PAGE * PAGE;
            let maps = self.segments.iter().filter(|segment| segment.physical.is_none());
            bases.extend(maps.map(|segment| segment.address.wrapping_sub(rounded)));
        }
        bases.truncate(256);
        bases
    }

    /// Walks the list of all tasks, which begins at a symbol, to our own.
    fn find_task(&mut self, btf: &Btf) -> Result<Option<u64>, Unavailable> {
        let offset = |name: &str| Some(btf.member(btf.structure("task_struct")?, name)?.offset);
        let (Some(tasks), Some(pid)) = (offset("tasks"), offset("pid")) else { return Ok(None) };
        let Some(first) = symbol("init_task") else { return Ok(None) };
        let mut task = first;
        for _ in 0..MOST_TASKS {
            match word(self, task.wrapping_add(pid))? {
                Some(found) if found as u32 == std::process::id() => return Ok(Some(task)),
                None => return Ok(None),
                _ => {}
            }
            match word(self, task.wrapping_add(tasks))? {
                Some(next) if next.wrapping_sub(tasks) != first => task = next.wrapping_sub(tasks),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Fills `into`; false if not all of it is there.
    fn fill(&self, address: u64, into: &mut [u8]) -> bool {
        let mut done = 0;
        while done < into.len() {
            let Some(here) = address.checked_add(done as u64) else { return false };
            let Some((left, offset)) = self.segments.iter().find_map(|segment| segment.from(here)) else {
                return false;
            };
            let length = (into.len() - done).min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.file.read_at(&mut into[done..done + length], offset) {
                Ok(0) => return false,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Memory for Kcore {
    fn read(
        &mut self,
        spans: &[Span],
        into: &mut Vec<u64>,
        readable: &mut Vec<bool>,
    ) -> Result<(), Unavailable> {
        for span in spans {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            bytes.resize(span.words * 8, 0);
            let is_there = self.fill(span.address, &mut bytes);
            if !is_there {
                bytes.fill(0);
            }
            into.extend(
                bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes"))),
            );
            readable.push(is_there);
            self.bytes = bytes;
        }
        Ok(())
    }

    fn chunk_words(&self) -> usize {
        1 << 15
    }

    fn look(&mut self, span: Span, visit: &mut dyn FnMut(Option<&[u64]>)) -> Result<(), Unavailable> {
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        let mut readable = Vec::with_capacity(1);
        self.read(&[span], &mut words, &mut readable)?;
        visit((readable == [true]).then_some(&words));
        self.words = words;
        Ok(())
    }

    fn task(&mut self) -> Result<Option<u64>, Unavailable> {
        Ok(self.task)
    }
}

/// Up to `bytes` bytes of the file from `offset` on; fewer at its end.
fn read_at(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut data = vec![0; bytes as usize];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    data.truncate(filled);
    Ok(data)
}

fn refused(error: &io::Error) -> Unavailable {
    if let Some(missing) = locked_down() {
        return missing;
    }
    let remedy = match error.raw_os_error() {
        Some(libc::ENOENT) => "use a kernel with CONFIG_PROC_KCORE=y, or --observer bpf",
        Some(libc::EPERM | libc::EACCES) => "run as root (CAP_SYS_RAWIO)",
        _ => "use --observer bpf",
    };
    Unavailable::new(format!("{PATH}: {error}"), remedy)
}

/// The address of the kernel's symbol `name` by /proc/kallsyms, if it is told there.
fn symbol(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/kallsyms").ok()?;
    let line = text.lines().find(|line| line.split(' ').nth(2) == Some(name))?;
    u64::from_str_radix(line.split(' ').next()?, 16).ok().filter(|address| *address != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};

    use super::{Kcore, elf};
    use crate::memory::{Memory, Span};

    const INFO: &str = "OSRELEASE=6.12.0\nSYMBOL(mem_section)=ffffffff83a00000\nSIZE(page)=64\n";

    /// A core file with a note and two ranges of memory of 64 bytes, full of 1s and of 2s.
    fn core() -> Vec<u8> {
        let mut note = Vec::new();
        for word in [11_u32, INFO.len() as u32, 0] {
            note.extend_from_slice(&word.to_le_bytes());
        }
        note.extend_from_slice(b"VMCOREINFO\0\0");
        note.extend_from_slice(INFO.as_bytes());
        let notes_at = 64 + 3 * 56;
        let memory_at = notes_at + note.len() as u64;
        let mut data = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        data.resize(16, 0);
        data.extend_from_slice(&[4, 0]);
        data.resize(32, 0);
        data.extend_from_slice(&64_u64.to_le_bytes());
        data.resize(54, 0);
        data.extend_from_slice(&[56, 0, 3, 0]);
        data.resize(64, 0);
        let mut segment = |kind: u32, words: [u64; 5]| {
            data.extend_from_slice(&kind.to_le_bytes());
            data.extend_from_slice(&[0; 4]);
            for word in words.into_iter().chain([0]) {
                data.extend_from_slice(&word.to_le_bytes());
            }
        };
        segment(4, [notes_at, 0, 0, note.len() as u64, 0]);
        segment(1, [memory_at, 0xffff_8880_0000_1000, 0x1000, 64, 64]);
        segment(1, [memory_at + 64, 0xffff_8880_0000_1040, u64::MAX, 64, 64]);
        data.extend_from_slice(&note);
        data.extend_from_slice(&[1; 64]);
        data.extend_from_slice(&[2; 64]);
        data
    }

    fn opened(data: &[u8]) -> Option<Kcore> {
        // SAFETY: the name ends with 0; the file is new and ours alone.
        let mut file: File = unsafe {
            let fd = libc::memfd_create(c"core".as_ptr(), libc::MFD_CLOEXEC);
            std::os::fd::FromRawFd::from_raw_fd(fd)
        };
        file.write_all(data).expect("memory");
        Kcore::of(file).ok()
    }

    #[test]
    fn memory_is_found_by_address_across_segments() {
        let mut kcore = opened(&core()).expect("well-formed");
        assert_eq!(kcore.segments.len(), 2);
        assert_eq!((kcore.segments[0].physical, kcore.segments[1].physical), (Some(0x1000), None));
        let span = |address, words| Span { address, words };
        let spans = [
            span(0xffff_8880_0000_1038, 2),
            span(0xffff_8880_0000_1078, 2),
            span(0xfff, 1),
            span(u64::MAX - 7, 2),
        ];
        let (mut words, mut readable) = (Vec::new(), Vec::new());
        kcore.read(&spans, &mut words, &mut readable).expect("readable");
        assert_eq!(readable, [true, false, false, false]);
        assert_eq!(words, [0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_note_is_read_line_by_line() {
        let kcore = opened(&core()).expect("well-formed");
        assert_eq!(kcore.vmcoreinfo, INFO);
        assert_eq!(elf::entry(INFO, "SYMBOL(mem_section)"), Some(0xffff_ffff_83a0_0000));
        assert_eq!(elf::entry(INFO, "SIZE(page)"), Some(64));
        assert_eq!(elf::entry(INFO, "OSRELEASE"), None);
        assert_eq!(elf::entry(INFO, "SIZE(pag"), None);
    }

    #[test]
    fn what_is_no_core_is_refused() {
        let core = core();
        for length in [0, 5, 20, 63, 64, 100, 231] {
            assert!(opened(&core[..length]).is_none(), "{length}");
        }
        let mut other = core.clone();
        other[16] = 2;
        assert!(opened(&other).is_none(), "an executable");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cores_with_bytes_changed_are_read_without_harm(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..10),
            length in any::<proptest::sample::Index>(),
            cut in 0..4_u8,
            address in any::<u64>(),
        ) {
            let mut data = core();
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            if cut == 0 {
                data.truncate(length.index(data.len()));
            }
            if let Some(mut kcore) = opened(&data) {
                let mut all = Vec::new();
                for segment in kcore.segments.clone() {
                    let spans = [Span { address: segment.address, words: 4 }, Span { address, words: 1 }];
                    kcore.read(&spans, &mut all, &mut Vec::new()).expect("never more than unreadable");
                }
                prop_assert!(all.len() <= 5 * kcore.segments.len());
            }
        }

        #[test]
        fn any_notes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut notes = vec![11, 0, 0, 0];
            notes.extend_from_slice(&bytes);
            let _ = elf::vmcoreinfo(&bytes);
            let _ = elf::vmcoreinfo(&notes);
        }
    }
}
