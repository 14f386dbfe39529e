//! What is known of the world without running a kernel: enough to name only what exists.

use std::collections::BTreeMap;

/// What is known of a page of a mapping, whatever kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Page {
    /// Nothing is mapped there.
    Hole,
    /// Mapped, readable and writable.
    ReadWrite,
    /// Mapped and readable.
    ReadOnly,
    /// Mapped, not to be touched.
    NoAccess,
    /// Mapped, a page of a file.
    File {
        /// Which file.
        file: u8,
        /// Which page of it.
        index: u32,
        /// Whether it may be written.
        write: bool,
    },
    /// It depends on where areas begin and end.
    Unknown,
}

/// A file, as long as it was made or truncated last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) pages: u64,
    pub(super) is_shmem: bool,
}

/// A hold that was not dropped yet: its mapping, its pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hold {
    pub(super) mapping: String,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) is_pin: bool,
}

/// A mapping that has huge pages, or may have some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Huge {
    /// How many huge pages.
    pub(super) pages: u64,
    /// Whether it is shared.
    pub(super) shared: bool,
}

/// A live process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// Its mappings and reserved ranges.
    pub(super) mappings: BTreeMap<String, Vec<Page>>,
    /// What it holds.
    pub(super) holds: Vec<Hold>,
    /// Those of its mappings that have huge pages, or may have some.
    pub(super) huge: BTreeMap<String, Huge>,
    /// Those that map a DAX device, with the pages that one entry maps.
    pub(super) dax: BTreeMap<String, u64>,
}

impl Process {
    /// The pages `start..end` of a mapping.
    fn pages(&mut self, mapping: &str, (start, end): (u64, u64)) -> &mut [Page] {
        &mut self.mappings.get_mut(mapping).expect("chosen from these")[start as usize..end as usize]
    }

    /// Whether nothing at all is mapped under this name.
    pub(super) fn is_free(&self, mapping: &str) -> bool {
        self.mappings.get(mapping).is_none_or(|pages| pages.iter().all(|page| *page == Page::Hole))
    }

    /// A new mapping of `pages` pages: the name stands for as many as it ever did.
    pub(super) fn map(&mut self, mapping: &str, pages: u64, kind: Page) {
        self.huge.remove(mapping);
        self.dax.remove(mapping);
        let known = self.mappings.entry(mapping.to_owned()).or_default();
        known.fill(Page::Hole);
        if (known.len() as u64) < pages {
            known.resize(pages as usize, Page::Hole);
        }
        known[..pages as usize].fill(kind);
    }

    /// A new mapping of a file, from one of its pages on.
    pub(super) fn map_file(&mut self, mapping: &str, pages: u64, (file, from): (u8, u64), write: bool) {
        self.map(mapping, pages, Page::Unknown);
        for (page, index) in self.pages(mapping, (0, pages)).iter_mut().zip(from..) {
            // Lossless: files and mappings have a few thousand pages.
            *page = Page::File { file, index: index as u32, write };
        }
    }

    /// A reserved range.
    pub(super) fn reserve(&mut self, mapping: &str, pages: u64) {
        self.mappings.insert(mapping.to_owned(), vec![Page::Hole; pages as usize]);
    }

    /// Huge pages of private mappings.
    pub(super) fn private_huge(&self) -> u64 {
        self.huge.values().filter(|huge| !huge.shared).map(|huge| huge.pages).sum()
    }

    /// Nothing is promised to these mappings any more: whether a touch succeeds depends on the pool.
    pub(super) fn forget_huge(&mut self, which: impl Fn(&Huge) -> bool) {
        let mappings: Vec<String> =
            self.huge.iter().filter(|(_, huge)| which(huge)).map(|(name, _)| name.clone()).collect();
        for mapping in mappings {
            self.blur(&mapping, (0, u64::MAX));
        }
    }

    /// Nothing is known any more of what is mapped in these pages.
    fn blur(&mut self, mapping: &str, (start, end): (u64, u64)) {
        let end = end.min(self.mappings[mapping].len() as u64);
        for page in self.pages(mapping, (start.min(end), end)) {
            if *page != Page::Hole {
                *page = Page::Unknown;
            }
        }
    }

    /// Whether this would cut a huge page, or an entry of a device.
    fn cuts(&self, mapping: &str, (start, end): (u64, u64), pmd: u64) -> bool {
        let huge = self.huge.contains_key(mapping).then_some(pmd);
        let whole = huge.or(self.dax.get(mapping).copied());
        whole.is_some_and(|pages| (start | end) & (pages - 1) != 0)
    }

    /// munmap; whether it is sure to succeed.
    pub(super) fn unmap(&mut self, mapping: &str, range: (u64, u64), pmd: u64) -> bool {
        if self.cuts(mapping, range, pmd) {
            self.blur(mapping, range);
            return false;
        }
        self.pages(mapping, range).fill(Page::Hole);
        true
    }

    /// MADV_DONTNEED: a huge page that is given up may not be had again.
    pub(super) fn give_up(&mut self, mapping: &str, (start, end): (u64, u64), pmd: u64) {
        if self.huge.get(mapping).is_some_and(|huge| !huge.shared) {
            self.blur(mapping, (start, end.next_multiple_of(pmd)));
        }
    }

    /// mprotect, which stops at the first hole.
    pub(super) fn protect(&mut self, mapping: &str, range: (u64, u64), kind: Page, pmd: u64) {
        if self.cuts(mapping, range, pmd) {
            return self.blur(mapping, range);
        }
        let mut sure = true;
        for page in self.pages(mapping, range) {
            match *page {
                Page::Hole => break,
                Page::Unknown => sure = false,
                Page::File { .. } => *page = Page::Unknown,
                old if sure || old == kind => *page = kind,
                _ => *page = Page::Unknown,
            }
        }
    }

    /// mremap: it succeeds if the source is one area, which is not known here.
    pub(super) fn move_to(&mut self, from: (&str, (u64, u64)), to: &str, page: u64, pmd: u64) {
        let (mapping, (start, mut end)) = from;
        if let Some(huge) = self.huge.get(mapping).copied() {
            // As many huge pages move as the range touches.
            end = start + (end - start).next_multiple_of(pmd);
            self.huge.entry(to.to_owned()).or_insert(huge);
        }
        let behind = page + (end - start);
        let known = |len: usize, end: u64| end.min(len as u64);
        let (from_end, to_end) =
            (known(self.mappings[mapping].len(), end), known(self.mappings[to].len(), behind));
        self.pages(mapping, (start, from_end)).fill(Page::Unknown);
        self.pages(to, (page, to_end)).fill(Page::Unknown);
    }
}
