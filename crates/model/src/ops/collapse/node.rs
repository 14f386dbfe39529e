//! On which NUMA node the new folio is: on the one that has most of what it is made of
//! (`khugepaged_find_target_node()`, mm/khugepaged.c, v5.10; `hpage_collapse_find_target_node()`, v6.12, v7.2).

use super::Target;
use super::scan::runs;
use crate::machine::Machine;
use crate::machine::files::File;
use crate::machine::frames::MAX_NODES;
use crate::units::{Folio, Pfn};

/// How many pages, or folios of a file, are on each node, and where the first is.
#[derive(Default)]
struct Loads {
    counts: [u32; MAX_NODES as usize],
    first: Option<u8>,
}

impl Loads {
    fn add(&mut self, node: u8) {
        self.counts[usize::from(node)] += 1;
        self.first.get_or_insert(node);
    }

    /// The node with most of them, the lowest of several; up to 3.12 that of the first page
    /// (`khugepaged_scan_pmd()`, mm/huge_memory.c, v2.6.39).
    fn node(&self, m: &Machine) -> u8 {
        if !m.policy.collapse_finds_node {
            return self.first.unwrap_or(0);
        }
        let most = self.counts.iter().copied().max().unwrap_or(0);
        self.counts.iter().position(|count| *count == most).unwrap_or(0) as u8
    }
}

/// Puts the new folio of an anonymous range on its node.
pub(super) fn place(m: &Machine, target: Target<'_>, new: Folio) {
    if m.config.borrow().nodes < 2 {
        return;
    }
    let mut loads = Loads::default();
    for pages in runs(m, target).filter_map(|(_, run)| run.pages()) {
        pages.iter().for_each(|page| loads.add(node_of(m, page)));
    }
    m.frames.set_node(new, loads.node(m));
}

/// Puts the new folio of `start..start + pages` of a file on its node.
pub(super) fn place_file(m: &Machine, file: &File, start: u64, new: Folio) {
    if m.config.borrow().nodes < 2 {
        return;
    }
    let mut loads = Loads::default();
    let (mut at, end) = (start, start + u64::from(new.pages()));
    while let Some((index, folio)) = file.cache.folio_from(m, at, end) {
        loads.add(m.frames.node(folio));
        at = index + u64::from(folio.pages());
    }
    m.frames.set_node(new, loads.node(m));
}

fn node_of(m: &Machine, page: Pfn) -> u8 {
    m.frames.node(m.folio(page))
}
