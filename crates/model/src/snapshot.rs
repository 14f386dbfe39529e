//! Counters as a running kernel keeps them: words of `struct page`, copied out and read in place, so that the
//! schemes' own queries run on real values.
//!
//! ```
//! use mapcount_model::counters::Counters;
//! use mapcount_model::field::Field;
//! use mapcount_model::layout::layout;
//! use mapcount_model::release::Release;
//! use mapcount_model::snapshot::{Places, Snapshot};
//! use mapcount_model::units::Pfn;
//!
//! let places = Places::of(&layout(Release::new(6, 18, 0)));
//! let mut words = vec![0u64; 8];
//! words[6] = 3 << 32 | 1; // _refcount 3, _mapcount 1
//! let counters = Snapshot::new(&places, &words, 0);
//! assert_eq!(counters.read(Field::Refcount, Pfn(0)), 3);
//! assert_eq!(counters.read(Field::Mapcount, Pfn(0)), 1);
//! ```

use crate::counters::{Counters, Crossed, Scan};
use crate::field::{Field, Scope};
use crate::layout::{Layout, Member};
use crate::units::{PageRange, Pfn};

/// Bytes of a machine word; `struct page` consists of whole ones.
const WORD: usize = 8;

/// Where the bits of a field stand, from the first word of the page (or of the folio's head) on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which `struct page` of the folio; 0 for what every page has.
    pub page: u8,
    /// The word in that page.
    pub word: u8,
    /// The lowest bit in the word.
    pub shift: u8,
    /// How many bits; 32 is a signed number, less an unsigned one. 0 stands for a list head, which is read as 1 when
    /// something is linked to it.
    pub bits: u8,
}

impl Place {
    /// The place of a member; `None` for a flag whose number is not known.
    pub fn of(member: &Member) -> Option<Place> {
        let place = |shift: usize, bits| Place {
            page: member.page,
            word: member.offset / WORD as u8,
            shift: (usize::from(member.offset) % WORD * 8 + shift) as u8,
            bits,
        };
        match member.bits {
            Some((low, high)) => Some(place(usize::from(low), high - low + 1)),
            None if member.flag => None,
            None if usize::from(member.bytes) == 2 * WORD => Some(place(0, 0)),
            None => Some(place(0, member.bytes.min(4) * 8)),
        }
    }
}

/// The places of all fields in one kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    words_per_page: usize,
    places: [Option<Place>; Field::COUNT],
}

impl Places {
    /// The places that a release's layout says. Flags whose number depends on the configuration are missing where
    /// the layout does not know it.
    pub fn of(layout: &Layout) -> Places {
        let mut places = Places::new(usize::from(layout.page_bytes) / WORD);
        for member in &layout.members {
            if let Some(field) = member.field
                && (field.row().scope == Scope::LargeFolio || member.page == 0)
            {
                places.set(field, Place::of(member));
            }
        }
        places
    }

    /// No places yet, in pages of so many words.
    pub const fn new(words_per_page: usize) -> Places {
        Places { words_per_page, places: [None; Field::COUNT] }
    }

    /// Says where a field is, as a kernel's own type information has it.
    pub fn set(&mut self, field: Field, place: Option<Place>) {
        self.places[field as usize] = place;
    }

    /// Where a field is.
    pub const fn get(&self, field: Field) -> Option<Place> {
        self.places[field as usize]
    }

    /// Words of a `struct page`.
    pub const fn words_per_page(&self) -> usize {
        self.words_per_page
    }

    /// The fields of `needed` whose place is not known.
    pub fn missing<'a>(&'a self, needed: &'a [Field]) -> impl Iterator<Item = Field> + 'a {
        needed.iter().copied().filter(|field| self.get(*field).is_none())
    }
}

/// Copied `struct page`s of consecutive frames. The frames are counted from the first of them: `Pfn(0)` is the one
/// whose words come first.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'w> {
    places: &'w Places,
    words: &'w [u64],
    address: u64,
}

impl<'w> Snapshot<'w> {
    /// The words of `struct page`s whose first one stands at `address` in the kernel; 0 where that is not known, and
    /// then whether something is linked to a list head cannot be read (it counts as not).
    pub const fn new(places: &'w Places, words: &'w [u64], address: u64) -> Snapshot<'w> {
        Snapshot { places, words, address }
    }

    /// How many frames.
    pub const fn frames(&self) -> usize {
        self.words.len() / self.places.words_per_page
    }

    /// The words of one frame.
    pub fn page(&self, at: Pfn) -> &'w [u64] {
        let per = self.places.words_per_page;
        &self.words[at.index() * per..(at.index() + 1) * per]
    }

    #[inline]
    fn value(&self, place: Place, at: Pfn) -> i32 {
        let index =
            (at.index() + usize::from(place.page)) * self.places.words_per_page + usize::from(place.word);
        // A folio that ends outside of the copy has nothing there that could be read.
        let Some(&word) = self.words.get(index) else { return 0 };
        match place.bits {
            0 => i32::from(self.address != 0 && word != 0 && word != self.address + (index * WORD) as u64),
            32.. => (word >> place.shift) as u32 as i32,
            bits => (word >> place.shift & ((1 << bits) - 1)) as i32,
        }
    }
}

impl Counters for Snapshot<'_> {
    /// The raw value; that of a field which this kernel does not keep, or not in a place that is known, is the one of
    /// a fresh folio.
    #[inline]
    fn read(&self, field: Field, at: Pfn) -> i32 {
        match self.places.get(field) {
            Some(place) => self.value(place, at),
            None => field.row().initial,
        }
    }

    fn scan(&self, field: Field, pages: PageRange) -> Scan {
        let mut scan = Scan { sum: 0, max: i32::MIN, empty: 0 };
        for page in pages.iter() {
            let value = self.read(field, page);
            scan.sum += i64::from(value);
            scan.max = scan.max.max(value);
            scan.empty += u32::from(value == -1);
        }
        scan
    }

    fn add(&self, field: Field, _at: Pfn, _delta: i32) -> i32 {
        read_only(field)
    }

    fn set(&self, field: Field, _at: Pfn, _value: i32) {
        read_only(field)
    }

    fn add_each(&self, field: Field, _pages: PageRange, _delta: i32) -> Crossed {
        read_only(field)
    }

    fn set_each(&self, field: Field, _pages: PageRange, _value: i32) {
        read_only(field)
    }
}

/// Queries only read: whoever gets here asked a running kernel to change.
fn read_only(field: Field) -> ! {
    panic!("{} of a running kernel cannot be written", field.key())
}

#[cfg(test)]
mod tests {
    use super::{Place, Places, Snapshot};
    use crate::counters::Counters;
    use crate::field::Field;
    use crate::layout::layout;
    use crate::query::{Answer, Query, Tally};
    use crate::release::Release;
    use crate::scheme::{self, Known};
    use crate::units::{Folio, Kind, Order, PageRange, Pfn};

    const PAGES: usize = 16;

    fn fresh(places: &Places) -> Vec<u64> {
        let mut words = vec![0; PAGES * places.words_per_page()];
        for page in 0..PAGES {
            write(places, &mut words, Field::Mapcount, page, -1);
        }
        words
    }

    fn write(places: &Places, words: &mut [u64], field: Field, head: usize, value: i32) {
        let place = places.get(field).expect("this release has it");
        let word =
            &mut words[(head + usize::from(place.page)) * places.words_per_page() + usize::from(place.word)];
        let mask = ((1u64 << place.bits) - 1) << place.shift;
        *word = *word & !mask | u64::from(value as u32) << place.shift & mask;
    }

    #[test]
    fn what_is_stored_is_what_is_read_in_every_release() {
        for release in crate::profile::RELEASES {
            let places = Places::of(&layout(*release));
            for row in crate::field::TABLE {
                let Some(place) = places.get(row.field) else { continue };
                if place.bits == 0 {
                    continue;
                }
                let mut words = vec![0; PAGES * places.words_per_page()];
                let value = if place.bits == 32 { -7 } else { 1 };
                write(&places, &mut words, row.field, 4, value);
                let counters = Snapshot::new(&places, &words, 0);
                assert_eq!(counters.read(row.field, Pfn(4)), value, "{} in {release}", row.key);
            }
        }
    }

    #[test]
    fn a_list_head_that_names_itself_is_empty() {
        let places = Places::of(&layout(Release::new(6, 18, 0)));
        let base = 0xffff_ea00_0000_0000;
        let mut words = fresh(&places);
        let Place { page, word, bits, .. } = places.get(Field::Deferred).expect("a place");
        assert_eq!(bits, 0);
        let index = usize::from(page) * 8 + usize::from(word);
        words[index] = base + index as u64 * 8;
        assert_eq!(Snapshot::new(&places, &words, base).read(Field::Deferred, Pfn(0)), 0);
        words[index] = 0xffff_8880_0000_1000;
        assert_eq!(Snapshot::new(&places, &words, base).read(Field::Deferred, Pfn(0)), 1);
    }

    #[test]
    fn schemes_answer_from_words() {
        for (release, scheme) in [((5, 10), "double-map"), ((6, 3), "pages-mapped"), ((6, 18), "mm-id")] {
            let places = Places::of(&layout(Release::new(release.0, release.1, 0)));
            let mut words = fresh(&places);
            // Mapped once as a whole.
            let folio = Folio { head: Pfn(4), order: Order(2), kind: Kind::Anon };
            write(&places, &mut words, Field::Refcount, 4, 1);
            write(&places, &mut words, Field::EntireMapcount, 4, 0);
            for (field, value) in [(Field::NrPagesMapped, 0x80_0000), (Field::LargeMapcount, 0)] {
                if places.get(field).is_some() {
                    write(&places, &mut words, field, 4, value);
                }
            }
            let counters = Snapshot::new(&places, &words, 0);
            let scheme = scheme::by_id(scheme).expect("listed");
            let ask = |query| {
                scheme::ask(scheme, &counters, query, (folio, Pfn(5)), Known::default(), &mut Tally::off())
            };
            assert_eq!(ask(Query::FolioMapcount), Answer::Exact(1), "{release:?}");
            assert_eq!(ask(Query::PageMapcount), Answer::Exact(1), "{release:?}");
            assert_eq!(ask(Query::ExpectedRefcount), Answer::Exact(1), "{release:?}");
            assert_eq!(counters.scan(Field::Mapcount, PageRange::new(Pfn(4), 4)).empty, 4);
        }
    }
}
