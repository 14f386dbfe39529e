//! A row of `folios`: a folio, or several neighbours that are equal in everything but their place.

use std::collections::BTreeMap;
use std::fmt;

use mapcount_model::field::{Field, Scope, TABLE};
use mapcount_model::units::Kind;
use serde::{Serialize, Serializer};

use super::Rle;

/// A folio and its counters, or `count` neighbours that have the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolioRow {
    /// The first frame.
    pub id: u64,
    /// How many folios the row stands for.
    pub count: u64,
    /// The base-2 logarithm of a folio's number of pages.
    pub order: u8,
    /// What the folio holds.
    pub kind: Option<Kind>,
    /// The raw counters and flags, by field. The fields of the address-space slots are not here but in
    /// `mm_ids` and `mm_id_mapcount_raw`.
    pub fields: BTreeMap<Field, FieldValue>,
    /// The `refcount` of the tail pages; only of large folios.
    pub tail_refcount: Option<Rle<i64>>,
    /// The process that owns each slot, `None` for an empty one.
    pub mm_ids: Option<[Option<String>; 2]>,
    /// The counts of the slots, raw.
    pub mm_id_mapcount_raw: Option<[i64; 2]>,
    /// Whether the folio is in the swap cache.
    pub swapcache: Option<bool>,
    /// What `/proc/kpagecount` prints for each page.
    pub kpagecount: Option<Rle<i64>>,
    /// The model's answer of how often the folio is mapped.
    pub folio_mapcount: Option<i64>,
    /// The references that mappings, caches and the scenario itself explain.
    pub expected_refcount: Option<i64>,
}

impl Default for FolioRow {
    fn default() -> FolioRow {
        FolioRow::new(0, 0)
    }
}

/// The value of a raw field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldValue {
    /// A number of the whole folio.
    Number(i64),
    /// A flag of the whole folio.
    Flag(bool),
    /// A number for each page.
    Pages(Rle<i64>),
}

/// How the trace shows a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// As a number: a folio has one, or its head's is meant.
    Number,
    /// As true or false.
    Flag,
    /// As a list over the pages.
    Pages,
}

/// How the trace shows `field`; `None` for the fields of the slots, which it shows in pairs.
pub fn shape(field: Field) -> Option<Shape> {
    match field {
        Field::MmId0 | Field::MmId1 | Field::MmIdMapcount0 | Field::MmIdMapcount1 => None,
        // Tails have references only on kernels before 4.5, in `tail_refcount`.
        Field::Refcount => Some(Shape::Number),
        _ => Some(match (field.row().scope, field.row().flag) {
            (Scope::Page, _) => Shape::Pages,
            (Scope::LargeFolio, true) => Shape::Flag,
            (Scope::LargeFolio, false) => Shape::Number,
        }),
    }
}

/// One value of a row, whatever its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell<'a> {
    /// A number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// A word.
    Word(&'a str),
    /// A number for each page.
    Pages(&'a Rle<i64>),
    /// The owners of the two slots.
    Owners(&'a [Option<String>; 2]),
    /// A number for each of the two slots.
    Pair([i64; 2]),
}

impl<'a> From<&'a FieldValue> for Cell<'a> {
    fn from(value: &'a FieldValue) -> Cell<'a> {
        match value {
            FieldValue::Number(number) => Cell::Number(*number),
            FieldValue::Flag(flag) => Cell::Flag(*flag),
            FieldValue::Pages(list) => Cell::Pages(list),
        }
    }
}

impl FolioRow {
    /// The row of one folio of which nothing else is known.
    pub fn new(id: u64, order: u8) -> FolioRow {
        FolioRow {
            id,
            count: 1,
            order,
            kind: None,
            fields: BTreeMap::new(),
            tail_refcount: None,
            mm_ids: None,
            mm_id_mapcount_raw: None,
            swapcache: None,
            kpagecount: None,
            folio_mapcount: None,
            expected_refcount: None,
        }
    }

    /// The number of pages of one folio of the row; an order out of reach counts as the largest.
    pub fn size(&self) -> u64 {
        1_u64.checked_shl(u32::from(self.order)).unwrap_or(u64::MAX)
    }

    /// The frame behind the last folio of the row.
    pub fn end(&self) -> u64 {
        self.id.saturating_add(self.count.saturating_mul(self.size()))
    }

    /// All that the row has besides its place and size, by key, in the order of the trace.
    pub fn cells(&self) -> Vec<(&'static str, Cell<'_>)> {
        let mut cells = Vec::with_capacity(Field::COUNT + 6);
        cells.extend(self.kind.map(|kind| ("kind", Cell::Word(kind.name()))));
        for row in TABLE {
            cells.extend(match row.field {
                Field::MmId0 => self.mm_ids.as_ref().map(|owners| ("mm_ids", Cell::Owners(owners))),
                Field::MmIdMapcount0 => {
                    self.mm_id_mapcount_raw.map(|pair| ("mm_id_mapcount_raw", Cell::Pair(pair)))
                }
                field => self.fields.get(&field).map(|value| (row.key, Cell::from(value))),
            });
            if row.field == Field::Refcount {
                cells.extend(self.tail_refcount.as_ref().map(|list| ("tail_refcount", Cell::Pages(list))));
            }
        }
        cells.extend(self.swapcache.map(|flag| ("swapcache", Cell::Flag(flag))));
        cells.extend(self.kpagecount.as_ref().map(|list| ("kpagecount", Cell::Pages(list))));
        cells.extend(self.folio_mapcount.map(|number| ("folio_mapcount", Cell::Number(number))));
        cells.extend(self.expected_refcount.map(|number| ("expected_refcount", Cell::Number(number))));
        cells
    }

    /// The value under `key`, if the row has it.
    pub fn cell(&self, key: &str) -> Option<Cell<'_>> {
        self.cells().into_iter().find(|(name, _)| *name == key).map(|(_, cell)| cell)
    }
}

/// Whether two rows are equal in everything but their place.
fn alike(a: &FolioRow, b: &FolioRow) -> bool {
    let FolioRow {
        id: _,
        count: _,
        order,
        kind,
        fields,
        tail_refcount,
        mm_ids,
        mm_id_mapcount_raw,
        swapcache,
        kpagecount,
        folio_mapcount,
        expected_refcount,
    } = a;
    *order == b.order
        && *kind == b.kind
        && *swapcache == b.swapcache
        && *mm_id_mapcount_raw == b.mm_id_mapcount_raw
        && *folio_mapcount == b.folio_mapcount
        && *expected_refcount == b.expected_refcount
        && *mm_ids == b.mm_ids
        && *fields == b.fields
        && *kpagecount == b.kpagecount
        && *tail_refcount == b.tail_refcount
}

/// Appends a row, joined to the last one where it goes on behind it and is equal in every field.
pub fn push_folio(rows: &mut Vec<FolioRow>, row: FolioRow) {
    let joins = |last: &FolioRow| last.end() == row.id && alike(last, &row);
    match rows.last_mut().filter(|last| joins(last)) {
        Some(last) => last.count = last.count.saturating_add(row.count),
        None => rows.push(row),
    }
}

/// As in the trace, words and names without their quotes.
impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Number(number) => write!(f, "{number}"),
            Cell::Flag(flag) => write!(f, "{flag}"),
            Cell::Word(word) => f.write_str(word),
            Cell::Pages(list) => write!(f, "{list}"),
            Cell::Owners([a, b]) => {
                let name = |owner: &'_ Option<String>| owner.clone().unwrap_or_else(|| "null".to_owned());
                write!(f, "[{},{}]", name(a), name(b))
            }
            Cell::Pair([a, b]) => write!(f, "[{a},{b}]"),
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Number(number) => serializer.serialize_i64(*number),
            Cell::Flag(flag) => serializer.serialize_bool(*flag),
            Cell::Word(word) => serializer.serialize_str(word),
            Cell::Pages(list) => list.serialize(serializer),
            Cell::Owners(owners) => owners.serialize(serializer),
            Cell::Pair(pair) => pair.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use mapcount_model::field::Field;

    use super::{FieldValue, FolioRow, push_folio};

    #[test]
    fn equal_neighbours_become_one_row() {
        let row = |id, refcount| {
            let mut row = FolioRow::new(id, 0);
            row.fields.insert(Field::Refcount, FieldValue::Number(refcount));
            row
        };
        let mut rows = Vec::new();
        for (id, refcount) in [(0, 1), (1, 1), (2, 2), (4, 2), (5, 2)] {
            push_folio(&mut rows, row(id, refcount));
        }
        let places: Vec<(u64, u64)> = rows.iter().map(|row| (row.id, row.count)).collect();
        assert_eq!(places, [(0, 2), (2, 1), (4, 2)]);
    }
}
