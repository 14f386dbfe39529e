//! The field table: every counter and flag of `struct page` and `struct folio` that mapcount knows,
//! a row each. Tracer, tables, JSON, layout and glossary follow from these rows; a kernel field is
//! named nowhere else.

use crate::release::{Release, ReleaseRange};

/// Where a field lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scope {
    /// Each base page has its own, tails included.
    Page,
    /// A large folio has one (stored in its tail pages' words); small folios have none.
    LargeFolio,
}

/// A row of the field table.
#[derive(Debug)]
pub struct Row {
    /// The field.
    pub field: Field,
    /// The key in traces and the name in `expect`.
    pub key: &'static str,
    /// Per page or per large folio.
    pub scope: Scope,
    /// The raw value of a freshly allocated folio.
    pub initial: i32,
    /// Whether it is a flag (0 or 1) rather than a number.
    pub flag: bool,
    /// What it counts, in a sentence, with its equation in terms of page-table entries where it has one.
    pub meaning: &'static str,
    /// The kernel's names for it and the series that used them, oldest first.
    pub names: &'static [(&'static str, ReleaseRange)],
}

/// The releases of the series `from` to `to`; either end may be [`OPEN`].
pub(crate) const fn series(from: (u16, u16), to: (u16, u16)) -> ReleaseRange {
    ReleaseRange {
        from: if from.0 == 0 { None } else { Some(Release::new(from.0, from.1, 0)) },
        to: if to.0 == 0 { None } else { Some(Release::new(to.0, to.1, 0)) },
    }
}

/// No end of a [`series`].
pub(crate) const OPEN: (u16, u16) = (0, 0);

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $variant:ident { $key:literal, $scope:ident, $initial:literal, $flag:literal,
        [$(($name:literal, $from:expr, $to:expr)),* $(,)?] }),+ $(,)?) => {
        /// A counter or flag of a page or folio.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Field { $($(#[doc = $doc])+ $variant),+ }

        /// Every field, in the order of the trace.
        pub static TABLE: &[Row] = &[$(Row {
            field: Field::$variant,
            key: $key,
            scope: Scope::$scope,
            initial: $initial,
            flag: $flag,
            meaning: concat!($($doc),+),
            names: &[$(($name, series($from, $to))),*],
        }),+];

        impl Field {
            /// How many fields there are.
            pub const COUNT: usize = [$(Field::$variant),+].len();
        }
    };
}

fields! {
    /// References held by anybody: page-table entries, caches, pins, whoever works on the page. 0 means free.
    Refcount { "refcount", Page, 1, false,
        [("_count", OPEN, (4, 5)), ("_refcount", (4, 6), OPEN)] },
    /// Page-table entries that map this page, minus one; what else is mixed in depends on the scheme.
    Mapcount { "mapcount_raw", Page, -1, false, [("_mapcount", OPEN, OPEN)] },
    /// PMD (or PUD, hugetlb) entries that map the whole folio, minus one.
    EntireMapcount { "entire_mapcount_raw", LargeFolio, -1, false,
        [("compound_mapcount", (4, 5), (6, 2)), ("_entire_mapcount", (6, 3), OPEN)] },
    /// Pages with at least one PTE, plus 0x800000 while a PMD maps the folio.
    NrPagesMapped { "nr_pages_mapped_raw", LargeFolio, 0, false,
        [("subpages_mapcount", (6, 2), (6, 2)), ("_nr_pages_mapped", (6, 3), OPEN)] },
    /// All page-table entries that map any part of the folio, minus one.
    LargeMapcount { "large_mapcount_raw", LargeFolio, -1, false, [("_large_mapcount", (6, 10), OPEN)] },
    /// FOLL_PIN references on the folio.
    Pincount { "pincount", LargeFolio, 0, false,
        [("hpage_pinned_refcount", (5, 7), (5, 17)), ("compound_pincount", (5, 18), (6, 2)), ("_pincount", (6, 3), OPEN)] },
    /// The address space in slot 0; 0 if the slot is empty.
    MmId0 { "mm_id0", LargeFolio, 0, false, [("_mm_id[0]", (6, 15), OPEN)] },
    /// The address space in slot 1; 0 if the slot is empty.
    MmId1 { "mm_id1", LargeFolio, 0, false, [("_mm_id[1]", (6, 15), OPEN)] },
    /// Entries counted for slot 0, minus one.
    MmIdMapcount0 { "mm_id_mapcount0", LargeFolio, -1, false, [("_mm_id_mapcount[0]", (6, 15), OPEN)] },
    /// Entries counted for slot 1, minus one.
    MmIdMapcount1 { "mm_id_mapcount1", LargeFolio, -1, false, [("_mm_id_mapcount[1]", (6, 15), OPEN)] },
    /// More than one address space may map the folio (bit 63 of `_mm_ids`).
    MaybeShared { "maybe_shared", LargeFolio, 0, true, [("FOLIO_MM_IDS_SHARED_BIT", (6, 15), OPEN)] },
    /// On the deferred split queue.
    Deferred { "deferred", LargeFolio, 0, true,
        [("page_deferred_list()", (4, 5), (4, 17)), ("deferred_list", (4, 18), (6, 2)), ("_deferred_list", (6, 3), OPEN)] },
    /// Some page lost its last mapping while the folio stayed mapped; set with queueing, sticky.
    PartiallyMapped { "partially_mapped", LargeFolio, 0, true, [("PG_partially_mapped", (6, 12), OPEN)] },
    /// The page belongs to one process alone and may be written in place; of a PMD-mapped folio only the head's counts.
    AnonExclusive { "anon_exclusive", Page, 0, true, [("PG_anon_exclusive", (5, 19), OPEN)] },
    /// PTEs and PMDs map the folio at once; for anonymous folios every page's map count is then one too high.
    DoubleMap { "double_map", LargeFolio, 0, true, [("PG_double_map", (4, 5), (6, 1))] },
    /// VMAs that map some but not all pages of the folio (a proposal, no kernel has it).
    PartialMapcount { "partial_mapcount", LargeFolio, 0, false, [] },
}

impl Field {
    /// The field's row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The key in traces.
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// The field with this trace key.
    pub fn by_key(key: &str) -> Option<Field> {
        TABLE.iter().find(|row| row.key == key).map(|row| row.field)
    }

    /// The kernel's name for it in `release`; the newest name where that release has none.
    pub fn kernel_name(self, release: Release) -> &'static str {
        let names = self.row().names;
        names
            .iter()
            .find(|(_, range)| range.contains(release))
            .or(names.last())
            .map_or(self.row().key, |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, TABLE};

    #[test]
    fn rows_stand_at_their_fields_place_and_keys_are_unique() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.field as usize, index);
            assert_eq!(Field::by_key(row.key), Some(row.field));
        }
        assert_eq!(TABLE.len(), Field::COUNT);
    }
}
