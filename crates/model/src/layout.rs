//! Where each counter lives: the words of `struct page`, of the tail pages of a compound page, and of
//! `struct folio`, for any release from 2.6.38 on.
//!
//! Described is the 64-bit little-endian layout without the words that only special configurations add
//! behind the last one (`virtual`, `_last_cpupid`, debugging). 32-bit kernels arrange some fields
//! differently and are not described. Every counter of the field table that a release has stands here;
//! words that say nothing about counting (slab, page tables, page pool, ZONE_DEVICE) are left out.
//!
//! ```
//! use mapcount_model::{field::Field, layout::layout, release::Release};
//!
//! let layout = layout(Release::new(6, 12, 0));
//! let member = layout.of(Field::LargeMapcount).next().expect("6.12 has it");
//! assert_eq!((member.page, member.offset, member.name), (1, 16, "_large_mapcount"));
//! ```

mod blocks;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::field::Field;
use crate::release::Release;

/// A field or a flag in one of the first pages of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'a> {
    /// Which `struct page` of the folio: 0 is the head, 1 to 3 are tails.
    pub page: u8,
    /// Where it starts, in bytes from the start of that page.
    pub offset: u8,
    /// Its size in bytes; of a flag or bit field the size of the integer it is part of.
    pub bytes: u8,
    /// The lowest and the highest bit of that integer, for flags and bit fields.
    pub bits: Option<(u8, u8)>,
    /// Whether it is a single bit. If `bits` is `None` as well, its number depends on the configuration
    /// and is not recorded for this release.
    pub flag: bool,
    /// The kernel's name for it.
    pub name: &'a str,
    /// The row of the field table that it stores, if mapcount counts it.
    pub field: Option<Field>,
    /// What the name does not say: what else the word is, from when, under which condition. May be empty.
    pub note: &'static str,
}

impl Member<'_> {
    /// Bytes from the start of the head's `struct page`, for pages of `page_bytes` bytes.
    pub fn from_head(&self, page_bytes: u16) -> u16 {
        u16::from(self.page) * page_bytes + u16::from(self.offset)
    }

    /// The bits it occupies, counted from the start of its page; `None` for a flag of unknown number.
    pub fn span(&self) -> Option<Range<u16>> {
        let start = u16::from(self.offset) * 8;
        match self.bits {
            Some((low, high)) => Some(start + u16::from(low)..start + u16::from(high) + 1),
            None if self.flag => None,
            None => Some(start..start + u16::from(self.bytes) * 8),
        }
    }

    /// Whether the two share a bit of storage: a union, or a flag in its word.
    pub fn overlaps(&self, other: &Member<'_>) -> bool {
        let (Some(a), Some(b)) = (self.span(), other.span()) else { return false };
        self.page == other.page && a.start < b.end && b.start < a.end
    }

    /// The raw value in a freshly allocated folio, for what mapcount counts. A tail page holds no
    /// references of its own, so its reference count starts (and mostly stays) at 0.
    pub fn initial(&self) -> Option<i32> {
        match self.field? {
            Field::Refcount if self.page > 0 => Some(0),
            field => Some(field.row().initial),
        }
    }
}

/// The storage of a folio's counters in a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout<'a> {
    /// The kernel: `Linux 6.12`.
    pub kernel: Cow<'a, str>,
    /// Whether the kernel calls it a folio (5.16 on); a compound page before.
    pub has_folios: bool,
    /// The size of `struct page`: 64, or 56 before its parts were aligned in pairs of words.
    pub page_bytes: u16,
    /// The members, by page and word. Of members in the same place the first is the usual meaning, the
    /// others are unions with it; flags and bit fields follow their word.
    pub members: Vec<Member<'a>>,
    /// Where the layout was read: struct, file and version.
    pub sources: Vec<Cow<'a, str>>,
}

impl<'a> Layout<'a> {
    /// The places where `field` is stored: none if the release has no such field, several if every page
    /// has its own.
    pub fn of(&self, field: Field) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(move |member| member.field == Some(field))
    }

    /// The members of one page, in order.
    pub fn page(&self, page: u8) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(move |member| member.page == page)
    }

    /// How many pages of a folio have members described here.
    pub fn pages(&self) -> u8 {
        self.members.iter().map(|member| member.page + 1).max().unwrap_or(0)
    }
}

/// Every member that some release has, each name in a page once, with the place and the meaning that it has in
/// the newest of them: what to look for in a kernel's own description of its types. In the order in which a
/// layout has them, not by release.
pub fn known() -> Vec<Member<'static>> {
    let mut known: Vec<(Option<Release>, Member<'static>)> = Vec::new();
    for block in blocks::all() {
        for (&page, member) in
            block.pages.iter().flat_map(|page| block.members.iter().map(move |m| (page, m)))
        {
            let new = (block.range.from, Member { page, ..*member });
            match known.iter_mut().find(|(_, old)| (old.page, old.name) == (page, member.name)) {
                Some(old) if old.0 < new.0 => *old = new,
                Some(_) => {}
                None => known.push(new),
            }
        }
    }
    known.into_iter().map(|(_, member)| member).collect()
}

/// The layout of `release`. Releases before 2.6.38 get that of 2.6.38, unknown newer ones the newest known.
pub fn layout(release: Release) -> Layout<'static> {
    let mut members = Vec::new();
    let mut sources: Vec<Cow<'static, str>> = Vec::new();
    for block in blocks::all().filter(|block| block.range.contains(release)) {
        for &page in block.pages {
            members.extend(block.members.iter().map(|&member| Member { page, ..member }));
        }
        if !sources.iter().any(|source| *source == block.source) {
            sources.push(Cow::Borrowed(block.source));
        }
    }
    for member in members.iter_mut().filter(|member| member.flag && member.bits.is_none()) {
        member.bits = blocks::flag_bit(member.name, release).map(|bit| (bit, bit));
    }
    sort(&mut members);
    Layout {
        kernel: Cow::Owned(format!("Linux {release}")),
        has_folios: release >= Release::new(5, 16, 0),
        page_bytes: blocks::page_bytes(release),
        members,
        sources,
    }
}

/// Puts members in a layout's order: by page and word, flags last. Within a word the order that they are in says
/// which meaning is the usual one.
pub fn sort(members: &mut [Member<'_>]) {
    members.sort_by_key(|member| {
        let of_word = member.flag || (member.bits.is_some() && member.bytes == 8);
        (member.page, member.offset / 8, of_word)
    });
}
