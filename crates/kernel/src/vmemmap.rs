//! Where the array of all `struct page`s lies, found by evidence: candidates are tried on pages of this process
//! whose frames are known, and one is right if every page's counters, owner and index are as they must be.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use mapcount_model::field::Field;

use crate::Unavailable;
use crate::fields::Fields;
use crate::memory::{Memory, Span};
use crate::objects::Objects;

/// The size of a base page, in which the trace counts.
pub(crate) const PAGE: u64 = 4096;

/// Pages that a candidate is tried on.
const PROBES: usize = 32;

/// Bits 0 to 54 of a word of pagemap: the frame.
pub(crate) const FRAME_BITS: u64 = (1 << 55) - 1;
/// Bit 63 of a word of pagemap: present.
pub(crate) const PRESENT: u64 = 1 << 63;

/// Anonymous memory of our own: small pages, all written.
struct Probe {
    start: *mut u8,
    frames: Vec<u64>,
}

impl Probe {
    const BYTES: usize = PROBES * PAGE as usize;

    fn new() -> Result<Probe, Unavailable> {
        let failed =
            |what: &str, error: io::Error| Unavailable::new(format!("{what}: {error}"), "free some memory");
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let start = unsafe { libc::mmap(ptr::null_mut(), Probe::BYTES, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(failed("mapping a few pages", io::Error::last_os_error()));
        }
        let mut probe = Probe { start: start.cast(), frames: Vec::new() };
        // SAFETY: the range is the mapping made above, which nobody else knows.
        unsafe {
            libc::madvise(start, Probe::BYTES, libc::MADV_NOHUGEPAGE);
            ptr::write_bytes(probe.start, 1, Probe::BYTES);
        }
        probe.frames = probe.look_up()?;
        Ok(probe)
    }

    fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// The frames of the pages now.
    fn look_up(&self) -> Result<Vec<u64>, Unavailable> {
        let mut words = [0; PROBES * 8];
        File::open("/proc/self/pagemap")
            .and_then(|file| file.read_exact_at(&mut words, self.address() / PAGE * 8))
            .map_err(|error| {
                Unavailable::new(
                    format!("/proc/self/pagemap: {error}"),
                    "use a kernel with CONFIG_PROC_PAGE_MONITOR=y and mount procfs on /proc",
                )
            })?;
        let words = words.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
        let frames: Vec<u64> =
            words.filter(|word| word & PRESENT != 0).map(|word| word & FRAME_BITS).collect();
        if frames.len() < PROBES || frames.contains(&0) {
            return Err(Unavailable::new(
                "/proc/self/pagemap does not tell frames",
                "run as root (CAP_SYS_ADMIN)",
            ));
        }
        Ok(frames)
    }

    /// Whether the pages at `base` are those of the probe.
    fn agrees(&self, memory: &mut dyn Memory, fields: &Fields, base: u64) -> Result<bool, Unavailable> {
        let page = |frame: &u64| Span {
            address: base.wrapping_add(frame.wrapping_mul(fields.page_bytes())),
            words: fields.page_words,
        };
        let spans: Vec<Span> = self.frames.iter().map(page).collect();
        let (mut words, mut readable) = (Vec::new(), Vec::new());
        memory.read(&spans, &mut words, &mut readable)?;
        if readable.contains(&false) {
            return Ok(false);
        }
        let owner = fields.mapping.get(&words);
        let mapcount = fields.slot(Field::Mapcount);
        let refcount = fields.slot(Field::Refcount);
        let pages = words.chunks_exact(fields.page_words).zip(self.address() / PAGE..);
        Ok(pages.into_iter().all(|(words, index)| {
            mapcount.is_some_and(|slot| slot.get(words) == 0)
                && refcount.is_some_and(|slot| slot.get(words) >= 1)
                && fields.mapping.get(words) == owner
                && owner & 3 == 1
                && fields.index.get(words) == index as i64
        }))
    }

    /// Where the array starts by the pointer to a page of the probe that lies in a pipe.
    fn by_pipe(
        &self,
        memory: &mut dyn Memory,
        fields: &Fields,
        objects: &Objects,
    ) -> Result<Option<u64>, Unavailable> {
        let Ok((_reader, writer)) = io::pipe() else { return Ok(None) };
        let piece = libc::iovec { iov_base: self.start.cast(), iov_len: PAGE as usize };
        // SAFETY: `piece` describes memory of the probe, which outlives the call; the pipe is ours. The pipe
        // holds a reference to the page until it is closed and nobody reads or writes through it.
        let spliced = unsafe { libc::vmsplice(writer.as_raw_fd(), &raw const piece, 1, 0) };
        if spliced < PAGE as isize {
            return Ok(None);
        }
        let page = objects.page_in_pipe(memory, writer.as_fd())?;
        Ok(page.map(|page| page.wrapping_sub(self.frames[0].wrapping_mul(fields.page_bytes()))))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), Probe::BYTES) };
    }
}

/// Where the array starts without randomisation: with four and with five levels of page tables
/// (Documentation/arch/x86/x86_64/mm.rst, v7.2).
const USUAL: [u64; 2] = [0xffff_ea00_0000_0000, 0xffd4_0000_0000_0000];

/// Where the array of `struct page`s starts: that of frame 0, which need not be there itself. `more` are
/// candidates that the caller knows of.
pub(crate) fn find(
    memory: &mut dyn Memory,
    fields: &Fields,
    objects: Option<&Objects>,
    more: &[u64],
) -> Result<u64, Unavailable> {
    // Pages may be moved while we look; then their frames are looked up again.
    for _ in 0..3 {
        let probe = Probe::new()?;
        let by_pipe = match objects {
            Some(objects) => probe.by_pipe(memory, fields, objects)?,
            None => None,
        };
        for base in by_pipe.into_iter().chain(more.iter().copied()).chain(USUAL) {
            if probe.agrees(memory, fields, base)? {
                return Ok(base);
            }
        }
        if probe.look_up()? == probe.frames {
            break;
        }
    }
    Err(Unavailable::new(
        "the array of struct pages was not found: at no candidate were pages of known frames what they must be",
        "use a kernel with CONFIG_SPARSEMEM_VMEMMAP=y, or --observer proc",
    ))
}

#[cfg(test)]
mod tests {
    use super::{Probe, find};
    use crate::bpf::Bpf;
    use crate::btf::Btf;
    use crate::fields::Fields;
    use crate::objects::Objects;
    use crate::{Unavailable, require};

    fn opened() -> Result<(Bpf, Fields, Objects), Unavailable> {
        let btf = Btf::live()?;
        Ok((Bpf::load()?, Fields::of(&btf)?, Objects::of(&btf).expect("described")))
    }

    #[test]
    fn the_pointer_in_a_pipe_leads_to_the_array() {
        let Some((mut bpf, fields, objects)) = require::or_skip("vmemmap", opened()) else { return };
        let probe = Probe::new().expect("memory");
        let base = probe.by_pipe(&mut bpf, &fields, &objects).expect("readable").expect("a page in the pipe");
        assert!(probe.agrees(&mut bpf, &fields, base).expect("readable"));
        assert!(!probe.agrees(&mut bpf, &fields, base + fields.page_bytes()).expect("readable"));
        assert_eq!(find(&mut bpf, &fields, Some(&objects), &[]).expect("found"), base);
    }
}
