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

/// A live process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// Its mappings and reserved ranges.
    pub(super) mappings: BTreeMap<String, Vec<Page>>,
    /// What it holds.
    pub(super) holds: Vec<Hold>,
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

    /// munmap.
    pub(super) fn unmap(&mut self, mapping: &str, range: (u64, u64)) {
        self.pages(mapping, range).fill(Page::Hole);
    }

    /// mprotect, which stops at the first hole.
    pub(super) fn protect(&mut self, mapping: &str, range: (u64, u64), kind: Page) {
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
    pub(super) fn move_to(&mut self, from: (&str, (u64, u64)), to: &str, page: u64) {
        let (mapping, (start, end)) = from;
        self.pages(mapping, (start, end)).fill(Page::Unknown);
        let behind = page + (end - start);
        self.pages(to, (page, behind)).fill(Page::Unknown);
    }
}
