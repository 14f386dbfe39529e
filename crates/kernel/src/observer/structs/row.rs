//! The row of a folio, from the words of its `struct page`s.

use mapcount_model::field::{Field, Scope, TABLE};
use mapcount_model::scheme::Scheme;
use mapcount_model::units::Kind;
use mapcount_script::trace::{FieldValue, FolioRow, Rle, Shape, shape};

use super::super::frames::{Block, Owners};
use super::{Folio, Structs};
use crate::fields::{Fields, Slot};
use crate::procfs::kpf;

/// The lowest two bits of `mapping`: anonymous; merged by KSM.
pub(super) const ANON: i64 = 1;
const KSM: i64 = 3;

/// Which bits of a folio's words count: others change all the time, for instance when a neighbour leaves the
/// LRU list.
pub(super) struct Masks {
    page_words: usize,
    /// For each of the first pages of a large folio.
    first: Vec<Vec<u64>>,
    /// For each other page, and for small folios.
    other: Vec<u64>,
    /// The word that leads to the next one in the deferred split queue; only whether it leads to itself counts.
    deferred: Option<Slot>,
}

impl Masks {
    pub(super) fn of(fields: &Fields, scheme: &'static dyn Scheme) -> Masks {
        let page_words = fields.page_words;
        let mut other = vec![0; page_words];
        let mut mark = |slot: Slot| other[slot.word] |= mask(slot);
        for slot in [fields.tail, fields.head, fields.mapping, fields.swapbacked] {
            mark(slot);
        }
        fields.swapcache.into_iter().for_each(&mut mark);
        let counted = |scope| {
            TABLE
                .iter()
                .filter(move |row| row.scope == scope && keeps(scheme, row.field))
                .map(|row| row.field)
        };
        counted(Scope::Page).filter_map(|field| fields.slot(field)).for_each(&mut mark);
        let mut first = vec![other.clone(); fields.pages_with_fields()];
        let large = counted(Scope::LargeFolio).filter(|field| *field != Field::Deferred);
        for slot in large.filter_map(|field| fields.slot(field)).chain([fields.order]) {
            first[slot.word / page_words][slot.word % page_words] |= mask(slot);
        }
        Masks { page_words, first, other, deferred: fields.slot(Field::Deferred) }
    }

    /// Whether a folio is the same in all that counts. `address` is where its first `struct page` is.
    pub(super) fn same(&self, before: &[u64], now: &[u64], address: u64) -> bool {
        let is_small = now.len() <= self.page_words;
        let pages = before.chunks_exact(self.page_words).zip(now.chunks_exact(self.page_words));
        let words = pages.enumerate().all(|(index, (before, now))| {
            let masks = self.first.get(index).filter(|_| !is_small).unwrap_or(&self.other);
            before.iter().zip(now).zip(masks).all(|((before, now), mask)| (before ^ now) & mask == 0)
        });
        words && self.is_queued(before, address) == self.is_queued(now, address)
    }

    /// Whether the list head of the deferred split queue, in the words of a folio, is on a list.
    fn is_queued(&self, words: &[u64], address: u64) -> Option<bool> {
        let slot = self.deferred.filter(|slot| slot.word < words.len())?;
        let next = slot.get(words).cast_unsigned();
        // An empty list leads to itself; what was never on one may be 0, and what was taken off without being
        // made empty a poison, which is no address.
        Some(next != address.wrapping_add(slot.word as u64 * 8) && next >> 56 == 0xff)
    }
}

fn mask(slot: Slot) -> u64 {
    u64::MAX >> (64 - slot.width) << slot.shift
}

/// Whether the scheme keeps a field: a word that it does not keep holds what was there before.
fn keeps(scheme: &'static dyn Scheme, field: Field) -> bool {
    matches!(field, Field::Refcount | Field::Mapcount) || scheme.info().fields.contains(&field)
}

impl Structs {
    /// Where the `struct page` of the folio's head is.
    pub(super) fn address(&self, block: Block) -> u64 {
        self.base.wrapping_add(block.head.wrapping_mul(self.fields.page_bytes()))
    }

    fn kind(&self, folio: &Folio) -> Kind {
        let words = self.words(folio);
        let mapping = self.fields.mapping.get(words);
        if folio.flags & kpf::ZERO != 0 {
            Kind::Zero
        } else if folio.flags & kpf::HUGE != 0 {
            Kind::Hugetlb
        } else if mapping & KSM == KSM {
            Kind::Ksm
        } else if mapping & ANON != 0 {
            Kind::Anon
        } else if self.fields.swapbacked.is_set(words) {
            Kind::Shmem
        } else {
            Kind::File
        }
    }

    /// Where `field` is, if this folio has it.
    fn slot(&self, folio: &Folio, kind: Kind, field: Field) -> Option<Slot> {
        let slot = self.fields.slot(field).filter(|_| keeps(self.scheme, field))?;
        let is_large = folio.block.order > 0;
        let kept = match field {
            // The head's word holds the page's type where hugetlb has one (6.11 on), which is below -1.
            Field::Mapcount => kind != Kind::Hugetlb || slot.get(self.words(folio)) >= -1,
            // Up to 6.8 the words of the zero folio are never set; hugetlb keeps something else in them.
            Field::Deferred => !matches!(kind, Kind::Zero | Kind::Hugetlb),
            Field::PartiallyMapped => kind != Kind::Zero,
            Field::AnonExclusive => kind.is_anon(),
            _ => true,
        };
        let is_there = match field.row().scope {
            Scope::Page => true,
            // A folio of two pages has no third one that could hold a field.
            Scope::LargeFolio => is_large && slot.word < self.words(folio).len(),
        };
        (kept && is_there).then_some(slot)
    }

    /// The row of a folio.
    pub(super) fn told(&self, folio: &Folio, id: u64, owners: &Owners) -> FolioRow {
        let words = self.words(folio);
        let kind = self.kind(folio);
        let mut row = FolioRow::new(id, folio.block.order);
        row.kind = Some(kind);
        for field in TABLE.iter().map(|row| row.field) {
            let (Some(slot), Some(shape)) = (self.slot(folio, kind, field), shape(field)) else { continue };
            let value = match shape {
                Shape::Flag if field == Field::Deferred => {
                    let queued = self.masks.is_queued(words, self.address(folio.block));
                    FieldValue::Flag(queued.unwrap_or(false))
                }
                Shape::Flag => FieldValue::Flag(slot.is_set(words)),
                Shape::Number => FieldValue::Number(slot.get(words)),
                Shape::Pages => FieldValue::Pages(self.per_page(words, slot)),
            };
            row.fields.insert(field, value);
        }
        if folio.block.order > 0 {
            let refcount = self.fields.slot(Field::Refcount).expect("every kernel has it");
            row.tail_refcount = Some(self.per_page(&words[self.fields.page_words..], refcount));
        }
        let number = |field| Some(self.slot(folio, kind, field)?.get(words));
        if let (Some(a), Some(b)) = (number(Field::MmId0), number(Field::MmId1)) {
            let owner = |id: i64| {
                let known = owners.iter().find(|(known, _)| i64::from(*known) == id);
                known.map(|(_, name)| name.clone())
            };
            row.mm_ids = Some([owner(a), owner(b)]);
        }
        if let (Some(a), Some(b)) = (number(Field::MmIdMapcount0), number(Field::MmIdMapcount1)) {
            row.mm_id_mapcount_raw = Some([a, b]);
        }
        let in_swapcache = |slot: Slot| slot.is_set(words) && self.fields.swapbacked.is_set(words);
        row.swapcache = self.fields.swapcache.map(in_swapcache);
        let first = self.counted(folio);
        let counted = self.counted.get(first..first + folio.block.pages() as usize);
        row.kpagecount = counted.map(|counts| {
            let mut list = Rle::new();
            counts.iter().for_each(|count| list.push_run(1, count.cast_signed()));
            list
        });
        row
    }

    fn per_page(&self, words: &[u64], slot: Slot) -> Rle<i64> {
        let mut list = Rle::new();
        for page in words.chunks_exact(self.fields.page_words) {
            list.push_run(1, slot.get(page));
        }
        list
    }
}
