//! What the words of a `struct page` say besides counters: what the frame is used for, how large its folio is, which
//! flags are set. Numbers of flags and types come from the kernel's own BTF.

use mapcount_model::field::{Field, TABLE};
use mapcount_model::policy::Policy;
use mapcount_model::snapshot::{Place, Places};
use mapcount_model::units::Kind;
use mapcount_model::verdict::State;

use super::census::ORDERS;
use super::frames::Chunk;
use crate::Unavailable;
use crate::btf::Btf;
use crate::fields::Fields;

macro_rules! uses {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $kind:expr),+ $(,)?) => {
        /// What a frame is used for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Use { $($(#[doc = $doc])+ $variant),+ }

        impl Use {
            /// Every use, in the order of reports.
            pub const ALL: &'static [Use] = &[$(Use::$variant),+];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Use::$variant => $name),+ }
            }

            /// What the model calls it, for what page tables of processes map and count.
            pub const fn kind(self) -> Option<Kind> {
                match self { $(Use::$variant => $kind),+ }
            }
        }
    };
}

uses! {
    /// Anonymous memory.
    Anon "anon" Some(Kind::Anon),
    /// Merged by KSM.
    Ksm "ksm" Some(Kind::Ksm),
    /// tmpfs, memfd, shared anonymous memory.
    Shmem "shmem" Some(Kind::Shmem),
    /// The page cache of files.
    File "file" Some(Kind::File),
    /// hugetlb pages, free ones in the pool too.
    Hugetlb "hugetlb" Some(Kind::Hugetlb),
    /// The slab allocator.
    Slab "slab" None,
    /// Page tables.
    PageTable "page_tables" None,
    /// Pages that are no one's LRU's but can be moved (zsmalloc, balloon).
    Movable "movable" None,
    /// Any other allocated memory of the kernel.
    Kernel "kernel" None,
    /// Never given to the page allocator, or not usable.
    Reserved "reserved" None,
    /// Taken away: a balloon's or unplugged memory.
    Offline "offline" None,
    /// In the page allocator.
    Free "free" None,
}

/// How `page_type` says what a page that is never mapped is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Coding {
    /// The highest byte is the type (`enum pagetype`, include/linux/page-flags.h, v6.12 on).
    Byte,
    /// With these bits set, a bit that is clear is the type (v4.18 to v6.11).
    ClearBit { base: u32 },
}

/// Page types that matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Types {
    coding: Coding,
    buddy: Option<u32>,
    table: Option<u32>,
    offline: Option<u32>,
    slab: Option<u32>,
    hugetlb: Option<u32>,
    zsmalloc: Option<u32>,
}

/// Up to 6.10 the types are no enumeration and BTF does not tell them: `PG_buddy`, `PG_offline`, `PG_table`,
/// `PAGE_TYPE_BASE` (include/linux/page-flags.h, v5.10, v6.1, v6.8).
const UNNAMED: Types = Types {
    coding: Coding::ClearBit { base: 0xf000_0000 },
    buddy: Some(0x80),
    offline: Some(0x100),
    table: Some(0x200),
    slab: None,
    hugetlb: None,
    zsmalloc: None,
};

/// `PAGE_TYPE_BASE` of the release that has the bits as an enumeration (v6.11).
const NAMED_BASE: u32 = 0x8000_0000;

impl Types {
    /// `hugetlb` is the type of hugetlb as the policy of this release has it, where BTF does not tell.
    fn of(btf: &Btf, hugetlb: Option<i32>) -> Types {
        let value = |name| btf.enumerator("pagetype", name).map(|value| value as u32);
        if let Some(buddy) = value("PGTY_buddy") {
            return Types {
                coding: Coding::Byte,
                buddy: Some(buddy),
                table: value("PGTY_table"),
                offline: value("PGTY_offline"),
                slab: value("PGTY_slab"),
                hugetlb: value("PGTY_hugetlb"),
                zsmalloc: value("PGTY_zsmalloc"),
            };
        }
        if let Some(buddy) = value("PG_buddy") {
            return Types {
                coding: Coding::ClearBit { base: NAMED_BASE },
                buddy: Some(buddy),
                table: value("PG_table"),
                offline: value("PG_offline"),
                slab: value("PG_slab"),
                hugetlb: value("PG_hugetlb"),
                zsmalloc: value("PG_zsmalloc"),
            };
        }
        Types { hugetlb: hugetlb.map(|stored| !stored.cast_unsigned()), ..UNNAMED }
    }

    /// Whether the word is a type at all: map counts are −1 or more and never get near.
    #[inline]
    fn is_typed(&self, word: u32) -> bool {
        match self.coding {
            Coding::Byte => (0xf0..0xff).contains(&(word >> 24)),
            Coding::ClearBit { base } => word & base == base && word.cast_signed() < -(1 << 7),
        }
    }

    #[inline]
    fn is(&self, word: u32, wanted: Option<u32>) -> bool {
        let Some(wanted) = wanted else { return false };
        match self.coding {
            Coding::Byte => word >> 24 == wanted,
            Coding::ClearBit { base } => word & (base | wanted) == base,
        }
    }

    /// The use that the highest byte of a type says, by its lower half, where that is the coding.
    fn by_byte(&self) -> Option<[Use; 16]> {
        if self.coding != Coding::Byte {
            return None;
        }
        let mut uses = [Use::Kernel; 16];
        for (low, used) in (0u32..).zip(&mut uses) {
            *used = self.use_of((0xf0 | low) << 24);
        }
        Some(uses)
    }

    fn use_of(&self, word: u32) -> Use {
        let known = [
            (self.buddy, Use::Free),
            (self.table, Use::PageTable),
            (self.slab, Use::Slab),
            (self.hugetlb, Use::Hugetlb),
            (self.offline, Use::Offline),
            (self.zsmalloc, Use::Movable),
        ];
        known.into_iter().find(|(wanted, _)| self.is(word, *wanted)).map_or(Use::Kernel, |(_, used)| used)
    }
}

macro_rules! flags {
    ($($(#[doc = $doc:literal])+ $field:ident $name:literal),+ $(,)?) => {
        /// Masks of flags in `struct page`'s first word; 0 for those that this kernel does not have.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(crate) struct Flags { $($(#[doc = $doc])+ pub(crate) $field: u64),+ }

        impl Flags {
            fn of(btf: &Btf) -> Flags {
                let mask = |name| {
                    let bit = btf.enumerator("pageflags", name).and_then(|bit| u32::try_from(bit).ok());
                    bit.and_then(|bit| 1u64.checked_shl(bit)).unwrap_or(0)
                };
                Flags { $($field: mask($name)),+ }
            }

            /// The kernel's names of those that are set.
            pub(crate) fn names(&self, word: u64) -> Vec<&'static str> {
                let known = [$(($name, self.$field)),+];
                known.iter().filter(|(_, mask)| word & mask != 0).map(|(name, _)| *name).collect()
            }
        }
    };
}

flags! {
    /// The folio lock.
    locked "PG_locked",
    /// Used since aging looked last.
    referenced "PG_referenced",
    /// What it holds is valid.
    uptodate "PG_uptodate",
    /// Changed since it was written out.
    dirty "PG_dirty",
    /// On an LRU list.
    lru "PG_lru",
    /// On the active one.
    active "PG_active",
    /// The first page of a compound page.
    head "PG_head",
    /// A file system's data hangs on it.
    private "PG_private",
    /// Being written out.
    writeback "PG_writeback",
    /// In the swap cache, together with `swapbacked`.
    swapcache "PG_swapcache",
    /// Its backing store is swap.
    swapbacked "PG_swapbacked",
    /// Not for reclaim.
    unevictable "PG_unevictable",
    /// A locked area maps it.
    mlocked "PG_mlocked",
    /// Never given to the allocator.
    reserved "PG_reserved",
    /// The slab allocator's, up to 6.11.
    slab "PG_slab",
    /// Broken.
    hwpoison "PG_hwpoison",
}

/// How a kernel before `enum pagetype` had hugetlb marks them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HugetlbMark {
    /// By the page type, or there is none.
    Type,
    /// A byte of the first tail is the destructor's number (`compound_dtor`, v5.10, v6.1).
    Destructor { word: usize, shift: u32, number: u64 },
    /// A flag of the first tail (`PG_hugetlb`, v6.6 to v6.9).
    Flag { mask: u64 },
}

/// How to read `struct page`s of the running kernel.
#[derive(Clone, Debug)]
pub(crate) struct Marks {
    /// Words of a `struct page`.
    pub(crate) page_words: usize,
    /// Where counters are.
    pub(crate) places: Places,
    /// Flags of the first word.
    pub(crate) flags: Flags,
    types: Types,
    by_byte: Option<[Use; 16]>,
    hugetlb: HugetlbMark,
    fields: Fields,
    /// The words that every page is classified by, and the lowest bits of the counters in theirs.
    tail: usize,
    mapping: usize,
    refcount: (usize, u32),
    mapcount: (usize, u32),
    /// Where the words are where they are in every kernel that has BTF, flags that no [`Plain`] page has set.
    unplain: Option<Unplain>,
    /// The word that `private` is.
    private: usize,
    /// The word that names the memory cgroup, if there is one.
    pub(crate) memcg: Option<usize>,
}

/// Flags that pages have which need a second look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Unplain {
    /// Of files, and of nobody.
    any: u64,
    /// Anonymous ones.
    anon: u64,
    /// Where large folios are told to be nothing but cached; `None` where it takes more than a glance.
    large: Option<Total>,
}

/// Where a large folio has the count of all its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Total {
    word: usize,
    shift: u32,
}

/// A page that needs no second look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plain {
    /// The page cache's alone.
    Cached,
    /// Nobody's.
    Unused,
    /// Never given to the page allocator.
    Reserved,
    /// Anonymous, mapped by one entry, and held by nothing else.
    Own,
    /// It does.
    No,
}

/// Folios that need no second look, by what they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Plains {
    /// The page cache's alone, by order.
    pub(crate) cached: [u64; ORDERS],
    pub(crate) own: u64,
    pub(crate) unused: u64,
    pub(crate) reserved: u64,
}

impl Plains {
    /// Adds the folios from the frame `at` on as long as they are plain; the frame behind them.
    pub(crate) fn pass(&mut self, marks: &Marks, chunk: &Chunk<'_>, mut at: u64) -> u64 {
        let mut words = chunk.from(marks, at);
        while let Some(page) = words.get(..marks.page_words) {
            let mut order = 0;
            match marks.plain(page) {
                Plain::Cached => self.cached[0] += 1,
                Plain::Own => self.own += 1,
                Plain::Unused => self.unused += 1,
                Plain::Reserved => self.reserved += 1,
                Plain::No => match marks.cached_order(words) {
                    Some(found) if at & ((1 << found) - 1) == 0 => {
                        order = found;
                        self.cached[usize::from(order)] += 1;
                    }
                    _ => break,
                },
            }
            at += 1 << order;
            words = words.get(marks.page_words << order..).unwrap_or(&[]);
        }
        at
    }
}

/// The first page of a folio, or a page by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it is used for.
    pub used: Use,
    /// Base-2 logarithm of its pages.
    pub order: u8,
    /// The flags' word.
    pub flags: u64,
    /// What flags and mapping say that verdicts need.
    pub state: State,
}

impl Head {
    /// Its pages.
    pub const fn pages(&self) -> u64 {
        1 << self.order
    }
}

/// Largest order that makes sense: 16 GiB of 4 KiB pages.
const MAX_ORDER: u64 = 22;

impl Marks {
    /// Looks everything up.
    ///
    /// # Errors
    /// If BTF does not describe `struct page`.
    pub(crate) fn of(btf: &Btf, policy: &Policy) -> Result<Marks, Unavailable> {
        let fields = Fields::of(btf)?;
        let page = btf.structure("page");
        let word = |name: &str| {
            let place = btf.member(page?, name)?;
            usize::try_from(place.offset / 8).ok()
        };
        let mut places = Places::new(fields.page_words);
        for row in TABLE {
            places.set(row.field, fields.slot(row.field).map(|slot| place(slot, row.field, &fields)));
        }
        let types = Types::of(btf, policy.hugetlb_type);
        let flags = Flags::of(btf);
        let counter = |field| fields.slot(field).map(|slot| (slot.word, slot.shift));
        let mut marks = Marks {
            page_words: fields.page_words,
            places,
            flags,
            unplain: None,
            by_byte: types.by_byte(),
            types,
            tail: fields.tail.word,
            mapping: fields.mapping.word,
            // Every kernel has both: `Fields` says so.
            refcount: counter(Field::Refcount).unwrap_or((6, 32)),
            mapcount: counter(Field::Mapcount).unwrap_or((6, 0)),
            hugetlb: hugetlb_mark(btf, &fields),
            private: word("private").unwrap_or(5),
            memcg: word("memcg_data").or_else(|| word("mem_cgroup")),
            fields,
        };
        let usual = (marks.page_words, marks.tail, marks.mapping, marks.refcount, marks.mapcount);
        if usual == (8, 1, 3, (6, 32), (6, 0)) {
            let Flags { head, private, swapcache, swapbacked, mlocked, reserved, slab, .. } = flags;
            let anon = head | private | swapcache | mlocked | reserved | slab;
            // Without a page type, hugetlb takes a look at more words.
            let has_type = marks.hugetlb == HugetlbMark::Type && marks.types.hugetlb.is_some();
            let total = marks.fields.slot(Field::LargeMapcount).filter(|_| has_type);
            let large = total.map(|slot| Total { word: slot.word, shift: slot.shift });
            marks.unplain = Some(Unplain { any: anon | swapbacked, anon, large });
        }
        Ok(marks)
    }

    /// Most of memory at a glance: single pages of the page cache that nothing maps and nobody else holds, anonymous ones of
    /// one process, and those that nobody uses. What [`Marks::head`] says of them is the same.
    #[inline]
    pub(crate) fn plain(&self, page: &[u64]) -> Plain {
        let (Some(unplain), Ok(page)) = (self.unplain, <&[u64; 8]>::try_from(page)) else { return Plain::No };
        let is_tail = page[1] & 1 != 0;
        let Flags { reserved, head, .. } = self.flags;
        match page[6] {
            // One reference and no mapping.
            0x1_ffff_ffff if page[3] != 0 && page[3] & 3 == 0 && page[0] & unplain.any == 0 && !is_tail => {
                Plain::Cached
            }
            0x1_ffff_ffff if page[0] & (reserved | head) == reserved && !is_tail => Plain::Reserved,
            // One of each.
            0x1_0000_0000 if page[3] & 3 == 1 && page[0] & unplain.anon == 0 && !is_tail => Plain::Own,
            // None of both.
            0xffff_ffff if page[0] & unplain.any == 0 && !is_tail => Plain::Unused,
            // Not made ready for the allocator yet (CONFIG_DEFERRED_STRUCT_PAGE_INIT).
            0 if page[0] == 0 && !is_tail => Plain::Unused,
            _ => Plain::No,
        }
    }

    /// The order of the large folio that `words` begin with, if the page cache alone holds it, with a reference for each
    /// page, and nothing maps it. What [`Marks::head`] and the scheme say of it is the same.
    #[inline]
    fn cached_order(&self, words: &[u64]) -> Option<u8> {
        let Unplain { any, large: Some(total), .. } = self.unplain? else { return None };
        let page = words.first_chunk::<8>()?;
        let entries = (*words.get(total.word)? >> total.shift) as u32;
        let order = self.order(words);
        let is_plain = page[6] == 1 << (32 + order) | 0xffff_ffff
            && page[0] & any == self.flags.head
            && page[1] & 1 == 0
            && page[3] != 0
            && page[3] & 3 == 0
            && entries == u32::MAX;
        (is_plain && order > 0).then_some(order)
    }

    /// Whether the page is no part of a larger folio.
    #[inline]
    pub(crate) fn is_single(&self, page: &[u64]) -> bool {
        !self.is_tail(page) && page[0] & self.flags.head == 0
    }

    /// Whether the page is a tail.
    #[inline]
    pub(crate) fn is_tail(&self, page: &[u64]) -> bool {
        page[self.tail] & 1 != 0
    }

    /// The address of the first page of the folio that a page belongs to, which stands at `address` itself. A tail names
    /// it, or (from 7.1 on, where the size of `struct page` allows it) tells the mask that leads to it
    /// (`compound_info`, include/linux/page-flags.h, v7.1).
    #[inline]
    pub(crate) fn head_address(&self, page: &[u64], address: u64) -> u64 {
        let word = page[self.tail];
        if word & 1 == 0 {
            return address;
        }
        let named = word & !1;
        if (!named).wrapping_add(1).is_power_of_two() { address & named } else { named }
    }

    /// The page's own reference count, as it is stored.
    #[inline]
    pub(crate) fn refcount(&self, page: &[u64]) -> i32 {
        (page[self.refcount.0] >> self.refcount.1) as u32 as i32
    }

    /// The page's own map count, as it is stored; of some pages it is a type.
    #[inline]
    pub(crate) fn mapcount(&self, page: &[u64]) -> i32 {
        (page[self.mapcount.0] >> self.mapcount.1) as u32 as i32
    }

    /// The folio that starts at the first page of `words`; `None` for a tail page. `words` may go on behind it.
    #[inline]
    pub(crate) fn head(&self, words: &[u64]) -> Option<Head> {
        let page = &words[..self.page_words];
        if self.is_tail(page) {
            return None;
        }
        let flags = page[0];
        let order = if flags & self.flags.head == 0 { 0 } else { self.order(words) };
        let used = self.use_of(page, words, order);
        let order = if used == Use::Free { self.free_order(page) } else { order };
        Some(Head { used, order, flags, state: self.state(used, page) })
    }

    fn order(&self, words: &[u64]) -> u8 {
        let slot = self.fields.order;
        let order = words.get(slot.word).map_or(0, |word| word >> slot.shift & ((1 << slot.width) - 1));
        if order <= MAX_ORDER { order as u8 } else { 0 }
    }

    /// The order of a free block; one page where it is in a per-CPU list.
    fn free_order(&self, page: &[u64]) -> u8 {
        let listed = self.types.is(self.mapcount(page) as u32, self.types.buddy);
        if listed && page[self.private] <= MAX_ORDER { page[self.private] as u8 } else { 0 }
    }

    #[inline]
    fn use_of(&self, page: &[u64], words: &[u64], order: u8) -> Use {
        let flags = page[0];
        let typed = self.mapcount(page) as u32;
        match &self.by_byte {
            // 0xff is the highest byte of a map count of −1.
            Some(uses) if typed >> 28 == 0xf && typed >> 24 != 0xff => {
                return uses[(typed >> 24 & 0xf) as usize];
            }
            Some(_) => {}
            None if self.types.is_typed(typed) => return self.types.use_of(typed),
            None => {}
        }
        if flags & self.flags.reserved != 0 {
            return Use::Reserved;
        }
        if self.types.slab.is_none() && flags & self.flags.slab != 0 {
            return Use::Slab;
        }
        if order > 0 && self.has_hugetlb_mark(words) {
            return Use::Hugetlb;
        }
        if self.refcount(page) == 0 {
            return Use::Free;
        }
        let swapbacked = flags & self.flags.swapbacked != 0;
        // PAGE_MAPPING_ANON and PAGE_MAPPING_MOVABLE; both for KSM (include/linux/page-flags.h).
        let mapping = page[self.mapping];
        match mapping & 3 {
            1 => Use::Anon,
            3 => Use::Ksm,
            2 => Use::Movable,
            _ if mapping != 0 && swapbacked => Use::Shmem,
            _ if mapping != 0 => Use::File,
            _ if swapbacked && flags & self.flags.swapcache != 0 => Use::Shmem,
            _ => Use::Kernel,
        }
    }

    fn has_hugetlb_mark(&self, words: &[u64]) -> bool {
        match self.hugetlb {
            HugetlbMark::Type => false,
            HugetlbMark::Destructor { word, shift, number } => {
                words.get(word).is_some_and(|word| word >> shift & 0xff == number)
            }
            HugetlbMark::Flag { mask } => words.get(self.page_words).is_some_and(|word| word & mask != 0),
        }
    }

    #[inline]
    fn state(&self, used: Use, page: &[u64]) -> State {
        let flags = page[0];
        let is = |mask: u64| flags & mask != 0;
        let mapping = page[self.mapping];
        State {
            swapcache: is(self.flags.swapbacked) && is(self.flags.swapcache),
            pagecache: matches!(used, Use::Shmem | Use::File | Use::Hugetlb)
                && mapping != 0
                && mapping & 3 == 0,
            private: used == Use::File && is(self.flags.private),
            lru: is(self.flags.lru),
            writeback: is(self.flags.writeback),
            dirty: is(self.flags.dirty),
        }
    }
}

/// A slot of [`Fields`] as the model's snapshot wants it.
fn place(slot: crate::fields::Slot, field: Field, fields: &Fields) -> Place {
    let is_list = field == Field::Deferred;
    Place {
        page: (slot.word / fields.page_words) as u8,
        word: (slot.word % fields.page_words) as u8,
        shift: slot.shift as u8,
        bits: if is_list { 0 } else { slot.width as u8 },
    }
}

fn hugetlb_mark(btf: &Btf, fields: &Fields) -> HugetlbMark {
    let destructor = || {
        let number = btf.enumerator("compound_dtor_id", "HUGETLB_PAGE_DTOR")?;
        let folio = btf.structure("folio").and_then(|folio| btf.member(folio, "_folio_dtor"));
        let page = || {
            let place = btf.member(btf.structure("page")?, "compound_dtor")?;
            Some(place.offset + fields.page_bytes())
        };
        let offset = folio.map(|place| place.offset).or_else(page)?;
        Some(HugetlbMark::Destructor {
            word: usize::try_from(offset / 8).ok()?,
            shift: (offset % 8 * 8) as u32,
            number: number as u64,
        })
    };
    let flag = || {
        let bit = u32::try_from(btf.enumerator("pageflags", "PG_hugetlb")?).ok()?;
        Some(HugetlbMark::Flag { mask: 1u64.checked_shl(bit)? })
    };
    destructor().or_else(flag).unwrap_or(HugetlbMark::Type)
}

#[cfg(test)]
mod tests {
    use mapcount_model::policy::Policy;
    use mapcount_model::release::Release;

    use super::{Coding, Flags, Marks, Plain, UNNAMED, Unplain, Use};
    use crate::btf::Btf;
    use crate::require;

    #[test]
    fn what_is_plain_is_what_a_second_look_says() {
        let Some(btf) = require::or_skip("marks", Btf::live()) else { return };
        let marks = Marks::of(&btf, &Policy::of(Release::new(6, 18, 0))).expect("a struct page");
        let flags = marks.flags;
        let mappings = [0, 0xffff_8880_0000_1000, 0xffff_8880_0000_1001, 0xffff_8880_0000_1003];
        let words =
            [0, flags.lru, flags.lru | flags.swapbacked, flags.reserved, flags.private, flags.mlocked];
        let counts = [
            0,
            0xffff_ffff,
            0x1_ffff_ffff,
            0x1_0000_0000,
            0x2_ffff_ffff,
            0x2_0000_0000,
            0xf000_0003,
            0x1_f200_0000,
        ];
        let mut plain = 0;
        for (first, mapping) in words.into_iter().flat_map(|first| mappings.map(|mapping| (first, mapping))) {
            for (counts, tail) in counts.into_iter().flat_map(|counts| [(counts, 0), (counts, 1)]) {
                let page = [first, tail, 0, mapping, 0, 0, counts, 0];
                let head = marks.head(&page);
                plain += u32::from(marks.plain(&page) != Plain::No);
                match (marks.plain(&page), head) {
                    (Plain::Cached, Some(head)) => {
                        assert_eq!((head.used, head.order), (Use::File, 0), "{page:x?}");
                        assert!(head.state.pagecache && !head.state.private && !head.state.swapcache);
                    }
                    (Plain::Unused, Some(head)) => {
                        assert_eq!((head.used, head.order), (Use::Free, 0), "{page:x?}")
                    }
                    (Plain::Reserved, Some(head)) => {
                        assert_eq!((head.used, head.order), (Use::Reserved, 0), "{page:x?}")
                    }
                    (Plain::Own, Some(head)) => {
                        assert_eq!((head.used, head.order), (Use::Anon, 0), "{page:x?}");
                        assert!(!head.state.swapcache && marks.is_single(&page));
                        assert_eq!((marks.refcount(&page), marks.mapcount(&page)), (1, 0));
                    }
                    (Plain::No, _) => {}
                    (_, None) => panic!("a tail is not plain: {page:x?}"),
                }
            }
        }
        assert!(plain > 3);
    }

    #[test]
    fn large_folios_that_are_plain_are_what_the_scheme_says() {
        let Some(btf) = require::or_skip("marks", Btf::live()) else { return };
        let marks = Marks::of(&btf, &Policy::of(Release::new(6, 18, 0))).expect("a struct page");
        let Flags { head, lru, swapbacked, private, .. } = marks.flags;
        let Some(Unplain { large: Some(total), .. }) = marks.unplain else { return };
        let order = 2u8;
        let mut folio = vec![0u64; marks.page_words << order];
        (folio[0], folio[3]) = (head | lru, 0xffff_8880_0000_1000);
        folio[6] = 4 << 32 | 0xffff_ffff;
        folio[marks.fields.order.word] |= u64::from(order) << marks.fields.order.shift;
        folio[total.word] |= 0xffff_ffff << total.shift;
        assert_eq!(marks.cached_order(&folio), Some(order));
        let seen = marks.head(&folio).expect("a head");
        assert_eq!((seen.used, seen.order), (Use::File, order));
        assert!(seen.state.pagecache && !seen.state.private && !seen.state.swapcache);
        // A reference or a mapping more, another kind of folio, a tail, half of it.
        let changes: [(usize, u64); 7] = [
            (6, 5 << 32 | 0xffff_ffff),
            (6, 4 << 32),
            (total.word, folio[total.word] & !(0xffff_ffff << total.shift)),
            (0, head | swapbacked),
            (0, head | private),
            (3, 0xffff_8880_0000_1001),
            (1, 1),
        ];
        for (word, value) in changes {
            let mut changed = folio.clone();
            changed[word] = value;
            assert_eq!(marks.cached_order(&changed), None, "word {word}: {value:x}");
        }
        assert_eq!(marks.cached_order(&folio[..marks.page_words]), None);
    }

    #[test]
    fn types_are_told_from_map_counts() {
        assert_eq!(UNNAMED.coding, Coding::ClearBit { base: 0xf000_0000 });
        for (word, used) in [(!0x80u32, Use::Free), (!0x100, Use::Offline), (!0x200, Use::PageTable)] {
            assert!(UNNAMED.is_typed(word));
            assert_eq!(UNNAMED.use_of(word), used);
        }
        for mapcount in [-1i32, 0, 1, 1000, -2] {
            assert!(!UNNAMED.is_typed(mapcount.cast_unsigned()), "{mapcount}");
        }
    }
}
