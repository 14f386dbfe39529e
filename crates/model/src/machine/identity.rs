//! When two machines are in the same state: what they are hashed by.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::Machine;
use super::frames::{FolioFlag, Root};
use super::vma::{AnonVma, FileArea, Vma};
use crate::field::{Field, Scope};
use crate::stats::Stat;
use crate::units::{Folio, PageRange};

impl Machine {
    /// Feeds the whole state to a hasher: states that hash alike behave alike, and states that are the same but
    /// for what was there before hash alike. What free memory holds does not count, nor do the numbers of
    /// things that only have to differ.
    pub fn hash_into(&self, state: &mut dyn Hasher) {
        let mut numbers = Numbers::default();
        self.holders.hash_into(state);
        self.deferred.hash_into(state);
        self.swap.hash_into(state);
        let mut sink = state;
        Hash::hash(&*self.config.borrow(), &mut sink);
        sink.write_u8(u8::from(self.lru_hold.get()));
        let gauges = [Stat::AnonMapped, Stat::AnonThps, Stat::FileMapped, Stat::ShmemPmdMapped];
        for stat in gauges.into_iter().chain([Stat::FilePmdMapped]) {
            sink.write_i64(self.stats.get(stat));
        }
        self.each_mm(|mm| {
            Hash::hash(&(mm.id, mm.has_pinned.get()), &mut sink);
            Hash::hash(&*mm.noted_pmds.borrow(), &mut sink);
            for vma in mm.vmas.borrow().all() {
                let anon = vma.anon.map(|anon| AnonVma { id: numbers.anon_vma(anon.id), ..anon });
                let root = Root(numbers.root(vma.root));
                let file = vma.file.map(|area| FileArea { root: Root(numbers.root(area.root)), ..area });
                Hash::hash(&Vma { anon, root, file, ..*vma }, &mut sink);
            }
            mm.table.hash_into(sink);
        });
        for folio in self.frames.folios() {
            self.hash_folio(folio, &mut numbers, sink);
        }
        self.ksm.hash_into(sink, |root| numbers.root(root));
        self.hugetlb.hash_into(sink, |root| numbers.root(root));
        self.files.hash_into(sink, |root| numbers.root(root));
        for root in &numbers.roots {
            self.roots.with(*root, |members| Hash::hash(members, &mut sink));
        }
    }

    fn hash_folio(&self, folio: Folio, numbers: &mut Numbers, mut state: &mut dyn Hasher) {
        let mapping = self.frames.mapping(folio);
        Hash::hash(&(folio, numbers.root(mapping.root), mapping.index), &mut state);
        let flags = [FolioFlag::Dirty, FolioFlag::LazyFree].map(|flag| self.frames.has_flag(folio, flag));
        Hash::hash(&flags, &mut state);
        let fields = [Field::Refcount, Field::Mapcount].into_iter();
        for field in fields.chain(self.scheme.info().fields.iter().copied()) {
            let pages = match field.row().scope {
                Scope::Page => folio.range(),
                Scope::LargeFolio if folio.is_large() => PageRange::one(folio.head),
                Scope::LargeFolio => continue,
            };
            for page in pages.iter() {
                state.write_i32(self.counters.read(field, page));
            }
        }
        for page in folio.range().iter() {
            Hash::hash(&self.frames.content(page), &mut state);
        }
    }
}

/// Numbers in the order of first sight, for what has a number only to be told apart.
#[derive(Default)]
struct Numbers {
    roots: Vec<Root>,
    known_roots: BTreeMap<Root, u32>,
    known_anon_vmas: BTreeMap<u32, u32>,
}

impl Numbers {
    fn root(&mut self, root: Root) -> u32 {
        *self.known_roots.entry(root).or_insert_with(|| {
            self.roots.push(root);
            self.roots.len() as u32
        })
    }

    fn anon_vma(&mut self, id: u32) -> u32 {
        let next = self.known_anon_vmas.len() as u32;
        *self.known_anon_vmas.entry(id).or_insert(next)
    }
}
