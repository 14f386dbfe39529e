//! Where the running kernel keeps the fields of the field table: names from the table's layouts, places from BTF.

use mapcount_model::field::{Field, Scope, TABLE};
use mapcount_model::layout::{Member, known};

use crate::Unavailable;
use crate::btf::{Btf, Place, TypeId};

/// A field, as a part of one of the words that start at a `struct page`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    /// Which word of 8 bytes.
    pub(crate) word: usize,
    /// Its lowest bit in that word.
    pub(crate) shift: u32,
    /// How many bits it has.
    pub(crate) width: u32,
    /// Whether it can be negative.
    pub(crate) signed: bool,
}

impl Slot {
    fn new(offset: u64, bits: (u64, u64)) -> Option<Slot> {
        let (first, width) = bits;
        let start = offset.checked_mul(8)?.checked_add(first)?;
        // What crosses a word is no counter.
        if width == 0 || start % 64 + width > 64 {
            return None;
        }
        let word = usize::try_from(start / 64).ok()?;
        Some(Slot { word, shift: (start % 64) as u32, width: width as u32, signed: false })
    }

    fn of(place: Place) -> Option<Slot> {
        let (first, width) = match place.bits {
            Some((first, width)) => (u64::from(first), u64::from(width)),
            None => (0, place.bytes.checked_mul(8)?),
        };
        Slot::new(place.offset, (first, width))
    }

    /// The slot `pages` pages further on.
    fn after(self, pages: usize, page_words: usize) -> Slot {
        Slot { word: self.word + pages * page_words, ..self }
    }

    /// Its value, from the words that start at the page that it is counted from.
    pub(crate) fn get(self, words: &[u64]) -> i64 {
        let word = words[self.word] >> self.shift;
        let unused = 64 - self.width;
        if self.signed {
            (word << unused).cast_signed() >> unused
        } else {
            (word << unused >> unused).cast_signed()
        }
    }

    /// Whether any of its bits is set.
    pub(crate) fn is_set(self, words: &[u64]) -> bool {
        self.get(words) != 0
    }
}

/// The fields of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// The words of a `struct page`.
    pub(crate) page_words: usize,
    /// Each field of the table that the kernel has: of a page from that page's first word, of a large folio
    /// from its head's.
    slots: [Option<Slot>; Field::COUNT],
    /// Bit 0 is set in tail pages.
    pub(crate) tail: Slot,
    /// PG_head.
    pub(crate) head: Slot,
    /// The order of a large folio, from its head.
    pub(crate) order: Slot,
    /// `mapping`, its lowest two bits included.
    pub(crate) mapping: Slot,
    /// `index`.
    pub(crate) index: Slot,
    /// PG_swapbacked.
    pub(crate) swapbacked: Slot,
    /// PG_swapcache.
    pub(crate) swapcache: Option<Slot>,
}

impl Fields {
    /// Looks up every field in `btf`.
    ///
    /// # Errors
    /// If `struct page` is not there or lacks what every kernel has.
    pub(crate) fn of(btf: &Btf) -> Result<Fields, Unavailable> {
        Fields::resolve(btf).ok_or_else(|| {
            Unavailable::new(
                "this BTF describes no struct page with flags, _refcount, _mapcount and mapping",
                "use the BTF of a 64-bit kernel (/sys/kernel/btf/vmlinux)",
            )
        })
    }

    fn resolve(btf: &Btf) -> Option<Fields> {
        let types = Types::of(btf)?;
        let page_bytes = types.page_bytes()?;
        let page_words = page_bytes as usize / 8;
        let flag = |name| types.flag(name);
        let in_page =
            |names: &[&str]| names.iter().find_map(|name| btf.member(types.page, name)).and_then(Slot::of);
        let mut slots = [None; Field::COUNT];
        for member in known() {
            let Some(field) = member.field else { continue };
            let slot = &mut slots[field as usize];
            *slot = slot.or_else(|| types.slot_of(field, &member));
        }
        // Every kernel has these.
        slots[Field::Refcount as usize]?;
        slots[Field::Mapcount as usize]?;
        // The slots of address spaces are written only where these have numbers.
        let numbered = btf.structure("mm_struct").is_some_and(|mm| btf.member(mm, "mm_id").is_some());
        if !numbered {
            for field in
                [Field::MmId0, Field::MmId1, Field::MmIdMapcount0, Field::MmIdMapcount1, Field::MaybeShared]
            {
                slots[field as usize] = None;
            }
        }
        Some(Fields {
            page_words,
            slots,
            tail: Slot { width: 1, ..in_page(&["compound_info", "compound_head"])? },
            head: flag("PG_head")?,
            order: types.order()?,
            mapping: in_page(&["mapping"])?,
            index: in_page(&["index", "__folio_index"])?,
            swapbacked: flag("PG_swapbacked")?,
            swapcache: flag("PG_swapcache"),
        })
    }

    /// Where `field` is, if the kernel has it.
    pub(crate) fn slot(&self, field: Field) -> Option<Slot> {
        self.slots[field as usize]
    }

    /// Whether the kernel has `field`.
    pub(crate) fn has(&self, field: Field) -> bool {
        self.slot(field).is_some()
    }

    /// The size of a `struct page` in bytes.
    pub(crate) fn page_bytes(&self) -> u64 {
        self.page_words as u64 * 8
    }

    /// The pages of a folio that hold fields of the whole.
    pub(crate) fn pages_with_fields(&self) -> usize {
        let large = TABLE.iter().filter(|row| row.scope == Scope::LargeFolio);
        let last = large.filter_map(|row| self.slot(row.field)).map(|slot| slot.word).max().unwrap_or(0);
        // The list head of the queue is two words.
        (last + 1).max(self.order.word) / self.page_words + 1
    }
}

/// The types that the fields are in.
pub(crate) struct Types<'a> {
    pub(crate) btf: &'a Btf,
    pub(crate) page: TypeId,
    pub(crate) folio: Option<TypeId>,
}

impl<'a> Types<'a> {
    pub(crate) fn of(btf: &'a Btf) -> Option<Types<'a>> {
        Some(Types { btf, page: btf.structure("page")?, folio: btf.structure("folio") })
    }

    /// The size of `struct page`, if it makes sense: whole words, and not absurdly many.
    pub(crate) fn page_bytes(&self) -> Option<u64> {
        self.btf.size(self.page).filter(|bytes| bytes % 8 == 0 && (32..=256).contains(bytes))
    }

    /// A flag by its name in `enum pageflags`.
    pub(crate) fn flag(&self, name: &str) -> Option<Slot> {
        let bit = u64::try_from(self.btf.enumerator("pageflags", name)?).ok()?;
        let flags = self.btf.member(self.page, "flags")?;
        if bit >= 64 { None } else { Slot::new(flags.offset, (bit, 1)) }
    }

    /// A member of a tail page, counted from the head: in `struct folio` where it has one of this name, in the
    /// union of tail pages in `struct page` before (most moved with 6.3).
    pub(crate) fn in_tail(&self, page: u8, name: &str) -> Option<Place> {
        let before = u64::from(page) * self.page_bytes()?;
        let of_folio = || self.btf.member(self.folio?, name).filter(|place| place.offset >= before);
        let of_page = || {
            let place = self.btf.member(self.page, name)?;
            Some(Place { offset: place.offset.checked_add(before)?, ..place })
        };
        of_folio().or_else(of_page)
    }

    /// The order of a large folio: a byte of its own up to 6.5, then the lowest byte of the first tail's flags.
    pub(crate) fn order(&self) -> Option<Slot> {
        match ["compound_order", "_folio_order"].iter().find_map(|name| self.in_tail(1, name)) {
            Some(place) => Slot::of(place),
            None => Slot::new(self.in_tail(1, "_flags_1")?.offset, (0, 8)),
        }
    }

    /// The slot of `field`, counted as [`Fields`] says, if this kernel calls it as `member` does.
    fn slot_of(&self, field: Field, member: &Member<'_>) -> Option<Slot> {
        let page_words = self.page_bytes()? as usize / 8;
        let per_page = field.row().scope == Scope::Page;
        if member.flag && member.offset == 0 {
            let pages = if per_page { 0 } else { usize::from(member.page) };
            return Some(self.flag(member.name)?.after(pages, page_words));
        }
        if field == Field::MaybeShared {
            // No member of its own: the highest bit of the word of both slots.
            let ids = self.in_tail(member.page, "_mm_ids")?;
            return Slot::new(ids.offset, (ids.bytes.checked_mul(8)?.checked_sub(1)?, 1));
        }
        let place = match (per_page, member.page) {
            (true, 0) => self.btf.member(self.page, member.name)?,
            (true, _) => return None,
            (false, page) => self.in_tail(page, member.name)?,
        };
        if field == Field::Deferred {
            return Slot::new(place.offset, (0, 64));
        }
        let slot = Slot::of(place)?;
        match member.bits {
            // The number of an address space, without the bits above it that are locks and flags.
            Some((_, high)) => Some(Slot { width: slot.width.min(u32::from(high) + 1), ..slot }),
            None => Some(Slot { signed: !field.row().flag, ..slot }),
        }
    }
}

#[cfg(test)]
mod tests {
    use mapcount_model::field::{Field, Scope, TABLE};
    use mapcount_model::layout::layout;
    use mapcount_model::profile::Profile;

    use super::{Fields, Slot};
    use crate::btf::Btf;
    use crate::{live, require};

    #[test]
    fn slots_are_parts_of_words() {
        let words = [0, 0xffff_ffff_0000_0005, 0x8000_0007_0000_0003];
        let slot = |word, shift, width, signed| Slot { word, shift, width, signed };
        assert_eq!(slot(1, 32, 32, true).get(&words), -1);
        assert_eq!(slot(1, 0, 32, true).get(&words), 5);
        assert_eq!(slot(2, 32, 31, false).get(&words), 7);
        assert!(slot(2, 63, 1, false).is_set(&words));
        assert!(!slot(0, 3, 1, false).is_set(&words));
        assert_eq!(Slot::new(4, (0, 64)), None, "crosses a word");
    }

    /// The live kernel's own words against the table's layout of its release.
    #[test]
    fn the_live_kernel_has_its_fields_where_the_table_says() {
        let Some((btf, profile)) =
            require::or_skip("fields", Btf::live().and_then(|btf| Ok((btf, live::profile()?))))
        else {
            return;
        };
        let fields = Fields::of(&btf).expect("a live kernel");
        compare(&fields, &profile);
    }

    fn compare(fields: &Fields, profile: &Profile) {
        let layout = layout(profile.release);
        assert_eq!(fields.page_bytes(), u64::from(layout.page_bytes));
        for row in TABLE {
            let found = fields.slot(row.field);
            let expected = layout.of(row.field).next();
            match (found, expected) {
                (None, None) => {}
                (Some(slot), Some(member)) => {
                    let page = if row.scope == Scope::Page { 0 } else { member.page };
                    let bytes = u32::from(page) * u32::from(layout.page_bytes) + u32::from(member.offset);
                    let first = bytes * 8 + u32::from(member.bits.map_or(0, |(low, _)| low));
                    let is_known = !member.flag || member.bits.is_some();
                    if is_known && row.field != Field::Deferred {
                        assert_eq!(slot.word as u32 * 64 + slot.shift, first, "{}", row.key);
                    }
                }
                _ => panic!("{}: found {found:?}, the table says {expected:?}", row.key),
            }
        }
    }
}
