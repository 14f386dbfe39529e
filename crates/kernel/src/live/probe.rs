//! What neither BTF nor the configuration tells, by trying: whether pages of large folios have map counts.

use std::ptr;

use mapcount_model::field::Field;

use crate::Unavailable;
use crate::fields::Fields;
use crate::memory::{Memory, Span};
use crate::procfs::Words;
use crate::thp;
use crate::vmemmap::{FRAME_BITS, PAGE, PRESENT};

/// What a PMD maps.
const HUGE: usize = 2 << 20;

/// Memory that holds an aligned huge page.
struct Area(*mut libc::c_void);

impl Area {
    const BYTES: usize = 2 * HUGE;

    fn new() -> Option<Area> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory that Rust knows.
        let start = unsafe { libc::mmap(ptr::null_mut(), Area::BYTES, access, flags, -1, 0) };
        (start != libc::MAP_FAILED).then_some(Area(start))
    }

    /// Writes a huge page, and makes the kernel map it page by page. Its address.
    fn map_by_pages(&self) -> u64 {
        let start = self.0.cast::<u8>();
        let skipped = start.addr().next_multiple_of(HUGE) - start.addr();
        // SAFETY: the aligned huge page lies within the mapping of twice its size, which is ours alone. Making
        // its first page read-only and writable again changes no contents.
        unsafe {
            let huge = start.add(skipped);
            libc::madvise(huge.cast(), HUGE, libc::MADV_HUGEPAGE);
            huge.write_volatile(1);
            libc::mprotect(huge.cast(), PAGE as usize, libc::PROT_READ);
            libc::mprotect(huge.cast(), PAGE as usize, libc::PROT_READ | libc::PROT_WRITE);
        }
        (start.addr() + skipped) as u64
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and nothing refers to it any more.
        unsafe { libc::munmap(self.0, Area::BYTES) };
    }
}

/// Whether a page of a large folio that is mapped by PTEs has a map count; `None` where no large folio could be had.
pub(super) fn has_page_mapcounts(
    fields: &Fields,
    memory: &mut dyn Memory,
    base: u64,
) -> Result<Option<bool>, Unavailable> {
    let Some(area) = Area::new() else { return Ok(None) };
    let address = thp::with_thps(|| area.map_by_pages());
    let mut pagemap = Words::need("/proc/self/pagemap")?;
    let mut entries = Vec::new();
    pagemap.read(address / PAGE, 2, &mut entries)?;
    if entries.iter().any(|entry| entry & PRESENT == 0) {
        return Ok(None);
    }
    let mut words = Vec::new();
    let frame = entries[0] & FRAME_BITS;
    let span = Span {
        address: base.wrapping_add(frame.wrapping_mul(fields.page_bytes())),
        words: 2 * fields.page_words,
    };
    let mut readable = Vec::new();
    memory.read(&[span], &mut words, &mut readable)?;
    let is_large = readable == [true]
        && entries[1] & FRAME_BITS == frame + 1
        && fields.head.is_set(&words)
        && fields.tail.is_set(&words[fields.page_words..]);
    let mapcount = fields.slot(Field::Mapcount).expect("every kernel has it");
    Ok(is_large.then(|| mapcount.get(&words[fields.page_words..]) >= 0))
}

#[cfg(test)]
mod tests {
    use super::has_page_mapcounts;
    use crate::bpf::Bpf;
    use crate::btf::Btf;
    use crate::fields::Fields;
    use crate::objects::Objects;
    use crate::{Unavailable, live, require, vmemmap};

    fn probed() -> Result<(Option<bool>, String), Unavailable> {
        let btf = Btf::live()?;
        let fields = Fields::of(&btf)?;
        let mut bpf = Bpf::load()?;
        let base = vmemmap::find(&mut bpf, &fields, Objects::of(&btf).as_ref(), &[])?;
        Ok((has_page_mapcounts(&fields, &mut bpf, base)?, live::release()?))
    }

    #[test]
    fn the_probe_and_the_configuration_agree() {
        let Some((probed, release)) = require::or_skip("probe", probed()) else { return };
        if let (Some(probed), Some(option)) =
            (probed, super::super::config::option("NO_PAGE_MAPCOUNT", &release))
        {
            assert_eq!(probed, !option);
        }
    }
}
