//! What ksmd remembers: which address spaces it scans, what it saw at each address, and the pages that it made.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::frames::{Content, Mapping, Root};
use crate::units::{MmId, Pfn};

/// An address that ksmd looked at (`struct ksm_rmap_item`, mm/ksm.c).
#[derive(Clone, Copy, Debug, Default)]
struct Item {
    /// The content at the last look; the kernel keeps a checksum.
    seen: Option<Content>,
    /// The merged page that it shares.
    shares: Option<Pfn>,
}

/// An address that shares a merged page, and where reverse mapping looks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sharer {
    mm: MmId,
    at: u64,
    mapping: Mapping,
}

/// A merged page (a node of the stable tree). The node owns no reference.
#[derive(Clone, Debug)]
struct Stable {
    content: Content,
    sharers: Vec<Sharer>,
}

#[derive(Clone, Debug, Default)]
struct State {
    mms: Vec<MmId>,
    items: BTreeMap<(MmId, u64), Item>,
    stable: BTreeMap<Pfn, Stable>,
    /// Merged pages of equal content, in the order in which a search meets them.
    chains: BTreeMap<Content, Vec<Pfn>>,
}

/// What ksmd remembers. Nothing here is a reference or a mapping.
#[derive(Clone, Debug, Default)]
pub struct Ksm(RefCell<State>);

impl Ksm {
    /// Lets ksmd scan an address space, after all others (`__ksm_enter()`, mm/ksm.c).
    pub fn enter(&self, mm: MmId) {
        if !self.scans(mm) {
            self.0.borrow_mut().mms.push(mm);
        }
    }

    /// Whether ksmd scans an address space.
    pub fn scans(&self, mm: MmId) -> bool {
        self.0.borrow().mms.contains(&mm)
    }

    /// Forgets an address space.
    pub fn leave(&self, mm: MmId) {
        self.forget(mm, 0, u64::MAX);
        self.0.borrow_mut().mms.retain(|other| *other != mm);
    }

    /// The address spaces that ksmd scans, in its order.
    pub fn mms(&self) -> Vec<MmId> {
        self.0.borrow().mms.clone()
    }

    /// Forgets the addresses `start..end` of an address space.
    pub fn forget(&self, mm: MmId, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let keys: Vec<_> = self.0.borrow().items.range((mm, start)..(mm, end)).map(|(key, _)| *key).collect();
        for key in keys {
            self.unlink(key);
            self.0.borrow_mut().items.remove(&key);
        }
    }

    /// Whether there are merged pages.
    pub fn has_merged(&self) -> bool {
        !self.0.borrow().stable.is_empty()
    }

    /// The merged page that an address shares.
    pub fn shared_at(&self, key: (MmId, u64)) -> Option<Pfn> {
        self.0.borrow().items.get(&key).and_then(|item| item.shares)
    }

    /// Notes what an address holds; says whether it held the same at the last look.
    pub fn is_unchanged(&self, key: (MmId, u64), content: Content) -> bool {
        let mut state = self.0.borrow_mut();
        let item = state.items.entry(key).or_default();
        item.seen.replace(content) == Some(content)
    }

    /// Notes that an address shares a merged page no more.
    pub fn unlink(&self, key: (MmId, u64)) {
        let mut state = self.0.borrow_mut();
        let Some(page) = state.items.get_mut(&key).and_then(|item| item.shares.take()) else { return };
        if let Some(stable) = state.stable.get_mut(&page) {
            stable.sharers.retain(|sharer| (sharer.mm, sharer.at) != key);
        }
    }

    /// Notes that an address shares a merged page; `mapping` is where it is in its area.
    pub fn link(&self, (mm, at): (MmId, u64), page: Pfn, mapping: Mapping) {
        let mut state = self.0.borrow_mut();
        state.items.entry((mm, at)).or_default().shares = Some(page);
        let stable = state.stable.get_mut(&page).expect("a merged page");
        stable.sharers.push(Sharer { mm, at, mapping });
    }

    /// Whether ksmd made this page and can merge others into it.
    pub fn is_stable(&self, page: Pfn) -> bool {
        self.0.borrow().stable.contains_key(&page)
    }

    /// Adds a merged page; a search meets it first.
    pub fn add(&self, page: Pfn, content: Content) {
        let mut state = self.0.borrow_mut();
        state.stable.insert(page, Stable { content, sharers: Vec::new() });
        state.chains.entry(content).or_default().insert(0, page);
    }

    /// The merged page of this content that takes another sharer, of `most` at most. One with room for still
    /// more is met first by the next search (`stable_node_dup()`, mm/ksm.c; without its pruning by time).
    pub fn find(&self, content: Content, most: Option<u32>) -> Option<Pfn> {
        let mut state = self.0.borrow_mut();
        let State { stable, chains, .. } = &mut *state;
        let chain = chains.get_mut(&content)?;
        let Some(most) = most.map(|most| most as usize) else { return chain.first().copied() };
        let sharers = |page: &Pfn| stable[page].sharers.len();
        let index = chain.iter().position(|page| (1..most).contains(&sharers(page)))?;
        let page = chain[index];
        if sharers(&page) + 1 < most {
            chain[..=index].rotate_right(1);
        }
        Some(page)
    }

    /// Forgets a merged page that is freed or becomes an ordinary one.
    pub fn remove(&self, page: Pfn) {
        let mut state = self.0.borrow_mut();
        let Some(Stable { content, sharers }) = state.stable.remove(&page) else { return };
        for sharer in sharers {
            if let Some(item) = state.items.get_mut(&(sharer.mm, sharer.at)) {
                item.shares = None;
            }
        }
        let chain = state.chains.get_mut(&content).expect("each merged page is in one");
        chain.retain(|other| *other != page);
        if chain.is_empty() {
            state.chains.remove(&content);
        }
    }

    /// Notes that a merged page moved to another frame.
    pub fn moved(&self, old: Pfn, new: Pfn) {
        let mut state = self.0.borrow_mut();
        let Some(stable) = state.stable.remove(&old) else { return };
        for sharer in &stable.sharers {
            if let Some(item) = state.items.get_mut(&(sharer.mm, sharer.at)) {
                item.shares = Some(new);
            }
        }
        let chain = state.chains.get_mut(&stable.content).expect("each merged page is in one");
        for page in chain.iter_mut().filter(|page| **page == old) {
            *page = new;
        }
        state.stable.insert(new, stable);
    }

    /// Where reverse mapping looks for a merged page, each place once.
    pub fn mappings(&self, page: Pfn) -> Vec<Mapping> {
        let mut mappings: Vec<Mapping> = Vec::new();
        for sharer in self.0.borrow().stable.get(&page).into_iter().flat_map(|stable| &stable.sharers) {
            if !mappings.contains(&sharer.mapping) {
                mappings.push(sharer.mapping);
            }
        }
        mappings
    }

    /// Calls `f` with every place where reverse mapping looks for merged pages.
    pub fn each_mapping(&self, mut f: impl FnMut(Mapping)) {
        let state = self.0.borrow();
        state.stable.values().flat_map(|stable| &stable.sharers).for_each(|sharer| f(sharer.mapping));
    }

    /// Feeds the state to a hasher; `number` tells roots apart.
    pub fn hash_into(&self, mut state: &mut dyn std::hash::Hasher, mut number: impl FnMut(Root) -> u32) {
        let own = self.0.borrow();
        std::hash::Hash::hash(&own.mms, &mut state);
        for (key, item) in &own.items {
            std::hash::Hash::hash(&(key, item.seen, item.shares), &mut state);
        }
        for stable in own.stable.values() {
            for Sharer { mm, at, mapping } in &stable.sharers {
                std::hash::Hash::hash(&(mm, at, number(mapping.root), mapping.index), &mut state);
            }
        }
        std::hash::Hash::hash(&own.chains, &mut state);
    }
}
