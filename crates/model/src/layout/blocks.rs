//! The layouts as data: blocks of members, each with the releases that have it and where it was read.
//!
//! Releases named in a source were read or dumped; the rest of a block's range follows from the blocks
//! around it, and where its first release is not among them, from the commit that brought the member, which
//! stands beside the block.

mod every_page;
mod tails;

use super::Member;
use crate::field::{Field, OPEN, series};
use crate::release::{Release, ReleaseRange};

/// Members that came and went together, in each of `pages`.
pub(super) struct Block {
    /// The releases that have it.
    pub(super) range: ReleaseRange,
    /// Where it was read.
    pub(super) source: &'static str,
    /// The pages that have these members.
    pub(super) pages: &'static [u8],
    /// The members; their `page` is filled in from `pages`.
    pub(super) members: &'static [Member<'static>],
}

pub(super) const fn part(offset: u8, bytes: u8, name: &'static str, note: &'static str) -> Member<'static> {
    Member { page: 0, offset, bytes, bits: None, flag: false, name, field: None, note }
}

/// A whole word.
pub(super) const fn word(index: u8, name: &'static str, note: &'static str) -> Member<'static> {
    part(index * 8, 8, name, note)
}

/// The lower four bytes of a word.
pub(super) const fn low(index: u8, name: &'static str, note: &'static str) -> Member<'static> {
    part(index * 8, 4, name, note)
}

/// The upper four bytes of a word.
pub(super) const fn high(index: u8, name: &'static str, note: &'static str) -> Member<'static> {
    part(index * 8 + 4, 4, name, note)
}

/// A list head: two words.
pub(super) const fn list(index: u8, name: &'static str, note: &'static str) -> Member<'static> {
    part(index * 8, 16, name, note)
}

/// One bit of the flags word.
pub(super) const fn flag(name: &'static str, note: &'static str) -> Member<'static> {
    Member { flag: true, ..word(0, name, note) }
}

impl Member<'_> {
    pub(super) const fn counts(self, field: Field) -> Self {
        Member { field: Some(field), ..self }
    }

    pub(super) const fn bits(self, low: u8, high: u8) -> Self {
        Member { bits: Some((low, high)), flag: low == high, ..self }
    }
}

pub(super) const fn block(
    from: (u16, u16),
    to: (u16, u16),
    pages: &'static [u8],
    source: &'static str,
    members: &'static [Member<'static>],
) -> Block {
    Block { range: series(from, to), source, pages, members }
}

pub(super) const V2_6_39: &str =
    "struct page (include/linux/mm_types.h, v2.6.39; the size from a build of it)";
pub(super) const V3_1: &str =
    "struct page (include/linux/mm_types.h, v3.1, v3.13, v3.19, v4.0, v4.4 to v4.9)";
pub(super) const V4_18: &str = "struct page (include/linux/mm_types.h, v5.10 to v7.3, and BTF)";
pub(super) const V6_1: &str = "struct folio (include/linux/mm_types.h, v6.1 to v7.3, and BTF)";
pub(super) const V6_15: &str =
    "tails in struct folio (include/linux/mm_types.h, v6.17 to v7.3; BTF of v6.16 to v7.3)";
pub(super) const FLAGS: &str = "enum pageflags (include/linux/page-flags.h; numbers from BTF, Debian amd64)";

/// All blocks. Within one word the usual meaning stands before the unions with it.
pub(super) fn all() -> impl Iterator<Item = &'static Block> {
    every_page::BLOCKS.iter().chain(tails::BLOCKS)
}

/// Numbers of flags, which depend on the configuration: recorded from the BTF of Debian's amd64 kernels,
/// for the releases that were looked at and no others.
static FLAG_BITS: &[(&str, ReleaseRange, u8)] = &[
    ("PG_double_map", series((5, 10), (5, 10)), 6),
    ("PG_double_map", series((6, 1), (6, 1)), 6),
    ("PG_anon_exclusive", series((6, 1), (6, 1)), 17),
    ("PG_anon_exclusive", series((6, 12), (6, 12)), 11),
    ("PG_anon_exclusive", series((6, 16), (7, 3)), 11),
    ("PG_has_hwpoisoned", series((6, 12), (6, 12)), 8),
    ("PG_has_hwpoisoned", series((6, 16), (7, 3)), 8),
    ("PG_large_rmappable", series((6, 12), (6, 12)), 9),
    ("PG_large_rmappable", series((6, 16), (7, 3)), 9),
    ("PG_partially_mapped", series((6, 12), (6, 12)), 16),
    ("PG_partially_mapped", series((6, 16), (7, 3)), 16),
];

/// The number of the flag `name` where it was recorded.
pub(super) fn flag_bit(name: &str, release: Release) -> Option<u8> {
    FLAG_BITS.iter().find(|(flag, range, _)| *flag == name && range.contains(release)).map(|row| row.2)
}

/// The size of `struct page`. Seven words up to 3.0; from 3.1 on aligned to two words where the CPU
/// compares and exchanges two at once, as x86-64 does, hence 64.
pub(super) fn page_bytes(release: Release) -> u16 {
    if series(OPEN, (3, 0)).contains(release) { 56 } else { 64 }
}
