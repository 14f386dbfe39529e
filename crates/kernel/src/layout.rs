//! The storage of a folio's counters as a kernel itself describes it, in the terms of the model's layouts.

use mapcount_model::layout::{Layout, Member, known, sort};

use crate::Unavailable;
use crate::btf::Btf;
use crate::fields::{Fields, Types};

/// Longer members are blanks that only fill up a page.
const LONGEST: u64 = 16;

/// The layout that `btf` describes, of the kernel called `kernel`; `source` says where `btf` was read. It has the
/// members that the model's layouts know of any release, and what else is in `struct folio`.
///
/// # Errors
/// If `btf` describes no `struct page` with the counters that every kernel has.
pub fn layout<'a>(btf: &'a Btf, kernel: &'a str, source: &'a str) -> Result<Layout<'a>, Unavailable> {
    let fields = Fields::of(btf)?;
    let page_bytes = fields.page_bytes();
    let reader =
        Reader { types: Types::of(btf).expect("the fields are in them"), fields: &fields, page_bytes };
    let mut members: Vec<Member<'a>> = Vec::new();
    for mut member in known().iter().filter_map(|member| reader.found(member)) {
        // While names change a kernel has both, for the same word (_pincount in v6.1).
        let is_twice = |other: &Member<'_>| other.page == member.page && other.field == member.field;
        if member.field.is_some() && members.iter().any(is_twice) {
            member.field = None;
        }
        members.push(member);
    }
    reader.add_unknown(&mut members);
    sort(&mut members);
    Ok(Layout {
        kernel: kernel.into(),
        has_folios: reader.types.folio.is_some(),
        page_bytes: page_bytes as u16,
        members,
        sources: vec![format!("struct page, struct folio and enum pageflags in the BTF of {source}").into()],
    })
}

struct Reader<'a, 'f> {
    types: Types<'a>,
    fields: &'f Fields,
    page_bytes: u64,
}

impl<'a> Reader<'a, '_> {
    /// How many pages the kernel has names for.
    fn pages(&self) -> u64 {
        let folio = self.types.folio.and_then(|folio| self.types.btf.size(folio));
        // struct page has names for two tails (v5.10, v6.1), however few struct folio has.
        folio.map_or(0, |bytes| bytes.div_ceil(self.page_bytes)).max(3)
    }

    /// A member that some release has, where this kernel has it.
    fn found(&self, member: &Member<'static>) -> Option<Member<'a>> {
        if u64::from(member.page) >= self.pages() {
            return None;
        }
        // A word that the kernel has but does not use: nothing numbers address spaces.
        if member.field.is_some_and(|field| !self.fields.has(field)) {
            return None;
        }
        let plain = Member { note: "", ..*member };
        if member.flag && member.offset == 0 && member.bits.is_none() {
            let bit = self.types.flag(member.name)?.shift as u8;
            return Some(Member { bits: Some((bit, bit)), ..plain });
        }
        if member.bits.is_some() && !member.name.starts_with('_') {
            return self.bits_of_word(plain);
        }
        let place = self.place(member)?;
        self.placed(plain, place.offset, place.bytes)
    }

    /// A part of a word that has no name of its own: the order, the bits above two address spaces' numbers.
    fn bits_of_word(&self, member: Member<'static>) -> Option<Member<'a>> {
        if member.name == "order" {
            let slot = self.fields.order;
            let in_flags = slot.word == self.fields.page_words && slot.shift == 0;
            return in_flags.then_some(member);
        }
        let ids = self.types.in_tail(member.page, "_mm_ids").filter(|ids| (2..=8).contains(&ids.bytes))?;
        let (low, high) = member.bits?;
        // Of two words as wide as half of it each, the highest bits.
        let bit = if low < 32 { ids.bytes * 4 - 1 } else { ids.bytes * 8 - 1 } as u8;
        let bits = if low == high { Some((bit, bit)) } else { member.bits };
        Some(Member { bits, ..self.placed(member, ids.offset, ids.bytes)? })
    }

    /// Where a named member is, in bytes from the head.
    fn place(&self, member: &Member<'static>) -> Option<crate::btf::Place> {
        let btf = self.types.btf;
        let start = u64::from(member.page) * self.page_bytes;
        let in_folio = self.types.folio.and_then(|folio| btf.member(folio, member.name));
        if let Some(place) = in_folio.filter(|place| (start..start + self.page_bytes).contains(&place.offset))
        {
            return Some(place);
        }
        if member.page == 0 {
            return btf.member(self.types.page, member.name);
        }
        // In a tail the names of struct page hold where struct folio has none for the place.
        let place = self.types.in_tail(member.page, member.name)?;
        let is_renamed = self.types.folio.is_some_and(|folio| {
            let mut found = false;
            btf.each_member(folio, |other| {
                found |= other.place.offset == place.offset && other.name.contains(member.name);
            });
            found
        });
        (!is_renamed && (start..start + self.page_bytes).contains(&place.offset)).then_some(place)
    }

    /// `member` at a place in bytes from the head; `None` if it does not fit its page.
    fn placed(&self, member: Member<'a>, offset: u64, bytes: u64) -> Option<Member<'a>> {
        let inside = offset % self.page_bytes;
        if bytes == 0 || bytes > LONGEST || inside + bytes > self.page_bytes {
            return None;
        }
        let page = u8::try_from(offset / self.page_bytes).ok()?;
        Some(Member { page, offset: inside as u8, bytes: bytes as u8, ..member })
    }

    /// Adds the members of `struct folio` that no release that is known has.
    fn add_unknown(&self, members: &mut Vec<Member<'a>>) {
        let Some(folio) = self.types.folio else { return };
        self.types.btf.each_member(folio, |flat| {
            let is_blank = flat.name.starts_with("__") || flat.place.bits.is_some();
            let new = Member {
                page: 0,
                offset: 0,
                bytes: 0,
                bits: None,
                flag: false,
                name: flat.name,
                field: None,
                note: "not known to mapcount",
            };
            let Some(new) = self.placed(new, flat.place.offset, flat.place.bytes).filter(|_| !is_blank)
            else {
                return;
            };
            let is_known = members.iter().any(|member| {
                let (base, _) = member.name.split_once('[').unwrap_or((member.name, ""));
                member.page == new.page && base == new.name
            });
            if !is_known {
                members.push(new);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use mapcount_model::layout::{Member, layout as table};

    use super::layout;
    use crate::btf::{Btf, LIVE};
    use crate::{Unavailable, live, require};

    #[test]
    fn the_live_layout_is_the_tables_of_its_release() {
        let found = || -> Result<_, Unavailable> { Ok((Btf::live()?, live::profile()?)) };
        let Some((btf, profile)) = require::or_skip("layout", found()) else { return };
        let live = layout(&btf, &profile.name, LIVE).expect("a live kernel");
        let table = table(profile.release);
        assert_eq!((live.page_bytes, live.has_folios), (table.page_bytes, table.has_folios));
        for expected in &table.members {
            let is_it = |member: &&Member<'_>| (member.page, member.name) == (expected.page, expected.name);
            let Some(found) = live.members.iter().find(is_it) else {
                // Stable releases have moved words that are no counters (hugetlb's, in 6.12.117).
                assert!(expected.field.is_none(), "{expected:?} is not there: {:?}", live.members);
                continue;
            };
            assert_eq!((found.offset, found.bytes), (expected.offset, expected.bytes), "{expected:?}");
            // Numbers of flags depend on the configuration.
            if !expected.flag {
                assert_eq!(found.bits, expected.bits, "{expected:?}");
            }
        }
        for found in live.members.iter().filter(|member| member.field.is_some()) {
            let is_there =
                table.members.iter().any(|member| (member.page, member.name) == (found.page, found.name));
            assert!(is_there, "{found:?} is not in the table");
        }
    }
}
