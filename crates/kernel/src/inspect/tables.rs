//! Page tables of x86-64, read from the kernel's memory: what a process maps, without its locks.
//!
//! While they are read they change. A table of PTEs is believed if the entry that leads to it is the same afterwards
//! (tables are freed only when that entry is gone); else its part is read again.
//! Format: Intel SDM volume 3, "4-level paging and 5-level paging"; bits that the processor leaves to Linux:
//! arch/x86/include/asm/pgtable_types.h (v5.10, v6.18, v7.2).

use super::extent::{By, Extent, joined, push};
use crate::Unavailable;
use crate::memory::{Memory, Span};

const ENTRIES: usize = 512;
const PRESENT: u64 = 1;
/// The entry maps memory, at the levels above PTEs.
const LEAF: u64 = 1 << 7;
/// `_PAGE_PROTNONE`: not for the processor, but mapped all the same (mprotect to none, NUMA balancing).
const PROTNONE: u64 = 1 << 8;
/// `_PAGE_SPECIAL`: maps no counted page (zero page, devices).
const SPECIAL: u64 = 1 << 9;
/// Bits 12 to 51: the frame.
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// How to get from a process's root to its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Paging {
    /// Where the kernel sees physical address 0.
    pub(crate) direct_map: u64,
    /// Levels of tables: 4 or 5.
    pub(crate) levels: u32,
    /// Frames from here on are no memory.
    pub(crate) frames: u64,
}

/// What a walk met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Walked {
    /// Tables that were read.
    pub tables: u64,
    /// Parts that were read again because they changed meanwhile.
    pub read_again: u64,
    /// Parts (128 MiB of addresses) that changed each time: what they map is not in the report.
    pub unstable: u64,
}

impl Walked {
    /// Adds what another walk met.
    pub(crate) fn add(&mut self, other: &Walked) {
        self.tables += other.tables;
        self.read_again += other.read_again;
        self.unstable += other.unstable;
    }
}

/// Whether an entry maps something, and the frame. Entries that are not present keep their frame inverted
/// (`protnone_mask()`, arch/x86/include/asm/pgtable-invert.h, v4.19 on).
#[inline]
fn frame_of(entry: u64) -> Option<u64> {
    match entry & (PRESENT | PROTNONE) {
        0 => None,
        PROTNONE => Some((!entry & FRAME) >> 12),
        _ => Some((entry & FRAME) >> 12),
    }
}

/// A walk over the page tables of one process.
pub(crate) struct Walk<'a> {
    memory: &'a mut dyn Memory,
    paging: Paging,
    owner: u32,
    sink: &'a mut dyn FnMut(&Extent),
    /// What was found last, which the next page may continue.
    last: Option<Extent>,
    /// What the part at hand maps, until it is known that it held still.
    found: Vec<Extent>,
    walked: Walked,
    words: Vec<u64>,
    readable: Vec<bool>,
    spans: Vec<Span>,
}

/// How often a part that changes is read again.
const READINGS: u32 = 4;

/// Tables of PTEs that are read at once: 256 KiB of them, for 128 MiB of addresses.
const AT_ONCE: usize = 64;

impl<'a> Walk<'a> {
    /// A walk that shows `sink` what the process with the number `owner` maps, by rising address.
    pub(crate) fn new(
        memory: &'a mut dyn Memory,
        paging: Paging,
        owner: u32,
        sink: &'a mut dyn FnMut(&Extent),
    ) -> Walk<'a> {
        Walk {
            memory,
            paging,
            owner,
            sink,
            last: None,
            found: Vec::new(),
            walked: Walked::default(),
            words: Vec::new(),
            readable: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Walks what the user's half of the root table at the kernel address `root` maps.
    pub(crate) fn run(mut self, root: u64) -> Result<Walked, Unavailable> {
        if let Some(table) = self.table(root)? {
            // The upper half is the kernel's.
            for (index, entry) in table[..ENTRIES / 2].iter().enumerate() {
                self.entry(*entry, self.paging.levels - 1, (index as u64) << (9 * (self.paging.levels - 1)))?;
            }
        }
        if let Some(last) = &self.last {
            (self.sink)(last);
        }
        Ok(self.walked)
    }

    fn table(&mut self, address: u64) -> Result<Option<[u64; ENTRIES]>, Unavailable> {
        let mut table = [0; ENTRIES];
        let mut seen = false;
        self.memory.look(Span { address, words: ENTRIES }, &mut |words| {
            if let Some(words) = words {
                table.copy_from_slice(words);
                seen = true;
            }
        })?;
        self.walked.tables += 1;
        Ok(seen.then_some(table))
    }

    /// The kernel address of the table that an entry leads to.
    fn next(&self, entry: u64) -> Option<u64> {
        let frame = (entry & FRAME) >> 12;
        let leads = entry & PRESENT != 0 && frame < self.paging.frames;
        leads.then(|| self.paging.direct_map.wrapping_add(frame << 12))
    }

    /// An entry of a table that stands `level` levels above that of PTEs, for the pages from `page` on.
    fn entry(&mut self, entry: u64, level: u32, page: u64) -> Result<(), Unavailable> {
        if entry & LEAF != 0 && level <= 2 {
            self.leaf(entry, level, page);
            self.accept();
            return Ok(());
        }
        let Some(address) = self.next(entry) else { return Ok(()) };
        let Some(table) = self.table(address)? else { return Ok(()) };
        if level == 2 {
            return self.middle(address, table, page);
        }
        for (index, below) in table.iter().enumerate() {
            self.entry(*below, level - 1, page + ((index as u64) << (9 * (level - 1))))?;
        }
        Ok(())
    }

    fn leaf(&mut self, entry: u64, level: u32, page: u64) {
        let Some(frame) = frame_of(entry) else { return };
        // Bit 12 of a large entry is an attribute, not a part of the frame.
        let pages = 1u64 << (9 * level);
        let frame = frame & !(pages - 1);
        if entry & SPECIAL == 0 && frame < self.paging.frames {
            let by = if level == 1 { By::Pmd } else { By::Pud };
            push(&mut self.found, Extent { page, frame, pages: pages as u32, owner: self.owner, by });
        }
    }

    /// Hands on what was found, but for the last extent.
    fn accept(&mut self) {
        for next in self.found.drain(..) {
            match self.last.and_then(|last| joined(&last, &next)) {
                Some(both) => self.last = Some(both),
                None => {
                    if let Some(last) = self.last.replace(next) {
                        (self.sink)(&last);
                    }
                }
            }
        }
    }

    /// A table of PMDs and all tables of PTEs below it, part by part, each until nothing changed meanwhile.
    fn middle(&mut self, address: u64, mut table: [u64; ENTRIES], page: u64) -> Result<(), Unavailable> {
        for first in (0..ENTRIES).step_by(AT_ONCE) {
            let part = first..first + AT_ONCE;
            let mut is_stable = table[part.clone()].iter().all(|entry| *entry == 0);
            for reading in 1..=READINGS {
                if is_stable {
                    break;
                }
                self.below(&table[part.clone()], page + ((first as u64) << 9))?;
                let Some(after) = self.table(address)? else { break };
                let same = |(a, b): (&u64, &u64)| self.next(*a) == self.next(*b) && (a ^ b) & LEAF == 0;
                is_stable = table[part.clone()].iter().zip(&after[part.clone()]).all(same);
                if !is_stable {
                    self.found.clear();
                    self.walked.read_again += u64::from(reading < READINGS);
                }
                table = after;
            }
            self.walked.unstable += u64::from(!is_stable);
            if is_stable {
                self.accept();
            }
            self.found.clear();
        }
        Ok(())
    }

    /// Entries of a table of PMDs, for the pages from `page` on, and the tables of PTEs that they lead to.
    fn below(&mut self, table: &[u64], page: u64) -> Result<(), Unavailable> {
        self.spans.clear();
        for entry in table.iter().filter(|entry| **entry & LEAF == 0) {
            if let Some(address) = self.next(*entry) {
                self.spans.push(Span { address, words: ENTRIES });
            }
        }
        self.words.clear();
        self.readable.clear();
        self.memory.read(&self.spans, &mut self.words, &mut self.readable)?;
        self.walked.tables += self.spans.len() as u64;
        let words = std::mem::take(&mut self.words);
        let mut tables = words.chunks_exact(ENTRIES);
        for (index, entry) in table.iter().enumerate() {
            let page = page + ((index as u64) << 9);
            if *entry & LEAF != 0 {
                self.leaf(*entry, 1, page);
            } else if self.next(*entry).is_some()
                && let Some(entries) = tables.next()
            {
                self.pages(entries, page);
            }
        }
        self.words = words;
        Ok(())
    }

    fn pages(&mut self, entries: &[u64], page: u64) {
        for (page, entry) in (page..).zip(entries) {
            if let Some(frame) = frame_of(*entry)
                && entry & SPECIAL == 0
                && frame < self.paging.frames
            {
                push(&mut self.found, Extent { page, frame, pages: 1, owner: self.owner, by: By::Pte });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{By, Extent, LEAF, PRESENT, PROTNONE, Paging, SPECIAL, Walk, Walked};
    use crate::Unavailable;
    use crate::memory::{Memory, Span};

    const DIRECT: u64 = 0xffff_8880_0000_0000;

    /// Tables by their frames. A table in `changing` gets another entry each time it is read.
    #[derive(Default)]
    struct Tables {
        tables: BTreeMap<u64, [u64; 512]>,
        changes: BTreeMap<u64, Vec<(usize, u64)>>,
    }

    impl Tables {
        fn set(&mut self, frame: u64, index: usize, entry: u64) {
            self.tables.entry(frame).or_insert([0; 512])[index] = entry;
        }
    }

    impl Memory for Tables {
        fn read(
            &mut self,
            spans: &[Span],
            into: &mut Vec<u64>,
            readable: &mut Vec<bool>,
        ) -> Result<(), Unavailable> {
            for span in spans {
                self.look(*span, &mut |words| {
                    readable.push(words.is_some());
                    into.extend_from_slice(words.unwrap_or(&[0; 512]));
                })?;
            }
            Ok(())
        }

        fn chunk_words(&self) -> usize {
            512
        }

        fn look(&mut self, span: Span, visit: &mut dyn FnMut(Option<&[u64]>)) -> Result<(), Unavailable> {
            let frame = (span.address - DIRECT) >> 12;
            visit(self.tables.get(&frame).map(|table| &table[..span.words]));
            if let Some((index, entry)) = self.changes.get_mut(&frame).and_then(Vec::pop) {
                self.set(frame, index, entry);
            }
            Ok(())
        }

        fn task(&mut self) -> Result<Option<u64>, Unavailable> {
            Ok(None)
        }
    }

    fn walk(tables: &mut Tables, levels: u32) -> (Vec<Extent>, Walked) {
        let mut extents = Vec::new();
        let paging = Paging { direct_map: DIRECT, levels, frames: 1 << 30 };
        let mut sink = |extent: &Extent| extents.push(*extent);
        let walked = Walk::new(tables, paging, 7, &mut sink).run(DIRECT + (1 << 12)).expect("readable");
        (extents, walked)
    }

    /// A root at frame 1, tables 2, 3 below it, PTEs in table 4 for page 512 on.
    fn small() -> Tables {
        let mut tables = Tables::default();
        for (frame, index) in [(1, 0), (2, 0), (3, 1)] {
            tables.set(frame, index, (frame + 1) << 12 | PRESENT);
        }
        for index in 0..3u64 {
            tables.set(4, index as usize, (100 + index) << 12 | PRESENT);
        }
        tables
    }

    #[test]
    fn entries_of_every_level_are_found_in_order() {
        let mut tables = small();
        tables.set(4, 5, 900 << 12 | PRESENT | SPECIAL);
        tables.set(4, 6, !(200u64 << 12) & super::FRAME | PROTNONE);
        tables.set(3, 0, 1024 << 12 | PRESENT | LEAF | 1 << 12);
        tables.set(2, 1, (1 << 18) << 12 | PRESENT | LEAF);
        tables.set(1, 256, 2 << 12 | PRESENT);
        let (extents, walked) = walk(&mut tables, 4);
        let found: Vec<_> = extents.iter().map(|e| (e.page, e.frame, e.pages, e.by)).collect();
        assert_eq!(
            found,
            [
                (0, 1024, 512, By::Pmd),
                (512, 100, 3, By::Pte),
                (518, 200, 1, By::Pte),
                (1 << 18, 1 << 18, 1 << 18, By::Pud)
            ]
        );
        assert!(extents.iter().all(|extent| extent.owner == 7));
        assert_eq!((walked.read_again, walked.unstable), (0, 0));
    }

    #[test]
    fn an_extent_goes_on_across_tables_and_parts() {
        let mut tables = small();
        // The last page of a part, and the first one of the next.
        tables.set(3, 63, 5 << 12 | PRESENT);
        tables.set(3, 64, 6 << 12 | PRESENT);
        tables.set(5, 511, 115 << 12 | PRESENT);
        tables.set(6, 0, 116 << 12 | PRESENT);
        let (extents, _) = walk(&mut tables, 4);
        let found: Vec<_> = extents.iter().map(|e| (e.page, e.frame, e.pages)).collect();
        assert_eq!(found, [(512, 100, 3), (64 * 512 - 1, 115, 2)]);
    }

    #[test]
    fn a_fifth_level_is_walked() {
        let mut tables = small();
        tables.set(0, 0, 1 << 12 | PRESENT);
        let mut extents = Vec::new();
        let paging = Paging { direct_map: DIRECT, levels: 5, frames: 1 << 30 };
        let mut sink = |extent: &Extent| extents.push(*extent);
        Walk::new(&mut tables, paging, 0, &mut sink).run(DIRECT).expect("readable");
        assert_eq!(extents.len(), 1);
    }

    #[test]
    fn a_table_that_goes_away_while_it_is_read_is_read_again() {
        let mut tables = small();
        tables.changes.insert(3, vec![(1, 0)]);
        let (extents, walked) = walk(&mut tables, 4);
        assert!(extents.is_empty(), "{extents:?}");
        assert_eq!((walked.read_again, walked.unstable), (1, 0));
    }

    #[test]
    fn what_changes_all_the_time_is_left_out_and_said() {
        let mut tables = small();
        let others = (0..20).map(|n| (1, (500 + n) << 12 | PRESENT)).collect();
        tables.changes.insert(3, others);
        let (extents, walked) = walk(&mut tables, 4);
        assert!(extents.is_empty());
        assert_eq!(walked.unstable, 1);
    }

    #[test]
    fn entries_that_lead_nowhere_are_nothing() {
        let mut tables = Tables::default();
        tables.set(1, 0, (1 << 35) << 12 | PRESENT);
        tables.set(1, 1, 77 << 12 | PRESENT);
        assert!(walk(&mut tables, 4).0.is_empty());
    }
}
