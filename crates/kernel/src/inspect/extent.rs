//! What a process maps: extents of pages, as its page tables have them.

/// Consecutive pages of an address space that map consecutive frames, by entries of one level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first page of the address space (its address divided by 4096).
    pub page: u64,
    /// The first frame.
    pub frame: u64,
    /// How many pages.
    pub pages: u32,
    /// The process they belong to: its place in the list of those that were walked.
    pub owner: u32,
    /// Which entries map them.
    pub by: By,
}

/// Which entries map an extent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum By {
    /// Entries for single pages.
    Pte,
    /// Entries that map 2 MiB each.
    Pmd,
    /// Entries that map 1 GiB each.
    Pud,
}

impl Extent {
    /// Behind its last frame.
    pub const fn end(&self) -> u64 {
        self.frame + self.pages as u64
    }
}

/// The largest extent: no folio that is mapped by PTEs crosses a multiple of it, and all frames of an extent stand in
/// one chunk of `struct page`s.
pub(crate) const BLOCK: u64 = 4096;

/// The extent that two are together, where the second continues the first.
#[inline]
pub(crate) fn joined(last: &Extent, next: &Extent) -> Option<Extent> {
    let continues = last.owner == next.owner
        && last.by == next.by
        && last.by == By::Pte
        && last.page + u64::from(last.pages) == next.page
        && last.end() == next.frame
        && last.frame / BLOCK == next.frame / BLOCK;
    continues.then_some(Extent { pages: last.pages + next.pages, ..*last })
}

/// Appends an extent, to the last one where it continues that.
#[inline]
pub(crate) fn push(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) => match joined(last, &next) {
            Some(both) => *last = both,
            None => extents.push(next),
        },
        None => extents.push(next),
    }
}
