//! Names, regions and sizes: what verbs are applied to.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Span;

/// The largest page number that a scenario may name, plus one: bytes behind it do not fit 64 bits.
pub const MAX_PAGES: u64 = 1 << 52;

/// The name of a process, a mapping, a file or a field, and where it stands.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name. Names of one scenario that are equal share their text.
    pub text: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

impl Name {
    /// A name that stands nowhere.
    pub fn new(text: &str) -> Name {
        Name { text: text.into(), span: Span::NOWHERE }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.text == other.text
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Pages of a mapping.
#[derive(Clone, Debug)]
pub struct Region {
    /// Whose mapping; `None` where the step's own process is meant.
    pub process: Option<Name>,
    /// The mapping.
    pub mapping: Name,
    /// Which of its pages.
    pub pages: Pages,
    /// Where it stands.
    pub span: Span,
}

impl PartialEq for Region {
    fn eq(&self, other: &Region) -> bool {
        self.process == other.process && self.mapping == other.mapping && self.pages == other.pages
    }
}

impl Eq for Region {}

/// Which pages of a mapping. Never empty, never past [`MAX_PAGES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pages {
    /// `x`: all of them.
    All,
    /// `x[3]`: this one.
    One(u64),
    /// `x[0..16]`, or `x[16..]` up to the mapping's end.
    Range {
        /// The first page.
        start: u64,
        /// The page behind the last one; the mapping's end if `None`.
        end: Option<u64>,
    },
}

impl Pages {
    /// The pages of a mapping of `len` pages. May reach past its end, or be empty if all of it does.
    pub fn of(self, len: u64) -> Range<u64> {
        match self {
            Pages::All => 0..len,
            Pages::One(page) => page..page + 1,
            Pages::Range { start, end } => start..end.unwrap_or(len),
        }
    }
}

/// A size as it was written: what a PMD's worth is depends on the scenario's `pmd_order`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// `4K`, `2M`, `1G`.
    Bytes(u64),
    /// `16p`.
    Pages(u64),
    /// `pmd`, `2pmd`.
    Pmds(u64),
}

impl Size {
    /// How many base pages. `None` if it is zero, not a multiple of 4 KiB, or its bytes do not fit 64 bits.
    pub fn pages(self, pmd_order: u8) -> Option<u64> {
        self.pages_or_zero(pmd_order).filter(|&pages| pages > 0)
    }

    /// As [`Size::pages`], for the one place where nothing is a size too: a file truncated to zero.
    pub fn pages_or_zero(self, pmd_order: u8) -> Option<u64> {
        let pages = match self {
            Size::Bytes(bytes) => (bytes % 4096 == 0).then_some(bytes / 4096)?,
            Size::Pages(pages) => pages,
            Size::Pmds(pmds) => pmds.checked_mul(1u64.checked_shl(u32::from(pmd_order))?)?,
        };
        (pages < MAX_PAGES).then_some(pages)
    }
}
