//! Page tables of an address space: PMD entries, and tables of PTEs below them. PUDs that map memory themselves,
//! which only device memory has, are kept apart: where one stands, nothing stands at the PMDs below it.
//!
//! Operations touch entries through `read`, `set`, `cmpxchg`, `clear` and their forms for ranges; a range
//! never leaves one table, as in the kernel a page-table lock covers one table.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::config::PUD_OVER_PMD;
use crate::units::Pfn;

/// A PUD, PMD or PTE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry(u64);

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const ZERO: u64 = 1 << 2;
const MIGRATION: u64 = 1 << 3;
const EXCLUSIVE: u64 = 1 << 4;
const SWAP: u64 = 1 << 5;
/// Nobody accessed the page through this entry (the accessed bit of the CPU is off).
const OLD: u64 = 1 << 6;
/// Nobody wrote to the page through this entry since MADV_FREE (the dirty bit of the CPU is off).
const CLEAN: u64 = 1 << 7;
/// It maps memory of a device of which kernels up to 6.14 count no mapping (the devmap bit).
const DEVICE: u64 = 1 << 8;
/// An advice took what the folio knew of accesses away too (PG_referenced is off).
const AGED: u64 = 1 << 9;
const PFN: u32 = 32;

impl Entry {
    /// An empty entry.
    pub const NONE: Entry = Entry(0);

    /// A present entry for a frame.
    pub const fn present(page: Pfn, write: bool) -> Entry {
        Entry(PRESENT | if write { WRITE } else { 0 } | (page.0 as u64) << PFN)
    }

    /// A read-only entry for the shared zero page or the huge zero folio, which nobody counts.
    pub const fn zero(page: Pfn) -> Entry {
        Entry(PRESENT | ZERO | (page.0 as u64) << PFN)
    }

    /// A present entry for a frame of a device that nobody counts.
    pub const fn device(page: Pfn, write: bool) -> Entry {
        Entry(Entry::present(page, write).0 | DEVICE)
    }

    /// This entry while its page is being moved or split: no mapping, but it remembers what it was.
    pub const fn to_migration(self, exclusive: bool) -> Entry {
        Entry(self.0 & !PRESENT | MIGRATION | if exclusive { EXCLUSIVE } else { 0 })
    }

    /// An entry for a page that is swapped out, in this slot; `exclusive` if the page was.
    pub const fn swap(slot: u32, exclusive: bool) -> Entry {
        Entry(SWAP | if exclusive { EXCLUSIVE } else { 0 } | (slot as u64) << PFN)
    }

    /// The present entry that a migration entry becomes, for the page that stands in the place of its own.
    pub const fn from_migration(self, page: Pfn) -> Entry {
        Entry(self.0 & (WRITE | OLD | CLEAN | AGED) | PRESENT | (page.0 as u64) << PFN)
    }

    /// Whether the page was not accessed through it since fork or an advice.
    pub const fn is_old(self) -> bool {
        self.0 & OLD != 0
    }

    /// Whether the page was not written through it since MADV_FREE, or since a read brought it back from swap.
    pub const fn is_clean(self) -> bool {
        self.0 & CLEAN != 0
    }

    /// The same entry, not accessed.
    pub const fn with_old(self) -> Entry {
        Entry(self.0 | OLD)
    }

    /// The same entry, not written.
    pub const fn with_clean(self) -> Entry {
        Entry(self.0 | CLEAN)
    }

    /// The same entry, neither accessed nor written.
    pub const fn with_old_and_clean(self) -> Entry {
        Entry(self.0 | OLD | CLEAN | AGED)
    }

    /// The same entry, not accessed, of a folio that nobody accessed.
    pub const fn with_old_and_aged(self) -> Entry {
        Entry(self.0 | OLD | AGED)
    }

    /// Whether neither the entry nor its folio was accessed since an advice.
    pub const fn is_aged(self) -> bool {
        self.0 & (OLD | AGED) == OLD | AGED
    }

    /// The same entry after an access, which may be a write.
    pub const fn touched(self, writes: bool) -> Entry {
        Entry(self.0 & !(OLD | if writes { CLEAN } else { 0 }))
    }

    /// Whether it is empty.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it maps a page.
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Whether it maps the shared zero page or the huge zero folio.
    pub const fn is_zero(self) -> bool {
        self.0 & ZERO != 0
    }

    /// Whether it is a mapping that counts: neither one of a zero page nor one of a device that counts none.
    pub const fn is_counted(self) -> bool {
        self.0 & (PRESENT | ZERO | DEVICE) == PRESENT
    }

    /// Whether it maps device memory that nobody counts.
    pub const fn is_device(self) -> bool {
        self.0 & DEVICE != 0
    }

    /// Whether it stands for a page that is being moved or split.
    pub const fn is_migration(self) -> bool {
        self.0 & MIGRATION != 0
    }

    /// Whether it stands for a page that is swapped out.
    pub const fn is_swap(self) -> bool {
        self.0 & SWAP != 0
    }

    /// The slot of a swap entry.
    pub const fn slot(self) -> u32 {
        (self.0 >> PFN) as u32
    }

    /// The same entry without the mark of an exclusive page.
    pub const fn without_exclusive(self) -> Entry {
        Entry(self.0 & !EXCLUSIVE)
    }

    /// Whether the page was exclusive when it was taken away.
    pub const fn is_exclusive(self) -> bool {
        self.0 & EXCLUSIVE != 0
    }

    /// Whether it allows writing.
    pub const fn is_writable(self) -> bool {
        self.0 & WRITE != 0
    }

    /// The frame.
    pub const fn page(self) -> Pfn {
        Pfn((self.0 >> PFN) as u32)
    }

    /// The same entry, writable or not.
    pub const fn with_write(self, write: bool) -> Entry {
        Entry(if write { self.0 | WRITE } else { self.0 & !WRITE })
    }

    /// This entry and those of the pages behind it: the next frames, or the same zero page again.
    #[inline]
    fn successors(self) -> impl Fn(u64) -> Entry {
        // A mask instead of a branch, so that loops over many entries are vectorised.
        let moves = if self.is_zero() || self.is_none() { 0 } else { u64::MAX };
        move |n| Entry(self.0 + (n << PFN & moves))
    }

    /// How many of these entries are this one and its successors, `ignored` bits aside.
    #[inline]
    fn alike(self, entries: &[Entry], ignored: u64) -> usize {
        let successor = self.successors();
        let same = |i: usize, entry: &Entry| (entry.0 ^ successor(i as u64).0) & !ignored == 0;
        let mut count = 0;
        // Whole chunks without a branch for each entry, which lets the compiler compare several at once.
        for chunk in entries.chunks_exact(CHUNK) {
            if !chunk.iter().enumerate().fold(true, |all, (i, entry)| all & same(count + i, entry)) {
                break;
            }
            count += CHUNK;
        }
        count + entries[count..].iter().enumerate().take_while(|(i, entry)| same(count + i, entry)).count()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        write!(f, "{}", self.page().0)?;
        for (bit, name) in [
            (WRITE, "+w"),
            (OLD, "+old"),
            (CLEAN, "+clean"),
            (AGED, "+aged"),
            (ZERO, "+zero"),
            (MIGRATION, "+migration"),
            (EXCLUSIVE, "+exclusive"),
            (SWAP, "+swap"),
            (DEVICE, "+device"),
        ] {
            if self.0 & bit != 0 {
                f.write_str(name)?;
            }
        }
        Ok(())
    }
}

/// How many PTEs of a run have which bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunBits {
    /// They allow writing.
    pub writable: u32,
    /// The page was not accessed through them.
    pub old: u32,
    /// Nor was the folio, since an advice.
    pub aged: u32,
    /// The page was not written through them since MADV_FREE.
    pub clean: u32,
}

/// Which entries count as equal in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alike {
    /// All bits agree.
    Exactly,
    /// Writable, accessed or written does not matter, as in the kernel's `folio_pte_batch()`.
    IgnoringWrite,
}

/// What stands at a PMD.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pmd {
    /// Nothing.
    None,
    /// An entry that maps (or stands for) a whole folio.
    Leaf(Entry),
    /// A table of PTEs.
    Table,
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
enum Slot {
    #[default]
    None,
    Leaf(Entry),
    Table(Box<[Entry]>),
}

/// Entries that are compared at once.
const CHUNK: usize = 16;

/// PMDs that stand together; an address space has few, so that walking it is walking arrays.
const FANOUT: u64 = 16;

/// What a directory costs, in entries: its slots are larger than entries.
const DIRECTORY_COST: i64 = FANOUT as i64 * (size_of::<Slot>() / size_of::<Entry>()) as i64;

/// Memory that is left for the page tables of a machine, in entries. All its address spaces share it.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<i64>>);

impl Budget {
    /// Memory for this many entries.
    pub fn new(entries: i64) -> Budget {
        Budget(Rc::new(Cell::new(entries)))
    }

    /// As much as is left here, for another machine.
    pub fn copy(&self) -> Budget {
        Budget::new(self.0.get())
    }

    fn take(&self, entries: i64) {
        self.0.set(self.0.get() - entries);
    }
}

/// PMDs that stand together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Directory {
    /// Which it is: sorted by this.
    number: u64,
    slots: Box<[Slot]>,
    /// How many slots are not empty; without any there is no directory.
    used: u64,
}

/// The page tables of one address space. Addresses are in pages.
#[derive(Clone)]
pub struct PageTable {
    /// Base-2 logarithm of the pages that a PMD maps.
    order: u8,
    directories: RefCell<Vec<Directory>>,
    /// The tables of PMDs that there are, by number: they stay when what they hold goes.
    upper: RefCell<Vec<u64>>,
    /// The directory that was used last: the next use is mostly there.
    last: Cell<usize>,
    /// The PUDs that map memory themselves, by their first page; only device memory has any.
    puds: RefCell<Vec<(u64, Entry)>>,
    budget: Budget,
}

impl PageTable {
    /// Empty tables with PMDs of this order, which take their memory from `budget`.
    pub fn new(order: u8, budget: Budget) -> PageTable {
        let (directories, upper, puds) = Default::default();
        PageTable { order, directories, upper, last: Cell::new(0), puds, budget }
    }

    /// Lets the tables belong to another machine, whose budget they were taken from already.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Whether there is memory for something at the PMD of `at`. Where a PMD is or was mapped there is: as in
    /// the kernel, what maps a whole folio keeps a table in store for the day when it is split.
    pub fn has_room(&self, at: u64) -> bool {
        self.has_room_for([at])
    }

    /// Whether there is memory for something at the PMDs of all these pages, which go up.
    pub fn has_room_for(&self, pages: impl IntoIterator<Item = u64>) -> bool {
        let (mut cost, mut last, mut last_new) = (0, None, None);
        for at in pages {
            if last == Some(self.pmd_start(at)) || self.pmd(at) != Pmd::None {
                continue;
            }
            last = Some(self.pmd_start(at));
            cost += self.pmd_pages() as i64;
            let directory = self.place(at).0;
            if last_new != Some(directory) && self.find(&self.directories.borrow(), directory).is_err() {
                last_new = Some(directory);
                cost += DIRECTORY_COST;
            }
        }
        cost == 0 || self.budget.0.get() >= cost
    }

    /// Pages that a PMD maps.
    #[inline]
    pub const fn pmd_pages(&self) -> u64 {
        1 << self.order
    }

    /// The first page of the PMD that maps `at`.
    #[inline]
    pub const fn pmd_start(&self, at: u64) -> u64 {
        at & !(self.pmd_pages() - 1)
    }

    /// The first page behind the PMD that maps `at`.
    #[inline]
    pub const fn pmd_end(&self, at: u64) -> u64 {
        self.pmd_start(at) + self.pmd_pages()
    }

    #[inline]
    const fn place(&self, at: u64) -> (u64, usize) {
        let pmd = at >> self.order;
        (pmd / FANOUT, (pmd % FANOUT) as usize)
    }

    /// Where a directory is, or where it would have to be put.
    #[inline]
    fn find(&self, directories: &[Directory], number: u64) -> Result<usize, usize> {
        let last = self.last.get();
        if directories.get(last).is_some_and(|directory| directory.number == number) {
            return Ok(last);
        }
        let found = directories.binary_search_by_key(&number, |directory| directory.number);
        self.last.set(found.unwrap_or_else(|place| place));
        found
    }

    #[inline]
    fn with_slot<T>(&self, at: u64, f: impl FnOnce(Option<&Slot>) -> T) -> T {
        let (directory, index) = self.place(at);
        let directories = self.directories.borrow();
        f(self.find(&directories, directory).ok().map(|found| &directories[found].slots[index]))
    }

    /// Changes a table; there must be one.
    #[inline]
    fn with_table<T>(&self, at: u64, f: impl FnOnce(&mut [Entry]) -> T) -> T {
        let (directory, index) = self.place(at);
        let mut directories = self.directories.borrow_mut();
        let found = self.find(&directories, directory).ok();
        match found.map(|found| &mut directories[found].slots[index]) {
            Some(Slot::Table(table)) => f(table),
            _ => unreachable!("a PTE is changed where there is no table"),
        }
    }

    /// Puts something, or nothing, at the PMD of `at`; says what was there. Who puts something where nothing
    /// was has asked for room.
    fn replace(&self, at: u64, new: Slot) -> Slot {
        let (directory, index) = self.place(at);
        let mut directories = self.directories.borrow_mut();
        let fills = !matches!(new, Slot::None);
        let found = match self.find(&directories, directory) {
            Ok(found) => found,
            Err(_) if !fills => return Slot::None,
            Err(place) => {
                self.budget.take(DIRECTORY_COST);
                let slots = vec![Slot::None; FANOUT as usize].into_boxed_slice();
                directories.insert(place, Directory { number: directory, slots, used: 0 });
                place
            }
        };
        let entry = &mut directories[found];
        let old = std::mem::replace(&mut entry.slots[index], new);
        match (matches!(old, Slot::None), fills) {
            (true, true) => {
                if entry.used == 0 {
                    self.add_upper(at);
                }
                entry.used += 1;
                self.budget.take(self.pmd_pages() as i64);
            }
            (false, false) => {
                entry.used -= 1;
                self.budget.take(-(self.pmd_pages() as i64));
            }
            _ => {}
        }
        if entry.used == 0 {
            directories.remove(found);
            self.budget.take(-DIRECTORY_COST);
        }
        old
    }

    /// What stands at the PMD of `at`.
    #[inline]
    pub fn pmd(&self, at: u64) -> Pmd {
        self.with_slot(at, |slot| match slot {
            None | Some(Slot::None) => Pmd::None,
            Some(Slot::Leaf(entry)) => Pmd::Leaf(*entry),
            Some(Slot::Table(_)) => Pmd::Table,
        })
    }

    /// Sets the PMD of `at` to an entry for a whole folio.
    pub fn set_pmd(&self, at: u64, entry: Entry) {
        self.replace(at, Slot::Leaf(entry));
    }

    /// Empties the PMD of `at`; a table there is freed.
    pub fn clear_pmd(&self, at: u64) {
        self.replace(at, Slot::None);
    }

    /// Whether there is the table of PMDs that `at` needs. Whatever was mapped there made one; it goes with the
    /// last area that it could be used for.
    pub fn has_upper(&self, at: u64) -> bool {
        self.upper.borrow().binary_search(&self.upper_number(at)).is_ok()
    }

    /// Makes it, if it is not there.
    pub fn add_upper(&self, at: u64) {
        let number = self.upper_number(at);
        let mut upper = self.upper.borrow_mut();
        if let Err(place) = upper.binary_search(&number) {
            upper.insert(place, number);
        }
    }

    /// Makes those that `other` has for `start..end`.
    pub fn copy_upper(&self, other: &PageTable, start: u64, end: u64) {
        let pages = self.pmd_pages() << PUD_OVER_PMD;
        let first = start & !(pages - 1);
        (first..end)
            .step_by(pages as usize)
            .filter(|at| other.has_upper(*at))
            .for_each(|at| self.add_upper(at));
    }

    /// Frees those that touch `start..end` and that nobody `needs`, who is asked about the pages of each.
    pub fn free_upper(&self, start: u64, end: u64, needs: impl Fn(u64, u64) -> bool) {
        let pages = self.pmd_pages() << PUD_OVER_PMD;
        self.upper.borrow_mut().retain(|number| {
            let (first, behind) = (number * pages, (number + 1) * pages);
            behind <= start || first >= end || needs(first, behind)
        });
    }

    const fn upper_number(&self, at: u64) -> u64 {
        at >> (self.order + PUD_OVER_PMD)
    }

    /// Empties all PMDs and PUDs.
    pub fn clear_all(&self) {
        self.upper.borrow_mut().clear();
        self.puds.borrow_mut().clear();
        let directories = std::mem::take(&mut *self.directories.borrow_mut());
        for directory in directories.iter() {
            self.budget.take(-DIRECTORY_COST - (directory.used << self.order) as i64);
        }
    }

    /// Puts an empty table at the PMD of `at`, where nothing stands.
    pub fn add_table(&self, at: u64) {
        debug_assert!(self.pmd(at) == Pmd::None, "a table over a PMD entry");
        self.replace_pmd_by_table(at, Entry::NONE);
    }

    /// Replaces the PMD of `at` by a table whose entries are `first` and its successors.
    pub fn replace_pmd_by_table(&self, at: u64, first: Entry) {
        let table: Box<[Entry]> = (0..self.pmd_pages()).map(first.successors()).collect();
        self.replace(at, Slot::Table(table));
    }

    /// Moves what stands at one PMD to another, which must be empty.
    pub fn move_pmd(&self, from: u64, to: u64) {
        let slot = self.replace(from, Slot::None);
        self.replace(to, slot);
    }

    /// The entry that maps page `at`: its PTE, or of a PMD entry the part for that page.
    #[inline]
    pub fn read(&self, at: u64) -> Entry {
        let offset = at & (self.pmd_pages() - 1);
        self.with_slot(at, |slot| match slot {
            None | Some(Slot::None) => self.read_pud(at),
            // Each page of the huge zero folio is a page of its own, unlike the shared zero page.
            Some(Slot::Leaf(entry)) => Entry(entry.0 + (offset << PFN)),
            Some(Slot::Table(table)) => table[offset as usize],
        })
    }

    /// Sets one PTE; there must be a table.
    #[inline]
    pub fn set(&self, at: u64, entry: Entry) {
        self.set_run(at, 1, entry);
    }

    /// Sets one PTE if it still is `old`; says what it was.
    pub fn cmpxchg(&self, at: u64, old: Entry, new: Entry) -> Entry {
        let found = self.read(at);
        if found == old {
            self.set(at, new);
        }
        found
    }

    /// Empties one PTE and says what it was.
    pub fn clear(&self, at: u64) -> Entry {
        let found = self.read(at);
        self.set_run(at, 1, Entry::NONE);
        found
    }

    /// The longest run of PTEs from `at` on, at most `max` and within its table, that map consecutive
    /// frames alike (or are all empty, or all the same zero page).
    pub fn run(&self, at: u64, max: u64, alike: Alike) -> (Entry, u64) {
        let offset = (at & (self.pmd_pages() - 1)) as usize;
        let ignored = if alike == Alike::IgnoringWrite { WRITE | OLD | CLEAN | AGED } else { 0 };
        self.with_slot(at, |slot| {
            let Some(Slot::Table(table)) = slot else {
                return (Entry::NONE, max.min(self.pmd_end(at) - at));
            };
            let end = (offset + max as usize).min(table.len());
            let first = table[offset];
            (first, first.alike(&table[offset..end], ignored) as u64)
        })
    }

    /// Sets `len` PTEs from `at` on to `first` and its successors; there must be a table.
    pub fn set_run(&self, at: u64, len: u64, first: Entry) {
        let offset = (at & (self.pmd_pages() - 1)) as usize;
        self.with_table(at, |table| {
            let successor = first.successors();
            for (i, entry) in (0u64..).zip(&mut table[offset..offset + len as usize]) {
                *entry = successor(i);
            }
        });
    }

    /// How many of `len` PTEs from `at` on, which are present, have which bits.
    pub fn bits_of_run(&self, at: u64, len: u64) -> RunBits {
        let offset = (at & (self.pmd_pages() - 1)) as usize;
        self.with_table(at, |table| {
            table[offset..offset + len as usize].iter().fold(RunBits::default(), |all, entry| RunBits {
                writable: all.writable + u32::from(entry.is_writable()),
                old: all.old + u32::from(entry.is_old()),
                aged: all.aged + u32::from(entry.is_aged()),
                clean: all.clean + u32::from(entry.is_clean()),
            })
        })
    }

    /// Takes the accessed bits of `len` PTEs from `at` on away, and with `clean` the dirty bits.
    pub fn age_run(&self, at: u64, len: u64, clean: bool) {
        let offset = (at & (self.pmd_pages() - 1)) as usize;
        self.with_table(at, |table| {
            for entry in &mut table[offset..offset + len as usize] {
                *entry = if clean { entry.with_old_and_clean() } else { entry.with_old_and_aged() };
            }
        });
    }

    /// Takes the right to write from `len` PTEs from `at` on, or gives it.
    pub fn protect_run(&self, at: u64, len: u64, write: bool) {
        let offset = (at & (self.pmd_pages() - 1)) as usize;
        self.with_table(at, |table| {
            for entry in &mut table[offset..offset + len as usize] {
                *entry = entry.with_write(write);
            }
        });
    }

    /// The first page from `at` on, before `end`, whose PMD is not empty.
    pub fn next_pmd(&self, at: u64, end: u64) -> Option<u64> {
        if at >= end {
            return None;
        }
        let directories = self.directories.borrow();
        let (first, index) = self.place(at);
        let from = self.find(&directories, first).unwrap_or_else(|place| place);
        for Directory { number: directory, slots, .. } in &directories[from..] {
            let from = if *directory == first { index } else { 0 };
            for (i, slot) in slots.iter().enumerate().skip(from) {
                if !matches!(slot, Slot::None) {
                    let start = (directory * FANOUT + i as u64) << self.order;
                    return (start < end).then_some(start.max(at));
                }
            }
            if ((directory + 1) * FANOUT) << self.order >= end {
                return None;
            }
        }
        None
    }

    /// Pages that a PUD maps.
    #[inline]
    pub const fn pud_pages(&self) -> u64 {
        self.pmd_pages() << PUD_OVER_PMD
    }

    /// The PUD at or behind `at`, before `end`, that maps memory itself: its first page and its entry.
    pub fn next_pud(&self, at: u64, end: u64) -> Option<(u64, Entry)> {
        let puds = self.puds.borrow();
        puds.iter().copied().find(|(start, _)| start + self.pud_pages() > at && *start < end)
    }

    /// Calls `f` with the first page and the entry of each PUD that maps memory itself, by address.
    pub fn each_pud(&self, mut f: impl FnMut(u64, Entry)) {
        self.puds.borrow().iter().for_each(|(start, entry)| f(*start, *entry));
    }

    /// Sets the PUD of `at` to an entry for what it maps as a whole; below it stands nothing.
    pub fn set_pud(&self, at: u64, entry: Entry) {
        let start = at & !(self.pud_pages() - 1);
        let mut puds = self.puds.borrow_mut();
        match puds.binary_search_by_key(&start, |(start, _)| *start) {
            Ok(index) => puds[index].1 = entry,
            Err(index) => puds.insert(index, (start, entry)),
        }
    }

    /// Empties the PUD of `at`.
    pub fn clear_pud(&self, at: u64) {
        let start = at & !(self.pud_pages() - 1);
        self.puds.borrow_mut().retain(|(other, _)| *other != start);
    }

    /// The part of a PUD's entry for this page.
    fn read_pud(&self, at: u64) -> Entry {
        self.next_pud(at, at + 1).map_or(Entry::NONE, |(start, entry)| Entry(entry.0 + ((at - start) << PFN)))
    }

    /// Whether the table at the PMD of `at` has no entry.
    pub fn is_empty_table(&self, at: u64) -> bool {
        self.with_slot(
            at,
            |slot| matches!(slot, Some(Slot::Table(table)) if table.iter().all(|entry| entry.is_none())),
        )
    }

    /// Feeds every entry to a hasher.
    pub fn hash_into(&self, mut state: &mut dyn std::hash::Hasher) {
        std::hash::Hash::hash(&*self.directories.borrow(), &mut state);
        std::hash::Hash::hash(&*self.upper.borrow(), &mut state);
        std::hash::Hash::hash(&*self.puds.borrow(), &mut state);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let directories = self.directories.borrow();
        let tables = directories
            .iter()
            .flat_map(|directory| directory.slots.iter())
            .filter(|slot| matches!(slot, Slot::Table(_)));
        directories.len() * FANOUT as usize * size_of::<Slot>()
            + tables.count() * self.pmd_pages() as usize * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::{Alike, Budget, DIRECTORY_COST, Entry, PageTable, Pmd};
    use crate::units::Pfn;

    #[test]
    fn runs_end_where_frames_are_not_consecutive() {
        let table = PageTable::new(4, Budget::new(1 << 20));
        table.replace_pmd_by_table(32, Entry::present(Pfn(64), true));
        table.set(40, Entry::present(Pfn(7), true));
        table.protect_run(34, 1, false);
        assert_eq!(table.run(32, 100, Alike::IgnoringWrite), (Entry::present(Pfn(64), true), 8));
        assert_eq!(table.run(32, 100, Alike::Exactly).1, 2);
        assert_eq!(table.run(41, 100, Alike::Exactly), (Entry::present(Pfn(73), true), 7));
        assert_eq!(table.run(48, 100, Alike::Exactly), (Entry::NONE, 16));
    }

    #[test]
    fn empty_pmds_are_skipped() {
        let table = PageTable::new(1, Budget::new(1 << 20));
        table.set_pmd(1000, Entry::present(Pfn(2), true));
        assert_eq!(table.next_pmd(0, u64::MAX), Some(1000));
        assert_eq!(table.next_pmd(1001, u64::MAX), Some(1001));
        assert_eq!(table.next_pmd(0, 1000), None);
        assert_eq!(table.next_pmd(1001, 1001), None);
        assert_eq!(table.next_pmd(1002, u64::MAX), None);
        assert_eq!(table.read(1001), Entry::present(Pfn(3), true));
        table.move_pmd(1000, 20);
        assert_eq!(table.pmd(1000), Pmd::None);
        assert_eq!(table.next_pmd(0, 30), Some(20));
    }

    #[test]
    fn tables_of_pmds_stay_until_nobody_needs_them() {
        let table = PageTable::new(2, Budget::new(1 << 20));
        let upper = 4 << 9;
        table.set_pmd(upper + 8, Entry::present(Pfn(4), true));
        table.clear_pmd(upper + 8);
        assert!(table.has_upper(upper) && table.has_upper(2 * upper - 1));
        assert!(!table.has_upper(upper - 1) && !table.has_upper(2 * upper));
        let other = PageTable::new(2, Budget::new(1 << 20));
        other.copy_upper(&table, 0, upper);
        assert!(!other.has_upper(upper), "it is behind the area");
        other.copy_upper(&table, upper + 4, upper + 8);
        assert!(other.has_upper(upper));
        table.free_upper(upper + 4, upper + 8, |_, _| true);
        assert!(table.has_upper(upper));
        table.free_upper(upper + 4, upper + 8, |_, _| false);
        assert!(!table.has_upper(upper));
    }

    #[test]
    fn puds_stand_beside_pmds() {
        let table = PageTable::new(1, Budget::new(1 << 20));
        assert_eq!(table.pud_pages(), 1024);
        table.set_pud(2050, Entry::present(Pfn(4096), true));
        table.set_pud(1024, Entry::device(Pfn(1024), false));
        assert_eq!(table.read(2051), Entry::present(Pfn(4099), true));
        assert_eq!(table.next_pud(0, 1024), None);
        assert_eq!(table.next_pud(1500, 4000), Some((1024, Entry::device(Pfn(1024), false))));
        assert_eq!((table.next_pmd(0, u64::MAX), table.pmd(2050)), (None, Pmd::None));
        assert!(table.read(1025).is_device() && !table.read(1025).is_counted());
        table.clear_pud(1030);
        assert_eq!(table.next_pud(0, u64::MAX).map(|(start, _)| start), Some(2048));
        table.clear_all();
        assert!(table.read(2048).is_none());
    }

    #[test]
    fn tables_take_from_the_budget_and_give_back() {
        let budget = Budget::new(DIRECTORY_COST + 2 * 16);
        let table = PageTable::new(4, budget.clone());
        assert!(table.has_room(0) && table.has_room_for([3, 5, 16, 31]));
        assert!(!table.has_room_for([0, 16, 32]), "three tables do not fit");
        assert!(!table.has_room_for([0, 64 << 4]), "nor do two directories");
        table.set_pmd(0, Entry::present(Pfn(16), true));
        table.replace_pmd_by_table(0, Entry::NONE);
        table.add_table(16);
        assert!(!table.has_room(32) && table.has_room(31));
        table.move_pmd(16, 48);
        table.clear_pmd(0);
        table.clear_pmd(0);
        assert!(table.has_room(32));
        table.clear_all();
        assert_eq!(budget.0.get(), DIRECTORY_COST + 2 * 16);
    }
}
